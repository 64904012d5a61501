//! Statuses as kubelets, schedulers and controllers write them.
#![expect(clippy::needless_pass_by_value, reason = "JSON is written where it is used")]
use serde_json::{Value, json};

use super::*;
use crate::settings::FATAL_REASONS;

fn stand(status: Value) -> Stand {
    stand_of(&pod(status), &FATAL_REASONS.map(str::to_owned))
}

fn pod(status: Value) -> Pod {
    let spec = json!({"containers": [
        {"name": "base", "resources": {"limits": {"memory": "64Mi"}}}, {"name": "side"},
    ]});
    serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec, "status": status}))
        .unwrap()
}

fn base_is(state: Value) -> Value {
    json!([{"name": "base", "image": "company/dags:9", "imageID": "", "ready": false, "restartCount": 0, "state": state}])
}

fn over(phase: &str, terminated: Value) -> Stand {
    stand(
        json!({"phase": phase, "containerStatuses": base_is(json!({ "terminated": terminated }))}),
    )
}

fn disrupted(reason: &str, message: &str) -> Value {
    json!([{"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}])
}

#[test]
fn what_ended_well_has_told_everything_itself() {
    assert_eq!(over("Succeeded", json!({"exitCode": 0, "reason": "Completed"})), Stand::Told);
    assert_eq!(over("Running", json!({"exitCode": 0})), Stand::Told, "a side container goes on");
    assert_eq!(stand(json!({"phase": "Succeeded"})), Stand::Told);
}

#[test]
fn a_kill_for_memory_is_told_apart() {
    assert_eq!(
        over("Failed", json!({"exitCode": 137, "reason": "OOMKilled"})),
        Stand::Over(Ending::OutOfMemory)
    );
    assert_eq!(memory_limit(&pod(json!({}))).as_deref(), Some("64Mi"));
    let exited = over("Failed", json!({"exitCode": 137, "reason": "Error"}));
    assert_eq!(exited, Stand::Over(Ending::Exited { code: 137, why: "Error".into() }));
}

#[test]
fn what_the_pod_says_is_told_with_its_container_s_end() {
    let mut status = json!({"phase": "Failed", "reason": "DeadlineExceeded",
        "message": "Pod was active on the node longer than the specified deadline"});
    status["containerStatuses"] =
        base_is(json!({"terminated": {"exitCode": 143, "reason": "Error"}}));
    let why =
        "Error: DeadlineExceeded: Pod was active on the node longer than the specified deadline";
    assert_eq!(stand(status), Stand::Over(Ending::Exited { code: 143, why: why.into() }));
}

#[test]
fn a_side_container_that_goes_on_is_told_from_one_that_the_kubelet_ends() {
    let over = json!({"terminated": {"exitCode": 0}});
    let side = json!([{"name": "side", "image": "s", "imageID": "", "ready": true, "restartCount": 0, "state": {"running": {}}}]);
    let native = json!({"phase": "Running", "containerStatuses": base_is(over.clone()), "initContainerStatuses": side.clone()});
    assert!(!goes_on(&pod(native)));
    let mut both = base_is(over);
    both.as_array_mut().unwrap().push(side[0].clone());
    assert!(goes_on(&pod(json!({"phase": "Running", "containerStatuses": both}))));
}

#[test]
fn a_container_that_admission_puts_first_is_not_the_task_s() {
    let told = json!({"name": CLAIM_VARIABLE, "value": "$JS.ACK.a"});
    let limits = |memory: &str| json!({"limits": {"memory": memory}});
    let spec = json!({"containers": [
        {"name": "mesh", "resources": limits("1Gi"), "env": [{"name": "A", "value": "b"}]},
        {"name": "base", "resources": limits("64Mi"), "env": [{"name": "A", "value": "b"}, told]},
    ]});
    let state = |name: &str, state: Value| json!({"name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state});
    let both = [
        state("mesh", json!({"running": {}})),
        state("base", json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}})),
    ];
    let status = json!({"phase": "Running", "containerStatuses": both});
    let pod = json!({"metadata": {"name": "p"}, "spec": spec, "status": status});
    let pod: Pod = serde_json::from_value(pod).unwrap();
    assert_eq!(stand_of(&pod, &[]), Stand::Over(Ending::OutOfMemory));
    assert_eq!(memory_limit(&pod).as_deref(), Some("64Mi"));
}

#[test]
fn who_was_taken_away_is_told_in_the_words_of_whoever_did_it() {
    for (status, says) in [
        (
            json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory. "}),
            "its pod was evicted: The node was low on resource: memory.",
        ),
        (
            json!({"phase": "Failed", "reason": "Evicted", "message": "Pod ephemeral local storage usage exceeds",
            "conditions": disrupted("TerminationByKubelet", "x")}),
            "its pod was evicted: Pod ephemeral local storage usage exceeds",
        ),
        (
            json!({"phase": "Failed", "conditions": disrupted("PreemptionByScheduler", "default-scheduler: preempting to accommodate a higher priority pod")}),
            "its pod was preempted by one of more priority: default-scheduler: preempting to accommodate a higher priority pod",
        ),
        (
            json!({"phase": "Failed", "conditions": disrupted("EvictionByEvictionAPI", "Eviction API: evicting")}),
            "its pod was evicted by request, as a drain of its node does: Eviction API: evicting",
        ),
        (
            json!({"phase": "Failed", "conditions": disrupted("DeletionByPodGC", "PodGC: node no longer exists")}),
            "its pod was lost with its node: PodGC: node no longer exists",
        ),
        (
            json!({"phase": "Failed", "reason": "NodeLost", "message": "Node n which was running pod p is unresponsive"}),
            "its pod was lost with its node: Node n which was running pod p is unresponsive",
        ),
        (
            json!({"phase": "Failed", "reason": "OutOfcpu", "message": "Node didn't have enough resource"}),
            "its pod was refused or ended by its node (OutOfcpu): Node didn't have enough resource",
        ),
    ] {
        assert_eq!(stand(status), Stand::Over(Ending::Taken(says.to_owned())));
    }
    let killed = json!({"phase": "Failed", "reason": "Evicted", "message": "low",
        "containerStatuses": base_is(json!({"terminated": {"exitCode": 137, "reason": "Error"}}))});
    assert_eq!(stand(killed), Stand::Over(Ending::Taken("its pod was evicted: low".into())));
    assert!(deleted(&pod(json!({"phase": "Running"}))).contains("by hand"));
}

#[test]
fn what_will_never_run_says_which_image() {
    let waits = |reason: &str, message: &str| {
        stand(
            json!({"phase": "Pending", "containerStatuses": base_is(json!({"waiting": {"reason": reason, "message": message}}))}),
        )
    };
    let Stand::Never(why) = waits("ErrImagePull", "manifest unknown") else { panic!() };
    assert_eq!(
        why,
        "its container `base` of the image \"company/dags:9\" waits: ErrImagePull: manifest unknown"
    );
    assert!(matches!(waits("InvalidImageName", ""), Stand::Never(_)));
    assert!(matches!(waits("ErrImagePull", "pull QPS exceeded"), Stand::Waits(Some(_))));
    assert!(matches!(waits("ImagePullBackOff", "Back-off"), Stand::Waits(Some(_))));
    assert_eq!(waits("ContainerCreating", ""), Stand::Waits(None));
}

#[test]
fn who_finds_no_node_waits_in_the_scheduler_s_words() {
    let message = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.";
    let told = stand(json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}]}));
    assert_eq!(
        told,
        Stand::Waits(Some(format!("no node takes its pod: Unschedulable: {message}")))
    );
}

