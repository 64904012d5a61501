//! Backfills: made, stopped and let go on by somebody; taken on step by step by the rules.
use std::sync::Arc;

use dagbok_events::{
    BackfillCancelled, BackfillCompleted, BackfillCreated, BackfillId, BackfillPaused,
    BackfillSkipped, BackfillUnpaused, DagId, Fact, Interval, Payload, Record, ReprocessBehavior,
    RunBackfilled, RunCancelled, RunCreated, RunKey, RunType, Scope, SkippedWhy, Timestamp,
    Timetable,
};
use dagbok_protocol::{
    BackfillDates, BackfillDoes, BackfillPlan, BackfillRuns, Command, CommandBody, CreateBackfill,
    OnRunning, RefusalCode,
    ahead::stretches,
    limits::{BACKFILL_RUNS, CONF_BYTES},
};

use super::{
    own::{first_facts, of_run},
    runs::{check_conf, no_dag},
};
use crate::{
    graph::Version,
    namespace::{
        Backfill, Dag, Decision, Namespace, Outcome, Proposal, RunNo, accepted, answering, own,
        refuse, run_id::run_id_for, unchanged,
    },
    run::{Clearing, EndedBy, Ending, Phase},
    timetable::Limits,
};

/// Dates that one record passes over: bounds what a decision costs.
const SKIPPED_AT_ONCE: u32 = 1_000;

/// What is to become of a date.
enum Meets {
    Create,
    Rerun(RunKey),
    Skip(SkippedWhy),
}

impl Namespace {
    /// Makes a backfill, with the list of its dates; or only says what it would do.
    pub(super) fn create_backfill(
        &self,
        at: Timestamp,
        command: &Command,
        ask: &CreateBackfill,
    ) -> Decision {
        let dag_id = &ask.dag_id;
        let Some(dag) = self.dags.get(dag_id).filter(|dag| !dag.gone) else {
            return no_dag(dag_id);
        };
        let invalid = |why: String| refuse(RefusalCode::Invalid, why);
        if let Err(why) = check(&dag.current, ask, at) {
            return invalid(why);
        }
        if let Some(standing) = dag.backfill.as_ref().filter(|_| !ask.dry_run) {
            let id = standing.backfill_id();
            let why = format!(
                "backfill {id} of {dag_id} is not over, and a DAG has one at a time; wait for it, or cancel it"
            );
            return refuse(RefusalCode::BackfillActive, why);
        }
        let runs = match dates(&dag.current, ask, at) {
            Ok(runs) if runs.is_empty() => {
                let (from, to) = (ask.from_date, ask.to_date);
                return invalid(format!(
                    "the schedule of {dag_id} has no run that is due with a logical date from {from} to {to}"
                ));
            }
            Ok(runs) => runs,
            Err(about) => {
                return invalid(format!(
                    "the backfill would have about {about} runs, and one may have up to {BACKFILL_RUNS}: ask for a \
                     shorter time, one after the other"
                ));
            }
        };
        if ask.dry_run {
            let plan = self.would_do(dag_id, dag, ask, &runs);
            return Decision { records: Vec::new(), outcome: Outcome::WouldBackfill(plan) };
        }
        let created = BackfillCreated {
            backfill_id: BackfillId(self.last_backfill.0.saturating_add(1)),
            from_date: ask.from_date,
            to_date: ask.to_date,
            runs: stretches(runs),
            run_backwards: ask.run_backwards,
            reprocess_behavior: ask.reprocess_behavior,
            max_active_runs: ask.max_active_runs,
            conf: ask.conf.clone().map(Payload::Inline),
        };
        let facts = vec![Fact::BackfillCreated(Box::new(created))];
        accepted(vec![answering(command, at, Scope::Dag(dag_id.clone()), facts)])
    }

    /// What would become of each date, in the backfill's order.
    fn would_do(
        &self,
        dag_id: &DagId,
        dag: &Dag,
        ask: &CreateBackfill,
        runs: &[Interval],
    ) -> BackfillPlan {
        let does = |run: &Interval| match self.meets(dag_id, dag, ask.reprocess_behavior, run.start)
        {
            Meets::Create => BackfillDoes::Create,
            Meets::Rerun(_) => BackfillDoes::Rerun,
            Meets::Skip(SkippedWhy::InFlight) => BackfillDoes::SkipInFlight,
            Meets::Skip(SkippedWhy::AlreadyExists | SkippedWhy::HistoryGone) => {
                BackfillDoes::SkipExisting
            }
        };
        let mut dates: Vec<BackfillDates> = Vec::new();
        let alike = runs.chunk_by(|one, next| does(one) == does(next));
        for part in alike {
            let does = does(&part[0]);
            let parts = stretches(part.iter().copied()).into_iter();
            dates.extend(parts.map(|runs| BackfillDates { runs, does }));
        }
        if ask.run_backwards {
            dates.reverse();
        }
        BackfillPlan { count: u32::try_from(runs.len()).unwrap_or(u32::MAX), dates }
    }

