//! Those that it is measured beside.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nvmf_proto::opcode::nvm;
use nvmf_proto::pdu::{Framing, IcReq};
use nvmf_proto::sqe::{SglDescriptor, Sqe};
use nvmfd_tests::peer::{Host, HostOptions, PeerError, Raw, nvm_sqe};
use nvmfd_tests::target::Target;
use zerocopy::IntoBytes;

use crate::honest::DISK;

const LENGTH: u32 = 1 << 20;

/// Reads that the greedy have outstanding.
const DEPTH: u16 = 128;

/// How the others behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Asks for reads of 1 MiB, and takes 1 KiB of the answers a second.
    SlowReader,
    /// Says nothing more, after as much of a beginning as the one beside it did not say.
    Silent,
    /// Sends its commands at a byte a second.
    Dripping,
    /// Has 128 reads of 1 MiB outstanding, and takes what it gets.
    Greedy,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SlowReader => "slow to read",
            Self::Silent => "silent",
            Self::Dripping => "a byte a second",
            Self::Greedy => "greedy",
        })
    }
}

/// They behave so until this goes.
pub(crate) struct Others {
    ends: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    streams: Vec<std::net::TcpStream>,
    _hosts: Vec<Host>,
}

impl Others {
    /// `count` of them, all at it when this returns.
    pub(crate) fn start(target: &Target, kind: Kind, count: usize) -> Result<Self, PeerError> {
        let mut others = Self {
            ends: Arc::default(),
            threads: Vec::new(),
            streams: Vec::new(),
            _hosts: Vec::new(),
        };
        let mut raws = Vec::new();
        for number in 0..count {
            let raw = match kind {
                Kind::Silent => half_open(target, number)?,
                Kind::SlowReader | Kind::Dripping | Kind::Greedy => {
                    let (host, raw) = queue(target, number)?;
                    others._hosts.push(host);
                    raw
                }
            };
            others.streams.push(raw.stream().try_clone()?);
            raws.push(raw);
        }
        match kind {
            Kind::Silent => {}
            Kind::SlowReader => {
                for raw in &mut raws {
                    raw.send(&reads(raw, 31))?;
                }
                others.each_second(raws, |raw| {
                    // Its connection may have ended with this.
                    let _ = raw.stream().read(&mut [0; 1024]);
                });
            }
            Kind::Dripping => others.each_second(raws, |raw| {
                let capsule = raw.capsule(Sqe::new(nvm::FLUSH, 1), &[]);
                let _ = raw.stream().write(&capsule[..1]);
            }),
            Kind::Greedy => {
                for mut raw in raws {
                    raw.send(&reads(&raw, DEPTH))?;
                    let devour = move || {
                        // Ends when its connection does.
                        let _ = devour(&raw);
                    };
                    others.threads.push(thread::spawn(devour));
                }
            }
        }
        Ok(others)
    }

    fn each_second(&mut self, mut raws: Vec<Raw>, act: impl Fn(&mut Raw) + Send + 'static) {
        let ends = Arc::clone(&self.ends);
        self.threads.push(thread::spawn(move || {
            while !ends.load(Ordering::Relaxed) {
                raws.iter_mut().for_each(&act);
                thread::park_timeout(Duration::from_secs(1));
            }
        }));
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        for stream in &self.streams {
            // It may have ended already.
            let _ = stream.shutdown(Shutdown::Both);
        }
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            // A thread that panicked has said so itself.
            let _ = thread.join();
        }
    }
}

/// A host with an I/O queue.
fn queue(target: &Target, number: usize) -> Result<(Host, Raw), PeerError> {
    let number = u32::try_from(number).expect("few hosts") + 100;
    let options = HostOptions {
        io_queues: 0,
        io_entries: u32::from(DEPTH) + 1,
        ..HostOptions::named(number)
    };
    let mut host = Host::connect(target.io(), &target.nqn(), &options)?;
    host.set_queues(1)?;
    let wishes = options.io(&target.nqn(), host.admin.cntlid(), 1, 16_384);
    Ok((host, Raw::establish(target.io(), &wishes)?))
}

/// A connection that has said nothing, a part of the ICReq, all of it, or a part of the Connect too.
fn half_open(target: &Target, number: usize) -> Result<Raw, PeerError> {
    let icreq = IcReq::new(0, 0, false, false);
    let (sqe, data) = HostOptions::named(99)
        .admin(&target.nqn())
        .connect
        .to_wire(0);
    let mut start = icreq.as_bytes().to_vec();
    let length = u32::try_from(data.as_bytes().len()).expect("a PDU");
    Framing::INITIAL.capsule_cmd(&mut start, sqe, length);
    start.extend_from_slice(data.as_bytes());
    let stages = [0, 64, 128, 700];
    let mut raw = Raw::connect(target.io())?;
    raw.send(&start[..stages[number % stages.len()]])?;
    Ok(raw)
}

/// Reads of 1 MiB each.
fn reads(raw: &Raw, count: u16) -> Vec<u8> {
    (0..count).flat_map(|cid| read(raw, cid)).collect()
}

fn read(raw: &Raw, cid: u16) -> Vec<u8> {
    let place = u64::from(cid) * u64::from(LENGTH) % DISK;
    let mut read = nvm_sqe(nvm::READ, place / 512, LENGTH as usize);
    read.cid = cid.into();
    read.sgl = SglDescriptor::transport(LENGTH);
    raw.capsule(read, &[])
}

/// Reads whatever comes, and asks for as much again.
fn devour(raw: &Raw) -> std::io::Result<()> {
    let mut stream = raw.stream();
    let mut answers = BufReader::with_capacity(256 << 10, raw.stream());
    loop {
        let mut header = [0; 24];
        answers.read_exact(&mut header)?;
        let word = |at: usize| u32::from_le_bytes(*header[at..].first_chunk().expect("24 bytes"));
        let mut left = word(4) as usize - header.len();
        while left > 0 {
            let here = answers.fill_buf()?.len().min(left);
            if here == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            answers.consume(here);
            left -= here;
        }
        // A response: one read has ended.
        if header[0] == 5 {
            let cid = u16::from_le_bytes([header[20], header[21]]);
            stream.write_all(&read(raw, cid))?;
        }
    }
}
