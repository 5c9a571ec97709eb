//! The configuration file, of any text: it is used, or every problem has a place in it and a way out.

#![no_main]
#![forbid(unsafe_code)]

use libfuzzer_sys::fuzz_target;
use nvmfd::config::{self, Severity};

fuzz_target!(|text: &str| {
    let lines = text.lines().count().max(1);
    let problems = match config::parse(text, "nvmfd.toml") {
        Ok(loaded) => {
            let config = loaded.config;
            assert!(config.subsystems.iter().all(|it| !it.portals.is_empty()));
            let highest = config.portals.len();
            let portals = config.subsystems.iter().flat_map(|it| &it.portals);
            assert!(portals.into_iter().all(|&portal| portal < highest));
            assert!(
                loaded
                    .warnings
                    .iter()
                    .all(|it| it.severity == Severity::Warning)
            );
            loaded.warnings
        }
        Err(problems) => {
            assert!(problems.has_errors());
            problems
        }
    };
    let shown = problems.to_string();
    assert!(
        !shown.chars().any(|it| it.is_control() && it != '\n'),
        "{shown:?}"
    );
    for problem in problems.iter() {
        if let Some(place) = &problem.place {
            assert!(
                (1..=lines + 1).contains(&place.line),
                "line {} of {lines}",
                place.line
            );
        }
    }
});
