//! FreeBSD's packed name-value lists (libnv).
