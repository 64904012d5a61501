//! The reference that people read, held against the code: each rule, each label and each metric of alerting stands in it, and
//! nothing that is not there.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
use std::{collections::BTreeSet, fs, path::Path};

use dagbok_alerts::Rule;

fn reference() -> String {
    fs::read_to_string(root().join("deploy/alerting/README.md")).unwrap()
}

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The first cells of the rows of a table, as far as they are words in backticks.
fn rows<'a>(text: &'a str, from: &str) -> BTreeSet<&'a str> {
    let (_, table) = text.split_once(from).unwrap();
    let lines = table.lines().skip(1).skip_while(|line| !line.starts_with('|'));
    let rows = lines.take_while(|line| line.starts_with('|'));
    rows.filter_map(|row| row.strip_prefix("| `")?.split('`').next()).collect()
}

#[test]
fn each_rule_has_its_row_and_each_row_its_rule() {
    let text = reference();
    let known: BTreeSet<&str> =
        Rule::ALL.iter().filter(|rule| **rule != Rule::Test).map(|rule| rule.word()).collect();
    assert_eq!(rows(&text, "## What is told"), known);
    assert_eq!(Rule::ALL.iter().collect::<BTreeSet<_>>().len(), Rule::ALL.len());
}

#[test]
fn each_label_that_the_rules_set_is_named() {
    let text = reference();
    let (_, said) = text.split_once("Labels that routes and silences match:").unwrap();
    let said = said.split("\n\n").next().unwrap();
    let mut files = Vec::new();
    let mut folders = vec![root().join("shared/alerts/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    let mut set = BTreeSet::new();
    for file in files {
        let code = fs::read_to_string(file).unwrap();
        let inserts = code.split("labels.insert(\"").skip(1);
        set.extend(inserts.filter_map(|rest| rest.split('"').next().map(str::to_owned)));
    }
    assert!(set.len() > 10, "{set:?}");
    for label in set {
        assert!(said.contains(&format!("`{label}`")), "the label `{label}` is not named");
    }
}

#[test]
fn each_metric_of_alerting_is_named() {
    let text = reference();
    let table = fs::read_to_string(root().join("shared/metrics/src/table.rs")).unwrap();
    let names = table.split('"').filter(|word| {
        ["dagbok_alert", "dagbok_notification", "dagbok_page_"]
            .iter()
            .any(|it| word.starts_with(it))
    });
    let names: BTreeSet<&str> = names.collect();
    assert!(names.len() >= 5, "{names:?}");
    assert_eq!(rows(&text, "## What is counted"), names);
}
