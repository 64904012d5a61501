//! The second opinion on what tasks wait for of the run before, looked up among all runs there are; and on tasks that
//! are no part of a run by their dates.
use std::collections::BTreeSet;

use dagbok_domain::{run::Done, trigger_rule::Standing};
use dagbok_events::{DagSpec, Fact, RuledOut, RunKey, RunType, TaskId, Timestamp};
use dagbok_protocol::Reason;

use super::{
    Audit, Finding,
    run::{RunModel, Stage},
    task::{Stand, TaskModel},
};

/// What a task waits for of the run before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Past {
    /// Nothing.
    Free,
    /// These tasks of that run, which neither succeeded nor were skipped.
    Held { date: Timestamp, run: RunKey, bad: BTreeSet<TaskId> },
    /// The rules remember less of runs that are over than would say, once versions of a DAG differ.
    Unsure,
}

impl TaskModel {
    /// Whether it waits for the run before with being skipped, too.
    pub(super) const fn may_wait_to_be_skipped(&self) -> bool {
        self.spec.depends_on_past && self.spec.wait_for_past_depends_before_skipping
    }

    fn is_good(&self) -> bool {
        let good = |done| {
            let in_order = [RuledOut::Skipped, RuledOut::Removed].map(Done::RuledOut);
            done == Done::Success || in_order.contains(&done)
        };
        self.copies.iter().all(|copy| copy.done().is_some_and(good))
    }

    fn is_absent(&self) -> bool {
        self.copies[0].done() == Some(Done::RuledOut(RuledOut::OutOfDates))
    }
}

impl RunModel {
    /// Whether somebody gave it a date that is yet to come.
    pub(super) fn is_ahead_of(&self, now: Timestamp) -> bool {
        self.given.is_some_and(|date| date > now)
    }

    /// Whether a task is no part of it, whatever became of that.
    pub(super) fn is_out_of_dates(&self, task: &TaskModel) -> bool {
        let Some(date) = self.logical_date.filter(|_| self.run_type != RunType::Backfill) else {
            return false;
        };
        let starts = [task.spec.start_date, self.dates.0];
        let ends = [task.spec.end_date, self.dates.1];
        starts.into_iter().flatten().any(|start| date < start)
            || ends.into_iter().flatten().any(|end| date > end)
    }

    fn has(&self, task_id: &TaskId) -> Option<&TaskModel> {
        let found = self.tasks.iter().find(|task| task.spec.task_id == *task_id);
        found.filter(|task| !task.is_absent())
    }

    fn named_as_by_hand(&self) -> bool {
        let made = ["scheduled__", "backfill__", "asset_triggered__", "dataset_triggered__"];
        !made.iter().any(|prefix| self.run_id.as_str().starts_with(prefix))
    }

    /// The tasks whose ends in the run before a task looks at.
    fn looked_at(&self, task: &TaskModel) -> BTreeSet<TaskId> {
        let own = self.place(&task.spec.task_id).and_then(|ix| u32::try_from(ix).ok());
        let below = self.tasks.iter().filter(|it| {
            task.spec.wait_for_downstream && own.is_some_and(|own| it.spec.upstream.contains(&own))
        });
        below.chain([task]).map(|it| it.spec.task_id.clone()).collect()
    }
}

/// Whether a version of a DAG has a task that looks at this one of the run before.
fn asks_for(dag: &DagSpec, task_id: &TaskId) -> bool {
    let Some(place) = dag.tasks.iter().position(|task| task.task_id == *task_id) else {
        return false;
    };
    let mut above = dag.tasks[place].upstream.iter().map(|up| &dag.tasks[*up as usize]);
    dag.tasks[place].depends_on_past || above.any(|up| up.depends_on_past && up.wait_for_downstream)
}

impl Audit {
    /// The run before one: with the next earlier logical date; of a DAG that catches up none made by hand.
    fn run_before(&self, key: &RunKey, run: &RunModel) -> Option<(&RunKey, &RunModel)> {
        let date = run.logical_date?;
        let earlier = self.runs.iter().filter(|(it, before)| {
            it.dag_id == key.dag_id && before.logical_date.is_some_and(|it| it < date)
        });
        let counts = |before: &RunModel| !run.catchup || before.run_type != RunType::Manual;
        earlier.filter(|(_, before)| counts(before)).max_by_key(|(_, before)| before.logical_date)
    }

    /// What a task of a run waits for of the run before.
    pub(super) fn past_of(&self, key: &RunKey, run: &RunModel, task: &TaskModel) -> Past {
        if !task.spec.depends_on_past {
            return Past::Free;
        }
        let over = |it: &RunModel| it.stage == Stage::Over;
        // The rules go by the ids of runs that are over, which a backfill may have taken up; those of runs by assets
        // mean a logical date in one era only.
        let odd = |(it, before): (&RunKey, &RunModel)| {
            it.dag_id == key.dag_id
                && over(before)
                && before.logical_date < run.logical_date
                && (before.named_as_by_hand() != (before.run_type == RunType::Manual)
                    || before.run_type == RunType::AssetTriggered)
        };
        if run.catchup && run.logical_date.is_some() && self.runs.iter().any(odd) {
            return Past::Unsure;
        }
        let Some((of, before)) = self.run_before(key, run) else { return Past::Free };
        let date = before.logical_date.expect("it has one");
        let start = task.spec.start_date.or(run.dates.0);
        if run.catchup && start.is_some_and(|start| date < start) {
            return Past::Free;
        }
        let looked_at = run.looked_at(task);
        if before.has(&task.spec.task_id).is_none() {
            return Past::Unsure;
        }
        let versions = self.dags[&key.dag_id].versions.range(before.version.min(run.version)..);
        let known = |(_, dag): (&u32, &DagSpec)| looked_at.iter().all(|it| asks_for(dag, it));
        if over(before) && !versions.into_iter().all(known) {
            return Past::Unsure;
        }
        let is_bad = |it: &&TaskId| before.has(it).is_some_and(|it| !it.is_good());
        let bad: BTreeSet<TaskId> = looked_at.iter().filter(is_bad).cloned().collect();
        if bad.is_empty() { Past::Free } else { Past::Held { date, run: of.clone(), bad } }
    }

