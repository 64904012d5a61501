//! An executor of one try: what it runs was pulled by somebody else, who made a place for it (a pod) and passed the delivery on.
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use dagbok_events::{ExecutorName, QueueName};
use dagbok_runlog::{Delivery, PortError};
use dagbok_runtime::Backoff;
use tokio_util::task::TaskTracker;

use crate::{attempt, pull, shared::Shared};

/// A delivery that was passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The queue that it was pulled from.
    pub queue: QueueName,
    /// Its address there.
    pub address: String,
    /// Whose item it is, as the queue names it: a queue that was lost and made again numbers its items anew.
    pub key: String,
    /// What the executor is called that pulled it: the try takes up a slot of that one.
    pub maker: Option<ExecutorName>,
}

/// For so long a delivery is asked for that nobody gives.
const ASKED_FOR: Duration = Duration::from_mins(5);

/// What is said where the process is ended before the try was taken up: whoever started it tells the end then.
const TOO_SOON: &str = "it was ended before its try was taken up";

/// Runs the try, and has the executor end with it.
pub(crate) async fn run(shared: Arc<Shared>, claim: Claim, tries: TaskTracker) {
    let taken = tokio::select! {
        biased;
        () = shared.shutdown.started() => return shared.standing.refuse(TOO_SOON.to_owned()),
        taken = take_up(&shared, &claim) => taken,
    };
    let address = claim.address;
    match taken {
        None => tracing::info!(address, "the item is gone: somebody had it, or the try is over"),
        Some(delivery) => {
            let slot = Arc::clone(&shared.slots).acquire_owned().await;
            let slot = slot.expect("slots are not closed");
            shared.tell_slots();
            let own = Arc::clone(&shared);
            let over = tries.spawn(async move { attempt::take(own, delivery, slot).await });
            tokio::select! {
                // A panic of it is told by whoever holds the tries.
                ended = over => drop(ended),
                // Who drains waits for it, and ends it.
                () = shared.shutdown.started() => return,
            }
        }
    }
    shared.shutdown.start();
}

/// The delivery; `None` where its item is gone, or it is not given in time.
async fn take_up(shared: &Shared, claim: &Claim) -> Option<Delivery> {
    let work = pull::open(shared, &claim.queue).await?;
    let (mut backoff, begun) = (Backoff::default(), Instant::now());
    loop {
        match work.take_up(&claim.address).await {
            Ok(taken) => return taken.filter(|it| it.key == claim.key),
            Err(error) if begun.elapsed() >= ASKED_FOR => {
                shared.standing.refuse(format!("its item can't be taken up: {error}"));
                return None;
            }
            // It will never be another answer: whoever made this place sees the item, and tells.
            Err(error @ PortError::Refused { .. }) => {
                tracing::error!(%error, "the item can't be taken up");
                return None;
            }
            Err(error) if backoff.is_worth_telling() => {
                tracing::warn!(%error, "the item can't be taken up; trying again");
            }
            Err(_) => {}
        }
        backoff.pause().await;
    }
}
