//! What goes by the rules of what is kept, and which blobs nobody names any more.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod support;

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use dagbok_api::retention::{Forgetting, Lapsing, OldVersions, Plan, Rules, Sweep, Telling, sweep};
use dagbok_events::{
    DagDisappeared, DagForgotten, DagVersionsForgotten, Digest, ExecutorLeft, Fact, ForeignReport,
    HistoryForgotten, LeftWhy, Leg, LogRef, MapIndex, Micros, Payload, RefusedWhy, ReportRefused,
    RunCleared, RunDeleted, RunFailed, RunStarted, RunSucceeded, Scope, TaskCleared, Timestamp,
    XComPushed,
};
use dagbok_runlog::{BlobInfo, Blobs, PortError, PortResult};
use support::{
    World,
    story::{FIRST, Story, dag, executor, key, nth, spec, task},
};

const HOUR: u64 = 3_600;

/// The blobs' names of what a run leaves.
struct Left {
    log: String,
    value: String,
    conf: String,
}

async fn put(world: &World, text: String) -> String {
    world.ports.blobs.put(Bytes::from(text)).await.unwrap()
}

fn blob(digest: &str, size: u64) -> Payload {
    Payload::Blob { digest: Digest::new(digest.to_owned()).unwrap(), size }
}

/// A run of one task from its beginning to its end, with files.
async fn run(world: &World, dag: &str, id: &str, ends: bool) -> Left {
    let at = key(dag, id);
    let left = Left {
        log: put(world, format!("log {dag} {id}")).await,
        value: put(world, format!("value {dag} {id}")).await,
        conf: put(world, format!("conf {dag} {id}")).await,
    };
    let mut created = Story::creation(None);
    if let Fact::RunCreated(fact) = &mut created {
        fact.conf = Some(blob(&left.conf, 1_000));
    }
    world.story.in_run(&at, vec![created]).await;
    world.story.in_run(&at, vec![Fact::RunStarted(RunStarted {})]).await;
    world.story.queued(&at, "a", 1).await;
    world.story.started(&at, "a", 1, "e1").await;
    let mut pushed = Story::pushed("a", 1, "return_value", Some("1"));
    if let Fact::XComPushed(XComPushed { value, .. }) = &mut pushed {
        *value = Some(blob(&left.value, 100));
    }
    let digest = Digest::new(left.log.clone()).unwrap();
    let log = LogRef { digest, size: 10, lines: 1, dropped: 0, usage: None };
    world.story.in_run(&at, vec![pushed, Story::success("a", 1, Some(log))]).await;
    if ends {
        let over = if id.ends_with('f') {
            Fact::RunFailed(RunFailed { failed: vec![task("a")] })
        } else {
            Fact::RunSucceeded(RunSucceeded {})
        };
        world.story.in_run(&at, vec![over]).await;
    }
    left
}

async fn world() -> World {
    let world = World::new().await;
    world.story.joined("e1").await;
    for dag in ["one", "two"] {
        world.story.registered(spec(dag, &["a"]), 1).await;
    }
    world
}

fn plan(world: &World, rules: Rules, now: Timestamp, most: usize) -> Plan {
    Plan::make(&world.model.store(), rules, (now, None, most)).unwrap()
}

fn ids(plan: &Plan) -> Vec<&str> {
    plan.runs.iter().map(|going| going.run.run_id.as_str()).collect()
}

