//! The hand-off once the socket is taken: who answers what, what panics, and what is taken unseen.

use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use nvmf_kmod::Errno;
use nvmf_kmod::fake::{Bookkeeper, FakeKernel, LunView, Plane, PortView, Session, TakenQueue};
use nvmf_kmod::nv::Value;
use nvmf_proto::connect::Connect;

use super::attempt::{Attempt, with_controller};
use super::support::{
    DISABLE_PORT, Ended, SUBNQN, admin_connect, completion, handoff, io_connect, is_closed, kernel,
    online_port, switch,
};

#[test]
fn the_kernel_answers_an_accepted_connect_itself() {
    let (fake, books) = kernel();
    let port = online_port(&fake, SUBNQN);
    let mut hosts = Vec::new();
    for cntlid in 0..2 {
        let (ended, mut host) = Attempt::new(admin_connect()).expect_taken(&fake);
        assert_eq!(ended, Ended::new(0, ""));
        let cqe = [cntlid, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x34, 0x12, 0, 0];
        assert_eq!(completion(&mut host, false), cqe);
        hosts.push(host);
    }
    assert!(books.set_queues(port, 1, 1));
    // Without flow control the head is FFFFh; with digests the answer has one.
    let mut io = handoff(Connect {
        sq_flow_control: false,
        ..io_connect(1, 1)
    });
    io.framing.header_digest = true;
    io.framing.data_digest = true;
    let (ended, mut host) = Attempt::of(&io).expect_taken(&fake);
    assert_eq!(ended, Ended::new(0, ""));
    let cqe = [1, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0x34, 0x12, 0, 0];
    assert_eq!(completion(&mut host, true), cqe);
    assert!(fake.misuses().is_empty(), "{:?}", fake.misuses());

    let head = Attempt::new(admin_connect()).param("sqhd", Value::Number(5));
    let (_, mut host) = head.expect_taken(&fake);
    assert_eq!(completion(&mut host, false)[8..10], [5, 0]);
}

/// The answer and the end of a queue that was taken and refused with this number.
fn refusal(attempt: Attempt, kernel: &FakeKernel, errno: i32) -> [u8; 16] {
    let (ended, mut host) = attempt.expect_taken(kernel);
    let why = format!("Failed to handoff I/O queue: {errno}");
    assert_eq!(ended, Ended::new(1, why));
    let cqe = completion(&mut host, false);
    assert!(is_closed(&mut host));
    cqe
}

/// A completion: Invalid Parameters, or another status, without Do Not Retry.
fn cqe(sct: u16, sc: u16, iattr: u8, ipo: u16) -> [u8; 16] {
    let [ipo_low, ipo_high] = ipo.to_le_bytes();
    let [low, high] = (sct << 9 | sc << 1).to_le_bytes();
    let zeroes = [0; 9];
    let mut cqe = [0; 16];
    cqe[..3].copy_from_slice(&[ipo_low, ipo_high, iattr]);
    cqe[3..12].copy_from_slice(&zeroes);
    cqe[12..].copy_from_slice(&[0x34, 0x12, low, high]);
    cqe
}

#[test]
fn an_io_queue_without_a_controller_is_answered_by_a_patched_kernel() {
    let (fake, _, _, _host) = with_controller();
    let answer = refusal(Attempt::new(io_connect(1, 1)), &fake, 2);
    assert_eq!(answer, cqe(1, 0x82, 1, 16));
}

#[test]
fn cve_2026_4652_panics_a_kernel_without_the_remedy() {
    let (fake, books) = kernel();
    let fake = fake.unpatched();
    let port = online_port(&fake, SUBNQN);
    let (_, _host) = Attempt::new(admin_connect()).expect_taken(&fake);
    assert!(books.set_queues(port, 0, 1));
    let (ended, _io) = Attempt::new(io_connect(0, 1)).expect_taken(&fake);
    assert_eq!(ended, Ended::new(0, ""));
    assert_eq!(fake.panicked(), None);

    let mut attempt = Attempt::new(io_connect(1, 1));
    assert_eq!(attempt.send(&fake), Err(Errno::EIO));
    assert!(fake.panicked().unwrap().contains("page fault"));
    // It was taken already, and nobody answers.
    assert!(!attempt.is_ours());
    assert!(is_closed(&mut attempt.host));
    assert_eq!(switch(&fake, DISABLE_PORT, port), Err(Errno::EIO));
}

