//! Folding records into the namespace. Total: history is never refused.
use std::sync::Arc;

use dagbok_events::{Fact, Record, RunCreated, RunId, RunKey, RunType, Scope, Timestamp};
use dagbok_protocol::limits::COMMANDS_REMEMBERED;

use super::{Dag, Executor, FileState, Namespace, Pool, RunNo};
use crate::{
    graph::Version,
    run::{Change, Phase, Run, RunMeta},
};

impl Namespace {
    /// Folds in the record at `seq`.
    pub fn evolve(&mut self, seq: u64, record: &Record) {
        self.last_seq = seq;
        self.last_at = self.last_at.max(record.at);
        self.remember(seq, record);
        match &record.scope {
            Scope::Run(key) => self.evolve_run(seq, key, record),
            Scope::Dag(dag_id) => {
                for fact in &record.facts {
                    self.evolve_dag(dag_id, record.at, fact);
                }
            }
            Scope::File(file) => self.evolve_file(file, record),
            Scope::Executor(id) => {
                for fact in &record.facts {
                    match fact {
                        Fact::ExecutorJoined(_) => {
                            let new = Executor { holds: std::collections::BTreeSet::new() };
                            self.executors.entry(id.clone()).or_insert(new);
                        }
                        Fact::ExecutorLeft(_) => {
                            self.executors.remove(id);
                        }
                        _ => {}
                    }
                }
            }
            Scope::Namespace => record.facts.iter().for_each(|fact| self.evolve_shared(fact)),
        }
    }

    fn remember(&mut self, seq: u64, record: &Record) {
        let Some(cause) = &record.cause else { return };
        let run_id = match (&record.scope, record.facts.first()) {
            (Scope::Run(key), Some(Fact::RunCreated(_))) => Some(key.run_id.clone()),
            _ => None,
        };
        if self.seen.insert(cause.command.clone(), (seq, run_id)).is_none() {
            self.seen_order.push_back(cause.command.clone());
            if self.seen_order.len() > COMMANDS_REMEMBERED
                && let Some(oldest) = self.seen_order.pop_front()
            {
                self.seen.remove(&oldest);
            }
        }
    }

    fn evolve_shared(&mut self, fact: &Fact) {
        match fact {
            Fact::PoolSet(f) => {
                self.pools.entry(f.pool.clone()).or_default().slots = f.slots;
            }
            Fact::LimitsSet(f) => {
                self.limits.parallelism = f.parallelism;
                self.limits.max_losses = f.max_losses;
            }
            Fact::BundlePublished(f) => {
                self.bundle = Some(f.bundle.clone());
                for dag in self.dags.values_mut().filter(|dag| !dag.gone) {
                    if self.files.get(&dag.file).is_none_or(|file| file.error.is_none()) {
                        dag.bundle = f.bundle.clone();
                    }
                }
            }
            _ => {}
        }
    }

    fn evolve_file(&mut self, file: &str, record: &Record) {
        for fact in &record.facts {
            match fact {
                Fact::DagImportFailed(f) => {
                    let error = Some((f.line, f.exception.clone(), f.message.clone()));
                    self.files.insert(file.to_owned(), FileState { error });
                }
                Fact::DagImportRecovered(_) => {
                    self.files.remove(file);
                }
                _ => {}
            }
        }
    }

    pub(super) fn evolve_dag(&mut self, dag_id: &dagbok_events::DagId, at: Timestamp, fact: &Fact) {
        if let Fact::DagRegistered(f) = fact {
            let version =
                Arc::new(Version::new(f.version, f.spec_digest.clone(), f.spec.clone()));
            match self.dags.get_mut(dag_id) {
                None => {
                    let dag = Dag::new(version, f.bundle.clone(), f.paused.unwrap_or(false));
                    self.dags.insert(dag_id.clone(), dag);
                }
                Some(dag) => {
                    dag.file.clone_from(&version.spec.source.file);
                    let old = std::mem::replace(&mut dag.current, version);
                    if !dag.active.is_empty() {
                        dag.older.insert(old.number, old);
                    }
                    dag.bundle = f.bundle.clone();
                    dag.gone = false;
                }
            }
        }
        let Some(dag) = self.dags.get_mut(dag_id) else { return };
        let due = dag.due();
        match fact {
            Fact::DagDisappeared(_) => dag.gone = true,
            Fact::DagPaused(_) => dag.paused = true,
            Fact::DagUnpaused(_) => {
                dag.paused = false;
                dag.unpaused_at = Some(at);
            }
            Fact::RunExpected(f) => {
                dag.expected = f.logical_date.is_some().then(|| f.clone());
            }
            _ => {}
        }
        // A promise's index entry stands for the DAG as it was before this fact, whatever it changed.
        let now_due = dag.due();
        if due != now_due || matches!(fact, Fact::DagRegistered(_)) {
            if let Some(due) = due {
                self.expected.remove(&(due, dag_id.clone()));
            }
            if let Some(due) = now_due {
                self.expected.insert((due, dag_id.clone()));
            }
        }
    }

    fn evolve_run(&mut self, seq: u64, key: &RunKey, record: &Record) {
        for fact in &record.facts {
            if let Fact::RunCreated(f) = fact {
                self.create_run(key, record, f);
            } else if matches!(fact, Fact::RunExpected(_) | Fact::RunMissed(_)) {
                self.evolve_dag(&key.dag_id, record.at, fact);
            }
        }
        let Some(&number) = self.numbers.get(key) else { return };
        for fact in &record.facts {
            self.evolve_run_fact(seq, number, record.at, fact);
        }
        self.reindex(number, record.at);
    }

