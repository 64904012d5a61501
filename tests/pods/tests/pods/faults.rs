//! An API server that fails, forgets and is away: no pod is lost, leaked or made twice.
use std::time::{Duration, Instant};

use axum::http::Method;
use dagbok_protocol::ReportBody;
use serde_json::json;

use crate::{
    rig::{Rig, base_is, env_of, kubelet, run_pod, until},
    server::Fault,
};

fn fault(method: Method, status: u16, times: u32) -> Fault {
    Fault { method, status, retry_after: None, message: "the test says so".into(), times }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_has_no_time_is_asked_again_when_it_says() {
    let rig = Rig::new().await;
    rig.server.fail(Fault { retry_after: Some(2), ..fault(Method::POST, 429, 1) });
    let asked = Instant::now();
    rig.queue("a", json!({})).await;
    rig.pod("a").await;
    assert!(asked.elapsed() >= Duration::from_secs(2), "{:?}", asked.elapsed());
    assert_eq!((rig.server.asked("POST"), rig.server.made()), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_is_deleted_again_when_the_server_says() {
    let rig = Rig::new().await;
    let home = tempfile::tempdir().unwrap();
    rig.queue("a", json!({})).await;
    let (name, pod) = rig.pod("a").await;
    run_pod(rig.ports.clone(), &pod, home.path()).await;
    rig.server.fail(Fault { retry_after: Some(3), ..fault(Method::DELETE, 429, 1) });
    let asked = Instant::now();
    rig.server.set_status(&name, base_is("Succeeded", json!({"terminated": {"exitCode": 0}})));
    rig.nothing_is_left().await;
    assert!(asked.elapsed() >= Duration::from_secs(3), "{:?}", asked.elapsed());
    assert_eq!(rig.server.asked("DELETE"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_every_kind_of_request_are_outlived() {
    for keeps in [false, true] {
        let rig = Rig::with(|settings| settings.delete_worker_pods = !keeps).await;
        let home = tempfile::tempdir().unwrap();
        for method in [Method::POST, Method::GET, Method::DELETE, Method::PATCH] {
            rig.server.fail(fault(method, 500, 3));
        }
        rig.server.cut_watches();
        let kubelet = kubelet(&rig, home.path().to_owned());
        let key = rig.queue("a", json!({})).await;
        assert!(matches!(rig.end_of(&key).await, ReportBody::Succeeded { .. }));
        if keeps {
            let (name, _) = rig.pod("a").await;
            let done = || {
                rig.server.pods()[&name]["metadata"]["labels"]["airflow_executor_done"] == "True"
            };
            until("it is marked", async || done()).await;
            assert_eq!(rig.server.asked("PATCH"), 4);
        } else {
            rig.nothing_is_left().await;
            assert_eq!(rig.server.asked("DELETE"), 4);
        }
        kubelet.abort();
    }
}

/// A list that began before a pod was made, and is read to its end after that.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_older_than_a_pod_does_not_end_it() {
    let rig = Rig::new().await;
    let home = tempfile::tempdir().unwrap();
    let key = rig.queue("a", json!({})).await;
    let (name, pod) = rig.pod("a").await;
    rig.server.set_unlisted(Some(name.clone()));
    let asked = rig.server.asked("GET");
    rig.server.set_down(true);
    rig.server.change(&name, |pod| pod["metadata"]["labels"]["touched"] = "yes".into());
    rig.server.forget();
    rig.server.set_down(false);
    rig.queue("b", json!({})).await;
    rig.pod("b").await;
    until("the list is read, and the pod asked for", async || rig.server.asked("GET") > asked + 2)
        .await;
    tokio::time::sleep(rig.settings.lease).await;
    assert_eq!(rig.reports_of(&key), [], "it is there");
    rig.server.set_unlisted(None);
    run_pod(rig.ports.clone(), &pod, home.path()).await;
    rig.server.set_status(&name, base_is("Succeeded", json!({"terminated": {"exitCode": 0}})));
    assert!(matches!(rig.end_of(&key).await, ReportBody::Succeeded { .. }));
    until("it is cleared away", async || !rig.server.pods().contains_key(&name)).await;
    assert_eq!(rig.reports_of(&key).len(), 2);
}

/// The executors in pods come back one after the other once a broker does that was away.
#[tokio::test(flavor = "multi_thread")]
async fn who_has_not_come_back_yet_after_an_outage_is_not_given_up() {
    let mut rig = Rig::with(|settings| {
        (settings.pending_timeout, settings.lease) =
            (Duration::from_millis(500), Duration::from_secs(1));
    })
    .await;
    let key = rig.queue("a", json!({})).await;
    let (name, pod) = rig.pod("a").await;
    rig.server.set_status(&name, base_is("Running", json!({"running": {}})));
    // It is killed and comes back: older than it may wait, as far as the new life can tell.
    rig.kill().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.begin();
    tokio::time::sleep(Duration::from_millis(2_600)).await;
    assert_eq!(rig.reports_of(&key), [], "nobody could speak for long enough");
    let executor = env_of(&pod)[dagbok_pods::EXECUTOR_VARIABLE].clone();
    rig.ports.state.put(&format!("presence/{executor}"), "x".into(), None).await.unwrap();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(rig.reports_of(&key), [], "it speaks");
    // And says nothing more for as long.
    rig.ports.state.delete(&format!("presence/{executor}")).await.unwrap();
    let (kind, why) = rig.failure_of(&key).await;
    assert!(
        kind == dagbok_events::FailureKind::Executor && why.contains("for three leases"),
        "{why}"
    );
    until("its item is acknowledged", async || rig.depth().await == 0).await;
    rig.is_asked_to_go(&name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_whose_making_was_not_answered_is_not_made_again() {
    let rig = Rig::new().await;
    let home = tempfile::tempdir().unwrap();
    // The second attempt finds the name taken by the same try.
    rig.server.leave_unanswered(1);
    let key = rig.queue("a", json!({})).await;
    let (name, pod) = rig.pod("a").await;
    until("it is asked for again", async || rig.server.asked("POST") == 2).await;
    tokio::time::sleep(rig.settings.lease * 2).await;
    assert_eq!((rig.server.made(), rig.reports_of(&key).len()), (1, 0), "its lease was renewed");
    run_pod(rig.ports.clone(), &pod, home.path()).await;
    rig.server.set_status(&name, base_is("Succeeded", json!({"terminated": {"exitCode": 0}})));
    rig.nothing_is_left().await;
    assert_eq!((rig.server.made(), rig.reports_of(&key).len()), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_whose_end_is_told_takes_no_slot_while_it_goes() {
    let rig = Rig::with(|settings| settings.slots = 1).await;
    rig.server.set_lingers(true);
    let key = rig.queue("a", json!({})).await;
    let (name, _) = rig.pod("a").await;
    let image = json!({"waiting": {"reason": "ErrImagePull", "message": "manifest unknown"}});
    rig.server.set_status(&name, base_is("Pending", image));
    rig.failure_of(&key).await;
    rig.queue("b", json!({})).await;
    rig.pod("b").await;
    // What is said of it while it goes brings it back to nobody.
    rig.server.change(&name, |pod| pod["metadata"]["labels"]["touched"] = "yes".into());
    tokio::time::sleep(rig.settings.lease).await;
    assert_eq!(rig.reports_of(&key).len(), 1);
    let held = crate::rig::holds(&rig).await.unwrap();
    assert!(!held.contains(&key), "{held:?}");
    rig.server.remove(&name);
    rig.queue("c", json!({})).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(rig.server.made(), 2, "b has the only slot");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_on_a_node_out_of_reach_keeps_no_slot() {
    let rig = Rig::with(|settings| {
        (settings.slots, settings.lease) = (1, Duration::from_millis(500));
    })
    .await;
    rig.server.set_lingers(true);
    let key = rig.queue("a", json!({})).await;
    let (name, pod) = rig.pod("a").await;
    rig.server.set_status(&name, base_is("Running", json!({"running": {}})));
    let executor = env_of(&pod)[dagbok_pods::EXECUTOR_VARIABLE].clone();
    let presence = format!("presence/{executor}");
    rig.ports.state.put(&presence, "x".into(), None).await.unwrap();
    // The controller gives its node up, and no kubelet lets it go.
    rig.server.change(&name, |pod| {
        pod["metadata"]["deletionTimestamp"] = "2026-01-02T03:04:05Z".into();
        pod["status"]["conditions"] = json!([{"type": "DisruptionTarget", "status": "True",
            "reason": "DeletionByTaintManager", "message": "node.kubernetes.io/unreachable"}]);
    });
    tokio::time::sleep(rig.settings.lease * 5).await;
    assert_eq!(rig.reports_of(&key), [], "it speaks");
    rig.ports.state.delete(&presence).await.unwrap();
    let (kind, why) = rig.failure_of(&key).await;
    assert!(kind == dagbok_events::FailureKind::Executor && why.contains("unreachable"), "{why}");
    rig.queue("b", json!({})).await;
    rig.pod("b").await;
    let left = rig.server.pods()[&name].clone();
    assert_eq!(left["metadata"]["labels"]["airflow_executor_done"], "True", "no list has it again");
    assert_eq!(rig.reports_of(&key).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_before_the_server_forgot_is_found_by_listing() {
    let rig = Rig::new().await;
    let home = tempfile::tempdir().unwrap();
    let (a, b) = (rig.queue("a", json!({})).await, rig.queue("b", json!({})).await);
    let (name, pod) = rig.pod("a").await;
    let (other, _) = rig.pod("b").await;
    rig.server.set_down(true);
    run_pod(rig.ports.clone(), &pod, home.path()).await;
    rig.server.set_status(&name, base_is("Succeeded", json!({"terminated": {"exitCode": 0}})));
    rig.server.remove(&other);
    rig.server.forget();
    rig.server.set_down(false);
    until("what is over is cleared away", async || !rig.server.pods().contains_key(&name)).await;
    assert!(matches!(rig.end_of(&a).await, ReportBody::Succeeded { .. }));
    let (_, why) = rig.failure_of(&b).await;
    assert!(why.contains("deleted while nobody watched"), "{why}");
    rig.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_told_its_end_and_is_gone_since_is_not_told_of_again() {
    let rig = Rig::new().await;
    let home = tempfile::tempdir().unwrap();
    let key = rig.queue("a", json!({})).await;
    let (name, pod) = rig.pod("a").await;
    rig.server.set_down(true);
    run_pod(rig.ports.clone(), &pod, home.path()).await;
    rig.server.remove(&name);
    rig.server.forget();
    rig.server.set_down(false);
    until("it is let go", async || crate::rig::holds(&rig).await.is_some_and(|it| it.is_empty()))
        .await;
    rig.nothing_is_left().await;
    assert_eq!(rig.reports_of(&key).len(), 2, "started and succeeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_costs_nothing_but_time() {
    let rig = Rig::new().await;
    let home = tempfile::tempdir().unwrap();
    let kubelet = kubelet(&rig, home.path().to_owned());
    let mut keys = vec![rig.queue("before", json!({})).await];
    rig.server.set_down(true);
    for n in 0..5 {
        keys.push(rig.queue(&format!("during{n}"), json!({})).await);
    }
    // A minute in life; here several leases of the items that wait.
    tokio::time::sleep(rig.settings.lease * 3).await;
    rig.server.set_down(false);
    for key in &keys {
        assert!(matches!(rig.end_of(key).await, ReportBody::Succeeded { .. }));
        assert_eq!(rig.reports_of(key).len(), 2, "once each");
    }
    rig.nothing_is_left().await;
    assert_eq!(rig.server.made(), 6);
    kubelet.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_server_makes_each_pod_once() {
    let rig = Rig::new().await;
    let home = tempfile::tempdir().unwrap();
    rig.server.set_slow(Some(Duration::from_millis(700)));
    let kubelet = kubelet(&rig, home.path().to_owned());
    let mut keys = Vec::new();
    for n in 0..5 {
        keys.push(rig.queue(&format!("t{n}"), json!({})).await);
    }
    for key in &keys {
        rig.end_of(key).await;
    }
    rig.nothing_is_left().await;
    assert_eq!(rig.server.made(), 5);
    kubelet.abort();
}
