//! An NVMe/TCP host in userland, for any target: what `nvmfctl host` is made of.

#![forbid(unsafe_code)]
