//! What a pod is made of, and in which order that stands.
#![expect(clippy::needless_pass_by_value, reason = "JSON is written where it is used")]
use serde_json::json;

use super::*;
use crate::Template;

fn settings() -> PodsSettings {
    let name = dagbok_events::ExecutorName::new("pods").unwrap();
    let id = dagbok_events::ExecutorId::new("pods-1").unwrap();
    let mut settings = PodsSettings::new(id, name, "here".into());
    settings.image = Some("company/dagbok:1".into());
    settings.env_secrets = vec!["dagbok-nats".into()];
    settings.env.insert("DAGBOK__NATS__NAMESPACE".into(), "default".into());
    settings
}

/// A work item, as it comes off its queue.
pub(crate) fn item(more: Value) -> WorkItem {
    let mut item = json!({
        "key": {"dag_id": "etl", "run_id": "manual__2026-01-02T03:04:05+00:00", "task_id": "group.load", "try_number": 2},
        "queued_seq": 7, "queued_at": "2026-01-02T03:04:05Z",
        "bundle": "0".repeat(64), "file": "etl.py", "pool": "default_pool", "queue": "kubernetes",
        "max_tries": 3, "will_retry": true,
        "run": {"run_type": "manual", "logical_date": "2026-01-02T03:04:05.120Z", "run_after": "2026-01-02T03:04:05Z"},
    });
    for (field, value) in more.as_object().unwrap() {
        item[field] = value.clone();
    }
    serde_json::from_value(item).unwrap()
}

fn pod(more: Value) -> Value {
    pod_of(&settings(), &item(more), "$JS.ACK.a").unwrap()
}

#[test]
fn a_pod_is_called_and_labelled_as_airflow_s() {
    let pod = pod(json!({}));
    let labels = json!({
        "dag_id": "etl", "task_id": "group.load", "run_id": "manual__2026-01-02T0304050000-3c9ea4d7d",
        "try_number": "2", "kubernetes_executor": "True", "airflow-worker": "pods", "dagbok-namespace": "default",
        "logical_date": "2026-01-02T03_04_05.120000_plus_00_00",
    });
    assert_eq!(pod["metadata"]["labels"], labels);
    let annotations = &pod["metadata"]["annotations"];
    assert_eq!(annotations["run_id"], "manual__2026-01-02T03:04:05+00:00");
    assert_eq!(annotations["logical_date"], "2026-01-02T03:04:05.120000+00:00");
    assert_eq!(annotations["map_index"], Value::Null);
    let whole: dagbok_events::TryKey =
        serde_json::from_str(annotations[TRY].as_str().unwrap()).unwrap();
    assert_eq!(whole, item(json!({})).key);
    assert!(pod["metadata"]["name"].as_str().unwrap().starts_with("etl-group-load-"));
    let key =
        json!({"dag_id": "etl", "run_id": "r", "task_id": "load", "map_index": 4, "try_number": 1});
    let mapped = self::pod(json!({ "key": key }));
    assert_eq!(mapped["metadata"]["labels"]["map_index"], "4");
}

#[test]
fn the_container_runs_one_try_and_never_twice() {
    let override_ = json!({"spec": {"restartPolicy": "Always", "containers": [{"name": "base", "command": ["mine"], "args": ["mine"]}]},
        "metadata": {"name": "mine", "labels": {"airflow-worker": "other", "team": "ml"}}});
    let pod = pod(json!({ "pod_override": override_.to_string() }));
    let base = &pod["spec"]["containers"][0];
    assert_eq!(
        (&base["command"], &base["args"]),
        (&json!(["dagbok"]), &json!(["executor", "one"]))
    );
    assert_eq!(pod["spec"]["restartPolicy"], "Never");
    let labels = &pod["metadata"]["labels"];
    assert_eq!((&labels["airflow-worker"], &labels["team"]), (&json!("pods"), &json!("ml")));
    assert_ne!(pod["metadata"]["name"], "mine");
    let env = base["env"].as_array().unwrap();
    let of = |name: &str| env.iter().find(|it| it["name"] == name).map(|it| it["value"].clone());
    assert_eq!(of(CLAIM_VARIABLE), Some("$JS.ACK.a".into()));
    let executor = executor_of(pod["metadata"]["name"].as_str().unwrap(), "$JS.ACK.a").to_string();
    assert_eq!(of(EXECUTOR_VARIABLE), Some(executor.into()));
    assert_eq!(of(QUEUE_VARIABLE), Some("kubernetes".into()));
    assert_eq!(base["envFrom"][0]["secretRef"]["name"], "dagbok-nats");
}

