//! Each kind of change, as an operator reads it.

#![forbid(unsafe_code)]

use super::*;
use crate::config::parse;

const FILE: &str = r#"
[discovery]
listen = ["127.0.0.1:8009"]

[[portal]]
name = "front"
listen = ["127.0.0.1:4420"]

[[subsystem]]
nqn = "nqn.2014-08.org.example:a"
mode = "user"
portals = ["front"]
hosts = ["nqn.2014-08.org.example:h1", "nqn.2014-08.org.example:h2"]

[[subsystem.namespace]]
nsid = 1
ram = "64m"

[[subsystem.namespace]]
nsid = 2
path = "/var/vols/a.img"

[[portal]]
name = "back"
listen = ["127.0.0.1:4430"]
discovery-nqn = "nqn.2014-08.org.example:old"

[[referral]]
address = "192.0.2.7:8009"
"#;

fn config(text: &str) -> Config {
    match parse(text, "test") {
        Ok(loaded) => loaded.config,
        Err(problems) => panic!("{problems}"),
    }
}

/// What it says when `from` becomes `to` in the file.
fn said(from: &str, to: &str) -> Vec<(String, Effect)> {
    assert!(FILE.contains(from), "{from}");
    let steps = changes(&config(FILE), &config(&FILE.replace(from, to)));
    steps.into_iter().map(|it| (it.what, it.effect)).collect()
}

#[test]
fn the_same_file_changes_nothing() {
    assert_eq!(said("64m", "65536k"), []);
}