    /// What is to become of a date, as things are.
    fn meets(
        &self,
        dag_id: &DagId,
        dag: &Dag,
        reprocess: ReprocessBehavior,
        date: Timestamp,
    ) -> Meets {
        let key = |run_id| RunKey { dag_id: dag_id.clone(), run_id };
        if dag.by_date.contains_key(&date) {
            return Meets::Skip(SkippedWhy::InFlight);
        }
        if !dag.dates.contains(date) {
            let taken = self.knows_run(&key(run_id_for(RunType::Backfill, date)));
            return if taken { Meets::Skip(SkippedWhy::AlreadyExists) } else { Meets::Create };
        }
        let Some(key) = dag.run_of_date(date).map(key) else {
            return Meets::Skip(SkippedWhy::HistoryGone);
        };
        let failed = self.past_ending(&key) == Some(Ending::Failed);
        match reprocess {
            ReprocessBehavior::Completed => Meets::Rerun(key),
            ReprocessBehavior::Failed if failed => Meets::Rerun(key),
            ReprocessBehavior::Failed | ReprocessBehavior::None => {
                Meets::Skip(SkippedWhy::AlreadyExists)
            }
        }
    }

    /// Stops a backfill for now, lets it go on, or lets it be over: its runs that have not begun are ended by the
    /// rules then.
    pub(super) fn change_backfill_as_asked(
        &self,
        at: Timestamp,
        command: &Command,
        backfill_id: BackfillId,
    ) -> Decision {
        let (dag_id, backfill) = match self.standing_backfill(backfill_id) {
            Ok(standing) => standing,
            Err(decision) => return decision,
        };
        let paused = backfill.is_paused();
        let fact = match &command.body {
            CommandBody::PauseBackfill { .. } if !paused => {
                Fact::BackfillPaused(BackfillPaused { backfill_id })
            }
            CommandBody::UnpauseBackfill { .. } if paused => {
                Fact::BackfillUnpaused(BackfillUnpaused { backfill_id })
            }
            CommandBody::CancelBackfill { .. } => {
                Fact::BackfillCancelled(BackfillCancelled { backfill_id })
            }
            _ => return unchanged(),
        };
        accepted(vec![answering(command, at, Scope::Dag(dag_id.clone()), vec![fact])])
    }

    /// A backfill that is not over, with its DAG; else what is said of it.
    fn standing_backfill(&self, id: BackfillId) -> Result<(&DagId, &Backfill), Decision> {
        let standing = self.backfills.get(&id).and_then(|dag_id| {
            let backfill = self.dags.get(dag_id)?.backfill.as_ref()?;
            Some((dag_id, backfill))
        });
        standing.ok_or_else(|| {
            if (1..=self.last_backfill.0).contains(&id.0) {
                let why = format!("backfill {id} is over already");
                refuse(RefusalCode::BackfillOver, why)
            } else {
                let why = format!(
                    "there is no backfill {id}; `dagbok backfill list` names those there are"
                );
                refuse(RefusalCode::BackfillNotFound, why)
            }
        })
    }

    /// The run that is over and must be revived before a proposal can be carried out.
    pub fn needs_to(&self, proposal: &Proposal) -> Option<RunKey> {
        let Proposal::StepBackfill(dag_id) = proposal else { return None };
        let dag = self.dags.get(dag_id)?;
        let backfill = dag.backfill.as_ref().filter(|it| dag.may_step(it))?;
        let date = backfill.upcoming(0)?.start;
        match self.meets(dag_id, dag, backfill.reprocess_behavior(), date) {
            Meets::Rerun(key) => self.revived_run(&key).is_none().then_some(key),
            Meets::Create | Meets::Skip(_) => None,
        }
    }

