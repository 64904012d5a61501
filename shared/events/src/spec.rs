//! A DAG as the processor read it from its file: what the rules need, and what people look at.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    AssetCondition, AssetKey, AssetRef, DagId, Deadline, Limits, Micros, PoolName, QueueName,
    Resources, Schedule, TaskId, Timestamp, TriggerCall,
};

/// Numbers a DAG's meanings from one; a new one only when the canonical hash changed.
pub type DagVersion = u32;

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn second_era() -> u8 {
    2
}
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_second_era(era: &u8) -> bool {
    *era == 2
}

/// A DAG, whole. Its canonical hash is over this without [`DagSpec::source`] and other line numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "each is an argument of its own")]
pub struct DagSpec {
    /// Name, unique in the namespace.
    pub dag_id: DagId,
    /// Name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// One line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Markdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc_md: Option<String>,
    /// From `default_args` and the tasks, joined by `, ` where they differ; empty where nobody said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// Labels to find the DAG by, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Mailboxes that its author names for failures: `email` of the tasks with `email_on_failure`, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failure_email: Vec<String>,
    /// Whom its known notifiers tell of failures, as `slack:#ml`, sorted: data for routes, which nobody calls.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failure_notify: Vec<String>,
    /// Which Airflow's rules the file expects: 2, or 3 for a file that imports `airflow.sdk`.
    #[serde(default = "second_era", skip_serializing_if = "is_second_era")]
    pub era: u8,
    /// When runs are made.
    pub schedule: Schedule,
    /// First instant that a scheduled run may stand for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_date: Option<Timestamp>,
    /// Last instant that a scheduled run may stand for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_date: Option<Timestamp>,
    /// Which assets must be brought up to date for a run to be made, besides those by the timetable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asset_condition: Option<AssetCondition>,
    /// What watches these assets: triggers whose events bring them up to date.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watchers: Vec<AssetWatcher>,
    /// Whether runs that were missed are made up for.
    #[serde(default)]
    pub catchup: bool,
    /// Runs of this DAG that may be running at once.
    pub max_active_runs: u32,
    /// Tries of this DAG that may be in flight at once, over all runs.
    pub max_active_tasks: u32,
    /// A run older than this fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dagrun_timeout: Option<Micros>,
    /// Whether a DAG seen for the first time starts paused; `None` leaves it to the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_paused_upon_creation: Option<bool>,
    /// Default parameters as a JSON object in text; a run's conf lies over them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<String>,
    /// JSON schemas of params as a JSON object in text; what a run's conf gives is held against them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub param_schemas: Option<String>,
    /// Params without a default: a run's conf must give them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub required_params: Vec<String>,
    /// Whether the first task that fails for good stops the others: `fail_fast`, or `fail_stop` of Airflow 2.
    #[serde(default, skip_serializing_if = "is_default")]
    pub fail_fast: bool,
    /// The DAG is paused once so many of its newest runs have failed, all of them; with 0 the namespace's limit holds.
    #[serde(default, skip_serializing_if = "is_default")]
    pub max_consecutive_failed_dag_runs: u32,
    /// Whether the author gave an `on_success_callback`, to be called when a run ends well.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_success_callback: bool,
    /// Whether the author gave an `on_failure_callback`, to be called when a run fails.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_failure_callback: bool,
    /// Upstreams before downstreams, otherwise in the file's order.
    pub tasks: Vec<TaskSpec>,
    /// The pods that its tasks ask for, over what others have, each once: `pod_override` of their `executor_config`, as the JSON
    /// that the client of Kubernetes would send.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pod_overrides: Vec<String>,
    /// By when its runs and tasks are to be done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deadlines: Vec<Deadline>,
    /// What the file asks for and nobody carries out, in the file's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_carried_out: Vec<NotCarriedOut>,
    /// Where it was read; left out of the canonical hash.
    pub source: SourceLocation,
}

impl DagSpec {
    /// The pod that one of its tasks asks for.
    pub fn pod_override_of(&self, task: &TaskSpec) -> Option<&str> {
        let place = usize::try_from(task.pod_override?).ok()?;
        self.pod_overrides.get(place).map(String::as_str)
    }
}

/// A trigger that runs for as long as a DAG that is scheduled on its asset is there and not paused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AssetWatcher {
    /// Its name, unique for the asset.
    pub name: String,
    /// What each of its events brings up to date.
    pub asset: AssetKey,
    /// By which class it is watched, made of which arguments.
    pub trigger: TriggerCall,
}

