//! The facts: what happened to DAGs, runs, tasks and tries, and the ids they carry.
//!
//! Every type here is stored for ever, so it only ever grows: add a variant or an optional field,
//! never rename, retype or remove one. There is no behaviour here beyond encoding; what follows
//! from a fact is the business of `dagbok-domain`.
mod asset;
mod codec;
mod deadline;
mod fact;
mod failure;
mod folder;
mod hex;
mod ids;
mod json;
mod partition;
mod record;
mod resources;
mod schedule;
mod spec;
mod subject;
mod time;

pub use asset::{AssetCondition, AssetEvent, AssetKey, AssetRef, AssetSource};
pub use codec::{
    DecodeError, TooLong, decode, decode_any, decode_packed, encode, encode_any, encode_packed,
    encode_within,
};
pub use deadline::{Deadline, DeadlineFrom};
pub use fact::*;
pub use failure::{Failure, FailureKind, Fault, Usage};
pub use folder::{file_in, folder_of, path_in_folder};
pub use hex::hex;
pub use ids::{
    BackfillId, BadId, CommandId, ConnId, DagId, Digest, ExecutorId, ExecutorName, Leg, MapIndex,
    PoolName, QueueName, RunId, TaskId, TryKey, TryNumber, VariableKey,
};
pub use json::{entry_json, entry_of_json};
pub use partition::{
    AssetPartitionRule, Partition, PartitionMapper, PartitionRule, PartitionWindow, PartitionedFor,
    Period, WaitPolicy,
};
pub use record::{Actor, Cause, Record, RunKey, Scope, TraceContext};
pub use resources::{Limits, OutOfMemory, OutOfMemoryBy, Resources};
pub use schedule::{RunImmediately, Schedule, Span, Timetable};
pub use spec::{
    AssetWatcher, DagSpec, DagVersion, Expand, Extent, NotCarriedOut, SourceLocation, TaskSpec,
    TriggerRule,
};
pub use subject::{BadSubject, escape_token, subject_of, unescape_token};
pub use time::{Interval, Micros, Timestamp};
