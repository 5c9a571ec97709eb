//! What a thread is to do next: only the last order counts, and no wait outlasts it.

#![forbid(unsafe_code)]

use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::announcement::Announcement;
use crate::host::stop::Stop;

/// An order.
#[derive(Debug, Clone)]
pub enum Order {
    /// Register this, and nothing else.
    Register(Arc<Announcement>),
    /// Take everything back, and end.
    Leave,
}

/// A place for one order.
#[derive(Debug)]
pub struct Orders(Mutex<Desk>);

#[derive(Debug)]
struct Desk {
    order: Option<Order>,
    /// Rings when an order comes.
    bell: Stop,
}

impl Orders {
    /// Gives an order, in place of one that was not taken.
    pub fn give(&self, order: Order) {
        let mut desk = self.desk();
        desk.order = Some(order);
        desk.bell.express();
    }

    /// Takes the order, if there is one.
    pub fn take(&self) -> Option<Order> {
        let mut desk = self.desk();
        let order = desk.order.take();
        if order.is_some() {
            desk.bell = bell();
        }
        order
    }

    /// Whether the order is to leave. It is not taken.
    pub fn is_to_leave(&self) -> bool {
        matches!(self.desk().order, Some(Order::Leave))
    }

    /// What is wished when an order comes, or is there.
    pub fn bell(&self) -> Stop {
        self.desk().bell.clone()
    }

    /// Takes the order that comes within this time, if one does.
    pub fn wait(&self, time: Duration) -> Option<Order> {
        let bell = self.bell();
        let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
        match bell.descriptor() {
            // Interrupted, it waits a little less, which harms nobody.
            Some(bell) => drop(poll(
                &mut [PollFd::new(bell.as_fd(), PollFlags::POLLIN)],
                timeout,
            )),
            None => std::thread::sleep(time),
        }
        self.take()
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Orders {
    fn default() -> Self {
        Self(Mutex::new(Desk {
            order: None,
            bell: bell(),
        }))
    }
}

/// A new bell. Where no descriptor is left for one, orders are found when a wait is over.
fn bell() -> Stop {
    Stop::by_hand().unwrap_or_else(|_| Stop::never())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_order_counts_and_ends_a_wait() {
        let orders = Orders::default();
        assert!(orders.wait(Duration::ZERO).is_none());
        orders.give(Order::Leave);
        assert!(orders.bell().is_wished() && orders.is_to_leave());
        assert!(matches!(orders.wait(Duration::MAX), Some(Order::Leave)));
        assert!(!orders.bell().is_wished());
        assert!(orders.take().is_none());
        std::thread::scope(|scope| {
            scope.spawn(|| orders.give(Order::Leave));
            assert!(matches!(orders.wait(Duration::MAX), Some(Order::Leave)));
        });
    }
}
