//! What somebody may have meant who wrote something else.

#![forbid(unsafe_code)]

use strsim::damerau_levenshtein;

/// The candidate that most resembles `text`, if any does: a third of its characters may differ.
pub(super) fn nearest<'c>(
    text: &str,
    candidates: impl IntoIterator<Item = &'c str>,
) -> Option<&'c str> {
    // Longer than any name of ours, and too long to be compared for nothing.
    if text.len() > 64 {
        return None;
    }
    candidates
        .into_iter()
        .map(|candidate| (damerau_levenshtein(text, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// "did you mean …?" where something resembles `text`, else "`all`: …" with every candidate.
pub(super) fn suggestion<'c, C>(text: &str, all: &str, candidates: C) -> String
where
    C: IntoIterator<Item = &'c str> + Clone,
{
    match nearest(text, candidates.clone()) {
        Some(nearest) => format!("did you mean {nearest}?"),
        None => {
            let candidates: Vec<_> = candidates.into_iter().collect();
            format!("{all}: {}", candidates.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        let keys = ["nqn", "mode", "portals", "hosts", "allow-any-host"];
        let near = |text| nearest(text, keys);
        assert_eq!(near("nqm"), Some("nqn"));
        assert_eq!(near("portal"), Some("portals"));
        assert_eq!(near("allow_any_host"), Some("allow-any-host"));
        assert_eq!(near("mdoe"), Some("mode"));
        assert_eq!(near("size"), None);
        assert_eq!(near(""), None);
        assert_eq!(near(&"x".repeat(100_000)), None);
    }
}
