//! Which events follow from a log: written as people read one.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests panic where a value is not what it must be"
)]
use dagbok_events::{Record, entry_of_json};
use dagbok_lineage::{Event, Lineage, Names};
use serde_json::{Value, json};

fn names() -> Names {
    Names { namespace: "prod".to_owned(), version: "0.1.0".to_owned() }
}

fn at(second: u32) -> String {
    format!("2024-01-02T00:00:{second:02}Z")
}

fn record(second: u32, facts: &Value) -> Record {
    let entry = json!({
        "seq": 1, "at": at(second), "scope": "run", "dag_id": "etl", "run_id": "r1", "by": "scheduler",
        "facts": facts,
    });
    entry_of_json(&entry).unwrap().1
}

fn registered() -> Record {
    let spec = json!({
        "dag_id": "etl", "doc_md": "# Orders", "owner": "ops, data", "tags": ["daily"],
        "schedule": { "text": "@daily", "timetable": "Manual", "timezone": "UTC" },
        "max_active_runs": 16, "max_active_tasks": 16,
        "source": { "file": "a b/etl.py", "line": 3 },
        "tasks": [
            { "task_id": "extract", "operator": "BashOperator",
              "inlets": [{ "Asset": { "name": "raw", "uri": "s3://raw/in.csv" } }] },
            { "task_id": "load", "operator": "PythonOperator", "upstream": [0], "owner": "ml",
              "inlets": [{ "Uri": { "uri": "file:///tmp/x" } }],
              "outlets": [
                { "Asset": { "name": "orders", "uri": "postgres://u:secret@db/shop/public/orders" } },
                { "Alias": { "name": "whatever" } },
              ] },
        ],
    });
    let fact = json!({
        "type": "DagRegistered", "version": 1, "spec_digest": "0".repeat(64), "bundle": "b".repeat(64), "spec": spec,
    });
    let entry = json!({
        "seq": 1, "at": at(0), "scope": "dag", "dag_id": "etl", "by": "processor", "facts": [fact],
    });
    entry_of_json(&entry).unwrap().1
}

fn created(conf: Option<&str>) -> Record {
    let mut fact = json!({
        "type": "RunCreated", "run_type": "scheduled", "logical_date": "2024-01-01T00:00:00Z",
        "data_interval": { "start": "2024-01-01T00:00:00Z", "end": "2024-01-02T00:00:00Z" },
        "run_after": "2024-01-02T00:00:00Z", "version": 1, "bundle": "b".repeat(64),
    });
    if let Some(conf) = conf {
        fact["conf"] = json!({ "Inline": conf });
    }
    record(1, &json!([fact]))
}

fn usage() -> Value {
    json!({ "max_rss_bytes": 1, "user_us": 1, "system_us": 1 })
}

fn started(task: &str, n: u32, second: u32) -> Record {
    leg(task, n, 0, second)
}

fn leg(task: &str, n: u32, leg: u32, second: u32) -> Record {
    let fact = json!({
        "type": "TryStarted", "task_id": task, "try_number": n, "leg": leg, "executor": "e", "hostname": "h",
        "pid": 1, "started_at": at(second),
    });
    record(second, &json!([fact]))
}

fn succeeded(task: &str, n: u32, second: u32) -> Value {
    json!({
        "type": "TrySucceeded", "task_id": task, "try_number": n, "ended_at": at(second), "usage": usage(),
    })
}

fn failed(task: &str, n: u32, second: u32) -> Value {
    json!({
        "type": "TryFailed", "task_id": task, "try_number": n, "ended_at": at(second), "usage": usage(),
        "failure": { "kind": "exception", "fault": "user", "message": "no", "traceback": "Traceback: no" },
        "retry_at": at(second + 1),
    })
}

fn taken(lineage: &mut Lineage, records: &[Record]) -> Vec<Event> {
    let mut events = Vec::new();
    for record in records {
        lineage.take(&names(), record, &mut events);
    }
    events
}

fn said(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| format!("{} {}", event.event_type.word(), event.job)).collect()
}

fn body(event: &Event) -> Value {
    serde_json::from_str(&event.json).unwrap()
}

fn run_started() -> Record {
    record(2, &json!([{ "type": "RunStarted" }]))
}

