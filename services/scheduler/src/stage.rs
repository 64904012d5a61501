//! One batch in the making: records decided and folded in ahead of the append, and what is to be sent
//! out once they are durable.
use std::collections::BTreeSet;

use bytes::Bytes;
use dagbok_domain::namespace::{Decision, Namespace, Outcome};
use dagbok_events::{
    Fact, Leg, MapIndex, Payload, Record, RunKey, RunMark, RunMarked, Scope, TaskId, TooLong,
    TryKey, TryNumber, encode_any, encode_within, subject_of,
};
use dagbok_protocol::{
    Answer, Order, Refusal, RefusalCode, ReturnedBy, StoredXCom, limits::RECORD_BYTES, names,
};
use dagbok_runlog::Draft;
use dagbok_telemetry::metrics;

use crate::{
    bad::{self, Bad},
    effects::{Effects, ValueChange},
    inbox::Received,
};

/// Records that one batch may hold.
const RECORDS_AT_ONCE: usize = 512;
/// Bytes that one batch may hold.
const BYTES_AT_ONCE: usize = 4 << 20;

/// A batch in the making.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    pub(crate) drafts: Vec<Draft>,
    pub(crate) effects: Effects,
    /// Runs that go on: what their tasks handed on is to be had again.
    pub(crate) taken_up: Vec<RunKey>,
    /// What ended badly, to be said once it is durable.
    pub(crate) bad: Vec<Bad>,
    bytes: usize,
}

impl Stage {
    pub(crate) fn is_full(&self) -> bool {
        self.drafts.len() >= RECORDS_AT_ONCE || self.bytes >= BYTES_AT_ONCE
    }

    /// Whether it has a record about this run, which the log does not have yet.
    pub(crate) fn is_about(&self, key: &RunKey) -> bool {
        let subject = subject_of(&Scope::Run(key.clone()));
        self.drafts.iter().any(|draft| draft.subject == subject)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.drafts.is_empty() && self.effects.is_empty()
    }

    /// Takes a decision in: its records, its answer, and the delivery to acknowledge.
    pub(crate) fn decided(
        &mut self,
        namespace: &mut Namespace,
        received: Received,
        decision: Decision,
    ) {
        metrics().decided();
        let packed = decision.records.iter().map(pack).collect::<Result<Vec<_>, _>>();
        let (Decision { records, outcome }, packed) = match packed {
            Ok(packed) => (decision, packed),
            // None of it is folded in: it is as if it had not been asked.
            Err(too_long) => {
                // Who reports does not ask again.
                let by = &received.command.by;
                tracing::error!(?by, %too_long, "a command is refused, as what it changes fits into no record");
                (refused_as(too_long), Vec::new())
            }
        };
        let recorded = !records.is_empty() || matches!(outcome, Outcome::Seen { .. });
        for (record, payload) in records.iter().zip(packed) {
            self.put(namespace, record, payload);
        }
        if let Outcome::Refused(refusal) = &outcome {
            metrics().refused(refusal_word(refusal.code));
            if refusal.code == RefusalCode::ProtocolTooFar {
                tracing::error!(by = ?received.command.by, why = refusal.message, "an executor is refused");
            }
        }
        let seq = namespace.last_seq();
        let answer = match outcome {
            Outcome::Accepted { run_id } => Answer::Accepted { seq, run_id },
            Outcome::Seen { seq, run_id } => Answer::Accepted { seq, run_id },
            Outcome::Unchanged => Answer::Unchanged,
            Outcome::Waits(why) => Answer::Waits(why),
            Outcome::WouldClear { run_goes_on, tasks, version } => {
                Answer::WouldClear { run_goes_on, tasks, version }
            }
            Outcome::WouldMark { run_goes_on, tasks, cleared } => {
                Answer::WouldMark { run_goes_on, tasks, cleared }
            }
            Outcome::WouldMake(runs) => Answer::WouldMake(runs),
            Outcome::WouldBackfill(plan) => Answer::WouldBackfill(plan),
            Outcome::LastScheduled(runs) => Answer::LastScheduled(runs),
            Outcome::Needs(key) => Answer::Refused(no_history(&key)),
            Outcome::Refused(refusal) => Answer::Refused(refusal),
        };
        let reply = received.command.reply_to.map(|reply_to| (reply_to, answer));
        if recorded {
            self.effects.answers.extend(reply);
            self.effects.acks.push(received.handle);
        } else {
            self.effects.unrecorded.push((received.handle, reply));
        }
    }

