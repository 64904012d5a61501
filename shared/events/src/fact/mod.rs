//! The facts, one file for what each is about. Past tense, noun first; only ever added to.
mod asset;
mod attempt;
mod backfill;
mod callback;
mod checkpoint;
mod dag;
mod deferral;
mod foretold;
mod hitl;
mod lineage;
mod run;
mod secret;
mod shared;
mod task;

pub use asset::{AssetUpdated, QueuedAssetsDropped};
pub use attempt::{
    ForeignReport, LogRef, LostWhy, RefusedWhy, ReportRefused, TryCancelled, TryFailed, TryLost,
    TryNamed, TryRescheduled, TryReturned, TrySkipped, TryStarted, TrySucceeded, XComPushed,
};
pub use backfill::{
    BackfillCancelled, BackfillCompleted, BackfillCreated, BackfillPaused, BackfillSkipped,
    BackfillUnpaused, ReprocessBehavior, RunBackfilled, SkippedWhy,
};
pub use callback::{
    DagCallbackFailed, DagCallbackKind, DagCallbackLost, DagCallbackOrdered, DagCallbackStarted,
    DagCallbackSucceeded, DagCallbackUnbegun, TaskCallbackFailed,
};
pub use checkpoint::{
    Checkpoint, CheckpointDropped, CheckpointFiles, CheckpointKept, TryProgressed,
};
pub use dag::{
    BundlePublished, DagDisappeared, DagForgotten, DagImportFailed, DagImportRecovered, DagPaused,
    DagRegistered, DagUnpaused, DagVersionsForgotten, ExpectedRuns, MissedWhy, RunExpected,
    RunMissed,
};
pub use deferral::{TriggerCall, TriggerFailed, TriggerFailedWhy, TriggerFired, TryDeferred};
pub use foretold::{ForetoldManual, ForetoldRuns, ManualStep, ScheduleForetold};
pub use hitl::{HitlAnswered, HitlAsk, HitlUser};
pub use lineage::LineageTold;
pub use run::{
    Payload, RunCancelled, RunCleared, RunCreated, RunDeleted, RunFailed, RunMark, RunMarked,
    RunNoted, RunStarted, RunSucceeded, RunTimedOut, RunType, RunVersionChanged, RunWas, TaskGone,
};
use schemars::JsonSchema;
pub use secret::{
    ConnectionDeleted, ConnectionSet, Rewrapped, Sealed, SecretsRewrapped, VariableDeleted,
    VariableSet,
};
use serde::{Deserialize, Serialize};
pub use shared::{
    ClockWentBack, ExecutorCordoned, ExecutorFull, ExecutorJoined, ExecutorLeft,
    ExecutorUncordoned, ForeignEntrySkipped, HistoryForgotten, LeftWhy, LimitsSet, PoolDeleted,
    PoolSet,
};
pub use task::{
    RuledOut, TaskCleared, TaskExpanded, TaskMark, TaskMarked, TaskNoted, TaskQueued, TaskRuledOut,
    TaskWas, TasksWere,
};

