//! What the web UI is sent: snapshots of views, and patches that make the next snapshot of the last.

#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod support;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::body::BodyDataStream;
use dagbok_alerts::{AlertFact, AlertOpened, AlertRecord, AlertScope, By, Rule};
use dagbok_api::model::rows::{RunState, TaskInstanceState};
use dagbok_events::{
    Fact, Micros, RuledOut, RunFailed, RunKey, RunStarted, Timestamp, encode, encode_packed,
    subject_of,
};
use dagbok_runlog::{Draft, RunLog, Seq, memory};
use dagbok_runtime::Clock;
use futures::StreamExt as _;
use serde_json::{Value, json};
use support::{
    PATIENCE, SOON, World, liars,
    story::{FIRST, Story, key, spec, task},
};

const UI: &str = "/api/v2/dagbok/ui";

/// A chain of which `a` succeeds, `b` fails twice and `c` is ruled out.
async fn told() -> World {
    let world = World::new().await;
    world.story.registered(spec("chain", &["a", "b", "c"]), 1).await;
    world.story.joined("exec-1").await;
    let run = key("chain", "one");
    world.story.created(&run).await;
    world.story.queued(&run, "a", 1).await;
    world.story.started(&run, "a", 1, "exec-1").await;
    let facts = vec![
        Story::pushed("a", 1, "return_value", Some(r#"{"rows": 3}"#)),
        Story::success("a", 1, None),
        Story::queueing("b", 1),
    ];
    world.story.in_run(&run, facts).await;
    world.story.started(&run, "b", 1, "exec-1").await;
    let failed = Fact::RunFailed(RunFailed { failed: vec![task("b")] });
    let facts =
        vec![Story::failure("b", 1, None), Story::ruled_out("c", RuledOut::UpstreamFailed), failed];
    world.story.in_run(&run, facts).await;
    world.settled().await;
    world
}

#[tokio::test]
async fn a_run_says_which_task_failed_and_with_what_words() {
    let world = told().await;
    let run = world.ok(&format!("{UI}/runs/chain/one")).await;
    assert_eq!((&run["state"], &run["failure"]["task_id"]), (&json!("failed"), &json!("b")));
    let failure = world.ok("/api/v2/dags/chain/dagRuns/one/taskInstances/b").await;
    assert_eq!(run["failure"]["message"], failure["dagbok"]["failure"]["message"]);
    let states: Vec<&str> =
        ["00000", "00001", "00002"].map(|at| run["tasks"][at]["state"].as_str().unwrap()).into();
    assert_eq!(states, ["success", "failed", "upstream_failed"]);
    assert_eq!(run["seq"], json!(world.story.last().0));
    let task = world.ok(&format!("{UI}/tasks/chain/one/a")).await;
    assert_eq!(task["xcoms"][0]["text"], json!(r#"{"rows": 3}"#));
    assert_eq!(task["downstream"], json!(["b"]));
}

#[tokio::test]
async fn a_dag_has_a_column_of_each_run_and_two_digits_of_each_task() {
    let world = told().await;
    let dag = world.ok(&format!("{UI}/dags/chain")).await;
    assert_eq!(
        (&dag["order"], &dag["columns"]["one"]["cells"]),
        (&json!(["one"]), &json!("415180"))
    );
    let list = world.ok(&format!("{UI}/dags")).await;
    assert_eq!((&list["total"], &list["dags"][0]["runs"]["failed"]), (&json!(1), &json!(1)));
    for (query, total) in
        [("chai", 1), ("other", 0), ("is:failed", 1), ("is:paused", 0), ("tag:none", 0)]
    {
        assert_eq!(
            world.ok(&format!("{UI}/dags?q={query}")).await["total"],
            json!(total),
            "{query}"
        );
    }
}

#[tokio::test]
async fn homes_numbers_are_those_of_the_lists_behind_them() {
    let world = told().await;
    let home = world.ok(&format!("{UI}/home")).await;
    let since = home["since"].as_str().unwrap();
    for (number, state) in [("failed", "failed"), ("succeeded", "success")] {
        let list = format!("/api/v2/dags/~/dagRuns?state={state}&end_date_gte={since}");
        assert_eq!(home["verdict"][number], world.ok(&list).await["total_entries"], "{number}");
    }
    let failed = home["failed"].as_array().unwrap().len();
    assert_eq!(home["verdict"]["failed"], json!(failed));
}

/// As RFC 7396 says.
fn merged(target: &Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut target = target.as_object().cloned().unwrap_or_default();
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            let before = target.remove(name).unwrap_or(Value::Null);
            target.insert(name.clone(), merged(&before, value));
        }
    }
    Value::Object(target)
}

#[tokio::test]
async fn a_stream_goes_on_from_the_snapshot_that_is_at_hand() {
    let world = told().await;
    let old = world.ok(&format!("{UI}/dags/chain")).await;
    let mark = old["mark"].as_str().unwrap();
    let path = format!("{UI}/stream?view=dag&dag_id=chain&seq={}&mark={mark}", old["seq"]);
    let mut body = world.get_with(&path, &[]).await.into_body().into_data_stream();
    let last = world.story.created(&key("chain", "two")).await;
    let (mut made, mut text) = (old, String::new());
    // A snapshot that was being read while the record came shows a part of it, and the next one all.
    while made["seq"].as_u64().unwrap() < last.0 {
        let part = body.next().await.unwrap().unwrap();
        text.push_str(str::from_utf8(&part).unwrap());
        assert!(!text.contains("event: snapshot"), "what is at hand comes once");
        while let Some((event, rest)) = text.split_once("\n\n") {
            if let Some(data) = event.lines().find_map(|line| line.strip_prefix("data: ")) {
                let data = serde_json::from_str::<Value>(data).unwrap();
                made = merged(&made, &data["patch"]);
                made["seq"] = data["seq"].clone();
            }
            text = rest.to_owned();
        }
    }
    let mut new = world.ok(&format!("{UI}/dags/chain")).await;
    for it in [&mut new, &mut made] {
        it.as_object_mut().unwrap().retain(|name, _| name != "as_of" && name != "seq");
    }
    assert_eq!(made, new);
    assert_eq!(made["order"], json!(["one", "two"]));
    // Who has nothing gets the whole first.
    let path = format!("{UI}/stream?view=dag&dag_id=chain");
    let mut body = world.get_with(&path, &[]).await.into_body().into_data_stream();
    let first = body.next().await.unwrap().unwrap();
    assert!(str::from_utf8(&first).unwrap().contains("event: snapshot"));
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let world = told().await;
    for path in [
        "dags/none",
        "runs/chain/none",
        "tasks/chain/one/none",
        "stream?view=run&dag_id=chain&run_id=none",
    ] {
        assert_eq!(world.get(&format!("{UI}/{path}")).await.0, 404, "{path}");
    }
    assert_eq!(world.get(&format!("{UI}/stream?view=nothing")).await.0, 422);
}

/// Events of a stream, one by one.
struct Events {
    body: BodyDataStream,
    text: String,
}

impl Events {
    async fn of(world: &World, path: &str) -> Self {
        let body = world.get_with(path, &[]).await.into_body().into_data_stream();
        Self { body, text: String::new() }
    }

    /// The kind and the data of the next one.
    async fn next(&mut self) -> (String, Value) {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let line = |name: &str| {
                    event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned)
                };
                let found = line("event: ").zip(line("data: "));
                let left = rest.len();
                self.text = self.text.split_off(self.text.len() - left);
                if let Some((kind, data)) = found {
                    return (kind, serde_json::from_str(&data).unwrap());
                }
            }
            let part = tokio::time::timeout(SOON, self.body.next()).await.unwrap();
            self.text.push_str(str::from_utf8(&part.unwrap().unwrap()).unwrap());
        }
    }
}

