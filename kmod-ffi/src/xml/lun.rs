//! The list of LUNs (`CTL_LUN_LIST`).

use quick_xml::escape::unescape;

use super::cut::{elements, objects};
use super::{Damage, Damaged, XmlError, decimal, option, take};

/// All LUNs, in the kernel's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Luns {
    /// Those that could be read.
    pub luns: Vec<ListedLun>,
    /// What could not.
    pub damaged: Vec<Damaged>,
}

/// A LUN as FreeBSD `sys/cam/ctl/ctl.c` (`CTL_LUN_LIST`) prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedLun {
    /// CTL's number of it.
    pub id: u32,
    /// `block`, `ramdisk` or another backend's name.
    pub backend: String,
    /// SCSI's type of device: 0 is a disk.
    pub lun_type: u32,
    /// Blocks; 0 without media, and for a disk of one block.
    pub size_blocks: u64,
    /// Bytes of a block.
    pub blocksize: u32,
    /// Serial number, at most 16 bytes.
    pub serial_number: String,
    /// Device id, at most 64 bytes.
    pub device_id: String,
    /// All other elements in their order: what the backend tells (`num_threads`), then the options
    /// of whoever made the LUN, names and values as they were given.
    pub options: Vec<(String, String)>,
}

impl ListedLun {
    /// The first option of this name.
    pub fn option(&self, key: &str) -> Option<&str> {
        option(&self.options, key)
    }
}

/// Reads the kernel's list of LUNs, with or without its final NUL.
///
/// An element that the kernel prints itself is the first of its name; an option of the same name
/// stands further behind, among the options.
///
/// # Errors
/// [`XmlError`] when the text is not such a list as a whole; damaged LUNs are no error.
pub fn luns(xml: &[u8]) -> Result<Luns, XmlError> {
    let objects = objects(xml, "ctllunlist", "lun", lun)?;
    Ok(Luns {
        luns: objects.read,
        damaged: objects.damaged,
    })
}

fn lun(id: u32, object: &str) -> Result<ListedLun, Damage> {
    let mut options = Vec::new();
    for element in elements(object)? {
        match element.id {
            None => options.push((element.name, element.text)),
            Some(_) => return Err(Damage::Markup),
        }
    }
    let mut text = |name| take(&mut options, name).ok_or(Damage::Missing(name));
    let backend = text("backend_type")?;
    let lun_type = text("lun_type")?;
    let size = text("size")?;
    let blocksize = text("blocksize")?;
    let serial_number = text("serial_number")?;
    let device_id = text("device_id")?;
    Ok(ListedLun {
        id,
        backend,
        lun_type: decimal(&lun_type).ok_or(Damage::Text("lun_type"))?,
        size_blocks: decimal(&size).ok_or(Damage::Text("size"))?,
        blocksize: decimal(&blocksize).ok_or(Damage::Text("blocksize"))?,
        serial_number: unescaped("serial_number", &serial_number)?,
        device_id: unescaped("device_id", &device_id)?,
        options,
    })
}

/// The two texts that the kernel escapes (`ctl_sbuf_printf_esc()`: `&`, `<` and `>`).
fn unescaped(name: &'static str, text: &str) -> Result<String, Damage> {
    unescape(text)
        .map(Into::into)
        .map_err(|_| Damage::Text(name))
}
