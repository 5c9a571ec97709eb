//! Makes the bindings of nvmf-sys from C headers: ours for the file that is committed, the system's
//! for its feature `bindgen`.
//!
//! A crate of its own, because it must run when the bindings are wrong and nvmf-sys does not compile.

#![forbid(unsafe_code)]

use std::path::Path;

use bindgen::callbacks::{DeriveInfo, ParseCallbacks};
use bindgen::{BindgenError, Builder, EnumVariation, Formatter};

/// The bindings from our headers, in `sys`. They are the same on every host: clang reads no other
/// header, and for one target.
pub fn from_ours(sys: &Path) -> Result<String, BindgenError> {
    let include = format!("-I{}", sys.display());
    let arguments = ["--target=x86_64-unknown-freebsd15", "-nostdinc", &include];
    from(&sys.join("bindgen/own.h"), &arguments)
}

/// The bindings from what `header` includes; `arguments` are clang's. Panics without libclang.
pub fn from(header: &Path, arguments: &[&str]) -> Result<String, BindgenError> {
    let mut builder = Builder::default()
        .header(header.display().to_string())
        .clang_args(arguments)
        .allowlist_var(CONSTANTS)
        // The kernel writes the enums: a value that we do not know must be sound.
        .default_enum_style(EnumVariation::Consts)
        .prepend_enum_name(false)
        // nvmf-sys has assertions of its own, which hold for each width of pointers.
        .layout_tests(false)
        .derive_debug(false)
        .parse_callbacks(Box::new(Zeroed))
        .use_core()
        .formatter(Formatter::Prettyplease)
        .disable_header_comment()
        .raw_line("// Made by bindgen.sh: change the headers, not this file.");
    for name in TYPES {
        builder = builder.allowlist_type(name);
    }
    Ok(builder.generate()?.to_string())
}

/// Whether there is a libclang; the error says where it was looked for.
pub fn libclang() -> Result<(), String> {
    // bindgen has no other way to ask.
    match std::panic::catch_unwind(bindgen::clang_version) {
        Ok(_) => Ok(()),
        Err(panic) => Err(panic.downcast_ref::<String>().cloned().unwrap_or_default()),
    }
}

/// Lets zerocopy make the zeros that every request begins as: that takes no unsafe code of ours.
#[derive(Debug)]
struct Zeroed;

impl ParseCallbacks for Zeroed {
    fn add_derives(&self, info: &DeriveInfo<'_>) -> Vec<String> {
        match info.name {
            // Known by its address only.
            "nvlist" => vec![],
            _ => vec!["::zerocopy::FromZeros".to_owned()],
        }
    }
}

/// The arguments of requests, whose fields' types come along, and what counts in them.
const TYPES: [&str; 9] = [
    "ctl_get_io_stats",
    "ctl_lun_list",
    "ctl_lun_map",
    "ctl_lun_req",
    "ctl_nvmf",
    "ctl_port_entry",
    "ctl_req",
    "ctl_stat_types",
    "nvmf_ioc_nv",
];

/// The macros: a regular expression.
const CONSTANTS: &str = "CTL_(DEFAULT_DEV|MINOR|MAX_INIT_PER_PORT|MAX_ARGS_LEN|ERROR_STR_LEN\
    |BE_NAME_LEN|DRIVER_NAME_LEN|SN_LEN|DEVID_LEN|PORT_WW[NP]N_VALID)\
    |NVMF_(MAX_IO_ENTRIES|CC_EN_TIMEOUT|NN|NQN_MAX_LEN|CNTLID_DYNAMIC|CNTLID_STATIC_(ANY|MAX)\
    |KATO_DEFAULT)\
    |NVME_NQN_FIELD_SIZE";
