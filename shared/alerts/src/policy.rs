//! Who is told of what: routes by matchers, chains of steps, receivers by name. Without secrets and addresses:
//! those are for whoever sends.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use dagbok_events::{Micros, Timestamp};
use thiserror::Error;

use crate::{Crew, Labels, Matcher, MuteTime, Rule, Thresholds, Words, limits, matches_all};

/// What the rules know of a receiver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiverRules {
    /// Who is told in its place where it fails.
    pub fallback: Option<String>,
    /// Whether it is told of an alert's end.
    pub resolves: bool,
    /// Whether it is told that somebody has an alert in hand.
    pub acknowledges: bool,
    /// Whether it mails those whom DAG files name.
    pub mails_dags: bool,
    /// How much it is told one by one.
    pub limit: Option<Limit>,
    /// In which words it is told.
    pub words: Option<Words>,
    /// After what time it is told again of what is not over, whoever has it in hand; without it it remembers by itself.
    pub refresh: Option<Micros>,
    /// When what it is told by holds no more.
    pub expires: Option<Timestamp>,
}

/// How many messages a receiver has within a time: what is above is told together. What is critical is told at once,
/// and so is an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How many; one at least, and [`crate::limits::PACE`] at most.
    pub messages: u32,
    /// Within what time.
    pub per: Micros,
}

/// One step of a chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// Receivers that are told.
    pub receivers: Vec<String>,
    /// People who are told.
    pub people: Vec<String>,
    /// Schedules of which whoever is on call is told.
    pub schedules: Vec<String>,
    /// People of whom one is told, by turns.
    pub round_robin: Vec<String>,
    /// How long an acknowledgement is waited for before the next step.
    pub wait: Micros,
}

/// Who is told, in order, until somebody acknowledges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// The steps; at least one.
    pub steps: Vec<Step>,
    /// How often it begins again after its last step.
    pub repeat: u32,
}

impl Chain {
    /// A chain of one receiver.
    pub fn of(receiver: &str, wait: Micros) -> Self {
        let receivers = vec![receiver.to_owned()];
        Self { steps: vec![Step { receivers, wait, ..Step::default() }], repeat: 0 }
    }
}

/// A node of the tree of routes.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// For people: `platform` of the root.
    pub name: String,
    /// Which alerts; all of them match.
    pub matchers: Vec<Matcher>,
    /// Who is told; where a child says nothing, its parent's.
    pub chain: Chain,
    /// Whether the routes after it are looked at too.
    pub goes_on: bool,
    /// How long further causes of an alert wait until they are told.
    pub group_interval: Micros,
    /// When an alert that nobody acknowledges is told again.
    pub repeat_interval: Micros,
    /// What is told together.
    pub grouping: Grouping,
    /// Times at which it tells nobody, by name.
    pub mutes: Vec<String>,
    /// Where it says what to do about what goes this way; what is said for a rule otherwise.
    pub runbook: Option<String>,
    /// Narrower ones, in order.
    pub routes: Vec<Route>,
}

/// What is told together: alerts of one owner on one route, never those of two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grouping {
    /// Labels that must be the same too.
    pub by: Vec<String>,
    /// How many alerts of a group are told one by one before others are told with them.
    pub after: u32,
    /// How long the first of a group waits for others; nothing where it is critical.
    pub wait: Micros,
}

/// A burst is told together, and what comes alone is not.
impl Default for Grouping {
    fn default() -> Self {
        Self { by: Vec::new(), after: 5, wait: Micros(0) }
    }
}

/// A root cause that keeps what follows from it from being told by itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Inhibition {
    /// Which alerts are root causes.
    pub source: Vec<Matcher>,
    /// What follows from them.
    pub target: Vec<Matcher>,
    /// Labels that both must have alike.
    pub equal: Vec<String>,
}

impl Inhibition {
    /// Those that hold without anybody saying so. Their expressions are read once: whoever looks at everything anew asks
    /// for them each time.
    pub fn known() -> &'static [Self] {
        static KNOWN: LazyLock<Vec<Inhibition>> = LazyLock::new(Inhibition::read_known);
        &KNOWN
    }

    fn read_known() -> Vec<Self> {
        let matcher = |text: &&str| text.parse().expect("a matcher");
        let one = |source: &str, target: &[&str], equal: &[&str]| Self {
            source: vec![matcher(&source)],
            target: target.iter().map(matcher).collect(),
            equal: equal.iter().map(|&name| name.to_owned()).collect(),
        };
        vec![
            one("rule=scheduler_silent", &["rule=run_missing", "cause=scheduler_silent"], &[]),
            one("rule=scheduler_silent", &["rule=~\"stuck_queued|run_stuck|executor_lost\""], &[]),
            one(
                "rule=pool_missing",
                &["rule=~\"run_stuck|run_slow|deadline_missed|deadline_ahead\""],
                &["dag"],
            ),
            one("rule=deadline_missed", &["rule=deadline_ahead"], &["dag"]),
            one("rule=import_error", &["rule=~\"run_missing|dag_vanished\""], &["file"]),
        ]
    }
}

