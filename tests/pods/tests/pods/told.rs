//! What is told of a try by whoever watches its pod, since the executor in it can't.
use std::time::Duration;

use axum::http::Method;
use dagbok_events::FailureKind;
use dagbok_protocol::ReportBody;
use serde_json::{Value, json};

use crate::rig::{Rig, base_is, until};

/// Queues a try, has its pod come to this, and returns what is told.
async fn told(rig: &Rig, task: &str, status: Value) -> (FailureKind, String) {
    let key = rig.queue(task, json!({})).await;
    let (name, _) = rig.pod(task).await;
    rig.server.set_status(&name, status);
    let told = rig.failure_of(&key).await;
    assert_eq!(rig.reports_of(&key).len(), 1);
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_lose_a_pod_is_told_in_the_cluster_s_words() {
    let rig = Rig::new().await;
    let over = |code: i32, reason: &str| {
        base_is("Failed", json!({"terminated": {"exitCode": code, "reason": reason}}))
    };
    let (kind, why) = told(&rig, "oom", over(137, "OOMKilled")).await;
    assert!(kind == FailureKind::OutOfMemory && why.contains("OOMKilled"), "{why}");
    let evicted = json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."});
    let (kind, why) = told(&rig, "evicted", evicted).await;
    // The class of failures that uses up no user's retry.
    assert!(
        kind == FailureKind::Executor && why.contains("The node was low on resource: memory."),
        "{why}"
    );
    let mut preempted = over(143, "Error");
    preempted["conditions"] = json!([{"type": "DisruptionTarget", "status": "True",
        "reason": "PreemptionByScheduler", "message": "preempting to accommodate a higher priority pod"}]);
    let (kind, why) = told(&rig, "preempted", preempted).await;
    assert!(
        kind == FailureKind::Executor
            && why.contains("preempted")
            && why.contains("higher priority"),
        "{why}"
    );
    let image = base_is(
        "Pending",
        json!({"waiting": {"reason": "ErrImagePull", "message": "manifest unknown"}}),
    );
    let (kind, why) = told(&rig, "image", image).await;
    assert!(
        kind == FailureKind::CouldNotStart
            && why.contains("company/dagbok:1")
            && why.contains("manifest unknown"),
        "{why}"
    );
    let (kind, why) = told(&rig, "exit", over(3, "Error")).await;
    assert!(kind == FailureKind::Executor && why.contains("with code 3"), "{why}");
    let (kind, why) = told(&rig, "signal", over(139, "Error")).await;
    assert!(kind == FailureKind::Executor && why.contains("by signal 11"), "{why}");
    let (kind, why) = told(&rig, "program", over(128, "StartError")).await;
    assert!(kind == FailureKind::CouldNotStart && why.contains("StartError"), "{why}");
    rig.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_ends_with_0_and_has_told_nothing_is_a_failure() {
    let rig = Rig::new().await;
    let over = base_is("Succeeded", json!({"terminated": {"exitCode": 0}}));
    let (kind, why) = told(&rig, "a", over).await;
    assert!(
        kind == FailureKind::Executor && why.contains("with code 0 and without a word"),
        "{why}"
    );
    rig.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_deleted_by_hand_is_told_so() {
    let rig = Rig::new().await;
    let key = rig.queue("waits", json!({})).await;
    let (name, _) = rig.pod("waits").await;
    let message = "0/3 nodes are available: 3 Insufficient memory.";
    rig.server.set_status(&name, json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]}));
    // What the scheduler said is seen before it goes.
    tokio::time::sleep(Duration::from_millis(300)).await;
    rig.server.remove(&name);
    let (kind, why) = rig.failure_of(&key).await;
    assert_eq!(kind, FailureKind::CouldNotStart);
    assert!(why.contains("by hand") && why.contains(message), "{why}");
    let key = rig.queue("runs", json!({})).await;
    let (name, _) = rig.pod("runs").await;
    rig.server.set_status(&name, base_is("Running", json!({"running": {}})));
    rig.server.remove(&name);
    let (kind, why) = rig.failure_of(&key).await;
    assert!(kind == FailureKind::Executor && why.contains("by hand"), "{why}");
    rig.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_still_speaks_is_not_told_dead() {
    let rig = Rig::with(|settings| settings.lease = Duration::from_millis(500)).await;
    let key = rig.queue("forced", json!({})).await;
    let (name, pod) = rig.pod("forced").await;
    rig.server.set_status(&name, base_is("Running", json!({"running": {}})));
    let executor = crate::rig::env_of(&pod)[dagbok_pods::EXECUTOR_VARIABLE].clone();
    let presence = format!("presence/{executor}");
    rig.ports.state.put(&presence, "x".into(), None).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    // By force: the object is gone, and the process lives on its node.
    rig.server.remove(&name);
    tokio::time::sleep(rig.settings.lease * 7).await;
    assert_eq!(rig.reports_of(&key), [], "it could be run twice");
    rig.ports.state.delete(&presence).await.unwrap();
    rig.failure_of(&key).await;
    rig.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_waits_for_too_long_says_why() {
    let rig = Rig::with(|settings| settings.pending_timeout = Duration::from_secs(1)).await;
    let key = rig.queue("a", json!({})).await;
    let (name, _) = rig.pod("a").await;
    let message = "0/3 nodes are available: 3 node(s) had untolerated taint {gpu: }.";
    rig.server.set_status(&name, json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]}));
    let (kind, why) = rig.failure_of(&key).await;
    assert_eq!(kind, FailureKind::CouldNotStart);
    assert!(why.contains("did not begin within 1 s") && why.contains(message), "{why}");
    rig.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_runs_and_never_speaks_is_not_waited_for_for_ever() {
    let rig = Rig::with(|settings| settings.pending_timeout = Duration::from_secs(1)).await;
    let key = rig.queue("a", json!({})).await;
    let (name, _) = rig.pod("a").await;
    rig.server.set_status(&name, base_is("Running", json!({"running": {}})));
    let (kind, why) = rig.failure_of(&key).await;
    assert_eq!(kind, FailureKind::CouldNotStart);
    assert!(why.contains("has said nothing within 1 s"), "{why}");
    until("its item is acknowledged", async || rig.depth().await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_is_away_for_longer_than_pods_may_wait_costs_no_try_that_runs() {
    let rig = Rig::with(|settings| {
        (settings.pending_timeout, settings.lease) =
            (Duration::from_secs(1), Duration::from_secs(1));
    })
    .await;
    let key = rig.queue("a", json!({})).await;
    let (name, pod) = rig.pod("a").await;
    rig.server.set_down(true);
    let executor = crate::rig::env_of(&pod)[dagbok_pods::EXECUTOR_VARIABLE].clone();
    let presence = format!("presence/{executor}");
    rig.ports.state.put(&presence, "x".into(), None).await.unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(rig.reports_of(&key), [], "it runs");
    let home = tempfile::tempdir().unwrap();
    crate::rig::run_pod(rig.ports.clone(), &pod, home.path()).await;
    rig.server.set_status(&name, base_is("Succeeded", json!({"terminated": {"exitCode": 0}})));
    rig.server.set_down(false);
    rig.nothing_is_left().await;
    let told = rig.reports_of(&key);
    assert!(
        matches!(told[..], [ReportBody::Started { .. }, ReportBody::Succeeded { .. }]),
        "{told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_while_the_api_server_was_away_is_not_told_again() {
    let rig = Rig::with(|settings| {
        (settings.pending_timeout, settings.lease) =
            (Duration::from_secs(1), Duration::from_secs(1));
    })
    .await;
    let key = rig.queue("a", json!({})).await;
    let (_, pod) = rig.pod("a").await;
    rig.server.set_down(true);
    let home = tempfile::tempdir().unwrap();
    crate::rig::run_pod(rig.ports.clone(), &pod, home.path()).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    rig.server.set_down(false);
    rig.nothing_is_left().await;
    assert_eq!(rig.reports_of(&key).len(), 2, "started and succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_whose_item_has_no_such_address_ends() {
    let rig = Rig::new().await;
    let key = rig.queue("a", json!({})).await;
    let (name, mut pod) = rig.pod("a").await;
    for one in pod["spec"]["containers"][0]["env"].as_array_mut().unwrap() {
        if one["name"] == dagbok_pods::CLAIM_VARIABLE {
            one["value"] = "somewhere".into();
        }
    }
    let home = tempfile::tempdir().unwrap();
    let ends = crate::rig::run_pod(rig.ports.clone(), &pod, home.path());
    tokio::time::timeout(crate::rig::LONG, ends).await.unwrap();
    rig.server.set_status(&name, base_is("Succeeded", json!({"terminated": {"exitCode": 0}})));
    let (kind, why) = rig.failure_of(&key).await;
    assert!(kind == FailureKind::Executor && why.contains("without a word"), "{why}");
    rig.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_no_pod_is_the_task_s_own_fault_and_costs_no_request() {
    let rig = Rig::new().await;
    let wrong = json!({"spec": {"containers": [{"name": "base", "env": [{"name": ["A"]}]}]}});
    let key = rig.queue("a", json!({ "pod_override": wrong.to_string() })).await;
    let (kind, why) = rig.failure_of(&key).await;
    assert!(kind == FailureKind::ImportError && why.contains("spec.containers[0].env["), "{why}");
    assert_eq!(rig.server.asked("POST"), 0);
    let refused = json!({"spec": {"containers": [{"name": "base", "image": "no image"}]}});
    let key = rig.queue("b", json!({ "pod_override": refused.to_string() })).await;
    let (kind, why) = rig.failure_of(&key).await;
    assert!(kind == FailureKind::ImportError && why.contains("spec.containers[0].image"), "{why}");
    rig.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_is_used_up_is_waited_for_and_then_told() {
    let rig = Rig::with(|settings| settings.pending_timeout = Duration::from_secs(2)).await;
    let quota = "pods \"a\" is forbidden: exceeded quota: team, requested: pods=1, used: pods=10, limited: pods=10";
    rig.server.fail(crate::server::Fault {
        method: Method::POST,
        status: 403,
        retry_after: None,
        message: quota.into(),
        times: 2,
    });
    rig.queue("comes", json!({})).await;
    let (name, _) = rig.pod("comes").await;
    rig.server.remove(&name);
    rig.server.fail(crate::server::Fault {
        method: Method::POST,
        status: 403,
        retry_after: None,
        message: quota.into(),
        times: u32::MAX,
    });
    let key = rig.queue("never", json!({})).await;
    let (kind, why) = rig.failure_of(&key).await;
    assert!(kind == FailureKind::CouldNotStart && why.contains("exceeded quota: team"), "{why}");
    until("nothing is left", async || rig.depth().await == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_on_beside_a_try_that_failed_does_not_stay() {
    let rig = Rig::with(|settings| settings.delete_worker_pods_on_failure = false).await;
    let key = rig.queue("a", json!({})).await;
    let (name, _) = rig.pod("a").await;
    let container = |name: &str, state: Value| json!({"name": name, "image": "i", "imageID": "", "ready": true, "restartCount": 0, "state": state});
    rig.server.set_status(
        &name,
        json!({"phase": "Running", "containerStatuses": [
        container("base", json!({"terminated": {"exitCode": 1, "reason": "Error"}})),
        container("mesh", json!({"running": {}}))]}),
    );
    let (kind, why) = rig.failure_of(&key).await;
    assert!(kind == FailureKind::Executor && why.contains("with code 1"), "{why}");
    rig.is_asked_to_go(&name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_may_have_begun_elsewhere_is_not_passed_on_as_one_that_has_not() {
    let rig = Rig::new().await;
    let asks = json!({"resources": {"gpus": 1}});
    let key = rig.queue("a", asks).await;
    let note = || async {
        let found = rig.ports.state.get(&dagbok_protocol::names::passed_key(&key)).await.unwrap();
        found.and_then(|it| std::str::from_utf8(&it.value).ok()?.parse::<u32>().ok())
    };
    until("it is passed on", async || note().await.is_some_and(|note| note >= 2)).await;
    // Somebody takes it up, and is gone without a word.
    rig.ports.state.delete(&dagbok_protocol::names::passed_key(&key)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(note().await, None, "whoever has it next must ask");
}

#[tokio::test(flavor = "multi_thread")]
async fn that_no_slot_is_left_is_told_where_it_lasts() {
    let rig = Rig::with(|settings| settings.slots = 1).await;
    rig.queue("a", json!({})).await;
    let (name, _) = rig.pod("a").await;
    until("it is told", async || *rig.full.lock() == [true]).await;
    rig.server.remove(&name);
    until("and that one is free", async || *rig.full.lock() == [true, false]).await;
}
