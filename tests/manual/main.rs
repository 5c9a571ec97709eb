//! The manual pages, held to what the programs do: every option and command is described and exists,
//! and the examples do what is said of them. The keys of nvmfd.toml.5 are compared with the grammar
//! beside it, in the daemon's unit tests.

#![forbid(unsafe_code)]

mod examples;
mod lines;
mod options;
mod page;
mod stage;