/// Where an alert goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Routed {
    /// By which routes, for people.
    pub route: String,
    /// Who is told.
    pub chain: Chain,
    /// See [`Route::group_interval`].
    pub group_interval: Micros,
    /// See [`Route::repeat_interval`].
    pub repeat_interval: Micros,
    /// See [`Route::grouping`].
    pub grouping: Grouping,
    /// See [`Route::mutes`]: of several routes those that all of them have.
    pub mutes: Vec<String>,
    /// See [`Route::runbook`]: the first route's that has one.
    pub runbook: Option<String>,
}

/// The whole. The default tells nobody.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policy {
    /// Receivers by name.
    pub receivers: BTreeMap<String, ReceiverRules>,
    /// The root of the tree: the platform's route, to which goes what no other takes.
    pub root: Option<Route>,
    /// What links in messages begin with.
    pub external_url: Option<String>,
    /// Root causes, besides [`Inhibition::known`].
    pub inhibitions: Vec<Inhibition>,
    /// People and schedules.
    pub crew: Crew,
    /// How often a sign of life is sent, where somebody watches from outside.
    pub sign_every: Option<Micros>,
    /// From when on a number or a time counts as wrong.
    pub thresholds: Vec<Thresholds>,
    /// Of how many parts in a hundred of the disk less is little, where the file says it; 0 says nothing of the disk.
    pub disk_low: Option<u8>,
    /// Times at which routes that name them tell nobody.
    pub mute_times: BTreeMap<String, MuteTime>,
    /// Where it says what to do about what a rule finds, by the rule.
    pub runbooks: BTreeMap<Rule, String>,
    /// Schedules whose calendars nobody asked for here, since their addresses are secrets: whom they name is not known, and
    /// may be anybody. Empty where anybody is told by it.
    pub unread: BTreeSet<String>,
    /// What is not as it should be by the file alone, for people: see [`crate::review`].
    pub notes: Vec<String>,
}

/// A policy that could tell nobody.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PolicyError {
    /// A name that no receiver has.
    #[error("{place} names the receiver `{name}`, which is not there; there are: {known}")]
    NoReceiver {
        /// What names it.
        place: String,
        /// The name.
        name: String,
        /// The names that there are.
        known: String,
    },
    /// Fallbacks that lead back to where they began.
    #[error("the fallbacks of the receiver `{name}` lead back to it")]
    Circle {
        /// Which.
        name: String,
    },
    /// A chain or a step without anybody.
    #[error("{place} has nobody to tell")]
    Nobody {
        /// Which.
        place: String,
    },
}

impl Policy {
    /// Refuses one that names what is not there.
    pub fn check(&self) -> Result<(), PolicyError> {
        for (name, rules) in &self.receivers {
            let mut seen = BTreeSet::from([name]);
            let mut next = rules.fallback.as_ref();
            while let Some(fallback) = next {
                self.known(&format!("the fallback of `{name}`"), fallback)?;
                if !seen.insert(fallback) {
                    return Err(PolicyError::Circle { name: name.clone() });
                }
                next = self.receivers.get(fallback).and_then(|it| it.fallback.as_ref());
            }
        }
        self.root.iter().try_for_each(|root| self.check_route(root))
    }

    /// Who is told by a step at `now` of the alert of this number: receivers, each with the person whom it reaches.
    pub fn told(&self, step: &Step, id: u64, now: Timestamp) -> Vec<(String, Option<String>)> {
        let mut found: Vec<(String, Option<String>)> =
            step.receivers.iter().map(|name| (name.clone(), None)).collect();
        let on_call = step.schedules.iter().filter_map(|name| self.crew.schedules.get(name));
        let on_call = on_call.filter_map(|schedule| schedule.on_call(now));
        let turn = usize::try_from(id).unwrap_or_default() % step.round_robin.len().max(1);
        let by_turns = step.round_robin.get(turn).map(String::as_str);
        let named = step.people.iter().map(String::as_str);
        for name in named.chain(on_call).chain(by_turns) {
            let contacts = self.crew.people.get(name).map(|it| it.contacts.as_slice());
            let first = contacts.unwrap_or_default().iter().filter(|it| it.after.0 == 0);
            found.extend(first.map(|it| (it.receiver.clone(), Some(name.to_owned()))));
        }
        let mut seen = BTreeSet::new();
        found.retain(|(name, _)| self.receivers.contains_key(name) && seen.insert(name.clone()));
        found
    }

