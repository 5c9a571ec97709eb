//! Configuration files as an operator meets them: `conf/good` loads, `conf/warned` loads with
//! warnings, `conf/bad` does not, and what is said of a file is, to the letter, in the `.expected`
//! file beside it. So does the sample file; `manual` has the examples of the manual page.
//!
//! With NVMFD_BLESS=1 the `.expected` files are written anew, to be read before they are committed.

#![forbid(unsafe_code)]

#[path = "conf/edits.rs"]
mod edits;
#[path = "conf/model.rs"]
mod model;

use std::fs;
use std::path::{Path, PathBuf};

use nvmfd::config::{self, Config, Loaded};

/// A file of this repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The files of a directory, by their names in `conf`.
fn corpus(directory: &str) -> Vec<(String, PathBuf)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("conf")
        .join(directory);
    let files = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .map(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            (format!("{directory}/{name}"), path)
        })
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{directory}");
    files
}

/// What a text means, about which there must be nothing to say.
fn clean(text: &str, name: &str) -> Config {
    let Loaded { config, warnings } =
        config::parse(text, name).unwrap_or_else(|problems| panic!("{problems}"));
    assert!(warnings.is_empty(), "{warnings}");
    config
}

/// Compares what is said of a file with what is beside it.
fn compare(said: &str, path: &Path) -> Result<(), String> {
    let beside = path.with_extension("expected");
    if std::env::var_os("NVMFD_BLESS").is_some() {
        fs::write(&beside, said).unwrap();
    }
    let expected = fs::read_to_string(&beside).unwrap_or_default();
    if said == expected {
        return Ok(());
    }
    Err(format!("{}:\n{said}", beside.display()))
}

#[test]
fn bad_files_are_refused_with_everything_that_is_wrong() {
    let compared = corpus("bad").into_iter().map(|(name, path)| {
        let problems = config::parse(&read(&path), &name).expect_err(&name);
        assert!(problems.has_errors(), "{name}");
        compare(&problems.to_string(), &path)
    });
    let differences: Vec<_> = compared.filter_map(Result::err).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn warned_files_load_with_what_is_hardly_meant() {
    let compared = corpus("warned").into_iter().map(|(name, path)| {
        let loaded = config::parse(&read(&path), &name);
        let warnings = loaded
            .unwrap_or_else(|problems| panic!("{problems}"))
            .warnings;
        assert!(!warnings.is_empty(), "{name}");
        compare(&warnings.to_string(), &path)
    });
    let differences: Vec<_> = compared.filter_map(Result::err).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn good_files_load_and_there_is_nothing_to_say() {
    for (name, path) in corpus("good") {
        let loaded = config::load(&path).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(loaded.warnings.is_empty(), "{name}: {}", loaded.warnings);
    }
}

#[test]
fn the_sample_file_serves_this_machine_alone() {
    let path = repository("etc/nvmfd.toml.sample");
    let config = clean(&read(&path), "sample");
    let addresses = config
        .portals
        .iter()
        .flat_map(|portal| portal.listen.addresses());
    let addresses = addresses.chain(config.discovery.listen.addresses());
    for address in addresses.chain(config.metrics) {
        assert!(address.ip().is_loopback(), "{address}");
    }
}

#[test]
fn the_sample_file_is_good_with_all_that_it_has_in_comments_too() {
    let text = read(&repository("etc/nvmfd.toml.sample"));
    let used = |line: &str| match line.strip_prefix('#') {
        Some(used) if used.starts_with(|c: char| !c.is_whitespace()) => format!("{used}\n"),
        _ => format!("{line}\n"),
    };
    let config = clean(&text.lines().map(used).collect::<String>(), "sample");
    assert_eq!((config.portals.len(), config.subsystems.len()), (2, 3));
}
