//! Lists are what filtering and sorting everything gives, whichever index they come from.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod support;

use std::{cmp::Ordering, sync::Arc};

use dagbok_api::model::{
    ReadModel, Store,
    lists::{
        COUNTED, Given, IN_HAND, Keep, LOOKED, Range, RunAsk, RunBy, RunField, RunOrder, Scope,
        Value,
    },
    rows::{LastRun, RunRow, RunState},
};
use dagbok_events::{
    Actor, Fact, Micros, Payload, Record, RunCreated, RunFailed, RunId, RunStarted, RunSucceeded,
    RunType, encode, subject_of,
};
use dagbok_runlog::{Draft, RunLog, Seq, memory::MemoryLog};
use serde_json::{Value as Json, json};
use support::{
    liars::{Dice, records},
    story::{FIRST, dag, digest, key, spec},
};

const BY: [RunBy; 11] = [
    RunBy::Dag,
    RunBy::State,
    RunBy::Type,
    RunBy::Field(RunField::Id),
    RunBy::Field(RunField::RunId),
    RunBy::Field(RunField::LogicalDate),
    RunBy::Field(RunField::RunAfter),
    RunBy::Field(RunField::StartDate),
    RunBy::Field(RunField::EndDate),
    RunBy::Field(RunField::Duration),
    RunBy::Field(RunField::UpdatedAt),
];

const TYPES: [RunType; 4] =
    [RunType::Manual, RunType::Scheduled, RunType::Backfill, RunType::AssetTriggered];

async fn folded(told: &[Record]) -> ReadModel {
    let log = Arc::new(MemoryLog::default());
    let draft = |record: &Record| Draft {
        subject: subject_of(&record.scope),
        payload: encode(record).into(),
    };
    log.append(Seq::ZERO, told.iter().map(draft).collect()).await.unwrap();
    let model = ReadModel::open(None).unwrap();
    model.catch_up(log).await.unwrap();
    model
}

fn word(of: RunType) -> String {
    serde_json::to_value(of).unwrap().as_str().unwrap().to_owned()
}

fn compare(RunOrder { by, down }: RunOrder, a: &RunRow, b: &RunRow) -> Ordering {
    let order = match by {
        RunBy::Dag => a.dag_id.cmp(&b.dag_id),
        RunBy::State => a.state.word().cmp(b.state.word()),
        RunBy::Type => word(a.run_type).cmp(&word(b.run_type)),
        RunBy::Field(field) => match (field.of(a), field.of(b)) {
            (Value::Nothing, Value::Nothing) => Ordering::Equal,
            (Value::Nothing, _) => return Ordering::Greater,
            (_, Value::Nothing) => return Ordering::Less,
            (a, b) => a.cmp(&b),
        },
    };
    if down { order.reverse() } else { order }
}

/// The whole list, by reading every run there is.
fn naive(store: &Store, ask: &RunAsk, keep: impl Fn(&RunRow) -> bool) -> Vec<String> {
    let mut all = store.runs(None).unwrap();
    all.retain(|run| {
        let within = |range: &Range| match range.field.of(run) {
            Value::Number(at) => range.from <= at && at <= range.to,
            Value::Nothing => range.nothing,
            Value::Text(_) => false,
        };
        let of = match &ask.scope {
            Scope::All => true,
            Scope::Dags(dags) => dags.contains(&run.dag_id),
        };
        of && (ask.states.is_empty() || ask.states.contains(&run.state))
            && (ask.types.is_empty() || ask.types.contains(&run.run_type))
            && ask.ranges.iter().all(within)
            && keep(run)
    });
    let field = ask.orders.iter().find(|order| matches!(order.by, RunBy::Field(_)));
    let down = field.or(ask.orders.last()).is_some_and(|order| order.down);
    all.sort_by(|a, b| {
        let mut orders = ask.orders.iter().map(|order| compare(*order, a, b));
        let order = orders.find(|order| *order != Ordering::Equal);
        order.unwrap_or_else(|| {
            let order = a.created_seq.cmp(&b.created_seq);
            if down { order.reverse() } else { order }
        })
    });
    all.iter().map(|run| run.key().to_string()).collect()
}

fn some<T: Copy>(dice: &mut Dice, of: &[T]) -> Vec<T> {
    of.iter().copied().filter(|_| dice.below(3) == 0).collect()
}

