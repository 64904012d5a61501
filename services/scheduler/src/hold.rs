//! What the configuration asks for and holds when a term begins: limits and pools. Each difference from what the log
//! has is a record of the scheduler's own; where there is none, nothing is written.
use dagbok_domain::namespace::Namespace;
use dagbok_events::{Actor, CommandId, Record, Timestamp};
use dagbok_protocol::{Command, CommandBody};
use dagbok_runtime::fresh_id;

use crate::Holds;

/// Why, in the records' words.
const REASON: &str = "the configuration has it so";

/// The records that make the namespace so.
pub(crate) fn records(namespace: &Namespace, holds: &Holds, now: Timestamp) -> Vec<Record> {
    let limits = CommandBody::SetLimits {
        parallelism: holds.parallelism,
        max_losses: holds.max_losses,
        max_consecutive_failed_dag_runs: Some(holds.max_consecutive_failed_dag_runs),
        task_queued_timeout: Some(holds.task_queued_timeout),
    };
    let pools = holds.pools.iter().cloned().map(CommandBody::SetPool);
    let asked = std::iter::once(limits).chain(pools);
    asked.flat_map(|body| decided(namespace, body, now)).collect()
}

fn decided(namespace: &Namespace, body: CommandBody, now: Timestamp) -> Vec<Record> {
    let command = Command {
        id: CommandId::new(fresh_id()).expect("a UUID is within the rules"),
        by: Actor::Scheduler,
        sent_at: now,
        reply_to: None,
        reason: Some(REASON.to_owned()),
        trace: None,
        body,
    };
    let records = namespace.decide(now, &command).records;
    // Nobody sent it: no answer is to be found under its id.
    records.into_iter().map(|record| Record { cause: None, ..record }).collect()
}
