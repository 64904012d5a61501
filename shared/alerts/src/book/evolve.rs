//! The fold itself: total, one arm for each fact.
use dagbok_events::Timestamp;

use super::{
    Alert, AlertState, Attempt, Book, Chase, Delivery, DeliveryState, Failing, Incidents, Refused,
    SIGNS, Silence, machine::is_observed,
};
use crate::{
    AlertFact, AlertOpened, AlertRecord, AlertRecurred, AlertResolved, AlertScope, AlertSilenced,
    By, NotificationAttempted, Purpose, ResolvedWhy, Rule, limits, plan::has,
};

/// What came of an attempt.
struct Came<'a> {
    id: u64,
    message: &'a str,
    attempt: u32,
    status: Option<u16>,
    why: Option<&'a str>,
    took_ms: u64,
    state: DeliveryState,
}

impl Book {
    /// Takes a record in. History is never refused.
    pub fn evolve(&mut self, seq: u64, record: &AlertRecord) {
        self.last_seq = seq;
        self.last_at = record.at;
        for fact in &record.facts {
            self.take(record, fact);
            if let Some(id) = fact.alert_id() {
                self.touched.note(|| id);
            }
        }
        self.forget_old();
    }

    fn take(&mut self, record: &AlertRecord, fact: &AlertFact) {
        let at = record.at;
        match fact {
            AlertFact::AlertingBegan(it) => {
                self.began.get_or_insert_with(|| (at, it.namespace.clone()));
            }
            AlertFact::ConfigurationTaken(it) => {
                self.configuration = Some(it.digest.clone());
                self.refused = None;
                self.touched_keys.note_all();
                self.failing.retain(|name, _| name == SIGNS || it.receivers.contains(name));
                self.paces
                    .retain(|name, pace| it.receivers.contains(name) || !pace.withheld.is_empty());
                self.wordless.clear();
                self.calendars.retain(|name, _| it.calendars.contains(name));
            }
            AlertFact::ConfigurationRefused(it) => {
                let (digest, why) = (it.digest.clone(), it.why.clone());
                self.refused = Some(Refused { digest, why, at, is_closed: false });
                self.touched_keys.note(|| (Rule::ConfigurationRefused, AlertScope::Namespace));
            }
            AlertFact::ClockWentBack(it) => self.clock_went_back(it.to),
            AlertFact::AlertSuppressed(it) => self.suppressed(it),
            AlertFact::AlertReleased(it) => self.released(it.id),
            AlertFact::SignOfLife(_)
            | AlertFact::SignOfLifeFailed(_)
            | AlertFact::SignOfLifeAccepted(_)
            | AlertFact::HeartbeatReceived(_)
            | AlertFact::HeartbeatForgotten(_) => self.lives(at, fact),
            AlertFact::CalendarTaken(it) => self.calendar_taken(it),
            AlertFact::CalendarRefused(it) => self.calendar_refused(at, it),
            AlertFact::DiskObserved(_)
            | AlertFact::ProjectionObserved(_)
            | AlertFact::StoreObserved(_)
            | AlertFact::BlobsObserved(_) => self.observed(at, fact),
            AlertFact::AlertOpened(it) => self.opened(at, it),
            AlertFact::AlertRecurred(it) => self.recurred(at, it),
            AlertFact::AlertAcknowledged(it) => {
                if let Some(alert) = self.alerts.get_mut(&it.id).filter(|alert| alert.is_open()) {
                    let (by, note) = (record.by.clone(), record.reason.clone());
                    alert.state = AlertState::Acknowledged { by, at, note };
                    alert.is_news = false;
                }
                self.let_go(it.id);
            }
            AlertFact::AlertEscalated(it) => {
                if let Some(alert) = self.alerts.get_mut(&it.id) {
                    alert.chase = Some(Chase { turn: it.turn, step: it.step, at });
                    alert.is_news = false;
                }
            }
            AlertFact::AlertResolved(it) => self.resolved(record, it),
            AlertFact::AlertSilenced(it) => {
                self.touched.note_all();
                self.silence(record, it);
            }
            AlertFact::AlertUnsilenced(it) => {
                self.touched.note_all();
                if let Some(silence) = self.silences.get_mut(&it.silence) {
                    silence.until = silence.until.min(at);
                }
            }
            AlertFact::NotificationAttempted(_)
            | AlertFact::NotificationWithheld(_)
            | AlertFact::NotificationAccepted(_)
            | AlertFact::NotificationFailed(_)
            | AlertFact::NotificationRejected(_) => self.notified(at, fact),
        }
    }

