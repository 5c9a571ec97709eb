//! The command line: FreeBSD nvmfd's options, unchanged in meaning, with long forms beside them.
//!
//! What comes out is [`Options`]: resolved values in which nothing is wrong by itself. Nothing is
//! opened, bound or started here. Text becomes values in [`value`]; `man/nvmfd.8` describes each
//! option.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};
use nvmf_proto::nqn::Nqn;
use tracing::level_filters::LevelFilter;

use crate::confinement::Confine;
use crate::engine::backend::DeviceSpec;
use crate::error::StartupError;
use crate::identity::HostIdentity;
use crate::pidfile;

pub mod address;
mod config;
pub mod value;

use address::ListenAddress;
use value::Transport;

/// What the command line asks for.
#[derive(Debug)]
pub enum Invocation {
    /// To serve.
    Serve(Box<Options>),
    /// To say what is wrong with what would be served, and serve nothing.
    Check(Box<Options>),
    /// To print the kernel modules that are needed, one a line.
    Modules(Box<Options>),
    /// To print a text, help or version, and end well.
    Print(String),
}

/// Everything that an operator can choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Stay in the foreground, without a pid file.
    pub foreground: bool,
    /// Let hosts switch SQ flow control off.
    pub optional_flow_control: bool,
    /// Offer header digests.
    pub header_digest: bool,
    /// Offer data digests.
    pub data_digest: bool,
    /// MAXH2CDATA: bytes of data that one H2CData PDU may carry.
    pub maxh2cdata: u32,
    /// The subsystem's name.
    pub nqn: Nqn,
    /// Where hosts connect.
    pub listen: Listen,
    /// Where they ask what there is.
    pub discovery_listen: Listen,
    /// Reactors; else as the configuration says, or one per core.
    pub threads: Option<NonZeroUsize>,
    /// The least severe lines that are logged; else as the configuration says.
    pub log: Option<LevelFilter>,
    /// Whether the process that meets peers is confined; else as the configuration says.
    pub confine: Option<Confine>,
    /// The name of who it is to be; else as the configuration says.
    pub user: Option<String>,
    /// What is served, NSID 1 first. Nothing, in kernel mode: every LUN that CTL has.
    pub devices: Vec<DeviceSpec>,
    /// Hand queues to FreeBSD's kernel.
    pub kernel: bool,
    /// The file that says all of this, if the command line does not: then there are no devices, and
    /// of the rest only what concerns this process counts.
    pub config: Option<PathBuf>,
    /// Where the control socket is; else where it usually is, if it can be there.
    pub socket: Option<PathBuf>,
    /// Where the pid file is.
    pub pid_file: PathBuf,
    /// The fake that plays the kernel's part, by its socket.
    #[cfg(feature = "fake")]
    pub ctl: Option<std::path::PathBuf>,
}

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// On all addresses of each family that the machine has; port 0 is one that the kernel
    /// chooses, the same for both.
    Everywhere {
        /// The port.
        port: u16,
    },
    /// On these, or not at all.
    At(Vec<SocketAddr>),
}

impl Listen {
    /// The addresses to bind. Under [`Self::Everywhere`] one family may be absent.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        match self {
            Self::Everywhere { port } => vec![
                (IpAddr::from(Ipv4Addr::UNSPECIFIED), *port).into(),
                (IpAddr::from(Ipv6Addr::UNSPECIFIED), *port).into(),
            ],
            Self::At(addresses) => addresses.clone(),
        }
    }
}

/// Reads a command line, the program's name first.
///
/// # Errors
/// [`StartupError::Usage`], with the first thing that is wrong.
pub fn parse<I, T>(arguments: I, host: &HostIdentity) -> Result<Invocation, StartupError>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let parsed = Arguments::command()
        .try_get_matches_from(arguments)
        .and_then(|matches| Ok((Arguments::from_arg_matches(&matches)?, matches)));
    match parsed {
        Ok((arguments, matches)) => {
            let (check, modules) = (arguments.check, arguments.modules);
            let options = Box::new(arguments.resolve(host, &matches)?);
            Ok(match (check, modules) {
                (true, _) => Invocation::Check(options),
                (_, true) => Invocation::Modules(options),
                _ => Invocation::Serve(options),
            })
        }
        Err(error) if is_answer(&error) => Ok(Invocation::Print(error.render().to_string())),
        Err(error) => Err(usage(one_line(&error))),
    }
}

