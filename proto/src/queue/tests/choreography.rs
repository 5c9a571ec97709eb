//! Random stories: whatever is submitted in whatever order, however the network cuts it and
//! whichever digests it spoils, what arrives is what was sent and every command ends once.

use std::collections::HashMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::{Queue, Step, Tag};
use crate::cqe::Completion;
use crate::handshake::Offer;
use crate::handshake::host::Wishes;
use crate::host::{Answer, Payload, Step as HostStep};
use crate::opcode::nvm;
use crate::pair::{Cut, OFFER, Pair, QUEUE_LIMITS, Rng, spoil_data_digests, wishes};
use crate::sqe::{Data, Sqe};
use crate::status::Status;

/// An opcode that the story's controller refuses.
const UNKNOWN: u8 = 0xee;
/// One that it executes and fails.
const FAILING: u8 = 0xc1;

#[derive(Clone, Debug)]
enum Op {
    Write(u32),
    Read(u32),
    Flush,
    /// A command that the controller refuses, or fails in execution, with data from the host.
    Bad(u8, u32),
    /// A fused compare and write, each of this size.
    Fused(u32),
    /// Abort whichever command this picks.
    Abort(usize),
    /// Carry this many chunks both ways.
    Carry(usize),
    /// Let the controller finish whichever executing command this picks.
    Finish(usize),
}

/// A command as its host remembers it.
#[derive(Clone, Debug)]
struct Command {
    serial: u32,
    opcode: u8,
    length: u32,
    /// Other half of a fused pair, by serial.
    partner: Option<u32>,
}

/// Everybody's memory of one story.
struct Story {
    pair: Pair,
    rng: Rng,
    serial: u32,
    live: HashMap<u16, Command>,
    ended: HashMap<u32, (Command, Answer)>,
    /// Ready at the controller and not yet answered.
    executing: Vec<Tag>,
    /// Data of commands that came to execution, by serial.
    executed: HashMap<u32, Vec<u8>>,
    /// Serials of commands whose digest was spoilt, on the way up or down, or that were aborted.
    spoilt_up: Vec<u32>,
    spoilt_down: Vec<u32>,
    aborted: Vec<u32>,
    responses: u32,
    spoil: bool,
}

fn pattern(serial: u32, length: u32) -> Vec<u8> {
    let mut state = serial.wrapping_mul(0x9e37_79b9) | 1;
    let mut bytes = Vec::with_capacity(length as usize + 4);
    while bytes.len() < length as usize {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length as usize);
    bytes
}

fn direction(opcode: u8, length: u32) -> Data {
    match opcode {
        _ if length == 0 => Data::None,
        nvm::READ => Data::ToHost(length),
        nvm::FLUSH => Data::None,
        _ => Data::FromHost(length),
    }
}

impl Story {
    fn new(wishes: Wishes, offer: Offer, cut: Cut, seed: u64, spoil: bool) -> Self {
        Self {
            pair: Pair::connect(wishes, offer, cut, seed),
            rng: Rng::new(seed.wrapping_mul(3)),
            serial: 0,
            live: HashMap::new(),
            ended: HashMap::new(),
            executing: Vec::new(),
            executed: HashMap::new(),
            spoilt_up: Vec::new(),
            spoilt_down: Vec::new(),
            aborted: Vec::new(),
            responses: 0,
            spoil,
        }
    }

    fn play(&mut self, op: &Op) {
        match *op {
            Op::Write(length) => self.submit(&[(nvm::WRITE, length, 0)]),
            Op::Read(length) => self.submit(&[(nvm::READ, length, 0)]),
            Op::Flush => self.submit(&[(nvm::FLUSH, 0, 0)]),
            Op::Bad(opcode, length) => self.submit(&[(opcode, length, 0)]),
            Op::Fused(length) => {
                self.submit(&[(nvm::COMPARE, length, 0b01), (nvm::WRITE, length, 0b10)]);
            }
            Op::Abort(nth) => {
                let mut cids: Vec<u16> = self.live.keys().copied().collect();
                cids.sort_unstable();
                if let Some(cid) = cids.get(nth % cids.len().max(1))
                    && self.pair.controller.abort(*cid)
                {
                    self.aborted.push(self.live[cid].serial);
                }
            }
            Op::Carry(chunks) => (0..chunks).for_each(|_| self.carry()),
            Op::Finish(nth) => self.finish(nth),
        }
    }

