//! `CTL_LUN_REQ` with raw bytes.

use std::fs;

use nvmf_kmod::fake::{FakeKernel, Limits, StorageView};
use nvmf_kmod::nv::Nvlist;
use tempfile::TempDir;

use super::support::{
    Ended, LUN_REQ, Raw, SUBNQN, kernel, lun_request, make_ramdisk, map, online_port, strings,
};

/// A file of `length` bytes in a directory of its own.
fn file(length: u64) -> (TempDir, String) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("disk");
    fs::File::create(&path).unwrap().set_len(length).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (directory, path)
}

/// A request for a LUN of a file, with serial number and device identifier.
fn of_file(path: &str, more: &[(&str, &str)]) -> Raw {
    let options = more
        .iter()
        .fold(Nvlist::new().string("file", path), |list, (key, value)| {
            list.string(*key, value)
        });
    lun_request("block", 0, &options)
        .u32(40, 0x30)
        .bytes(64, b"SERIAL")
        .bytes(80, b"DEVICE")
}

fn sent(mut raw: Raw, kernel: &FakeKernel) -> Raw {
    raw.send(kernel).unwrap();
    raw
}

#[test]
fn a_lun_of_a_file_is_as_large_as_the_file() {
    let (_directory, path) = file(1 << 20);
    let (fake, _) = kernel();
    let raw = sent(of_file(&path, &[("ctld_name", "mine,1")]), &fake);
    assert_eq!(raw.ended(), Ended::new(1, ""));
    let (size, blocksize, id) = (raw.read_u64(48), raw.read_u32(56), raw.read_u32(60));
    assert_eq!((size, blocksize, id), (1 << 20, 512, 0));
    assert_eq!(raw.text(64, 16), "SERIAL");
    assert!(fake.misuses().is_empty(), "{:?}", fake.misuses());
    let xml = format!(
        "<ctllunlist>\n<lun id=\"0\">\n\t<backend_type>block</backend_type>\n\
         \t<lun_type>0</lun_type>\n\t<size>2048</size>\n\t<blocksize>512</blocksize>\n\
         \t<serial_number>SERIAL</serial_number>\n\t<device_id>DEVICE</device_id>\n\
         \t<num_threads>14</num_threads>\n\t<file>{path}</file>\n\
         \t<ctld_name>mine,1</ctld_name>\n</lun>\n</ctllunlist>\n"
    );
    assert_eq!(fake.lun_list(), xml);
}

#[test]
fn sizes_and_block_sizes_can_be_asked_for() {
    let (_directory, path) = file(1 << 20);
    let (fake, _) = kernel();
    let raw = of_file(&path, &[("num_threads", "3")])
        .u64(48, 8192)
        .u32(56, 4096);
    let raw = sent(raw, &fake);
    assert_eq!((raw.read_u64(48), raw.read_u32(56)), (8192, 4096));
    assert!(fake.lun_list().contains("<size>2</size>"));
    assert!(fake.lun_list().contains("<num_threads>3</num_threads>"));
}

#[test]
fn one_block_is_listed_as_none() {
    let (_directory, path) = file(512);
    let (fake, _) = kernel();
    let raw = sent(of_file(&path, &[]), &fake);
    assert_eq!((raw.ended().status, raw.read_u64(48)), (1, 512));
    assert!(fake.lun_list().contains("<size>0</size>"));
}

