//! Answers who is told of what, and who is on call, by the policy that is in force.
use std::sync::Arc;

use dagbok_alerts::{DUTY, Duty, Policy};
use dagbok_events::encode_any;
use dagbok_runlog::{PortResult, Signals};
use dagbok_runtime::{Clock, Shutdown};
use futures::StreamExt as _;
use tokio::sync::watch;

/// The policy as it is answered from.
#[derive(Debug)]
pub(super) struct Answering(watch::Sender<(Arc<Policy>, bool)>);

impl Answering {
    /// Answers until the term ends.
    pub(super) async fn start(
        signals: &dyn Signals,
        clock: Clock,
        end: &Shutdown,
    ) -> PortResult<Self> {
        let mut questions = signals.subscribe(DUTY).await?;
        let (known, policy) = watch::channel(<(Arc<Policy>, bool)>::default());
        let stop = end.clone();
        end.spawn(async move {
            loop {
                let question = tokio::select! {
                    () = stop.started() => return,
                    question = questions.next() => question,
                };
                let Some(question) = question else { return };
                let Some(responder) = question.responder else { continue };
                let (policy, is_watched) = policy.borrow().clone();
                let duty = Duty { is_watched, ..Duty::of(&policy, clock.now()) };
                if let Err(error) = responder.respond(encode_any(&duty).into()).await {
                    tracing::warn!(%error, "who is on call can't be answered");
                }
            }
        });
        Ok(Self(known))
    }

    /// Answers by this policy from now on.
    pub(super) fn know(&self, policy: &Policy, is_watched: bool) {
        self.0.send_if_modified(|(known, watched)| {
            let changed = **known != *policy || *watched != is_watched;
            if changed {
                (*known, *watched) = (Arc::new(policy.clone()), is_watched);
            }
            changed
        });
    }
}
