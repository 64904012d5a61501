//! The command line on the real binary: what is printed, and how it ends.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
mod support;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::ffi::OsStrExt as _,
};

use serde_json::json;
use support::{Bench, FAILS, GOOD, Ran};

#[test]
fn help_lists_the_exit_codes_and_bad_usage_is_two() {
    let bench = Bench::new(&[]);
    let help = bench.run(&["--help"]);
    assert_eq!(help.code, 0);
    for line in
        ["    1  the run that was waited for failed", "    5  unreachable", "  130  interrupted"]
    {
        assert!(help.out.contains(line), "{}", help.out);
    }
    for bad in [
        &["nonsense"][..],
        &["dags", "trigger"],
        &["standalone", "--slots", "0"],
        &["runs", "wait", "d", "r", "--timeout", "soon"],
    ] {
        assert_eq!(bench.run(bad).code, 2, "{bad:?}");
    }
    let json = bench.run(&["runs", "list", "--state", "weird", "--json"]);
    assert_eq!((json.code, &json.error()["code"]), (2, &json!("DBK0001")));
    assert!(json.error()["message"].as_str().unwrap().contains("weird"), "{}", json.err);
    let date = bench.run(&["dags", "trigger", "d", "--logical-date", "yesterday"]);
    assert_eq!(date.code, 2);
    assert!(date.err.contains("`yesterday` is no date"), "{}", date.err);
}

#[test]
fn a_bad_configuration_is_refused_by_its_place() {
    let bench = Bench::new(&[]);
    std::fs::create_dir(bench.path("home")).unwrap();
    std::fs::write(bench.path("home/dagbok.toml"), "[executor]\nslotz = 3\n").unwrap();
    let ran = bench.run(&["dags", "list", "--json"]);
    assert_eq!(ran.code, 2);
    let error = ran.error();
    assert_eq!((&error["code"], &error["exit"]), (&json!("DBK0002"), &json!(2)));
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("home/dagbok.toml`, line 2") && message.contains("executor.slots"),
        "{message}"
    );

    // Before anything is begun, and not as a service that broke down.
    std::fs::write(bench.path("home/dagbok.toml"), "[executor]\nslots = 0\n").unwrap();
    for command in
        [&["standalone", "--dags", "dags"][..], &["dags", "test", "x"], &["dags", "list"]]
    {
        let ran = bench.run(command);
        assert_eq!(ran.code, 2, "{}", ran.err);
        assert!(
            ran.err.contains("home/dagbok.toml`, line 2: `executor.slots` can't be that: it must be at least 1 [DBK0002]"),
            "{}",
            ran.err
        );
    }
    std::fs::remove_file(bench.path("home/dagbok.toml")).unwrap();
    for (command, flag) in [("executor", "--lease"), ("scheduler", "--executor-lease")] {
        let short = bench.run(&[command, flag, "4900ms"]);
        assert_eq!(short.code, 2, "{}", short.err);
        let said =
            format!("the flag `{flag}`: `executor.lease` can't be that: it must be at least 5s");
        assert!(short.err.contains(&said), "{}", short.err);
    }

    // Said without asking a broker, of which there is none.
    let queue = bench.run(&["executor", "--queues", "a b", "--nats", "nats://127.0.0.1:1"]);
    assert!(queue.code == 2 && queue.err.contains("`a b`"), "{}", queue.err);
    let mut command = bench.command(&["dags", "list"]);
    let bytes = std::ffi::OsStr::from_bytes(b"\xff");
    let odd = Ran::of(command.env("DAGBOK__PROCESSOR__DAGS", bytes).output().unwrap());
    assert!(odd.code == 2 && odd.err.contains("is not UTF-8 [DBK0002]"), "{}", odd.err);

    let named = bench.run(&["dags", "list", "--config", "nowhere.toml"]);
    assert_eq!(named.code, 2);
    assert!(
        named.err.contains("`nowhere.toml` can't be read") && named.err.contains("[DBK0002]"),
        "{}",
        named.err
    );
}