    /// Submits commands that must go together, when there is room for all.
    fn submit(&mut self, commands: &[(u8, u32, u8)]) {
        while self.pair.host.room() < commands.len() {
            self.carry();
            self.finish(0);
        }
        let first = self.serial;
        for &(opcode, length, fuse) in commands {
            let serial = self.serial;
            self.serial += 1;
            let mut sqe = Sqe::new(opcode, 0);
            sqe.flags |= fuse;
            sqe.nsid = serial.into();
            sqe.cdw12 = length.into();
            let payload = match direction(opcode, length) {
                Data::None => Payload::None,
                Data::FromHost(_) => Payload::FromHost(Arc::new(pattern(serial, length))),
                Data::ToHost(_) => Payload::ToHost {
                    length,
                    into: vec![0xee; 100],
                },
            };
            let cid = self.pair.host.submit(sqe, payload).unwrap();
            let command = Command {
                serial,
                opcode,
                length,
                partner: (fuse != 0).then_some(first + u32::from(fuse == 0b01)),
            };
            assert!(
                self.live.insert(cid, command).is_none(),
                "{cid} is live twice"
            );
        }
    }

    /// A chunk up, a chunk down.
    fn carry(&mut self) {
        let Self {
            pair,
            rng,
            live,
            spoilt_up,
            spoilt_down,
            executing,
            executed,
            spoil,
            ..
        } = self;
        let mut choose = |cid: u16, live: &HashMap<u16, Command>, noted: &mut Vec<u32>| {
            let chosen = *spoil && rng.below(6) == 0;
            if chosen {
                noted.push(live[&cid].serial);
            }
            chosen
        };
        pair.carry_up(
            |pdus| spoil_data_digests(pdus, |cid| choose(cid, live, spoilt_up)),
            |queue, step| serve(queue, step, executing, executed),
        );
        let mut arrived = Vec::new();
        pair.carry_down(
            |pdus| spoil_data_digests(pdus, |cid| choose(cid, live, spoilt_down)),
            |step| arrived.push(step),
        );
        for step in arrived {
            match step {
                HostStep::Completed(answer) => self.note(answer),
                HostStep::Terminated { .. } => panic!("{step:?}"),
            }
        }
    }

    /// An answer has come, to a command that waits for one, with the right head.
    fn note(&mut self, answer: Answer) {
        self.responses += 1;
        let parameters = self.pair.host.parameters();
        let command = self.live.remove(&answer.cid);
        let command = command.expect("an answer to a live command");
        match answer.sqhd.map(u32::from) {
            Some(sqhd) if parameters.sq_flow_control => {
                assert_eq!(sqhd, self.responses % parameters.entries);
            }
            Some(sqhd) => assert_eq!(sqhd, 0),
            None => assert!(!parameters.sq_flow_control && command.opcode == nvm::READ),
        }
        self.ended.insert(command.serial, (command, answer));
    }

    /// The controller ends one of the commands that it executes; of a fused pair, both.
    fn finish(&mut self, nth: usize) {
        if self.executing.is_empty() {
            return;
        }
        let tag = self.executing.swap_remove(nth % self.executing.len());
        let queue = &mut self.pair.controller;
        let partner = queue.partner(tag);
        for tag in [Some(tag), partner].into_iter().flatten() {
            let sqe = *queue.sqe(tag).unwrap();
            match (sqe.opcode, queue.to_host(tag)) {
                (FAILING, _) => queue.complete(tag, Status::LBA_OUT_OF_RANGE.into()),
                (_, 0) => queue.complete(tag, Completion::success(sqe.nsid.get().into())),
                (_, length) => queue.complete_read(tag, pattern(sqe.nsid.get(), length)),
            }
        }
    }

    /// Lets everything come to its end and checks that nothing is left.
    fn conclude(&mut self) {
        while !self.pair.is_quiet() || !self.executing.is_empty() {
            self.carry();
            let nth = self.rng.below(8);
            self.finish(nth);
        }
        assert_eq!(self.live.len(), 0, "commands without an answer");
        assert_eq!(self.ended.len(), self.serial as usize);
        assert_eq!(self.pair.host.outstanding(), 0);
        let queue = &self.pair.controller;
        assert_eq!((queue.outstanding(), queue.backlog()), (0, 0));
        assert_eq!((queue.solicited, queue.executing, queue.begun), (0, 0, 0));
        assert!(
            queue.unread.is_empty() && queue.unsolicited.is_empty() && queue.fused_first.is_none()
        );
        assert!(!queue.has_ready() && !queue.is_dead());
        for (command, answer) in self.ended.values() {
            self.judge(command, answer);
        }
    }

