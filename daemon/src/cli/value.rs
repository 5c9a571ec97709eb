//! What an option's text may be: each function takes one and says why not.
//!
//! The reasons complete clap's sentence "invalid value 'x' for '--option': …" and name the way
//! out. Nothing here reads the system. Addresses have [`super::address`] to
//! themselves.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::time::Duration;

use nvmf_proto::nqn::{Nqn, NqnError};
use tracing::level_filters::LevelFilter;

use crate::confinement::Confine;
use crate::engine::backend::DeviceSpec;
use crate::engine::backend::ram::RamSize;

/// Why a value cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// No digits first.
    #[error("a size is a number, with K, M, G, T or P behind it if need be, as in 256k")]
    NotASize,
    /// Something else behind the digits.
    #[error("'{0}' is no unit of size; use K, M, G, T or P")]
    UnknownUnit(String),
    /// Beyond what can be counted.
    #[error("that is larger than any size; use less")]
    TooLarge,
    /// MAXH2CDATA below the specification's least.
    #[error("hosts need at least 4096")]
    Maxh2cdataTooSmall,
    /// MAXH2CDATA that is not whole dwords.
    #[error("it must be a multiple of 4")]
    Maxh2cdataOdd,
    /// MAXH2CDATA that its field cannot hold.
    #[error("it must be below 4g")]
    Maxh2cdataTooLarge,
    /// A RAM disk of nothing.
    #[error("a RAM disk needs a size above 0, as in ramdisk:1g")]
    RamDiskEmpty,
    /// A RAM disk of broken blocks.
    #[error("a RAM disk's size must be a multiple of 512; use {0}")]
    RamDiskOdd(u64),
    /// No number of a LUN.
    #[error("a LUN of CTL's is a number, as in lun:3; ctladm devlist shows them")]
    NotALun,
    /// A path of no characters.
    #[error("a path has at least one character")]
    EmptyPath,
    /// Not 0–65535.
    #[error("a port is a number from 0 to 65535")]
    NotAPort,
    /// Any transport that we do not have.
    #[error("tcp is the only transport; leave -t away")]
    UnknownTransport,
    /// A name that no subsystem may have.
    #[error("{0}; an example is nqn.2014-08.org.example:vol0")]
    Nqn(#[from] NqnError),
    /// The name of all discovery controllers.
    #[error("that is the discovery controller's name; choose another")]
    DiscoveryNqn,
    /// Host names are not looked up.
    #[error("not an IP address, as in 192.0.2.1, [2001:db8::1]:4420 or fe80::1%em0")]
    NotAnAddress,
    /// A scope that is not there.
    #[error("this machine has no interface '{0}'; see ifconfig or ip link")]
    UnknownInterface(String),
    /// A link-local address alone.
    #[error("a link-local address needs its interface, as in fe80::1%em0")]
    NeedsInterface,
    /// A group.
    #[error("a multicast address cannot be listened on; use one of this machine's own")]
    Multicast,
    /// Not 1–1024.
    #[error("the number of threads is from 1 to 1024")]
    Threads,
    /// No number and unit.
    #[error("a time is a whole number with ms, s or m behind it, as in 500ms, 15s or 2m")]
    NotATime,
    /// Nothing, or more than a day.
    #[error("that time must be more than nothing and at most a day, 1440m")]
    NoSuchWait,
    /// Neither address nor name.
    #[error("a target is an address or a name, as in 192.0.2.1, [2001:db8::1]:4420 or host:4420")]
    NotAPlace,
    /// No level.
    #[error("the levels are error, warn, info, debug and trace")]
    UnknownLevel,
    /// No way to be confined.
    #[error("it is required, if-possible or off")]
    UnknownConfine,
}

/// What carries the commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// NVMe/TCP.
    Tcp,
}

/// A number of bytes, with a binary unit.
pub fn size(text: &str) -> Result<u64, ValueError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "" => 0,
        "k" | "K" => 10,
        "m" | "M" => 20,
        "g" | "G" => 30,
        "t" | "T" => 40,
        "p" | "P" => 50,
        _ if number.is_empty() => return Err(ValueError::NotASize),
        _ => return Err(ValueError::UnknownUnit(unit.into())),
    };
    if number.is_empty() {
        return Err(ValueError::NotASize);
    }
    let number: u64 = number.parse().map_err(|_| ValueError::TooLarge)?;
    number.checked_mul(1 << shift).ok_or(ValueError::TooLarge)
}

