//! The safe face of FreeBSD's CTL and nvmft.

pub mod nv;
