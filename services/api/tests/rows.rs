//! The rows follow from the log alone: however it is batched, whatever it says, wherever it broke off.
#![expect(clippy::unwrap_used, reason = "a test that can't go on fails")]

mod support;

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use dagbok_api::model::{
    ReadModel, Store,
    rows::{Handed, RunState, TaskInstanceState},
};
use dagbok_events::{Record, RunKey, encode, subject_of};
use dagbok_runlog::{Draft, RunLog, Seq, memory::MemoryLog};
use support::{
    liars::{Dice, records},
    story::executor,
};

const SEEDS: u64 = 48;

fn draft(record: &Record) -> Draft {
    Draft { subject: subject_of(&record.scope), payload: encode(record).into() }
}

async fn log_of(records: &[Record]) -> Arc<MemoryLog> {
    let log = Arc::new(MemoryLog::default());
    log.append(Seq::ZERO, records.iter().map(draft).collect()).await.unwrap();
    log
}

/// Folds the log into the rows in `dir`, and closes them again.
async fn folded(dir: Option<&Path>, log: &Arc<MemoryLog>) -> ReadModel {
    let model = ReadModel::open(dir).unwrap();
    model.catch_up(log.clone()).await.unwrap();
    model
}

/// Every count must be what counting the rows gives.
fn assert_counts(store: &Store, seed: u64) {
    let mut slots: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut running: BTreeMap<String, u32> = BTreeMap::new();
    let mut runs: BTreeMap<String, BTreeMap<RunState, u64>> = BTreeMap::new();
    for run in store.runs(None).unwrap() {
        let key = RunKey { dag_id: run.dag_id.clone(), run_id: run.run_id.clone() };
        let mut counts: BTreeMap<TaskInstanceState, u32> = BTreeMap::new();
        for task in store.tasks(&key).unwrap() {
            *counts.entry(task.state).or_default() += 1;
            let found = store.xcoms(&key, &task.task_id, task.map_index).unwrap();
            let names: Vec<&str> = found.iter().map(|row| row.key.as_str()).collect();
            let handed: Vec<&str> = task.xcoms.iter().map(Handed::name).collect();
            assert_eq!(names, handed, "seed {seed}: {key}/{}", task.task_id);
            assert!(names.is_sorted(), "{names:?}");
            let Some(attempt) = task.attempt.filter(|_| task.state.holds_slots()) else { continue };
            let held = slots.entry(attempt.pool.to_string()).or_default();
            let slots = u64::from(attempt.pool_slots);
            if task.state == TaskInstanceState::Running {
                held.1 += slots;
                *running.entry(attempt.executor.unwrap().to_string()).or_default() += 1;
            } else {
                held.0 += slots;
            }
        }
        assert_eq!(run.counts, counts, "seed {seed}: {key}");
        *runs.entry(run.dag_id.to_string()).or_default().entry(run.state).or_default() += 1;
        let refused =
            store.refused(&key).unwrap().iter().filter(|row| row.seq >= run.created_seq).count();
        assert!(run.refused as usize <= refused, "seed {seed}: {key}");
    }
    for row in store.dags().unwrap() {
        let want = runs.remove(row.dag_id.as_str()).unwrap_or_default();
        assert_eq!(row.totals.runs_by_state(), want, "seed {seed}: {}", row.dag_id);
    }
    assert!(runs.is_empty(), "seed {seed}: runs of no DAG: {runs:?}");
    for (name, pool) in store.pools().unwrap() {
        let want = slots.remove(&name).unwrap_or_default();
        assert_eq!((pool.queued, pool.running), want, "seed {seed}: pool {name}");
    }
    assert!(slots.is_empty(), "seed {seed}: slots of no pool: {slots:?}");
    for id in ["exec-1", "exec-2"] {
        let want = running.get(id).copied().unwrap_or(0);
        assert_eq!(store.running_on(&executor(id)).unwrap(), want, "seed {seed}: {id}");
    }
}

/// The sequences that a run's index names, against the log itself.
fn assert_index(store: &Store, told: &[Record], seed: u64) {
    for run in store.runs(None).unwrap() {
        let key = RunKey { dag_id: run.dag_id.clone(), run_id: run.run_id.clone() };
        let named: Vec<u64> = store
            .seqs(&run)
            .unwrap()
            .into_iter()
            .flat_map(|stretch| stretch.0..stretch.0 + u64::from(stretch.1))
            .collect();
        let scope = dagbok_events::Scope::Run(key);
        let about = |(seq, record): (u64, &Record)| (record.scope == scope).then_some(seq);
        let want: Vec<u64> =
            (1..).zip(told).filter_map(about).filter(|seq| *seq >= run.created_seq).collect();
        assert_eq!(named, want, "seed {seed}");
    }
}