    fn resolved(&mut self, record: &AlertRecord, it: &AlertResolved) {
        let at = record.at;
        if let Some(alert) = self.alerts.get_mut(&it.id) {
            let (by, note) = (record.by.clone(), record.reason.clone());
            alert.state = AlertState::Resolved { why: it.why, by, at, note };
            alert.resolved_by = it.by_seq;
            let (rule, scope, cause) = (alert.rule, alert.scope.clone(), alert.last_cause);
            self.open.remove(&it.id);
            // What was told with it is looked at again.
            for held in self.holds.get(&it.id).into_iter().flatten() {
                self.touched.note(|| *held);
            }
            self.released(it.id);
            self.refresh_no_more(it.id);
            self.settle(it.id);
            if it.why == ResolvedWhy::ByHand {
                if let Some(incidents) = self.incidents.get_mut(&(rule, scope.clone())) {
                    incidents.closed = Some((cause, at));
                }
                self.closed(at, rule, &scope);
            }
        }
    }

    /// Takes in who is told, and what came of it.
    fn notified(&mut self, at: Timestamp, fact: &AlertFact) {
        match fact {
            AlertFact::NotificationAttempted(it) => {
                self.attempted(at, it);
                self.paced(at, it);
            }
            AlertFact::NotificationWithheld(it) => self.withheld(at, it),
            AlertFact::NotificationAccepted(it) => {
                let (message, attempt, status) = (&*it.message, it.attempt, it.status);
                let (state, why, took_ms) = (DeliveryState::Accepted, None, it.took_ms);
                let came = Came { id: it.id, message, attempt, status, why, took_ms, state };
                self.came(at, &came);
                self.named(it);
            }
            AlertFact::NotificationFailed(it) => {
                let (message, attempt, status) = (&*it.message, it.attempt, it.status);
                let (why, took_ms) = (Some(&*it.why), it.took_ms);
                let state = DeliveryState::Waiting { until: it.retry_at };
                let came = Came { id: it.id, message, attempt, status, why, took_ms, state };
                self.came(at, &came);
            }
            AlertFact::NotificationRejected(it) => {
                let (message, attempt, status) = (&*it.message, it.attempt, it.status);
                let (why, took_ms) = (Some(&*it.why), it.took_ms);
                let state = DeliveryState::Rejected;
                let came = Came { id: it.id, message, attempt, status, why, took_ms, state };
                self.came(at, &came);
            }
            AlertFact::AlertingBegan(_)
            | AlertFact::ClockWentBack(_)
            | AlertFact::AlertSuppressed(_)
            | AlertFact::AlertReleased(_)
            | AlertFact::SignOfLife(_)
            | AlertFact::SignOfLifeFailed(_)
            | AlertFact::SignOfLifeAccepted(_)
            | AlertFact::HeartbeatReceived(_)
            | AlertFact::HeartbeatForgotten(_)
            | AlertFact::CalendarTaken(_)
            | AlertFact::CalendarRefused(_)
            | AlertFact::DiskObserved(_)
            | AlertFact::ProjectionObserved(_)
            | AlertFact::StoreObserved(_)
            | AlertFact::BlobsObserved(_)
            | AlertFact::ConfigurationTaken(_)
            | AlertFact::ConfigurationRefused(_)
            | AlertFact::AlertOpened(_)
            | AlertFact::AlertRecurred(_)
            | AlertFact::AlertAcknowledged(_)
            | AlertFact::AlertEscalated(_)
            | AlertFact::AlertResolved(_)
            | AlertFact::AlertSilenced(_)
            | AlertFact::AlertUnsilenced(_) => {}
        }
    }

