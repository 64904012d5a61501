//! What takes too long: deadlines, runs that are slower than those before, runs of which nothing is under way, DAGs
//! whose last success is old.
use dagbok_events::{
    DagId, Deadline, DeadlineFrom, ExecutorId, Fact, MapIndex, Micros, RunKey, TaskId, Timestamp,
};

use super::{Dag, Run, Took, Watch, dag_labels, dues::Due};
use crate::{
    AlertScope, Labels, Rule, limits,
    thresholds::{Heed, heed},
};

impl Watch {
    /// Takes in what a fact says of how long things take. Before anything else does: of a run that is over nothing is
    /// known after.
    pub(super) fn of_time(&mut self, seq: u64, at: Timestamp, run: &RunKey, fact: &Fact) {
        match fact {
            Fact::RunStarted(_) => self.started(seq, at, run),
            Fact::RunSucceeded(_) => self.took(seq, at, run),
            Fact::TaskQueued(it) => self.under_way(run, &it.task_id, it.map_index, None),
            Fact::TryStarted(it) => {
                self.under_way(run, &it.task_id, it.map_index, Some(&it.executor));
            }
            // It waits, and holds no slot of an executor.
            Fact::TryDeferred(it) => self.under_way(run, &it.task_id, it.map_index, None),
            Fact::TryRescheduled(it) => self.under_way(run, &it.task_id, it.map_index, None),
            Fact::TryFailed(it) if it.retry_at.is_some() => {
                self.retried(run);
                self.under_way(run, &it.task_id, it.map_index, None);
            }
            Fact::TryLost(it) if it.retry_at.is_some() => {
                self.under_way(run, &it.task_id, it.map_index, None);
            }
            Fact::TrySucceeded(it) => {
                self.weigh_memory(seq, run, &it.task_id, it.usage.max_rss_bytes);
                self.done(run, &it.task_id, 1);
                self.rests(seq, at, run, &it.task_id, it.map_index, 0);
            }
            Fact::TrySkipped(it) => {
                self.done(run, &it.task_id, 1);
                self.rests(seq, at, run, &it.task_id, it.map_index, 0);
            }
            Fact::TryFailed(it) => self.rests(seq, at, run, &it.task_id, it.map_index, 0),
            Fact::TryLost(it) => self.rests(seq, at, run, &it.task_id, it.map_index, 0),
            Fact::TryCancelled(it) => self.rests(seq, at, run, &it.task_id, it.map_index, 0),
            Fact::TryReturned(it) => self.rests(seq, at, run, &it.task_id, it.map_index, 0),
            Fact::TaskExpanded(it) => {
                if let Some(run) = self.runs.get_mut(run) {
                    run.left.insert(it.task_id.clone(), it.length);
                }
            }
            Fact::TaskRuledOut(it) => {
                self.done(run, &it.task_id, it.further.saturating_add(1));
                self.rests(seq, at, run, &it.task_id, it.map_index, it.further);
            }
            Fact::TaskMarked(it) => {
                self.done(run, &it.task_id, it.further.saturating_add(1));
                self.rests(seq, at, run, &it.task_id, it.map_index, it.further);
            }
            Fact::TaskCleared(it) => {
                self.rests(seq, at, run, &it.task_id, it.map_index, it.further);
            }
            _ => {}
        }
    }

    /// A run is there: from now on its deadlines hold.
    pub(super) fn begun(&mut self, seq: u64, at: Timestamp, run: &RunKey) {
        let Some(known) = self.runs.get_mut(run) else { return };
        (known.at, known.seq) = (at, seq);
        let Some(dag) = self.dags.get(&run.dag_id) else { return };
        let mut dues: Vec<Due> =
            dag.deadlines.iter().filter_map(|it| deadline(it, dag, known, run)).collect();
        dues.extend(self.within(run));
        for due in dues {
            self.add_due(Rule::DeadlineMissed, run, due);
        }
        self.weigh_pools(seq, &run.dag_id);
    }