/// The command line as clap knows it, for what compares the manual page with it.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// NVMe over TCP target: serves what a configuration file says, or RAM disks, files and disks.
#[derive(Parser, Debug)]
#[command(name = "nvmfd", version, args_override_self = true, after_help = EXAMPLES)]
#[command(
    override_usage = "nvmfd [-d] [-f FILE]\n       nvmfd [OPTIONS] DEVICE...\n       \
                            nvmfd -K [OPTIONS] [DEVICE...]\n       \
                            nvmfd --check|--modules [-f FILE]"
)]
struct Arguments {
    /// Serve what FILE says [default: /usr/local/etc/nvmfd.toml, without a DEVICE]
    #[arg(short = 'f', long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check the configuration, say all that is wrong with it, and serve nothing
    #[arg(long)]
    check: bool,
    /// Print the kernel modules that the configuration needs, and serve nothing
    #[arg(long, conflicts_with = "check")]
    modules: bool,
    /// Where nvmfctl reaches the daemon [default: /var/run/nvmfd.sock]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Where the daemon leaves its process id
    #[arg(long, value_name = "PATH", default_value = pidfile::PATH)]
    pid_file: PathBuf,
    /// Stay in the foreground and log to standard error
    #[arg(short = 'd', long)]
    foreground: bool,
    /// Allow hosts to switch SQ flow control off
    #[arg(short = 'F', long)]
    optional_flow_control: bool,
    /// Offer header digests
    #[arg(short = 'g', long)]
    header_digest: bool,
    /// Offer data digests
    #[arg(short = 'G', long)]
    data_digest: bool,
    /// Largest data in one PDU from a host
    #[arg(short = 'H', long, value_name = "SIZE", default_value = "256k")]
    #[arg(value_parser = value::maxh2cdata)]
    maxh2cdata: u32,
    /// The subsystem's name [default: from the machine's UUID]
    #[arg(short = 'n', long, value_name = "NQN", value_parser = value::subsystem_nqn)]
    nqn: Option<Nqn>,
    /// Port for I/O; 0: the kernel chooses
    #[arg(short = 'p', long, value_name = "PORT", default_value = "0", value_parser = value::port)]
    port: u16,
    /// Port for discovery
    #[arg(short = 'P', long, value_name = "PORT", default_value = "8009")]
    #[arg(value_parser = value::port)]
    discovery_port: u16,
    /// Transport; tcp is the only one
    #[arg(short = 't', long, value_name = "NAME", default_value = "tcp")]
    #[arg(value_parser = value::transport)]
    transport: Transport,
    /// Address for I/O, with a port or without; may be repeated [default: all addresses]
    #[arg(long, value_name = "ADDR", value_parser = ListenAddress::from_str)]
    listen: Vec<ListenAddress>,
    /// Address for discovery, likewise
    #[arg(long, value_name = "ADDR", value_parser = ListenAddress::from_str)]
    discovery_listen: Vec<ListenAddress>,
    /// Threads that serve connections [default: one per core]
    #[arg(long, value_name = "N", value_parser = value::threads)]
    threads: Option<NonZeroUsize>,
    /// Least severe lines to log: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL", value_parser = value::log_level)]
    log: Option<LevelFilter>,
    /// Confine the worker: required, if-possible or off [default: required]
    #[arg(long, value_name = "HOW", value_parser = value::confine)]
    confine: Option<Confine>,
    /// Who the worker is to be, if root starts it [default: nobody]
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Let FreeBSD's kernel serve (nvmft, CTL); without a DEVICE, every LUN that CTL has
    #[arg(short = 'K', long)]
    kernel: bool,
    /// The fake that plays the kernel's part, by its socket
    #[cfg(feature = "fake")]
    #[arg(long, hide = true, value_name = "SOCKET")]
    ctl: Option<std::path::PathBuf>,
    /// What to serve: ramdisk:SIZE, the path of a file or disk, or with -K lun:N
    #[arg(value_name = "DEVICE", value_parser = OsStringValueParser::new().try_map(value::device))]
    devices: Vec<DeviceSpec>,
}

