//! What a pod's status says of its try. Pure.
//!
//! The container that runs the task decides, not the pod: a side container may go on for ever. What it exits with 0 is that
//! the executor in it has told everything; all else is told by whoever watches.
use k8s_openapi::api::core::v1::{Container, ContainerStateTerminated, ContainerStatus, Pod};

use crate::{spec::CLAIM_VARIABLE, template::BASE};

/// How a pod stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    /// It does not run yet, for this reason where one is known.
    Waits(Option<String>),
    /// Its container will never run.
    Never(String),
    /// Its container runs.
    Runs,
    /// Its container is over and has told everything itself.
    Told,
    /// Its container is over, or the pod is, without a word of its own.
    Over(Ending),
}

/// How a pod ended that could not say so itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The kernel ended it for its memory.
    OutOfMemory,
    /// It was taken away: evicted, preempted, gone with its node. In the words of whoever did it.
    Taken(String),
    /// It never began.
    NeverBegan(String),
    /// Its process ended with this code.
    Exited {
        /// As the kubelet counts it: beyond 128 for a signal.
        code: i32,
        /// What the kubelet says of it.
        why: String,
    },
}

/// How it stands. `fatal` are the reasons for which a container waits that will never run.
pub(crate) fn stand_of(pod: &Pod, fatal: &[String]) -> Stand {
    if let Some(over) = base(pod).and_then(|it| it.state.as_ref()?.terminated.as_ref()) {
        return ended(pod, over);
    }
    let phase = phase(pod);
    if matches!(phase, "Failed" | "Unknown") || phase == "Succeeded" {
        let why =
            taken(pod).or_else(|| pod_says(pod)).unwrap_or_else(|| format!("its phase is {phase}"));
        let began = base(pod).is_some_and(|it| it.started == Some(true));
        return match phase {
            // It may come back, and speaks for itself as long as it lives.
            "Unknown" => Stand::Waits(Some(why)),
            "Succeeded" => Stand::Told,
            _ if taken(pod).is_some() || began => Stand::Over(Ending::Taken(why)),
            _ => Stand::Over(Ending::NeverBegan(init_says(pod).unwrap_or(why))),
        };
    }
    if base(pod).is_some_and(|it| it.state.as_ref().is_some_and(|state| state.running.is_some())) {
        return Stand::Runs;
    }
    waits(pod, fatal)
}

fn ended(pod: &Pod, over: &ContainerStateTerminated) -> Stand {
    let reason = over.reason.as_deref().unwrap_or_default();
    if over.exit_code == 0 {
        return Stand::Told;
    }
    if reason == "OOMKilled" {
        return Stand::Over(Ending::OutOfMemory);
    }
    if let Some(why) = taken(pod) {
        return Stand::Over(Ending::Taken(why));
    }
    let said = over.message.as_deref().unwrap_or_default();
    // As that its deadline was exceeded.
    let of_pod = pod_says(pod).unwrap_or_default();
    let why = [reason, said, &of_pod].into_iter().filter(|it| !it.is_empty());
    let why = why.collect::<Vec<_>>().join(": ");
    if matches!(reason, "StartError" | "ContainerCannotRun" | "ContainerStatusUnknown") {
        let gone = reason == "ContainerStatusUnknown";
        return Stand::Over(if gone { Ending::Taken(why) } else { Ending::NeverBegan(why) });
    }
    Stand::Over(Ending::Exited { code: over.exit_code, why })
}

/// Why the pod is being, or was, taken away, where its status says so.
pub(crate) fn taken(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let said = |what: &str, message: Option<&String>| match message.filter(|it| !it.is_empty()) {
        Some(message) => format!("its pod was {what}: {}", message.trim()),
        None => format!("its pod was {what}"),
    };
    let target = condition(pod, "DisruptionTarget", "True");
    match target.map(|it| (it.reason.as_deref().unwrap_or_default(), it.message.as_ref())) {
        Some(("PreemptionByScheduler" | "PreemptionByKubeScheduler", message)) => {
            return Some(said("preempted by one of more priority", message));
        }
        Some(("EvictionByEvictionAPI", message)) => {
            return Some(said("evicted by request, as a drain of its node does", message));
        }
        Some(("DeletionByTaintManager", message)) => {
            return Some(said("evicted from a node that it may not be on any more", message));
        }
        Some(("DeletionByPodGC", message)) => return Some(said("lost with its node", message)),
        Some(("TerminationByKubelet", _)) if status.reason.as_deref() == Some("Evicted") => {}
        Some((reason, message)) => {
            return Some(said(&format!("ended by its cluster ({reason})"), message));
        }
        None => {}
    }
    match status.reason.as_deref() {
        Some("Evicted") => Some(said("evicted", status.message.as_ref())),
        Some("Preempting" | "Preempted") => Some(said("preempted", status.message.as_ref())),
        Some("NodeLost") => Some(said("lost with its node", status.message.as_ref())),
        Some(
            reason @ ("NodeAffinity"
            | "NodeShutdown"
            | "Terminated"
            | "UnexpectedAdmissionError"
            | "OutOfcpu"
            | "OutOfmemory"
            | "OutOfpods"),
        ) => {
            Some(said(&format!("refused or ended by its node ({reason})"), status.message.as_ref()))
        }
        _ => None,
    }
}

