//! Why something waits: everything that keeps a run, a copy of a task or a DAG's next run from going on, out of the
//! same state that decides. Nothing is kept for it but that state: what no longer holds is not said any more.
//!
//! It costs what is told: holders are looked for among tries in flight, places in line are counted up to
//! [`COUNTED`].
mod dag;
mod place;
mod room;
mod run;

use dagbok_events::{RunKey, Timestamp};
use dagbok_protocol::{Piece, Reason, RefusalCode, Stands, Why, WhyAsk};

use super::{
    Decision, Namespace, Outcome, RunNo,
    decide::{no_dag, no_task},
    refuse,
};
use crate::run::{Ending, InstanceNo, Phase, Run, TaskState};

/// How many are named of each kind.
const NAMED: usize = 10;
/// Up to where places in line are counted.
const COUNTED: u32 = 1_000;
/// Tries in flight that are looked through for who holds something.
const LOOKED: usize = 10_000;

impl Namespace {
    /// Answers a question; leaves no record.
    pub fn why(&self, now: Timestamp, ask: &WhyAsk) -> Decision {
        match self.answer_why(now, ask) {
            Ok(why) => Decision { records: Vec::new(), outcome: Outcome::Waits(Box::new(why)) },
            Err(refused) => refused,
        }
    }

    /// All that keeps what was asked about from going on at `now`; refused where there is no such thing.
    fn answer_why(&self, now: Timestamp, ask: &WhyAsk) -> Result<Why, Decision> {
        let answer = |is| Why {
            at: now,
            seq: self.last_seq,
            is,
            place: None,
            roots: Vec::new(),
            more_roots: 0,
        };
        let Some(run_id) = &ask.run_id else {
            let dag = self.dags.get(&ask.dag_id).ok_or_else(|| no_dag(&ask.dag_id))?;
            return Ok(answer(self.why_no_run(dag, now)));
        };
        let key = RunKey { dag_id: ask.dag_id.clone(), run_id: run_id.clone() };
        let Some(number) = self.numbers.get(&key).copied() else {
            let ending = self.past_ending(&key).ok_or_else(|| self.no_run(&key))?;
            let stands = match ending {
                Ending::Success => Stands::Success,
                Ending::Failed => Stands::Failed,
            };
            return Ok(answer(piece(stands)));
        };
        let run = &self.runs[&number];
        let Some(task_id) = &ask.task_id else {
            let mut why = answer(self.piece_of_run(number, run, now));
            if run.phase().is_under_way() {
                (why.roots, why.more_roots) = self.pieces(number, run, run.heads(), now);
            }
            return Ok(why);
        };
        let Some(no) = run.find(task_id, ask.map_index) else {
            return Err(refuse(RefusalCode::TaskNotFound, no_copy(run, ask)));
        };
        let mut why = answer(self.piece_of_copy(number, run, no, now));
        let waits_for_others = |reason: &Reason| {
            matches!(
                reason,
                Reason::Upstream { .. } | Reason::Scope { .. } | Reason::Lengths { .. }
            )
        };
        if why.is.reasons.iter().any(waits_for_others) && run.phase().is_under_way() {
            let roots = Self::roots(run, no);
            (why.roots, why.more_roots) = self.pieces(number, run, roots.into_iter(), now);
        }
        why.place = self.place(number, run, no, now);
        Ok(why)
    }

    /// The first of these, with what keeps them; and how many more.
    fn pieces(
        &self,
        number: RunNo,
        run: &Run,
        mut all: impl Iterator<Item = InstanceNo>,
        now: Timestamp,
    ) -> (Vec<Piece>, u32) {
        let named = all.by_ref().take(NAMED);
        let pieces = named.map(|no| self.piece_of_copy(number, run, no, now)).collect();
        let more = all.take(COUNTED as usize).count();
        (pieces, u32::try_from(more).unwrap_or(u32::MAX))
    }

    /// A run, with what keeps it.
    fn piece_of_run(&self, number: RunNo, run: &Run, now: Timestamp) -> Piece {
        let reasons = self.reasons_of_run(number, run, now);
        let (stands, since) = match run.phase() {
            Phase::Queued => (Stands::Queued, Some(run.meta().created_at)),
            Phase::Running { since } => (Stands::Running, Some(since)),
            Phase::Ending { since, .. } => (Stands::Ending, Some(since)),
            Phase::Over(Ending::Success) => (Stands::Success, None),
            Phase::Over(Ending::Failed) => (Stands::Failed, None),
        };
        Piece { since, reasons, ..piece(stands) }
    }

    /// A copy of a task, with what keeps it.
    fn piece_of_copy(&self, number: RunNo, run: &Run, no: InstanceNo, now: Timestamp) -> Piece {
        let instance = run.instance(no);
        let since = match &instance.state {
            TaskState::Queued { at, .. } => Some(*at),
            TaskState::UpForRetry { since, .. }
            | TaskState::UpForReschedule { since, .. }
            | TaskState::Deferred { since, .. } => Some(*since),
            TaskState::Waiting | TaskState::Running { .. } | TaskState::Done(_) => None,
        };
        Piece {
            task_id: Some(run.spec(no).task_id.clone()),
            map_index: instance.map_index,
            stands: stands(&instance.state),
            since,
            try_number: instance.state.in_flight().map(|token| token.try_number),
            executor: instance.state.executor().cloned(),
            reasons: self.reasons_of_copy(number, run, no, now),
        }
    }
}

/// How a copy of a task stands.
fn stands(state: &TaskState) -> Stands {
    use crate::run::Done;
    use dagbok_events::RuledOut;
    match state {
        TaskState::Waiting => Stands::Waiting,
        TaskState::Queued { .. } => Stands::Queued,
        TaskState::Running { .. } => Stands::Running,
        TaskState::UpForRetry { .. } => Stands::UpForRetry,
        TaskState::UpForReschedule { .. } => Stands::UpForReschedule,
        TaskState::Deferred { .. } => Stands::Deferred,
        TaskState::Done(Done::Success) => Stands::Success,
        TaskState::Done(Done::Failed) => Stands::Failed,
        TaskState::Done(Done::RuledOut(RuledOut::Skipped)) => Stands::Skipped,
        TaskState::Done(Done::RuledOut(RuledOut::UpstreamFailed)) => Stands::UpstreamFailed,
        TaskState::Done(Done::RuledOut(RuledOut::Removed | RuledOut::OutOfDates)) => {
            Stands::Removed
        }
    }
}

const fn piece(stands: Stands) -> Piece {
    Piece {
        task_id: None,
        map_index: dagbok_events::MapIndex::UNMAPPED,
        stands,
        since: None,
        try_number: None,
        executor: None,
        reasons: Vec::new(),
    }
}

/// What is said of a task, or a copy, that a run does not have.
fn no_copy(run: &Run, ask: &WhyAsk) -> String {
    let key = run.key();
    let task = ask.task_id.as_ref().map_or("", |task_id| task_id.as_str());
    let node = ask.task_id.as_ref().and_then(|task_id| run.version().find(task_id));
    match node.map(|node| run.copies_named(node)) {
        None => ask.task_id.as_ref().map_or_else(String::new, |task_id| no_task(run, task_id)),
        Some(None) => {
            format!("task {task} of run {key} has no copies: name it without a map index")
        }
        Some(Some(count)) => format!(
            "task {task} of run {key} has {count} copies: name one with a map index from 0 to {}",
            count.saturating_sub(1)
        ),
    }
}
