//! The names of the metrics, wherever they are written.

use std::collections::BTreeSet;
use std::path::Path;

use crate::scene::Scene;

fn file(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = root.join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The metrics that a text names.
fn named(text: &str) -> BTreeSet<&str> {
    let word = |it: char| !(it.is_ascii_alphanumeric() || it == '_');
    let words = text.split(word);
    let names = words.filter(|it| it.starts_with("nvmfd_") && !it.ends_with('_'));
    names.collect()
}

#[test]
fn what_the_dashboard_shows_is_in_a_scrape() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&file("etc/grafana-nvmfd.json")).expect("JSON");
    let mut queries = Vec::new();
    for panel in dashboard["panels"].as_array().expect("panels") {
        for target in panel["targets"].as_array().into_iter().flatten() {
            queries.push(target["expr"].as_str().expect("a query").to_owned());
        }
    }
    let scene = Scene::start();
    let scrape = scene.scrape();
    let (queries, there) = (queries.join("\n"), scrape.names());
    let shown = named(&queries);
    assert!(shown.len() > 10, "{shown:?}");
    let missing: Vec<_> = shown.difference(&there).collect();
    assert!(missing.is_empty(), "not in a scrape: {missing:?}");
}

#[test]
fn every_metric_is_in_the_manual_and_no_other() {
    let scene = Scene::start();
    let scrape = scene.scrape();
    // Counters are asked for by the names of their samples.
    let told: BTreeSet<_> = scrape
        .families
        .iter()
        .map(|(name, kind)| match kind.as_str() {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.clone(),
        })
        .collect();
    let manual = file("man/nvmfd.8");
    let (_, section) = manual.split_once(".Ss Metrics\n").expect("a section");
    let section = section.split("\n.S").next().expect("its end");
    let written: BTreeSet<_> = named(section).into_iter().map(String::from).collect();
    assert_eq!(written, told);
}
