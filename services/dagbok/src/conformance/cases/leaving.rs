//! Cases of limits, and of taking nothing more.
use std::time::Duration;

use dagbok_events::{Actor, ExecutorName, FailureKind, Timestamp, encode_any};
use dagbok_protocol::{CommandBody, Cordon, Order, Presence, ReportBody, names};
use dagbok_runtime::Clock;

use super::{Verdict, gone, must, through};
use crate::conformance::{process::Started, stage::Stage};

/// How long nothing must happen where nothing may.
pub(super) const QUIET: Duration = Duration::from_secs(2);
/// The memory that a try may use which asks for more.
const MEMORY: u64 = 256 << 20;

pub(super) async fn out_of_memory(stage: &Stage) -> Verdict {
    let mut item = stage.item("hog");
    item.limits.memory = Some(MEMORY);
    item.resources.memory = Some(MEMORY);
    match through(stage, &item).await?.body {
        ReportBody::Failed { failure, .. } if failure.kind == FailureKind::OutOfMemory => Ok(()),
        ReportBody::Failed { failure, .. } => Err(format!(
            "it had more than {} MiB, and failed as `{}`: {}",
            MEMORY >> 20,
            failure.kind.word(),
            failure.message
        )),
        other => {
            Err(format!("it had more than {} MiB and went on: {}", MEMORY >> 20, end_word(&other)))
        }
    }
}

const fn end_word(body: &ReportBody) -> &'static str {
    match body {
        ReportBody::Succeeded { .. } => "it succeeded",
        ReportBody::Lost { .. } => "it is told as lost",
        _ => "it ended otherwise",
    }
}

pub(super) async fn garbage(stage: &Stage) -> Verdict {
    stage.offer_garbage("garbage").await?;
    let item = stage.item("succeed");
    stage.offer(&item).await?;
    let end = stage.end(&item.key).await?;
    must(matches!(end.body, ReportBody::Succeeded { .. }), || {
        format!("after it, `succeed` ended otherwise: {:?}", end.body)
    })?;
    // Whoever takes it off by then, or hands it back, is right: a newer executor might read it.
    let what = "no more than what can't be read is left on the queue";
    stage.until(what, async || Ok((stage.depth().await? <= 1).then_some(()))).await?;
    stage.leave(stage.depth().await?);
    Ok(())
}

/// Says that the executor is cordoned, as a scheduler does.
async fn say_cordon(stage: &Stage, presence: &Presence, seq: u64, drain: bool) -> Verdict {
    let name = ExecutorName::or_of_machine(presence.name.as_ref(), &presence.hostname);
    let at: Timestamp = Clock::system().now();
    let by = Actor::User("conformance".to_owned());
    let reason = Some("a case of the conformance suite".to_owned());
    let cordon = Cordon { seq, drain, limit_ms: Some(60_000), by, reason, at };
    let key = names::cordon_key(&name);
    let put = stage.ports.state.put(&key, encode_any(&cordon).into(), None);
    put.await.map_err(|error| error.to_string())?;
    stage.order(&presence.executor, &Order::LookAtCordon).await
}

pub(super) async fn cordon(stage: &Stage) -> Verdict {
    let presence = stage.presence().await?;
    let name = ExecutorName::or_of_machine(presence.name.as_ref(), &presence.hostname);
    say_cordon(stage, &presence, 1, false).await?;
    let what = "its presence says `cordoned`";
    stage.until(what, async || Ok(stage.presence().await?.cordoned.then_some(()))).await?;
    // A pull that was under way may still bring one.
    tokio::time::sleep(QUIET).await;
    let item = stage.item("succeed");
    stage.offer(&item).await?;
    tokio::time::sleep(QUIET).await;
    let began = stage.now(|heard| heard.of(&item.key).next().is_some());
    must(!began, || "it is cordoned, and took an item all the same".to_owned())?;
    let deleted = stage.ports.state.delete(&names::cordon_key(&name)).await;
    deleted.map_err(|error| error.to_string())?;
    stage.order(&presence.executor, &Order::LookAtCordon).await?;
    stage.end(&item.key).await.map_err(|why| format!("not cordoned any more, {why}"))?;
    gone(stage).await
}

pub(super) async fn drain(stage: &Stage, started: Option<&mut Started>) -> Verdict {
    let presence = stage.presence().await?;
    let item = stage.brief(8.0);
    stage.offer(&item).await?;
    stage.start(&item.key).await?;
    say_cordon(stage, &presence, 2, true).await?;
    let what = "its presence says `draining`, or it is gone";
    stage
        .until(what, async || {
            let mut all = stage.presences().await?.into_iter();
            let now = all.find(|it| it.executor == presence.executor);
            Ok(now.is_none_or(|it| it.draining).then_some(()))
        })
        .await?;
    // A pull that was under way may still bring one.
    tokio::time::sleep(QUIET).await;
    let later = stage.item("succeed");
    stage.offer(&later).await?;
    let end = stage.end(&item.key).await?;
    must(matches!(end.body, ReportBody::Succeeded { .. }), || {
        format!("what ran was to end by itself within a minute; it ended otherwise: {:?}", end.body)
    })?;
    let id = presence.executor.clone();
    stage
        .heard("a command ExecutorLeft with its id", |heard| {
            let left = |body: &CommandBody| matches!(body, CommandBody::ExecutorLeft { executor } if *executor == id);
            heard.others().any(left).then_some(())
        })
        .await?;
    let what = "its presence is deleted when it leaves";
    stage
        .until(what, async || {
            let there = stage.presences().await?.iter().any(|it| it.executor == id);
            Ok((!there).then_some(()))
        })
        .await?;
    let took = stage.now(|heard| heard.of(&later.key).next().is_some());
    must(!took && stage.witnessed(&later.key).is_empty(), || {
        "it was draining, and took an item all the same".to_owned()
    })?;
    let what = "the item that ran is acknowledged, and the one that came later is for others";
    stage.until(what, async || Ok((stage.depth().await? == 1).then_some(()))).await?;
    match started {
        Some(started) => started.must_end(stage.patience).await,
        None => Ok(()),
    }
}
