//! From the first byte to an answered Connect: ICReq, ICResp, Connect.
//!
//! The controller's half ([`Handshake`]) stops where policy begins: it yields a [`ConnectRequest`],
//! and offers just the continuations that are legal there: accept it (an established
//! [`crate::queue::Queue`]), reject it, or turn it into a [`Handoff`] for somebody else's engine.
//! The host's half ([`host`]) is its mirror.

mod controller;
pub mod host;
#[cfg(test)]
mod tests;

pub use controller::{
    ConnectRequest, DigestOffer, Handoff, Handshake, Offer, Progress, QueueLimits,
};
