//! nvmfd: an NVMe over Fabrics (TCP) target.
//!
//! From the command line to a served namespace ([`program`]): [`cli`] reads what is wanted, [`serve`] opens and
//! binds it and keeps the order of starting and stopping, [`worker`] meets the peers, [`engine`]
//! executes their commands. What a system does its own way is in [`os`], and only there.

#![deny(unsafe_code)]

pub mod banner;
pub mod cli;
pub mod config;
pub mod control;
pub mod engine;
pub mod error;
pub mod host;
pub mod identity;
pub mod kernel;
pub mod listen;
pub mod log;
pub mod nvmfctl;
#[expect(unsafe_code, reason = "system calls that no crate wraps")]
pub mod os;
pub mod pidfile;
pub mod program;
pub mod reconcile;
pub mod serve;
pub mod worker;
