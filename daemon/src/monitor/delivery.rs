//! What the announcer is told, by a thread of its own: one that does not listen keeps nobody waiting.

#![forbid(unsafe_code)]

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::ipc::{Channel, ToAnnouncer};

/// Delivers what is handed to it, in order.
#[derive(Debug)]
pub(super) struct Delivery {
    letters: Sender<Vec<ToAnnouncer>>,
    failed: Receiver<io::Error>,
}

impl Delivery {
    /// Over `channel`, which it shuts down when it fails: that shows where the channel is listened to.
    pub(super) fn over(channel: Channel) -> Self {
        let (letters, handed) = unbounded();
        let (fails, failed) = bounded(1);
        thread::spawn(move || {
            if let Err(error) = deliver(&channel, &handed) {
                // Nobody may care any more.
                let _ = fails.send(error);
                channel.shut_down();
            }
        });
        Self { letters, failed }
    }

    /// Has these messages delivered, one after the other.
    pub(super) fn hand(&self, letter: Vec<ToAnnouncer>) {
        // After a failure there is nobody to take it, and that shows elsewhere.
        let _ = self.letters.send(letter);
    }

    /// Why it failed, said once.
    pub(super) fn failure(&self) -> Option<io::Error> {
        self.failed.try_recv().ok()
    }
}

fn deliver(channel: &Channel, letters: &Receiver<Vec<ToAnnouncer>>) -> io::Result<()> {
    for letter in letters {
        let until = Instant::now() + DELIVERY_TIME;
        for message in letter {
            if Instant::now() >= until {
                return Err(io::ErrorKind::TimedOut.into());
            }
            channel.send(&message, None)?;
        }
    }
    Ok(())
}

/// What the announcer may take to listen to all of a letter.
const DELIVERY_TIME: Duration = Duration::from_secs(5);