    /// Takes the next step of a DAG's backfill.
    pub(super) fn step_backfill(&self, at: Timestamp, dag_id: &DagId) -> Option<Record> {
        let dag = self.dags.get(dag_id)?;
        let backfill = dag.backfill.as_ref()?;
        let backfill_id = backfill.backfill_id();
        let by = backfill.by().clone();
        if backfill.is_done() {
            let facts = vec![Fact::BackfillCompleted(BackfillCompleted { backfill_id })];
            let by = dagbok_events::Actor::Scheduler;
            return Some(own(at, by, Scope::Dag(dag_id.clone()), None, facts));
        }
        let run = backfill.upcoming(0).filter(|_| dag.may_step(backfill))?;
        match self.meets(dag_id, dag, backfill.reprocess_behavior(), run.start) {
            Meets::Create => {
                let run_id = run_id_for(RunType::Backfill, run.start);
                let key = RunKey { dag_id: dag_id.clone(), run_id };
                let created = created(dag, backfill, run, at);
                // One that was cleared by hand and waits for its turn goes first.
                let start = first_facts(&key, at, dag, &created);
                let facts = [Fact::RunCreated(Box::new(created))].into_iter().chain(start);
                Some(own(at, by, Scope::Run(key), None, facts.collect()))
            }
            Meets::Rerun(key) => {
                let run = self.revived_run(&key)?;
                // As in Airflow it runs the DAG as it is now, like those that are made.
                let moved = self.on_latest(at, run);
                let run = moved.as_ref().map_or(run, |moved| &moved.run);
                let all = Clearing {
                    task_ids: &[],
                    copies: &[],
                    only_failed: false,
                    only_running: false,
                    upstream: false,
                    downstream: false,
                    running: OnRunning::Leave,
                };
                let conf = backfill.conf().cloned();
                let joins = Fact::RunBackfilled(RunBackfilled { backfill_id, conf });
                let to_clear = moved.as_ref().map(|moved| moved.to_clear(all));
                let cleared = run.clear_facts(at, to_clear.unwrap_or_else(|| run.to_clear(all)));
                let version = moved.map(|moved| moved.facts).into_iter().flatten();
                let facts = [joins].into_iter().chain(version).chain(cleared).collect();
                Some(own(at, by, Scope::Run(key), None, facts))
            }
            Meets::Skip(why) => {
                let also = |ahead: u32| {
                    let date = backfill.upcoming(ahead)?.start;
                    let meets = self.meets(dag_id, dag, backfill.reprocess_behavior(), date);
                    matches!(meets, Meets::Skip(other) if other == why).then_some(date)
                };
                let further = (1..SKIPPED_AT_ONCE).map_while(also);
                let (last, count) =
                    further.fold((run.start, 1), |(_, count), date| (date, count + 1));
                Some(skipped(
                    at,
                    dag_id,
                    BackfillSkipped { backfill_id, first: run.start, last, count, why },
                ))
            }
        }
    }

    /// Passes the next date of a DAG's backfill over, since what the log held of its run can't be read any more.
    pub fn skip_in_backfill(&self, at: Timestamp, dag_id: &DagId) -> Option<Record> {
        let dag = self.dags.get(dag_id)?;
        let backfill = dag.backfill.as_ref().filter(|it| dag.may_step(it))?;
        let date = backfill.upcoming(0)?.start;
        let record = skipped(
            at,
            dag_id,
            BackfillSkipped {
                backfill_id: backfill.backfill_id(),
                first: date,
                last: date,
                count: 1,
                why: SkippedWhy::HistoryGone,
            },
        );
        Some(self.stamped(record))
    }

    /// Ends a run that waits for its turn and whose backfill is over.
    pub(super) fn end_left_run(&self, at: Timestamp, number: RunNo) -> Option<Record> {
        let run = self.runs.get(&number)?;
        let dag = self.dags.get(&run.key().dag_id)?;
        if run.phase() != Phase::Queued || !dag.left.contains(&number) {
            return None;
        }
        let (teardowns_left, then) = run.after_end(EndedBy::Somebody);
        let mut facts =
            vec![Fact::RunCancelled(RunCancelled { teardowns_left, was: Some(run.phase().was()) })];
        facts.extend(then);
        let id = run.meta().backfill_id.map_or(0, |id| id.0);
        let reason = Some(format!("backfill {id} is over, and the run had not begun"));
        Some(Record { reason, ..of_run(at, run, facts) })
    }
}

fn skipped(at: Timestamp, dag_id: &DagId, fact: BackfillSkipped) -> Record {
    let facts = vec![Fact::BackfillSkipped(fact)];
    own(at, dagbok_events::Actor::Scheduler, Scope::Dag(dag_id.clone()), None, facts)
}

fn created(dag: &Dag, backfill: &Backfill, run: Interval, at: Timestamp) -> RunCreated {
    RunCreated {
        run_type: RunType::Backfill,
        logical_date: Some(run.start),
        data_interval: Some(run),
        run_after: run.end.min(at),
        version: dag.current.number,
        bundle: dag.bundle.clone(),
        conf: backfill.conf().cloned(),
        note: None,
        asset_events: Vec::new(),
        asset_events_left_out: 0,
        backfill_id: Some(backfill.backfill_id()),
        partition: None,
    }
}

