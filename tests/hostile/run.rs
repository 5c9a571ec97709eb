//! How a row is run: its cases one after the other on a target that it has to itself, which afterwards
//! holds what it held before and serves its healthy host. Few targets do for all rows.

use std::sync::{Mutex, MutexGuard, PoisonError};

use nvmf_proto::connect::ConnectReject;
use nvmf_proto::cqe::Completion;
use nvmf_proto::opcode::nvm;
use nvmf_proto::pdu::{Fes, IcReq, PduType};
use nvmf_proto::sqe::{SglDescriptor, Sqe};
use nvmf_proto::status::Status;
use nvmfd_tests::peer::{Host, PATIENCE, PeerError, Raw, nvm_sqe};
use nvmfd_tests::target::Setup;
use zerocopy::IntoBytes;

use crate::scene::{ENABLED, Mode, Result, Scene, configure, solicited};
use crate::table::{Act, Case, Gets, Queue, Stage, rows};

/// Runs a row in this mode.
pub(crate) fn row(number: u8, mode: Mode) -> Result {
    let row = rows().find(|row| row.number == number).expect("a row");
    let mut shared = None;
    for case in row.cases {
        println!("row {number}: {}", case.name);
        if let Act::Own(tell) = case.act {
            tell(mode)?;
            continue;
        }
        if shared.is_none() {
            shared = Some(borrow(mode)?);
        }
        if let Some(scene) = &mut shared {
            run(case, scene)?;
        }
    }
    let Some(mut scene) = shared else {
        return Ok(());
    };
    scene.is_as_before()?;
    give_back(scene);
    Ok(())
}

/// Targets that are shared. One on which a row has failed is not among them again.
struct Pool {
    /// Those that nobody attacks now.
    idle: Vec<Scene>,
    /// How many are attacked.
    lent: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool {
    idle: Vec::new(),
    lent: 0,
});

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

fn borrow(mode: Mode) -> Result<Scene> {
    let mut pool = pool();
    pool.lent += 1;
    let place = pool.idle.iter().position(|scene| scene.mode() == mode);
    let scene = place.map(|place| pool.idle.swap_remove(place));
    drop(pool);
    match scene {
        Some(mut scene) => {
            scene.begins_again();
            Ok(scene)
        }
        None => Scene::in_mode(mode, &Setup::default()),
    }
}

/// The last one ends them all: nothing drops a static, and daemons would outlive the tests.
fn give_back(scene: Scene) {
    let mut pool = pool();
    pool.lent -= 1;
    pool.idle.push(scene);
    let ended = match pool.lent {
        0 => std::mem::take(&mut pool.idle),
        _ => Vec::new(),
    };
    drop(pool);
    drop(ended);
}

