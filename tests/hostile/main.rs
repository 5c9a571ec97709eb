//! Hostile peers against the real program: the rows of tests/NEGATIVE.md that are met over a socket.
//!
//! Beside each attack a healthy host keeps its data, and afterwards the program holds what it held
//! before: descriptors, threads, memory ([`scene`]). By what the peer has got to: nothing
//! ([`negotiation`]), any stage ([`headers`]), a Connect ([`connect`]), an I/O queue ([`commands`]).
//! [`crowds`] are many peers, or greedy ones; [`stalls`] are of peers that make the target wait, and
//! [`endings`] of what ends, one way or another, at a moment that nobody likes.

#![forbid(unsafe_code)]

mod commands;
mod connect;
mod crowds;
mod endings;
mod headers;
mod negotiation;
mod scene;
mod stalls;
