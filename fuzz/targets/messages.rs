//! What the processes say to each other, and what operators say: any bytes, read as each of them.
//!
//! What can be read is written again in no more than a message's length, and means the same.

#![no_main]
#![forbid(unsafe_code)]

use std::fmt::Debug;

use libfuzzer_sys::fuzz_target;
use nvmfd::control::message::{Answered, Asked};
use nvmfd::ipc::channel::MESSAGE_MAX;
use nvmfd::ipc::{FromAnnouncer, ToAnnouncer, ToMonitor, ToWorker};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn read<M: Serialize + DeserializeOwned + Debug>(bytes: &[u8]) {
    let Ok(message) = serde_json::from_slice::<M>(bytes) else {
        return;
    };
    let written = serde_json::to_vec(&message).expect("what was read can be written");
    let again: M = serde_json::from_slice(&written).expect("what was written can be read");
    assert_eq!(format!("{message:?}"), format!("{again:?}"));
}

fuzz_target!(|bytes: &[u8]| {
    let bytes = bytes.get(..MESSAGE_MAX).unwrap_or(bytes);
    read::<ToWorker>(bytes);
    read::<ToMonitor>(bytes);
    read::<ToAnnouncer>(bytes);
    read::<FromAnnouncer>(bytes);
    read::<Asked>(bytes);
    read::<Answered>(bytes);
});
