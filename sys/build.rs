//! With the feature `bindgen`: the bindings from the headers of the FreeBSD that this is built on.

#![forbid(unsafe_code)]

#[cfg(not(feature = "bindgen"))]
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}

#[cfg(feature = "bindgen")]
fn main() -> Result<(), String> {
    system::write()
}

#[cfg(feature = "bindgen")]
mod system {
    use std::path::Path;
    use std::{env, fs};

    pub(crate) fn write() -> Result<(), String> {
        println!("cargo::rerun-if-changed=bindgen/system.h");
        println!("cargo::rerun-if-env-changed={ROOT}");
        let root = env::var(ROOT).unwrap_or_default();
        let include = format!("{root}/usr/include");
        let source = format!("{root}/usr/src/sys");
        let needed = [
            (
                format!("{include}/dev/nvmf/nvmf.h"),
                "the headers of FreeBSD 15.0 or newer (a part of the base system)",
            ),
            (
                format!("{source}/cam/ctl/ctl_ioctl.h"),
                "the kernel's source of the same release (pkg install FreeBSD-src-sys, or src.txz \
                 unpacked at /)",
            ),
        ];
        for (header, what) in needed {
            println!("cargo::rerun-if-changed={header}");
            if !Path::new(&header).exists() {
                return Err(format!(
                    "the feature `bindgen` needs {header}, which is absent: install {what}, or \
                     build without the feature, from the committed bindings"
                ));
            }
        }
        let mut arguments = vec![format!("-idirafter{source}")];
        if !root.is_empty() {
            arguments.push(format!("--sysroot={root}"));
        }
        nvmf_sys_bindgen::libclang()?;
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let made = nvmf_sys_bindgen::from(Path::new("bindgen/system.h"), &arguments)
            .map_err(|e| format!("bindgen could not read FreeBSD's headers: {e}"))?;
        let out = env::var("OUT_DIR").map_err(|e| format!("OUT_DIR: {e}"))?;
        fs::write(format!("{out}/bindings.rs"), made).map_err(|e| format!("{out}: {e}"))
    }

    /// A directory with another FreeBSD's /usr, for a build that crosses.
    const ROOT: &str = "NVMF_SYS_ROOT";
}
