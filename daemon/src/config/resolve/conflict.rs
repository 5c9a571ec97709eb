//! What must not be twice in a file: names, addresses, storage, identifiers.
//!
//! The second one is what is reported, with the line of the first. This alone asks the system, for
//! the file behind a path and for this machine's addresses.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;
use nvmf_kmod::request::LunId;
use nvmf_proto::nqn::Nqn;

use super::super::model::Access;
use super::super::problem::{Findings, Span};

/// What the file has so far.
#[derive(Debug, Default)]
pub(super) struct Conflicts {
    portals: BTreeMap<String, Span>,
    subsystems: BTreeMap<Nqn, Span>,
    referrals: BTreeMap<(SocketAddr, Nqn), Span>,
    cdcs: BTreeMap<SocketAddr, Span>,
    listeners: Vec<Listener>,
    media: BTreeMap<Identity, Vec<Use>>,
    luns: BTreeMap<(usize, LunId), Span>,
    ids: BTreeMap<Vec<u8>, Span>,
}

/// Something that listens.
#[derive(Debug)]
pub(super) struct Listener {
    /// Where the file says so; it need not, of a default.
    pub(super) span: Option<Span>,
    pub(super) address: SocketAddr,
    /// Whose it is.
    pub(super) owner: String,
}

/// A namespace's use of a file or disk.
#[derive(Debug)]
pub(super) struct Use {
    /// The subsystem, by its place.
    pub(super) subsystem: usize,
    pub(super) access: Access,
    pub(super) span: Span,
}

/// What a path leads to.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Identity {
    /// A file that is there, whatever its names.
    Inode { device: u64, inode: u64 },
    /// One that is not.
    Name(PathBuf),
}

impl Identity {
    fn of(path: &Path) -> Self {
        match fs::metadata(path) {
            Ok(metadata) => Self::Inode {
                device: metadata.dev(),
                inode: metadata.ino(),
            },
            // Without its repeated and final slashes and dots.
            Err(_) => Self::Name(path.components().collect()),
        }
    }
}

impl Conflicts {
    /// A portal of this name.
    pub(super) fn portal(&mut self, name: &str, span: Span, findings: &mut Findings) {
        if let Some(first) = first_of(&mut self.portals, name.into(), &span) {
            let what = format!(
                "there is a portal {name:?} already, in line {}",
                findings.line(first)
            );
            findings.error(span, what, "give each portal a name of its own");
        }
    }

    /// A subsystem of this name.
    pub(super) fn subsystem(&mut self, nqn: &Nqn, span: Span, findings: &mut Findings) {
        if let Some(first) = first_of(&mut self.subsystems, nqn.clone(), &span) {
            let line = findings.line(first);
            let what = format!("there is a subsystem of this name already, in line {line}");
            let hint = "give each subsystem a name of its own, or make them one";
            findings.error(span, what, hint);
        }
    }

    /// A discovery service that hosts are referred to; [`Self::between_listeners`] judges whether it
    /// is ours.
    pub(super) fn referral(
        &mut self,
        address: SocketAddr,
        nqn: &Nqn,
        span: Span,
        findings: &mut Findings,
    ) {
        if let Some(first) = first_of(&mut self.referrals, (address, nqn.clone()), &span) {
            let line = findings.line(first);
            let what = format!("hosts are referred to {address} already, in line {line}");
            findings.error(span, what, "remove one of them");
        }
    }

    /// A discovery controller to register with; [`Self::of_cdcs`] judges whether it is us.
    pub(super) fn cdc(&mut self, address: SocketAddr, span: Span, findings: &mut Findings) {
        if let Some(first) = first_of(&mut self.cdcs, address, &span) {
            let line = findings.line(first);
            let what = format!("{address} is registered with already, in line {line}");
            findings.error(span, what, "remove one of them");
        }
    }

    /// Reports discovery controllers to register with that are listeners of ours.
    pub(super) fn of_cdcs(&self, findings: &mut Findings) {
        for (&address, span) in &self.cdcs {
            let ours = |it: &&Listener| {
                overlap(it.address, address) && (it.address == address || is_here(address))
            };
            if let Some(Listener { owner, address, .. }) = self.listeners.iter().find(ours) {
                let what = format!("that is here: {owner} listens on {address}");
                let hint = "name other discovery controllers only, or remove it";
                findings.error(span.clone(), what, hint);
            }
        }
    }

    /// A LUN in a subsystem. Others may have it too: CTL keeps them from harming each other.
    pub(super) fn lun(
        &mut self,
        subsystem: usize,
        lun: LunId,
        span: Span,
        findings: &mut Findings,
    ) {
        if let Some(first) = first_of(&mut self.luns, (subsystem, lun), &span) {
            let line = findings.line(first);
            let what =
                format!("LUN {lun} is a namespace of this subsystem already, in line {line}");
            findings.error(span, what, "remove one of them");
        }
    }

