//! The tests that see nvmfd from outside.

pub mod pcap;