fn ask(dice: &mut Dice) -> RunAsk {
    let scope = match dice.below(4) {
        0 => Scope::Dags(vec![dag("chain")]),
        1 => Scope::Dags(vec![dag("fan"), dag("chain")]),
        _ => Scope::All,
    };
    let orders = (0..dice.below(3)).map(|_| RunOrder {
        by: BY[usize::try_from(dice.below(BY.len() as u64)).unwrap()],
        down: dice.below(2) == 0,
    });
    let orders = orders.collect();
    let mut ranges = Vec::new();
    if dice.below(3) == 0 {
        let field = [RunField::LogicalDate, RunField::StartDate, RunField::EndDate];
        let field = field[usize::try_from(dice.below(3)).unwrap()];
        let at = |dice: &mut Dice| FIRST.0 + i64::try_from(dice.below(400)).unwrap() * 1_000_000;
        ranges.push(Range { field, from: at(dice), to: at(dice), nothing: dice.below(2) == 0 });
    }
    let skip = usize::try_from(dice.below(4)).unwrap();
    let states = some(dice, &RunState::ALL);
    let types = some(dice, &TYPES);
    RunAsk { states, types, ranges, orders, skip, take: 5, ..RunAsk::all(scope) }
}

/// What is asked of stories that the rules would never tell, too.
#[tokio::test]
async fn lists_are_what_sorting_everything_gives() {
    for seed in 0..24 {
        let model = folded(&records(seed, 300)).await;
        let store = model.store();
        let mut dice = Dice::new(seed + 77);
        for dag in store.dags().unwrap() {
            let runs = store.runs(Some(&dag.dag_id)).unwrap();
            let last = runs.into_iter().max_by_key(|run| run.created_seq);
            assert_eq!(store.newest_run(&dag).unwrap(), last, "seed {seed}");
            match (dag.last_run, last) {
                (LastRun::Is { seq, state, start_date }, Some(run)) => {
                    let is = (run.created_seq, run.state, RunField::StartDate.of(&run));
                    assert_eq!((seq, state, Value::from(start_date)), is, "seed {seed}");
                }
                (LastRun::None, None) | (LastRun::Deleted, _) => {}
                (row, run) => panic!("seed {seed}: {row:?} of {run:?}"),
            }
        }
        for _ in 0..60 {
            let ask = ask(&mut dice);
            let keep = |run: &RunRow| run.run_id.as_str() != "two";
            let picky = dice.below(3) == 0;
            let whole =
                if picky { naive(&store, &ask, keep) } else { naive(&store, &ask, |_| true) };
            let found = store.list_runs(&ask, picky.then_some(Keep::rows(&keep))).unwrap();
            let want: Vec<_> = whole.iter().skip(ask.skip).take(ask.take).cloned().collect();
            let page: Vec<_> = found.page.iter().map(|run| run.key().to_string()).collect();
            assert_eq!(page, want, "seed {seed}: {ask:?}");
            assert!(found.exact && found.complete, "seed {seed}: {ask:?}");
            assert_eq!(found.total, whole.len(), "seed {seed}: {ask:?}");
        }
    }
}

/// So many runs that none are sorted in hand: most of them over, a few that run or wait.
async fn many() -> ReadModel {
    let mut told = Vec::new();
    let mut tell = |scope, facts| {
        let at = FIRST.plus(Micros::from_secs(i64::try_from(told.len()).unwrap()));
        let by = Actor::Scheduler;
        told.push(Record {
            at,
            clock: None,
            scope,
            by,
            reason: None,
            cause: None,
            trace: None,
            facts,
        });
    };
    for id in ["chain", "fan"] {
        let fact = dagbok_events::DagRegistered {
            version: 1,
            spec_digest: digest(id),
            bundle: digest("bundle"),
            spec: spec(id, &["a"]),
            paused: Some(false),
        };
        tell(dagbok_events::Scope::Dag(dag(id)), vec![Fact::DagRegistered(Box::new(fact))]);
    }
    let runs = i64::try_from(IN_HAND + LOOKED).unwrap() + 500;
    for n in 0..runs {
        let of = if n % 3 == 0 { "fan" } else { "chain" };
        let run = key(of, &format!("run_{:05}", (n * 7_919) % runs));
        let created = RunCreated {
            run_type: if n % 10 == 0 { RunType::Manual } else { RunType::Scheduled },
            // Many share a date.
            logical_date: (n % 11 != 0).then(|| FIRST.plus(Micros::from_secs(n / 40))),
            data_interval: None,
            run_after: FIRST.plus(Micros::from_secs(-n)),
            version: 1,
            bundle: digest("bundle"),
            conf: Some(Payload::Inline(conf_of(n))),
            note: None,
            asset_events: Vec::new(),
            asset_events_left_out: 0,
            backfill_id: None,
            partition: None,
        };
        let scope = dagbok_events::Scope::Run(run);
        tell(scope.clone(), vec![Fact::RunCreated(Box::new(created))]);
        if n % 500 == 3 {
            continue;
        }
        tell(scope.clone(), vec![Fact::RunStarted(RunStarted {})]);
        if n % 400 != 5 {
            let end = if n % 100 == 7 {
                Fact::RunFailed(RunFailed { failed: vec![] })
            } else {
                Fact::RunSucceeded(RunSucceeded {})
            };
            tell(scope, vec![end]);
        }
    }
    folded(&told).await
}

