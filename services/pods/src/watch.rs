//! Watches the pods, over restarts of either side: what is listed anew is compared with what is known.
use std::{collections::BTreeSet, sync::Arc, time::Duration};

use dagbok_events::{FailureKind, Fault, OutOfMemory, OutOfMemoryBy, QueueName, Timestamp, TryKey};
use dagbok_protocol::ReportBody;
use dagbok_runlog::DeliveryHandle;
use dagbok_runtime::Backoff;
use futures::{StreamExt as _, pin_mut};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event},
    },
};
use tokio::{sync::oneshot, time::Instant};

use crate::{
    api::DONE,
    book::Entry,
    end,
    names::executor_of,
    shared::{Shared, failed, failure},
    spec::{ADDRESS, QUEUE, TRY, WORKER, selector, worker_of},
    status::{self, Ending, Stand},
};

/// The first wait after an API server that does not say whether a pod is there, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// So many seconds one watch takes: one that is dead without a word is found by that.
const WATCH_FOR: u32 = 45;

/// Watches until the executor ends. `listed` hears when all pods of before are known.
pub(crate) async fn watch(shared: Arc<Shared>, pods: Api<Pod>, listed: oneshot::Sender<()>) {
    let labels = format!("{},{DONE}!=True", selector(&shared.settings));
    let events =
        watcher::watcher(pods, watcher::Config::default().labels(&labels).timeout(WATCH_FOR));
    let events = events.default_backoff();
    pin_mut!(events);
    let (mut seen, mut listed) = (BTreeSet::new(), Some(listed));
    let mut failures = 0_u32;
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                failures = 0;
                match event {
                    Event::Init => seen = BTreeSet::new(),
                    Event::InitApply(pod) => {
                        seen.insert(name_of(&pod));
                        heard(&shared, &pod, true);
                    }
                    Event::InitDone => {
                        for name in shared.book.gone_but(&seen) {
                            gone(&shared, name, None);
                        }
                        // Nobody waits for it any more where the executor ends.
                        let _ = listed.take().map(|it| it.send(()));
                    }
                    Event::Apply(pod) => heard(&shared, &pod, false),
                    Event::Delete(pod) => {
                        look(&shared, &pod);
                        gone(&shared, name_of(&pod), Some(&pod));
                    }
                }
            }
            Err(error) => {
                failures += 1;
                if failures.is_power_of_two() {
                    tracing::warn!(%error, failures, "the pods can't be watched; trying again");
                }
            }
        }
    }
}

fn name_of(pod: &Pod) -> String {
    pod.metadata.name.clone().unwrap_or_default()
}

fn annotation<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    pod.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

/// A pod that is there. One that nobody here knows was made in a life before; where it is no listing that says so and it is
/// about to go, its end is told already.
fn heard(shared: &Arc<Shared>, pod: &Pod, listed: bool) {
    let name = name_of(pod);
    let labels = pod.metadata.labels.as_ref();
    if labels.is_some_and(|all| all.contains_key(DONE)) {
        return;
    }
    if shared.book.with(&name, |_| ()).is_none() {
        let told = !listed && pod.metadata.deletion_timestamp.is_some();
        if told || !adopt(shared, &name, pod) {
            return;
        }
    }
    look(shared, pod);
}

/// Takes up a pod that an earlier life made: its slot is taken, and its item renewed again.
fn adopt(shared: &Arc<Shared>, name: &str, pod: &Pod) -> bool {
    let Some(key) = annotation(pod, TRY).and_then(|text| serde_json::from_str::<TryKey>(text).ok())
    else {
        tracing::warn!(
            pod = name,
            "a pod has this executor's labels and names no try: it is left alone"
        );
        return false;
    };
    let executor = executor_of(name, annotation(pod, ADDRESS).unwrap_or_default());
    let mut entry = Entry::new(key, executor);
    entry.item = item_of(pod);
    let item = entry.item.clone();
    entry.slot = Arc::clone(&shared.slots).try_acquire_owned().ok();
    let made = pod.metadata.creation_timestamp.as_ref().map(|it| Timestamp::from(it.0));
    let age = made.map_or(Duration::ZERO, |made| shared.clock.now().since(made).to_std());
    entry.since = Instant::now().checked_sub(age).unwrap_or_else(Instant::now);
    tracing::info!(pod = name, key = %entry.key, "a pod of an earlier life is watched again");
    // It may have been delivered anew meanwhile.
    if shared.book.insert(name, entry).is_ok()
        && let Some(item) = item
    {
        take_up(shared, name.to_owned(), item);
    }
    shared.book.with(name, |_| ()).is_some()
}

