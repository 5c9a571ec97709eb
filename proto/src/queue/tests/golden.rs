//! One exchange of each kind, byte for byte, written down from the specification.

use std::sync::Arc;

use super::super::{Parameters, Queue, Step};
use crate::cqe::Completion;
use crate::host::{self, Payload};
use crate::opcode::nvm;
use crate::pdu::Framing;
use crate::sqe::{Data, Sqe};

/// Digests, and data at multiples of 32 bytes towards the host.
const TO_HOST: Framing = Framing {
    header_digest: true,
    data_digest: true,
    send_alignment: 32,
    receive_alignment: 4,
};
const FROM_HOST: Framing = Framing {
    send_alignment: 4,
    receive_alignment: 32,
    ..TO_HOST
};

fn ends() -> (host::Queue, Queue) {
    let host = host::Queue::new(host::Parameters {
        framing: FROM_HOST,
        maxh2cdata: 4096,
        max_r2ts: 1,
        in_capsule: 8,
        entries: 16,
        sq_flow_control: true,
    });
    let controller = Queue::new(Parameters {
        framing: TO_HOST,
        maxh2cdata: 4096,
        in_capsule: 8,
        entries: 16,
        sq_flow_control: true,
        max_transfer: 4096,
    });
    (host, controller)
}

/// Bytes from hexadecimal text; white space is for the reader.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    let byte = |pair: &[u32]| u8::try_from(pair[0] * 16 + pair[1]).unwrap();
    digits.chunks_exact(2).map(byte).collect()
}

/// The digest that stands at the end of `bytes` must be right; it is left out of golden text.
fn split_digest(bytes: &[u8]) -> &[u8] {
    let (covered, digest) = bytes.split_last_chunk::<4>().unwrap();
    assert_eq!(*digest, crc32c::crc32c(covered).to_le_bytes());
    covered
}

#[test]
fn a_write_in_its_capsule() {
    let (mut host, mut controller) = ends();
    let mut sqe = Sqe::new(nvm::WRITE, 0);
    sqe.nsid = 1.into();
    sqe.set_cdw10_11(0x1122);
    let data = Arc::new(b"fourFOUR".to_vec());
    host.submit(sqe, Payload::FromHost(data)).unwrap();
    let sent = host.outbox().take();
    let header = hex("04 03 48 4c 58 00 00 00
         01 40 0000 01000000  00000000 00000000  0000000000000000
         0000000000000000 08000000 000000 01
         22110000 00000000 00000000 00000000 00000000 00000000");
    assert_eq!(split_digest(&sent[..76]), header);
    assert_eq!(split_digest(&sent[76..]), b"fourFOUR");
    let mut input = sent.as_slice();
    let Ok(Some(Step::Capsule(tag))) = controller.next(&mut input) else {
        panic!("no capsule")
    };
    controller.accept(tag, Data::FromHost(8));
    assert_eq!(controller.next(&mut input), Ok(Some(Step::Ready(tag))));
    controller.complete(tag, Completion::success(0x0a0b));
    let answer = controller.outbox().take();
    let expected = hex("05 01 18 00 1c 00 00 00  0b0a0000 00000000 0100 0000 0000 0000");
    assert_eq!(split_digest(&answer), expected);
}

#[test]
fn a_write_that_is_asked_for_its_data() {
    let (mut host, mut controller) = ends();
    host.submit(Sqe::new(nvm::FLUSH, 0), Payload::None).unwrap();
    let data = Arc::new(b"twelve bytes".to_vec());
    let cid = host
        .submit(Sqe::new(nvm::WRITE, 0), Payload::FromHost(data))
        .unwrap();
    assert_eq!(cid, 1);
    let sent = host.outbox().take();
    assert_eq!(sent.len(), 2 * 76, "no data without being asked for it");
    let mut input = sent.as_slice();
    while let Some(step) = controller.next(&mut input).unwrap() {
        let Step::Capsule(tag) = step else { continue };
        let write = controller.sqe(tag).unwrap().opcode == nvm::WRITE;
        controller.accept(
            tag,
            if write {
                Data::FromHost(12)
            } else {
                Data::None
            },
        );
    }
    let r2t = controller.outbox().take();
    let expected = hex("09 01 18 00 1c 00 00 00  0100 0100 00000000 0c000000 00000000");
    assert_eq!(split_digest(&r2t), expected);
    assert_eq!(host.next(&mut r2t.as_slice()), Ok(None));
    let sent = host.outbox().take();
    let header = hex("06 07 18 1c 2c 00 00 00  0100 0100 00000000 0c000000 00000000");
    assert_eq!(split_digest(&sent[..28]), header);
    assert_eq!(split_digest(&sent[28..]), b"twelve bytes");
}

#[test]
fn a_read_whose_data_is_aligned_for_the_host() {
    let (mut host, mut controller) = ends();
    let into = Vec::new();
    let payload = Payload::ToHost { length: 12, into };
    host.submit(Sqe::new(nvm::READ, 0), payload).unwrap();
    let sent = host.outbox().take();
    let mut input = sent.as_slice();
    let Ok(Some(Step::Capsule(tag))) = controller.next(&mut input) else {
        panic!("no capsule")
    };
    controller.accept(tag, Data::ToHost(12));
    controller.next(&mut input).unwrap();
    controller.complete_read(tag, b"twelve bytes".to_vec());
    let answer = controller.outbox().take();
    let header = hex("07 07 18 20 30 00 00 00  0000 0000 00000000 0c000000 00000000");
    assert_eq!(split_digest(&answer[..28]), header);
    assert_eq!(answer[28..32], [0; 4], "padding up to 32");
    assert_eq!(split_digest(&answer[32..48]), b"twelve bytes");
    let response = hex("05 01 18 00 1c 00 00 00  00000000 00000000 0100 0000 0000 0000");
    assert_eq!(split_digest(&answer[48..]), response);
    let Ok(Some(host::Step::Completed(done))) = host.next(&mut answer.as_slice()) else {
        panic!("no answer")
    };
    assert_eq!(
        (done.data.as_slice(), done.sqhd),
        (&b"twelve bytes"[..], Some(1))
    );
}

#[test]
fn without_flow_control_the_last_data_says_success() {
    let (_, mut controller) = ends();
    controller.parameters.sq_flow_control = false;
    controller.parameters.framing = Framing::INITIAL;
    let mut pdu = Vec::new();
    let mut sqe = Sqe::new(nvm::READ, 3);
    sqe.sgl.length = 4.into();
    Framing::INITIAL.capsule_cmd(&mut pdu, sqe, 0);
    controller.establish(*controller.parameters());
    let mut input = pdu.as_slice();
    let Ok(Some(Step::Capsule(tag))) = controller.next(&mut input) else {
        panic!("no capsule")
    };
    controller.accept(tag, Data::ToHost(4));
    controller.next(&mut input).unwrap();
    controller.complete_read(tag, b"four".to_vec());
    let expected = hex("07 0c 18 18 1c 00 00 00  0300 0000 00000000 04000000 00000000 666f7572");
    assert_eq!(controller.outbox().take(), expected);
}
