//! One history of alerting: both logs, both folds, and what reached whom.
#![expect(dead_code, reason = "each test uses a part of it")]
pub(crate) mod acts;

use std::collections::{BTreeMap, BTreeSet};

use dagbok_alerts::{
    Agenda, AlertFact, AlertRecord, AlertScope, AlertingBegan, Answered, Ask, AskBody, Book, By,
    Chain, Grouping, Outcome, Policy, ReceiverRules, Route, Rule, Watch, decide, outcome,
};
use dagbok_events::{
    DagId, Digest, Fact, Interval, Micros, Record, RunCreated, RunExpected, RunFailed, RunId,
    RunKey, RunMissed, RunSucceeded, RunType, Scope, Timestamp,
};

pub(crate) const HOUR: Micros = Micros::from_secs(3_600);

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Create(u8, u8),
    Fail(u8, u8),
    Succeed(u8, u8),
    Promise(u8),
    Missed(u8),
    Wait(u16),
    Answer(u8, u8),
    Crash,
    Acknowledge(u8),
    Resolve(u8),
    Silence,
}

pub(crate) fn policy() -> Policy {
    let rules = |fallback: Option<&str>| ReceiverRules {
        fallback: fallback.map(str::to_owned),
        resolves: true,
        acknowledges: true,
        ..ReceiverRules::default()
    };
    let receivers = [("pager", rules(Some("mail"))), ("mail", rules(None)), ("boss", rules(None))];
    let mut chain = Chain::of("pager", Micros::from_secs(300));
    chain.steps.extend(Chain::of("boss", Micros::from_secs(600)).steps);
    let root = Route {
        name: "platform".to_owned(),
        matchers: Vec::new(),
        chain,
        goes_on: false,
        group_interval: Micros::from_secs(60),
        repeat_interval: HOUR,
        grouping: Grouping::default(),
        mutes: Vec::new(),
        runbook: None,
        routes: Vec::new(),
    };
    let receivers = receivers.map(|(name, rules)| (name.to_owned(), rules)).into();
    Policy {
        receivers,
        root: Some(root),
        external_url: Some("https://example.org".to_owned()),
        ..Policy::default()
    }
}

/// What one history does, with the log that outlives crashes.
pub(crate) struct World {
    pub(crate) policy: Policy,
    pub(crate) now: Timestamp,
    pub(crate) run_log: Vec<Record>,
    pub(crate) alert_log: Vec<AlertRecord>,
    pub(crate) watch: Watch,
    pub(crate) book: Book,
    pub(crate) agenda: Agenda,
    pub(crate) sending: BTreeSet<String>,
    /// What reached a provider, by the delivery's name, and what it took.
    pub(crate) reached: BTreeMap<String, u32>,
    pub(crate) taken: BTreeSet<String>,
    pub(crate) under_way: Vec<(u64, String, u32)>,
    pub(crate) failures: Vec<u64>,
    /// Whether whoever is told takes it at once.
    pub(crate) takes: bool,
}

