//! The worker killed and stopped, the monitor stopped: whoever was served is served again, with what was
//! acknowledged.

use std::fs::File;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use nvmf_proto::nqn::Nqn;
use nvmfd_tests::operator;
use nvmfd_tests::peer::{BLOCK, Host, HostOptions, PATIENCE, PeerError};
use nvmfd_tests::target::{Setup, Target};
use nvmfd_tests::usage::Usage;
use tempfile::TempDir;

use crate::chance::{Chance, number};
use crate::scene::{Mode, Result, config};

/// Places of one writer, of so many bytes.
const PLACES: usize = 32;
const PLACE: usize = 16_384;

/// Memory of a monitor that may come and go, in KiB.
const SLACK: u64 = 2 * 1024;

/// A target whose namespace is a file.
struct Scene {
    target: Target,
    /// Goes after the target.
    _directory: TempDir,
}

impl Scene {
    fn new() -> Result<Self> {
        let directory = TempDir::new()?;
        let path = directory.path().join("disk");
        File::create(&path)?.set_len(64 << 20)?;
        let target = Target::with(&Setup {
            config: Some(config(Mode::User, &format!("path = {path:?}"))),
            lean: true,
            ..Setup::default()
        });
        Ok(Self {
            target,
            _directory: directory,
        })
    }

    /// Signals the worker that serves now; which one that is.
    fn signal_worker(&self, with: Signal) -> Result<u32> {
        let worker = self.target.worker();
        signal(worker, with)?;
        Ok(worker)
    }

