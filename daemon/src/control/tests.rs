//! The socket with clients of every kind, over a real Unix socket in a directory of its own.

#![forbid(unsafe_code)]

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use nix::unistd::Group;
use tempfile::TempDir;

use super::message::{Answer, Answered, Failure, FailureKind, Request, VERSION, Whose};
use super::server::{Limits, Question, Server};
use super::socket::{ControlSocket, GROUP, OpenError};

/// A daemon's side, whose monitor does what a test says.
struct Scene {
    directory: TempDir,
    server: Server,
    questions: Receiver<Question>,
}

/// Limits that a test can reach, and no machine by being slow.
fn limits() -> Limits {
    Limits {
        line: 64 << 10,
        ..Limits::default()
    }
}

fn scene(limits: Limits) -> Scene {
    let directory = tempfile::tempdir().unwrap();
    let socket = ControlSocket::open(&directory.path().join("sock")).unwrap();
    let (sender, questions) = unbounded();
    let server = socket.serve_within(sender, limits).unwrap();
    Scene {
        directory,
        server,
        questions,
    }
}

impl Scene {
    fn path(&self) -> PathBuf {
        self.directory.path().join("sock")
    }

    fn client(&self) -> Client {
        Client::of(&self.path())
    }

    /// A monitor that says of everything that it is done.
    fn obedient(&self) -> JoinHandle<Vec<Request>> {
        let questions = self.questions.clone();
        thread::spawn(move || {
            let answer = |Question { request, reply }| {
                reply.send(Answer::Done).unwrap();
                request
            };
            questions.into_iter().map(answer).collect()
        })
    }
}

struct Client {
    stream: UnixStream,
    lines: BufReader<UnixStream>,
}

impl Client {
    fn of(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let lines = BufReader::new(stream.try_clone().unwrap());
        Self { stream, lines }
    }

    fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    fn answer(&mut self) -> Answer {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        let Answered { version, answer } = serde_json::from_str(&line).expect(&line);
        assert_eq!(version, VERSION);
        answer
    }

    fn refused(&mut self) -> (FailureKind, String) {
        let answer = self.answer();
        let Answer::Failed(Failure { kind, text }) = answer else {
            panic!("{answer:?}");
        };
        (kind, text)
    }

