//! The hand-off (`CTL_NVMF` of type `HANDOFF`): checked in the kernel's order, then the socket is taken.
//!
//! FreeBSD `sys/cam/ctl/ctl_frontend_nvmf.c` (nvmft_handoff), `sys/dev/nvmf/nvmf_transport.c`
//! (nvmf_validate_qpair_nvlist), `sys/dev/nvmf/nvmf_tcp.c` (tcp_allocate_qpair) and
//! `sys/dev/nvmf/controller/nvmft_controller.c`.

#![forbid(unsafe_code)]

use nvmf_proto::pdu::Framing;

use super::args::{self, Failure};
use super::layout::nvmf;
use super::port::{is_valid_nqn, low};
use super::queue::TakenQueue;
use super::request::{Request, up_to_nul};
use super::{Inner, dead, propriety};
use crate::error::Errno;
use crate::nv::Nvlist;

/// What the kernel has read of a hand-off before it looks for the socket.
pub(super) struct Offer {
    pub(super) list: Nvlist,
    pub(super) params: Nvlist,
    pub(super) admin: bool,
    pub(super) sq_flow_control: bool,
    pub(super) qsize: u32,
    pub(super) sqhd: u16,
    pub(super) sqe: [u8; 64],
    pub(super) data: Box<[u8; 1024]>,
}

/// What the transport needs, cut to the sizes that it keeps.
pub(super) struct Transport {
    pub(super) fd: u32,
    pub(super) rxpda: u8,
    pub(super) txpda: u8,
    pub(super) header_digests: bool,
    pub(super) data_digests: bool,
    pub(super) maxr2t: u32,
    pub(super) maxh2cdata: u32,
}

/// Takes the queue over, or says why not.
pub(super) fn hand_off(kernel: &Inner, request: &mut Request<'_>) -> Result<(), Failure> {
    let offer = Offer::read(kernel, request)?;
    let port = find_port(kernel, &offer)?;
    let queue_failed = |errno: Errno| {
        let kind = if offer.admin { "admin" } else { "I/O" };
        let number = errno.0;
        Failure::Refused(format!("Failed to handoff {kind} queue: {number}"))
    };
    let qid = u16::from_le_bytes([offer.sqe[42], offer.sqe[43]]);
    if offer.admin != (qid == 0) {
        return Err(queue_failed(Errno::EINVAL));
    }
    let trtype = low(offer.list.get_number("trtype").unwrap_or(0));
    if trtype < 3 || (trtype == 3 && !kernel.has_transport) {
        let why = format!("no transport of type {trtype}: an uninitialised pointer is followed");
        return Err(kernel.panic(&why).into());
    }
    let Some(transport) = Transport::read(&offer.params).filter(|_| trtype == 3) else {
        return Err(queue_failed(Errno::ENXIO));
    };
    let limits = kernel.state().view(port);
    let misuses = propriety::of_handoff(&offer, &transport, limits.as_ref());
    let mut state = kernel.state();
    misuses.into_iter().for_each(|it| state.misuse(it));
    drop(state);
    let Some(socket) = take(kernel, request, transport.fd) else {
        return Err(queue_failed(Errno::ENXIO));
    };
    let queue = TakenQueue {
        socket: socket.into(),
        sqe: offer.sqe,
        data: offer.data,
        sq_flow_control: offer.sq_flow_control,
        qsize: offer.qsize,
        sqhd: offer.sqhd,
        framing: Framing {
            header_digest: transport.header_digests,
            data_digest: transport.data_digests,
            send_alignment: transport.txpda.into(),
            receive_alignment: transport.rxpda.into(),
        },
        maxr2t: transport.maxr2t,
        maxh2cdata: transport.maxh2cdata,
    };
    if transport.txpda == 0 {
        return Err(kernel.panic("division by txpda, which is 0").into());
    }
    let unknown = !offer.admin && !kernel.plane.has_controller(port, queue.cntlid());
    if unknown && !kernel.patched {
        let why = "nvmft_handoff_io_queue: page fault at a controller that is not there";
        return Err(kernel.panic(why).into());
    }
    let handed = kernel.plane.hand_off(port, queue);
    handed.map_err(queue_failed)
}

