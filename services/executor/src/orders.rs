//! Hears the scheduler's orders, and answers who follows the log of a try.
use std::sync::Arc;

use dagbok_events::decode_any;
use dagbok_protocol::{Order, TryLogQuery, TryUsageAnswer, TryUsageQuery, names};
use dagbok_runlog::Signal;
use dagbok_runtime::Backoff;
use futures::{StreamExt as _, stream::BoxStream};

use crate::{
    held::{Control, Kill},
    shared::Shared,
};

/// Obeys orders for ever; run it beside.
pub(crate) async fn obey(shared: Arc<Shared>) {
    let subject = names::orders_subject(&shared.settings.executor);
    let mut backoff = Backoff::default();
    loop {
        if let Some(mut orders) = listen(&shared, &subject, &mut backoff).await {
            while let Some(signal) = orders.next().await {
                hear(&shared, &signal);
            }
        }
        backoff.pause().await;
    }
}

fn hear(shared: &Shared, signal: &Signal) {
    let (key, why) = match decode_any(&signal.payload) {
        Ok(Order::Kill { key, why }) => (key, why),
        Ok(Order::LookAtCordon) => return shared.standing.look(),
        Ok(Order::Ends { why }) => {
            tracing::warn!(why, "this executor is about to be ended");
            drop(shared.parting.send_replace(Some(why)));
            return;
        }
        Err(error) => {
            tracing::warn!(%error, "an order can't be read");
            return;
        }
    };
    if let Some(held) = shared.holds.get(&key) {
        tracing::info!(%key, why, "a try is ended by order");
        held.tell(Control::Kill(Kill::Order(why)));
    } else {
        tracing::debug!(%key, "ordered to end a try that is not in hand");
    }
}

/// Answers log queries for ever; run it beside.
pub(crate) async fn read_logs(shared: Arc<Shared>) {
    let subject = names::log_subject(&shared.settings.executor);
    let mut backoff = Backoff::default();
    loop {
        if let Some(mut queries) = listen(&shared, &subject, &mut backoff).await {
            while let Some(signal) = queries.next().await {
                // Each waits by itself for more to come.
                tokio::spawn(answer(Arc::clone(&shared), signal));
            }
        }
        backoff.pause().await;
    }
}

async fn answer(shared: Arc<Shared>, signal: Signal) {
    let Some(responder) = signal.responder else { return };
    match decode_any::<TryLogQuery>(&signal.payload) {
        Ok(query) => {
            let slice = shared.logs.slice(query).await;
            if let Err(error) = responder.respond(dagbok_events::encode_any(&slice).into()).await {
                tracing::debug!(%error, "a log's reader is gone");
            }
        }
        Err(error) => tracing::warn!(%error, "a log query can't be read"),
    }
}

/// Answers who asks what a try uses, for ever; run it beside.
pub(crate) async fn read_usage(shared: Arc<Shared>) {
    let subject = names::usage_subject(&shared.settings.executor);
    let mut backoff = Backoff::default();
    loop {
        if let Some(mut queries) = listen(&shared, &subject, &mut backoff).await {
            while let Some(signal) = queries.next().await {
                tell_usage(&shared, signal).await;
            }
        }
        backoff.pause().await;
    }
}

async fn tell_usage(shared: &Shared, signal: Signal) {
    let Some(responder) = signal.responder else { return };
    match decode_any::<TryUsageQuery>(&signal.payload) {
        Ok(query) => {
            let answer = TryUsageAnswer { series: shared.meters.of(&query.key) };
            if let Err(error) = responder.respond(dagbok_events::encode_any(&answer).into()).await {
                tracing::debug!(%error, "who asked what a try uses is gone");
            }
        }
        Err(error) => tracing::warn!(%error, "a question for a try's usage can't be read"),
    }
}

async fn listen(
    shared: &Shared,
    subject: &str,
    backoff: &mut Backoff,
) -> Option<BoxStream<'static, Signal>> {
    match shared.ports.signals.subscribe(subject).await {
        Ok(signals) => {
            *backoff = Backoff::default();
            Some(signals)
        }
        Err(error) => {
            if backoff.is_worth_telling() {
                tracing::warn!(subject, %error, "can't listen; trying again");
            }
            None
        }
    }
}