#[test]
fn a_file_that_is_not_there_is_a_warning_and_the_lun_stays() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("gone");
    let path = path.to_str().unwrap();
    let (fake, books) = kernel();
    let raw = sent(of_file(path, &[]), &fake);
    assert_eq!(
        raw.ended(),
        Ended::new(3, format!("error opening {path}: 2"))
    );
    assert_eq!(raw.read_u32(60), 0);

    // It can be mapped, and has no medium.
    let port = online_port(&fake, SUBNQN);
    map(&fake, port, 0, 0).unwrap();
    let lun = books.port(port).unwrap().namespaces[&1].clone();
    assert_eq!(lun.storage, StorageView::Block(None));

    // Modifying it opens it, once it is there.
    fs::write(path, [0; 4096]).unwrap();
    let raw = lun_request("block", 2, &Nvlist::new().string("file", path)).u32(40, 0);
    let raw = sent(raw, &fake);
    assert_eq!(raw.ended(), Ended::new(1, ""));
    assert_eq!(raw.read_u64(48), 4096);
    let lun = books.port(port).unwrap().namespaces[&1].clone();
    assert_eq!(lun.storage, StorageView::Block(Some(path.into())));
    assert_eq!(lun.size, 4096);
}

#[test]
fn a_lun_without_file_is_a_warning_too() {
    let (fake, _) = kernel();
    let raw = sent(lun_request("block", 0, &Nvlist::new()).u32(40, 0x30), &fake);
    assert_eq!(raw.ended(), Ended::new(3, "no file argument specified"));
    assert!(fake.lun_list().contains("<lun id=\"0\">"));
}

#[test]
fn a_name_without_slash_is_looked_for_among_devices() {
    let (fake, _) = kernel();
    let raw = sent(of_file("no-such-disk", &[]), &fake);
    let why = "error opening /dev/no-such-disk: 2";
    assert_eq!(raw.ended(), Ended::new(3, why));
    // Found there, and of no use: the kernel says that all is well, but for the text.
    let raw = sent(of_file("null", &[]), &fake);
    let why = "/dev/null is not a disk or plain file";
    assert_eq!(raw.ended(), Ended::new(1, why));
}

#[test]
fn what_can_be_opened_and_not_used_is_no_error_for_the_kernel_and_no_medium_for_hosts() {
    let (_directory, path) = file(100);
    let (fake, books) = kernel();
    let raw = sent(of_file(&path, &[]), &fake);
    let why = format!("file {path} size 100 < block size 512");
    assert_eq!(raw.ended(), Ended::new(1, why));
    let port = online_port(&fake, SUBNQN);
    map(&fake, port, 0, raw.read_u32(60)).unwrap();
    let lun = &books.port(port).unwrap().namespaces[&1];
    assert_eq!(lun.storage, StorageView::Block(None));
}

#[test]
fn a_directory_is_opened_for_reading_only_and_is_no_disk() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().to_str().unwrap();
    let (fake, _) = kernel();
    let raw = sent(of_file(path, &[]), &fake);
    assert_eq!(
        raw.ended(),
        Ended::new(3, format!("error opening {path}: 21"))
    );
    let raw = sent(of_file(path, &[("readonly", "on")]), &fake);
    let why = format!("{path} is not a disk or plain file");
    assert_eq!(raw.ended(), Ended::new(1, why));
}

#[test]
fn a_lun_has_at_least_one_thread() {
    let (_directory, path) = file(4096);
    let (fake, _) = kernel();
    let raw = sent(of_file(&path, &[("num_threads", "0")]), &fake);
    assert_eq!(raw.ended().status, 2);
    assert!(raw.ended().text.starts_with("invalid number of threads"));
    assert_eq!(fake.lun_list(), "<ctllunlist>\n</ctllunlist>\n");
}

#[test]
fn identities_are_made_up_for_who_brings_none_and_that_is_reported() {
    let (fake, _) = kernel();
    make_ramdisk(&fake, "a");
    let (_directory, path) = file(4096);
    let options = Nvlist::new().string("file", &path);
    for count in 0..2 {
        let raw = sent(lun_request("block", 0, &options), &fake);
        // Counted by backend.
        assert_eq!(raw.text(64, 16), format!("MYSERIAL{count:04}"));
        assert_eq!(raw.text(80, 64), format!("MYDEVID{count:04}"));
    }
    assert_eq!(fake.misuses().len(), 2);
}