    fn opened(&mut self, at: Timestamp, it: &AlertOpened) {
        let key = (it.rule, it.scope.clone());
        let last_cause = it.causes.last().copied().unwrap_or(0);
        self.opened = self.opened.max(it.id);
        self.newest.insert(key.clone(), it.id);
        self.incidents.insert(key.clone(), Incidents { count: it.generation, closed: None });
        if it.generation > 1 {
            let began = self.began_at.entry(key).or_default();
            began.push(at);
            if began.len() >= limits::FLAPS {
                began.remove(0);
            }
        }
        self.open.insert(it.id);
        self.unsettled.insert(it.id);
        let alert = Alert {
            id: it.id,
            rule: it.rule,
            scope: it.scope.clone(),
            generation: it.generation,
            dedup_key: it.dedup_key.clone(),
            labels: it.labels.clone(),
            summary: it.summary.clone(),
            details: it.details.clone(),
            causes: it.causes.clone(),
            last_cause,
            count: 1,
            runs: it.run.iter().cloned().collect(),
            since: it.since,
            opened_at: at,
            last_at: at,
            state: AlertState::Firing,
            chase: None,
            is_news: false,
            only: it.only.clone(),
            resolved_by: None,
            held: None,
            follows: super::Follows::default(),
            heard: std::collections::BTreeSet::new(),
            threads: std::collections::BTreeMap::new(),
            refreshed: std::collections::BTreeMap::new(),
            deliveries: std::collections::BTreeMap::new(),
        };
        self.alerts.insert(it.id, alert);
    }

    fn recurred(&mut self, at: Timestamp, it: &AlertRecurred) {
        let Some(alert) = self.alerts.get_mut(&it.id) else { return };
        alert.summary.clone_from(&it.summary);
        alert.details.clone_from(&it.details);
        alert.causes.extend(&it.causes);
        while alert.causes.len() > limits::CAUSES {
            alert.causes.remove(1);
        }
        alert.last_cause = alert.last_cause.max(it.causes.last().copied().unwrap_or(0));
        alert.count = alert.count.saturating_add(1);
        alert.last_at = at;
        alert.is_news = true;
        alert.runs.extend(it.run.iter().cloned());
        if alert.runs.len() > limits::RUNS {
            alert.runs.remove(1);
        }
    }

    fn silence(&mut self, record: &AlertRecord, it: &AlertSilenced) {
        // One whose matchers a newer version wrote and this one can't read silences nothing.
        let matchers: Result<Vec<_>, _> = it.matchers.iter().map(|text| text.parse()).collect();
        self.silenced = self.silenced.max(it.silence);
        let Ok(matchers) = matchers else { return };
        let (by, reason) = (record.by.clone(), record.reason.clone().unwrap_or_default());
        let (until, since) = (it.until, record.at);
        if self.silences.len() >= limits::SILENCES {
            self.silences.retain(|_, silence| silence.until > since);
        }
        self.silences.insert(it.silence, Silence { matchers, until, by, reason, since });
    }

    fn attempted(&mut self, at: Timestamp, it: &NotificationAttempted) {
        let Some(alert) = self.alerts.get_mut(&it.id) else { return };
        if alert.chase.is_none() && it.purpose == Purpose::Trigger {
            alert.chase = Some(Chase { turn: it.turn, step: it.step, at });
            alert.is_news = false;
        }
        alert.told_again(at, it);
        let delivery = alert.deliveries.entry(it.message.clone()).or_insert_with(|| Delivery {
            purpose: it.purpose,
            receiver: it.receiver.clone(),
            route: it.route.clone(),
            turn: it.turn,
            step: it.step,
            instead_of: it.instead_of.clone(),
            person: it.person.clone(),
            text_digest: String::new(),
            gathers: None,
            state: DeliveryState::Sending,
            told_with: None,
            count: 0,
            first_at: at,
            provider_id: None,
            attempts: Vec::new(),
        });
        delivery.text_digest.clone_from(&it.text_digest);
        delivery.gathers.clone_from(&it.gathers);
        if delivery.count == 0 {
            delivery.first_at = at;
            let is_own = alert.rule == Rule::MessagesWaiting || it.purpose == Purpose::Refresh;
            if !is_own {
                self.unsent.insert((at, it.id, it.message.clone()));
            }
        }
        delivery.state = DeliveryState::Sending;
        delivery.count = delivery.count.max(it.attempt);
        if delivery.attempts.len() >= limits::ATTEMPTS {
            delivery.attempts.remove(1);
        }
        delivery.attempts.push(Attempt {
            number: it.attempt,
            at,
            ended_at: None,
            status: None,
            why: None,
            took_ms: None,
        });
        trim(alert);
        self.unsettled.insert(it.id);
    }