    /// Takes a record in: folds it ahead, and notes what follows outside of the log. One that is too long for the log
    /// changes nothing.
    pub(crate) fn record(
        &mut self,
        namespace: &mut Namespace,
        record: &Record,
    ) -> Result<(), TooLong> {
        self.put(namespace, record, pack(record)?);
        Ok(())
    }

    fn put(&mut self, namespace: &mut Namespace, record: &Record, payload: Bytes) {
        self.bytes += payload.len();
        self.drafts.push(Draft { subject: subject_of(&record.scope), payload });
        if let Scope::Run(key) = &record.scope {
            self.forget_values(namespace, key, record);
        }
        // Only where it may end a wait that it does not name: a run may have thousands.
        let waiting = match &record.scope {
            Scope::Run(key) if !record.facts.iter().all(names_its_wait) => {
                namespace.triggers_of(key)
            }
            _ => Vec::new(),
        };
        self.bad.extend(bad::of_record(namespace, record));
        let watched = may_change_watchers(namespace, record).then(|| namespace.watcher_keys());
        namespace.evolve(namespace.last_seq() + 1, record);
        if let Some(before) = watched {
            self.change_watchers(&before, namespace);
        }
        self.cordon_effects(namespace, record);
        if let Scope::Run(key) = &record.scope {
            if waiting.is_empty() {
                self.effects.triggers_over.extend(waits_named(key, record));
            } else {
                self.end_triggers(namespace, key, waiting);
            }
            self.run_effects(namespace, key, record);
        }
        count(record);
    }

    /// Where executors read whether they may take work, and that they look there now.
    fn cordon_effects(&mut self, namespace: &Namespace, record: &Record) {
        for fact in &record.facts {
            let name = match fact {
                Fact::ExecutorCordoned(f) => &f.name,
                Fact::ExecutorUncordoned(f) => &f.name,
                _ => continue,
            };
            let change = namespace
                .cordon_of(name)
                .map_or(ValueChange::Remove, |cordon| ValueChange::Put(encode_any(cordon).into()));
            self.effects.values.push((names::cordon_key(name), change));
            let lives = namespace.lives_of(name).into_iter();
            self.effects.orders.extend(lives.map(|id| (id, Order::LookAtCordon)));
        }
    }

    /// Before the fold forgets them: values of a task tried again or cleared, and of a run that is over.
    fn forget_values(&mut self, namespace: &Namespace, key: &RunKey, record: &Record) {
        if record.facts.iter().any(Fact::ends_run) {
            let gone = namespace.xcoms(key).map(|(task_id, map, name, _)| {
                names::xcom_key(&key.dag_id, &key.run_id, task_id, map, name)
            });
            let gone = gone.chain(expanded_tasks(namespace, key));
            self.effects.values.extend(gone.map(|place| (place, ValueChange::RemoveInTime)));
            return;
        }
        for fact in &record.facts {
            let (task_id, first, further) = match fact {
                Fact::TaskQueued(f) if f.leg.is_first() && f.try_number.get() > 1 => {
                    (&f.task_id, f.map_index, 0)
                }
                Fact::TaskCleared(f) => {
                    if !f.map_index.is_unmapped() {
                        let place = names::returned_by_key(&key.dag_id, &key.run_id, &f.task_id);
                        self.effects.values.push((place, ValueChange::Remove));
                    }
                    (&f.task_id, f.map_index, f.further)
                }
                _ => continue,
            };
            for n in 0..=further {
                let map = MapIndex(first.0.saturating_add_unsigned(n));
                let gone = namespace
                    .xcoms_of(key, task_id, map)
                    .map(|name| names::xcom_key(&key.dag_id, &key.run_id, task_id, map, name));
                self.effects.values.extend(gone.map(|place| (place, ValueChange::Remove)));
            }
        }
    }

