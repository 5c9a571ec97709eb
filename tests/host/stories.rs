//! What an operator does with `nvmfctl host` and the real program.

use std::fs;
use std::io::Write;

use nvmfd_tests::target::{NQN, Setup, Target};

use super::nvmfctl::{Running, host, host_with_input};

/// Bytes that no two blocks have alike.
fn bytes(length: usize) -> Vec<u8> {
    let words = (0_u64..).map(|it| it.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    words.flatten().take(length).collect()
}

fn two_disks() -> Target {
    Target::with(&Setup {
        devices: vec!["ramdisk:64m".into(), "ramdisk:1m".into()],
        ..Setup::default()
    })
}

#[test]
fn who_is_offered_nothing_is_told_by_which_name_it_asked() {
    let config = format!(
        "[discovery]\nlisten = [\"127.0.0.1:0\"]\n\
         [[portal]]\nname = \"front\"\nlisten = [\"127.0.0.1:0\"]\n\
         [[subsystem]]\nnqn = \"{NQN}\"\nmode = \"user\"\nportals = [\"front\"]\n\
         hosts = [\"nqn.2014-08.org.example:guest\"]\n\
         [[subsystem.namespace]]\nnsid = 1\nram = \"1m\"\n"
    );
    let target = Target::with(&Setup {
        config: Some(config),
        ..Setup::default()
    });
    let discovery = target.discovery().to_string();
    let asked_as = |name: &str| {
        let name = format!("nqn.2014-08.org.example:{name}");
        host(&["discover", "--hostnqn", &name, &discovery]).succeeds()
    };
    let stranger = asked_as("stranger");
    let words = "nothing is offered to nqn.2014-08.org.example:stranger; ";
    assert!(stranger.text().contains(words), "{}", stranger.text());
    assert!(!asked_as("guest").text().contains("nothing is offered"));
}

#[test]
fn a_target_is_discovered_and_identified() {
    let target = two_disks();
    let discovery = target.discovery().to_string();
    let found = host(&["discover", &discovery]).succeeds();
    let lines: Vec<_> = found.text().lines().collect();
    assert!(lines[0].starts_with("2 entries, generation "), "{lines:?}");
    assert!(lines[1].starts_with("SUBTYPE "), "{lines:?}");
    let port = target.io().port().to_string();
    let words: Vec<_> = lines[3].split_whitespace().collect();
    assert_eq!(words, ["nvm", "tcp/ipv4", "127.0.0.1", &port, NQN]);

    let found = host(&["--json", "discover", &discovery]).succeeds().json();
    let entry = &found["entries"][1];
    assert_eq!(
        (&entry["subnqn"], &entry["trsvcid"]),
        (&NQN.into(), &port.into())
    );

    let io = target.io().to_string();
    let known = host(&["identify", &io]).succeeds();
    assert!(
        known.text().contains(&format!("subsystem       {NQN}\n")),
        "{}",
        known.text()
    );
    assert!(
        known.text().contains("     2      1.00 MiB"),
        "{}",
        known.text()
    );
    let asked = ["identify", &io, "-n", NQN, "-g", "-G", "-F", "--json"];
    let known = host(&asked).succeeds().json();
    let connection = &known["connection"];
    for (what, is) in [
        ("header-digest", true),
        ("data-digest", true),
        ("sq-flow-control", false),
    ] {
        assert_eq!(connection[what], is, "{what}");
    }
    let sizes = known["namespaces"].as_array().expect("a list");
    let sizes: Vec<_> = sizes.iter().map(|it| it["bytes"].as_u64()).collect();
    assert_eq!(sizes, [Some(64 << 20), Some(1 << 20)]);
    let one = host(&["identify", &io, "--namespace", "2", "--json"])
        .succeeds()
        .json();
    assert_eq!(one["namespaces"].as_array().map(Vec::len), Some(1));
}

#[test]
fn what_is_written_is_read_and_verified() {
    let target = Target::start();
    let io = target.io().to_string();
    let file = target.directory().join("data");
    let path = file.to_str().expect("a path");
    let data = bytes(3_000_320);
    fs::write(&file, &data).expect("a file");
    let ways: [&[&str]; 4] = [
        &[],
        &["-g", "-G"],
        &["-F", "-G", "--depth", "3"],
        &["--queue-size", "2", "--kato", "100ms"],
    ];
    for (way, offset) in ways.iter().zip(["0", "5m", "10m", "15m"]) {
        println!("{way:?}");
        let run = |arguments: &[&str]| host(&[arguments, &["--offset", offset], way].concat());
        let written = run(&["write", &io, "-i", path]).succeeds();
        assert!(
            written
                .said
                .starts_with("3000320 bytes (2.86 MiB) written at "),
            "{written:?}"
        );
        let same = run(&["verify", &io, path]).succeeds();
        assert!(
            same.text().starts_with("3000320 bytes at "),
            "{}",
            same.text()
        );
        let read = run(&["read", &io, "--length", "3000320", "-q"]).succeeds();
        assert!(read.out == data && read.said.is_empty());
    }
    // Neither end of what is read need be a block's.
    let read = host(&["read", &io, "--offset", "1001", "--length", "2000000"]).succeeds();
    assert!(read.out == data[1001..][..2_000_000]);
    let copy = target.directory().join("copy");
    let to = copy.to_str().expect("a path");
    let read = host(&[
        "read", &io, "--offset", "1001", "--length", "7", "-o", to, "--json",
    ]);
    assert_eq!(read.succeeds().json()["bytes"], 7);
    assert_eq!(fs::read(copy).expect("a file"), data[1001..1008]);
}

#[test]
fn standard_input_is_written_as_it_comes() {
    let target = Target::start();
    let io = target.io().to_string();
    let data = bytes(1_000_001);
    let refused = host_with_input(&["write", &io, "--offset", "0"], &data);
    refused.fails(65, "which is no multiple of the block size, 512; use --pad");
    let written = host_with_input(&["write", &io, "--offset", "0", "--pad", "--json"], &data);
    assert_eq!(written.succeeds().json()["bytes"], 1_000_448);
    let read = host(&["read", &io, "--length", "1000448"]).succeeds();
    assert!(read.out[..1_000_001] == data && read.out[1_000_001..] == [0; 447]);
    let part = host_with_input(
        &["write", &io, "--offset", "1m", "--length", "4k", "-q"],
        &data,
    );
    part.succeeds();
    let verified = ["verify", &io, "-", "--offset", "1m", "--length", "4096"];
    host_with_input(&verified, &data).succeeds();
    let short = host_with_input(&["write", &io, "--offset", "0", "--length", "2m"], &data);
    short.fails(65, "the input ended after 1000001 of 2097152 bytes");
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_written() {
    let target = two_disks();
    let io = target.io().to_string();
    let file = target.directory().join("data");
    let path = file.to_str().expect("a path");
    fs::write(&file, bytes(8192)).expect("a file");
    let cases: [(&[&str], &str); 6] = [
        (
            &["--offset", "100"],
            "the offset 100 is no multiple of namespace 1's block size, 512",
        ),
        (
            &["--offset", "0", "--length", "100"],
            "the length 100 is no multiple of",
        ),
        (
            &["--offset", "0", "--length", "8704"],
            "the input has 8192 bytes, 8704 are to be",
        ),
        (
            &["--offset", "67104768"],
            "namespace 1 has 67108864 bytes; 8192 bytes from 67104768",
        ),
        (
            &["--offset", "1020k", "--namespace", "2"],
            "namespace 2 has 1048576 bytes",
        ),
        (&["--offset", "16383p"], "is beyond them"),
    ];
    for (arguments, words) in cases {
        let run = host(&[&["write", &io, "-i", path], arguments].concat());
        run.fails(65, words);
    }
    let both = "there is no namespace 9 for this host; there are: 1, 2";
    host(&["read", &io, "--namespace", "9"]).fails(64, both);
    host(&["write", &io, "--offset", "0", "-i", "/nonexistent"]).fails(66, "cannot open");
    for namespace in ["1", "2"] {
        let read = host(&["read", &io, "--namespace", namespace]).succeeds();
        assert!(read.out.iter().all(|byte| *byte == 0));
    }
    // Of a pipe nobody knows before; then it is told how much is there.
    let last = ["write", &io, "--offset", "1020k", "--namespace", "2"];
    let run = host_with_input(&last, &bytes(8192));
    run.fails(65, "4096 bytes at 1044480 were written")
        .fails(65, "longer than the 4096 bytes");
}

#[test]
fn a_difference_is_counted_and_its_place_told() {
    let target = Target::start();
    let io = target.io().to_string();
    let file = target.directory().join("data");
    let path = file.to_str().expect("a path");
    let mut data = bytes(1 << 20);
    host_with_input(&["write", &io, "--offset", "8k"], &data).succeeds();
    for at in [300_000, 300_001, 900_000] {
        data[at] ^= 1;
    }
    fs::write(&file, &data).expect("a file");
    let run = host(&["verify", &io, path, "--offset", "8k", "-q"]);
    assert_eq!(run.status, 1, "{}", run.said);
    assert_eq!(
        run.text(),
        "3 of 1048576 bytes at 8192 differ, the first at 308192\n"
    );
    let told = host(&["verify", &io, path, "--offset", "8k", "--json"]).json();
    assert_eq!(
        (&told["first-difference"], &told["differing-bytes"]),
        (&308_192.into(), &3.into())
    );

    let pattern = ["verify", &io, "--pattern", "7", "--length", "4m"];
    assert_eq!(host(&pattern).status, 1);
    host(&[&pattern[..], &["--write"]].concat()).succeeds();
    host(&pattern).succeeds();
    let other = ["verify", &io, "--pattern", "8", "--length", "4m"];
    assert_eq!(host(&other).status, 1);
    host(&["verify", &io]).status = 2;
}

#[test]
fn a_benchmark_destroys_nothing_unless_it_is_allowed_to() {
    let target = Target::start();
    let io = target.io().to_string();
    let refused = host(&["bench", &io, "-w", "write", "--time", "100ms"]);
    refused.fails(64, "allow it with --destroy-data");
    let read = host(&["bench", &io, "--time", "200ms", "--json"])
        .succeeds()
        .json();
    assert!(
        read["read"]["commands"].as_u64() > Some(0) && read["write"].is_null(),
        "{read}"
    );
    let untouched = host(&["read", &io]).succeeds();
    assert!(untouched.out.iter().all(|byte| *byte == 0));
    let mixed = [
        "bench",
        &io,
        "-w",
        "mixed",
        "--queues",
        "2",
        "--time",
        "200ms",
        "--destroy-data",
    ];
    let run = host(&[&mixed[..], &["--sequential", "-b", "64k", "-g", "-G"]].concat()).succeeds();
    let lines: Vec<_> = run.text().lines().map(|it| it.split(' ').next()).collect();
    assert_eq!(
        lines[2..],
        [Some("read"), Some("write"), Some("total")],
        "{}",
        run.text()
    );
    assert!(
        run.text()
            .starts_with("sequential mixed, 70 % reads, 65536 bytes each, 2 queues")
    );
    let large = host(&["bench", &io, "-b", "2m", "--time", "1s"]);
    large.fails(65, "one command moves at most 1048576 bytes here");
}

#[test]
fn an_interrupt_ends_in_order_and_says_how_far_it_came() {
    let target = Target::start();
    let io = target.io().to_string();
    let running = Running::start(&["bench", &io, "--time", "60s", "--json"]);
    target.says("qid=1");
    running.interrupt();
    let ended = running.end().succeeds();
    assert!(ended.json()["seconds"].as_f64() < Some(59.0));

    let mut running = Running::start(&["write", &io, "--offset", "0"]);
    let mut stdin = running.child.stdin.take().expect("a pipe");
    stdin.write_all(&bytes(1 << 20)).expect("it reads");
    // All that a pipe holds is less: it has read, and waits for more.
    stdin.write_all(&bytes(1 << 20)).expect("it reads");
    running.interrupt();
    let ended = running
        .end()
        .fails(130, "were written, and some behind them may have been");
    assert!(ended.said.ends_with("interrupted\n"), "{}", ended.said);
    drop(stdin);
}

#[test]
fn a_wrong_name_is_answered_with_the_right_one() {
    let target = Target::start();
    let io = target.io().to_string();
    let run = host(&["identify", &io, "-n", "nqn.2014-08.org.example:other"]);
    let words = "SUBNQN; there is nqn.2014-08.org.example:vol0";
    run.fails(69, words)
        .fails(69, "refused the Connect: connect invalid parameters");
    // Where there is discovery and nothing else, the name does not help.
    let discovery = target.discovery().to_string();
    let elsewhere = host(&["identify", &discovery]);
    elsewhere
        .fails(64, "discovery names none at 127.0.0.1")
        .fails(64, NQN);
}
