//! A try's pod: the template, what Dagbok says, what the task says, in this order, as in Airflow. Pure.
use dagbok_protocol::{WorkItem, names::work_key};
use serde_json::{Map, Value, json};

use crate::{
    PodsSettings,
    api::DONE,
    merge::reconcile_pods,
    names::{executor_of, label_date, label_value, pod_name},
    template::{BASE, check},
};

/// By which whoever makes pods finds its own: Airflow's label.
pub(crate) const WORKER: &str = "airflow-worker";
/// Of which namespace of Dagbok a pod is.
pub(crate) const DAGBOK: &str = "dagbok-namespace";
/// Where a pod says whose try it is, whole.
pub(crate) const TRY: &str = "dagbok/try";
/// Where it says at which address its delivery is.
pub(crate) const ADDRESS: &str = "dagbok/delivery";
/// Where it says which queue that came from.
pub(crate) const QUEUE: &str = "dagbok/queue";

/// What the executor in the pod is told: where the delivery is that was passed on to it.
pub const CLAIM_VARIABLE: &str = "DAGBOK_POD_CLAIM";
/// And from which queue it came.
pub const QUEUE_VARIABLE: &str = "DAGBOK_POD_QUEUE";
/// And under which id it speaks.
pub const EXECUTOR_VARIABLE: &str = "DAGBOK_POD_EXECUTOR";

/// And whose item that must be.
pub const TRY_VARIABLE: &str = "DAGBOK_POD_TRY";
/// And whose slot it takes up: what the executor is called that made the pod.
pub const MAKER_VARIABLE: &str = "DAGBOK_POD_MAKER";

/// What a pod runs where nobody says another.
const PROGRAM: &str = "dagbok";

/// By which Airflow's own code knows that it is in such a pod.
const IN_POD: &str = "AIRFLOW_IS_K8S_EXECUTOR_POD";
/// What is not a task's to say of its environment.
const OWN: [&str; 6] =
    [IN_POD, CLAIM_VARIABLE, QUEUE_VARIABLE, TRY_VARIABLE, EXECUTOR_VARIABLE, MAKER_VARIABLE];

/// Why there can be no such pod: the task's fault, or the settings'.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoPod {
    /// What the task says of it.
    #[error("the task's pod_override is no pod: {0}")]
    Override(String),
    /// What is set for all.
    #[error("{0}")]
    Settings(String),
}

/// What the pods of one maker have for the label [`WORKER`].
pub(crate) fn worker_of(settings: &PodsSettings) -> String {
    label_value(settings.name.as_str())
}

/// What finds the pods of one maker.
pub(crate) fn selector(settings: &PodsSettings) -> String {
    format!("{WORKER}={},{DAGBOK}={}", worker_of(settings), label_value(&settings.dagbok))
}

/// The pod of a try, whose item was delivered at `address`.
pub(crate) fn pod_of(
    settings: &PodsSettings,
    item: &WorkItem,
    address: &str,
) -> Result<Value, NoPod> {
    let own = own(settings, item, address);
    let mut pod = reconcile_pods(settings.template.pod(), &own);
    let command = pod["spec"]["containers"][0]["command"].clone();
    if let Some(text) = &item.pod_override {
        let said: Value =
            serde_json::from_str(text).map_err(|error| NoPod::Override(error.to_string()))?;
        if !said.is_object() {
            return Err(NoPod::Override("it is no mapping".to_owned()));
        }
        // By itself it may lack what the API asks for, as the containers of one that has labels alone.
        pod = reconcile_pods(&pod, &said);
    }
    let is_pod = |pod: &Value| {
        check(pod).map_err(|why| match &item.pod_override {
            Some(_) => NoPod::Override(why),
            None => NoPod::Settings(format!("the pod template is no pod: {why}")),
        })
    };
    // Before anything is put into it: labels, say, may be a text.
    is_pod(&pod)?;
    insist(&mut pod, &own, &command);
    is_pod(&pod)?;
    if pod["spec"]["containers"][0]["image"].as_str().is_none_or(str::is_empty) {
        let why = "no image is named for the try's pod: by kubernetes.image, the pod template or the task's pod_override";
        return Err(NoPod::Settings(why.to_owned()));
    }
    Ok(pod)
}

/// What is not the task's or the template's to say: by these the pod is found again, and it runs once.
fn insist(pod: &mut Value, own: &Value, command: &Value) {
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    for field in ["name", "namespace"] {
        pod["metadata"][field] = own["metadata"][field].clone();
    }
    for field in ["labels", "annotations"] {
        for (name, value) in own["metadata"][field].as_object().into_iter().flatten() {
            pod["metadata"][field][name] = value.clone();
        }
    }
    // By that it would be passed over from its beginning.
    if let Some(labels) = pod["metadata"]["labels"].as_object_mut() {
        labels.remove(DONE);
    }
    // A second start of the same container would be the same try once more.
    pod["spec"]["restartPolicy"] = "Never".into();
    if let Some(base) = pod["spec"]["containers"].get_mut(0) {
        base["args"] = own["spec"]["containers"][0]["args"].clone();
        // Another program tells nobody how the try ended.
        if command.is_null() {
            drop(base.as_object_mut().and_then(|it| it.remove("command")));
        } else {
            base["command"] = command.clone();
        }
        if let Some(env) = base["env"].as_array_mut() {
            env.retain(|one| !is_own(one));
            // Behind all others: what they refer to they may not say themselves.
            let ours = own["spec"]["containers"][0]["env"].as_array().into_iter().flatten();
            env.extend(ours.filter(|one| is_own(one)).cloned());
        }
    }
}

