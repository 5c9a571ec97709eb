//! The list of ports (`CTL_PORT_LIST`).

use std::collections::BTreeMap;

use super::cut::{elements, objects};
use super::{Damage, Damaged, XmlError, decimal, option, take};

/// All ports of all front ends, in the kernel's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    /// Those that could be read.
    pub ports: Vec<ListedPort>,
    /// What could not.
    pub damaged: Vec<Damaged>,
}

/// A port as FreeBSD `sys/cam/ctl/ctl.c` (`CTL_PORT_LIST`) prints it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedPort {
    /// CTL's number of it.
    pub id: u32,
    /// `nvmf`, `iscsi` or another front end's name.
    pub frontend: String,
    /// The front end's bit: 128 for NVMe. None if the kernel does not say.
    pub port_type: Option<u32>,
    /// Whether hosts are served.
    pub online: bool,
    /// The front end's name of the port: `nvmf` for every port of it.
    pub name: String,
    /// For NVMe the port id (0 to 65535) of discovery. None if the kernel does not say.
    pub physical_port: Option<i32>,
    /// All other elements in their order: what the front end tells (`virtual_port`, `target`), then
    /// the options of whoever made the port, names and values as they were given (`subnqn`).
    pub options: Vec<(String, String)>,
    /// LUN in the port (for NVMe: NSID − 1) to CTL's LUN. None: no map, so every LUN of CTL is
    /// visible under CTL's number.
    pub lun_map: Option<BTreeMap<u32, u32>>,
}

impl ListedPort {
    /// The first option of this name.
    pub fn option(&self, key: &str) -> Option<&str> {
        option(&self.options, key)
    }
}

/// Reads the kernel's list of ports, with or without its final NUL.
///
/// An element that the kernel prints itself is the first of its name; an option of the same name
/// stands further behind, among the options. Initiators are not told.
///
/// # Errors
/// [`XmlError`] when the text is not such a list as a whole; damaged ports are no error.
pub fn ports(xml: &[u8]) -> Result<Ports, XmlError> {
    let objects = objects(xml, "ctlportlist", "targ_port", port)?;
    Ok(Ports {
        ports: objects.read,
        damaged: objects.damaged,
    })
}

fn port(id: u32, object: &str) -> Result<ListedPort, Damage> {
    let mut options = Vec::new();
    let mut lun_map: Option<BTreeMap<u32, u32>> = None;
    for element in elements(object)? {
        match (&*element.name, element.id, &mut lun_map) {
            ("lun", Some(plun), Some(map)) => {
                let lun = decimal(&element.text).ok_or(Damage::Text("lun"))?;
                if map.insert(plun, lun).is_some() {
                    return Err(Damage::LunMap);
                }
            }
            ("lun", Some(_), None) => return Err(Damage::LunMap),
            (_, Some(_), _) => return Err(Damage::Markup),
            ("lun_map", None, None) if element.text == "on" => lun_map = Some(BTreeMap::new()),
            // The map comes last: what follows it is not the kernel's, and so perhaps neither is
            // the map.
            (_, None, Some(_)) | ("lun_map", None, None) => return Err(Damage::LunMap),
            (_, None, None) => options.push((element.name, element.text)),
        }
    }
    let mut text = |name| take(&mut options, name);
    let frontend = text("frontend_type").ok_or(Damage::Missing("frontend_type"))?;
    let port_type = text("port_type");
    let online = text("online").ok_or(Damage::Missing("online"))?;
    let name = text("port_name").ok_or(Damage::Missing("port_name"))?;
    let physical_port = text("physical_port");
    Ok(ListedPort {
        id,
        frontend,
        port_type: port_type
            .map(|text| decimal(&text).ok_or(Damage::Text("port_type")))
            .transpose()?,
        online: match &*online {
            "YES" => true,
            "NO" => false,
            _ => return Err(Damage::Text("online")),
        },
        name,
        physical_port: physical_port
            .map(|text| decimal(&text).ok_or(Damage::Text("physical_port")))
            .transpose()?,
        options,
        lun_map,
    })
}
