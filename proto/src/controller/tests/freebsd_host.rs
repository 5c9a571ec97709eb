//! FreeBSD's host reads a discovery log (`nvmf_host_fetch_discovery_log_page` of libnvmf): 1,024
//! bytes, then exactly what NUMREC promises in one command, then the 1,024 bytes again, and all of
//! that until the generation stays. Over real queues, in whatever pieces the network makes.

use super::*;
use crate::controller::discovery::tests::entry;
use crate::host::{Answer, Payload, Step as HostStep};
use crate::pair::{Cut, OFFER, Pair, wishes};
use crate::queue::{Queue, Step};

/// Why it gives up.
#[derive(Debug, PartialEq, Eq)]
enum GivesUp {
    /// EINVAL: RECFMT is not 0.
    Format,
    /// EFBIG: NUMREC is above 1024.
    TooMany,
    /// EIO: any status but success and Discover Restart.
    Failed(Status),
}

/// What it has read.
#[derive(Debug, PartialEq, Eq)]
struct Fetched {
    generation: u64,
    entries: Vec<Vec<u8>>,
    /// How often it had to begin.
    attempts: usize,
}

struct Story {
    pair: Pair,
    bench: Bench,
}

impl Story {
    /// It connects without KATO.
    fn new(entries: u16, cut: Cut) -> Self {
        let mut wishes = wishes();
        wishes.connect.kato = Duration::ZERO;
        let mut bench = Bench::with_kato(Kind::Discovery, Duration::ZERO);
        bench.discovery = log(entries);
        Self {
            pair: Pair::connect(wishes, OFFER, cut, 7),
            bench,
        }
    }

    /// Its way to read. `meanwhile` happens behind each header that it has read first.
    fn fetch(&mut self, mut meanwhile: impl FnMut(&mut DiscoveryLog)) -> Result<Fetched, GivesUp> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let header = self.read(0, 1024).map_err(GivesUp::Failed)?;
            let [genctr, numrec] = [&header[..8], &header[8..16]]
                .map(|field| u64::from_le_bytes(field.try_into().unwrap()));
            if header[16..18] != [0, 0] {
                return Err(GivesUp::Format);
            }
            if numrec > 1024 {
                return Err(GivesUp::TooMany);
            }
            let mut entries = Vec::new();
            if numrec != 0 {
                meanwhile(&mut self.bench.discovery);
                let payload = match self.read(1024, numrec * 1024) {
                    Err(status) if status.sc() == 0x90 => continue,
                    read => read.map_err(GivesUp::Failed)?,
                };
                let again = self.read(0, 1024).map_err(GivesUp::Failed)?;
                if again[..8] != header[..8] {
                    continue;
                }
                entries = payload.chunks(1024).map(<[u8]>::to_vec).collect();
            }
            return Ok(Fetched {
                generation: genctr,
                entries,
                attempts,
            });
        }
    }

    /// Its Get Log Page: no namespace, no RAE.
    fn read(&mut self, offset: u64, length: u64) -> Result<Vec<u8>, Status> {
        let mut sqe = log_sqe(0x70, offset, length, false);
        sqe.nsid = 0.into();
        let length = u32::try_from(length).unwrap();
        let into = Vec::new();
        let payload = Payload::ToHost { length, into };
        self.pair.host.submit(sqe, payload).unwrap();
        let Answer {
            completion, data, ..
        } = self.answer();
        if completion.status.is_success() {
            assert_eq!(data.len(), length as usize);
            Ok(data)
        } else {
            Err(completion.status)
        }
    }

    fn answer(&mut self) -> Answer {
        loop {
            let (pair, bench) = (&mut self.pair, &mut self.bench);
            pair.carry_up(|_| {}, |queue, step| serve(bench, queue, step));
            let mut answer = None;
            pair.carry_down(
                |_| {},
                |step| match step {
                    HostStep::Completed(it) => answer = Some(it),
                    HostStep::Terminated { fes, fei } => panic!("{fes} {fei}"),
                },
            );
            if let Some(answer) = answer {
                return answer;
            }
        }
    }
}

fn serve(bench: &mut Bench, queue: &mut Queue, step: Step) {
    match step {
        Step::Capsule(tag) => match bench.controller.parse(queue.sqe(tag).unwrap()) {
            Ok(command) => queue.accept(tag, command.data()),
            Err(status) => queue.refuse(tag, status.into()),
        },
        Step::Ready(tag) => match bench.run(&queue.sqe(tag).unwrap().clone()) {
            Outcome::Data(data) => queue.complete_read(tag, data),
            Outcome::Done(completion) => queue.complete(tag, completion),
            other @ (Outcome::Held | Outcome::Abort { .. }) => panic!("{other:?}"),
        },
        other @ (Step::Failed { .. } | Step::Terminated { .. }) => panic!("{other:?}"),
    }
}

/// The entries of `log` as they must arrive.
fn expected(log: &DiscoveryLog) -> Vec<Vec<u8>> {
    let length = u32::try_from(log.entries.len() * 1024).unwrap();
    let format = crate::controller::discovery::EntryFormat::Basic;
    let bytes = log.read(format, 1024, length).unwrap();
    bytes.chunks(1024).map(<[u8]>::to_vec).collect()
}

#[test]
fn freebsd_reads_the_header_and_then_exactly_the_rest() {
    for cut in [Cut::Whole, Cut::Bytes, Cut::Random, Cut::Wanted] {
        for entries in [0, 1, 3, 70] {
            let mut story = Story::new(entries, cut);
            let fetched = Fetched {
                generation: 7,
                entries: expected(&log(entries)),
                attempts: 1,
            };
            assert_eq!(story.fetch(|_| {}), Ok(fetched), "{cut:?} {entries}");
        }
    }
}

#[test]
fn freebsd_reads_1024_entries_in_one_command_and_no_more() {
    let mut story = Story::new(1024, Cut::Random);
    let fetched = story.fetch(|_| {}).unwrap();
    assert_eq!(fetched.entries, expected(&log(1024)));
    let mut story = Story::new(1025, Cut::Random);
    assert_eq!(story.fetch(|_| {}), Err(GivesUp::TooMany));
}

#[test]
fn freebsd_begins_again_when_the_log_changes_under_it() {
    // Entries vanish, all of them even, or come, or are others: never a status that it takes for
    // the end, never anything half old and half new.
    for becomes in [0, 1, 2, 3, 4, 40] {
        let mut story = Story::new(3, Cut::Random);
        let mut first = true;
        let fetched = story.fetch(|log| {
            if std::mem::take(&mut first) {
                log.generation += 1;
                log.entries = (1..=becomes).map(|id| entry(id + 100)).collect();
            }
        });
        let fetched = fetched.unwrap();
        assert_eq!((fetched.attempts, fetched.generation), (2, 8));
        assert_eq!(fetched.entries, expected(&story.bench.discovery));
    }
}

#[test]
fn freebsd_is_not_disturbed_by_labels_and_scopes() {
    let mut story = Story::new(3, Cut::Random);
    for entry in &mut story.bench.discovery.entries {
        entry.label = Some("rack 7".into());
    }
    story.bench.discovery.scope.all = true;
    let fetched = story.fetch(|_| {}).unwrap();
    assert_eq!(fetched.entries, expected(&log(3)));
}
