//! The fold itself: total, one arm for each fact.
use std::collections::BTreeMap;

use dagbok_events::{
    DagDisappeared, DagId, DagImportFailed, DagPaused, DagRegistered, Fact, Fault, MissedWhy,
    Record, Resources, RunExpected, RunMissed, Scope, Timestamp,
};

use super::{Condition, Dag, Promise, SetBack, Watch, dag_labels, dues::shift};
use crate::{AlertScope, Labels, Rule, Severity, limits, text::cut};

/// The pool that is always there.
const DEFAULT_POOL: &str = "default_pool";
/// What is said with an update of an asset that a watcher saw begins so, as in Airflow.
const FROM_TRIGGER: &str = r#"{"from_trigger": true"#;

/// What a fact is about, as far as it is of interest here.
enum About {
    Dag,
    Run,
    File,
    Executor,
    Pool,
    Asset,
    Clock,
    Report,
    Nothing,
}

/// Every fact is named, so that a new one has to say what it means here.
#[expect(clippy::too_many_lines, reason = "one arm a fact, and none may be forgotten")]
const fn about(fact: &Fact) -> About {
    match fact {
        Fact::DagRegistered(_)
        | Fact::DagDisappeared(_)
        | Fact::DagPaused(_)
        | Fact::DagUnpaused(_)
        | Fact::RunExpected(_)
        | Fact::RunMissed(_)
        | Fact::DagForgotten(_) => About::Dag,
        Fact::DagImportFailed(_) | Fact::DagImportRecovered(_) => About::File,
        Fact::RunCreated(_)
        | Fact::RunSucceeded(_)
        | Fact::RunFailed(_)
        | Fact::RunTimedOut(_)
        | Fact::RunCancelled(_)
        | Fact::RunCleared(_)
        | Fact::RunDeleted(_)
        | Fact::RunMarked(_)
        | Fact::TaskQueued(_)
        | Fact::TryStarted(_)
        | Fact::TrySucceeded(_)
        | Fact::TryFailed(_)
        | Fact::TrySkipped(_)
        | Fact::TryLost(_)
        | Fact::TryCancelled(_)
        | Fact::TryRescheduled(_)
        | Fact::TryDeferred(_)
        | Fact::TriggerFired(_)
        | Fact::TriggerFailed(_)
        | Fact::HitlAnswered(_)
        | Fact::DagCallbackSucceeded(_)
        | Fact::DagCallbackFailed(_)
        | Fact::DagCallbackUnbegun(_)
        | Fact::TaskCallbackFailed(_)
        | Fact::TryReturned(_)
        | Fact::RunStarted(_)
        | Fact::TaskExpanded(_)
        | Fact::TaskCleared(_)
        | Fact::TaskRuledOut(_)
        | Fact::TaskMarked(_) => About::Run,
        Fact::PoolSet(_) | Fact::PoolDeleted(_) => About::Pool,
        Fact::AssetUpdated(_) => About::Asset,
        Fact::ExecutorJoined(_)
        | Fact::ExecutorLeft(_)
        | Fact::ExecutorCordoned(_)
        | Fact::ExecutorUncordoned(_)
        | Fact::ExecutorFull(_) => About::Executor,
        Fact::ClockWentBack(_) => About::Clock,
        Fact::ReportRefused(_) => About::Report,
        Fact::BundlePublished(_)
        | Fact::XComPushed(_)
        | Fact::DagCallbackOrdered(_)
        | Fact::DagCallbackStarted(_)
        | Fact::DagCallbackLost(_)
        | Fact::TryNamed(_)
        | Fact::CheckpointKept(_)
        | Fact::CheckpointDropped(_)
        | Fact::TryProgressed(_)
        | Fact::LineageTold(_)
        | Fact::VariableSet(_)
        | Fact::VariableDeleted(_)
        | Fact::ConnectionSet(_)
        | Fact::ConnectionDeleted(_)
        | Fact::SecretsRewrapped(_)
        | Fact::LimitsSet(_)
        | Fact::ForeignEntrySkipped(_)
        | Fact::DagVersionsForgotten(_)
        | Fact::QueuedAssetsDropped(_)
        | Fact::RunNoted(_)
        | Fact::BackfillCreated(_)
        | Fact::BackfillPaused(_)
        | Fact::BackfillUnpaused(_)
        | Fact::BackfillCancelled(_)
        | Fact::BackfillCompleted(_)
        | Fact::BackfillSkipped(_)
        | Fact::RunBackfilled(_)
        | Fact::RunVersionChanged(_)
        | Fact::TaskNoted(_)
        | Fact::ScheduleForetold(_)
        | Fact::HistoryForgotten(_) => About::Nothing,
    }
}