/// Which queue a pod's item is of, and at which address.
fn item_of(pod: &Pod) -> Option<(QueueName, String)> {
    let queue = QueueName::new(annotation(pod, QUEUE)?).ok()?;
    Some((queue, annotation(pod, ADDRESS)?.to_owned()))
}

/// Takes up the item of a pod of an earlier life, beside the watch: there may be thousands, and a broker that is away.
fn take_up(shared: &Arc<Shared>, name: String, item: (QueueName, String)) {
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let _turn = shared.take_ups.acquire().await.expect("turns are not closed");
        let Some(key) = shared.book.with(&name, |entry| entry.key.clone()) else { return };
        match shared.take_up(&key, &item).await {
            Ok(None) => {}
            Ok(Some(taken)) => {
                let handle: Arc<dyn DeliveryHandle> = Arc::from(taken.handle);
                // It may have been delivered anew meanwhile.
                shared.book.with(&name, |entry| {
                    entry.handle.get_or_insert(handle);
                });
            }
            Err(error) => {
                tracing::warn!(pod = name, %error, "a pod's item can't be taken up: it is delivered anew once its lease is over");
            }
        }
    });
}

/// Takes in how a pod stands.
fn look(shared: &Arc<Shared>, pod: &Pod) {
    let name = name_of(pod);
    let stand = status::stand_of(pod, &shared.settings.fatal_reasons);
    let parting = pod.metadata.deletion_timestamp.is_some() || status::taken(pod).is_some();
    let found = shared.book.with(&name, |entry| {
        entry.there = true;
        entry.uid.clone_from(&pod.metadata.uid);
        if stand == Stand::Runs && !entry.runs {
            (entry.runs, entry.why, entry.since) = (true, None, Instant::now());
        }
        if let Stand::Waits(why) = &stand {
            entry.why.clone_from(why);
        }
        let runs = entry.runs && parting && !std::mem::replace(&mut entry.parted, parting);
        (entry.ends, entry.unwanted, runs.then(|| entry.executor.clone()))
    });
    let Some((false, unwanted, to_tell)) = found else { return };
    if unwanted {
        return end::unwanted(shared, name);
    }
    if let Some(executor) = to_tell.filter(|_| matches!(stand, Stand::Runs | Stand::Waits(_))) {
        let (shared, name, why) = (Arc::clone(shared), name.clone(), status::deleted(pod));
        tokio::spawn(async move {
            shared.part(&executor, why.clone()).await;
            end::outlast(&shared, &name, &executor, &why).await;
        });
    }
    let (body, then) = match stand {
        Stand::Waits(_) | Stand::Runs => return,
        Stand::Told => return said_well(shared, name, status::goes_on(pod)),
        Stand::Never(why) => {
            let why = format!("the try's pod can't begin: {why}");
            (
                Some(failure(failed(FailureKind::CouldNotStart, Fault::System, &why))),
                end::Pod::Doomed,
            )
        }
        // Else what goes on beside it would do so on a node where nobody counts it.
        Stand::Over(ending) if status::goes_on(pod) => (Some(told(pod, ending)), end::Pod::Doomed),
        Stand::Over(ending) => (Some(told(pod, ending)), end::Pod::Bad),
    };
    let shared = Arc::clone(shared);
    tokio::spawn(async move { end::conclude(&shared, &name, body, then).await });
}

/// A pod whose container ended with 0. So the executor in it ends once it has told everything; but so does whatever else may run
/// there, and it too where nobody took its words: then its item is there still.
fn said_well(shared: &Arc<Shared>, name: String, goes_on: bool) {
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let unsaid = end::is_unsaid(&shared, &name).await;
        let why = format!(
            "the pod {name} ended with code 0 and without a word of the executor in it: its own log says more"
        );
        let body = unsaid.then(|| {
            let failed = failed(FailureKind::Executor, Fault::System, &why);
            failure(dagbok_events::Failure { exit_code: Some(0), ..failed })
        });
        let then = match (unsaid, goes_on) {
            (_, true) => end::Pod::Doomed,
            (true, false) => end::Pod::Bad,
            (false, false) => end::Pod::Good,
        };
        end::conclude(&shared, &name, body, then).await;
    });
}

