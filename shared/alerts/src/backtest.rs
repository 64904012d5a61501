//! What would have been told: a history gone through again by the same rules, under any policy. There is no sender in
//! here and none can be put in; each message counts as taken at once, and nobody acknowledges.
use std::collections::{BTreeMap, BTreeSet};

use dagbok_events::{Record, Timestamp};

use crate::{
    Agenda, AlertFact, AlertRecord, AlertScope, AlertingBegan, Answered, Book, By, Condition,
    Labels, Outcome, Policy, Purpose, ResolvedWhy, Rule, Watch, limits, outcome,
};

/// Rounds of planning at one moment.
const ROUNDS: usize = 64;

/// An alert that there would have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WouldBe {
    /// By which rule.
    pub rule: Rule,
    /// Whose trouble it would have been.
    pub scope: AlertScope,
    /// What routes and silences match.
    pub labels: Labels,
    /// One line for people.
    pub summary: String,
    /// When it would have been opened.
    pub opened_at: Timestamp,
    /// When it would have been over; `None` while it would not.
    pub resolved_at: Option<Timestamp>,
    /// By which route.
    pub route: String,
    /// Who would have been told that something is wrong, and how often.
    pub told: BTreeMap<String, u32>,
}

/// A history under way.
#[derive(Debug)]
pub struct Backtest {
    policy: Policy,
    namespace: String,
    since: Timestamp,
    now: Timestamp,
    watch: Watch,
    book: Book,
    agenda: Agenda,
    found: BTreeMap<u64, WouldBe>,
    left_out: u64,
}

impl Backtest {
    /// Alerts of what happens from `since` on. What came before is known, as it would be to an alerting service that
    /// is installed then.
    pub fn new(mut policy: Policy, namespace: &str, since: Timestamp) -> Self {
        // Signs of life are no alerts, and there are half a million of them in a year.
        policy.sign_every = None;
        let mut watch = Watch::default();
        watch.heed(&policy.thresholds);
        Self {
            policy,
            namespace: namespace.to_owned(),
            since,
            now: since,
            watch,
            book: Book::default(),
            agenda: Agenda::default(),
            found: BTreeMap::new(),
            left_out: 0,
        }
    }

    /// Takes the next record of the run log in, and lets the time until then pass before.
    pub fn take(&mut self, seq: u64, record: &Record) {
        if record.at >= self.since {
            self.pass(record.at);
        }
        self.watch.evolve(seq, record);
        if record.at >= self.since {
            self.settle();
        }
    }

    /// Lets time pass until `now`.
    pub fn pass(&mut self, now: Timestamp) {
        self.begin();
        while let Some(due) = self.agenda.next_due(&self.watch, &self.book, &self.policy)
            && due <= now
        {
            let is_past = due <= self.now;
            self.now = self.now.max(due);
            // What is due and calls for nothing is due for ever.
            if !self.settle() && is_past {
                break;
            }
        }
        self.now = self.now.max(now);
    }

    /// Alerts that there would have been, in order, and how many more there are than are kept.
    pub fn found(&self) -> (impl Iterator<Item = &WouldBe>, u64) {
        (self.found.values(), self.left_out)
    }

    fn begin(&mut self) {
        if !self.book.has_begun() {
            let namespace = self.namespace.clone();
            let facts = vec![AlertFact::AlertingBegan(AlertingBegan { namespace })];
            let (at, seen) = (self.since, self.watch.last_seq());
            self.fold(&AlertRecord { at, by: By::Rules, reason: None, seen, facts });
        }
    }

    /// Decides all that is called for now; whether anything was.
    fn settle(&mut self) -> bool {
        self.begin();
        let nothing = BTreeSet::new();
        let before = self.book.last_seq();
        for _ in 0..ROUNDS {
            let (watch, book) = (&mut self.watch, &mut self.book);
            let records = self.agenda.plan(watch, book, &self.policy, self.now, &nothing);
            if records.is_empty() {
                break;
            }
            for record in &records {
                self.fold(record);
            }
        }
        self.book.last_seq() > before
    }

    /// Takes a decision in; what it would send is taken by whom it is for.
    fn fold(&mut self, record: &AlertRecord) {
        let seq = self.book.last_seq() + 1;
        self.book.evolve(seq, record);
        for fact in &record.facts {
            self.note(record.at, fact);
            let AlertFact::NotificationAttempted(it) = fact else { continue };
            let answered = Answered::Accepted { status: None, provider_id: None };
            let (id, message, attempt) = (it.id, it.message.as_str(), it.attempt);
            let came = Outcome { id, message, attempt, took_ms: 0, answered: &answered };
            let seen = self.watch.last_seq();
            if let Some(taken) = outcome(&self.book, &self.policy, self.now, seen, &came) {
                self.book.evolve(self.book.last_seq() + 1, &taken);
            }
        }
    }

    fn note(&mut self, at: Timestamp, fact: &AlertFact) {
        match fact {
            AlertFact::AlertOpened(_) if self.found.len() >= limits::KEPT => self.left_out += 1,
            AlertFact::AlertOpened(it) => {
                let would_be = WouldBe {
                    rule: it.rule,
                    scope: it.scope.clone(),
                    labels: it.labels.clone(),
                    summary: it.summary.clone(),
                    opened_at: at,
                    resolved_at: None,
                    route: self.policy.route(&it.labels).map(|it| it.route).unwrap_or_default(),
                    told: BTreeMap::new(),
                };
                self.found.insert(it.id, would_be);
            }
            AlertFact::AlertResolved(it) if it.why != ResolvedWhy::Tested => {
                if let Some(found) = self.found.get_mut(&it.id) {
                    found.resolved_at = Some(at);
                }
            }
            AlertFact::NotificationAttempted(it) if it.purpose == Purpose::Trigger => {
                let others = it.gathers.iter().flat_map(|it| &it.alerts);
                for id in std::iter::once(&it.id).chain(others) {
                    if let Some(found) = self.found.get_mut(id) {
                        *found.told.entry(it.receiver.clone()).or_default() += 1;
                    }
                }
            }
            _ => {}
        }
    }
}

/// What one record of the run log calls for.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// What is wrong by it, right after it.
    pub wrong: Vec<Condition>,
    /// What will be wrong, and from when on, unless something comes before.
    pub awaited: Vec<(Rule, AlertScope, Timestamp)>,
    /// What is so no more.
    pub over: Vec<(Rule, AlertScope)>,
}

/// Says what the record at `seq` calls for; `watch` has folded the log up to and with it.
pub fn explain(watch: &Watch, seq: u64, now: Timestamp) -> Explained {
    let names = |condition: &Condition| condition.causes.contains(&seq);
    Explained {
        wrong: watch.conditions(now).into_iter().filter(names).collect(),
        awaited: watch.awaited_by(seq, now),
        over: watch.over_by(seq),
    }
}
