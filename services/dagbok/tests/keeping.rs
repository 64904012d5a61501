//! What is kept of an installation and what is let go: backups, DAGs that are deleted, runs that were cancelled.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
mod support;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::json;
use support::{Bench, FAILS, GOOD, Standalone, until};

/// Every file below a folder.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[test]
fn a_backup_of_what_runs_is_proved_and_put_back() {
    let bench = Bench::new(&[("good.py", GOOD)]);
    let running = Standalone::start(&bench);
    let ask = |args: &[&str]| bench.run(&[&["--api", running.api.as_str()], args].concat());
    until(
        || ask(&["dags", "list", "--json"]),
        |ran| ran.code == 0 && ran.json()["total_entries"] == 1,
    );
    assert_eq!(ask(&["variables", "set", "region", "eu"]).code, 0);
    assert_eq!(ask(&["dags", "trigger", "good", "--run-id", "one", "--wait"]).code, 0);

    let to = bench.path("backup");
    let made = bench.run(&["backup", &to, "--json"]);
    assert_eq!(made.code, 0, "{}", made.err);
    let said = made.json();
    assert!(said["log"]["last"].as_u64().unwrap() > 5, "{said}");
    assert!(said["blobs"]["count"].as_u64().unwrap() > 1, "{said}");
    assert_eq!(said["keys"], json!([]), "keys are asked for");
    assert!(!Path::new(&to).join("secrets.key").exists());
    let people = bench.run(&["backup", &bench.path("second")]);
    assert!(people.out.contains("secrets.key is not in it"), "{}", people.out);
    let with = bench.run(&["backup", &bench.path("third"), "--with-keys", "--json"]);
    assert_eq!(with.json()["keys"], json!(["secrets.key", "links.key"]));
    let again = bench.run(&["backup", &to]);
    assert!(again.code == 4 && again.err.contains("is not empty"), "{}", again.err);

    // What comes after it is not in it, and what was is read without a service.
    assert_eq!(ask(&["dags", "trigger", "good", "--run-id", "two", "--wait"]).code, 0);
    assert_eq!(running.stop(), 0);
    let whole = bench.run(&["backup", "verify", &to, "--json"]);
    assert_eq!((whole.code, &whole.json()["ok"]), (0, &json!(true)), "{whole:?}");
    assert_eq!(whole.json()["manifest"], said["manifest"]);

    let back = bench.run(&["restore", &to]);
    assert!(back.code == 4 && back.err.contains("home is there, and not empty"), "{}", back.err);
    fs::rename(bench.path("home"), bench.path("home.before")).unwrap();
    let back = bench.run(&["restore", &to, "--json"]);
    assert_eq!(back.code, 0, "{}", back.err);
    assert_eq!(back.json()["lacks_key"], json!(true));
    fs::copy(bench.path("home.before/secrets.key"), bench.path("home/secrets.key")).unwrap();

    let running = Standalone::start(&bench);
    let ask = |args: &[&str]| bench.run(&[&["--api", running.api.as_str()], args].concat());
    until(|| ask(&["runs", "show", "good", "one"]), |ran| ran.code == 0);
    assert_eq!(ask(&["runs", "show", "good", "two"]).code, 3);
    assert!(ask(&["tasks", "logs", "good", "one", "first"]).out.contains("from first"));
    assert_eq!(ask(&["variables", "get", "region", "--json"]).json()["value"], "eu");
    assert_eq!(ask(&["dags", "trigger", "good", "--run-id", "three", "--wait"]).code, 0);
    assert_eq!(running.stop(), 0);
}

#[test]
fn a_backup_that_is_not_whole_is_told_and_not_put_back() {
    let bench = Bench::new(&[("fails.py", FAILS)]);
    let running = Standalone::start(&bench);
    let ask = |args: &[&str]| bench.run(&[&["--api", running.api.as_str()], args].concat());
    until(
        || ask(&["dags", "list", "--json"]),
        |ran| ran.code == 0 && ran.json()["total_entries"] == 1,
    );
    assert_eq!(ask(&["dags", "trigger", "fails", "--wait"]).code, 1);
    let made = bench.path("backup");
    assert_eq!(bench.run(&["backup", &made]).code, 0);
    assert_eq!(running.stop(), 0);

    let root = PathBuf::from(&made);
    let of = |part: &str| files(&root.join(part)).pop().unwrap();
    let (segment, blob, manifest) = (of("log"), of("blobs"), root.join("manifest.json"));
    // Each is broken, told, and mended.
    for path in [&segment, &blob] {
        let whole = fs::read(path).unwrap();
        let mut broken = whole.clone();
        let middle = broken.len() / 2;
        broken[middle] ^= 1;
        for bytes in [Some(broken), Some(whole[..whole.len() - 1].to_vec()), None] {
            match bytes {
                Some(bytes) => fs::write(path, bytes).unwrap(),
                None => fs::remove_file(path).unwrap(),
            }
            let told = bench.run(&["backup", "verify", &made, "--json"]);
            assert_eq!((told.code, &told.json()["ok"]), (9, &json!(false)), "{told:?}");
            assert!(told.json()["faults"][0]["message"].is_string());
        }
        fs::write(path, whole).unwrap();
    }
    let stranger = root.join("log/00000000000000009999.seg");
    fs::write(&stranger, b"x").unwrap();
    let told = bench.run(&["backup", "verify", &made]);
    assert!(told.code == 9 && told.out.contains("does not name it"), "{told:?}");
    let home = bench.path("elsewhere");
    let back = bench.run(&["restore", &made, "--home", &home]);
    assert!(back.code == 9 && back.err.contains("is not whole"), "{}", back.err);
    assert!(!Path::new(&home).exists());
    fs::remove_file(stranger).unwrap();

    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("\"path\": \"log/", "\"path\": \"../log/")).unwrap();
    let out = bench.run(&["backup", "verify", &made]);
    assert!(out.code == 9 && out.out.contains("outside of the backup"), "{out:?}");
    fs::write(&manifest, text.replace("\"format\": 1", "\"format\": 2")).unwrap();
    assert!(bench.run(&["backup", "verify", &made]).err.contains("[DBK0032]"));
    fs::remove_file(&manifest).unwrap();
    let none = bench.run(&["backup", "verify", &made]);
    assert!(none.code == 3 && none.err.contains("no whole backup"), "{none:?}");
    assert_eq!(bench.run(&["backup", "--home", &bench.path("nowhere"), &bench.path("b")]).code, 3);
    assert_eq!(bench.run(&["backup"]).code, 2);
}

