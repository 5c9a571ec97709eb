//! A write whose host goes at each of its boundaries: its blocks are as they were or as it wants them, it
//! does not begin before all of it is there, and what was acknowledged is there.

use std::fs::File;
use std::sync::Arc;

use nvmf_proto::host::Payload;
use nvmf_proto::opcode::nvm;
use nvmf_proto::pdu::flags;
use nvmf_proto::sqe::SglDescriptor;
use nvmfd_tests::peer::{BLOCK, Host, HostOptions, PeerError, Raw, nvm_sqe};
use tempfile::TempDir;

use crate::healthy::FREE;
use crate::openings::{ENDINGS, Ending, Readers, end};
use crate::scene::{MEMORY, Mode, Result, Scene, config};

/// Bytes of a write that is asked for its data, and of one H2CData PDU of it.
const LENGTH: usize = 32_768;
const PIECE: usize = 8192;

/// Bytes of a write that has them in its capsule.
const SMALL: usize = 8192;

/// How far a host gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// So many bytes of the command's capsule, without data.
    Capsule(usize),
    /// The target has asked for the data.
    Asked,
    /// So many bytes of the data's PDUs.
    Data(usize),
    /// Data and all, and the answer is not read.
    Sent,
    /// So many bytes of a capsule that has its data with it.
    InCapsule(usize),
    /// All of it.
    InCapsuleSent,
    /// The target has said that it is written.
    Answered,
    /// The same of data in a capsule.
    InCapsuleAnswered,
}

/// What the blocks must be afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    AsBefore,
    Either,
    Written,
}

impl Cut {
    fn fate(self) -> Fate {
        match self {
            Self::Capsule(_) | Self::Asked | Self::Data(_) | Self::InCapsule(_) => Fate::AsBefore,
            Self::Sent | Self::InCapsuleSent => Fate::Either,
            Self::Answered | Self::InCapsuleAnswered => Fate::Written,
        }
    }

    fn length(self) -> usize {
        match self {
            Self::InCapsule(_) | Self::InCapsuleSent | Self::InCapsuleAnswered => SMALL,
            Self::Capsule(_) | Self::Asked | Self::Data(_) | Self::Sent | Self::Answered => LENGTH,
        }
    }
}

/// One broken write.
struct Attempt {
    number: u64,
    cut: Cut,
    ending: Ending,
    digests: (bool, bool),
}

impl Attempt {
    fn all() -> Vec<Self> {
        let mut attempts = Vec::new();
        for digests in [(false, false), (true, true)] {
            for cut in cuts(digests) {
                for ending in ENDINGS {
                    attempts.push(Self {
                        number: attempts.len() as u64,
                        cut,
                        ending,
                        digests,
                    });
                }
            }
        }
        attempts
    }

    /// Its blocks, which are nobody else's.
    fn lba(&self) -> u64 {
        FREE + self.number * LENGTH as u64 / u64::from(BLOCK)
    }

    fn data(&self, generation: u8) -> Vec<u8> {
        let stamp = |block: u64| self.number << 16 | block << 8 | u64::from(generation);
        let blocks = (0..(self.cut.length() / BLOCK as usize) as u64).map(stamp);
        blocks
            .flat_map(|stamp| stamp.to_le_bytes().repeat(BLOCK as usize / 8))
            .collect()
    }

    /// Does it; who reads on comes back.
    fn make(&self, raw: Raw) -> Result<Option<Raw>, PeerError> {
        let raw = self.write(raw)?;
        end(raw, self.ending)
    }

    fn write(&self, mut raw: Raw) -> Result<Raw, PeerError> {
        let data = self.data(WANTED);
        let mut sqe = nvm_sqe(nvm::WRITE, self.lba(), data.len());
        sqe.cid = 7.into();
        let length = u32::try_from(data.len()).expect("a transfer");
        let capsule = match self.cut.length() {
            SMALL => {
                sqe.sgl = SglDescriptor::in_capsule(length);
                raw.capsule(sqe, &data)
            }
            _ => {
                sqe.sgl = SglDescriptor::transport(length);
                raw.capsule(sqe, &[])
            }
        };
        match self.cut {
            Cut::Capsule(bytes) | Cut::InCapsule(bytes) => raw.send(&capsule[..bytes])?,
            Cut::InCapsuleSent => raw.send(&capsule)?,
            Cut::InCapsuleAnswered => {
                raw.send(&capsule)?;
                is_written(&mut raw)?;
            }
            Cut::Asked | Cut::Data(_) | Cut::Sent | Cut::Answered => {
                raw.send(&capsule)?;
                let (tags, ..) = raw.r2t()?;
                let stream = pdus(&raw, tags, &data);
                match self.cut {
                    Cut::Data(bytes) => raw.send(&stream[..bytes])?,
                    Cut::Sent => raw.send(&stream)?,
                    Cut::Answered => {
                        raw.send(&stream)?;
                        is_written(&mut raw)?;
                    }
                    Cut::Capsule(_)
                    | Cut::Asked
                    | Cut::InCapsule(_)
                    | Cut::InCapsuleSent
                    | Cut::InCapsuleAnswered => {}
                }
            }
        }
        Ok(raw)
    }