/// Runs a case of the shared target.
pub(crate) fn run(case: &Case, scene: &mut Scene) -> Result {
    let expected = case.gets(scene.mode());
    let name = case.name;
    match case.act {
        Act::Opens(make) => {
            for address in [scene.io(), scene.target.discovery()] {
                let mut raw = Raw::connect(address)?;
                raw.send(&make())?;
                // Who is not told to go on may have nothing more to say.
                let _ = raw.stream().shutdown(std::net::Shutdown::Write);
                assert_eq!(end(&mut raw)?, expected, "{name}");
            }
        }
        Act::IcReq { at, value } => {
            let mut icreq = IcReq::new(0, 0, false, false).as_bytes().to_vec();
            icreq[at] = value;
            let mut raw = Raw::connect(scene.io())?;
            raw.send(&icreq)?;
            assert_eq!(end(&mut raw)?, expected, "{name}");
        }
        Act::Header(stage, header) => {
            let (mut raw, _host) = at_stage(scene, stage)?;
            raw.send(&header)?;
            assert_eq!(end(&mut raw)?, expected, "{name}");
        }
        Act::Says(stage, make) => {
            let (mut raw, _host) = at_stage(scene, stage)?;
            let bytes = make(&raw);
            raw.send(&bytes)?;
            assert_eq!(end(&mut raw)?, expected, "{name}");
        }
        Act::First(make) => {
            let mut raw = Raw::negotiate(scene.io(), false, false)?;
            raw.send(&raw.capsule(make(), &[]))?;
            let (_, completion) = raw.response()?;
            assert_eq!(status(completion), expected, "{name}");
            assert_eq!(raw.until_closed(PATIENCE)?, b"", "{name}");
        }
        Act::Connect(queue, spoil) => {
            let (wishes, host) = match queue {
                Queue::Admin => (scene.admin(), None),
                Queue::Io => {
                    let (host, wishes) = scene.without_queue(3)?;
                    (wishes, Some(host))
                }
            };
            let (mut sqe, mut data) = wishes.connect.to_wire(5);
            spoil(&mut sqe, &mut data);
            let got = connect(scene, sqe, data.as_bytes())?;
            assert_eq!(got, expected, "{name}");
            drop(host);
        }
        Act::ConnectOf(length) => {
            let (mut sqe, _) = scene.admin().connect.to_wire(5);
            sqe.sgl = SglDescriptor::in_capsule(length);
            let got = connect(scene, sqe, &vec![1; length as usize])?;
            assert_eq!(got, expected, "{name}");
        }
        Act::Data(make) => {
            let (mut raw, tags, _host) = solicited(scene, 32_768)?;
            let pdus = make(&raw, tags);
            raw.send(&pdus)?;
            assert_eq!(end(&mut raw)?, expected, "{name}");
        }
        Act::Read(spoil) => {
            let (mut raw, _host) = at_stage(scene, Stage::Io)?;
            let mut read = nvm_sqe(nvm::READ, LAST_BLOCK, 512);
            read.sgl = SglDescriptor::transport(512);
            spoil(&mut read);
            raw.send(&raw.capsule(read, &[]))?;
            assert_eq!(outcome(&mut raw)?, expected, "{name}");
            goes_on(&mut raw, Sqe::new(nvm::FLUSH, 9))?;
        }
        Act::Write(spoil) => {
            let (mut raw, _host) = at_stage(scene, Stage::Io)?;
            let mut write = nvm_sqe(nvm::WRITE, 64, 512);
            write.sgl = SglDescriptor::in_capsule(512);
            spoil(&mut write);
            raw.send(&raw.capsule(write, &[0xee; 512]))?;
            assert_eq!(outcome(&mut raw)?, expected, "{name}");
            goes_on(&mut raw, Sqe::new(nvm::FLUSH, 9))?;
        }
        Act::Admin(spoil) => {
            let mut raw = enabled(scene)?;
            let mut sqe = Sqe::new(nvm::FLUSH, 7);
            sqe.sgl = SglDescriptor::transport(4096);
            spoil(&mut sqe);
            raw.send(&raw.capsule(sqe, &[]))?;
            assert_eq!(outcome(&mut raw)?, expected, "{name}");
            goes_on(&mut raw, configure(ENABLED))?;
        }
        Act::Story(tell) => tell(scene)?,
        Act::Own(_) => unreachable!("it has a target of its own"),
    }
    Ok(())
}

/// Of the namespace that targets serve, 64 MiB in blocks of 512 bytes.
const LAST_BLOCK: u64 = (64 << 20) / 512 - 1;

/// A connection at `stage`, with the host that it belongs to.
pub(crate) fn at_stage(scene: &Scene, stage: Stage) -> Result<(Raw, Option<Host>)> {
    let address = scene.io();
    Ok(match stage {
        Stage::Accepted => (Raw::connect(address)?, None),
        Stage::Negotiated => (Raw::negotiate(address, false, false)?, None),
        Stage::Admin => (Raw::establish(address, &scene.admin())?, None),
        Stage::Io => {
            let (host, wishes) = scene.without_queue(2)?;
            (Raw::establish(address, &wishes)?, Some(host))
        }
    })
}

