//! Executors that come and go.
use std::collections::BTreeMap;

use dagbok_events::{
    Actor, ExecutorFull, ExecutorId, ExecutorJoined, ExecutorLeft, Fact, LeftWhy, LogRef, LostWhy,
    Record, RunKey, Scope, Timestamp, TryKey, TryLost, Usage,
};
use dagbok_protocol::{
    Command, PROTOCOL, Presence, RefusalCode, Report, limits::QUEUED_TOO_LONG_RETRIES,
    names::DAG_CALLBACK, understands,
};

use crate::{
    namespace::{Decision, Namespace, RunNo, accepted, answering, own, refuse, unchanged},
    retry,
    run::{Done, InstanceNo, Run, Token},
};

/// A try that is gone, with what is left of it.
pub(in crate::namespace) struct Loss {
    pub(super) token: Token,
    pub(super) executor: Option<ExecutorId>,
    pub(super) why: LostWhy,
    pub(super) usage: Option<Usage>,
    pub(super) log: Option<LogRef>,
}

impl Loss {
    /// One that the scheduler found: nobody says what the try used and wrote.
    pub(in crate::namespace) fn found(
        token: Token,
        executor: Option<ExecutorId>,
        why: LostWhy,
    ) -> Self {
        Self { token, executor, why, usage: None, log: None }
    }

    /// One that the try's executor tells of.
    pub(super) fn said(report: &Report, why: LostWhy) -> Self {
        let token = Token { try_number: report.key.try_number, leg: report.key.leg };
        Self::found(token, Some(report.executor.clone()), why)
    }
}

impl Namespace {
    pub(super) fn executor_joined(
        &self,
        at: Timestamp,
        command: &Command,
        executor: &ExecutorId,
        presence: &Presence,
    ) -> Decision {
        if let Err(why) = understands(presence.protocol, Some(PROTOCOL)) {
            return refuse(RefusalCode::ProtocolTooFar, why);
        }
        if self.executors.contains_key(executor) {
            return unchanged();
        }
        let facts = vec![Fact::ExecutorJoined(Box::new(ExecutorJoined {
            hostname: presence.hostname.clone(),
            slots: presence.slots,
            queues: presence.queues.clone(),
            version: presence.version.clone(),
            python: presence.python.clone(),
            resources: presence.resources.clone(),
            isolation: presence.isolation.clone(),
            name: presence.name.clone(),
            protocol: presence.protocol,
            part_of: presence.part_of.clone(),
        }))];
        accepted(vec![answering(command, at, Scope::Executor(executor.clone()), facts)])
    }

    pub(super) fn executor_full(
        &self,
        at: Timestamp,
        command: &Command,
        executor: &ExecutorId,
        full: bool,
    ) -> Decision {
        match self.executors.get(executor) {
            Some(it) if it.slots > 0 && it.full != full => {
                let facts = vec![Fact::ExecutorFull(ExecutorFull { full })];
                accepted(vec![answering(command, at, Scope::Executor(executor.clone()), facts)])
            }
            _ => unchanged(),
        }
    }

    pub(super) fn executor_left(
        &self,
        at: Timestamp,
        command: &Command,
        executor: &ExecutorId,
    ) -> Decision {
        let mut records = self.lose_held(at, executor, LostWhy::Drained);
        if self.executors.contains_key(executor) {
            let facts = vec![Fact::ExecutorLeft(ExecutorLeft { why: LeftWhy::Drained })];
            records.push(answering(command, at, Scope::Executor(executor.clone()), facts));
        }
        if records.is_empty() { unchanged() } else { accepted(records) }
    }

    /// Declares an executor gone, with every try that it held: its presence was not renewed for a lease.
    pub fn executor_gone(&self, now: Timestamp, executor: &ExecutorId) -> Vec<Record> {
        let mut records = self.lose_held(now, executor, LostWhy::ExecutorGone);
        if self.executors.contains_key(executor) {
            let facts = vec![Fact::ExecutorLeft(ExecutorLeft { why: LeftWhy::Gone })];
            let scope = Scope::Executor(executor.clone());
            records.push(own(now, Actor::Scheduler, scope, None, facts));
        }
        records.into_iter().map(|record| self.stamped(record)).collect()
    }

