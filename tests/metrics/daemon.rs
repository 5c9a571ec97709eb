//! The program itself: the addresses are the file's, and a reload changes them.

use std::net::{SocketAddr, TcpStream};

use nvmfd_tests::peer::{Host, HostOptions};
use nvmfd_tests::target::{Setup, Target};

use crate::scene::{NQN, Result, get, listener};
use crate::scrape::Scrape;

fn config(metrics: &str) -> String {
    format!(
        r#"
        [discovery]
        listen = ["127.0.0.1:0"]

        [[portal]]
        name = "front"
        listen = ["127.0.0.1:0"]

        [[subsystem]]
        nqn = "{NQN}"
        mode = "user"
        portals = ["front"]
        allow-any-host = true

        [[subsystem.namespace]]
        nsid = 1
        ram = "1m"

        {metrics}
        "#
    )
}

/// The address that it logged last.
fn last_address(target: &Target) -> SocketAddr {
    let log = target.log();
    let (_, address) = log
        .rsplit_once("serving metrics address=")
        .expect("it says so");
    let address = address.split_whitespace().next().expect("an address");
    address.parse().expect("an address")
}

#[test]
fn a_file_names_the_addresses_and_a_reload_changes_them() -> Result {
    let one = "[metrics]\nlisten = [\"127.0.0.1:0\"]";
    let target = Target::with(&Setup {
        config: Some(config(one)),
        ..Setup::default()
    });
    target.says("serving metrics");
    let first = last_address(&target);
    let mut host = Host::connect(
        target.io(),
        &NQN.parse().expect("a name"),
        &HostOptions::default(),
    )?;
    assert!(host.io[0].write(0, vec![1; 4096])?.is_success());
    let written = format!("nvmfd_io_bytes_total{{subsystem=\"{NQN}\",direction=\"write\"}}");
    let scrape = || Scrape::read(&get(first, "/metrics").body);
    assert_eq!(scrape().value(&written), 4096.0);

    let second = listener().local_addr().expect("a port that is free");
    let two = format!("[metrics]\nlisten = [\"127.0.0.1:0\", \"{second}\"]");
    target.reload(&config(&two)).expect("a reload");
    assert_eq!(last_address(&target), second);
    for address in [first, second] {
        assert!(get(address, "/metrics").body.ends_with("# EOF\n"));
    }
    assert_eq!(scrape().value(&written), 4096.0, "the counters go on");

    target.reload(&config("")).expect("a reload");
    for address in [first, second] {
        assert!(TcpStream::connect(address).is_err(), "{address}");
    }
    assert!(host.io[0].write(0, vec![2; 4096])?.is_success());
    Ok(())
}
