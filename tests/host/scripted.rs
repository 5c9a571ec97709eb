//! A target that answers by script: right in all that is not said, and as wrong as it is told to be.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nvmf_proto::cqe::Cqe;
use nvmf_proto::opcode::{FABRICS, admin, fabrics, nvm};
use nvmf_proto::pdu::{Framing, IcResp, flags};
use nvmf_proto::sqe::Sqe;
use nvmf_proto::status::Status;
use zerocopy::{FromBytes, IntoBytes};

/// What a command is answered with.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Success, and dwords 0 and 1.
    Result(u64),
    /// Success, and data.
    Data(Vec<u8>),
    /// Failure, and dwords 0 and 1.
    Status(Status, u64),
    /// These bytes, whatever they are.
    Bytes(Vec<u8>),
    /// Data of so many bytes, one now and then.
    Dripping(u32),
    /// Nothing, ever.
    Silence,
    /// The end of the connection.
    Close,
}

/// Says how a command on a queue is answered; `None` for the right way.
type Script = dyn Fn(u16, &Sqe) -> Option<Reply> + Send + Sync;

/// Blocks of the namespace, of 512 bytes.
pub(crate) const BLOCKS: u64 = 4096;

/// A scripted target on loopback, for one host after the other and any number of queues.
pub(crate) struct Scripted {
    address: SocketAddr,
    ending: Arc<AtomicBool>,
    /// Every value that was written to CC.
    configured: Arc<Mutex<Vec<u32>>>,
    acceptor: Option<JoinHandle<()>>,
}

impl Scripted {
    pub(crate) fn start(
        script: impl Fn(u16, &Sqe) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        let script: Arc<Script> = Arc::new(script);
        Self::accepting(move |stream, configured| {
            // However a connection ends, the host says what it thinks of it.
            let _ = serve(&stream, &*script, configured);
        })
    }

    /// One that does not speak NVMe/TCP: what it says to whoever connects.
    pub(crate) fn saying(bytes: &'static [u8]) -> Self {
        Self::accepting(|mut stream, _| {
            let _ = stream.write_all(bytes);
            // Until the host has had enough.
            while stream.read(&mut [0; 512]).is_ok_and(|count| count != 0) {}
        })
    }