/// The admin queue of a controller that is ready.
pub(crate) fn enabled(scene: &Scene) -> Result<Raw> {
    let mut raw = Raw::establish(scene.io(), &scene.admin())?;
    goes_on(&mut raw, configure(ENABLED))?;
    Ok(raw)
}

/// The queue answers this command, which needs no data and harms nobody.
pub(crate) fn goes_on(raw: &mut Raw, mut sqe: Sqe) -> Result {
    if sqe.fctype().is_none() {
        sqe.nsid = 1.into();
    }
    sqe.cid = 0x900.into();
    raw.send(&raw.capsule(sqe, &[]))?;
    let (cid, completion) = raw.response()?;
    assert_eq!((cid, completion.status), (0x900, Status::SUCCESS));
    Ok(())
}

/// What comes of a Connect with this data.
fn connect(scene: &Scene, sqe: Sqe, data: &[u8]) -> Result<Gets> {
    let mut raw = Raw::negotiate(scene.io(), false, false)?;
    raw.send(&raw.capsule(sqe, data))?;
    let pdu = raw.pdu()?;
    if pdu[0] == PduType::C2hTermReq as u8 {
        return terminated(&pdu, &mut raw);
    }
    let (cid, completion) = Raw::read_response(&pdu);
    assert_eq!(cid, sqe.cid.get());
    if completion.status.is_success() {
        return Ok(Gets::Served);
    }
    assert_eq!(raw.until_closed(PATIENCE)?, b"", "after a refusal");
    Ok(Gets::Refused(ConnectReject::from_completion(completion)))
}

/// How a command ended, with or without data.
fn outcome(raw: &mut Raw) -> Result<Gets> {
    let mut pdu = raw.pdu()?;
    while pdu[0] == PduType::C2hData as u8 {
        pdu = raw.pdu()?;
    }
    if pdu[0] == PduType::C2hTermReq as u8 {
        return terminated(&pdu, raw);
    }
    let (_, completion) = Raw::read_response(&pdu);
    Ok(status(completion))
}

/// What a completion says. CVE-2024-41079: of a failure nothing else.
fn status(completion: Completion) -> Gets {
    match (completion.status, completion.result) {
        (Status::SUCCESS, 0) => Gets::Served,
        (Status::SUCCESS, result) => Gets::Result(result),
        (failed, result) => {
            assert_eq!(result, 0, "CVE-2024-41079");
            Gets::Failed(failed)
        }
    }
}

/// How a connection ended: with a termination or without. What was asked for before may still come.
pub(crate) fn end(raw: &mut Raw) -> Result<Gets> {
    loop {
        let pdu = match raw.pdu() {
            Ok(pdu) => pdu,
            Err(PeerError::Closed) => return Ok(Gets::Silence),
            Err(error) => return Err(error),
        };
        if pdu[0] == PduType::C2hTermReq as u8 {
            return terminated(&pdu, raw);
        }
        assert!(matches!(pdu[0], 5 | 7 | 9), "{pdu:02x?}");
    }
}

fn terminated(pdu: &[u8], raw: &mut Raw) -> Result<Gets> {
    let fes = u16::from_le_bytes([pdu[8], pdu[9]]);
    let fei = u32::from_le_bytes([pdu[10], pdu[11], pdu[12], pdu[13]]);
    let after = raw.until_closed(PATIENCE)?;
    assert_eq!(after, b"", "something after the termination");
    let known = FES.into_iter().find(|&known| known as u16 == fes);
    Ok(Gets::Terminated(
        known.unwrap_or_else(|| panic!("FES {fes}")),
        fei,
    ))
}

const FES: [Fes; 6] = [
    Fes::InvalidHeaderField,
    Fes::SequenceError,
    Fes::HeaderDigestError,
    Fes::DataOutOfRange,
    Fes::LimitExceeded,
    Fes::UnsupportedParameter,
];
