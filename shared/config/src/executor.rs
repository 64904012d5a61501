//! What is said of executors: what they may take, and what tries may use.
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Period, Size};

/// What each try of a queue may use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QueueLimits {
    /// Memory; with more it is ended.
    pub memory: Option<Size>,
    /// CPUs; it gets no more, where cgroups are delegated.
    #[schemars(extend("minimum" = 0.001))]
    pub cpus: Option<f64>,
    /// Processes and threads; it can start no more, where cgroups are delegated.
    pub processes: Option<u32>,
}

/// What becomes of tries that go on after the time limit of a drain that somebody ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AfterDrain {
    /// They are ended, and tried elsewhere: that uses up none of the user's retries.
    #[default]
    End,
    /// They go on to their ends.
    Wait,
}

/// Who runs tries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Executor {
    /// What it is called over its lives, so that a cordon holds over restarts: letters, digits, `_`, `.` and `-`; the
    /// machine's name where not set.
    pub name: Option<String>,
    /// What it is or where, by name (`region = "eu"`): tasks that ask for a label run where it is just so.
    pub labels: BTreeMap<String, String>,
    /// Tries at once; twice the cores, and at least four, where not set.
    #[schemars(range(min = 1, max = 10_000))]
    pub slots: Option<u32>,
    /// Queues to pull from, at least one.
    #[schemars(length(min = 1))]
    pub queues: Vec<String>,
    /// How long work may go unrenewed before it is taken for lost; from `5s` on. Every executor says its own;
    /// a scheduler's holds for one that says none, and it looks after all of them five times in that time.
    #[schemars(extend("minimum" = 5))]
    pub lease: Period,
    /// How long tries may go on after the executor was asked to end; `0s` ends them at once.
    pub drain: Period,
    /// What becomes of tries that go on when the time limit of an ordered drain is over: `end` or `wait`.
    pub after_drain: AfterDrain,
    /// From SIGTERM to SIGKILL; `0s` kills at once.
    pub kill_grace: Period,
    /// How long the import of a DAG file may take before a try; from `1s` on.
    #[schemars(extend("minimum" = 1))]
    pub load_timeout: Period,
    /// DAG files held loaded at once.
    #[schemars(range(min = 1))]
    pub loaded_files: usize,
    /// A loaded DAG file unused for this long is let go; from `1s` on.
    #[schemars(extend("minimum" = 1))]
    pub loaded_idle: Period,
    /// How long a process that was forked ahead waits to be the next try of its DAG file; `0s` has each try
    /// forked when it comes.
    pub spares_for: Period,
    /// Elements that a task may return for others to be mapped over: Airflow's `core.max_map_length`. With more
    /// it fails. A mapped task has at most 100,000 copies.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_map_length: u32,
    /// How often it is looked at what tries use of the machine; from `1s` on.
    #[schemars(extend("minimum" = 1))]
    pub usage_every: Period,
    /// Which of the executor's own variables reach tries: names, or how they begin with `*` behind it. Those of
    /// Dagbok's own passwords are not among them.
    pub inherit_env: Vec<String>,
    /// Memory that tries may ask for together; not counted where not set.
    pub memory: Option<Size>,
    /// CPUs that tries may ask for together; not counted where not set.
    #[schemars(extend("minimum" = 0.001))]
    pub cpus: Option<f64>,
    /// GPUs that tries can have, as CUDA names them; each goes to one try at a time.
    pub gpus: Vec<String>,
    /// What else tries may ask for together, by name.
    pub resources: BTreeMap<String, u64>,
    /// How much sooner than others tries are killed where the machine has no more memory: the kernel's
    /// `oom_score_adj`, at least one more than the executor's own.
    #[schemars(range(min = 0, max = 1_000))]
    pub oom_score_adj: i32,
    /// Environment of every try, over the executor's own.
    pub env: BTreeMap<String, String>,
}

impl Default for Executor {
    fn default() -> Self {
        Self {
            name: None,
            labels: BTreeMap::new(),
            after_drain: AfterDrain::End,
            slots: None,
            queues: vec!["default".to_owned()],
            lease: Period::secs(30),
            drain: Period::secs(60),
            kill_grace: Period::secs(5),
            load_timeout: Period::secs(120),
            loaded_files: 32,
            loaded_idle: Period::secs(600),
            spares_for: Period::secs(30),
            max_map_length: 1024,
            usage_every: Period::secs(5),
            inherit_env: vec!["*".to_owned()],
            memory: None,
            cpus: None,
            gpus: Vec::new(),
            resources: BTreeMap::new(),
            oom_score_adj: 500,
            env: BTreeMap::new(),
        }
    }
}
