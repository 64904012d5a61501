//! A standalone installation and its clients, as processes.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
mod support;

use std::time::{Duration, Instant};

use serde_json::json;
use support::{Bench, FAILS, GOOD, Ran, Standalone};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Asks until the answer will do.
fn until(ask: impl Fn() -> Ran, will_do: impl Fn(&Ran) -> bool) -> Ran {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let ran = ask();
        if will_do(&ran) {
            return ran;
        }
        assert!(Instant::now() < give_up, "it never came: {ran:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

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
    assert_eq!(ask(&["dags", "trigger", "good", "--run-id", "waits"]).code, 0);
    let late = ask(&["runs", "wait", "good", "waits", "--timeout", "100ms"]);
    assert_eq!(late.code, 6);
    assert!(late.err.contains("[DBK0015]"), "{}", late.err);

    let shown = ask(&["dags", "show", "good", "--json"]).json();
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
