//! What is on the log and is no record: somebody else put it there. It stops whoever folds the log, until a
//! record says that it is to be passed over; such a record is written on demand.
use dagbok_events::{
    Actor, DecodeError, Digest, Fact, ForeignEntrySkipped, Record, Scope, Timestamp, decode,
    encode, subject_of,
};
use dagbok_projection::Skipped;
use dagbok_runlog::{AppendError, Draft, Entry, PortError, ReadLimit, RunLog, Seq, digest_of};
use dagbok_runtime::Clock;

use super::Finding;

/// How many of the newest entries are looked at where nothing is to be mended.
const NEWEST: u64 = 10_000;
/// How often an append is tried while somebody else writes.
const TRIES: usize = 20;
/// The name of this check.
const CHECK: &str = "log";

/// What a look at the log found.
#[derive(Default)]
struct Found {
    /// No records, and not passed over.
    foreign: Vec<ForeignEntrySkipped>,
    /// Written by a newer version.
    newer: Option<Seq>,
    /// When the last record was decided.
    latest: Option<Timestamp>,
    last: Seq,
}

/// Looks at the newest entries; with `repair` at all of them, and has those that are no records passed over.
pub(super) async fn check(log: &dyn RunLog, repair: bool) -> Vec<Finding> {
    match examine(log, repair).await {
        Ok(findings) => findings,
        Err(error) => vec![Finding::error(
            CHECK,
            error.to_string(),
            "check the user's rights and the stream (`nats stream info`)",
        )],
    }
}

async fn examine(log: &dyn RunLog, repair: bool) -> Result<Vec<Finding>, PortError> {
    let last = log.last().await?;
    let after = if repair { Seq::ZERO } else { Seq(last.0.saturating_sub(NEWEST)) };
    let found = read(log, after).await?;
    let mut findings = Vec::new();
    if let Some(seq) = found.newer {
        findings.push(Finding::error(
            CHECK,
            format!("entry {seq} of the log was written by a newer version"),
            "run that version or a later one",
        ));
    }
    for entry in &found.foreign {
        findings.push(if repair {
            skip(log, entry, found.latest).await?
        } else {
            Finding::error(
                CHECK,
                format!("{} is no record: somebody else put it there", shown(entry)),
                "`dagbok doctor --repair`, as the scheduler's user, has it passed over",
            )
        });
    }
    if findings.is_empty() {
        let looked = found.last.0.saturating_sub(after.0);
        findings.push(Finding::ok(CHECK, format!("the newest {looked} entries can be read")));
    }
    Ok(findings)
}

async fn read(log: &dyn RunLog, after: Seq) -> Result<Found, PortError> {
    let (mut found, mut skipped) = (Found { last: after, ..Found::default() }, Skipped::default());
    loop {
        let entries = log.read(found.last, ReadLimit::default()).await?;
        let Some(last) = entries.last() else { return Ok(found) };
        found.last = last.seq;
        for entry in entries {
            match decode(&entry.payload) {
                Ok(record) => found.latest = found.latest.max(Some(record.at)),
                Err(DecodeError::Newer(_)) => found.newer = found.newer.or(Some(entry.seq)),
                Err(DecodeError::Malformed(_) | DecodeError::Trailing(_)) => {
                    skipped.search(log, entry.seq).await?;
                    if skipped.decode(entry.seq, &entry.payload).is_err() {
                        found.foreign.push(fact_of(&entry));
                    }
                }
            }
        }
    }
}

fn fact_of(entry: &Entry) -> ForeignEntrySkipped {
    let digest = Digest::new(digest_of(&entry.payload)).expect("a digest is within its rules");
    let (seq, bytes) = (entry.seq.0, entry.payload.len() as u64);
    ForeignEntrySkipped { seq, subject: entry.subject.clone(), digest, bytes }
}

fn shown(entry: &ForeignEntrySkipped) -> String {
    let ForeignEntrySkipped { seq, subject, bytes, .. } = entry;
    format!("entry {seq} of the log ({bytes} bytes on `{subject}`)")
}

/// Appends the record that has an entry passed over.
async fn skip(
    log: &dyn RunLog,
    entry: &ForeignEntrySkipped,
    latest: Option<Timestamp>,
) -> Result<Finding, PortError> {
    let record = Record {
        at: Clock::system().now().max(latest.unwrap_or(Timestamp(0))),
        clock: None,
        scope: Scope::Namespace,
        by: Actor::User("doctor".to_owned()),
        reason: Some("somebody else put it on the log".to_owned()),
        cause: None,
        trace: None,
        facts: vec![Fact::ForeignEntrySkipped(Box::new(entry.clone()))],
    };
    for _ in 0..TRIES {
        let draft = Draft { subject: subject_of(&record.scope), payload: encode(&record).into() };
        match log.append(log.last().await?, vec![draft]).await {
            Ok(_) => {
                let said = format!("{} is passed over from now on", shown(entry));
                return Ok(Finding::ok(CHECK, said));
            }
            Err(AppendError::Conflict { .. }) => {}
            Err(AppendError::Port(error)) => return Err(error),
        }
    }
    Err(PortError::unavailable("log", "somebody else writes all the time"))
}
