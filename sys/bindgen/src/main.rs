//! Prints the bindings from our headers, for `bindgen.sh`.

#![forbid(unsafe_code)]

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    nvmf_sys_bindgen::libclang()?;
    let sys = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    print!("{}", nvmf_sys_bindgen::from_ours(&sys)?);
    Ok(())
}
