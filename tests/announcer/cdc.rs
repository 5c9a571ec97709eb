//! A Centralized Discovery Controller on loopback, made of our own controller half: it keeps what it is
//! told, judges each byte of that, and has the manners that a story wants.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nvmf_proto::connect::Limits;
use nvmf_proto::controller::{
    AdminCommand, Config, Controller, DiscoveryLog, Environment, ErrorLog, IoStatistics, Kind,
    Outcome,
};
use nvmf_proto::cqe::Completion;
use nvmf_proto::handshake::{DigestOffer, Handshake, Offer, Progress, QueueLimits};
use nvmf_proto::nqn::Nqn;
use nvmf_proto::opcode::{FABRICS, fabrics};
use nvmf_proto::outbox::Outbox;
use nvmf_proto::queue::{ADMIN_IN_CAPSULE, Queue, Step, Tag};
use nvmf_proto::sqe::{Data, Sqe};
use nvmf_proto::status::Status;
use nvmfd::engine::namespace::Namespaces;

use crate::dim::{Dim, Entry, Task, read};
use crate::scene::until;

/// How it treats who registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manners {
    /// As it should be.
    Good,
    /// It refuses registrations.
    Refusing,
    /// It says nothing, from the first byte on.
    Silent,
    /// It closes the connection instead of an answer to a registration.
    Closing,
    /// It answers a registration with what is no PDU.
    Babbling,
}

/// A controller that runs until this goes.
pub(crate) struct Cdc {
    pub(crate) address: SocketAddr,
    office: Arc<Office>,
    ending: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

/// What all its connections share.
struct Office {
    manners: Mutex<Manners>,
    books: Mutex<Books>,
}

/// What it was told.
#[derive(Debug, Default)]
struct Books {
    entries: BTreeMap<(String, SocketAddr), Entry>,
    commands: Vec<Dim>,
    mistakes: Vec<String>,
    hosts: Vec<(String, Duration)>,
    streams: Vec<TcpStream>,
    shutdowns: usize,
}

impl Cdc {
    /// Somewhere on loopback.
    pub(crate) fn start(manners: Manners) -> Self {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), manners)
    }

    /// Here.
    pub(crate) fn start_at(address: SocketAddr, manners: Manners) -> Self {
        let listener = TcpListener::bind(address).expect("a port");
        let address = listener.local_addr().expect("its address");
        let office = Arc::new(Office {
            manners: Mutex::new(manners),
            books: Mutex::default(),
        });
        let ending = Arc::new(AtomicBool::new(false));
        let (its_office, is_ending) = (Arc::clone(&office), Arc::clone(&ending));
        let accept = move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if is_ending.load(Ordering::Acquire) {
                    return;
                }
                let office = Arc::clone(&its_office);
                let kept = stream.try_clone().expect("a descriptor");
                office.books().streams.push(kept);
                std::thread::spawn(move || {
                    // However a connection ends, the books tell.
                    let _ = office.serve(&stream);
                });
            }
        };
        Self {
            address,
            office,
            ending,
            acceptor: Some(std::thread::spawn(accept)),
        }
    }

    /// The line of a file that registers here.
    pub(crate) fn key(&self) -> String {
        format!("register = [\"{}\"]", self.address)
    }

    /// Has other manners from now on.
    pub(crate) fn behave(&self, manners: Manners) {
        *self.office.manners.lock().expect("the manners") = manners;
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        self.office.books().streams.len()
    }

    /// How many of them ended in a shutdown.
    pub(crate) fn shutdowns(&self) -> usize {
        self.office.books().shutdowns
    }

    /// The commands so far, of which none may have had a mistake.
    pub(crate) fn commands(&self) -> Vec<Dim> {
        let books = self.office.books();
        assert!(books.mistakes.is_empty(), "{:?}", books.mistakes);
        books.commands.clone()
    }

    /// Who came last, and what KATO it asked for.
    pub(crate) fn last_host(&self) -> (String, Duration) {
        self.office.books().hosts.last().cloned().expect("a host")
    }

    /// What is registered.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.commands();
        self.office.books().entries.values().cloned().collect()
    }

    /// Waits until so much is registered.
    pub(crate) fn await_entries(&self, count: usize) -> Vec<Entry> {
        until(&format!("{count} registered"), || {
            Some(self.entries()).filter(|entries| entries.len() == count)
        })
    }

    /// Cuts all connections.
    pub(crate) fn cut(&self) {
        for stream in &self.office.books().streams {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Cdc {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Release);
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        self.cut();
    }
}

