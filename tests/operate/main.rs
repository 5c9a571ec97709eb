//! The daemon as an operator has it: served from a file, reloaded, asked, drained, upgraded, and with
//! a worker that dies; always with hosts that are connected meanwhile.

#![forbid(unsafe_code)]

mod commands;
mod discovery;
mod kernel;
mod limits;
mod reload;
mod scene;
mod start;
mod worker;
