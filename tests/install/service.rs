//! The rc.d script as `service nvmfd …` runs it, from where `make install` put it, under rc.subr's
//! rules (`rc.subr`, ours) and with programs that write down how they are called (`place.rs`).

use std::fs;
use std::process::Command;

use crate::place::{Place, good, repository};

/// An installed nvmfd and what rc.conf(5) says of it.
struct Service {
    place: Place,
}

/// How a command of the script's went.
#[derive(Debug)]
struct Said {
    good: bool,
    out: String,
    error: String,
    /// What was called meanwhile, in order.
    calls: Vec<String>,
}

const KERNEL_MODE: &str = "ctl\nnvmft\nnvmf_tcp\n";

impl Service {
    /// Installed and enabled; no module is needed.
    fn new() -> Self {
        let place = Place::new();
        let prefix = format!("PREFIX={}", place.path("").display());
        good(&place.make(
            "make",
            "install",
            &[prefix.trim_end_matches('/'), "INIT=rc"],
        ));
        let script = fs::read_to_string(place.path("etc/rc.d/nvmfd")).unwrap();
        assert!(script.contains("\n. /etc/rc.subr\n"));
        let rules = repository("tests/install/rc.subr");
        let sourced = format!("\n. \"{}\"\n", rules.display());
        place.program("service", &script.replace("\n. /etc/rc.subr\n", &sourced));
        for name in ["calls", "loaded", "modules"] {
            place.write(name, "");
        }
        place.write("etc/nvmfd.toml", "# good\n");
        let service = Self { place };
        service.rc_conf("nvmfd_enable=YES");
        service
    }

    fn rc_conf(&self, lines: &str) {
        let pidfile = self.place.path("nvmfd.pid");
        let text = format!("pidfile=\"{}\"\n{lines}\n", pidfile.display());
        self.place.write("rc.conf", &text);
    }

    /// `service nvmfd WORD`.
    fn run(&self, word: &str) -> Said {
        self.place.write("calls", "");
        let output = Command::new(self.place.path("service"))
            .arg(word)
            .env("here", self.place.path(""))
            .output()
            .unwrap();
        let calls = fs::read_to_string(self.place.path("calls")).unwrap();
        let prefix = self.place.path("").display().to_string();
        Said {
            good: output.status.success(),
            out: String::from_utf8(output.stdout).unwrap(),
            error: String::from_utf8(output.stderr).unwrap(),
            calls: calls.lines().map(|it| it.replace(&prefix, "")).collect(),
        }
    }

    /// One that has been started.
    fn started() -> Self {
        let service = Self::new();
        assert!(service.run("start").good);
        service
    }

    /// What `status` says, and whether something runs.
    fn status(&self) -> (String, bool) {
        let said = self.run("status");
        (said.out.trim_end().to_owned(), said.good)
    }
}

/// The calls of a start in user mode.
const START: [&str; 3] = [
    "nvmfctl check etc/nvmfd.toml",
    "nvmfd --modules -f etc/nvmfd.toml",
    "nvmfd -f etc/nvmfd.toml",
];

#[test]
fn start_checks_the_file_and_starts() {
    let service = Service::new();
    let said = service.run("start");
    assert!(said.good, "{said:?}");
    assert_eq!(said.calls, START);
    assert_eq!(
        service.status(),
        ("nvmfd is running as pid 1.".into(), true)
    );
    let again = service.run("start");
    assert!(!again.good && again.calls.is_empty(), "{again:?}");
}

#[test]
fn kernel_mode_loads_its_modules_after_the_check_and_before_the_start() {
    let service = Service::new();
    service.place.write("modules", KERNEL_MODE);
    let said = service.run("start");
    assert!(said.good, "{said:?}");
    let loads = ["load ctl", "load nvmft", "load nvmf_tcp:nvmf/tcp"];
    assert_eq!(said.calls, [&START[..2], &loads, &START[2..]].concat());
}

/// nvmf_tcp.ko's module is called nvmf/tcp: a script that does not know that starts once a boot.
#[test]
fn kernel_mode_starts_again_with_its_modules_loaded() {
    let service = Service::new();
    service.place.write("modules", KERNEL_MODE);
    for word in ["start", "stop", "start"] {
        let said = service.run(word);
        assert!(said.good, "{said:?}");
    }
}

#[test]
fn a_file_that_is_wrong_starts_nothing() {
    let service = Service::new();
    service.place.write("modules", KERNEL_MODE);
    service.place.write("etc/nvmfd.toml", "wrong\n");
    for word in ["start", "configtest"] {
        let said = service.run(word);
        assert!(!said.good && said.error.contains("1:wrong"), "{said:?}");
        assert_eq!(said.calls, START[..1]);
    }
    fs::remove_file(service.place.path("etc/nvmfd.toml")).unwrap();
    let said = service.run("start");
    assert!(!said.good && said.error.contains("etc/nvmfd.toml is not readable"));
    assert!(said.calls.is_empty(), "{said:?}");
}

