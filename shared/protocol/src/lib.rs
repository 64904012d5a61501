//! What services say to one another: commands and reports to the scheduler's inbox, its answers, work
//! items to executors, their presence, and the names of queues, keys and subjects.
//!
//! Unlike facts these are not kept for ever, but old and new services talk to each other during an
//! upgrade, so they grow the same way: new variants and optional fields only.
pub mod ahead;
mod answer;
mod backfill;
mod command;
mod copies;
mod lapse;
pub mod limits;
pub mod names;
mod partitions;
mod presence;
mod question;
mod report;
mod resources;
mod secret;
mod spec;
pub mod text;
pub mod trace;
mod usage;
mod version;
mod why;
mod work;

pub use ahead::Ahead;
pub use answer::{
    Answer, ClearedTask, ComingRuns, LastScheduled, Refusal, RefusalCode, VersionChange,
};
pub use backfill::{BackfillDates, BackfillDoes, BackfillPlan, BackfillRuns, CreateBackfill};
pub use command::{
    AnswerHitl, AssetUpdate, ClearTasks, Command, CommandBody, CordonExecutor, DagFile,
    ImportError, MarkTasks, NoteTask, OnRunning, PoolChange, PoolIs, RegisteredDag, TaskCopy,
    TriggerRun,
};
pub use copies::ReturnedBy;
pub use lapse::{Lapses, StoredXCom, xcom_forgotten};
pub use partitions::{PartitionAsset, PartitionWaits};
pub use presence::{Cordon, HeldTry, Order, Presence, TryLogQuery, TryLogSlice};
pub use question::{ApiQuestion, ApiReply, Asked, CopiesHandedOn, DatesAnswer, DatesQuestion};
pub use report::{OutletEvent, Report, ReportBody, TriggerEnd, XComValue};
pub use resources::{in_vain, is_in_vain, lacking, lacking_now, less, share, short_of};
pub use secret::{SealedQuestion, SecretAsk, SecretChange, SecretIs};
pub use spec::too_large;
pub use usage::{Measured, TryUsageAnswer, TryUsageQuery, UsageSeries};
pub use version::{FIRST_PROTOCOL, PROTOCOL, understands};
pub use why::{Blocker, Holder, Holders, Piece, Place, Reason, Stands, WaitingLine, Why, WhyAsk};
pub use work::{DagCallback, Resume, ResumedBy, RunContext, WorkItem};
