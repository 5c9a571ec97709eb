//! A list cut into objects, and objects into elements.

use std::collections::BTreeMap;

use quick_xml::Reader;
use quick_xml::events::Event;

use super::{Damage, Damaged, MAX_LIST_SIZE, XmlError, decimal};

/// The lines between a list's opening and closing tag. The text ends at its first NUL or at its
/// end; the kernel prints strings of C, so no value has a NUL.
pub(super) fn lines<'a>(
    xml: &'a [u8],
    root: &'static str,
) -> Result<impl Iterator<Item = &'a [u8]>, XmlError> {
    if xml.len() > MAX_LIST_SIZE {
        return Err(XmlError::TooLarge(xml.len()));
    }
    let text = xml.split(|&byte| byte == 0).next().unwrap_or_default();
    let inner = text
        .strip_prefix(format!("<{root}>\n").as_bytes())
        .ok_or(XmlError::Begin(root))?;
    let inner = inner
        .strip_suffix(format!("</{root}>\n").as_bytes())
        .filter(|inner| matches!(inner, [] | [.., b'\n']))
        .ok_or(XmlError::End(root))?;
    // Not str::lines(): a carriage return is part of a value. What follows the last line end is no
    // line.
    let lines = inner.split(|&byte| byte == b'\n');
    let count = lines.clone().count() - 1;
    Ok(lines.take(count))
}

/// A list's objects: read, or not. Of an id that stands there twice, none counts.
pub(super) struct Objects<T> {
    pub(super) read: Vec<T>,
    pub(super) damaged: Vec<Damaged>,
}

/// Cuts a list into objects `<tag id="…">` to `</tag>`, each tag on a line of its own, and reads
/// each.
///
/// Inside an object only its closing line means something, so that a value which holds an opening
/// line damages the object that it stands in and no other.
pub(super) fn objects<T>(
    xml: &[u8],
    root: &'static str,
    tag: &str,
    read: impl Fn(u32, &str) -> Result<T, Damage>,
) -> Result<Objects<T>, XmlError> {
    let open = format!("<{tag} id=\"");
    let close = format!("</{tag}>");
    let mut found: Vec<(Option<u32>, Result<T, Damage>)> = Vec::new();
    let mut inside: Option<(u32, Vec<&[u8]>)> = None;
    let mut outside = false;
    for line in lines(xml, root)? {
        match &mut inside {
            Some((id, body)) if line == close.as_bytes() => {
                found.push((Some(*id), text(body).and_then(|text| read(*id, &text))));
                inside = None;
            }
            Some((_, body)) => body.push(line),
            None => match opened(line, &open) {
                Some(id) => {
                    inside = Some((id, Vec::new()));
                    outside = false;
                }
                None if outside => {}
                None => {
                    found.push((None, Err(Damage::Outside)));
                    outside = true;
                }
            },
        }
    }
    if let Some((id, _)) = inside {
        found.push((Some(id), Err(Damage::Unended)));
    }
    Ok(sorted(found))
}

/// Tells objects that count from others.
fn sorted<T>(found: Vec<(Option<u32>, Result<T, Damage>)>) -> Objects<T> {
    let mut times = BTreeMap::new();
    for id in found.iter().filter_map(|(id, _)| *id) {
        *times.entry(id).or_insert(0) += 1;
    }
    let mut objects = Objects {
        read: Vec::new(),
        damaged: Vec::new(),
    };
    for (id, result) in found {
        let times = id.and_then(|id| times.get_mut(&id));
        match (times, result) {
            (Some(0), _) => {}
            (Some(times), _) if *times > 1 => {
                *times = 0;
                let reason = Damage::Repeated;
                objects.damaged.push(Damaged { id, reason });
            }
            (_, Ok(object)) => objects.read.push(object),
            (_, Err(reason)) => objects.damaged.push(Damaged { id, reason }),
        }
    }
    objects
}

/// The id of an object that this line begins.
fn opened(line: &[u8], open: &str) -> Option<u32> {
    let id = line.strip_prefix(open.as_bytes())?.strip_suffix(b"\">")?;
    decimal(std::str::from_utf8(id).ok()?)
}

/// The lines of an object as one text, each with its line end.
///
/// The names of initiators, at the end of a port, are left out unread: they come from remote hosts,
/// and nothing here wants them.
fn text(body: &[&[u8]]) -> Result<String, Damage> {
    let kept = body
        .iter()
        .rposition(|line| !line.starts_with(b"\t<initiator id=\""))
        .map_or(0, |last| last + 1);
    let mut text = Vec::new();
    for line in &body[..kept] {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    String::from_utf8(text).map_err(|_| Damage::NotUtf8)
}

/// A part of an object: `<name>text</name>`, or with an `id` in the first tag.
pub(super) struct Element {
    pub(super) name: String,
    pub(super) id: Option<u32>,
    /// As it stands there; it holds no `<`.
    pub(super) text: String,
}

/// Reads the elements of an object. They hold no others, and between them are line ends and tabs
/// only; whatever else XML knows is not the kernel's.
pub(super) fn elements(object: &str) -> Result<Vec<Element>, Damage> {
    let mut reader = Reader::from_str(object);
    let config = reader.config_mut();
    config.allow_dangling_amp = true;
    config.trim_markup_names_in_closing_tags = false;
    let mut elements = Vec::new();
    loop {
        match reader.read_event().map_err(|_| Damage::Markup)? {
            Event::Start(tag) => {
                let name = tag.name().into_inner();
                let id = match tag.attributes_raw() {
                    "" => None,
                    attribute => Some(id_attribute(attribute).ok_or(Damage::Markup)?),
                };
                let text = reader.read_text(tag.name()).map_err(|_| Damage::Markup)?;
                let text = text.into_inner().into_owned();
                if text.contains('<') || !is_name(name) {
                    return Err(Damage::Markup);
                }
                let name = name.to_owned();
                elements.push(Element { name, id, text });
            }
            Event::Text(text) if text.bytes().all(|b| matches!(b, b'\n' | b'\t')) => {}
            Event::Eof => return Ok(elements),
            Event::Text(_)
            | Event::End(_)
            | Event::Empty(_)
            | Event::CData(_)
            | Event::Comment(_)
            | Event::Decl(_)
            | Event::PI(_)
            | Event::DocType(_)
            | Event::GeneralRef(_) => return Err(Damage::Markup),
        }
    }
}

/// The number in ` id="…"`.
fn id_attribute(attribute: &str) -> Option<u32> {
    decimal(attribute.strip_prefix(" id=\"")?.strip_suffix('"')?)
}

/// Whether a tag's name is surely the whole name: options may have any, blanks and quotes included.
fn is_name(name: &str) -> bool {
    let strange = |c: char| c.is_whitespace() || c.is_control() || "<>&\"'".contains(c);
    !name.is_empty() && !name.contains(strange)
}