#[test]
fn a_file_that_is_wrong_neither_stops_nor_changes_what_runs() {
    let service = Service::started();
    service.place.write("etc/nvmfd.toml", "wrong\n");
    for word in ["restart", "reload", "upgrade"] {
        let said = service.run(word);
        assert!(!said.good && said.error.contains("1:wrong"), "{said:?}");
        assert_eq!(said.calls, START[..1], "{word}");
    }
    assert_eq!(
        service.status(),
        ("nvmfd is running as pid 1.".into(), true)
    );
}

#[test]
fn configtest_says_that_a_good_file_is_good() {
    let said = Service::new().run("configtest");
    assert!(said.good, "{said:?}");
    assert_eq!(said.calls, START[..1]);
}

#[test]
fn what_is_not_enabled_is_left_alone_unless_asked_for_once() {
    let service = Service::new();
    service.rc_conf("");
    for word in ["start", "restart", "reload", "upgrade"] {
        let said = service.run(word);
        assert!(said.out.contains("Set nvmfd_enable to YES"), "{said:?}");
        assert!(said.calls.is_empty(), "{said:?}");
    }
    let said = service.run("onestart");
    assert!(said.good, "{said:?}");
    assert_eq!(said.calls, START);
    // Running, it is stopped whether enabled or not: when the system goes down, too.
    assert_eq!(service.run("stop").calls, ["kill -TERM 1", "wait 1"]);
}

#[test]
fn force_leaves_the_decision_to_the_daemon() {
    let service = Service::new();
    service.rc_conf("");
    service.place.write("etc/nvmfd.toml", "wrong\n");
    let said = service.run("forcestart");
    assert_eq!(said.calls, [START[0], START[2]]);
}

#[test]
fn rc_conf_chooses_the_file_and_adds_options() {
    let service = Service::new();
    let other = service.place.path("other.toml");
    service.place.write("other.toml", "# good\n");
    let lines = format!(
        "nvmfd_enable=YES\nnvmfd_config={}\nnvmfd_flags='--log debug'",
        other.display()
    );
    service.rc_conf(&lines);
    let expected = [
        "nvmfctl check other.toml",
        "nvmfd --modules -f other.toml",
        "nvmfd --log debug -f other.toml",
    ];
    assert_eq!(service.run("start").calls, expected);
}

#[test]
fn reload_says_whether_the_daemon_took_the_file() {
    let service = Service::started();
    let said = service.run("reload");
    assert!(said.good, "{said:?}");
    assert_eq!(said.calls, [START[0], "nvmfctl reload"]);
    // The file is good, and the daemon cannot have what it says: a port that is in use.
    service.place.write("deaf", "");
    let said = service.run("reload");
    assert!(
        !said.good && said.error.contains("does not answer"),
        "{said:?}"
    );
}

#[test]
fn what_does_not_run_is_neither_reloaded_nor_upgraded() {
    let service = Service::new();
    for word in ["reload", "upgrade"] {
        let said = service.run(word);
        assert!(!said.good && said.error.contains("not running"), "{said:?}");
        assert_eq!(said.calls, START[..1], "{word}");
    }
    assert_eq!(service.status(), ("nvmfd is not running.".into(), false));
}

#[test]
fn upgrade_checks_lets_the_old_one_leave_and_starts_the_new_one() {
    let service = Service::started();
    let said = service.run("upgrade");
    assert!(said.good, "{said:?}");
    assert!(said.out.contains("others will reconnect"), "{said:?}");
    let leave = [START[0], "nvmfctl leave", "wait 1"];
    assert_eq!(said.calls, [&leave[..], &START].concat());
    assert_eq!(
        service.status(),
        ("nvmfd is running as pid 2.".into(), true)
    );
}

#[test]
fn an_old_daemon_that_does_not_leave_goes_on() {
    let service = Service::started();
    service.place.write("deaf", "");
    let said = service.run("upgrade");
    assert!(
        !said.good && said.error.contains("kill -KILL 1"),
        "{said:?}"
    );
    assert_eq!(said.calls, [START[0], "nvmfctl leave"]);
    assert_eq!(
        service.status(),
        ("nvmfd is running as pid 1.".into(), true)
    );
}

#[test]
fn a_new_daemon_that_does_not_start_is_reported() {
    let service = Service::started();
    service.place.write("refuses", "");
    let said = service.run("upgrade");
    assert!(!said.good, "{said:?}");
    assert!(said.error.contains("is in use"), "{said:?}");
    assert!(said.error.contains("the new one did not start"), "{said:?}");
}

#[test]
fn restart_stops_and_starts() {
    let service = Service::started();
    let said = service.run("restart");
    assert!(said.good, "{said:?}");
    let stop = [START[0], "kill -TERM 1", "wait 1"];
    assert_eq!(said.calls, [&stop[..], &START].concat());
}