    /// Somebody said that what is wrong with a part of alerting is over: it is so until something newer says otherwise.
    fn closed(&mut self, at: Timestamp, rule: Rule, scope: &AlertScope) {
        match (rule, scope) {
            (Rule::ReceiverFailing, AlertScope::Receiver(name)) => {
                if let Some(failing) = self.failing.get_mut(name) {
                    failing.closed_at = Some(at);
                }
            }
            (Rule::ConfigurationRefused, AlertScope::Namespace) => {
                if let Some(refused) = &mut self.refused {
                    refused.is_closed = true;
                }
            }
            (Rule::TemplateFailing, AlertScope::Receiver(name)) => {
                self.wordless.remove(name);
            }
            (Rule::CalendarRefused, AlertScope::Schedule(name)) => self.calendar_closed(name),
            (Rule::MessagesWaiting, AlertScope::Namespace) => self.unsent_closed = Some(at),
            (rule, AlertScope::Namespace) if is_observed(rule) => self.machine_is_well(rule),
            (Rule::DiskFilling, AlertScope::Store(name)) => self.store_is_well(name),
            (Rule::HeartbeatMissing, AlertScope::Heartbeat(name)) => {
                if let Some(beat) = self.heartbeats.get_mut(name) {
                    beat.is_closed = true;
                }
            }
            _ => {}
        }
    }

    /// What was begun later than `to` by the clock as it was began then, and waits as long from there.
    fn clock_went_back(&mut self, to: Timestamp) {
        self.touched.note_all();
        self.touched_keys.note_all();
        self.signs.at = self.signs.at.map(|at| at.min(to));
        self.missing.clear();
        self.paces.values_mut().for_each(|pace| pace.clock_back(to));
        self.words_clock_back(to);
        self.unsent_clock_back(to);
        self.machine_clock_back(to);
        let closed = self.incidents.values_mut().filter_map(|it| it.closed.as_mut());
        closed.for_each(|(_, at)| *at = (*at).min(to));
        for (name, beat) in &mut self.heartbeats {
            beat.at = beat.at.min(to);
            self.missing.insert((beat.missing_at(), name.clone()));
        }
        let ids: Vec<u64> = self.open.union(&self.unsettled).copied().collect();
        for id in ids {
            let Some(alert) = self.alerts.get_mut(&id) else { continue };
            alert.opened_at = alert.opened_at.min(to);
            alert.last_at = alert.last_at.min(to);
            if let Some(chase) = &mut alert.chase {
                chase.at = chase.at.min(to);
            }
            alert.refreshed.values_mut().for_each(|(_, last)| *last = (*last).min(to));
            for delivery in alert.deliveries.values_mut() {
                delivery.first_at = delivery.first_at.min(to);
                if let DeliveryState::Waiting { until } = &mut delivery.state {
                    *until = (*until).min(to.plus(limits::LONGEST_WAIT));
                }
            }
        }
    }

    pub(super) fn delivery(&mut self, id: u64, message: &str) -> Option<&mut Delivery> {
        self.alerts.get_mut(&id)?.deliveries.get_mut(message)
    }

