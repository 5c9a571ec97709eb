//! A manual page as these tests read it: mdoc, as far as this house writes it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A file of this repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// A page, by its text.
pub(crate) struct Page(String);

/// An item of a list: what is described, and how.
pub(crate) struct Item<'a> {
    /// The line of the `.It`.
    pub(crate) head: &'a str,
    /// What follows, up to the next item or the list's end.
    pub(crate) body: String,
}

impl Page {
    /// The page of this file in `man`.
    pub(crate) fn read(name: &str) -> Self {
        let path = repository("man").join(name);
        Self(fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}")))
    }

    /// All of it.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }

    /// What stands under a heading, up to the next of its kind.
    pub(crate) fn section(&self, title: &str) -> &str {
        let (_, text) = self
            .0
            .split_once(&format!("\n.Sh {title}\n"))
            .unwrap_or_else(|| panic!("no section {title}"));
        text.split("\n.Sh ").next().unwrap_or_default()
    }

    /// The examples: each is what a reader pastes at once, a line or a block.
    pub(crate) fn examples(&self) -> Vec<String> {
        let mut examples = Vec::new();
        let mut block: Option<String> = None;
        for line in self.section("EXAMPLES").lines() {
            if let Some(line) = line.strip_prefix(".Dl ") {
                examples.push(unescaped(line));
            } else if line.starts_with(".Bd ") {
                block = Some(String::new());
            } else if line == ".Ed" {
                examples.extend(block.take());
            } else if let Some(block) = &mut block {
                block.push_str(&unescaped(line));
                block.push('\n');
            }
        }
        assert!(!examples.is_empty());
        examples
    }
}

/// The items of all lists in a piece of a page.
pub(crate) fn items(text: &str) -> Vec<Item<'_>> {
    let mut items: Vec<Item<'_>> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        if line.starts_with(".It ") {
            open = true;
            let body = String::new();
            items.push(Item { head: line, body });
        } else if [".El", ".Sh ", ".Ss "]
            .iter()
            .any(|it| line.starts_with(it))
        {
            open = false;
        } else if let (true, Some(item)) = (open, items.last_mut()) {
            item.body.push_str(line);
            item.body.push('\n');
        }
    }
    items
}

/// The options that a piece of a page names, as they are typed. Letters that stand together behind
/// one hyphen are an option each.
pub(crate) fn flags(text: &str) -> BTreeSet<String> {
    let mut flags = BTreeSet::new();
    for line in text.lines().filter_map(|line| line.strip_prefix('.')) {
        let mut is_flag = false;
        for word in line.split_whitespace() {
            if is_macro(word) {
                is_flag = word == "Fl";
            } else if is_flag && word.starts_with('-') {
                flags.insert(format!("-{word}"));
            } else if is_flag && word.starts_with(char::is_alphabetic) {
                flags.extend(word.chars().map(|letter| format!("-{letter}")));
            }
        }
    }
    flags
}

/// A macro of mdoc's, as `Fl` or `Ar`.
fn is_macro(word: &str) -> bool {
    let word = word.as_bytes();
    word.len() == 2 && word[0].is_ascii_uppercase() && word[1].is_ascii_lowercase()
}

fn unescaped(line: &str) -> String {
    line.replace("\\e", "\\").replace("\\&", "")
}
