//! Executors' presence, orders to them, and how a running try's log is read from them.
use dagbok_events::{Actor, ExecutorId, ExecutorName, QueueName, Resources, Timestamp, TryKey};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an executor keeps under [`crate::names::presence_key`], put anew about every quarter of a lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Presence {
    /// Id of the executor that holds or held the try.
    pub executor: ExecutorId,
    /// Name of the machine that the try ran on.
    pub hostname: String,
    /// How many tries it can hold.
    pub slots: u32,
    /// Which queues it pulls from.
    pub queues: Vec<QueueName>,
    /// Version of the program that it runs.
    pub version: String,
    /// Its Python's version.
    #[serde(default)]
    pub python: String,
    /// What its tries can use together; what is not said is not counted.
    #[serde(default)]
    pub resources: Resources,
    /// How it holds tries to their limits, in a sentence.
    #[serde(default)]
    pub isolation: String,
    /// What it is called over its lives; its machine's name where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<ExecutorName>,
    /// Which version of the protocol it speaks; the first where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u32>,
    /// The executor that it is a place of, by its name, as one in a pod is: what it holds takes up slots of that one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part_of: Option<ExecutorName>,
    /// Whether it takes no more work and is about to leave.
    #[serde(default)]
    pub draining: bool,
    /// Whether it knows that it is cordoned.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cordoned: bool,
    /// Whether it stays where it is drained: it is part of a process that has others, takes nothing new, and ends nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stays: bool,
    /// Rises with each put: a reader knows by it that the executor lives, whatever the clocks say.
    pub beat: u64,
    /// For how long it may be silent before its tries are somebody else's, in milliseconds: it stops them
    /// itself by then. Where it does not say, the scheduler's own setting counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_ms: Option<u64>,
    /// When it was put, by the executor's clock.
    pub at: Timestamp,
    /// The tries that it holds.
    pub holds: Vec<HeldTry>,
}

/// A try in an executor's hands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeldTry {
    /// The try: its DAG, run, task, copy, number and leg.
    pub key: TryKey,
    /// As which process; `None` before it is started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Why it has not begun there, in a sentence for people: what a cluster says of its pod. At most 400 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
}

/// An order to one executor, on [`crate::names::orders_subject`]; repeated while its presence shows that
/// it was not heard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Order {
    /// End this try's processes and say no more of it: it is not in flight any more.
    Kill {
        /// The try: its DAG, run, task, copy, number and leg.
        key: TryKey,
        /// Why, for its log.
        why: String,
    },
    /// Whoever runs this executor is about to end its process, by no fault of what it runs: in these words that is told of the
    /// tries that end by it.
    Ends {
        /// Why, for people.
        why: String,
    },
    /// Read anew under [`crate::names::cordon_key`] whether work may be taken. Who does not know this order reads
    /// there at each renewal of its presence.
    LookAtCordon,
}

/// What lies under [`crate::names::cordon_key`] while an executor is cordoned: it takes nothing new. Written by the
/// scheduler once the fact is in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cordon {
    /// The record that says so. An executor that found it at its start is not among those that are drained.
    pub seq: u64,
    /// Whether those that live as it is written end what they run, and leave.
    #[serde(default)]
    pub drain: bool,
    /// How long their tries may go on, in milliseconds; as each is set where not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_ms: Option<u64>,
    /// Who said so.
    pub by: Actor,
    /// Why, in that one's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When, by the scheduler's clock.
    pub at: Timestamp,
}

/// Asks the executor that holds a try for its log so far, on [`crate::names::log_subject`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TryLogQuery {
    /// The try: its DAG, run, task, copy, number and leg.
    pub key: TryKey,
    /// From which byte on.
    pub offset: u64,
    /// At most this many bytes.
    pub max: u32,
    /// How long to wait for more where there is nothing yet, in milliseconds.
    pub wait_ms: u32,
}

/// A slice of a try's log: lines of JSON as described by the schema `task-log`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TryLogSlice {
    /// Where the next slice begins.
    pub next_offset: u64,
    /// The lines, whole ones only.
    pub lines: String,
    /// Whether the try is over and nothing will follow.
    pub complete: bool,
}
