//! What is said where something that is followed comes to an end, as it should or not.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
mod support;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    process::{Child, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use support::{Bench, Ran};

/// How an answer of lines ends.
#[derive(Clone, Copy)]
enum End {
    Whole,
    Broken,
}

/// Answers every request by its path with lines or a document, one request a connection.
fn api(answer: impl Fn(&str) -> (String, End) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            respond(stream.unwrap(), &answer);
        }
    });
    url
}

fn respond(mut stream: TcpStream, answer: impl Fn(&str) -> (String, End)) {
    let mut head = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(first) = head.next() else { return };
    assert!(head.any(|line| line.is_empty()), "the head of a request without a body");
    let (body, end) = answer(first.split(' ').nth(1).unwrap());
    let chunk = format!(
        "HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n",
        body.len()
    );
    let end = if matches!(end, End::Whole) { "0\r\n\r\n" } else { "" };
    // Who asked may have gone.
    let _ = stream.write_all((chunk + end).as_bytes());
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.read(&mut [0]);
}

/// A try as the API shows it.
fn one_try(ended: &Value) -> Value {
    let mut shown = json!({
        "task_id": "train", "dag_id": "d", "dag_run_id": "r", "map_index": 3, "try_number": 1, "max_tries": 0,
        "task_display_name": "train", "dag_display_name": "d", "pool": "default_pool", "pool_slots": 1,
        "executor_config": "{}", "state": "running", "hostname": "box", "start_date": "2026-01-01T00:00:00Z",
        "dagbok": { "inputs": {} },
    });
    for (name, value) in ended.as_object().unwrap() {
        shown["dagbok"][name] = value.clone();
    }
    shown
}

const FOLLOW: [&str; 9] = ["tasks", "logs", "d", "r", "train", "--try", "1", "--map-index", "3"];

/// Follows a try of which there is one line, and which is shown so once the line has come.
fn followed(shown: &Value, end: End, json: bool) -> (Ran, String) {
    let shown = shown.to_string();
    let at = api(move |path| match path {
        "/api/v2/dagbok/logs/d/r/train/1/follow?map_index=3" => {
            ("{\"event\":\"the line\"}\n".to_owned(), end)
        }
        "/api/v2/dags/d/dagRuns/r/taskInstances/train/tries/1?map_index=3" => {
            (shown.clone(), End::Whole)
        }
        // That there is such a DAG, run and task.
        "/api/v2/dags/d" | "/api/v2/dags/d/dagRuns/r" | "/api/v2/dagbok/ui/tasks/d/r/train" => {
            ("{}".to_owned(), End::Whole)
        }
        other => panic!("{other}"),
    });
    let json = if json { &["--json"][..] } else { &[] };
    let ran = Bench::new(&[]).run(&[&["--api", &at], &FOLLOW[..], &["--follow"], json].concat());
    assert!(ran.out.contains("the line"), "{ran:?}");
    (ran, at)
}

#[test]
fn a_try_that_was_lost_is_no_quiet_end() {
    let due = "2026-01-01T00:00:00Z";
    let lost = json!({ "ended": "lost", "message": "executor_gone", "retry_at": due });
    let (ran, at) = followed(&one_try(&lost), End::Whole, false);
    assert_eq!(ran.code, 0, "{ran:?}");
    let want = "note: try 1 of `train` was lost on box (executor gone); its last lines may be missing, \
        and an executor that is started again there hands in what lies on its disk; `";
    assert!(ran.err.starts_with(want), "{}", ran.err);
    let next = format!(
        "--api {at}/ tasks logs d r train --map-index 3 --try 2 --follow` follows the next\n"
    );
    assert!(ran.err.ends_with(&next), "{}", ran.err);

    let kept = json!({ "digest": "0", "size": 1, "lines": 1, "dropped": 0 });
    let too_often = json!({ "ended": "lost", "message": "drained", "log": kept });
    let (ran, _) = followed(&one_try(&too_often), End::Whole, true);
    let note: Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!(note["note"], "try 1 of `train` was lost on box (drained); it is not tried again");

    let (ran, _) = followed(&one_try(&json!({ "ended": "returned" })), End::Whole, false);
    assert!(ran.err.contains("handed back") && ran.err.contains("--try 2"), "{}", ran.err);
    let (ran, _) = followed(&one_try(&json!({ "ended": "succeeded" })), End::Whole, false);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "nothing more to say");
}

