//! What one request to the fake kernel costs by itself, over its socket and from the daemon's core:
//! the part of a hand-off that no real kernel has. And what of it is ours: packing the arguments,
//! reading the list.

use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use nvmf_kmod::fake::remote::RemoteKernel;
use nvmf_kmod::request::{Ctl, Which, handoff_arguments};
use nvmf_kmod::xml;
use nvmf_proto::handshake::Handoff;
use nvmf_proto::pdu::Framing;
use nvmfd_tests::peer::{HostOptions, PeerError};
use nvmfd_tests::target::NQN;
use socket2::SockRef;
use zerocopy::IntoBytes;

/// Makes this program ask: what, whom, for how many milliseconds.
pub(crate) const ASK: &str = "--ask";

/// A CNTLID that nobody has.
const NOBODY: u16 = 0xfffe;

/// Connections that are made ready at a time.
const BATCH: usize = 64;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// To end an association that is not there: as little as there is.
    Nothing,
    /// To take a connection.
    HandOff,
    /// Not of the kernel: to pack what a hand-off says.
    Pack,
    /// The list of associations, read.
    List,
    /// Not of the kernel: to read a list.
    Read,
}

/// What one of them takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Took {
    pub(crate) wall: Duration,
    /// On the asker's core.
    pub(crate) processor: Duration,
}

impl Ask {
    const ALL: [(&'static str, Self); 5] = [
        ("nothing", Self::Nothing),
        ("hand-off", Self::HandOff),
        ("pack", Self::Pack),
        ("list", Self::List),
        ("read", Self::Read),
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        let named = Self::ALL.into_iter().find(|(it, _)| *it == name);
        named.map(|(_, ask)| ask)
    }

    fn name(self) -> &'static str {
        let named = Self::ALL.into_iter().find(|(_, it)| *it == self);
        named.map_or("", |(name, _)| name)
    }

    /// Asks for `time`, in a process of its own on this core.
    pub(crate) fn measure(
        self,
        socket: &std::path::Path,
        time: Duration,
        pin: impl FnOnce(u32),
    ) -> Result<Took, PeerError> {
        let child = Command::new(std::env::current_exe()?)
            .args([ASK, self.name()])
            .arg(socket)
            .arg(time.as_millis().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        pin(child.id());
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut numbers = text.split_whitespace().map_while(|it| it.parse().ok());
        match (numbers.next(), numbers.next()) {
            (Some(wall), Some(processor)) => Ok(Took {
                wall: Duration::from_nanos(wall),
                processor: Duration::from_nanos(processor),
            }),
            _ => Err(std::io::Error::other("the asker has ended early").into()),
        }
    }
}

/// Asks, and says what one asking took: nanoseconds, and nanoseconds on the core.
pub(crate) fn run(ask: Ask, socket: &str, time: Duration) -> Result<(), PeerError> {
    let kernel = RemoteKernel::connect(socket)?;
    let list = kernel.dump()?.sessions;
    let ctl = Ctl::new(Arc::new(kernel));
    let handoff = handoff();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    // The first ones fill caches.
    let mut counted = Counted::default();
    for time in [time / 10, time] {
        counted = Counted::default();
        while counted.wall < time {
            match ask {
                Ask::Nothing => counted.add(|| {
                    let found = ctl.terminate(&Which::Cntlid(NOBODY));
                    assert_eq!(found, Ok(false));
                }),
                Ask::HandOff => {
                    let mut connections = connections(&listener)?;
                    counted.add_all(&mut connections, |(socket, _)| {
                        ctl.hand_off(&handoff, socket).expect("the kernel takes it");
                    });
                }
                Ask::Pack => counted.add(|| {
                    std::hint::black_box(handoff_arguments(&handoff, 9).pack()).expect("a list");
                }),
                Ask::List => counted.add(|| {
                    std::hint::black_box(ctl.sessions()).expect("a list");
                }),
                Ask::Read => counted.add(|| {
                    std::hint::black_box(xml::sessions(list.as_bytes())).expect("a list");
                }),
            }
        }
    }
    let [wall, processor] = [counted.wall, counted.processor].map(|it| it / counted.asked.max(1));
    println!("{} {}", wall.as_nanos(), processor.as_nanos());
    Ok(())
}

/// What was asked so far, and what it took.
#[derive(Default)]
struct Counted {
    asked: u32,
    wall: Duration,
    processor: Duration,
}

impl Counted {
    /// As often as makes the clocks cheap.
    fn add(&mut self, mut ask: impl FnMut()) {
        self.add_all(&mut [(); BATCH], |()| ask());
    }

    fn add_all<T>(&mut self, of: &mut [T], ask: impl FnMut(&mut T)) {
        let (began, before) = (Instant::now(), processor());
        of.iter_mut().for_each(ask);
        self.wall += began.elapsed();
        self.processor += processor().saturating_sub(before);
        self.asked += u32::try_from(of.len()).expect("a few");
    }
}

/// Connections to be handed over, with their other ends.
fn connections(listener: &TcpListener) -> Result<Vec<(OwnedFd, TcpStream)>, PeerError> {
    let address = listener.local_addr()?;
    let connection = |_| {
        let host = TcpStream::connect(address)?;
        SockRef::from(&host).set_linger(Some(Duration::ZERO))?;
        Ok((listener.accept()?.0.into(), host))
    };
    (0..BATCH).map(connection).collect()
}

/// What the daemon hands over for the first client's admin queue.
fn handoff() -> Handoff {
    let options = HostOptions::named(0);
    let connect = options.admin(&NQN.parse().expect("a name")).connect;
    let (sqe, data) = connect.to_wire(0);
    Handoff {
        sqe,
        data: data.as_bytes().to_vec(),
        framing: Framing::INITIAL,
        maxr2t: 0,
        maxh2cdata: 256 << 10,
        entries: connect.entries,
        sq_flow_control: connect.sq_flow_control,
        connect,
    }
}

/// What this process has had of its core.
fn processor() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("every system counts it");
    let duration = |time: TimeVal| {
        let microseconds = time.tv_sec() * 1_000_000 + time.tv_usec();
        Duration::from_micros(u64::try_from(microseconds).unwrap_or_default())
    };
    duration(usage.user_time()) + duration(usage.system_time())
}
