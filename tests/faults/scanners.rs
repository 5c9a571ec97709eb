//! Who is no host: port scanners, and clients of something else.

use nvmfd_tests::peer::Raw;

use crate::chance::{Chance, number};
use crate::scene::{Mode, Result, Scene};

/// The beginning of a TLS ClientHello: a handshake record of 512 bytes, version 1.2, all else zeroes.
fn client_hello() -> Vec<u8> {
    let mut hello = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    hello.resize(5 + 512, 0);
    hello
}

/// An iSCSI Login Request: opcode 43h, immediate, with its text in a data segment.
fn iscsi_login() -> Vec<u8> {
    let text = b"InitiatorName=iqn.2014-08.org.example:host\0SessionType=Discovery\0";
    let mut login = vec![0; 48];
    login[..2].copy_from_slice(&[0x43, 0x87]);
    login[7] = u8::try_from(text.len()).expect("short");
    login.extend_from_slice(text);
    login.resize(login.len().next_multiple_of(4), 0);
    login
}

#[test]
fn port_scanners_and_strangers_are_sent_away() -> Result {
    let mut scene = Scene::new(Mode::User)?;
    let mut chance = Chance::new();
    let reloads = scene.reloads();
    let mut words = vec![
        client_hello(),
        b"GET / HTTP/1.1\r\nHost: example.org\r\nUser-Agent: scanner\r\n\r\n".to_vec(),
        b"SSH-2.0-scanner\r\n".to_vec(),
        iscsi_login(),
        vec![0; 128],
        vec![0xff; 128],
    ];
    words.extend((0..number(300, 20_000)).map(|_| chance.bytes(128)));
    for words in words {
        for at in [scene.io(), scene.target.discovery()] {
            let mut raw = Raw::connect(at)?;
            raw.send(&words)?;
            raw.finish()?;
        }
    }
    scene.goes_on()?;
    assert!(reloads.end() > 0);
    scene.ends_well()
}
