//! What hosts do wrong and what each must get: the 68 rows that every target has to meet, once.
//!
//! The tests are made from it ([`crate::run`]), and so is tests/NEGATIVE.md ([`crate::document`]). A row
//! has cases: an [`Act`] of a peer, and what it [`Gets`] in userspace mode and in kernel mode. What is
//! longer than one message is a story, in [`crate::stories`], which is told in both modes too.
//!
//! In kernel mode everything up to the Connect is the same program. Behind it the fake kernel executes,
//! whose queues are our own engine: such a row shows there that what is handed over is right, and says
//! what FreeBSD's kernel does where that is known to be something else.

mod commands;
mod connects;
mod data;
mod headers;
mod lives;
mod openings;

use nvmf_proto::connect::{ConnectData, ConnectReject};
use nvmf_proto::pdu::Fes;
use nvmf_proto::sqe::Sqe;
use nvmf_proto::status::Status;
use nvmfd_tests::peer::Raw;

use crate::scene::{Mode, Result, Scene};

/// The rows, by how far the peer has come.
pub(crate) const CHAPTERS: [(&str, &[Row]); 6] = [
    ("before ICReq, and ICReq", openings::ROWS),
    ("common header", headers::ROWS),
    ("Connect", connects::ROWS),
    ("H2CData", data::ROWS),
    ("commands", commands::ROWS),
    ("life cycle", lives::ROWS),
];

/// All rows, in their order.
pub(crate) fn rows() -> impl Iterator<Item = &'static Row> {
    CHAPTERS.iter().flat_map(|(_, rows)| rows.iter())
}

/// Something that hosts do wrong.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) number: u8,
    /// What the peer does.
    pub(crate) peer: &'static str,
    /// Who says what it must get: a specification, FreeBSD's function, a vulnerability of another target.
    pub(crate) source: &'static str,
    /// What FreeBSD's kernel does instead, in kernel mode on a real one.
    pub(crate) freebsd: Option<&'static str>,
    pub(crate) cases: &'static [Case],
}

/// One way to do it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) act: Act,
    gets: Gets,
    in_kernel_mode: Option<Gets>,
}

/// What a peer does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// Says this as soon as it is connected, to either portal, and no more.
    Opens(fn() -> Vec<u8>),
    /// Sends an ICReq with another byte in one place.
    IcReq { at: usize, value: u8 },
    /// Begins a PDU so, at this stage.
    Header(Stage, [u8; 8]),
    /// Sends this at this stage.
    Says(Stage, fn(&Raw) -> Vec<u8>),
    /// Sends another command where a Connect is due.
    First(fn() -> Sqe),
    /// Asks for a queue with a Connect that it has spoilt.
    Connect(Queue, fn(&mut Sqe, &mut ConnectData)),
    /// Asks for an admin queue with so many bytes of Connect data.
    ConnectOf(u32),
    /// Answers the R2T of a write of 32 KiB with this, given its CCCID and TTAG.
    Data(fn(&Raw, (u16, u16)) -> Vec<u8>),
    /// Sends a read of the last block that it has spoilt.
    Read(fn(&mut Sqe)),
    /// Sends a write of 512 bytes in the capsule, over what the healthy host has, that it has spoilt.
    Write(fn(&mut Sqe)),
    /// Sends an admin command of its own, with room for 4 KiB.
    Admin(fn(&mut Sqe)),
    /// A story on the target that all rows share.
    Story(fn(&mut Scene) -> Result),
    /// A story on a target that is set up for it.
    Own(fn(Mode) -> Result),
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Accepted,
    Negotiated,
    Admin,
    Io,
}

/// Which queue a Connect asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Queue {
    Admin,
    /// The first of a controller that is ready for it.
    Io,
}

/// What a peer must get.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Gets {
    /// A Terminate Connection Request with this FES and FEI, and the end.
    Terminated(Fes, u32),
    /// Its Connect is refused so, and the connection ends.
    Refused(ConnectReject),
    /// Its command fails so, retry bit and all; the queue goes on.
    Failed(Status),
    /// What it asked for.
    Served,
    /// Success, with this in dwords 0 and 1.
    Result(u64),
    /// The end of the connection, without a word.
    Silence,
    /// What the story asserts, in words.
    Told(&'static str),
}

impl Case {
    pub(crate) const fn new(name: &'static str, act: Act, gets: Gets) -> Self {
        Self {
            name,
            act,
            gets,
            in_kernel_mode: None,
        }
    }

    /// A story on the shared target.
    pub(crate) const fn story(
        name: &'static str,
        tell: fn(&mut Scene) -> Result,
        gets: &'static str,
    ) -> Self {
        Self::new(name, Act::Story(tell), Gets::Told(gets))
    }

    /// A story with a target of its own.
    pub(crate) const fn own(
        name: &'static str,
        tell: fn(Mode) -> Result,
        gets: &'static str,
    ) -> Self {
        Self::new(name, Act::Own(tell), Gets::Told(gets))
    }

    /// In kernel mode the answer is another.
    pub(crate) const fn in_kernel_mode(mut self, gets: Gets) -> Self {
        self.in_kernel_mode = Some(gets);
        self
    }

    pub(crate) fn gets(&self, mode: Mode) -> Gets {
        match mode {
            Mode::Userspace => self.gets,
            Mode::Kernel => self.in_kernel_mode.unwrap_or(self.gets),
        }
    }
}
