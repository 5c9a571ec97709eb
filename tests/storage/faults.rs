//! What a host is told of a medium that fails, and what is counted.

use nix::errno::Errno;
use nvmf_proto::status::Status;
use nvmfd::engine::fault::{self, Operation};
use nvmfd_tests::peer::{Host, HostOptions};

use crate::scene::{PIECE, Result, Scene};

/// The status of the latest entry of the error log, and the media errors of the health log.
fn told(host: &mut Host) -> Result<(Status, u64)> {
    let errors = host.log_page(0x01, 0, 64)?.expect("it can be read");
    let status = u16::from_le_bytes([errors[12], errors[13]]);
    let health = host.log_page(0x02, 0, 512)?.expect("it can be read");
    let media = u64::from_le_bytes(*health[160..].first_chunk().expect("512 bytes"));
    Ok((Status::from_wire(status), media))
}

#[test]
fn every_error_reaches_the_host_as_the_table_says_and_passes_with_its_cause() -> Result {
    let (scene, disk) = Scene::injected();
    let mut host = scene.connect(&HostOptions::default())?;
    let mut media = 0;
    let errors = [
        Errno::EIO,
        Errno::ENOSPC,
        Errno::EROFS,
        Errno::ENXIO,
        Errno::ENOMEM,
        Errno::ETIMEDOUT,
    ];
    for errno in errors {
        for operation in Operation::ALL {
            disk.fail(operation, errno);
            let queue = &mut host.io[0];
            let status = match operation {
                Operation::Read => queue.read(0, PIECE)?.expect_err("it fails"),
                Operation::Write => queue.write(0, vec![1; PIECE])?,
                Operation::Flush => queue.flush()?,
            };
            let expected = fault::status(operation, &errno.into());
            assert_eq!(status, expected, "{operation} with {errno}");
            // Those of the medium are of type 2; a disk that is full or gone is not damaged.
            media += u64::from(status.sct() == 2);
            assert_eq!(
                told(&mut host)?,
                (expected, media),
                "{operation} with {errno}"
            );
            disk.heal();
            let queue = &mut host.io[0];
            assert!(queue.write(0, vec![2; PIECE])?.is_success());
            assert_eq!(queue.read(0, PIECE)?, Ok(vec![2; PIECE]));
            assert!(queue.flush()?.is_success());
        }
    }
    assert!(media > 0);
    Ok(())
}

#[test]
fn every_command_that_touches_a_medium_says_that_it_failed() -> Result {
    let (scene, disk) = Scene::injected();
    let mut host = scene.connect(&HostOptions::default())?;
    let queue = &mut host.io[0];
    disk.fail(Operation::Read, Errno::EIO);
    let unread = Status::UNRECOVERED_READ_ERROR;
    assert_eq!(queue.compare(0, vec![0; PIECE])?, unread);
    assert_eq!(queue.verify(0, PIECE)?, unread);
    assert_eq!(queue.copy(&[(0, 8)], 100)?, unread);
    let (compared, written) = queue.compare_and_write(0, vec![0; 512], vec![1; 512])?;
    assert_eq!((compared, written), (unread, Status::FUSED_FAILED));
    disk.heal();
    disk.fail(Operation::Write, Errno::EIO);
    let unwritten = Status::WRITE_FAULT;
    assert_eq!(queue.write_zeroes(0, PIECE)?, unwritten);
    assert_eq!(queue.deallocate(&[(0, 8)])?, unwritten);
    assert_eq!(queue.copy(&[(0, 8)], 100)?, unwritten);
    let (compared, written) = queue.compare_and_write(0, vec![0; 512], vec![1; 512])?;
    assert_eq!((compared, written), (Status::SUCCESS, unwritten));
    Ok(())
}
