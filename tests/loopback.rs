//! Stories over loopback: our host half against the real program.

#![forbid(unsafe_code)]

use std::net::Ipv6Addr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nvmf_proto::host::Payload;
use nvmf_proto::opcode::{admin, nvm};
use nvmf_proto::sqe::{SglDescriptor, Sqe};
use nvmf_proto::status::Status;
use nvmfd_tests::peer::{BLOCK, Host, HostOptions, PeerError, Qpair, discover, nvm_sqe, property};
use nvmfd_tests::target::{NQN, Setup, Target};

type Result<T = ()> = std::result::Result<T, PeerError>;

/// Bytes of the RAM disk that targets serve.
const DISK: u64 = 64 << 20;

/// Bytes that say where and when they were written, so that no two pieces are alike.
fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

fn connect(target: &Target, options: &HostOptions) -> Host {
    Host::connect(target.io(), &target.nqn(), options).expect("the target serves a host")
}

fn ok(status: Status) {
    assert!(status.is_success(), "{status}");
}

fn read(queue: &mut Qpair, lba: u64, length: usize) -> Result<Vec<u8>> {
    Ok(queue.read(lba, length)?.expect("the target reads"))
}

#[test]
fn a_host_discovers_a_disk_connects_to_it_and_uses_every_command() -> Result {
    let target = Target::start();
    let found = discover(target.discovery(), &HostOptions::default())?;
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].subtype, found[1].subtype), (3, 2));
    assert_eq!((found[1].subnqn.as_str(), found[1].family), (NQN, 1));
    let address = format!("{}:{}", found[1].traddr, found[1].trsvcid);
    assert_eq!(address, target.io().to_string());

    let mut host = connect(&target, &HostOptions::default());
    let namespace = host.identify(0x00, 1)?;
    let blocks = u64::from_le_bytes(namespace[..8].try_into().expect("8 bytes"));
    assert_eq!(blocks * u64::from(BLOCK), DISK);

    let queue = &mut host.io[0];
    let data = pattern(1, 8192);
    ok(queue.write(100, data.clone())?);
    ok(queue.flush()?);
    assert_eq!(read(queue, 100, 8192)?, data);
    ok(queue.compare(100, data.clone())?);
    assert!(
        queue
            .compare(101, data.clone())?
            .is(Status::COMPARE_FAILURE)
    );
    ok(queue.verify(100, 8192)?);
    ok(queue.copy(&[(108, 8), (100, 8)], 1000)?);
    assert_eq!(
        read(queue, 1000, 8192)?,
        [&data[4096..], &data[..4096]].concat()
    );
    ok(queue.write_zeroes(102, 1024)?);
    assert_eq!(read(queue, 102, 1024)?, [0; 1024]);
    assert_eq!(read(queue, 100, 1024)?, data[..1024]);
    ok(queue.deallocate(&[(100, 2), (104, 12)])?);
    assert_eq!(read(queue, 100, 8192)?, [0; 8192]);
    Ok(())
}

#[test]
fn discovery_is_answered_where_io_is_and_says_the_same() -> Result {
    let target = Target::start();
    let there = discover(target.discovery(), &HostOptions::default())?;
    let here = discover(target.io(), &HostOptions::default())?;
    assert_eq!(here[1], there[1]);
    assert_eq!(here[0].trsvcid, target.io().port().to_string());
    Ok(())
}

#[test]
fn compare_and_write_writes_only_over_what_was_expected() -> Result {
    let target = Target::start();
    let mut host = connect(&target, &HostOptions::default());
    let queue = &mut host.io[0];
    let (old, new, other) = (pattern(1, 4096), pattern(2, 4096), pattern(3, 4096));
    ok(queue.write(8, old.clone())?);
    let (compared, written) = queue.compare_and_write(8, other.clone(), new.clone())?;
    assert!(compared.is(Status::COMPARE_FAILURE) && written.is(Status::FUSED_FAILED));
    assert_eq!(read(queue, 8, 4096)?, old);
    let (compared, written) = queue.compare_and_write(8, old, new.clone())?;
    assert!(compared.is_success() && written.is_success());
    assert_eq!(read(queue, 8, 4096)?, new);
    Ok(())
}

