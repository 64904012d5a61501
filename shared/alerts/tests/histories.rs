//! Histories drawn at random, with a receiver that lies, people who interfere and crashes at every moment: what
//! alerting promises holds for each of them.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
use std::collections::{BTreeMap, BTreeSet};

use dagbok_alerts::{
    AlertFact, AlertRecord, AlertScope, AlertState, AlertingBegan, Answered, Ask, AskBody, Book,
    By, Chain, Outcome, Policy, Purpose, ReceiverRules, Route, Rule, Watch, decide, next_due,
    outcome, plan,
};
use dagbok_events::{
    DagId, Digest, Fact, Interval, Micros, Record, RunCreated, RunExpected, RunFailed, RunId,
    RunKey, RunMissed, RunSucceeded, RunType, Scope, Timestamp, encode_any,
};
use proptest::prelude::*;

const HOUR: Micros = Micros::from_secs(3_600);

#[derive(Clone, Debug)]
enum Step {
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

fn step() -> impl Strategy<Value = Step> {
    let (dag, run) = (0..2_u8, 0..4_u8);
    prop_oneof![
        4 => (dag.clone(), run.clone()).prop_map(|(a, b)| Step::Create(a, b)),
        4 => (dag.clone(), run.clone()).prop_map(|(a, b)| Step::Fail(a, b)),
        2 => (dag.clone(), run).prop_map(|(a, b)| Step::Succeed(a, b)),
        1 => dag.clone().prop_map(Step::Promise),
        1 => dag.prop_map(Step::Missed),
        4 => (1..20_000_u16).prop_map(Step::Wait),
        8 => (any::<u8>(), 0..4_u8).prop_map(|(a, b)| Step::Answer(a, b)),
        2 => Just(Step::Crash),
        1 => (0..4_u8).prop_map(Step::Acknowledge),
        1 => (0..4_u8).prop_map(Step::Resolve),
        1 => Just(Step::Silence),
    ]
}

fn policy() -> Policy {
    let rules = |fallback: Option<&str>| ReceiverRules {
        fallback: fallback.map(str::to_owned),
        resolves: true,
        acknowledges: true,
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
        routes: Vec::new(),
    };
    let receivers = receivers.map(|(name, rules)| (name.to_owned(), rules)).into();
    Policy { receivers, root: Some(root), external_url: Some("https://example.org".to_owned()) }
}

/// What one history does, with the log that outlives crashes.
struct World {
    policy: Policy,
    now: Timestamp,
    run_log: Vec<Record>,
    alert_log: Vec<AlertRecord>,
    watch: Watch,
    book: Book,
    sending: BTreeSet<String>,
    /// What reached a provider, by the delivery's name, and what it took.
    reached: BTreeMap<String, u32>,
    taken: BTreeSet<String>,
    under_way: Vec<(u64, String, u32)>,
    failures: Vec<u64>,
}

fn key(dag: u8, run: u8) -> RunKey {
    RunKey {
        dag_id: DagId::new(format!("dag_{dag}")).unwrap(),
        run_id: RunId::new(format!("run_{run}")).unwrap(),
    }
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            policy: policy(),
            now: Timestamp(1_800_000_000_000_000),
            run_log: Vec::new(),
            alert_log: Vec::new(),
            watch: Watch::default(),
            book: Book::default(),
            sending: BTreeSet::new(),
            reached: BTreeMap::new(),
            taken: BTreeSet::new(),
            under_way: Vec::new(),
            failures: Vec::new(),
        };
        let began = AlertFact::AlertingBegan(AlertingBegan { namespace: "default".to_owned() });
        let (at, facts) = (world.now, vec![began]);
        world.append(&AlertRecord { at, by: By::Rules, reason: None, seen: 0, facts });
        world
    }

    fn append(&mut self, record: &AlertRecord) {
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

    fn log(&mut self, scope: Scope, fact: Fact) -> u64 {
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

    fn settle(&mut self) {
        for _ in 0..50 {
            let records = plan(&self.watch, &self.book, &self.policy, self.now, &self.sending);
            if records.is_empty() {
                return;
            }
            for record in &records {
                self.append(record);
            }
        }
        panic!("the rules never come to rest");
    }

    fn answer(&mut self, which: usize, kind: u8) {
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
    fn crash(&mut self) {
        self.sending.clear();
        self.under_way.clear();
        self.watch = Watch::default();
        self.book = Book::default();
        for (seq, record) in (1..).zip(&self.run_log) {
            self.watch.evolve(seq, record);
        }
        for (seq, record) in (1..).zip(&self.alert_log) {
            self.book.evolve(seq, record);
        }
    }

    fn ask(&mut self, body: AskBody) {
        let (by, reason) = (By::User("ana".to_owned()), Some("because".to_owned()));
        let ask = Ask { by, reason, body };
        let seen = self.watch.last_seq();
        if let Ok(decided) = decide(&self.book, &self.policy, self.now, seen, &ask) {
            self.append(&decided.record);
        }
    }

    fn take(&mut self, step: &Step) {
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
        self.settle();
        self.check();
    }

    /// What holds at every moment.
    fn check(&self) {
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
    fn come_to_rest(&mut self) {
        for _ in 0..400 {
            self.settle();
            while !self.under_way.is_empty() {
                self.answer(0, 3);
                self.settle();
            }
            let due = next_due(&self.watch, &self.book, &self.policy, self.now);
            let Some(due) = due.filter(|due| due.since(self.now) < Micros(HOUR.0 * 2)) else {
                return;
            };
            self.now = self.now.max(due);
        }
    }
}

fn created(at: Timestamp) -> RunCreated {
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
    }
}

fn lived(steps: &[Step]) -> World {
    let mut world = World::new();
    for step in steps {
        world.take(step);
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_same_history_gives_the_same_bytes(steps in prop::collection::vec(step(), 1..80)) {
        let (one, two) = (lived(&steps), lived(&steps));
        let bytes = |world: &World| world.alert_log.iter().flat_map(encode_any).collect::<Vec<u8>>();
        prop_assert_eq!(bytes(&one), bytes(&two));
        let mut folded = Book::default();
        for (seq, record) in (1..).zip(&one.alert_log) {
            folded.evolve(seq, record);
        }
        prop_assert_eq!(folded, one.book);
    }

    #[test]
    fn every_failure_is_an_alert_and_every_alert_is_told(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = lived(&steps);
        world.come_to_rest();
        for seq in &world.failures {
            let alert = world.book.alerts().find(|alert| alert.last_cause >= *seq && alert.causes.first() <= Some(seq));
            prop_assert!(alert.is_some(), "the failure {} has no alert", seq);
        }
        for alert in world.book.alerts() {
            let is_firing = matches!(alert.state, AlertState::Firing);
            if is_firing && world.book.silenced_by(&alert.labels, world.now).is_none() {
                prop_assert!(!alert.told().is_empty(), "nobody was told of {}", alert.summary);
            }
            // Whoever was told of it is told of its end.
            for receiver in alert.told().into_iter().filter(|_| !alert.is_open()) {
                let ended = alert.deliveries.values().any(|it| it.purpose == Purpose::Resolve && it.receiver == receiver);
                prop_assert!(ended, "{} does not know that {} is over", receiver, alert.summary);
            }
        }
    }

    #[test]
    fn what_a_crash_leaves_open_is_sent_again_under_its_name(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = lived(&steps);
        let open: Vec<String> = world.under_way.iter().map(|(_, message, _)| message.clone()).collect();
        world.crash();
        let before = world.reached.clone();
        world.settle();
        for message in open {
            if !world.taken.contains(&message) {
                let again = world.reached[&message] > before[&message];
                prop_assert!(again, "{} was lost by a crash", message);
            }
        }
    }
}

#[test]
fn a_run_that_is_missing_is_seen_by_time_alone() {
    let mut world = World::new();
    world.take(&Step::Promise(0));
    world.take(&Step::Wait(200));
    assert_eq!(world.book.open().count(), 0, "its grace is not over");
    world.take(&Step::Wait(161));
    let alert = world.book.open().next().unwrap().clone();
    assert_eq!(
        (alert.rule, alert.labels["cause"].as_str()),
        (Rule::RunMissing, "scheduler_silent")
    );
    assert_eq!(alert.causes, [1]);
    assert_eq!(alert.since, world.run_log[0].at.plus(Micros::from_secs(60)));
    // It comes late: the alert is over.
    let promised = world.run_log[0].at;
    let late = RunCreated { logical_date: Some(promised), ..created(world.now) };
    world.log(Scope::Run(key(0, 1)), Fact::RunCreated(Box::new(late)));
    world.settle();
    assert_eq!(world.book.open().count(), 0);
}

#[test]
fn a_success_of_an_earlier_run_makes_nothing_up() {
    let mut world = World::new();
    for step in [Step::Create(0, 0), Step::Create(0, 1), Step::Fail(0, 1), Step::Succeed(0, 0)] {
        world.take(&step);
    }
    assert_eq!(world.book.open().count(), 1, "run 0 was there before the one that failed");
    world.take(&Step::Create(0, 2));
    world.take(&Step::Succeed(0, 2));
    assert_eq!(world.book.open().count(), 0);
}

#[test]
fn what_somebody_closed_is_opened_only_by_what_comes_after() {
    let mut world = World::new();
    world.take(&Step::Create(0, 0));
    world.take(&Step::Fail(0, 0));
    world.take(&Step::Resolve(0));
    world.take(&Step::Crash);
    assert_eq!(world.book.open().count(), 0);
    world.take(&Step::Create(0, 1));
    world.take(&Step::Fail(0, 1));
    let alert = world.book.open().next().unwrap();
    assert_eq!((alert.generation, alert.runs.last().unwrap().run_id.as_str()), (2, "run_1"));
}
