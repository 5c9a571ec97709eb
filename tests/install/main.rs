//! What `make install` puts in place, and what runs from there: the tree, the port's list of it, the
//! rc.d script under rc.subr's rules, systemd's unit.

#![forbid(unsafe_code)]

mod place;
mod port;
mod readme;
mod service;
mod tree;
mod unit;
