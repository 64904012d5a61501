//! The fold of a small log: same facts, same numbers.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests panic where a value is not what it must be"
)]
use dagbok_events::{
    Actor, ExecutorId, Fact, Failure, FailureKind, Fault, Interval, Leg, MapIndex, PoolName,
    QueueName, Record, RunCreated, RunKey, RunStarted, RunSucceeded, RunType, Scope, TaskId,
    TaskQueued, Timestamp, TryFailed, TryNumber, TryStarted, TrySucceeded, Usage,
};
use dagbok_metrics::{
    AlertLedger, Detail, INSTRUMENTS, Ledger, Source, Spans,
    airflow::{AIRFLOW_NAMES, Sample, Standing, dotted, of_note},
    parse,
};
use serde::Deserialize;

fn second(n: f64) -> Timestamp {
    #[expect(clippy::cast_possible_truncation, reason = "whole microseconds")]
    Timestamp((n * 1e6) as i64)
}

fn key() -> RunKey {
    RunKey { dag_id: "etl".parse().unwrap(), run_id: "r1".parse().unwrap() }
}

fn record(at: f64, facts: Vec<Fact>) -> Record {
    let scope = Scope::Run(key());
    let (by, at) = (Actor::Scheduler, second(at));
    Record { at, clock: None, scope, by, reason: None, cause: None, trace: None, facts }
}

fn created(due: f64) -> Fact {
    Fact::RunCreated(Box::new(RunCreated {
        run_type: RunType::Scheduled,
        logical_date: Some(second(0.0)),
        data_interval: Some(Interval { start: second(0.0), end: second(due) }),
        run_after: second(due),
        version: version_one(),
        bundle: "0".repeat(64).parse().unwrap(),
        conf: None,
        note: None,
        asset_events: vec![],
        asset_events_left_out: 0,
        partition: None,
        backfill_id: None,
    }))
}

fn version_one<T: for<'a> Deserialize<'a>>() -> T {
    rmp_serde::from_slice(&rmp_serde::to_vec(&1_u32).unwrap()).unwrap()
}

fn queued(task: &str, n: u16) -> Fact {
    Fact::TaskQueued(TaskQueued {
        task_id: TaskId::new(task).unwrap(),
        map_index: MapIndex::UNMAPPED,
        try_number: TryNumber::new(n).unwrap(),
        leg: Leg::FIRST,
        pool: PoolName::new("default_pool").unwrap(),
        pool_slots: 2,
        queue: QueueName::new("gpu").unwrap(),
    })
}

fn started(task: &str, n: u16, at: f64) -> Fact {
    Fact::TryStarted(Box::new(TryStarted {
        task_id: TaskId::new(task).unwrap(),
        map_index: MapIndex::UNMAPPED,
        try_number: TryNumber::new(n).unwrap(),
        leg: Leg::FIRST,
        executor: ExecutorId::new("e").unwrap(),
        hostname: "h".into(),
        pid: 1,
        started_at: second(at),
        inputs: std::collections::BTreeMap::new(),
    }))
}

fn succeeded(task: &str, n: u16, at: f64) -> Fact {
    Fact::TrySucceeded(Box::new(TrySucceeded {
        task_id: TaskId::new(task).unwrap(),
        map_index: MapIndex::UNMAPPED,
        try_number: TryNumber::new(n).unwrap(),
        leg: Leg::FIRST,
        ended_at: second(at),
        usage: Usage { max_rss_bytes: 1, user_us: 1_500_000, system_us: 0 },
        log: None,
        skips: vec![],
    }))
}

