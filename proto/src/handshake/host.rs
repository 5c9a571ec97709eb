//! The host's half of the handshake.
//!
//! It sends an ICReq at once and the Connect when the ICResp is good, and ends with an established
//! [`Queue`], a refusal, or the end of the connection.

use std::sync::Arc;

use zerocopy::IntoBytes;

use crate::connect::{Connect, ConnectReject};
use crate::cqe::Completion;
use crate::deframer::{Deframer, Event, Rules, Side};
use crate::host::{Answer, Parameters, Payload, Queue, Step};
use crate::outbox::Outbox;
use crate::pdu::{Framing, Header, IcReq, IcResp, PduError, PduType, termination};
use crate::queue::ADMIN_IN_CAPSULE;
use crate::status::Status;

/// What a host asks of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wishes {
    /// Data that is sent to us starts at multiples of this many dwords, less one: 0–31.
    pub hpda: u8,
    /// R2Ts outstanding per command that we bear, 1 or more.
    pub max_r2ts: u32,
    /// Whether to ask for header digests.
    pub header_digest: bool,
    /// Whether to ask for data digests.
    pub data_digest: bool,
    /// Bytes of in-capsule data once the queue is established: [`ADMIN_IN_CAPSULE`] on admin
    /// queues, what Identify says (IOCCSZ) on I/O queues.
    pub in_capsule: u32,
    /// The queue to connect.
    pub connect: Connect,
}

/// How far a handshake came.
#[derive(Debug)]
pub enum Progress {
    /// All input is used up; more is needed.
    NeedMore,
    /// The queue is there.
    Established(Box<Established>),
    /// The controller refuses the Connect and closes.
    Refused(ConnectReject),
    /// The controller ends the connection; nothing is to be answered.
    Terminated {
        /// Fatal Error Status as the controller gave it; any number.
        fes: u16,
        /// Fatal Error Information as the controller gave it.
        fei: u32,
    },
}

/// An accepted Connect.
#[derive(Debug)]
pub struct Established {
    /// The queue, on which nothing but the Connect has happened.
    pub queue: Queue,
    /// The controller that the queue belongs to.
    pub cntlid: u16,
    /// What the controller answered to the ICReq.
    pub icresp: IcResp,
}

/// A connection that a host is setting up. It ends with any [`Progress`] but `NeedMore`, and with
/// any error; fed further, it stays silent.
#[derive(Debug)]
pub struct Handshake {
    wishes: Wishes,
    icreq: IcReq,
    state: State,
    outbox: Outbox,
}

#[derive(Debug)]
enum State {
    AwaitIcResp(Box<Deframer>),
    /// The Connect travels like any command, so a queue of its own carries it.
    AwaitAnswer(Box<Queue>, Box<IcResp>),
    Ended,
}

impl Handshake {
    /// A handshake with its ICReq in the outbox.
    pub fn new(wishes: Wishes) -> Self {
        let icreq = IcReq::new(
            wishes.hpda,
            wishes.max_r2ts.saturating_sub(1),
            wishes.header_digest,
            wishes.data_digest,
        );
        let rules = Rules {
            side: Side::Host,
            framing: Framing::INITIAL,
            max_capsule_data: 0,
            max_data: 0,
            initialized: false,
        };
        let mut outbox = Outbox::default();
        outbox.headers(|out| out.extend_from_slice(icreq.as_bytes()));
        Self {
            wishes,
            icreq,
            state: State::AwaitIcResp(Box::new(Deframer::new(rules))),
            outbox,
        }
    }

    /// Bytes that may be read from the connection without reading beyond the handshake.
    pub fn wants(&self) -> usize {
        match &self.state {
            State::AwaitIcResp(deframer) => deframer.wants(),
            State::AwaitAnswer(queue, _) => queue.wants(),
            State::Ended => 0,
        }
    }

    /// What waits to be sent. What waits when the queue is established waits in the queue's.
    pub fn outbox(&mut self) -> &mut Outbox {
        match &mut self.state {
            State::AwaitAnswer(queue, _) => queue.outbox(),
            State::AwaitIcResp(_) | State::Ended => &mut self.outbox,
        }
    }