fn is_own(variable: &Value) -> bool {
    variable["name"].as_str().is_some_and(|name| OWN.contains(&name))
}

fn own(settings: &PodsSettings, item: &WorkItem, address: &str) -> Value {
    let name = pod_name(&settings.dagbok, &item.key);
    let mut base = json!({
        "name": BASE,
        "args": ["executor", "one"],
        "env": env(settings, item, &name, address),
    });
    if let Some(image) = &settings.image {
        base["image"] = image.as_str().into();
    }
    if !settings.command.is_empty() {
        base["command"] = settings.command.clone().into();
    } else if settings.template.pod()["spec"]["containers"][0]["command"].is_null() {
        base["command"] = json!([PROGRAM]);
    }
    if !settings.env_secrets.is_empty() {
        let from = settings.env_secrets.iter().map(|name| json!({ "secretRef": { "name": name } }));
        base["envFrom"] = from.collect();
    }
    if let Some(resources) = resources(settings, item) {
        base["resources"] = resources;
    }
    json!({
        "metadata": {
            "name": name,
            "namespace": settings.namespace,
            "labels": labels(settings, item),
            "annotations": annotations(item, address),
        },
        "spec": { "containers": [base] },
    })
}

fn env(settings: &PodsSettings, item: &WorkItem, pod: &str, address: &str) -> Value {
    let own = [
        (IN_POD, "True"),
        (CLAIM_VARIABLE, address),
        (QUEUE_VARIABLE, item.queue.as_str()),
        (TRY_VARIABLE, work_key(&item.key).as_str()),
        (EXECUTOR_VARIABLE, executor_of(pod, address).as_str()),
        (MAKER_VARIABLE, settings.name.as_str()),
    ]
    .map(|(name, value)| json!({ "name": name, "value": value }));
    let set = settings.env.iter().map(|(name, value)| json!({ "name": name, "value": value }));
    set.chain(own).collect()
}

/// Airflow's labels, each made safe.
fn labels(settings: &PodsSettings, item: &WorkItem) -> Value {
    let key = &item.key;
    let mut labels: Map<String, Value> = [
        ("dag_id", label_value(key.dag_id.as_str())),
        ("task_id", label_value(key.task_id.as_str())),
        ("run_id", label_value(key.run_id.as_str())),
        ("try_number", key.try_number.to_string()),
        ("kubernetes_executor", "True".to_owned()),
        (WORKER, worker_of(settings)),
        (DAGBOK, label_value(&settings.dagbok)),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.into()))
    .collect();
    if !key.map_index.is_unmapped() {
        labels.insert("map_index".to_owned(), key.map_index.0.to_string().into());
    }
    if let Some(date) = iso_date(item) {
        labels.insert("logical_date".to_owned(), label_date(&date).into());
    }
    labels.into()
}

/// Airflow's annotations, whole, and what a later life of whoever made the pod needs to know.
fn annotations(item: &WorkItem, address: &str) -> Value {
    let key = &item.key;
    let whole = serde_json::to_string(key).expect("a try's key is plain");
    let mut annotations = json!({
        "dag_id": key.dag_id.as_str(),
        "task_id": key.task_id.as_str(),
        "run_id": key.run_id.as_str(),
        "try_number": key.try_number.to_string(),
        TRY: whole,
        ADDRESS: address,
        QUEUE: item.queue.as_str(),
    });
    if !key.map_index.is_unmapped() {
        annotations["map_index"] = key.map_index.0.to_string().into();
    }
    if let Some(date) = iso_date(item) {
        annotations["logical_date"] = date.into();
    }
    annotations
}

/// As Python's `isoformat` writes it.
fn iso_date(item: &WorkItem) -> Option<String> {
    let text = item.run.logical_date?.to_string();
    let text = text.strip_suffix('Z').unwrap_or(&text);
    Some(match text.split_once('.') {
        Some((seconds, fraction)) => format!("{seconds}.{fraction:0<6}+00:00"),
        None => format!("{text}+00:00"),
    })
}

/// What the task asks for in Dagbok's own words (`executor_config={"memory": "2Gi"}`): a pod_override's figures say the same
/// again.
fn resources(settings: &PodsSettings, item: &WorkItem) -> Option<Value> {
    let (asked, limits) = (&item.resources, &item.limits);
    let cpu = |milli: u64| format!("{milli}m");
    let mut requests = Map::new();
    let mut most = Map::new();
    let say = |to: &mut Map<String, Value>, name: &str, value: Option<String>| {
        if let Some(value) = value {
            to.insert(name.to_owned(), value.into());
        }
    };
    say(&mut requests, "memory", asked.memory.map(|bytes| bytes.to_string()));
    say(&mut requests, "cpu", asked.cpu_milli.map(cpu));
    say(&mut most, "memory", limits.memory.map(|bytes| bytes.to_string()));
    say(&mut most, "cpu", limits.cpu_milli.map(cpu));
    say(&mut most, &settings.gpu, (asked.gpus > 0).then(|| asked.gpus.to_string()));
    // Extended resources have a domain; other names are counted by Dagbok alone.
    for (name, count) in asked.custom.iter().filter(|(name, _)| name.contains('/')) {
        say(&mut most, name, Some(count.to_string()));
    }
    let mut resources = Map::new();
    for (name, said) in [("requests", requests), ("limits", most)] {
        if !said.is_empty() {
            resources.insert(name.to_owned(), said.into());
        }
    }
    (!resources.is_empty()).then(|| resources.into())
}

#[cfg(test)]
mod tests;
