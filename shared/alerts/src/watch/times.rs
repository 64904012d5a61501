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
            Fact::RunSucceeded(_) => {
                self.took(at, run, true);
                self.dag(&run.dag_id).succeeded = Some((seq, at));
                self.fresh(&run.dag_id);
            }
            ended if ended.ends_run() => self.took(at, run, false),
            Fact::TaskQueued(it) => {
                self.answered(run, &it.task_id, it.map_index, 0);
                self.under_way(run, &it.task_id, it.map_index, None);
            }
            Fact::TryStarted(it) => {
                self.under_way(run, &it.task_id, it.map_index, Some(&it.executor));
            }
            // It waits, and holds no slot of an executor.
            Fact::TryDeferred(it) => {
                self.under_way(run, &it.task_id, it.map_index, None);
                self.asked(seq, at, run, it);
            }
            Fact::HitlAnswered(it) => self.answered(run, &it.task_id, it.map_index, 0),
            Fact::TriggerFired(it) => self.answered(run, &it.task_id, it.map_index, 0),
            Fact::TriggerFailed(it) => self.answered(run, &it.task_id, it.map_index, 0),
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
                self.done(run, &it.task_id, it.map_index, 0);
                self.rests(seq, at, run, &it.task_id, it.map_index, 0);
            }
            Fact::TrySkipped(it) => {
                self.done(run, &it.task_id, it.map_index, 0);
                self.rests(seq, at, run, &it.task_id, it.map_index, 0);
            }
            Fact::TryFailed(it) => self.rests(seq, at, run, &it.task_id, it.map_index, 0),
            Fact::TryLost(it) => self.rests(seq, at, run, &it.task_id, it.map_index, 0),
            Fact::TryCancelled(it) => self.rests(seq, at, run, &it.task_id, it.map_index, 0),
            Fact::TryReturned(it) => self.rests(seq, at, run, &it.task_id, it.map_index, 0),
            Fact::TaskExpanded(it) => {
                self.expanded(run, &it.task_id, it.length);
            }
            Fact::TaskRuledOut(it) => {
                self.done(run, &it.task_id, it.map_index, it.further);
                self.rests(seq, at, run, &it.task_id, it.map_index, it.further);
            }
            Fact::TaskMarked(it) => {
                self.done(run, &it.task_id, it.map_index, it.further);
                self.rests(seq, at, run, &it.task_id, it.map_index, it.further);
            }
            Fact::TaskCleared(it) => {
                self.undone(run, &it.task_id, it.map_index, it.further);
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
        let deadlines = dag.deadlines.iter().filter_map(|it| deadline(it, dag, known, run));
        // A deadline that was past when somebody cleared the run was met or told of by then.
        let mut dues: Vec<Due> =
            deadlines.filter(|due| !known.is_cleared || due.at > known.at).collect();
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
        if known.is_cleared && at <= known.at {
            return None;
        }
        let what = "its deadline".to_owned();
        let (run_id, seq) = (Some(run.run_id.clone()), known.seq);
        Some(Due { at, seq, run_id, task_id: None, from: None, what, is_configured: true })
    }

    fn add_due(&mut self, rule: Rule, run: &RunKey, due: Due) {
        let ahead = (rule == Rule::DeadlineMissed).then(|| self.ahead(run, &due)).flatten();
        if let Some(ahead) = ahead {
            self.add_due(Rule::DeadlineAhead, run, ahead);
        }
        let Some(known) = self.runs.get_mut(run) else { return };
        known.dues.push((rule, due.clone()));
        self.put_due(rule, &run.dag_id, due);
    }

    pub(super) fn put_due(&mut self, rule: Rule, dag_id: &DagId, due: Due) {
        // What is past when it is set is news: no look at what comes due finds it.
        if due.at <= self.looked_at.max(self.last_at) {
            self.touched.note(|| (rule, AlertScope::Dag(dag_id.clone())));
        }
        self.dues.add(rule, dag_id, due);
    }

    /// What was waited for came, or is waited for no more.
    pub(super) fn drop_due(&mut self, rule: Rule, dag_id: &DagId, due: &Due) {
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
        self.forget_questions(&run.dag_id, ended.questions.values());
        for executor in ended.under_way.values().flatten() {
            self.let_go(executor);
        }
    }

    /// From when it is foretold that a run misses a deadline: once what is left is less than half of those before it took.
    /// A run that has begun in time is foretold nothing.
    fn ahead(&self, run: &RunKey, deadline: &Due) -> Option<Due> {
        let (known, dag) = (self.runs.get(run)?, self.dags.get(&run.dag_id)?);
        // How long a run takes of which only some tasks run is not known.
        if deadline.task_id.is_some() || deadline.at <= known.at || known.is_cleared {
            return None;
        }
        let half = dag.half()?;
        let last = Timestamp(deadline.at.0.saturating_sub(half.0));
        let (at, seq) = match known.started {
            Some((_, started)) if started <= last => return None,
            Some((seq, started)) => (started, seq),
            None => (last.max(known.at), deadline.seq),
        };
        let took = half.0 / 1_000_000;
        let what =
            format!("{} of {}: those before it took {took} seconds", deadline.what, deadline.at);
        let (run_id, is_configured) = (deadline.run_id.clone(), deadline.is_configured);
        // By the scheduler's clock where the deadline is.
        let from = deadline.from.and(Some(known.at));
        Some(Due { at, seq, run_id, task_id: None, from, what, is_configured })
    }

    /// A run has begun: what was foretold of it is foretold anew.
    fn foretell(&mut self, run: &RunKey) {
        let Some(known) = self.runs.get_mut(run) else { return };
        let all = std::mem::take(&mut known.dues);
        let (before, kept): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(rule, _)| *rule == Rule::DeadlineAhead);
        let deadlines = kept.iter().filter(|(rule, _)| *rule == Rule::DeadlineMissed);
        let deadlines: Vec<Due> = deadlines.map(|(_, due)| due.clone()).collect();
        known.dues = kept;
        for (_, due) in before {
            self.drop_due(Rule::DeadlineAhead, &run.dag_id, &due);
        }
        let ahead: Vec<Due> = deadlines.iter().filter_map(|due| self.ahead(run, due)).collect();
        for due in ahead {
            self.add_due(Rule::DeadlineAhead, run, due);
        }
    }

    fn started(&mut self, seq: u64, at: Timestamp, run: &RunKey) {
        let Some(known) = self.runs.get_mut(run) else { return };
        known.started = Some((seq, at));
        self.foretell(run);
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

    /// A run that is over: how long runs take is known better. One that was cleared says nothing of it: only some of
    /// its tasks ran.
    fn took(&mut self, at: Timestamp, run: &RunKey, has_succeeded: bool) {
        let Some(known) = self.runs.get(run).filter(|known| !known.is_cleared) else { return };
        let Some((_, started)) = known.started else { return };
        let dag = self.dag(&run.dag_id);
        let surplus = (dag.took.len() + 1).saturating_sub(dag.history());
        dag.took.drain(..surplus);
        dag.took.push(Took { run: at.since(started), has_succeeded });
    }

    /// A DAG is paused, or is no more: meanwhile nothing of it is waited for, and from then on for as long again.
    pub(super) fn paused(&mut self, seq: u64, at: Timestamp, dag_id: &DagId, paused: bool) {
        let dag = self.dag(dag_id);
        let was = dag.paused.is_some();
        dag.paused = paused.then_some(seq);
        if paused {
            self.watchers_are_well(seq, dag_id);
        } else if was {
            dag.unpaused_at = Some(at);
            let runs = self.runs.iter().filter(|(run, known)| {
                run.dag_id == *dag_id && known.started.is_some() && known.under_way.is_empty()
            });
            let idle: Vec<RunKey> = runs.map(|(run, _)| run.clone()).collect();
            for run in idle {
                self.idle(seq, at, &run);
            }
        }
        self.fresh(dag_id);
        self.touched.note(|| (Rule::RunStuck, AlertScope::Dag(dag_id.clone())));
    }

    /// Sets anew from when a DAG counts as stale.
    pub(super) fn fresh(&mut self, dag_id: &DagId) {
        let Some(dag) = self.dags.get(dag_id) else { return };
        let waits = !dag.is_gone && dag.paused.is_none();
        let max_age = self.heeded(dag_id, dag).max_age.filter(|_| waits);
        let Some(dag) = self.dags.get_mut(dag_id) else { return };
        let before = dag.stale.take();
        let since = dag.succeeded.or(dag.registered);
        if let (Some(max_age), Some((seq, since))) = (max_age, since) {
            let what = if dag.succeeded.is_some() { "succeeded" } else { "known" };
            let (what, from) = (what.to_owned(), Some(since));
            let counted = since.max(dag.unpaused_at.unwrap_or(since));
            let (at, run_id, task_id) = (counted.plus(max_age), None, None);
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
        self.answered(run, task_id, map_index, further);
        let Some(known) = self.runs.get_mut(run) else { return };
        let last = last_of(map_index, further);
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

    /// A task has so many copies: where it is waited for, it is done once all of them are.
    fn expanded(&mut self, run: &RunKey, task_id: &TaskId, length: u32) {
        let Some(known) = self.runs.get_mut(run) else { return };
        if known.dues.iter().any(|(_, due)| due.task_id.as_ref() == Some(task_id)) {
            let length = i32::try_from(length).unwrap_or(i32::MAX);
            known.left.insert(task_id.clone(), (0..length).map(MapIndex).collect());
        }
    }

    /// Copies of a task are to be done again.
    fn undone(&mut self, run: &RunKey, task_id: &TaskId, first: MapIndex, further: u32) {
        let left = self.runs.get_mut(run).and_then(|known| known.left.get_mut(task_id));
        if let Some(left) = left.filter(|_| !first.is_unmapped()) {
            left.extend((first.0..=last_of(first, further).0).map(MapIndex));
        }
    }

    /// Copies of a task are done.
    fn done(&mut self, run: &RunKey, task_id: &TaskId, first: MapIndex, further: u32) {
        let Some(known) = self.runs.get_mut(run) else { return };
        if let Some(left) = known.left.get_mut(task_id) {
            // Of many copies most are done one by one: what is left is not gone through for each.
            let rest = last_of(first, further)
                .0
                .checked_add(1)
                .map(|next| left.split_off(&MapIndex(next)));
            left.split_off(&first);
            left.extend(rest.into_iter().flatten());
            if !left.is_empty() {
                return;
            }
        }
        known.left.remove(task_id);
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
            self.reckon_questions(&run);
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
        let took = self.successes()?;
        let place = (took.len() * 99).div_ceil(100).max(1) - 1;
        took.get(place).copied()
    }

    /// What half of the newest successes took at most: less is left than that to a run that will be late.
    fn half(&self) -> Option<Micros> {
        let took = self.successes()?;
        took.get((took.len() - 1) / 2).copied()
    }

    /// How long the newest runs that succeeded took, the shortest first, where there were enough of them.
    fn successes(&self) -> Option<Vec<Micros>> {
        let good = self.took.iter().rev().filter(|it| it.has_succeeded);
        let mut took: Vec<Micros> = good.take(limits::HISTORY).map(|it| it.run).collect();
        if took.len() < limits::HISTORY_LEAST {
            return None;
        }
        took.sort_unstable();
        Some(took)
    }

    /// How many runs' times its deadlines may ask for.
    fn history(&self) -> usize {
        let asked = self.deadlines.iter().filter_map(|it| match it.from {
            DeadlineFrom::AverageRuntime { max_runs, .. } => usize::try_from(max_runs).ok(),
            _ => None,
        });
        asked.max().unwrap_or(0).clamp(limits::HISTORY, limits::HISTORY_MOST)
    }

    /// How long the newest runs took on average from their start to their end, however they ended: Airflow's
    /// `AverageRuntimeDeadline`. No more runs are asked for than are remembered.
    fn average(&self, max_runs: u32, min_runs: u32) -> Option<Micros> {
        let runs = |count: u32| usize::try_from(count).unwrap_or(usize::MAX).max(1);
        let most = runs(max_runs).min(limits::HISTORY_MOST);
        let newest = self.took.iter().rev().take(most);
        let took: Vec<i64> = newest.map(|it| it.run.0).collect();
        let least = runs(min_runs).min(most);
        let count = i64::try_from(took.len()).ok().filter(|_| took.len() >= least)?;
        Some(Micros(took.iter().sum::<i64>() / count))
    }
}

/// The last of so many further copies.
pub(super) fn last_of(first: MapIndex, further: u32) -> MapIndex {
    MapIndex(first.0.saturating_add(i32::try_from(further).unwrap_or(i32::MAX)))
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
