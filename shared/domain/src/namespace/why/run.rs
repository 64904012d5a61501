//! What keeps runs, and copies of their tasks.
use std::collections::BTreeSet;

use dagbok_events::{HitlAsk, RunId, Timestamp};
use dagbok_protocol::{Blocker, Reason};

use super::{COUNTED, NAMED, Namespace, RunNo, stands};
use crate::{
    run::{Done, InstanceNo, Phase, Run, Seen, TaskState},
    trigger_rule::Standing,
};

/// Tasks that are looked through for what stands at the root of a wait.
const ROOTS_LOOKED: usize = 2_000;

impl Namespace {
    /// What keeps a run from beginning; of one that began, that its DAG is paused, or its time is up.
    pub(super) fn reasons_of_run(&self, number: RunNo, run: &Run, now: Timestamp) -> Vec<Reason> {
        let mut reasons = Vec::new();
        let Some(dag) = self.dags.get(&run.key().dag_id) else { return reasons };
        if dag.paused {
            reasons.push(Reason::Paused);
        }
        if run.timed_out(now) {
            reasons.extend(run.times_out_at().map(|since| Reason::TimedOut { since }));
        }
        if run.phase() != Phase::Queued {
            return reasons;
        }
        if run.meta().backfill_id.is_some() {
            reasons.extend(self.reasons_of_backfill(number, dag));
            if reasons.is_empty() {
                reasons.push(Reason::Next);
            }
            return reasons;
        }
        let run_after = run.meta().run_after;
        if run_after > now {
            reasons.push(Reason::NotDue { due: run_after });
        }
        let most = dag.max_active_runs();
        let before = dag.queued.range(..(run_after, number)).take(COUNTED as usize).count();
        let before = u32::try_from(before).unwrap_or(u32::MAX);
        if dag.running.saturating_add(before) >= most {
            let running = dag.active.iter().filter_map(|number| self.runs.get(number));
            let own = |run: &&std::sync::Arc<Run>| run.meta().backfill_id.is_none();
            let running = running.filter(|run| run.phase().is_under_way()).filter(own);
            let runs: Vec<RunId> =
                running.take(NAMED).map(|run| run.key().run_id.clone()).collect();
            let more = dag.running.saturating_sub(u32::try_from(runs.len()).unwrap_or(0));
            reasons.push(Reason::MaxActiveRuns { most, runs, more, before });
        }
        if reasons.is_empty() {
            reasons.push(Reason::Next);
        }
        reasons
    }

    /// All that keeps a copy of a task; nothing of one that runs or is over well.
    pub(super) fn reasons_of_copy(
        &self,
        number: RunNo,
        run: &Run,
        no: InstanceNo,
        now: Timestamp,
    ) -> Vec<Reason> {
        let mut reasons = match &run.instance(no).state {
            TaskState::Running { .. } | TaskState::Done(Done::Success | Done::Failed) => {
                return Vec::new();
            }
            TaskState::Done(Done::RuledOut(why)) => {
                let (tasks, more) = blockers(run, run.ruled_out_by(no, *why).into_iter());
                let decided_by = run.decided_by(no).cloned();
                return vec![Reason::Never { why: *why, tasks, more, decided_by }];
            }
            TaskState::Queued { hold, at, .. } => {
                return vec![self.reason_of_offer(&hold.queue, (*at, number, no))];
            }
            TaskState::Deferred { until, .. } => {
                let deferral = run.instance(no).deferral.as_ref();
                if let Some(ask) = deferral.and_then(|it| it.ask.as_deref()) {
                    return vec![reason_of_ask(ask, *until)];
                }
                let class_path =
                    deferral.map_or_else(String::new, |it| it.trigger.class_path.clone());
                return vec![Reason::Trigger { class_path, until: *until }];
            }
            TaskState::UpForRetry { due, .. } if *due > now => vec![Reason::Retry { due: *due }],
            TaskState::UpForReschedule { due, .. } if *due > now => {
                vec![Reason::Reschedule { due: *due }]
            }
            TaskState::UpForRetry { .. } | TaskState::UpForReschedule { .. } => Vec::new(),
            TaskState::Waiting => reasons_before(run, no),
        };
        if run.is_held(run.instance(no).node) {
            reasons.extend(self.reason_of_past(run, run.instance(no).node));
        }
        let may_go = reasons.is_empty();
        let of_run = self.reasons_of_run(number, run, now);
        let run_is_kept = !of_run.is_empty();
        if run.phase() == Phase::Queued {
            reasons.push(Reason::RunQueued);
        }
        reasons.extend(of_run.into_iter().filter(|reason| *reason != Reason::Next));
        if may_go && !run_is_kept {
            reasons.extend(self.reasons_of_room(run, no));
        }
        if reasons.is_empty() {
            reasons.push(Reason::Next);
        }
        reasons
    }

