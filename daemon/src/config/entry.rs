//! The value of a key: absent, refused, or given at a place.
//!
//! To serde an entry is a tuple struct of three: where its value begins, where it ends, and the value,
//! which is left out when it was refused. [`super::read`] is who answers that.

#![forbid(unsafe_code)]

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use toml::Spanned;

use super::problem::Span;

/// What stands behind a key, or in a place of a list.
#[derive(Debug, Default)]
pub(super) enum Entry<T> {
    /// Nothing: the file does not have the key.
    #[default]
    Absent,
    /// Something that was reported already.
    Refused(Span),
    /// A value.
    Given(Spanned<T>),
}

impl<T> Entry<T> {
    /// The value, if there is a good one.
    pub(super) fn given(&self) -> Option<&T> {
        match self {
            Self::Given(value) => Some(value.get_ref()),
            Self::Absent | Self::Refused(_) => None,
        }
    }

    /// The value with its place, if there is a good one.
    pub(super) fn spanned(&self) -> Option<&Spanned<T>> {
        match self {
            Self::Given(value) => Some(value),
            Self::Absent | Self::Refused(_) => None,
        }
    }

    /// Where it stands, if it stands anywhere.
    pub(super) fn span(&self) -> Option<Span> {
        match self {
            Self::Absent => None,
            Self::Refused(span) => Some(span.clone()),
            Self::Given(value) => Some(value.span()),
        }
    }

    /// Whether something stood there that was reported.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self, Self::Refused(_))
    }

    /// Whether the file does not have the key.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

impl<T> Entry<Vec<Entry<T>>> {
    /// The good values of a list.
    pub(super) fn items(&self) -> impl Iterator<Item = &Spanned<T>> {
        let list = self.given().into_iter().flatten();
        list.filter_map(Entry::spanned)
    }

    /// Whether it is known what the list has: it is absent, or all of it is good.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Self::Absent => true,
            Self::Refused(_) => false,
            Self::Given(list) => !list.get_ref().iter().any(Entry::is_refused),
        }
    }

    /// Whether it is there and has nothing in it.
    pub(super) fn is_empty_list(&self) -> bool {
        self.given().is_some_and(Vec::is_empty)
    }
}

impl<T: Clone> Entry<T> {
    /// The value, or what holds without it. What was refused is as good as absent: the file is
    /// refused with it.
    pub(super) fn or(&self, default: T) -> T {
        self.given().cloned().unwrap_or(default)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Entry<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_tuple_struct("Entry", 3, EntryVisitor(PhantomData))
    }
}

struct EntryVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for EntryVisitor<T> {
    type Value = Entry<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value and its place")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Entry<T>, A::Error> {
        let start = parts.next_element()?.unwrap_or_default();
        let end = parts.next_element()?.unwrap_or_default();
        Ok(match parts.next_element()? {
            Some(value) => Entry::Given(Spanned::new(start..end, value)),
            None => Entry::Refused(start..end),
        })
    }
}

/// Why a value cannot be: what is wrong, and the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) what: String,
    pub(super) hint: String,
}

impl Refusal {
    pub(super) fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            hint: hint.into(),
        }
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    /// Both, a line each: how a refusal passes through serde, which knows texts only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.what, self.hint)
    }
}

impl serde::de::Error for Refusal {
    fn custom<T: fmt::Display>(message: T) -> Self {
        let message = message.to_string();
        let (what, hint) = message.split_once('\n').unwrap_or((&message, ""));
        Self::new(what, hint)
    }
}
