//! The ceiling: a program that accepts, answers two messages of the same lengths as a negotiation's
//! with constants, and closes. It blocks, with as many threads as there are clients; nothing is
//! cheaper for a single one.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use nvmfd_tests::peer::PeerError;

use crate::clients::{ANSWER, CONNECT, ICREQ, ICRESP};

/// Makes this program the bare one, with the number of its threads behind it.
pub(crate) const BARE: &str = "--bare";

/// The bare program, in a process of its own.
#[derive(Debug)]
pub(crate) struct Bare {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Bare {
    /// Starts it.
    pub(crate) fn start(threads: usize) -> Result<Self, PeerError> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(BARE)
            .arg(threads.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut address = String::new();
        let stdout = process.stdout.take().expect("its output");
        BufReader::new(stdout).read_line(&mut address)?;
        let address = address.trim().parse().expect("an address");
        Ok(Self { process, address })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Says where it listens, and serves until it is killed.
pub(crate) fn serve(threads: usize) -> io::Result<()> {
    let listener = Arc::new(TcpListener::bind("127.0.0.1:0")?);
    println!("{}", listener.local_addr()?);
    for _ in 1..threads {
        let listener = Arc::clone(&listener);
        std::thread::spawn(move || accept(&listener));
    }
    accept(&listener)
}

fn accept(listener: &TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        // A client that has what it came for is gone at once.
        let _ = answer(stream);
    }
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.read_exact(&mut [0; ICREQ])?;
    stream.write_all(&[0; ICRESP])?;
    stream.read_exact(&mut [0; CONNECT])?;
    stream.write_all(&[0; ANSWER])
}
