//! An operator's end of the control socket, for what tests want to know of a daemon.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nvmfd::control::message::{Answer, Answered, Asked, Failure, Plan, Request, Status, VERSION};

/// What a daemon answers.
///
/// # Panics
/// If it does not.
pub fn ask(socket: &Path, request: Request) -> Answer {
    try_ask(socket, request).expect("the daemon answers")
}

/// What a daemon answers, if it does.
///
/// # Errors
/// Why it does not.
pub fn try_ask(socket: &Path, request: Request) -> io::Result<Answer> {
    let version = VERSION;
    let mut line = serde_json::to_string(&Asked { version, request })?;
    line.push('\n');
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(&stream).read_line(&mut answer)?;
    let answered: Answered = serde_json::from_str(&answer)?;
    Ok(answered.answer)
}

/// How it is.
///
/// # Panics
/// If it does not say.
pub fn status(socket: &Path) -> Status {
    let answer = ask(socket, Request::Status);
    let Answer::Status(status) = answer else {
        panic!("{answer:?}")
    };
    *status
}

/// What a reload does or would do, by a daemon's answer.
///
/// # Errors
/// What keeps it from that.
///
/// # Panics
/// If it is another answer.
pub fn planned(answer: Answer) -> Result<Plan, Failure> {
    if let Answer::Failed(failure) = answer {
        return Err(failure);
    }
    let Answer::Plan(plan) = answer else {
        panic!("{answer:?}")
    };
    Ok(plan)
}

const PATIENCE: Duration = Duration::from_secs(60);
