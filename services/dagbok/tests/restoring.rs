//! Backups and restores that are cut off, find no room, or are of an installation that had lost something; and the keys
//! that come with one.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
mod support;

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use dagbok_runlog::{Draft, Seq};
use dagbok_runlog_embedded::{Durability, Options, open};
use serde_json::json;
use support::{Bench, GOOD, PATIENCE, Ran, Standalone, until};

/// A home with a log of a few records, and blobs of `bytes` each. Nothing reads what the records mean.
fn home(bench: &Bench, blobs: usize, bytes: usize) {
    let options = Options { durability: Durability::None, segment_bytes: 1_000 };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let (ports, _) = open(Path::new(&bench.path("home")), options).unwrap();
        for n in 0..40 {
            let draft = Draft { subject: "log.a".to_owned(), payload: "x".repeat(100).into() };
            ports.log.append(Seq(n), vec![draft]).await.unwrap();
        }
        for n in 0..blobs {
            let blob = format!("{n:08}").repeat(bytes / 8);
            ports.blobs.put(blob.into()).await.unwrap();
        }
    });
}

/// The same command on a disk that takes no file above 64 KiB: who writes more is told so in the middle of it.
fn cramped(command: &Command) -> Ran {
    let mut shell = Command::new("sh");
    // Blocks are of 512 bytes in POSIX' words, and of 1,024 in bash's: 64 or 128 KiB.
    shell.arg("-c").arg("trap '' XFSZ; ulimit -f 128; exec \"$0\" \"$@\"");
    shell.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        shell.current_dir(dir);
    }
    Ran::of(shell.output().unwrap())
}

fn names(dir: &str) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<String> =
        entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// All files below a folder, and what they hold, but for locks.
fn held(root: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut dirs = vec![PathBuf::from(root)];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.file_name().unwrap() != "lock" {
                let bytes = fs::read(&path).unwrap();
                found.push((path.strip_prefix(root).unwrap().to_owned(), bytes));
            }
        }
    }
    found.sort();
    found
}

/// All of the log and the blobs that the backup has is there.
#[track_caller]
fn assert_as_backed_up(home: &str, backup: &str) {
    for part in ["log", "blobs"] {
        let of = |root: &str| held(Path::new(root).join(part).to_str().unwrap());
        assert!(!of(home).is_empty() && of(home) == of(backup), "{part} differs");
    }
}

#[test]
fn a_disk_that_is_full_leaves_nothing_behind_and_is_named() {
    let bench = Bench::new(&[]);
    home(&bench, 3, 400_000);
    let (to, other) = (bench.path("b"), bench.path("other"));
    let full = cramped(&bench.command(&["backup", &to]));
    assert_eq!(full.code, 8, "{full:?}");
    assert!(full.err.contains("blobs") && full.err.contains("File too large"), "{full:?}");
    assert_eq!(names(&to), Vec::<String>::new(), "no half of a backup");
    assert_eq!(bench.run(&["backup", "verify", &to]).code, 3, "nor one that passes for whole");
    assert_eq!(bench.run(&["backup", &to]).code, 0, "there is room now");

    let full = cramped(&bench.command(&["restore", &to, "--home", &other]));
    assert_eq!(full.code, 8, "{full:?}");
    assert!(full.err.contains("File too large"), "{full:?}");
    assert!(!Path::new(&other).exists(), "no half of an installation");
    assert!(!names(bench.root.path().to_str().unwrap()).iter().any(|it| it.contains("restoring")));
    assert_eq!(bench.run(&["restore", &to, "--home", &other]).code, 0);
    assert_as_backed_up(&other, &to);
}

#[test]
fn a_restore_that_is_killed_in_the_middle_is_no_installation_and_the_next_one_is_whole() {
    let bench = Bench::new(&[]);
    home(&bench, 1_000, 40_000);
    let (to, other) = (bench.path("b"), bench.path("other"));
    assert_eq!(bench.run(&["backup", &to]).code, 0);
    let draft = bench.root.path().join(".dagbok-restoring-other");
    for blobs in [0, 1, 20] {
        let mut restore = bench
            .command(&["restore", &to, "--home", &other])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        let is_there = || {
            let folders = fs::read_dir(draft.join("blobs")).into_iter().flatten().flatten();
            let files = folders.flat_map(|it| fs::read_dir(it.path()).into_iter().flatten());
            draft.is_dir() && files.count() >= blobs
        };
        while !is_there() {
            assert!(restore.try_wait().unwrap().is_none(), "it is over, and was not caught at it");
            assert!(begun.elapsed() < PATIENCE, "it copies nothing");
        }
        restore.kill().unwrap();
        assert_eq!(restore.wait().unwrap().signal(), Some(9), "it was killed in the middle");
        assert!(!Path::new(&other).exists(), "half of it is no installation");
        assert!(draft.is_dir());
    }
    let back = bench.run(&["restore", &to, "--home", &other]);
    assert!(back.code == 0 && back.err.contains("was cut off, and was removed"), "{back:?}");
    assert!(!draft.exists());
    assert_as_backed_up(&other, &to);
}