#[tokio::test]
async fn counts_are_what_counting_gives() {
    for seed in 0..SEEDS {
        let told = records(seed, 400);
        let model = folded(None, &log_of(&told).await).await;
        assert_counts(&model.store(), seed);
        assert_index(&model.store(), &told, seed);
    }
}

#[tokio::test]
async fn built_anew_is_the_same_as_built_step_by_step() {
    for seed in 0..SEEDS / 4 {
        let told = records(seed, 300);
        let whole = folded(None, &log_of(&told).await).await.store().fingerprint().unwrap();

        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("read-model");
        let log = Arc::new(MemoryLog::default());
        let mut dice = Dice::new(seed + 1_000);
        let mut last = Seq::ZERO;
        let mut rest = told.as_slice();
        while !rest.is_empty() {
            let step = usize::try_from(dice.below(60) + 1).unwrap().min(rest.len());
            let (now, later) = rest.split_at(step);
            last = log.append(last, now.iter().map(draft).collect()).await.unwrap();
            rest = later;
            // Opened and closed for each step: nothing may be kept in the head alone, nor read only where it was written.
            let model = folded(Some(&dir), &log).await;
            if dice.below(4) == 0 {
                (*model.store()).as_ref().settle().unwrap();
            }
        }
        let stepped = folded(Some(&dir), &log).await;
        assert_eq!(stepped.store().fingerprint().unwrap(), whole, "seed {seed}");
        assert_eq!(stepped.rebuilt_because(), None);
    }
}

#[tokio::test]
async fn a_damaged_store_is_set_aside_and_built_anew() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("read-model");
    let log = log_of(&records(7, 500)).await;
    let sound = folded(Some(&dir), &log).await.store().fingerprint().unwrap();

    let generation = dir.join("rows-1").join("generation-1");
    let files = fs::read_dir(&generation).unwrap().map(|entry| entry.unwrap().path());
    for file in files.filter(|path| path.is_file()) {
        let length = fs::metadata(&file).unwrap().len();
        fs::write(&file, vec![0xA5; usize::try_from(length).unwrap().max(64)]).unwrap();
    }
    let model = folded(Some(&dir), &log).await;
    assert_eq!(model.store().fingerprint().unwrap(), sound);
    let because = model.rebuilt_because().expect("it is said why");
    assert!(because.contains("damaged"), "{because}");
    assert!(
        dir.with_extension("set-aside").exists(),
        "what was there is kept for whoever wants to look"
    );
}

#[tokio::test]
async fn rows_of_another_log_are_built_anew() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("read-model");
    folded(Some(&dir), &log_of(&records(1, 200)).await).await;

    let other = log_of(&records(2, 300)).await;
    let model = folded(Some(&dir), &other).await;
    let fresh = folded(None, &other).await;
    assert_eq!(model.store().fingerprint().unwrap(), fresh.store().fingerprint().unwrap());
    assert!(
        model.rebuilt_because().unwrap().contains("another log"),
        "{:?}",
        model.rebuilt_because()
    );
    drop(model);

    let shorter = log_of(&records(2, 100)).await;
    let model = ReadModel::open(Some(&dir)).unwrap();
    let refused = model.catch_up(shorter.clone()).await.expect_err("records are missing");
    assert!(refused.to_string().contains("ends at 100"), "{refused}");
    assert_eq!(model.store().checkpoint().unwrap().seq, Seq(300), "nothing is changed");
    model.accept_shorter_log();
    model.catch_up(shorter.clone()).await.unwrap();
    let now = model.progress().now();
    assert_eq!((now.applied, now.last, now.caught_up), (Seq(100), Seq(100), true));
    assert!(
        model.rebuilt_because().unwrap().contains("ends at 100"),
        "{:?}",
        model.rebuilt_because()
    );
    assert_counts(&model.store(), 2);
}

#[tokio::test]
async fn a_store_in_use_is_not_taken_away() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("read-model");
    let first = folded(Some(&dir), &log_of(&records(1, 50)).await).await;
    let before = first.store().fingerprint().unwrap();
    let error = ReadModel::open(Some(&dir)).expect_err("two at once would ruin it");
    assert!(error.to_string().contains("in use by another process"), "{error}");
    assert_eq!(first.store().fingerprint().unwrap(), before);
}