/// A time with its unit.
pub fn time(text: &str) -> Result<Duration, ValueError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        _ => return Err(ValueError::NotATime),
    };
    let number: u64 = number.parse().map_err(|_| ValueError::NotATime)?;
    let milliseconds = milliseconds.checked_mul(number);
    milliseconds
        .map(Duration::from_millis)
        .ok_or(ValueError::TooLarge)
}

/// MAXH2CDATA (NVMe/TCP 1.0 §3.6.2.3).
pub fn maxh2cdata(text: &str) -> Result<u32, ValueError> {
    let bytes = u32::try_from(size(text)?).map_err(|_| ValueError::Maxh2cdataTooLarge)?;
    if bytes < 4096 {
        Err(ValueError::Maxh2cdataTooSmall)
    } else if !bytes.is_multiple_of(4) {
        Err(ValueError::Maxh2cdataOdd)
    } else {
        Ok(bytes)
    }
}

/// `ramdisk:SIZE`, `lun:N`, or a path.
pub fn device(text: OsString) -> Result<DeviceSpec, ValueError> {
    match text.to_str().and_then(|text| text.split_once(':')) {
        Some(("ramdisk", text)) => ram_disk(size(text)?),
        Some(("lun", id)) => id
            .parse()
            .map(DeviceSpec::Lun)
            .map_err(|_| ValueError::NotALun),
        _ if text.is_empty() => Err(ValueError::EmptyPath),
        _ => Ok(DeviceSpec::Path(text.into())),
    }
}

fn ram_disk(bytes: u64) -> Result<DeviceSpec, ValueError> {
    match RamSize::from_bytes(bytes) {
        Some(size) => Ok(DeviceSpec::Ram(size)),
        None if bytes == 0 => Err(ValueError::RamDiskEmpty),
        None => match bytes
            .checked_next_multiple_of(512)
            .and_then(RamSize::from_bytes)
        {
            Some(better) if better.bytes() != bytes => Err(ValueError::RamDiskOdd(better.bytes())),
            _ => Err(ValueError::TooLarge),
        },
    }
}

/// A subsystem's name; unlike a host's, it must have the form that the specification asks for.
pub fn subsystem_nqn(text: &str) -> Result<Nqn, ValueError> {
    let nqn = text.parse::<Nqn>()?.require_form()?;
    if nqn.is_discovery() {
        Err(ValueError::DiscoveryNqn)
    } else {
        Ok(nqn)
    }
}

/// A TCP port.
pub fn port(text: &str) -> Result<u16, ValueError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|_| digits)
        .ok_or(ValueError::NotAPort)
}

/// A transport's name, in either case as ever.
pub fn transport(text: &str) -> Result<Transport, ValueError> {
    let tcp = text.eq_ignore_ascii_case("tcp");
    tcp.then_some(Transport::Tcp)
        .ok_or(ValueError::UnknownTransport)
}

/// How many reactors.
pub fn threads(text: &str) -> Result<NonZeroUsize, ValueError> {
    text.parse()
        .ok()
        .filter(|threads: &NonZeroUsize| threads.get() <= 1024)
        .ok_or(ValueError::Threads)
}

/// Whether the worker is confined.
///
/// # Errors
/// [`ValueError::UnknownConfine`].
pub fn confine(text: &str) -> Result<Confine, ValueError> {
    match text {
        "required" => Ok(Confine::Required),
        "if-possible" => Ok(Confine::IfPossible),
        "off" => Ok(Confine::Off),
        _ => Err(ValueError::UnknownConfine),
    }
}

