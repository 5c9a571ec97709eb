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