#[test]
fn nobody_at_the_address_is_unreachable_and_says_what_next() {
    let bench = Bench::new(&[]);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let api = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for command in [&["dags", "list"][..], &["runs", "list"], &["events"], &["dags", "pause", "d"]]
    {
        let ran = bench.run(&[&["--api", &api, "--json"], command].concat());
        assert_eq!((ran.code, ran.out.as_str()), (5, ""), "{command:?}");
        let error = ran.error();
        assert_eq!(error["code"], "DBK0010", "{command:?}");
        assert!(error["next"].as_str().unwrap().contains("dagbok standalone"), "{error}");
    }
    assert_eq!(bench.run(&["--api", "localhost:1", "dags", "list"]).code, 2);
    let shown = bench.run(&["--api", &api, "dags", "show", "d"]);
    assert!(shown.code == 5 && shown.err.contains("a DAG folder with --dags"), "{}", shown.err);
    // Asked of this build first: no API is no failure.
    let version = bench.run(&["--api", &api, "version", "--json"]);
    assert_eq!(
        (version.code, version.json()),
        (0, json!({"version": env!("CARGO_PKG_VERSION"), "api": null}))
    );
}

#[test]
fn conf_that_is_no_object_is_refused_before_anything_is_asked() {
    let bench = Bench::new(&[("good.py", GOOD)]);
    for command in [&["dags", "trigger", "d"][..], &["dags", "test", "dags/good.py"]] {
        for conf in ["[1]", "{", "7"] {
            let ran = bench.run(&[command, &["--conf", conf]].concat());
            assert_eq!(ran.code, 2, "{command:?} {conf}");
            assert!(ran.err.contains("[DBK0003]"), "{}", ran.err);
        }
    }
}

#[test]
fn a_file_is_shown_in_the_promised_shape() {
    let bench = Bench::new(&[("good.py", GOOD)]);
    let shown = bench.run(&["dags", "show", "dags/good.py", "--json"]);
    assert_eq!(shown.code, 0, "{}", shown.err);
    let task = |id: &str, downstream: &[&str], rule: &str| {
        json!({"task_id": id, "operator": "_PythonDecoratedOperator", "downstream": downstream,
            "trigger_rule": rule, "retries": 1, "is_mapped": false, "group": null})
    };
    assert_eq!(
        shown.json(),
        json!({"dag_id": "good", "schedule": "@daily", "start_date": "2024-01-01T00:00:00Z", "catchup": false,
            "max_active_runs": 16, "max_consecutive_failed_dag_runs": 0, "paused": null,
            "tags": ["a", "b"], "owner": "me",
            "tasks": [task("first", &["second"], "all_success"), task("second", &[], "all_done")],
            "not_carried_out": [], "refused": []})
    );
    let by_id = bench.run(&["dags", "show", "good", "--dags", "dags", "--json"]);
    assert_eq!(by_id.json(), shown.json());
    // Without anything to ask at the usual address the configured folder will do. The address is this
    // machine's, so that an installation may be there: it does not know this DAG.
    let mut command = bench.command(&["dags", "show", "good", "--json"]);
    let configured = Ran::of(command.env("DAGBOK__PROCESSOR__DAGS", "dags").output().unwrap());
    match configured.code {
        0 => assert_eq!(configured.json(), shown.json()),
        code => assert_eq!(code, 3, "{}", configured.err),
    }
    // One that was asked for by name is not made up for.
    let args = ["--api", "http://127.0.0.1:1", "dags", "show", "good", "--json"];
    let mut command = bench.command(&args);
    let named = Ran::of(command.env("DAGBOK__PROCESSOR__DAGS", "dags").output().unwrap());
    assert_eq!(named.code, 5, "{}", named.err);
    let for_eyes = bench.run(&["dags", "show", "dags/good.py"]);
    assert!(
        for_eyes.out.contains("owner        me") && !for_eyes.out.contains('\u{1b}'),
        "{}",
        for_eyes.out
    );
}

