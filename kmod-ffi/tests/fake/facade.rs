//! The requests as a daemon makes them: what it asks is done, and both ways to fail are told apart.

use std::fs;
use std::sync::Arc;

use nvmf_kmod::fake::faults::{FaultKind, Faults, Faulty, Verdict};
use nvmf_kmod::request::{
    LunId, NewLun, NewPort, PortId, RefusedFor, Socket, Storage, Which, is_name_taken,
};
use nvmf_kmod::{Ctl, Errno, KernelError};
use nvmf_proto::connect::Connect;
use tempfile::TempDir;

use super::support::{
    HOSTNQN, SUBNQN, admin_connect, completion, connection, eventually, handoff, io_connect,
    is_closed, kernel,
};

fn new_port() -> NewPort {
    NewPort {
        subnqn: SUBNQN.parse().unwrap(),
        portid: 7,
        max_io_qsize: 256,
        ioccsz: 16448,
        nn: 8,
        serial: "SERIAL".into(),
        options: vec![("nvmfd".into(), "1".into())],
    }
}

fn new_lun(storage: Storage) -> NewLun {
    NewLun {
        storage,
        blocksize: 0,
        read_only: false,
        serial: "SERIAL".into(),
        device_id: "DEVICE".into(),
        eui: Some("0123456789abcdef0123456789abcdef".into()),
        uuid: Some("0c3f6d4e-8a57-4c3e-9b1d-2f6a7b8c9d0e".into()),
        options: vec![("nvmfd".into(), "1".into())],
    }
}

#[test]
fn a_daemons_whole_life_is_proper() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("disk");
    fs::write(&path, [0; 8192]).unwrap();
    let path = path.to_str().unwrap().to_owned();
    let (fake, books) = kernel();
    let ctl = Ctl::new(Arc::new(fake.clone()));

    let file = ctl.create_lun(&new_lun(Storage::Block { path })).unwrap();
    let ram = ctl
        .create_lun(&new_lun(Storage::Ramdisk { size: 1 << 20 }))
        .unwrap();
    let port = ctl.create_port(&new_port()).unwrap();
    assert_eq!((file, ram, port), (LunId(0), LunId(1), PortId(3)));
    ctl.empty_map(port).unwrap();
    ctl.map(port, 1, file).unwrap();
    ctl.map(port, 8, ram).unwrap();
    ctl.enable_port(port).unwrap();
    let view = books.port(port.0).unwrap();
    assert_eq!((view.portid, view.max_io_qsize, view.nn), (7, 256, 8));
    assert_eq!(view.serial, "SERIAL");
    let lun = &view.namespaces[&8];
    assert_eq!((lun.size, lun.blocksize), (1 << 20, 512));
    assert_eq!(
        (lun.serial.as_str(), lun.device_id.as_str()),
        ("SERIAL", "DEVICE")
    );
    assert!(lun.eui.is_some() && lun.uuid.is_some());

    let listed = ctl.ports().unwrap();
    let ours = listed.ports.iter().find(|it| it.id == port.0).unwrap();
    assert!(ours.online && listed.damaged.is_empty());
    assert_eq!(ours.option("nvmfd"), Some("1"));
    let map = ours.lun_map.as_ref().unwrap();
    assert_eq!(map.iter().collect::<Vec<_>>(), [(&0, &0), (&7, &1)]);
    let luns = ctl.luns().unwrap().luns;
    assert_eq!((luns[0].size_blocks, luns[1].size_blocks), (16, 2048));

    let (mut host, mut ours) = connection();
    ctl.hand_off(&handoff(admin_connect()), &mut ours).unwrap();
    drop(ours);
    completion(&mut host, false);
    assert!(books.set_queues(port.0, 0, 1));
    let (mut io, mut ours) = connection();
    ctl.hand_off(&handoff(io_connect(0, 1)), &mut ours).unwrap();
    drop(ours);
    completion(&mut io, false);
    let sessions = ctl.sessions().unwrap().sessions;
    assert_eq!(sessions.len(), 1);
    let session = &sessions[0];
    assert_eq!((session.cntlid, session.trtype), (0, 3));
    assert_eq!((&*session.hostnqn, &*session.subnqn), (HOSTNQN, SUBNQN));

    ctl.modify_lun(ram, &new_lun(Storage::Ramdisk { size: 1 << 20 }))
        .unwrap();
    ctl.unmap(port, 8).unwrap();
    ctl.disable_port(port).unwrap();
    assert!(is_closed(&mut host) && is_closed(&mut io));
    ctl.remove_port(&SUBNQN.parse().unwrap()).unwrap();
    ctl.remove_lun("ramdisk", ram).unwrap();
    ctl.remove_lun("block", file).unwrap();
    assert!(ctl.luns().unwrap().luns.is_empty());
    assert_eq!(ctl.ports().unwrap().ports.len(), 3);
    assert_eq!(fake.misuses(), Vec::<String>::new());
    assert_eq!(fake.panicked(), None);
}

