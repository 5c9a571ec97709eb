//! The parts, and what needs files or more than the public face. Whole files are in the `tests`
//! package.

#![forbid(unsafe_code)]

mod agreement;
mod kernel;

use std::fs;
use std::os::unix::fs::symlink;

use super::*;

/// What is said of a text.
fn said(text: &str) -> String {
    match parse(text, "file") {
        Ok(loaded) => loaded.warnings.to_string(),
        Err(problems) => problems.to_string(),
    }
}

/// A file in which one subsystem of user mode has each path, with further keys, as a namespace.
fn serving(paths: &[(&Path, &str)]) -> String {
    let mut text = String::from("[[portal]]\nname = \"a\"\nlisten = [\"127.0.0.1\"]\n");
    for (index, (path, keys)) in paths.iter().enumerate() {
        text += &format!(
            "[[subsystem]]\nnqn = \"nqn.2014-08.org.example:vol{index}\"\nmode = \"user\"\n\
             portals = [\"a\"]\nallow-any-host = true\n\
             [[subsystem.namespace]]\nnsid = 1\npath = {path:?}\n{keys}\n"
        );
    }
    text
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_the_way_out() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing\n.toml");
    let problems = load(&missing).map(drop).unwrap_err().to_string();
    assert!(problems.contains("missing\\n.toml: error: cannot be read: No such file"));
    assert!(problems.contains("nvmfd.toml.sample is one to begin with"));
    let problems = load(directory.path()).map(drop).unwrap_err().to_string();
    assert!(problems.contains("cannot be read") && problems.contains("name a regular file"));
}

#[test]
fn a_device_without_end_is_no_configuration() {
    let problems = load(Path::new("/dev/zero")).map(drop).unwrap_err();
    assert!(
        problems
            .to_string()
            .contains("larger than any configuration")
    );
}

#[test]
fn a_file_that_is_not_utf_8_is_refused_where_it_stops_to_be() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("latin-1.toml");
    fs::write(&path, b"[log]\nlevel = \"\xe9\"\n").unwrap();
    let problems = load(&path).map(drop).unwrap_err();
    let place = problems.iter().next().and_then(|it| it.place.clone());
    let place = place.expect("it has a place");
    assert_eq!((place.line, place.column), (2, 10));
    assert_eq!(place.excerpt, "level = \"\u{fffd}\"");
}

#[test]
fn one_file_under_two_names_is_one_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let (image, link, other) = (path("image"), path("link"), path("other"));
    fs::write(&image, [0; 512]).unwrap();
    symlink(&image, &link).unwrap();
    fs::hard_link(&image, &other).unwrap();
    for second in [&image, &link, &other] {
        let said = said(&serving(&[(&image, ""), (second, "")]));
        assert!(
            said.contains("can be written through another namespace too, in line 11"),
            "{said}"
        );
        assert!(said.contains("file: 1 error\n"), "{said}");
    }
    let read_only = "read-only = true";
    assert_eq!(
        said(&serving(&[
            (&image, ""),
            (&link, read_only),
            (&other, read_only)
        ])),
        ""
    );
    fs::write(path("another"), [0; 512]).unwrap();
    assert_eq!(said(&serving(&[(&image, ""), (&path("another"), "")])), "");
}

#[test]
fn a_hundred_problems_are_a_hundred_problems() {
    let keys: String = (0..100).map(|n| format!("key-{n} = {n}\n")).collect();
    let problems = parse(&keys, "file").map(drop).unwrap_err();
    assert_eq!(problems.count(Severity::Error), 100);
}

#[test]
fn times_have_units_and_bounds() {
    use super::amount::Time;
    let time = |text: &str| Time::try_from(text.to_owned()).map(|time| time.0.as_millis());
    let good = [
        ("100ms", 100),
        ("15s", 15_000),
        ("5m", 300_000),
        ("0300s", 300_000),
    ];
    for (text, milliseconds) in good {
        assert_eq!(time(text), Ok(milliseconds), "{text}");
    }
    let bad = [
        "",
        "s",
        "15",
        "-1s",
        "+1s",
        "1.5s",
        "1h",
        "15 s",
        " 15s",
        "15S",
        "99ms",
        "6m",
        "301s",
        "١s",
        "18446744073709551615m",
        "99999999999999999999s",
    ];
    for text in bad {
        assert!(time(text).is_err(), "{text}");
    }
}

#[test]
fn a_deeply_nested_file_ends_before_the_stack_does() {
    for (open, close) in [("[", "]"), ("{a=", "}")] {
        let text = format!("log = {}{}", open.repeat(100_000), close.repeat(100_000));
        assert!(parse(&text, "file").is_err());
    }
    assert!(parse(&"a.".repeat(100_000), "file").is_err());
}
