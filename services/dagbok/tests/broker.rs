//! What is said of a broker that is not as it should be.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
mod support;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    process::Stdio,
    thread,
};

use dagbok_test_support::{NatsServer, SyncInterval, versions};
use serde_json::{Value, json};
use support::{Bench, Ran};

/// Takes connections for as long as the test runs; returns the address.
fn listening(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    let serve = std::sync::Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let serve = std::sync::Arc::clone(&serve);
            thread::spawn(move || serve(stream.unwrap()));
        }
    });
    url
}

/// Greets and answers pings; to the first question it hangs up or says nothing.
fn half_a_server(stream: TcpStream, hangs_up: bool) {
    let info = r#"INFO {"server_id":"half","version":"2.12.0","proto":1,"headers":true,"max_payload":1048576}"#;
    let mut write = stream.try_clone().unwrap();
    write.write_all(format!("{info}\r\n").as_bytes()).unwrap();
    for line in BufReader::new(stream).lines() {
        // Who was told off is gone.
        let Ok(line) = line else { return };
        let word = line.split(' ').next().unwrap();
        if word == "PING" {
            write.write_all(b"PONG\r\n").unwrap();
        } else if hangs_up && (word == "PUB" || word == "HPUB") {
            let _ = write.shutdown(Shutdown::Both);
            return;
        }
    }
}

#[test]
fn a_broker_that_goes_while_connecting_is_unreachable_and_not_misconfigured() {
    let bench = Bench::new(&[]);
    for (hangs_up, said) in [(true, "the connection broke"), (false, "timed out")] {
        let url = listening(move |stream| half_a_server(stream, hangs_up));
        let mut command = bench.command(&["scheduler", "--nats", &url, "--json"]);
        let ran = Ran::of(command.env("DAGBOK__NATS__TIMEOUT", "500ms").output().unwrap());
        assert_eq!((ran.code, &ran.error()["code"]), (5, &json!("DBK0020")), "{}", ran.err);
        assert!(ran.error()["message"].as_str().unwrap().contains(said), "{}", ran.err);
    }
}

/// Passes on what the server says, with its clock 400 years ahead: as long as the calendar's period, so
/// that any day there is one.
fn from_the_future(client: TcpStream, server: &str) {
    let server = TcpStream::connect(server).unwrap();
    let (mut up, mut asks) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    thread::spawn(move || std::io::copy(&mut asks, &mut up));
    let (mut server, mut client) = (server, client);
    let (mut held, mut chunk) = (Vec::new(), [0; 8192]);
    while let Ok(n @ 1..) = server.read(&mut chunk) {
        held.extend_from_slice(&chunk[..n]);
        // Every message ends with a line's end, so that no instant is cut in two.
        let Some(end) = held.iter().rposition(|byte| *byte == b'\n') else { continue };
        let rest = held.split_off(end + 1);
        let key = br#""ts":"2"#;
        let places: Vec<usize> =
            (0..held.len()).filter(|at| held[*at..].starts_with(key)).collect();
        for at in places {
            let century = &mut held[at + key.len()];
            assert_eq!(*century, b'0', "this century");
            *century = b'4';
        }
        if client.write_all(&held).is_err() {
            return;
        }
        held = rest;
    }
}

fn finding(ran: &Ran, check: &str) -> Value {
    let findings = ran.json()["findings"].take();
    let found = findings.as_array().unwrap().iter().find(|finding| finding["check"] == check);
    found.unwrap_or_else(|| panic!("no {check}: {}", ran.out)).clone()
}

