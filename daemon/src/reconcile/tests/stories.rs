//! Starts, reloads, stops and accidents, one at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use nvmf_kmod::fake::faults::{Fault, FaultKind, Verdict};
use nvmf_kmod::kernel::Call;
use nvmf_kmod::request::LunId;
use nvmf_kmod::{Ctl, Errno, Kernel, KernelError};

use super::machine::{Deed, Machine, NAMES};
use super::oracle;
use super::wish::{BAD, LunWish, PortWish, Wish};
use crate::reconcile::{
    ApplyError, Desired, Outcome, ReconcileError, Report, Step, Subject, everything, reconcile,
    withdraw,
};

/// A port with namespaces of the first file, the second, and so on.
fn port(name: usize, luns: u32) -> PortWish {
    let lun = |nsid| (nsid, LunWish::Ours(nsid as usize - 1, 0));
    PortWish {
        name,
        options: 0,
        namespaces: Some((1..=luns).map(lun).collect()),
    }
}

fn desired(machine: &Machine, ports: Vec<PortWish>) -> Desired {
    Wish(ports).desired(machine)
}

fn good(machine: &Machine, desired: &Desired) -> Report {
    let report = reconcile(&machine.daemon(), desired).unwrap();
    assert_eq!(oracle::holds(machine, desired), Ok(()));
    assert_eq!(machine.misuses(), [""; 0]);
    report
}

