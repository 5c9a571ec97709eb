//! What monitor and worker say to each other: whole messages, each perhaps with a descriptor.
//!
//! The worker reads every byte that peers send, so the monitor takes it for hostile: a message has a
//! bound, a type and nothing else, and one that makes no sense ends the worker, never the monitor.

#![forbid(unsafe_code)]

pub mod channel;
pub mod message;

pub use channel::Channel;
pub use message::{ToMonitor, ToWorker};
