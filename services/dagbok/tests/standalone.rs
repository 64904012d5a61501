//! A standalone installation and its clients, as processes.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
mod support;

use std::{
    io::{BufRead as _, BufReader, Read},
    os::unix::fs::symlink,
    process::{Child, Stdio},
    sync::mpsc,
};

use serde_json::{Value, json};
use support::{Bench, FAILS, GOOD, PATIENCE, Ran, Standalone, until};

#[test]
fn an_installation_is_asked_stopped_started_and_asked_again() {
    let bench = Bench::new(&[
        ("good.py", GOOD),
        ("fails.py", FAILS),
        ("broken.py", "from airflow import DAG\n1/0\n"),
    ]);
    let running = Standalone::start(&bench);
    let ask = |args: &[&str]| bench.run(&[&["--api", running.api.as_str()], args].concat());

    let listed = until(
        || ask(&["dags", "list", "--json"]),
        |ran| ran.code == 0 && ran.json()["total_entries"] == 2,
    );
    assert_eq!(listed.json()["dags"][0]["dag_id"], "fails");
    let errors =
        until(|| ask(&["dags", "errors", "--json"]), |ran| ran.json()["total_entries"] == 1);
    assert_eq!(errors.json()["import_errors"][0]["filename"], "broken.py");

    let made = ask(&[
        "dags",
        "trigger",
        "good",
        "--run-id",
        "one",
        "--conf",
        r#"{"k": "ä"}"#,
        "--note",
        "why",
        "--json",
    ]);
    assert_eq!(made.code, 0, "{}", made.err);
    assert_eq!(
        (&made.json()["dag_run_id"], &made.json()["conf"]["k"]),
        (&json!("one"), &json!("ä"))
    );
    let again = ask(&["dags", "trigger", "good", "--run-id", "one", "--json"]);
    assert_eq!((again.code, &again.error()["code"]), (4, &json!("DBK0014")));
    let waited = ask(&["runs", "wait", "good", "one", "--timeout", "60", "--json"]);
    assert_eq!((waited.code, &waited.json()["finished"]), (0, &json!(true)), "{}", waited.out);
    let log = ask(&["tasks", "logs", "good", "one", "first", "--follow"]);
    assert!(log.out.contains("from first {'k': 'ä'}"), "{log:?}");

    assert_eq!(ask(&["dags", "trigger", "fails", "--run-id", "two"]).code, 0);
    assert_eq!(ask(&["runs", "wait", "fails", "two"]).code, 1);
    assert_eq!(ask(&["runs", "show", "good", "nope"]).code, 3);
    assert_eq!(ask(&["runs", "cancel", "fails", "two"]).code, 4);
    assert_eq!(ask(&["dags", "trigger", "nope"]).code, 3);

    assert_eq!(ask(&["dags", "pause", "good"]).code, 0);
    let waits = ask(&["dags", "trigger", "good", "--run-id", "waits"]);
    assert_eq!(waits.code, 0);
    assert!(waits.err.contains("note: the DAG is paused"), "{waits:?}");
    let late = ask(&["runs", "wait", "good", "waits", "--timeout", "100ms"]);
    assert_eq!(late.code, 6);
    assert!(late.err.contains("[DBK0015]"), "{}", late.err);

    let none = ask(&["dags", "list", "--limit", "0"]).out;
    assert_eq!(none, "None shown, of 2 in all.\n");
    assert_eq!(ask(&["dags", "list", "--offset", "9"]).out, "None after 9, of 2 in all.\n");
    assert!(ask(&["runs", "list", "--limit", "1"]).out.contains("more; --offset 1 goes on"));

    let mut shown = ask(&["dags", "show", "good", "--json"]).json();
    assert_eq!(shown["paused"]["by"], "anonymous");
    shown["paused"] = Value::Null;
    assert_eq!(shown, bench.run(&["dags", "show", "dags/good.py", "--json"]).json());
    assert_eq!(running.stop(), 0);

    // What was answered is there; what waits goes on.
    let running = Standalone::start(&bench);
    let ask = |args: &[&str]| bench.run(&[&["--api", running.api.as_str()], args].concat());
    assert_eq!(ask(&["runs", "wait", "good", "one"]).code, 0);
    assert_eq!(ask(&["dags", "unpause", "good"]).code, 0);
    assert_eq!(ask(&["runs", "wait", "good", "waits", "--timeout", "60"]).code, 0);
    assert_eq!(running.stop(), 0);
}