/// An alert about a run, as the alert log has it.
fn opened(id: u64, run: &RunKey) -> Draft {
    let labels = BTreeMap::from([("dag".to_owned(), run.dag_id.to_string())]);
    let opened = AlertOpened {
        id,
        rule: Rule::RunFailed,
        scope: AlertScope::Dag(run.dag_id.clone()),
        generation: 1,
        dedup_key: format!("key-{id}"),
        labels,
        summary: "a run failed".to_owned(),
        details: Vec::new(),
        causes: Vec::new(),
        since: FIRST,
        run: Some(run.clone()),
        trace: None,
        only: None,
    };
    let facts = vec![AlertFact::AlertOpened(Box::new(opened))];
    let record = AlertRecord { at: FIRST, by: By::Rules, reason: None, seen: 0, facts };
    Draft { subject: "alert".to_owned(), payload: encode_packed(&record, 1 << 20).into() }
}

/// A world with a log of alerts, and a run in it.
async fn alerting() -> (World, Arc<memory::MemoryLog>, RunKey) {
    let log = Arc::new(memory::MemoryLog::default());
    let alerts: Arc<dyn RunLog> = log.clone();
    let clock = Clock::manual(FIRST);
    let world = World::built(memory::ports(), PATIENCE, clock, Some(alerts)).await;
    world.story.registered(spec("chain", &["a", "b", "c"]), 1).await;
    let run = key("chain", "one");
    world.story.created(&run).await;
    world.settled().await;
    (world, log, run)
}

