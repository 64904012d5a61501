//! What is called for, as records of the alert log.
mod chase;
mod holds;
mod notices;
mod pace;

pub(crate) use notices::{Place, first, gathering, has};

use std::collections::{BTreeMap, BTreeSet};

use dagbok_events::{Micros, RunKey, Timestamp};
use holds::Holds;

use crate::{
    Alert, AlertFact, AlertOpened, AlertRecord, AlertRecurred, AlertResolved, AlertScope, Book, By,
    Condition, Policy, RUNBOOK, ResolvedWhy, Rule, Severity, SignOfLife, Watch, dedup_key, limits,
    touched::Changed,
};

/// What is to be looked at, and when: planning costs what changed or is due, not what is open. It is no state of
/// its own: a new one looks at everything first.
#[derive(Clone, Debug, Default)]
pub struct Agenda {
    dues: BTreeSet<(Timestamp, u64)>,
    due_of: BTreeMap<u64, Timestamp>,
    /// When the next silence ends.
    silence_end: Option<Timestamp>,
    /// When a route becomes mute next, or is so no more.
    mute_change: Option<Timestamp>,
    looked_at: Timestamp,
    is_begun: bool,
    holds: Holds,
}

impl Agenda {
    /// Another policy is in force: all alerts are looked at again.
    pub fn look_again(&mut self) {
        self.is_begun = false;
    }

    /// What is to be recorded at `now`. `sending` names the deliveries that the asker has under way: others that the
    /// book has as being sent were in the hands of somebody who is gone, and are sent again under the same name.
    ///
    /// Fold what it answers and ask again, until nothing is called for.
    pub fn plan(
        &mut self,
        watch: &mut Watch,
        book: &mut Book,
        policy: &Policy,
        now: Timestamp,
        sending: &BTreeSet<String>,
    ) -> Vec<AlertRecord> {
        if !book.has_begun() {
            return Vec::new();
        }
        let records = self.round(watch, book, policy, now, sending);
        if records.is_empty() && !self.is_begun {
            // A new root cause, and nothing else: what follows from it is looked at.
            return self.round(watch, book, policy, now, sending);
        }
        records
    }

    fn round(
        &mut self,
        watch: &mut Watch,
        book: &mut Book,
        policy: &Policy,
        now: Timestamp,
        sending: &BTreeSet<String>,
    ) -> Vec<AlertRecord> {
        let mut keys = keys(watch, book, now, !self.is_begun);
        keys.extend(book.missing_in(self.looked_at, now));
        keys.extend(book.unsent_in(self.looked_at, now));
        keys.extend(policy.expiring_in(self.looked_at, now, !self.is_begun));
        let looked_at = self.alerts(book, policy, now);
        let sent = BTreeMap::new();
        let mut planned = Planned { now, seen: watch.last_seq(), records: Vec::new(), sent };
        let (mut opened, mut changed) = (book.opened, BTreeSet::new());
        for (rule, scope) in &keys {
            let own = book.condition(*rule, scope, now);
            let own = own.or_else(|| policy.condition(*rule, scope, now));
            // Where nobody mails those whom DAG files name, a retry is no alert.
            let is_told = *rule != Rule::TaskRetried || policy.mailing().next().is_some();
            let found = own.or_else(|| watch.condition(*rule, scope, now)).filter(|_| is_told);
            let facts = match found {
                Some(condition) => traced(watch, about(book, policy, &condition, &mut opened)),
                None => over(watch, book, *rule, scope),
            };
            changed.extend(facts.iter().filter_map(changes));
            planned.add(facts);
        }
        // What has changed in this round is looked at in the next: nobody is told of what is over by now.
        let looked_at: Vec<u64> =
            looked_at.into_iter().filter(|id| !changed.contains(id)).collect();
        for alert in looked_at.iter().filter_map(|id| book.alert(*id)) {
            // What follows from a new root cause may be told already.
            self.is_begun &= !self.holds.root(alert);
        }
        for id in looked_at {
            let Some(alert) = book.alert(id) else { continue };
            let held = self.holds.facts(book, policy, alert, now);
            let told = if held.is_empty() { chase::facts(policy, alert, now) } else { Vec::new() };
            let rest = [held, tested(alert), told, notices::facts(policy, alert, now, sending)];
            let is_at_rest = rest.iter().all(Vec::is_empty);
            for facts in rest {
                planned.add_paced(book, policy, alert, facts);
            }
            if is_at_rest {
                let dues = [chase::due(policy, alert), notices::due(policy, alert)];
                self.put_off(id, dues.into_iter().flatten().min());
            }
        }
        planned.add_gathered(book, policy);
        planned.add(sign(book, policy, now));
        planned.records
    }

