//! Who serves the queues that the fake kernel has taken over.
//!
//! The fake itself knows ports, LUNs and maps; controllers and their queues are a [`Plane`]'s.
//! [`super::Bookkeeper`] is one that keeps them in its books and serves no I/O; another one, over an
//! engine that serves, is for the tests that need data.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::path::PathBuf;

use super::queue::TakenQueue;
use crate::error::Errno;

/// The part of nvmft behind the hand-off: controllers, their queues, their namespaces.
///
/// [`Plane::online`] and [`Plane::mapped`] are called under the fake's lock, so that they come in order,
/// and [`Plane::traffic`] is, too: they must neither wait nor call the fake. The others may take their
/// time.
pub trait Plane: Send + Sync {
    /// The port lets hosts in. Its CNTLIDs begin anew only if it never was there before.
    fn online(&self, port: PortView);

    /// The port is going offline: ends all its controllers, and returns when they are gone. Comes for
    /// ports that are offline already, too.
    fn offline(&self, port: u32);

    /// Another LUN, a changed one, or none is namespace `nsid` of an online port now.
    fn mapped(&self, port: u32, nsid: u32, lun: Option<LunView>);

    /// Takes a queue over: answers its Connect, and closes the connection in the end. Checks come in the
    /// kernel's order, see [`super::Refusal`].
    ///
    /// # Errors
    /// The kernel's number for why not; the Connect was answered, where the kernel does, and the
    /// connection closed.
    fn hand_off(&self, port: u32, queue: TakenQueue) -> Result<(), Errno>;

    /// All controllers there are, those that are being taken down included, by port and then in the
    /// order in which they came.
    fn sessions(&self) -> Vec<Session>;

    /// Ends a controller as a failure of its transport would; it may be gone only later.
    fn terminate(&self, port: u32, cntlid: u16);

    /// Whether the port has this controller. A kernel without the remedy for CVE-2026-4652 panics where
    /// it does not.
    fn has_controller(&self, port: u32, cntlid: u16) -> bool {
        let is_it = |it: &Session| it.port == port && it.cntlid == cntlid;
        self.sessions().iter().any(is_it)
    }

    /// What hosts have ever read and written under a port's number. Nothing of a plane without I/O.
    fn traffic(&self, port: u32) -> Traffic {
        let _ = port;
        Traffic::default()
    }

    /// What a test asks of the plane beyond what a kernel can be asked, in words of the plane's own.
    ///
    /// # Errors
    /// What is wrong with the words.
    fn control(&self, words: &str) -> Result<String, String> {
        Err(format!("this plane does not understand {words:?}"))
    }
}

/// A port, as far as it matters to its controllers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortView {
    /// CTL's number.
    pub id: u32,
    /// The subsystem's name.
    pub subnqn: String,
    /// Port identifier in discovery entries.
    pub portid: u16,
    /// Entries of the largest I/O queue.
    pub max_io_qsize: u32,
    /// How long enabling may take, in units of 500 ms (CAP.TO).
    pub enable_timeout: u8,
    /// Bytes of an I/O command capsule.
    pub ioccsz: u32,
    /// Bytes of an I/O response capsule.
    pub iorcsz: u32,
    /// Highest NSID.
    pub nn: u32,
    /// Serial number, up to 20 characters, without the blanks that fill it up.
    pub serial: String,
    /// Namespaces by NSID.
    pub namespaces: BTreeMap<u32, LunView>,
}

/// A LUN, as far as it matters to who serves it as a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LunView {
    /// CTL's number, which another LUN can get once this one is gone.
    pub id: u32,
    /// A number that no other LUN ever gets, so that a RAM disk's contents can be kept by it.
    pub instance: u64,
    /// What it is made of.
    pub storage: StorageView,
    /// Bytes.
    pub size: u64,
    /// Bytes of a block.
    pub blocksize: u32,
    /// Whether writes are refused.
    pub readonly: bool,
    /// SCSI's serial number.
    pub serial: String,
    /// SCSI's device identifier.
    pub device_id: String,
    /// Option `eui`: EUI-64 (8 bytes) or NGUID (16) in hexadecimal digits.
    pub eui: Option<String>,
    /// Option `naa`, in hexadecimal digits.
    pub naa: Option<String>,
    /// Option `uuid`.
    pub uuid: Option<String>,
}

/// What a LUN is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageView {
    /// A file or disk; `None`: it could not be opened, and all I/O fails.
    Block(Option<PathBuf>),
    /// Memory, as many bytes of it as the option `capacity` says. Without any it reads as zeroes,
    /// whatever was written.
    Ramdisk {
        /// Bytes of memory.
        capacity: u64,
    },
}

/// What hosts have read and written. Numbers never become smaller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Commands that read.
    pub reads: u64,
    /// Commands that wrote.
    pub writes: u64,
    /// Bytes that went to hosts.
    pub bytes_read: u64,
    /// Bytes that came from hosts.
    pub bytes_written: u64,
}

impl Traffic {
    /// What came after `before`.
    pub(super) fn since(self, before: Self) -> Self {
        self.with(before, u64::saturating_sub)
    }

    fn with(self, other: Self, join: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            reads: join(self.reads, other.reads),
            writes: join(self.writes, other.writes),
            bytes_read: join(self.bytes_read, other.bytes_read),
            bytes_written: join(self.bytes_written, other.bytes_written),
        }
    }
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, more: Self) {
        *self = self.with(more, u64::saturating_add);
    }
}

/// A controller in the list of associations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// CTL's number of the port.
    pub port: u32,
    /// Controller identifier, unique at its port only.
    pub cntlid: u16,
    /// The host's name, up to its NUL, as the host gave it.
    pub hostnqn: String,
}
