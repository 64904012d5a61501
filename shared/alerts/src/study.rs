//! What people ask of the rules without anything being done by it: what a record calls for, what there would have been, who
//! is on call, whom DAGs reach.
use std::collections::BTreeMap;

use dagbok_events::{DagId, Record, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Backtest, Labels, Policy, Rule, Severity, Watch, WouldBe, explain};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Study {
    /// What a record of the run log calls for, and who is told of it.
    Explain {
        /// Its sequence.
        event: u64,
    },
    /// Who would have been told of what.
    Backtest {
        /// From when on.
        since: Timestamp,
    },
    /// Who is on call.
    OnCall {
        /// When; now where nobody says.
        at: Option<Timestamp>,
    },
    /// Whom a failure of each DAG reaches, in the order of their names.
    Reach {
        /// From behind this DAG on.
        after: Option<DagId>,
    },
}

/// What comes of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Studied {
    /// See [`Study::Explain`].
    Explained(RecordCalls),
    /// See [`Study::Backtest`].
    Backtested(Replayed),
    /// See [`Study::OnCall`].
    OnCall {
        /// When.
        at: Timestamp,
        /// By schedules, in their order.
        schedules: Vec<OnCallNow>,
    },
    /// See [`Study::Reach`].
    Reach {
        /// The first of them.
        dags: Vec<Reach>,
        /// Whether there are more behind the last of these.
        goes_on: bool,
        /// Who can be told at all.
        #[serde(default)]
        receivers: Vec<String>,
        /// What of the configuration is not as it should be.
        #[serde(default)]
        warnings: Vec<String>,
    },
}

impl Studied {
    /// Leaves out what one answer has no room for: of alerts the last ones, of DAGs those that can be asked for next.
    /// False where there is nothing to leave out.
    pub fn shorten(&mut self) -> bool {
        match self {
            Self::Backtested(it) if !it.alerts.is_empty() => {
                let kept = it.alerts.len() / 2;
                it.left_out += (it.alerts.len() - kept) as u64;
                it.alerts.truncate(kept);
                true
            }
            Self::Reach { dags, goes_on, .. } if dags.len() > 1 => {
                dags.truncate(dags.len() / 2);
                *goes_on = true;
                true
            }
            _ => false,
        }
    }
}

/// A rule about something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleOf {
    /// The rule.
    pub rule: String,
    /// Whose trouble it is.
    pub scope: String,
    /// From when on, where that is to come.
    pub at: Option<Timestamp>,
}

/// Something that is wrong by a record, and who is told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrongBy {
    /// The rule.
    pub rule: String,
    /// Whose trouble it is.
    pub scope: String,
    /// One line for people.
    pub summary: String,
    /// What routes match.
    pub labels: Labels,
    /// By which route; `None` where there is nobody.
    pub route: Option<String>,
    /// Step by step: the receivers, and how many seconds an acknowledgement is waited for.
    pub steps: Vec<(Vec<String>, i64)>,
}

/// What a record calls for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordCalls {
    /// Its sequence.
    pub seq: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// Its facts, by name.
    pub facts: Vec<String>,
    /// What is wrong by it.
    pub wrong: Vec<WrongBy>,
    /// What will be wrong unless something comes before.
    pub awaited: Vec<RuleOf>,
    /// What is so no more.
    pub over: Vec<RuleOf>,
}

/// An alert that there would have been.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WouldHaveBeen {
    /// The rule.
    pub rule: String,
    /// Whose trouble it would have been.
    pub scope: String,
    /// One line for people.
    pub summary: String,
    /// What routes match.
    pub labels: Labels,
    /// When it would have been opened.
    pub opened_at: Timestamp,
    /// When it would have been over.
    pub resolved_at: Option<Timestamp>,
    /// By which route.
    pub route: String,
    /// Who would have been told, and how often.
    pub told: BTreeMap<String, u32>,
}

/// A history that was gone through again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// From when on.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// How many records there were.
    pub records: u64,
    /// And how many of them a newer version wrote, so that they could not be read.
    pub unread: u64,
    /// Alerts beyond those that are kept.
    pub left_out: u64,
    /// The alerts, in order.
    pub alerts: Vec<WouldHaveBeen>,
}

/// Who is on call by a schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnCallNow {
    /// The schedule.
    pub schedule: String,
    /// Who; `None` where nobody is.
    pub person: Option<String>,
    /// How they are reached.
    pub receivers: Vec<String>,
}

/// Whom a failure of a DAG reaches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// The DAG.
    pub dag_id: String,
    /// Whose it is, where somebody is named.
    pub owner: Option<String>,
    /// By which route; `None` where there is nobody.
    pub route: Option<String>,
    /// Who is told, in the order of the steps.
    pub receivers: Vec<String>,
}