fn failure(machine: &Machine, desired: &Desired) -> ApplyError {
    match reconcile(&machine.daemon(), desired) {
        Err(ReconcileError::Apply(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn fault(code: u32, skip: u32, kind: FaultKind) -> Fault {
    Fault {
        code: Some(code),
        skip,
        kind,
    }
}

#[test]
fn a_start_a_restart_a_reload_and_a_stop() {
    let machine = Machine::new();
    let two = desired(&machine, vec![port(0, 2), port(1, 0)]);
    let report = good(&machine, &two);
    assert_eq!(report.to_string(), "ports: 2 made; LUNs: 2 made");
    let report = good(&machine, &two);
    assert_eq!(report.to_string(), "ports: 2 adopted; LUNs: 2 adopted");
    let other = PortWish {
        options: 3,
        ..port(1, 0)
    };
    let reloaded = desired(&machine, vec![port(0, 1), other]);
    let report = good(&machine, &reloaded);
    assert_eq!(
        report.to_string(),
        "ports: 1 changed, 1 made anew; LUNs: 1 adopted, 1 removed"
    );
    let report = good(&machine, &Desired::nothing());
    assert_eq!(report.to_string(), "ports: 2 removed; LUNs: 1 removed");
    let report = good(&machine, &Desired::nothing());
    assert_eq!(report.to_string(), "ports: none; LUNs: none");
}

#[test]
fn a_daemon_that_finds_all_well_asks_for_nothing() {
    let machine = Machine::new();
    let wanted = desired(&machine, vec![port(0, 3)]);
    good(&machine, &wanted);
    machine.changes.lock().unwrap().clear();
    good(&machine, &wanted);
    assert_eq!(*machine.changes.lock().unwrap(), [0; 0]);
}

#[test]
fn after_a_crash_at_any_request_the_next_start_goes_on() {
    for after in [false, true] {
        for request in 0.. {
            let machine = Machine::new();
            let wanted = desired(&machine, vec![port(0, 2), port(1, 1)]);
            let crash = match after {
                false => FaultKind::Crash,
                true => FaultKind::CrashAfter,
            };
            machine.faults.order_at(request, crash);
            let result = reconcile(&machine.daemon(), &wanted);
            if machine.faults.outstanding() > 0 {
                // It was through before.
                assert!(result.is_ok() && request > 10);
                break;
            }
            machine.faults.clear();
            good(&machine, &wanted);
        }
    }
}

#[test]
fn a_port_whose_answer_is_lost_is_found() {
    for kind in [
        FaultKind::RefuseAfter(Verdict::new(2, "Cannot copyout() the result.")),
        FaultKind::RefuseAfter(Verdict::new(2, "Result nvlist too large.")),
        FaultKind::FailAfter(Errno::EFAULT),
    ] {
        let machine = Machine::new();
        let wanted = desired(&machine, vec![port(0, 1)]);
        machine.faults.order(fault(nvmf_sys::CTL_PORT_REQ, 0, kind));
        good(&machine, &wanted);
    }
}

#[test]
fn a_lun_whose_answer_is_lost_is_found() {
    let machine = Machine::new();
    let wanted = desired(&machine, vec![port(0, 2)]);
    let lost = FaultKind::FailAfter(Errno::EFAULT);
    machine.faults.order(fault(nvmf_sys::CTL_LUN_REQ, 1, lost));
    good(&machine, &wanted);
}

#[test]
fn a_removal_that_a_signal_interrupts_is_asked_for_again() {
    let machine = Machine::new();
    good(&machine, &desired(&machine, vec![port(0, 1)]));
    for _ in 0..5 {
        let interrupted = FaultKind::Fail(Errno::EINTR);
        let fault = fault(nvmf_sys::CTL_LUN_REQ, 0, interrupted);
        machine.faults.order(fault);
    }
    good(&machine, &Desired::nothing());
    assert_eq!(machine.faults.outstanding(), 0);
}

#[test]
fn a_removal_that_is_interrupted_and_done_all_the_same_strikes_nobody_else() {
    let machine = Machine::new();
    good(&machine, &desired(&machine, vec![port(0, 1)]));
    for kind in [
        FaultKind::FailAfter(Errno::EINTR),
        FaultKind::RefuseAfter(Verdict::new(2, "")),
    ] {
        let fault = fault(nvmf_sys::CTL_LUN_REQ, 0, kind);
        machine.faults.order(fault);
        good(&machine, &Desired::nothing());
        machine.perform(&Deed::ForeignLun {
            ramdisk: false,
            id: Some(0),
        });
        good(&machine, &desired(&machine, vec![port(0, 1)]));
    }
    assert_eq!(machine.foreign_luns(), [0]);
}

#[test]
fn storage_of_no_use_is_told_in_the_kernels_words_and_nothing_is_left() {
    for (bad, words) in [
        (BAD, "error opening "),
        (BAD + 1, " size 100 < block size 512"),
    ] {
        let machine = Machine::new();
        let mut wish = port(1, 2);
        let luns = wish.namespaces.as_mut().unwrap();
        luns.insert(3, LunWish::Ours(bad, 0));
        let wanted = desired(&machine, vec![port(0, 1), wish]);
        let error = failure(&machine, &wanted);
        assert!(error.source.text().unwrap().contains(words), "{error:?}");
        assert!(matches!(*error.step, Step::CreateLun { .. }));
        assert_eq!(error.taken_back.len(), 3);
        assert_eq!(oracle::holds(&machine, &Desired::nothing()), Ok(()));
        assert_eq!(machine.misuses(), [""; 0]);
    }
}

#[test]
fn what_a_failed_reload_has_made_is_taken_back_and_what_was_there_stays() {
    let machine = Machine::new();
    let before = desired(&machine, vec![port(0, 1)]);
    good(&machine, &before);
    // Namespace 2 is mapped, and then the second port cannot be enabled.
    let wanted = desired(&machine, vec![port(0, 2), port(1, 1)]);
    let refused = FaultKind::Fail(Errno::ENOMEM);
    machine
        .faults
        .order(fault(nvmf_sys::CTL_ENABLE_PORT, 0, refused));
    let error = failure(&machine, &wanted);
    assert_eq!(
        error.to_string().replace("nqn.2014-08.org.example:", ""),
        "cannot enable the port of b; taken back: port 4 (b), namespace 2 of port 3 (a), \
         LUN 2 (namespace 1 of b), LUN 1 (namespace 2 of a)"
    );
    assert_eq!(oracle::holds(&machine, &before), Ok(()));
    assert_eq!(machine.misuses(), [""; 0]);
    good(&machine, &wanted);
}

#[test]
fn a_lun_stays_while_the_port_that_shows_it_cannot_be_taken_back() {
    let machine = Machine::new();
    let wanted = desired(&machine, vec![port(0, 1)]);
    let refused = || FaultKind::Refuse(Verdict::new(2, "no"));
    let enable = FaultKind::Fail(Errno::ENOMEM);
    machine
        .faults
        .order(fault(nvmf_sys::CTL_ENABLE_PORT, 0, enable));
    machine
        .faults
        .order(fault(nvmf_sys::CTL_PORT_REQ, 1, refused()));
    let error = failure(&machine, &wanted);
    assert_eq!(
        error.to_string().replace("nqn.2014-08.org.example:", ""),
        "cannot enable the port of a; left behind: port 3 (a) (cannot remove the port of a: the \
         kernel says: no); left behind: LUN 0 (namespace 1 of a)"
    );
    good(&machine, &wanted);
}

#[test]
fn a_port_that_cannot_be_removed_does_not_keep_the_others_from_it() {
    let machine = Machine::new();
    let wanted = desired(&machine, vec![port(0, 1), port(1, 1)]);
    good(&machine, &wanted);
    // The first is refused every time; the second comes second, once.
    for nth in [0, 2, 3, 4, 5] {
        let refused = FaultKind::Refuse(Verdict::new(2, "no"));
        let fault = fault(nvmf_sys::CTL_PORT_REQ, nth, refused);
        machine.faults.order(fault);
    }
    let error = withdraw(&machine.daemon()).unwrap_err();
    assert!(
        error.to_string().starts_with("cannot remove port 3"),
        "{error}"
    );
    assert_eq!(machine.faults.outstanding(), 0);
    let left = machine.our_ports();
    let left: Vec<_> = left
        .iter()
        .map(|port| port.option("subnqn").unwrap())
        .collect();
    assert_eq!(left, [NAMES[0]]);
    let luns = machine.our_luns();
    let [lun] = &luns[..] else { panic!("{luns:?}") };
    assert_eq!(
        lun.option(crate::reconcile::marker::LUN),
        Some(&*format!("1 {}", NAMES[0]))
    );
    assert_eq!(machine.misuses(), [""; 0]);
    withdraw(&machine.daemon()).unwrap();
    assert_eq!(oracle::holds(&machine, &Desired::nothing()), Ok(()));
}

#[test]
fn a_port_of_ctld_is_not_touched() {
    let machine = Machine::new();
    machine.perform(&Deed::NvmfPort {
        name: 0,
        ctld: true,
        map: vec![],
        online: true,
    });
    let wanted = desired(&machine, vec![port(1, 1), port(0, 0)]);
    let all = machine.all();
    let error = reconcile(&machine.daemon(), &wanted).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{} is served already by port 3, which ctld made (transport group \"tg0\"); \
             stop ctld or choose another name",
            NAMES[0]
        )
    );
    assert_eq!(machine.all(), all);
}

#[test]
fn a_file_that_grows_grows_under_its_hosts() {
    let machine = Machine::new();
    good(&machine, &desired(&machine, vec![port(0, 2)]));
    machine.perform(&Deed::Resize {
        file: 1,
        bytes: (3 << 20) + 100,
    });
    let report = good(&machine, &desired(&machine, vec![port(0, 2)]));
    assert_eq!(
        report.to_string(),
        "ports: 1 adopted; LUNs: 1 adopted, 1 changed"
    );
    assert_eq!(machine.our_luns()[1].size_blocks, (3 << 20) / 512);
}

#[test]
fn a_report_tells_what_became_of_what() {
    let machine = Machine::new();
    let report = good(&machine, &desired(&machine, vec![port(0, 1)]));
    let nqn: nvmf_proto::nqn::Nqn = NAMES[0].parse().unwrap();
    let key = crate::reconcile::NamespaceKey {
        nqn: nqn.clone(),
        nsid: 1,
    };
    let made = BTreeMap::from([
        (Subject::Port(nqn), Outcome::Made),
        (Subject::Namespace(key), Outcome::Made),
    ]);
    assert_eq!(report.outcomes, made);
}

/// A kernel that does nothing about some requests to enable a port, and says nothing.
struct Deaf {
    kernel: nvmf_kmod::fake::FakeKernel,
    enables: AtomicU32,
}

impl Kernel for Deaf {
    fn ioctl(&self, call: &mut Call<'_>) -> Result<(), Errno> {
        let lost = call.code() == nvmf_sys::CTL_ENABLE_PORT
            && self
                .enables
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                    left.checked_sub(1)
                })
                .is_ok();
        if lost {
            Ok(())
        } else {
            self.kernel.ioctl(call)
        }
    }
}

#[test]
fn a_port_that_did_not_go_online_is_seen_and_asked_again() {
    let machine = Machine::new();
    let wanted = desired(&machine, vec![port(0, 1)]);
    let deaf = |enables: u32| {
        Ctl::new(Arc::new(Deaf {
            kernel: machine.kernel.clone(),
            enables: enables.into(),
        }))
    };
    let error = reconcile(&deaf(u32::MAX), &wanted).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "the kernel did all that it was asked to, and still there is to do: enable port 3 ({})",
            NAMES[0]
        )
    );
    reconcile(&deaf(1), &wanted).unwrap();
    assert_eq!(oracle::holds(&machine, &wanted), Ok(()));
}

