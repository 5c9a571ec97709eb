//! Pages and command lines have the same options and commands.

use std::collections::BTreeSet;

use clap::{Arg, Command};

use crate::page::{Page, flags, items};

/// An option's names, as they are typed; none of an operand.
fn names(option: &Arg) -> BTreeSet<String> {
    let short = option.get_short().map(|it| format!("-{it}"));
    let long = option.get_long().map(|it| format!("--{it}"));
    short.into_iter().chain(long).collect()
}

/// What an operator may know of: options and operands.
fn visible(command: &Command) -> impl Iterator<Item = &Arg> {
    command.get_arguments().filter(|it| !it.is_hide_set())
}

/// The names of its options, of those that `wanted` takes.
fn options(command: &Command, wanted: impl Fn(&Arg) -> bool) -> BTreeSet<String> {
    let options = visible(command).filter(|it| wanted(it));
    options.flat_map(names).collect()
}

/// Not of every command.
fn is_own(option: &Arg) -> bool {
    !option.is_global_set() && !["help", "version"].contains(&option.get_id().as_str())
}

fn built(mut command: Command) -> Command {
    command.build();
    command
}

#[test]
fn nvmfd_has_the_options_of_its_page() {
    let page = Page::read("nvmfd.8");
    let program = built(nvmfd::cli::command());
    let described = items(page.section("OPTIONS"));
    let synopsis = flags(page.section("SYNOPSIS"));
    for option in visible(&program) {
        let names = names(option);
        if names.is_empty() {
            continue;
        }
        let item = described.iter().filter(|it| flags(it.head) == names);
        let item: Vec<_> = item.collect();
        assert_eq!(item.len(), 1, "items of {names:?} under OPTIONS");
        let has_value = option.get_action().takes_values();
        assert_eq!(item[0].head.contains(" Ar "), has_value, "{names:?}");
        // What has no value has a default for clap alone.
        let defaults = option.get_default_values().iter().filter(|_| has_value);
        for default in defaults {
            let default = default.to_str().unwrap();
            let mut words = item[0].body.split_whitespace();
            let is_said = words.any(|word| word.trim_end_matches(['.', ':']) == default);
            assert!(is_said, "the default of {names:?}, {default}");
        }
        assert!(!synopsis.is_disjoint(&names), "{names:?} in the SYNOPSIS");
    }
    let exist = options(&program, |_| true);
    let described: BTreeSet<_> = described.iter().flat_map(|it| flags(it.head)).collect();
    assert_eq!(described, exist, "OPTIONS");
    let named = flags(page.text());
    assert!(named.is_subset(&exist), "{:?}", named.difference(&exist));
}

#[test]
fn nvmfctl_has_the_commands_and_options_of_its_page() {
    let page = Page::read("nvmfctl.8");
    let program = built(nvmfd::nvmfctl::command());
    let described = items(page.section("DESCRIPTION"));
    let everywhere = options(&program, |_| true);
    for option in visible(&program).map(names) {
        let is_there = described.iter().any(|it| flags(it.head) == option);
        assert!(is_there, "{option:?}");
    }
    let mut exist = everywhere.clone();
    let mut commands = BTreeSet::new();
    for command in subcommands(&program) {
        let name = command.get_name();
        commands.insert(name.to_owned());
        let own = options(command, is_own);
        exist.extend(own.clone());
        let uses = page.section("SYNOPSIS").split(".Nm\n");
        let uses = uses.filter(|it| it.lines().any(|line| is_of(line, ".Cm ", name)));
        let uses: Vec<_> = uses.map(flags).collect();
        assert_eq!(uses, std::slice::from_ref(&own), "{name} in the SYNOPSIS");
        if name == "host" {
            continue;
        }
        let item = described
            .iter()
            .find(|it| is_of(it.head, ".It Cm ", name))
            .unwrap_or_else(|| panic!("no description of {name}"));
        assert_eq!(flags(item.head), own, "{name}");
        let operands = visible(command).any(|it| it.is_positional());
        let values = visible(command).any(|it| is_own(it) && it.get_action().takes_values());
        assert_eq!(item.head.contains(" Ar "), operands || values, "{name}");
        let known = own.union(&everywhere).cloned().collect();
        let named = flags(&item.body);
        assert!(named.is_subset(&known), "{name}: {named:?}");
    }
    for command in subcommands(program.find_subcommand("host").unwrap()) {
        exist.extend(options(command, is_own));
    }
    let described = described
        .iter()
        .filter_map(|it| it.head.strip_prefix(".It Cm "));
    let described = described.map(|it| it.split_whitespace().next().unwrap().to_owned());
    // The levels of a log are described beside its command, not as items.
    assert_eq!(described.collect::<BTreeSet<_>>(), commands);
    let named = flags(page.text());
    assert!(named.is_subset(&exist), "{:?}", named.difference(&exist));
}

#[test]
fn host_commands_have_the_options_of_their_page() {
    let page = Page::read("nvmfctl.8");
    let program = built(nvmfd::nvmfctl::command());
    let (_, part) = page.text().split_once("\n.Ss Host commands\n").unwrap();
    let part = part.split("\n.Sh ").next().unwrap();
    let described = items(part);
    let mut exist = BTreeSet::new();
    for command in subcommands(program.find_subcommand("host").unwrap()) {
        let name = command.get_name();
        let item = described
            .iter()
            .find(|it| is_of(it.head, ".It Cm host ", name))
            .unwrap_or_else(|| panic!("no description of host {name}"));
        let own = options(command, is_own);
        let named: BTreeSet<_> = &flags(item.head) | &flags(&item.body);
        assert!(named.is_subset(&own), "host {name}: {named:?}");
        for option in visible(command).filter(|it| is_own(it) && !it.is_positional()) {
            let names = names(option);
            let is_there = described
                .iter()
                .any(|it| it.head.starts_with(".It Fl ") && flags(it.head).is_superset(&names));
            assert!(is_there, "host {name}: {names:?}");
        }
        exist.extend(own);
    }
    let list = described.iter().filter(|it| it.head.starts_with(".It Fl "));
    let list: BTreeSet<_> = list.flat_map(|it| flags(it.head)).collect();
    assert_eq!(list, exist);
}

fn subcommands(command: &Command) -> impl Iterator<Item = &Command> {
    let all = command.get_subcommands();
    all.filter(|it| it.get_name() != "help" && !it.is_hide_set())
}

/// A line that begins so, with this word behind it.
fn is_of(line: &str, beginning: &str, name: &str) -> bool {
    let word = line.strip_prefix(beginning);
    word.and_then(|it| it.split_whitespace().next()) == Some(name)
}