#[test]
fn a_blob_that_the_log_names_and_that_is_gone_is_missed() {
    let bench = Bench::new(&[("good.py", GOOD)]);
    let running = Standalone::start(&bench);
    let ask = |args: &[&str]| bench.run(&[&["--api", running.api.as_str()], args].concat());
    until(
        || ask(&["dags", "list", "--json"]),
        |ran| ran.code == 0 && ran.json()["total_entries"] == 1,
    );
    for (run, mark) in [("one", "kept"), ("two", "dropped")] {
        let conf = format!(r#"{{"mark": "it is {mark}"}}"#);
        let argv = ["dags", "trigger", "good", "--run-id", run, "--conf", &conf, "--wait"];
        assert_eq!(ask(&argv).code, 0);
    }
    assert_eq!(ask(&["runs", "delete", "good", "two"]).code, 0);
    assert_eq!(running.stop(), 0);
    // The log of a task is found by what it says.
    let blobs = bench.path("home/blobs");
    let log_of = |mark: &str| {
        let says = |(_, bytes): &(PathBuf, Vec<u8>)| {
            String::from_utf8_lossy(bytes).contains(&format!("it is {mark}"))
        };
        held(&blobs).into_iter().find(says).expect("the log of a task is a blob").0
    };
    // What is deleted is named no more, whether or not it was swept.
    fs::remove_file(Path::new(&blobs).join(log_of("dropped"))).unwrap();
    let verify = |of: &str| bench.run(&["backup", "verify", &bench.path(of), "--json"]);
    assert_eq!(bench.run(&["backup", &bench.path("whole")]).code, 0);
    let whole = verify("whole");
    let said = whole.json();
    assert_eq!(
        (whole.code, &said["ok"], &said["missing"]),
        (0, &json!(true), &json!([])),
        "{said}"
    );

    let path = log_of("kept");
    fs::remove_file(Path::new(&blobs).join(&path)).unwrap();
    let digest = path.to_str().unwrap().replace('/', "");
    assert_eq!(bench.run(&["backup", &bench.path("lacks")]).code, 0, "all is in it that there is");
    let lacks = verify("lacks");
    let said = lacks.json();
    assert_eq!((lacks.code, &said["missing"]), (9, &json!([digest])), "{said}");
    assert_eq!((&said["ok"], &said["faults"]), (&json!(false), &json!([])));
    let people = bench.run(&["backup", "verify", &bench.path("lacks")]);
    assert!(people.out.contains(&format!("were gone before: {digest}")), "{people:?}");
    assert!(people.out.contains("can be put back without those blobs"), "{people:?}");
    let other = bench.path("other");
    assert_eq!(bench.run(&["restore", &bench.path("lacks"), "--home", &other]).code, 0);
}

#[test]
fn keys_that_are_in_a_backup_come_back_with_it_and_open_what_was_sealed() {
    let bench = Bench::new(&[("good.py", GOOD)]);
    let running = Standalone::start(&bench);
    let ask = |args: &[&str]| bench.run(&[&["--api", running.api.as_str()], args].concat());
    until(|| ask(&["variables", "set", "region", "eu"]), |ran| ran.code == 0);
    let to = bench.path("b");
    assert_eq!(bench.run(&["backup", &to, "--with-keys"]).code, 0);
    assert_eq!(running.stop(), 0);
    fs::rename(bench.path("home"), bench.path("before")).unwrap();
    let back = bench.run(&["restore", &to, "--json"]);
    let said = back.json();
    assert_eq!(
        (back.code, &said["lacks_key"], &said["lacks_links_key"]),
        (0, &json!(false), &json!(false))
    );
    assert_eq!(said["to_do"], json!([]), "nothing is left to be done by hand");
    for key in ["secrets.key", "links.key"] {
        let bytes = |home: &str| fs::read(Path::new(&bench.path(home)).join(key)).unwrap();
        assert_eq!(bytes("home"), bytes("before"), "{key}");
    }
    let running = Standalone::start(&bench);
    let ask = |args: &[&str]| bench.run(&[&["--api", running.api.as_str()], args].concat());
    let region = until(|| ask(&["variables", "get", "region", "--json"]), |ran| ran.code == 0);
    assert_eq!(region.json()["value"], "eu");
    assert_eq!(running.stop(), 0);
}
