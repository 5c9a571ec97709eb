//! The smallest host: enough NVMe/TCP to see that a target accepts a controller.
//!
//! Written by hand, so that it shares no mistake with the code under test.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(5);
const HOSTNQN: &str = "nqn.2014-08.org.nvmexpress:uuid:aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee";

/// Creates a controller of `subnqn` and leaves again.
pub(crate) fn connect(address: &str, port: u16, subnqn: &str) -> Result<(), String> {
    let status = try_connect(address, port, subnqn)
        .map_err(|error| format!("connect to {address}:{port}: {error}"))?;
    match status {
        0 => Ok(()),
        status => Err(format!("connect to {address}:{port}: status {status:#x}")),
    }
}

/// The completion's status field, without the phase bit.
fn try_connect(address: &str, port: u16, subnqn: &str) -> io::Result<u16> {
    let address = address.parse().map_err(io::Error::other)?;
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(address, port), LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;

    let mut icreq = [0; 128];
    icreq[2] = 128; // HLEN
    icreq[4] = 128; // PLEN
    stream.write_all(&icreq)?;
    let mut icresp = [0; 128];
    stream.read_exact(&mut icresp)?;
    if icresp[0] != 1 {
        return Err(io::Error::other(format!(
            "PDU type {} instead of ICResp",
            icresp[0]
        )));
    }

    stream.write_all(&connect_capsule(subnqn))?;
    let mut response = [0; 24];
    stream.read_exact(&mut response)?;
    if response[0] != 5 {
        return Err(io::Error::other(format!(
            "PDU type {} instead of a response",
            response[0]
        )));
    }
    Ok(u16::from_le_bytes([response[22], response[23]]) >> 1)
}

/// Capsule with Connect for an admin queue of 32 entries, its data inside.
fn connect_capsule(subnqn: &str) -> [u8; 72 + 1024] {
    let mut pdu = [0; 72 + 1024];
    pdu[0] = 4; // capsule command
    pdu[2] = 72; // HLEN
    pdu[3] = 72; // PDO
    pdu[4..8].copy_from_slice(&(72_u32 + 1024).to_le_bytes());

    let sqe = &mut pdu[8..72];
    sqe[0] = 0x7f; // fabrics command
    sqe[1] = 0x40; // SGL
    sqe[4] = 1; // Connect
    sqe[32..36].copy_from_slice(&1024_u32.to_le_bytes());
    sqe[39] = 1; // data in the capsule
    sqe[44] = 31; // SQSIZE, from 0

    let data = &mut pdu[72..];
    data[..16].fill(0xaa); // HOSTID
    data[16..18].fill(0xff); // CNTLID: any
    data[256..256 + subnqn.len()].copy_from_slice(subnqn.as_bytes());
    data[512..512 + HOSTNQN.len()].copy_from_slice(HOSTNQN.as_bytes());
    pdu
}

/// Connections to local `port` that its owner has not closed (ESTABLISHED or CLOSE_WAIT).
pub(crate) fn open_connections(port: u16) -> Result<usize, String> {
    let table = fs::read_to_string("/proc/net/tcp").map_err(|error| error.to_string())?;
    let local = format!(":{port:04X}");
    let open = table.lines().filter(|line| {
        let mut words = line.split_whitespace().skip(1);
        let is_local = words.next().is_some_and(|word| word.ends_with(&local));
        is_local && matches!(words.nth(1), Some("01" | "08"))
    });
    Ok(open.count())
}
