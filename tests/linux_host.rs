//! Real Linux hosts against nvmfd: Debian kernels under QEMU run the exercise of `vm/guest`.
//!
//! `cargo test -p nvmfd-tests --test linux_host -- --kernel 6.12 --level full`; `vm/options.rs` has
//! every option. With `--target nvmfd-kernel` nvmfd hands its queues over (`-K`) to the fake kernel,
//! which is a process of its own (`vm/kernel.rs`): what the host then does proves negotiation, exports,
//! hand-off and adoption, not FreeBSD's nvmft. With `--target nvmet` the guest exercises Linux's own
//! target instead, which shows that the exercise is right. What cannot run here is reported as
//! skipped, with the reason. Most steps have a daemon that was started from its command line; then one
//! is served from a file and reloaded (`vm/guest/reload.sh`, the files: `vm/config.rs`).
//!
//! Everything runs in a network namespace of its own: ports and addresses are free, and nothing
//! gets out. Nothing is left running however this program ends.
//!
//! A new step is a function in one of `vm/guest/*.sh` and a `step` line below it.

#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::{env, fs};

use nvmfd_tests::program::{Profile, fake_kernel, nvmfd, nvmfd_fake, target_directory};
use options::{Boot, Options, Which};
use tally::Tally;
use target::Target;

#[path = "vm/capture.rs"]
mod capture;
#[path = "vm/config.rs"]
mod config;
#[path = "vm/guest.rs"]
mod guest;
#[path = "vm/kernel.rs"]
mod kernel;
#[path = "vm/options.rs"]
mod options;
#[path = "vm/probe.rs"]
mod probe;
#[path = "vm/tally.rs"]
mod tally;
#[path = "vm/target.rs"]
mod target;

fn main() -> ExitCode {
    let mut options = match Options::parse(env::args().skip(1)) {
        Ok(options) => options,
        Err(usage) => {
            eprintln!("{usage}");
            return ExitCode::from(64);
        }
    };
    if options.list {
        println!("linux_host: test");
        return ExitCode::SUCCESS;
    }
    let mut tally = Tally::default();
    match options.inside.take() {
        None => {
            // Returns only if there is nothing to run.
            outside(&options, &mut tally);
        }
        Some(before) => {
            tally = before;
            inside(&options, &mut tally);
        }
    }
    tally.finish(&options.boots)
}

/// Prepares what needs the network, then becomes `unshare`, which becomes [`inside`].
fn outside(options: &Options, tally: &mut Tally) {
    let image = |boot: &Boot| boot.image(options.level);
    let mut images: Vec<_> = options.boots.iter().map(image).collect();
    images.sort();
    images.dedup();
    images.retain(|image| build_image(image, tally));
    let mut boots = options.boots.clone();
    boots.retain(|boot| images.contains(&image(boot)));
    if boots.is_empty() {
        return;
    }
    let mut unshare = Command::new("unshare");
    unshare.arg("--net");
    if !nix::unistd::geteuid().is_root() {
        unshare.arg("--map-root-user");
    }
    let args: Vec<_> = unshare.get_args().map(ToOwned::to_owned).collect();
    let possible = Command::new("unshare")
        .args(args)
        .arg("true")
        .stderr(Stdio::null())
        .status();
    if !possible.is_ok_and(|status| status.success()) {
        tally.skipped(
            "all",
            "no network namespace can be made here (root may, or unprivileged user namespaces)",
        );
        return;
    }
    for (variable, program) in programs(&boots) {
        match program(Profile::Release) {
            Ok(path) => unshare.env(variable, path),
            Err(why) => return tally.failed(variable, &why),
        };
    }
    let me = env::current_exe().expect("a running program has a path");
    let why = unshare
        .arg(me)
        .args(options.inside_args(&boots, tally))
        .exec();
    tally.failed("unshare", &why.to_string());
}

/// A program's builder.
type Build = fn(Profile) -> Result<PathBuf, String>;

/// What the guests' targets run, by the variable that leads [`inside`] to it.
fn programs(boots: &[Boot]) -> Vec<(&'static str, Build)> {
    let has = |target| boots.iter().any(|boot| boot.target == target);
    let mut programs: Vec<(&str, Build)> = Vec::new();
    if has(Which::Nvmfd) {
        programs.push((target::NVMFD, nvmfd));
    }
    if has(Which::NvmfdKernel) {
        programs.push((target::NVMFD_FAKE, nvmfd_fake));
        programs.push((kernel::FAKE_KERNEL, fake_kernel));
    }
    programs
}

/// Each guest with a target of its own, so that one's end is not the other's beginning.
fn inside(options: &Options, tally: &mut Tally) {
    let up = "ip link set lo up && ip addr replace 10.99.0.1/32 dev lo \
        && ip addr replace 10.99.0.2/32 dev lo";
    if !Command::new("sh")
        .args(["-c", up])
        .status()
        .is_ok_and(|status| status.success())
    {
        return tally.failed("network", "the loopback interface cannot be set up");
    }
    for boot in &options.boots {
        if let Err(why) = exercise(boot, options, tally) {
            tally.failed(&boot.label(), &why);
        }
    }
}

fn exercise(boot: &Boot, options: &Options, tally: &mut Tally) -> Result<(), String> {
    let run = vm_dir().join(boot.directory());
    fs::create_dir_all(&run).map_err(|error| format!("{}: {error}", run.display()))?;
    let mut target = match boot.target {
        Which::Nvmet => None,
        Which::Nvmfd => Some(Target::start(&run)?),
        Which::NvmfdKernel => Some(Target::start_in_kernel_mode(&run)?),
    };
    let job = guest::Job {
        label: &boot.label(),
        target: boot.target,
        image: &vm_dir().join(boot.image(options.level)),
        run: &run,
        options,
    };
    match &options.capture {
        Some(file) => capture::record(file, || job.run(target.as_mut(), tally)),
        None => {
            job.run(target.as_mut(), tally);
            Ok(())
        }
    }
}

/// Whether there is an image to boot; if not, that is counted.
fn build_image(image: &str, tally: &mut Tally) -> bool {
    let build = Command::new(script("image.sh"))
        .arg(image)
        .arg(vm_dir())
        .stdout(Stdio::null())
        .status();
    match build.map(|status| status.code()) {
        Ok(Some(0)) => return true,
        Ok(Some(2)) => tally.skipped(image, "no image can be made here; image.sh says why above"),
        Ok(code) => tally.failed(image, &format!("image.sh: {code:?}")),
        Err(error) => tally.failed(image, &format!("image.sh: {error}")),
    }
    false
}

/// A command that ends when this program does, even by SIGKILL.
fn child(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

fn vm_dir() -> PathBuf {
    target_directory().join("vm")
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vm").join(name)
}