impl Watch {
    /// Takes a record in. History is never refused.
    pub fn evolve(&mut self, seq: u64, record: &Record) {
        self.last_seq = seq;
        self.last_at = self.last_at.max(record.at);
        for fact in &record.facts {
            self.take(seq, record.at, &record.scope, fact);
        }
        self.note_traces(record);
    }

    /// Hands a fact to whom it is about.
    fn take(&mut self, seq: u64, at: Timestamp, scope: &Scope, fact: &Fact) {
        let (dag_id, run) = match scope {
            Scope::Dag(dag_id) => (Some(dag_id), None),
            Scope::Run(run) => (Some(&run.dag_id), Some(run)),
            Scope::Namespace | Scope::File(_) | Scope::Executor(_) => (None, None),
        };
        match (about(fact), dag_id, run, scope) {
            (About::Dag, Some(dag_id), ..) => self.of_dag(seq, at, dag_id, fact),
            (About::Run, _, Some(run), _) => self.of_run(seq, at, run, fact),
            (About::File, _, _, Scope::File(path)) => self.of_file(seq, at, path, fact),
            (About::Executor, ..) => self.of_executor(seq, at, scope, fact),
            (About::Pool, ..) => self.of_pool(seq, fact),
            (About::Asset, ..) => self.of_asset(seq, fact),
            (About::Clock, ..) => self.clock_went_back(seq, fact),
            (About::Report, ..) => self.report_refused(seq, at),
            _ => {}
        }
    }

    fn of_executor(&mut self, seq: u64, at: Timestamp, scope: &Scope, fact: &Fact) {
        let id = match (scope, fact) {
            (Scope::Executor(id), _) => id,
            (_, Fact::ExecutorCordoned(f)) => return self.cordon(&f.name, true),
            (_, Fact::ExecutorUncordoned(f)) => return self.cordon(&f.name, false),
            _ => return,
        };
        match fact {
            Fact::ExecutorJoined(joined) => self.joined(seq, id, joined),
            Fact::ExecutorLeft(left) => self.left(seq, at, id, *left),
            Fact::ExecutorFull(it) => self.filled(id, it.full),
            _ => {}
        }
    }

    /// Where a watcher saw that, it is well.
    fn of_asset(&mut self, seq: u64, fact: &Fact) {
        let Fact::AssetUpdated(it) = fact else { return };
        if !it.extra.as_deref().is_some_and(|extra| extra.starts_with(FROM_TRIGGER)) {
            return;
        }
        for dag_id in it.queued_for.iter().chain(&it.kept_for) {
            self.watcher_is_well(seq, dag_id, &it.asset);
        }
    }

    fn of_pool(&mut self, seq: u64, fact: &Fact) {
        match fact {
            Fact::PoolSet(it) => drop(self.pools.insert(it.pool.clone())),
            Fact::PoolDeleted(it) => drop(self.pools.remove(&it.pool)),
            _ => {}
        }
        self.weigh_all_pools(seq);
    }