#[test]
fn files_that_can_not_be_shown_say_why_each_in_its_own_way() {
    let two = format!("{GOOD}\n{}", FAILS.replace("from airflow import DAG", ""));
    let bench = Bench::new(&[
        ("broken.py", "from airflow import DAG\nimport no_such_module\n"),
        ("two.py", &two),
        ("none.py", "# airflow dag\n"),
    ]);
    let show = |args: &[&str]| bench.run(&[&["dags", "show"], args].concat());
    let broken = show(&["dags/broken.py"]);
    assert_eq!(broken.code, 7, "{}", broken.err);
    // Once, with the code in the first line and the way there under it.
    assert_eq!(broken.err.matches("ModuleNotFoundError").count(), 1, "{}", broken.err);
    let lines: Vec<&str> = broken.err.lines().collect();
    assert!(lines[0].contains("line 2") && lines[0].ends_with("[DBK0043]"), "{}", broken.err);
    assert!(lines[0].contains("-m pip install no-such-module"), "{}", broken.err);
    assert_eq!(lines.last().unwrap().trim(), "import no_such_module");
    let which = show(&["dags/two.py"]);
    assert_eq!(which.code, 2);
    assert!(which.err.contains("good, fails") && which.err.contains("--dag"), "{}", which.err);
    assert!(show(&["dags/two.py", "--dag", "fails", "--json"]).out.contains("raises"));
    assert_eq!(show(&["dags/two.py", "--dag", "other"]).code, 3);
    assert_eq!(show(&["dags/none.py"]).code, 3);
    assert_eq!(show(&["dags/nowhere.py"]).code, 3);
    assert_eq!(show(&["other", "--dags", "dags"]).code, 3);
}

#[test]
fn a_python_that_will_not_do_is_named_with_what_to_do() {
    let bench = Bench::new(&[("good.py", GOOD)]);
    let none = bench.run(&["dags", "show", "dags/good.py", "--python", "/nowhere/python3"]);
    assert_eq!(none.code, 8);
    assert!(
        none.err.contains("/nowhere/python3") && none.err.contains("[DBK0040]"),
        "{}",
        none.err
    );
    let empty = bench.path("");
    let bare = bench.run(&["dags", "show", "dags/good.py", "--python-path", &empty]);
    // A Python that has the package installed would find it all the same.
    if bare.code != 0 {
        assert_eq!(bare.code, 8);
        assert!(bare.err.contains("[DBK0041]") && bare.err.contains("pip install"), "{}", bare.err);
    }
}

#[test]
fn a_test_run_ends_as_the_run_does() {
    let bench = Bench::new(&[("good.py", GOOD), ("fails.py", FAILS)]);
    let good = bench.run(&[
        "dags",
        "test",
        "dags/good.py",
        "--logical-date",
        "2026-02-03",
        "--conf",
        r#"{"k": 1}"#,
        "--json",
    ]);
    assert_eq!(good.code, 0, "{}", good.err);
    let result = good.json();
    assert_eq!(
        (&result["dag_id"], &result["state"], &result["log"]),
        (&json!("good"), &json!("success"), &json!(null))
    );
    assert_eq!(result["tasks"]["second"]["state"], "success");
    assert!(result["run_id"].as_str().unwrap().contains("2026-02-03"), "{result}");

    let told = bench.run(&[
        "dags",
        "test",
        "dags/good.py",
        "--logical-date",
        "2026-02-03",
        "--conf",
        r#"{"k": 1}"#,
    ]);
    assert!(told.out.contains("first | from first {'k': 1} 2026-02-03"), "{}", told.out);
    assert!(told.out.contains("second | got 21"), "{}", told.out);
    let line = |text: &str| told.out.lines().position(|line| line.contains(text)).unwrap();
    assert!(
        line("first | from first") < line("first success")
            && line("first success") < line("second running")
    );

    let other = bench.run(&["dags", "test", "fails", "--dags", "dags", "--dag", "good"]);
    assert!(other.code == 2 && other.err.contains("`good`"), "{}", other.err);
    let nowhere = bench.run(&["dags", "test", "fails"]);
    assert!(nowhere.code == 3 && nowhere.err.contains("`processor.dags`"), "{}", nowhere.err);
    // The configured folder will do; one that is named goes before it.
    let mut command = bench.command(&["dags", "test", "fails", "--json"]);
    let configured = Ran::of(command.env("DAGBOK__PROCESSOR__DAGS", "dags").output().unwrap());
    assert_eq!((configured.code, &configured.json()["dag_id"]), (1, &json!("fails")));
    let mut command = bench.command(&["dags", "test", "fails", "--dags", "nowhere"]);
    let named = Ran::of(command.env("DAGBOK__PROCESSOR__DAGS", "dags").output().unwrap());
    assert!(named.code == 8 && named.err.contains("`nowhere`"), "{}", named.err);

    let fails = bench.run(&["dags", "test", "fails", "--dags", "dags", "--json"]);
    assert_eq!(fails.code, 1, "{}", fails.err);
    let task = &fails.json()["tasks"]["raises"];
    assert_eq!(
        (&task["state"], &task["failure"]["exception"]),
        (&json!("failed"), &json!("ValueError"))
    );
    assert_eq!(task["failure"]["message"], "as it must");
}

