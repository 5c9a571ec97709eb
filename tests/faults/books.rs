//! The books: what a target holds, before a story and after it.

use std::time::{Duration, Instant};

use nvmfd::control::message::{Answer, Request};
use nvmfd_tests::kernel::Kernel;
use nvmfd_tests::operator;
use nvmfd_tests::peer::PATIENCE;
use nvmfd_tests::target::Target;
use nvmfd_tests::usage::Usage;

/// Memory that may come and go without being a leak, in KiB: buffers that allocators keep.
const SLACK: u64 = 6 * 1024;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// What is held at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Books {
    /// Of the monitor and of the worker; `None` where there is no /proc to count in.
    usage: [Option<Usage>; 2],
    /// Who is connected: subsystem, CNTLID, I/O queues.
    sessions: Vec<(String, u16, Option<u32>)>,
    /// Connections that are no queue yet.
    negotiating: u64,
    /// What the kernel serves.
    associations: usize,
}

impl Books {
    pub(crate) fn of(target: &Target, kernel: Option<&Kernel>) -> Self {
        let status = operator::status(&target.socket());
        let answer = target.ask(Request::Sessions);
        let Answer::Sessions(sessions) = answer else {
            panic!("{answer:?}")
        };
        let sessions = sessions.sessions.into_iter();
        let listed = kernel.map(|kernel| kernel.ctl().sessions().expect("the kernel's list"));
        Self {
            usage: [
                Usage::of(target.pid()),
                status.worker.pid.and_then(Usage::of),
            ],
            sessions: sessions
                .map(|it| (it.subsystem, it.cntlid, it.io_queues))
                .collect(),
            negotiating: status.negotiating,
            associations: listed.map_or(0, |it| it.sessions.len()),
        }
    }

    /// The same once nothing is given back any more and one host is there.
    pub(crate) fn settled(target: &Target, kernel: Option<&Kernel>) -> Self {
        let deadline = Instant::now() + PATIENCE;
        let mut was = Self::of(target, kernel);
        loop {
            std::thread::sleep(PAUSE);
            let now = Self::of(target, kernel);
            if now.is_quiet() && now.counts() == was.counts() {
                return now;
            }
            assert!(Instant::now() < deadline, "it does not settle: {now:?}");
            was = now;
        }
    }

    /// Waits until nothing more is held than then.
    ///
    /// # Panics
    /// If that does not come.
    pub(crate) fn balance(&self, target: &Target, kernel: Option<&Kernel>) {
        if self.usage.contains(&None) {
            eprintln!("SKIPPED: this system has no /proc to count descriptors and memory in");
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let now = Self::of(target, kernel);
            if now.is_no_more_than(self) {
                return;
            }
            assert!(Instant::now() < deadline, "from {self:?} to {now:?}");
            std::thread::sleep(PAUSE);
        }
    }

    fn is_quiet(&self) -> bool {
        (self.sessions.len(), self.negotiating) == (1, 0)
    }

    fn counts(&self) -> [Option<(usize, usize)>; 2] {
        self.usage
            .map(|it| it.map(|it| (it.descriptors, it.threads)))
    }

    fn is_no_more_than(&self, before: &Self) -> bool {
        let memory = self.usage.iter().zip(&before.usage);
        self.counts() == before.counts()
            && self.sessions == before.sessions
            && self.negotiating == before.negotiating
            && self.associations == before.associations
            && memory
                .filter_map(|(now, before)| Some(((*now)?, (*before)?)))
                .all(|(now, before)| now.resident <= before.resident + SLACK)
    }
}
