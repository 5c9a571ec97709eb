//! The flushes of a namespace: one at a time, shared by all who wait for one, and a failure remembered
//! for everybody whom it may concern.
//!
//! A system says once that writes were lost, to one caller, and the next flush succeeds without them
//! (Linux counts them as clean; PostgreSQL learned that in 2018). So a flush that failed is a *loss*:
//! every host is told of it by one Flush (or FUA write) that fails, whoever's flush found it, also a
//! host that was away meanwhile. Then flushes say again what the medium says: a host that was told
//! knows that what it had not flushed may be gone, and that is all that anybody can know. A host whose
//! connection was gone when the flush failed was told nothing: it is when it asks again.
//!
//! One at a time, because of two that run at once the one that succeeds may end first, before the loss is
//! known. Who comes while one runs waits for the next one, which covers all that have come until then.

#![forbid(unsafe_code)]

use std::collections::HashMap;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::Errand;

/// Host identifier, which all controllers of a host have in common.
pub type HostId = [u8; 16];

/// The flushes of one namespace.
#[derive(Debug, Default)]
pub struct Flushes {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    running: bool,
    /// Flushes of the medium that have begun, and the last one that has ended.
    begun: u64,
    done: u64,
    /// Those that failed.
    losses: u64,
    /// The last failure: its kind or number, and its words.
    failure: Option<(Option<i32>, io::ErrorKind, String)>,
    /// What each host was told.
    told: HashMap<HostId, Told>,
    /// How often any was.
    telling: u64,
}

#[derive(Debug, Clone, Copy)]
struct Told {
    /// The last loss that it was told of.
    loss: u64,
    /// When it was last told anything: the count then.
    when: u64,
}

impl Flushes {
    /// Has everything that was written before it was called put on stable storage, by `sync` or by
    /// somebody else's, on a host's errand or on behalf of the daemon itself.
    ///
    /// # Errors
    /// What `sync` said; or somebody else's before, of which this host was not told.
    pub fn flush(
        &self,
        errand: Option<&Errand<'_>>,
        sync: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let mut state = self.lock();
        let known = state.losses;
        // One that has begun already may miss what was written since.
        let wanted = state.begun + 1;
        while state.running && state.done < wanted {
            state = self
                .ended
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.done < wanted {
            state.running = true;
            state.begun += 1;
            drop(state);
            self.run(sync);
            state = self.lock();
        }
        state.verdict(errand, known)
    }

    fn run(&self, sync: impl FnOnce() -> io::Result<()>) {
        let _end = End(self);
        let synced = sync();
        self.lock().note(synced);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the flush that runs, even in a panic: others wait for it.
struct End<'a>(&'a Flushes);

impl Drop for End<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.running = false;
        state.done = state.begun;
        drop(state);
        self.0.ended.notify_all();
    }
}

impl State {
    fn note(&mut self, synced: io::Result<()>) {
        if let Err(error) = synced {
            self.losses += 1;
            self.failure = Some((error.raw_os_error(), error.kind(), error.to_string()));
        }
    }

    /// What is answered to who asked when `known` losses were there: of those since, several flushes of
    /// one host are told alike.
    fn verdict(&mut self, errand: Option<&Errand<'_>>, known: u64) -> io::Result<()> {
        let told = match errand {
            // The common case: nothing was ever lost.
            Some(_) if self.losses == 0 => 0,
            Some(errand) => {
                // Without a connection nobody hears what is answered.
                let before = if errand.alive.load(Ordering::Acquire) {
                    self.telling += 1;
                    if self.told.len() >= HOSTS_MAX && !self.told.contains_key(&errand.host) {
                        self.forget_one();
                    }
                    let told = Told {
                        loss: self.losses,
                        when: self.telling,
                    };
                    self.told.insert(errand.host, told)
                } else {
                    self.told.get(&errand.host).copied()
                };
                before.map_or(0, |it| it.loss).min(known)
            }
            None => known,
        };
        match &self.failure {
            Some((number, kind, words)) if told < self.losses => Err(match number {
                Some(number) => io::Error::from_raw_os_error(*number),
                None => io::Error::new(*kind, words.clone()),
            }),
            Some(_) | None => Ok(()),
        }
    }

    /// Hosts invent identifiers. Who is forgotten is told once more: who has not flushed for longest.
    fn forget_one(&mut self) {
        let oldest = self.told.iter().min_by_key(|(_, told)| told.when);
        if let Some((&oldest, _)) = oldest {
            self.told.remove(&oldest);
        }
    }
}

