//! What the monitor and its processes say to each other: whole messages, each perhaps with a
//! descriptor.
//!
//! The worker reads every byte that peers send, and the announcer what its part of the network does,
//! so the monitor takes both for hostile: a message has a bound, a type and nothing else, and one that
//! makes no sense ends who sent it, never the monitor.

#![forbid(unsafe_code)]

pub mod announcement;
pub mod channel;
pub mod message;
pub mod process;

pub use announcement::{FromAnnouncer, ToAnnouncer};
pub use channel::Channel;
pub use message::{ToMonitor, ToWorker};

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;

    use super::*;
    use crate::control::message::{Answered, Asked};

    fn reads<M: DeserializeOwned>(bytes: &[u8]) -> bool {
        serde_json::from_slice::<M>(bytes).is_ok()
    }

    #[test]
    fn what_fuzzing_begins_with_are_messages_of_today() {
        let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/messages");
        let read: [fn(&[u8]) -> bool; 6] = [
            reads::<ToWorker>,
            reads::<ToMonitor>,
            reads::<ToAnnouncer>,
            reads::<FromAnnouncer>,
            reads::<Asked>,
            reads::<Answered>,
        ];
        let stale: Vec<_> = std::fs::read_dir(seeds)
            .unwrap()
            .map(|seed| seed.unwrap().path())
            .filter(|seed| {
                let bytes = std::fs::read(seed).unwrap();
                !read.iter().any(|reads| reads(&bytes))
            })
            .collect();
        assert!(stale.is_empty(), "{stale:?}");
    }
}