    /// What the configuration says of a DAG.
    pub(super) fn heeded(&self, dag_id: &DagId, dag: &Dag) -> Heed {
        if self.thresholds.is_empty() {
            return heed(&[], &Labels::new());
        }
        heed(&self.thresholds, &dag_labels(dag_id, dag))
    }

    /// The deadline of a run that the configuration sets.
    fn within(&self, run: &RunKey) -> Option<Due> {
        let (known, dag) = (self.runs.get(run)?, self.dags.get(&run.dag_id)?);
        let within = self.heeded(&run.dag_id, dag).within?;
        let at = known.interval_end.filter(|_| known.is_scheduled)?.plus(within);
        let what = "its deadline".to_owned();
        let (run_id, seq) = (Some(run.run_id.clone()), known.seq);
        Some(Due { at, seq, run_id, task_id: None, from: None, what, is_configured: true })
    }

    fn add_due(&mut self, rule: Rule, run: &RunKey, due: Due) {
        let Some(known) = self.runs.get_mut(run) else { return };
        known.dues.push((rule, due.clone()));
        self.put_due(rule, &run.dag_id, due);
    }

    fn put_due(&mut self, rule: Rule, dag_id: &DagId, due: Due) {
        // What is past when it is set is news: no look at what comes due finds it.
        if due.at <= self.looked_at.max(self.last_at) {
            self.touched.note(|| (rule, AlertScope::Dag(dag_id.clone())));
        }
        self.dues.add(rule, dag_id, due);
    }

    /// What was waited for came, or is waited for no more.
    fn drop_due(&mut self, rule: Rule, dag_id: &DagId, due: &Due) {
        self.dues.remove(rule, dag_id, due);
        // Only what may have counted as late is news.
        if due.at <= self.looked_at.max(self.last_at) {
            self.touched.note(|| (rule, AlertScope::Dag(dag_id.clone())));
        }
    }

    /// A run is over: nothing of it is waited for.
    pub(super) fn rest_of(&mut self, run: &RunKey, ended: &Run) {
        for (rule, due) in &ended.dues {
            self.drop_due(*rule, &run.dag_id, due);
        }
        for executor in ended.under_way.values().flatten() {
            self.let_go(executor);
        }
    }

    fn started(&mut self, seq: u64, at: Timestamp, run: &RunKey) {
        let Some(known) = self.runs.get_mut(run) else { return };
        known.started = Some((seq, at));
        if let Some(due) = self.slow(run) {
            self.add_due(Rule::RunSlow, run, due);
        }
        self.idle(seq, at, run);
    }

    /// From when a run counts as slow.
    fn slow(&self, run: &RunKey) -> Option<Due> {
        let (known, dag) = (self.runs.get(run)?, self.dags.get(&run.dag_id)?);
        let (seq, from) = known.started?;
        let percent = self.heeded(&run.dag_id, dag).slow_percent;
        let usual = dag.usual().filter(|_| percent > 0)?;
        let most = Micros(usual.0.saturating_mul(i64::from(percent)) / 100);
        let at = from.plus(most.max(Micros(usual.0.saturating_add(limits::SLOW_LEAST.0))));
        let what = format!("{} seconds at most", usual.0 / 1_000_000);
        let (run_id, from) = (Some(run.run_id.clone()), Some(from));
        Some(Due { at, seq, run_id, task_id: None, from, what, is_configured: true })
    }

    /// A run that succeeded: how long runs take is known better, and its DAG is fresh.
    fn took(&mut self, seq: u64, at: Timestamp, run: &RunKey) {
        let started = self.runs.get(run).and_then(|known| known.started);
        let queued = self.runs.get(run).map(|known| known.at);
        let dag = self.dag(&run.dag_id);
        if let (Some((_, started)), Some(queued)) = (started, queued) {
            let took = Took { run: at.since(started), whole: at.since(queued) };
            if dag.took.len() >= limits::HISTORY {
                dag.took.remove(0);
            }
            dag.took.push(took);
        }
        dag.succeeded = Some((seq, at));
        self.fresh(&run.dag_id);
    }