#[test]
fn an_override_neither_speaks_for_another_try_nor_hides_its_pod() {
    let env = json!([{"name": CLAIM_VARIABLE, "value": "another's"}, {"name": "OWN", "value": "mine"},
        {"name": EXECUTOR_VARIABLE, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]);
    let override_ = json!({"spec": {"containers": [{"name": "base", "env": env}]},
        "metadata": {"labels": {DONE: "True"}}});
    let pod = pod(json!({ "pod_override": override_.to_string() }));
    let env = pod["spec"]["containers"][0]["env"].as_array().unwrap();
    let of = |name: &str| -> Vec<Value> {
        env.iter().filter(|it| it["name"] == name).map(|it| it["value"].clone()).collect()
    };
    assert_eq!(of(CLAIM_VARIABLE), [json!("$JS.ACK.a")]);
    let executor = executor_of(pod["metadata"]["name"].as_str().unwrap(), "$JS.ACK.a");
    assert_eq!(of(EXECUTOR_VARIABLE), [json!(executor.as_str())]);
    assert_eq!(of(MAKER_VARIABLE), [json!("pods")]);
    assert_eq!(of("OWN"), [json!("mine")]);
    assert_eq!(pod["metadata"]["labels"][DONE], Value::Null);
}

#[test]
fn the_task_s_own_words_stand_over_the_template_s() {
    let text = "kind: Pod\nspec:\n  serviceAccountName: worker\n  restartPolicy: OnFailure\n  nodeSelector: {disk: ssd}\n  \
                containers:\n  - {name: worker, image: 'template:1', env: [{name: A, value: '1'}]}\n  - {name: side, image: 'side:1'}\n  \
                initContainers:\n  - {name: mesh, image: 'mesh:1', restartPolicy: Always}\n";
    let template = Template::parse(std::path::Path::new("t"), text).unwrap();
    let settings = PodsSettings { template, image: None, ..settings() };
    let plain = pod_of(&settings, &item(json!({})), "a").unwrap();
    assert_eq!(plain["spec"]["containers"][0]["image"], "template:1");
    assert_eq!(plain["spec"]["containers"][0]["name"], "base");
    assert_eq!(plain["spec"]["containers"][0]["env"][0]["name"], "A");
    assert_eq!(plain["spec"]["initContainers"][0]["restartPolicy"], "Always");
    let override_ = json!({"spec": {"containers": [{"name": "base", "image": "mine:1",
        "resources": {"limits": {"nvidia.com/gpu": "1"}}}], "nodeSelector": {"gpu": "yes"}, "serviceAccountName": "gpu"}});
    let more = json!({ "pod_override": override_.to_string(), "resources": {"gpus": 1} });
    let own = pod_of(&settings, &item(more), "a").unwrap();
    assert_eq!(own["spec"]["containers"][0]["image"], "mine:1");
    assert_eq!(own["spec"]["containers"][1]["name"], "side");
    assert_eq!(own["spec"]["nodeSelector"], json!({"gpu": "yes"}));
    assert_eq!(own["spec"]["serviceAccountName"], "gpu");
    assert_eq!(own["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"], "1");
}

#[test]
fn resources_in_dagbok_s_words_become_the_container_s() {
    let pod = pod(json!({
        "resources": {"memory": 2_147_483_648_u64, "cpu_milli": 1500, "gpus": 2, "custom": {"example.com/fpga": 1, "license": 1}},
        "limits": {"memory": 4_294_967_296_u64},
    }));
    let resources = json!({
        "requests": {"memory": "2147483648", "cpu": "1500m"},
        "limits": {"memory": "4294967296", "nvidia.com/gpu": "2", "example.com/fpga": "1"},
    });
    assert_eq!(pod["spec"]["containers"][0]["resources"], resources);
}

#[test]
fn what_can_be_no_pod_says_what_is_wrong_and_whose_fault_that_is() {
    let wrong =
        |text: &str| pod_of(&settings(), &item(json!({ "pod_override": text })), "a").unwrap_err();
    let field = json!({"spec": {"containers": [{"name": "base", "env": [{"name": 3}]}]}});
    let NoPod::Override(why) = wrong(&field.to_string()) else { panic!() };
    assert!(why.contains("spec.containers[0].env[") && why.contains("name"), "{why}");
    for (text, field) in [
        (r#"{"metadata": {"labels": "a"}}"#, "metadata.labels"),
        (r#"{"metadata": {"annotations": [1]}}"#, "metadata.annotations"),
        (r#"{"metadata": ["a"]}"#, "metadata"),
        (r#"{"spec": "a"}"#, "spec"),
        (r#"{"spec": {"containers": ["a"]}}"#, "spec.containers[0]"),
        (r#"{"spec": {"containers": {"name": "base"}}}"#, ""),
        (r#"{"spec": {"containers": [{"env": "a"}]}}"#, ""),
    ] {
        let made = pod_of(&settings(), &item(json!({ "pod_override": text })), "a");
        // What is no list of containers counts as none, as whatever is false in Python does.
        if let Err(error) = &made {
            let NoPod::Override(why) = error else { panic!("{text}: {error}") };
            assert!(why.contains(field), "{text}: {why}");
        }
        assert!(made.is_err() || field.is_empty(), "{text}");
    }
    assert!(matches!(wrong("[]"), NoPod::Override(_)));
    assert!(matches!(wrong("{"), NoPod::Override(_)));
    let none = PodsSettings { image: None, ..settings() };
    let error = pod_of(&none, &item(json!({})), "a").unwrap_err();
    assert!(matches!(&error, NoPod::Settings(why) if why.contains("no image")), "{error}");
    check(&pod_of(&settings(), &item(json!({})), "a").unwrap()).unwrap();
}

#[test]
fn whoever_makes_pods_finds_its_own() {
    assert_eq!(selector(&settings()), "airflow-worker=pods,dagbok-namespace=default");
}
