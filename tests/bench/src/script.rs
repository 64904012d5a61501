//! Plays runs through the rules without a log: every try is queued, started and succeeds.
use dagbok_domain::namespace::Namespace;
use dagbok_events::{
    Actor, CommandId, DagId, DagSpec, Digest, ExecutorId, Fact, Payload, Record, RunId, RunKey,
    Scope, Timestamp, TryKey, Usage,
};
use dagbok_protocol::{
    Command, CommandBody, DagFile, PoolChange, RegisteredDag, Report, ReportBody, TriggerRun,
    XComValue,
};

/// A namespace with a virtual clock, and what to do with each record.
pub(crate) struct Script<S> {
    pub(crate) namespace: Namespace,
    pub(crate) now: Timestamp,
    commands: u64,
    sink: S,
}

/// A digest for what has none here.
pub(crate) fn digest() -> Digest {
    Digest::new("b".repeat(64)).expect("64 hexadecimal digits")
}

/// A file with one DAG in it.
pub(crate) fn dag_file(spec: DagSpec) -> CommandBody {
    let spec_digest = digest();
    CommandBody::DagFileRead(Box::new(DagFile {
        file: spec.source.file.clone(),
        bundle: digest(),
        dags: vec![RegisteredDag { spec_digest, spec, foretold: None }],
        errors: vec![],
        paused_at_creation: false,
    }))
}

impl<S: FnMut(&Record)> Script<S> {
    pub(crate) fn new(sink: S) -> Self {
        let mut script = Self {
            namespace: Namespace::new(),
            now: Timestamp(1_700_000_000_000_000),
            commands: 0,
            sink,
        };
        script.command(CommandBody::SetLimits {
            parallelism: 1_000_000,
            max_losses: 10,
            max_consecutive_failed_dag_runs: None,
            task_queued_timeout: None,
        });
        let pool = dagbok_events::PoolName::new("default_pool").expect("a pool's name");
        script.command(CommandBody::SetPool(PoolChange::sized(pool, 1_000_000)));
        script
    }

    pub(crate) fn command(&mut self, body: CommandBody) {
        self.commands += 1;
        let id = CommandId::new(format!("c-{}", self.commands)).expect("within the rules");
        let (sent_at, by) = (self.now, Actor::User("bench".into()));
        let command = Command { id, by, sent_at, reply_to: None, reason: None, trace: None, body };
        let decision = self.namespace.decide(self.now, &command);
        for record in &decision.records {
            self.record(record);
        }
    }

    fn record(&mut self, record: &Record) {
        (self.sink)(record);
        self.namespace.evolve(self.namespace.last_seq() + 1, record);
    }

    /// Carries out all that the rules call for; returns the tries that were queued.
    pub(crate) fn plan(&mut self, queued: &mut Vec<TryKey>) {
        loop {
            let mut done = false;
            for proposal in self.namespace.plan(self.now) {
                if let Some(record) = self.namespace.carry_out(self.now, &proposal) {
                    queued.extend(tries_of(&record));
                    self.record(&record);
                    done = true;
                }
            }
            if !done {
                return;
            }
        }
    }

    /// Makes a run and offers what can be; returns those tries.
    pub(crate) fn trigger(&mut self, dag_id: &DagId, run_id: &RunId) -> Vec<TryKey> {
        self.command(CommandBody::TriggerRun(TriggerRun {
            dag_id: dag_id.clone(),
            run_id: Some(run_id.clone()),
            logical_date: Some(self.now),
            conf: None,
            note: None,
            partition_key: None,
        }));
        let mut queued = Vec::new();
        self.plan(&mut queued);
        queued
    }

    /// A run from its trigger to its end; each task hands on a value.
    pub(crate) fn play(&mut self, dag_id: &DagId, run_id: RunId) {
        let executor = ExecutorId::new("bench").expect("within the rules");
        let mut queued = self.trigger(dag_id, &run_id);
        while let Some(key) = queued.pop() {
            self.now.0 += 500;
            let started = ReportBody::Started {
                hostname: "bench".into(),
                pid: 1,
                inputs: std::collections::BTreeMap::new(),
                again: false,
            };
            let value = Some(Payload::Inline("42".into()));
            let succeeded = ReportBody::Succeeded {
                xcoms: vec![XComValue { key: "return_value".into(), value, length: None }],
                usage: Usage { max_rss_bytes: 30_000_000, user_us: 900, system_us: 400 },
                log: None,
                skips: vec![],
                outlets: vec![],
            };
            for body in [started, succeeded] {
                let (key, executor, at) = (key.clone(), executor.clone(), self.now);
                self.command(CommandBody::Report(Box::new(Report { key, executor, at, body })));
            }
            self.plan(&mut queued);
        }
        let key = RunKey { dag_id: dag_id.clone(), run_id };
        assert!(self.namespace.ending(&key).is_some(), "{key} did not end");
    }
}

fn tries_of(record: &Record) -> Vec<TryKey> {
    let Scope::Run(run) = &record.scope else { return Vec::new() };
    let tries = record.facts.iter().filter_map(|fact| match fact {
        Fact::TaskQueued(f) => Some(TryKey {
            dag_id: run.dag_id.clone(),
            run_id: run.run_id.clone(),
            task_id: f.task_id.clone(),
            map_index: f.map_index,
            try_number: f.try_number,
            leg: f.leg,
        }),
        _ => None,
    });
    tries.collect()
}