/// A run whose second task fails once, and then brings an asset up to date, and one by an alias.
fn story() -> Vec<Record> {
    let update = json!({
        "type": "AssetUpdated", "asset": { "name": "orders", "uri": "postgres://u:secret@db/shop/public/orders" },
        "task_id": "load", "extra": "{\"rows\": 3}",
    });
    let alias = json!({
        "type": "AssetUpdated", "asset": { "name": "late", "uri": "s3://lake/late" },
        "task_id": "load", "aliases": ["whatever"],
    });
    let other = json!({
        "type": "AssetUpdated", "asset": { "name": "no", "uri": "s3://no/no" }, "task_id": "extract",
    });
    vec![
        registered(),
        created(None),
        run_started(),
        started("extract", 1, 3),
        record(4, &json!([succeeded("extract", 1, 4)])),
        started("load", 1, 5),
        record(6, &json!([failed("load", 1, 6)])),
        started("load", 2, 7),
        told(2, 7, r#"{"outputs": [{"namespace": "db", "name": "b"}]}"#),
        record(
            8,
            &json!([succeeded("load", 2, 8), update, alias, other, { "type": "RunSucceeded" }]),
        ),
    ]
}

#[test]
fn a_run_is_told_from_its_begin_to_its_end() {
    let events = taken(&mut Lineage::default(), &story());
    assert_eq!(
        said(&events),
        [
            "START etl",
            "START etl.extract",
            "COMPLETE etl.extract",
            "START etl.load",
            "FAIL etl.load",
            "START etl.load",
            "COMPLETE etl.load",
            "COMPLETE etl",
        ]
    );
    let [begin, extract, extracted, _, fail, again, load, end] = &events[..] else {
        panic!("as many as were said")
    };
    assert_eq!(begin.run_id, end.run_id);
    assert_eq!(extract.run_id, extracted.run_id);
    assert_ne!(fail.run_id, again.run_id, "each try is a run");
    let (begin, extract, fail, load, end) =
        (body(begin), body(extract), body(fail), body(load), body(end));
    let facets = &begin["job"]["facets"];
    assert_eq!(facets["documentation"]["description"], "# Orders");
    assert_eq!(facets["ownership"]["owners"], json!([{ "name": "data" }, { "name": "ops" }]));
    assert_eq!(facets["jobType"]["jobType"], "DAG");
    assert_eq!(facets["airflow"]["tasks"]["extract"]["downstream_task_ids"], json!(["load"]));
    let location = format!("dagbok://bundles/{}/a%20b/etl.py", "b".repeat(64));
    assert_eq!(facets["sourceCodeLocation"]["url"], location);
    assert_eq!(begin["run"]["facets"]["nominalTime"]["nominalEndTime"], "2024-01-02T00:00:00Z");
    let parent = &extract["run"]["facets"]["parent"];
    assert_eq!(parent["run"]["runId"], begin["run"]["runId"]);
    assert_eq!(parent["root"]["job"]["name"], "etl");
    assert_eq!(extract["inputs"][0]["namespace"], "s3://raw");
    let error = &fail["run"]["facets"]["errorMessage"];
    assert_eq!((&error["message"], &error["stackTrace"]), (&json!("no"), &json!("Traceback: no")));
    assert_eq!(load["job"]["facets"]["ownership"]["owners"], json!([{ "name": "ml" }]));
    let outputs: Vec<_> =
        load["outputs"].as_array().unwrap().iter().map(|it| &it["name"]).collect();
    assert_eq!(outputs, ["shop.public.orders", "late", "b"]);
    assert_eq!(load["outputs"][0]["facets"]["dagbok_asset"]["extra"], json!({ "rows": 3 }));
    assert_eq!(load["outputs"][1]["facets"]["dagbok_asset"]["aliases"], json!(["whatever"]));
    assert_eq!(load["run"]["facets"]["airflow"]["taskInstance"]["try_number"], 2);
    let states = &end["run"]["facets"]["airflowState"];
    assert_eq!(states["tasksState"], json!({ "extract": "success", "load": "success" }));
    assert!(events.iter().all(|event| !event.json.contains("secret")), "who logs in is not told");
}

#[test]
fn the_same_log_gives_the_same_events_wherever_it_was_broken_off() {
    let story = story();
    let whole = taken(&mut Lineage::default(), &story);
    for at in 0..story.len() {
        let mut first = Lineage::default();
        let mut events = taken(&mut first, &story[..at]);
        let kept = rmp_serde::to_vec_named(&first).unwrap();
        let mut second: Lineage = rmp_serde::from_slice(&kept).unwrap();
        events.extend(taken(&mut second, &story[at..]));
        assert_eq!(events, whole, "broken off before record {at}");
    }
}

/// What the operator of a try of `load` says.
fn told(n: u32, second: u32, lineage: &str) -> Record {
    let fact =
        json!({ "type": "LineageTold", "task_id": "load", "try_number": n, "lineage": lineage });
    record(second, &json!([fact]))
}

#[test]
fn what_an_operator_says_stands_in_the_event_of_its_end_beside_what_is_declared() {
    let lineage = json!({
        "inputs": [
            { "namespace": "file", "name": "/tmp/x", "facets": { "schema": { "fields": [] } },
              "inputFacets": { "inputStatistics": { "rowCount": 3 } } },
            { "namespace": "sqlite://a", "name": "main.a", "facets": { "bad": 3 } },
        ],
        "outputs": [
            { "namespace": "sqlite://a", "name": "main.b" },
            { "namespace": "postgres://db:5432", "name": "shop.public.orders",
              "facets": { "dagbok_asset": { "name": "forged" } } },
            { "namespace": "sqlite://a", "name": "main.b" },
        ],
        "run_facets": { "extractionError": { "totalTasks": 1 }, "parent": { "run": "forged" } },
        "job_facets": { "sql": { "_producer": "p", "_schemaURL": "s", "query": "SELECT 1" } },
    });
    let ends = |fact| record(6, &json!([fact]));
    for (end, word) in [(succeeded("load", 1, 6), "COMPLETE"), (failed("load", 1, 6), "FAIL")] {
        let records = [
            registered(),
            created(None),
            run_started(),
            started("load", 1, 3),
            // Of another try: it counts for none.
            told(2, 4, r#"{"inputs": [{"namespace": "n", "name": "other"}]}"#),
            told(1, 4, &lineage.to_string()),
            ends(end),
        ];
        let events = taken(&mut Lineage::default(), &records);
        assert_eq!(said(&events)[2], format!("{word} etl.load"));
        let (start, load) = (body(&events[1]), body(&events[2]));
        assert_eq!(start["inputs"].as_array().map(Vec::len), Some(1), "the start is over by then");
        let names = |side: &str| -> Vec<_> {
            let all = load[side].as_array().unwrap().iter();
            all.map(|it| it["name"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names("inputs"), ["/tmp/x", "main.a"]);
        assert_eq!(names("outputs"), ["shop.public.orders", "main.b"]);
        let first = &load["inputs"][0];
        assert_eq!(first["inputFacets"]["inputStatistics"]["rowCount"], 3);
        assert_eq!(first["facets"]["schema"]["_producer"], "urn:dagbok:0.1.0");
        assert_eq!(first["facets"]["dagbok_asset"]["uri"], "file:///tmp/x");
        assert_eq!(
            load["inputs"][1],
            json!({ "namespace": "sqlite://a", "name": "main.a", "facets": {} })
        );
        assert_eq!(load["outputs"][0]["facets"]["dagbok_asset"]["name"], "orders");
        let run = &load["run"]["facets"];
        assert_eq!(run["extractionError"]["totalTasks"], 1);
        assert_eq!(run["parent"]["job"]["name"], "etl", "what Dagbok says itself stands");
        let sql = json!({ "_producer": "p", "_schemaURL": "s", "query": "SELECT 1" });
        assert_eq!(load["job"]["facets"]["sql"], sql);
        assert_eq!(load["job"]["facets"]["jobType"]["jobType"], "TASK");
    }
}

#[test]
fn what_is_no_lineage_is_passed_over() {
    let end = |lineage: &str| {
        let ended = record(6, &json!([succeeded("load", 1, 6)]));
        let story = [
            registered(),
            created(None),
            run_started(),
            started("load", 1, 3),
            told(1, 4, lineage),
            ended,
        ];
        body(taken(&mut Lineage::default(), &story).last().unwrap())
    };
    let nothing = end("{}");
    for text in ["", "[]", "nonsense", r#"{"inputs": {}, "outputs": 3, "run_facets": []}"#] {
        assert_eq!(end(text), nothing, "{text}");
    }
    let said = json!({
        "inputs": [
            { "namespace": "", "name": "x" }, { "name": "x" }, 3, null, { "namespace": "s", "name": "x" },
            { "uri": "s3://u:p@lake/in" },
        ],
        "run_facets": { "bad": 3, "good": { "_producer": "", "a": 1 }, "own": { "_producer": "p", "_schemaURL": "s" } },
    });
    let load = end(&said.to_string());
    let found: Vec<_> =
        load["inputs"].as_array().unwrap()[1..].iter().map(|it| &it["namespace"]).collect();
    assert_eq!(found, ["s", "s3://lake"], "{load}");
    let facets = &load["run"]["facets"];
    let schema = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunFacet";
    assert_eq!(
        facets["good"],
        json!({ "_producer": "urn:dagbok:0.1.0", "_schemaURL": schema, "a": 1 })
    );
    assert_eq!(facets["own"], json!({ "_producer": "p", "_schemaURL": "s" }));
    assert_eq!(facets.get("bad"), None);
}

#[test]
fn a_run_that_is_ended_takes_its_tries_along() {
    let mut lineage = Lineage::default();
    let cancelled = json!({ "type": "TryCancelled", "task_id": "extract", "try_number": 1 });
    let records = [
        registered(),
        created(None),
        run_started(),
        started("extract", 1, 3),
        record(4, &json!([{ "type": "RunCancelled" }, cancelled])),
    ];
    let events = taken(&mut lineage, &records);
    assert_eq!(said(&events)[2..], ["ABORT etl.extract", "ABORT etl"]);
    // Cleared, it is another run of the same date; and one that is deleted is over, too.
    let records = [
        record(5, &json!([{ "type": "RunCleared" }])),
        record(6, &json!([{ "type": "RunStarted" }])),
        started("extract", 2, 7),
        record(8, &json!([{ "type": "RunDeleted" }])),
    ];
    let again = taken(&mut lineage, &records);
    assert_eq!(said(&again), ["START etl", "START etl.extract", "ABORT etl.extract", "ABORT etl"]);
    assert_ne!(events[0].run_id, again[0].run_id);
    assert_eq!(taken(&mut lineage, &[record(9, &json!([{ "type": "RunCleared" }]))]), []);
}

#[test]
fn what_never_began_is_not_told_and_teardowns_end_as_their_run_was_ended() {
    let cancelled = record(2, &json!([{ "type": "RunCancelled" }]));
    let events = taken(&mut Lineage::default(), &[registered(), created(None), cancelled]);
    assert_eq!(events, []);
    for (ends, said_of_it) in [
        (json!({ "type": "RunCancelled", "teardowns_left": true }), "ABORT etl"),
        (json!({ "type": "RunTimedOut", "teardowns_left": true }), "FAIL etl"),
    ] {
        let failed = json!([{ "type": "RunFailed", "failed": [] }]);
        let records = [
            registered(),
            created(None),
            run_started(),
            record(3, &json!([ends])),
            record(4, &failed),
        ];
        let events = taken(&mut Lineage::default(), &records);
        assert_eq!(said(&events), ["START etl", said_of_it]);
    }
    let lost =
        json!({ "type": "TryLost", "task_id": "extract", "try_number": 1, "why": "drained" });
    let records = [registered(), created(None), run_started(), record(3, &json!([lost]))];
    assert_eq!(said(&taken(&mut Lineage::default(), &records)), ["START etl"]);
}

#[test]
fn a_try_that_waits_in_between_is_one_run() {
    let deferred = json!({
        "type": "TryDeferred", "task_id": "extract", "try_number": 1, "ended_at": at(4), "usage": usage(),
        "trigger": { "class_path": "a.B", "kwargs": { "Inline": "{}" } }, "next_method": "go",
    });
    let rescheduled = json!({
        "type": "TryRescheduled", "task_id": "extract", "try_number": 1, "leg": 1, "ended_at": at(6),
        "due": at(7), "usage": usage(),
    });
    let skipped = json!({
        "type": "TrySkipped", "task_id": "extract", "try_number": 1, "leg": 2, "ended_at": at(8),
        "message": "none", "usage": usage(),
    });
    let records = [
        registered(),
        created(None),
        run_started(),
        started("extract", 1, 3),
        record(4, &json!([deferred])),
        leg("extract", 1, 1, 5),
        record(6, &json!([rescheduled])),
        leg("extract", 1, 2, 7),
        record(8, &json!([skipped])),
    ];
    let events = taken(&mut Lineage::default(), &records);
    let task = ["START etl.extract", "RUNNING etl.extract", "COMPLETE etl.extract"];
    assert_eq!(said(&events)[1..], task);
    assert!(events[1..].iter().all(|event| event.run_id == events[1].run_id));
}

#[test]
fn a_runs_conf_names_what_led_to_it_and_a_dag_that_is_not_known_is_told_all_the_same() {
    let id = "018cc251-f400-75c2-931d-9d03e93bb4c9";
    let conf = json!({ "openlineage": {
        "parentRunId": id, "parentJobNamespace": "other", "parentJobName": "outer",
    } });
    let records = [created(Some(&conf.to_string())), run_started(), started("extract", 1, 3)];
    let events = taken(&mut Lineage::default(), &records);
    let parent = &body(&events[0])["run"]["facets"]["parent"];
    assert_eq!(
        (&parent["run"]["runId"], &parent["root"]["run"]["runId"]),
        (&json!(id), &json!(id))
    );
    let root = &body(&events[1])["run"]["facets"]["parent"]["root"];
    assert_eq!(root["job"]["name"], "outer");
    for conf in ["{", "[]", r#"{"openlineage": {"parentRunId": "x", "parentJobName": "y"}}"#] {
        let events = taken(&mut Lineage::default(), &[created(Some(conf)), run_started()]);
        assert_eq!(body(&events[0])["run"]["facets"]["parent"], Value::Null, "{conf}");
    }
}
