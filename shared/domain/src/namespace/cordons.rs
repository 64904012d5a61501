//! Executors that are to take nothing new, by what they are called over their lives. Somebody says so, it is a fact, and
//! holds until somebody says otherwise: over restarts of the executor, of the scheduler, of the machine.
use std::collections::BTreeSet;

use dagbok_events::{
    ExecutorCordoned, ExecutorId, ExecutorName, ExecutorUncordoned, Fact, Record, Scope, Timestamp,
};
use dagbok_protocol::{Command, CommandBody, Cordon, CordonExecutor, RefusalCode, limits::CORDONS};

use super::{Decision, Namespace, accepted, answering, refuse, unchanged};

impl Namespace {
    /// Cordons, drains or uncordons an executor, as a command asks for.
    pub(super) fn change_cordon(&self, at: Timestamp, command: &Command) -> Decision {
        match &command.body {
            CommandBody::CordonExecutor(ask) => self.cordon(at, command, ask),
            CommandBody::UncordonExecutor { executor } => self.uncordon(at, command, executor),
            _ => unchanged(),
        }
    }

    /// Lets an executor take nothing new. Saying it again with other words is another fact; a drain is one each time,
    /// since those that came meanwhile are meant by it.
    pub(super) fn cordon(
        &self,
        at: Timestamp,
        command: &Command,
        ask: &CordonExecutor,
    ) -> Decision {
        let Some(name) = self.executor_called(&ask.executor) else {
            return nobody(&ask.executor);
        };
        let standing = self.cordons.get(&name);
        if standing.is_some_and(|it| !ask.drain && !it.drain && it.reason == command.reason) {
            return unchanged();
        }
        if standing.is_none() && self.cordons.len() >= CORDONS {
            let why =
                format!("{CORDONS} executors are cordoned; uncordon some that are gone first");
            return refuse(RefusalCode::Invalid, why);
        }
        let fact = ExecutorCordoned { name, drain: ask.drain, limit: ask.limit };
        let facts = vec![Fact::ExecutorCordoned(fact)];
        accepted(vec![answering(command, at, Scope::Namespace, facts)])
    }

    /// Lets it take work again.
    fn uncordon(&self, at: Timestamp, command: &Command, typed: &str) -> Decision {
        let Some(name) = self.executor_called(typed) else { return nobody(typed) };
        if !self.cordons.contains_key(&name) {
            return unchanged();
        }
        let facts = vec![Fact::ExecutorUncordoned(ExecutorUncordoned { name })];
        accepted(vec![answering(command, at, Scope::Namespace, facts)])
    }

    /// Who is meant: by the id of a life, or by the name of one that is there or cordoned.
    fn executor_called(&self, typed: &str) -> Option<ExecutorName> {
        let by_id =
            ExecutorId::new(typed).ok().and_then(|id| self.executors.get(&id)?.name.clone());
        by_id.or_else(|| {
            let name = ExecutorName::new(typed).ok()?;
            let is_there = self.executors.values().any(|it| it.name.as_ref() == Some(&name));
            (is_there || self.cordons.contains_key(&name)).then_some(name)
        })
    }

    /// Takes in a record of the namespace.
    pub(super) fn evolve_cordons(&mut self, seq: u64, record: &Record) {
        for fact in &record.facts {
            let name = match fact {
                Fact::ExecutorCordoned(f) => {
                    let limit = f.limit.map(|it| it.to_std().as_millis());
                    let cordon = Cordon {
                        seq,
                        drain: f.drain,
                        limit_ms: limit.and_then(|it| u64::try_from(it).ok()),
                        by: record.by.clone(),
                        reason: record.reason.clone(),
                        at: record.at,
                    };
                    self.cordons.insert(f.name.clone(), cordon);
                    &f.name
                }
                Fact::ExecutorUncordoned(f) => {
                    self.cordons.remove(&f.name);
                    &f.name
                }
                _ => continue,
            };
            let cordoned = self.cordons.contains_key(name);
            for id in self.lives_of(name) {
                self.change_executor(&id, |it| it.cordoned = cordoned);
            }
        }
    }

    /// Executors that are there and called so.
    pub fn lives_of(&self, name: &ExecutorName) -> BTreeSet<ExecutorId> {
        let called = self.executors.iter().filter(|(_, it)| it.name.as_ref() == Some(name));
        called.map(|(id, _)| id.clone()).collect()
    }

    /// Who takes nothing new.
    pub fn cordons(&self) -> impl Iterator<Item = (&ExecutorName, &Cordon)> {
        self.cordons.iter()
    }

    /// How one of that name is cordoned.
    pub fn cordon_of(&self, name: &ExecutorName) -> Option<&Cordon> {
        self.cordons.get(name)
    }
}

fn nobody(typed: &str) -> Decision {
    let why = format!(
        "no executor that is there has the id or the name `{typed}`, and none of that name is cordoned"
    );
    refuse(RefusalCode::ExecutorNotFound, why)
}
