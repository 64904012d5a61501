//! Two that make pods: of one name after the other, and of two names at once.
use std::time::Duration;

use axum::http::Method;
use dagbok_events::{ExecutorName, FailureKind};
use dagbok_pods::EXECUTOR_VARIABLE;
use dagbok_protocol::ReportBody;
use serde_json::json;

use crate::{
    rig::{Rig, base_is, env_of, run_pod, until},
    server::{Fault, Server},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_of_one_that_is_gone_is_taken_over_by_another_name() {
    let mut rig = Rig::new().await;
    let home = tempfile::tempdir().unwrap();
    let key = rig.queue("a", json!({})).await;
    let (name, pod) = rig.pod("a").await;
    rig.kill().await;
    rig.settings.name = ExecutorName::new("other").unwrap();
    rig.begin();
    let worker = || rig.server.pods()[&name]["metadata"]["labels"]["airflow-worker"].clone();
    until("the other takes it over", async || worker() == "other").await;
    assert_eq!((rig.server.made(), rig.reports_of(&key)), (1, Vec::new()));
    run_pod(rig.ports.clone(), &pod, home.path()).await;
    rig.server.set_status(&name, base_is("Succeeded", json!({"terminated": {"exitCode": 0}})));
    assert!(matches!(rig.end_of(&key).await, ReportBody::Succeeded { .. }));
    rig.nothing_is_left().await;
    assert_eq!(rig.reports_of(&key).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_of_one_try_in_two_clusters_speak_under_two_names() {
    let mut rig = Rig::new().await;
    rig.queue("a", json!({})).await;
    let (name, first) = rig.pod("a").await;
    rig.kill().await;
    rig.server = Server::start().await;
    rig.settings.name = ExecutorName::new("other").unwrap();
    rig.begin();
    let (again, second) = rig.pod("a").await;
    assert_eq!(name, again);
    let of = |pod: &serde_json::Value| env_of(pod)[EXECUTOR_VARIABLE].clone();
    assert_ne!(of(&first), of(&second), "the scheduler lets one of them run");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_lost_a_pod_to_another_says_nothing_of_it() {
    let rig = Rig::with(|settings| settings.slots = 1).await;
    let key = rig.queue("a", json!({})).await;
    let (name, _) = rig.pod("a").await;
    rig.server.change(&name, |pod| pod["metadata"]["labels"]["airflow-worker"] = "other".into());
    // Its slot is free once it is let go.
    rig.queue("b", json!({})).await;
    rig.pod("b").await;
    assert!(rig.server.pods().contains_key(&name), "it is another's to delete");
    assert_eq!(rig.reports_of(&key), []);
}

/// Its end is told, or nobody knows it: then the try is not left waiting for a word that never comes.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_kept_and_done_with_while_its_item_is_there_is_told_once_more() {
    let mut rig = Rig::new().await;
    let key = rig.queue("a", json!({})).await;
    let (name, pod) = rig.pod("a").await;
    rig.kill().await;
    rig.server
        .change(&name, |pod| pod["metadata"]["labels"]["airflow_executor_done"] = "True".into());
    rig.begin();
    until("its item is acknowledged", async || rig.depth().await == 0).await;
    let (kind, why) = rig.failure_of(&key).await;
    assert!(kind == FailureKind::Executor && why.contains("is over and kept"), "{why}");
    let by = rig.reports.lock()[0].executor.to_string();
    assert_eq!(by, env_of(&pod)[EXECUTOR_VARIABLE], "a scheduler that knows its end refuses it");
    assert!(rig.server.pods().contains_key(&name));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_namespace_s_rules_forbid_is_told_at_once() {
    let rig = Rig::new().await;
    let message =
        "pods \"a\" is forbidden: violates PodSecurity \"restricted:latest\": host namespaces";
    rig.server.fail(Fault {
        method: Method::POST,
        status: 403,
        retry_after: None,
        message: message.into(),
        times: u32::MAX,
    });
    let override_ = json!({"spec": {"hostNetwork": true}}).to_string();
    let key = rig.queue("a", json!({ "pod_override": override_ })).await;
    let (kind, why) = rig.failure_of(&key).await;
    assert!(kind == FailureKind::ImportError && why.contains("host namespaces"), "{why}");
    assert!(rig.settings.pending_timeout > Duration::from_mins(1));
}
