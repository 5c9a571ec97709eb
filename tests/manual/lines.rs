//! Every command line that a text shows is one that the program takes.

use std::fs;

use nvmfd::identity::HostIdentity;

use crate::page::{Page, repository};

/// The lines of a text that call `program`, without what a shell makes of the rest of the line.
fn calls<'a>(text: &'a str, program: &str) -> Vec<Vec<&'a str>> {
    let text = text.split('\n').map(str::trim);
    let lines = text.flat_map(|line| line.split(['|', ';']).flat_map(|it| it.split("&&")));
    let words = lines.map(|line| {
        let words = line.split_whitespace();
        // A comment behind it, or what is said of it in columns.
        let words = words.take_while(|word| !word.starts_with('#') && !word.starts_with('>'));
        words.collect::<Vec<_>>()
    });
    let of_program = words.filter(|words| words.first() == Some(&program));
    of_program.collect()
}

fn judge(text: &str, place: &str) -> usize {
    let text = text.replace("\\\n", " ");
    let host = HostIdentity::of_this_machine();
    let nvmfd = calls(&text, "nvmfd");
    for words in &nvmfd {
        if let Err(error) = nvmfd::cli::parse(words, &host) {
            panic!("{place}: {words:?}: {}", error.report());
        }
    }
    let nvmfctl = calls(&text, "nvmfctl");
    for words in &nvmfctl {
        let parsed = nvmfd::nvmfctl::command().try_get_matches_from(words);
        if let Err(error) = parsed {
            assert!(!error.use_stderr(), "{place}: {words:?}: {error}");
        }
    }
    nvmfd.len() + nvmfctl.len()
}

#[test]
fn examples_of_the_pages_are_command_lines() {
    for name in ["nvmfd.8", "nvmfctl.8"] {
        let examples = Page::read(name).examples();
        let calls: usize = examples.iter().map(|it| judge(it, name)).sum();
        assert!(calls >= 5, "{name}: {calls}");
    }
}

#[test]
fn code_in_the_documents_has_command_lines_that_are_taken() {
    for name in ["README.md", "CONTRIBUTING.md", "ports/README.md"] {
        let text = fs::read_to_string(repository(name)).unwrap();
        // What stands between fences is every second piece.
        let code: Vec<_> = text.split("\n```").skip(1).step_by(2).collect();
        let calls = judge(&code.join("\n"), name);
        assert!(name != "README.md" || calls >= 5, "{name}: {calls}");
    }
}

/// Behind two blanks stands what an example is for.
#[test]
fn examples_of_the_help_are_command_lines() {
    for program in [nvmfd::cli::command(), nvmfd::nvmfctl::command()] {
        let help = program.get_after_help().unwrap().to_string();
        let (_, examples) = help.split_once("Examples:\n").unwrap();
        let examples = examples.lines().take_while(|line| !line.is_empty());
        let examples = examples.map(|line| {
            let line = line.trim_start();
            line.split("  ").next().unwrap_or_default()
        });
        let examples: Vec<_> = examples.collect();
        assert!(judge(&examples.join("\n"), program.get_name()) >= 3);
    }
}
