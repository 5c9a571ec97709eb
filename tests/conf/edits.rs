//! Texts that nobody would write: nothing makes the reader panic, and every place that it names is
//! in the file.

use nvmfd::config::{self, Problems};
use proptest::prelude::*;

use super::{corpus, read, repository};

/// Files to spoil: all of the corpus, and the sample.
fn files() -> Vec<String> {
    let directories = ["good", "warned", "bad"].into_iter();
    let mut files: Vec<_> = directories
        .flat_map(corpus)
        .map(|(_, path)| read(&path))
        .collect();
    files.push(read(&repository("etc/nvmfd.toml.sample")));
    files
}

/// What may be put into a file.
fn scrap() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(&SCRAPS[..]).prop_map(String::from),
        any::<char>().prop_map(String::from),
    ]
}

/// A file of the corpus with one piece of it replaced.
fn edited() -> impl Strategy<Value = String> {
    let place = any::<prop::sample::Index>();
    let file = prop::sample::select(files());
    (file, place, 0..40_usize, scrap()).prop_map(|(file, place, length, scrap)| {
        let characters: Vec<char> = file.chars().collect();
        let from = place.index(characters.len() + 1);
        let to = (from + length / 4).min(characters.len());
        let before = characters[..from].iter();
        before
            .copied()
            .chain(scrap.chars())
            .chain(characters[to..].iter().copied())
            .collect()
    })
}

/// Whatever was found is in the text, and can be shown.
fn check(text: &str) -> Result<(), TestCaseError> {
    let problems: Problems = match config::parse(text, "file") {
        Ok(loaded) => {
            prop_assert!(!loaded.warnings.has_errors());
            loaded.warnings
        }
        Err(problems) => {
            prop_assert!(problems.has_errors());
            problems
        }
    };
    let lines: Vec<&str> = text.split('\n').collect();
    for problem in problems.iter() {
        for words in [&problem.what, &problem.hint] {
            prop_assert!(
                !words.is_empty() && !words.contains(char::is_control),
                "{problems}"
            );
        }
        let Some(place) = &problem.place else {
            continue;
        };
        prop_assert!((1..=lines.len()).contains(&place.line), "{problems}");
        let length = lines[place.line - 1].chars().count();
        prop_assert!((1..=length + 1).contains(&place.column), "{problems}");
        let shown = place.excerpt.chars().count();
        prop_assert!(place.marked.start < place.marked.end, "{problems}");
        prop_assert!(place.marked.end <= shown + 1, "{problems}");
        prop_assert!(!place.excerpt.contains(char::is_control), "{problems}");
    }
    let order = |problem: &config::Problem| problem.place.as_ref().map(|it| (it.line, it.column));
    prop_assert!(problems.iter().map(order).is_sorted(), "{problems}");
    Ok(())
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "(?s).{0,200}") {
        check(&text)?;
    }

    #[test]
    fn any_scraps_are_read_or_refused(scraps in prop::collection::vec(scrap(), 0..40)) {
        check(&scraps.concat())?;
    }

    #[test]
    fn every_place_in_a_spoilt_file_is_in_the_file(text in edited()) {
        check(&text)?;
    }
}

const SCRAPS: [&str; 43] = [
    "\"",
    "'",
    "\"\"\"",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ",",
    ".",
    "#",
    "\n",
    "\r\n",
    "\r",
    " ",
    "\t",
    "0",
    "-1",
    "nan",
    "true",
    "1979-05-27",
    "\"x\"",
    "[]",
    "é",
    "\u{feff}",
    "\u{0}",
    "[log]\n",
    "[[portal]]\n",
    "[[subsystem]]\n",
    "[[subsystem.namespace]]\n",
    "[subsystem]\n",
    "name = \"front\"\n",
    "portals = [\"front\"]\n",
    "nsid = 1\n",
    "ram = 1g\n",
    "path = \"/\"\n",
    "lun = 1\n",
    "mode = \"kernel\"\n",
    "hosts = [\n",
    "log.level = \"info\"\n",
    "x.y.z = 1\n",
];
