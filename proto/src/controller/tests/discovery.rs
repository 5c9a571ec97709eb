//! Discovery controllers: what they know, and when they tell of a change.

use super::*;

#[test]
fn a_discovery_controller_knows_little() {
    let mut bench = Bench::new(Kind::Discovery);
    let refused = Status::INVALID_OPCODE.dnr();
    assert_eq!(bench.status(&Sqe::new(admin::ABORT, 1)), refused);
    assert_eq!(
        bench.status(&Sqe::new(admin::KEEP_ALIVE, 1)),
        Status::SUCCESS
    );
    for opcode in [0x00, 0x01, 0x04, 0x05, 0x0d, 0x10, 0x15, 0x80, 0x81, 0xc0] {
        assert_eq!(bench.status(&Sqe::new(opcode, 1)), refused);
    }
    assert_eq!(bench.controller.io_queues_granted(), 0);
}

#[test]
fn a_discovery_host_hears_of_each_change_once() {
    let mut bench = Bench::new(Kind::Discovery);
    for cid in 0..4 {
        assert_eq!(bench.run(&async_event_request(cid)), Outcome::Held);
    }
    bench.controller.discovery_changed();
    assert_eq!(
        bench.controller.next_event(),
        Some((0, Completion::success(0x0070_f002)))
    );
    bench.controller.discovery_changed();
    assert_eq!(bench.controller.next_event(), None);
    // RAE keeps the event masked, as do failed reads.
    bench.data(&log_sqe(0x70, 0, 20, true));
    assert!(
        bench
            .status(&log_sqe(0x70, 1 << 40, 20, false))
            .is(Status::INVALID_FIELD)
    );
    bench.controller.discovery_changed();
    assert_eq!(bench.controller.next_event(), None);
    bench.data(&log_sqe(0x70, 0, 20, false));
    assert_eq!(
        bench.controller.next_event(),
        None,
        "this read showed the newest log"
    );
    bench.controller.discovery_changed();
    assert_eq!(bench.controller.next_event().map(|(tag, _)| tag), Some(1));
}

fn set_kato(bench: &mut Bench, milliseconds: u32) {
    let mut sqe = Sqe::new(admin::SET_FEATURES, 1);
    sqe.cdw10 = 0x0f.into();
    sqe.cdw11 = milliseconds.into();
    assert_eq!(bench.status(&sqe), Status::SUCCESS);
}

#[test]
fn without_kato_requests_wait_and_nothing_is_told() {
    let mut bench = Bench::with_kato(Kind::Discovery, Duration::ZERO);
    let start = bench.now;
    for cid in 0..4 {
        assert_eq!(bench.run(&async_event_request(cid)), Outcome::Held);
    }
    assert_eq!(
        bench.status(&async_event_request(4)),
        Status::AER_LIMIT_EXCEEDED.dnr()
    );
    bench.controller.discovery_changed();
    assert_eq!(bench.controller.next_event(), None);
    let idle = Duration::from_secs(120);
    assert_eq!(bench.controller.deadline(), Some(start + idle));
    bench.now = start + Duration::from_secs(100);
    bench.data(&log_sqe(0x70, 0, 20, true));
    assert_eq!(bench.controller.deadline(), Some(bench.now + idle));
    assert!(bench.controller.abort_event_request(0), "still there");
}

#[test]
fn kato_can_be_had_and_given_up_later_and_no_change_is_lost() {
    let mut bench = Bench::with_kato(Kind::Discovery, Duration::ZERO);
    for cid in 0..4 {
        assert_eq!(bench.run(&async_event_request(cid)), Outcome::Held);
    }
    bench.controller.discovery_changed();
    assert_eq!(bench.controller.next_event(), None);
    set_kato(&mut bench, 5000);
    assert_eq!(
        bench.controller.next_event(),
        Some((0, Completion::success(0x0070_f002))),
        "what happened before is told now"
    );
    bench.data(&log_sqe(0x70, 0, 20, false));
    set_kato(&mut bench, 0);
    bench.controller.discovery_changed();
    assert_eq!(bench.controller.next_event(), None);
    let idle = Duration::from_secs(120);
    assert_eq!(bench.controller.deadline(), Some(bench.now + idle));
    set_kato(&mut bench, 1);
    assert_eq!(bench.controller.next_event().map(|(tag, _)| tag), Some(1));
}

#[test]
fn what_a_host_has_read_meanwhile_is_not_told_again() {
    let mut bench = Bench::with_kato(Kind::Discovery, Duration::ZERO);
    bench.run(&async_event_request(0));
    bench.controller.discovery_changed();
    // Four bytes are no generation: the host may have seen the old one in the rest.
    bench.data(&log_sqe(0x70, 0, 4, false));
    set_kato(&mut bench, 5000);
    assert_eq!(bench.controller.next_event().map(|(tag, _)| tag), Some(0));
    bench.run(&async_event_request(1));
    bench.controller.discovery_changed();
    // SPDK's host reads the generation alone to see whether the log is still the same.
    bench.data(&log_sqe(0x70, 0, 8, false));
    assert_eq!(bench.controller.next_event(), None);
}