    /// Alerts that changed or are due.
    fn alerts(&mut self, book: &mut Book, policy: &Policy, now: Timestamp) -> BTreeSet<u64> {
        let is_unsilenced = self.silence_end.is_some_and(|end| end <= now);
        let is_muted = self.mute_change.is_some_and(|at| at <= now);
        let is_all = !self.is_begun || is_unsilenced || is_muted || now < self.looked_at;
        let ends = book.silences.values().map(|it| it.until).filter(|until| *until > now);
        self.silence_end = ends.min();
        self.mute_change = policy.next_mute(now);
        (self.is_begun, self.looked_at) = (true, now);
        match book.touched.drain() {
            Changed::These(mut some) if !is_all => {
                let due = self.dues.range(..=(now, u64::MAX)).map(|(_, id)| *id);
                some.extend(due);
                some
            }
            Changed::These(_) | Changed::All => {
                self.dues.clear();
                self.due_of.clear();
                self.holds = Holds::new(book, policy);
                book.open.union(&book.unsettled).copied().collect()
            }
        }
    }

    /// An alert is looked at again then; never where there is nothing to come.
    fn put_off(&mut self, id: u64, due: Option<Timestamp>) {
        if let Some(before) = self.due_of.remove(&id) {
            self.dues.remove(&(before, id));
        }
        if let Some(due) = due {
            self.dues.insert((due, id));
            self.due_of.insert(id, due);
        }
    }

    /// When to ask again though nothing was recorded; what is past where something waits already.
    pub fn next_due(&self, watch: &Watch, book: &Book, policy: &Policy) -> Option<Timestamp> {
        let has_news = !self.is_begun
            || watch.has_changed()
            || book.touched.is_any()
            || book.touched_keys.is_any();
        let at_once = has_news.then_some(self.looked_at);
        let alert = self.dues.first().map(|(at, _)| *at);
        let by_time = watch.next_due(self.looked_at);
        let beat = book.next_missing(self.looked_at);
        let sign = policy.sign_every.map(|every| sign_due(book, every));
        let room = pace::next_room(book, policy, self.looked_at);
        let mute = self.mute_change;
        let unsent = book.next_unsent(self.looked_at);
        let expiry = policy.next_expiry(self.looked_at);
        [at_once, alert, self.silence_end, mute, by_time, beat, sign, room, unsent, expiry]
            .into_iter()
            .flatten()
            .min()
    }
}

/// What one round of planning came to.
struct Planned {
    now: Timestamp,
    seen: u64,
    records: Vec<AlertRecord>,
    /// How many messages receivers have by this round.
    sent: BTreeMap<String, usize>,
}

impl Planned {
    fn add(&mut self, facts: Vec<AlertFact>) {
        if !facts.is_empty() {
            let (at, seen) = (self.now, self.seen);
            self.records.push(AlertRecord { at, by: By::Rules, reason: None, seen, facts });
        }
    }
}

/// When the next sign of life is due.
fn sign_due(book: &Book, every: Micros) -> Timestamp {
    book.signs.at.map_or(Timestamp(0), |at| at.plus(every))
}

/// A sign of life, where one is due: it went through the log, the fold and the rules as an alert does.
fn sign(book: &Book, policy: &Policy, now: Timestamp) -> Vec<AlertFact> {
    match policy.sign_every {
        Some(every) if sign_due(book, every) <= now => {
            let (number, trouble) = (book.signs.number + 1, book.trouble());
            vec![AlertFact::SignOfLife(SignOfLife { number, trouble })]
        }
        _ => Vec::new(),
    }
}

/// What may be wrong, or right again.
fn keys(
    watch: &mut Watch,
    book: &mut Book,
    now: Timestamp,
    is_all: bool,
) -> BTreeSet<(Rule, AlertScope)> {
    match (watch.changed(now), book.touched_keys.drain()) {
        (Changed::These(mut some), Changed::These(own)) if !is_all => {
            some.extend(own);
            some
        }
        _ => {
            let found = watch.conditions(now).into_iter().map(|it| (it.rule, it.scope));
            let open = book.open().map(|it| (it.rule, it.scope.clone()));
            found.chain(open).chain(book.condition_keys()).collect()
        }
    }
}

/// The alert that a fact changes.
fn changes(fact: &AlertFact) -> Option<u64> {
    match fact {
        AlertFact::AlertRecurred(it) => Some(it.id),
        AlertFact::AlertResolved(it) => Some(it.id),
        _ => None,
    }
}

