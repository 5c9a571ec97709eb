//! The port in `ports/`: what it says of the tree and of the version is so.

use std::fs;

use crate::place::repository;
use crate::tree::FREEBSD;

fn port(file: &str) -> String {
    fs::read_to_string(repository("ports/net/nvmfd").join(file)).unwrap()
}

/// The ports tree compresses manual pages, and has a word for sample files.
#[test]
fn its_list_is_what_make_install_puts_in_place() {
    let listed = port("pkg-plist");
    let listed = listed.lines().map(|line| {
        let line = line.strip_prefix("@sample ").unwrap_or(line);
        line.strip_suffix(".gz").unwrap_or(line)
    });
    let installed = FREEBSD.map(|file| file.split_once(' ').unwrap().1);
    assert_eq!(listed.collect::<Vec<_>>(), installed);
}

#[test]
fn its_version_is_the_program_s() {
    let version = format!("DISTVERSION=\t{}\n", env!("CARGO_PKG_VERSION"));
    assert!(port("Makefile").contains(&version), "{version}");
}