impl Office {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect("the books")
    }

    fn manners(&self) -> Manners {
        *self.manners.lock().expect("the manners")
    }

    fn serve(&self, mut stream: &TcpStream) -> io::Result<()> {
        if self.manners() == Manners::Silent {
            // Until the host has had enough.
            while stream.read(&mut [0; 512])? != 0 {}
            return Ok(());
        }
        let Some(mut queue) = self.meet(stream)? else {
            return Ok(());
        };
        let mut controller = Controller::new(config(), Instant::now());
        let mut buffer = vec![0; 65_536];
        loop {
            flush(stream, queue.outbox())?;
            let count = stream.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            let mut input = &buffer[..count];
            while let Some(step) = queue.next(&mut input).map_err(io::Error::other)? {
                match step {
                    Step::Capsule(tag) => decide(&mut queue, &controller, tag),
                    Step::Ready(tag) => self.execute(stream, &mut queue, &mut controller, tag)?,
                    Step::Failed { .. } => {}
                    Step::Terminated { .. } => return Ok(()),
                }
            }
        }
    }

    /// The handshake: a queue for whoever asks for discovery.
    fn meet(&self, mut stream: &TcpStream) -> io::Result<Option<Queue>> {
        let mut handshake = Handshake::new(Offer {
            header_digest: DigestOffer::Allow,
            data_digest: DigestOffer::Allow,
            maxh2cdata: 8192,
            limits: Limits {
                max_admin_entries: 128,
                max_io_entries: 128,
                sq_flow_control_optional: true,
            },
        });
        loop {
            flush(stream, handshake.outbox())?;
            let mut buffer = vec![0; handshake.wants()];
            let count = stream.read(&mut buffer)?;
            if count == 0 {
                return Ok(None);
            }
            let progress = handshake.next(&mut &buffer[..count]);
            let Progress::Connect(request) = progress.map_err(io::Error::other)? else {
                continue;
            };
            let connect = request.connect();
            assert!(connect.subnqn.is_discovery(), "{}", connect.subnqn);
            let host = (connect.hostnqn.to_string(), connect.kato);
            self.books().hosts.push(host);
            return Ok(Some(request.accept(
                7,
                QueueLimits {
                    in_capsule: ADMIN_IN_CAPSULE,
                    max_transfer: MAX_TRANSFER,
                },
            )));
        }
    }

    fn execute(
        &self,
        mut stream: &TcpStream,
        queue: &mut Queue,
        controller: &mut Controller,
        tag: Tag,
    ) -> io::Result<()> {
        let sqe = *queue.sqe(tag).expect("a command that is ready");
        let completion = match (sqe.opcode, sqe.fctype()) {
            (FABRICS, Some(fabrics::PROPERTY_GET)) => match controller.property_get(&sqe) {
                Ok(value) => Completion::success(value),
                Err(status) => status.into(),
            },
            (FABRICS, _) => {
                let set = controller.property_set(&sqe, Instant::now());
                if sqe.cdw12.get() >> 14 & 0b11 == 0b01 {
                    self.books().shutdowns += 1;
                    controller.shutdown_complete();
                }
                set.map_or_else(Into::into, |_| Completion::SUCCESS)
            }
            (DIM, _) => match self.manners() {
                Manners::Good | Manners::Silent => {
                    let data = queue.take_data(tag);
                    self.note(read(sqe.cdw10.get(), &data));
                    Completion::SUCCESS
                }
                Manners::Refusing => Status::INSUFFICIENT_DISCOVERY_RESOURCES.into(),
                Manners::Closing => return Err(io::ErrorKind::ConnectionAborted.into()),
                Manners::Babbling => {
                    stream.write_all(&[0xa5; 512])?;
                    return Ok(());
                }
            },
            _ => match answer(controller, &sqe) {
                Outcome::Data(data) => {
                    queue.complete_read(tag, data);
                    return Ok(());
                }
                Outcome::Done(completion) => completion,
                Outcome::Held | Outcome::Abort { .. } => Status::INVALID_OPCODE.into(),
            },
        };
        queue.complete(tag, completion);
        Ok(())
    }

    /// Does what a command wants.
    fn note(&self, dim: Result<Dim, String>) {
        let mut books = self.books();
        let dim = match dim {
            Ok(dim) => dim,
            Err(mistake) => return books.mistakes.push(mistake),
        };
        for entry in &dim.entries {
            let key = (entry.nqn.clone(), entry.address);
            match dim.task {
                Task::Register => drop(books.entries.insert(key, entry.clone())),
                Task::Deregister => {
                    if books.entries.remove(&key).is_none() {
                        let mistake = format!("{entry:?} is taken back, and was not there");
                        books.mistakes.push(mistake);
                    }
                }
                Task::Update => books.mistakes.push("an update is not expected".into()),
            }
        }
        books.commands.push(dim);
    }
}

/// Which data a command has.
fn decide(queue: &mut Queue, controller: &Controller, tag: Tag) {
    let sqe = *queue.sqe(tag).expect("a command that has come");
    match (sqe.opcode, sqe.fctype()) {
        (FABRICS, _) => queue.accept(tag, Data::None),
        (DIM, _) => queue.accept(tag, Data::FromHost(sqe.sgl.length.get())),
        _ => match controller.parse(&sqe) {
            Ok(command) => queue.accept(tag, command.data()),
            Err(status) => queue.refuse(tag, status.into()),
        },
    }
}

fn answer(controller: &mut Controller, sqe: &Sqe) -> Outcome {
    let command: AdminCommand = match controller.parse(sqe) {
        Ok(command) => command,
        Err(status) => return Outcome::Done(status.into()),
    };
    let environment = Environment {
        namespaces: &Namespaces::default().load(),
        errors: &ErrorLog::default(),
        io: IoStatistics::default(),
        discovery: &DiscoveryLog::default(),
    };
    controller.execute(0, &command, &environment, Instant::now())
}

fn config() -> Config {
    Config {
        kind: Kind::Discovery,
        cntlid: 7,
        subnqn: Nqn::discovery(),
        serial: "CDC".into(),
        model: "CDC".into(),
        firmware: "1".into(),
        hostid: [1; 16],
        max_io_entries: 128,
        max_admin_entries: 128,
        max_io_queues: 1,
        max_transfer: MAX_TRANSFER,
        in_capsule: ADMIN_IN_CAPSULE,
        kato: Duration::from_secs(120),
    }
}

fn flush(mut stream: &TcpStream, outbox: &mut Outbox) -> io::Result<()> {
    let bytes: Vec<u8> = outbox.pieces().flatten().copied().collect();
    outbox.advance(bytes.len());
    stream.write_all(&bytes)
}

/// Discovery Information Management.
const DIM: u8 = 0x21;

/// Bytes that a command may move: more than a capsule, and not much.
const MAX_TRANSFER: u32 = 16 * 1024;
