//! The books: controllers of ports, their queues, and how they end.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::fake::plane::{PortView, Session, Traffic};
use crate::fake::queue::Refusal;

/// All of it, shared by the threads of admin queues.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) controllers_at_most: u16,
    pub(super) state: Mutex<State>,
    /// A controller is gone, or may go.
    pub(super) changed: Condvar,
}

/// What changes.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) ports: BTreeMap<u32, PortBook>,
    pub(super) controllers: Vec<Controller>,
    pub(super) instances: u64,
    /// By port.
    pub(super) traffic: BTreeMap<u32, Traffic>,
    /// While set, controllers that ended stay in the books.
    pub(super) teardown_held: bool,
}

/// A port that was online at least once.
#[derive(Debug)]
pub(super) struct PortBook {
    pub(super) online: bool,
    pub(super) view: PortView,
}

/// A controller with its connections.
#[derive(Debug)]
pub(super) struct Controller {
    pub(super) port: u32,
    pub(super) cntlid: u16,
    /// Tells apart controllers that had the same CNTLID.
    pub(super) instance: u64,
    pub(super) hostid: [u8; 16],
    pub(super) hostnqn_field: [u8; 256],
    pub(super) hostnqn: String,
    pub(super) admin: TcpStream,
    pub(super) queues: Option<u16>,
    pub(super) io: BTreeMap<u16, TcpStream>,
    pub(super) shutting_down: bool,
}

impl Books {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Strikes a controller out whose admin queue has ended.
    pub(super) fn tear_down(&self, instance: u64) {
        let mut state = self.lock();
        for it in &mut state.controllers {
            if it.instance == instance {
                it.end();
            }
        }
        let mut state = self
            .changed
            .wait_while(state, |state| state.teardown_held)
            .unwrap_or_else(PoisonError::into_inner);
        state.controllers.retain(|it| it.instance != instance);
        self.changed.notify_all();
    }
}

impl State {
    pub(super) fn find(&self, port: u32, cntlid: u16) -> Option<&Controller> {
        let is_it = |it: &&Controller| it.port == port && it.cntlid == cntlid;
        self.controllers.iter().find(is_it)
    }

    pub(super) fn find_mut(&mut self, port: u32, cntlid: u16) -> Option<&mut Controller> {
        let is_it = |it: &&mut Controller| it.port == port && it.cntlid == cntlid;
        self.controllers.iter_mut().find(is_it)
    }

    /// The CNTLID of a new controller: the lowest that is free.
    pub(super) fn admission(&self, port: u32, at_most: u16) -> Result<u16, Refusal> {
        let cntlid = (0..at_most).find(|&cntlid| self.find(port, cntlid).is_none());
        let cntlid = cntlid.ok_or(Refusal::NoCntlid)?;
        if self.ports.get(&port).is_some_and(|book| book.online) {
            Ok(cntlid)
        } else {
            Err(Refusal::Offline)
        }
    }
}

impl Controller {
    pub(super) fn session(&self) -> Session {
        Session {
            port: self.port,
            cntlid: self.cntlid,
            hostnqn: self.hostnqn.clone(),
        }
    }

    pub(super) fn drop_queues(&mut self) {
        for queue in std::mem::take(&mut self.io).into_values() {
            // One that is closed already is as good.
            let _ = queue.shutdown(Shutdown::Both);
        }
    }

    /// Closes everything; the thread of the admin queue does the rest.
    pub(super) fn end(&mut self) {
        self.shutting_down = true;
        self.drop_queues();
        let _ = self.admin.shutdown(Shutdown::Both);
    }
}

/// Sends a PDU whole.
pub(super) fn send(socket: &mut TcpStream, pdu: &[u8]) -> io::Result<()> {
    socket.write_all(pdu)
}

/// Returns when the host, or [`Controller::end`], has closed the connection.
pub(super) fn wait_for_end(mut socket: TcpStream) {
    let mut rubbish = [0; 4096];
    while matches!(socket.read(&mut rubbish), Ok(read) if read > 0) {}
}