/// What a run was given: one value that all have, one of eleven, and one of its own.
fn conf_of(n: i64) -> String {
    format!(r#"{{"loss": "bpr", "epochs": {}, "lr": {n}.50}}"#, n % 11)
}

#[tokio::test]
async fn runs_are_found_by_what_they_were_given_however_many_there_are() {
    let model = many().await;
    let store = model.store();
    let runs = i64::try_from(store.runs(None).unwrap().len()).unwrap();
    let due = RunOrder { by: RunBy::Field(RunField::RunAfter), down: true };
    let given = |name: &str, value: Json| Given::of(name, &value).unwrap();
    let ask = |given: Vec<Given>| RunAsk { take: 5, given, ..RunAsk::all(Scope::All) };
    let n_of = |run: &RunRow| FIRST.since(run.run_after).0 / 1_000_000;

    // One of all of them, in whichever order, and whatever else is asked.
    for orders in [vec![], vec![due], vec![RunOrder { by: RunBy::Dag, down: false }]] {
        for n in [0, 1_234, runs - 1] {
            let is = |run: &RunRow| n_of(run) == n;
            let keep = Some(Keep::rows(&is));
            let one = vec![given("loss", json!("bpr")), given("lr", json!(n.to_string() + ".50"))];
            let typed = RunAsk { orders: orders.clone(), ..ask(one) };
            // As text it is another value, which no run has.
            assert_eq!(store.list_runs(&typed, keep).unwrap().page.len(), 0);
            #[expect(clippy::cast_precision_loss, reason = "they are few")]
            let lr = n as f64 + 0.5;
            let ask = RunAsk { orders: orders.clone(), ..ask(vec![given("lr", json!(lr))]) };
            let found = store.list_runs(&ask, keep).unwrap();
            assert!(found.complete && found.exact && found.page.len() == 1, "{n}: {found:?}");
            let others = Scope::Dags(vec![dag(if n % 3 == 0 { "chain" } else { "fan" })]);
            let found = store.list_runs(&RunAsk { scope: others, ..ask }, keep).unwrap();
            assert!(found.complete && found.page.is_empty(), "{n}: of another DAG: {found:?}");
        }
    }
    // Fewer than are sorted in hand: all of them are counted.
    let is = |run: &RunRow| n_of(run) % 11 == 4;
    let found = store.list_runs(&ask(vec![given("epochs", json!(4.0))]), Some(Keep::rows(&is)));
    let found = found.unwrap();
    assert_eq!(found.total, usize::try_from((runs + 6) / 11).unwrap());
    assert!(found.exact && found.complete);
    // What all were given: the first page, and what is looked for among them goes on where it was broken off.
    let oldest = |run: &RunRow| n_of(run) == runs - 1;
    let mut ask = RunAsk { orders: vec![due], ..ask(vec![given("loss", json!("bpr"))]) };
    let found = store.list_runs(&ask, Some(Keep::rows(&|_| true))).unwrap();
    assert_eq!(found.page.iter().map(n_of).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    let found = store.list_runs(&ask, Some(Keep::rows(&oldest))).unwrap();
    assert!(!found.complete && found.page.is_empty(), "{found:?}");
    let to = found.looked_to.unwrap();
    ask.ranges =
        vec![Range { field: RunField::RunAfter, from: i64::MIN, to: to.0, nothing: false }];
    assert!(store.list_runs(&ask, Some(Keep::rows(&oldest))).unwrap().looked_to < Some(to));
}

#[tokio::test]
async fn what_many_were_given_is_found_among_the_few_that_are_asked_for() {
    let model = many().await;
    let store = model.store();
    let runs = store.runs(None).unwrap();
    let due = RunOrder { by: RunBy::Field(RunField::RunAfter), down: true };
    let given = vec![Given::of("loss", &json!("bpr")).unwrap()];
    let ask = RunAsk { orders: vec![due], take: 5, given, ..RunAsk::all(Scope::All) };
    let every = |_: &RunRow| true;
    let keep = Some(Keep::rows(&every));
    // All were given it, and few wait: most of those came long before the newest.
    let queued = RunAsk { states: vec![RunState::Queued], ..ask.clone() };
    let found = store.list_runs(&queued, keep).unwrap();
    let want = runs.iter().filter(|run| run.state == RunState::Queued).count();
    assert!(found.complete && found.exact && found.page.len() == 5, "{found:?}");
    assert_eq!(found.total, want);
    // The same of the few that began last, which are those due first.
    let last = runs.iter().filter_map(|run| run.start_date).max().unwrap();
    let from = last.0 - Micros::from_secs(30).0;
    let range = Range { field: RunField::StartDate, from, to: i64::MAX, nothing: false };
    let found = store.list_runs(&RunAsk { ranges: vec![range], ..ask }, keep).unwrap();
    let want = runs.iter().filter(|run| run.start_date.is_some_and(|at| at.0 >= from)).count();
    assert!(found.complete && found.exact && want > 0, "{found:?}");
    assert_eq!(found.total, want);
}

#[test]
fn what_is_in_no_index_is_looked_for() {
    assert_eq!(Given::of("a", &json!([1])), None);
    assert_eq!(Given::of(&"a".repeat(121), &json!(1)), None);
    assert_eq!(Given::of("a", &json!(1)), Given::of("a", &json!("1")));
    assert_ne!(Given::of("a", &json!(true)), Given::of("a", &json!(null)));
}

#[tokio::test]
async fn large_lists_come_from_the_index_and_say_where_they_are_not_whole() {
    let model = many().await;
    let store = model.store();
    let all = store.runs(None).unwrap().len();
    let mut dice = Dice::new(5);
    for _ in 0..150 {
        let mut ask = ask(&mut dice);
        ask.skip *= 40;
        let whole = naive(&store, &ask, |_| true);
        let found = store.list_runs(&ask, None).unwrap();
        let want: Vec<_> = whole.iter().skip(ask.skip).take(ask.take).cloned().collect();
        let page: Vec<_> = found.page.iter().map(|run| run.key().to_string()).collect();
        if found.complete {
            assert_eq!(page, want, "{ask:?}");
        }
        assert!(found.complete || ask.orders.len() + ask.ranges.len() > 1, "{ask:?}");
        assert!(!found.exact || found.total == whole.len(), "{ask:?}: {}", found.total);
        assert!(found.total <= whole.len(), "{ask:?}: {}", found.total);
    }

    // What no index stands for is looked for up to a limit, and the answer says so.
    let first = RunId::new("run_00000").unwrap();
    let keep = |run: &RunRow| run.run_id == first;
    let found = store
        .list_runs(&RunAsk { take: 5, ..RunAsk::all(Scope::All) }, Some(Keep::rows(&keep)))
        .unwrap();
    assert!(found.page.len() <= 1 && all > LOOKED && COUNTED > LOOKED);
    let newest = RunOrder { by: RunBy::Field(RunField::Id), down: true };
    let ask = RunAsk { take: 5, orders: vec![newest], ..RunAsk::all(Scope::All) };
    let keep = |run: &RunRow| run.created_seq == 3;
    let found = store.list_runs(&ask, Some(Keep::rows(&keep))).unwrap();
    assert!(!found.complete && !found.exact && found.page.is_empty(), "{found:?}");
    assert_eq!(found.looked_to, None, "only in the order of one field it can go on");

    // In the order of what is due it goes on where it was broken off, until what is wanted is there.
    let due = RunOrder { by: RunBy::Field(RunField::RunAfter), down: true };
    let mut ask = RunAsk { take: 5, orders: vec![due], ..RunAsk::all(Scope::All) };
    let oldest = FIRST.plus(Micros::from_secs(1 - i64::try_from(all).unwrap()));
    let keep = |run: &RunRow| run.run_after == oldest;
    let mut pages = 0;
    let found = loop {
        let found = store.list_runs(&ask, Some(Keep::rows(&keep))).unwrap();
        pages += 1;
        let Some(to) = found.looked_to else { break found };
        assert!(pages < 20 && !found.complete);
        let (field, from) = (RunField::RunAfter, i64::MIN);
        ask.ranges = vec![Range { field, from, to: to.0, nothing: false }];
    };
    assert!(pages > 1 && found.complete && found.page.len() == 1, "{pages}: {found:?}");
}
