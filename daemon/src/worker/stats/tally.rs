//! Counters by label, where the labels are an enum of ours: however peers behave, there is one
//! counter for each variant and no more.

#![forbid(unsafe_code)]

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// An enum that labels counters.
pub trait Label: Copy + 'static {
    /// All variants, in the order of their declaration.
    const ALL: &'static [Self];

    /// What a variant is called outside.
    fn name(self) -> &'static str;

    /// Its place in [`Self::ALL`].
    fn index(self) -> usize;
}

/// One counter for each variant of a [`Label`].
#[derive(Debug)]
pub struct Tally<L> {
    counts: Box<[AtomicU64]>,
    of: PhantomData<L>,
}

impl<L: Label> Tally<L> {
    /// Counts one.
    pub fn count(&self, label: L) {
        if let Some(count) = self.counts.get(label.index()) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// The count of one.
    pub fn of(&self, label: L) -> u64 {
        let count = self.counts.get(label.index());
        count.map_or(0, |count| count.load(Relaxed))
    }

    /// Every label and its count.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let names = L::ALL.iter().map(|label| label.name());
        names.zip(self.counts.iter().map(|count| count.load(Relaxed)))
    }
}

impl<L: Label> Default for Tally<L> {
    fn default() -> Self {
        Self {
            counts: L::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            of: PhantomData,
        }
    }
}

/// Declares an enum that is a [`Label`], each variant with its name outside.
macro_rules! label {
    ($(#[$meta:meta])* $vis:vis $label:ident { $($(#[$doc:meta])* $variant:ident = $name:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $label {
            $($(#[$doc])* $variant,)+
        }

        impl $crate::worker::stats::tally::Label for $label {
            const ALL: &'static [Self] = &[$(Self::$variant,)+];

            fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

pub(in crate::worker) use label;

#[cfg(test)]
mod tests {
    use super::*;

    label! {
        /// A coin.
        Coin {
            /// This side.
            Heads = "heads",
            /// The other.
            Tails = "tails",
        }
    }

    #[test]
    fn each_label_has_its_counter_from_the_start() {
        let tally = Tally::<Coin>::default();
        tally.count(Coin::Tails);
        tally.count(Coin::Tails);
        assert!(tally.iter().eq([("heads", 0), ("tails", 2)]));
        assert_eq!(Coin::ALL[Coin::Heads.index()], Coin::Heads);
    }
}
