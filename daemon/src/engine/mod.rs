//! The userspace controller: what happens between a command and its completion.
//!
//! * [`session`]: an established queue, admin or I/O, and what it may hold.
//! * [`admin`], [`io`]: commands executed.
//! * [`pool`], `lane`: threads for what may sleep; what waits for them, and in which order it is done.
//! * [`namespace`], [`backend`]: what is stored where.
//! * [`fault`], [`health`], [`flushes`]: what hosts are told of storage that fails, what operators are, and
//!   what is remembered of lost writes.
//! * [`life`]: what a session and its jobs share.
//! * [`record`], [`ledger`]: what was done, by a controller and in all.

#![forbid(unsafe_code)]

pub mod admin;
pub mod backend;
pub mod fault;
pub mod flushes;
pub mod health;
pub mod io;
mod lane;
pub mod ledger;
pub mod life;
pub mod namespace;
pub mod pool;
pub mod record;
pub mod session;

use std::sync::atomic::AtomicBool;

use nvmf_proto::cqe::Completion;

use flushes::HostId;

/// What came of a command.
#[derive(Debug)]
pub enum Executed {
    /// It ended without data.
    Done(Completion),
    /// It succeeded with data for the host.
    Data(Vec<u8>),
    /// Both halves of a fused pair ended.
    Fused(Completion, Completion),
}

impl Executed {
    /// Bytes for the host.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Data(data) => data.len(),
            Self::Done(_) | Self::Fused(..) => 0,
        }
    }
}

/// On whose behalf a command is executed, and how.
#[derive(Clone, Copy, Debug)]
pub struct Errand<'a> {
    /// The host.
    pub host: HostId,
    /// Whether what is written is on stable storage before it is answered.
    pub durable: bool,
    /// Cleared when its connection ends: what takes long stops then.
    pub alive: &'a AtomicBool,
}
