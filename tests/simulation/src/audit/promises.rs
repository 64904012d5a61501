//! The second opinion on schedules: what is promised when the clocks are right.
use dagbok_events::{DagId, Fact, Micros, RunExpected, Timestamp, Timetable};

use super::{Audit, DagModel, Finding, names::brief};

/// What clocks may differ by before anybody minds, and what they are read apart.
const SLACK: Micros = Micros::from_secs(15);

impl Audit {
    /// Takes a promise in.
    pub(super) fn promise(&mut self, dag_id: &DagId, promise: &RunExpected) {
        if let Some(dag) = self.dags.get_mut(dag_id) {
            dag.expected = promise.logical_date.is_some().then(|| promise.clone());
        }
    }

    /// No promise lies further ahead than the next date that no run has. Clocks must have been right for a while.
    pub fn promises_hold(&self, now: Timestamp) -> Finding {
        for (dag_id, dag) in self.dags.iter().filter(|(_, dag)| !dag.gone) {
            if let Some(date) = sooner(dag, now.plus(SLACK)) {
                let schedule = &dag.versions[&dag.current].schedule;
                let about = |fact: &Fact| {
                    matches!(
                        fact,
                        Fact::RunExpected(_) | Fact::ClockWentBack(_) | Fact::DagRegistered(_)
                    )
                };
                let told = (1..).zip(&self.history).filter(|(_, it)| it.facts.iter().any(about));
                let told: String = told.map(|(seq, it)| brief(seq, it)).collect();
                return Err(format!(
                    "{dag_id} promises {:?} at {now}, and {date} would be sooner: {schedule:?}\n{told}",
                    dag.expected
                ));
            }
        }
        Ok(())
    }
}

/// A date before the promised one that is still to come, and which no run has or had.
fn sooner(dag: &DagModel, after: Timestamp) -> Option<Timestamp> {
    let spec = &dag.versions[&dag.current];
    if spec.catchup && spec.start_date.is_none() {
        // It catches up from its first run, and never from before that.
        return None;
    }
    let standing = dag.expected.as_ref()?;
    let (date, due) = (standing.logical_date?, standing.due?);
    let minutes = Micros::from_secs(20 * 60);
    let every = match &spec.schedule.timetable {
        Timetable::DeltaDataInterval { every, .. } | Timetable::DeltaTrigger { every, .. } => {
            *every
        }
        Timetable::CronTrigger { expression } if expression.starts_with("*/20") => minutes,
        // Every second of every fifth minute, and others without a length.
        _ => return None,
    };
    let wait = due.since(date);
    let mut before = Timestamp(date.0 - every.0);
    while before.plus(wait) > after && spec.start_date.is_none_or(|start| before >= start) {
        // What was made and is deleted is not owed again.
        if !dag.dates.contains(&before) && !dag.freed.contains(&before) {
            return Some(before);
        }
        before = Timestamp(before.0 - every.0);
    }
    None
}