#[test]
fn what_is_taken_is_said_and_nothing_is_begun() {
    let bench = Bench::new(&[("good.py", GOOD)]);
    let running = Standalone::start(&bench);
    let same_home = bench.run(&["standalone", "--dags", "dags", "--listen", "127.0.0.1:0"]);
    assert_eq!(same_home.code, 8);
    assert!(
        same_home.err.contains("[DBK0030]") && same_home.err.contains(&running.pid().to_string()),
        "{same_home:?}"
    );
    let address = running.api.trim_start_matches("http://").to_owned();
    let same_port =
        bench.run(&["standalone", "--dags", "dags", "--home", "other", "--listen", &address]);
    assert_eq!(same_port.code, 8);
    assert!(
        same_port.err.contains("[DBK0035]") && same_port.err.contains(&address),
        "{same_port:?}"
    );
    let no_dags = bench.run(&[
        "standalone",
        "--dags",
        "nowhere",
        "--home",
        "other",
        "--listen",
        "127.0.0.1:0",
    ]);
    assert_eq!(no_dags.code, 8);
    assert!(no_dags.err.contains("[DBK0042]"), "{no_dags:?}");
}

#[test]
fn an_installation_that_is_killed_goes_on_where_it_was() {
    let slow = GOOD.replace("print('got', value)", "import time; time.sleep(1)");
    let bench = Bench::new(&[("good.py", &slow)]);
    let running = Standalone::start(&bench);
    let api = running.api.clone();
    let ask = |args: &[&str]| bench.run(&[&["--api", api.as_str()], args].concat());
    until(|| ask(&["dags", "trigger", "good", "--run-id", "one"]), |ran| ran.code == 0);
    until(|| ask(&["runs", "show", "good", "one"]), |ran| ran.out.contains("running  1/"));
    nix::sys::signal::kill(running.pid(), nix::sys::signal::Signal::SIGKILL).unwrap();
    drop(running);

    let running = Standalone::start(&bench);
    let ask = |args: &[&str]| bench.run(&[&["--api", running.api.as_str()], args].concat());
    let ended = ask(&["runs", "wait", "good", "one", "--timeout", "60"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(running.stop(), 0);
}

#[test]
fn figures_are_served_beside_the_api() {
    // Without a schedule: exactly one run.
    let manual = GOOD.replace("'@daily'", "None");
    let bench = Bench::new(&[("good.py", &manual)]);
    let running = Standalone::start(&bench);
    let ask = |args: &[&str]| bench.run(&[&["--api", running.api.as_str()], args].concat());
    until(|| ask(&["dags", "trigger", "good", "--run-id", "one"]), |ran| ran.code == 0);
    assert_eq!(ask(&["runs", "wait", "good", "one", "--timeout", "60"]).code, 0);
    let figures = until(
        || {
            let asked = std::process::Command::new(support::python())
                .args(["-c", "import sys, urllib.request as r; print(r.urlopen(sys.argv[1]).read().decode())"])
                .arg(format!("{}/metrics", running.api))
                .output();
            Ran::of(asked.unwrap())
        },
        |ran| ran.out.contains("dagbok_hand_off_seconds_count 1"),
    );
    for name in [
        "dagbok_tasks_ended_total{state=\"success\"} 2",
        "dagbok_queue_wait_seconds_count 2",
        "dagbok_slots_open ",
        "dagbok_appends_total ",
        "dagbok_files_parsed_total{outcome=\"ok\"} 1",
        "dagbok_projection_lag_records",
    ] {
        assert!(figures.out.contains(name), "{name} is not in\n{}", figures.out);
    }
    assert_eq!(running.stop(), 0);
}

/// Two runs that end otherwise than by their tasks, and one whose task fails before its leaf.
const ENDS: &str = "
from datetime import timedelta
import time
from airflow import DAG
from airflow.operators.python import PythonOperator
def raises():
    raise ValueError('first line\\nsecond line')
with DAG('late', schedule=None, dagrun_timeout=timedelta(seconds=1)):
    PythonOperator(task_id='sleeps', python_callable=lambda: time.sleep(600))
with DAG('long', schedule=None):
    PythonOperator(task_id='sleeps', python_callable=lambda: time.sleep(600))
with DAG('breaks', schedule=None):
    PythonOperator(task_id='raises', python_callable=raises) >> PythonOperator(task_id='leaf', python_callable=print)
";

#[test]
fn a_run_says_why_it_is_over() {
    let bench = Bench::new(&[("ends.py", ENDS)]);
    let running = Standalone::start(&bench);
    let ask = |args: &[&str]| bench.run(&[&["--api", running.api.as_str()], args].concat());
    until(|| ask(&["dags", "list", "--json"]), |ran| ran.json()["total_entries"] == 3);
    for dag in ["late", "long", "breaks"] {
        assert_eq!(ask(&["dags", "trigger", dag, "--run-id", "r"]).code, 0);
    }
    let shown = |dag: &str| ask(&["runs", "show", dag, "r"]).out;
    until(|| ask(&["runs", "show", "long", "r"]), |ran| ran.out.contains("running  1/1"));
    let mut cancel = bench.command(&[
        "--api",
        &running.api,
        "runs",
        "cancel",
        "long",
        "r",
        "--reason",
        "enough",
    ]);
    assert!(cancel.env("USER", "ada").output().unwrap().status.success());
    let long = shown("long");
    assert!(long.contains("cancelled by ada: enough"), "{long}");
    assert!(long.contains("its run was cancelled"), "{long}");

    assert_eq!(ask(&["runs", "wait", "late", "r"]).code, 1);
    let late = shown("late");
    assert!(late.contains("its dagrun_timeout of 1.00 s has passed"), "{late}");
    assert!(late.contains("its run timed out"), "{late}");

    let waited = ask(&["runs", "wait", "breaks", "r"]);
    assert!(waited.code == 1 && waited.out.contains("  failed: raises\n"), "{waited:?}");
    let breaks = shown("breaks");
    assert!(breaks.contains("failed: raises\n") && breaks.contains("  first line\n"), "{breaks}");
    assert_eq!(running.stop(), 0);
}

/// The first line of JSON that comes; ends `from` where none does.
fn first_line(stream: impl Read + Send + 'static, from: &mut Child) -> Value {
    let (told, line) = mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        // Who gave up waiting does not listen any more.
        let _ = BufReader::new(stream).read_line(&mut line).map(|_| told.send(line));
    });
    let line = line.recv_timeout(PATIENCE).inspect_err(|_| from.kill().unwrap());
    serde_json::from_str(&line.expect("a line in time")).unwrap()
}