    fn create_run(&mut self, key: &RunKey, record: &Record, f: &RunCreated) {
        let Some(dag) = self.dags.get_mut(&key.dag_id) else { return };
        let Some(version) = dag.version(f.version).cloned() else { return };
        if self.numbers.contains_key(key) {
            return;
        }
        let meta = RunMeta {
            run_type: f.run_type,
            logical_date: f.logical_date,
            data_interval: f.data_interval,
            run_after: f.run_after,
            bundle: f.bundle.clone(),
            conf: f.conf.clone(),
            note: f.note.clone(),
            triggered_by: super::views::person(&record.by),
            traceparent: record.trace.as_ref().map(|trace| trace.traceparent.clone()),
            created_at: record.at,
        };
        if f.run_type == RunType::Scheduled {
            dag.last_interval = f.data_interval;
        }
        dag.dates.extend(f.logical_date);
        let number = self.next_number;
        self.next_number += 1;
        dag.active.insert(number);
        if !dag.has_room() {
            dag.full_until = Some(record.at);
        }
        self.numbers.insert(key.clone(), number);
        self.runs.insert(number, Run::new(key.clone(), meta, version));
        self.queued.insert(number);
    }

    fn evolve_run_fact(&mut self, seq: u64, number: RunNo, at: Timestamp, fact: &Fact) {
        let Some(run) = self.runs.get_mut(&number) else { return };
        let dag_id = run.key().dag_id.clone();
        self.track_executor(number, fact);
        let Some(run) = self.runs.get_mut(&number) else { return };
        let Change { taken, freed } = run.evolve(seq, at, fact);
        let Some(dag) = self.dags.get_mut(&dag_id) else { return };
        if matches!(fact, Fact::RunStarted(_)) {
            dag.running += 1;
            self.queued.remove(&number);
        }
        // A move from queued to running takes and frees the same slots.
        if let Some(hold) = taken {
            self.pools.entry(hold.pool).or_insert(Pool::default()).used += hold.slots;
            self.in_flight += 1;
            dag.in_flight += 1;
        }
        if let Some(hold) = freed {
            self.pools.entry(hold.pool).or_insert(Pool::default()).used -= hold.slots;
            self.in_flight -= 1;
            dag.in_flight -= 1;
        }
    }

    /// Keeps each executor's tries, before the fact is folded into the run.
    fn track_executor(&mut self, number: RunNo, fact: &Fact) {
        let run = &self.runs[&number];
        let place = |id, map| run.find(id, map);
        let (ix, starts) = match fact {
            Fact::TryStarted(f) => (place(&f.task_id, f.map_index), Some(f.executor.clone())),
            Fact::TrySucceeded(f) => (place(&f.task_id, f.map_index), None),
            Fact::TryFailed(f) => (place(&f.task_id, f.map_index), None),
            Fact::TrySkipped(f) => (place(&f.task_id, f.map_index), None),
            Fact::TryLost(f) => (place(&f.task_id, f.map_index), None),
            Fact::TryReturned(f) => (place(&f.task_id, f.map_index), None),
            Fact::TryCancelled(f) => (place(&f.task_id, f.map_index), None),
            _ => return,
        };
        let Some(ix) = ix else { return };
        if let Some(executor) = starts {
            let new = Executor { holds: std::collections::BTreeSet::new() };
            self.executors.entry(executor).or_insert(new).holds.insert((number, ix));
        } else if let Some(executor) = run.task(ix).state.executor()
            && let Some(held) = self.executors.get_mut(executor)
        {
            held.holds.remove(&(number, ix));
        }
    }

    /// Puts the run where its state belongs in every index, or lets it go if it is over.
    fn reindex(&mut self, number: RunNo, at: Timestamp) {
        if let Some(old) = self.timer_of.remove(&number) {
            self.timers.remove(&(old, number));
        }
        let run = &self.runs[&number];
        let key = run.key().clone();
        if let Phase::Over(ending) = run.phase() {
            self.hungry.remove(&number);
            let was_queued = self.queued.remove(&number);
            self.numbers.remove(&key);
            self.runs.remove(&number);
            if let Some(dag) = self.dags.get_mut(&key.dag_id) {
                if !dag.has_room() {
                    dag.full_until = Some(at);
                }
                dag.active.remove(&number);
                dag.running -= u32::from(!was_queued && dag.running > 0);
                dag.past.insert(key.run_id, ending);
                let runs = &self.runs;
                let used: std::collections::BTreeSet<_> = dag
                    .active
                    .iter()
                    .filter_map(|no| runs.get(no).map(|run| run.version().number))
                    .collect();
                dag.older.retain(|version, _| used.contains(version));
            }
            return;
        }
        if run.is_hungry() && matches!(run.phase(), Phase::Running { .. }) {
            self.hungry.insert(number);
        } else {
            self.hungry.remove(&number);
        }
        if let Some(due) = run.next_due() {
            self.timers.insert((due, number));
            self.timer_of.insert(number, due);
        }
    }

    /// Whether the DAG ever had this run.
    pub(super) fn knows_run(&self, key: &RunKey) -> bool {
        self.numbers.contains_key(key) || self.past_ending(key).is_some()
    }

    pub(super) fn past_ending(&self, key: &RunKey) -> Option<crate::run::Ending> {
        self.dags.get(&key.dag_id)?.past.get::<RunId>(&key.run_id).copied()
    }
}
