//! The controller's half of the handshake.

use zerocopy::IntoBytes;

use crate::connect::{CONNECT_DATA_SIZE, Connect, ConnectCommand, ConnectReject, Limits};
use crate::cqe::Completion;
use crate::deframer::{Deframer, Event, Rules, Side};
use crate::outbox::Outbox;
use crate::pdu::{Fes, Framing, Header, IcReq, IcResp, PduError, PduType, termination};
use crate::queue::{ADMIN_IN_CAPSULE, Parameters, Queue, Step, Tag};
use crate::sqe::{Data, Sqe};
use crate::status::Status;

/// What a controller offers to whoever connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Header digests.
    pub header_digest: DigestOffer,
    /// Data digests.
    pub data_digest: DigestOffer,
    /// Bytes that one H2CData PDU may carry: at least 4096, a multiple of 4.
    pub maxh2cdata: u32,
    /// What a Connect is held to.
    pub limits: Limits,
}

/// Whether a connection has a digest; a host can only ask (NVMe/TCP §3.6.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestOffer {
    /// It has none, whatever the host asks.
    Off,
    /// It has one if the host asks.
    Allow,
    /// It has one; a host that does not ask is refused.
    Require,
}

impl DigestOffer {
    /// What comes of it when the host asks, or does not; `None` if that is refused.
    fn settle(self, asked: bool) -> Option<bool> {
        match self {
            Self::Off => Some(false),
            Self::Allow => Some(asked),
            Self::Require => asked.then_some(true),
        }
    }
}

/// What an accepted queue is given beyond what its Connect settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Bytes of in-capsule data; at least [`ADMIN_IN_CAPSULE`] on admin queues.
    pub in_capsule: u32,
    /// Bytes that one command may move (MDTS).
    pub max_transfer: u32,
}

/// How far a handshake came.
#[derive(Debug)]
pub enum Progress {
    /// All input is used up; more is needed.
    NeedMore,
    /// A legal Connect: policy decides.
    Connect(Box<ConnectRequest>),
    /// An illegal one, refused already: send the outbox, then close.
    Refused(ConnectReject),
    /// The host ends the connection; nothing is to be answered.
    Terminated {
        /// Fatal Error Status as the host gave it; any number.
        fes: u16,
        /// Fatal Error Information as the host gave it.
        fei: u32,
    },
}

/// A connection whose queue is not settled yet. It ends with any [`Progress`] but `NeedMore`, and
/// with any error; fed further, it stays silent.
#[derive(Debug)]
pub struct Handshake {
    offer: Offer,
    state: State,
    outbox: Outbox,
}

#[derive(Debug)]
enum State {
    AwaitIcReq(Box<Deframer>),
    /// The Connect travels like any command, so a queue of its own carries it.
    AwaitConnect(Box<Negotiated>),
    Ended,
}

/// What ICReq and ICResp have settled, and the queue on which the Connect comes.
#[derive(Debug)]
struct Negotiated {
    icreq: IcReq,
    queue: Queue,
    command: Option<ConnectCommand>,
    /// Why the command that is being swallowed is refused.
    reject: Option<ConnectReject>,
}

impl Handshake {
    /// A handshake of which nothing has happened.
    pub fn new(offer: Offer) -> Self {
        let rules = Rules {
            side: Side::Controller,
            framing: Framing::INITIAL,
            max_capsule_data: 0,
            max_data: 0,
            initialized: false,
        };
        let state = State::AwaitIcReq(Box::new(Deframer::new(rules)));
        Self {
            offer,
            state,
            outbox: Outbox::default(),
        }
    }

    /// Bytes that may be read from the connection without reading beyond the handshake. Who reads
    /// no more than this can hand the connection over at any stop.
    pub fn wants(&self) -> usize {
        match &self.state {
            State::AwaitIcReq(deframer) => deframer.wants(),
            State::AwaitConnect(negotiated) => negotiated.queue.wants(),
            State::Ended => 0,
        }
    }

    /// What waits to be sent.
    pub fn outbox(&mut self) -> &mut Outbox {
        match &mut self.state {
            State::AwaitConnect(negotiated) => negotiated.queue.outbox(),
            State::AwaitIcReq(_) | State::Ended => &mut self.outbox,
        }
    }

