//! Hostile peers against the real program, in userspace mode and in kernel mode on the fake kernel.
//!
//! [`table`] has all that hosts do wrong, row by row, with what they must get; [`rows`] are the tests
//! that are made from it, each in both modes, and [`run`] is how one is run: `cargo test row_24` finds
//! those of row 24. Beside each attack a healthy host keeps its data, and afterwards the program holds
//! what it held before: descriptors, threads, memory, controllers ([`scene`]). What a row cannot say in
//! a line is in [`stories`]. [`document`] keeps tests/NEGATIVE.md at what the table says.
//!
//! [`stalls`] are of peers that make the target wait, and [`endings`] of what ends, one way or another,
//! at a moment that nobody likes.

#![forbid(unsafe_code)]

mod document;
mod endings;
mod rows;
mod run;
mod scene;
mod stalls;
mod stories;
mod table;
