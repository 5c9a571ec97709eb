//! A plane that keeps controllers and queues in its books by nvmft's rules, and serves no I/O.
//!
//! It answers every Connect, then holds the connections. A thread for each admin queue waits for its
//! end, and throws away what its host sends. The end of the admin queue is the end of its controller; a
//! lost I/O queue is not noticed, as by nvmft.

#![forbid(unsafe_code)]

mod books;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use books::{Books, Controller, PortBook, State, send, wait_for_end};

use super::plane::{LunView, Plane, PortView, Session, Traffic};
use super::queue::{Owner, Refusal, TakenQueue};
use crate::error::Errno;

/// Controllers that a port can have (`CTL_MAX_INIT_PER_PORT`): CNTLIDs 0 to 2047.
const CONTROLLERS: u16 = 2048;

/// How long a host may take to read the answer to its Connect.
const PATIENCE: Duration = Duration::from_secs(10);

/// The books. Clones are the same.
#[derive(Clone, Debug)]
pub struct Bookkeeper(Arc<Books>);

impl Default for Bookkeeper {
    fn default() -> Self {
        Self::new()
    }
}

impl Bookkeeper {
    /// Empty books.
    pub fn new() -> Self {
        Self::with_controllers(CONTROLLERS)
    }

    /// Empty books with fewer CNTLIDs for each port than nvmft has.
    pub fn with_controllers(at_most: u16) -> Self {
        Self(Arc::new(Books {
            controllers_at_most: at_most,
            state: Mutex::default(),
            changed: Condvar::new(),
        }))
    }

    /// The host has asked for `queues` I/O queues (Set Features 07h). Whether there is such a controller.
    pub fn set_queues(&self, port: u32, cntlid: u16, queues: u16) -> bool {
        self.change(port, cntlid, |it| it.queues = Some(queues))
    }

    /// The host shuts its controller down or resets it: I/O queues are gone, the association stays.
    /// Whether there is such a controller.
    pub fn shut_down(&self, port: u32, cntlid: u16) -> bool {
        self.change(port, cntlid, |it| {
            it.shutting_down = true;
            it.drop_queues();
        })
    }

    /// The host enables its controller again. Whether there is such a controller.
    pub fn enable(&self, port: u32, cntlid: u16) -> bool {
        self.change(port, cntlid, |it| {
            it.shutting_down = false;
            it.queues = None;
        })
    }

    /// Hosts of this port have read and written so much more.
    pub fn count(&self, port: u32, more: Traffic) {
        *self.0.lock().traffic.entry(port).or_default() += more;
    }

    /// Until it is released, controllers that end stay in the books, and who waits for them waits.
    pub fn hold_teardown(&self, hold: bool) {
        self.0.lock().teardown_held = hold;
        self.0.changed.notify_all();
    }

    /// The QIDs of a controller's I/O queues.
    pub fn queues(&self, port: u32, cntlid: u16) -> BTreeSet<u16> {
        let state = self.0.lock();
        let controller = state.find(port, cntlid);
        controller.map_or_else(BTreeSet::new, |it| it.io.keys().copied().collect())
    }

    /// A port as the kernel last showed it, if it is online.
    pub fn port(&self, id: u32) -> Option<PortView> {
        let state = self.0.lock();
        let book = state.ports.get(&id).filter(|book| book.online)?;
        Some(book.view.clone())
    }

    fn change(&self, port: u32, cntlid: u16, change: impl FnOnce(&mut Controller)) -> bool {
        let mut state = self.0.lock();
        match state.find_mut(port, cntlid) {
            Some(controller) => {
                change(controller);
                true
            }
            None => false,
        }
    }

    fn refuse(queue: &mut TakenQueue, refusal: Refusal) -> Errno {
        if let Some(pdu) = queue.refusal(refusal) {
            // A host that is gone needs no answer.
            let _ = send(&mut queue.socket, &pdu);
        }
        refusal.errno()
    }

    fn admit_admin(&self, port: u32, mut queue: TakenQueue) -> Result<(), Errno> {
        let mut state = self.0.lock();
        let cntlid = match state.admission(port, self.0.controllers_at_most) {
            Ok(cntlid) => cntlid,
            Err(refusal) => {
                drop(state);
                return Err(Self::refuse(&mut queue, refusal));
            }
        };
        let pdu = queue.acceptance(cntlid);
        let Ok(reader) = queue.socket.try_clone() else {
            return Err(Errno::ENXIO);
        };
        state.instances += 1;
        let instance = state.instances;
        let mut controller = Controller {
            port,
            cntlid,
            instance,
            hostid: queue.hostid(),
            hostnqn_field: queue.hostnqn_field(),
            hostnqn: queue.hostnqn(),
            admin: queue.socket,
            queues: None,
            io: BTreeMap::new(),
            shutting_down: false,
        };
        // A host that does not read it is seen by the thread.
        let _ = send(&mut controller.admin, &pdu);
        state.controllers.push(controller);
        drop(state);
        let books = Arc::clone(&self.0);
        thread::spawn(move || {
            wait_for_end(reader);
            books.tear_down(instance);
        });
        Ok(())
    }