#[test]
fn an_io_queue_must_be_of_the_same_host() {
    let (fake, _, _, _host) = with_controller();
    let attempt = || Attempt::new(io_connect(0, 1));
    let other = attempt().wire("data", 0, &[8]);
    assert_eq!(refusal(other, &fake, 22), cqe(1, 0x82, 1, 0));
    let other = attempt().wire("data", 512, b"NQN");
    assert_eq!(refusal(other, &fake, 22), cqe(1, 0x82, 1, 512));
    // All 256 bytes count, those behind the NUL too.
    let other = attempt().wire("data", 767, &[1]);
    assert_eq!(refusal(other, &fake, 22), cqe(1, 0x82, 1, 512));
    // The association is kept.
    let (ended, _io) = attempt().expect_taken(&fake);
    assert_eq!(ended, Ended::new(0, ""));
}

#[test]
fn an_io_queue_must_be_one_of_those_that_were_granted() {
    let (fake, books, port, _host) = with_controller();
    let attempt = |qid| Attempt::new(io_connect(0, qid));
    assert_eq!(refusal(attempt(3), &fake, 22), cqe(1, 0x82, 0, 42));
    let (ended, _second) = attempt(2).expect_taken(&fake);
    assert_eq!(ended, Ended::new(0, ""));
    assert_eq!(refusal(attempt(2), &fake, 22), cqe(0, 0x0c, 0, 0));
    assert!(books.shut_down(port, 0));
    assert_eq!(refusal(attempt(1), &fake, 22), cqe(1, 0x82, 1, 16));
    // After a reset the host has to ask again.
    assert!(books.enable(port, 0));
    assert_eq!(refusal(attempt(1), &fake, 22), cqe(0, 0x0c, 0, 0));
    assert!(books.set_queues(port, 0, 1));
    let (ended, _first) = attempt(1).expect_taken(&fake);
    assert_eq!(ended, Ended::new(0, ""));
}

#[test]
fn of_several_reasons_to_refuse_a_taken_queue_the_kernels_first_counts() {
    let (fake, books, port, _host) = with_controller();
    let (_, _second) = Attempt::new(io_connect(0, 2)).expect_taken(&fake);
    let all_wrong = |keep: usize| {
        let mut attempt = Attempt::new(io_connect(0, 2));
        if keep > 1 {
            attempt = attempt.wire("data", 512, b"NQN");
        }
        if keep > 2 {
            attempt = attempt.wire("data", 0, &[8]);
        }
        if keep > 3 {
            attempt = attempt.wire("data", 16, &[9]);
        }
        attempt
    };
    assert_eq!(refusal(all_wrong(0), &fake, 22), cqe(0, 0x0c, 0, 0));
    assert!(books.set_queues(port, 0, 1));
    assert_eq!(refusal(all_wrong(0), &fake, 22), cqe(1, 0x82, 0, 42));
    assert!(books.shut_down(port, 0));
    assert_eq!(refusal(all_wrong(1), &fake, 22), cqe(1, 0x82, 1, 16));
    assert_eq!(refusal(all_wrong(2), &fake, 22), cqe(1, 0x82, 1, 512));
    assert_eq!(refusal(all_wrong(3), &fake, 22), cqe(1, 0x82, 1, 0));
    assert_eq!(refusal(all_wrong(4), &fake, 2), cqe(1, 0x82, 1, 16));
}

#[test]
fn a_terminated_association_takes_no_queues() {
    let (fake, books, port, _host) = with_controller();
    books.hold_teardown(true);
    books.terminate(port, 0);
    let answer = refusal(Attempt::new(io_connect(0, 1)), &fake, 22);
    assert_eq!(answer, cqe(1, 0x82, 1, 16));
    books.hold_teardown(false);
}

#[test]
fn without_a_cntlid_left_an_admin_queue_is_refused_as_an_invalid_host() {
    let books = Bookkeeper::with_controllers(1);
    let fake = FakeKernel::new(Arc::new(books));
    online_port(&fake, SUBNQN);
    let (_, _host) = Attempt::new(admin_connect()).expect_taken(&fake);
    let (ended, mut host) = Attempt::new(admin_connect()).expect_taken(&fake);
    let why = "Failed to handoff admin queue: 12";
    assert_eq!(ended, Ended::new(1, why));
    assert_eq!(completion(&mut host, false), cqe(1, 0x84, 0, 0));
    assert!(is_closed(&mut host));
}

/// A plane whose port goes offline while a queue is on the way.
struct TooLate(Bookkeeper);

impl Plane for TooLate {
    fn online(&self, port: PortView) {
        self.0.online(port);
    }

    fn offline(&self, port: u32) {
        self.0.offline(port);
    }

    fn mapped(&self, port: u32, nsid: u32, lun: Option<LunView>) {
        self.0.mapped(port, nsid, lun);
    }

    fn hand_off(&self, port: u32, queue: TakenQueue) -> Result<(), Errno> {
        self.0.offline(port);
        self.0.hand_off(port, queue)
    }

    fn sessions(&self) -> Vec<Session> {
        self.0.sessions()
    }

    fn terminate(&self, port: u32, cntlid: u16) {
        self.0.terminate(port, cntlid);
    }
}