    /// What stands at the root of a copy's wait for others: of all that is before it and not done, those copies
    /// that wait for none of the run themselves.
    pub(super) fn roots(run: &Run, no: InstanceNo) -> Vec<InstanceNo> {
        let (mut found, mut known) = (Vec::new(), BTreeSet::from([no]));
        let mut waiting = vec![no];
        while let Some(at) = waiting.pop() {
            let before: Vec<Seen> = run
                .open_before(at)
                .chain(run.open_in_scope(at))
                .chain(run.open_lengths(at))
                .collect();
            let waits = run.instance(at).state == TaskState::Waiting;
            if at != no && (!waits || before.is_empty()) {
                found.push(at);
                continue;
            }
            for seen in before {
                let copies = match seen.copy {
                    Some(copy) => copy..copy + 1,
                    None => run.copies(seen.node),
                };
                let open = copies.filter(|no| run.instance(*no).state.done().is_none());
                // Of many copies a few tell what there is to tell.
                for copy in open.take(NAMED) {
                    if known.len() < ROOTS_LOOKED && known.insert(copy) {
                        waiting.push(copy);
                    }
                }
            }
        }
        // What runs comes first, then what is next to.
        found.sort_unstable_by_key(|no| {
            let state = &run.instance(*no).state;
            (state.executor().is_none(), state.in_flight().is_none(), *no)
        });
        found
    }
}

/// What keeps a copy that has not begun, of what is before it in its run.
fn reasons_before(run: &Run, no: InstanceNo) -> Vec<Reason> {
    let mut reasons = Vec::new();
    match run.standing(no) {
        Standing::Wait => {
            let (tasks, more) = blockers(run, run.open_before(no));
            if !tasks.is_empty() {
                reasons.push(Reason::Upstream { rule: run.spec(no).trigger_rule, tasks, more });
            }
            let (tasks, more) = blockers(run, run.open_in_scope(no));
            if !tasks.is_empty() {
                reasons.push(Reason::Scope { tasks, more });
            }
        }
        Standing::Ready => {
            let (tasks, more) = blockers(run, run.open_lengths(no).into_iter());
            if !tasks.is_empty() {
                reasons.push(Reason::Lengths { tasks, more });
            }
        }
        Standing::Never(_) => {}
    }
    reasons
}

/// The first of these by name, and how many more.
fn blockers(run: &Run, mut all: impl Iterator<Item = Seen>) -> (Vec<Blocker>, u32) {
    let named = all.by_ref().take(NAMED).map(|seen| blocker(run, seen)).collect();
    (named, u32::try_from(all.count()).unwrap_or(u32::MAX))
}

fn blocker(run: &Run, seen: Seen) -> Blocker {
    let task_id = run.version().task(seen.node).task_id.clone();
    match seen.copy {
        Some(copy) => {
            let instance = run.instance(copy);
            let open = u32::from(instance.state.done().is_none());
            let (map_index, stands) = (instance.map_index, Some(stands(&instance.state)));
            Blocker { task_id, map_index, stands, open, copies: 1 }
        }
        None => Blocker {
            task_id,
            map_index: dagbok_events::MapIndex::UNMAPPED,
            stands: None,
            open: run.open_copies(seen.node),
            copies: u32::try_from(run.copies(seen.node).len()).unwrap_or(u32::MAX),
        },
    }
}

/// Who is asked what.
fn reason_of_ask(ask: &HitlAsk, until: Option<Timestamp>) -> Reason {
    let assigned = ask.assigned_users.iter().take(NAMED).map(|user| user.name.clone());
    Reason::Hitl {
        subject: ask.subject.clone(),
        options: ask.options.clone(),
        assigned: assigned.collect(),
        more: u32::try_from(ask.assigned_users.len().saturating_sub(NAMED)).unwrap_or(u32::MAX),
        until,
        has_defaults: ask.defaults.is_some(),
    }
}
