//! Whether a fold of the log says what the audit says.
use std::collections::BTreeSet;

use dagbok_domain::{
    namespace::{ColdRun, Namespace, Outcome},
    run::{Ending, Instance, Run, TaskState, Token},
};
use dagbok_events::{Actor, CommandId, Record, RunKey, Timestamp};
use dagbok_protocol::{ClearTasks, Command, CommandBody};

use super::{
    Audit, Finding,
    run::{RunModel, Stage},
    task::{CopyModel, Execution, NEVER, Stand},
};

/// Folds the records up to this one in, each run that is needed revived by what comes before; how many were.
pub fn fold_all(namespace: &mut Namespace, history: &[Record], upto: usize) -> usize {
    let mut revived = 0;
    let done = usize::try_from(namespace.last_seq()).expect("small");
    for (seq, record) in (namespace.last_seq() + 1..).zip(&history[done..upto]) {
        if let Some(key) = namespace.needs(record) {
            let before = (1..seq).zip(history);
            let cold = ColdRun::pick(&key, before).expect("the log has it");
            namespace.revive(&cold).expect("it is over");
            revived += 1;
        }
        namespace.evolve(seq, record);
        assert_eq!(namespace.misjudged_past(), None, "after record {seq}");
    }
    revived
}

impl Audit {
    /// Whether the fold of the log says what the audit says.
    pub fn agrees_with(&self, namespace: &Namespace) -> Finding {
        let active: BTreeSet<&RunKey> = self.active().map(|(key, _)| key).collect();
        let folded: BTreeSet<&RunKey> = namespace.active_runs().map(Run::key).collect();
        if active != folded {
            return Err(format!("active are {active:?}, and folded {folded:?}"));
        }
        for run in namespace.active_runs() {
            self.runs[run.key()]
                .agrees_with(run)
                .map_err(|finding| format!("{}: {finding}", run.key()))?;
        }
        for (key, run) in &self.runs {
            let good = if run.succeeded { Ending::Success } else { Ending::Failed };
            let ending = (run.stage == Stage::Over).then_some(good);
            if namespace.ending(key) != ending {
                return Err(format!("{key} is {ending:?}, folded {:?}", namespace.ending(key)));
            }
        }
        if let Some(key) = self.deleted.iter().find(|key| namespace.ending(key).is_some()) {
            return Err(format!("{key} was deleted, and is folded as over"));
        }
        self.agrees_on_backfills(namespace)?;
        self.dates_are_seen_to_once()?;
        let in_flight: usize = self.runs.values().map(RunModel::in_flight).sum();
        if namespace.in_flight() as usize != in_flight {
            return Err(format!(
                "{in_flight} tries are in flight, folded {}",
                namespace.in_flight()
            ));
        }
        for pool in self.pools.keys() {
            let used: u64 = self.runs.values().map(|run| run.slots_used(pool)).sum();
            let folded = namespace.pool_use(pool.as_str()).map_or(0, |(used, _)| u64::from(used));
            if used != folded {
                return Err(format!("pool {pool} has {used} used, folded {folded}"));
            }
        }
        Ok(())
    }

    /// Whether runs that are over are, once revived, as they were.
    pub fn agrees_when_revived(&self, namespace: &Namespace) -> Finding {
        let mut namespace = namespace.clone();
        let over = self.runs.iter().filter(|(_, run)| run.stage == Stage::Over);
        for (key, run) in over.filter(|(key, _)| !self.dags[&key.dag_id].gone) {
            let cold = ColdRun::pick(key, (1..).zip(&self.history));
            let cold = cold.map_err(|error| error.to_string())?;
            namespace.revive(&cold).map_err(|error| error.to_string())?;
            let dag = &self.dags[&key.dag_id];
            for (only_failed, latest) in [(false, false), (true, false), (true, true)] {
                let ask = ClearTasks {
                    only_failed,
                    on_latest_version: latest,
                    dry_run: true,
                    ..ClearTasks::of(key.dag_id.clone(), key.run_id.clone())
                };
                let taken = if latest {
                    run.moved_to(dag.current, &dag.versions[&dag.current]).taken_by(&ask).len()
                } else {
                    run.taken_by(&ask).len()
                };
                let outcome = namespace.decide(self.last_at, &asking(ask, self.last_at)).outcome;
                let told = match &outcome {
                    Outcome::WouldClear { tasks, .. } => {
                        tasks.iter().map(|it| it.further as usize + 1).sum()
                    }
                    _ => usize::MAX,
                };
                if taken != told {
                    return Err(format!("of {key} {taken} can be cleared, revived {outcome:?}"));
                }
            }
        }
        Ok(())
    }
}

impl RunModel {
    /// Whether the fold of this run says the same of it.
    fn agrees_with(&self, run: &Run) -> Finding {
        if self.copies().count() != run.instance_count() {
            return Err(format!("{} copies are folded as {}", self.copies().count(), {
                run.instance_count()
            }));
        }
        for ((task, copy), (no, folded)) in self.copies().zip(run.instances()) {
            if task.spec != *run.spec(no) {
                return Err(format!(
                    "it runs version {} of {}",
                    run.version().number,
                    task.spec.task_id
                ));
            }
            let xcoms = run.xcoms().filter(|(of, ..)| *of == no);
            let xcoms = xcoms.map(|(_, name, seq)| (name.to_owned(), seq)).collect();
            if !copy.is_folded_as(folded) || copy.xcoms != xcoms {
                return Err(format!("{copy:?} is folded as {folded:?} with {xcoms:?}"));
            }
        }
        Ok(())
    }
}

impl CopyModel {
    fn is_folded_as(&self, folded: &Instance) -> bool {
        let is = |execution: &Execution, token: &Token| {
            *execution == (token.try_number.get(), token.leg.0)
        };
        let stands = match (&self.stand, &folded.state) {
            (Stand::Waiting, TaskState::Waiting) => true,
            (Stand::Queued(n), TaskState::Queued { token, seq, .. }) => {
                is(n, token) && self.queued_seq == *seq
            }
            (Stand::Running(n, holder), TaskState::Running { token, executor, .. }) => {
                is(n, token) && holder == executor
            }
            (Stand::Again(ended, at), TaskState::UpForRetry { since, due }) => {
                (ended, at) == (since, due)
            }
            (Stand::Later(n, _, NEVER), TaskState::Deferred { token, until, .. }) => {
                is(n, token) && self.until == *until
            }
            (Stand::Later(n, _, at), TaskState::UpForReschedule { token, due, .. }) => {
                is(n, token) && at == due
            }
            (Stand::Done(done), TaskState::Done(folded)) => done == folded,
            _ => false,
        };
        stands
            && self.map_index == folded.map_index
            && (self.tries, self.failures, self.losses, self.began)
                == (folded.tries, folded.failures, folded.losses, folded.began)
    }
}

fn asking(ask: ClearTasks, sent_at: Timestamp) -> Command {
    Command {
        id: CommandId::new("asked-at-the-end").expect("an id"),
        by: Actor::User("ada".to_owned()),
        sent_at,
        reply_to: None,
        reason: None,
        trace: None,
        body: CommandBody::ClearTasks(ask),
    }
}