    /// Takes bytes from the front of `input` as far as the next stop.
    ///
    /// # Errors
    /// The host's violation; a termination is in the outbox, to be sent before closing.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Progress, PduError> {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::AwaitIcReq(deframer) => self.await_icreq(deframer, input),
            State::AwaitConnect(negotiated) => self.await_connect(negotiated, input),
            State::Ended => {
                *input = &[];
                Ok(Progress::NeedMore)
            }
        }
    }

    fn await_icreq(
        &mut self,
        mut deframer: Box<Deframer>,
        input: &mut &[u8],
    ) -> Result<Progress, PduError> {
        let judged = match deframer.next(input) {
            Ok(None) => {
                self.state = State::AwaitIcReq(deframer);
                return Ok(Progress::NeedMore);
            }
            Ok(Some(Event::Header {
                header: Header::IcReq(icreq),
                ..
            })) => self.judge(icreq),
            Ok(Some(Event::Header {
                header: Header::H2cTermReq(request),
                ..
            })) => {
                let (fes, fei) = (request.fes.get(), request.fei.get());
                return Ok(Progress::Terminated { fes, fei });
            }
            Ok(Some(_)) => Err(PduError::field(0)),
            Err(error) => Err(error),
        };
        match judged {
            Ok((icreq, framing)) => {
                let negotiated = self.negotiate(icreq, framing);
                self.await_connect(Box::new(negotiated), input)
            }
            Err(error) => {
                if let PduError::Fatal { fes, fei } = error {
                    let offending = deframer.header_bytes();
                    let pdu = termination(PduType::C2hTermReq, fes, fei, offending);
                    self.outbox.headers(|out| out.extend_from_slice(&pdu));
                }
                Err(error)
            }
        }
    }

    /// What an ICReq and our offer settle: digests that both sides want, no alignment of ours. A
    /// host that could have what we require does not ask for it, which the byte DGST shows.
    fn judge(&self, icreq: IcReq) -> Result<(IcReq, Framing), PduError> {
        icreq.validate()?;
        let missing = PduError::Fatal {
            fes: Fes::UnsupportedParameter,
            fei: DGST_AT,
        };
        let header_digest = self.offer.header_digest.settle(icreq.header_digest());
        let data_digest = self.offer.data_digest.settle(icreq.data_digest());
        let framing = Framing {
            header_digest: header_digest.ok_or(missing)?,
            data_digest: data_digest.ok_or(missing)?,
            send_alignment: (u32::from(icreq.hpda) + 1) * 4,
            receive_alignment: 4,
        };
        Ok((icreq, framing))
    }

    /// Answers an ICReq.
    fn negotiate(&self, icreq: IcReq, framing: Framing) -> Negotiated {
        let mut queue = Queue::new(Parameters {
            framing,
            maxh2cdata: self.offer.maxh2cdata,
            in_capsule: ADMIN_IN_CAPSULE,
            entries: 1,
            sq_flow_control: true,
            max_transfer: ADMIN_IN_CAPSULE,
        });
        let icresp = IcResp::new(
            self.offer.maxh2cdata,
            framing.header_digest,
            framing.data_digest,
        );
        queue
            .outbox()
            .headers(|out| out.extend_from_slice(icresp.as_bytes()));
        Negotiated {
            icreq,
            queue,
            command: None,
            reject: None,
        }
    }

    fn await_connect(
        &mut self,
        mut negotiated: Box<Negotiated>,
        input: &mut &[u8],
    ) -> Result<Progress, PduError> {
        loop {
            let step = match negotiated.queue.next(input) {
                Ok(step) => step,
                Err(error) => {
                    self.outbox = std::mem::take(negotiated.queue.outbox());
                    return Err(error);
                }
            };
            match step {
                None => {
                    self.state = State::AwaitConnect(negotiated);
                    return Ok(Progress::NeedMore);
                }
                Some(Step::Capsule(tag)) => negotiated.command_came(tag, &self.offer.limits),
                Some(Step::Ready(tag)) => return Ok(self.connect_ready(*negotiated, tag)),
                Some(Step::Failed { status, .. }) => {
                    self.outbox = std::mem::take(negotiated.queue.outbox());
                    let reject = negotiated.reject.unwrap_or(ConnectReject::status(status));
                    return Ok(Progress::Refused(reject));
                }
                Some(Step::Terminated { fes, fei }) => {
                    return Ok(Progress::Terminated { fes, fei });
                }
            }
        }
    }

    /// The Connect and its data are here: it stops for policy, or is refused.
    fn connect_ready(&mut self, mut negotiated: Negotiated, tag: Tag) -> Progress {
        let data = negotiated.queue.take_data(tag);
        let sqe = negotiated.queue.sqe(tag).copied();
        let (Some(command), Some(sqe)) = (negotiated.command, sqe) else {
            return self.refuse(negotiated, tag, ConnectReject::SGL);
        };
        match command.with_data(&data) {
            Ok(connect) => Progress::Connect(Box::new(ConnectRequest {
                connect,
                sqe,
                data,
                tag,
                maxr2t: negotiated.icreq.maxr2t.get(),
                queue: negotiated.queue,
            })),
            Err(reject) => self.refuse(negotiated, tag, reject),
        }
    }

    fn refuse(&mut self, mut negotiated: Negotiated, tag: Tag, reject: ConnectReject) -> Progress {
        negotiated.queue.complete_connect(tag, reject.into());
        self.outbox = std::mem::take(negotiated.queue.outbox());
        Progress::Refused(reject)
    }
}

