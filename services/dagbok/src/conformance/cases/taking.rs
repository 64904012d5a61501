//! Cases of what may be begun: asked for where it may be over, and nothing that this executor has not got what is needed for.
use dagbok_protocol::{Report, ReportBody, WorkItem};

use super::{Verdict, gone, leaving::QUIET, must, through};
use crate::conformance::stage::{Stage, is_end};

pub(super) async fn asks(stage: &Stage) -> Verdict {
    let mut refused = stage.item("succeed");
    refused.ask = true;
    stage.refuse(&refused.key);
    stage.offer(&refused).await?;
    stage.start(&refused.key).await?;
    gone(stage).await?;
    tokio::time::sleep(QUIET).await;
    let ends = stage.now(|heard| {
        let over = |it: &&Report| is_end(&it.body) && !matches!(it.body, ReportBody::Lost { .. });
        heard.of(&refused.key).filter(over).count()
    });
    must(ends == 0, || "the start was refused, and yet an end was reported".to_owned())?;
    must(stage.witnessed(&refused.key).is_empty(), || {
        "the start was refused, and yet the task's code ran".to_owned()
    })?;
    let mut allowed = stage.item("succeed");
    allowed.ask = true;
    let end = through(stage, &allowed).await?;
    must(matches!(end.body, ReportBody::Succeeded { .. }), || {
        format!("allowed to begin, it ended otherwise: {:?}", end.body)
    })
}

pub(super) async fn again(stage: &Stage) -> Verdict {
    let item = stage
        .offer_again(|| {
            let item = stage.item("succeed");
            stage.refuse(&item.key);
            item
        })
        .await?;
    let start = stage.start(&item.key).await?;
    must(matches!(start.body, ReportBody::Started { again: true, .. }), || {
        "the item was delivered before, and its Started does not say `again`".to_owned()
    })?;
    gone(stage).await?;
    tokio::time::sleep(QUIET).await;
    must(stage.witnessed(&item.key).is_empty(), || {
        "the item was delivered before: its start was to be asked for and was refused, and yet the task's code ran".to_owned()
    })
}

pub(super) async fn room(stage: &Stage) -> Verdict {
    let mut elsewhere = stage.item("succeed");
    elsewhere.resources.labels.insert("conformance".to_owned(), "nobody-has-this".to_owned());
    let mut licensed = stage.item("succeed");
    licensed.resources.custom.insert("conformance-licence".to_owned(), 1);
    let both = [(&elsewhere, "a label"), (&licensed, "a resource")];
    for (item, _) in both {
        stage.offer(item).await?;
    }
    // It goes on with what it can run.
    let end = {
        let item = stage.item("succeed");
        stage.offer(&item).await?;
        stage.end(&item.key).await?
    };
    must(matches!(end.body, ReportBody::Succeeded { .. }), || {
        format!("beside what it can't run, `succeed` ended otherwise: {:?}", end.body)
    })?;
    tokio::time::sleep(QUIET).await;
    for (item, what) in both {
        let ran = stage.now(|heard| {
            let is_back = |it: &Report| matches!(it.body, ReportBody::Returned);
            heard.of(&item.key).any(|it| !is_back(it))
        });
        must(!ran && stage.witnessed(&item.key).is_empty(), || {
            format!("the item asks for {what} that it has not, and it took it all the same")
        })?;
    }
    // One that comes round may be in its hands for a moment.
    let free =
        "what it can't run it passes on, for somebody else to have (its presence holds it still)";
    stage
        .until(free, async || {
            let held = stage.presence().await?.holds;
            let keeps = |item: &WorkItem| held.iter().any(|it| it.key == item.key);
            Ok((!keeps(&elsewhere) && !keeps(&licensed)).then_some(()))
        })
        .await?;
    // They come round for ever, for somebody who has it.
    stage.leave(stage.depth().await?);
    Ok(())
}
