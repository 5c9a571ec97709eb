//! Raw requests, a host's end of a connection, and small kernels.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nvmf_kmod::Errno;
use nvmf_kmod::fake::{Bookkeeper, Descriptor, FakeKernel, Region, Request};
use nvmf_kmod::nv::Nvlist;
use nvmf_proto::connect::{CNTLID_DYNAMIC, Connect};
use nvmf_proto::handshake::Handoff;
use nvmf_proto::pdu::Framing;
use zerocopy::IntoBytes;

pub(crate) const LUN_REQ: u32 = 0xc168_e121;
pub(crate) const LUN_LIST: u32 = 0xc0d8_e122;
pub(crate) const PORT_REQ: u32 = 0xc100_e126;
pub(crate) const PORT_LIST: u32 = 0xc0d8_e127;
pub(crate) const LUN_MAP: u32 = 0x800c_e128;
pub(crate) const PORT_STATS: u32 = 0xc038_e12a;
pub(crate) const NVMF: u32 = 0xc1c8_e12b;
pub(crate) const ENABLE_PORT: u32 = 0x8070_e104;
pub(crate) const DISABLE_PORT: u32 = 0x8070_e105;

pub(crate) const SUBNQN: &str = "nqn.2026-01.org.example:disk0";
pub(crate) const HOSTNQN: &str = "nqn.2026-01.org.example:host";

/// All LUNs, or none.
pub(crate) const ALL: u32 = u32::MAX;

/// Where the caller's memory is; any address will do.
pub(crate) const INPUT: u64 = 0x1000_0000;
pub(crate) const OUTPUT: u64 = 0x2000_0000;

/// A kernel with books of its own.
pub(crate) fn kernel() -> (FakeKernel, Bookkeeper) {
    let books = Bookkeeper::new();
    (FakeKernel::new(Arc::new(books.clone())), books)
}

/// How a request with status and text ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) status: u32,
    pub(crate) text: String,
}

impl Ended {
    pub(crate) fn new(status: u32, text: impl Into<String>) -> Self {
        Self {
            status,
            text: text.into(),
        }
    }
}

/// A raw request under construction.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) code: u32,
    pub(crate) argument: Vec<u8>,
    pub(crate) memory: Vec<Region>,
}

impl Raw {
    /// An argument of zeroes, as long as the code says.
    pub(crate) fn new(code: u32) -> Self {
        let length = usize::try_from(code >> 16 & 0x1fff).unwrap();
        Self {
            code,
            argument: vec![0; length],
            memory: Vec::new(),
        }
    }

    pub(crate) fn bytes(mut self, at: usize, bytes: &[u8]) -> Self {
        self.argument[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub(crate) fn u32(self, at: usize, value: u32) -> Self {
        self.bytes(at, &value.to_ne_bytes())
    }

    pub(crate) fn u64(self, at: usize, value: u64) -> Self {
        self.bytes(at, &value.to_ne_bytes())
    }

    /// Points at bytes that the kernel reads; their length stands elsewhere.
    pub(crate) fn input(mut self, pointer: usize, length: usize, bytes: &[u8]) -> Self {
        self.memory.push(Region::input(INPUT, bytes));
        self.u64(pointer, INPUT).u64(length, bytes.len() as u64)
    }

    /// Points at space that the kernel fills.
    pub(crate) fn output(mut self, pointer: usize, space: usize) -> Self {
        self.memory.push(Region::output(OUTPUT, space));
        self.u64(pointer, OUTPUT)
    }

    pub(crate) fn send(&mut self, kernel: &FakeKernel) -> Result<(), Errno> {
        self.send_with(kernel, None)
    }

    pub(crate) fn send_with(
        &mut self,
        kernel: &FakeKernel,
        file: Option<&mut OwnedFd>,
    ) -> Result<(), Errno> {
        let mut request = Request {
            code: self.code,
            argument: std::mem::take(&mut self.argument),
            memory: std::mem::take(&mut self.memory),
            descriptor: file.map(|file| Descriptor {
                number: file.as_raw_fd(),
                file,
                taken: false,
            }),
        };
        let result = kernel.request(&mut request);
        self.argument = request.argument;
        self.memory = request.memory;
        result
    }

    pub(crate) fn read_u32(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.argument[at..at + 4].try_into().unwrap())
    }

    pub(crate) fn read_u64(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.argument[at..at + 8].try_into().unwrap())
    }

    pub(crate) fn text(&self, at: usize, size: usize) -> String {
        let field = &self.argument[at..at + size];
        let end = field.iter().position(|&byte| byte == 0).unwrap_or(size);
        String::from_utf8(field[..end].to_vec()).unwrap()
    }

    /// Status and text, which stand behind each other in every argument.
    pub(crate) fn ended(&self) -> Ended {
        let at = match self.code {
            LUN_REQ => 192,
            PORT_REQ => 88,
            LUN_LIST | PORT_LIST => 52,
            NVMF => 288,
            other => panic!("{other:#x} has no status"),
        };
        Ended {
            status: self.read_u32(at),
            text: self.text(at + 4, 160),
        }
    }

    /// What the kernel has written to the last region.
    pub(crate) fn written(&self) -> &[u8] {
        let region = self.memory.last().unwrap();
        &region.bytes[..region.written]
    }
}