impl Negotiated {
    /// Judges the first command, which must be Connect; a second one has no place here. A refusal
    /// is sent when the command's data has passed, so that closing does not destroy it.
    fn command_came(&mut self, tag: Tag, limits: &Limits) {
        let judged = match (self.command, self.queue.sqe(tag)) {
            (None, Some(sqe)) => ConnectCommand::parse(sqe, limits),
            _ => Err(ConnectReject::status(Status::COMMAND_SEQUENCE_ERROR.dnr())),
        };
        match judged {
            Ok(command) => {
                self.command = Some(command);
                self.queue.accept(tag, Data::FromHost(CONNECT_DATA_SIZE));
            }
            Err(reject) => {
                self.reject = Some(reject);
                self.queue.refuse(tag, reject.into());
            }
        }
    }
}

/// A legal Connect that waits for a decision.
#[derive(Debug)]
pub struct ConnectRequest {
    connect: Connect,
    sqe: Sqe,
    data: Vec<u8>,
    tag: Tag,
    /// MAXR2T as the host gave it.
    maxr2t: u32,
    queue: Queue,
}

impl ConnectRequest {
    /// The other side of [`Self::into_handoff`]: the request as the engine has it that is to answer.
    pub fn resume(handoff: Handoff) -> Self {
        let mut queue = Queue::new(Parameters {
            framing: handoff.framing,
            maxh2cdata: handoff.maxh2cdata,
            in_capsule: ADMIN_IN_CAPSULE,
            entries: handoff.entries,
            sq_flow_control: handoff.sq_flow_control,
            max_transfer: ADMIN_IN_CAPSULE,
        });
        let tag = queue.resume(handoff.sqe);
        Self {
            connect: Connect {
                entries: handoff.entries,
                sq_flow_control: handoff.sq_flow_control,
                ..handoff.connect
            },
            sqe: handoff.sqe,
            data: handoff.data,
            tag,
            maxr2t: handoff.maxr2t,
            queue,
        }
    }

    /// Who asks for what.
    pub fn connect(&self) -> &Connect {
        &self.connect
    }

    /// Digests and alignment of its connection.
    pub fn framing(&self) -> Framing {
        self.queue.parameters().framing
    }

    /// Accepts it: the queue of controller `cntlid`, with the Connect's answer in its outbox.
    pub fn accept(mut self, cntlid: u16, limits: QueueLimits) -> Queue {
        let parameters = Parameters {
            in_capsule: limits.in_capsule,
            max_transfer: limits.max_transfer,
            entries: self.connect.entries,
            sq_flow_control: self.connect.sq_flow_control,
            ..*self.queue.parameters()
        };
        self.queue.establish(parameters);
        self.queue
            .complete_connect(self.tag, Completion::success(cntlid.into()));
        self.queue
    }

    /// Rejects it: what is to be sent before closing.
    pub fn reject(mut self, reject: ConnectReject) -> Outbox {
        self.queue.complete_connect(self.tag, reject.into());
        std::mem::take(self.queue.outbox())
    }

    /// Turns it into what another engine needs to answer the Connect and serve the queue. `unread`
    /// is what was read from the connection beyond the Connect.
    ///
    /// # Errors
    /// The request itself while anything of ours is unsent or anything of the host's was read ahead:
    /// the other engine would never see it.
    pub fn into_handoff(mut self, unread: &[u8]) -> Result<Handoff, Box<Self>> {
        if !unread.is_empty() || !self.queue.outbox().is_empty() {
            return Err(Box::new(self));
        }
        let parameters = *self.queue.parameters();
        Ok(Handoff {
            sq_flow_control: self.connect.sq_flow_control,
            entries: self.connect.entries,
            framing: parameters.framing,
            maxr2t: self.maxr2t,
            maxh2cdata: parameters.maxh2cdata,
            connect: self.connect,
            sqe: self.sqe,
            data: self.data,
        })
    }
}

/// Everything about a connection whose Connect somebody else answers. Having one proves that
/// nothing was read beyond the Connect and that nothing waits to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handoff {
    /// The Connect, parsed.
    pub connect: Connect,
    /// The Connect command as received.
    pub sqe: Sqe,
    /// The 1024 bytes of Connect data as received.
    pub data: Vec<u8>,
    /// Digests and alignment.
    pub framing: Framing,
    /// MAXR2T as the host gave it, 0's based.
    pub maxr2t: u32,
    /// MAXH2CDATA as we gave it, in bytes.
    pub maxh2cdata: u32,
    /// Entries of the queue.
    pub entries: u32,
    /// Whether SQ flow control is used.
    pub sq_flow_control: bool,
}

/// Offset of DGST in an ICReq.
const DGST_AT: u32 = 11;