/// What of a wish breaks a rule, whatever the dates are: as Airflow's.
fn check(version: &Version, ask: &CreateBackfill, now: Timestamp) -> Result<(), String> {
    let (dag_id, from, to) = (&ask.dag_id, ask.from_date, ask.to_date);
    let kind = match &version.spec.schedule.timetable {
        Timetable::Manual if version.spec.asset_condition.is_some() => {
            Some("is scheduled on assets alone")
        }
        Timetable::PartitionedAsset { .. } => Some("is scheduled on assets alone"),
        Timetable::Manual | Timetable::PartitionedAtRuntime => Some("has no schedule"),
        Timetable::CronPartition { .. } => Some(
            "makes runs for partitions, which have no logical dates (trigger them with a partition key)",
        ),
        Timetable::Once => Some("runs once"),
        Timetable::Continuous => Some("runs continuously"),
        Timetable::Python { .. } if ask.runs.is_none() => {
            Some("has a timetable written in Python, which was not asked for the runs of that time")
        }
        _ => None,
    };
    if let Some(kind) = kind {
        return Err(format!(
            "{dag_id} {kind}, so there are no dates to backfill; trigger its runs with their logical dates instead"
        ));
    }
    if from > to {
        return Err(format!("the first date {from} is later than the last one {to}"));
    }
    if from >= now {
        return Err(format!("{from} lies ahead: a backfill is about dates that are past"));
    }
    if ask.max_active_runs == 0 {
        return Err("max_active_runs must be 1 or more: with 0 no run would ever begin".to_owned());
    }
    if !version.depends_on_past.is_empty() {
        let task = &version.task(version.depends_on_past[0]).task_id;
        if ask.run_backwards {
            return Err(format!(
                "task {task} of {dag_id} depends on the past, so a backfill can't run backwards"
            ));
        }
        if ask.reprocess_behavior == ReprocessBehavior::None {
            return Err(format!(
                "task {task} of {dag_id} depends on the past: choose `failed` or `completed` as reprocess_behavior, \
                 so that no run waits for one that is passed over"
            ));
        }
    }
    match &ask.conf {
        Some(conf) if conf.len() > CONF_BYTES / 2 => {
            let (has, most) = (conf.len(), CONF_BYTES / 2);
            Err(format!(
                "the conf has {has} bytes of JSON, at most {most} are taken for a backfill"
            ))
        }
        Some(conf) => check_conf(conf),
        None => Ok(()),
    }
}

/// The runs of a schedule whose logical dates are asked for and that are due, in the order of time; about how many
/// they are where they are too many.
fn dates(
    version: &Arc<Version>,
    ask: &CreateBackfill,
    now: Timestamp,
) -> Result<Vec<Interval>, u64> {
    let Some(schedule) = &version.schedule else { return Ok(Vec::new()) };
    if matches!(version.spec.schedule.timetable, Timetable::Python { .. }) {
        return answered(ask, now);
    }
    let (start_date, end_date) = (Some(ask.from_date), Some(ask.to_date));
    let limits = Limits { start_date, end_date, catchup: true };
    let (mut found, mut last): (Vec<Interval>, Option<Interval>) = (Vec::new(), None);
    while let Some(run) = schedule.next(last, &limits, now) {
        let before = last.is_some_and(|last| run.data_interval <= last);
        if before || run.run_after >= now {
            break;
        }
        last = Some(run.data_interval);
        if found.last().is_some_and(|last| last.start >= run.logical_date) {
            continue;
        }
        if found.len() == BACKFILL_RUNS as usize {
            return Err(about(&found, ask.to_date.min(now)));
        }
        found.push(run.data_interval);
    }
    Ok(found)
}

/// The same of a timetable that is written in Python, as it answered.
fn answered(ask: &CreateBackfill, now: Timestamp) -> Result<Vec<Interval>, u64> {
    let runs = BackfillRuns::new(ask.runs.as_deref().unwrap_or_default());
    if runs.count() > BACKFILL_RUNS {
        return Err(u64::from(runs.count()));
    }
    let wanted = (0..runs.count()).filter_map(|place| runs.get(place));
    let wanted = wanted.filter(|run| {
        (ask.from_date..=ask.to_date).contains(&run.start)
            && run.start < now
            && run.start <= run.end
    });
    let mut found: Vec<Interval> = wanted.collect();
    found.sort_by_key(|run| run.start);
    found.dedup_by_key(|run| run.start);
    Ok(found)
}

/// About how many runs there are up to `until`, by those that were found.
fn about(found: &[Interval], until: Timestamp) -> u64 {
    let (Some(first), Some(last)) = (found.first(), found.last()) else { return 0 };
    let (steps, span) = (found.len() as u64 - 1, last.start.since(first.start).0.unsigned_abs());
    let whole = until.since(first.start).0.unsigned_abs();
    let more = u128::from(whole) * u128::from(steps) / u128::from(span.max(1));
    u64::try_from(more).unwrap_or(u64::MAX).saturating_add(1)
}
