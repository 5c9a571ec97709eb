//! The README's way from a bare system: the configuration that it has one write is good, before and
//! after the second volume.

use std::fs;

use nvmfd::config;

use crate::place::repository;

/// What the README has one write to the configuration file, in order.
fn documents(readme: &str) -> Vec<&str> {
    let after = readme.split("/usr/local/etc/nvmfd.toml <<'EOF'\n").skip(1);
    after
        .map(|text| text.split_once("EOF\n").unwrap().0)
        .collect()
}

/// 192.0.2.1 is nobody's address, on purpose, so that it is warned of.
#[test]
fn its_configuration_is_good() {
    let readme = fs::read_to_string(repository("README.md")).unwrap();
    let documents = documents(&readme);
    assert_eq!(documents.len(), 2);
    for end in 1..=documents.len() {
        let text = documents[..end].concat();
        let loaded = config::parse(&text, "README.md").unwrap_or_else(|it| panic!("{it}\n{text}"));
        for warning in loaded.warnings.iter() {
            let meant = warning.what.ends_with("is not an address of this machine");
            assert!(meant, "{}", loaded.warnings);
        }
    }
}