#[tokio::test]
async fn what_goes_is_the_oldest_that_is_over() {
    let world = world().await;
    for (dag, id, ends) in [
        ("one", "r1", true),
        ("two", "r2f", true),
        ("one", "r3", false),
        ("one", "r4", true),
        ("one", "r5f", true),
    ] {
        run(&world, dag, id, ends).await;
    }
    world.settled().await;
    let ended = |id: &str, dag: &str| {
        world.model.store().run(&key(dag, id)).unwrap().unwrap().end_date.unwrap()
    };
    let age = |hours| Rules { runs: Some(Duration::from_secs(hours * HOUR)), ..Rules::default() };
    let after = |at: Timestamp| at.plus(Micros::from_secs(i64::try_from(HOUR).unwrap()));
    let at = |at: Timestamp, rules| ids(&plan(&world, rules, at, 100)).join(" ");
    assert_eq!(at(after(ended("r1", "one")).plus(Micros(-1)), age(1)), "");
    assert_eq!(at(after(ended("r1", "one")), age(1)), "r1");
    assert_eq!(at(after(ended("r4", "one")), age(1)), "r1 r2f r4");
    let far = Timestamp(FIRST.0 + i64::from(u32::MAX) * 1_000_000);
    assert_eq!(at(far, age(1)), "r1 r2f r4 r5f", "what runs stays, however long");
    assert_eq!(at(far, Rules::default()), "", "no rule, nothing goes");
    let count = |keep| Rules { runs_per_dag: Some(keep), ..Rules::default() };
    assert_eq!(at(far, count(1)), "r1 r4");
    assert_eq!(at(far, count(2)), "r1");
    assert_eq!(at(far, count(3)), "");
    let both = Rules { runs_per_dag: Some(1), ..age(1) };
    assert_eq!(at(after(ended("r1", "one")), both), "r1 r4", "each once");
    assert_eq!(ids(&plan(&world, both, far, 2)), ["r1", "r2f"], "no more than were asked for");
    let one = Plan::make(&world.model.store(), age(1), (far, Some(&key("two", "x").dag_id), 9));
    assert_eq!(ids(&one.unwrap()), ["r2f"]);
    let whole = plan(&world, age(1), far, 100);
    assert_eq!(whole.count(), 4);
    let one = &whole.dags[&key("one", "x").dag_id];
    assert_eq!((one.runs, one.bytes), (3, 3 * 1_110));
    assert_eq!(one.ended, Some((ended("r1", "one"), ended("r5f", "one"))));
}

#[tokio::test]
async fn blobs_go_once_nobody_names_them() {
    let world = world().await;
    let gone = run(&world, "one", "r1", true).await;
    let stays = run(&world, "two", "r2", true).await;
    let shared = put(&world, "value one r1".to_owned()).await;
    assert_eq!(shared, gone.value);
    let stray = put(&world, "named by nobody".to_owned()).await;
    let hour = Duration::from_hours(1);
    let (hour_ago, later) = (SystemTime::now() - hour, SystemTime::now() + hour);
    world.settled().await;
    let there = |world: &World| {
        let blobs = world.ports.blobs.clone();
        async move {
            let page = blobs.list(None, 1_000).await.unwrap();
            page.into_iter().map(|info| info.digest).collect::<BTreeSet<_>>()
        }
    };
    let all = there(&world).await;
    let young = sweep(&world.model.store(), &*world.ports.blobs, hour_ago, Sweep::Delete).await;
    assert_eq!(young.unwrap().unnamed, 0, "nothing was put long ago");
    assert_eq!(there(&world).await, all);

    let counted = sweep(&world.model.store(), &*world.ports.blobs, later, Sweep::Count).await;
    assert_eq!(there(&world).await, all, "only counted");
    let old = sweep(&world.model.store(), &*world.ports.blobs, later, Sweep::Delete).await.unwrap();
    assert_eq!((old.unnamed, old.bytes), (1, 15));
    assert_eq!(counted.unwrap(), old);
    assert_eq!(&all - &there(&world).await, BTreeSet::from([stray]));

    // What another run names as well stays, though one of them goes.
    let at = key("two", "r2");
    let mut pushed = Story::pushed("a", 1, "also", Some("1"));
    if let Fact::XComPushed(XComPushed { value, .. }) = &mut pushed {
        *value = Some(blob(&gone.value, 100));
    }
    world.story.in_run(&at, vec![pushed]).await;
    let deleted = Fact::RunDeleted(RunDeleted { logical_date: None, tries: 1, ends: 0 });
    world.story.in_run(&key("one", "r1"), vec![deleted]).await;
    world.settled().await;
    sweep(&world.model.store(), &*world.ports.blobs, later, Sweep::Delete).await.unwrap();
    let left = there(&world).await;
    for digest in [&stays.log, &stays.value, &stays.conf, &gone.value] {
        assert!(left.contains(digest), "{digest} is named");
    }
    for digest in [&gone.log, &gone.conf] {
        assert!(!left.contains(digest), "{digest} is named by nobody");
    }
}