    /// Waits until another worker serves.
    fn await_another(&self, than: u32) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match operator::status(&self.target.socket()).worker.pid {
                Some(pid) if pid != than => return,
                _ => assert!(Instant::now() < deadline, "no other worker is started"),
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Signals a process.
pub(crate) fn signal(process: u32, signal: Signal) -> Result {
    Ok(kill(Pid::from_raw(i32::try_from(process)?), signal)?)
}

/// A host that writes, and remembers what was acknowledged and what was not.
struct Writer {
    number: u32,
    at: SocketAddr,
    subnqn: Nqn,
    host: Host,
    /// Of each place what was acknowledged last, and what was tried last.
    places: Vec<(u64, u64)>,
    chance: Chance,
}

impl Writer {
    fn connect(number: u32, target: &Target, chance: Chance) -> Result<Self> {
        let (at, subnqn) = (target.io(), target.nqn());
        Ok(Self {
            number,
            at,
            host: host(at, &subnqn, number)?,
            subnqn,
            places: vec![(0, 0); PLACES],
            chance,
        })
    }

    /// Writes until it is told to end, whatever becomes of the target meanwhile.
    fn work(mut self, written: &AtomicU64, end: &AtomicBool) -> Result {
        while !end.load(Ordering::SeqCst) {
            if self.write().is_err() {
                self.come_back()?;
            }
            written.fetch_add(1, Ordering::SeqCst);
        }
        self.verify()
    }

    fn write(&mut self) -> std::result::Result<(), PeerError> {
        let place = self.chance.below(PLACES);
        let lba = self.lba(place);
        let (acknowledged, tried) = &mut self.places[place];
        *tried += 1;
        let data = tried.to_le_bytes().repeat(PLACE / 8);
        let status = self.host.io[0].write(lba, data)?;
        assert!(status.is_success(), "{status}");
        *acknowledged = *tried;
        Ok(())
    }

    /// Connects again, as soon as somebody serves, and looks at everything.
    fn come_back(&mut self) -> Result {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match host(self.at, &self.subnqn, self.number) {
                Ok(host) => {
                    self.host = host;
                    return self.verify();
                }
                Err(error) => assert!(Instant::now() < deadline, "nobody serves: {error}"),
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Each block is what was acknowledged, or what was tried since.
    fn verify(&mut self) -> Result {
        for place in 0..PLACES {
            let (acknowledged, tried) = self.places[place];
            let lba = self.lba(place);
            let read = self.host.io[0].read(lba, PLACE)?.expect("data");
            for block in read.chunks_exact(BLOCK as usize) {
                let stamp = block.first_chunk().expect("8 bytes");
                assert_eq!(*block, stamp.repeat(BLOCK as usize / 8), "a torn block");
                let stamp = u64::from_le_bytes(*stamp);
                assert!(
                    (acknowledged..=tried).contains(&stamp),
                    "place {place}: {stamp} of {acknowledged} to {tried}"
                );
            }
        }
        Ok(())
    }

    fn lba(&self, place: usize) -> u64 {
        let places = u64::from(self.number) * PLACES as u64 + place as u64;
        places * PLACE as u64 / u64::from(BLOCK)
    }
}

fn host(at: SocketAddr, subnqn: &Nqn, number: u32) -> Result<Host, PeerError> {
    let options = HostOptions {
        header_digest: true,
        data_digest: true,
        ..HostOptions::named(number)
    };
    Host::connect(at, subnqn, &options)
}

/// Writers at work.
struct Work {
    written: Vec<Arc<AtomicU64>>,
    end: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result>>,
}

impl Work {
    fn begin(target: &Target, writers: u32) -> Result<Self> {
        let chance = Chance::new();
        let end = Arc::<AtomicBool>::default();
        let (mut written, mut threads) = (Vec::new(), Vec::new());
        for number in 0..writers {
            let writer = Writer::connect(number, target, chance.branch(number.into()))?;
            let count = Arc::<AtomicU64>::default();
            let (counted, ends) = (Arc::clone(&count), Arc::clone(&end));
            written.push(count);
            threads.push(thread::spawn(move || writer.work(&counted, &ends)));
        }
        Ok(Self {
            written,
            end,
            threads,
        })
    }

    /// Each of them writes something more.
    fn goes_on(&self) {
        let counts = || self.written.iter().map(|it| it.load(Ordering::SeqCst));
        let enough: Vec<u64> = counts().map(|count| count + 20).collect();
        let deadline = Instant::now() + PATIENCE;
        while counts().zip(&enough).any(|(count, &enough)| count < enough) {
            let ended = self.threads.iter().any(JoinHandle::is_finished);
            assert!(!ended && Instant::now() < deadline, "the work stands still");
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn end(self) -> Result {
        self.end.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().expect("no panic of a writer")?;
        }
        Ok(())
    }
}

#[test]
fn a_worker_that_is_killed_again_and_again_loses_nothing_that_was_acknowledged() -> Result {
    let scene = Scene::new()?;
    let work = Work::begin(&scene.target, 3)?;
    let mut before = None;
    // The pauses between two starts grow, up to ten seconds.
    for round in 0..number(6, 21) {
        work.goes_on();
        let killed = scene.signal_worker(Signal::SIGKILL)?;
        scene.await_another(killed);
        if round == 0 {
            before = Usage::settled(scene.target.pid());
        }
    }
    work.goes_on();
    work.end()?;
    if let (Some(before), Some(now)) = (before, Usage::settled(scene.target.pid())) {
        let counted = |usage: Usage| (usage.descriptors, usage.threads);
        assert_eq!(counted(before), counted(now));
        assert!(
            now.resident <= before.resident + SLACK,
            "{before:?}, {now:?}"
        );
    }
    // A worker begins with the first number.
    let host = host(scene.target.io(), &scene.target.nqn(), 9)?;
    assert!(host.admin.cntlid() < 10, "{}", host.admin.cntlid());
    Ok(())
}

#[test]
fn a_worker_that_hangs_is_given_up_though_nobody_asks() -> Result {
    let scene = Scene::new()?;
    let work = Work::begin(&scene.target, 2)?;
    work.goes_on();
    scene.signal_worker(Signal::SIGSTOP)?;
    scene.target.says("does not answer");
    scene.target.says("the worker is started again");
    work.goes_on();
    work.end()
}

#[test]
fn a_worker_that_stops_for_a_moment_goes_on() -> Result {
    let scene = Scene::new()?;
    let work = Work::begin(&scene.target, 2)?;
    work.goes_on();
    let worker = scene.signal_worker(Signal::SIGSTOP)?;
    thread::sleep(Duration::from_secs(3));
    signal(worker, Signal::SIGCONT)?;
    work.goes_on();
    work.end()?;
    assert_eq!(scene.target.worker(), worker);
    Ok(())
}

#[test]
fn a_monitor_that_stops_holds_up_no_host() -> Result {
    let scene = Scene::new()?;
    let worker = scene.target.worker();
    let work = Work::begin(&scene.target, 2)?;
    scene.target.signal(Signal::SIGSTOP);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(2) {
        work.goes_on();
        drop(host(scene.target.io(), &scene.target.nqn(), 8)?);
    }
    scene.target.signal(Signal::SIGCONT);
    work.goes_on();
    work.end()?;
    assert_eq!(scene.target.worker(), worker);
    Ok(())
}

#[test]
fn a_machine_that_was_suspended_goes_on() -> Result {
    let scene = Scene::new()?;
    let work = Work::begin(&scene.target, 2)?;
    work.goes_on();
    let worker = scene.target.worker();
    scene.target.signal(Signal::SIGSTOP);
    signal(worker, Signal::SIGSTOP)?;
    // Longer than the monitor waits for an answer, but our hosts do wait.
    thread::sleep(Duration::from_secs(12));
    scene.target.signal(Signal::SIGCONT);
    signal(worker, Signal::SIGCONT)?;
    work.goes_on();
    work.end()?;
    assert_eq!(scene.target.worker(), worker);
    Ok(())
}