#[tokio::test]
async fn a_runs_page_hears_of_its_alert_though_its_run_does_not_change() {
    let (world, log, run) = alerting().await;
    let mut events =
        Events::of(&world, &format!("{UI}/stream?view=run&dag_id=chain&run_id=one")).await;
    assert_eq!(events.next().await.0, "snapshot");
    log.append(Seq::ZERO, vec![opened(1, &run)]).await.unwrap();
    let (kind, data) = events.next().await;
    assert_eq!((kind.as_str(), &data["patch"]["told"]["alert_id"]), ("patch", &json!(1)));
}

#[tokio::test]
async fn who_comes_back_hears_what_alerts_said_meanwhile() {
    let (world, log, run) = alerting().await;
    let old = world.ok(&format!("{UI}/runs/chain/one")).await;
    log.append(Seq::ZERO, vec![opened(1, &run)]).await.unwrap();
    let (seq, mark) = (&old["seq"], old["mark"].as_str().unwrap());
    // It is folded once a snapshot has it: the run's own sequence is as before.
    let new = loop {
        let new = world.ok(&format!("{UI}/runs/chain/one")).await;
        if new["mark"] != old["mark"] {
            break new;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(&new["seq"], seq);
    let view = format!("{UI}/stream?view=run&dag_id=chain&run_id=one");
    let mut events = Events::of(&world, &format!("{view}&seq={seq}&mark={mark}")).await;
    let (kind, data) = events.next().await;
    assert_eq!((kind.as_str(), &data["told"]["alert_id"]), ("snapshot", &json!(1)));
    let id = format!("{seq}-{}", new["mark"].as_str().unwrap());
    let answer = world.get_with(&view, &[("last-event-id", id.as_str())]).await;
    let mut body = answer.into_body().into_data_stream();
    let first = body.next().await.unwrap().unwrap();
    assert!(!str::from_utf8(&first).unwrap().contains("event: snapshot"), "it has it already");
}

#[tokio::test]
async fn a_log_that_never_rests_does_not_keep_the_time_of_a_page_still() {
    let (world, _, _) = alerting().await;
    world.story.registered(spec("another", &["a"]), 1).await;
    world.settled().await;
    let mut events =
        Events::of(&world, &format!("{UI}/stream?view=run&dag_id=chain&run_id=one")).await;
    assert_eq!(events.next().await.0, "snapshot");
    let busy = async {
        for number in 0.. {
            world.story.created(&key("another", &format!("run_{number}"))).await;
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
    };
    let (kind, data) = tokio::select! {
        event = events.next() => event,
        () = busy => unreachable!("it never ends"),
    };
    assert_eq!((kind.as_str(), &data["patch"]), ("patch", &json!({})));
}

/// A namespace of a random history, a while after its end.
async fn told_at_random(seed: u64) -> (World, Timestamp) {
    let ports = memory::ports();
    let records = liars::records(seed, 260);
    let now = records.last().unwrap().at.plus(Micros::from_secs(90));
    let drafts = records
        .iter()
        .map(|record| Draft { subject: subject_of(&record.scope), payload: encode(record).into() });
    let last = ports.log.append(Seq::ZERO, drafts.collect()).await.unwrap();
    let world = World::built(ports, PATIENCE, Clock::manual(now), None).await;
    assert!(world.model.progress().wait_for(last, SOON).await);
    (world, now)
}

async fn total(world: &World, list: &str) -> Value {
    world.ok(&format!("/api/v2/{list}")).await["total_entries"].clone()
}

fn sum(rows: &Value, of: &str) -> u64 {
    rows.as_array().unwrap().iter().map(|row| row[of].as_u64().unwrap()).sum()
}

/// Each number of home is that of the list its link leads to.
async fn assert_home(world: &World, now: Timestamp, seed: u64) {
    let home = world.ok(&format!("{UI}/home")).await;
    let (verdict, since) = (&home["verdict"], home["since"].as_str().unwrap());
    for (number, list) in [
        ("failed", format!("dags/~/dagRuns?state=failed&end_date_gte={since}")),
        ("succeeded", format!("dags/~/dagRuns?state=success&end_date_gte={since}")),
        ("running", "dags/~/dagRuns?state=running".to_owned()),
        ("queued", "dags/~/dagRuns?state=queued".to_owned()),
        ("import_errors", "importErrors".to_owned()),
    ] {
        assert_eq!(verdict[number], total(world, &list).await, "seed {seed}: {number}");
    }
    for (number, query) in [("dags", ""), ("paused", "?q=is:paused")] {
        let list = world.ok(&format!("{UI}/dags{query}")).await;
        assert_eq!(verdict[number], list["total"], "seed {seed}: {number}");
    }
    assert_eq!(verdict["failed"], json!(home["failed"].as_array().unwrap().len()), "seed {seed}");
    let board = world.ok(&format!("{UI}/expected")).await;
    let promised = verdict["late"].as_u64().unwrap() + verdict["missed"].as_u64().unwrap();
    assert_eq!(promised, sum(&board["late"], "count"), "seed {seed}: late or missed");
    assert_eq!(board["late_count"], json!(board["late"].as_array().unwrap().len()));
    // Apart from every index: all runs, one by one.
    let waits = move |run: &dagbok_api::model::rows::RunRow| {
        let of = |state| run.counts.get(&state).copied().unwrap_or(0);
        let tasks = of(TaskInstanceState::Queued) + of(TaskInstanceState::Scheduled);
        now.since(run.updated_at) >= Micros::from_secs(60)
            && (run.state == RunState::Queued || run.state == RunState::Running && tasks > 0)
    };
    let runs = world.model.store().runs(None).unwrap();
    let failing = runs.iter().filter(|run| {
        run.state == RunState::Running
            && run.counts.get(&TaskInstanceState::Failed).copied().unwrap_or(0) > 0
    });
    assert_eq!(verdict["failing"], json!(failing.count()), "seed {seed}: failing");
    assert_eq!(verdict["failing"], json!(home["failing"].as_array().unwrap().len()));
    let found = runs.iter().filter(|run| waits(run)).count();
    assert_eq!(verdict["waiting"], json!(found), "seed {seed}: waiting");
    assert_eq!(verdict["waiting"], json!(board["waiting"].as_array().unwrap().len()));
    let shown = home["waiting"].as_array().unwrap();
    assert_eq!(shown[..], board["waiting"].as_array().unwrap()[..shown.len()]);
}

/// The same of the list of DAGs, and of each DAG's grid and runs: cells are the states of their tasks.
async fn assert_dags(world: &World, seed: u64) {
    let list = world.ok(&format!("{UI}/dags?q=is:stale")).await;
    let here = world.ok(&format!("{UI}/dags")).await;
    for row in [&list["dags"], &here["dags"]].into_iter().flat_map(|rows| rows.as_array().unwrap())
    {
        let id = row["dag_id"].as_str().unwrap();
        for (state, count) in row["runs"].as_object().unwrap() {
            let rows = total(world, &format!("dags/{id}/dagRuns?state={state}")).await;
            assert_eq!(*count, rows, "seed {seed}: {id} {state}");
        }
        let dag = world.ok(&format!("{UI}/dags/{id}")).await;
        assert_eq!(dag["total_runs"], total(world, &format!("dags/{id}/dagRuns")).await);
        for run in dag["order"].as_array().unwrap() {
            assert_run(world, &dag, run.as_str().unwrap(), seed).await;
        }
    }
}

async fn assert_run(world: &World, dag: &Value, run_id: &str, seed: u64) {
    const DIGITS: &str = "0123456789abc";
    const WORDS: [&str; 13] = [
        "none",
        "scheduled",
        "queued",
        "running",
        "success",
        "failed",
        "up_for_retry",
        "skipped",
        "upstream_failed",
        "removed",
        "up_for_reschedule",
        "none",
        "deferred",
    ];
    let id = dag["dag"]["dag_id"].as_str().unwrap();
    let run = world.ok(&format!("{UI}/runs/{id}/{run_id}")).await;
    let list = format!("/api/v2/dags/{id}/dagRuns/{run_id}/taskInstances?limit=1000");
    let rows = world.ok(&list).await;
    // All rows of the run: forged reports name tasks that its DAG does not have, which no list shows.
    let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
    for row in world.model.store().tasks(&key(id, run_id)).unwrap() {
        *counts.entry(row.state.word()).or_default() += 1;
    }
    let cells: Vec<char> = dag["columns"][run_id]["cells"].as_str().unwrap().chars().collect();
    for (at, task) in dag["tasks"].as_array().unwrap().iter().enumerate() {
        let mine = rows["task_instances"]
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["task_id"] == task["task_id"] && row["map_index"] == json!(-1));
        // Of a mapped task the cell is its copies'.
        let mut known = run["tasks"].as_object().unwrap().values();
        let is_mapped =
            known.any(|it| it["task_id"] == task["task_id"] && it["copies"].is_object());
        // And of a run whose version nobody registered no task is known.
        let is_known = !run["tasks"].as_object().unwrap().is_empty();
        let Some(mine) = mine.filter(|_| is_known && !is_mapped) else { continue };
        let shown = DIGITS.find(cells[at * 2]).map(|digit| WORDS[digit]);
        let want = mine["state"].as_str().unwrap_or("none");
        assert_eq!(shown, Some(want), "seed {seed}: {id} {run_id} {}", task["task_id"]);
    }
    for (state, count) in run["counts"].as_object().unwrap() {
        let found = counts.get(state.as_str()).copied().unwrap_or(0);
        assert!(
            state == "none" || count.as_u64() == Some(found),
            "seed {seed}: {id} {run_id} {state}: {count}, and {found} rows"
        );
    }
}

#[tokio::test]
async fn every_number_is_that_of_the_rows_behind_it_whatever_happened() {
    for seed in 0..16 {
        let (world, now) = told_at_random(seed).await;
        assert_home(&world, now, seed).await;
        assert_dags(&world, seed).await;
    }
}

#[tokio::test]
async fn a_pool_names_who_holds_it_and_what_is_to_come() {
    let world = World::new().await;
    world.story.registered(spec("chain", &["a", "b", "c"]), 1).await;
    world.story.joined("exec-1").await;
    let run = key("chain", "one");
    world.story.created(&run).await;
    world.story.in_run(&run, vec![Fact::RunStarted(RunStarted {})]).await;
    world.story.queued(&run, "a", 1).await;
    world.story.started(&run, "a", 1, "exec-1").await;
    world.story.queued(&run, "b", 1).await;
    world.settled().await;
    let all = world.ok(&format!("{UI}/pools")).await;
    let pool = &all["pools"][0];
    assert_eq!((&pool["name"], &all["complete"]), (&json!("default_pool"), &json!(true)));
    let names = |of: &str| -> Vec<String> {
        let tasks = pool[of].as_array().unwrap().iter();
        tasks.map(|task| task["task_id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        (names("holders"), names("to_come")),
        (vec!["a".into(), "b".into()], vec!["c".into()])
    );
    let held = sum(&pool["holders"], "slots");
    let counted = pool["running"].as_u64().unwrap() + pool["queued"].as_u64().unwrap();
    assert_eq!((held, counted), (2, 2), "counters and rows say the same");
}

#[tokio::test]
async fn the_past_says_what_each_run_and_each_task_took() {
    let world = told().await;
    let past = world.ok(&format!("{UI}/dags/chain/past")).await;
    assert_eq!((&past["runs"], &past["complete"]), (&json!(1), &json!(true)));
    assert_eq!(past["points"][0]["state"], json!("failed"));
    assert_eq!(past["days"][0]["states"], json!({ "failed": 1 }));
    let counts =
        |at: usize| (past["tasks"][at]["succeeded"].clone(), past["tasks"][at]["failed"].clone());
    assert_eq!((counts(0), counts(1)), ((json!(1), json!(0)), (json!(0), json!(1))));
    let of = world.ok(&format!("{UI}/dags/chain/past?task_id=a")).await;
    assert_eq!(of["p50"], of["points"][0]["took"], "of one try the middle is its own");
    let (status, _) = world.get(&format!("{UI}/dags/chain/past?task_id=none")).await;
    assert_eq!(status, 404);
}
