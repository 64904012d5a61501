//! What the executor of pods is told at its start.
use std::{collections::BTreeMap, time::Duration};

use dagbok_events::{ExecutorId, ExecutorName, QueueName, Resources};

use crate::Template;

/// How it runs.
#[derive(Clone, Debug)]
pub struct PodsSettings {
    /// This life's id: a restart is another.
    pub executor: ExecutorId,
    /// What it is called over its lives: it finds its pods again by that, so that no two may have the same.
    pub name: ExecutorName,
    /// The machine's name, for people.
    pub hostname: String,
    /// The namespace of Dagbok, which its pods are told apart by as well.
    pub dagbok: String,
    /// Pods at once.
    pub slots: u32,
    /// Queues to pull from.
    pub queues: Vec<QueueName>,
    /// What its pods can use together, and the labels that tasks can ask for; what is not said is not counted.
    pub resources: Resources,
    /// How long work may go unrenewed before it is given to another.
    pub lease: Duration,
    /// The namespace of Kubernetes that pods are made in.
    pub namespace: String,
    /// What every pod is made from.
    pub template: Template,
    /// The image that tries run in, where neither task nor template names one.
    pub image: Option<String>,
    /// The program in it; where there is none, the template's, or `dagbok`.
    pub command: Vec<String>,
    /// What it is told by its environment.
    pub env: BTreeMap<String, String>,
    /// Secrets of Kubernetes whose keys go into its environment: how it reaches the broker.
    pub env_secrets: Vec<String>,
    /// What a GPU is called.
    pub gpu: String,
    /// Whether pods of tries that ended well are deleted.
    pub delete_worker_pods: bool,
    /// Whether those of others are.
    pub delete_worker_pods_on_failure: bool,
    /// How long a pod may wait before it runs.
    pub pending_timeout: Duration,
    /// Why a container waits that will never run.
    pub fatal_reasons: Vec<String>,
    /// Pods that are made at the same time.
    pub creations: usize,
}

/// Airflow's `worker_pod_pending_fatal_container_state_reasons`.
pub const FATAL_REASONS: [&str; 5] = [
    "CreateContainerConfigError",
    "ErrImagePull",
    "CreateContainerError",
    "ImageInspectError",
    "InvalidImageName",
];

impl PodsSettings {
    /// The defaults around what has none.
    pub fn new(executor: ExecutorId, name: ExecutorName, hostname: String) -> Self {
        let kubernetes = QueueName::new("kubernetes").expect("a constant within the rules");
        Self {
            executor,
            name,
            hostname,
            dagbok: "default".to_owned(),
            slots: 100,
            queues: vec![kubernetes],
            resources: Resources::default(),
            lease: Duration::from_secs(30),
            namespace: "default".to_owned(),
            template: Template::default(),
            image: None,
            command: Vec::new(),
            env: BTreeMap::new(),
            env_secrets: Vec::new(),
            gpu: "nvidia.com/gpu".to_owned(),
            delete_worker_pods: true,
            delete_worker_pods_on_failure: false,
            pending_timeout: Duration::from_mins(10),
            fatal_reasons: FATAL_REASONS.map(str::to_owned).to_vec(),
            creations: 64,
        }
    }
}