/// Something that happened. Which DAG, run or executor it happened to is said by the record's scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Fact {
    /// A DAG was read for the first time, or its meaning changed.
    DagRegistered(Box<DagRegistered>),
    /// The folder's code changed, though no DAG's meaning need have: new runs use it.
    BundlePublished(BundlePublished),
    /// A file could not be read; what was registered from it before stays in force.
    DagImportFailed(Box<DagImportFailed>),
    /// A file that could not be read can be read again.
    DagImportRecovered(DagImportRecovered),
    /// A DAG is no longer in its file, or the file is gone.
    DagDisappeared(DagDisappeared),
    /// No new runs by schedule, and none starts.
    DagPaused(DagPaused),
    /// Runs are made and started again.
    DagUnpaused(DagUnpaused),
    /// The schedule promises a run: written ahead, so that its absence can be seen.
    RunExpected(RunExpected),
    /// Promised runs did not happen and won't.
    RunMissed(RunMissed),
    /// A run came into being.
    RunCreated(Box<RunCreated>),
    /// A run may queue its tasks.
    RunStarted(RunStarted),
    /// A run is over and succeeded.
    RunSucceeded(RunSucceeded),
    /// A run is over and failed.
    RunFailed(RunFailed),
    /// A run took longer than `dagrun_timeout` and failed.
    RunTimedOut(RunTimedOut),
    /// A run was ended by somebody.
    RunCancelled(RunCancelled),
    /// A run that was over goes on: it is queued again, for the tasks that the same record clears.
    RunCleared(RunCleared),
    /// A run that is over is gone, by the wish of somebody or by the rules of what is kept: its id and its
    /// logical date are free again.
    RunDeleted(RunDeleted),
    /// A mapped task has this many copies.
    TaskExpanded(TaskExpanded),
    /// A task that is done is to run again.
    TaskCleared(TaskCleared),
    /// A try was offered to the executors.
    TaskQueued(TaskQueued),
    /// A task will not run.
    TaskRuledOut(TaskRuledOut),
    /// An executor began a try.
    TryStarted(Box<TryStarted>),
    /// A try succeeded.
    TrySucceeded(Box<TrySucceeded>),
    /// A try failed.
    TryFailed(Box<TryFailed>),
    /// The user's code said to skip.
    TrySkipped(Box<TrySkipped>),
    /// A try's executor is gone, with no word of how it ended.
    TryLost(Box<TryLost>),
    /// A try was ended because its run was, or because another task's failure stops the rest.
    TryCancelled(TryCancelled),
    /// An executor handed a try back without starting it.
    TryReturned(TryReturned),
    /// A try asked to go on later, as a sensor does between two looks.
    TryRescheduled(Box<TryRescheduled>),
    /// A task handed on a value.
    XComPushed(XComPushed),
    /// A copy of a mapped task has a name for people.
    TryNamed(TryNamed),
    /// A report was refused and is kept as evidence; it changed nothing.
    ReportRefused(Box<ReportRefused>),
    /// A pool has this many slots from now on.
    PoolSet(PoolSet),
    /// There is no such pool any more: tasks that want its slots wait until there is.
    PoolDeleted(PoolDeleted),
    /// The namespace's limits from now on.
    LimitsSet(LimitsSet),
    /// An executor came.
    ExecutorJoined(Box<ExecutorJoined>),
    /// An executor went.
    ExecutorLeft(ExecutorLeft),
    /// Who is called so takes nothing new from now on, over restarts; with `drain` it leaves, too.
    ExecutorCordoned(ExecutorCordoned),
    /// Who is called so takes work again.
    ExecutorUncordoned(ExecutorUncordoned),
    /// An executor has no place for another try, whatever its tries that began take up; or has one again.
    ExecutorFull(ExecutorFull),
    /// The scheduler's clock shows much less than it did: what it had put off until then is due earlier.
    ClockWentBack(ClockWentBack),
    /// An entry of the log that is no record of ours is passed over by every fold; it stays where it is.
    ForeignEntrySkipped(Box<ForeignEntrySkipped>),
    /// A DAG that no file defines and that has no run left is forgotten, with all its versions.
    DagForgotten(DagForgotten),
    /// Old versions of a DAG that none of its runs has any more are forgotten.
    DagVersionsForgotten(DagVersionsForgotten),
    /// An asset was brought up to date.
    AssetUpdated(Box<AssetUpdated>),
    /// A DAG waits again for assets that had been brought up to date.
    QueuedAssetsDropped(QueuedAssetsDropped),
    /// Somebody says how a task ended, whatever became of it.
    TaskMarked(TaskMarked),
    /// Somebody says how a run ended, whatever became of it.
    RunMarked(RunMarked),
    /// A run has another note for people, or none any more.
    RunNoted(RunNoted),
    /// Somebody asked for runs of many dates of a DAG's past.
    BackfillCreated(Box<BackfillCreated>),
    /// A backfill makes no runs, and starts none.
    BackfillPaused(BackfillPaused),
    /// A backfill goes on.
    BackfillUnpaused(BackfillUnpaused),
    /// A backfill is over before its end: runs of it that have not begun are ended, those that have go on.
    BackfillCancelled(BackfillCancelled),
    /// A backfill is over: all its dates were seen to, and none of its runs goes on.
    BackfillCompleted(BackfillCompleted),
    /// Dates of a backfill are passed over.
    BackfillSkipped(BackfillSkipped),
    /// A run that was over runs again for a backfill, and is one of its runs from now on.
    RunBackfilled(RunBackfilled),
    /// A run that is over goes on with another version of its DAG: the same record lets it go on.
    RunVersionChanged(Box<RunVersionChanged>),
    /// A task has another note for people, or none any more.
    TaskNoted(TaskNoted),
    /// What nothing that goes on needs, and that is old, is forgotten: executors that left, reports refused.
    HistoryForgotten(HistoryForgotten),
    /// A DAG's timetable is written in Python, and answered when its next runs come.
    ScheduleForetold(Box<ScheduleForetold>),
    /// A variable has another value.
    VariableSet(Box<VariableSet>),
    /// There is no such variable any more.
    VariableDeleted(VariableDeleted),
    /// A connection is another one.
    ConnectionSet(Box<ConnectionSet>),
    /// There is no such connection any more.
    ConnectionDeleted(ConnectionDeleted),
    /// Another master key wraps the keys of values that hold: whoever destroys the one before destroys all others. Nothing
    /// is set by those that it retires any more.
    SecretsRewrapped(SecretsRewrapped),
    /// A try waits for a trigger to fire.
    TryDeferred(Box<TryDeferred>),
    /// A trigger fired: the task that waits for it goes on, or is over.
    TriggerFired(Box<TriggerFired>),
    /// A trigger came to nothing: the task that waits for it goes on, to fail by it.
    TriggerFailed(Box<TriggerFailed>),
    /// A callback of a DAG is to be called: a run of it ended.
    DagCallbackOrdered(Box<DagCallbackOrdered>),
    /// An executor began to call a DAG's callback.
    DagCallbackStarted(DagCallbackStarted),
    /// A DAG's callback was called and ended well.
    DagCallbackSucceeded(Box<DagCallbackSucceeded>),
    /// A DAG's callback raised, took too long, or its process ended without a word.
    DagCallbackFailed(Box<DagCallbackFailed>),
    /// Who was to call a DAG's callback is gone, or handed it back.
    DagCallbackLost(DagCallbackLost),
    /// Nobody began to call a DAG's callback for long; it stays on offer.
    DagCallbackUnbegun(DagCallbackUnbegun),
    /// A callback of a task raised, or could not be called.
    TaskCallbackFailed(Box<TaskCallbackFailed>),
    /// Somebody answered what a task asks people, or the time for that was up and its defaults count: the task goes on.
    HitlAnswered(Box<HitlAnswered>),
    /// A task keeps a directory or values for its next try.
    CheckpointKept(Box<CheckpointKept>),
    /// What a task kept for its next try is gone: that begins anew, since what comes before the task runs again.
    CheckpointDropped(CheckpointDropped),
    /// A try says how far it has come. Not each word of it is a fact: what is soon followed by another is passed over.
    TryProgressed(Box<TryProgressed>),
    /// A try's operator says what it read and wrote. It comes before the end of the try, where lineage is wanted.
    LineageTold(Box<LineageTold>),
}

impl Fact {
    /// Whether a run is over with it. One that is cancelled or times out goes on for as long as teardowns of it are
    /// left, and is over with the `RunFailed` after them.
    pub const fn ends_run(&self) -> bool {
        matches!(
            self,
            Self::RunSucceeded(_)
                | Self::RunFailed(_)
                | Self::RunTimedOut(RunTimedOut { teardowns_left: false })
                | Self::RunCancelled(RunCancelled { teardowns_left: false, .. })
                | Self::RunMarked(RunMarked { teardowns_left: false, .. })
        )
    }
}