/// What a condition calls for: a new alert, another word in an open one, or nothing.
fn about(book: &Book, policy: &Policy, condition: &Condition, opened: &mut u64) -> Vec<AlertFact> {
    let key = (condition.rule, condition.scope.clone());
    let newest = book.newest.get(&key).and_then(|id| book.alert(*id));
    let incidents = book.incidents.get(&key).copied().unwrap_or_default();
    let generation = incidents.count;
    let is_news = |alert: &Alert| condition.is_after(alert.last_cause, alert.last_at);
    let is_closed = incidents.closed.is_some_and(|(cause, at)| !condition.is_after(cause, at));
    match newest.filter(|alert| alert.is_open()) {
        Some(alert) if condition.rule.recurs() && is_news(alert) => {
            if alert.is_firing() && !is_worse(alert, condition) {
                vec![recurred(alert, condition)]
            } else {
                // Whoever has it in hand has the one that was before; and one that got worse goes by other routes.
                let over = resolved(alert, ResolvedWhy::Superseded, Some(condition.last_cause()));
                vec![over, open(book, policy, condition, generation + 1, opened)]
            }
        }
        // What is wrong with the file is another thing now: whoever looks must not mend what is mended.
        // Of a pool that is missing likewise.
        Some(alert) if matches!(condition.rule, Rule::ConfigurationRefused | Rule::PoolMissing) => {
            if alert.details == condition.details {
                Vec::new()
            } else {
                vec![recurred(alert, condition)]
            }
        }
        Some(_) => Vec::new(),
        // Somebody said that it is over, and nothing came since.
        None if is_closed && (!condition.causes.is_empty() || condition.due.is_some()) => {
            Vec::new()
        }
        None => {
            let began = book.began.as_ref().map_or(Timestamp(0), |(at, _)| *at);
            let is_history = condition.since.plus(limits::LOOK_BACK) < began;
            if is_history {
                Vec::new()
            } else {
                vec![open(book, policy, condition, generation + 1, opened)]
            }
        }
    }
}

/// Says of what is opened or happens again whose trace it belongs to.
fn traced(watch: &Watch, mut facts: Vec<AlertFact>) -> Vec<AlertFact> {
    let trace = |run: Option<&RunKey>| run.and_then(|run| watch.trace_of(run));
    for fact in &mut facts {
        match fact {
            AlertFact::AlertOpened(it) => it.trace = trace(it.run.as_ref()),
            AlertFact::AlertRecurred(it) => it.trace = trace(it.run.as_ref()),
            _ => {}
        }
    }
    facts
}

/// Whether it came and went too often to be told each time.
fn flaps(book: &Book, condition: &Condition) -> bool {
    let began = book.began_at.get(&(condition.rule, condition.scope.clone()));
    began.is_some_and(|began| {
        began.len() + 1 >= limits::FLAPS && condition.since.since(began[0]) < limits::FLAPS_WITHIN
    })
}

fn is_worse(alert: &Alert, condition: &Condition) -> bool {
    let was = alert.labels.get("severity").map(String::as_str);
    let known = [Severity::Info, Severity::Warning, Severity::Critical];
    known.into_iter().find(|it| Some(it.word()) == was).is_some_and(|was| was < condition.severity)
}

fn open(
    book: &Book,
    policy: &Policy,
    condition: &Condition,
    generation: u32,
    opened: &mut u64,
) -> AlertFact {
    *opened += 1;
    let namespace = book.namespace();
    let (mut labels, mut details) = (condition.all_labels(namespace), condition.details.clone());
    if flaps(book, condition) {
        labels.insert("flapping".to_owned(), "true".to_owned());
        let what = format!("{} times within the hour, so it is told once it stays", limits::FLAPS);
        details.push(("came and went".to_owned(), what));
    }
    if let Some(runbook) = policy.runbook(condition.rule, &labels) {
        labels.insert(RUNBOOK.to_owned(), runbook);
    }
    AlertFact::AlertOpened(Box::new(AlertOpened {
        id: *opened,
        rule: condition.rule,
        scope: condition.scope.clone(),
        generation,
        dedup_key: dedup_key(namespace, condition.rule, &condition.scope, generation),
        labels,
        summary: condition.summary.clone(),
        details,
        causes: condition.causes.clone(),
        since: condition.since,
        run: condition.run.clone(),
        trace: None,
        only: None,
    }))
}

fn recurred(alert: &Alert, condition: &Condition) -> AlertFact {
    let known = alert.last_cause;
    AlertFact::AlertRecurred(Box::new(AlertRecurred {
        id: alert.id,
        summary: condition.summary.clone(),
        details: condition.details.clone(),
        causes: condition.causes.iter().copied().filter(|seq| *seq > known).collect(),
        run: condition.run.clone(),
        trace: None,
    }))
}

pub(crate) fn resolved(alert: &Alert, why: ResolvedWhy, by_seq: Option<u64>) -> AlertFact {
    AlertFact::AlertResolved(AlertResolved { id: alert.id, why, by_seq })
}

/// What is called for where nothing is wrong: an open alert about it is over.
fn over(watch: &Watch, book: &Book, rule: Rule, scope: &AlertScope) -> Vec<AlertFact> {
    let newest = book.newest.get(&(rule, scope.clone())).and_then(|id| book.alert(*id));
    match newest.filter(|alert| alert.is_open() && rule != Rule::Test) {
        Some(alert) => {
            vec![resolved(alert, ResolvedWhy::Recovered, watch.cleared_by(rule, scope))]
        }
        None => Vec::new(),
    }
}

/// The end of a test, once all was said.
fn tested(alert: &Alert) -> Vec<AlertFact> {
    let is_test = alert.rule == Rule::Test && alert.is_open();
    let is_done = is_test && alert.chase.is_some() && notices::all_said(alert);
    if is_done { vec![resolved(alert, ResolvedWhy::Tested, None)] } else { Vec::new() }
}