#[test]
fn a_list_of_any_length_is_read() {
    let (fake, _) = kernel();
    for index in 0..40 {
        let name = format!("nqn.2026-01.org.example:{}{index}", "x".repeat(150));
        fake.add_nvmf_port(&[("subnqn", &name), ("portid", "1")], false)
            .unwrap();
    }
    assert!(fake.port_list().len() > 4096);
    let ctl = Ctl::new(Arc::new(fake));
    assert_eq!(ctl.ports().unwrap().ports.len(), 43);
}

#[test]
fn the_kernels_refusals_are_understood() {
    let (fake, _) = kernel();
    let ctl = Ctl::new(Arc::new(fake.clone()));
    let port = ctl.create_port(&new_port()).unwrap();
    assert!(is_name_taken(&ctl.create_port(&new_port()).unwrap_err()));
    let long = NewPort {
        subnqn: "n".repeat(223).parse().unwrap(),
        ..new_port()
    };
    ctl.create_port(&long).unwrap();
    assert!(is_name_taken(&ctl.create_port(&long).unwrap_err()));
    let invalid = NewPort {
        nn: 0,
        ..new_port()
    };
    let error = ctl.create_port(&invalid).unwrap_err();
    assert!(!is_name_taken(&error));
    assert_eq!(error.text(), Some("Invalid number of namespaces"));
    let gone = ctl.remove_port(&"gone".parse().unwrap()).unwrap_err();
    assert_eq!(gone.text(), Some("SubNQN \"gone\" does not exist"));
    let error = ctl.map(port, 1, LunId(9)).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::ENXIO));
    let error = ctl.empty_map(PortId(77)).unwrap_err();
    assert_eq!(error.errno(), Some(Errno::ENXIO));
    let error = ctl.remove_lun("block", LunId(9)).unwrap_err();
    let why = "LUN 9 is not managed by the block backend";
    assert_eq!(error.text(), Some(why));
    assert!(!ctl.terminate(&Which::All).unwrap());
    assert!(fake.misuses().is_empty(), "{:?}", fake.misuses());
}

#[test]
fn a_lun_whose_file_is_missing_or_of_no_use_does_not_stay() {
    let (fake, _) = kernel();
    let ctl = Ctl::new(Arc::new(fake.clone()));
    let refused = |path: &str| {
        let path = path.to_owned();
        let made = ctl.create_lun(&new_lun(Storage::Block { path }));
        assert!(ctl.luns().unwrap().luns.is_empty());
        made.unwrap_err().text().unwrap().to_owned()
    };
    let why = "error opening /nonexistent/disk: 2";
    assert_eq!(refused("/nonexistent/disk"), why);
    // The kernel says that this one is made, and only its text says what is wrong with it.
    let empty = tempfile::NamedTempFile::new().unwrap();
    let path = empty.path().to_str().unwrap();
    let why = format!("file {path} size 0 < block size 512");
    assert_eq!(refused(path), why);
}

#[test]
fn which_associations_end_is_what_was_asked_for() {
    let (fake, _) = kernel();
    let ctl = Ctl::new(Arc::new(fake.clone()));
    let port = ctl.create_port(&new_port()).unwrap();
    ctl.empty_map(port).unwrap();
    ctl.enable_port(port).unwrap();
    let connect = |host: &str| {
        let (mut end, mut ours) = connection();
        let connect = Connect {
            hostnqn: host.parse().unwrap(),
            ..admin_connect()
        };
        ctl.hand_off(&handoff(connect), &mut ours).unwrap();
        completion(&mut end, false);
        end
    };
    let _hosts = ["h0", "h1", "h2", "h3"].map(connect);
    let left = |count: usize| {
        eventually("they end", || {
            ctl.sessions().unwrap().sessions.len() == count
        });
        let sessions = ctl.sessions().unwrap().sessions.into_iter();
        sessions.map(|it| it.hostnqn).collect::<Vec<_>>()
    };
    assert!(ctl.terminate(&Which::Host("h1".parse().unwrap())).unwrap());
    assert_eq!(left(3), ["h0", "h2", "h3"]);
    assert!(ctl.terminate(&Which::Cntlid(0)).unwrap());
    assert_eq!(left(2), ["h2", "h3"]);
    assert!(!ctl.terminate(&Which::Cntlid(0)).unwrap());
    assert!(ctl.terminate(&Which::All).unwrap());
    assert!(left(0).is_empty());
    assert!(fake.misuses().is_empty(), "{:?}", fake.misuses());
}