#[test]
fn a_port_that_goes_offline_in_between_closes_without_an_answer() {
    let fake = FakeKernel::new(Arc::new(TooLate(Bookkeeper::new())));
    online_port(&fake, SUBNQN);
    let (ended, mut host) = Attempt::new(admin_connect()).expect_taken(&fake);
    // The same number as that of a socket that cannot be used.
    let why = "Failed to handoff admin queue: 6";
    assert_eq!(ended, Ended::new(1, why));
    assert!(is_closed(&mut host));
}

#[test]
fn what_follows_a_wild_pointer_or_divides_by_zero_is_a_panic() {
    let number = |number| Value::Number(number);
    let panics = |fake: &FakeKernel, mut attempt: Attempt| {
        assert_eq!(attempt.send(fake), Err(Errno::EIO));
        assert!(fake.panicked().is_some());
    };
    // Only eight bits are kept: an HPDA of 63 makes 256, and that is 0.
    for txpda in [0, 256] {
        let (fake, _) = kernel();
        online_port(&fake, SUBNQN);
        let attempt = Attempt::new(admin_connect());
        panics(&fake, attempt.param("txpda", number(txpda)));
    }
    for trtype in [0, 1, 2, 1 << 32] {
        let (fake, _) = kernel();
        online_port(&fake, SUBNQN);
        let attempt = Attempt::new(admin_connect());
        panics(&fake, attempt.outer("trtype", number(trtype)));
    }
    let fake = kernel().0.without("nvmf_tcp");
    online_port(&fake, SUBNQN);
    panics(&fake, Attempt::new(admin_connect()));
}

#[test]
fn what_the_kernel_takes_unseen_is_taken_and_reported() {
    type Spoil = fn(Attempt) -> Attempt;
    let admin: &[Spoil] = &[
        |it| it.wire("cmd", 0, &[0x7e]),
        |it| it.wire("cmd", 4, &[4]),
        |it| it.wire("cmd", 1, &[0]),
        |it| it.wire("cmd", 32, &[1]),
        |it| it.wire("cmd", 40, &[1]),
        |it| it.wire("cmd", 44, &[30]),
        |it| it.wire("data", 16, &[0, 0]),
        |it| it.wire("data", 0, &[0; 16]),
        |it| it.wire("data", 256 + 100, b"x"),
        |it| it.wire("data", 512 + 255, b"x"),
        |it| it.wire("data", 512, &[b'x'; 256]),
        |it| it.wire("data", 512, &[0; 256]),
        |it| it.wire("data", 512, b"nqn<"),
        |it| it.wire("data", 512, b"nqn\""),
        |it| it.wire("data", 512, b"nqn\x07"),
        |it| it.wire("data", 512, "nqnü".as_bytes()),
        |it| it.param("sq_flow_control", Value::Bool(false)),
        |it| it.param("sqhd", Value::Number(1)),
        |it| it.param("max_icd", Value::Number(1)),
        |it| it.param("rxpda", Value::Number(3)),
        |it| it.param("txpda", Value::Number(132)),
        |it| it.param("maxh2cdata", Value::Number(4095)),
        |it| it.param("maxr2t", Value::Number(1 << 32)),
    ];
    for (index, spoil) in admin.iter().enumerate() {
        let (fake, _) = kernel();
        online_port(&fake, SUBNQN);
        let (ended, _host) = spoil(Attempt::new(admin_connect())).expect_taken(&fake);
        assert_eq!(ended, Ended::new(0, ""), "{index}");
        assert!(!fake.misuses().is_empty(), "{index}");
    }
    let io: &[Spoil] = &[
        |it| it.wire("cmd", 48, &[1]),
        |it| {
            it.wire("cmd", 44, &2047_u16.to_le_bytes())
                .param("qsize", Value::Number(2048))
        },
    ];
    for spoil in io {
        let (fake, _, _, _host) = with_controller();
        let (ended, _io) = spoil(Attempt::new(io_connect(0, 1))).expect_taken(&fake);
        assert_eq!(ended, Ended::new(0, ""));
        assert_eq!(fake.misuses().len(), 1, "{:?}", fake.misuses());
    }
}

#[test]
fn a_socket_that_was_never_connected_is_taken_and_reported() {
    let (fake, _) = kernel();
    online_port(&fake, SUBNQN);
    let mut attempt = Attempt::new(admin_connect());
    attempt.ours = TcpListener::bind("127.0.0.1:0").unwrap().into();
    let number = u64::try_from(attempt.ours.as_raw_fd()).unwrap();
    let mut attempt = attempt.param("fd", Value::Number(number));
    attempt.send(&fake).unwrap();
    assert!(!attempt.is_ours());
    assert!(fake.misuses()[0].contains("never was connected"));
}
