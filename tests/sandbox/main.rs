//! The confinement of the process that meets peers, as those try it who have taken that process over; and
//! as an operator has it, who must be told.

#![forbid(unsafe_code)]

mod attempts;
mod operator;
mod scene;
mod storage;