    /// Whether the daemon has closed the connection, with nothing more to say.
    fn is_sent_away(&mut self) -> bool {
        match self.lines.read(&mut [0]) {
            Ok(read) => read == 0,
            // Linux: what it left unread is told as a reset.
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

const DRAIN: &[u8] = b"{\"version\":1,\"request\":\"drain\",\"on\":true}\n";

#[test]
fn requests_are_answered_one_after_the_other_on_one_connection() {
    let scene = scene(limits());
    let monitor = scene.obedient();
    let mut client = scene.client();
    client.say(DRAIN).unwrap();
    assert_eq!(client.answer(), Answer::Done);
    // Two at once, the second in pieces, and its newline left out at the end.
    client.say(DRAIN).unwrap();
    client.say(b"{\"version\":1,\"request\":\"term").unwrap();
    assert_eq!(client.answer(), Answer::Done);
    client
        .say(b"inate\",\"whose\":{\"cntlid\":7},\"later\":[]}")
        .unwrap();
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(client.answer(), Answer::Done);
    assert!(client.is_sent_away());
    drop(scene.questions);
    scene.server.close().unwrap();
    let asked = monitor.join().unwrap();
    let drain = Request::Drain { on: true };
    let whose = Whose::Cntlid(7);
    assert_eq!(asked, [drain.clone(), drain, Request::Terminate { whose }]);
}

#[test]
fn what_is_no_request_is_told_so_and_let_go() {
    let scene = scene(limits());
    let nested = "[".repeat(60_000);
    let unknown = format!("{{\"version\":1,\"request\":\"{}\"}}", "x".repeat(60_000));
    let cases: [&[u8]; 9] = [
        b"",
        b"status",
        b"\x00\xff\x16\x03\x01",
        b"GET / HTTP/1.1\r",
        b"{\"request\":\"status\"}",
        b"{\"version\":1}",
        b"{\"version\":1,\"request\":\"terminate\",\"whose\":{\"cntlid\":65536}}",
        nested.as_bytes(),
        unknown.as_bytes(),
    ];
    for case in cases {
        let shown = String::from_utf8_lossy(&case[..case.len().min(80)]);
        let mut client = scene.client();
        client.say(case).unwrap();
        client.say(b"\n").unwrap();
        let (kind, text) = client.refused();
        assert_eq!(kind, FailureKind::Request, "{shown}");
        assert!(text.starts_with("this is no request: "), "{shown}: {text}");
        assert!(
            text.len() < 400 && !text.contains(char::is_control),
            "{text}"
        );
        assert!(client.is_sent_away(), "{shown}");
    }
    assert!(scene.questions.is_empty());
}

#[test]
fn another_version_is_named_with_ours() {
    let scene = scene(limits());
    let mut client = scene.client();
    client
        .say(b"{\"version\":7,\"request\":\"of the future\"}\n")
        .unwrap();
    let (kind, text) = client.refused();
    assert_eq!(kind, FailureKind::Request);
    assert!(
        text.contains("version 7") && text.contains("version 1"),
        "{text}"
    );
}

#[test]
fn a_client_of_any_version_can_ask_the_daemon_to_leave() {
    let scene = scene(limits());
    let monitor = scene.obedient();
    let mut client = scene.client();
    client
        .say(b"{\"version\":7,\"request\":\"leave\",\"new\":1}\n")
        .unwrap();
    assert_eq!(client.answer(), Answer::Done);
    drop(scene.questions);
    scene.server.close().unwrap();
    assert_eq!(monitor.join().unwrap(), [Request::Leave]);
}

#[test]
fn a_line_without_an_end_is_not_kept() {
    let scene = scene(limits());
    let mut client = scene.client();
    // It may find the connection closed before all is said.
    let _ = client.say(&vec![b' '; 1 << 20]);
    let (kind, text) = client.refused();
    assert_eq!(
        (kind, &*text),
        (FailureKind::Request, "a line has at most 65536 bytes")
    );
}

#[test]
fn the_longest_line_is_a_request() {
    let scene = scene(Limits::default());
    let _monitor = scene.obedient();
    let mut client = scene.client();
    let head = b"{\"version\":1,\"request\":\"plan\",\"name\":\"f\",\"text\":\"";
    let mut line = head.to_vec();
    line.resize((8 << 20) - 2, b'#');
    line.extend(b"\"}\n");
    client.say(&line).unwrap();
    assert_eq!(client.answer(), Answer::Done);
}

#[test]
fn who_says_half_a_line_is_told_and_who_says_nothing_is_let_go() {
    let scene = scene(Limits {
        read: Duration::from_millis(50),
        ..limits()
    });
    let mut half = scene.client();
    let mut silent = scene.client();
    half.say(b"{\"version\":1").unwrap();
    let (kind, text) = half.refused();
    assert_eq!(
        (kind, &*text),
        (FailureKind::Request, "no whole line came within 50ms")
    );
    assert!(silent.is_sent_away());
}

#[test]
fn a_trickle_does_not_buy_time() {
    let scene = scene(Limits {
        read: Duration::from_millis(200),
        ..limits()
    });
    let mut client = scene.client();
    let started = Instant::now();
    // Each byte is quicker than the deadline; the line is not.
    while client.say(b" ").is_ok() && started.elapsed() < Duration::from_secs(10) {
        thread::sleep(Duration::from_millis(5));
    }
    assert!(started.elapsed() < Duration::from_secs(10));
    assert_eq!(client.refused().0, FailureKind::Request);
}

#[test]
fn who_does_not_read_is_let_go() {
    let scene = scene(Limits {
        clients: 1,
        write: Duration::from_millis(50),
        ..limits()
    });
    let mut client = scene.client();
    client.say(DRAIN).unwrap();
    let Question { reply, .. } = scene.questions.recv().unwrap();
    // More than any socket holds.
    let text = "x".repeat(16 << 20);
    let kind = FailureKind::System;
    reply.send(Answer::Failed(Failure { kind, text })).unwrap();
    // Its place is free again, although it is still there.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let mut next = scene.client();
        // It may have been turned away by now.
        let _ = next.say(DRAIN);
        if let Ok(question) = scene.questions.recv_timeout(Duration::from_millis(20)) {
            question.reply.send(Answer::Done).unwrap();
            assert_eq!(next.answer(), Answer::Done);
            break;
        }
        assert_eq!(next.refused().0, FailureKind::Busy);
        assert!(Instant::now() < deadline);
    }
    drop(client);
}

#[test]
fn one_client_too_many_is_told_so_until_another_leaves() {
    let scene = scene(limits());
    let _monitor = scene.obedient();
    let mut clients: Vec<Client> = (0..16).map(|_| scene.client()).collect();
    for client in &mut clients {
        client.say(DRAIN).unwrap();
        assert_eq!(client.answer(), Answer::Done);
    }
    let mut late = scene.client();
    let (kind, text) = late.refused();
    assert_eq!(kind, FailureKind::Busy);
    assert!(
        text.starts_with("16 clients are connected already"),
        "{text}"
    );
    assert!(late.is_sent_away());
    let mut leaving = clients.pop().unwrap();
    leaving.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(leaving.is_sent_away());
    let mut next = scene.client();
    next.say(DRAIN).unwrap();
    assert_eq!(next.answer(), Answer::Done);
}

#[test]
fn a_monitor_that_does_not_answer_is_busy() {
    let scene = scene(Limits {
        answer: Duration::from_millis(50),
        ..limits()
    });
    let mut client = scene.client();
    client.say(DRAIN).unwrap();
    let (kind, text) = client.refused();
    assert_eq!(kind, FailureKind::Busy);
    assert!(text.contains("may do it later"), "{text}");
    // An answer that comes too late has nowhere to go, and the next one is not mistaken for it.
    let Question { reply, .. } = scene.questions.recv().unwrap();
    assert!(reply.send(Answer::Terminated(1)).is_err());
    client.say(DRAIN).unwrap();
    let Question { reply, .. } = scene.questions.recv().unwrap();
    reply.send(Answer::Done).unwrap();
    assert_eq!(client.answer(), Answer::Done);
}

#[test]
fn a_question_that_is_dropped_is_answered() {
    let scene = scene(limits());
    let mut client = scene.client();
    client.say(DRAIN).unwrap();
    drop(scene.questions.recv().unwrap());
    assert_eq!(client.refused().0, FailureKind::Busy);
}

#[test]
fn the_last_answer_is_delivered_before_the_end() {
    let scene = scene(limits());
    let path = scene.path();
    let mut client = scene.client();
    let mut idle = scene.client();
    client
        .say(b"{\"version\":1,\"request\":\"leave\"}\n")
        .unwrap();
    let Question { request, reply } = scene.questions.recv().unwrap();
    assert_eq!(request, Request::Leave);
    reply.send(Answer::Done).unwrap();
    drop(scene.questions);
    scene.server.close().unwrap();
    assert_eq!(client.answer(), Answer::Done);
    assert!(client.is_sent_away());
    assert!(idle.is_sent_away());
    assert!(!path.exists());
}

#[test]
fn only_the_owner_and_the_group_may_connect() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sock");
    let _socket = ControlSocket::open(&path).unwrap();
    let there = fs::symlink_metadata(&path).unwrap();
    let group = Group::from_name(GROUP).unwrap();
    let is_shared = group.is_some_and(|group| group.gid.as_raw() == there.gid());
    let mode = if is_shared { 0o660 } else { 0o600 };
    assert_eq!(there.permissions().mode() & 0o777, mode);
    assert_eq!(there.uid(), nix::unistd::Uid::effective().as_raw());
    let names = fs::read_dir(directory.path()).unwrap();
    assert_eq!(names.count(), 1, "nothing is left beside it");
}

#[test]
fn a_dead_daemons_socket_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let socket = ControlSocket::open(&path).unwrap();
    UnixStream::connect(&path).unwrap();
    socket.remove().unwrap();
    assert!(!path.exists());
}