fn failed(task: &str, n: u16, at: f64, retry_at: Option<f64>) -> Fact {
    Fact::TryFailed(Box::new(TryFailed {
        task_id: TaskId::new(task).unwrap(),
        map_index: MapIndex::UNMAPPED,
        try_number: TryNumber::new(n).unwrap(),
        leg: Leg::FIRST,
        ended_at: second(at),
        failure: Failure {
            kind: FailureKind::Exception,
            fault: Fault::User,
            message: "no".into(),
            exception: None,
            traceback: None,
            traceback_blob: None,
            file: None,
            line: None,
            signal: None,
            exit_code: None,
            retryable: true,
            retry_delay: None,
            retry_reason: None,
            out_of_memory: None,
        },
        retry_at: retry_at.map(second),
        usage: Usage::default(),
        log: None,
    }))
}

/// A run that is due at 10, made at 11, and over at 20; its second task fails once.
fn log() -> Vec<Record> {
    vec![
        record(11.0, vec![created(10.0)]),
        record(11.5, vec![Fact::RunStarted(RunStarted {}), queued("a", 1)]),
        record(12.0, vec![started("a", 1, 12.0)]),
        record(14.0, vec![succeeded("a", 1, 14.0), queued("b", 1)]),
        record(14.25, vec![started("b", 1, 14.25)]),
        record(15.0, vec![failed("b", 1, 15.0, Some(16.0))]),
        record(16.0, vec![queued("b", 2)]),
        record(17.0, vec![started("b", 2, 17.0)]),
        record(20.0, vec![succeeded("b", 2, 20.0), Fact::RunSucceeded(RunSucceeded {})]),
    ]
}

fn folded(records: &[Record]) -> Ledger {
    let mut ledger = Ledger::new(true);
    for (seq, record) in (1..).zip(records) {
        ledger.take(seq, record);
    }
    ledger
}

fn has(text: &str, line: &str) {
    assert!(text.lines().any(|it| it == line), "`{line}` is not in\n{text}");
}

#[test]
fn a_run_is_counted_and_measured() {
    let text = folded(&log()).text(Detail::All);
    for line in [
        "dagbok_runs_created_total{run_type=\"scheduled\"} 1",
        "dagbok_runs_ended_total{state=\"success\"} 1",
        "dagbok_runs_ended_total{state=\"failed\"} 0",
        "dagbok_dag_runs_ended_total{dag_id=\"etl\",state=\"success\"} 1",
        "dagbok_dag_run_duration_seconds{dag_id=\"etl\",quantile=\"0.95\"} 8.5",
        "dagbok_run_duration_seconds_sum{state=\"success\"} 8.5",
        "dagbok_tasks_ended_total{state=\"success\"} 2",
        "dagbok_tasks_ended_total{state=\"up_for_retry\"} 1",
        "dagbok_task_failures_total{kind=\"exception\",fault=\"user\"} 1",
        "dagbok_task_tries_ended_total{dag_id=\"etl\",task_id=\"b\",state=\"up_for_retry\"} 1",
        "dagbok_task_try_duration_seconds{dag_id=\"etl\",task_id=\"a\",quantile=\"0.5\"} 2",
        "dagbok_hand_off_seconds_sum 0.25",
        "dagbok_hand_off_seconds_count 1",
        "dagbok_hand_off_seconds_bucket{le=\"0.1\"} 0",
        "dagbok_hand_off_seconds_bucket{le=\"0.25\"} 1",
        "dagbok_schedule_delay_seconds_sum{hop=\"made\"} 1",
        "dagbok_schedule_delay_seconds_sum{hop=\"started\"} 1.5",
        "dagbok_schedule_delay_seconds_sum{hop=\"first_try\"} 2",
        "dagbok_queue_wait_seconds_count 3",
        "dagbok_queue_wait_seconds_sum 1.75",
        "dagbok_try_cpu_seconds_total{mode=\"user\"} 3",
        "dagbok_log_records_total 9",
        "dagbok_log_folded_seq 9",
        "dagbok_log_last_record_timestamp_seconds 20",
        "dagbok_runs{state=\"running\"} 0",
        "dagbok_queue_depth{queue=\"gpu\"} 0",
    ] {
        has(&text, line);
    }
}

