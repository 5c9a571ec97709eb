//! What a file may ask of the kernel, the kernel can be asked for: two sets of rules, one here and
//! one in [`crate::reconcile`], and whatever passes the first passes the second.

use nvmf_kmod::request::Storage;
use proptest::prelude::*;

use super::super::model::{Config, KernelLun, Medium, Namespaces};
use super::super::parse;
use crate::identity::NamespaceIds;
use crate::reconcile::{Desired, DesiredLun, DesiredPort, Exports, Limits, OurLun};

/// The ports of a configuration.
fn ports(config: &Config) -> Vec<DesiredPort> {
    let port = |subsystem: &super::super::model::Subsystem| {
        let Namespaces::Kernel(luns) = &subsystem.namespaces else {
            panic!("kernel mode");
        };
        let lun = |lun: &KernelLun| match lun {
            KernelLun::Existing(id) => DesiredLun::Existing(*id),
            KernelLun::Ours { disk, block_size } => {
                let storage = match &disk.medium {
                    Medium::Path(path) => Storage::Block {
                        path: path.to_str().unwrap().into(),
                    },
                    Medium::Ram(size) => Storage::Ramdisk { size: size.bytes() },
                };
                let ids = disk.ids.or(NamespaceIds::new(&subsystem.nqn, b"device"));
                let mut ours = OurLun::identified(storage, &ids);
                ours.blocksize = block_size.unwrap_or(0);
                DesiredLun::Ours(ours)
            }
        };
        let luns = luns.iter().map(|(&nsid, it)| (nsid, lun(it))).collect();
        DesiredPort {
            nqn: subsystem.nqn.clone(),
            portid: 1,
            serial: subsystem.serial.clone().unwrap_or("HI:1".into()),
            max_io_qsize: 1024,
            ioccsz: 16_448,
            nn: nvmf_sys::NVMF_NN,
            exports: Exports::Namespaces(luns),
        }
    };
    config.subsystems.iter().map(port).collect()
}

/// Text that some rule is about, or any.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z0-9]{1,20}",
        "[ -~]{0,24}",
        "[ a<>&\"'/\u{a0}é]{0,6}",
        "(?s).{0,6}",
        "x{200,1030}",
    ]
}

fn size() -> impl Strategy<Value = String> {
    prop_oneof![
        "[0-9]{1,6}",
        "[1-9][kmgtp]",
        Just("512".into()),
        Just("1536".into())
    ]
}

/// TOML's way to quote any text.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted += &format!("\\u{:04x}", u32::from(c)),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// A file with one subsystem in kernel mode.
fn file() -> impl Strategy<Value = String> {
    let storage = prop_oneof![
        text().prop_map(|path| format!("path = {}", quoted(&format!("/{path}")))),
        size().prop_map(|size| format!("ram = \"{size}\"")),
        any::<u32>().prop_map(|lun| format!("lun = {lun}")),
    ];
    let block_size = prop::option::of(size());
    let serial = prop::option::of(text());
    (text(), serial, 0..1100_u32, storage, block_size).prop_map(
        |(nqn, serial, nsid, storage, block_size)| {
            let nqn = quoted(&format!("nqn.2014-08.org.example:{nqn}"));
            let serial = serial.map(|serial| format!("serial = {}\n", quoted(&serial)));
            let block_size = block_size.map(|size| format!("block-size = \"{size}\"\n"));
            format!(
                "[[portal]]\nname = \"a\"\nlisten = [\"127.0.0.1\"]\n\
                 [[subsystem]]\nnqn = {nqn}\nmode = \"kernel\"\nportals = [\"a\"]\n\
                 allow-any-host = true\n{}\
                 [[subsystem.namespace]]\nnsid = {nsid}\n{storage}\n{}",
                serial.unwrap_or_default(),
                block_size.unwrap_or_default(),
            )
        },
    )
}

#[test]
fn names_and_paths_may_be_as_long_as_the_kernel_has_them() {
    let file = |nqn: usize, path: usize| {
        let head = "nqn.2014-08.org.example:";
        format!(
            "[[portal]]\nname = \"a\"\nlisten = [\"127.0.0.1\"]\n\
             [[subsystem]]\nnqn = \"{head}{}\"\nmode = \"kernel\"\nportals = [\"a\"]\n\
             allow-any-host = true\n[[subsystem.namespace]]\nnsid = 1\npath = \"/{}\"\n",
            "x".repeat(nqn - head.len()),
            "x".repeat(path - 1),
        )
    };
    let config = parse(&file(223, 1023), "file").unwrap().config;
    assert!(Desired::new(ports(&config), Limits::default()).is_ok());
    for (nqn, path) in [(224, 1023), (223, 1024)] {
        let problems = parse(&file(nqn, path), "file").map(drop).unwrap_err();
        assert!(problems.to_string().contains("longer than"), "{problems}");
    }
}

proptest! {
    #[test]
    fn whatever_a_file_may_ask_for_can_be_asked_of_the_kernel(text in file()) {
        if let Ok(loaded) = parse(&text, "file") {
            let desired = Desired::new(ports(&loaded.config), Limits::default());
            prop_assert!(desired.is_ok(), "{desired:?}\n{text}");
        }
    }
}
