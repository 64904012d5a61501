//! Decisions: one file for what each kind of command is about.
mod accept;
mod assets;
mod backfill;
mod callbacks;
mod checkpoint;
mod clear;
mod clock;
mod dags;
mod deferral;
mod executors;
mod files;
mod forget;
mod hitl;
mod mark;
mod own;
mod pools;
mod report;
mod runs;
mod secrets;
mod watchers;

pub(super) use clear::no_task;
pub(super) use executors::Loss;
pub use files::spec_fault;
pub(in crate::namespace) use own::of_run;
pub(super) use runs::no_dag;

use dagbok_events::{LimitsSet, Micros, Timestamp};
use dagbok_protocol::{Command, CommandBody, RefusalCode};

use super::{Decision, Namespace, Outcome, Seen, refuse};

impl Namespace {
    /// Permits a command, with all that follows, or refuses it. The same command twice is decided once.
    pub fn decide(&self, now: Timestamp, command: &Command) -> Decision {
        let mut decision = self.decide_by(now, command);
        decision.records.iter_mut().for_each(|record| self.stamp(record));
        decision
    }

    /// As [`Namespace::decide`], by the clock as it is: `at`.
    fn decide_by(&self, at: Timestamp, command: &Command) -> Decision {
        if let Some(seen) = self.seen(&command.id).filter(|_| !self.may_decide_again(command)) {
            return again(seen);
        }
        match &command.body {
            CommandBody::TriggerRun(ask) => self.trigger(at, command, ask),
            CommandBody::CancelRun { dag_id, run_id } => self.cancel(at, command, dag_id, run_id),
            CommandBody::ClearTasks(ask) => self.clear_tasks(at, command, ask),
            CommandBody::MarkTasks(ask) => self.mark_tasks(at, command, ask),
            CommandBody::MarkRun { dag_id, run_id, state } => {
                self.mark_run(at, command, (dag_id, run_id), *state)
            }
            CommandBody::NoteRun { dag_id, run_id, note } => {
                self.note_run(at, command, (dag_id, run_id), note.as_deref())
            }
            CommandBody::NoteTask(ask) => self.note_task(at, command, ask),
            CommandBody::CreateBackfill(ask) => self.create_backfill(at, command, ask),
            CommandBody::PauseBackfill { backfill_id }
            | CommandBody::UnpauseBackfill { backfill_id }
            | CommandBody::CancelBackfill { backfill_id } => {
                self.change_backfill_as_asked(at, command, *backfill_id)
            }
            CommandBody::WhyWaits(ask) => self.why(at, ask),
            CommandBody::DeleteRun { dag_id, run_id } => self.delete(at, command, dag_id, run_id),
            CommandBody::ForgetDag { dag_id } => self.forget(at, command, dag_id),
            CommandBody::ForgetVersions { dag_id, below } => {
                self.forget_versions(at, command, dag_id, *below)
            }
            CommandBody::ForgetHistory(what) => Self::forget_history(at, command, *what),
            CommandBody::PauseDag { dag_id } => self.set_paused(at, command, dag_id, true),
            CommandBody::UnpauseDag { dag_id } => self.set_paused(at, command, dag_id, false),
            CommandBody::UpdateAsset(ask) => self.update_asset(at, command, ask),
            CommandBody::DropQueuedAssets { dag_id, assets } => {
                self.drop_queued_assets(at, command, dag_id, assets)
            }
            CommandBody::WouldUnpause { dag_id } => self.would_unpause(at, dag_id),
            CommandBody::LastScheduled { dag_ids } => self.last_scheduled(dag_ids),
            CommandBody::RenewPromises { dag_id } => {
                self.renew_promises(at, command, dag_id.as_ref())
            }
            CommandBody::DagFileRead(file) => self.file_read(at, command, file),
            CommandBody::DagFileGone { file } => self.file_gone(at, command, file),
            CommandBody::PublishBundle { bundle, folder } => {
                self.publish_bundle(at, command, bundle, folder.as_deref())
            }
            CommandBody::SetPool(ask) => self.set_pool(at, command, ask),
            CommandBody::DeletePool { pool } => self.delete_pool(at, command, pool),
            CommandBody::ChangeSecret(ask) => self.change_secret(at, command, ask),
            CommandBody::SetLimits {
                parallelism,
                max_losses,
                max_consecutive_failed_dag_runs: failed,
                task_queued_timeout: queued,
            } => {
                let limits = self.limits_or((*parallelism, *max_losses), (*failed, *queued));
                self.set_limits(at, command, limits)
            }
            CommandBody::AnswerHitl(ask) => self.answer_hitl(at, command, ask),
            CommandBody::Report(report) => self.report(at, command, report),
            CommandBody::ExecutorJoined { executor, presence } => {
                self.executor_joined(at, command, executor, presence)
            }
            CommandBody::CordonExecutor(_) | CommandBody::UncordonExecutor { .. } => {
                self.change_cordon(at, command)
            }
            CommandBody::ExecutorFull { executor, full } => {
                self.executor_full(at, command, executor, *full)
            }
            CommandBody::ExecutorLeft { executor } => self.executor_left(at, command, executor),
        }
    }

