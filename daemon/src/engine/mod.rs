//! The userspace controller: what happens between a command and its completion.
//!
//! * [`session`]: an established queue, admin or I/O, and what it may hold.
//! * [`admin`], [`io`]: commands executed.
//! * [`pool`]: threads for what may sleep.
//! * [`namespace`], [`backend`]: what is stored where.
//! * [`record`], [`ledger`]: what was done, by a controller and in all.

#![forbid(unsafe_code)]

pub mod admin;
pub mod backend;
pub mod io;
pub mod ledger;
pub mod namespace;
pub mod pool;
pub mod record;
pub mod session;

use nvmf_proto::cqe::Completion;

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
