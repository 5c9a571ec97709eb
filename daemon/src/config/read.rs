//! From a TOML document to structs, by serde, without stopping at what is wrong.
//!
//! serde ends at its first error. Here each value is an [`Entry`](super::entry::Entry), which can say
//! that its value was refused: the reason is reported here, and reading goes on. A key that a struct
//! does not have is reported, and read as the one that was meant or passed over. This is a `Deserializer` of its own because toml's
//! can do neither.

#![forbid(unsafe_code)]

use serde::de::value::StrDeserializer;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::entry::Refusal;
use super::nearest::{nearest, suggestion};
use super::problem::{Findings, Span, quoted};
use super::raw;

/// Reads the document into `T`, all of whose fields are entries.
pub(super) fn read<'de, T: Deserialize<'de>>(
    document: &'de Spanned<DeValue<'de>>,
    text: &'de str,
    findings: &mut Findings,
) -> T {
    let reader = Reader {
        node: document,
        text,
        findings,
    };
    T::deserialize(reader).expect("entries take whatever there is")
}

/// A value of the document.
struct Reader<'f, 'de> {
    node: &'de Spanned<DeValue<'de>>,
    text: &'de str,
    findings: &'f mut Findings,
}

/// What a struct's field asks for.
enum Wanted {
    Text,
    Switch,
    Number,
    List,
    /// With its header.
    Table(&'static str),
}

impl Reader<'_, '_> {
    /// It is of another kind than it should be.
    fn not(&self, wanted: &Wanted) -> Refusal {
        let node = self.node.get_ref();
        let source = self.text.get(self.node.span()).unwrap_or_default();
        let short = source.len() <= 40 && !source.contains('\n');
        let hint = match (wanted, node) {
            (Wanted::Text, DeValue::Integer(_) | DeValue::Float(_) | DeValue::Datetime(_))
                if short =>
            {
                format!("in quotes: \"{source}\"")
            }
            (Wanted::Text, _) => "one text in quotes, as in \"front\"".into(),
            (Wanted::Switch, _) => "true or false, without quotes".into(),
            (Wanted::Number, _) => "a whole number without quotes, as in 1".into(),
            (Wanted::List, DeValue::String(_)) if short => format!("in brackets: [{source}]"),
            (Wanted::List, DeValue::Table(_)) if short && source.starts_with('[') => {
                format!("with two brackets: [{source}], as there may be several")
            }
            (Wanted::List, DeValue::Table(_)) if short && !source.starts_with('{') => {
                format!("a line of its own begins each, with two brackets: [[{source}]]")
            }
            (Wanted::List, _) => "a list in brackets, as in [\"front\", \"back\"]".into(),
            (Wanted::Table(header), _) => {
                format!("a table begins with a line of its own: {header}")
            }
        };
        let is = match node {
            DeValue::String(_) => "text",
            DeValue::Integer(_) => "a number",
            DeValue::Float(_) => "a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let belongs = match wanted {
            Wanted::Text => "text belongs",
            Wanted::Switch => "true or false belongs",
            Wanted::Number => "a number belongs",
            Wanted::List => "a list belongs",
            Wanted::Table(_) => "a table belongs",
        };
        Refusal::new(format!("{is} stands where {belongs}"), hint)
    }
}

impl<'de> Deserializer<'de> for Reader<'_, 'de> {
    type Error = Refusal;

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self.node.get_ref().as_str() {
            Some(text) => visitor.visit_str(text),
            None => Err(self.not(&Wanted::Text)),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self.node.get_ref().as_bool() {
            Some(value) => visitor.visit_bool(value),
            None => Err(self.not(&Wanted::Switch)),
        }
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let Some(number) = self.node.get_ref().as_integer() else {
            return Err(self.not(&Wanted::Number));
        };
        match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => visitor.visit_i64(number),
            Err(_) => Err(Refusal::new(
                "the number is larger than any that is good here",
                "use a smaller one",
            )),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self.node.get_ref().as_array() {
            Some(list) => visitor.visit_seq(Items {
                items: list.iter(),
                text: self.text,
                findings: self.findings,
            }),
            None => Err(self.not(&Wanted::List)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        match self.node.get_ref().as_table() {
            Some(table) => visitor.visit_map(Keys {
                table,
                entries: table.iter(),
                slips: Vec::new(),
                value: None,
                header: name,
                known: fields,
                text: self.text,
                findings: self.findings,
            }),
            None => Err(self.not(&Wanted::Table(name))),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        match self.node.get_ref().as_str() {
            Some(text) if variants.contains(&text) => {
                let text: StrDeserializer<'_, Refusal> = text.into_deserializer();
                visitor.visit_enum(text)
            }
            Some(text) => Err(Refusal::new(
                format!("{} is no value of this key", quoted(text)),
                suggestion(text, "its values are", variants.iter().copied()),
            )),
            None => {
                let refusal = self.not(&Wanted::Text);
                let all = variants.join("\", \"");
                Err(Refusal::new(refusal.what, format!("one of \"{all}\"")))
            }
        }
    }

    /// An [`Entry`](super::entry::Entry), the only one to ask for this.
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        visitor.visit_seq(Parts {
            given: 0,
            reader: self,
        })
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refusal> {
        unreachable!("the structs of the grammar ask for nothing else")
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u32 u64 u128 f32 f64 char str bytes byte_buf option unit unit_struct
        newtype_struct tuple map identifier ignored_any
    }
}

/// A list's elements.
struct Items<'f, 'de> {
    items: <&'de DeArray<'de> as IntoIterator>::IntoIter,
    text: &'de str,
    findings: &'f mut Findings,
}

impl<'de> SeqAccess<'de> for Items<'_, 'de> {
    type Error = Refusal;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refusal> {
        let Some(node) = self.items.next() else {
            return Ok(None);
        };
        let reader = Reader {
            node,
            text: self.text,
            findings: self.findings,
        };
        seed.deserialize(reader).map(Some)
    }
}

/// A table's keys and values, as far as the struct has a field for them.
struct Keys<'f, 'de> {
    table: &'de DeTable<'de>,
    entries: <&'de DeTable<'de> as IntoIterator>::IntoIter,
    /// Keys that others were read as.
    slips: Vec<&'static str>,
    value: Option<&'de Spanned<DeValue<'de>>>,
    header: &'static str,
    known: &'static [&'static str],
    text: &'de str,
    findings: &'f mut Findings,
}

impl Keys<'_, '_> {
    /// Reports a key that the struct does not have, and says which one was meant: it is read as that,
    /// unless that is there as well.
    fn unknown(&mut self, key: &str, span: Span) -> Option<&'static str> {
        let meant = nearest(key, self.known.iter().copied());
        let elsewhere = || {
            let mut others = raw::grammar().into_iter();
            others.find(|(_, keys)| keys.contains(&key))
        };
        let hint = match (meant, elsewhere()) {
            (None, Some((header, _))) => format!("it belongs in {header}; is that line missing?"),
            _ => suggestion(key, "its keys are", self.known.iter().copied()),
        };
        let what = format!("{} has no key {}", self.header, quoted(key));
        self.findings.error(span, what, hint);
        let meant = meant.filter(|meant| !self.table.contains_key(*meant))?;
        let first = !self.slips.contains(&meant);
        self.slips.push(meant);
        first.then_some(meant)
    }
}

impl<'de> MapAccess<'de> for Keys<'_, 'de> {
    type Error = Refusal;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refusal> {
        while let Some((key, value)) = self.entries.next() {
            let name = key.get_ref().as_ref();
            let field = match self.known.iter().find(|known| **known == name) {
                Some(known) => Some(*known),
                None => self.unknown(name, key.span()),
            };
            if let Some(field) = field {
                self.value = Some(value);
                let field: StrDeserializer<'_, Refusal> = field.into_deserializer();
                return seed.deserialize(field).map(Some);
            }
        }
        Ok(None)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refusal> {
        let node = self
            .value
            .take()
            .expect("a value is asked for after its key");
        seed.deserialize(Reader {
            node,
            text: self.text,
            findings: self.findings,
        })
    }
}

/// What makes an [`Entry`](super::entry::Entry): where the value begins, where it ends, and itself unless it is refused.
struct Parts<'f, 'de> {
    given: usize,
    reader: Reader<'f, 'de>,
}

impl<'de> SeqAccess<'de> for Parts<'_, 'de> {
    type Error = Refusal;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refusal> {
        let span = self.reader.node.span();
        let told = self.reader.findings.told(span.start);
        let span = told.clone().unwrap_or(span);
        self.given += 1;
        match self.given {
            1 => seed.deserialize(span.start.into_deserializer()).map(Some),
            2 => seed.deserialize(span.end.into_deserializer()).map(Some),
            _ => {
                let value = seed.deserialize(Reader {
                    node: self.reader.node,
                    text: self.reader.text,
                    findings: self.reader.findings,
                });
                match value {
                    Ok(value) => Ok(Some(value)),
                    Err(_) if told.is_some() => Ok(None),
                    Err(refusal) => {
                        self.reader.findings.error(span, refusal.what, refusal.hint);
                        Ok(None)
                    }
                }
            }
        }
    }
}
