//! What a subsystem's hosts have done in all, those that are gone included.
//!
//! Queues count in their controller's [`Record`] and know nothing of this. Whoever asks adds the
//! records up; one that nobody counts in any more is closed into the past then, under the same lock,
//! so that no total ever goes back and nothing is counted twice.

#![forbid(unsafe_code)]

use std::ops::AddAssign;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::record::Record;

/// The records of a subsystem's controllers.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Accounts>);

#[derive(Debug, Default)]
struct Accounts {
    /// Of records that are closed.
    past: Totals,
    open: Vec<Arc<Record>>,
    /// Records that were open when it was last looked which are.
    last: usize,
}

/// What was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Read commands, Compare among them.
    pub reads: u64,
    /// Write commands.
    pub writes: u64,
    /// All other commands of I/O queues: Flush, Write Zeroes, Copy and the like.
    pub others: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Commands that failed, of admin queues too.
    pub errors: u64,
    /// Those of them for which the medium is to blame.
    pub media_errors: u64,
}

impl Ledger {
    /// A record for a new controller.
    pub fn open(&self) -> Arc<Record> {
        let record = Arc::<Record>::default();
        let mut accounts = self.lock();
        // Nobody may ever ask for totals, and controllers come and go all the same.
        if accounts.open.len() >= 2 * accounts.last + SLACK {
            accounts.close();
        }
        accounts.open.push(Arc::clone(&record));
        record
    }

    /// Everything so far.
    pub fn totals(&self) -> Totals {
        let mut accounts = self.lock();
        accounts.close();
        let mut totals = accounts.past;
        for record in &accounts.open {
            totals += record.totals();
        }
        totals
    }

    fn lock(&self) -> MutexGuard<'_, Accounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Accounts {
    /// Closes the records that nobody else has.
    fn close(&mut self) {
        let past = &mut self.past;
        self.open.retain_mut(|record| match Arc::get_mut(record) {
            Some(record) => {
                *past += record.totals();
                false
            }
            None => true,
        });
        self.last = self.open.len();
    }
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.reads += other.reads;
        self.writes += other.writes;
        self.others += other.others;
        self.bytes_read += other.bytes_read;
        self.bytes_written += other.bytes_written;
        self.errors += other.errors;
        self.media_errors += other.media_errors;
    }
}

/// Records that may be left over before it is looked which are open.
const SLACK: usize = 64;

#[cfg(test)]
mod tests {
    use nvmf_proto::nvm::{Command, Extent, Geometry};

    use super::*;

    const GEOMETRY: Geometry = Geometry {
        blocks: 1024,
        block_size: 512,
    };

    fn read(record: &Record, blocks: u64) {
        let extent = Extent { lba: 0, blocks };
        record.count(&Command::Read { extent }, &GEOMETRY);
    }

    #[test]
    fn what_a_controller_did_stays_when_it_is_gone() {
        let ledger = Ledger::default();
        let (first, second) = (ledger.open(), ledger.open());
        read(&first, 8);
        read(&second, 2);
        second.count(&Command::Flush, &GEOMETRY);
        second.count_media_error();
        let before = ledger.totals();
        let told = Totals {
            reads: 2,
            others: 1,
            bytes_read: 5120,
            media_errors: 1,
            ..Totals::default()
        };
        assert_eq!(before, told);
        // One of its queues is left, which still counts.
        let queue = Arc::clone(&first);
        drop((first, second));
        assert_eq!(ledger.totals(), before);
        read(&queue, 1);
        drop(queue);
        for _ in 0..2 {
            let after = ledger.totals();
            assert_eq!((after.reads, after.bytes_read), (3, 5632));
        }
    }

    #[test]
    fn records_of_controllers_that_are_gone_do_not_pile_up_when_nobody_asks() {
        let ledger = Ledger::default();
        let kept = [(); 10].map(|()| ledger.open());
        for _ in 0..10_000 {
            read(&ledger.open(), 1);
        }
        assert!(ledger.lock().open.len() <= 2 * (kept.len() + SLACK));
        assert_eq!(ledger.totals().reads, 10_000);
        assert_eq!(ledger.lock().open.len(), kept.len());
    }
}