#[test]
fn a_number_can_be_wanted_and_is_refused_when_taken() {
    let (_directory, path) = file(4096);
    let limits = Limits {
        luns: 8,
        ..Limits::default()
    };
    let fake = kernel().0.with_limits(limits);
    let wanted = |id| of_file(&path, &[]).u32(40, 0x31).u32(60, id);
    assert_eq!(sent(wanted(5), &fake).read_u32(60), 5);
    let why = "ctl_add_lun() returned error 28, see dmesg for details";
    assert_eq!(sent(wanted(5), &fake).ended(), Ended::new(2, why));
    assert_eq!(sent(wanted(8), &fake).ended(), Ended::new(2, why));
    assert_eq!(sent(of_file(&path, &[]), &fake).read_u32(60), 0);
}

#[test]
fn ram_disks_need_a_size_and_memory() {
    let ramdisk = |options: &[(&str, &str)], size, blocksize| {
        let raw = lun_request("ramdisk", 0, &strings(options))
            .u32(40, 0x30)
            .u64(48, size)
            .u32(56, blocksize);
        let (fake, _) = kernel();
        (sent(raw, &fake), fake)
    };
    let refused = |options: &[(&str, &str)], size, blocksize| {
        let (raw, fake) = ramdisk(options, size, blocksize);
        assert_eq!(fake.lun_list(), "<ctllunlist>\n</ctllunlist>\n");
        (raw.ended().status, raw.ended().text)
    };
    let capacity = [("capacity", "1M")];
    let (raw, fake) = ramdisk(&capacity, (1 << 20) + 7, 0);
    assert_eq!(raw.ended(), Ended::new(1, ""));
    assert_eq!((raw.read_u64(48), raw.read_u32(56)), (1 << 20, 512));
    // What is less than a block does not count.
    assert!(fake.misuses().is_empty());
    let (raw, fake) = ramdisk(&[], 1 << 20, 4096);
    assert_eq!((raw.ended().status, raw.read_u32(56)), (1, 4096));
    assert!(fake.misuses()[0].contains("less memory"));

    let function = "ctl_backend_ramdisk_create:";
    let text = |why: &str| (2, format!("{function} {why}"));
    let small = text("LUN size 511 < blocksize 512");
    assert_eq!(refused(&capacity, 511, 0), small);
    let why = text("unsupported pblocksize 100");
    assert_eq!(refused(&[("pblocksize", "100")], 4096, 0), why);
    let why = text("pblocksize 4096 not exp2 of blocksize 8192");
    assert_eq!(refused(&capacity, 1 << 20, 8192), why);
}

#[test]
fn a_lun_is_removed_and_modified_by_its_own_backend_only() {
    let (_directory, path) = file(4096);
    let (fake, _) = kernel();
    sent(of_file(&path, &[]), &fake);
    make_ramdisk(&fake, "a");
    for kind in [1, 2] {
        let raw = lun_request("block", kind, &strings(&[("a", "b")])).u32(40, 1);
        let why = "LUN 1 is not managed by the block backend";
        assert_eq!(sent(raw, &fake).ended(), Ended::new(2, why));
        let raw = lun_request("ramdisk", kind, &strings(&[("a", "b")])).u32(40, 0);
        let text = sent(raw, &fake).ended().text;
        assert!(text.ends_with("LUN 0 is not managed by the ramdisk backend"));
    }
    let raw = lun_request("block", 1, &Nvlist::new()).u32(40, 0);
    assert_eq!(sent(raw, &fake).ended(), Ended::new(1, ""));
    assert!(!fake.lun_list().contains("<backend_type>block"));
}

