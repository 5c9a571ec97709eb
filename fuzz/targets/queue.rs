//! An established queue: a host that speaks well, one that does not, and a controller that answers in any
//! order, from a list of what happens.
//!
//! As long as nobody meddled with what is on its way, every command ends once, with its own data; however
//! a host misbehaves, the queue holds no more than it may, and ends for good.

#![no_main]
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::Arc;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use nvmf_proto::host::{self, Payload};
use nvmf_proto::pdu::Framing;
use nvmf_proto::queue::{Parameters, Queue, Step, Tag};
use nvmf_proto::sqe::{Data, SglDescriptor, Sqe};
use nvmf_proto::status::Status;
use zerocopy::FromZeros;

#[derive(Debug, Arbitrary)]
struct Story {
    header_digest: bool,
    data_digest: bool,
    sq_flow_control: bool,
    entries: u8,
    maxh2cdata: u8,
    in_capsule: u8,
    events: Vec<Event>,
}

#[derive(Debug, Arbitrary)]
enum Event {
    /// The host submits a command.
    Submit(Submitted),
    /// So many bytes reach the controller.
    Up(u16),
    /// So many bytes reach the host.
    Down(u16),
    /// The controller ends a command that is ready.
    Answer { which: u8, how: Answer },
    /// The host wants a command aborted.
    Abort(u8),
    /// A byte on its way to the controller is another.
    Meddle { at: u16, with: u8 },
    /// Bytes of nobody's appear on the way to the controller.
    Insert(Vec<u8>),
}

#[derive(Debug, Arbitrary)]
struct Submitted {
    direction: Direction,
    length: u16,
    fuse: u8,
    /// Another descriptor than the right one.
    descriptor: Option<(u8, u32)>,
    /// The controller says no.
    refused: bool,
}

#[derive(Debug, Arbitrary)]
enum Direction {
    None,
    ToHost,
    FromHost,
}

#[derive(Debug, Arbitrary)]
enum Answer {
    Right,
    Error,
    WrongLength,
    Hold,
    Forget,
}

/// Who answers, and what is expected of it.
struct World {
    host: host::Queue,
    controller: Queue,
    up: Vec<u8>,
    down: Vec<u8>,
    /// Commands of the host: how many bytes each brings, by its identifier.
    submitted: BTreeMap<u16, Vec<u8>>,
    ready: Vec<Tag>,
    held: Vec<Tag>,
    /// Commands that end without an answer, by the controller's wish.
    forgotten: usize,
    /// Somebody meddled: the host is not to be believed any more.
    hostile: bool,
    /// The host did what it may not, in commands that are whole.
    wrong: bool,
}

const REFUSED: u32 = 1;

impl World {
    fn new(story: &Story) -> Self {
        let framing = Framing {
            header_digest: story.header_digest,
            data_digest: story.data_digest,
            ..Framing::INITIAL
        };
        let entries = u32::from(story.entries).max(2);
        let maxh2cdata = 4096 + 4 * u32::from(story.maxh2cdata);
        let in_capsule = 64 * u32::from(story.in_capsule);
        let sq_flow_control = story.sq_flow_control;
        Self {
            host: host::Queue::new(host::Parameters {
                framing,
                maxh2cdata,
                max_r2ts: 1,
                in_capsule,
                entries,
                sq_flow_control,
            }),
            controller: Queue::new(Parameters {
                framing,
                maxh2cdata,
                in_capsule,
                entries,
                sq_flow_control,
                max_transfer: 1 << 17,
            }),
            up: Vec::new(),
            down: Vec::new(),
            submitted: BTreeMap::new(),
            ready: Vec::new(),
            held: Vec::new(),
            forgotten: 0,
            hostile: false,
            wrong: false,
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Submit(command) => self.submit(&command),
            Event::Up(bytes) => self.carry_up(bytes.into()),
            Event::Down(bytes) => self.carry_down(bytes.into()),
            Event::Answer { which, how } => self.answer(which.into(), &how),
            Event::Abort(which) => {
                let cids: Vec<u16> = self.submitted.keys().copied().collect();
                if let Some(&cid) = cids.get(usize::from(which) % cids.len().max(1)) {
                    self.controller.abort(cid);
                }
            }
            Event::Meddle { at, with } => {
                let length = self.up.len();
                if with != 0 && length != 0 {
                    self.up[usize::from(at) % length] ^= with;
                    self.hostile = true;
                }
            }
            Event::Insert(bytes) => {
                self.hostile |= !bytes.is_empty();
                self.up.extend(bytes);
            }
        }
    }

    fn submit(&mut self, command: &Submitted) {
        let mut sqe = Sqe::new_zeroed();
        sqe.flags = 0x40 | command.fuse & 0b11;
        self.wrong |= command.fuse & 0b11 != 0;
        let length = match command.direction {
            Direction::None => 0,
            Direction::ToHost | Direction::FromHost => u32::from(command.length),
        };
        sqe.opcode = match command.direction {
            Direction::None => 0,
            Direction::FromHost => 1,
            Direction::ToHost => 2,
        };
        sqe.cdw10 = length.into();
        sqe.cdw11 = if command.refused { REFUSED } else { 0 }.into();
        let brings: Vec<u8> = (0..length).map(|at| (at * 7 + 3) as u8).collect();
        let payload = match command.direction {
            Direction::None => Payload::None,
            Direction::FromHost => Payload::FromHost(Arc::new(brings.clone())),
            Direction::ToHost => Payload::ToHost {
                length,
                into: Vec::new(),
            },
        };
        let submitted = match command.descriptor {
            None => self.host.submit(sqe, payload),
            Some((kind, length)) => {
                self.wrong = true;
                sqe.sgl = SglDescriptor {
                    length: length.into(),
                    kind,
                    ..SglDescriptor::default()
                };
                self.host.submit_as_is(sqe, payload)
            }
        };
        if let Ok(cid) = submitted {
            let twice = self.submitted.insert(cid, brings);
            assert!(twice.is_none() || self.hostile, "an identifier twice");
        }
    }

