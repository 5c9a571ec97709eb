use std::mem::offset_of;

use zerocopy::FromBytes;

use super::super::tests::{Bench, namespace};
use super::*;
use crate::opcode::admin;

fn sqe(cns: u32, nsid: u32) -> Sqe {
    let mut sqe = Sqe::new(admin::IDENTIFY, 1);
    sqe.cdw10 = cns.into();
    sqe.nsid = nsid.into();
    sqe
}

fn controller(kind: Kind) -> IdentifyController {
    let data = Bench::new(kind).data(&sqe(1, 0));
    IdentifyController::read_from_bytes(&data).unwrap()
}

#[test]
fn controller_fields_stand_where_the_specification_puts_them() {
    let offsets = [
        (offset_of!(IdentifyController, sn), 4),
        (offset_of!(IdentifyController, mn), 24),
        (offset_of!(IdentifyController, fr), 64),
        (offset_of!(IdentifyController, cmic), 76),
        (offset_of!(IdentifyController, mdts), 77),
        (offset_of!(IdentifyController, cntlid), 78),
        (offset_of!(IdentifyController, ver), 80),
        (offset_of!(IdentifyController, oaes), 92),
        (offset_of!(IdentifyController, ctratt), 96),
        (offset_of!(IdentifyController, cntrltype), 111),
        (offset_of!(IdentifyController, oacs), 256),
        (offset_of!(IdentifyController, acl), 258),
        (offset_of!(IdentifyController, aerl), 259),
        (offset_of!(IdentifyController, frmw), 260),
        (offset_of!(IdentifyController, lpa), 261),
        (offset_of!(IdentifyController, elpe), 262),
        (offset_of!(IdentifyController, kas), 320),
        (offset_of!(IdentifyController, sqes), 512),
        (offset_of!(IdentifyController, cqes), 513),
        (offset_of!(IdentifyController, maxcmd), 514),
        (offset_of!(IdentifyController, nn), 516),
        (offset_of!(IdentifyController, oncs), 520),
        (offset_of!(IdentifyController, fuses), 522),
        (offset_of!(IdentifyController, vwc), 525),
        (offset_of!(IdentifyController, ocfs), 534),
        (offset_of!(IdentifyController, sgls), 536),
        (offset_of!(IdentifyController, subnqn), 768),
        (offset_of!(IdentifyController, ioccsz), 1792),
        (offset_of!(IdentifyController, iorcsz), 1796),
        (offset_of!(IdentifyController, icdoff), 1800),
        (offset_of!(IdentifyController, fcatt), 1802),
        (offset_of!(IdentifyController, msdbd), 1803),
        (offset_of!(IdentifyController, ofcs), 1804),
        (offset_of!(IdentifyController, dctype), 1806),
    ];
    for (offset, expected) in offsets {
        assert_eq!(offset, expected);
    }
    assert_eq!(offset_of!(NvmController, dmrsl), 4);
    assert_eq!(offset_of!(NvmController, dmsl), 8);
}

#[test]
fn namespace_fields_stand_where_the_specification_puts_them() {
    let offsets = [
        (offset_of!(IdentifyNamespace, nsfeat), 24),
        (offset_of!(IdentifyNamespace, nmic), 30),
        (offset_of!(IdentifyNamespace, dlfeat), 33),
        (offset_of!(IdentifyNamespace, nvmcap), 48),
        (offset_of!(IdentifyNamespace, npwg), 64),
        (offset_of!(IdentifyNamespace, nows), 72),
        (offset_of!(IdentifyNamespace, mssrl), 74),
        (offset_of!(IdentifyNamespace, mcl), 76),
        (offset_of!(IdentifyNamespace, msrc), 80),
        (offset_of!(IdentifyNamespace, nsattr), 99),
        (offset_of!(IdentifyNamespace, nguid), 104),
        (offset_of!(IdentifyNamespace, eui64), 120),
        (offset_of!(IdentifyNamespace, lbaf0), 128),
        (offset_of!(IndependentNamespace, nsattr), 8),
        (offset_of!(IndependentNamespace, nstat), 14),
    ];
    for (offset, expected) in offsets {
        assert_eq!(offset, expected);
    }
}