    fn accepting(meet: impl Fn(TcpStream, &Mutex<Vec<u32>>) + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("its address");
        let ending = Arc::new(AtomicBool::new(false));
        let configured = Arc::new(Mutex::new(Vec::new()));
        let (is_ending, configurations) = (Arc::clone(&ending), Arc::clone(&configured));
        let accept = move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if is_ending.load(Ordering::Acquire) {
                    return;
                }
                let (meet, configured) = (meet.clone(), Arc::clone(&configurations));
                std::thread::spawn(move || meet(stream, &configured));
            }
        };
        Self {
            address,
            ending,
            configured,
            acceptor: Some(std::thread::spawn(accept)),
        }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Whether a controller was shut down in order (CC.SHN).
    pub(crate) fn was_shut_down(&self) -> bool {
        let configured = self.configured.lock().expect("the list");
        configured.iter().any(|cc| cc >> 14 & 0b11 == 0b01)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Release);
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// Serves a queue until either side has enough.
fn serve(
    mut stream: &TcpStream,
    script: &Script,
    configured: &Mutex<Vec<u32>>,
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.read_exact(&mut [0; 128])?;
    stream.write_all(IcResp::new(65_536, false, false).as_bytes())?;
    let (mut cc, mut qid, mut entries, mut head) = (0, 0, 1, 0);
    loop {
        let mut capsule = [0; 72];
        stream.read_exact(&mut capsule)?;
        let plen = u32::from_le_bytes(*capsule[4..].first_chunk().expect("72 bytes"));
        let mut data = vec![0; (plen as usize).saturating_sub(72)];
        stream.read_exact(&mut data)?;
        let sqe = Sqe::read_from_bytes(&capsule[8..]).expect("64 bytes");
        if (sqe.opcode, sqe.fctype()) == (FABRICS, Some(fabrics::PROPERTY_SET)) {
            cc = sqe.cdw12.get();
            configured.lock().expect("the list").push(cc);
        }
        if (sqe.opcode, sqe.fctype()) == (FABRICS, Some(fabrics::CONNECT)) {
            let [_, _, qid_bytes @ ..] = sqe.cdw10.get().to_le_bytes();
            qid = u16::from_le_bytes(qid_bytes);
            entries = (sqe.cdw11.get() & 0xffff) + 1;
        } else {
            head = (head + 1) % entries;
        }
        let reply = script(qid, &sqe).unwrap_or_else(|| right(qid, &sqe, cc));
        let mut out = Vec::new();
        let (status, result) = match reply {
            Reply::Silence => continue,
            Reply::Close => return Ok(()),
            Reply::Bytes(bytes) => {
                stream.write_all(&bytes)?;
                continue;
            }
            Reply::Dripping(length) => {
                Framing::INITIAL.c2h_data(&mut out, sqe.cid.get(), 0, length, flags::LAST_PDU);
                stream.write_all(&out)?;
                for _ in 0..length {
                    std::thread::sleep(Duration::from_millis(20));
                    stream.write_all(&[0])?;
                }
                continue;
            }
            Reply::Result(result) => (Status::SUCCESS, result),
            Reply::Status(status, result) => (status, result),
            Reply::Data(data) => {
                let length = u32::try_from(data.len()).expect("a transfer");
                Framing::INITIAL.c2h_data(&mut out, sqe.cid.get(), 0, length, flags::LAST_PDU);
                out.extend(data);
                (Status::SUCCESS, 0)
            }
        };
        let [low, high, ..] = head.to_le_bytes();
        let cqe = Cqe {
            result: result.into(),
            sqhd: u16::from_le_bytes([low, high]).into(),
            cid: sqe.cid,
            status: status.to_wire().into(),
            ..Cqe::default()
        };
        Framing::INITIAL.capsule_resp(&mut out, cqe);
        stream.write_all(&out)?;
    }
}

/// The answer of a target that does nothing wrong: a namespace of zeroes.
fn right(qid: u16, sqe: &Sqe, cc: u32) -> Reply {
    match (sqe.opcode, sqe.fctype()) {
        (FABRICS, Some(fabrics::CONNECT)) => Reply::Result(7),
        (FABRICS, Some(fabrics::PROPERTY_GET)) => Reply::Result(match sqe.cdw11.get() {
            0x00 => 1 << 37 | 127,
            0x08 => 0x2_0000,
            0x14 => cc.into(),
            // CSTS: shutdown complete, or as CC.EN says.
            _ if cc >> 14 & 0b11 != 0 => 0b1001,
            _ => (cc & 1).into(),
        }),
        (FABRICS, _) => Reply::Result(0),
        (nvm::READ, _) if qid != 0 => Reply::Data(vec![0; (sqe.cdw12.get() as usize + 1) * 512]),
        _ if qid != 0 => Reply::Result(0),
        (admin::IDENTIFY, _) => Reply::Data(identify(sqe.cdw10.get() & 0xff)),
        (admin::GET_LOG_PAGE, _) => {
            let dwords = (sqe.cdw10.get() >> 16) + 1;
            Reply::Data(vec![0; dwords as usize * 4])
        }
        _ => Reply::Result(0),
    }
}

/// A page of Identify.
pub(crate) fn identify(cns: u32) -> Vec<u8> {
    let mut page = vec![0; 4096];
    let mut put = |at: usize, bytes: &[u8]| page[at..at + bytes.len()].copy_from_slice(bytes);
    match cns {
        0x00 => {
            put(0, &BLOCKS.to_le_bytes());
            put(130, &[9]);
        }
        0x01 => {
            // 8 KiB a command, so that there are many, and all of it in the capsule.
            put(77, &[1]);
            put(111, &[1]);
            put(1792, &516_u32.to_le_bytes());
        }
        0x02 => put(0, &[1]),
        _ => {}
    }
    page
}