#[test]
fn the_doctor_compares_this_machines_clock_with_the_brokers() {
    let server = NatsServer::start(versions::OLDEST, SyncInterval::Default);
    let bench = Bench::new(&[]);
    // The doctor looks at what a scheduler has made, and makes nothing.
    let settings = dagbok_runlog_jetstream::ConnectSettings::new(server.url(), "a");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(dagbok_runlog_jetstream::connect(settings)).unwrap();
    let examine = |url: &str| bench.run(&["doctor", "--nats", url, "--namespace", "a", "--json"]);
    let well = examine(&server.url());
    assert_eq!(finding(&well, "skew")["status"], "ok", "{}", well.out);

    let address = server.url().trim_start_matches("nats://").to_owned();
    let url = listening(move |client| from_the_future(client, &address));
    let ill = examine(&url);
    let skew = finding(&ill, "skew");
    assert_eq!((ill.code, &skew["status"]), (8, &json!("error")), "{}", ill.out);
    assert!(skew["message"].as_str().unwrap().contains("behind the server's"), "{skew}");
    assert!(skew["next"].as_str().unwrap().contains("chrony"), "{skew}");
}

#[test]
fn the_doctor_only_reads_and_says_what_is_not_there() {
    let server = NatsServer::start(versions::NEWEST, SyncInterval::Default);
    let bench = Bench::new(&[]);
    let ran = bench.run(&["doctor", "--nats", &server.url(), "--namespace", "defualt", "--json"]);
    let found = finding(&ran, "namespace");
    assert_eq!((ran.code, &found["status"]), (8, &json!("error")), "{}", ran.out);
    assert!(found["message"].as_str().unwrap().contains("no namespace `defualt`"), "{found}");
    assert!(found["next"].as_str().unwrap().contains("correct the name"), "{found}");
    assert!(found["next"].as_str().unwrap().contains("the server has none"), "{found}");
    assert_eq!(finding(&ran, "nats")["status"], "ok", "{}", ran.out);
    assert_eq!(server.streams(), 0, "the doctor makes nothing");
}

#[test]
fn a_service_whose_namespace_is_not_there_waits_and_makes_nothing() {
    let server = NatsServer::start(versions::NEWEST, SyncInterval::Default);
    let bench = Bench::new(&[]);
    let url = server.url();
    for service in ["executor", "processor", "ui"] {
        let mut command = bench.command(&[service, "--nats", &url, "--namespace", "defualt"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let said = lines.find_map(|line| line.ok().filter(|line| line.contains("no namespace")));
        child.kill().unwrap();
        child.wait().unwrap();
        let said = said.unwrap_or_else(|| panic!("{service} says nothing"));
        assert!(said.contains("`defualt`") && said.contains("waiting for it"), "{said}");
    }
    assert_eq!(server.streams(), 0, "only the scheduler makes streams");
}

#[test]
fn a_namespace_is_deleted_by_its_whole_name_and_others_stay() {
    let server = NatsServer::start(versions::NEWEST, SyncInterval::Default);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for namespace in ["team", "team_a"] {
        let settings = dagbok_runlog_jetstream::ConnectSettings::new(server.url(), namespace);
        runtime.block_on(dagbok_runlog_jetstream::connect(settings)).unwrap();
    }
    let (bench, url) = (Bench::new(&[]), server.url());
    let run = |args: &[&str]| bench.run(&[args, &["--nats", &url, "--json"]].concat());
    let names = |ran: Ran| -> Vec<Value> {
        ran.json().as_array().unwrap().iter().map(|it| it["namespace"].clone()).collect()
    };
    assert_eq!(names(run(&["namespaces", "list"])), [json!("team"), json!("team_a")]);

    let mistyped = run(&["namespaces", "delete", "taem", "--yes"]);
    let next = mistyped.error()["next"].clone();
    assert_eq!(
        (mistyped.code, next),
        (3, json!("the server has `team`, `team_a`")),
        "{mistyped:?}"
    );
    let unasked = run(&["namespaces", "delete", "team"]);
    assert_eq!(unasked.code, 2, "nobody is there to ask: {unasked:?}");
    assert_eq!(names(run(&["namespaces", "list"])).len(), 2);

    let deleted = run(&["namespaces", "delete", "team", "--yes"]);
    assert_eq!(deleted.code, 0, "{deleted:?}");
    assert_eq!(names(run(&["namespaces", "list"])), [json!("team_a")]);
}