#[test]
fn what_is_under_way_is_shown_as_it_stands() {
    let log = log();
    let offered = folded(&log[..2]).text(Detail::All);
    has(&offered, "dagbok_queue_depth{queue=\"gpu\"} 1");
    has(&offered, "dagbok_queue_oldest_timestamp_seconds{queue=\"gpu\"} 11.5");
    has(&offered, "dagbok_pool_slots{pool=\"default_pool\",state=\"queued\"} 2");
    has(&offered, "dagbok_pool_slots{pool=\"default_pool\",state=\"open\"} 126");
    let runs = folded(&log[..3]).text(Detail::All);
    has(&runs, "dagbok_tasks{state=\"running\"} 1");
    has(&runs, "dagbok_queue_depth{queue=\"gpu\"} 0");
    let waits = folded(&log[..6]).text(Detail::All);
    has(&waits, "dagbok_tasks{state=\"up_for_retry\"} 1");
    has(&waits, "dagbok_pool_slots{pool=\"default_pool\",state=\"open\"} 128");
}

#[test]
fn a_fold_that_was_kept_goes_on_as_if_it_had_never_ended() {
    let log = log();
    for cut in 0..log.len() {
        let kept = rmp_serde::to_vec_named(&folded(&log[..cut])).unwrap();
        let mut again: Ledger = rmp_serde::from_slice(&kept).unwrap();
        for (seq, record) in (1..).zip(&log).skip(cut) {
            again.take(seq, record);
        }
        assert_eq!(again, folded(&log), "cut at {cut}");
    }
}

#[test]
fn every_series_is_of_an_instrument_of_the_table() {
    let text = folded(&log()).text(Detail::All);
    let (seq, kept) = parse(&text);
    assert_eq!(seq, Some(9));
    assert_eq!(kept.get("dagbok_tries_started_total").map(String::as_str), Some("3"));
    let helped: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let folds = INSTRUMENTS.iter();
    let folds = folds.filter(|it| matches!(it.source, Source::Fold | Source::TaskFold));
    assert_eq!(helped, folds.map(|it| it.name).collect::<Vec<_>>());
}

#[test]
fn the_facts_of_the_table_are_facts() {
    for instrument in INSTRUMENTS {
        let schema = match instrument.source {
            Source::AlertFold => include_str!("../../../schemas/alert-events.json"),
            _ => include_str!("../../../schemas/events.json"),
        };
        for fact in instrument.facts.iter().filter(|fact| **fact != "all") {
            assert!(schema.contains(&format!("\"{fact}\"")), "{}: {fact}", instrument.name);
        }
    }
}

#[derive(Deserialize)]
struct Recorded {
    name: String,
    kind: String,
    legacy: Option<String>,
}

#[test]
fn the_names_are_those_of_airflow() {
    let recorded: Vec<Recorded> =
        serde_json::from_str(include_str!("../../../tests/airflow/metrics-3.3.2.json")).unwrap();
    let theirs =
        recorded.iter().map(|it| (it.name.as_str(), it.kind.as_str(), it.legacy.as_deref()));
    let ours = AIRFLOW_NAMES.iter().map(|it| (it.name, it.what.word(), it.legacy));
    assert!(theirs.eq(ours), "see tests/airflow/metrics.py");
}