    /// Takes bytes from the front of `input` as far as the next stop.
    ///
    /// # Errors
    /// The controller's violation; a termination is in the outbox, to be sent before closing.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Progress, PduError> {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::AwaitIcResp(deframer) => self.await_icresp(deframer, input),
            State::AwaitAnswer(queue, icresp) => self.await_answer(queue, icresp, input),
            State::Ended => {
                *input = &[];
                Ok(Progress::NeedMore)
            }
        }
    }

    fn await_icresp(
        &mut self,
        mut deframer: Box<Deframer>,
        input: &mut &[u8],
    ) -> Result<Progress, PduError> {
        let judged = match deframer.next(input) {
            Ok(None) => {
                self.state = State::AwaitIcResp(deframer);
                return Ok(Progress::NeedMore);
            }
            Ok(Some(Event::Header {
                header: Header::IcResp(icresp),
                ..
            })) => icresp.validate(&self.icreq).map(|()| icresp),
            Ok(Some(Event::Header {
                header: Header::C2hTermReq(request),
                ..
            })) => {
                let (fes, fei) = (request.fes.get(), request.fei.get());
                return Ok(Progress::Terminated { fes, fei });
            }
            Ok(Some(_)) => Err(PduError::field(0)),
            Err(error) => Err(error),
        };
        match judged {
            Ok(icresp) => {
                let queue = self.send_connect(&icresp);
                self.await_answer(Box::new(queue), Box::new(icresp), input)
            }
            Err(error) => {
                self.terminate(error, deframer.header_bytes());
                Err(error)
            }
        }
    }

    /// The queue that carries the Connect, with it in its outbox, behind what still waits.
    fn send_connect(&mut self, icresp: &IcResp) -> Queue {
        let framing = Framing {
            header_digest: icresp.header_digest(),
            data_digest: icresp.data_digest(),
            send_alignment: (u32::from(icresp.cpda) + 1) * 4,
            receive_alignment: (u32::from(self.wishes.hpda) + 1) * 4,
        };
        let mut queue = Queue::new(Parameters {
            framing,
            maxh2cdata: icresp.maxh2cdata.get(),
            max_r2ts: self.wishes.max_r2ts,
            in_capsule: ADMIN_IN_CAPSULE,
            entries: self.wishes.connect.entries,
            // The head in the answer is where the queue begins, not how far it got.
            sq_flow_control: false,
        });
        *queue.outbox() = std::mem::take(&mut self.outbox);
        let (sqe, data) = self.wishes.connect.to_wire(0);
        let payload = Payload::FromHost(Arc::new(data.as_bytes().to_vec()));
        // A new queue has room for a command.
        let _cid = queue.submit(sqe, payload);
        queue
    }

    fn await_answer(
        &mut self,
        mut queue: Box<Queue>,
        icresp: Box<IcResp>,
        input: &mut &[u8],
    ) -> Result<Progress, PduError> {
        match queue.next(input) {
            Ok(None) => {
                self.state = State::AwaitAnswer(queue, icresp);
                Ok(Progress::NeedMore)
            }
            Ok(Some(Step::Terminated { fes, fei })) => Ok(Progress::Terminated { fes, fei }),
            Ok(Some(Step::Completed(answer))) => self.answered(*queue, *icresp, &answer),
            Err(error) => {
                self.outbox = std::mem::take(queue.outbox());
                Err(error)
            }
        }
    }

    /// Judges the answer to the Connect as FreeBSD's hosts do.
    fn answered(
        &mut self,
        mut queue: Queue,
        icresp: IcResp,
        answer: &Answer,
    ) -> Result<Progress, PduError> {
        let Completion { status, result } = answer.completion;
        if !status.is_success() {
            let reject = ConnectReject::from_completion(answer.completion);
            return Ok(Progress::Refused(reject));
        }
        let [low, high, authentication, ..] = result.to_le_bytes();
        if authentication & AUTHENTICATION_REQUIRED != 0 {
            let reject = ConnectReject::status(Status::AUTHENTICATION_REQUIRED);
            return Ok(Progress::Refused(reject));
        }
        let sqhd = answer.sqhd.unwrap_or_default();
        let entries = self.wishes.connect.entries;
        let sq_flow_control = sqhd != NO_FLOW_CONTROL;
        let legal = if sq_flow_control {
            u32::from(sqhd) < entries
        } else {
            !self.wishes.connect.sq_flow_control
        };
        if !legal {
            let error = PduError::field(16);
            queue.terminate(error);
            self.outbox = std::mem::take(queue.outbox());
            return Err(error);
        }
        let parameters = Parameters {
            in_capsule: self.wishes.in_capsule,
            sq_flow_control,
            ..*queue.parameters()
        };
        queue.establish(parameters, sqhd);
        Ok(Progress::Established(Box::new(Established {
            queue,
            cntlid: u16::from_le_bytes([low, high]),
            icresp,
        })))
    }

    fn terminate(&mut self, error: PduError, offending: &[u8]) {
        if let PduError::Fatal { fes, fei } = error {
            let pdu = termination(PduType::H2cTermReq, fes, fei, offending);
            self.outbox.headers(|out| out.extend_from_slice(&pdu));
        }
    }
}

/// Bits 18 (ASCR) and 17 (ATR) of the Connect response's dword 0, in its third byte.
const AUTHENTICATION_REQUIRED: u8 = 0b110;

/// SQHD of a Connect response that switches SQ flow control off.
const NO_FLOW_CONTROL: u16 = 0xffff;
