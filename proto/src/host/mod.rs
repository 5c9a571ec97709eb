//! An established queue pair, seen by its host: the mirror of [`crate::queue`].
//!
//! Commands are submitted with the data that they move; data goes into the capsule where it fits
//! and answers R2Ts where it does not. [`Queue::next`] yields a [`Step`] for each command that has
//! ended, with the buffer that was lent to it. Whatever a controller does wrong below the level of
//! commands ends the queue with a termination in its outbox, after which nothing is accepted or
//! sent any more.
//!
//! Data is never copied on its way out but for small pieces, and once on its way in.

mod arrive;
mod submit;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use crate::cqe::Completion;
use crate::deframer::{Deframer, Rules, Side};
use crate::outbox::Outbox;
use crate::pdu::{Framing, PduError, PduType, termination};

/// What a queue is made of, settled by ICResp and Connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Digests and alignment.
    pub framing: Framing,
    /// Bytes that one H2CData PDU may carry (MAXH2CDATA).
    pub maxh2cdata: u32,
    /// R2Ts outstanding per command that we bear, 1 or more.
    pub max_r2ts: u32,
    /// Bytes of data that a command capsule may carry.
    pub in_capsule: u32,
    /// Entries of the submission queue.
    pub entries: u32,
    /// Whether responses report the submission queue's head.
    pub sq_flow_control: bool,
}

/// The data that a command moves, as its submitter provides it.
#[derive(Debug)]
pub enum Payload {
    /// None.
    None,
    /// All of these bytes, from the host.
    FromHost(Arc<Vec<u8>>),
    /// Exactly `length` bytes, to the host.
    ToHost {
        /// Bytes that must come if the command succeeds.
        length: u32,
        /// Where to put them; what it holds is thrown away, its memory is used again.
        into: Vec<u8>,
    },
}

/// How a command ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The identifier that [`Queue::submit`] gave it.
    pub cid: u16,
    /// How it ended; Transient Transport Error where the controller reports success but the data
    /// came damaged.
    pub completion: Completion,
    /// The submission queue's head as the response has it (without flow control it says nothing).
    /// `None`: the last data PDU said success and no response came.
    pub sqhd: Option<u16>,
    /// The buffer of [`Payload::ToHost`] with the data that came.
    pub data: Vec<u8>,
}

/// What the queue tells its owner.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// A command has ended.
    Completed(Answer),
    /// The controller ends the connection; nothing is to be answered.
    Terminated {
        /// Fatal Error Status as the controller gave it; any number.
        fes: u16,
        /// Fatal Error Information as the controller gave it.
        fei: u32,
    },
}

/// Why a command was not submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    /// No entry of the submission queue is free; some command must end first.
    #[error("the submission queue is full")]
    Full,
    /// The queue has ended.
    #[error("the queue has ended")]
    Dead,
    /// More data than a 32-bit length can describe.
    #[error("the data is longer than an SGL descriptor can say")]
    TooLong,
}

/// The host's side of a queue pair. See the module's description.
#[derive(Debug)]
pub struct Queue {
    parameters: Parameters,
    deframer: Deframer,
    outbox: Outbox,
    /// Bytes ever put into the outbox.
    appended: u64,
    /// Outstanding commands by identifier.
    slots: Vec<Option<Slot>>,
    /// Identifiers that were used and are free again, the latest last.
    free: Vec<u16>,
    /// Where the next command goes, and how far the controller has consumed the queue.
    tail: u32,
    head: u32,
    /// Whose data the stream carries now.
    receiving: Option<u16>,
    /// R2Ts whose data has not all left the outbox: the command, and `appended` behind that data.
    answering: VecDeque<(u16, u64)>,
    dead: bool,
}

/// An outstanding command.
#[derive(Debug)]
struct Slot {
    /// Data that R2Ts may ask for.
    from_host: Option<Arc<Vec<u8>>>,
    /// Bytes of it asked for so far.
    asked: u32,
    /// R2Ts of which some data has not left yet.
    r2ts: u32,
    /// Bytes that are to come.
    expected: u32,
    /// Those that came.
    data: Vec<u8>,
    /// Whether the digests of all of them were right.
    intact: bool,
    /// Whether the PDU that is being received is the last and says success.
    success: bool,
}

impl Queue {
    /// A queue on which nothing has happened yet.
    pub fn new(parameters: Parameters) -> Self {
        let rules = Rules {
            side: Side::Host,
            framing: parameters.framing,
            max_capsule_data: 0,
            // Controllers may send any amount at once; each command bounds its own.
            max_data: u32::MAX,
            initialized: true,
        };
        Self {
            parameters,
            deframer: Deframer::new(rules),
            outbox: Outbox::default(),
            appended: 0,
            slots: Vec::new(),
            free: Vec::new(),
            tail: 0,
            head: 0,
            receiving: None,
            answering: VecDeque::new(),
            dead: false,
        }
    }

    /// What the queue is made of.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Makes the queue what its Connect settled; it begins at `sqhd`.
    pub(crate) fn establish(&mut self, parameters: Parameters, sqhd: u16) {
        self.parameters = parameters;
        self.tail = u32::from(sqhd);
        self.head = self.tail;
    }

    /// Takes bytes from the front of `input` up to the next step. `None`: all is used up.
    ///
    /// # Errors
    /// The controller's violation. A termination is in the outbox and the queue is dead.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Step>, PduError> {
        loop {
            if self.dead {
                *input = &[];
                return Ok(None);
            }
            let step = match self.deframer.next(input) {
                Ok(None) => return Ok(None),
                Ok(Some(event)) => self.event(&event),
                Err(error) => Err(error),
            };
            match step {
                Ok(None) => {}
                Ok(step) => return Ok(step),
                Err(error) => {
                    self.terminate(error);
                    return Err(error);
                }
            }
        }
    }

    /// Bytes that may be read without reading beyond the next event.
    pub fn wants(&self) -> usize {
        if self.dead { 0 } else { self.deframer.wants() }
    }

    /// What waits to be sent.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Commands submitted and not yet ended.
    pub fn outstanding(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether the queue has ended by a violation or at the controller's wish.
    pub fn is_dead(&self) -> bool {
        self.dead
    }

    /// Ends the queue because of the controller's violation, and tells it.
    pub(crate) fn terminate(&mut self, error: PduError) {
        if self.dead {
            return;
        }
        self.dead = true;
        if let PduError::Fatal { fes, fei } = error {
            let pdu = termination(PduType::H2cTermReq, fes, fei, self.deframer.header_bytes());
            self.outbox.headers(|out| out.extend_from_slice(&pdu));
        }
    }

    fn slot_mut(&mut self, cid: u16) -> Option<&mut Slot> {
        self.slots.get_mut(usize::from(cid))?.as_mut()
    }
}
