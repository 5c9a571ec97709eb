//! Where the programs to test are: built for the occasion, because a stale one would prove nothing.

use std::path::PathBuf;
use std::process::Command;

/// How the program is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// As this test was.
    AsThisTest,
    /// With optimisation.
    Release,
}

/// The program that `NVMFD` in the environment names, or else a fresh build.
///
/// # Errors
/// What cargo could not do, in words.
pub fn nvmfd(profile: Profile) -> Result<PathBuf, String> {
    match std::env::var_os("NVMFD") {
        Some(path) => Ok(path.into()),
        None => build("nvmfd", "nvmfd", profile),
    }
}

/// nvmfctl, freshly built.
///
/// # Errors
/// As [`nvmfd()`].
pub fn nvmfctl(profile: Profile) -> Result<PathBuf, String> {
    build("nvmfd", "nvmfctl", profile)
}

/// nvmfd whose kernel can be the fake, freshly built: the same program, with the option `--ctl`.
///
/// # Errors
/// As [`nvmfd()`].
pub fn nvmfd_fake(profile: Profile) -> Result<PathBuf, String> {
    build("nvmfd-tests", "nvmfd-fake", profile)
}

/// The program that plays the kernel, freshly built.
///
/// # Errors
/// As [`nvmfd()`].
pub fn fake_kernel(profile: Profile) -> Result<PathBuf, String> {
    build("nvmfd-tests", "fake-kernel", profile)
}

/// The program that hides from another what a kernel has (see `poor-kernel`), freshly built.
///
/// # Errors
/// As [`nvmfd()`].
pub fn poor_kernel(profile: Profile) -> Result<PathBuf, String> {
    build("nvmfd-tests", "poor-kernel", profile)
}

fn build(package: &str, program: &str, profile: Profile) -> Result<PathBuf, String> {
    let release = profile == Profile::Release || profile_directory().ends_with("release");
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--quiet", "--package", package, "--bin", program]);
    if release {
        command.arg("--release");
    }
    command
        .arg("--target-dir")
        .arg(target_directory())
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    match command.status() {
        Ok(status) if status.success() => {
            let profile = if release { "release" } else { "debug" };
            Ok(target_directory().join(profile).join(program))
        }
        Ok(status) => Err(format!("cargo build --package {package}: {status}")),
        Err(error) => Err(format!("cargo: {error}")),
    }
}

/// Cargo's target directory.
///
/// # Panics
/// If this program was not built by cargo.
pub fn target_directory() -> PathBuf {
    profile_directory()
        .parent()
        .expect("cargo's directories")
        .to_owned()
}

/// `target/debug` or `target/release`: tests are in `deps`, beside which programs are.
fn profile_directory() -> PathBuf {
    let this = std::env::current_exe().expect("a running program has a path");
    let above = this
        .ancestors()
        .skip(1)
        .find(|path| !path.ends_with("deps"));
    above.expect("cargo's directories").to_owned()
}