#[test]
fn an_init_container_that_fails_or_loops_is_named() {
    let init = |state: Value, last: Value| {
        json!([{"name": "fetch", "image": "i", "imageID": "", "ready": false,
        "restartCount": 3, "state": state, "lastState": last}])
    };
    let failed = stand(json!({"phase": "Failed", "initContainerStatuses":
        init(json!({"terminated": {"exitCode": 3, "reason": "Error"}}), json!({}))}));
    let says = "its init container `fetch` ended with code 3 (Error)";
    assert_eq!(failed, Stand::Over(Ending::NeverBegan(says.into())));
    let loops = stand(json!({"phase": "Pending", "initContainerStatuses":
        init(json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}}), json!({"terminated": {"exitCode": 3}}))}));
    assert!(
        matches!(loops, Stand::Waits(Some(why)) if why.contains("`fetch`") && why.contains("CrashLoopBackOff"))
    );
}

#[test]
fn a_program_that_is_not_there_never_began() {
    let told = over(
        "Failed",
        json!({"exitCode": 128, "reason": "StartError", "message": "exec: \"dagbok\": executable file not found"}),
    );
    assert!(
        matches!(told, Stand::Over(Ending::NeverBegan(why)) if why.contains("executable file not found"))
    );
}

#[test]
fn a_pod_whose_node_is_silent_may_live() {
    assert!(matches!(
        stand(json!({"phase": "Unknown", "reason": "NodeLost"})),
        Stand::Waits(Some(_))
    ));
    assert_eq!(
        stand(json!({"phase": "Running", "containerStatuses": base_is(json!({"running": {}}))})),
        Stand::Runs
    );
    assert_eq!(stand(json!({})), Stand::Waits(None));
}