/// Options of strings.
pub(crate) fn strings(options: &[(&str, &str)]) -> Nvlist {
    options
        .iter()
        .fold(Nvlist::new(), |list, (key, value)| list.string(*key, value))
}

/// `CTL_PORT_REQ` of nvmft: 0 makes, 1 removes.
pub(crate) fn port_request(kind: u32, options: &Nvlist) -> Raw {
    Raw::new(PORT_REQ)
        .bytes(0, b"nvmf")
        .u32(32, kind)
        .input(40, 56, &options.pack().unwrap())
}

/// Makes a port of nvmft with these options beside its name and number.
pub(crate) fn make_port(kernel: &FakeKernel, subnqn: &str, more: &[(&str, &str)]) -> u32 {
    let options = more.iter().fold(
        strings(&[("subnqn", subnqn), ("portid", "1")]),
        |list, (key, value)| list.string(*key, value),
    );
    let mut raw = port_request(0, &options).output(64, 256).u64(80, 256);
    raw.send(kernel).unwrap();
    assert_eq!(raw.ended(), Ended::new(1, ""));
    let reply = Nvlist::unpack(raw.written(), 0).unwrap();
    u32::try_from(reply.get_number("port_id").unwrap()).unwrap()
}

pub(crate) fn map(kernel: &FakeKernel, port: u32, plun: u32, lun: u32) -> Result<(), Errno> {
    Raw::new(LUN_MAP)
        .u32(0, port)
        .u32(4, plun)
        .u32(8, lun)
        .send(kernel)
}

pub(crate) fn switch(kernel: &FakeKernel, code: u32, port: u32) -> Result<(), Errno> {
    Raw::new(code).u32(68, port).send(kernel)
}

/// A port that hosts can connect to, with an empty map.
pub(crate) fn online_port(kernel: &FakeKernel, subnqn: &str) -> u32 {
    let port = make_port(kernel, subnqn, &[]);
    map(kernel, port, ALL, 0).unwrap();
    switch(kernel, ENABLE_PORT, port).unwrap();
    port
}

/// A RAM disk with an identity of its own.
pub(crate) fn make_ramdisk(kernel: &FakeKernel, name: &str) -> u32 {
    let mut raw = lun_request("ramdisk", 0, &strings(&[("capacity", "1048576")]))
        .u32(40, 0x30)
        .u64(48, 1 << 20)
        .bytes(64, name.as_bytes())
        .bytes(80, name.as_bytes());
    raw.send(kernel).unwrap();
    assert_eq!(raw.ended(), Ended::new(1, ""));
    raw.read_u32(60)
}

/// `CTL_LUN_REQ`: 0 makes, 1 removes, 2 modifies.
pub(crate) fn lun_request(backend: &str, kind: u32, options: &Nvlist) -> Raw {
    Raw::new(LUN_REQ)
        .bytes(0, backend.as_bytes())
        .u32(32, kind)
        .input(144, 160, &options.pack().unwrap())
}

/// The two ends of a connection: the host's, and the descriptor of ours.
pub(crate) fn connection() -> (TcpStream, OwnedFd) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    host.set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    (host, listener.accept().unwrap().0.into())
}

/// The answer to a Connect that a host reads: the 16 bytes of its completion.
pub(crate) fn completion(host: &mut TcpStream, header_digest: bool) -> [u8; 16] {
    let mut pdu = vec![0; if header_digest { 28 } else { 24 }];
    host.read_exact(&mut pdu).unwrap();
    let flags = u8::from(header_digest);
    let length = u8::try_from(pdu.len()).unwrap();
    assert_eq!(pdu[..8], [5, flags, 24, 0, length, 0, 0, 0]);
    if header_digest {
        // CRC32C of the header, computed the slow way.
        assert_eq!(pdu[24..], crc32c(&pdu[..24]).to_le_bytes());
    }
    pdu[8..24].try_into().unwrap()
}

/// Whether the other side has closed, and nothing else is to be read.
pub(crate) fn is_closed(host: &mut TcpStream) -> bool {
    matches!(host.read(&mut [0; 64]), Ok(0))
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg())
        })
    })
}

/// A Connect for an admin queue.
pub(crate) fn admin_connect() -> Connect {
    Connect {
        qid: 0,
        entries: 32,
        sq_flow_control: true,
        kato: Duration::from_secs(120),
        hostid: [7; 16],
        cntlid: CNTLID_DYNAMIC,
        subnqn: SUBNQN.parse().unwrap(),
        hostnqn: HOSTNQN.parse().unwrap(),
    }
}

/// A Connect for I/O queue `qid` of controller `cntlid`.
pub(crate) fn io_connect(cntlid: u16, qid: u16) -> Connect {
    Connect {
        qid,
        entries: 128,
        kato: Duration::ZERO,
        cntlid,
        ..admin_connect()
    }
}

/// What a handshake without digests gives for this Connect.
pub(crate) fn handoff(connect: Connect) -> Handoff {
    let (sqe, data) = connect.to_wire(0x1234);
    Handoff {
        sqe,
        data: data.as_bytes().to_vec(),
        framing: Framing::INITIAL,
        maxr2t: 0,
        maxh2cdata: 256 << 10,
        entries: connect.entries,
        sq_flow_control: connect.sq_flow_control,
        connect,
    }
}

/// Waits for something, for ten seconds at the most.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}
