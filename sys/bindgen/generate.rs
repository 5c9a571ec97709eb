// How the bindings are made: tests/bindings.rs includes this file for our headers, build.rs for
// the system's.

/// `header` is what to read, `arguments` are clang's.
fn generate<A: AsRef<str>>(header: &str, arguments: &[A]) -> Result<String, bindgen::BindgenError> {
    let mut builder = bindgen::Builder::default()
        .header(header)
        .clang_args(arguments.iter().map(AsRef::as_ref))
        .allowlist_var(CONSTANTS)
        // The kernel writes the enums: a value that we do not know must be sound.
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        // layout.rs has assertions that hold for each width of pointers.
        .layout_tests(false)
        .derive_debug(false)
        .parse_callbacks(Box::new(Zeroed))
        .use_core()
        .formatter(bindgen::Formatter::Prettyplease)
        .disable_header_comment()
        .raw_line("// Made by bindgen (see bindgen.sh): change the headers, not this file.");
    for name in TYPES {
        builder = builder.allowlist_type(name);
    }
    Ok(builder.generate()?.to_string())
}

/// The arguments of requests; the types of their fields come along.
const TYPES: [&str; 7] = [
    "ctl_lun_list",
    "ctl_lun_map",
    "ctl_lun_req",
    "ctl_nvmf",
    "ctl_port_entry",
    "ctl_req",
    "nvmf_ioc_nv",
];

/// The macros: a regular expression.
const CONSTANTS: &str = "CTL_(DEFAULT_DEV|MINOR|MAX_INIT_PER_PORT|ERROR_STR_LEN|BE_NAME_LEN\
    |DRIVER_NAME_LEN|SN_LEN|DEVID_LEN|PORT_WW[NP]N_VALID)\
    |NVMF_(MAX_IO_ENTRIES|CC_EN_TIMEOUT|NN|NQN_MAX_LEN|CNTLID_DYNAMIC|CNTLID_STATIC_(ANY|MAX)\
    |KATO_DEFAULT)\
    |NVME_NQN_FIELD_SIZE";

/// Lets zerocopy make the zeros that every request begins as: that takes no unsafe code of ours.
#[derive(Debug)]
struct Zeroed;

impl bindgen::callbacks::ParseCallbacks for Zeroed {
    fn add_derives(&self, info: &bindgen::callbacks::DeriveInfo<'_>) -> Vec<String> {
        match info.name {
            // Known by its address only.
            "nvlist" => vec![],
            _ => vec!["::zerocopy::FromZeros".to_owned()],
        }
    }
}