#[test]
fn each_change_is_said_in_the_file_s_terms_with_what_hosts_notice() {
    use Effect::{Disconnects, NewConnections, NextStart, Nothing, Notice};

    let a = "nqn.2014-08.org.example:a";
    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, Effect)]);
    let cases: [Case<'_>; 24] = [
        (
            "ram = \"64m\"",
            "ram = \"128m\"",
            &[(
                "change namespace 1 of A from ramdisk:67108864 to ramdisk:134217728",
                Notice,
            )],
        ),
        (
            "path = \"/var/vols/a.img\"",
            "path = \"/var/vols/a.img\"\nread-only = true",
            &[("change namespace 2 of A (/var/vols/a.img)", Notice)],
        ),
        (
            "[[subsystem.namespace]]\nnsid = 2\npath = \"/var/vols/a.img\"\n",
            "",
            &[("remove namespace 2 of A (/var/vols/a.img)", Notice)],
        ),
        (
            "nsid = 2",
            "nsid = 7",
            &[
                ("remove namespace 2 of A (/var/vols/a.img)", Notice),
                ("add namespace 7 of A (/var/vols/a.img)", Notice),
            ],
        ),
        (
            ", \"nqn.2014-08.org.example:h2\"",
            ", \"nqn.2014-08.org.example:h3\"",
            &[
                ("refuse A to nqn.2014-08.org.example:h2", NewConnections),
                ("allow A to nqn.2014-08.org.example:h3", NewConnections),
            ],
        ),
        (
            ", \"nqn.2014-08.org.example:h2\"]",
            "]\nterminate-on-revoke = true",
            &[
                ("refuse A to nqn.2014-08.org.example:h2", Disconnects),
                (
                    "from now on, disconnect hosts that A is refused to",
                    Nothing,
                ),
            ],
        ),
        (
            "hosts = [\"nqn.2014-08.org.example:h1\", \"nqn.2014-08.org.example:h2\"]",
            "allow-any-host = true",
            &[("allow A to any host", NewConnections)],
        ),
        (
            "mode = \"user\"\nportals = [\"front\"]",
            "mode = \"user\"\nserial = \"S1\"\nportals = [\"front\"]",
            &[("give A the serial number S1", NewConnections)],
        ),
        (
            "mode = \"user\"",
            "mode = \"kernel\"",
            &[("serve A in kernel mode", Disconnects)],
        ),
        (
            "nqn = \"nqn.2014-08.org.example:a\"",
            "nqn = \"nqn.2014-08.org.example:b\"",
            &[
                ("remove subsystem A", Disconnects),
                (
                    "add subsystem nqn.2014-08.org.example:b in user mode on front",
                    Notice,
                ),
            ],
        ),
        (
            "127.0.0.1:4420",
            "127.0.0.1:4421",
            &[
                (
                    "no longer listen for portal front on 127.0.0.1:4420",
                    NewConnections,
                ),
                ("listen for portal front on 127.0.0.1:4421", NewConnections),
            ],
        ),
        (
            "listen = [\"127.0.0.1:4420\"]",
            "listen = [\"127.0.0.1:4420\"]\nheader-digest = \"require\"",
            &[("change what portal front offers", NewConnections)],
        ),
        (
            "[discovery]\nlisten = [\"127.0.0.1:8009\"]",
            "[discovery]\nlisten = []",
            &[(
                "no longer answer discovery on 127.0.0.1:8009",
                NewConnections,
            )],
        ),
        (
            "[discovery]",
            "[metrics]\nlisten = [\"127.0.0.1:9420\"]\n[discovery]",
            &[("show counters on 127.0.0.1:9420", NewConnections)],
        ),
        (
            "[discovery]",
            "[limits]\nthreads = 3\nnegotiation-time = \"1s\"\nconnections-per-address = 9\n\
             controllers = 7\nqueue-entries = 64\n[discovery]",
            &[
                ("change the limits of negotiations", NewConnections),
                ("change the limits of connections", NewConnections),
                ("change the limits of controllers", NewConnections),
                ("change the limits of queues", NewConnections),
                ("change the number of threads", NextStart),
            ],
        ),
        (
            "[discovery]",
            "[limits]\nmemory = \"64m\"\nstall-time = \"1s\"\n[discovery]",
            &[
                ("change how much memory hosts can make us hold", Nothing),
                ("change how long hosts may stand still", Nothing),
            ],
        ),
        (
            "[discovery]",
            "[log]\nlevel = \"debug\"\nrate = 9\ndestination = \"stderr\"\n[discovery]",
            &[
                ("log at level debug", Nothing),
                ("log 9 lines of hosts a second, of each kind", Nothing),
                ("log elsewhere", NextStart),
            ],
        ),
        (
            "[discovery]",
            "[discovery]\nnqn = \"nqn.2014-08.org.example:d\"\nshow = \"all\"\nlabel = \"d\"",
            &[
                (
                    "answer discovery by the name nqn.2014-08.org.example:d",
                    Notice,
                ),
                ("label discovery \"d\"", Notice),
                ("show hosts all portals", Notice),
            ],
        ),
        (
            "name = \"front\"",
            "name = \"front\"\ndiscovery-nqn = \"nqn.2014-08.org.example:f\"",
            &[(
                "answer discovery by the name nqn.2014-08.org.example:f on portal front",
                Notice,
            )],
        ),
        (
            "discovery-nqn = \"nqn.2014-08.org.example:old\"\n",
            "",
            &[(
                "no longer answer discovery by the name nqn.2014-08.org.example:old on portal back",
                Disconnects,
            )],
        ),
        (
            "mode = \"user\"",
            "mode = \"user\"\nlabel = \"volumes\"",
            &[("label A \"volumes\"", Notice)],
        ),
        (
            "[[referral]]\naddress = \"192.0.2.7:8009\"\n",
            "",
            &[(
                "no longer refer hosts to nqn.2014-08.org.nvmexpress.discovery at 192.0.2.7:8009",
                Notice,
            )],
        ),
        (
            "192.0.2.7:8009",
            "192.0.2.7:8010",
            &[
                (
                    "no longer refer hosts to nqn.2014-08.org.nvmexpress.discovery at \
                     192.0.2.7:8009",
                    Notice,
                ),
                (
                    "refer hosts to nqn.2014-08.org.nvmexpress.discovery at 192.0.2.7:8010",
                    Notice,
                ),
            ],
        ),
        (
            "address = \"192.0.2.7:8009\"",
            "address = \"192.0.2.7:8009\"\nhosts = [\"nqn.2014-08.org.example:h1\"]\nlabel = \"r\"",
            &[
                (
                    "refer 1 hosts only to nqn.2014-08.org.nvmexpress.discovery at 192.0.2.7:8009",
                    Notice,
                ),
                (
                    "label the referral to nqn.2014-08.org.nvmexpress.discovery at \
                     192.0.2.7:8009 \"r\"",
                    Notice,
                ),
            ],
        ),
    ];
    for (from, to, expected) in cases {
        let said = said(from, to);
        let expected: Vec<_> = expected
            .iter()
            .map(|(what, effect)| (what.replace(" A", &format!(" {a}")), *effect))
            .collect();
        assert_eq!(said, expected, "{from} -> {to}");
    }
}

#[test]
fn a_subsystem_that_moves_is_shown_elsewhere() {
    let moved = FILE.replace("portals = [\"front\"]", "portals = [\"back\"]");
    let steps = changes(&config(FILE), &config(&moved));
    let said: Vec<_> = steps.iter().map(|step| step.what.as_str()).collect();
    let expected = [
        "take nqn.2014-08.org.example:a off portal front",
        "serve nqn.2014-08.org.example:a on portal back",
    ];
    assert_eq!(said, expected);
}

#[test]
fn what_is_announced_to_whom_is_no_host_s_affair() {
    let announced = "[discovery]\nmdns = true\nregister = [\"192.0.2.9\", \"192.0.2.10:8010\"]";
    let expected = [
        ("announce discovery by multicast DNS", Effect::Nothing),
        ("register with 192.0.2.9:8009", Effect::Nothing),
        ("register with 192.0.2.10:8010", Effect::Nothing),
    ];
    let expected = expected.map(|(what, effect)| (what.to_owned(), effect));
    assert_eq!(said("[discovery]", announced), expected);
    let before = config(&FILE.replace("[discovery]", announced));
    let steps = changes(&before, &config(FILE));
    let said: Vec<_> = steps.iter().map(|step| step.what.as_str()).collect();
    let expected = [
        "no longer announce discovery by multicast DNS",
        "deregister from 192.0.2.9:8009",
        "deregister from 192.0.2.10:8010",
    ];
    assert_eq!(said, expected);
}
