//! How long commands took: a histogram whose buckets are a hundredth apart or less.
//!
//! Sixty-four buckets for each power of two of nanoseconds, so a percentile is known to 1.6 %, and
//! recording is an addition. A crate would do the same; this much needs none.

#![forbid(unsafe_code)]

use std::time::Duration;

use serde::Serialize;

/// Times, counted.
#[derive(Debug, Clone)]
pub struct Latencies {
    counts: Vec<u64>,
    count: u64,
    total: Duration,
    longest: Duration,
}

/// What is told of them, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Percentiles {
    /// Mean.
    pub mean: f64,
    /// Half of the commands took no longer.
    pub p50: f64,
    /// 99 in a hundred.
    pub p99: f64,
    /// 999 in a thousand.
    pub p99_9: f64,
    /// The longest.
    pub max: f64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            count: 0,
            total: Duration::ZERO,
            longest: Duration::ZERO,
        }
    }
}

impl Latencies {
    /// Counts one.
    pub fn record(&mut self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(bucket(nanoseconds)) {
            *count += 1;
        }
        self.count += 1;
        self.total = self.total.saturating_add(time);
        self.longest = self.longest.max(time);
    }

    /// Adds those of another.
    pub fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.count += other.count;
        self.total = self.total.saturating_add(other.total);
        self.longest = self.longest.max(other.longest);
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// What is told of them; `None` of none.
    pub fn percentiles(&self) -> Option<Percentiles> {
        if self.count == 0 {
            return None;
        }
        let mean = self.total.as_secs_f64() / self.count as f64;
        Some(Percentiles {
            mean: mean * 1e6,
            p50: self.quantile(500),
            p99: self.quantile(990),
            p99_9: self.quantile(999),
            max: self.longest.as_secs_f64() * 1e6,
        })
    }

    /// What so many in a thousand do not exceed, in microseconds: the bucket's upper end.
    fn quantile(&self, of_thousand: u64) -> f64 {
        let rank = (u128::from(self.count) * u128::from(of_thousand)).div_ceil(1000);
        let mut seen = 0;
        for (bucket, count) in (0..).zip(&self.counts) {
            seen += u128::from(*count);
            if seen >= rank {
                let end = Duration::from_nanos(last_of(bucket)).min(self.longest);
                return end.as_secs_f64() * 1e6;
            }
        }
        self.longest.as_secs_f64() * 1e6
    }
}

/// Below 64 ns each value has its own; above, the six bits behind the highest one tell.
fn bucket(nanoseconds: u64) -> usize {
    let power = nanoseconds.checked_ilog2().unwrap_or(0).max(SUB_BITS);
    let shift = power - SUB_BITS;
    let bucket = u64::from(shift) * SUB + (nanoseconds >> shift);
    usize::try_from(bucket).unwrap_or(BUCKETS)
}

/// The largest value of a bucket.
fn last_of(bucket: u64) -> u64 {
    let (shift, within) = match bucket / SUB {
        0 => (0, bucket),
        shift => (shift - 1, bucket % SUB + SUB),
    };
    // The end of the very last bucket is one more than there are numbers.
    let end = u128::from(within + 1) << shift;
    u64::try_from(end - 1).unwrap_or(u64::MAX)
}

const SUB_BITS: u32 = 6;
const SUB: u64 = 1 << SUB_BITS;
const BUCKETS: usize = (64 - SUB_BITS as usize + 1) << SUB_BITS;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_has_a_bucket_that_is_near() {
        let mut last = 0;
        for shift in 0..64 {
            for value in [
                1_u64 << shift,
                (1 << shift) + (1 << shift) / 3,
                u64::MAX >> shift,
            ] {
                let bucket = bucket(value);
                assert!(bucket < BUCKETS, "{value}");
                let end = last_of(bucket as u64);
                assert!(end >= value && end - value <= value / 64, "{value}: {end}");
                assert_eq!(super::bucket(end), bucket);
            }
            assert!(bucket(1 << shift) >= last);
            last = bucket(1 << shift);
        }
        assert_eq!(bucket(0), 0);
    }

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        assert_eq!(Latencies::default().percentiles(), None);
        let (mut all, mut some) = (Latencies::default(), Latencies::default());
        for microseconds in 1..=500 {
            all.record(Duration::from_micros(microseconds));
            some.record(Duration::from_micros(microseconds + 500));
        }
        all.add(&some);
        let told = all.percentiles().unwrap();
        assert_eq!((all.count(), told.max), (1000, 1000.0));
        let near = |is: f64, should: f64| (is - should).abs() <= should / 60.0;
        assert!(near(told.mean, 500.5) && near(told.p50, 500.0), "{told:?}");
        assert!(near(told.p99, 990.0) && near(told.p99_9, 999.0), "{told:?}");
    }
}
