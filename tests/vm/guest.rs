//! One boot of a guest: its lines are shown and counted, its requests carried out, its time limited.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::capture::Capture;
use crate::config::Config;
use crate::kernel::Kernel;
use crate::options::{Level, Options, Which};
use crate::tally::Tally;
use crate::target::{self, Target};
use crate::{child, script};

/// No step takes a minute on a quiet machine; a host that hangs in the kernel never ends one.
const STEP_LIMIT: Duration = Duration::from_secs(120);
/// Three times the keep-alive timeout of the host that is frozen, and a margin.
const SILENCE_LIMIT: Duration = Duration::from_secs(20);

/// What to boot, and where its files go.
pub(crate) struct Job<'a> {
    /// How lines of output name it.
    pub(crate) label: &'a str,
    pub(crate) target: Which,
    pub(crate) image: &'a Path,
    pub(crate) run: &'a Path,
    pub(crate) options: &'a Options,
}

struct Guest {
    qemu: Child,
    lines: Receiver<String>,
    deadline: Instant,
    /// The step that has begun and not ended.
    step: String,
    /// The plan has been seen: every step has ended.
    complete: bool,
    /// What is recorded meanwhile.
    capture: Option<Capture>,
}

impl Job<'_> {
    /// Boots the guest and stays until its end; every result goes to the tally.
    pub(crate) fn run(&self, mut target: Option<&mut Target>, tally: &mut Tally) {
        let begin = Instant::now();
        let failures = tally.failures();
        tally.note(
            self.label,
            &format!("booting, target {}", self.target.name()),
        );
        match self.boot() {
            Ok(mut guest) => {
                if let Err(why) = self.follow(&mut guest, target.as_deref_mut(), tally) {
                    tally.failed(self.label, &why);
                }
                // Gone already, unless it was given up.
                let _ = guest.qemu.kill();
                let _ = guest.qemu.wait();
                if let Some(target) = target.as_deref_mut() {
                    self.end_target(target, tally);
                }
            }
            Err(error) => tally.failed(self.label, &format!("boot.sh: {error}")),
        }
        if tally.failures() > failures {
            let kernel_log = target::tail(&self.run.join("kernel.log"), 40);
            println!(
                "--- last lines of the {} kernel's log ---\n{kernel_log}",
                self.label
            );
            for (whose, tail) in target.iter().flat_map(|target| target.log_tails()) {
                println!("--- last lines of {whose}'s log ---\n{tail}");
            }
            println!("--- whole logs in {} ---", self.run.display());
        }
        // As large as the image, and of no use to a reader.
        let _ = fs::remove_file(self.run.join("initramfs.cpio"));
        tally.note(
            self.label,
            &format!("took {:.0} s", begin.elapsed().as_secs_f32()),
        );
    }

    fn boot(&self) -> io::Result<Guest> {
        let job = match self.options.capture {
            Some(_) => "capture.sh",
            None => "exercise.sh",
        };
        let (address, discovery_port) = match self.target {
            Which::Nvmfd | Which::NvmfdKernel => (target::ADDRESS, target::DISCOVERY_PORT),
            // In the guest, where one port of nvmet does both.
            Which::Nvmet => ("127.0.0.1", target::PORT),
        };
        let mut qemu = child(script("boot.sh"))
            .args([self.image, self.run])
            .arg(job)
            .arg(format!("TARGET={}", self.target.name()))
            .arg(format!("LEVEL={}", self.options.level.name()))
            .arg(format!("ADDRESS={address}"))
            .arg(format!("PORT={}", target::PORT))
            .arg(format!("DISCOVERY_PORT={discovery_port}"))
            .arg(format!("NQN={}", target::NQN))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = qemu.stdout.take().expect("was piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            // Raw bytes: a dying guest may end in the middle of anything.
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let limit = match self.options.level {
            Level::Essential => Duration::from_secs(300),
            Level::Full => Duration::from_secs(900),
        };
        let deadline = Instant::now() + limit;
        Ok(Guest {
            qemu,
            lines,
            deadline,
            step: "boot".into(),
            complete: false,
            capture: None,
        })
    }

    /// Until the guest has ended, by itself or by its own request.
    fn follow(
        &self,
        guest: &mut Guest,
        mut target: Option<&mut Target>,
        tally: &mut Tally,
    ) -> Result<(), String> {
        loop {
            let left = guest.deadline.saturating_duration_since(Instant::now());
            let line = match guest.lines.recv_timeout(left.min(STEP_LIMIT)) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("gave up during step: {}", guest.step));
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if let Some(request) = line.strip_prefix('@') {
                if let Some(how) = request.strip_prefix("guest ") {
                    let target = target.as_deref_mut().ok_or("no target to look at")?;
                    self.end_host(how, guest, target, tally);
                    return Ok(());
                }
                self.heed(request, guest, target.as_deref_mut())?;
            } else {
                self.count(&line, guest, tally);
            }
        }
        let status = guest.qemu.wait().map_err(|error| error.to_string())?;
        // isa-debug-exit: 1 is the guest's 0, and 3 its 1, which the steps have told already.
        match status.code() {
            Some(1 | 3) if guest.complete => Ok(()),
            _ => Err(format!(
                "the guest went down during step: {} ({status})",
                guest.step
            )),
        }
    }

    fn count(&self, line: &str, guest: &mut Guest, tally: &mut Tally) {
        if let Some(step) = line.strip_prefix("ok ") {
            match step.split_once(" # SKIP ") {
                Some((step, why)) => tally.skipped(self.label, &format!("{step}: {why}")),
                None => tally.passed(self.label, step),
            }
        } else if let Some(step) = line.strip_prefix("not ok ") {
            tally.failed(self.label, step);
        } else if line.starts_with("1..") {
            guest.complete = true;
        } else {
            tally.note(self.label, line);
        }
    }

    /// The end of a host without warning, and what it does to the target.
    fn end_host(&self, how: &str, guest: &mut Guest, target: &mut Target, tally: &mut Tally) {
        let frozen = how == "freeze";
        if frozen {
            let name = "a silent host's connections are closed after its keep-alive timeout";
            let forgotten = target::send(&guest.qemu, Signal::SIGSTOP)
                .and_then(|()| target.forgets_silent_host(SILENCE_LIMIT));
            self.record(name, forgotten, tally);
        }
        let killed = guest.qemu.kill().map_err(|error| error.to_string());
        let served = killed.and_then(|()| target.serves());
        self.record(
            "the target serves after the host was killed under I/O",
            served,
            tally,
        );
    }

    /// What a kernel says in the end.
    fn end_target(&self, target: &mut Target, tally: &mut Tally) {
        if target.kernel().is_none() {
            return;
        }
        let stopped = target.stop();
        self.record(
            "the last daemon leaves nothing in the kernel",
            stopped,
            tally,
        );
        let well = target.kernel().map_or(Ok(()), Kernel::is_well);
        self.record("the kernel was not misused and did not panic", well, tally);
    }

    /// A request about the target; the guest waits for the answer.
    fn heed(
        &self,
        request: &str,
        guest: &mut Guest,
        target: Option<&mut Target>,
    ) -> Result<(), String> {
        let done = match (request.split_once(' '), target) {
            (Some(("step", step)), _) => {
                guest.step = step.to_owned();
                return Ok(());
            }
            (Some(("target", verb)), Some(target)) => ask(target, verb),
            (Some(("capture", verb)), Some(_)) => self.capture(verb, guest),
            _ => Err(format!("unknown request {request}")),
        };
        let answer = done.map_or_else(|why| why.replace('\n', "; "), |()| "done".to_owned());
        let mut input = guest.qemu.stdin.as_ref().expect("was piped");
        writeln!(input, "{answer}").map_err(|error| format!("answering the guest: {error}"))
    }

    fn capture(&self, verb: &str, guest: &mut Guest) -> Result<(), String> {
        match (verb, guest.capture.take()) {
            ("begin", None) => {
                guest.capture = Some(Capture::start(&self.run.join("discovery.pcap"))?);
                Ok(())
            }
            ("judge", Some(capture)) => capture.judge(),
            ("judge", None) => Err("nothing was recorded".into()),
            _ => Err(format!("unknown request capture {verb}")),
        }
    }

    fn record(&self, name: &str, result: Result<(), String>, tally: &mut Tally) {
        match result {
            Ok(()) => tally.passed(self.label, name),
            Err(why) => tally.failed(self.label, &format!("{name}: {why}")),
        }
    }
}

fn ask(target: &mut Target, request: &str) -> Result<(), String> {
    let (verb, config) = match request.split_once(' ') {
        None => (request, None),
        Some((verb, name)) => match Config::named(name) {
            None => return Err(format!("unknown configuration {name}")),
            config => (verb, config),
        },
    };
    match (verb, config) {
        ("stop", None) => target.stop(),
        ("kill", None) => target.kill(),
        ("kill-worker", None) => target.kill_worker(),
        ("leave", None) => target.leave(),
        ("start", None) => target.start_again(),
        ("start-other", None) => target.start_other(),
        ("stop-other", None) => target.stop_other(),
        ("serve", Some(config)) => target.serve(config),
        ("reload", Some(config)) => target.reload(config),
        _ => Err(format!("unknown request target {request}")),
    }
}
