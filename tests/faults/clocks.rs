//! The time of day jumps, forth and back: it is told, nobody waits by it, and hosts notice nothing.
//!
//! libfaketime moves it, for the program and its worker alone, by a file that is read again at each look at
//! the clock. A confined worker cannot read files: this one is not. A jump of the other clock, by which
//! the program waits, is a sleep (see `pauses`); that nothing else is waited by is a rule of
//! `scripts/house-rules.sh`.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use nvmfd::control::message::{Answer, Request};
use nvmfd_tests::operator;
use nvmfd_tests::peer::{Host, HostOptions, PATIENCE, PeerError, Raw};
use nvmfd_tests::target::Target;
use tempfile::TempDir;

use crate::scene::{MEMORY, Mode, Result, Scene, config};

/// The library, in one of the directories of /usr/lib: it is named after the machine.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// By how many seconds the clock is wrong, one after the other.
const JUMPS: [i64; 6] = [3600, 0, -3600, 365 * 86_400, -365 * 86_400, 0];

/// By how much a time that was told may be older than the look at it, in seconds.
const AGE: i64 = 60;

/// A clock that can be set.
struct Clock {
    file: PathBuf,
    /// Has the file.
    _directory: TempDir,
}

impl Clock {
    fn new() -> Result<Self> {
        let directory = TempDir::new()?;
        // For whoever the worker is.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
        let clock = Self {
            file: directory.path().join("offset"),
            _directory: directory,
        };
        clock.is_wrong_by(0)?;
        Ok(clock)
    }

    /// At once, and never half: it is read at any moment.
    fn is_wrong_by(&self, seconds: i64) -> Result {
        let next = self.file.with_extension("next");
        fs::write(&next, format!("{seconds:+}\n"))?;
        Ok(fs::rename(next, &self.file)?)
    }

    fn environment(&self, library: &str) -> Vec<(String, String)> {
        let file = self.file.display().to_string();
        [
            ("LD_PRELOAD", library),
            ("FAKETIME_TIMESTAMP_FILE", &file),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .to_vec()
    }
}

#[test]
fn the_time_of_day_jumps_and_nobody_notices() -> Result {
    let Some(library) = library() else {
        eprintln!("SKIPPED: libfaketime is not installed (Debian's faketime)");
        return Ok(());
    };
    let clock = Clock::new()?;
    let plain = format!(
        "[sandbox]\nconfine = \"off\"\n{}",
        config(Mode::User, MEMORY)
    );
    let hasty = format!("[limits]\nnegotiation-time = \"1s\"\n{plain}");
    let mut scene = Scene::in_environment(plain.clone(), clock.environment(&library))?;
    scene.target.reload(&hasty).expect("it is served");
    let options = HostOptions {
        kato: Duration::from_secs(1),
        ..HostOptions::named(1)
    };
    let mut host = Host::connect(scene.io(), &scene.nqn(), &options)?;
    for jump in JUMPS {
        println!("the clock is wrong by {jump} s");
        let mut silent = Raw::connect(scene.io())?;
        let began = Instant::now();
        clock.is_wrong_by(jump)?;
        // Both processes live in that time.
        scene.target.reload(&hasty).expect("it is served");
        let status = operator::status(&scene.target.socket());
        assert_near(status.loaded, jump);
        assert_near(last_refusal(&scene.target)?, jump);
        // The silent one has its second, no more and no less, and the host lives meanwhile.
        while silent.stream().peek(&mut [0]).is_err() {
            assert!(host.keep_alive()?.status.is_success());
            assert!(began.elapsed() < PATIENCE);
            silent
                .stream()
                .set_read_timeout(Some(Duration::from_millis(200)))?;
        }
        assert_eq!(silent.until_closed(PATIENCE)?, b"");
        let took = began.elapsed();
        let limit = Duration::from_secs(1);
        assert!(limit <= took && took < 4 * limit, "{took:?}");
        scene.goes_on()?;
    }
    drop(host);
    scene.target.reload(&plain).expect("it is served");
    scene.ends_well()
}

/// Where it is, if it is installed.
fn library() -> Option<String> {
    let places = fs::read_dir("/usr/lib").ok()?.flatten();
    let mut found = places.map(|place| place.path().join(LIBRARY));
    let found = found.find(|path| path.exists())?;
    found.to_str().map(String::from)
}

/// When the target says that it refused a host, which it does now.
fn last_refusal(target: &Target) -> Result<u64> {
    let stranger = "nqn.2014-08.org.example:nothing".parse().expect("a name");
    let refused = Host::connect(target.io(), &stranger, &HostOptions::default());
    assert!(matches!(refused, Err(PeerError::Refused(_))));
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = target.ask(Request::Refusals);
        let Answer::Refusals(refusals) = answer else {
            panic!("{answer:?}")
        };
        if let Some(last) = refusals.last.iter().rev().find(|it| it.hostnqn.is_some()) {
            return Ok(last.time);
        }
        assert!(Instant::now() < deadline, "no refusal is told");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A time that was told is that of a clock which is wrong by so much.
fn assert_near(told: u64, jump: i64) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.expect("it is after 1970").as_secs();
    let off = i64::try_from(told).expect("a time") - i64::try_from(now).expect("a time") - jump;
    assert!((-AGE..=1).contains(&off), "{told} is wrong by {off} s");
}
