//! The shelf notices what it must, and adds without changing.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
use std::fs;

use dagbok_events::Record;
use dagbok_golden::{
    BadFrames,
    coverage::Seen,
    outcome,
    raw::{self, Without},
    read_frames, replay,
    shelf::{Golden, Shelf},
    write_frames,
};
use serde_json::Value;

fn project(name: &str) -> Golden {
    Shelf::of_the_project().read(name).unwrap()
}

fn empty() -> (tempfile::TempDir, Shelf) {
    let folder = tempfile::tempdir().unwrap();
    for part in ["logs", "outcomes"] {
        fs::create_dir(folder.path().join(part)).unwrap();
    }
    let shelf = Shelf::at(folder.path());
    (folder, shelf)
}

#[test]
fn frames_come_back_and_a_cut_is_noticed() {
    let payloads = vec![vec![1, 2, 3], vec![], vec![4; 300]];
    let file = write_frames(&payloads);
    assert_eq!(read_frames(&file).unwrap(), payloads);
    for cut in 1..file.len() {
        let whole = [7, 11].contains(&cut);
        assert_eq!(read_frames(&file[..cut]).is_ok(), whole, "cut at {cut}");
    }
    assert_eq!(read_frames(&file[..9]), Err(BadFrames { at: 7 }));
}

#[test]
fn what_was_added_reads_back() {
    let (_folder, shelf) = empty();
    let told = project("runs").records().unwrap();
    shelf.add("copy-1", &told, &Without::Nothing).unwrap();
    assert_eq!(shelf.read("copy-1").unwrap().records().unwrap(), told);
    assert_eq!(shelf.wrong().unwrap(), Vec::<String>::new());
    let original = outcome::of(&replay::replay(&project("runs")).unwrap()).unwrap();
    assert_eq!(shelf.outcome("copy-1").unwrap(), original);
}

#[test]
fn what_is_there_is_never_added_again() {
    let (folder, shelf) = empty();
    let told = project("shared").records().unwrap();
    shelf.add("one", &told, &Without::Nothing).unwrap();
    let before = fs::read(folder.path().join("logs/one.log")).unwrap();
    let error = shelf.add("one", &told[1..], &Without::Nothing).unwrap_err();
    assert!(error.to_string().contains("never changed"), "{error}");
    assert_eq!(fs::read(folder.path().join("logs/one.log")).unwrap(), before);
    // Taken away and forgotten are two things: the name stays taken.
    fs::remove_file(folder.path().join("logs/one.log")).unwrap();
    assert!(shelf.add("one", &told, &Without::Nothing).is_err());
    for name in ["", "../one", "One", "a b"] {
        assert!(shelf.add(name, &told, &Without::Nothing).is_err(), "`{name}`");
    }
}

#[test]
fn files_changed_gone_or_unlisted_are_noticed() {
    let (folder, shelf) = empty();
    shelf.add("one", &project("shared").records().unwrap(), &Without::Nothing).unwrap();
    let file = |name: &str| folder.path().join("logs").join(name);
    let mut bytes = fs::read(file("one.log")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(file("one.log"), bytes).unwrap();
    fs::remove_file(file("one.jsonl")).unwrap();
    fs::write(file("two.log"), b"").unwrap();
    let wrong = shelf.wrong().unwrap();
    let want = [
        "logs/one.jsonl is gone",
        "logs/one.log was changed",
        "logs/two.log is not in logs/SHA256SUMS",
    ];
    assert_eq!(wrong, want);
}

#[test]
fn what_may_be_missing_can_be_left_out() {
    let (_folder, shelf) = empty();
    let told: Vec<Record> = project("tries").records().unwrap();
    shelf.add("bare", &told, &Without::All).unwrap();
    shelf.add("lean", &told, &Without::of("LogRef.dropped,LogRef.size")).unwrap();
    let schema = raw::schema();
    let missing = |name: &str, golden: &Golden| {
        let mut seen = Seen::default();
        golden.payloads.iter().for_each(|payload| seen.note(&schema, raw::tree(payload).unwrap()));
        seen.missing(&schema).contains(&name.to_owned())
    };
    let bare = shelf.read("bare").unwrap();
    assert!(
        missing("TrySucceeded.log present", &bare)
            && !missing("TrySucceeded.log present", &project("tries"))
    );
    assert!(!missing("TrySucceeded.usage missing", &bare));
    let lean = shelf.read("lean").unwrap();
    assert!(missing("LogRef.dropped present", &lean) && !missing("LogRef.dropped missing", &lean));
    assert!(!missing("LogRef.size present", &lean), "no record can be read without it");
    assert!(!missing("TrySucceeded.log present", &lean));
    let succeeded =
        |record: &Record| serde_json::to_string(record).unwrap().contains("TrySucceeded");
    assert!(bare.records().unwrap().iter().any(succeeded));
}

/// What a change to the events asks for: a shape that no log has is named.
#[test]
fn a_new_field_or_variant_is_asked_for() {
    let schema = raw::schema();
    let mut seen = Seen::default();
    for name in Shelf::of_the_project().names().unwrap() {
        for payload in project(&name).payloads {
            seen.note(&schema, raw::tree(&payload).unwrap());
        }
    }
    let mut grown = schema.clone();
    let text = serde_json::json!({ "type": "string" });
    grown["$defs"]["TryLost"]["properties"]["host"] = text.clone();
    grown["$defs"]["LostWhy"]["oneOf"]
        .as_array_mut()
        .unwrap()
        .push(serde_json::json!({ "const": "evicted" }));
    let cleared = serde_json::json!({ "properties": { "TaskVanished": text } });
    grown["$defs"]["Fact"]["oneOf"].as_array_mut().unwrap().push(cleared);
    let mut demanded: Value = grown;
    demanded["$defs"]["Timetable"]["oneOf"]
        .as_array_mut()
        .unwrap()
        .retain(|form| form["const"] != "Once");
    assert_eq!(
        seen.missing(&demanded),
        ["Fact::TaskVanished", "LostWhy::evicted", "TryLost.host missing", "TryLost.host present"]
    );
}