#[test]
fn a_run_is_told_by_airflows_names() {
    let mut samples: Vec<Sample> = Vec::new();
    let mut ledger = Ledger::new(false);
    for (seq, record) in (1..).zip(&log()) {
        ledger.take_and_tell(seq, record, &mut |note| samples.extend(of_note(note)));
    }
    let values = |name: &str| -> Vec<f64> {
        samples.iter().filter(|sample| sample.name == name).map(|sample| sample.value).collect()
    };
    assert_eq!(values("dagrun.duration.success"), [8_500.0]);
    assert_eq!(values("dag_runs.duration"), [8_500.0]);
    assert_eq!(values("dagrun.schedule_delay"), [1_500.0]);
    assert_eq!(values("dagrun.first_task_scheduling_delay"), [2_000.0]);
    assert_eq!(values("task.queued_duration"), [500.0, 250.0, 1_000.0]);
    assert_eq!(values("task.scheduled_duration"), [0.0]);
    assert_eq!(values("task.duration"), [2_000.0, 750.0, 3_000.0]);
    assert_eq!(values("ti_failures"), [1.0]);
    assert_eq!(values("ti_successes"), [1.0, 1.0]);
    assert_eq!(values("ti.start").len(), 3);
    let finish = samples.iter().find(|sample| sample.name == "ti.finish").unwrap();
    let legacy = dotted("ti.finish.{dag_id}.{task_id}.{state}", &finish.tags);
    assert_eq!(legacy.as_deref(), Some("ti.finish.etl.a.success"));
    for sample in samples.iter().filter(|sample| sample.name != "dag_runs.duration") {
        let known = AIRFLOW_NAMES.iter().find(|it| it.name == sample.name).unwrap();
        assert_eq!(known.what, sample.what, "{}", sample.name);
        assert!(!matches!(known.standing, Standing::No(_)), "{}", sample.name);
        if let Some(legacy) = known.legacy {
            assert!(dotted(legacy, &sample.tags).is_some(), "{} has no {legacy}", sample.name);
        }
    }
}

#[test]
fn spans_of_a_run_hang_together_and_are_the_same_whenever_they_are_folded() {
    let (mut spans, mut said) = (Spans::default(), Vec::new());
    let (mut cut, mut again) = (Spans::default(), Vec::new());
    for record in &log() {
        spans.take(record, &mut said);
        cut.take(record, &mut again);
        cut = rmp_serde::from_slice(&rmp_serde::to_vec_named(&cut).unwrap()).unwrap();
    }
    assert_eq!(said, again);
    let names: Vec<&str> = said.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["queued a", "a", "queued b", "b", "queued b", "b", "run etl"]);
    let run = said.last().unwrap();
    assert_eq!((run.start, run.end, run.parent), (second(11.0), second(20.0), None));
    assert!(said.iter().all(|span| span.trace_id == run.trace_id));
    assert!(said[..6].iter().all(|span| span.parent == Some(run.span_id)));
    assert_eq!(said[3].error.as_deref(), Some("no"));
    assert_eq!(said[5].links, [(run.trace_id, said[3].span_id)]);
    let ids: std::collections::BTreeSet<_> = said.iter().map(|span| span.span_id).collect();
    assert_eq!(ids.len(), said.len());
}

#[test]
fn a_run_that_is_cleared_is_another_span_of_its_trace() {
    let (mut spans, mut said) = (Spans::default(), Vec::new());
    let more = [
        record(
            30.0,
            vec![Fact::RunCleared(dagbok_events::RunCleared {
                was: None,
                ended: true,
                xcoms_kept_until: None,
            })],
        ),
        record(31.0, vec![Fact::RunSucceeded(RunSucceeded {})]),
    ];
    for record in log().iter().chain(&more) {
        spans.take(record, &mut said);
    }
    let runs: Vec<_> = said.iter().filter(|span| span.name == "run etl").collect();
    assert_eq!(runs[0].trace_id, runs[1].trace_id);
    assert_eq!(runs[1].links, [(runs[0].trace_id, runs[0].span_id)]);
    assert_eq!((runs[1].start, runs[1].end), (second(30.0), second(31.0)));
}

fn of(scope: Scope, at: f64, fact: Fact) -> Record {
    Record { scope, ..record(at, vec![fact]) }
}