    /// What began later than now by the clock as it was began now, and waits as long from here.
    fn clock_went_back(&mut self, seq: u64, fact: &Fact) {
        let Fact::ClockWentBack(back) = fact else { return };
        self.set_back = Some(SetBack { seq, from: back.from, to: back.to });
        self.last_at = back.to;
        self.looked_at = self.looked_at.min(back.to);
        let mut waiting: BTreeMap<Timestamp, BTreeMap<DagId, u32>> = BTreeMap::new();
        for (dag_id, copies) in &mut self.queued {
            for queued in copies.values_mut() {
                queued.at = queued.at.min(back.to);
                let at = queued.at.plus(limits::STUCK_QUEUED);
                *waiting.entry(at).or_default().entry(dag_id.clone()).or_default() += 1;
            }
        }
        self.waiting = waiting;
        self.dues = std::mem::take(&mut self.dues).shifted(back.to);
        for run in self.runs.values_mut() {
            run.at = run.at.min(back.to);
            run.started = run.started.map(|(seq, at)| (seq, at.min(back.to)));
            for due in run.dues.iter_mut().map(|(_, due)| due).chain(&mut run.idle) {
                *due = shift(due.clone(), back.to);
            }
            run.questions.values_mut().for_each(|question| question.clock_back(back.to));
        }
        self.refusals_clock_back(back.to);
        for lost in self.lost.values_mut() {
            lost.at = lost.at.min(back.to);
        }
        for dag in self.dags.values_mut() {
            dag.unpaused_at = dag.unpaused_at.map(|at| at.min(back.to));
            if let Some(stale) = &mut dag.stale {
                *stale = shift(stale.clone(), back.to);
            }
        }
        self.promises_clock_back(back.to);
        for failing in self.watchers.values_mut() {
            failing.clock_back(back.to);
        }
        self.touched.note_all();
    }

    fn of_dag(&mut self, seq: u64, at: Timestamp, dag_id: &DagId, fact: &Fact) {
        match fact {
            Fact::DagRegistered(registered) => self.registered(seq, at, dag_id, registered),
            Fact::DagDisappeared(gone) => self.disappeared(seq, at, dag_id, gone),
            Fact::DagPaused(DagPaused { .. }) => self.paused(seq, at, dag_id, true),
            Fact::DagUnpaused(_) => self.paused(seq, at, dag_id, false),
            Fact::RunExpected(promise) => self.expected(seq, at, dag_id, promise),
            Fact::RunMissed(missed) => self.missed(seq, at, dag_id, missed),
            Fact::DagForgotten(_) => {
                for rule in [
                    Rule::RunFailed,
                    Rule::RunMissed,
                    Rule::CallbackFailed,
                    Rule::DagVanished,
                    Rule::PoolMissing,
                    Rule::MemoryHigh,
                    Rule::RetriesRising,
                ] {
                    self.clear(seq, rule, AlertScope::Dag(dag_id.clone()));
                }
                if let Some(dag) = self.dags.get_mut(dag_id) {
                    dag.is_gone = true;
                }
                self.fresh(dag_id);
                self.retries_over(seq, dag_id, |_| true);
                self.watchers_are_well(seq, dag_id);
                self.promise(dag_id, None);
                self.dags.remove(dag_id);
            }
            _ => {}
        }
    }

    fn of_file(&mut self, seq: u64, at: Timestamp, path: &str, fact: &Fact) {
        match fact {
            Fact::DagImportFailed(failed) => self.import_failed(seq, at, path, failed),
            Fact::DagImportRecovered(_) => {
                self.clear(seq, Rule::ImportError, AlertScope::File(path.to_owned()));
            }
            _ => {}
        }
    }

    pub(super) fn dag(&mut self, dag_id: &DagId) -> &mut Dag {
        self.dags.entry(dag_id.clone()).or_default()
    }

    pub(super) fn raise(&mut self, condition: Condition) {
        let key = (condition.rule, condition.scope.clone());
        self.cleared.remove(&key);
        self.touched.note(|| key.clone());
        self.raised.insert(key, condition);
    }

    pub(super) fn clear(&mut self, seq: u64, rule: Rule, scope: AlertScope) {
        let key = (rule, scope);
        if self.raised.remove(&key).is_some() {
            self.touched.note(|| key.clone());
            self.cleared.insert(key, seq);
        }
    }

