//! Metrics over HTTP, in the OpenMetrics text format, for Prometheus and whatever reads the same.
//!
//! One thread serves them, apart from those that serve hosts: a scrape costs hosts nothing but the
//! locks that the worker's figures take for a moment. Clients are as little trusted as hosts
//! are, and bounded in number, bytes and time (`server`).

#![forbid(unsafe_code)]

mod client;
pub mod exposition;
mod request;
mod server;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use crossbeam_channel::Sender;
use exposition::Exposition;
use mio::{Poll, Waker};
use server::{Order, Server, WAKER};

use crate::worker::Shared;

/// The thread that serves metrics.
#[derive(Debug)]
pub struct Metrics {
    orders: Sender<Order>,
    waker: Arc<Waker>,
    thread: JoinHandle<()>,
}

impl Metrics {
    /// Serves the worker's metrics on these listeners, each with the address that it is called by.
    ///
    /// # Errors
    /// The system's, when it has no descriptors or threads left; nothing is started then.
    pub fn start(
        listeners: Vec<(SocketAddr, Option<TcpListener>)>,
        shared: Arc<Shared>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let (orders, given) = crossbeam_channel::unbounded();
        let mut server = Server::new(poll, given, Exposition::new(shared));
        server.listen(listeners)?;
        let thread = std::thread::Builder::new()
            .name("metrics".into())
            .spawn(move || server.run())?;
        Ok(Self {
            orders,
            waker,
            thread,
        })
    }

    /// Serves on these listeners from now on, and on no others; those that are named by their address
    /// alone it has already. Answers that are under way are finished.
    ///
    /// # Errors
    /// The system's, when it has no descriptors left; the listeners are as before then.
    pub fn apply(&self, listeners: Vec<(SocketAddr, Option<TcpListener>)>) -> io::Result<()> {
        let (done, result) = crossbeam_channel::bounded(1);
        self.order(Order::Listen(listeners, done));
        // A thread that panicked has said so itself.
        result.recv().unwrap_or(Ok(()))
    }

    /// Closes the listeners and all connections.
    pub fn stop(self) {
        self.order(Order::Stop);
        // A thread that panicked has said so itself.
        let _ = self.thread.join();
    }

    fn order(&self, order: Order) {
        // Fails only when the thread is gone.
        let _ = self.orders.send(order);
        let _ = self.waker.wake();
    }
}