    /// Sets anew from when a DAG counts as stale.
    pub(super) fn fresh(&mut self, dag_id: &DagId) {
        let Some(dag) = self.dags.get(dag_id) else { return };
        let max_age = self.heeded(dag_id, dag).max_age.filter(|_| !dag.is_gone);
        let Some(dag) = self.dags.get_mut(dag_id) else { return };
        let before = dag.stale.take();
        let since = dag.succeeded.or(dag.registered);
        if let (Some(max_age), Some((seq, since))) = (max_age, since) {
            let what = if dag.succeeded.is_some() { "succeeded" } else { "known" };
            let (what, from) = (what.to_owned(), Some(since));
            let (at, run_id, task_id) = (since.plus(max_age), None, None);
            dag.stale = Some(Due { at, seq, run_id, task_id, from, what, is_configured: true });
        }
        let now = dag.stale.clone();
        if let Some(before) = before {
            self.drop_due(Rule::Stale, dag_id, &before);
        }
        if let Some(now) = now {
            self.put_due(Rule::Stale, dag_id, now);
        }
    }

    /// Something of a run is under way, or waits for its time.
    fn under_way(
        &mut self,
        run: &RunKey,
        task_id: &TaskId,
        map_index: MapIndex,
        executor: Option<&ExecutorId>,
    ) {
        let Some(known) = self.runs.get_mut(run) else { return };
        let before = known.under_way.insert((task_id.clone(), map_index), executor.cloned());
        let idle = known.idle.take();
        if let Some(idle) = idle {
            known.dues.retain(|(_, due)| *due != idle);
            self.drop_due(Rule::RunStuck, &run.dag_id, &idle);
        }
        if let Some(held) = before.flatten() {
            self.let_go(&held);
        }
        if let Some(held) = executor.and_then(|id| self.executors.get_mut(id)) {
            held.running = held.running.saturating_add(1);
        }
    }

    fn let_go(&mut self, executor: &ExecutorId) {
        if let Some(held) = self.executors.get_mut(executor) {
            held.running = held.running.saturating_sub(1);
        }
    }

    /// Copies of a task are under way no more, from `map_index` on and `further` after it.
    fn rests(
        &mut self,
        seq: u64,
        at: Timestamp,
        run: &RunKey,
        task_id: &TaskId,
        map_index: MapIndex,
        further: u32,
    ) {
        let Some(known) = self.runs.get_mut(run) else { return };
        let last = MapIndex(map_index.0.saturating_add(i32::try_from(further).unwrap_or(i32::MAX)));
        let span = (task_id.clone(), map_index)..=(task_id.clone(), last);
        let gone: Vec<_> = known.under_way.range(span).map(|(copy, _)| copy.clone()).collect();
        let held: Vec<ExecutorId> =
            gone.iter().filter_map(|copy| known.under_way.remove(copy)).flatten().collect();
        let is_idle = known.under_way.is_empty() && known.started.is_some();
        for executor in held {
            self.let_go(&executor);
        }
        if is_idle {
            self.idle(seq, at, run);
        }
    }

    /// Nothing of a run is under way: something is to come before long.
    fn idle(&mut self, seq: u64, at: Timestamp, run: &RunKey) {
        let Some(known) = self.runs.get_mut(run).filter(|it| it.under_way.is_empty()) else {
            return;
        };
        let before = known.idle.take();
        let (run_id, what) = (Some(run.run_id.clone()), String::new());
        let (due_at, from, task_id) = (at.plus(limits::STUCK_IDLE), Some(at), None);
        let due = Due { at: due_at, seq, run_id, task_id, from, what, is_configured: false };
        known.idle = Some(due.clone());
        if let Some(before) = before {
            known.dues.retain(|(_, due)| *due != before);
            self.drop_due(Rule::RunStuck, &run.dag_id, &before);
        }
        self.add_due(Rule::RunStuck, run, due);
    }