    fn registered(&mut self, seq: u64, at: Timestamp, dag_id: &DagId, registered: &DagRegistered) {
        let spec = &registered.spec;
        let dag = self.dag(dag_id);
        dag.owner.clone_from(&spec.owner);
        dag.tags.clone_from(&spec.tags);
        dag.email.clone_from(&spec.failure_email);
        dag.notify.clone_from(&spec.failure_notify);
        dag.file.clone_from(&spec.source.file);
        dag.max_active_runs = spec.max_active_runs;
        dag.is_gone = false;
        dag.deadlines.clone_from(&spec.deadlines);
        let asking = spec.tasks.iter().filter(|task| task.resources != Resources::default());
        let asks = asking.map(|task| (task.task_id.clone(), task.resources.clone()));
        dag.asks = asks.collect();
        dag.retry_email.clear();
        for task in spec.tasks.iter().filter(|task| !task.retry_email.is_empty()) {
            dag.retry_email.insert(task.task_id.clone(), task.retry_email.clone());
        }
        dag.pools.clear();
        for task in spec.tasks.iter().filter(|task| task.pool.as_str() != DEFAULT_POOL) {
            dag.pools.entry(task.pool.clone()).or_insert_with(|| task.task_id.clone());
        }
        dag.peaks.retain(|known, _| spec.tasks.iter().any(|task| task.task_id == *known));
        dag.registered.get_or_insert((seq, at));
        self.clear(seq, Rule::DagVanished, AlertScope::Dag(dag_id.clone()));
        match registered.paused {
            Some(paused) => self.paused(seq, at, dag_id, paused),
            None => self.fresh(dag_id),
        }
        self.callback_is_gone(seq, dag_id, spec);
        self.watchers_are_well(seq, dag_id);
        self.weigh_pools(seq, dag_id);
        self.weigh_all_memory(dag_id);
    }

    fn disappeared(&mut self, seq: u64, at: Timestamp, dag_id: &DagId, gone: &DagDisappeared) {
        let dag = self.dag(dag_id);
        dag.is_gone = true;
        let mut labels = dag_labels(dag_id, dag);
        labels.insert("file".to_owned(), gone.file.clone());
        let where_from = if gone.file_gone { "with its file" } else { "from its file" };
        self.raise(Condition {
            rule: Rule::DagVanished,
            scope: AlertScope::Dag(dag_id.clone()),
            severity: Severity::Warning,
            fault: Some(Fault::User),
            since: at,
            causes: vec![seq],
            due: None,
            run: None,
            labels,
            summary: format!("{dag_id}: the DAG is gone {where_from} {}", gone.file),
            details: vec![("file".to_owned(), gone.file.clone())],
        });
        self.fresh(dag_id);
        self.watchers_are_well(seq, dag_id);
        self.weigh_pools(seq, dag_id);
    }

    fn import_failed(&mut self, seq: u64, at: Timestamp, path: &str, failed: &DagImportFailed) {
        let owners: Vec<&str> = failed
            .keeps
            .iter()
            .filter_map(|dag_id| self.dags.get(dag_id))
            .map(|dag| dag.owner.as_str())
            .filter(|owner| !owner.is_empty() && *owner != super::NOBODY)
            .collect();
        let mut labels = Labels::from([("file".to_owned(), path.to_owned())]);
        if let Some(owner) = owners.first().filter(|owner| owners.iter().all(|it| it == *owner)) {
            labels.insert("owner".to_owned(), (*owner).to_owned());
        }
        if let [only] = failed.keeps.as_slice() {
            labels.insert("dag".to_owned(), only.to_string());
        }
        let line = failed.line.map(|line| format!(", line {line}")).unwrap_or_default();
        let keeps: Vec<String> = failed.keeps.iter().map(ToString::to_string).collect();
        // A message alone may be no more than the name that is missing.
        let error = format!("{}: {}", failed.exception, failed.message);
        let mut details =
            vec![("file".to_owned(), format!("{path}{line}")), ("error".to_owned(), cut(&error))];
        if !keeps.is_empty() {
            details.push(("DAGs that stay as they were".to_owned(), cut(&keeps.join(", "))));
        }
        self.raise(Condition {
            rule: Rule::ImportError,
            scope: AlertScope::File(path.to_owned()),
            severity: Severity::Critical,
            fault: Some(Fault::User),
            since: at,
            causes: vec![seq],
            due: None,
            run: None,
            labels,
            summary: cut(&format!("{path}{line}: the DAG file can't be read: {error}")),
            details,
        });
    }