    /// What is asked for, and what stands where nothing is.
    fn limits_or(
        &self,
        (parallelism, max_losses): (u32, u16),
        (failed, queued): (Option<u32>, Option<Micros>),
    ) -> LimitsSet {
        let now = &self.limits;
        LimitsSet {
            parallelism,
            max_losses,
            max_consecutive_failed_dag_runs: failed.unwrap_or(now.max_consecutive_failed_dag_runs),
            task_queued_timeout: queued.unwrap_or(now.task_queued_timeout),
        }
    }

    /// What takes several records may have landed in part: then the rest of it is decided now. What is read
    /// of a file is out of date once something newer was.
    fn may_decide_again(&self, command: &Command) -> bool {
        match &command.body {
            CommandBody::DagFileRead(read) => self.told.get(&read.file) == Some(&command.id),
            CommandBody::DagFileGone { file } => self.told.get(file) == Some(&command.id),
            CommandBody::ExecutorLeft { .. } | CommandBody::RenewPromises { .. } => true,
            CommandBody::TriggerRun(_)
            | CommandBody::CancelRun { .. }
            | CommandBody::ClearTasks(_)
            | CommandBody::MarkTasks(_)
            | CommandBody::MarkRun { .. }
            | CommandBody::NoteRun { .. }
            | CommandBody::NoteTask(_)
            | CommandBody::CreateBackfill(_)
            | CommandBody::PauseBackfill { .. }
            | CommandBody::UnpauseBackfill { .. }
            | CommandBody::CancelBackfill { .. }
            | CommandBody::WhyWaits(_)
            | CommandBody::WouldUnpause { .. }
            | CommandBody::LastScheduled { .. }
            | CommandBody::UpdateAsset(_)
            | CommandBody::DropQueuedAssets { .. }
            | CommandBody::DeleteRun { .. }
            | CommandBody::ForgetDag { .. }
            | CommandBody::ForgetVersions { .. }
            | CommandBody::ForgetHistory(_)
            | CommandBody::PauseDag { .. }
            | CommandBody::UnpauseDag { .. }
            | CommandBody::PublishBundle { .. }
            | CommandBody::SetPool(_)
            | CommandBody::DeletePool { .. }
            | CommandBody::ChangeSecret(_)
            | CommandBody::SetLimits { .. }
            | CommandBody::AnswerHitl(_)
            | CommandBody::Report(_)
            | CommandBody::CordonExecutor(_)
            | CommandBody::UncordonExecutor { .. }
            | CommandBody::ExecutorFull { .. }
            | CommandBody::ExecutorJoined { .. } => false,
        }
    }
}

/// The answer to a command that comes a second time: what was answered the first time.
fn again(seen: &Seen) -> Decision {
    if seen.refused {
        // An executor that lost the first answer must not take this one for leave to go on.
        let why = format!("the report was refused before: see record {}", seen.seq);
        return refuse(RefusalCode::StaleReport, why);
    }
    let outcome = Outcome::Seen { seq: seen.seq, run_id: seen.run_id.clone() };
    Decision { records: Vec::new(), outcome }
}
