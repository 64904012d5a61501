//! From an item to a pod to its end, over restarts.
use std::time::Duration;

use dagbok_events::FailureKind;
use dagbok_protocol::ReportBody;
use serde_json::{Value, json};

use crate::rig::{Rig, base_is, env_of, holds, kubelet, run_pod, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_try_runs_in_a_pod_that_reports_by_itself() {
    let rig = Rig::new().await;
    let home = tempfile::tempdir().unwrap();
    let key = rig.queue("load", json!({})).await;
    let (name, pod) = rig.pod("load").await;
    assert_eq!(env_of(&pod)["AIRFLOW_IS_K8S_EXECUTOR_POD"], "True");
    until("who makes the pod holds it until it runs", async || {
        holds(&rig).await.is_some_and(|held| held == [key.clone()])
    })
    .await;
    rig.server.set_status(&name, base_is("Running", json!({"running": {}})));
    until("the one in it holds it then", async || {
        holds(&rig).await.is_some_and(|it| it.is_empty())
    })
    .await;
    run_pod(rig.ports.clone(), &pod, home.path()).await;
    assert!(matches!(rig.end_of(&key).await, ReportBody::Succeeded { .. }));
    let whose: Vec<_> = rig.reports.lock().iter().map(|it| it.executor.to_string()).collect();
    let own = env_of(&pod)[dagbok_pods::EXECUTOR_VARIABLE].clone();
    assert!(own.starts_with(&format!("pod-{name}-")), "{own}");
    assert_eq!(whose, [own.clone(), own], "it speaks for itself");
    rig.server.set_status(&name, base_is("Succeeded", json!({"terminated": {"exitCode": 0}})));
    rig.nothing_is_left().await;
    assert_eq!(rig.reports_of(&key).len(), 2, "started and succeeded, once each");
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_never_more_pods_than_slots_and_all_run() {
    let rig = Rig::with(|settings| settings.slots = 3).await;
    let home = tempfile::tempdir().unwrap();
    let mut keys = Vec::new();
    for n in 0..12 {
        keys.push(rig.queue(&format!("t{n}"), json!({})).await);
    }
    until("three are made", async || rig.server.pods().len() == 3).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(rig.server.pods().len(), 3, "and no more while they are there");
    let kubelet = kubelet(&rig, home.path().to_owned());
    for key in &keys {
        assert!(matches!(rig.end_of(key).await, ReportBody::Succeeded { .. }));
    }
    rig.nothing_is_left().await;
    assert_eq!(rig.server.made(), 12);
    kubelet.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_life_finds_the_pods_of_a_killed_one() {
    let mut rig = Rig::with(|settings| settings.slots = 3).await;
    let home = tempfile::tempdir().unwrap();
    let keys = [
        rig.queue("a", json!({})).await,
        rig.queue("b", json!({})).await,
        rig.queue("c", json!({})).await,
    ];
    for task in ["a", "b", "c"] {
        rig.pod(task).await;
    }
    rig.kill().await;
    // While nobody watches: one runs to its end, one begins, one waits.
    let (a, pod) = rig.pod("a").await;
    run_pod(rig.ports.clone(), &pod, home.path()).await;
    rig.server.set_status(&a, base_is("Succeeded", json!({"terminated": {"exitCode": 0}})));
    let (b, _) = rig.pod("b").await;
    rig.server.set_status(&b, base_is("Running", json!({"running": {}})));
    // Longer than a lease: the items of those that nobody renews are delivered anew.
    tokio::time::sleep(rig.settings.lease + Duration::from_millis(300)).await;
    rig.queue("d", json!({})).await;
    rig.begin();
    until("the one that is over is cleared away", async || !rig.server.pods().contains_key(&a))
        .await;
    let (_, d) = rig.pod("d").await;
    assert_eq!(rig.server.made(), 4, "no pod is made twice");
    for task in ["b", "c"] {
        let (name, pod) = rig.pod(task).await;
        run_pod(rig.ports.clone(), &pod, home.path()).await;
        rig.server.set_status(&name, base_is("Succeeded", json!({"terminated": {"exitCode": 0}})));
    }
    for key in &keys {
        let told = rig.reports_of(key);
        assert_eq!(told.len(), 2, "started and succeeded: {told:?}");
    }
    let name = d["metadata"]["name"].as_str().unwrap().to_owned();
    run_pod(rig.ports.clone(), &d, home.path()).await;
    rig.server.set_status(&name, base_is("Succeeded", json!({"terminated": {"exitCode": 0}})));
    rig.nothing_is_left().await;
    // All three slots are free: as many pods are made at once.
    for n in 0..3 {
        rig.queue(&format!("later{n}"), json!({})).await;
    }
    until("no slot was leaked", async || rig.server.pods().len() == 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_is_stopped_leaves_its_pods_and_hands_back_what_has_none() {
    let mut rig = Rig::new().await;
    let home = tempfile::tempdir().unwrap();
    let key = rig.queue("a", json!({})).await;
    let (_, pod) = rig.pod("a").await;
    rig.server.set_down(true);
    let waits = rig.queue("b", json!({})).await;
    until("it is tried", async || rig.server.asked("POST") > 1).await;
    let down = rig.server.clone();
    // What failed may have made it: that is asked for before it is handed back.
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        down.set_down(false);
    });
    rig.end().await;
    assert!(matches!(rig.end_of(&waits).await, ReportBody::Returned));
    assert_eq!(rig.server.pods().len(), 1);
    run_pod(rig.ports.clone(), &pod, home.path()).await;
    assert!(matches!(rig.end_of(&key).await, ReportBody::Succeeded { .. }));
    assert_eq!(rig.depth().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_ends_what_has_not_begun_without_a_word() {
    let rig = Rig::new().await;
    let key = rig.queue("a", json!({})).await;
    rig.pod("a").await;
    rig.order_end(&key).await;
    rig.nothing_is_left().await;
    assert_eq!(rig.reports_of(&key), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_kept_as_it_is_set_and_marked_as_airflow_marks_them() {
    let rig = Rig::with(|settings| {
        (settings.delete_worker_pods, settings.slots) = (false, 1);
    })
    .await;
    let key = rig.queue("a", json!({})).await;
    let (name, _) = rig.pod("a").await;
    rig.server.set_status(
        &name,
        base_is("Failed", json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}})),
    );
    let (kind, _) = rig.failure_of(&key).await;
    assert_eq!(kind, FailureKind::OutOfMemory);
    let done = || rig.server.pods()[&name]["metadata"]["labels"]["airflow_executor_done"].clone();
    until("it is marked", async || done() == "True").await;
    // Its slot is free, though the pod is kept.
    rig.queue("b", json!({})).await;
    rig.pod("b").await;
    assert_eq!(rig.reports_of(&key).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_side_container_that_goes_on_keeps_no_slot() {
    let rig = Rig::with(|settings| settings.slots = 1).await;
    let home = tempfile::tempdir().unwrap();
    let key = rig.queue("a", json!({})).await;
    let (name, pod) = rig.pod("a").await;
    run_pod(rig.ports.clone(), &pod, home.path()).await;
    rig.server.set_status(&name, base_is("Running", json!({"terminated": {"exitCode": 0}})));
    until("the pod is asked to go", async || {
        rig.server.pods()[&name]["metadata"]["deletionTimestamp"] != Value::Null
    })
    .await;
    rig.queue("b", json!({})).await;
    rig.pod("b").await;
    assert_eq!(rig.reports_of(&key).len(), 2);
}
