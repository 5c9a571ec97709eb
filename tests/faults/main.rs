//! Faults: what breaks off, dies, hangs or jumps around the real program, and leaves no trace.
//!
//! Each story has a [`scene`]: a target in user mode, or in kernel mode on the fake kernel, with a
//! [`healthy`] host that writes and verifies all the while. When it is told, the [`books`] are what they
//! were before: descriptors and threads of both processes, memory, controllers, queues, negotiations, the
//! kernel's associations. The configuration is reloaded throughout where that may hurt ([`reloads`]).
//!
//! * [`handshakes`]: hosts that go at each byte of a handshake; [`writes`]: at each boundary of a write.
//! * [`storms`]: resets by the thousand; [`crowds`]: those who stop half way; [`scanners`]: who is no host.
//! * [`numbers`]: every CNTLID can be had again.
//! * [`worker`]: killed and stopped; [`pauses`]: what the program's own sleep does to hosts; [`clocks`]: the
//!   time of day.
//! * [`gates`]: kernel mode's own moment, between the look at its list and the hand-off.
//!
//! Chance is seeded ([`chance`]), and a failure tells the seed. `NVMFD_FAULTS=long` tells longer stories.
//! What full and failing disks, limits and memory do is told elsewhere.

#![forbid(unsafe_code)]

mod books;
mod chance;
mod clocks;
mod crowds;
mod gates;
mod handshakes;
mod healthy;
mod numbers;
mod openings;
mod pauses;
mod reloads;
mod scanners;
mod scene;
mod storms;
mod worker;
mod writes;
