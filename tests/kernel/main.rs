//! Kernel mode from outside: the daemon negotiates and judges, the fake kernel serves.
//!
//! The fake has no remedy for CVE-2026-4652 here and asserts all that a kernel with INVARIANTS does, so
//! that every test also shows that nothing of ours makes such a kernel panic.

#![forbid(unsafe_code)]

#[path = "connects.rs"]
mod connects;
#[path = "exports.rs"]
mod exports;
#[path = "refusals.rs"]
mod refusals;
#[expect(dead_code, reason = "attacks on userspace mode use more of it")]
#[path = "../hostile/scene.rs"]
mod scene;
#[path = "stops.rs"]
mod stops;