    /// All receivers that a step reaches sooner or later: those of its people too that are told only after a time.
    pub fn reachable(&self, step: &Step, now: Timestamp) -> Vec<String> {
        let on_call = step.schedules.iter().filter_map(|name| self.crew.schedules.get(name));
        let on_call = on_call.filter_map(|schedule| schedule.on_call(now));
        let named = step.people.iter().chain(&step.round_robin).map(String::as_str);
        let is_unread = step.schedules.iter().any(|name| self.unread.contains(name));
        let anybody = self.crew.people.keys().filter(|_| is_unread).map(String::as_str);
        let named = named.chain(on_call).chain(anybody);
        let people = named.filter_map(|name| self.crew.people.get(name));
        let contacts = people.flat_map(|person| &person.contacts).map(|it| &it.receiver);
        let found = step.receivers.iter().chain(contacts);
        found.filter(|name| self.receivers.contains_key(*name)).cloned().collect()
    }

    fn check_route(&self, route: &Route) -> Result<(), PolicyError> {
        let place = || format!("the route `{}`", route.name);
        if route.chain.steps.is_empty() {
            return Err(PolicyError::Nobody { place: place() });
        }
        for step in &route.chain.steps {
            let named = [&step.receivers, &step.people, &step.schedules, &step.round_robin];
            if named.iter().all(|names| names.is_empty()) {
                return Err(PolicyError::Nobody { place: format!("a step of {}", place()) });
            }
            step.receivers.iter().try_for_each(|name| self.known(&place(), name))?;
        }
        route.routes.iter().try_for_each(|route| self.check_route(route))
    }

    fn known(&self, place: &str, name: &str) -> Result<(), PolicyError> {
        if self.receivers.contains_key(name) {
            return Ok(());
        }
        let known: Vec<&str> = self.receivers.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Err(PolicyError::NoReceiver { place: place.to_owned(), name: name.to_owned(), known })
    }

    /// Whether a route is mute at `now`.
    pub(crate) fn is_mute(&self, routed: &Routed, now: Timestamp) -> bool {
        let mut times = routed.mutes.iter().filter_map(|name| self.mute_times.get(name));
        times.any(|it| it.holds(now))
    }

    /// Whether what goes that way is told to nobody from `now` on for as long as weeks are alike: one mute time may begin
    /// where another ends.
    pub(crate) fn is_always_mute(&self, routed: &Routed, now: Timestamp) -> bool {
        let end = now.plus(limits::MUTE_SEEN);
        let mut at = now;
        while self.is_mute(routed, at) {
            let times = routed.mutes.iter().filter_map(|name| self.mute_times.get(name));
            match times.filter_map(|it| it.changes_after(at)).min() {
                Some(next) if next <= end => at = next,
                _ => return true,
            }
        }
        false
    }

    /// When a route becomes mute or is so no more, after `now`.
    pub(crate) fn next_mute(&self, now: Timestamp) -> Option<Timestamp> {
        self.mute_times.values().filter_map(|it| it.changes_after(now)).min()
    }

    /// Receivers that mail those whom DAG files name.
    pub fn mailing(&self) -> impl Iterator<Item = &String> {
        self.receivers.iter().filter(|(_, rules)| rules.mails_dags).map(|(name, _)| name)
    }

    /// Where it says what to do about an alert: as its route has it, or its rule.
    pub(crate) fn runbook(&self, rule: Rule, labels: &Labels) -> Option<String> {
        let routed = self.route(labels).and_then(|routed| routed.runbook);
        routed.or_else(|| self.runbooks.get(&rule).cloned())
    }

