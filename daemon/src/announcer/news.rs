//! What the monitor is told of how announcing fares.

#![forbid(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::debug;

use crate::ipc::announcement::short;
use crate::ipc::{Channel, FromAnnouncer};

/// Tells the monitor, until it is hushed: then it is of nobody's interest any more.
#[derive(Debug)]
pub struct News {
    channel: Channel,
    hushed: AtomicBool,
}

impl News {
    /// Tells whoever has the other end of `channel`.
    ///
    /// # Errors
    /// The system's, when it has no descriptors left.
    pub fn over(channel: &Channel) -> io::Result<Self> {
        Ok(Self {
            channel: channel.try_clone()?,
            hushed: AtomicBool::new(false),
        })
    }

    /// Nothing is told from now on.
    pub fn hush(&self) {
        self.hushed.store(true, Ordering::Release);
    }

    /// How many services are announced, and what went wrong last.
    pub fn mdns(&self, announced: usize, error: Option<String>) {
        self.tell(&FromAnnouncer::Mdns {
            announced: u32::try_from(announced).unwrap_or(u32::MAX),
            error: error.map(short),
        });
    }

    /// How many entries a CDC has of us, if we are registered, and what went wrong last.
    pub fn cdc(&self, address: SocketAddr, entries: Option<usize>, error: Option<String>) {
        self.tell(&FromAnnouncer::Cdc {
            address,
            entries: entries.map(|it| u32::try_from(it).unwrap_or(u32::MAX)),
            error: error.map(short),
        });
    }

    fn tell(&self, message: &FromAnnouncer) {
        if self.hushed.load(Ordering::Acquire) {
            return;
        }
        if let Err(error) = self.channel.send(message, None) {
            // Its end is noticed where it is listened to.
            debug!(%error, "the monitor is not told");
        }
    }
}