#[test]
fn fused_pairs_of_many_hosts_count_like_one_lock() -> Result {
    const HOSTS: u32 = 4;
    const TURNS: u64 = 50;
    let target = Target::start();
    let counter = |n: u64| [n.to_le_bytes().as_slice(), &[0; 504]].concat();
    let count = |number: u32| -> Result {
        let mut host = connect(&target, &HostOptions::named(number));
        let queue = &mut host.io[0];
        for _ in 0..TURNS {
            loop {
                let old = read(queue, 0, 512)?;
                let value = u64::from_le_bytes(old[..8].try_into().expect("8 bytes"));
                let (_, written) = queue.compare_and_write(0, old, counter(value + 1))?;
                if written.is_success() {
                    break;
                }
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let hosts: Vec<_> = (0..HOSTS).map(|n| scope.spawn(move || count(n))).collect();
        hosts
            .into_iter()
            .try_for_each(|host| host.join().expect("a host"))
    })?;
    let mut host = connect(&target, &HostOptions::default());
    assert_eq!(
        read(&mut host.io[0], 0, 512)?,
        counter(u64::from(HOSTS) * TURNS)
    );
    Ok(())
}

#[test]
fn every_combination_of_digests_alignment_and_flow_control_carries_the_same_data() -> Result {
    let target = Target::start();
    let mut plain = connect(&target, &HostOptions::default());
    let lengths = [512, 8192, 16384, 16896, 131_072, 300_032, 1 << 20];
    for bits in 0..8_u8 {
        for hpda in [0, 7, 31] {
            let mut host = connect(
                &target,
                &HostOptions {
                    header_digest: bits & 1 != 0,
                    data_digest: bits & 2 != 0,
                    sq_flow_control: bits & 4 != 0,
                    hpda,
                    ..HostOptions::named(u32::from(bits) << 8 | u32::from(hpda))
                },
            );
            let parameters = *host.io[0].queue().parameters();
            assert_eq!(parameters.framing.data_digest, bits & 2 != 0);
            assert_eq!(parameters.sq_flow_control, bits & 4 != 0);
            let queue = &mut host.io[0];
            let mut lba = 0;
            for length in lengths {
                let data = pattern(u64::from(bits) << 16 | u64::from(hpda) << 8 | lba, length);
                ok(queue.write(lba, data.clone())?);
                assert!(
                    read(queue, lba, length)? == data,
                    "{bits:#b} {hpda} {length}"
                );
                assert!(read(&mut plain.io[0], lba, length)? == data);
                lba += (length / BLOCK as usize) as u64;
            }
        }
    }
    Ok(())
}

/// Writes and reads random places on several queues at once, each in its own part of the disk, and
/// compares with what it remembers.
fn exercise(queues: &mut [Qpair], first: u64, blocks: u64, seed: u64) -> Result {
    let mut memory = vec![0_u8; usize::try_from(blocks * u64::from(BLOCK)).expect("memory")];
    let mut random = seed | 1;
    let mut below = |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % bound
    };
    for queue in &mut *queues {
        ok(queue.write_zeroes(first, memory.len())?);
    }
    for round in 0..12 {
        // Places of one round do not overlap, so their order does not matter.
        let parts = 16;
        let mut expected = Vec::new();
        for part in 0..parts {
            let room = blocks / parts;
            let length = (1 + below(room)) * u64::from(BLOCK);
            let start = part * room;
            let at = usize::try_from(start * u64::from(BLOCK)).expect("memory");
            let range = at..at + usize::try_from(length).expect("memory");
            let index = usize::try_from(below(queues.len() as u64)).expect("a queue");
            let queue = &mut queues[index];
            let sqe = |opcode| nvm_sqe(opcode, first + start, range.len());
            if below(2) == 0 {
                memory[range.clone()].copy_from_slice(&pattern(seed ^ round ^ part, range.len()));
                let data = Payload::FromHost(Arc::new(memory[range.clone()].to_vec()));
                let cid = queue.submit(sqe(nvm::WRITE), data)?;
                expected.push((index, cid, None));
            } else {
                let length = u32::try_from(length).expect("a transfer");
                let into = Vec::new();
                let cid = queue.submit(sqe(nvm::READ), Payload::ToHost { length, into })?;
                expected.push((index, cid, Some(range)));
            }
        }
        for queue in &mut *queues {
            queue.send_all()?;
        }
        for (index, cid, range) in expected {
            let answer = queues[index].await_answer(cid)?;
            ok(answer.completion.status);
            if let Some(range) = range {
                assert!(
                    answer.data == memory[range],
                    "read something else than was written"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn many_queues_of_one_host_share_a_disk() -> Result {
    let target = Target::start();
    let options = HostOptions {
        io_queues: 8,
        ..HostOptions::default()
    };
    let mut host = connect(&target, &options);
    exercise(&mut host.io, 0, 8192, 7)
}

#[test]
fn many_hosts_have_controllers_of_their_own_and_do_not_disturb_each_other() -> Result {
    const HOSTS: u32 = 24;
    let target = Target::start();
    let work = |number: u32| -> Result<u16> {
        let options = HostOptions {
            io_queues: 2,
            data_digest: number.is_multiple_of(2),
            sq_flow_control: number.is_multiple_of(3),
            ..HostOptions::named(number)
        };
        let mut host = connect(&target, &options);
        exercise(&mut host.io, u64::from(number) * 2048, 2048, number.into())?;
        Ok(host.admin.cntlid())
    };
    let mut cntlids = thread::scope(|scope| {
        let hosts: Vec<_> = (0..HOSTS).map(|n| scope.spawn(move || work(n))).collect();
        let joined = hosts.into_iter().map(|host| host.join().expect("a host"));
        joined.collect::<Result<Vec<_>>>()
    })?;
    cntlids.sort_unstable();
    cntlids.dedup();
    assert_eq!(cntlids.len(), HOSTS as usize, "a CNTLID was used twice");
    Ok(())
}

#[test]
fn one_host_may_have_several_controllers() -> Result {
    let target = Target::start();
    let (mut one, mut other) = (
        connect(&target, &HostOptions::default()),
        connect(&target, &HostOptions::default()),
    );
    assert_ne!(one.admin.cntlid(), other.admin.cntlid());
    ok(one.io[0].write(5, pattern(5, 512))?);
    assert_eq!(read(&mut other.io[0], 5, 512)?, pattern(5, 512));
    drop(one);
    assert_eq!(read(&mut other.io[0], 5, 512)?, pattern(5, 512));
    Ok(())
}

#[test]
fn ipv6_is_served_like_ipv4() -> Result {
    if std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        eprintln!("SKIPPED: this machine has no IPv6 loopback address");
        return Ok(());
    }
    let target = Target::with(&Setup {
        addresses: vec![Ipv6Addr::LOCALHOST.into()],
        ..Setup::default()
    });
    let found = discover(target.discovery(), &HostOptions::default())?;
    assert_eq!((found[1].family, found[1].traddr.as_str()), (2, "::1"));
    let mut host = connect(&target, &HostOptions::default());
    exercise(&mut host.io, 0, 2048, 6)
}

#[test]
fn a_wildcard_listener_shows_the_address_that_the_host_used() -> Result {
    let target = Target::with(&Setup {
        addresses: vec!["0.0.0.0".parse().expect("an address")],
        ..Setup::default()
    });
    let found = discover(target.discovery(), &HostOptions::default())?;
    assert_eq!(found[1].traddr, "127.0.0.1");
    Ok(())
}

#[test]
fn the_whole_disk_is_written_and_read_back_in_the_largest_transfers() -> Result {
    const PIECE: u64 = 1 << 20;
    let target = Target::start();
    let options = HostOptions {
        header_digest: true,
        data_digest: true,
        ..HostOptions::default()
    };
    let mut host = connect(&target, &options);
    let queue = &mut host.io[0];
    let length = usize::try_from(PIECE).expect("memory");
    let lba = |piece: u64| piece * PIECE / u64::from(BLOCK);
    // All at once: the target asks for data only as it can hold it.
    let writes: Vec<u16> = (0..DISK / PIECE)
        .map(|piece| {
            let data = Payload::FromHost(Arc::new(pattern(piece, length)));
            queue.submit(nvm_sqe(nvm::WRITE, lba(piece), length), data)
        })
        .collect::<Result<_>>()?;
    for cid in writes {
        ok(queue.await_answer(cid)?.completion.status);
    }
    let reads: Vec<u16> = (0..DISK / PIECE)
        .map(|piece| {
            let payload = Payload::ToHost {
                length: 1 << 20,
                into: Vec::new(),
            };
            queue.submit(nvm_sqe(nvm::READ, lba(piece), length), payload)
        })
        .collect::<Result<_>>()?;
    for (piece, cid) in (0..).zip(reads) {
        assert!(
            queue.await_answer(cid)?.data == pattern(piece, length),
            "{piece}"
        );
    }
    // One block more than MDTS is refused, and moves nothing.
    let refused = queue.write(0, vec![0; length + BLOCK as usize])?;
    assert!(refused.is(Status::INVALID_FIELD) && refused.is_dnr());
    let refused = queue
        .read(0, length + BLOCK as usize)?
        .expect_err("too long");
    assert!(refused.is(Status::INVALID_FIELD) && refused.is_dnr());
    assert!(read(queue, 0, length)? == pattern(0, length));
    Ok(())
}

#[test]
fn the_largest_transfers_go_both_ways_at_once_at_full_depth() -> Result {
    const LENGTH: usize = 1 << 20;
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("disk.img");
    std::fs::File::create(&path)?.set_len(DISK)?;
    for device in [
        "ramdisk:64m".to_owned(),
        path.to_string_lossy().into_owned(),
    ] {
        let target = Target::with(&Setup {
            devices: vec![device],
            ..Setup::default()
        });
        let options = HostOptions {
            data_digest: true,
            ..HostOptions::default()
        };
        let mut host = connect(&target, &options);
        let queue = &mut host.io[0];
        let lba = |place: usize| (place * LENGTH) as u64 / u64::from(BLOCK);
        // Even places are written while odd ones, written before, are read.
        let data: Vec<_> = (0..16)
            .map(|place| Arc::new(pattern(place, LENGTH)))
            .collect();
        for place in (1..16).step_by(2) {
            ok(queue.write(lba(place), data[place].to_vec())?);
        }
        let mut reads = Vec::new();
        for place in (0..16).step_by(2).cycle().take(63) {
            let written = Payload::FromHost(Arc::clone(&data[place]));
            queue.submit(nvm_sqe(nvm::WRITE, lba(place), LENGTH), written)?;
            let payload = Payload::ToHost {
                length: 1 << 20,
                into: Vec::new(),
            };
            let cid = queue.submit(nvm_sqe(nvm::READ, lba(place + 1), LENGTH), payload)?;
            reads.push((cid, place + 1));
        }
        for (cid, place) in reads {
            assert!(queue.await_answer(cid)?.data == *data[place], "{place}");
        }
        while queue.queue().outstanding() > 0 {
            ok(queue.next_answer()?.completion.status);
        }
    }
    Ok(())
}

#[test]
fn a_file_keeps_what_was_flushed_over_a_restart() -> Result {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("disk.img");
    std::fs::File::create(&path)?.set_len(16 << 20)?;
    let setup = Setup {
        devices: vec![path.to_string_lossy().into_owned()],
        ..Setup::default()
    };
    let mut target = Target::with(&setup);
    let mut host = connect(&target, &HostOptions::default());
    exercise(&mut host.io, 1024, 8192, 3)?;
    let uuid = host.identify(0x03, 1)?;
    ok(host.io[0].write(7, pattern(7, 70_144))?);
    ok(host.io[0].flush()?);
    assert!(target.stop().success());

    let target = Target::with(&setup);
    let mut host = connect(&target, &HostOptions::default());
    assert_eq!(
        host.identify(0x03, 1)?,
        uuid,
        "the disk has become another one"
    );
    assert!(read(&mut host.io[0], 7, 70_144)? == pattern(7, 70_144));
    Ok(())
}

#[test]
fn row_57_a_larger_buffer_than_identify_fills_is_legal_and_a_smaller_one_is_not() -> Result {
    let target = Target::start();
    let mut host = connect(&target, &HostOptions::default());
    let whole = host.identify(0x01, 0)?;
    let mut identify = |room: u32, expected: u32| {
        let mut sqe = Sqe::new(admin::IDENTIFY, 0);
        sqe.cdw10 = 1.into();
        sqe.sgl = SglDescriptor::transport(room);
        let payload = Payload::ToHost {
            length: expected,
            into: Vec::new(),
        };
        host.admin.run_as_is(sqe, payload)
    };
    assert_eq!(identify(8192, 4096)?.data, whole);
    let short = identify(4092, 0)?.completion.status;
    assert!(short.is(Status::DATA_SGL_LENGTH_INVALID), "{short}");
    Ok(())
}

#[test]
fn row_62_a_host_that_stops_its_keep_alive_is_given_up_and_one_that_does_not_is_kept() -> Result {
    let target = Target::start();
    let with_kato = |number| HostOptions {
        kato: Duration::from_millis(700),
        ..HostOptions::named(number)
    };
    let mut silent = connect(&target, &with_kato(1));
    let mut alive = connect(&target, &with_kato(2));
    let mut busy = connect(&target, &with_kato(3));
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(2500) {
        thread::sleep(Duration::from_millis(200));
        ok(alive.keep_alive()?.status);
        // Traffic on an I/O queue counts too (TBKAS).
        ok(busy.io[0].flush()?);
    }
    let ended = silent.io[0]
        .await_end()
        .expect_err("the controller is gone");
    assert!(matches!(ended, PeerError::Closed), "{ended}");
    let ended = silent
        .admin
        .await_end()
        .expect_err("the controller is gone");
    assert!(matches!(ended, PeerError::Closed), "{ended}");
    ok(alive.io[0].flush()?);
    ok(busy.keep_alive()?.status);
    Ok(())
}

#[test]
fn row_63_a_controller_is_reset_a_thousand_times_and_under_io() -> Result {
    let target = Target::start();
    let options = HostOptions {
        io_queues: 0,
        ..HostOptions::default()
    };
    let mut host = connect(&target, &options);
    for _ in 0..1000 {
        host.disable()?;
        host.enable()?;
    }
    for round in 0..20 {
        host.set_queues(1)?;
        let mut queue = host.connect_io(1)?;
        ok(queue.write(round, pattern(round, 512))?);
        for _ in 0..32 {
            let payload = Payload::ToHost {
                length: 131_072,
                into: Vec::new(),
            };
            queue.submit(nvm_sqe(nvm::READ, 0, 131_072), payload)?;
        }
        queue.send()?;
        host.disable()?;
        let ended = queue.await_end().expect_err("a reset ends all I/O queues");
        assert!(matches!(ended, PeerError::Closed), "{ended}");
        host.enable()?;
    }
    host.set_queues(1)?;
    let mut queue = host.connect_io(1)?;
    assert_eq!(read(&mut queue, 19, 512)?, pattern(19, 512));
    Ok(())
}

#[test]
fn a_controller_that_is_shut_down_says_so_and_its_host_may_go() -> Result {
    let target = Target::start();
    let mut host = connect(&target, &HostOptions::default());
    ok(host.io[0].write(1, pattern(1, 512))?);
    host.shut_down()?;
    drop(host);
    let mut host = connect(&target, &HostOptions::default());
    assert_eq!(read(&mut host.io[0], 1, 512)?, pattern(1, 512));
    Ok(())
}

#[test]
fn rows_58_and_61_event_requests_wait_up_to_a_limit_and_can_be_aborted() -> Result {
    let target = Target::start();
    let mut host = connect(&target, &HostOptions::default());
    let aers: Vec<u16> = (0..4)
        .map(|_| {
            host.admin
                .submit(Sqe::new(admin::ASYNC_EVENT_REQUEST, 0), Payload::None)
        })
        .collect::<Result<_>>()?;
    assert!(host.admin.is_silent_for(Duration::from_millis(100))?);
    let fifth = host
        .admin
        .command(Sqe::new(admin::ASYNC_EVENT_REQUEST, 0))?;
    assert!(
        fifth.status.is(Status::AER_LIMIT_EXCEEDED),
        "{}",
        fifth.status
    );
    let mut abort = |cid: u16| {
        let mut sqe = Sqe::new(admin::ABORT, 0);
        sqe.cdw10 = (u32::from(cid) << 16).into();
        host.admin.command(sqe)
    };
    assert_eq!(abort(aers[2])?.result & 1, 0, "aborted");
    assert_eq!(abort(4000)?.result & 1, 1, "nothing to abort");
    let aborted = host.admin.await_answer(aers[2])?.completion.status;
    assert!(aborted.is(Status::ABORT_REQUESTED));
    Ok(())
}

#[test]
fn without_permission_hosts_get_neither_digests_nor_freedom_from_flow_control() -> Result {
    let target = Target::with(&Setup {
        arguments: Vec::new(),
        ..Setup::default()
    });
    let options = HostOptions {
        header_digest: true,
        data_digest: true,
        sq_flow_control: false,
        ..HostOptions::default()
    };
    let mut host = connect(&target, &options);
    let parameters = *host.io[0].queue().parameters();
    assert!(!parameters.framing.header_digest && !parameters.framing.data_digest);
    assert!(parameters.sq_flow_control);
    let icresp = host.io[0].icresp();
    // Linux: these it insists on.
    assert_eq!((icresp.pfv.get(), icresp.cpda), (0, 0));
    assert!(icresp.maxh2cdata.get() >= 4096 && icresp.maxh2cdata.get().is_multiple_of(4));
    exercise(&mut host.io, 0, 2048, 1)
}

#[test]
fn capabilities_are_what_both_kinds_of_host_need() -> Result {
    let target = Target::start();
    let options = HostOptions {
        io_queues: 0,
        ..HostOptions::default()
    };
    let mut host = connect(&target, &options);
    let cap = host.property(property::CAP)?;
    assert!(cap & 0xffff >= 127, "MQES");
    assert_eq!(cap >> 16 & 1, 1, "CQR");
    assert_eq!(cap >> 37 & 1, 1, "NVM command set");
    assert_eq!(cap >> 48 & 0xf, 0, "MPSMIN");
    assert!(host.property(property::VS)? >= 0x0001_0400);
    assert_eq!(
        host.set_queues(4).map(|granted| granted >= 4).ok(),
        None.or(Some(true))
    );
    Ok(())
}

#[test]
fn a_target_that_is_told_to_end_ends_in_order_with_hosts_connected() -> Result {
    let mut target = Target::start();
    let mut host = connect(&target, &HostOptions::default());
    ok(host.io[0].write(0, pattern(0, 65_536))?);
    for _ in 0..16 {
        let data = Payload::FromHost(Arc::new(pattern(1, 65_536)));
        host.io[0].submit(nvm_sqe(nvm::WRITE, 0, 65_536), data)?;
    }
    host.io[0].send()?;
    let began = Instant::now();
    assert!(target.stop().success());
    assert!(began.elapsed() < Duration::from_secs(10));
    let ended = host.admin.await_end().expect_err("nobody is there");
    assert!(matches!(ended, PeerError::Closed), "{ended}");
    Ok(())
}
