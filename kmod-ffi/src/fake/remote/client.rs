//! The caller's side: a kernel that is elsewhere.

#![forbid(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::frame::{self, invalid};
use super::words;
use crate::error::Errno;
use crate::fake::faults::Fault;
use crate::fake::{ForeignLun, ForeignPort, copied, dead, write_back};
use crate::kernel::{Call, Kernel};
use crate::nv::Nvlist;

/// A fake kernel in another process.
#[derive(Debug)]
pub struct RemoteKernel {
    path: PathBuf,
    /// Connections on which no request is under way.
    idle: Mutex<Vec<UnixStream>>,
    /// What a descriptor that was taken is made to name.
    nothing: OwnedFd,
}

/// What the kernel lists, as it prints it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dump {
    /// `CTL_PORT_LIST`.
    pub ports: String,
    /// `CTL_LUN_LIST`.
    pub luns: String,
    /// `CTL_NVMF` of type `LIST`.
    pub sessions: String,
}

impl RemoteKernel {
    /// Connects to the socket of [`super::serve`]. Who has one request at a time, and none that fails
    /// on the way, needs no path after that.
    ///
    /// # Errors
    /// The system's.
    pub fn connect(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref().to_owned();
        let first = UnixStream::connect(&path)?;
        Ok(Self {
            path,
            idle: Mutex::new(vec![first]),
            nothing: dead::nothing()?,
        })
    }

    /// See [`crate::fake::FakeKernel::misuses`].
    ///
    /// # Errors
    /// The connection's, or nonsense on it.
    pub fn misuses(&self) -> io::Result<Vec<String>> {
        let reply = self.ask(&words::asking("misuses"))?;
        Ok(words::texts(&reply, "misuses"))
    }

    /// See [`crate::fake::FakeKernel::panicked`].
    ///
    /// # Errors
    /// The connection's, or nonsense on it.
    pub fn panicked(&self) -> io::Result<Option<String>> {
        let reply = self.ask(&words::asking("panicked"))?;
        Ok(reply.get_string("panicked").map(str::to_owned))
    }

    /// Orders a failure. Only requests count, not what tests ask.
    ///
    /// # Errors
    /// The connection's, or nonsense on it.
    pub fn order(&self, fault: &Fault) -> io::Result<()> {
        self.ask(&words::with_fault(words::asking("fault"), fault))
            .map(drop)
    }

    /// Forgets all failures that are ordered.
    ///
    /// # Errors
    /// The connection's, or nonsense on it.
    pub fn clear_faults(&self) -> io::Result<()> {
        self.ask(&words::asking("clear-faults")).map(drop)
    }

    /// Requests so far, those that failed included.
    ///
    /// # Errors
    /// The connection's, or nonsense on it.
    pub fn requests(&self) -> io::Result<u64> {
        words::number(&self.ask(&words::asking("requests"))?, "requests")
    }

    /// Adds a port of another front end; its number.
    ///
    /// # Errors
    /// The kernel's text, too.
    pub fn add_port(&self, port: &ForeignPort) -> io::Result<u32> {
        let reply = self.ask(&words::with_port(words::asking("port"), port))?;
        words::number(&reply, "id")
    }

    /// Adds a port of nvmft that somebody else made, with an empty map; its number.
    ///
    /// # Errors
    /// The kernel's text, too.
    pub fn add_nvmf_port(&self, options: &[(&str, &str)], online: bool) -> io::Result<u32> {
        let options: Vec<(String, String)> = options
            .iter()
            .map(|&(key, value)| (key.into(), value.into()))
            .collect();
        let asked = words::asking("nvmf-port").bool("online", online);
        let reply = self.ask(&words::with_options(asked, &options))?;
        words::number(&reply, "id")
    }

    /// Adds a LUN that somebody else made; its number.
    ///
    /// # Errors
    /// The kernel's text, too.
    pub fn add_lun(&self, lun: &ForeignLun) -> io::Result<u32> {
        let reply = self.ask(&words::with_lun(words::asking("lun"), lun))?;
        words::number(&reply, "id")
    }

    /// What there is.
    ///
    /// # Errors
    /// The connection's, or nonsense on it.
    pub fn dump(&self) -> io::Result<Dump> {
        let reply = self.ask(&words::asking("dump"))?;
        let text = |key| String::from_utf8_lossy(&words::bytes(&reply, key)).into_owned();
        Ok(Dump {
            ports: text("ports"),
            luns: text("luns"),
            sessions: text("sessions"),
        })
    }

    /// Asks the plane something in words of its own (see [`crate::fake::Plane::control`]).
    ///
    /// # Errors
    /// What the plane says against it, too.
    pub fn control(&self, plane_words: &str) -> io::Result<String> {
        let reply = self.ask(&words::asking("plane").string("words", plane_words))?;
        words::string(&reply, "answer")
    }

    /// Asks for something and takes a refusal for an error.
    fn ask(&self, list: &Nvlist) -> io::Result<Nvlist> {
        let stream = self.stream()?;
        frame::send(&stream, list, None)?;
        let reply = answer(&stream)?;
        self.give_back(stream);
        match reply.get_string("error") {
            Some(why) => Err(io::Error::other(why.to_owned())),
            None => Ok(reply),
        }
    }

    fn try_ioctl(&self, call: &mut Call<'_>) -> io::Result<Result<(), Errno>> {
        let request = copied(call);
        let mut list = words::asking("ioctl").number("code", request.code.into());
        list = words::with_bytes(list, "argument", &request.argument);
        for (index, region) in request.memory.iter().enumerate() {
            list = words::with_region(list, index, region);
        }
        let stream = self.stream()?;
        match call.descriptor_mut() {
            Some(file) => {
                // Never negative.
                let number = u64::try_from(file.as_raw_fd()).map_err(invalid)?;
                frame::send(&stream, &list.number("fd", number), Some(file.as_fd()))?;
            }
            None => frame::send(&stream, &list, None)?,
        }
        let reply = answer(&stream)?;
        self.give_back(stream);
        if reply.get_bool("taken") == Some(true)
            && let Some(file) = call.descriptor_mut()
        {
            dead::kill(file, &self.nothing)?;
        }
        let argument = words::bytes(&reply, "argument");
        if argument.len() != request.argument.len() {
            return Err(invalid("an argument of another length"));
        }
        let mut memory = request.memory;
        for (index, region) in memory.iter_mut().enumerate() {
            let written = words::bytes(&reply, &words::memory_key(index));
            let place = region
                .bytes
                .get_mut(..written.len())
                .ok_or_else(|| invalid("more bytes than there was space"))?;
            place.copy_from_slice(&written);
            region.written = written.len();
        }
        write_back(call, &argument, &memory);
        Ok(match words::number(&reply, "errno")? {
            0 => Ok(()),
            errno => Err(Errno(errno)),
        })
    }

    fn stream(&self) -> io::Result<UnixStream> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        idle.map_or_else(|| UnixStream::connect(&self.path), Ok)
    }

    fn give_back(&self, stream: UnixStream) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(stream);
    }
}

impl Kernel for RemoteKernel {
    /// Fails with EIO if the other process is gone.
    fn ioctl(&self, call: &mut Call<'_>) -> Result<(), Errno> {
        self.try_ioctl(call).unwrap_or(Err(Errno::EIO))
    }
}

fn answer(stream: &UnixStream) -> io::Result<Nvlist> {
    let received = frame::receive(stream)?;
    received.map_or_else(
        || Err(io::ErrorKind::UnexpectedEof.into()),
        |(list, _)| Ok(list),
    )
}
