//! What a confined worker still has to do with files and disks: all of it.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nvmfd_tests::operator;
use nvmfd_tests::peer::{Host, HostOptions};
use nvmfd_tests::target::{Setup, Target};

use crate::scene::Result;

/// A disk that is a file.
struct Loop(String);

impl Loop {
    /// None where there are no such disks, which is said.
    fn of(image: &Path) -> Result<Option<Self>> {
        let possible = nix::unistd::geteuid().is_root() && Path::new("/dev/loop-control").exists();
        if !possible {
            eprintln!("NOT RUN: a disk, which needs Linux, root and loop devices");
            return Ok(None);
        }
        let mut command = Command::new("losetup");
        let made = command.args(["--find", "--show"]).arg(image).output()?;
        let name = String::from_utf8(made.stdout)?.trim().to_owned();
        assert!(
            name.starts_with("/dev/"),
            "{:?}",
            String::from_utf8(made.stderr)
        );
        Ok(Some(Self(name)))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

/// Every command that changes a namespace, on one that `device` is, whose bytes are in `image`.
fn all_is_done(device: &str, image: &Path) -> Result {
    let setup = Setup {
        devices: vec![device.into()],
        ..Setup::default()
    };
    let target = Target::with(&setup);
    let confinement = operator::status(&target.socket()).worker.confinement;
    assert!(confinement.is_confined());
    let mut host = Host::connect(target.io(), &target.nqn(), &HostOptions::named(1))?;
    let queue = &mut host.io[0];
    let data: Vec<u8> = (0..1_u32 << 20).map(|n| n.to_le_bytes()[1] | 1).collect();
    for (at, piece) in (0..).step_by(128).zip(data.chunks(64 << 10)) {
        assert!(queue.write(at, piece.into())?.is_success());
    }
    assert!(queue.flush()?.is_success());
    assert_eq!(
        queue.read(128, 64 << 10)?.as_deref(),
        Ok(&data[64 << 10..][..64 << 10])
    );
    assert!(queue.write_zeroes(0, 8192)?.is_success());
    assert_eq!(queue.read(0, 8192)?, Ok(vec![0; 8192]));
    let before = image.metadata()?.blocks();
    assert!(queue.deallocate(&[(0, 2048)])?.is_success());
    assert!(queue.flush()?.is_success());
    let after = image.metadata()?.blocks();
    // A request that the filter has not would look like one that the medium has not.
    assert!(after < before, "{after} of {before} blocks are left");
    Ok(())
}

fn image(directory: &Path) -> Result<PathBuf> {
    let image = directory.join("image");
    File::create(&image)?.set_len(8 << 20)?;
    Ok(image)
}

#[test]
fn a_file_is_read_written_flushed_and_given_back() -> Result {
    let directory = tempfile::tempdir()?;
    let image = image(directory.path())?;
    all_is_done(&image.display().to_string(), &image)
}

#[test]
fn so_is_a_disk() -> Result {
    let directory = tempfile::tempdir()?;
    let image = image(directory.path())?;
    match Loop::of(&image)? {
        Some(disk) => all_is_done(&disk.0, &image),
        None => Ok(()),
    }
}
