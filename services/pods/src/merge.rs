//! Puts pods together as Airflow does (`PodGenerator.reconcile_pods`): what the more specific one says stands, some lists
//! are put behind each other, and containers are merged one by one.
//!
//! It works on JSON, so that what a newer Kubernetes knows goes through untouched. Airflow works on the client's models, for which
//! whatever is false in Python counts as not said: an empty list, 0, `false`. So it does here: `hostNetwork: false` in an override
//! does not take back a template's `true`. An empty object counts as said where it is a model of the client's, as `securityContext: {}`,
//! and not where it is a plain mapping, as `nodeSelector: {}`.
use serde_json::{Map, Value};

type Object = Map<String, Value>;

/// Lists of a container that are put behind each other.
const CONTAINER_LISTS: [&str; 5] = ["volumeMounts", "env", "envFrom", "ports", "volumeDevices"];
/// Lists of the metadata that are.
const METADATA_LISTS: [&str; 3] = ["managedFields", "finalizers", "ownerReferences"];
/// Plain mappings among the fields of a pod, its metadata and its spec.
const MAPPINGS: [&str; 4] = ["labels", "annotations", "nodeSelector", "overhead"];

/// A pod with what a more specific one says.
pub(crate) fn reconcile_pods(base: &Value, client: &Value) -> Value {
    let (Some(base_pod), Some(client_pod)) = (base.as_object(), client.as_object()) else {
        return if client.is_object() { client.clone() } else { base.clone() };
    };
    let mut pod = client_pod.clone();
    both(&mut pod, base_pod, "spec", reconcile_specs);
    both(&mut pod, base_pod, "metadata", reconcile_metadata);
    Value::Object(merge_objects(base_pod, pod))
}

/// Merges a field where both have it.
fn both(pod: &mut Object, base: &Object, field: &str, merge: fn(&Object, Object) -> Object) {
    if let (Some(Value::Object(base)), Some(Value::Object(client))) =
        (base.get(field), pod.get(field))
    {
        let merged = merge(base, client.clone());
        pod.insert(field.to_owned(), Value::Object(merged));
    }
}

fn reconcile_metadata(base: &Object, mut client: Object) -> Object {
    for field in ["labels", "annotations"] {
        both(&mut client, base, field, |base, client| {
            base.clone().into_iter().chain(client).collect()
        });
    }
    for field in METADATA_LISTS {
        extend(base, &mut client, field);
    }
    merge_objects(base, client)
}

fn reconcile_specs(base: &Object, mut client: Object) -> Object {
    let containers = reconcile_containers(list(base, "containers"), list(&client, "containers"));
    client.insert("containers".to_owned(), Value::Array(containers));
    let (base_inits, client_inits) =
        (list(base, "initContainers"), list(&client, "initContainers"));
    if !base_inits.is_empty() && !client_inits.is_empty() {
        let inits = reconcile_init_containers(base_inits, client_inits);
        client.insert("initContainers".to_owned(), Value::Array(inits));
    }
    extend(base, &mut client, "volumes");
    merge_objects(base, client)
}

/// The first with the first, the second with the second: by place, whatever they are called.
fn reconcile_containers(base: &[Value], client: &[Value]) -> Vec<Value> {
    let places = base.len().max(client.len());
    (0..places)
        .map(|place| match (base.get(place), client.get(place)) {
            (Some(base), Some(client)) => merge_container(base, client),
            (Some(one), None) | (None, Some(one)) => one.clone(),
            (None, None) => Value::Null,
        })
        .collect()
}

/// Those of one name with each other.
fn reconcile_init_containers(base: &[Value], client: &[Value]) -> Vec<Value> {
    let named = |all: &[Value], name: &Value| all.iter().rfind(|it| it["name"] == *name).cloned();
    let merged = base.iter().map(|base| match named(client, &base["name"]) {
        Some(client) => merge_container(base, &client),
        None => base.clone(),
    });
    let only = client.iter().filter(|it| named(base, &it["name"]).is_none()).cloned();
    merged.chain(only).collect()
}

fn merge_container(base: &Value, client: &Value) -> Value {
    let (Some(base), Some(client)) = (base.as_object(), client.as_object()) else {
        return client.clone();
    };
    let mut container = client.clone();
    for field in CONTAINER_LISTS {
        extend(base, &mut container, field);
    }
    Value::Object(merge_objects(base, container))
}

/// What the base says of which the client says nothing.
fn merge_objects(base: &Object, mut client: Object) -> Object {
    for (field, value) in base {
        if !value.is_null() && !client.get(field).is_some_and(|said| is_said(field, said)) {
            client.insert(field.clone(), value.clone());
        }
    }
    client
}

/// Whether a value is true in Python.
fn is_said(field: &str, value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(object) => !object.is_empty() || !MAPPINGS.contains(&field),
    }
}

/// The base's list with the client's behind it.
fn extend(base: &Object, client: &mut Object, field: &str) {
    let both: Vec<Value> = list(base, field).iter().chain(list(client, field)).cloned().collect();
    if !both.is_empty() {
        client.insert(field.to_owned(), Value::Array(both));
    }
}

fn list<'a>(of: &'a Object, field: &str) -> &'a [Value] {
    of.get(field).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests;
