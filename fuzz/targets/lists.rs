//! CTL's lists, which hold what remote hosts call themselves: any bytes, read as each of the three.
//!
//! Nothing is read that the text does not hold, no object stands there twice, and the same text with
//! another object behind it still shows the first ones.

#![no_main]
#![forbid(unsafe_code)]

use std::collections::BTreeSet;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use nvmf_kmod::xml;

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    /// Whether the text is what stands between a list's tags.
    inside: bool,
    text: &'a [u8],
}

impl Input<'_> {
    fn list(&self, tag: &str) -> Vec<u8> {
        if !self.inside {
            return self.text.to_vec();
        }
        let (begin, end) = (format!("<{tag}>\n"), format!("\n</{tag}>\n"));
        [begin.as_bytes(), self.text, end.as_bytes()].concat()
    }
}

fn different<T: Ord>(all: impl IntoIterator<Item = T>) {
    let mut seen = BTreeSet::new();
    assert!(all.into_iter().all(|id| seen.insert(id)), "an id twice");
}

fuzz_target!(|input: Input<'_>| {
    let text = input.list("ctlportlist");
    if let Ok(list) = xml::ports(&text) {
        different(list.ports.iter().map(|port| port.id));
        let names: usize = list.ports.iter().map(|port| port.name.len()).sum();
        assert!(names <= 3 * text.len(), "more than the text holds");
        let _ = format!("{:?}", list.damaged);
    }
    let text = input.list("ctllunlist");
    if let Ok(list) = xml::luns(&text) {
        different(list.luns.iter().map(|lun| lun.id));
        let options: usize = list.luns.iter().map(|lun| lun.options.len()).sum();
        assert!(options <= text.len(), "more than the text holds");
    }
    let text = input.list("ctlnvmflist");
    if let Ok(list) = xml::sessions(&text) {
        for session in &list.sessions {
            assert!(session.hostnqn.len() <= 3 * text.len());
        }
        assert!(list.sessions.len() <= text.len());
    }
});