    /// Offers watchers of assets that are to run from now on, and has those end that are not.
    fn change_watchers(&mut self, before: &BTreeSet<TryKey>, namespace: &Namespace) {
        let after = namespace.watcher_keys();
        if *before == after {
            return;
        }
        self.effects.triggers_over.extend(before.difference(&after).cloned());
        let items = namespace.watch_items().into_iter();
        self.effects.work.extend(items.filter(|item| !before.contains(&item.key)));
    }

    /// Triggers of a run that were waited for before the record, and are not after it.
    fn end_triggers(&mut self, namespace: &Namespace, key: &RunKey, before: Vec<TryKey>) {
        let still: BTreeSet<TryKey> = namespace.triggers_of(key).into_iter().collect();
        let over = before.into_iter().filter(|key| !still.contains(key));
        self.effects.triggers_over.extend(over);
    }

    fn run_effects(&mut self, namespace: &Namespace, key: &RunKey, record: &Record) {
        let is_over = record.facts.iter().any(Fact::ends_run);
        for fact in &record.facts {
            match fact {
                Fact::TaskQueued(f) => {
                    let item = namespace.work_item_of(key, &f.task_id, f.map_index);
                    self.effects.work.extend(item);
                }
                Fact::TryDeferred(f) => {
                    let item = namespace.work_item_of(key, &f.task_id, f.map_index);
                    self.effects.work.extend(item.filter(|item| item.trigger.is_some()));
                }
                Fact::DagCallbackOrdered(f) => {
                    self.effects.work.extend(namespace.callback_item(key, f.number));
                }
                Fact::RunCleared(_) if !is_over => self.taken_up.push(key.clone()),
                Fact::XComPushed(f) if !is_over => {
                    let place =
                        names::xcom_key(&key.dag_id, &key.run_id, &f.task_id, f.map_index, &f.key);
                    let text = f.value.as_ref().map(value_text);
                    let change = text.map_or(ValueChange::Remove, ValueChange::Put);
                    self.effects.values.push((place, change));
                }
                Fact::TryCancelled(f) => {
                    if let Some(executor) = &f.executor {
                        let key = try_key(key, &f.task_id, f.map_index, (f.try_number, f.leg));
                        let why = "the run was ended, or the task cleared or marked".to_owned();
                        self.effects.orders.push((executor.clone(), Order::Kill { key, why }));
                    }
                }
                Fact::TryLost(f) => {
                    if let Some(executor) = &f.executor {
                        let key = try_key(key, &f.task_id, f.map_index, (f.try_number, f.leg));
                        let why = "the try was given up for lost".to_owned();
                        self.effects.orders.push((executor.clone(), Order::Kill { key, why }));
                    }
                }
                _ => {}
            }
        }
        let over: BTreeSet<&TaskId> = record.facts.iter().filter_map(task_over).collect();
        let written = over.into_iter().filter_map(|task_id| returned_by(namespace, key, task_id));
        self.effects.values.extend(written.map(|(place, text)| (place, ValueChange::Put(text))));
    }
}

/// Whether a fact may change which watchers of assets are to run.
fn may_change_watchers(namespace: &Namespace, record: &Record) -> bool {
    let has_some = match &record.scope {
        Scope::Dag(dag_id) => namespace.has_watchers(dag_id),
        _ => true,
    };
    record.facts.iter().any(|fact| match fact {
        Fact::DagRegistered(f) => has_some || !f.spec.watchers.is_empty(),
        Fact::DagPaused(_)
        | Fact::DagUnpaused(_)
        | Fact::DagDisappeared(_)
        | Fact::DagForgotten(_) => has_some,
        Fact::BundlePublished(_) => true,
        _ => false,
    })
}

