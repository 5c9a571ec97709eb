//! The grammar, the manual page and the sample file have the same tables with the same keys.

use std::collections::{BTreeMap, BTreeSet};

use super::super::raw;

type Keys = BTreeMap<String, BTreeSet<String>>;

fn repository(path: &str) -> String {
    let path = format!("{}/../{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A table's name in the keys of the tables above it.
fn name(header: &str) -> &str {
    header.trim_matches(['[', ']'])
}

/// What the reader takes.
fn grammar() -> Keys {
    let tables = raw::grammar();
    let is_table = |path: &str| tables.iter().any(|(header, _)| name(header) == path);
    let mut keys = Keys::new();
    for (header, fields) in &tables {
        let here = fields.iter().filter(|field| match *header {
            "the file" => !is_table(field),
            _ => !is_table(&format!("{}.{field}", name(header))),
        });
        keys.insert(
            (*header).into(),
            here.map(|field| (*field).into()).collect(),
        );
    }
    assert_eq!(
        keys.remove("the file"),
        Some(BTreeSet::new()),
        "a key without a table"
    );
    keys
}

/// What the manual page describes.
fn manual() -> Keys {
    let page = repository("man/nvmfd.toml.5");
    let mut keys = Keys::new();
    let mut header = String::new();
    for line in page.lines() {
        if let Some(section) = line.strip_prefix(".Ss The ") {
            header = section.split(' ').next().unwrap_or_default().into();
            keys.entry(header.clone()).or_default();
        } else if line.starts_with(".Sh") {
            header.clear();
        } else if let Some(item) = line.strip_prefix(".It Ic ") {
            let key = item.split(' ').next().unwrap_or_default();
            let new = keys.entry(header.clone()).or_default().insert(key.into());
            assert!(new, "{header} {key} is described twice");
        }
    }
    keys
}

/// What the sample has, in use or in comments, each with a comment above it.
fn sample() -> Keys {
    let text = repository("etc/nvmfd.toml.sample");
    let mut keys = Keys::new();
    let (mut header, mut explained) = (String::new(), false);
    for line in text.lines() {
        if line.is_empty() || line == "#" || line.starts_with("# ") {
            explained = !line.is_empty();
            continue;
        }
        let used = line.trim_start_matches('#');
        if used.starts_with('[') {
            header = used.into();
            continue;
        }
        let (key, _) = used.split_once(" = ").unwrap_or_else(|| panic!("{line}"));
        let first = keys.entry(header.clone()).or_default().insert(key.into());
        assert!(explained || !first, "{header} {key} has no comment");
    }
    keys
}

#[test]
fn grammar_manual_and_sample_have_the_same_keys() {
    let grammar = grammar();
    assert!(grammar.len() == 9 && grammar["[[portal]]"].contains("maxh2cdata"));
    assert_eq!(manual(), grammar, "man/nvmfd.toml.5 and config/raw.rs");
    assert_eq!(sample(), grammar, "etc/nvmfd.toml.sample and config/raw.rs");
}
