//! The committed bindings are what bindgen makes of our headers.

#![forbid(unsafe_code)]

use std::io::Write;
use std::path::Path;
use std::{env, fs};

#[test]
fn committed_bindings_are_what_bindgen_makes_of_our_headers() {
    if let Err(error) = nvmf_sys_bindgen::libclang() {
        // Past the test harness, which hides what a test that passes prints.
        let _ = writeln!(
            std::io::stderr(),
            "NOT RUN: making the bindings anew: {error}"
        );
        assert!(
            env::var("CI").as_deref() != Ok("true"),
            "CI must run every test"
        );
        return;
    }
    let sys = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let made = nvmf_sys_bindgen::from_ours(&sys).unwrap();
    let committed = fs::read_to_string(sys.join("src/bindings.rs")).unwrap();
    assert!(
        made == committed,
        "sys/src/bindings.rs is stale: sys/bindgen.sh makes it anew"
    );
}
