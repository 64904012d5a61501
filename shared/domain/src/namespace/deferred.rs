//! Tries that wait for a trigger, over all runs: what they take up, when their time is up, what triggerers are told.
use std::collections::BTreeMap;

use dagbok_events::{Fact, Record, RunKey, Timestamp, TryKey};
use dagbok_protocol::WorkItem;

use super::{Namespace, Proposal, RunNo, decide::of_run, views::QueuedTry};
use crate::run::{InstanceNo, Parked, Run};

/// Triggers that one record ends because their time is up: bounds its size.
const PER_RECORD: usize = 256;

impl Namespace {
    /// Keeps what a try that waits for a trigger takes up of its pool, and when its time is up.
    pub(super) fn keep_parked(
        &mut self,
        number: RunNo,
        no: InstanceNo,
        parked: Option<Parked>,
        unparked: Option<Parked>,
    ) {
        if let Some((hold, until)) = parked {
            self.pools.entry(hold.pool).or_default().deferred += u64::from(hold.slots);
            self.index.triggers.extend(until.map(|until| (until, number, no)));
        }
        let Some((hold, until)) = unparked else { return };
        if let Some(until) = until {
            self.index.triggers.remove(&(until, number, no));
        }
        let Some(pool) = self.pools.get_mut(&hold.pool) else { return };
        pool.deferred -= u64::from(hold.slots);
        if pool.used == 0 && pool.deferred == 0 && pool.set.is_none() {
            self.pools.remove(&hold.pool);
        }
    }

    /// Triggers whose time is up.
    pub(super) fn plan_triggers(&self, now: Timestamp) -> impl Iterator<Item = Proposal> {
        let mut runs: BTreeMap<RunNo, Vec<InstanceNo>> = BTreeMap::new();
        let until = (now, RunNo::MAX, InstanceNo::MAX);
        for (_, number, no) in self.index.triggers.range(..=until) {
            runs.entry(*number).or_default().push(*no);
        }
        let parts = |(number, all): (RunNo, Vec<InstanceNo>)| {
            let parts: Vec<_> = all.chunks(PER_RECORD).map(<[_]>::to_vec).collect();
            parts.into_iter().map(move |part| Proposal::TimeOutTriggers(number, part))
        };
        runs.into_iter().flat_map(parts)
    }

    /// Ends those of a run's triggers whose time is up.
    pub(super) fn time_out_triggers(
        &self,
        at: Timestamp,
        number: RunNo,
        tries: &[InstanceNo],
    ) -> Option<Record> {
        let before = self.runs.get(&number)?;
        let mut run = Run::clone(before);
        let mut facts: Vec<Fact> = Vec::new();
        for no in tries.iter().copied().filter(|no| before.knows(*no)) {
            // What follows from one must see the one before it folded in.
            let found = run.trigger_timed_out(no, at);
            for fact in &found {
                run.evolve(self.last_seq, at, fact);
            }
            facts.extend(found);
        }
        (!facts.is_empty()).then(|| of_run(at, before, facts))
    }

    /// Every try that waits for a trigger that is to be run.
    pub fn deferred_tries(&self) -> Vec<QueuedTry> {
        let of_run = |(number, run): (&RunNo, &std::sync::Arc<Run>)| {
            let number = *number;
            let by_trigger = |no: &InstanceNo| {
                run.instance(*no).deferral.as_ref().is_some_and(|it| it.ask.is_none())
            };
            let tries = run
                .deferred()
                .filter(by_trigger)
                .map(move |no| QueuedTry { run: number, instance: no });
            tries.collect::<Vec<_>>()
        };
        self.runs.iter().flat_map(of_run).collect()
    }

    /// The triggers that a run waits for, by the tries that go on after them.
    pub fn triggers_of(&self, key: &RunKey) -> Vec<TryKey> {
        let Some(run) = self.run(key) else { return Vec::new() };
        let key_of = |no: InstanceNo| {
            let token = run.instance(no).state.deferred()?;
            Some(super::views::try_key(run, no, token))
        };
        run.deferred().filter_map(key_of).collect()
    }

    /// What a triggerer is given of a try that waits for a trigger.
    pub(super) fn trigger_item(item: WorkItem, run: &Run, no: InstanceNo) -> WorkItem {
        let deferral = run.instance(no).deferral.as_ref();
        WorkItem { trigger: deferral.map(|it| it.trigger.clone()), resume: None, ..item }
    }
}