    /// Declares one running try lost; `None` where it is not in flight any more.
    pub fn give_up(&self, now: Timestamp, key: &TryKey, why: LostWhy) -> Option<Record> {
        if key.task_id.as_str() == DAG_CALLBACK {
            return self.lose_callback(now, key).map(|record| self.stamped(record));
        }
        let run = self.run(&RunKey { dag_id: key.dag_id.clone(), run_id: key.run_id.clone() })?;
        let no = run.find(&key.task_id, key.map_index)?;
        let state = &run.instance(no).state;
        let named = Token { try_number: key.try_number, leg: key.leg };
        let token = state.in_flight().filter(|token| *token == named)?;
        let facts =
            self.lost_facts(run, no, Loss::found(token, state.executor().cloned(), why), now);
        let scope = Scope::Run(run.key().clone());
        Some(self.stamped(own(now, Actor::Scheduler, scope, None, facts)))
    }

    fn lose_held(&self, at: Timestamp, executor: &ExecutorId, why: LostWhy) -> Vec<Record> {
        let Some(held) = self.executors.get(executor) else { return Vec::new() };
        let mut runs: BTreeMap<RunNo, Vec<InstanceNo>> = BTreeMap::new();
        for (number, no) in &held.holds {
            runs.entry(*number).or_default().push(*no);
        }
        let mut records = self.lose_callbacks(at, executor);
        for (number, lost) in runs {
            let Some(run) = self.runs.get(&number) else { continue };
            // One record a try: what follows from one loss must see the one before it folded in.
            let mut run = Run::clone(run);
            for no in lost {
                let Some(token) = run.instance(no).state.in_flight() else { continue };
                let loss = Loss::found(token, Some(executor.clone()), why);
                let facts = self.lost_facts(&run, no, loss, at);
                for fact in &facts {
                    run.evolve(self.last_seq, at, fact);
                }
                records.push(own(at, Actor::Scheduler, Scope::Run(run.key().clone()), None, facts));
            }
        }
        records
    }

    /// A lost try and all that follows from it.
    pub(in crate::namespace) fn lost_facts(
        &self,
        run: &Run,
        no: InstanceNo,
        loss: Loss,
        at: Timestamp,
    ) -> Vec<Fact> {
        let Loss { token, executor, why, usage, log } = loss;
        let instance = run.instance(no);
        let task_id = run.spec(no).task_id.clone();
        let map_index = instance.map_index;
        let due = if why == LostWhy::QueuedTooLong {
            (instance.not_begun < QUEUED_TOO_LONG_RETRIES).then_some(at)
        } else if retry::counts(why) {
            retry::after_loss(instance.losses, self.limits.max_losses, at)
        } else {
            let counted = instance.failures.saturating_add(instance.losses);
            let key = TryKey {
                dag_id: run.key().dag_id.clone(),
                run_id: run.key().run_id.clone(),
                task_id: task_id.clone(),
                map_index,
                try_number: token.try_number,
                leg: token.leg,
            };
            // This try is one of them.
            let before = instance.tries.saturating_sub(counted).saturating_sub(1);
            retry::after_uncounted(why, before, &key, at)
        };
        let retry_at = due.filter(|_| run.has_another_try(no));
        let mut facts = vec![Fact::TryLost(Box::new(TryLost {
            task_id,
            map_index,
            try_number: token.try_number,
            leg: token.leg,
            executor,
            why,
            retry_at,
            usage,
            log,
        }))];
        facts.extend(match retry_at {
            Some(_) => run.after_going_on(no),
            None => run.after_done(&[(no, Done::Failed)]),
        });
        facts
    }
}
