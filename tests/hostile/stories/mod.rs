//! What a peer does that is longer than a message: told to a target by the rows of [`crate::table`], in
//! both modes. A few are of no row and tests of their own.

pub(crate) mod commands;
pub(crate) mod connects;
pub(crate) mod crowds;
pub(crate) mod data;
pub(crate) mod headers;
pub(crate) mod lives;
mod memory;
pub(crate) mod openings;
pub(crate) mod served;