/// A clock that was a day ahead had told of all that would end within a day: what does is forgotten all the same.
#[tokio::test]
async fn a_clock_that_was_ahead_keeps_nothing_of_what_ends_later() {
    let world = world().await;
    run(&world, "one", "r1", true).await;
    world.settled().await;
    let ended =
        |id: &str| world.model.store().run(&key("one", id)).unwrap().unwrap().end_date.unwrap();
    let minute = Some(Duration::from_mins(1));
    let rules = Rules { logs: minute, xcoms: minute, ..Rules::default() };
    let plan = |now| {
        Forgetting::plan(&world.model.store(), rules, (now, None, &[]), Telling::All).unwrap()
    };
    let tell = |before| {
        let fact = HistoryForgotten {
            logs_of_runs_over_before: Some(before),
            xcoms_of_runs_over_before: Some(before),
            ..HistoryForgotten::default()
        };
        world.story.tell(Scope::Namespace, vec![Fact::HistoryForgotten(fact)])
    };
    tell(ended("r1").plus(Micros::from_secs(86_400))).await;
    world.settled().await;
    run(&world, "one", "r2", true).await;
    world.settled().await;
    let now = ended("r2").plus(Micros::from_secs(61));
    assert_eq!(plan(ended("r2")), Forgetting::default(), "a minute is not over");
    let one = |bytes| Lapsing { runs: 1, bytes, more: false };
    let found = plan(now);
    assert_eq!((found.logs, found.xcoms), (one(10), one(100)), "only the second is left");
    tell(ended("r2").plus(Micros(1))).await;
    world.settled().await;
    assert_eq!(plan(now), Forgetting::default());
    // From here on by the newest fact, over what both are about.
    run(&world, "one", "r3", true).await;
    world.settled().await;
    let found = plan(ended("r3").plus(Micros::from_secs(61)));
    assert_eq!((found.logs, found.xcoms), (one(10), one(100)));
    let going = [dagbok_api::retention::Going { run: key("one", "r3"), ended_at: None }];
    let now = ended("r3").plus(Micros::from_secs(61));
    let store = world.model.store();
    let found = Forgetting::plan(&store, rules, (now, None, &going), Telling::All).unwrap();
    assert_eq!(found.logs, Lapsing::default(), "it goes itself");
}

/// A store that can't delete some of what it has.
#[derive(Debug)]
struct Stuck {
    inner: Arc<dyn Blobs>,
    stuck: BTreeSet<String>,
}

#[async_trait]
impl Blobs for Stuck {
    async fn put(&self, bytes: Bytes) -> PortResult<String> {
        self.inner.put(bytes).await
    }

    async fn get(&self, digest: &str) -> PortResult<Option<Bytes>> {
        self.inner.get(digest).await
    }

    async fn has(&self, digest: &str) -> PortResult<bool> {
        self.inner.has(digest).await
    }

    async fn list(&self, after: Option<&str>, most: usize) -> PortResult<Vec<BlobInfo>> {
        self.inner.list(after, most).await
    }

    async fn delete(&self, digest: &str, put_since: SystemTime) -> PortResult<bool> {
        if self.stuck.contains(digest) {
            return Err(PortError::unavailable("blobs", "this one can't be deleted"));
        }
        self.inner.delete(digest, put_since).await
    }
}

#[tokio::test]
async fn what_cant_be_deleted_keeps_nothing_else() {
    let world = world().await;
    world.settled().await;
    let mut strays = Vec::new();
    for n in 0..20 {
        strays.push(put(&world, format!("stray {n}")).await);
    }
    let later = SystemTime::now() + Duration::from_hours(1);
    let stuck = |count: usize| Stuck {
        inner: Arc::clone(&world.ports.blobs),
        stuck: strays.iter().take(count).cloned().collect(),
    };
    let swept = sweep(&world.model.store(), &stuck(7), later, Sweep::Delete).await.unwrap();
    assert_eq!((swept.unnamed, swept.failed), (13, 7));
    for stray in &strays[..7] {
        assert!(world.ports.blobs.has(stray).await.unwrap());
    }
    for n in 0..20 {
        put(&world, format!("stray {n}")).await;
    }
    let away = sweep(&world.model.store(), &stuck(8), later, Sweep::Delete).await;
    assert!(away.unwrap_err().to_string().contains("can't be deleted"), "it is the store then");
}