    /// Nothing is offered that waits for the run before, and nothing skipped that waits with that, too.
    pub(super) fn goes_by_the_past(&mut self, key: &RunKey, fact: &Fact) -> Finding {
        let (task_id, map_index) = match fact {
            Fact::TaskQueued(f) => (&f.task_id, f.map_index),
            Fact::TaskRuledOut(f) if f.why == RuledOut::Skipped => (&f.task_id, f.map_index),
            Fact::TaskRuledOut(f) if f.why == RuledOut::OutOfDates => {
                self.note("left out by its dates");
                return Ok(());
            }
            _ => return Ok(()),
        };
        let Some(run) = self.runs.get(key) else { return Ok(()) };
        let Some(task) = run.tasks.iter().find(|it| it.spec.task_id == *task_id) else {
            return Ok(());
        };
        let Past::Held { run: before, bad, .. } = self.past_of(key, run, task) else {
            return Ok(());
        };
        if matches!(fact, Fact::TaskQueued(_)) {
            return Err(format!("{task_id} is offered, and waits for {bad:?} of {before}"));
        }
        let by_rule = run.verdict(task, map_index) == Standing::Never(RuledOut::Skipped)
            && !run.is_stopped(task)
            && !run.is_decided_against(task_id)
            && task.expanded != Some(0);
        if by_rule && task.may_wait_to_be_skipped() && matches!(run.stage, Stage::Running(_)) {
            return Err(format!("{task_id} is skipped, and waits for {bad:?} of {before}"));
        }
        Ok(())
    }

    /// Whether a reason that names the run before is so.
    pub(super) fn is_held_by(
        &self,
        (key, run, task): (&RunKey, &RunModel, &TaskModel),
        reason: &Reason,
    ) -> bool {
        let Reason::DependsOnPast { logical_date, run_id, tasks } = reason else { return false };
        match self.past_of(key, run, task) {
            Past::Free => false,
            Past::Unsure => true,
            Past::Held { date, run: before, bad } => {
                let goes_on = self.runs[&before].stage != Stage::Over;
                let told: BTreeSet<TaskId> = tasks.iter().cloned().collect();
                date == *logical_date
                    && run_id.as_ref() == goes_on.then_some(&before.run_id)
                    && told == bad
            }
        }
    }

    /// Whether what is said of a copy that has not begun names the run before where that keeps it, and nothing waits
    /// to be skipped that does not wait for that.
    pub(super) fn past_is_told(
        &self,
        (key, run, task): (&RunKey, &RunModel, &TaskModel),
        (stand, verdict): (&Stand, Standing),
        reasons: &[Reason],
    ) -> Finding {
        if *stand != Stand::Waiting || !matches!(run.stage, Stage::Running(_)) {
            return Ok(());
        }
        let past = self.past_of(key, run, task);
        if verdict == Standing::Never(RuledOut::Skipped) && past == Past::Free {
            return Err("it is to be skipped, and waits for nothing".to_owned());
        }
        let told = reasons.iter().any(|it| matches!(it, Reason::DependsOnPast { .. }));
        if matches!(past, Past::Held { .. }) && !told {
            return Err(format!("{past:?} is not told"));
        }
        Ok(())
    }

    /// Tasks that keep those of later runs for good, unless somebody sees to it: of runs that are over, or that have
    /// no turn; by run.
    pub fn keeping_others(&self) -> Vec<(RunKey, Vec<TaskId>)> {
        let mut found = Vec::new();
        let going =
            self.active().filter(|(_, run)| matches!(run.stage, Stage::Running(_) | Stage::Ending));
        for (key, run) in going {
            for task in run.tasks.iter().filter(|it| it.copies.iter().any(|it| it.done().is_none()))
            {
                if let Past::Held { run: before, bad, .. } = self.past_of(key, run, task)
                    && matches!(self.runs[&before].stage, Stage::Over | Stage::Queued)
                {
                    found.push((before, bad.into_iter().collect()));
                }
            }
        }
        found
    }

    /// Runs in which a task waits for the past, whatever that is, and those of a date to come: a clock that was ahead may
    /// have made that one of many hours.
    pub fn waiting_for_others(&self) -> Vec<RunKey> {
        let waits = |(key, run): (&RunKey, &RunModel)| {
            let is_dated = run.stage == Stage::Queued && run.given.is_some();
            let open = |it: &&TaskModel| it.copies.iter().any(|it| it.done().is_none());
            let mut open = run.tasks.iter().filter(open);
            is_dated || open.any(|task| self.past_of(key, run, task) != Past::Free)
        };
        self.active().filter(|it| waits(*it)).map(|(key, _)| key.clone()).collect()
    }
}