/// Hosts of which it is remembered what they were told.
const HOSTS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64};
    use std::sync::{Arc, Barrier, mpsc};
    use std::thread;

    use nix::errno::Errno;

    use super::*;

    const FIRST: HostId = [1; 16];
    const SECOND: HostId = [2; 16];

    /// On behalf of a host that is connected.
    fn of(host: HostId) -> Errand<'static> {
        static ALIVE: AtomicBool = AtomicBool::new(true);
        Errand {
            host,
            durable: false,
            alive: &ALIVE,
        }
    }

    fn lost() -> io::Result<()> {
        Err(Errno::EIO.into())
    }

    fn saved() -> io::Result<()> {
        Ok(())
    }

    #[test]
    fn a_loss_is_told_to_every_host_once() {
        let flushes = Flushes::default();
        assert!(flushes.flush(Some(&of(FIRST)), saved).is_ok());
        let error = flushes.flush(Some(&of(FIRST)), lost).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::EIO as i32));
        assert!(flushes.flush(Some(&of(FIRST)), saved).is_ok());
        // What it has written may be among it, too.
        let error = flushes.flush(Some(&of(SECOND)), saved).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::EIO as i32));
        assert!(flushes.flush(Some(&of(SECOND)), saved).is_ok());
        // Another one is another one.
        assert!(flushes.flush(Some(&of(SECOND)), lost).is_err());
        assert!(flushes.flush(Some(&of(FIRST)), saved).is_err());
        assert!(flushes.flush(Some(&of(FIRST)), saved).is_ok());
    }

    #[test]
    fn a_host_that_was_cut_off_is_told_once_it_is_back() {
        let flushes = Flushes::default();
        let alive = AtomicBool::new(true);
        let cut_off = Errand {
            alive: &alive,
            ..of(FIRST)
        };
        let lost_meanwhile = || {
            alive.store(false, Ordering::Release);
            lost()
        };
        assert!(flushes.flush(Some(&cut_off), lost_meanwhile).is_err());
        // Nobody heard that; nor what the next one of the old connection is told.
        assert!(flushes.flush(Some(&cut_off), saved).is_err());
        assert!(flushes.flush(Some(&of(FIRST)), saved).is_err());
        assert!(flushes.flush(Some(&of(FIRST)), saved).is_ok());
        assert!(flushes.flush(Some(&cut_off), saved).is_ok());
    }

    #[test]
    fn what_the_daemon_finds_itself_is_told_to_hosts() {
        let flushes = Flushes::default();
        assert!(flushes.flush(None, lost).is_err());
        assert!(flushes.flush(None, saved).is_ok());
        assert!(flushes.flush(Some(&of(FIRST)), saved).is_err());
        assert!(flushes.flush(Some(&of(FIRST)), saved).is_ok());
    }

    #[test]
    fn hosts_that_invent_identifiers_are_not_remembered_without_bound() {
        let flushes = Flushes::default();
        assert!(flushes.flush(None, lost).is_err());
        assert!(flushes.flush(Some(&of([0xff; 16])), saved).is_err());
        for id in 0..HOSTS_MAX as u128 + 1000 {
            assert!(flushes.flush(Some(&of(id.to_le_bytes())), saved).is_err());
            // One that is what it says, and flushes now and then, is not told again.
            if id % 1000 == 0 {
                assert!(flushes.flush(Some(&of([0xff; 16])), saved).is_ok());
            }
        }
        assert!(flushes.lock().told.len() <= HOSTS_MAX);
    }

    #[test]
    fn who_comes_while_one_runs_shares_the_next_one() {
        let flushes = Arc::new(Flushes::default());
        let synced = Arc::new(AtomicU64::new(0));
        let (started, has_started) = mpsc::channel();
        let go_on = Arc::new(Barrier::new(2));
        let first = {
            let (flushes, synced, go_on) = (flushes.clone(), synced.clone(), go_on.clone());
            thread::spawn(move || {
                flushes.flush(Some(&of(FIRST)), || {
                    started.send(()).unwrap();
                    go_on.wait();
                    synced.fetch_add(1, Ordering::SeqCst);
                    saved()
                })
            })
        };
        has_started.recv().unwrap();
        let others: Vec<_> = (0..8)
            .map(|_| {
                let (flushes, synced) = (flushes.clone(), synced.clone());
                thread::spawn(move || {
                    flushes.flush(Some(&of(SECOND)), || {
                        synced.fetch_add(1, Ordering::SeqCst);
                        lost()
                    })
                })
            })
            .collect();
        // They cannot have ended: the first is under way, and does not cover them.
        assert!(others.iter().all(|it| !it.is_finished()));
        go_on.wait();
        // It may be told of what was lost before it could look.
        let _ = first.join().unwrap();
        // However many they shared, and although they are one host's: none of them is good.
        assert!(others.into_iter().all(|it| it.join().unwrap().is_err()));
        assert!((2..=9).contains(&synced.load(Ordering::SeqCst)));
    }

    #[test]
    fn a_flush_that_panics_keeps_nobody_waiting() {
        let flushes = Arc::new(Flushes::default());
        let panics = flushes.clone();
        let panicked = thread::spawn(move || panics.flush(None, || panic!("on purpose")));
        assert!(panicked.join().is_err());
        assert!(flushes.flush(Some(&of(FIRST)), saved).is_ok());
    }
}
