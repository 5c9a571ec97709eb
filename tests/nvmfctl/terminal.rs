//! `nvmfctl top` on a terminal: it takes the screen, and gives it back however it ends.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nvmfd::control::message::{Answer, Failure, FailureKind, Sessions};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::scene::{Scene, program, session};

/// A terminal with `nvmfctl top` on it.
struct Terminal {
    user: File,
    /// Kept, as its settings are asked for when nobody else has it.
    line: OwnedFd,
    shown: Arc<Mutex<String>>,
    child: Child,
}

const PATIENCE: Duration = Duration::from_secs(20);

impl Terminal {
    fn with_top(scene: &Scene, (columns, rows): (u16, u16)) -> Self {
        let user = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&user).unwrap();
        unlockpt(&user).unwrap();
        let name = ptsname(&user, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let line = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).unwrap();
        let user = File::from(user);
        resize(&user, (columns, rows));
        let stdio = || Stdio::from(line.try_clone().unwrap());
        let child = Command::new(program())
            .args(["top", "-i", "0.1", "--socket"])
            .arg(scene.path())
            .env("TERM", "xterm")
            .env_remove("NO_COLOR")
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .spawn()
            .unwrap();
        let shown = Arc::<Mutex<String>>::default();
        let (mut reader, sink) = (user.try_clone().unwrap(), Arc::clone(&shown));
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // It ends with an error when the terminal is gone.
            while let Ok(read) = reader.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..read]);
                sink.lock().unwrap().push_str(&text);
            }
        });
        Self {
            user,
            line,
            shown,
            child,
        }
    }

    /// Waits until `text` was shown, and forgets all that was shown up to then.
    fn shows(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut shown = self.shown.lock().unwrap();
            if let Some(at) = shown.find(text) {
                *shown = shown.split_off(at + text.len());
                return;
            }
            assert!(Instant::now() < deadline, "{text:?} in {shown:?}");
            drop(shown);
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn presses(&mut self, key: &[u8]) {
        self.user.write_all(key).unwrap();
    }

    fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.line).unwrap().local_modes;
        !modes.intersects(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    /// How it ended, with the terminal as it was before.
    fn ends(&mut self) -> ExitStatus {
        self.shows("\x1b[?25h");
        self.shows("\x1b[?1049l");
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < deadline, "it ends");
            thread::sleep(Duration::from_millis(5));
        };
        let modes = tcgetattr(&self.line).unwrap().local_modes;
        assert!(modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
        let shown = self.shown.lock().unwrap();
        assert_eq!(
            *shown, "",
            "nothing is drawn on a screen that is not its own"
        );
        status
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resize(user: &File, (columns, rows): (u16, u16)) {
    let size = Winsize {
        ws_row: rows,
        ws_col: columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(user, size).unwrap();
}

fn busy() -> Scene {
    let mut reads = 0;
    Scene::new(move |_| {
        reads += 1000;
        Answer::Sessions(Sessions {
            sessions: vec![session("nqn.2014-08.org.example:host1", 7, reads)],
            missing: None,
        })
    })
}

#[test]
fn top_shows_what_goes_on_until_q() {
    let scene = busy();
    let mut terminal = Terminal::with_top(&scene, (140, 24));
    terminal.shows("\x1b[?1049h");
    terminal.shows("nvmfctl top");
    terminal.shows("nqn.2014-08.org.example:host1");
    assert!(terminal.is_raw());
    terminal.shows("1 session");
    terminal.presses(b"xq");
    assert!(terminal.ends().success());
}

#[test]
fn top_ends_by_ctrl_c() {
    let scene = busy();
    let mut terminal = Terminal::with_top(&scene, (80, 24));
    terminal.shows("SUBSYSTEM");
    terminal.presses(b"\x03");
    assert!(terminal.ends().success());
}

#[test]
fn top_gives_the_terminal_back_when_a_signal_ends_it() {
    let scene = busy();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let mut terminal = Terminal::with_top(&scene, (80, 24));
        terminal.shows("SUBSYSTEM");
        let pid = i32::try_from(terminal.child.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
        let status = terminal.ends();
        assert_eq!(status.signal(), Some(signal as i32));
    }
}

#[test]
fn top_fits_the_terminal_and_follows_its_size() -> io::Result<()> {
    let scene = busy();
    let mut terminal = Terminal::with_top(&scene, (80, 24));
    terminal.shows("…");
    resize(&terminal.user, (160, 24));
    // A terminal that is no process's own tells nobody of its size.
    let pid = i32::try_from(terminal.child.id()).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGWINCH)?;
    terminal.shows("nqn.2014-08.org.example:vol0");
    terminal.presses(b"q");
    assert!(terminal.ends().success());
    Ok(())
}

#[test]
fn top_outlives_a_daemon_that_is_replaced() {
    let mut asked = 0;
    let scene = Scene::new(move |_| {
        asked += 1;
        if asked % 4 == 3 {
            let (kind, text) = (FailureKind::Busy, "being replaced".into());
            return Answer::Failed(Failure { kind, text });
        }
        Answer::Sessions(Sessions::default())
    });
    let mut terminal = Terminal::with_top(&scene, (80, 24));
    terminal.shows("0 sessions");
    terminal.shows("being replaced");
    terminal.shows("0 sessions");
    terminal.presses(b"q");
    assert!(terminal.ends().success());
}

#[test]
fn top_ends_although_the_daemon_hangs() {
    let mut asked = 0;
    let (release, held) = std::sync::mpsc::channel::<()>();
    let scene = Scene::new(move |_| {
        asked += 1;
        if asked > 1 {
            let _ = held.recv();
        }
        Answer::Sessions(Sessions::default())
    });
    let mut terminal = Terminal::with_top(&scene, (80, 24));
    terminal.shows("0 sessions");
    terminal.presses(b"q");
    assert!(terminal.ends().success());
    drop(release);
}