/// What is logged.
pub fn log_level(text: &str) -> Result<LevelFilter, ValueError> {
    const LEVELS: [LevelFilter; 5] = [
        LevelFilter::ERROR,
        LevelFilter::WARN,
        LevelFilter::INFO,
        LevelFilter::DEBUG,
        LevelFilter::TRACE,
    ];
    let named = |level: &LevelFilter| level.to_string().eq_ignore_ascii_case(text);
    LEVELS
        .into_iter()
        .find(named)
        .ok_or(ValueError::UnknownLevel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let good = [("0s", 0), ("500ms", 500), ("15s", 15_000), ("2m", 120_000)];
        for (text, milliseconds) in good {
            assert_eq!(
                time(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for text in [
            "",
            "s",
            "15",
            "-1s",
            "1h",
            "1.5s",
            "1 s",
            "99999999999999999999s",
        ] {
            assert_eq!(time(text), Err(ValueError::NotATime), "{text}");
        }
        assert_eq!(time(&format!("{}m", u64::MAX)), Err(ValueError::TooLarge));
    }

    #[test]
    fn sizes() {
        let good = [
            ("0", 0),
            ("512", 512),
            ("1k", 1 << 10),
            ("1K", 1 << 10),
            ("3m", 3 << 20),
            ("1G", 1 << 30),
            ("1t", 1 << 40),
            ("4P", 4 << 50),
            ("18446744073709551615", u64::MAX),
            ("16383P", 16383 << 50),
        ];
        for (text, bytes) in good {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "-0", "-1", "+1", "k", " 1", "0x10", "g1", "١"] {
            let error = size(text).unwrap_err();
            let unit = ValueError::UnknownUnit("x10".into());
            assert!(
                error == ValueError::NotASize || error == unit,
                "{text}: {error}"
            );
        }
        for (text, unit) in [
            ("1x", "x"),
            ("1kb", "kb"),
            ("1.5g", ".5g"),
            ("1 ", " "),
            ("1k1", "k1"),
        ] {
            assert_eq!(
                size(text),
                Err(ValueError::UnknownUnit(unit.into())),
                "{text}"
            );
        }
        for text in ["18446744073709551616", "16384P", "99999999999999999999999g"] {
            assert_eq!(size(text), Err(ValueError::TooLarge), "{text}");
        }
    }

    #[test]
    fn ram_disks() {
        let gibibyte = RamSize::from_bytes(1 << 30).unwrap();
        assert_eq!(device("ramdisk:1g".into()), Ok(DeviceSpec::Ram(gibibyte)));
        assert_eq!(device("ramdisk:0".into()), Err(ValueError::RamDiskEmpty));
        assert_eq!(
            device("ramdisk:1000".into()),
            Err(ValueError::RamDiskOdd(1024))
        );
        assert_eq!(device("ramdisk:".into()), Err(ValueError::NotASize));
        assert_eq!(device("ramdisk:8192P".into()), Err(ValueError::TooLarge));
        assert_eq!(
            device("ramdisk:18446744073709551615".into()),
            Err(ValueError::TooLarge)
        );
        assert_eq!(
            device("ramdisk".into()),
            Ok(DeviceSpec::Path("ramdisk".into()))
        );
        assert_eq!(device("".into()), Err(ValueError::EmptyPath));
    }

    #[test]
    fn maxh2cdata_is_whole_dwords_of_a_page_or_more() {
        assert_eq!(maxh2cdata("4k"), Ok(4096));
        assert_eq!(maxh2cdata("256K"), Ok(262_144));
        assert_eq!(maxh2cdata("4294967292"), Ok(4_294_967_292));
        assert_eq!(maxh2cdata("4092"), Err(ValueError::Maxh2cdataTooSmall));
        assert_eq!(maxh2cdata("4098"), Err(ValueError::Maxh2cdataOdd));
        assert_eq!(maxh2cdata("4g"), Err(ValueError::Maxh2cdataTooLarge));
    }

    #[test]
    fn the_rest() {
        assert_eq!(port("65535"), Ok(65535));
        for text in ["", "65536", "-1", "+1", "x", "http"] {
            assert_eq!(port(text), Err(ValueError::NotAPort), "{text}");
        }
        assert_eq!(transport("TCP"), Ok(Transport::Tcp));
        assert_eq!(transport("rdma"), Err(ValueError::UnknownTransport));
        assert_eq!(threads("1024").map(NonZeroUsize::get), Ok(1024));
        for text in ["", "0", "1025", "-1", "x"] {
            assert_eq!(threads(text), Err(ValueError::Threads), "{text}");
        }
        assert_eq!(log_level("DEBUG"), Ok(LevelFilter::DEBUG));
        for text in ["", "off", "5", "loud"] {
            assert_eq!(log_level(text), Err(ValueError::UnknownLevel), "{text}");
        }
        assert_eq!(subsystem_nqn("vol0"), Err(ValueError::Nqn(NqnError::Form)));
        let discovery = nvmf_proto::nqn::DISCOVERY_NQN;
        assert_eq!(subsystem_nqn(discovery), Err(ValueError::DiscoveryNqn));
    }
}
