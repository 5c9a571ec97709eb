//! The fake kernel against the facts of FreeBSD's interface, and the requests against the fake kernel:
//! with raw bytes where a daemon would never go, through [`nvmf_kmod::Ctl`] where it does.

mod associations;
mod attempt;
mod facade;
mod faults;
mod handoff;
mod lists;
mod luns;
mod maps;
mod ports;
mod remote;
mod statistics;
mod support;
mod takeover;
mod vectors;