    /// What became of it.
    fn is_as_it_must_be(&self, read: &[u8]) {
        let (before, wanted) = (self.data(BEFORE), self.data(WANTED));
        let block = BLOCK as usize;
        for (number, found) in read.chunks_exact(block).enumerate() {
            let at = number * block..(number + 1) * block;
            let is = match (
                found == &before[at.clone()],
                found == &wanted[at],
                self.cut.fate(),
            ) {
                (true, false, Fate::AsBefore | Fate::Either)
                | (false, true, Fate::Written | Fate::Either) => true,
                (_, _, Fate::AsBefore | Fate::Either | Fate::Written) => false,
            };
            let Self {
                cut,
                ending,
                digests,
                ..
            } = self;
            assert!(is, "{cut:?}, {ending:?}, {digests:?}: block {number}");
        }
    }
}

/// What the blocks hold before, and what is written.
const BEFORE: u8 = 1;
const WANTED: u8 = 2;

/// The cuts of a write with these digests: where one thing ends and another begins, and beside that.
fn cuts((header, data): (bool, bool)) -> Vec<Cut> {
    let (header, data) = (4 * usize::from(header), 4 * usize::from(data));
    let capsule = 72 + header;
    let mut cuts: Vec<Cut> = [0, 1, 8, 72, capsule - 1, capsule]
        .map(Cut::Capsule)
        .to_vec();
    cuts.dedup();
    cuts.push(Cut::Asked);
    let pdu = 24 + header + PIECE + data;
    for start in (0..LENGTH / PIECE).map(|piece| piece * pdu) {
        let inside = [1, 24, 24 + header, 24 + header + 1, 24 + header + PIECE / 2];
        let behind = [24 + header + PIECE, pdu];
        cuts.extend(inside.map(|at| Cut::Data(start + at)));
        // The last byte is no cut.
        let end = LENGTH / PIECE * pdu;
        let behind = behind
            .into_iter()
            .map(|at| start + at)
            .filter(|&at| at < end);
        cuts.extend(behind.map(Cut::Data));
        cuts.push(Cut::Data(start + pdu - 1));
    }
    cuts.dedup();
    let whole = capsule + SMALL + data;
    cuts.extend([1, capsule, capsule + 1, capsule + SMALL / 2, whole - 1].map(Cut::InCapsule));
    cuts.extend([
        Cut::Sent,
        Cut::Answered,
        Cut::InCapsuleSent,
        Cut::InCapsuleAnswered,
    ]);
    cuts
}

/// The data in PDUs, one after the other.
fn pdus(raw: &Raw, tags: (u16, u16), data: &[u8]) -> Vec<u8> {
    let pieces = data.chunks(PIECE).enumerate();
    let pdus = pieces.map(|(number, piece)| {
        let at = number * PIECE;
        let last = match at + piece.len() == data.len() {
            true => flags::LAST_PDU,
            false => 0,
        };
        let offset = u32::try_from(at).expect("a transfer");
        raw.h2c_data(tags, offset, piece, last)
    });
    pdus.collect::<Vec<_>>().concat()
}

fn is_written(raw: &mut Raw) -> Result<(), PeerError> {
    let (cid, completion) = raw.response()?;
    assert_eq!(cid, 7);
    assert!(completion.status.is_success(), "{}", completion.status);
    Ok(())
}

fn hosts_go_in_the_middle_of_writes(storage: &str) -> Result {
    let mut scene = Scene::with(config(Mode::User, storage))?;
    let attempts = Attempt::all();
    let mut witness = Host::connect(scene.io(), &scene.nqn(), &HostOptions::named(1))?;
    for them in attempts.chunks(32) {
        let queue = &mut witness.io[0];
        for attempt in them {
            let data = attempt.data(BEFORE);
            let sqe = nvm_sqe(nvm::WRITE, attempt.lba(), data.len());
            queue.submit(sqe, Payload::FromHost(Arc::new(data)))?;
        }
        for _ in them {
            assert!(queue.next_answer()?.completion.status.is_success());
        }
    }
    drop(witness);
    scene.opens_new_books();
    let reloads = scene.reloads();
    let mut readers = Readers::default();
    for attempt in &attempts {
        let (host, mut wishes) = scene.without_queue(2)?;
        (wishes.header_digest, wishes.data_digest) = attempt.digests;
        let raw = Raw::establish(scene.io(), &wishes)?;
        readers.take(attempt.make(raw)?)?;
        drop(host);
    }
    readers.are_closed()?;
    assert!(reloads.end() > 0);
    // They are all gone, and with them whatever might be written late.
    scene.balances()?;
    let mut witness = Host::connect(scene.io(), &scene.nqn(), &HostOptions::named(1))?;
    for attempt in &attempts {
        let read = witness.io[0].read(attempt.lba(), attempt.cut.length())?;
        attempt.is_as_it_must_be(&read.expect("data"));
    }
    drop(witness);
    scene.ends_well()
}

#[test]
fn a_write_whose_host_goes_is_whole_or_not_at_all_in_memory() -> Result {
    hosts_go_in_the_middle_of_writes(MEMORY)
}

#[test]
fn a_write_whose_host_goes_is_whole_or_not_at_all_in_a_file() -> Result {
    let directory = TempDir::new()?;
    let path = directory.path().join("disk");
    File::create(&path)?.set_len(64 << 20)?;
    hosts_go_in_the_middle_of_writes(&format!("path = {path:?}"))
}
