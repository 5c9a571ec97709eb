//! What many figures come to.

/// Half are not larger.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match (figures.get(middle), figures.len() % 2) {
        (Some(upper), 0) => (figures[middle - 1] + upper) / 2.0,
        (Some(middle), _) => *middle,
        (None, _) => 0.0,
    }
}

/// What `percent` of a hundred sorted times did not exceed; from nanoseconds to microseconds.
pub(crate) fn percentile(sorted: &[u64], percent: usize) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let nanoseconds = sorted.get(last * percent / 100).copied();
    let time = std::time::Duration::from_nanos(nanoseconds.unwrap_or_default());
    time.as_secs_f64() * 1e6
}
