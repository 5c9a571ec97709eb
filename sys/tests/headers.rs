//! The bindings are what C compilers make of the headers: ours, and FreeBSD's where they are.
//!
//! The table in `src/lp64.rs`, from which bindings cannot differ and compile, is written as
//! `_Static_assert`s for a C compiler: `cc`, or the command in `NVMF_SYS_CC` (zig for FreeBSD, when
//! `scripts/freebsd-check.sh` runs this). FreeBSD does not install its headers for CTL: they are
//! read where the kernel's source is, in /usr/src, or below the directory in `NVMF_SYS_ROOT`.

#![cfg(target_pointer_width = "64")]
#![forbid(unsafe_code)]

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

#[test]
fn our_headers_declare_what_the_bindings_say() {
    let includes = "#include <stddef.h>\n\
        #include <stdint.h>\n\
        #if __has_include(<sys/ioccom.h>)\n\
        #include <sys/ioccom.h>\n\
        #endif\n\
        #include <cam/ctl/ctl_ioctl.h>\n";
    let options = ["-Wall", "-Wextra", "-Werror", "-I."];
    compile("ours", &options, includes, &facts()).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn freebsds_nvmf_headers_declare_what_the_bindings_say() {
    let includes = "#include <sys/param.h>\n\
        #include <dev/nvmf/nvmf.h>\n\
        #include <dev/nvmf/nvmf_proto.h>\n";
    if let Err(error) = compile("nvmf-includes", &[], includes, &[]) {
        assert!(env::var_os(COMPILER).is_none(), "{error}");
        return not_run(
            "comparing with FreeBSD's <dev/nvmf/nvmf.h>, which this compiler has not \
             (scripts/freebsd-check.sh has one that does)",
        );
    }
    let mut facts = facts();
    facts.retain(|fact| fact.name.to_ascii_lowercase().starts_with("nvm"));
    assert!(facts.len() > 10);
    compile("nvmf", &[], includes, &facts).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn freebsds_ctl_headers_declare_what_the_bindings_say() {
    let kernel = env::var("NVMF_SYS_ROOT").unwrap_or_default() + "/usr/src/sys";
    let header = format!("{kernel}/cam/ctl/ctl_ioctl.h");
    if !Path::new(&header).exists() {
        return not_run(&format!(
            "comparing with FreeBSD's {header}, which is not here"
        ));
    }
    let includes = fs::read_to_string("bindgen/system.h").unwrap();
    let options = ["-idirafter", &kernel];
    compile("ctl", &options, &includes, &facts()).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn everything_in_the_bindings_is_in_the_table() {
    let bindings = fs::read_to_string("src/bindings.rs").unwrap();
    let facts = facts();
    let mut items = 0;
    for line in bindings.lines() {
        let mut words = line.split([' ', ':']);
        if let (Some("pub"), Some("const" | "struct" | "union"), Some(name)) =
            (words.next(), words.next(), words.next())
        {
            items += 1;
            // A text, for which there is a test below, and a type known by its address only.
            let apart = name == "CTL_DEFAULT_DEV" || name == "nvlist";
            assert!(
                apart || facts.iter().any(|fact| fact.name == name),
                "{name}"
            );
        }
    }
    assert!(items > 70);
}

#[test]
fn the_device_is_where_freebsd_has_it() {
    assert_eq!(nvmf_sys::CTL_DEFAULT_DEV, c"/dev/cam/ctl");
}

/// Something that C can compute, and what it must be.
struct Fact {
    /// Of the type or constant.
    name: &'static str,
    expression: String,
    value: u64,
    /// A condition of the preprocessor without which C cannot compute it.
    condition: &'static str,
}

impl Fact {
    fn new(name: &'static str, expression: String, value: u64) -> Self {
        Self {
            name,
            expression,
            value,
            condition: "1",
        }
    }

    /// A request's code, which takes FreeBSD's macros.
    fn of_request(name: &'static str, value: u64) -> Self {
        Self {
            condition: "defined(IOCPARM_MASK)",
            ..Self::new(name, name.to_owned(), value)
        }
    }

    fn of_field(tag: &str, name: &'static str, field: &str, value: u64) -> Self {
        // What is a word of Rust has an underscore in the bindings.
        let field = field.trim_end_matches('_');
        Self::new(name, format!("offsetof({tag} {name}, {field})"), value)
    }
}

macro_rules! table {
    (
        $(struct $struct:ident: $size:literal { $($field:ident: $offset:literal,)* })*
        $(union $union:ident: $union_size:literal { $($member:ident),* })*
        $(request $request:ident = $code:literal;)*
        $(const $constant:ident = $value:literal;)*
    ) => {
        fn facts() -> Vec<Fact> {
            vec![
                $(
                    Fact::new(
                        stringify!($struct),
                        format!("sizeof(struct {})", stringify!($struct)),
                        $size,
                    ),
                    $(Fact::of_field("struct", stringify!($struct), stringify!($field), $offset),)*
                )*
                $(
                    Fact::new(
                        stringify!($union),
                        format!("sizeof(union {})", stringify!($union)),
                        $union_size,
                    ),
                    $(Fact::of_field("union", stringify!($union), stringify!($member), 0),)*
                )*
                $(Fact::of_request(stringify!($request), $code),)*
                $(Fact::new(stringify!($constant), stringify!($constant).to_owned(), $value),)*
            ]
        }
    };
}

include!("../src/lp64.rs");

/// Compiles for nothing but the assertions; the error is what the compiler says.
fn compile(name: &str, options: &[&str], includes: &str, facts: &[Fact]) -> Result<(), String> {
    let mut source = includes.to_owned();
    for Fact {
        expression,
        value,
        condition,
        ..
    } in facts
    {
        source += &format!(
            "#if {condition}\n\
             _Static_assert({expression} == {value:#x}, \"{expression}\");\n\
             #endif\n"
        );
    }
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (file, object) = (
        directory.join(format!("{name}.c")),
        directory.join(format!("{name}.o")),
    );
    fs::write(&file, source).unwrap();
    let compiler = env::var(COMPILER).unwrap_or_else(|_| "cc".to_owned());
    let mut words = compiler.split_whitespace();
    let output = Command::new(words.next().unwrap())
        .args(words)
        .args(["-std=c11", "-c", "-o"])
        .args([&object, &file])
        .args(options)
        .output()
        .map_err(|error| format!("{compiler}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

/// Past the test harness, which hides what a test that passes prints.
fn not_run(what: &str) {
    let _ = writeln!(std::io::stderr(), "NOT RUN: {what}");
}

/// The environment variable with the C compiler's command, words separated by spaces.
const COMPILER: &str = "NVMF_SYS_CC";