#[test]
fn a_living_daemons_socket_is_not_stolen() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sock");
    let first = ControlSocket::open(&path).unwrap();
    let refused = || ControlSocket::open(&path).unwrap_err();
    assert!(
        matches!(refused(), OpenError::InUse { .. }),
        "{}",
        refused()
    );
    // Nor one that is stopped, whose backlog nobody empties. FreeBSD: it cannot be told from a dead
    // one then.
    let waiting: Vec<_> = (0..200).map(|_| super::socket::connect(&path)).collect();
    let mut failed = waiting.iter().filter_map(|it| it.as_ref().err());
    let full = failed.next().expect("the backlog is full");
    if full.kind() == io::ErrorKind::WouldBlock {
        assert!(
            matches!(refused(), OpenError::InUse { .. }),
            "{}",
            refused()
        );
    }
    first.remove().unwrap();
}

#[test]
fn what_is_no_socket_is_not_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sock");
    fs::write(&path, "precious").unwrap();
    let refused = ControlSocket::open(&path).unwrap_err();
    assert!(matches!(refused, OpenError::NotASocket { .. }), "{refused}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_later_daemons_socket_is_not_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sock");
    let first = ControlSocket::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let second = ControlSocket::open(&path).unwrap();
    first.remove().unwrap();
    assert!(path.exists());
    second.remove().unwrap();
}

#[test]
fn a_place_where_no_socket_can_be_is_named() {
    let refused = ControlSocket::open(Path::new("/no/such/directory/sock")).unwrap_err();
    assert!(
        refused
            .to_string()
            .starts_with("cannot make the control socket /no/such/directory/sock"),
        "{refused}"
    );
    let long = format!("/tmp/{}", "x".repeat(200));
    let refused = ControlSocket::open(Path::new(&long)).unwrap_err();
    assert!(matches!(refused, OpenError::Open { .. }), "{refused}");
}