#[test]
fn a_refused_hand_off_says_why_and_whose_the_socket_is() {
    let (fake, _) = kernel();
    let ctl = Ctl::new(Arc::new(fake.clone()));
    let port = ctl.create_port(&new_port()).unwrap();
    ctl.empty_map(port).unwrap();
    let refused = |connect: Connect| {
        let (_host, mut ours) = connection();
        let error = ctl.hand_off(&handoff(connect), &mut ours).unwrap_err();
        (error.refused_for, error.socket)
    };
    let offline = (RefusedFor::Offline, Socket::Ours);
    assert_eq!(refused(admin_connect()), offline);
    let unknown = Connect {
        subnqn: "gone".parse().unwrap(),
        ..admin_connect()
    };
    let subsystem = (RefusedFor::Subsystem, Socket::Ours);
    assert_eq!(refused(unknown), subsystem);
    ctl.enable_port(port).unwrap();
    let mut odd = handoff(admin_connect());
    odd.entries = 5000;
    let (_host, mut ours) = connection();
    let error = ctl.hand_off(&odd, &mut ours).unwrap_err();
    assert_eq!(error.refused_for, RefusedFor::Parameters);
    let taken = |errno| (RefusedFor::Other(Some(errno)), Socket::Taken);
    assert_eq!(refused(io_connect(0, 1)), taken(Errno::ENOENT));
    let (_host, mut ours) = connection();
    ctl.hand_off(&handoff(admin_connect()), &mut ours).unwrap();
    assert_eq!(refused(io_connect(0, 1)), taken(Errno::EINVAL));
    // What was taken once cannot be handed over again: it is not ours, and the kernel says errno 6.
    let again = ctl.hand_off(&handoff(admin_connect()), &mut ours);
    let again = again.unwrap_err();
    let number = RefusedFor::Other(Some(Errno::ENXIO));
    assert_eq!((again.refused_for, again.socket), (number, Socket::Taken));
}

/// A request whose success does not matter.
type Ask = fn(&Ctl) -> Result<(), KernelError>;

#[test]
fn every_request_tells_its_errno_and_most_tell_their_text() {
    let asks: &[(Ask, bool)] = &[
        (|ctl| ctl.create_port(&new_port()).map(drop), true),
        (|ctl| ctl.remove_port(&SUBNQN.parse().unwrap()), true),
        (|ctl| ctl.ports().map(drop), true),
        (|ctl| ctl.luns().map(drop), true),
        (|ctl| ctl.sessions().map(drop), true),
        (|ctl| ctl.terminate(&Which::All).map(drop), true),
        (
            |ctl| {
                let lun = new_lun(Storage::Ramdisk { size: 4096 });
                ctl.create_lun(&lun).map(drop)
            },
            true,
        ),
        (|ctl| ctl.remove_lun("ramdisk", LunId(0)), true),
        (
            |ctl| ctl.modify_lun(LunId(0), &new_lun(Storage::Ramdisk { size: 4096 })),
            true,
        ),
        (|ctl| ctl.port_statistics().map(drop), false),
        (|ctl| ctl.enable_port(PortId(3)), false),
        (|ctl| ctl.disable_port(PortId(3)), false),
        (|ctl| ctl.empty_map(PortId(3)), false),
        (|ctl| ctl.drop_map(PortId(3)), false),
        (|ctl| ctl.map(PortId(3), 1, LunId(0)), false),
        (|ctl| ctl.unmap(PortId(3), 1), false),
        (
            |ctl| {
                let (_host, mut ours) = connection();
                let handed = ctl.hand_off(&handoff(admin_connect()), &mut ours);
                handed.map_err(|error| error.error)
            },
            true,
        ),
    ];
    for (index, (ask, has_text)) in asks.iter().enumerate() {
        let faults = Faults::new();
        let ctl = Ctl::new(Arc::new(Faulty::new(kernel().0, faults.clone())));
        faults.order_at(0, FaultKind::Fail(Errno::EPERM));
        let error = ask(&ctl).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::EPERM), "{index}");
        let text = error.to_string();
        assert!(
            text.starts_with("cannot ") && text.contains("EPERM"),
            "{text}"
        );
        if *has_text {
            let verdict = Verdict::new(9, "because\x07");
            faults.order_at(0, FaultKind::Refuse(verdict));
            let error = ask(&ctl).unwrap_err();
            let KernelError::Refused { status, text, .. } = &error else {
                panic!("{index}: {error:?}");
            };
            assert_eq!((*status, text.as_str()), (9, "because\\u{7}"));
        }
    }
}
