//! Settings of the executor that makes pods, and its way to the API server.
use std::{collections::BTreeMap, time::Duration};

use dagbok_config::{Config, Kubernetes};
use dagbok_events::{ExecutorId, ExecutorName, QueueName, Resources};
use dagbok_pods::{PodsSettings, Template};
use dagbok_runtime::fresh_id;

use super::settings::{hostname, milli};
use crate::{codes::Code, failure::Failure};

/// The label by which tasks ask for pods, and what it is.
const EXECUTOR: (&str, &str) = ("executor", "KubernetesExecutor");

/// The executor of pods', and a client of the API server.
pub(crate) async fn pods(config: &Config) -> Result<(PodsSettings, kube::Client), Failure> {
    let of = &config.kubernetes;
    let mut cluster = kube::Config::infer().await.map_err(|error| {
        Failure::from_error(Code::Config, &error)
            .next("run it in a pod with a service account, or name a kubeconfig by KUBECONFIG")
    })?;
    // Whoever makes pods asks again by itself, at the pace that the server names, and says what it waits for.
    cluster.default_retry = false;
    // Beyond what one watch takes: a connection that is dead without a word is given up.
    cluster.read_timeout = Some(Duration::from_mins(1));
    let namespace = of.namespace.clone().unwrap_or_else(|| cluster.default_namespace.clone());
    let client = kube::Client::try_from(cluster);
    let client = client.map_err(|error| Failure::from_error(Code::Config, &error))?;
    Ok((settings(config, of, namespace)?, client))
}

fn settings(config: &Config, of: &Kubernetes, namespace: String) -> Result<PodsSettings, Failure> {
    let bad = |key: &'static str| {
        move |error: dagbok_events::BadId| {
            Failure::from_error(Code::Config, &error).next(format!("mend `kubernetes.{key}`"))
        }
    };
    let id = ExecutorId::new(format!("pods-{}", fresh_id())).expect("a UUID is within the rules");
    let name = ExecutorName::new(of.name.as_str()).map_err(bad("name"))?;
    let queues = of.queues.iter().map(|queue| QueueName::new(queue.as_str()));
    let template = of.pod_template_file.as_deref().map(Template::read).transpose();
    let template = template.map_err(|error| {
        Failure::from_error(Code::Config, &error)
            .next("mend the file, or `kubernetes.pod_template_file`")
    })?;
    let mut labels = of.labels.clone();
    labels.entry(EXECUTOR.0.to_owned()).or_insert_with(|| EXECUTOR.1.to_owned());
    Ok(PodsSettings {
        dagbok: config.nats.namespace.clone(),
        slots: of.slots,
        queues: queues.collect::<Result<_, _>>().map_err(bad("queues"))?,
        resources: Resources {
            memory: of.memory.map(|size| size.0),
            cpu_milli: of.cpus.map(|cpus| milli("kubernetes.cpus", cpus)).transpose()?,
            gpus: of.gpus,
            custom: of.resources.clone(),
            labels,
        },
        lease: config.executor.lease.0,
        namespace,
        template: template.unwrap_or_default(),
        image: of.image.clone(),
        command: of.command.clone(),
        env: environment(config, of),
        env_secrets: of.env_secrets.clone(),
        gpu: of.gpu.clone(),
        delete_worker_pods: of.delete_worker_pods,
        delete_worker_pods_on_failure: of.delete_worker_pods_on_failure,
        pending_timeout: of.pending_timeout.0,
        fatal_reasons: of.worker_pod_pending_fatal_container_state_reasons.clone(),
        creations: of.worker_pods_creation_batch_size,
        ..PodsSettings::new(id, name, hostname())
    })
}

/// What a pod must be told to find the broker; how it logs in there comes from a secret. An address with a password in it is
/// none to write into a pod.
fn environment(config: &Config, of: &Kubernetes) -> BTreeMap<String, String> {
    let nats = &config.nats;
    let mut env = BTreeMap::new();
    env.insert("DAGBOK__NATS__NAMESPACE".to_owned(), nats.namespace.clone());
    if !nats.urls.iter().any(|url| url.contains('@')) {
        env.insert("DAGBOK__NATS__URLS".to_owned(), nats.urls.join(","));
    }
    env.insert("DAGBOK__EXECUTOR__LEASE".to_owned(), config.executor.lease.to_string());
    env.extend(of.env.clone());
    env
}