#[test]
fn a_dag_is_deleted_once_no_file_has_it_and_what_was_cancelled_is_told_apart() {
    let bench = Bench::new(&[("good.py", GOOD), ("fails.py", FAILS)]);
    let running = Standalone::start(&bench);
    let ask = |args: &[&str]| bench.run(&[&["--api", running.api.as_str()], args].concat());
    until(
        || ask(&["dags", "list", "--json"]),
        |ran| ran.code == 0 && ran.json()["total_entries"] == 2,
    );
    assert_eq!(ask(&["dags", "trigger", "fails", "--run-id", "bad", "--wait"]).code, 1);
    assert_eq!(ask(&["dags", "pause", "fails"]).code, 0);
    assert_eq!(ask(&["dags", "trigger", "fails", "--run-id", "held"]).code, 0);

    let held = ask(&["dags", "delete", "fails", "--yes"]);
    assert!(held.code == 4 && held.err.contains("fails.py"), "{held:?}");
    fs::remove_file(bench.path("dags/fails.py")).unwrap();
    until(|| ask(&["dags", "list", "--json"]), |ran| ran.json()["total_entries"] == 1);
    let open = ask(&["dags", "delete", "fails", "--yes"]);
    assert!(open.code == 4 && open.err.contains("1 runs that are not over"), "{open:?}");
    assert_eq!(ask(&["runs", "cancel", "fails", "held"]).code, 0);

    let named = |states: &[&str]| {
        let mut args = vec!["runs", "list", "fails", "--json"];
        for state in states {
            args.extend(["--state", state]);
        }
        let found = ask(&args).json();
        let mut ids: Vec<String> = found["dag_runs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|run| run["dag_run_id"].as_str().unwrap().to_owned())
            .collect();
        ids.sort();
        ids
    };
    assert_eq!(named(&["cancelled"]), ["held"]);
    assert_eq!(named(&["failed"]), ["bad"]);
    assert_eq!(named(&["failed", "cancelled"]), ["bad", "held"]);
    assert_eq!(named(&["success", "cancelled"]), ["held"]);
    assert_eq!(named(&["success"]), [""; 0]);
    let tasks = ask(&["tasks", "list", "fails", "bad", "--state", "cancelled", "--json"]).json();
    assert_eq!(tasks["total_entries"], 0, "{tasks}");
    let tasks = ask(&["tasks", "list", "fails", "bad", "--state", "failed", "--json"]).json();
    assert_eq!(tasks["total_entries"], 1, "{tasks}");

    let shown = ask(&["dags", "delete", "fails", "--dry-run"]);
    assert!(shown.code == 0 && shown.out.contains("fails: 2 runs and 1 versions go"), "{shown:?}");
    assert_eq!(ask(&["dags", "show", "fails"]).code, 0);
    assert_eq!(ask(&["dags", "delete", "fails"]).code, 2, "nobody is there to ask");
    let gone = ask(&["dags", "delete", "fails", "--yes", "--json"]);
    assert_eq!(gone.code, 0, "{gone:?}");
    assert_eq!((&gone.json()["dag_id"], &gone.json()["runs"]), (&json!("fails"), &json!(2)));
    assert_eq!(ask(&["dags", "show", "fails"]).code, 3);
    assert_eq!(ask(&["dags", "delete", "fails", "--yes"]).code, 3);
    let log = ask(&["events", "--dag", "fails", "--json"]).out;
    assert_eq!(log.matches("DagForgotten").count(), 1, "{log}");
    assert_eq!(log.matches("RunDeleted").count(), 2, "{log}");
    assert_eq!(running.stop(), 0);
}
