//! A scrape, read as strictly as the OpenMetrics text format (1.0.0) is written.

use std::collections::{BTreeMap, BTreeSet};

/// What a scrape holds.
#[derive(Debug)]
pub(crate) struct Scrape {
    /// Families by name, with their type.
    pub(crate) families: BTreeMap<String, String>,
    /// Samples by name and labels, as they are written.
    pub(crate) samples: BTreeMap<String, f64>,
}

impl Scrape {
    /// Reads a scrape.
    ///
    /// # Panics
    /// At whatever the format forbids.
    pub(crate) fn read(text: &str) -> Self {
        let mut scrape = Self {
            families: BTreeMap::new(),
            samples: BTreeMap::new(),
        };
        let body = text.strip_suffix("# EOF\n").expect("the end is marked");
        let mut family = Family::default();
        for line in body.lines() {
            match line.strip_prefix("# ") {
                Some(comment) => family.describe(comment, &mut scrape.families),
                None => family.sample(line, &mut scrape.samples),
            }
        }
        family.ends();
        scrape
    }

    /// A sample.
    ///
    /// # Panics
    /// If it is not there.
    pub(crate) fn value(&self, sample: &str) -> f64 {
        let value = self.samples.get(sample);
        *value.unwrap_or_else(|| panic!("no {sample} in {:#?}", self.samples))
    }

    /// The sum of all samples of a name.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        let all = self.samples.iter();
        let of_it = all.filter(|(sample, _)| sample.split('{').next() == Some(name));
        of_it.map(|(_, value)| value).sum()
    }

    /// The names that samples have.
    pub(crate) fn names(&self) -> BTreeSet<&str> {
        let names = self.samples.keys().filter_map(|it| it.split('{').next());
        names.collect()
    }
}

/// The family whose lines are read.
#[derive(Default)]
struct Family {
    name: String,
    kind: String,
    described: BTreeSet<String>,
    /// Of a histogram: labels without the bound, the last bound, and its count.
    bucket: Option<(String, f64, f64)>,
    /// The counts of a histogram's series, and of their last buckets.
    counts: BTreeMap<String, f64>,
    all: BTreeMap<String, f64>,
}

impl Family {
    fn describe(&mut self, comment: &str, families: &mut BTreeMap<String, String>) {
        let mut words = comment.splitn(3, ' ');
        let mut word = || words.next().expect("three words");
        let (what, name, rest) = (word(), word(), word());
        if name != self.name {
            self.ends();
            assert!(!families.contains_key(name), "{name} is in two places");
            *self = Self {
                name: name.into(),
                ..Self::default()
            };
        }
        assert!(self.described.insert(what.into()), "{what} {name} twice");
        assert!(name.starts_with("nvmfd_") && is_name(name), "{name}");
        match what {
            "TYPE" => {
                self.kind = rest.into();
                assert!(
                    ["counter", "gauge", "histogram", "info"].contains(&rest),
                    "{rest}"
                );
                families.insert(name.into(), rest.into());
            }
            "UNIT" => assert!(name.ends_with(&format!("_{rest}")), "{name} has no {rest}"),
            "HELP" => assert!(!rest.is_empty(), "{name} says nothing"),
            _ => panic!("{comment}"),
        }
    }

    fn sample(&mut self, line: &str, samples: &mut BTreeMap<String, f64>) {
        let (sample, value) = line.rsplit_once(' ').expect("a sample and its value");
        let (name, labels) = match sample.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}').expect("closed")),
            None => (sample, ""),
        };
        let suffix = name.strip_prefix(&self.name).expect("of this family");
        let value: f64 = value.parse().expect("a number");
        assert!(value >= 0.0, "{line}");
        let labels = pairs(labels);
        let names: BTreeSet<_> = labels.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), labels.len(), "a label twice: {line}");
        match (self.kind.as_str(), suffix) {
            ("counter", "_total") | ("gauge", "") | ("histogram", "_sum") => {}
            ("info", "_info") => assert!(value == 1.0, "{line}"),
            ("histogram", "_bucket") => self.bucket(labels, value),
            ("histogram", "_count") => {
                self.counts.insert(format!("{labels:?}"), value);
            }
            (kind, suffix) => panic!("{suffix:?} of a {kind}: {line}"),
        }
        let other = samples.insert(sample.into(), value);
        assert!(other.is_none(), "twice: {sample}");
    }

    fn bucket(&mut self, labels: Vec<(String, String)>, value: f64) {
        let (bounds, others): (Vec<_>, Vec<_>) =
            labels.into_iter().partition(|(name, _)| name == "le");
        let [(_, bound)] = &bounds[..] else {
            panic!("one bound");
        };
        let bound = match bound.as_str() {
            "+Inf" => f64::INFINITY,
            number => number.parse().expect("a bound"),
        };
        let others = format!("{others:?}");
        if let Some((series, last, count)) = &self.bucket
            && *series == others
        {
            assert!(bound > *last && value >= *count, "not in order: {bound}");
        }
        if bound == f64::INFINITY {
            self.all.insert(others.clone(), value);
        }
        self.bucket = Some((others, bound, value));
    }

    fn ends(&self) {
        let told = self.name.is_empty() || !self.kind.is_empty();
        assert!(told, "{} has no type", self.name);
        assert_eq!(self.counts, self.all, "{} is not complete", self.name);
    }
}

/// The labels of a sample, unescaped.
fn pairs(labels: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = labels;
    while !rest.is_empty() {
        let (name, value) = rest.split_once("=\"").expect("a label");
        assert!(is_name(name), "{name}");
        let mut text = String::new();
        let mut letters = value.char_indices();
        let end = loop {
            match letters.next().expect("a closed value") {
                (at, '"') => break at + 1,
                (_, '\\') => text.push(match letters.next().expect("what is escaped").1 {
                    'n' => '\n',
                    letter @ ('"' | '\\') => letter,
                    letter => panic!("\\{letter} in {labels}"),
                }),
                (_, letter) => text.push(letter),
            }
        };
        pairs.push((name.into(), text));
        rest = &value[end..];
        if let Some(next) = rest.strip_prefix(',') {
            rest = next;
        } else {
            assert!(rest.is_empty(), "{rest} in {labels}");
        }
    }
    pairs
}

fn is_name(name: &str) -> bool {
    let mut letters = name.bytes();
    letters.next().is_some_and(|it| it.is_ascii_lowercase())
        && letters.all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_')
}