    fn carry_up(&mut self, bytes: usize) {
        self.up.extend(self.host.outbox().take());
        let chunk: Vec<u8> = self.up.drain(..bytes.min(self.up.len())).collect();
        let mut input = chunk.as_slice();
        loop {
            match self.controller.next(&mut input) {
                Ok(None) => break,
                Ok(Some(step)) => self.serve(step),
                Err(error) => {
                    assert!(self.hostile || self.wrong, "{error:?} though all was right");
                    self.hostile = true;
                    assert!(self.controller.is_dead());
                }
            }
        }
        assert!(input.is_empty(), "it left bytes behind");
        // The queue's own bound, with room for what one more PDU may say.
        let most = 2 * u64::from(self.controller.parameters().entries) + 1;
        if self.controller.is_saturated() {
            assert!(self.controller.outstanding() as u64 + 1 >= most - 1);
        }
    }

    fn serve(&mut self, step: Step) {
        match step {
            Step::Capsule(tag) => {
                let sqe = *self.controller.sqe(tag).expect("a capsule has an entry");
                let length = sqe.cdw10.get().min(1 << 17);
                if sqe.cdw11.get() == REFUSED {
                    let refused = Status::INVALID_FIELD.dnr().into();
                    return self.controller.refuse(tag, refused);
                }
                let data = match sqe.opcode {
                    1 => Data::FromHost(length),
                    2 => Data::ToHost(length),
                    _ => Data::None,
                };
                self.controller.accept(tag, data);
            }
            Step::Ready(tag) => {
                let sqe = *self
                    .controller
                    .sqe(tag)
                    .expect("what is ready has an entry");
                if !self.hostile && sqe.opcode == 1 && !self.wrong {
                    let data = self.controller.take_data(tag);
                    assert_eq!(Some(&data), self.submitted.get(&sqe.cid.get()));
                }
                self.ready.push(tag);
            }
            Step::Failed { .. } => {}
            Step::Terminated { .. } => self.hostile = true,
        }
    }

    fn answer(&mut self, which: usize, how: &Answer) {
        if self.ready.is_empty() {
            if let Some(tag) = self.held.pop() {
                self.controller
                    .complete(tag, Status::ABORT_REQUESTED.into());
            }
            return;
        }
        let tag = self.ready.swap_remove(which % self.ready.len());
        let Some(&sqe) = self.controller.sqe(tag) else {
            return;
        };
        let partner = self.controller.partner(tag);
        let length = sqe.cdw10.get().min(1 << 17) as usize;
        let error = Status::INTERNAL_ERROR.into();
        match how {
            Answer::Right if sqe.opcode == 2 => {
                let data = (0..length).map(|at| (at * 7 + 3) as u8).collect();
                self.controller.complete_read(tag, data);
            }
            Answer::Right => self
                .controller
                .complete(tag, nvmf_proto::cqe::Completion::SUCCESS),
            Answer::WrongLength if sqe.opcode == 2 => {
                self.wrong = true;
                self.controller.complete_read(tag, vec![0; length / 2]);
            }
            Answer::Error | Answer::WrongLength => self.controller.complete(tag, error),
            Answer::Hold => {
                self.controller.hold(tag);
                self.held.push(tag);
            }
            Answer::Forget => {
                self.controller.forget(tag);
                self.forgotten += 1;
            }
        }
        if let Some(partner) = partner {
            self.controller.complete(partner, error);
        }
    }

    fn carry_down(&mut self, bytes: usize) {
        self.down.extend(self.controller.outbox().take());
        let chunk: Vec<u8> = self.down.drain(..bytes.min(self.down.len())).collect();
        let mut input = chunk.as_slice();
        loop {
            match self.host.next(&mut input) {
                Ok(None) => break,
                Ok(Some(host::Step::Completed(answer))) => {
                    let brings = self.submitted.remove(&answer.cid);
                    if !self.hostile && !self.wrong {
                        let brings = brings.expect("a command that was submitted");
                        if !answer.data.is_empty() && answer.completion.status.is_success() {
                            assert_eq!(answer.data, brings);
                        }
                    }
                }
                Ok(Some(host::Step::Terminated { .. })) => {
                    assert!(self.hostile || self.wrong, "it ended though all was right");
                }
                Err(error) => {
                    // A host that lied may get answers that fit nothing.
                    assert!(
                        self.hostile || self.wrong,
                        "{error:?}: a controller's fault"
                    );
                }
            }
        }
    }

    /// Everything is carried, and everything answered.
    fn end(&mut self) {
        for _ in 0..self.submitted.len() + 3 {
            self.carry_up(usize::MAX);
            while !self.ready.is_empty() {
                self.answer(0, &Answer::Right);
            }
            self.carry_down(usize::MAX);
        }
        if self.hostile || self.wrong {
            return;
        }
        assert_eq!(self.controller.backlog(), 0);
        assert_eq!(self.controller.outstanding(), self.held.len());
        assert_eq!(self.submitted.len(), self.held.len() + self.forgotten);
    }
}

fuzz_target!(|story: Story| {
    let mut world = World::new(&story);
    for event in story.events {
        world.happens(event);
    }
    world.end();
});