impl Arguments {
    fn resolve(self, host: &HostIdentity, matches: &ArgMatches) -> Result<Options, StartupError> {
        let Transport::Tcp = self.transport;
        let from_file = self.config.is_some() || (self.devices.is_empty() && !self.kernel);
        if from_file {
            self.nothing_that_the_file_says(matches)?;
        }
        if !self.kernel {
            let of_kernel = |it: &&DeviceSpec| matches!(it, DeviceSpec::Lun(_));
            if let Some(lun) = self.devices.iter().find(of_kernel) {
                return Err(usage(format!("{lun} is the kernel's to serve; add -K")));
            }
        }
        if let Some(twice) = repeated(&self.devices) {
            return Err(usage(format!("{twice} is given twice; name it once")));
        }
        let config = from_file.then(|| self.config.unwrap_or_else(|| CONFIG.into()));
        let listen = listen_on(self.listen, self.port);
        let discovery_listen = listen_on(self.discovery_listen, self.discovery_port);
        let all = [listen.addresses(), discovery_listen.addresses()].concat();
        if let Some(address) = collision(&all) {
            return Err(usage(format!(
                "{address} is to be listened on twice; choose other ports with -p and -P"
            )));
        }
        Ok(Options {
            foreground: self.foreground,
            optional_flow_control: self.optional_flow_control,
            header_digest: self.header_digest,
            data_digest: self.data_digest,
            maxh2cdata: self.maxh2cdata,
            nqn: self.nqn.unwrap_or_else(|| host.subsystem_nqn()),
            listen,
            discovery_listen,
            threads: self.threads,
            log: self.log,
            confine: self.confine,
            user: self.user,
            devices: self.devices,
            kernel: self.kernel,
            config,
            socket: self.socket,
            pid_file: self.pid_file,
            #[cfg(feature = "fake")]
            ctl: self.ctl,
        })
    }
}

impl Arguments {
    /// What is served comes from the file or from the command line, whole.
    fn nothing_that_the_file_says(&self, matches: &ArgMatches) -> Result<(), StartupError> {
        let given = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
        let Some(id) = OF_A_DEVICE.into_iter().find(|id| given(id)) else {
            return Ok(());
        };
        let name = match id {
            "devices" => "a DEVICE".into(),
            id => format!("--{}", id.replace('_', "-")),
        };
        Err(usage(match &self.config {
            Some(_) => format!("{name} cannot be given with -f; the file says what is served"),
            None => format!(
                "{name} is of use with a DEVICE only; name one, or leave it to the file of -f"
            ),
        }))
    }
}

fn is_answer(error: &clap::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    )
}

/// clap's message without the paragraphs that it adds, and whatever the arguments hold.
fn one_line(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let message = text.split("\n\n").next().unwrap_or_default();
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let words: Vec<_> = message.split(char::is_control).map(str::trim).collect();
    words.join(" ").trim().to_owned()
}

fn usage(message: String) -> StartupError {
    StartupError::Usage { message }
}

fn listen_on(addresses: Vec<ListenAddress>, port: u16) -> Listen {
    if addresses.is_empty() {
        Listen::Everywhere { port }
    } else {
        Listen::At(
            addresses
                .into_iter()
                .map(|address| address.at(port))
                .collect(),
        )
    }
}

/// A device that is there twice; RAM disks of one size are two.
fn repeated(devices: &[DeviceSpec]) -> Option<&DeviceSpec> {
    let again = |(index, device): &(usize, &DeviceSpec)| match device {
        DeviceSpec::Path(_) | DeviceSpec::Lun(_) => devices[..*index].contains(device),
        DeviceSpec::Ram(_) => false,
    };
    devices.iter().enumerate().find(again).map(|(_, it)| it)
}

/// Two addresses of which only one can be bound. Families are apart, and so are ports that the
/// kernel chooses.
fn collision(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    let overlap = |a: &SocketAddr, b: &SocketAddr| {
        let wild = a.ip().is_unspecified() || b.ip().is_unspecified();
        a.port() != 0 && a.port() == b.port() && a.is_ipv4() == b.is_ipv4() && (wild || a == b)
    };
    addresses.iter().enumerate().find_map(|(index, address)| {
        let taken = addresses[..index]
            .iter()
            .any(|other| overlap(address, other));
        taken.then_some(*address)
    })
}

/// The configuration file, where FreeBSD has it.
pub const CONFIG: &str = "/usr/local/etc/nvmfd.toml";

/// Arguments that say what is served, as clap knows them.
const OF_A_DEVICE: [&str; 12] = [
    "devices",
    "kernel",
    "optional_flow_control",
    "header_digest",
    "data_digest",
    "maxh2cdata",
    "nqn",
    "port",
    "discovery_port",
    "listen",
    "discovery_listen",
    "threads",
];

const EXAMPLES: &str = "\
Examples:
  nvmfd                              what the configuration file says, in the background
  nvmfd -d ramdisk:1g                a RAM disk, until Ctrl-C
  nvmfd -p 4420 -n nqn.2014-08.org.example:vol0 /dev/sdb disk.img
  nvmfd -K -p 4420 /dev/zvol/tank/vol0    in FreeBSD's kernel

With a DEVICE nvmfd prints the commands by which hosts connect. See nvmfd(8).";

#[cfg(test)]
mod tests;
