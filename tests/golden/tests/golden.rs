//! Every golden log against the code of today.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
use std::{collections::BTreeSet, process::Command};

use dagbok_events::{Record, decode, encode_any, entry_json, entry_of_json};
use dagbok_golden::{
    coverage::{FACTS, Seen, name_of},
    outcome, raw, replay,
    shelf::{Golden, Shelf},
};
use serde_json::Value;

fn logs() -> Vec<Golden> {
    let shelf = Shelf::of_the_project();
    let names = shelf.names().unwrap();
    assert!(!names.is_empty(), "there are golden logs");
    names.iter().map(|name| shelf.read(name).unwrap()).collect()
}

fn each(mut look: impl FnMut(&str, &[u8], Record, Value)) {
    for golden in logs() {
        let records = golden.records().unwrap();
        for (number, record) in records.into_iter().enumerate() {
            let place = format!("{}, record {}", golden.name, number + 1);
            look(&place, &golden.payloads[number], record, golden.entries[number].clone());
        }
    }
}

#[test]
fn every_record_reads_as_it_did() {
    for golden in logs() {
        for ((record, entry), seq) in golden.records().unwrap().iter().zip(&golden.entries).zip(1..)
        {
            assert_eq!(entry_json(seq, record), *entry, "{}, record {seq}", golden.name);
        }
    }
}

#[test]
fn what_is_read_can_be_written_and_read_again() {
    each(|place, _, record, _| {
        assert_eq!(decode(&dagbok_events::encode(&record)).unwrap(), record, "{place}");
        let json = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), record, "{place}, as JSON");
    });
}

#[test]
fn what_people_read_is_a_record_again() {
    for golden in logs() {
        for ((record, entry), seq) in
            golden.records().unwrap().into_iter().zip(&golden.entries).zip(1..)
        {
            // Neither says all of where it came from.
            let known = Record { cause: None, trace: None, ..record };
            assert_eq!(entry_of_json(entry), Some((seq, known)), "{}, record {seq}", golden.name);
        }
    }
}

#[test]
fn fields_of_a_later_version_are_passed_over() {
    let schema = raw::schema();
    each(|place, payload, record, _| {
        let mut tree = raw::tree(payload).unwrap();
        raw::walk(&schema, &mut tree, &mut raw::FromLater);
        let bytes = encode_any(&tree);
        assert_ne!(bytes, encode_any(&raw::tree(payload).unwrap()), "{place} was left as it is");
        assert_eq!(decode(&bytes).unwrap(), record, "{place}");
    });
}

#[test]
fn every_fact_has_a_golden_record() {
    let mut seen = BTreeSet::new();
    each(|_, _, record, _| seen.extend(record.facts.iter().map(name_of)));
    let missing: Vec<_> = FACTS.iter().filter(|name| !seen.contains(*name)).collect();
    assert!(missing.is_empty(), "no golden log has {missing:?}; see tests/golden/README.md");
}

#[test]
fn every_shape_has_a_golden_record() {
    let schema = raw::schema();
    let mut seen = Seen::default();
    each(|_, payload, _, _| seen.note(&schema, raw::tree(payload).unwrap()));
    let missing = seen.missing(&schema);
    assert!(
        missing.is_empty(),
        "no golden log has these; see tests/golden/README.md:\n{}",
        missing.join("\n")
    );
}

#[test]
fn a_compressed_record_is_among_them() {
    let mut compressed = 0;
    each(|_, payload, _, _| {
        compressed += usize::from(payload.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]));
    });
    assert!(compressed > 0, "the records above the limit have a form of their own");
}

#[test]
fn the_folds_make_of_them_what_they_did() {
    let shelf = Shelf::of_the_project();
    for golden in logs() {
        let recorded = shelf.outcome(&golden.name).unwrap();
        let now = outcome::of(&replay::replay(&golden).unwrap()).unwrap();
        for (fold, version, constant) in [
            (
                "scheduler",
                "/snapshot/version",
                "SNAPSHOT_VERSION in shared/domain/src/namespace/snapshot.rs",
            ),
            ("read_model", "/rows/version", "VERSION in services/api/src/model/rows.rs"),
        ] {
            let (recorded, now) = (&recorded[fold], &now[fold]);
            let raised = recorded.pointer(version) != now.pointer(version);
            let hint = if raised {
                "It was raised."
            } else {
                "Raise it, so that none made by the old rules is used."
            };
            assert!(
                recorded == now,
                "the {fold} folds {name} otherwise than recorded: {}\n\
                 If that is meant: what is kept of earlier folds goes by {constant}. {hint}\n\
                 Then `cargo run -p dagbok-golden -- --outcome {name}`, and read the difference.",
                difference("", recorded, now).unwrap_or_default(),
                name = golden.name,
            );
        }
    }
}

/// The first place where two values differ.
fn difference(place: &str, one: &Value, other: &Value) -> Option<String> {
    if let (Value::Object(one), Value::Object(other)) = (one, other) {
        let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
        let null = Value::Null;
        return names.into_iter().find_map(|name| {
            let (one, other) = (one.get(name).unwrap_or(&null), other.get(name).unwrap_or(&null));
            difference(&format!("{place}/{name}"), one, other)
        });
    }
    (one != other).then(|| format!("{place}: recorded {one}, now {other}"))
}

#[test]
fn no_file_was_changed_since_it_was_listed() {
    assert_eq!(Shelf::of_the_project().wrong().unwrap(), Vec::<String>::new());
}

/// Against the history, where there is one: listing a changed file anew does not make it golden.
#[test]
fn no_file_was_changed_since_it_was_committed() {
    let shelf = Shelf::of_the_project();
    let git = |arguments: &[&str]| {
        let output = Command::new("git").current_dir(shelf.root()).args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    // Newest first, so that the first commit of each file is the last word on it.
    let log = [
        "log",
        "--diff-filter=A",
        "--no-renames",
        "--raw",
        "--no-abbrev",
        "--format=",
        "--relative",
        "--",
        "logs",
    ];
    let Some(added) = git(&log) else { return };
    let mut first = std::collections::BTreeMap::new();
    for line in added.lines() {
        let (about, file) = line.split_once('\t').expect("git's raw form");
        let blob = about.split(' ').nth(3).expect("git's raw form");
        if file != "logs/SHA256SUMS" {
            first.insert(file.to_owned(), blob.to_owned());
        }
    }
    for (file, blob) in first {
        let now = git(&["hash-object", "--no-filters", &file]).unwrap_or_default();
        assert_eq!(
            now.trim(),
            blob,
            "{file} is not what was committed first: golden logs are only added to"
        );
    }
}