/// Why it is being deleted: as its status says, or by somebody.
pub(crate) fn deleted(pod: &Pod) -> String {
    taken(pod).unwrap_or_else(|| "its pod was deleted, by hand or by another program".to_owned())
}

/// What it waits for, where anything says so.
fn waits(pod: &Pod, fatal: &[String]) -> Stand {
    let all = statuses(pod);
    let waiting = all.iter().filter_map(|it| Some((it, it.state.as_ref()?.waiting.as_ref()?)));
    let mut seen = None;
    for (status, waiting) in waiting {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        let message = waiting.message.as_deref().unwrap_or_default();
        if reason.is_empty() || matches!(reason, "ContainerCreating" | "PodInitializing") {
            continue;
        }
        let image = if reason.contains("Image") {
            format!(" of the image {:?}", status.image)
        } else {
            String::new()
        };
        let why =
            format!("its container `{}`{image} waits: {reason}{}", status.name, behind(message));
        // The registry was asked too often: it is asked again.
        let passes = reason == "ErrImagePull" && message.contains("QPS exceeded");
        if fatal.iter().any(|it| it == reason) && !passes {
            return Stand::Never(why);
        }
        seen = seen.or(Some(why));
    }
    if seen.is_none()
        && let Some(told) = condition(pod, "PodScheduled", "False")
    {
        let reason = told.reason.as_deref().unwrap_or("Unschedulable");
        let message = told.message.as_deref().unwrap_or_default();
        seen = Some(format!("no node takes its pod: {reason}{}", behind(message)));
    }
    Stand::Waits(seen.or_else(|| init_says(pod)))
}

fn behind(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {}", message.trim()) }
}

/// What a container before it ended with, or loops in.
fn init_says(pod: &Pod) -> Option<String> {
    let inits = pod.status.as_ref()?.init_container_statuses.as_ref()?;
    inits.iter().find_map(|it| {
        let over = [it.state.as_ref(), it.last_state.as_ref()];
        let over = over.into_iter().flatten().find_map(|state| state.terminated.as_ref())?;
        (over.exit_code != 0).then(|| {
            let said = over.reason.as_deref().unwrap_or("Error");
            format!("its init container `{}` ended with code {} ({said})", it.name, over.exit_code)
        })
    })
}

fn pod_says(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let parts = [status.reason.as_deref(), status.message.as_deref()];
    let said = parts.into_iter().flatten().collect::<Vec<_>>().join(": ");
    (!said.is_empty()).then_some(said)
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|it| it.phase.as_deref()).unwrap_or("Pending")
}

fn condition<'a>(
    pod: &'a Pod,
    kind: &str,
    status: &str,
) -> Option<&'a k8s_openapi::api::core::v1::PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|it| it.type_ == kind && it.status == status)
}

fn statuses(pod: &Pod) -> Vec<&ContainerStatus> {
    let Some(status) = &pod.status else { return Vec::new() };
    let both = [&status.init_container_statuses, &status.container_statuses];
    both.into_iter().flatten().flatten().collect()
}

/// The container that runs the task: the one that is told where its delivery is. The API server's admission may have put another
/// before it, as meshes do.
fn own(pod: &Pod) -> Option<&Container> {
    let all = &pod.spec.as_ref()?.containers;
    let is_told = |it: &&Container| {
        it.env.as_ref().is_some_and(|env| env.iter().any(|one| one.name == CLAIM_VARIABLE))
    };
    all.iter().find(is_told).or_else(|| all.first())
}

/// Its status.
fn base(pod: &Pod) -> Option<&ContainerStatus> {
    let name = own(pod).map_or(BASE, |it| it.name.as_str());
    pod.status.as_ref()?.container_statuses.as_ref()?.iter().find(|it| it.name == name)
}

/// Whether another container goes on beside it, for ever where nobody ends it. Those that the kubelet ends itself, as side containers
/// among the init containers, don't count.
pub(crate) fn goes_on(pod: &Pod) -> bool {
    let own = own(pod).map_or(BASE, |it| it.name.as_str());
    let all = pod.status.as_ref().and_then(|it| it.container_statuses.as_ref());
    let runs = |it: &ContainerStatus| it.state.as_ref().is_some_and(|it| it.running.is_some());
    all.is_some_and(|all| all.iter().any(|it| it.name != own && runs(it)))
}

/// Its limit of memory, as it is written.
pub(crate) fn memory_limit(pod: &Pod) -> Option<String> {
    Some(own(pod)?.resources.as_ref()?.limits.as_ref()?.get("memory")?.0.clone())
}

#[cfg(test)]
mod tests;
