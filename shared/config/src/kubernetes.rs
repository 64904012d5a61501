//! Who runs each try in a pod of its own, by Airflow's words for it where it has some.
use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Period, Size};

/// An executor that makes a pod for each try.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Kubernetes {
    /// Whether tasks may have their tries in pods: what they say of that (`pod_override`, `executor`) is read where this is so,
    /// and is ignored elsewhere, as a note of their DAG says. For whoever reads DAG files.
    pub enabled: bool,
    /// What it is called over its lives: by that it finds its pods again, so that of those that run at the same time each must
    /// have another. Letters, digits, `_`, `.` and `-`.
    pub name: String,
    /// Pods at once.
    #[schemars(range(min = 1, max = 10_000))]
    pub slots: u32,
    /// Queues to pull from, at least one.
    #[schemars(length(min = 1))]
    pub queues: Vec<String>,
    /// What its pods are or where, by name: tasks that ask for a label run where it is just so. `executor` is
    /// `KubernetesExecutor` where nothing else is said, which tasks ask for by their argument `executor`.
    pub labels: BTreeMap<String, String>,
    /// The largest memory that one pod can have: more is not taken. Not counted where not set.
    pub memory: Option<Size>,
    /// The most CPUs that one pod can have, likewise.
    #[schemars(extend("minimum" = 0.001))]
    pub cpus: Option<f64>,
    /// The most GPUs that one pod can have: without this tasks that ask for one are not taken.
    pub gpus: u32,
    /// The resource that a GPU is, as the nodes call it.
    pub gpu: String,
    /// What else one pod can have, by name.
    pub resources: BTreeMap<String, u64>,
    /// The namespace of Kubernetes; where not set, the one that this process is in, or `default`.
    pub namespace: Option<String>,
    /// A pod in YAML that every other is made from, as Airflow's file of that name.
    pub pod_template_file: Option<PathBuf>,
    /// The image that tries run in, where neither the template nor the task names one: it has `dagbok`, Python and what
    /// DAG files import.
    pub image: Option<String>,
    /// The program in the image; where not set, the template's `command`, or `dagbok`.
    pub command: Vec<String>,
    /// Environment of the container that runs the task.
    pub env: BTreeMap<String, String>,
    /// Secrets of Kubernetes whose keys become such variables: how a pod logs in at NATS (`DAGBOK__NATS__PASSWORD`).
    pub env_secrets: Vec<String>,
    /// Whether the pods of tries that ended well are deleted.
    pub delete_worker_pods: bool,
    /// Whether those of all others are deleted as well.
    pub delete_worker_pods_on_failure: bool,
    /// How long a pod may wait before it runs; from `1s` on. Below `scheduler.task_queued_timeout`, or nobody hears why it waited.
    #[schemars(extend("minimum" = 1))]
    pub pending_timeout: Period,
    /// Reasons for which a container waits that will never run.
    pub worker_pod_pending_fatal_container_state_reasons: Vec<String>,
    /// Pods that are made at the same time.
    #[schemars(range(min = 1, max = 1_000))]
    pub worker_pods_creation_batch_size: usize,
}

impl Default for Kubernetes {
    fn default() -> Self {
        let fatal = [
            "CreateContainerConfigError",
            "ErrImagePull",
            "CreateContainerError",
            "ImageInspectError",
            "InvalidImageName",
        ];
        Self {
            enabled: false,
            name: "kubernetes".to_owned(),
            slots: 100,
            queues: vec!["kubernetes".to_owned()],
            labels: BTreeMap::new(),
            memory: None,
            cpus: None,
            gpus: 0,
            gpu: "nvidia.com/gpu".to_owned(),
            resources: BTreeMap::new(),
            namespace: None,
            pod_template_file: None,
            image: None,
            command: Vec::new(),
            env: BTreeMap::new(),
            env_secrets: Vec::new(),
            delete_worker_pods: true,
            delete_worker_pods_on_failure: false,
            pending_timeout: Period::secs(300),
            worker_pod_pending_fatal_container_state_reasons: fatal.map(str::to_owned).to_vec(),
            worker_pods_creation_batch_size: 64,
        }
    }
}