#[test]
fn modifying_replaces_all_options_and_keeps_the_file_that_is_open() {
    let (_directory, path) = file(4096);
    let (_other_directory, other) = file(1 << 20);
    let (fake, books) = kernel();
    sent(
        of_file(&path, &[("ctld_name", "mine"), ("unmap", "on")]),
        &fake,
    );
    let port = online_port(&fake, SUBNQN);
    map(&fake, port, 0, 0).unwrap();

    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(8192)
        .unwrap();
    let options = strings(&[("file", &other), ("ctld_name", "mine")]);
    let raw = sent(lun_request("block", 2, &options).u32(40, 0), &fake);
    assert_eq!((raw.ended(), raw.read_u64(48)), (Ended::new(1, ""), 8192));
    let list = fake.lun_list();
    assert!(list.contains(&format!("<file>{other}</file>")) && !list.contains("unmap"));
    let lun = books.port(port).unwrap().namespaces[&1].clone();
    assert_eq!(lun.storage, StorageView::Block(Some(path.into())));
    assert_eq!(lun.size, 8192);
    assert!(fake.misuses().is_empty());

    // An empty list wipes them, and so does none.
    sent(lun_request("block", 2, &Nvlist::new()).u32(40, 0), &fake);
    assert!(!fake.lun_list().contains("ctld_name"));
    let none = Raw::new(LUN_REQ).bytes(0, b"block").u32(32, 2);
    sent(none, &fake);
    assert_eq!(fake.misuses().len(), 2);
}

#[test]
fn a_file_that_has_shrunk_to_nothing_is_a_warning() {
    let (_directory, path) = file(4096);
    let (fake, _) = kernel();
    sent(of_file(&path, &[]), &fake);
    fs::write(&path, "").unwrap();
    let options = Nvlist::new().string("file", &path);
    let raw = sent(lun_request("block", 2, &options).u32(40, 0), &fake);
    let why = format!("file {path} size 0 < block size 512");
    assert_eq!(raw.ended(), Ended::new(3, why));
}

#[test]
fn a_ram_disk_can_be_resized() {
    let (fake, books) = kernel();
    let lun = make_ramdisk(&fake, "a");
    let port = online_port(&fake, SUBNQN);
    map(&fake, port, 0, lun).unwrap();
    let options = strings(&[("capacity", "1048576")]);
    let modify = |size| {
        let raw = lun_request("ramdisk", 2, &options);
        sent(raw.u32(40, lun).u64(48, size), &fake)
    };
    assert_eq!(modify(8192).read_u64(48), 8192);
    assert_eq!(books.port(port).unwrap().namespaces[&1].size, 8192);
    // 0 keeps what there is.
    assert_eq!(modify(0).read_u64(48), 8192);
    let text = modify(511).ended().text;
    assert!(text.ends_with("LUN size 511 < blocksize 512"), "{text}");
}

#[test]
fn backends_and_kinds_that_do_not_exist_are_named() {
    let (fake, _) = kernel();
    let raw = sent(lun_request("tape", 0, &Nvlist::new()), &fake);
    assert_eq!(raw.ended(), Ended::new(2, "Backend \"tape\" not found."));
    let raw = sent(lun_request("block", 3, &Nvlist::new()), &fake);
    assert_eq!(raw.ended(), Ended::new(2, "invalid LUN request type 3"));
}

#[test]
fn somebody_elses_lun_is_shown_and_touching_it_reported() {
    let (fake, _) = kernel();
    let id = fake
        .add_lun(nvmf_kmod::fake::ForeignLun {
            backend: "ramdisk".into(),
            size: 1 << 20,
            id: Some(40),
            serial: Some("S<1>".into()),
            options: vec![("ctld_name".into(), "target,lun,0".into())],
            ..Default::default()
        })
        .unwrap();
    assert_eq!(id, 40);
    let list = fake.lun_list();
    assert!(list.contains("<serial_number>S&lt;1&gt;</serial_number>"));
    let options = strings(&[("a", "b")]);
    sent(lun_request("ramdisk", 2, &options).u32(40, id), &fake);
    sent(lun_request("ramdisk", 1, &options).u32(40, id), &fake);
    assert_eq!(fake.misuses().len(), 2);
}
