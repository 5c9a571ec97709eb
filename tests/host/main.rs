//! `nvmfctl host` from outside: as an operator uses it ([`stories`]), and what becomes of it with
//! targets that are not what they should be ([`bad_targets`], played by [`scripted`]).

#![forbid(unsafe_code)]

mod bad_targets;
mod nvmfctl;
mod scripted;
mod stories;