pub(crate) fn key(dag: u8, run: u8) -> RunKey {
    RunKey {
        dag_id: DagId::new(format!("dag_{dag}")).unwrap(),
        run_id: RunId::new(format!("run_{run}")).unwrap(),
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let mut world = Self {
            policy: policy(),
            now: Timestamp(1_800_000_000_000_000),
            run_log: Vec::new(),
            alert_log: Vec::new(),
            watch: Watch::default(),
            book: Book::default(),
            agenda: Agenda::default(),
            sending: BTreeSet::new(),
            reached: BTreeMap::new(),
            taken: BTreeSet::new(),
            under_way: Vec::new(),
            failures: Vec::new(),
            takes: false,
        };
        let began = AlertFact::AlertingBegan(AlertingBegan { namespace: "default".to_owned() });
        let (at, facts) = (world.now, vec![began]);
        world.append(&AlertRecord { at, by: By::Rules, reason: None, seen: 0, facts });
        world
    }

    pub(crate) fn append(&mut self, record: &AlertRecord) {
        self.alert_log.push(record.clone());
        self.book.evolve(self.alert_log.len() as u64, record);
        for fact in &record.facts {
            if let AlertFact::NotificationAttempted(it) = fact {
                self.sending.insert(it.message.clone());
                *self.reached.entry(it.message.clone()).or_default() += 1;
                self.under_way.push((it.id, it.message.clone(), it.attempt));
            }
        }
    }

    pub(crate) fn log(&mut self, scope: Scope, fact: Fact) -> u64 {
        let record = Record {
            at: self.now,
            clock: None,
            scope,
            by: dagbok_events::Actor::Scheduler,
            reason: None,
            cause: None,
            trace: None,
            facts: vec![fact],
        };
        self.run_log.push(record.clone());
        let seq = self.run_log.len() as u64;
        self.watch.evolve(seq, &record);
        seq
    }

    /// A run of a DAG of its own fails.
    pub(crate) fn fail_of(&mut self, dag: u32) {
        let dag_id = DagId::new(format!("many_{dag}")).unwrap();
        let run = RunKey { dag_id, run_id: RunId::new("run").unwrap() };
        self.log(Scope::Run(run.clone()), Fact::RunCreated(Box::new(created(self.now))));
        self.log(Scope::Run(run), Fact::RunFailed(RunFailed { failed: vec![] }));
    }

    /// The same, without holding it against whoever looks at everything: that costs as much as there is.
    pub(crate) fn settle_unchecked(&mut self) {
        for _ in 0..50 {
            let (watch, book, now) = (&mut self.watch, &mut self.book, self.now);
            let records = self.agenda.plan(watch, book, &self.policy, now, &self.sending);
            if records.is_empty() {
                return;
            }
            for record in &records {
                self.append(record);
            }
        }
        panic!("the rules never come to rest");
    }

    pub(crate) fn settle(&mut self) {
        for _ in 0..50 {
            let (watch, book, now) = (&mut self.watch, &mut self.book, self.now);
            let records = self.agenda.plan(watch, book, &self.policy, now, &self.sending);
            if records.is_empty() && self.takes && !self.under_way.is_empty() {
                self.answer(0, 3);
                continue;
            }
            if records.is_empty() {
                // Whoever looks at everything finds no more than who looks at what changed and what is due.
                let (watch, book) = (&mut self.watch.clone(), &mut self.book.clone());
                let all = Agenda::default().plan(watch, book, &self.policy, now, &self.sending);
                assert_eq!(all, []);
                let due = self.agenda.next_due(&self.watch, &self.book, &self.policy);
                assert!(due.is_none_or(|due| due > now), "asked again at once, for ever: {due:?}");
                return;
            }
            for record in &records {
                self.append(record);
            }
        }
        panic!("the rules never come to rest");
    }

    pub(crate) fn answer(&mut self, which: usize, kind: u8) {
        if self.under_way.is_empty() {
            return;
        }
        let at = which % self.under_way.len();
        let (id, message, attempt) = self.under_way.remove(at);
        let answered = match kind {
            0 => Answered::Failed { status: Some(500), why: "oh".to_owned(), retry_after: None },
            1 => Answered::Rejected { status: Some(400), why: "no".to_owned() },
            _ => Answered::Accepted { status: Some(202), provider_id: None },
        };
        if matches!(answered, Answered::Accepted { .. }) {
            self.taken.insert(message.clone());
        }
        let seen = self.watch.last_seq();
        let came = Outcome { id, message: &message, attempt, took_ms: 5, answered: &answered };
        let record = outcome(&self.book, &self.policy, self.now, seen, &came);
        self.sending.remove(&message);
        if let Some(record) = record {
            self.append(&record);
        }
    }

    /// All that is not on a log is gone.
    pub(crate) fn crash(&mut self) {
        self.sending.clear();
        self.under_way.clear();
        self.watch = Watch::default();
        self.book = Book::default();
        self.agenda = Agenda::default();
        for (seq, record) in (1..).zip(&self.run_log) {
            self.watch.evolve(seq, record);
        }
        for (seq, record) in (1..).zip(&self.alert_log) {
            self.book.evolve(seq, record);
        }
    }

    pub(crate) fn ask(&mut self, body: AskBody) {
        let (by, reason) = (By::User("ana".to_owned()), Some("because".to_owned()));
        let ask = Ask { by, reason, body };
        let seen = self.watch.last_seq();
        if let Ok(decided) = decide(&self.book, &self.policy, self.now, seen, &ask) {
            self.append(&decided.record);
        }
    }

    pub(crate) fn take(&mut self, step: &Step) {
        self.act(step);
        self.settle();
        self.check();
    }

    /// A step, after which nothing is checked.
    pub(crate) fn take_unchecked(&mut self, step: &Step) {
        self.act(step);
        self.settle_unchecked();
    }

    fn act(&mut self, step: &Step) {
        match step {
            Step::Create(dag, run) => {
                let created = created(self.now);
                self.log(Scope::Run(key(*dag, *run)), Fact::RunCreated(Box::new(created)));
            }
            Step::Fail(dag, run) => {
                let seq = self.log(
                    Scope::Run(key(*dag, *run)),
                    Fact::RunFailed(RunFailed { failed: vec![] }),
                );
                let stands =
                    self.watch.conditions(self.now).iter().any(|it| it.causes.contains(&seq));
                self.failures.extend(stands.then_some(seq));
            }
            Step::Succeed(dag, run) => {
                self.log(Scope::Run(key(*dag, *run)), Fact::RunSucceeded(RunSucceeded {}));
            }
            Step::Promise(dag) => {
                let due = self.now.plus(Micros::from_secs(60));
                let promise = RunExpected {
                    logical_date: Some(self.now),
                    data_interval: Some(Interval { start: self.now, end: due }),
                    due: Some(due),
                    grace: Micros::from_secs(300),
                    owner: "ml".to_owned(),
                    further: vec![],
                    keeps: false,
                };
                self.log(Scope::Dag(key(*dag, 0).dag_id), Fact::RunExpected(promise));
            }
            Step::Missed(dag) => {
                let missed = RunMissed {
                    first: self.now,
                    last: self.now,
                    count: 1,
                    why: dagbok_events::MissedWhy::NoScheduler,
                };
                self.log(Scope::Dag(key(*dag, 0).dag_id), Fact::RunMissed(missed));
            }
            Step::Wait(seconds) => self.now = self.now.plus(Micros::from_secs(i64::from(*seconds))),
            Step::Answer(which, kind) => self.answer(usize::from(*which), *kind),
            Step::Crash => self.crash(),
            Step::Acknowledge(nth) => {
                let id = self.book.open().nth(usize::from(*nth)).map(|alert| alert.id);
                self.ask(AskBody::Acknowledge { id: id.unwrap_or(99_999) });
            }
            Step::Resolve(nth) => {
                let id = self.book.open().nth(usize::from(*nth)).map(|alert| alert.id);
                self.ask(AskBody::Resolve { id: id.unwrap_or(99_999) });
            }
            Step::Silence => {
                let matchers = vec!["dag=\"dag_0\"".to_owned()];
                let until = self.now.plus(HOUR);
                self.ask(AskBody::Silence { matchers, until });
            }
        }
    }

    /// What holds at every moment.
    pub(crate) fn check(&self) {
        let mut open: BTreeSet<(Rule, AlertScope)> = BTreeSet::new();
        let mut generations: BTreeMap<(Rule, AlertScope), u32> = BTreeMap::new();
        let mut keys = BTreeSet::new();
        for alert in self.book.alerts().rev() {
            let of = (alert.rule, alert.scope.clone());
            let before = generations.insert(of.clone(), alert.generation).unwrap_or(0);
            assert_eq!(alert.generation, before + 1, "a generation follows the one before");
            assert!(keys.insert(alert.dedup_key.clone()), "a key names one incident");
            if alert.is_open() {
                assert!(open.insert(of), "two open alerts about one thing");
            }
            for delivery in alert.deliveries.values() {
                let numbers: Vec<u32> = delivery.attempts.iter().map(|it| it.number).collect();
                assert!(numbers.is_sorted_by(|a, b| a < b), "attempts rise: {numbers:?}");
            }
        }
    }

    /// From here on every receiver takes what it gets, and nobody silences anything.
    pub(crate) fn come_to_rest(&mut self) {
        for _ in 0..400 {
            self.settle();
            while !self.under_way.is_empty() {
                self.answer(0, 3);
                self.settle();
            }
            let due = self.agenda.next_due(&self.watch, &self.book, &self.policy);
            let Some(due) = due.filter(|due| due.since(self.now) < Micros(HOUR.0 * 2)) else {
                return;
            };
            self.now = self.now.max(due);
        }
    }
}

pub(crate) fn created(at: Timestamp) -> RunCreated {
    RunCreated {
        run_type: RunType::Scheduled,
        logical_date: Some(at),
        data_interval: None,
        run_after: at,
        version: 1,
        bundle: Digest::new("0".repeat(64)).unwrap(),
        conf: None,
        note: None,
        asset_events: vec![],
        asset_events_left_out: 0,
        backfill_id: None,
        partition: None,
    }
}