impl Offer {
    /// Checks 1 to 4, and the first half of 5.
    fn read(kernel: &Inner, request: &Request<'_>) -> Result<Self, Failure> {
        let refused = |why: &str| Failure::refused(why);
        let uncopied = || refused("Failed to copyin and unpack handoff arguments");
        let size = request.u64(nvmf::HANDOFF_SIZE);
        let size = usize::try_from(size).map_err(|_| uncopied())?;
        let packed = request
            .copy_in(request.u64(nvmf::HANDOFF_DATA), size)
            .map_err(|_| uncopied())?;
        let list = args::unpack_list(kernel, &packed)?.ok_or_else(uncopied)?;
        let (Some(_), Some(params), Some(cmd), Some(data)) = (
            list.get_number("trtype"),
            list.get_nvlist("params"),
            list.get_binary("cmd"),
            list.get_binary("data"),
        ) else {
            return Err(refused("Handoff arguments missing required value"));
        };
        let basic = Basic::read(params).ok_or_else(|| refused("Invalid queue pair parameters"))?;
        let sqe = cmd
            .try_into()
            .map_err(|_| refused("Wrong size for CONNECT SQE"))?;
        let data: [u8; 1024] = data
            .try_into()
            .map_err(|_| refused("Wrong size for CONNECT data"))?;
        Ok(Self {
            params: params.clone(),
            admin: basic.admin,
            sq_flow_control: basic.sq_flow_control,
            qsize: basic.qsize,
            sqhd: basic.sqhd,
            sqe,
            data: Box::new(data),
            list,
        })
    }

    /// The subsystem's name up to its NUL.
    pub(super) fn subnqn(&self) -> &[u8] {
        up_to_nul(&self.data[256..512])
    }
}

/// What every transport's queues have (`nvmf_validate_qpair_nvlist`).
struct Basic {
    admin: bool,
    sq_flow_control: bool,
    qsize: u32,
    sqhd: u16,
}

impl Basic {
    fn read(params: &Nvlist) -> Option<Self> {
        let admin = params.get_bool("admin")?;
        let sq_flow_control = params.get_bool("sq_flow_control")?;
        let qsize = params.get_number("qsize")?;
        let sqhd = params.get_number("sqhd")?;
        let most = if admin { 4096 } else { 65536 };
        if !(2..=most).contains(&qsize) || sqhd > qsize - 1 {
            return None;
        }
        Some(Self {
            admin,
            sq_flow_control,
            qsize: low(qsize),
            sqhd: u16::try_from(sqhd).ok()?,
        })
    }
}

impl Transport {
    fn read(params: &Nvlist) -> Option<Self> {
        let number = |key| params.get_number(key);
        let byte = |key| number(key).map(|number| number.to_le_bytes()[0]);
        // Its value does not matter.
        number("max_icd")?;
        Some(Self {
            fd: low(number("fd")?),
            rxpda: byte("rxpda")?,
            txpda: byte("txpda")?,
            header_digests: params.get_bool("header_digests")?,
            data_digests: params.get_bool("data_digests")?,
            maxr2t: low(number("maxr2t")?),
            maxh2cdata: low(number("maxh2cdata")?),
        })
    }
}

/// Checks 5 and 6: the port that the host wants, if it lets hosts in.
fn find_port(kernel: &Inner, offer: &Offer) -> Result<u32, Failure> {
    if !is_valid_nqn(offer.subnqn()) {
        return Err(Failure::refused("Invalid SubNQN"));
    }
    let mut state = kernel.state();
    let port = state
        .subsystem(offer.subnqn())
        .ok_or_else(|| Failure::refused("Unknown SubNQN"))?;
    match state.nvmf_mut(port) {
        Some(nvmf) if nvmf.online => Ok(port),
        _ => Err(Failure::refused("CTL port offline")),
    }
}

/// Takes the socket out of the caller's hands, if it is one that the transport can use.
fn take(kernel: &Inner, request: &mut Request<'_>, fd: u32) -> Option<std::os::fd::OwnedFd> {
    let descriptor = request.descriptor.as_mut();
    let Some(descriptor) = descriptor.filter(|it| u32::try_from(it.number) == Ok(fd)) else {
        kernel
            .state()
            .misuse(format!("handed over descriptor {fd}, which is another one"));
        return None;
    };
    if !dead::is_tcp(&*descriptor.file) {
        // One that was taken before, or no socket of TCP.
        kernel
            .state()
            .misuse("handed over a descriptor that is no TCP socket".to_owned());
        return None;
    }
    if !dead::is_connection(&*descriptor.file) {
        let what = "handed over a socket that never was connected";
        kernel.state().misuse(what);
    }
    let socket = descriptor.file.try_clone().ok()?;
    dead::kill(descriptor.file, dead::nothing().ok()?).ok()?;
    descriptor.taken = true;
    Some(socket)
}
