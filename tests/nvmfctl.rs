//! nvmfctl as an operator and a script meet it: the real program, and the daemon's own control
//! socket, behind which a monitor says what the story wants.

#![forbid(unsafe_code)]

#[path = "nvmfctl/scene.rs"]
mod scene;
#[path = "nvmfctl/terminal.rs"]
mod terminal;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nvmfd::control::message::{
    Answer, Effect, Failure, FailureKind, Mode, Plan, Refusal, Refusals, Request, Sessions, Step,
    Whose,
};

use scene::{Said, Scene, nvmfctl, program, session};

#[test]
fn sessions_are_shown_for_people_and_for_scripts() {
    let told = Sessions {
        sessions: vec![session("nqn.2014-08.org.example:host1", 7, 1000)],
        missing: None,
    };
    let answer = told.clone();
    let scene = Scene::new(move |request| {
        assert_eq!(request, Request::Sessions);
        Answer::Sessions(answer.clone())
    });
    let people = scene.ask("sessions");
    assert_eq!(people.status, 0);
    assert!(
        people
            .out
            .contains("nqn.2014-08.org.example:vol0 (user mode): 1 session")
    );
    assert!(people.out.contains("3.9 MiB"), "{}", people.out);
    assert!(
        !people.out.contains('\x1b'),
        "no colours without a terminal"
    );
    let script = scene.ask("--json sessions");
    assert_eq!(script.out.lines().count(), 1);
    assert_eq!(serde_json::from_str::<Sessions>(&script.out).unwrap(), told);
}

#[test]
fn refusals_are_the_last_that_were_asked_for() {
    let refusal = |time| Refusal {
        time,
        peer: "192.0.2.1:1".parse().unwrap(),
        hostnqn: None,
        subsystem: None,
        qid: None,
        reason: format!("reason {time}"),
    };
    let told = Refusals {
        total: 100,
        last: (1..=5).map(refusal).collect(),
    };
    let scene = Scene::new(move |_| Answer::Refusals(told.clone()));
    let said = scene.ask("refusals -n 2");
    assert!(!said.out.contains("reason 3") && said.out.contains("reason 4"));
    let said = scene.ask("refusals -n 2 --json");
    let told: Refusals = serde_json::from_str(&said.out).unwrap();
    assert_eq!(told.last, [refusal(4), refusal(5)]);
}

#[test]
fn whoever_is_terminated_is_counted_and_nobody_is_an_error() {
    let scene = Scene::new(|request| {
        let Request::Terminate { whose } = request else {
            panic!("{request:?}");
        };
        Answer::Terminated(if whose == Whose::Cntlid(7) { 2 } else { 0 })
    });
    let some = scene.ask("terminate 7");
    assert_eq!(some, Said::out("CNTLID 7: 2 sessions told to end\n"));
    assert_eq!(scene.ask("terminate 7 --json").out, "{\"terminated\":2}\n");
    let none = scene.ask("terminate nqn.2014-08.org.example:nobody");
    assert_eq!((none.status, &*none.out), (1, ""));
    assert!(
        none.err
            .starts_with("nvmfctl: nqn.2014-08.org.example:nobody has no session")
    );
}

#[test]
fn a_plan_is_made_of_the_callers_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("nvmfd.toml");
    fs::write(&file, "change = \"é\"\n").unwrap();
    let name = file.to_str().unwrap().to_owned();
    let expected = name.clone();
    let scene = Scene::new(move |request| {
        let Request::Plan { name, text } = request else {
            panic!("{request:?}");
        };
        assert_eq!(name, expected);
        let step = Step {
            what: "add a host".into(),
            effect: Effect::NewConnections,
        };
        let steps = if text.is_empty() { vec![] } else { vec![step] };
        let warnings = vec!["look at this\n  = do that".into()];
        Answer::Plan(Plan { steps, warnings })
    });
    let would = scene.ask(&format!("plan {name}"));
    assert_eq!(would.status, 0, "a plan that could be made is no failure");
    assert!(
        would.out.contains("that connect later  add a host"),
        "{}",
        would.out
    );
    assert_eq!(would.err, "look at this\n  = do that\n");
    assert_eq!(scene.ask(&format!("plan --exit-code {name}")).status, 1);
    let json = scene.ask(&format!("plan --json {name}"));
    let plan: Plan = serde_json::from_str(&json.out).unwrap();
    assert_eq!((plan.steps.len(), &*json.err), (1, ""));
    fs::write(&file, "").unwrap();
    let would_not = scene.ask(&format!("plan --exit-code {name}"));
    assert_eq!(
        (would_not.status, &*would_not.out),
        (0, "nothing would change\n")
    );
    let unreadable = scene.ask(&format!("plan {name}.not"));
    assert_eq!(unreadable.status, 66);
    assert!(
        unreadable.err.contains("cannot be read"),
        "{}",
        unreadable.err
    );
}