    /// So many copies of a task are done.
    fn done(&mut self, run: &RunKey, task_id: &TaskId, count: u32) {
        let Some(known) = self.runs.get_mut(run) else { return };
        if let Some(left) = known.left.get_mut(task_id) {
            *left = left.saturating_sub(count);
            if *left > 0 {
                return;
            }
        }
        let is_met = |due: &Due| due.task_id.as_ref() == Some(task_id);
        let met: Vec<_> = known.dues.iter().filter(|(_, due)| is_met(due)).cloned().collect();
        known.dues.retain(|(_, due)| !is_met(due));
        for (rule, due) in met {
            self.drop_due(rule, &run.dag_id, &due);
        }
    }

    fn retried(&mut self, run: &RunKey) {
        if let Some(known) = self.runs.get_mut(run) {
            known.retries = known.retries.saturating_add(1);
        }
    }

    /// Sets anew what the configuration says of times.
    pub(super) fn reckon(&mut self) {
        let runs: Vec<RunKey> = self.runs.keys().cloned().collect();
        for run in runs {
            let Some(known) = self.runs.get_mut(&run) else { continue };
            let all = std::mem::take(&mut known.dues);
            let (set, kept) = all.into_iter().partition(|(_, due)| due.is_configured);
            known.dues = kept;
            let set: Vec<(Rule, Due)> = set;
            for (rule, due) in set {
                self.drop_due(rule, &run.dag_id, &due);
            }
            for (rule, due) in
                [(Rule::RunSlow, self.slow(&run)), (Rule::DeadlineMissed, self.within(&run))]
            {
                if let Some(due) = due {
                    self.add_due(rule, &run, due);
                }
            }
        }
        let dags: Vec<DagId> = self.dags.keys().cloned().collect();
        for dag_id in dags {
            self.fresh(&dag_id);
            self.weigh_all_memory(&dag_id);
        }
    }
}

impl Dag {
    /// How long nearly all of the newest runs took at most, where there were enough of them.
    fn usual(&self) -> Option<Micros> {
        let mut took: Vec<Micros> = self.took.iter().map(|it| it.run).collect();
        if took.len() < limits::HISTORY_LEAST {
            return None;
        }
        took.sort_unstable();
        let place = (took.len() * 99).div_ceil(100).max(1) - 1;
        took.get(place).copied()
    }

    /// How long the newest runs took on average from being made to their end.
    fn average(&self, max_runs: u32, min_runs: u32) -> Option<Micros> {
        let most = usize::try_from(max_runs).unwrap_or(usize::MAX);
        let newest = self.took.iter().rev().take(most.max(1));
        let took: Vec<i64> = newest.map(|it| it.whole.0).collect();
        let least = usize::try_from(min_runs).unwrap_or(usize::MAX).max(1);
        let count = i64::try_from(took.len()).ok().filter(|_| took.len() >= least)?;
        Some(Micros(took.iter().sum::<i64>() / count))
    }
}

/// When a run has missed a deadline, where the deadline is one of it.
fn deadline(it: &Deadline, dag: &Dag, known: &Run, run: &RunKey) -> Option<Due> {
    let (base, from) = match it.from {
        DeadlineFrom::IntervalEnd => (known.interval_end.filter(|_| known.is_scheduled)?, None),
        DeadlineFrom::LogicalDate => (known.logical_date?, None),
        DeadlineFrom::QueuedAt => (known.at, Some(known.at)),
        DeadlineFrom::Fixed(at) => (at, None),
        DeadlineFrom::AverageRuntime { max_runs, min_runs } => {
            (known.at.plus(dag.average(max_runs, min_runs)?), Some(known.at))
        }
    };
    let what = match (&it.name, &it.task_id) {
        (Some(name), _) => format!("its deadline {name}"),
        (None, Some(_)) => "its sla".to_owned(),
        (None, None) => "its deadline".to_owned(),
    };
    let (run_id, task_id) = (Some(run.run_id.clone()), it.task_id.clone());
    let (at, seq) = (base.plus(it.after), known.seq);
    Some(Due { at, seq, run_id, task_id, from, what, is_configured: false })
}
