//! Records and facts in words.
use dagbok_events::{Fact, Record};

/// A record on a line.
pub(super) fn brief(seq: u64, record: &Record) -> String {
    let cause = record.cause.as_ref().map_or("", |cause| cause.command.as_str());
    format!("{seq} {} {:?} {cause} {:?} {:?}\n", record.at, record.by, record.scope, record.facts)
}

/// A fact's name.
pub(super) const fn kind_of(fact: &Fact) -> &'static str {
    match fact {
        Fact::DagRegistered(_) => "DagRegistered",
        Fact::BundlePublished(_) => "BundlePublished",
        Fact::DagImportFailed(_) => "DagImportFailed",
        Fact::DagImportRecovered(_) => "DagImportRecovered",
        Fact::DagDisappeared(_) => "DagDisappeared",
        Fact::DagPaused(_) => "DagPaused",
        Fact::DagUnpaused(_) => "DagUnpaused",
        Fact::RunExpected(_) => "RunExpected",
        Fact::RunMissed(_) => "RunMissed",
        Fact::RunCreated(_) => "RunCreated",
        Fact::RunStarted(_) => "RunStarted",
        Fact::RunSucceeded(_) => "RunSucceeded",
        Fact::RunFailed(_) => "RunFailed",
        Fact::RunTimedOut(_) => "RunTimedOut",
        Fact::RunCancelled(_) => "RunCancelled",
        Fact::RunCleared(_) => "RunCleared",
        Fact::RunDeleted(_) => "RunDeleted",
        Fact::TaskExpanded(_) => "TaskExpanded",
        Fact::TaskCleared(_) => "TaskCleared",
        Fact::TaskMarked(_) => "TaskMarked",
        Fact::RunMarked(_) => "RunMarked",
        Fact::RunNoted(_) => "RunNoted",
        Fact::RunVersionChanged(_) => "RunVersionChanged",
        Fact::TaskNoted(_) => "TaskNoted",
        Fact::TryRescheduled(_) => "TryRescheduled",
        Fact::TryDeferred(_) => "TryDeferred",
        Fact::TriggerFired(_) => "TriggerFired",
        Fact::TriggerFailed(_) => "TriggerFailed",
        Fact::TaskQueued(_) => "TaskQueued",
        Fact::TaskRuledOut(_) => "TaskRuledOut",
        Fact::TryStarted(_) => "TryStarted",
        Fact::TrySucceeded(_) => "TrySucceeded",
        Fact::TryFailed(_) => "TryFailed",
        Fact::TrySkipped(_) => "TrySkipped",
        Fact::TryLost(_) => "TryLost",
        Fact::TryCancelled(_) => "TryCancelled",
        Fact::TryReturned(_) => "TryReturned",
        Fact::XComPushed(_) => "XComPushed",
        Fact::TryNamed(_) => "TryNamed",
        Fact::ReportRefused(_) => "ReportRefused",
        Fact::PoolSet(_) => "PoolSet",
        Fact::PoolDeleted(_) => "PoolDeleted",
        Fact::LimitsSet(_) => "LimitsSet",
        Fact::ExecutorJoined(_) => "ExecutorJoined",
        Fact::ExecutorLeft(_) => "ExecutorLeft",
        Fact::ClockWentBack(_) => "ClockWentBack",
        Fact::ForeignEntrySkipped(_) => "ForeignEntrySkipped",
        Fact::DagForgotten(_) => "DagForgotten",
        Fact::DagVersionsForgotten(_) => "DagVersionsForgotten",
        Fact::HistoryForgotten(_) => "HistoryForgotten",
        Fact::AssetUpdated(_) => "AssetUpdated",
        Fact::QueuedAssetsDropped(_) => "QueuedAssetsDropped",
        Fact::ScheduleForetold(_) => "ScheduleForetold",
        Fact::BackfillCreated(_) => "BackfillCreated",
        Fact::BackfillPaused(_) => "BackfillPaused",
        Fact::BackfillUnpaused(_) => "BackfillUnpaused",
        Fact::BackfillCancelled(_) => "BackfillCancelled",
        Fact::BackfillCompleted(_) => "BackfillCompleted",
        Fact::BackfillSkipped(_) => "BackfillSkipped",
        Fact::RunBackfilled(_) => "RunBackfilled",
    }
}
