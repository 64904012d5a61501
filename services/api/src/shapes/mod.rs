//! The JSON of the API: Airflow's names and types, so that what reads Airflow's API reads this.
//!
//! What Airflow has no word for stands under one key, `dagbok`, in each object. Fields that Airflow
//! has and Dagbok does not use are there and null, as there. These types are read by the command
//! line too.
mod alert;
mod asset;
mod backfill;
mod dag;
mod duty;
mod history;
mod hitl;
mod pool;
mod run;
mod secret;
mod shared;
mod study;
mod task;
mod ui;
mod usage;
mod why;
mod xcom;

pub use alert::{
    AlertAttempt, AlertChange, AlertCollection, AlertDetail, AlertNotification, AlertResponse,
    AlertRun, AlertTest, HeartbeatBody, HeartbeatCollection, HeartbeatResponse, SilenceBody,
    SilenceCollection, SilenceResponse,
};
pub use asset::{
    AssetAlias, AssetAliasCollection, AssetCollection, AssetDag, AssetEventCollection,
    AssetEventResponse, AssetResponse, AssetTask, CreateAssetEvent, CreatedRun, LastAssetEvent,
    QueuedEvent, QueuedEventCollection,
};
pub use backfill::{
    BackfillBody, BackfillCollection, BackfillExtra, BackfillResponse, DryRunBackfill,
    DryRunBackfillCollection, DryRunDate, DryRunExtra, ReprocessBehavior,
};
pub use dag::{
    DagCollection, DagDetails, DagExtra, DagPatch, DagResponse, DagSource, DagTag,
    DagVersionCollection, DagVersionInfo, ExpectedRun, ExpectedRunCollection, LastRun, MissedRuns,
    NotCarriedOut, PausedWhy, PromisedRun, TaskCollection, TaskExtra, TaskInfo, TimeDelta,
    UnpausePreview,
};
use dagbok_events::Timestamp;
use dagbok_runlog::digest_of;
pub use duty::{
    DutyReceiverInfo, DutyResponse, DutyRouteInfo, DutyScheduleInfo, DutyStepInfo, DutyTurnInfo,
};
pub use history::{
    ClearTaskInstances, Cleared, OtherCleared, RunChange, RunChangeCollection, RunClear,
    RunClearBody, RunCleared, RunMarkBody, RunVersionChange, TaskChange, TaskInstancePatch,
    TaskOrCopy, TaskWasCount,
};
pub use hitl::{
    HitlDetail, HitlDetailCollection, HitlDetailResponse, HitlExtra, HitlUserShape,
    PendingPartition, PendingPartitionAsset, PendingPartitionCollection, UpdateHitlDetailPayload,
};
pub use pool::{
    BulkDone, BulkError, BulkResponse, OnExistence, OnNonExistence, PoolAction, PoolBody, PoolBulk,
    PoolCollection, PoolPatch, PoolResponse,
};
pub use run::{
    Forgotten, ForgottenOfRuns, Prune, Pruned, PrunedDag, RunCancel, RunCollection, RunExtra,
    RunListExtra, RunPatch, RunResponse, RunWait, TriggerBody, Unnamed,
};
pub use secret::{
    ConnectionAction, ConnectionBody, ConnectionBulk, ConnectionCollection, ConnectionPatch,
    ConnectionResponse, RotateSecrets, RotatedSecrets, SealedEntries, SealedEntry, SecretExtra,
    VariableAction, VariableBody, VariableBulk, VariableCollection, VariablePatch,
    VariableResponse,
};
use serde::{Deserialize, Serialize};
pub use shared::{
    ClockHealth, CordonAnswer, CordonBody, CordonInfo, Detail, ExecutorCollection, ExecutorInfo,
    ExecutorTry, Health, HealthExtra, ImportErrorCollection, ImportErrorExtra, ImportErrorResponse,
    ListExtra, ProcessorHealth, ProjectionHealth, QueueCollection, QueueSignal, QueueWanted,
    RefusedReport, RefusedReportCollection, Rescheduled, RescheduledDag, ResourceInfo,
    SchedulerHealth, StatusOnly, TriggererHealth, VersionInfo,
};
pub use study::{
    AlertBacktest, AlertExplanation, AlertReach, AlertReachCollection, AlertRuleOf, AlertStep,
    AlertWrongBy, BacktestBody, ExplainBody, OnCallEntry, OnCallResponse, WouldBeAlert,
};
pub use task::{
    CallbackFailure, DagCallback, DagCallbackCollection, LogLine, TaskCheckpoint, TaskInstance,
    TaskInstanceCollection, TaskInstanceExtra, TryCollection, TryFailure, TryInstance, TryLog,
    TryLogs, TryProgress, TryUsage,
};
pub use ui::{
    UiAlert, UiAnswer, UiAsk, UiChange, UiChangeKind, UiChanges, UiCode, UiCodeError,
    UiCodeVersion, UiColumn, UiDag, UiDagRow, UiDags, UiDay, UiExecutors, UiExpected, UiFailedRun,
    UiFailure, UiGridTask, UiHome, UiImportError, UiLastRun, UiLate, UiLog, UiLogLine, UiNext,
    UiParam, UiPast, UiPoint, UiPool, UiPoolTask, UiPools, UiQuestion, UiRun, UiRunTask, UiTask,
    UiTaskPast, UiTold, UiTryBar, UiVerdict, UiWaiting, UiXCom,
};
pub use usage::TryUsageSeries;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, schema::Type},
};
pub use why::{
    WhyAnswer, WhyChange, WhyChanges, WhyExpected, WhyHolder, WhyPiece, WhyPlace, WhyReason,
    WhyTask,
};
pub use xcom::{XComCollection, XComEntry, XComValue};

/// Airflow's default owner: it stands for nobody named, as it does there.
pub const DEFAULT_OWNER: &str = "airflow";

/// An instant: RFC 3339 with a `Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DateTime(pub Timestamp);

impl From<Timestamp> for DateTime {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

impl PartialSchema for DateTime {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::DateTime);
        ObjectBuilder::new().schema_type(Type::String).format(Some(format)).build().into()
    }
}

impl ToSchema for DateTime {
    fn name() -> std::borrow::Cow<'static, str> {
        "DateTime".into()
    }
}

/// A stable UUID (version 8) from what it stands for: the same parts give the same one for ever.
pub(crate) fn uuid_of(parts: &[&str]) -> String {
    let hash = digest_of(parts.join("\0").as_bytes());
    format!(
        "{}-{}-8{}-8{}-{}",
        &hash[..8],
        &hash[8..12],
        &hash[13..16],
        &hash[17..20],
        &hash[20..32]
    )
}

/// Seconds from `start` to `end`.
pub(crate) fn seconds(start: Option<Timestamp>, end: Option<Timestamp>) -> Option<f64> {
    let micros = end?.since(start?).0;
    #[expect(clippy::cast_precision_loss, reason = "2^53 microseconds are 285 years")]
    let seconds = micros as f64 / 1_000_000.0;
    Some(seconds)
}