#[test]
fn a_kept_log_can_be_read_afterwards_and_only_read() {
    let bench = Bench::new(&[("good.py", GOOD)]);
    let kept = bench.path("kept");
    let ran = bench.run(&["dags", "test", "dags/good.py", "--keep", &kept, "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let run_id = ran.json()["run_id"].as_str().unwrap().to_owned();
    let read = |args: &[&str]| bench.run(&[&["--home", &kept], args].concat());
    let shown = read(&["runs", "show", "good", &run_id, "--json"]);
    assert_eq!(shown.code, 0, "{}", shown.err);
    assert_eq!(
        (&shown.json()["run"]["state"], shown.json()["tasks"].as_array().unwrap().len()),
        (&json!("success"), 2)
    );
    assert_eq!(read(&["runs", "wait", "good", &run_id]).code, 0);
    assert!(read(&["tasks", "logs", "good", &run_id, "second"]).out.contains("got 21"));
    let events = read(&["events", "--json"]);
    let facts: Vec<serde_json::Value> =
        events.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(facts.windows(2).all(|pair| pair[0]["seq"].as_u64() < pair[1]["seq"].as_u64()));
    let last = facts.iter().rfind(|entry| entry["scope"] == "run").unwrap();
    assert_eq!(last["facts"].as_array().unwrap().last().unwrap()["type"], "RunSucceeded");
    let trigger = read(&["dags", "trigger", "good"]);
    assert_eq!(trigger.code, 4);
    assert!(trigger.err.contains("can only be read"), "{}", trigger.err);
    assert_eq!(bench.run(&["--home", "nowhere", "runs", "list"]).code, 3);
    // Nobody writes it, so that following it ends with it; and a folder that is named goes before an API
    // that the environment names.
    let args = ["--home", &kept, "events", "--follow", "--json"];
    let followed = bench.command(&args).env("DAGBOK_API", "http://127.0.0.1:1").output().unwrap();
    assert_eq!(Ran::of(followed).out, events.out);
}

#[test]
fn the_doctor_says_what_to_do_about_each_finding() {
    let bench = Bench::new(&[("good.py", GOOD)]);
    let well = bench.run(&["doctor", "--dags", "dags", "--json"]);
    assert_eq!(well.code, 0, "{}", well.out);
    assert_eq!(well.json()["ok"], true);
    let checks: Vec<String> = well.json()["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["check"].as_str().unwrap().to_owned())
        .collect();
    for check in ["dagbok", "clock", "files", "home", "disk", "python", "package", "dags"] {
        assert!(checks.iter().any(|found| found == check), "{check} is not in {checks:?}");
    }
    let inside = bench.run(&["doctor", "--dags", "dags", "--home", "dags/home", "--json"]);
    assert_eq!(inside.code, 8, "{}", inside.out);
    assert!(inside.out.contains("the home lies inside the DAG folder"), "{}", inside.out);
    // The log that was just written is from before now; one from the future is this clock's fault.
    let kept = bench.path("kept");
    assert_eq!(bench.run(&["dags", "test", "dags/good.py", "--keep", &kept]).code, 0);
    let of_log = bench.run(&["--home", &kept, "doctor", "--json"]).json();
    let clock = of_log["findings"].as_array().unwrap().iter().find(|f| f["check"] == "clock");
    let said = clock.unwrap()["message"].as_str().unwrap();
    assert!(said.contains("later than the log's last record"), "{said}");
    let ill = bench.run(&[
        "doctor",
        "--dags",
        "nowhere",
        "--python",
        "/nowhere",
        "--nats",
        "nats://127.0.0.1:1",
        "--json",
    ]);
    assert_eq!((ill.code, ill.json()["ok"].clone()), (8, json!(false)));
    for finding in ill.json()["findings"].as_array().unwrap() {
        assert_eq!(finding["status"] == "ok", finding["next"].is_null(), "{finding}");
    }
    let errors = ill.json()["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|f| f["status"] == "error")
        .count();
    assert_eq!(errors, 3, "{}", ill.out);
}

/// Takes what is posted, as a collector does, and returns each path with its body.
fn collector() -> (String, std::sync::mpsc::Receiver<(String, Vec<u8>)>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (posted, received) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        // Traces and figures come by connections of their own, which are kept open.
        for stream in listener.incoming() {
            let posted = posted.clone();
            std::thread::spawn(move || collect(stream.unwrap(), &posted));
        }
    });
    (address, received)
}

/// Takes every post of one connection.
fn collect(stream: std::net::TcpStream, posted: &std::sync::mpsc::Sender<(String, Vec<u8>)>) {
    let mut reader = BufReader::new(stream);
    let (mut path, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let line = line.trim().to_lowercase();
        if let Some(rest) = line.strip_prefix("post ") {
            rest.split(' ').next().unwrap().clone_into(&mut path);
        } else if let Some(size) = line.strip_prefix("content-length: ") {
            length = size.parse().unwrap();
        } else if line.is_empty() {
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            // Told before it is answered: who was answered may look at once.
            if posted.send((path.clone(), body)).is_err() {
                return;
            }
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
            reader.get_mut().write_all(answer).unwrap();
        }
    }
}

#[test]
fn traces_and_figures_go_where_the_standard_variables_say() {
    let bench = Bench::new(&[("good.py", GOOD)]);
    let (address, received) = collector();
    let mut command = bench.command(&["dags", "test", "dags/good.py", "--json"]);
    let ran = Ran::of(command.env("OTEL_EXPORTER_OTLP_ENDPOINT", address).output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let run_id = ran.json()["run_id"].as_str().unwrap().to_owned();
    let posted: Vec<(String, Vec<u8>)> = received.try_iter().collect();
    let of = |path: &str| {
        posted
            .iter()
            .filter(|(to, _)| to == path)
            .flat_map(|(_, body)| body.clone())
            .collect::<Vec<_>>()
    };
    let has = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|at| at == text.as_bytes());
    let (traces, figures) = (of("/v1/traces"), of("/v1/metrics"));
    for text in ["run good", "first", "second", "dagbok.run_id", run_id.as_str()] {
        assert!(has(&traces, text), "{text} is not in the {} bytes of traces", traces.len());
    }
    // What the log tells of is sent by whoever serves the API: nobody here does.
    assert!(has(&figures, "dagbok_decisions"), "{} bytes of figures", figures.len());
    assert!(!has(&figures, "dagbok_tasks_ended"), "a second count of what the log tells of");

    let grpc = bench
        .command(&["dags", "test", "dags/good.py"])
        .env("OTEL_TRACES_EXPORTER", "zipkin")
        .output()
        .unwrap();
    assert_eq!(grpc.status.code(), Some(2));
}