#[test]
fn an_io_controller_has_what_hosts_insist_on() {
    let data = controller(Kind::Io);
    assert_eq!(&data.sn, b"0123456789          ");
    assert_eq!(&data.fr, b"0.1.0   ");
    assert_eq!(data.cntlid.get(), 5);
    assert_eq!(data.ver.get(), 0x0002_0000);
    assert_eq!(data.mdts, 8, "1 MiB");
    assert_eq!(data.cntrltype, 1);
    assert_eq!(data.cmic, 0b11, "Linux: or a second connection is refused");
    assert_eq!(data.oaes.get(), 1 << 8);
    assert_eq!(data.ctratt.get(), 1 << 6 | 1);
    assert_eq!(data.aerl, 3);
    assert_eq!(data.kas.get(), 10, "Linux: not 0 over fabrics");
    assert_eq!((data.sqes, data.cqes), (0x66, 0x44));
    assert_eq!(data.maxcmd.get(), 128);
    assert_eq!(data.nn.get(), 1024);
    assert_eq!(data.oncs.get(), 0b1_1001_1101);
    assert_eq!(data.fuses.get(), 1);
    assert_eq!(data.vwc, 0b101);
    assert_eq!(data.ocfs.get(), 1);
    assert_eq!(data.sgls.get(), 1 | 1 << 20 | 1 << 21);
    assert_eq!(data.ioccsz.get(), 516, "64 + 8192 bytes");
    assert_eq!(data.iorcsz.get(), 1);
    assert_eq!((data.icdoff.get(), data.msdbd, data.ofcs.get()), (0, 1, 0));
    assert_eq!(data.subnqn[..29], *b"nqn.2014-08.org.example:vol0\0");
}

#[test]
fn a_discovery_controller_says_that_it_is_one() {
    let data = controller(Kind::Discovery);
    assert_eq!(data.cntrltype, 2);
    assert_eq!(data.oaes.get(), 1 << 31);
    assert_eq!(data.ctratt.get(), 1 << 6, "TBKAS; the rest is reserved");
    assert_eq!(data.lpa, 0b10_0110, "the pages 00h, 05h, 12h, 13h; offsets");
    assert_eq!(data.aerl, 3);
    assert_eq!(data.kas.get(), 10, "Keep Alive is not optional here");
    assert_eq!(data.cntlid.get(), 5, "Linux: as in Connect");
    assert_eq!(data.ver.get(), 0x0002_0000);
    assert_eq!(data.mdts, 8, "1 MiB: FreeBSD reads all entries at once");
    assert_eq!(data.maxcmd.get(), 32, "Linux: not 0");
    assert_eq!(data.sgls.get(), 1 | 1 << 20 | 1 << 21, "Linux: not 0");
    assert_eq!((data.icdoff.get(), data.fcatt), (0, 0), "Linux; dynamic");
    assert_eq!(data.ofcs.get(), 0, "no Disconnect");
    assert_eq!((data.cmic, data.acl, data.vwc), (0, 0, 0), "reserved");
    assert_eq!(&data.sn, b"0123456789          ");
    assert_eq!(data.subnqn[..29], *b"nqn.2014-08.org.example:vol0\0");
    assert_eq!(
        (data.nn.get(), data.ioccsz.get(), data.oncs.get()),
        (0, 0, 0)
    );
    assert_eq!(data.dctype, 1);
    for cns in [0, 2, 3, 5, 6, 7, 8, 0x1c] {
        let status = Bench::new(Kind::Discovery).status(&sqe(cns, 1));
        assert_eq!(status, Status::INVALID_FIELD.dnr(), "{cns:#x}");
    }
}

#[test]
fn the_write_cache_is_reported_as_the_namespaces_have_it() {
    let mut bench = Bench::new(Kind::Io);
    bench.set_namespaces([(
        1,
        NamespaceInfo {
            volatile_cache: false,
            ..namespace()
        },
    )]);
    assert_eq!(bench.data(&sqe(1, 0))[525], 0b100);
}

#[test]
fn a_namespace_is_described() {
    let data = Bench::new(Kind::Io).data(&sqe(0, 1));
    let data = IdentifyNamespace::read_from_bytes(&data).unwrap();
    assert_eq!(
        (data.nsze.get(), data.ncap.get(), data.nuse.get()),
        (2048, 2048, 2048)
    );
    assert_eq!(data.nvmcap[0].get(), 1 << 20);
    assert_eq!(data.dlfeat, 0b1001);
    assert_eq!((data.nmic, data.nsattr), (1, 0));
    assert_eq!(
        (data.npwg.get(), data.nows.get()),
        (7, 7),
        "4096 bytes, 0's based"
    );
    assert_eq!(data.lbaf0.get() >> 16, 9);
    assert_eq!(
        (data.mssrl.get(), data.mcl.get(), data.msrc),
        (2048, 16_384, 127)
    );
    assert_eq!((data.nguid, data.eui64), ([1; 16], [2; 8]));
}

