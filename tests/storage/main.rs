//! Storage that fails, hangs, fills up, shrinks and comes back: what hosts are told, what is remembered,
//! and what is never applied.
//!
//! `faults`, `durability` and `order` have a worker of their own with storage that does as it
//! is told ([`injected`]); `files` and `disks` have the real program, files and loop devices that are
//! full, cut off or gone.

#![forbid(unsafe_code)]

mod disks;
mod durability;
mod faults;
mod files;
mod injected;
mod order;
mod places;
mod scene;