/// Runs end; then their logs and values are forgotten, and one of them goes on.
#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story")]
async fn logs_and_values_go_before_their_runs_do() {
    let world = world().await;
    let old = run(&world, "one", "r1", true).await;
    let again = run(&world, "two", "r2", true).await;
    world.settled().await;
    let minute = Some(Duration::from_mins(1));
    let rules = Rules { logs: minute, xcoms: minute, ..Rules::default() };
    let store = || world.model.store();
    let ended = store().run(&key("two", "r2")).unwrap().unwrap().end_date.unwrap();
    let now = ended.plus(Micros::from_secs(61));
    let plan = |now| Forgetting::plan(&store(), rules, (now, None, &[]), Telling::All).unwrap();
    let found = plan(now);
    assert_eq!(
        (found.logs, found.xcoms),
        (Lapsing { runs: 2, bytes: 20, more: false }, Lapsing { runs: 2, bytes: 200, more: false })
    );
    assert_eq!(plan(ended), Forgetting::default(), "a minute is not over");
    let before = ended.plus(Micros(1));
    let fact = HistoryForgotten {
        logs_of_runs_over_before: Some(before),
        xcoms_of_runs_over_before: Some(before),
        ..HistoryForgotten::default()
    };
    let still = run(&world, "one", "r3", false).await;
    world.story.tell(Scope::Namespace, vec![Fact::HistoryForgotten(fact)]).await;
    world.settled().await;
    assert_eq!(plan(now).logs, Lapsing::default(), "they are forgotten");

    // What is said of a try, of a value, and of all values.
    let log = "/api/v2/dags/one/dagRuns/r1/taskInstances/a/logs/1";
    let (status, said) = world.get(log).await;
    assert_eq!(status, 404);
    let detail = said["detail"].as_str().unwrap();
    assert!(
        detail.contains("was kept until 20") && detail.ends_with("by retention.logs"),
        "{detail}"
    );
    let xcoms = "/api/v2/dags/one/dagRuns/r1/taskInstances/a/xcomEntries";
    let (status, said) = world.get(&format!("{xcoms}/return_value")).await;
    assert_eq!(status, 404);
    let detail = said["detail"].as_str().unwrap();
    assert!(detail.contains("was kept until 20") && detail.contains("retention.xcoms"), "{detail}");
    let (_, said) = world.get(&format!("{xcoms}/other")).await;
    assert!(said["detail"].as_str().unwrap().contains("nothing named"), "{said}");
    let (_, said) = world.get(xcoms).await;
    assert_eq!(said["total_entries"], 0);
    assert!(said["kept_until"].is_string(), "{said}");
    let (_, said) = world.get(&format!("{xcoms}?xcom_key=other")).await;
    assert!(said["kept_until"].is_null(), "nothing of that name was ever there: {said}");
    let (_, shown) = world.get("/api/v2/dags/one/dagRuns/r1/taskInstances/a/tries").await;
    let extra = &shown["task_instances"][0]["dagbok"];
    assert!(extra["log"].is_null() && extra["log_kept_until"].is_string(), "{extra}");

    // One goes on, and has another value and another log: those stay.
    let at = key("two", "r2");
    let goes_on = RunCleared { was: None, ended: false, xcoms_kept_until: Some(ended) };
    let map_index = MapIndex::UNMAPPED;
    let cleared = TaskCleared { task_id: task("a"), map_index, further: 0, was: vec![] };
    let cleared = Fact::TaskCleared(cleared);
    world.story.in_run(&at, vec![Fact::RunCleared(goes_on), cleared]).await;
    world.story.queued(&at, "a", 2).await;
    world.story.started(&at, "a", 2, "e1").await;
    let fresh = put(&world, "another log".to_owned()).await;
    let digest = Digest::new(fresh.clone()).unwrap();
    let log = LogRef { digest, size: 10, lines: 1, dropped: 0, usage: None };
    let pushed = Story::pushed("a", 2, "return_value", Some("2"));
    world.story.in_run(&at, vec![pushed, Story::success("a", 2, Some(log))]).await;
    world.settled().await;
    let logs = "/api/v2/dags/two/dagRuns/r2/taskInstances/a/logs";
    assert_eq!(world.get(&format!("{logs}/1")).await.0, 404);
    assert_eq!(world.get(&format!("{logs}/2")).await.0, 200);
    let (_, said) =
        world.get("/api/v2/dags/two/dagRuns/r2/taskInstances/a/xcomEntries/return_value").await;
    assert_eq!(said["value"], 2);

    let later = SystemTime::now() + Duration::from_hours(1);
    sweep(&store(), &*world.ports.blobs, later, Sweep::Delete).await.unwrap();
    for gone in [&old.log, &old.value, &again.log] {
        assert!(!world.ports.blobs.has(gone).await.unwrap());
    }
    for stays in [&old.conf, &again.conf, &fresh, &still.log, &still.value, &still.conf] {
        assert!(world.ports.blobs.has(stays).await.unwrap());
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one story")]
async fn what_nothing_has_any_more_is_forgotten() {
    let world = world().await;
    let one = key("one", "x").dag_id;
    for number in 2..=4 {
        run(&world, "one", &format!("r{number}"), true).await;
        world.story.registered(spec("one", &["a", "b"]), number).await;
    }
    world
        .story
        .tell(
            Scope::Executor(executor("e1")),
            vec![Fact::ExecutorLeft(ExecutorLeft { why: LeftWhy::Drained })],
        )
        .await;
    world.story.joined("e2").await;
    let refused = Fact::ReportRefused(Box::new(ReportRefused {
        task_id: task("a"),
        map_index: MapIndex::UNMAPPED,
        try_number: nth(1),
        leg: Leg::default(),
        report: ForeignReport::Succeeded,
        executor: executor("e1"),
        why: RefusedWhy::NotInFlight,
        usage: None,
        log: None,
    }));
    world.story.registered(spec("three", &["a"]), 1).await;
    run(&world, "three", "r1", false).await;
    world.story.in_run(&key("three", "r1"), vec![refused]).await;
    let gone = Fact::DagDisappeared(DagDisappeared { file: "two.py".into(), file_gone: true });
    world.story.tell(Scope::Dag(dag("two")), vec![gone]).await;
    world.settled().await;
    let far = Timestamp(FIRST.0 + i64::from(u32::MAX) * 1_000_000);
    let year = Some(Duration::from_hours(24 * 365));
    let rules =
        Rules { dags: year, versions: year, executors: year, reports: year, ..Rules::default() };
    let plan = |rules, now| {
        Forgetting::plan(&world.model.store(), rules, (now, None, &[]), Telling::All).unwrap()
    };
    let all = plan(rules, far);
    assert_eq!(all.dags, [key("two", "x").dag_id]);
    assert_eq!((all.executors, all.reports), (1, 1));
    assert!(all.versions.is_empty(), "a run has the first");
    assert_eq!(plan(Rules::default(), far), Forgetting::default(), "no rule, nothing goes");
    assert_eq!(plan(rules, FIRST), Forgetting::default(), "all is young");
    let deleted = |id: &str| {
        let fact = Fact::RunDeleted(RunDeleted { logical_date: None, tries: 1, ends: 0 });
        (key("one", id), fact)
    };
    for (run, fact) in [deleted("r2"), deleted("r3"), deleted("r4")] {
        world.story.in_run(&run, vec![fact]).await;
    }
    world.settled().await;
    let old = plan(rules, far).versions;
    assert_eq!(old, [OldVersions { dag_id: one.clone(), below: 4, count: 3 }]);

    let before = HistoryForgotten {
        executors_left_before: Some(far),
        reports_refused_before: Some(far),
        backfills_over_before: Some(far),
        ..HistoryForgotten::default()
    };
    world.story.tell(Scope::Namespace, vec![Fact::HistoryForgotten(before)]).await;
    let below = DagVersionsForgotten { below: 4 };
    world.story.tell(Scope::Dag(dag("one")), vec![Fact::DagVersionsForgotten(below)]).await;
    world.story.tell(Scope::Dag(dag("two")), vec![Fact::DagForgotten(DagForgotten {})]).await;
    world.settled().await;
    assert_eq!(plan(rules, far), Forgetting::default(), "all of it went");
    let store = world.model.store();
    assert!(store.dag(&key("two", "x").dag_id).unwrap().is_none());
    assert_eq!(store.first_version(&one).unwrap(), Some(4));
    assert!(store.version(&one, 3).unwrap().is_none());
    assert!(store.version(&one, 4).unwrap().is_some());
}
