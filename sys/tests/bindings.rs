//! The committed bindings are what bindgen makes of our headers.

#![forbid(unsafe_code)]

use std::io::Write;
use std::{env, fs};

include!("../bindgen/generate.rs");

/// With `NVMF_SYS_WRITE` set (`bindgen.sh`) the file is written rather than compared.
#[test]
fn committed_bindings_are_what_bindgen_makes() {
    if let Err(why) = std::panic::catch_unwind(bindgen::clang_version) {
        let why = why.downcast_ref::<String>().map_or("", String::as_str);
        return not_run(&format!("regenerating sys/src/bindings.rs: {why}"));
    }
    let arguments = ["--target=x86_64-unknown-freebsd15", "-nostdinc", "-I."];
    let made = generate("bindgen/own.h", &arguments).unwrap();
    if env::var_os("NVMF_SYS_WRITE").is_some() {
        fs::write("src/bindings.rs", made).unwrap();
    } else {
        let committed = fs::read_to_string("src/bindings.rs").unwrap();
        assert!(
            made == committed,
            "sys/src/bindings.rs is stale: sh sys/bindgen.sh writes it anew"
        );
    }
}

/// Past the test harness, which hides what a test that passes prints. CI must run everything.
fn not_run(what: &str) {
    let _ = writeln!(std::io::stderr(), "NOT RUN: {what}");
    assert!(
        env::var("CI").as_deref() != Ok("true"),
        "in CI this is a failure"
    );
}
