//! What a lost connection leaves, and what is seen of writes that are under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use nvmfd::config::model::Access;
use nvmfd::engine::backend::ram::{Ram, RamSize};
use nvmfd::engine::backend::{self, Backend, DeviceSpec};
use nvmfd::engine::fault::Operation::Write;
use nvmfd_tests::peer::{Host, HostOptions};

use crate::injected::{Event, Injected, SIZE};
use crate::scene::{PIECE, Result, Scene, namespace, submit_write};

/// Writes that hang, so that no thread is left.
const ALL_THREADS: usize = 16;

fn writes(disk: &Injected) -> Vec<u64> {
    let begun = disk.events().into_iter().filter_map(|event| match event {
        Event::Began(Write, offset) => Some(offset),
        Event::Began(..) | Event::Ended(..) => None,
    });
    begun.collect()
}

#[test]
fn what_waits_behind_a_disk_that_hangs_is_never_applied_once_its_connection_is_lost() -> Result {
    let (scene, disk) = Scene::injected();
    let mut host = scene.connect(&HostOptions::default())?;
    disk.hang(Write, ALL_THREADS);
    for index in 0..ALL_THREADS as u64 {
        submit_write(&mut host.io[0], 8 * index, 1)?;
    }
    disk.await_begun(Write, ALL_THREADS);
    submit_write(&mut host.io[0], 1000, 2)?;
    scene.await_waiting(1);
    drop(host);
    scene.await_nobody();
    // It goes at once, with the memory that it holds, although no thread can look at it.
    scene.await_waiting(0);
    disk.release();
    let mut host = scene.connect(&HostOptions::default())?;
    assert!(host.io[0].write(1008, vec![3; PIECE])?.is_success());
    assert!(!writes(&disk).contains(&(1000 * 512)));
    assert_eq!(host.io[0].read(1000, PIECE)?, Ok(vec![0; PIECE]));
    Ok(())
}

#[test]
fn a_write_that_hangs_does_not_land_over_what_its_host_has_written_since() -> Result {
    let (scene, disk) = Scene::injected();
    let mut host = scene.connect(&HostOptions::default())?;
    disk.hang(Write, 1);
    submit_write(&mut host.io[0], 0, 1)?;
    disk.await_begun(Write, 1);
    // These wait for it: the same blocks, and some of them.
    submit_write(&mut host.io[0], 0, 2)?;
    submit_write(&mut host.io[0], 4, 2)?;
    scene.await_waiting(2);
    drop(host);
    scene.await_nobody();

    let mut host = scene.connect(&HostOptions::default())?;
    let newer = submit_write(&mut host.io[0], 0, 3)?;
    // Others go on meanwhile; the newer one waits.
    let [other] = [HostOptions::named(2)].map(|it| scene.connect(&it));
    assert!(other?.io[0].read(1000, PIECE)?.is_ok());
    assert!(host.io[0].read(1000, PIECE)?.is_ok());
    assert!(host.io[0].ready_answer()?.is_none());
    assert_eq!(writes(&disk), [0]);
    disk.release();
    assert!(
        host.io[0]
            .await_answer(newer)?
            .completion
            .status
            .is_success()
    );
    assert_eq!(writes(&disk), [0]);
    assert_eq!(disk.holds(0, 2 * PIECE), [[3; PIECE], [0; PIECE]].concat());
    assert_eq!(host.io[0].read(0, PIECE)?, Ok(vec![3; PIECE]));
    Ok(())
}

#[test]
fn not_even_over_a_connection_that_was_there_all_the_time() -> Result {
    let (scene, disk) = Scene::injected();
    // Two paths of one host.
    let mut lost = scene.connect(&HostOptions::default())?;
    let mut stays = scene.connect(&HostOptions::default())?;
    disk.hang(Write, 1);
    submit_write(&mut lost.io[0], 0, 1)?;
    disk.await_begun(Write, 1);
    // It gives the first one up, of which we have not heard yet.
    let newer = submit_write(&mut stays.io[0], 0, 2)?;
    assert!(stays.io[0].read(1000, PIECE)?.is_ok());
    assert!(stays.io[0].ready_answer()?.is_none());
    disk.release();
    assert!(
        stays.io[0]
            .await_answer(newer)?
            .completion
            .status
            .is_success()
    );
    assert_eq!(disk.holds(0, PIECE), [2; PIECE]);
    drop(lost);
    Ok(())
}

/// One writer, and readers who look at what they read: each unit of it is of one write.
fn none_is_torn(backend: Arc<dyn Backend>, unit: usize) -> Result {
    const BYTES: usize = 128 << 10;
    const TURNS: u8 = 200;
    let scene = Scene::with(vec![namespace(1, backend)]);
    let options = HostOptions {
        io_queues: 3,
        ..HostOptions::default()
    };
    let mut host = scene.connect(&options)?;
    assert_eq!(atomic_units(&mut host)?, [0; 4]);
    let mut queues = std::mem::take(&mut host.io).into_iter();
    let mut writer = queues.next().expect("three queues");
    assert!(writer.write(0, vec![0; BYTES])?.is_success());
    let goes_on = AtomicBool::new(true);
    thread::scope(|scope| {
        let goes_on = &goes_on;
        let readers: Vec<_> = queues
            .map(|mut queue| {
                scope.spawn(move || -> Result {
                    while goes_on.load(Ordering::Relaxed) {
                        let found = queue.read(0, BYTES)?.expect("it can be read");
                        for unit in found.chunks(unit) {
                            let whole = unit.iter().all(|byte| *byte == unit[0]);
                            assert!(whole, "half a write was seen");
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        for turn in 0..TURNS {
            assert!(writer.write(0, vec![turn; BYTES])?.is_success());
        }
        goes_on.store(false, Ordering::Relaxed);
        readers
            .into_iter()
            .try_for_each(|it| it.join().expect("none is torn"))
    })
}

/// AWUN and AWUPF of the controller; NAWUN and NAWUPF of the namespace, which are valid with bit 1 of
/// NSFEAT. 0's based: one block.
fn atomic_units(host: &mut Host) -> Result<[u16; 4]> {
    let controller = host.identify(0x01, 0)?;
    let namespace = host.identify(0x00, 1)?;
    assert_eq!(namespace[24] & 0b10, 0);
    let number = |page: &[u8], at: usize| u16::from_le_bytes([page[at], page[at + 1]]);
    Ok([
        number(&controller, 526),
        number(&controller, 528),
        number(&namespace, 34),
        number(&namespace, 36),
    ])
}

#[test]
fn no_reader_sees_half_a_block_of_memory() -> Result {
    let size = RamSize::from_bytes(SIZE).expect("whole blocks");
    none_is_torn(Arc::new(Ram::new(size)), 64 << 10)
}

// Half a block is so rare that no test would see it. It is kept away by keeping half a write away.
#[test]
fn no_reader_sees_half_a_block_of_a_file() -> Result {
    let file = tempfile::NamedTempFile::new().expect("a file");
    file.as_file().set_len(SIZE).expect("space");
    let device = DeviceSpec::Path(file.path().into());
    let opened = backend::open(&device, Access::ReadWrite).expect("a file");
    none_is_torn(opened.backend(), 128 << 10)
}