fn registered(most_runs: u32) -> Record {
    let spec = serde_json::json!({
        "dag_id": "etl", "schedule": {"timetable": "Once", "timezone": "UTC"},
        "max_active_runs": most_runs, "max_active_tasks": 16, "tasks": [], "source": {"file": "etl.py"},
    });
    let fact = Fact::DagRegistered(Box::new(dagbok_events::DagRegistered {
        version: version_one(),
        spec_digest: "0".repeat(64).parse().unwrap(),
        bundle: "0".repeat(64).parse().unwrap(),
        spec: serde_json::from_value(spec).unwrap(),
        paused: None,
    }));
    of(Scope::Dag(key().dag_id), 1.0, fact)
}

fn expected(due: f64) -> Record {
    let fact = dagbok_events::RunExpected {
        logical_date: Some(second(due - 60.0)),
        data_interval: None,
        due: Some(second(due)),
        grace: dagbok_events::Micros(0),
        owner: String::new(),
        further: vec![],
        keeps: false,
    };
    of(Scope::Dag(key().dag_id), 12.0, Fact::RunExpected(fact))
}

#[test]
fn a_dag_that_has_no_room_for_its_next_run_is_not_late() {
    let due = "dagbok_next_run_due_timestamp_seconds 70";
    let mut records = vec![registered(1), expected(70.0)];
    has(&folded(&records).text(Detail::All), due);
    records.splice(1..1, [record(11.0, vec![created(10.0)])]);
    let shows = |records: &[Record]| folded(records).text(Detail::All).contains(due);
    assert!(!shows(&records), "its only run is under way");
    records[0] = registered(2);
    assert!(shows(&records), "there is room for another");
    records[0] = registered(0);
    assert!(shows(&records), "0 is no limit");
    records[0] = registered(1);
    records.push(record(80.0, vec![Fact::RunSucceeded(RunSucceeded {})]));
    assert!(shows(&records), "its run is over, and the next is late");
}

#[test]
fn a_run_that_is_cleared_while_its_teardowns_run_ends_as_what_it_comes_to() {
    let cancelled = dagbok_events::RunCancelled { teardowns_left: true, was: None };
    let cancelled = Fact::RunCancelled(cancelled);
    let cleared = Fact::RunCleared(dagbok_events::RunCleared {
        was: None,
        ended: true,
        xcoms_kept_until: None,
    });
    let failed = || Fact::RunFailed(dagbok_events::RunFailed { failed: vec![] });
    let ended = |facts: Vec<Fact>| {
        let mut records = log()[..2].to_vec();
        records.push(record(13.0, facts));
        let (mut spans, mut said) = (Spans::default(), vec![]);
        for record in &records {
            spans.take(record, &mut said);
        }
        let run = said.pop().unwrap();
        let result = run.attributes.iter().find(|it| it.0 == "cicd.pipeline.result");
        (folded(&records).text(Detail::All), result.unwrap().1.clone(), run.error)
    };
    let (text, result, error) = ended(vec![cancelled.clone(), failed()]);
    has(&text, "dagbok_runs_ended_total{state=\"cancelled\"} 1");
    assert_eq!((result.as_str(), error.as_deref()), ("cancellation", Some("it was cancelled")));
    let (text, result, error) = ended(vec![cancelled.clone(), cleared.clone(), failed()]);
    has(&text, "dagbok_runs_ended_total{state=\"failed\"} 1");
    assert_eq!((result.as_str(), error.as_deref()), ("failure", Some("a task failed")));
    let over = Fact::RunSucceeded(RunSucceeded {});
    let (text, result, error) = ended(vec![cancelled, cleared, over]);
    has(&text, "dagbok_runs_ended_total{state=\"success\"} 1");
    assert_eq!((result.as_str(), error), ("success", None));
}

