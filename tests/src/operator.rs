//! An operator's end of the control socket, for what tests want to know of a daemon.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nvmfd::control::message::{Answer, Answered, Asked, Request, Status, VERSION};

/// What a daemon answers.
///
/// # Panics
/// If it does not.
pub fn ask(socket: &Path, request: Request) -> Answer {
    let version = VERSION;
    let mut line = serde_json::to_string(&Asked { version, request }).expect("JSON");
    line.push('\n');
    let mut stream = UnixStream::connect(socket).expect("the daemon has a control socket");
    stream
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout can be set");
    stream.write_all(line.as_bytes()).expect("it listens");
    let mut answer = String::new();
    BufReader::new(&stream)
        .read_line(&mut answer)
        .expect("it answers");
    let answered: Answered = serde_json::from_str(&answer).expect("an answer");
    answered.answer
}

/// How it is.
///
/// # Panics
/// If it does not say.
pub fn status(socket: &Path) -> Status {
    match ask(socket, Request::Status) {
        Answer::Status(status) => *status,
        other => panic!("{other:?}"),
    }
}

const PATIENCE: Duration = Duration::from_secs(60);