/// Something that a DAG file asks for and that has no effect: told to its author, and changes no rule.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NotCarriedOut {
    /// In a sentence, in Airflow's words: `sla is not watched`.
    pub what: String,
    /// The first task that asks for it; `None` where the DAG itself does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// How many more tasks ask for it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub more: u32,
    /// The line that asks for it first, from 1; 0 where unknown. Left out of the canonical hash.
    #[serde(default, skip_serializing_if = "is_default")]
    pub line: u32,
}

/// Where a DAG stands in the folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SourceLocation {
    /// Path within the DAG folder, `/` between its parts.
    pub file: String,
    /// Line of the DAG's construction, from 1; 0 where unknown.
    #[serde(default, skip_serializing_if = "is_default")]
    pub line: u32,
}

/// Airflow's trigger rules.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TriggerRule {
    /// Every direct upstream succeeded.
    #[default]
    AllSuccess,
    /// Every direct upstream failed or was ruled out by a failure.
    AllFailed,
    /// Every direct upstream is done, however it ended.
    AllDone,
    /// Every direct upstream is done and at least one succeeded.
    AllDoneMinOneSuccess,
    /// Every direct upstream is done, and a setup among them succeeded, where there is one.
    AllDoneSetupSuccess,
    /// Every direct upstream was skipped.
    AllSkipped,
    /// At least one direct upstream succeeded.
    OneSuccess,
    /// At least one direct upstream failed.
    OneFailed,
    /// At least one direct upstream succeeded or failed.
    OneDone,
    /// No direct upstream failed.
    NoneFailed,
    /// No direct upstream failed, and at least one succeeded.
    NoneFailedMinOneSuccess,
    /// No direct upstream was skipped.
    NoneSkipped,
    /// At once, whatever the upstreams do.
    Always,
}

fn default_pool() -> PoolName {
    PoolName::new("default_pool").expect("a constant within the rules")
}
fn is_default_pool(pool: &PoolName) -> bool {
    pool.as_str() == "default_pool"
}
fn default_queue() -> QueueName {
    QueueName::new("default").expect("a constant within the rules")
}
fn is_default_queue(queue: &QueueName) -> bool {
    queue.as_str() == "default"
}
fn one() -> u32 {
    1
}
const fn yes() -> bool {
    true
}
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
const fn is_yes(it: &bool) -> bool {
    *it
}
fn weight_one() -> i32 {
    1
}
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_one(n: &u32) -> bool {
    *n == 1
}
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_weight_one(n: &i32) -> bool {
    *n == 1
}
fn retry_delay_default() -> Micros {
    Micros::from_secs(300)
}
#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_retry_delay_default(delay: &Micros) -> bool {
    *delay == retry_delay_default()
}

