//! Clients of the metrics: Prometheus, people, and those that mean no good.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nvmfd_tests::peer::HostOptions;

use crate::scene::{NQN, Result, Scene, ask, client, get, listener, new, read};

/// Clients that are served at a time.
const CLIENTS_MAX: usize = 16;

/// Whether the other side has closed, waiting for it.
fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 64]) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn a_client_gets_what_http_promises() {
    let scene = Scene::start();
    let answer = get(scene.http, "/metrics");
    for field in [
        "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8",
        "Connection: close",
    ] {
        assert!(answer.head.lines().any(|it| it == field), "{}", answer.head);
    }
    let index = get(scene.http, "/");
    assert!(index.body.contains("href=\"/metrics\""), "{}", index.body);
    let head = ask(scene.http, "HEAD /metrics HTTP/1.1\r\n\r\n");
    assert!(head.head.starts_with("HTTP/1.1 200 ") && head.body.is_empty());
    let long = format!("GET /metrics HTTP/1.1\r\nA: {}\r\n\r\n", "a".repeat(9000));
    for (request, status) in [
        ("GET /other HTTP/1.1\r\n\r\n", "404"),
        (
            "POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc",
            "405",
        ),
        ("\u{16}\u{3}\u{1}\0\r\n\r\n", "400"),
        ("GET / HTTP/3.0\r\n\r\n", "505"),
        (&long, "431"),
    ] {
        let answer = ask(scene.http, request);
        let begin = format!("HTTP/1.1 {status} ");
        assert!(answer.head.starts_with(&begin), "{}", answer.head);
    }
}

#[test]
fn silent_clients_make_room_for_others_and_go_after_a_while() -> Result {
    let scene = Scene::start();
    let mut host = scene.connect(NQN, &HostOptions::default())?;
    let began = Instant::now();
    let mut silent: Vec<_> = (0..CLIENTS_MAX).map(|_| client(scene.http)).collect();
    scene.scrape();
    assert!(is_closed(&mut silent[0]), "the oldest made room");
    assert!(host.io[0].read(0, 4096)?.is_ok());
    assert!(silent[1..].iter_mut().all(is_closed), "they are closed");
    let waited = began.elapsed();
    assert!(waited < Duration::from_secs(10), "{waited:?}");
    assert!(waited > Duration::from_secs(4), "{waited:?}");
    scene.scrape();
    Ok(())
}

#[test]
fn a_flood_of_clients_stops_neither_hosts_nor_scrapes() -> Result {
    let scene = Scene::start();
    let mut host = scene.connect(NQN, &HostOptions::default())?;
    let mut flood = Vec::new();
    for round in 0..10 {
        flood.extend((0..30).map(|_| client(scene.http)));
        for stream in &mut flood[round * 30..] {
            // Most have been sent away by now.
            let _ = stream.write_all(b"GET /metrics HT");
        }
        scene.scrape();
        assert!(host.io[0].write(0, vec![1; 4096])?.is_success());
    }
    Ok(())
}

#[test]
fn a_client_that_dribbles_is_given_its_time_and_no_more() {
    let scene = Scene::start();
    let mut slow = client(scene.http);
    let began = Instant::now();
    let endless = b"GET /metrics HTTP/1.1\r\nA: "
        .iter()
        .chain([b'a'; 200].iter());
    for byte in endless {
        if slow.write_all(&[*byte]).is_err() {
            break;
        }
        // A byte each 50 ms for as long as it is let: this is the attack, not a wait.
        std::thread::sleep(Duration::from_millis(50));
        scene.scrape();
    }
    assert!(began.elapsed() < Duration::from_secs(8), "it was let go on");
    // One that is merely slow is served.
    let mut slow = client(scene.http);
    for piece in ["GET /met", "rics HTTP/1.1\r", "\n\r", "\n"] {
        slow.write_all(piece.as_bytes()).expect("still there");
        scene.scrape();
    }
    assert!(read(slow).body.ends_with("# EOF\n"));
}

#[test]
fn a_client_that_does_not_read_its_answer_is_let_go() {
    let scene = Scene::start();
    let deaf: Vec<_> = (0..CLIENTS_MAX * 2)
        .map(|_| {
            let mut stream = client(scene.http);
            let request = "GET /metrics HTTP/1.1\r\n\r\n".repeat(300);
            // It may have been sent away by those after it.
            let _ = stream.write_all(request.as_bytes());
            stream
        })
        .collect();
    scene.scrape();
    drop(deaf);
    scene.scrape();
}

#[test]
fn listeners_are_replaced_while_it_runs() {
    let scene = Scene::start();
    let metrics = scene.metrics.as_ref().expect("it runs");
    let (first, second) = (new(listener()), new(listener()));
    let (kept, other) = (first.0, second.0);
    metrics.apply(vec![first]).expect("descriptors");
    let refused = TcpStream::connect(scene.http);
    assert!(refused.is_err(), "the listener of before is closed");
    let mut waiting = client(kept);
    metrics
        .apply(vec![(kept, None), second])
        .expect("descriptors");
    waiting
        .write_all(b"GET /metrics HTTP/1.1\r\n\r\n")
        .expect("it listens");
    assert!(read(waiting).body.ends_with("# EOF\n"));
    for address in [kept, other] {
        assert!(get(address, "/metrics").body.ends_with("# EOF\n"));
    }
    metrics.apply(vec![(other, None)]).expect("descriptors");
    assert!(TcpStream::connect(kept).is_err());
    assert!(get(other, "/metrics").body.ends_with("# EOF\n"));
    metrics.apply(Vec::new()).expect("nothing to do");
    assert!(TcpStream::connect(other).is_err());
}
