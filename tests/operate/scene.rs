//! What the stories share: files that daemons serve, and hosts that notice things.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use nvmf_proto::host::Payload;
use nvmf_proto::nqn::Nqn;
use nvmf_proto::opcode::{admin, nvm};
use nvmf_proto::sqe::Sqe;
use nvmf_proto::status::Status;
use nvmfd::control::message::Portal;
use nvmfd_tests::operator;
use nvmfd_tests::peer::{Host, HostOptions, nvm_sqe};
use nvmfd_tests::target::{Setup, Target};

/// What a story ends with.
pub(crate) type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

/// The subsystem that most files have.
pub(crate) const A: &str = "nqn.2014-08.org.example:a";
/// Another.
pub(crate) const B: &str = "nqn.2014-08.org.example:b";

/// Everything that a file needs before its subsystems.
pub(crate) const HEAD: &str = r#"
[discovery]
listen = ["127.0.0.1:0"]

[[portal]]
name = "front"
listen = ["127.0.0.1:0"]
sq-flow-control = "optional"
"#;

/// A subsystem in user mode with these namespaces, for any host.
pub(crate) fn subsystem(nqn: &str, namespaces: &[(u32, &str)]) -> String {
    subsystem_for(nqn, "user", "allow-any-host = true", namespaces)
}

/// A subsystem on the portal `front`: `hosts` are lines of the file.
pub(crate) fn subsystem_for(
    nqn: &str,
    mode: &str,
    hosts: &str,
    namespaces: &[(u32, &str)],
) -> String {
    let mut text = format!(
        "\n[[subsystem]]\nnqn = \"{nqn}\"\nmode = \"{mode}\"\nportals = [\"front\"]\n{hosts}\n"
    );
    for (nsid, storage) in namespaces {
        text.push_str(&format!(
            "\n[[subsystem.namespace]]\nnsid = {nsid}\n{storage}\n"
        ));
    }
    text
}

/// A daemon that serves what a file says.
pub(crate) fn serving(config: &str) -> Target {
    Target::with(&setup(config, None))
}

/// How to start one, in kernel mode with the kernel at this socket.
pub(crate) fn setup(config: &str, kernel: Option<PathBuf>) -> Setup {
    Setup {
        config: Some(config.into()),
        kernel,
        ..Setup::default()
    }
}

/// The portal of this name.
pub(crate) fn portal(target: &Target, name: &str) -> Option<Portal> {
    let portals = operator::status(&target.socket()).portals;
    portals.into_iter().find(|portal| portal.name == name)
}

/// A name.
pub(crate) fn nqn(text: &str) -> Nqn {
    text.parse().expect("a name")
}

/// A host of subsystem `subnqn` with one I/O queue, told apart by its number.
pub(crate) fn host(at: SocketAddr, subnqn: &str, number: u32) -> Result<Host> {
    Ok(Host::connect(
        at,
        &nqn(subnqn),
        &HostOptions::named(number),
    )?)
}

/// Its name.
pub(crate) fn name(number: u32) -> String {
    HostOptions::named(number).hostnqn.to_string()
}

/// Blocks with something in them.
pub(crate) fn pattern(seed: u8) -> Vec<u8> {
    (0..8192_u32)
        .map(|n| seed.wrapping_add(n.to_le_bytes()[0]))
        .collect()
}

/// Writes blocks of a namespace on the first I/O queue.
pub(crate) fn write(host: &mut Host, nsid: u32, lba: u64, data: Vec<u8>) -> Result<Status> {
    let mut sqe = nvm_sqe(nvm::WRITE, lba, data.len());
    sqe.nsid = nsid.into();
    let answer = host.io[0].run(sqe, Payload::FromHost(Arc::new(data)))?;
    Ok(answer.completion.status)
}

/// Reads them.
pub(crate) fn read(
    host: &mut Host,
    nsid: u32,
    lba: u64,
    length: usize,
) -> Result<std::result::Result<Vec<u8>, Status>> {
    let mut sqe = nvm_sqe(nvm::READ, lba, length);
    sqe.nsid = nsid.into();
    let payload = Payload::ToHost {
        length: u32::try_from(length)?,
        into: Vec::new(),
    };
    let answer = host.io[0].run(sqe, payload)?;
    let status = answer.completion.status;
    Ok(match status.is_success() {
        true => Ok(answer.data),
        false => Err(status),
    })
}

/// The active namespaces.
pub(crate) fn namespaces(host: &mut Host) -> Result<Vec<u32>> {
    let list = host.identify(0x02, 0)?;
    let numbers = list.chunks_exact(4).map(|it| {
        let it = it.first_chunk().expect("4 bytes");
        u32::from_le_bytes(*it)
    });
    Ok(numbers.take_while(|&nsid| nsid != 0).collect())
}

/// Blocks of a namespace.
pub(crate) fn blocks(host: &mut Host, nsid: u32) -> Result<u64> {
    let identified = host.identify(0x00, nsid)?;
    Ok(u64::from_le_bytes(
        *identified.first_chunk().expect("4096 bytes"),
    ))
}

/// Asks to be told of events.
pub(crate) fn await_events(host: &mut Host) -> Result<u16> {
    let sqe = Sqe::new(admin::ASYNC_EVENT_REQUEST, 0);
    let cid = host.admin.submit(sqe, Payload::None)?;
    host.admin.send_all()?;
    Ok(cid)
}

/// The event, which must be of changed namespaces, and which ones: the list is read, as a host does.
pub(crate) fn changed(host: &mut Host, request: u16) -> Result<Vec<u32>> {
    let event = host.admin.await_answer(request)?.completion;
    assert_eq!(event.result, 0x0004_0002, "a namespace attribute notice");
    let list = host.log_page(0x04, 0, 4096)?.expect("the list");
    let numbers = list.chunks_exact(4).map(|it| {
        let it = it.first_chunk().expect("4 bytes");
        u32::from_le_bytes(*it)
    });
    Ok(numbers.take_while(|&nsid| nsid != 0).collect())
}