#[test]
fn a_try_is_followed_over_a_restart_of_the_api_and_no_line_is_told_twice() {
    // A service that is stopped ends its streams in good order, one that is killed does not; either comes back.
    for end in [End::Whole, End::Broken] {
        let (asked, shown) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (running, over) = (one_try(&json!({})), one_try(&json!({ "ended": "succeeded" })));
        let at = api(move |path| match path {
            log if log.starts_with("/api/v2/dagbok/logs/") => {
                let one = "{\"event\":\"the line\"}\n".to_owned();
                match asked.fetch_add(1, Ordering::SeqCst) {
                    0 => (one, end),
                    _ => (one + "{\"event\":\"and the last\"}\n", End::Whole),
                }
            }
            tries if tries.contains("/tries/") => {
                let first = matches!(end, End::Whole) && shown.fetch_add(1, Ordering::SeqCst) == 0;
                ((if first { &running } else { &over }).to_string(), End::Whole)
            }
            _ => ("{}".to_owned(), End::Whole),
        });
        let ran = Bench::new(&[]).run(&[&["--api", &at], &FOLLOW[..], &["--follow"]].concat());
        assert_eq!(ran.code, 0, "{ran:?}");
        let lines: Vec<&str> = ran.out.lines().map(str::trim).collect();
        assert_eq!(lines, ["the line", "and the last"], "{ran:?}");
        let away = format!("note: the API at {at}/ went away; waiting for it to come back");
        assert_eq!(ran.err.contains(&away), matches!(end, End::Broken), "{ran:?}");
    }
}

#[test]
fn an_api_that_goes_away_while_a_log_is_read_is_named() {
    let at = api(|path| match path {
        log if log.contains("/logs/") => ("{\"event\":\"the line\"}\n".to_owned(), End::Broken),
        _ => ("{}".to_owned(), End::Whole),
    });
    let ran = Bench::new(&[]).run(&[&["--api", &at, "--json"], &FOLLOW[..]].concat());
    assert_eq!((ran.code, &ran.error()["code"]), (5, &json!("DBK0010")), "{ran:?}");
    assert_eq!(ran.error()["message"], format!("the API at {at}/ went away while it answered"));
}

const SOON: Duration = Duration::from_secs(20);

/// Ends the process when the test does.
struct Follows(Child);

impl Drop for Follows {
    fn drop(&mut self) {
        // Ended already is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn events_are_taken_up_again_where_they_broke_off_and_the_gap_is_said() {
    let asked = Arc::new(AtomicUsize::new(0));
    let at = api(move |path| match (asked.fetch_add(1, Ordering::SeqCst), path) {
        (0, "/api/v2/dagbok/events?from=1&follow=true") => {
            ("{\"seq\":7}\n".to_owned(), End::Broken)
        }
        (1, "/api/v2/dagbok/events?from=8&follow=true") => ("{\"seq\":8}\n".to_owned(), End::Whole),
        (_, "/api/v2/dagbok/events?from=9&follow=true") => (String::new(), End::Broken),
        other => panic!("{other:?}"),
    });
    let bench = Bench::new(&[]);
    let mut command = bench.command(&["--api", &at, "--json", "events", "--follow"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut follows = Follows(child);
    let (line, lines) = std::sync::mpsc::channel();
    let out = BufReader::new(follows.0.stdout.take().unwrap()).lines();
    thread::spawn(move || out.map_while(Result::ok).try_for_each(|seq| line.send(seq)));
    for want in ["{\"seq\":7}", "{\"seq\":8}"] {
        assert_eq!(lines.recv_timeout(SOON).unwrap(), want);
    }
    // The gap was before the second line.
    follows.0.kill().unwrap();
    let mut said = String::new();
    follows.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    let note = format!("the API at {at}/ went away; waiting for it to come back");
    let first = said.lines().next().unwrap_or("{}");
    assert_eq!(serde_json::from_str::<Value>(first).unwrap()["note"], note);
}