    /// A command ended as its story says: executed with its data, or not at all.
    fn judge(&self, command: &Command, answer: &Answer) {
        let status = answer.completion.status;
        let harmed =
            |serial: u32| self.spoilt_up.contains(&serial) || self.aborted.contains(&serial);
        let pair_harmed = harmed(command.serial) || command.partner.is_some_and(harmed);
        let executed = self.executed.get(&command.serial);
        let too_long = command.length > QUEUE_LIMITS.max_transfer;
        if too_long {
            assert!(status.is(Status::INVALID_FIELD) && status.is_dnr());
            assert_eq!(executed, None);
        } else if command.opcode == UNKNOWN {
            assert!(status.is(Status::INVALID_OPCODE) || harmed(command.serial));
            assert_eq!(executed, None);
        } else if pair_harmed {
            let expected: &[Status] = match harmed(command.serial) {
                true => &[Status::TRANSIENT_TRANSPORT_ERROR, Status::ABORT_REQUESTED],
                false => &[],
            };
            let fused = [Status::FUSED_FAILED, Status::FUSED_MISSING];
            let of_pair = command.partner.map_or(&[][..], |_| &fused);
            let any = |list: &[Status]| list.iter().any(|one| status.is(*one));
            assert!(
                any(expected) || any(of_pair),
                "{command:?} ended with {status}"
            );
            assert_eq!(executed, None, "{command:?} was executed all the same");
        } else if command.opcode == FAILING {
            assert!(status.is(Status::LBA_OUT_OF_RANGE));
        } else if self.spoilt_down.contains(&command.serial) {
            assert!(status.is(Status::TRANSIENT_TRANSPORT_ERROR));
        } else {
            assert!(status.is_success(), "{command:?} ended with {status}");
            let sent = pattern(command.serial, command.length);
            match direction(command.opcode, command.length) {
                Data::ToHost(_) => assert!(answer.data == sent, "{command:?}: wrong data"),
                Data::None | Data::FromHost(_) => {
                    assert!(executed == Some(&sent), "{command:?}: wrong data")
                }
            }
        }
    }
}

/// The story's controller: judges commands by their opcode and remembers what came to execution.
fn serve(
    queue: &mut Queue,
    step: Step,
    executing: &mut Vec<Tag>,
    executed: &mut HashMap<u32, Vec<u8>>,
) {
    match step {
        Step::Capsule(tag) => {
            let sqe = *queue.sqe(tag).unwrap();
            match sqe.opcode {
                UNKNOWN => queue.refuse(tag, Status::INVALID_OPCODE.dnr().into()),
                opcode => queue.accept(tag, direction(opcode, sqe.cdw12.get())),
            }
        }
        Step::Ready(tag) => {
            executing.push(tag);
            let partner = queue.partner(tag);
            for tag in [Some(tag), partner].into_iter().flatten() {
                let serial = queue.sqe(tag).unwrap().nsid.get();
                let before = executed.insert(serial, queue.take_data(tag));
                assert_eq!(before, None, "executed twice");
            }
        }
        Step::Failed { status, .. } => assert!(!status.is_success()),
        Step::Terminated { .. } => panic!("the host terminates"),
    }
}

/// Nothing, a few bytes, around the in-capsule limit, around MAXH2CDATA, up to the largest.
fn length() -> impl Strategy<Value = u32> {
    prop_oneof![
        2 => 1_u32..64,
        3 => 8_000_u32..8_400,
        2 => 1_u32..70_000,
        1 => 130_000_u32..140_000,
        1 => 1_u32..=(1 << 20) + 1,
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => length().prop_map(Op::Write),
        4 => length().prop_map(Op::Read),
        1 => Just(Op::Flush),
        1 => length().prop_map(|length| Op::Bad(UNKNOWN, length)),
        1 => length().prop_map(|length| Op::Bad(FAILING, length)),
        2 => length().prop_map(Op::Fused),
        2 => any::<usize>().prop_map(Op::Abort),
        6 => (1_usize..30).prop_map(Op::Carry),
        4 => any::<usize>().prop_map(Op::Finish),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn what_arrives_is_what_was_sent_and_every_command_ends_once(
        ops in prop::collection::vec(op(), 1..40),
        (header_digest, data_digest, spoil) in any::<(bool, bool, bool)>(),
        hpda in 0_u8..32,
        sq_flow_control in any::<bool>(),
        entries in prop_oneof![Just(3_u32), 4_u32..40],
        maxh2cdata in prop_oneof![Just(4096_u32), Just(65536), Just(1 << 20)],
        cut in prop_oneof![Just(Cut::Whole), Just(Cut::Random), Just(Cut::Wanted)],
        seed in any::<u64>(),
    ) {
        let mut wishes = Wishes { hpda, header_digest, data_digest, ..wishes() };
        wishes.connect.sq_flow_control = sq_flow_control;
        wishes.connect.entries = entries;
        let offer = Offer { maxh2cdata, ..OFFER };
        let mut story = Story::new(wishes, offer, cut, seed, spoil);
        for op in &ops {
            story.play(op);
        }
        story.conclude();
    }
}

#[test]
fn bytes_that_come_one_by_one_tell_the_same_story() {
    let mut wishes = wishes();
    (wishes.header_digest, wishes.data_digest, wishes.hpda) = (true, true, 31);
    let mut story = Story::new(wishes, OFFER, Cut::Bytes, 1, false);
    let ops = [
        Op::Write(5000),
        Op::Fused(300),
        Op::Read(3000),
        Op::Bad(UNKNOWN, 77),
        Op::Write(20_000),
        Op::Flush,
    ];
    ops.iter().for_each(|op| story.play(op));
    story.conclude();
}
