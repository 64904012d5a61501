//! What an executor is asked to do, one thing after the other, and what is wrong with what it does.
mod leaving;
mod taking;

use std::{path::Path, time::Duration};

use dagbok_events::{Fault, Payload, TryKey, TryNumber, encode_any};
use dagbok_protocol::{
    CommandBody, HeldTry, Order, Presence, Report, ReportBody, TryLogQuery, TryLogSlice, names,
};

use leaving::{cordon, drain, garbage, out_of_memory};
use taking::{again, asks, room};

use super::{
    process::Started,
    stage::{Stage, is_end},
};

/// What was sent is there by then.
const AT_ONCE: Duration = Duration::from_millis(500);

/// What one case comes to: nothing, or what is wrong.
pub(super) type Verdict = Result<(), String>;

/// One thing that an executor must do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    /// It says that it is there.
    Hello,
    /// It takes an item, reports, and lets the item go.
    Claim,
    /// It hands on what a task returns.
    XCom,
    /// It reads what another task handed on.
    XComRead,
    /// It tells a failure, and whose it is.
    Failure,
    /// Every report names the try as the item did.
    Fence,
    /// It asks before it begins what may be over.
    Asks,
    /// It asks before it begins what was somebody else's before.
    Again,
    /// It hands back what it has not got what is needed for.
    Room,
    /// What it holds is in its presence, and the lease is renewed.
    Lease,
    /// It shows lines while the task runs, and keeps them.
    Logs,
    /// It ends what it is ordered to end.
    Cancel,
    /// It ends what uses more memory than it may.
    OutOfMemory,
    /// It goes on after what it can't read.
    Garbage,
    /// It takes nothing new while it is cordoned.
    Cordon,
    /// It ends what it runs and leaves when it is drained.
    Drain,
}

impl Case {
    /// All of them, in the order in which they are tried: the last one ends the executor.
    pub(super) const ALL: [Self; 16] = [
        Self::Hello,
        Self::Claim,
        Self::XCom,
        Self::XComRead,
        Self::Failure,
        Self::Fence,
        Self::Asks,
        Self::Again,
        Self::Lease,
        Self::Logs,
        Self::Cancel,
        Self::OutOfMemory,
        Self::Room,
        Self::Garbage,
        Self::Cordon,
        Self::Drain,
    ];

    /// Its name.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Claim => "claim",
            Self::XCom => "xcom",
            Self::XComRead => "xcom-read",
            Self::Failure => "failure",
            Self::Fence => "fence",
            Self::Asks => "asks",
            Self::Again => "again",
            Self::Room => "room",
            Self::Lease => "lease",
            Self::Logs => "logs",
            Self::Cancel => "cancel",
            Self::OutOfMemory => "out-of-memory",
            Self::Garbage => "garbage",
            Self::Cordon => "cordon",
            Self::Drain => "drain",
        }
    }

    /// What it asks for, in a line.
    pub(super) const fn about(self) -> &'static str {
        match self {
            Self::Hello => "joins by the inbox, and keeps its presence with a rising beat",
            Self::Claim => "takes an item, reports start and end, and only then acknowledges it",
            Self::XCom => "hands on what a task returns, as return_value",
            Self::XComRead => "reads what another task handed on from the keyed state",
            Self::Failure => "reports a failure as the user's",
            Self::Fence => "names the item's try, and itself, in every report",
            Self::Asks => "asks before it begins an item that says so, and obeys a refusal",
            Self::Again => "asks before it begins an item that was delivered before, and says so",
            Self::Room => "hands back an item that asks for what it has not",
            Self::Lease => "renews the lease of what it runs, and names it in its presence",
            Self::Logs => "answers for the log of a running try, and keeps it",
            Self::Cancel => "ends a try by order, with its process",
            Self::OutOfMemory => "ends a try above its memory, as out_of_memory",
            Self::Garbage => "goes on after an item that can't be read",
            Self::Cordon => "takes nothing new while it is cordoned, and work again afterwards",
            Self::Drain => "ends what it runs when drained, takes nothing more, and leaves",
        }
    }

    /// Tries it.
    pub(super) async fn run(self, stage: &Stage, started: Option<&mut Started>) -> Verdict {
        match self {
            Self::Hello => hello(stage).await,
            Self::Claim => claim(stage).await,
            Self::XCom => xcom(stage).await,
            Self::XComRead => xcom_read(stage).await,
            Self::Failure => failure(stage).await,
            Self::Fence => fence(stage).await,
            Self::Asks => asks(stage).await,
            Self::Again => again(stage).await,
            Self::Room => room(stage).await,
            Self::Lease => lease(stage).await,
            Self::Logs => logs(stage).await,
            Self::Cancel => cancel(stage).await,
            Self::OutOfMemory => out_of_memory(stage).await,
            Self::Garbage => garbage(stage).await,
            Self::Cordon => cordon(stage).await,
            Self::Drain => drain(stage, started).await,
        }
    }
}

