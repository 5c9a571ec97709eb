//! A hand-off under construction, and what comes of it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{getsockopt, sockopt};
use nvmf_kmod::Errno;
use nvmf_kmod::fake::{Bookkeeper, FakeKernel};
use nvmf_kmod::nv::{Nvlist, Value};
use nvmf_kmod::request::handoff_arguments;
use nvmf_proto::connect::Connect;
use nvmf_proto::handshake::Handoff;

use super::support::{
    Ended, NVMF, Raw, SUBNQN, admin_connect, completion, connection, handoff, kernel, online_port,
};

/// A hand-off that can be spoilt, and what comes of it.
pub(crate) struct Attempt {
    pub(crate) list: Nvlist,
    pub(crate) host: TcpStream,
    pub(crate) ours: OwnedFd,
}

impl Attempt {
    pub(crate) fn of(handoff: &Handoff) -> Self {
        let (host, ours) = connection();
        let list = handoff_arguments(handoff, ours.as_raw_fd());
        Self { list, host, ours }
    }

    pub(crate) fn new(connect: Connect) -> Self {
        Self::of(&handoff(connect))
    }

    /// With another outer value, or without it.
    pub(crate) fn outer(mut self, key: &str, value: impl Into<Option<Value>>) -> Self {
        self.list = edited(&self.list, key, value.into());
        self
    }

    /// With another parameter, or without it.
    pub(crate) fn param(self, key: &str, value: impl Into<Option<Value>>) -> Self {
        let params = self.list.get_nvlist("params").unwrap();
        let params = edited(params, key, value.into());
        self.outer("params", Value::Nvlist(params))
    }

    /// With other bytes of the Connect command or its data.
    pub(crate) fn wire(self, key: &str, at: usize, bytes: &[u8]) -> Self {
        let mut whole = self.list.get_binary(key).unwrap().to_vec();
        whole[at..at + bytes.len()].copy_from_slice(bytes);
        self.outer(key, Value::Binary(whole))
    }

    pub(crate) fn raw(&self) -> Raw {
        Raw::new(NVMF).input(8, 24, &self.list.pack().unwrap())
    }

    pub(crate) fn send(&mut self, kernel: &FakeKernel) -> Result<Ended, Errno> {
        let mut raw = self.raw();
        raw.send_with(kernel, Some(&mut self.ours))?;
        Ok(raw.ended())
    }

    pub(crate) fn is_ours(&self) -> bool {
        getsockopt(&self.ours, sockopt::SockType).is_ok()
    }

    /// It is refused, the socket stays ours, and the host hears nothing.
    pub(crate) fn expect_refused(mut self, kernel: &FakeKernel, why: &str) {
        let ended = self.send(kernel).unwrap();
        assert_eq!(ended, Ended::new(1, why));
        self.nobody_answered(why);
    }

    pub(crate) fn nobody_answered(mut self, what: &str) {
        assert!(self.is_ours(), "{what}");
        let mut ours = TcpStream::from(self.ours);
        ours.write_all(b"ours").unwrap();
        let mut heard = [0; 4];
        self.host.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"ours", "{what}");
    }

    /// It is taken, whatever comes of it: nothing is left to us.
    pub(crate) fn expect_taken(mut self, kernel: &FakeKernel) -> (Ended, TcpStream) {
        let number = self.ours.as_raw_fd();
        let ended = self.send(kernel).unwrap();
        assert!(!self.is_ours());
        assert_eq!(self.ours.as_raw_fd(), number);
        let mut dead = TcpStream::from(self.ours);
        dead.write_all(b"x").unwrap_err();
        dead.read_exact(&mut [0]).unwrap_err();
        (ended, self.host)
    }
}

/// A list with another value for a key, or without it.
fn edited(list: &Nvlist, key: &str, mut value: Option<Value>) -> Nvlist {
    let mut new = Nvlist::new();
    for (name, old) in list.iter() {
        if name != key {
            new.push(name, old.clone());
        } else if let Some(value) = value.take() {
            new.push(name, value);
        }
    }
    new
}

/// A kernel whose port has controller 0 with two I/O queues granted, and its host.
pub(crate) fn with_controller() -> (FakeKernel, Bookkeeper, u32, TcpStream) {
    let (fake, books) = kernel();
    let port = online_port(&fake, SUBNQN);
    let (ended, mut host) = Attempt::new(admin_connect()).expect_taken(&fake);
    assert_eq!(ended, Ended::new(0, ""));
    assert_eq!(completion(&mut host, false)[..2], [0, 0]);
    assert!(books.set_queues(port, 0, 2));
    (fake, books, port, host)
}