    /// What is promised when it is due already, as where a DAG catches up or is read for the first time, has its grace
    /// from then on.
    fn expected(&mut self, seq: u64, at: Timestamp, dag_id: &DagId, promise: &RunExpected) {
        let standing = promise.logical_date.zip(promise.due).map(|(logical_date, due)| Promise {
            seq,
            logical_date,
            due,
            grace: promise.grace,
            broken_at: due.max(at).plus(promise.grace),
        });
        self.promise(dag_id, standing);
    }

    fn promises_clock_back(&mut self, to: Timestamp) {
        let standing = self.dags.iter().filter_map(|(dag_id, dag)| {
            let promise = dag.promise?;
            let broken_at = promise.broken_at.min(promise.due.max(to).plus(promise.grace));
            Some((dag_id.clone(), Promise { broken_at, ..promise }))
        });
        for (dag_id, promise) in standing.collect::<Vec<_>>() {
            self.promise(&dag_id, Some(promise));
        }
    }

    /// Has another promise stand in place of the one before, or none.
    pub(super) fn promise(&mut self, dag_id: &DagId, standing: Option<Promise>) {
        let before = match self.dags.get_mut(dag_id) {
            Some(dag) => std::mem::replace(&mut dag.promise, standing),
            None if standing.is_none() => return,
            None => std::mem::replace(&mut self.dag(dag_id).promise, standing),
        };
        if let Some(before) = before
            && let Some(dags) = self.promises.get_mut(&before.broken_at)
        {
            dags.remove(dag_id);
            if dags.is_empty() {
                self.promises.remove(&before.broken_at);
            }
        }
        if let Some(standing) = standing {
            self.promises.entry(standing.broken_at).or_default().insert(dag_id.clone());
        }
        self.touched.note(|| (Rule::RunMissing, AlertScope::Dag(dag_id.clone())));
    }

    fn missed(&mut self, seq: u64, at: Timestamp, dag_id: &DagId, missed: &RunMissed) {
        let dag = self.dag(dag_id);
        if dag.promise.is_some_and(|promise| promise.logical_date <= missed.last) {
            self.promise(dag_id, None);
        }
        let (severity, fault, cause, why) = match missed.why {
            // A run is there.
            MissedWhy::MadeByHand => return,
            MissedWhy::Paused => (Severity::Info, Fault::User, "paused", "the DAG was paused"),
            MissedWhy::ScheduleChanged => {
                let why = "the schedule was changed, or the DAG went away";
                (Severity::Info, Fault::User, "schedule_changed", why)
            }
            MissedWhy::NoScheduler => {
                (Severity::Critical, Fault::System, "no_scheduler", "no scheduler was running")
            }
            MissedWhy::TooManyActive => {
                let why = "max_active_runs were running until the next was due";
                (Severity::Warning, Fault::User, "too_many_active", why)
            }
        };
        let mut labels = dag_labels(dag_id, self.dag(dag_id));
        labels.insert("cause".to_owned(), cause.to_owned());
        self.raise(Condition {
            rule: Rule::RunMissed,
            scope: AlertScope::Dag(dag_id.clone()),
            severity,
            fault: Some(fault),
            since: at,
            causes: vec![seq],
            due: None,
            run: None,
            labels,
            summary: format!("{dag_id}: {} promised runs did not happen: {why}", missed.count),
            details: vec![
                ("first logical date".to_owned(), missed.first.to_string()),
                ("last logical date".to_owned(), missed.last.to_string()),
                ("cause".to_owned(), cause.to_owned()),
            ],
        });
    }
}