fn must(is: bool, what: impl FnOnce() -> String) -> Verdict {
    if is { Ok(()) } else { Err(what()) }
}

async fn hello(stage: &Stage) -> Verdict {
    let presence = stage.presence().await?;
    must(presence.slots > 0, || "its presence says that it has no slot".to_owned())?;
    must(presence.queues.contains(&stage.queue), || {
        format!("its presence does not name the queue `{}`", stage.queue)
    })?;
    dagbok_protocol::understands(presence.protocol, Some(dagbok_protocol::PROTOCOL))?;
    let id = presence.executor.clone();
    stage
        .heard("a command ExecutorJoined with its id", |heard| {
            let joined = |body: &CommandBody| matches!(body, CommandBody::ExecutorJoined { executor, presence } if *executor == id && presence.executor == id);
            heard.others().any(joined).then_some(())
        })
        .await?;
    let lease = presence.lease_ms.unwrap_or(30_000);
    let what =
        format!("its presence is put anew, with a higher beat, within its lease of {lease} ms");
    let newer = stage.until(&what, async || {
        let now = stage.presence().await?;
        must(now.executor == id, || "another executor came: test one at a time".to_owned())?;
        Ok((now.beat > presence.beat).then_some(()))
    });
    let limit = Duration::from_millis(lease);
    tokio::time::timeout(limit, newer).await.map_err(|_| format!("{what}: it is not"))?
}

/// Offers an item, and waits for its end and until it is acknowledged.
async fn through(stage: &Stage, item: &dagbok_protocol::WorkItem) -> Result<Report, String> {
    stage.offer(item).await?;
    let end = stage.end(&item.key).await?;
    gone(stage).await?;
    Ok(end)
}

async fn gone(stage: &Stage) -> Verdict {
    let what = "the item is acknowledged after the last report";
    stage.until(what, async || Ok((stage.depth().await? == 0).then_some(()))).await
}

async fn claim(stage: &Stage) -> Verdict {
    let item = stage.item("succeed");
    let end = through(stage, &item).await?;
    must(matches!(end.body, ReportBody::Succeeded { .. }), || {
        format!("`succeed` ended otherwise: {:?}", end.body)
    })?;
    let said: Vec<&'static str> = stage.now(|heard| heard.of(&item.key).map(word).collect());
    let starts = said.iter().filter(|it| **it == "Started").count();
    let ends = stage.now(|heard| heard.of(&item.key).filter(|it| is_end(&it.body)).count());
    must(starts == 1 && said.first() == Some(&"Started"), || {
        format!("a try has one report Started, before all others; it was {said:?}")
    })?;
    must(ends == 1, || format!("a try has one report of its end; it was {said:?}"))?;
    let item = stage.brief(3.0);
    stage.offer(&item).await?;
    begun(stage, &item.key).await?;
    unacknowledged(stage).await?;
    stage.end(&item.key).await?;
    gone(stage).await
}

/// Waits until the task's own code has begun.
async fn begun(stage: &Stage, key: &TryKey) -> Verdict {
    let what = "the task begins";
    stage.until(what, async || Ok((!stage.witnessed(key).is_empty()).then_some(()))).await
}

/// The one item that is offered is held while its task runs: with an executor that dies meanwhile it comes to another.
async fn unacknowledged(stage: &Stage) -> Verdict {
    // An acknowledgement that is on its way is there by then.
    tokio::time::sleep(AT_ONCE).await;
    must(stage.depth().await? > 0, || {
        "the item is acknowledged while its task runs: were the executor killed now, the try would be lost".to_owned()
    })
}

const fn word(report: &Report) -> &'static str {
    match report.body {
        ReportBody::Started { .. } => "Started",
        ReportBody::XCom(_) => "XCom",
        ReportBody::Succeeded { .. } => "Succeeded",
        ReportBody::Failed { .. } => "Failed",
        ReportBody::Skipped { .. } => "Skipped",
        ReportBody::Lost { .. } => "Lost",
        ReportBody::Returned => "Returned",
        ReportBody::Left { .. } => "Left",
        _ => "another",
    }
}