#[test]
fn of_a_run_that_is_over_only_ids_are_kept_and_of_many_only_the_newest() {
    let (mut spans, mut said) = (Spans::default(), vec![]);
    for record in &log() {
        spans.take(record, &mut said);
    }
    let size = |spans: &Spans| rmp_serde::to_vec_named(spans).unwrap().len();
    let one = size(&spans);
    assert!(one < 300, "{one}");
    for n in 0..10_100 {
        let scope = Scope::Run(RunKey { run_id: format!("n{n}").parse().unwrap(), ..key() });
        for record in log().into_iter().take(4).chain(log().pop()) {
            spans.take(&Record { scope: scope.clone(), ..record }, &mut said);
        }
    }
    assert!(size(&spans) < 10_000 * one, "{}", size(&spans));
    // The first one is known no more; the newest goes on in its trace.
    said.clear();
    let cleared = Fact::RunCleared(dagbok_events::RunCleared {
        was: None,
        ended: true,
        xcoms_kept_until: None,
    });
    let again = vec![cleared, Fact::RunSucceeded(RunSucceeded {})];
    spans.take(&record(30.0, again.clone()), &mut said);
    assert!(said.is_empty());
    let scope = Scope::Run(RunKey { run_id: "n10099".parse().unwrap(), ..key() });
    spans.take(&Record { scope, ..record(30.0, again) }, &mut said);
    assert_eq!(said.len(), 1);
    assert_eq!(said[0].links.len(), 1);
}

#[test]
fn what_the_rules_count_is_there_from_a_dags_first_end_on() {
    // Its first try has succeeded; its run is under way.
    let text = folded(&log()[..4]).text(Detail::All);
    let rules = include_str!("../../../deploy/prometheus/rules.yml");
    let mut found = 0;
    for (name, of) in ["dagbok_tasks_ended", "dagbok_dag_tries_ended", "dagbok_dag_runs_ended"]
        .map(|name| (name, if name.contains("_dag_") { "dag_id=\"etl\"," } else { "" }))
    {
        for (_, rule) in rules
            .match_indices(&format!("{name}_total{{state="))
            .map(|(at, it)| (at, &rules[at + it.len()..]))
        {
            let states = rule.split('"').nth(1).unwrap();
            for state in states.split('|') {
                let series = format!("{name}_total{{{of}state=\"{state}\"}} ");
                assert!(text.contains(&series), "{series} is not in\n{text}");
                found += 1;
            }
        }
    }
    assert!(found >= 10, "{found}");
    for fault in ["user", "system", "data"] {
        has(
            &text,
            &format!("dagbok_task_failures_total{{kind=\"exception\",fault=\"{fault}\"}} 0"),
        );
    }
}

#[test]
fn alerts_are_counted_from_their_own_log() {
    let texts = [
        r#"{"at": "1970-01-01T00:00:10Z", "by": "rules", "seen": 1, "facts": [{"AlertOpened": {"id": 1, "rule": "run_failed",
            "scope": {"dag": "etl"}, "generation": 1, "dedup_key": "k", "labels": {"severity": "warning"}, "summary": "s",
            "since": "1970-01-01T00:00:09Z"}}]}"#,
        r#"{"at": "1970-01-01T00:00:12Z", "by": "rules", "seen": 1, "facts": [{"NotificationAccepted": {"id": 1,
            "message": "m", "attempt": 1, "took_ms": 5}}]}"#,
        r#"{"at": "1970-01-01T00:00:40Z", "by": {"user": "ada"}, "seen": 1, "facts": [{"AlertAcknowledged": {"id": 1}}]}"#,
    ];
    let mut ledger = AlertLedger::default();
    for text in texts {
        ledger.take(&serde_json::from_str(text).unwrap());
    }
    let text = ledger.text();
    for line in [
        "dagbok_alerts_open{severity=\"warning\"} 1",
        "dagbok_alerts_opened_total{rule=\"run_failed\",severity=\"warning\"} 1",
        "dagbok_page_latency_seconds_sum 2",
        "dagbok_alert_acknowledge_seconds_sum 30",
        "dagbok_notification_ends_total{outcome=\"accepted\"} 1",
        "dagbok_notification_ends_total{outcome=\"rejected\"} 0",
    ] {
        has(&text, line);
    }
}
