//! Clients that connect, say what a host says up to its Connect, await the answer and reset the
//! connection, over and over.

use std::fmt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use nvmf_proto::nqn::Nqn;
use nvmf_proto::pdu::{Framing, IcReq};
use nvmfd_tests::peer::{HostOptions, PATIENCE, PeerError};
use socket2::SockRef;
use zerocopy::IntoBytes;

use crate::asker::Ask;
use crate::desk::Desk;

/// Bytes of the PDUs of a negotiation: ICReq, ICResp, a Connect with its data, its answer.
pub(crate) const ICREQ: usize = 128;
pub(crate) const ICRESP: usize = 128;
pub(crate) const CONNECT: usize = 72 + 1024;
pub(crate) const ANSWER: usize = 24;

/// Which queues are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Admin queues, each client being a host.
    Admin,
    /// I/O queues of the one controller that is last in the kernel's list, one for each client.
    Io,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) kind: Kind,
    pub(crate) clients: usize,
    /// Associations in the kernel's list.
    pub(crate) listed: u16,
}

/// One connection: how long after connect(2) returned it was where, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// In the hands of the fake kernel; none of a bare program.
    pub(crate) handed: Option<u64>,
    /// Answered.
    pub(crate) answered: u64,
}

/// What a round gave.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) samples: Vec<Sample>,
    pub(crate) elapsed: Duration,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.clients == 1 { "" } else { "s" };
        let clients = self.clients;
        match self.kind {
            Kind::Admin => write!(f, "admin, {clients} client{plural}"),
            Kind::Io => write!(f, "I/O, {clients} client{plural}, {} listed", self.listed),
        }
    }
}

impl Case {
    /// Requests that tell what of this case is the fake kernel's; and one that does nothing.
    pub(crate) fn asks(&self) -> impl Iterator<Item = Ask> {
        let gate: &[Ask] = match self.kind {
            Kind::Admin => &[],
            Kind::Io => &[Ask::List, Ask::Read],
        };
        let all = [Ask::Nothing, Ask::HandOff, Ask::Pack];
        all.into_iter().chain(gate.iter().copied())
    }

    /// What this client says, the ICReq first.
    fn words(&self, client: usize, subnqn: &Nqn) -> [Vec<u8>; 2] {
        let number = |it| u32::try_from(it).expect("a small number");
        let wishes = match self.kind {
            Kind::Admin => HostOptions::named(number(client)).admin(subnqn),
            Kind::Io => {
                let cntlid = self.listed - 1;
                let qid = u16::try_from(client + 1).expect("a small number");
                // Nothing follows the Connect, so no capsule has data.
                HostOptions::named(cntlid.into()).io(subnqn, cntlid, qid, 0)
            }
        };
        let (sqe, data) = wishes.connect.to_wire(0);
        let mut capsule = Vec::new();
        Framing::INITIAL.capsule_cmd(&mut capsule, sqe, 1024);
        capsule.extend_from_slice(data.as_bytes());
        let icreq = IcReq::new(0, 0, false, false).as_bytes().to_vec();
        assert_eq!((icreq.len(), capsule.len()), (ICREQ, CONNECT));
        [icreq, capsule]
    }

    /// Has `address` take connections for `time`. Who hands over does it to `desk`.
    pub(crate) fn run(
        &self,
        address: SocketAddr,
        subnqn: &Nqn,
        desk: Option<&Desk>,
        time: Duration,
    ) -> Result<Round, PeerError> {
        let ready = Barrier::new(self.clients + 1);
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..self.clients)
                .map(|client| {
                    let (words, ready) = (self.words(client, subnqn), &ready);
                    scope.spawn(move || {
                        ready.wait();
                        let began = Instant::now();
                        let mut samples = Vec::with_capacity(1 << 12);
                        while began.elapsed() < time {
                            let (accepted, answered) = connect(address, &words)?;
                            let handed = match desk {
                                None => None,
                                Some(desk) => {
                                    let after = desk.came(client, accepted);
                                    Some(nanoseconds(after.ok_or(PeerError::Timeout)?))
                                }
                            };
                            samples.push(Sample { handed, answered });
                        }
                        Ok(samples)
                    })
                })
                .collect();
            ready.wait();
            let began = Instant::now();
            let mut samples = Vec::new();
            for client in clients {
                let result: Result<Vec<Sample>, PeerError> = client.join().expect("no panic");
                samples.append(&mut result?);
            }
            Ok(Round {
                samples,
                elapsed: began.elapsed(),
            })
        })
    }
}

/// One connection: when connect(2) returned, and how long after that the answer was there.
fn connect(
    address: SocketAddr,
    [icreq, connect]: &[Vec<u8>; 2],
) -> Result<(Instant, u64), PeerError> {
    let mut stream = TcpStream::connect(address)?;
    let accepted = Instant::now();
    let socket = SockRef::from(&stream);
    // A reset leaves nothing behind, so that there are always ports enough.
    socket.set_linger(Some(Duration::ZERO))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(icreq)?;
    stream.read_exact(&mut [0; ICRESP])?;
    stream.write_all(connect)?;
    let mut answer = [0; ANSWER];
    stream.read_exact(&mut answer)?;
    let answered = nanoseconds(accepted.elapsed());
    assert_eq!(answer[22..], [0, 0], "no success: {answer:02x?}");
    Ok((accepted, answered))
}

pub(crate) fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
