//! nvmfd: an NVMe over Fabrics (TCP) target.
//!
//! From the command line to a served namespace ([`program`]): [`cli`] and [`config`] read what is wanted,
//! [`monitor`] opens and binds it, keeps the order of starting and stopping and answers operators,
//! [`worker`], a process of its own, meets the peers, [`engine`] executes their commands. What a system
//! does its own way is in [`os`], and only there.

#![deny(unsafe_code)]

pub mod announcer;
pub mod background;
pub mod banner;
pub mod cli;
pub mod config;
pub mod confinement;
pub mod control;
pub mod engine;
pub mod error;
pub mod host;
pub mod identity;
pub mod ipc;
pub mod listen;
pub mod log;
pub mod metrics;
pub mod monitor;
pub mod nvmfctl;
#[expect(unsafe_code, reason = "system calls that no crate wraps")]
pub mod os;
pub mod pidfile;
pub mod program;
pub mod reconcile;
pub mod worker;

/// This program's release.
pub const RELEASE: &str = env!("CARGO_PKG_VERSION");