    fn came(&mut self, at: Timestamp, came: &Came<'_>) {
        let Some(delivery) = self.delivery(came.id, came.message) else {
            let key = (came.id, came.message.to_owned());
            for pace in self.paces.values_mut() {
                pace.withheld.remove(&key);
            }
            return;
        };
        let attempt = delivery.attempts.iter_mut().find(|it| it.number == came.attempt);
        if let Some(attempt) = attempt {
            attempt.ended_at = Some(at);
            attempt.status = came.status;
            attempt.why = came.why.map(str::to_owned);
            attempt.took_ms = Some(came.took_ms);
        }
        // A late word of an earlier attempt counts where it is a good one.
        if came.attempt == delivery.count || came.state == DeliveryState::Accepted {
            delivery.state = came.state;
        }
        let (receiver, count) = (delivery.receiver.clone(), delivery.count);
        let (first_at, state) = (delivery.first_at, delivery.state);
        if state.is_done() {
            self.sent(at, (first_at, came.id, came.message));
        }
        if state != DeliveryState::Withheld
            && let Some(pace) = self.paces.get_mut(&receiver)
        {
            pace.withheld.remove(&(came.id, came.message.to_owned()));
        }
        self.told_others(came.id, came.message, state);
        let is_retry = self.alerts.get(&came.id).is_some_and(|it| it.rule == Rule::TaskRetried);
        match (came.state, came.why) {
            (DeliveryState::Accepted, _) => self.takes_again(&receiver),
            // What a mailbox that an author named comes to says nothing of whoever carries the mail.
            (DeliveryState::Rejected, Some(_)) if is_retry => {}
            (DeliveryState::Rejected, Some(why)) => {
                let refused = is_refusal(came.status);
                self.fails(receiver, at, first_at, (why, refused));
            }
            (_, Some(why)) if count >= limits::FALLBACK_AFTER => {
                self.fails(receiver, at, first_at, (why, is_refusal(came.status)));
            }
            _ => {}
        }
        self.settle(came.id);
    }

    fn takes_again(&mut self, receiver: &str) {
        if self.failing.remove(receiver).is_some() {
            self.touch_receiver(receiver);
        }
    }

    fn fails(
        &mut self,
        receiver: String,
        at: Timestamp,
        first_at: Timestamp,
        (why, is_refused): (&str, bool),
    ) {
        let known = self.failing.get(&receiver);
        let is_news = known.is_none_or(|it| it.closed_at.is_some_and(|closed| first_at > closed));
        if is_news {
            self.touch_receiver(&receiver);
            let (since, why) = (at, why.to_owned());
            self.failing.insert(receiver, Failing { since, why, is_refused, closed_at: None });
        }
    }

    pub(super) fn touch_receiver(&mut self, name: &str) {
        self.touched_keys.note(|| (Rule::ReceiverFailing, AlertScope::Receiver(name.to_owned())));
    }

    /// What is over, and about which all was said, is looked at no more. Whether its end is still to be told is
    /// planned when it ends.
    pub(super) fn settle(&mut self, id: u64) {
        self.let_go(id);
        let settled = self.alerts.get(&id).is_none_or(Alert::is_settled);
        let untold = self.alerts.get(&id).is_some_and(|alert| {
            let knows = |receiver: &str| has(alert, Purpose::Resolve, receiver, None);
            !alert.is_open() && alert.told().into_iter().any(|receiver| !knows(receiver))
        });
        if settled && !untold {
            self.unsettled.remove(&id);
        } else {
            self.unsettled.insert(id);
        }
    }
}

/// Lets the oldest messages of an alert go that are done with, beyond what is kept at hand.
pub(super) fn trim(alert: &mut Alert) {
    while alert.deliveries.len() > limits::DELIVERIES {
        let done = |it: &Delivery| it.purpose == Purpose::Trigger && it.state.is_done();
        let all = alert.deliveries.iter().filter(|(_, it)| done(it));
        let oldest = all.min_by_key(|(_, it)| it.first_at);
        let Some(name) = oldest.map(|(name, _)| name.clone()) else { return };
        let gone = alert.deliveries.remove(&name);
        if let Some(told) = gone.filter(|it| it.state == DeliveryState::Accepted) {
            alert.heard.insert(told.receiver);
        }
    }
}

/// Whether a provider refuses who asks, by HTTP's numbers and SMTP's.
const fn is_refusal(status: Option<u16>) -> bool {
    matches!(status, Some(401 | 403 | 530 | 534 | 535))
}

impl By {
    /// For people.
    pub fn text(&self) -> String {
        match self {
            Self::Rules => "rules".to_owned(),
            Self::User(name) => format!("user:{name}"),
            Self::Receiver(name) => format!("receiver:{name}"),
        }
    }
}