/// Who is told of what bears these labels, step by step.
fn steps(
    policy: &Policy,
    labels: &Labels,
    at: Timestamp,
) -> (Option<String>, Vec<(Vec<String>, i64)>) {
    let Some(routed) = policy.route(labels) else { return (None, Vec::new()) };
    let steps = routed.chain.steps.iter().map(|step| {
        let told = policy.told(step, 0, at).into_iter().map(|(receiver, _)| receiver);
        (told.collect(), step.wait.0 / 1_000_000)
    });
    (Some(routed.route.clone()), steps.collect())
}

/// What of a record's facts people know them by.
fn names(record: &Record) -> Vec<String> {
    let shown = dagbok_events::entry_json(0, record);
    let facts = shown["facts"].as_array().into_iter().flatten();
    facts.filter_map(|fact| fact["type"].as_str().map(str::to_owned)).collect()
}

/// What the record at `seq` calls for; `watch` has folded the log up to and with it.
pub fn calls_of(
    watch: &Watch,
    policy: &Policy,
    namespace: &str,
    seq: u64,
    record: &Record,
) -> RecordCalls {
    let said = explain(watch, seq, record.at);
    let of = |rule: Rule, scope: String, at| RuleOf { rule: rule.word().to_owned(), scope, at };
    let wrong = said.wrong.iter().map(|it| {
        let labels = it.all_labels(namespace);
        let (route, steps) = steps(policy, &labels, record.at);
        let (rule, scope) = (it.rule.word().to_owned(), it.scope.to_string());
        WrongBy { rule, scope, summary: it.summary.clone(), labels, route, steps }
    });
    let awaited = said.awaited.iter();
    let over = said.over.iter();
    RecordCalls {
        seq,
        at: record.at,
        facts: names(record),
        wrong: wrong.collect(),
        awaited: awaited.map(|(rule, scope, at)| of(*rule, scope.to_string(), Some(*at))).collect(),
        over: over.map(|(rule, scope)| of(*rule, scope.to_string(), None)).collect(),
    }
}

/// What a history that was gone through comes to.
pub fn replayed(again: &Backtest, span: (Timestamp, Timestamp), counts: (u64, u64)) -> Replayed {
    let (found, left_out) = again.found();
    let alert = |it: &WouldBe| WouldHaveBeen {
        rule: it.rule.word().to_owned(),
        scope: it.scope.to_string(),
        summary: it.summary.clone(),
        labels: it.labels.clone(),
        opened_at: it.opened_at,
        resolved_at: it.resolved_at,
        route: it.route.clone(),
        told: it.told.clone(),
    };
    let alerts = found.map(alert).collect();
    let ((since, until), (records, unread)) = (span, counts);
    Replayed { since, until, records, unread, left_out, alerts }
}

/// Who is on call by each schedule.
pub fn on_call(policy: &Policy, at: Timestamp) -> Vec<OnCallNow> {
    let crew = &policy.crew;
    let now = crew.schedules.iter().map(|(name, schedule)| {
        let person = schedule.on_call(at);
        let contacts = person.and_then(|it| crew.people.get(it)).map(|it| &it.contacts);
        let receivers = contacts.into_iter().flatten().map(|it| it.receiver.clone()).collect();
        OnCallNow { schedule: name.clone(), person: person.map(str::to_owned), receivers }
    });
    now.collect()
}

/// Whom a failure of a DAG with these labels reaches. People count who are told later too: whoever waits for their own
/// time is reached.
pub fn reach(policy: &Policy, namespace: &str, mut labels: Labels, now: Timestamp) -> Reach {
    for (name, value) in [
        ("rule", Rule::RunFailed.word()),
        ("severity", Severity::Critical.word()),
        ("namespace", namespace),
    ] {
        labels.insert(name.to_owned(), value.to_owned());
    }
    let (route, _) = steps(policy, &labels, now);
    let mut receivers: Vec<String> = Vec::new();
    let routed = policy.route(&labels).filter(|routed| !policy.is_always_mute(routed, now));
    for step in routed.iter().flat_map(|it| &it.chain.steps) {
        for receiver in policy.reachable(step, now) {
            if !receivers.contains(&receiver) {
                receivers.push(receiver);
            }
        }
    }
    let (dag_id, owner) = (labels.remove("dag").unwrap_or_default(), labels.remove("owner"));
    Reach { dag_id, owner, route, receivers }
}

/// The labels of each DAG that is known behind another one, in the order of their names.
pub fn labels_behind(watch: &Watch, after: Option<&DagId>) -> Vec<Labels> {
    let dags = watch.dags().filter(|dag_id| after.is_none_or(|after| *dag_id > after));
    dags.filter_map(|dag_id| watch.labels_of(dag_id)).collect()
}