/// Of which task a copy is over, as a fact says.
fn task_over(fact: &Fact) -> Option<&TaskId> {
    match fact {
        Fact::TaskRuledOut(f) => Some(&f.task_id),
        Fact::TrySucceeded(f) => Some(&f.task_id),
        Fact::TrySkipped(f) => Some(&f.task_id),
        Fact::TryFailed(f) => Some(&f.task_id),
        Fact::TryLost(f) => Some(&f.task_id),
        Fact::TryCancelled(f) => Some(&f.task_id),
        Fact::TaskMarked(f) => Some(&f.task_id),
        _ => None,
    }
}

/// Which copies of a mapped task returned something, once it is done: counted here once, so that who looks at them
/// need not.
pub(crate) fn returned_by(
    namespace: &Namespace,
    key: &RunKey,
    task_id: &TaskId,
) -> Option<(String, Bytes)> {
    let found = ReturnedBy::of(namespace.returned_by(key, task_id)?);
    let place = names::returned_by_key(&key.dag_id, &key.run_id, task_id);
    let text = serde_json::to_vec(&found).expect("numbers and text");
    Some((place, Bytes::from(text)))
}

/// Where that is written of each mapped task of a run.
pub(crate) fn expanded_tasks<'a>(
    namespace: &'a Namespace,
    key: &'a RunKey,
) -> impl Iterator<Item = String> + 'a {
    let tasks = namespace.expanded_tasks(key);
    tasks.map(|task_id| names::returned_by_key(&key.dag_id, &key.run_id, task_id))
}

/// A record as the log takes it.
fn pack(record: &Record) -> Result<Bytes, TooLong> {
    encode_within(record, RECORD_BYTES).map(Bytes::from)
}

/// What becomes of a command whose record nobody could store.
fn refused_as(too_long: TooLong) -> Decision {
    let message = format!(
        "what this changes does not fit into one record ({too_long}): ask for a part of it at a time, such as fewer tasks \
         or copies"
    );
    let outcome = Outcome::Refused(Refusal { code: RefusalCode::Invalid, message });
    Decision { records: Vec::new(), outcome }
}

/// What is said of a run whose history can't be had.
fn no_history(key: &RunKey) -> Refusal {
    let message = format!(
        "run {key} is over, and what the log held of it can't be read any more; trigger a new run"
    );
    Refusal { code: RefusalCode::RunNotFound, message }
}

/// A value as [`names::xcom_key`]'s readers expect it.
pub(crate) fn value_text(payload: &Payload) -> Bytes {
    Bytes::from(serde_json::to_vec(payload).expect("payloads have text keys only"))
}

/// The same of what may be forgotten.
pub(crate) fn stored_text(stored: &StoredXCom) -> Bytes {
    Bytes::from(serde_json::to_vec(stored).expect("it has text keys only"))
}

fn try_key(
    run: &RunKey,
    task_id: &TaskId,
    map_index: MapIndex,
    (try_number, leg): (TryNumber, Leg),
) -> TryKey {
    TryKey {
        dag_id: run.dag_id.clone(),
        run_id: run.run_id.clone(),
        task_id: task_id.clone(),
        map_index,
        try_number,
        leg,
    }
}