/// One task of a DAG. Fields at Airflow's defaults are left out of the stored form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a word of its own in Airflow, and stored for ever"
)]
pub struct TaskSpec {
    /// Name, unique in the DAG.
    pub task_id: TaskId,
    /// The operator's class, without its module.
    pub operator: String,
    /// Direct upstreams, as places in [`DagSpec::tasks`], sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstream: Vec<u32>,
    /// When upstream states let it run.
    #[serde(default, skip_serializing_if = "is_default")]
    pub trigger_rule: TriggerRule,
    /// Extra tries after the first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retries: u16,
    /// Mailboxes that are told of each retry: `email` with `email_on_retry`, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retry_email: Vec<String>,
    /// Wait before a retry.
    #[serde(default = "retry_delay_default", skip_serializing_if = "is_retry_delay_default")]
    pub retry_delay: Micros,
    /// Multiplies the wait for each further retry, in thousandths: 2000 doubles it; 0 keeps it the same.
    /// A wait that grows is spread, too: up to as much again is added, by a hash of the try's name, as in Airflow.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retry_backoff_milli: u32,
    /// The longest wait that a backoff may reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_retry_delay: Option<Micros>,
    /// A try that takes longer fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_timeout: Option<Micros>,
    /// Where its slots come from.
    #[serde(default = "default_pool", skip_serializing_if = "is_default_pool")]
    pub pool: PoolName,
    /// How many slots it takes there.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub pool_slots: u32,
    /// Which executors may pull it.
    #[serde(default = "default_queue", skip_serializing_if = "is_default_queue")]
    pub queue: QueueName,
    /// Higher goes first: the effective weight, after Airflow's weight rule.
    #[serde(default = "weight_one", skip_serializing_if = "is_weight_one")]
    pub priority_weight: i32,
    /// Tries of it that may be in flight at once, over all runs of its DAG.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_active_tis_per_dag: Option<u32>,
    /// Tries of it that may be in flight at once in one run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_active_tis_per_dagrun: Option<u32>,
    /// Whether it waits for itself in the run before to have succeeded or been skipped.
    #[serde(default, skip_serializing_if = "is_default")]
    pub depends_on_past: bool,
    /// Whether it waits for what comes right after it there, too.
    #[serde(default, skip_serializing_if = "is_default")]
    pub wait_for_downstream: bool,
    /// Whether it may go though the run before does not have it, where no run did.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub ignore_first_depends_on_past: bool,
    /// Whether it is not skipped either before it may go by the run before.
    #[serde(default, skip_serializing_if = "is_default")]
    pub wait_for_past_depends_before_skipping: bool,
    /// When it begins, where that is not when the DAG does: it is no part of a run with an earlier logical date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_date: Option<Timestamp>,
    /// When it ends, where that is not when the DAG does: it is no part of a run with a later logical date.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_date: Option<Timestamp>,
    /// Its own owner, where it differs from the DAG's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// The task group it stands in, with the groups around it: `outer.inner`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Whether it is expanded over its inputs when the run gets there.
    #[serde(default, skip_serializing_if = "is_default")]
    pub is_mapped: bool,
    /// What a mapped task, or the mapped group that it stands in, is expanded over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expand: Option<Expand>,
    /// The mapped group that it stands in: each of its copies goes with the copies of that index of the group's
    /// other tasks. All of them have the same `expand`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mapped_group: Option<String>,
    /// Whether tasks below it, up to its teardowns, need it to have succeeded whatever their trigger rules say.
    #[serde(default, skip_serializing_if = "is_default")]
    pub is_setup: bool,
    /// Whether it cleans up after its setups: how it ends says nothing of its run.
    #[serde(default, skip_serializing_if = "is_default")]
    pub is_teardown: bool,
    /// Whether a teardown's failure fails its run all the same.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_failure_fail_dagrun: bool,
    /// Whether its tries are told the data interval of the run after theirs, as LatestOnlyOperator asks.
    #[serde(default, skip_serializing_if = "is_default")]
    pub wants_next_interval: bool,
    /// Assets that it says that it reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inlets: Vec<AssetRef>,
    /// Assets that its success brings up to date.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outlets: Vec<AssetRef>,
    /// What an executor must have free for it, besides a slot.
    #[serde(default, skip_serializing_if = "is_default")]
    pub resources: Resources,
    /// What each of its tries may use.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: Limits,
    /// Whose rights it runs with, where not the executor's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_as_user: Option<String>,
    /// The pod that it asks for where its tries run in pods: its place in the DAG's `pod_overrides`, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_override: Option<u32>,
    /// Markdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doc_md: Option<String>,
}

impl TaskSpec {
    /// The `end_date` of a task that never ends, whatever the DAG's own says: the end of the year 9999.
    pub const NEVER_ENDS: Timestamp = Timestamp(253_402_300_799_000_000);
}

/// What a mapped task is expanded over. The elements themselves stay in the file: a copy finds its own by
/// its map index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Expand {
    /// Values that stand in the file.
    Literal {
        /// How many copies they make: the product of the arguments' lengths.
        length: u32,
    },
    /// Values some of which other tasks return: how many copies there are is known once these are done.
    Product {
        /// How many elements each argument has; their product is the number of copies.
        of: Vec<Extent>,
    },
}

/// How many elements a value has that a task is mapped over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Extent {
    /// As many as stand in the file.
    Fixed {
        /// How many elements the file holds.
        length: u32,
    },
    /// As many as a task returned; of a mapped one, as many as its copies that returned something.
    Of {
        /// The task, as a place in [`DagSpec::tasks`].
        task: u32,
    },
    /// As many as the shortest of several has.
    Zip {
        /// What is zipped, in order.
        of: Vec<Extent>,
        /// Rather as many as the longest has: the others are filled up.
        #[serde(default, skip_serializing_if = "is_default")]
        longest: bool,
    },
    /// As many as several have together.
    Concat {
        /// What is put together, in order.
        of: Vec<Extent>,
    },
}