/// A pod that is there no more, and of whose end nothing was seen.
fn gone(shared: &Arc<Shared>, name: String, pod: Option<&Pod>) {
    let found = shared.book.with(&name, |it| (it.ends, it.unwanted, it.runs, it.why.clone()));
    let Some((false, unwanted, runs, waited)) = found else { return };
    let why = pod.map_or_else(
        || "its pod is gone: deleted while nobody watched it".to_owned(),
        status::deleted,
    );
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        match stays(&shared, &name).await {
            Stays::Gone => {}
            // A list may be older than what was made meanwhile.
            Stays::Ours => return,
            Stays::Anothers => {
                tracing::warn!(pod = name, "another that makes pods has taken this one over");
                drop(shared.book.remove(&name));
                return;
            }
        }
        let spoke = !unwanted && end::silence(&shared, &name).await;
        // It may have told its end while nobody watched it.
        let body = if unwanted || !end::is_unsaid(&shared, &name).await {
            None
        } else if spoke || runs {
            Some(failure(failed(FailureKind::Executor, Fault::System, &why)))
        } else {
            let waited = waited.map(|why| format!("; it had not begun: {why}")).unwrap_or_default();
            let why = format!("{why} before it began{waited}");
            Some(failure(failed(FailureKind::CouldNotStart, Fault::System, &why)))
        };
        end::conclude(&shared, &name, body, end::Pod::Gone).await;
    });
}

/// What the API server says of a pod that a list or the watch has not any more.
enum Stays {
    /// It is there, and this executor's.
    Ours,
    /// It is there, under the label of another that makes pods.
    Anothers,
    /// It is not there.
    Gone,
}

/// Asks until there is an answer: a pod that is told dead is tried anew, and who can't be asked may have it still.
async fn stays(shared: &Shared, name: &str) -> Stays {
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    loop {
        match shared.api.get(name).await {
            Ok(None) => return Stays::Gone,
            Ok(Some(there)) => {
                let Some(uid) = shared.book.with(name, |entry| entry.uid.clone()) else {
                    return Stays::Gone;
                };
                let labels = there.metadata.labels.unwrap_or_default();
                let is_another = uid.is_some() && there.metadata.uid != uid;
                return if is_another || labels.contains_key(DONE) {
                    Stays::Gone
                } else if labels.get(WORKER) == Some(&worker_of(&shared.settings)) {
                    Stays::Ours
                } else {
                    Stays::Anothers
                };
            }
            Err(error) if backoff.is_worth_telling() => {
                tracing::warn!(pod = name, %error, "whether a pod is gone can't be seen yet");
            }
            Err(_) => {}
        }
        backoff.pause().await;
    }
}

/// What the executor in the pod could not say of its end.
fn told(pod: &Pod, ending: Ending) -> ReportBody {
    let name = name_of(pod);
    match ending {
        Ending::Taken(why) => failure(failed(FailureKind::Executor, Fault::System, &why)),
        Ending::NeverBegan(why) => {
            let why = format!("the try's pod did not begin: {why}");
            failure(failed(FailureKind::CouldNotStart, Fault::System, &why))
        }
        Ending::OutOfMemory => {
            let limit = status::memory_limit(pod);
            let within = limit.as_deref().map(|it| format!(" of {it}")).unwrap_or_default();
            let why = format!(
                "the kernel ended the pod {name} for its memory (OOMKilled): its container's limit{within} was used up"
            );
            let limit_bytes = limit.as_deref().and_then(bytes_of);
            let by = OutOfMemoryBy::Limit;
            // Whoever looked at its memory was killed with it: it had all that it could have.
            let peak_bytes = limit_bytes.unwrap_or_default();
            let memory =
                OutOfMemory { limit_bytes, peak_bytes, by, process: String::new(), pid: 0 };
            let failed = failed(FailureKind::OutOfMemory, Fault::User, &why);
            failure(dagbok_events::Failure {
                out_of_memory: Some(memory),
                signal: Some(9),
                ..failed
            })
        }
        Ending::Exited { code, why } => {
            let signal = (128..160).contains(&code).then(|| code - 128).filter(|it| *it > 0);
            let how =
                signal.map_or_else(|| format!("with code {code}"), |it| format!("by signal {it}"));
            let why = format!(
                "the pod {name} ended {how} ({why}) without a word of the executor in it: its own log says more"
            );
            let failed = failed(FailureKind::Executor, Fault::System, &why);
            failure(dagbok_events::Failure { signal, exit_code: Some(code), ..failed })
        }
    }
}

/// An amount of memory as Kubernetes writes it.
fn bytes_of(text: &str) -> Option<u64> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..at].parse().ok()?;
    let unit: u64 = match &text[at..] {
        "" => 1,
        "k" => 1_000,
        "Ki" => 1 << 10,
        "M" => 1_000_000,
        "Mi" => 1 << 20,
        "G" => 1_000_000_000,
        "Gi" => 1 << 30,
        "T" => 1_000_000_000_000,
        "Ti" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(unit)
}