#[test]
fn following_what_is_not_there_yet_says_so_and_waits_for_it() {
    let bench = Bench::new(&[("good.py", GOOD)]);
    let running = Standalone::start(&bench);
    let ask = |args: &[&str]| bench.run(&[&["--api", running.api.as_str()], args].concat());
    until(|| ask(&["dags", "list", "--json"]), |ran| ran.json()["total_entries"] == 1);
    let args =
        ["--api", &running.api, "events", "--dag", "good", "--run", "r", "--follow", "--json"];
    let mut follow = bench.command(&args);
    let mut follow = follow.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (errors, records) = (follow.stderr.take().unwrap(), follow.stdout.take().unwrap());
    let note = first_line(errors, &mut follow);
    let said = note["note"].as_str().unwrap();
    assert!(said.contains("the run `r` of the DAG `good`") && said.contains("waiting"), "{said}");

    assert_eq!(ask(&["dags", "trigger", "good", "--run-id", "r"]).code, 0);
    let first = first_line(records, &mut follow);
    assert_eq!((&first["run_id"], &first["facts"][0]["type"]), (&json!("r"), &json!("RunCreated")));
    follow.kill().unwrap();
    follow.wait().unwrap();
    // What is not followed is an error as ever.
    assert_eq!(ask(&["events", "--dag", "nope"]).code, 3);
    assert_eq!(running.stop(), 0);
}

/// How often the log says that the folder's code was published.
fn publications(events: &Ran) -> usize {
    let records = events.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let facts = records.flat_map(|record| record["facts"].as_array().unwrap().clone());
    facts.filter(|fact| fact["type"] == "BundlePublished").count()
}

#[test]
fn a_home_in_the_dag_folder_is_no_code_of_it_and_does_not_feed_itself() {
    // Right in it, and by a link to the folder around it.
    for (home, linked) in [("dags/state", None), ("around/state", Some("around"))] {
        let bench = Bench::new(&[]);
        let at = |name: &str| bench.root.path().join(name);
        std::fs::create_dir_all(at(home)).unwrap();
        symlink(at(home), at("home")).unwrap();
        std::fs::write(at("home/dagbok.toml"), "[processor]\nrescan = '1s'\n").unwrap();
        if let Some(linked) = linked {
            symlink(at(linked), at("dags/link")).unwrap();
        }
        let running = Standalone::start(&bench);
        let ask = |args: &[&str]| bench.run(&[&["--api", running.api.as_str()], args].concat());
        let events = || ask(&["events", "--json"]);
        for (n, id) in [(1, "one"), (2, "two"), (3, "three")] {
            std::fs::write(at("draft"), GOOD.replace("'good'", &format!("'{id}'"))).unwrap();
            std::fs::rename(at("draft"), at(&format!("dags/{id}.py"))).unwrap();
            until(events, |ran| publications(ran) >= n && ran.out.contains(&format!("\"{id}\"")));
            // Its executor unpacks the bundle, into the home.
            assert_eq!(ask(&["dags", "trigger", id, "--run-id", "run"]).code, 0);
            assert_eq!(ask(&["runs", "wait", id, "run"]).code, 0);
        }
        assert_eq!(running.stop(), 0);
        let all = bench.run(&["--home", at("home").to_str().unwrap(), "events", "--json"]);
        assert!(!all.out.contains("/executor/bundles/"), "{home}: {}", all.out);
        assert!((3..=4).contains(&publications(&all)), "{home}: {}", publications(&all));
    }
}