/// What a try handed on under a name, in its end or before.
fn handed(stage: &Stage, key: &TryKey, name: &str) -> Option<Payload> {
    stage.now(|heard| {
        let values = heard.of(key).flat_map(|report| match &report.body {
            ReportBody::XCom(value) => vec![value.clone()],
            ReportBody::Succeeded { xcoms, .. } => xcoms.clone(),
            _ => Vec::new(),
        });
        values.filter(|it| it.key == name).last().and_then(|it| it.value)
    })
}

async fn is_answer(stage: &Stage, key: &TryKey) -> Verdict {
    let value = handed(stage, key, "return_value");
    let text = match &value {
        Some(Payload::Inline(text)) => text.clone(),
        Some(Payload::Blob { digest, .. }) => {
            let bytes = stage.ports.blobs.get(digest.as_str()).await;
            let bytes = bytes.map_err(|error| error.to_string())?;
            String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
        }
        None => return Err("nothing is handed on as `return_value`".to_owned()),
    };
    let value: serde_json::Value = serde_json::from_str(&text)
        .map_err(|error| format!("`return_value` is no JSON text: {text:?}: {error}"))?;
    must(value == serde_json::json!({ "answer": 42 }), || {
        format!("`return_value` is {text}, not {{\"answer\": 42}}")
    })
}

async fn xcom(stage: &Stage) -> Verdict {
    let item = stage.item("succeed");
    through(stage, &item).await?;
    is_answer(stage, &item.key).await
}

async fn xcom_read(stage: &Stage) -> Verdict {
    let item = stage.item("read");
    let succeed = "succeed".parse().expect("an id");
    let key = &item.key;
    let place = names::xcom_key(&key.dag_id, &key.run_id, &succeed, key.map_index, "return_value");
    let value = Payload::Inline("{\"answer\": 42}".to_owned());
    let text = serde_json::to_vec(&value).expect("text");
    stage.ports.state.put(&place, text.into(), None).await.map_err(|error| error.to_string())?;
    through(stage, &item).await?;
    is_answer(stage, key).await
}

async fn failure(stage: &Stage) -> Verdict {
    let item = stage.item("fail");
    match through(stage, &item).await?.body {
        ReportBody::Failed { failure, .. } if failure.fault == Fault::User => Ok(()),
        ReportBody::Failed { failure, .. } => {
            Err(format!("the failure is the user's; it is told as the {:?}'s", failure.fault))
        }
        other => Err(format!("`fail` did not fail: {other:?}")),
    }
}

async fn fence(stage: &Stage) -> Verdict {
    let me = stage.presence().await?.executor;
    let mut item = stage.item("succeed");
    item.key.try_number = TryNumber::new(7).expect("not 0");
    stage.offer(&item).await?;
    let key = item.key.clone();
    let first = stage
        .heard("anything is reported of try 7", |heard| {
            let of_run = |it: &&Report| it.key.run_id == key.run_id;
            heard.reports().find(of_run).cloned()
        })
        .await?;
    must(first.key == key, || format!("the item is of {key}; the report is of {}", first.key))?;
    stage.end(&key).await?;
    gone(stage).await?;
    let stray = stage.now(|heard| {
        let of_run = heard.reports().filter(|it| it.key.run_id == key.run_id);
        of_run
            .filter(|it| it.key != key || it.executor != me)
            .map(|it| format!("{} by {}", it.key, it.executor))
            .next()
    });
    must(stray.is_none(), || {
        format!("every report is of {key} by {me}; one is of {}", stray.unwrap_or_default())
    })?;
    let began: Vec<u64> = stage.witnessed(&key).into_iter().map(|(_, number)| number).collect();
    must(began.iter().all(|number| *number == 7), || {
        format!("the task is told that it is try 7; it wrote {began:?}")
    })
}

fn holds(presence: &Presence, key: &TryKey) -> Option<HeldTry> {
    presence.holds.iter().find(|held| held.key == *key).cloned()
}

/// Waits until the executor's presence names a try.
async fn held(stage: &Stage, key: &TryKey) -> Result<HeldTry, String> {
    let what = format!("its presence names `{}` among what it holds", key.task_id);
    stage.until(&what, async || Ok(holds(&stage.presence().await?, key))).await
}

