//! The control socket: how an operator asks the daemon, and what is said.
//!
//! [`socket`] is the file in the file system and who may open it, [`server`] the conversations with
//! clients, `line` how a message travels, [`message`] what is said. Nothing here knows an answer:
//! each request becomes a [`server::Question`], which the monitor answers when it likes.

#![forbid(unsafe_code)]

pub(crate) mod line;
pub mod message;
pub mod server;
pub mod socket;

pub use server::{Limits, Question, Server};
pub use socket::{ControlSocket, OpenError};

#[cfg(test)]
mod tests;