#[test]
fn what_the_daemon_refuses_is_an_error_with_its_words() {
    let scene = Scene::new(|request| {
        let (kind, text) = match request {
            Request::Reload => (FailureKind::Config, "f:1:1: error: no\n\nf: 1 error\n"),
            Request::Log { .. } => (FailureKind::NoConfig, "no file"),
            Request::Status => (FailureKind::Busy, "starting"),
            Request::Leave => (FailureKind::System, "\x1b[2Jno"),
            Request::Terminate { .. } => (FailureKind::NotFound, "nobody"),
            Request::Sessions
            | Request::Refusals
            | Request::Plan { .. }
            | Request::Drain { .. } => (FailureKind::Request, "what?"),
        };
        let text = text.into();
        Answer::Failed(Failure { kind, text })
    });
    let reload = scene.ask("reload");
    assert_eq!(
        reload,
        Said::err(65, "nvmfctl: f:1:1: error: no\n\nf: 1 error\n")
    );
    assert_eq!(
        scene.ask("log debug --json"),
        Said::err(69, "nvmfctl: no file\n")
    );
    assert_eq!(scene.ask("status"), Said::err(75, "nvmfctl: starting\n"));
    assert_eq!(scene.ask("leave"), Said::err(71, "nvmfctl: \\u{1b}[2Jno\n"));
    assert_eq!(scene.ask("terminate 1"), Said::err(1, "nvmfctl: nobody\n"));
    assert_eq!(scene.ask("drain"), Said::err(64, "nvmfctl: what?\n"));
}

#[test]
fn what_is_done_is_said() {
    let scene = Scene::new(|request| {
        if request == Request::Reload {
            return Answer::Plan(Plan::default());
        }
        let done = [
            Request::Drain { on: true },
            Request::Drain { on: false },
            Request::Log {
                level: "debug".into(),
            },
            Request::Leave,
        ];
        assert!(done.contains(&request), "{request:?}");
        Answer::Done
    });
    let cases = [
        (
            "drain",
            "new controllers are refused until nvmfctl drain --end\n",
        ),
        ("drain --end", "new controllers are accepted\n"),
        (
            "log debug",
            "debug and worse is logged until the next reload or start\n",
        ),
        ("leave", "nvmfd ends; what the kernel serves goes on\n"),
        ("reload", "nothing has changed\n"),
        ("drain --json", "{\"done\":true}\n"),
    ];
    for (line, out) in cases {
        assert_eq!(scene.ask(line), Said::out(out), "{line}");
    }
}

#[test]
fn a_drain_waits_for_the_last_session() {
    let mut left = vec![0, 1];
    let scene = Scene::new(move |request| {
        if request == (Request::Drain { on: true }) {
            return Answer::Done;
        }
        let user = (0..left.pop().unwrap()).map(|cntlid| session("h", cntlid, 0));
        let mut discovery = session("d", 9, 0);
        discovery.mode = Mode::Discovery;
        Answer::Sessions(Sessions {
            sessions: user.chain([discovery]).collect(),
            missing: None,
        })
    });
    let said = scene.ask("drain --wait");
    assert_eq!(said, Said::out("1 session left\nno session is left\n"));
}

#[test]
fn top_prints_tables_where_there_is_no_terminal() {
    let mut reads = 0;
    let scene = Scene::new(move |_| {
        reads += 1_000_000;
        Answer::Sessions(Sessions {
            sessions: vec![session("nqn.2014-08.org.example:host1", 1, reads)],
            missing: None,
        })
    });
    let said = scene.ask("top -i 0.1 -n 2");
    let heads = said
        .out
        .lines()
        .filter(|line| line.starts_with("READ/s") || line.contains(" READ/s "));
    assert_eq!((said.status, heads.count()), (0, 2), "{}", said.out);
    assert!(!said.out.contains('\x1b'));
    let said = scene.ask("top -i 0.1 -n 3 --json");
    let looks: Vec<serde_json::Value> = said
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(looks.len(), 3);
    for look in looks {
        assert!(look["total"]["reads"].as_u64().unwrap() > 0, "{look}");
        assert!(look["elapsed_ms"].as_u64().unwrap() >= 100, "{look}");
        assert_eq!(
            look["sessions"][0]["hostnqn"],
            "nqn.2014-08.org.example:host1"
        );
    }
}

#[test]
fn without_a_daemon_it_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("sock");
    let said = nvmfctl(&["--socket", socket.to_str().unwrap(), "status"]);
    assert_eq!(said.status, 69);
    assert!(
        said.err
            .starts_with("nvmfctl: nvmfd is not running, or its socket is elsewhere")
    );
    assert!(said.err.contains(socket.to_str().unwrap()), "{}", said.err);
    // What a killed daemon leaves.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert_eq!(
        nvmfctl(&["--socket", socket.to_str().unwrap(), "status"]).status,
        69
    );
}