#[test]
fn the_features_of_a_discovery_controller_have_all_their_values() {
    let mut bench = Bench::new(Kind::Discovery);
    let get = |bench: &mut Bench, fid: u32, select: u32| {
        let mut sqe = Sqe::new(admin::GET_FEATURES, 1);
        sqe.cdw10 = (fid | select << 8).into();
        bench.completion(&sqe).result
    };
    let mut off = Sqe::new(admin::SET_FEATURES, 1);
    off.cdw10 = 0x0b.into();
    assert_eq!(bench.status(&off), Status::SUCCESS);
    set_kato(&mut bench, 60_000);
    for (fid, current, default) in [(0x0b, 0, 1 << 31), (0x0f, 60_000, 120_000)] {
        assert_eq!(get(&mut bench, fid, 0), current, "{fid:#x}");
        assert_eq!(get(&mut bench, fid, 1), default, "{fid:#x}");
        assert_eq!(get(&mut bench, fid, 2), default, "{fid:#x}: none is saved");
        assert_eq!(get(&mut bench, fid, 3), 0b100, "{fid:#x}: changeable");
    }
    let mut saved = off;
    saved.cdw10 = (0x0b | 1 << 31).into();
    assert_eq!(bench.status(&saved), Status::FEATURE_NOT_SAVEABLE.dnr());
}

#[test]
fn only_the_commands_and_features_that_there_are_are_named() {
    let mut bench = Bench::new(Kind::Discovery);
    let named = |page: Vec<u8>| -> Vec<usize> {
        let dwords = page.chunks_exact(4).enumerate();
        let named = dwords.filter(|(_, dword)| **dword != [0; 4]);
        named.map(|(index, _)| index).collect()
    };
    let commands = bench.data(&log_sqe(0x05, 0, 4096, false));
    assert_eq!(
        named(commands),
        [0x02, 0x06, 0x09, 0x0a, 0x0c, 0x18, 0x7f],
        "no Abort, no I/O command, no registration"
    );
    let features = bench.data(&log_sqe(0x12, 0, 1024, false));
    assert_eq!(named(features), [0x0b, 0x0f]);
    let pages = bench.data(&log_sqe(0x00, 0, 1024, false));
    assert_eq!(pages[0x70 * 4..][..4], [1, 0, 0b111, 0]);
    assert_eq!(named(pages), [0x00, 0x01, 0x05, 0x12, 0x13, 0x70]);
}

#[test]
fn what_a_host_asks_of_the_log_is_understood() {
    let bench = Bench::new(Kind::Discovery);
    let read = |lid, lsp: u32| {
        let mut sqe = log_sqe(lid, 0, 20, true);
        sqe.cdw10 = (sqe.cdw10.get() | lsp << 8).into();
        match bench.controller.parse(&sqe) {
            Ok(AdminCommand::GetLogPage(read)) => (
                read.extended,
                read.scope.port_local,
                read.scope.all,
                read.retain_event,
            ),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(read(0x70, 0), (false, false, false, true));
    assert_eq!(read(0x70, 0b001), (true, false, false, true));
    assert_eq!(read(0x70, 0b010), (false, true, false, true));
    assert_eq!(read(0x70, 0b100), (false, false, true, true));
    assert_eq!(read(0x70, 0b110), (false, true, true, true));
    assert_eq!(
        read(0x70, 0b111_1000),
        (false, false, false, true),
        "reserved"
    );
    assert_eq!(
        read(0x00, 0b111),
        (false, false, false, true),
        "another page"
    );
}

#[test]
fn extended_entries_are_for_hosts_that_ask() {
    let mut bench = Bench::new(Kind::Discovery);
    bench.discovery.entries[0].label = Some("rack 7".into());
    let mut sqe = log_sqe(0x70, 0, 8192, true);
    let basic = bench.data(&sqe);
    assert_eq!((basic[18], basic[4096]), (0, 0));
    sqe.cdw10 = (sqe.cdw10.get() | 1 << 8).into();
    let extended = bench.data(&sqe);
    assert_eq!(extended[18], 1);
    assert_eq!(extended[2048..2052], 1044_u32.to_le_bytes());
    assert_eq!(&extended[2060..2068], b"rack 7\0\0");
    let length = 1024 + 1044 + 2 * 1032;
    assert_eq!(extended[20..24], u32::to_le_bytes(length));
}