fn count(record: &Record) {
    let metrics = metrics();
    for fact in &record.facts {
        match fact {
            Fact::TrySucceeded(_) => metrics.task_ended("success"),
            Fact::TrySkipped(_) => metrics.task_ended("skipped"),
            Fact::TryDeferred(_) => metrics.task_ended("deferred"),
            Fact::TryRescheduled(_) => metrics.task_ended("up_for_reschedule"),
            Fact::TryFailed(f) => {
                metrics.task_failed(f.failure.kind, f.failure.fault);
                metrics.task_ended(if f.retry_at.is_some() { "up_for_retry" } else { "failed" });
            }
            Fact::TryLost(_) => metrics.task_ended("lost"),
            Fact::ClockWentBack(f) => {
                metrics.clock_went_back();
                tracing::error!(
                    from = %f.from, to = %f.to,
                    "the clock went back: what it had put off is due by the clock as it is, and promises \
                     are made anew. Runs that it made too early stay"
                );
            }
            Fact::RunSucceeded(_)
            | Fact::RunMarked(RunMarked {
                state: RunMark::Success, teardowns_left: false, ..
            }) => {
                metrics.run_ended("success");
            }
            end if end.ends_run() => metrics.run_ended("failed"),
            _ => {}
        }
    }
}

const fn refusal_word(code: RefusalCode) -> &'static str {
    match code {
        RefusalCode::DagNotFound => "dag_not_found",
        RefusalCode::RunNotFound => "run_not_found",
        RefusalCode::RunAlreadyExists => "run_already_exists",
        RefusalCode::LogicalDateTaken => "logical_date_taken",
        RefusalCode::RunOver => "run_over",
        RefusalCode::RunActive => "run_active",
        RefusalCode::DagInUse => "dag_in_use",
        RefusalCode::TaskNotFound => "task_not_found",
        RefusalCode::TaskRunning => "task_running",
        RefusalCode::BackfillNotFound => "backfill_not_found",
        RefusalCode::BackfillOver => "backfill_over",
        RefusalCode::BackfillActive => "backfill_active",
        RefusalCode::SecretNotFound => "secret_not_found",
        RefusalCode::SecretAlreadyExists => "secret_already_exists",
        RefusalCode::SecretChanged => "secret_changed",
        RefusalCode::SecretKeyRetired => "secret_key_retired",
        RefusalCode::PoolNotFound => "pool_not_found",
        RefusalCode::PoolAlreadyExists => "pool_already_exists",
        RefusalCode::NotAsked => "not_asked",
        RefusalCode::AlreadyAnswered => "already_answered",
        RefusalCode::NotAssigned => "not_assigned",
        RefusalCode::StaleReport => "stale_report",
        RefusalCode::ExecutorNotFound => "executor_not_found",
        RefusalCode::ProtocolTooFar => "protocol_too_far",
        RefusalCode::Invalid => "invalid",
    }
}

/// Whether a fact leaves every trigger that is waited for as it is, but for one that it names.
const fn names_its_wait(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::TaskQueued(_)
            | Fact::TryStarted(_)
            | Fact::TrySucceeded(_)
            | Fact::TryRescheduled(_)
            | Fact::TryDeferred(_)
            | Fact::TriggerFired(_)
            | Fact::TriggerFailed(_)
            | Fact::HitlAnswered(_)
            | Fact::XComPushed(_)
            | Fact::TryNamed(_)
            | Fact::CheckpointKept(_)
            | Fact::TryProgressed(_)
            | Fact::LineageTold(_)
            | Fact::TaskCallbackFailed(_)
            | Fact::AssetUpdated(_)
            | Fact::ReportRefused(_)
    )
}

/// The triggers that a run's record says are over.
fn waits_named(key: &RunKey, record: &Record) -> impl Iterator<Item = TryKey> {
    record.facts.iter().filter_map(|fact| {
        let (task_id, map_index, try_number, leg) = match fact {
            Fact::TriggerFired(f) => (&f.task_id, f.map_index, f.try_number, f.leg),
            Fact::TriggerFailed(f) => (&f.task_id, f.map_index, f.try_number, f.leg),
            _ => return None,
        };
        let (dag_id, run_id) = (key.dag_id.clone(), key.run_id.clone());
        let task_id = task_id.clone();
        Some(TryKey { dag_id, run_id, task_id, map_index, try_number, leg })
    })
}