    /// Where an alert with these labels goes: the narrowest route that matches, or several where one says so;
    /// `None` where there is nobody at all.
    pub fn route(&self, labels: &Labels) -> Option<Routed> {
        let root = self.root.as_ref()?;
        let mut found = Vec::new();
        narrowest(root, labels, &mut found);
        let mut found = found.into_iter();
        let first = found.next()?;
        let mut routed = Routed {
            route: first.name.clone(),
            chain: first.chain.clone(),
            group_interval: first.group_interval,
            repeat_interval: first.repeat_interval,
            grouping: first.grouping.clone(),
            mutes: first.mutes.clone(),
            runbook: first.runbook.clone(),
        };
        for other in found {
            routed.route = format!("{}, {}", routed.route, other.name);
            routed.group_interval = routed.group_interval.min(other.group_interval);
            routed.repeat_interval = routed.repeat_interval.min(other.repeat_interval);
            routed.runbook = routed.runbook.or_else(|| other.runbook.clone());
            routed.mutes.retain(|name| other.mutes.contains(name));
            join(&mut routed.chain, &other.chain);
        }
        Some(routed)
    }
}

/// Adds the routes below `route`, or itself where none of them matches.
fn narrowest<'a>(route: &'a Route, labels: &Labels, found: &mut Vec<&'a Route>) {
    let before = found.len();
    for child in &route.routes {
        if matches_all(&child.matchers, labels) {
            narrowest(child, labels, found);
            if !child.goes_on {
                break;
            }
        }
    }
    if found.len() == before {
        found.push(route);
    }
}

fn add(names: &mut Vec<String>, others: &[String]) {
    for name in others {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
}

/// Two chains at once: step by step.
fn join(chain: &mut Chain, other: &Chain) {
    chain.repeat = chain.repeat.max(other.repeat);
    for (place, step) in other.steps.iter().enumerate() {
        match chain.steps.get_mut(place) {
            Some(mine) => {
                mine.wait = mine.wait.min(step.wait);
                add(&mut mine.receivers, &step.receivers);
                add(&mut mine.people, &step.people);
                add(&mut mine.schedules, &step.schedules);
                add(&mut mine.round_robin, &step.round_robin);
            }
            None => chain.steps.push(step.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(name: &str, matchers: &[&str], goes_on: bool, routes: Vec<Route>) -> Route {
        Route {
            name: name.to_owned(),
            matchers: matchers.iter().map(|text| text.parse().unwrap()).collect(),
            chain: Chain::of(name, Micros::from_secs(60)),
            goes_on,
            group_interval: Micros::from_secs(300),
            repeat_interval: Micros::from_secs(14_400),
            grouping: Grouping::default(),
            mutes: Vec::new(),
            runbook: None,
            routes,
        }
    }

    #[test]
    fn the_narrowest_route_takes_it_and_the_platform_what_no_other_takes() {
        let ml = route(
            "ml",
            &["owner=ml"],
            false,
            vec![route("pager", &["severity=critical"], false, vec![])],
        );
        let audit = route("audit", &["severity=~\"critical|warning\""], true, vec![]);
        let root = route("platform", &[], false, vec![audit, ml]);
        let policy = Policy { root: Some(root), ..Policy::default() };
        let goes = |owner: &str, severity: &str| {
            let labels = [("owner", owner), ("severity", severity)];
            policy.route(&labels.map(|(a, b)| (a.to_owned(), b.to_owned())).into()).unwrap()
        };
        assert_eq!(goes("ml", "critical").route, "audit, pager");
        assert_eq!(goes("ml", "critical").chain.steps[0].receivers, ["audit", "pager"]);
        assert_eq!(goes("ml", "info").route, "ml");
        assert_eq!(goes("web", "warning").route, "audit");
        assert_eq!(goes("web", "info").route, "platform");
        assert_eq!(Policy::default().route(&Labels::new()), None);
    }

    #[test]
    fn what_names_nobody_is_refused() {
        let known = |fallback: &str| ReceiverRules {
            fallback: Some(fallback.to_owned()),
            ..ReceiverRules::default()
        };
        let mut policy = Policy { root: Some(route("a", &[], false, vec![])), ..Policy::default() };
        assert!(matches!(policy.check(), Err(PolicyError::NoReceiver { .. })));
        policy.receivers.insert("a".to_owned(), known("b"));
        assert!(
            policy
                .check()
                .unwrap_err()
                .to_string()
                .contains("the fallback of `a` names the receiver `b`")
        );
        policy.receivers.insert("b".to_owned(), known("a"));
        assert!(matches!(policy.check(), Err(PolicyError::Circle { .. })));
        policy.receivers.insert("b".to_owned(), ReceiverRules::default());
        assert_eq!(policy.check(), Ok(()));
    }
}
