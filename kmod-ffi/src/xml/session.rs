//! The list of associations (`CTL_NVMF`, type `LIST`).

use std::collections::BTreeMap;

use nvmf_proto::nqn::NQN_MAX_LENGTH;

use super::cut::lines;
use super::{Damage, Damaged, XmlError, decimal};

/// All associations of all ports, in the kernel's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sessions {
    /// Those that could be read.
    pub sessions: Vec<ListedSession>,
    /// What could not; the id is the CNTLID.
    pub damaged: Vec<Damaged>,
}

/// An association as FreeBSD `sys/dev/nvmf/controller/ctl_frontend_nvmf.c` (`nvmft_list()`) prints
/// it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSession {
    /// The controller's id, unique within its subsystem only.
    pub cntlid: u16,
    /// The host's name, 1 to 223 bytes without markup and control characters.
    pub hostnqn: String,
    /// The subsystem's name, likewise.
    pub subnqn: String,
    /// Transport: 3 for TCP (Base 2.0, discovery's TRTYPE).
    pub trtype: u32,
}

/// Reads the kernel's list of associations, with or without its final NUL.
///
/// Hosts choose their names, the kernel takes and prints any, and another daemon may hand over what
/// ours would refuse. So a line counts only if it is exactly of the kernel's shape and its names
/// hold no markup, no quotes, no control characters and at most 223 bytes; and of lines with the
/// same subsystem and CNTLID none counts.
///
/// A host **can** make its own association unreadable: with markup, or with a name that has no NUL,
/// behind which the kernel prints the bytes that follow it. It **cannot** forge another
/// association, or hide one, unless its name has a line end: with that it can do both, by lines
/// like the kernel's. Our daemon hands over no such name; beside a daemon that does, this list
/// proves nothing.
///
/// # Errors
/// [`XmlError`] when the text is not such a list as a whole; damaged lines are no error.
pub fn sessions(xml: &[u8]) -> Result<Sessions, XmlError> {
    let mut found = Vec::new();
    let mut damaged = Vec::new();
    for line in lines(xml, "ctlnvmflist")? {
        match std::str::from_utf8(line) {
            Ok(line) => match session(line) {
                Ok(session) => found.push(session),
                Err(reason) => damaged.push(Damaged {
                    id: begun(line).map(|(cntlid, _)| cntlid.into()),
                    reason,
                }),
            },
            Err(_) => damaged.push(Damaged {
                id: None,
                reason: Damage::NotUtf8,
            }),
        }
    }
    let mut times: BTreeMap<_, usize> = BTreeMap::new();
    for session in &found {
        *times
            .entry((session.subnqn.clone(), session.cntlid))
            .or_default() += 1;
    }
    times.retain(|_, times| *times > 1);
    found.retain(|session| !times.contains_key(&(session.subnqn.clone(), session.cntlid)));
    damaged.extend(times.into_keys().map(|(_, cntlid)| Damaged {
        id: Some(cntlid.into()),
        reason: Damage::Repeated,
    }));
    Ok(Sessions {
        sessions: found,
        damaged,
    })
}

/// A whole line. Each text ends at its first `<`, where just the one tag may follow.
fn session(line: &str) -> Result<ListedSession, Damage> {
    let (cntlid, rest) = begun(line).ok_or(Damage::Markup)?;
    let (hostnqn, rest) = element("hostnqn", rest)?;
    let (subnqn, rest) = element("subnqn", rest)?;
    let (trtype, rest) = element("trtype", rest)?;
    if rest != "</connection>" {
        return Err(Damage::Markup);
    }
    Ok(ListedSession {
        cntlid,
        hostnqn: name("hostnqn", hostnqn)?,
        subnqn: name("subnqn", subnqn)?,
        trtype: decimal(trtype).ok_or(Damage::Text("trtype"))?,
    })
}

/// The CNTLID at the beginning of a line, and the rest.
fn begun(line: &str) -> Option<(u16, &str)> {
    let (id, rest) = line.strip_prefix("<connection id=\"")?.split_once("\">")?;
    Some((decimal(id)?, rest))
}

/// The text of an element with which `text` begins, and what follows the element.
fn element<'a>(name: &'static str, text: &'a str) -> Result<(&'a str, &'a str), Damage> {
    let parts = || {
        let text = text
            .strip_prefix('<')?
            .strip_prefix(name)?
            .strip_prefix('>')?;
        let (inner, rest) = text.split_at(text.find('<')?);
        let rest = rest.strip_prefix("</")?.strip_prefix(name)?;
        Some((inner, rest.strip_prefix('>')?))
    };
    parts().ok_or(Damage::Markup)
}

fn name(element: &'static str, text: &str) -> Result<String, Damage> {
    if text.contains(['<', '>', '&', '"', '\'']) {
        return Err(Damage::Markup);
    }
    if text.is_empty() || text.len() > NQN_MAX_LENGTH || text.contains(char::is_control) {
        return Err(Damage::Text(element));
    }
    Ok(text.into())
}