    /// An identifier of a namespace, in bytes.
    pub(super) fn id(&mut self, id: &[u8], span: Span, findings: &mut Findings) {
        if let Some(first) = first_of(&mut self.ids, id.into(), &span) {
            let line = findings.line(first);
            let what = format!("another namespace has this identifier, in line {line}");
            let hint = "hosts take both for the same storage; leave it out to have one derived";
            findings.error(span, what, hint);
        }
    }

    /// A file or disk in a namespace.
    pub(super) fn medium(&mut self, path: &Path, its: Use, findings: &mut Findings) {
        let uses = self.media.entry(Identity::of(path)).or_default();
        let clash = uses.iter().find_map(|other| {
            let writable = [&its, other].map(|it| it.access == Access::ReadWrite);
            if other.subsystem == its.subsystem {
                Some((
                    other,
                    "is a namespace of this subsystem already",
                    "remove one of them",
                ))
            } else if writable == [true, true] {
                Some((
                    other,
                    "can be written through another namespace too",
                    "hosts would overwrite each other's data; make all but one read-only = true",
                ))
            } else {
                None
            }
        });
        if let Some((first, what, hint)) = clash {
            let line = findings.line(&first.span);
            findings.error(
                its.span.clone(),
                format!("the path {what}, in line {line}"),
                hint,
            );
        }
        uses.push(its);
    }

    /// Something that listens; [`Self::between_listeners`] judges when all are known.
    pub(super) fn listener(&mut self, listener: Listener) {
        self.listeners.push(listener);
    }

    /// Reports what cannot listen because of another, or because its address is elsewhere; and
    /// referrals that lead back to a listener.
    pub(super) fn between_listeners(&mut self, findings: &mut Findings) {
        let start = |it: &Listener| it.span.as_ref().map(|span| span.start);
        self.listeners.sort_by_key(start);
        for (index, listener) in self.listeners.iter().enumerate() {
            let mut before = self.listeners[..index].iter();
            if let Some(other) = before.find(|other| overlap(other.address, listener.address)) {
                let what = collision(listener, other, findings);
                let hint = "choose another port or address for one of them";
                findings.error(listener.span.clone(), what, hint);
            } else if is_elsewhere(listener.address) {
                let what = format!(
                    "{} is not an address of this machine",
                    listener.address.ip()
                );
                let hint = "nvmfd does not start before it is; ifconfig or ip address shows them";
                findings.warning(listener.span.clone(), what, hint);
            }
        }
        for ((address, _), span) in &self.referrals {
            let ours = |it: &&Listener| {
                overlap(it.address, *address) && (it.address == *address || is_here(*address))
            };
            if let Some(listener) = self.listeners.iter().find(ours) {
                let what = format!(
                    "the referral leads back here: {} listens on {}",
                    listener.owner, listener.address
                );
                let hint = "refer hosts to other discovery services only, or remove it";
                findings.error(span.clone(), what, hint);
            }
        }
    }
}

/// The place where `key` was before, unless it is new.
pub(super) fn first_of<'c, K: Ord>(
    seen: &'c mut BTreeMap<K, Span>,
    key: K,
    span: &Span,
) -> Option<&'c Span> {
    use std::collections::btree_map::Entry;
    match seen.entry(key) {
        Entry::Occupied(first) => Some(first.into_mut()),
        Entry::Vacant(place) => {
            place.insert(span.clone());
            None
        }
    }
}

fn collision(listener: &Listener, other: &Listener, findings: &Findings) -> String {
    let Listener { address, .. } = listener;
    let Listener { owner, .. } = other;
    let place = match &other.span {
        Some(span) => format!("in line {}", findings.line(span)),
        None => "by default".into(),
    };
    if other.address == *address {
        format!("{address} is listened on twice: {owner} has it, {place}")
    } else {
        let other = other.address;
        format!("{address} is listened on twice: {owner} has {other}, {place}")
    }
}

/// Whether only one of two addresses can be bound. Families are apart, and so are ports that the
/// kernel chooses.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let wild = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && a.is_ipv4() == b.is_ipv4() && (wild || a == b)
}

/// Whether no interface has the address. Who binds it asks the same judge; UDP disturbs nobody.
fn is_elsewhere(mut address: SocketAddr) -> bool {
    address.set_port(0);
    let unavailable = |error: io::Error| error.kind() == io::ErrorKind::AddrNotAvailable;
    !address.ip().is_unspecified() && UdpSocket::bind(address).is_err_and(unavailable)
}

/// Whether the address is this machine's. That it can be bound does not say so where Linux lets any be
/// bound (`net.ipv4.ip_nonlocal_bind`, as with addresses that move between machines).
fn is_here(address: SocketAddr) -> bool {
    let ip_of = |it: SockaddrStorage| match (it.as_sockaddr_in(), it.as_sockaddr_in6()) {
        (Some(v4), _) => Some(IpAddr::V4(v4.ip())),
        (None, v6) => v6.map(|v6| IpAddr::V6(v6.ip())),
    };
    let has_interface = || {
        let mut all = getifaddrs().into_iter().flatten();
        all.any(|it| it.address.and_then(ip_of) == Some(address.ip()))
    };
    !is_elsewhere(address) && (address.ip().is_loopback() || has_interface())
}