async fn lease(stage: &Stage) -> Verdict {
    let lease = stage.presence().await?.lease_ms.unwrap_or(30_000);
    let over = Duration::from_millis(lease + lease / 2);
    // It has begun before its presence says so, which is told anew some times a lease.
    let whole = over + Duration::from_millis(lease + 1_000);
    let item = stage.brief(whole.as_secs_f64());
    stage.offer(&item).await?;
    stage.start(&item.key).await?;
    held(stage, &item.key).await?;
    begun(stage, &item.key).await?;
    unacknowledged(stage).await?;
    must(!stage.is_given_to_others(over).await?, || {
        format!(
            "the item's lease of {lease} ms ran out while its task ran: it was given to another"
        )
    })?;
    must(holds(&stage.presence().await?, &item.key).is_some(), || {
        "its presence does not name the try any more while it runs".to_owned()
    })?;
    stage.end(&item.key).await?;
    gone(stage).await?;
    let starts = stage.witnessed(&item.key).iter().filter(|(word, _)| word == "begin").count();
    must(starts <= 1, || format!("the task's code ran {starts} times"))
}

async fn logs(stage: &Stage) -> Verdict {
    let me = stage.presence().await?.executor;
    let item = stage.brief(4.0);
    stage.offer(&item).await?;
    stage.start(&item.key).await?;
    let query = TryLogQuery { key: item.key.clone(), offset: 0, max: 1 << 16, wait_ms: 500 };
    let what = "a query on its subject of logs is answered with the line that the task said";
    stage
        .until(what, async || {
            let (subject, asked) = (names::log_subject(&me), encode_any(&query));
            let within = Duration::from_secs(5);
            let answer = stage.ports.signals.request(&subject, asked.into(), within).await;
            let answer = answer.map_err(|error| format!("{what}: {error}"))?;
            let slice: TryLogSlice = dagbok_events::decode_any(&answer)
                .map_err(|error| format!("the answer is no TryLogSlice: {error}"))?;
            check_lines(&slice.lines)?;
            Ok(slice.lines.contains("said by brief").then_some(()))
        })
        .await?;
    let end = stage.end(&item.key).await?;
    gone(stage).await?;
    let ReportBody::Succeeded { log: Some(log), .. } = end.body else {
        return Err(format!("the end names no log, or is none: {:?}", end.body));
    };
    let kept =
        stage.ports.blobs.get(log.digest.as_str()).await.map_err(|error| error.to_string())?;
    let kept = kept.ok_or_else(|| format!("the log {} is not among the blobs", log.digest))?;
    let kept = String::from_utf8_lossy(&kept).into_owned();
    check_lines(&kept)?;
    must(kept.contains("said by brief"), || "the kept log lacks what the task said".to_owned())
}

/// Each line is a JSON object with the fields of a log's line.
fn check_lines(lines: &str) -> Verdict {
    for line in lines.lines() {
        serde_json::from_str::<dagbok_executor::LogLine>(line)
            .map_err(|error| format!("a line of the log is no LogLine ({error}): {line:?}"))?;
    }
    Ok(())
}

async fn cancel(stage: &Stage) -> Verdict {
    let presence = stage.presence().await?;
    let item = stage.item("slow");
    stage.offer(&item).await?;
    stage.start(&item.key).await?;
    let pid = held(stage, &item.key).await?.pid;
    begun(stage, &item.key).await?;
    let order = Order::Kill { key: item.key.clone(), why: "the case `cancel`".to_owned() };
    stage.order(&presence.executor, &order).await?;
    let what = "a try that is ordered to end is out of its presence";
    stage
        .until(what, async || {
            Ok(holds(&stage.presence().await?, &item.key).is_none().then_some(()))
        })
        .await?;
    gone(stage).await?;
    // By its own word, too: an executor need not name its processes, and may name another.
    let own = stage.witnesses(&item.key).into_iter().filter_map(|(_, _, pid)| pid);
    let pids = pid.into_iter().chain(own).filter(|_| presence.hostname == hostname());
    for pid in pids {
        let what = format!("the process {pid} of a try that is ordered to end is gone");
        let is_gone = || !Path::new(&format!("/proc/{pid}")).exists();
        stage.until(&what, async || Ok(is_gone().then_some(()))).await?;
    }
    let ended = stage.witnessed(&item.key).iter().any(|(word, _)| word == "end");
    must(!ended, || "the task's code went on to its end".to_owned())?;
    let succeeded = stage
        .now(|heard| heard.of(&item.key).any(|it| matches!(it.body, ReportBody::Succeeded { .. })));
    must(!succeeded, || "it was ordered to end, and reported as succeeded".to_owned())
}

fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