#[test]
fn a_kernel_that_does_not_tell_is_not_changed() {
    let machine = Machine::new();
    let wanted = desired(&machine, vec![port(0, 1)]);
    let error = KernelError::Ioctl {
        what: "list the LUNs".into(),
        errno: Errno::EPERM,
    };
    machine.faults.order_at(0, FaultKind::Fail(Errno::EPERM));
    assert_eq!(
        reconcile(&machine.daemon(), &wanted),
        Err(ReconcileError::Observe(error))
    );
    assert_eq!(*machine.changes.lock().unwrap(), [0; 0]);
}

#[test]
fn the_inventory_names_every_lun_and_its_maker() {
    let machine = Machine::new();
    machine.perform(&Deed::ForeignLun {
        ramdisk: true,
        id: Some(7),
    });
    good(&machine, &desired(&machine, vec![port(0, 1)]));
    let luns = everything(&machine.by_hand()).unwrap();
    let (file, text) = (&machine.storages.files[0], |n: usize| luns[n].to_string());
    assert_eq!(
        text(0),
        format!(
            "LUN 0: block {file}, 1048576 bytes in blocks of 512, made by nvmfd for namespace 1 of \
             {}",
            NAMES[0]
        )
    );
    assert_eq!(
        text(1),
        format!("LUN 7: ramdisk {file}, 1048576 bytes in blocks of 512, made by ctld as x")
    );
    assert_eq!((luns[1].id, luns.len()), (LunId(7), 2));
}
