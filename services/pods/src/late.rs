//! Pods that wait for too long, and those in which nobody speaks any more. By what the keyed state says of the executors in them,
//! which counts only once that has answered for a while: after an outage nobody is there who has not come back yet.
use std::{sync::Arc, time::Duration};

use dagbok_events::{ExecutorId, FailureKind, Fault};
use dagbok_inbox::whole;
use dagbok_protocol::names;
use futures::{StreamExt as _, future::join_all, stream};
use tokio::time::{Instant, sleep};

use crate::{
    book::Late,
    end,
    shared::{SILENCE, Shared, failed, failure},
};

/// How often is looked for pods that wait for too long, at most.
const OVERDUE_EVERY: Duration = Duration::from_secs(1);
/// Executors that are looked for at the same time.
const AT_ONCE: usize = 16;

/// Gives up pods that wait for too long.
pub(crate) async fn hurry(shared: Arc<Shared>) {
    let limit = shared.settings.pending_timeout;
    let every = (limit / 10).clamp(Duration::from_millis(20), OVERDUE_EVERY);
    loop {
        sleep(every).await;
        if shared.is_heard_well() {
            let late = shared.book.overdue(limit).into_iter();
            join_all(late.map(|late| give_up(&shared, late))).await;
        }
    }
}

/// Whether the executor in a pod is there; `None` where nobody can tell.
async fn is_there(shared: &Shared, executor: &ExecutorId) -> Option<bool> {
    let found = whole::get(&*shared.ports.state, &names::presence_key(executor)).await;
    Some(found.ok()?.is_some())
}

/// Gives up one, unless the executor in it speaks: then it runs, though the API server could not say so.
async fn give_up(shared: &Arc<Shared>, late: Late) {
    if !is_given_up(shared, &late).await {
        return;
    }
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        // It may have run and told its end while nobody could see it, or begin at this very moment.
        let unsaid = end::is_unsaid(&shared, &late.name).await;
        if !is_given_up(&shared, &late).await {
            return;
        }
        let (name, limit) = (&late.name, shared.settings.pending_timeout.as_secs_f64());
        let why = if late.runs {
            format!(
                "the try's pod {name} runs, and the executor in it has said nothing within {limit} s: its own log says more"
            )
        } else {
            let why = late.why.unwrap_or_else(|| "nobody said why".to_owned());
            format!("the try's pod {name} did not begin within {limit} s: {why}")
        };
        let body = unsaid.then(|| failure(failed(FailureKind::CouldNotStart, Fault::System, &why)));
        end::conclude(&shared, name, body, end::Pod::Doomed).await;
    });
}

/// Whether nobody speaks in it. Where somebody does that is noted, and where nobody can tell it is looked at again.
async fn is_given_up(shared: &Shared, late: &Late) -> bool {
    let there = is_there(shared, &late.executor).await;
    let is_given_up = there == Some(false) && shared.is_heard_well();
    if !is_given_up {
        shared.book.with(&late.name, |entry| {
            entry.late = false;
            if there == Some(true) {
                (entry.spoke, entry.runs) = (true, true);
            }
        });
    }
    is_given_up
}

/// Looks after those that spoke: who is gone for three leases says nothing more, whatever its container does, and the scheduler has
/// given its try up as well.
pub(crate) async fn listen(shared: Arc<Shared>) {
    loop {
        sleep(shared.settings.lease).await;
        let speaking = stream::iter(shared.book.speaking());
        let heard = speaking.map(|(name, executor)| {
            let shared = &shared;
            async move {
                let there = is_there(shared, &executor).await;
                note(shared, name, there);
            }
        });
        heard.buffer_unordered(AT_ONCE).collect::<()>().await;
    }
}

fn note(shared: &Arc<Shared>, name: String, there: Option<bool>) {
    let gone = there == Some(false) && shared.is_heard_well();
    let silent = shared.book.with(&name, |entry| {
        entry.silent = gone.then(|| entry.silent.unwrap_or_else(Instant::now));
        entry.silent
    });
    let is_over = |since: Instant| since.elapsed() > shared.settings.lease * SILENCE;
    if !silent.flatten().is_some_and(is_over) {
        return;
    }
    shared.book.with(&name, |entry| entry.silent = None);
    tracing::warn!(pod = name, "nobody speaks in a pod any more: it is deleted");
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let why = format!("the executor in the pod {name} has said nothing for three leases");
        let unsaid = end::is_unsaid(&shared, &name).await;
        let body = unsaid.then(|| failure(failed(FailureKind::Executor, Fault::System, &why)));
        end::conclude(&shared, &name, body, end::Pod::Doomed).await;
    });
}