#[test]
fn a_read_only_namespace_says_so() {
    let mut bench = Bench::new(Kind::Io);
    bench.set_namespaces([(
        1,
        NamespaceInfo {
            read_only: true,
            ..namespace()
        },
    )]);
    assert_eq!(bench.data(&sqe(0, 1))[99], 1);
    assert_eq!(bench.data(&sqe(8, 1))[8], 1);
}

#[test]
fn linux_finds_every_namespace_ready() {
    let data = Bench::new(Kind::Io).data(&sqe(8, 3));
    assert_eq!((data[1], data[14]), (1, 1));
}

#[test]
fn inactive_namespaces_are_zeroes_and_impossible_ones_errors() {
    let mut bench = Bench::new(Kind::Io);
    let invalid = Status::INVALID_NAMESPACE.dnr();
    for cns in [0, 5, 8] {
        assert_eq!(bench.data(&sqe(cns, 2)), vec![0; 4096]);
        assert_eq!(bench.data(&sqe(cns, 1024)), vec![0; 4096]);
        for nsid in [0, 1025, u32::MAX] {
            assert_eq!(
                bench.status(&sqe(cns, nsid)),
                invalid,
                "CNS {cns} NSID {nsid:#x}"
            );
        }
    }
    for nsid in [0, 2, 1025, u32::MAX] {
        assert_eq!(bench.status(&sqe(3, nsid)), invalid);
    }
}

#[test]
fn active_namespaces_are_listed_from_any_point() {
    let mut bench = Bench::new(Kind::Io);
    for cns in [2, 7] {
        assert_eq!(
            bench.data(&sqe(cns, 0))[..12],
            [1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(bench.data(&sqe(cns, 1))[..8], [3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bench.data(&sqe(cns, 3)), vec![0; 4096]);
        for after in [u32::MAX - 1, u32::MAX] {
            assert_eq!(
                bench.status(&sqe(cns, after)),
                Status::INVALID_NAMESPACE.dnr()
            );
        }
    }
    bench.set_namespaces((1..=2000).map(|nsid| (nsid, namespace())));
    let list = bench.data(&sqe(2, 500));
    assert_eq!(list[..4], 501_u32.to_le_bytes());
    assert_eq!(list[4092..], 1524_u32.to_le_bytes());
}

#[test]
fn identifiers_are_listed_with_the_command_set() {
    let mut bench = Bench::new(Kind::Io);
    let list = bench.data(&sqe(3, 1));
    assert_eq!(list[..12], [1, 8, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2]);
    assert_eq!(list[12..16], [2, 16, 0, 0]);
    assert_eq!(list[32..36], [3, 16, 0, 0]);
    assert_eq!(list[52..57], [4, 1, 0, 0, 0]);
    assert!(list[57..].iter().all(|&byte| byte == 0));
    // A namespace without names still has a command set: Linux insists.
    let nameless = NamespaceInfo {
        nguid: [0; 16],
        eui64: [0; 8],
        uuid: [0; 16],
        ..namespace()
    };
    bench.set_namespaces([(1, nameless)]);
    assert_eq!(bench.data(&sqe(3, 1))[..6], [4, 1, 0, 0, 0, 0]);
}

#[test]
fn limits_and_command_sets_are_nvm_only() {
    let mut bench = Bench::new(Kind::Io);
    assert_eq!(
        bench.data(&sqe(6, 0))[..3],
        [8, 13, 0],
        "VSL 1 MiB, WZSL 32 MiB"
    );
    for cns in [5, 6, 7] {
        let mut zoned = sqe(cns, 1);
        zoned.cdw11 = (2 << 24).into();
        assert_eq!(bench.status(&zoned), Status::INVALID_FIELD.dnr());
    }
    for cntid in [0xffff, 5] {
        assert_eq!(
            bench.data(&sqe(0x1c | cntid << 16, 0))[..16],
            [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        );
    }
    assert_eq!(
        bench.status(&sqe(0x1c | 6 << 16, 0)),
        Status::INVALID_FIELD.dnr()
    );
}

#[test]
fn other_structures_are_not_offered() {
    let mut bench = Bench::new(Kind::Io);
    for cns in [
        0x04, 0x09, 0x0a, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x1b, 0xff,
    ] {
        assert_eq!(
            bench.status(&sqe(cns, 1)),
            Status::INVALID_FIELD.dnr(),
            "{cns:#x}"
        );
    }
}

#[test]
fn texts_are_cut_and_cleaned() {
    assert_eq!(&field::<4>("ab", b' '), b"ab  ");
    assert_eq!(&field::<4>("abcdef", b' '), b"abcd");
    assert_eq!(&field::<4>("a\u{1b}\u{e9}", b' '), b"a???");
}