#[test]
fn who_may_not_ask_is_told_who_may() {
    let scene = Scene::new(|_| Answer::Done);
    let path = scene.path();
    fs::set_permissions(path.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    // Root may everything, so somebody else asks; where the tests are, that one may not read.
    let copy = path.with_file_name("nvmfctl");
    let mut command = if nix::unistd::Uid::effective().is_root() {
        use std::os::unix::process::CommandExt;
        fs::copy(program(), &copy).unwrap();
        let mut command = Command::new(&copy);
        command.uid(65534).gid(65534);
        command
    } else {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
        Command::new(program())
    };
    command.arg("--socket").arg(&path).arg("leave");
    let said = Said::of(command.current_dir("/").output().unwrap());
    assert_eq!(said.status, 77, "{said:?}");
    assert!(
        said.err.contains("only root and the group operator"),
        "{}",
        said.err
    );
}

#[test]
fn another_release_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("sock");
    let cases = [
        (
            "{\"version\":2,\"answer\":\"new\"}\n",
            76,
            "speaks version 2",
        ),
        ("SSH-2.0-OpenSSH_9.9\n", 76, "what answers is not nvmfd"),
        (
            "{\"version\":1,\"answer\":\"terminated\",\"value\":1}\n",
            76,
            "of another release",
        ),
        ("", 69, "nvmfd ended before it answered"),
    ];
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for (line, status, words) in cases {
        let answer = scene::say_once(&listener, line);
        let said = nvmfctl(&["--socket", socket.to_str().unwrap(), "status"]);
        answer.join().unwrap();
        assert_eq!(said.status, status, "{said:?}");
        assert!(said.err.contains(words), "{}", said.err);
    }
}

#[test]
fn another_release_can_be_asked_to_leave() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let answer = scene::say_once(&listener, "{\"version\":2,\"answer\":\"done\",\"new\":1}\n");
    let said = nvmfctl(&["--socket", socket.to_str().unwrap(), "leave"]);
    answer.join().unwrap();
    assert_eq!(
        said,
        Said::out("nvmfd ends; what the kernel serves goes on\n")
    );
}

#[test]
fn a_file_is_checked_without_a_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("nvmfd.toml");
    let path = file.to_str().unwrap();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../etc/nvmfd.toml.sample");
    fs::copy(sample, &file).unwrap();
    assert_eq!(
        nvmfctl(&["check", path]),
        Said::out(&format!("{path}: good\n"))
    );
    let good = nvmfctl(&["--json", "check", path]);
    let report: serde_json::Value = serde_json::from_str(&good.out).unwrap();
    assert_eq!((good.status, &report["errors"]), (0, &0.into()));

    fs::write(&file, "[log]\nlevle = \"info\"\n").unwrap();
    let problems = nvmfd::config::load(&file).unwrap_err();
    let bad = nvmfctl(&["check", path]);
    assert_eq!(bad, Said::err(65, &problems.to_string()));
    let bad = nvmfctl(&["check", "--json", path]);
    assert_eq!((bad.status, &*bad.err), (65, ""));
    let report: serde_json::Value = serde_json::from_str(&bad.out).unwrap();
    let first = &report["problems"][0];
    assert_eq!(report["file"], path);
    assert!(
        report["problems"]
            .as_array()
            .unwrap()
            .iter()
            .any(|it| it["line"] == 2
                && it["column"] == 1
                && it["severity"] == "error"
                && it["hint"].as_str().unwrap().contains("level")),
        "{first}"
    );

    let missing = nvmfctl(&["check", "/no/such/nvmfd.toml"]);
    assert_eq!(missing.status, 66);
    assert!(
        missing.err.contains("/no/such/nvmfd.toml"),
        "{}",
        missing.err
    );
}

#[test]
fn the_command_line_is_judged_before_anything_is_asked() {
    for line in [
        "",
        "stauts",
        "log loud",
        "terminate",
        "top -i 0",
        "--socket",
        "plan a b",
    ] {
        let words: Vec<&str> = line.split_whitespace().collect();
        let said = nvmfctl(&words);
        assert_eq!((said.status, &*said.out), (64, ""), "{line}");
        assert!(said.err.contains("--help"), "{line}: {}", said.err);
    }
    let help = nvmfctl(&["--help"]);
    assert_eq!((help.status, &*help.err), (0, ""));
    assert!(help.out.contains("terminate") && help.out.contains("Exit status"));
}

#[test]
fn completions_are_there_for_each_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let said = nvmfctl(&["completions", shell]);
        assert_eq!(said.status, 0);
        assert!(said.out.contains("terminate"), "{shell}");
    }
}

#[test]
fn a_reader_that_has_enough_is_no_error_to_talk_of() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = Command::new(program())
        .args(["completions", "bash"])
        .stdout(writer)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