    fn admit_io(&self, port: u32, mut queue: TakenQueue) -> Result<(), Errno> {
        let mut state = self.0.lock();
        let (cntlid, qid) = (queue.cntlid(), queue.qid());
        let controller = state.find_mut(port, cntlid);
        let judged = queue.judge(controller.as_deref().map(|it| Owner {
            hostid: it.hostid,
            hostnqn: &it.hostnqn_field,
            shutting_down: it.shutting_down,
            queues: it.queues,
            taken: it.io.contains_key(&qid),
        }));
        match (judged, controller) {
            (Ok(()), Some(controller)) => {
                let pdu = queue.acceptance(cntlid);
                let _ = send(&mut queue.socket, &pdu);
                controller.io.insert(qid, queue.socket);
                Ok(())
            }
            (judged, _) => {
                drop(state);
                let refusal = judged.err().unwrap_or(Refusal::Cntlid);
                Err(Self::refuse(&mut queue, refusal))
            }
        }
    }
}

impl Plane for Bookkeeper {
    fn online(&self, port: PortView) {
        let book = PortBook {
            online: true,
            view: port,
        };
        self.0.lock().ports.insert(book.view.id, book);
    }

    fn offline(&self, port: u32) {
        let mut state = self.0.lock();
        if let Some(book) = state.ports.get_mut(&port) {
            book.online = false;
        }
        for controller in state.controllers.iter_mut().filter(|it| it.port == port) {
            controller.end();
        }
        let is_busy = |state: &mut State| state.controllers.iter().any(|it| it.port == port);
        let _gone = self
            .0
            .changed
            .wait_while(state, is_busy)
            .unwrap_or_else(PoisonError::into_inner);
    }

    fn mapped(&self, port: u32, nsid: u32, lun: Option<LunView>) {
        let mut state = self.0.lock();
        if let Some(book) = state.ports.get_mut(&port) {
            match lun {
                Some(lun) => book.view.namespaces.insert(nsid, lun),
                None => book.view.namespaces.remove(&nsid),
            };
        }
    }

    fn hand_off(&self, port: u32, queue: TakenQueue) -> Result<(), Errno> {
        // The daemon's sockets may be in non-blocking mode; of one that is gone nothing matters.
        let _ = queue.socket.set_nonblocking(false);
        let _ = queue.socket.set_write_timeout(Some(PATIENCE));
        let _ = queue.socket.set_read_timeout(None);
        if queue.qid() == 0 {
            self.admit_admin(port, queue)
        } else {
            self.admit_io(port, queue)
        }
    }

    fn sessions(&self) -> Vec<Session> {
        let state = self.0.lock();
        let mut sessions: Vec<Session> =
            state.controllers.iter().map(Controller::session).collect();
        sessions.sort_by_key(|it| it.port);
        sessions
    }

    fn terminate(&self, port: u32, cntlid: u16) {
        self.change(port, cntlid, Controller::end);
    }

    fn traffic(&self, port: u32) -> Traffic {
        let state = self.0.lock();
        state.traffic.get(&port).copied().unwrap_or_default()
    }

    /// `queues PORT CNTLID N`, `shut-down PORT CNTLID`, `enable PORT CNTLID`, `hold`, `release`, `show`.
    fn control(&self, words: &str) -> Result<String, String> {
        let bad = || format!("the bookkeeper does not understand {words:?}");
        let number = |text: &str| text.parse::<u32>().map_err(|_| bad());
        let cntlid = |text: &str| text.parse::<u16>().map_err(|_| bad());
        let there = match *words.split_whitespace().collect::<Vec<_>>() {
            ["queues", port, id, n] => self.set_queues(number(port)?, cntlid(id)?, cntlid(n)?),
            ["shut-down", port, id] => self.shut_down(number(port)?, cntlid(id)?),
            ["enable", port, id] => self.enable(number(port)?, cntlid(id)?),
            ["hold"] => {
                self.hold_teardown(true);
                true
            }
            ["release"] => {
                self.hold_teardown(false);
                true
            }
            ["show"] => return Ok(self.show()),
            _ => return Err(bad()),
        };
        if there {
            Ok(String::new())
        } else {
            Err("there is no such controller".into())
        }
    }
}

impl Bookkeeper {
    /// What is in the books, a line for each namespace of a port online and each controller.
    fn show(&self) -> String {
        let state = self.0.lock();
        let mut out = String::new();
        for (port, book) in state.ports.iter().filter(|(_, book)| book.online) {
            for (nsid, lun) in &book.view.namespaces {
                // Writing to a String does not fail.
                let _ = writeln!(out, "port {port} namespace {nsid} lun {}", lun.id);
            }
        }
        for it in &state.controllers {
            let qids: Vec<&u16> = it.io.keys().collect();
            let (port, cntlid, hostnqn) = (it.port, it.cntlid, &it.hostnqn);
            let _ = writeln!(
                out,
                "port {port} controller {cntlid} host {hostnqn} queues {qids:?}"
            );
        }
        out
    }
}
