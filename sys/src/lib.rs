//! The kernel interface of FreeBSD's CTL and nvmft, as it lies in memory.
