//! A registration as a Centralized Discovery Controller reads it: any bytes behind an entry that may make
//! sense. What is read stood there, and no more of it than there are bytes.

#![no_main]
#![forbid(unsafe_code)]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use nvmf_proto::registration::{Received, Task};
use nvmf_proto::sqe::{Data, SglDescriptor, Sqe};
use zerocopy::FromZeros;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    opcode: Option<u8>,
    task: u8,
    /// Whether the length in the header is made right.
    fitting: bool,
    data: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let mut data = input.data.to_vec();
    let length = u32::try_from(data.len()).expect("libFuzzer's inputs are short");
    if let (true, Some(tdl)) = (input.fitting, data.get_mut(..4)) {
        tdl.copy_from_slice(&length.to_le_bytes());
    }
    let mut sqe = Sqe::new_zeroed();
    sqe.opcode = input.opcode.unwrap_or(0x21);
    sqe.cdw10 = u32::from(input.task % 4).into();
    sqe.sgl = SglDescriptor::transport(length);
    let Ok(moved) = Received::data(&sqe, 1 << 16) else {
        return;
    };
    assert_eq!(moved, Data::FromHost(length));
    let Ok(received) = Received::read(&sqe, &data) else {
        return;
    };
    let entries = match received.task() {
        Task::Register(entries) | Task::Deregister(entries) => entries.len(),
        Task::Update { .. } => 2,
    };
    assert!((1..=data.len() / 1024).contains(&entries));
    assert_eq!(Received::read(&sqe, &data), Ok(received));
});
