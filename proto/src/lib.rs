//! NVMe over Fabrics (TCP) without I/O.
//!
//! Bytes and time go in, bytes and decisions come out: this crate opens no socket, reads no clock,
//! writes no log and knows no configuration. Both halves of the protocol live here, the controller's
//! and the host's, so that each is tested against the other in memory.
//!
//! * [`pdu`], [`sqe`], [`cqe`], [`status`], [`nqn`], [`opcode`]: the wire, one type a thing.
//! * [`deframer`]: a byte stream cut into PDUs, each length bounded before it is believed.
//! * [`handshake`]: ICReq to Connect, with a stop where the caller's policy decides.
//! * [`queue`]: an established queue pair: capsules, R2T, data in pieces, responses.
//! * [`controller`]: registers, Identify, features, log pages, events, keep-alive, discovery.
//! * [`nvm`]: the NVM command set, parsed and bounded.
//! * [`host`]: the host's side of an established queue.
//! * [`registration`]: entries of a discovery log, told to a Centralized Discovery Controller.
//!
//! Sources are cited by section: *Base* is the NVM Express Base Specification 2.0, *NVMe/TCP* the
//! TCP Transport Specification 1.0, *NVM* the NVM Command Set Specification 1.0. Everything on the
//! wire is little-endian.

#![forbid(unsafe_code)]
#![warn(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]
#![cfg_attr(
    test,
    allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)
)]

pub mod connect;
pub mod controller;
pub mod cqe;
pub mod deframer;
pub mod handshake;
pub mod host;
pub mod nqn;
pub mod nvm;
pub mod opcode;
pub mod outbox;
pub mod pdu;
pub mod queue;
pub mod registration;
pub mod sqe;
pub mod status;

#[cfg(test)]
mod pair;
