//! Something that is wrong, and what only time makes wrong.
use std::collections::BTreeMap;

use dagbok_events::{DagId, Fault, QueueName, Resources, RunKey, TaskId, Timestamp};
use dagbok_protocol::{in_vain, is_in_vain, lacking};
use serde::{Deserialize, Serialize};

use super::{Copy, Queued, Watch, dag_labels};
use crate::{AlertScope, Labels, Rule, Severity, limits};

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// By which rule.
    pub rule: Rule,
    /// Whose trouble it is.
    pub scope: AlertScope,
    /// How bad it is.
    pub severity: Severity,
    /// Whose fault, where that is known.
    pub fault: Option<Fault>,
    /// Since when.
    pub since: Timestamp,
    /// The sequences that justify it, in order.
    pub causes: Vec<u64>,
    /// When the newest of it came due, by the clock of whoever asks, where time alone makes it wrong: one sequence may
    /// justify several of these.
    pub due: Option<Timestamp>,
    /// The run that it is about.
    pub run: Option<RunKey>,
    /// What else routes may match.
    pub labels: Labels,
    /// One line for people.
    pub summary: String,
    /// What else is known.
    pub details: Vec<(String, String)>,
}

impl Condition {
    /// The newest of its causes.
    pub fn last_cause(&self) -> u64 {
        self.causes.last().copied().unwrap_or(0)
    }

    /// Whether any of it came after that cause, or came due after that time.
    pub(crate) fn is_after(&self, cause: u64, at: Timestamp) -> bool {
        self.last_cause() > cause || self.due.is_some_and(|due| due > at)
    }

    /// All labels of an alert about it.
    pub fn all_labels(&self, namespace: &str) -> Labels {
        let mut labels = self.labels.clone();
        let mut add = |name: &str, value: &str| labels.insert(name.to_owned(), value.to_owned());
        add("rule", self.rule.word());
        add("severity", self.severity.word());
        add("namespace", namespace);
        if let Some(fault) = self.fault {
            add("fault", fault_word(fault));
        }
        labels
    }
}

pub(super) const fn fault_word(fault: Fault) -> &'static str {
    match fault {
        Fault::User => "user",
        Fault::System => "system",
        Fault::Data => "data",
    }
}

impl Watch {
    /// A promised run that is not there though its time and grace are past.
    pub(super) fn missing(&self, dag_id: &DagId) -> Option<Condition> {
        let dag = self.dags.get(dag_id)?;
        let promise = dag.promise?;
        let import_error = (Rule::ImportError, AlertScope::File(dag.file.clone()));
        let (cause, severity, fault, causes) = if let Some(seq) = dag.paused {
            ("paused", Severity::Warning, Some(Fault::User), vec![promise.seq, seq])
        } else if let Some(error) = self.raised.get(&import_error) {
            let causes = vec![promise.seq, error.last_cause()];
            ("import_error", Severity::Critical, Some(Fault::User), causes)
        } else if dag.is_gone {
            ("gone", Severity::Critical, Some(Fault::User), vec![promise.seq])
        } else if let Some(seq) = self.shown_twice(promise.due) {
            ("clock_jump", Severity::Critical, Some(Fault::System), vec![promise.seq, seq])
        } else if self.last_at < promise.due {
            ("scheduler_silent", Severity::Critical, Some(Fault::System), vec![promise.seq])
        } else if dag.active >= dag.max_active_runs.max(1) {
            ("too_many_active", Severity::Critical, Some(Fault::User), vec![promise.seq])
        } else {
            ("late", Severity::Critical, Some(Fault::System), vec![promise.seq])
        };
        let mut causes = causes;
        causes.sort_unstable();
        let mut labels = dag_labels(dag_id, dag);
        labels.insert("cause".to_owned(), cause.to_owned());
        labels.insert("file".to_owned(), dag.file.clone());
        let why = match cause {
            "paused" => "the DAG is paused",
            "import_error" => "its file can't be read",
            "gone" => "the DAG is in no file any more",
            "scheduler_silent" => "no scheduler has written anything since",
            "too_many_active" => "max_active_runs of it are running",
            "clock_jump" => "the scheduler's clock was set back over that time",
            _ => "the scheduler has not made it",
        };
        Some(Condition {
            rule: Rule::RunMissing,
            scope: AlertScope::Dag(dag_id.clone()),
            severity,
            fault,
            since: promise.due,
            causes,
            due: None,
            run: None,
            labels,
            summary: format!(
                "{dag_id}: the run for {} was due at {} and is not there: {why}",
                promise.logical_date, promise.due
            ),
            details: vec![
                ("logical date".to_owned(), promise.logical_date.to_string()),
                ("due".to_owned(), promise.due.to_string()),
                ("cause".to_owned(), cause.to_owned()),
            ],
        })
    }

    /// By which record the scheduler's clock was set back over `due`, and somebody has written since: what is due then may
    /// be thought of as kept, or as to come.
    fn shown_twice(&self, due: Timestamp) -> Option<u64> {
        let set = self.set_back.filter(|it| it.to <= due && due <= it.from)?;
        (self.last_seq > set.seq).then_some(set.seq)
    }

    /// No scheduler has written anything since several runs were due: one cause of all of them missing.
    pub(super) fn silent(&self, now: Timestamp) -> Option<Condition> {
        let broken = self.promises.range(..=now).flat_map(|(_, dags)| dags);
        let due =
            |dag_id: &DagId| self.dags.get(dag_id).filter(|dag| dag.paused.is_none())?.promise;
        let silent = broken.filter_map(due).filter(|promise| self.last_at < promise.due);
        let first: Vec<_> = silent.take(2).collect();
        let [one, _] = first.as_slice() else { return None };
        Some(Condition {
            rule: Rule::SchedulerSilent,
            scope: AlertScope::Namespace,
            severity: Severity::Critical,
            fault: Some(Fault::System),
            since: one.due,
            causes: vec![self.last_seq],
            due: None,
            run: None,
            labels: Labels::new(),
            summary: format!(
                "no scheduler has written anything since {}, and runs are due",
                self.last_at
            ),
            details: vec![("last record".to_owned(), self.last_seq.to_string())],
        })
    }

    /// Whether none of those who pull from its queue could ever have what a task asks for.
    fn is_too_large(&self, dag_id: &DagId, task: &TaskId, queue: &QueueName) -> bool {
        let Some(asked) = self.asks(dag_id, task) else { return false };
        let pulling = self.executors.values().filter(|it| it.queues.contains(queue));
        is_in_vain(pulling.map(|it| &it.resources), asked)
    }

    /// Whether somebody who could take a task now has a slot free.
    fn has_room(&self, dag_id: &DagId, task: &TaskId, queue: &QueueName) -> bool {
        let nothing = Resources::default();
        let asked = self.asks(dag_id, task).unwrap_or(&nothing);
        self.executors.values().any(|it| {
            it.queues.contains(queue)
                && !it.is_full
                && it.running < it.slots
                && !self.cordoned.contains(&it.name)
                && lacking(&it.resources, asked).is_none()
        })
    }

    /// What executors lack for a task, where none of them could ever have what it asks for.
    fn too_large(&self, dag_id: &DagId, task: &TaskId, queue: &QueueName) -> Option<String> {
        let asked = self.asks(dag_id, task)?;
        let pulling = self.executors.values().filter(|it| it.queues.contains(queue));
        in_vain(pulling.map(|it| &it.resources), asked)
    }

    /// Whether everybody who could take a task is cordoned, and somebody is.
    fn all_cordoned(&self, dag_id: &DagId, task: &TaskId, queue: &QueueName) -> bool {
        let nothing = Resources::default();
        let asked = self.asks(dag_id, task).unwrap_or(&nothing);
        let pulling = self.executors.values().filter(|it| it.queues.contains(queue));
        let mut able = pulling.filter(|it| lacking(&it.resources, asked).is_none()).peekable();
        able.peek().is_some() && able.all(|it| self.cordoned.contains(&it.name))
    }

    /// What a task asks for besides a slot, where it asks for anything.
    pub(super) fn asks(&self, dag_id: &DagId, task: &TaskId) -> Option<&Resources> {
        self.dags.get(dag_id)?.asks.get(task)
    }

    /// Tries of a DAG that nobody has begun for too long, or that nobody there ever can.
    pub(super) fn stuck(&self, dag_id: &DagId, now: Timestamp) -> Option<Condition> {
        let is_late = |queued: &Queued| queued.at.plus(limits::STUCK_QUEUED) <= now;
        // A mapped task may have thousands of copies on offer: each task is weighed against the fleet once.
        let mut known: BTreeMap<(&TaskId, &QueueName), bool> = BTreeMap::new();
        let copies = self.queued.get(dag_id)?.iter().filter(|(copy, queued)| {
            is_late(queued)
                || *known
                    .entry((&copy.1, &queued.queue))
                    .or_insert_with(|| self.is_too_large(dag_id, &copy.1, &queued.queue))
        });
        let mut stuck: Vec<(&Copy, &Queued)> = copies.collect();
        stuck.sort_by_key(|(copy, queued)| (queued.at, *copy));
        let (oldest, first) = stuck.first()?;
        let mut labels = self.dags.get(dag_id).map_or_else(
            || Labels::from([("dag".to_owned(), dag_id.to_string())]),
            |dag| dag_labels(dag_id, dag),
        );
        let is_pulled = self.executors.values().any(|it| it.queues.contains(&first.queue));
        let (severity, cause, why) = if !is_pulled {
            let why = format!("no executor pulls from the queue `{}`", first.queue);
            (Severity::Critical, "no_executor", why)
        } else if let Some(lacks) = self.too_large(dag_id, &oldest.1, &first.queue) {
            let why = format!("it asks for more than any executor of its queue has: {lacks}");
            (Severity::Critical, "too_large", why)
        } else if self.all_cordoned(dag_id, &oldest.1, &first.queue) {
            let why = "every executor that could take it is cordoned: `dagbok executors uncordon` ends that";
            (Severity::Warning, "cordoned", why.to_owned())
        } else if self.has_room(dag_id, &oldest.1, &first.queue) {
            let why = "executors that pull from it have free slots and have not begun them";
            (Severity::Warning, "free_slots", why.to_owned())
        } else {
            // Executors that have no room are no trouble by themselves.
            (Severity::Info, "no_room", "executors that pull from it have no room".to_owned())
        };
        labels.insert("cause".to_owned(), cause.to_owned());
        let minutes = limits::STUCK_QUEUED.0 / 60_000_000;
        let time = if is_late(first) {
            format!(" for more than {minutes} minutes")
        } else {
            String::new()
        };
        let named = stuck.iter().take(limits::NAMED);
        let named: Vec<String> =
            named.map(|((run_id, task, _), _)| format!("{task} of {run_id}")).collect();
        Some(Condition {
            rule: Rule::StuckQueued,
            scope: AlertScope::Dag(dag_id.clone()),
            severity,
            fault: Some(Fault::System),
            since: first.at,
            causes: vec![first.seq],
            due: None,
            run: Some(RunKey { dag_id: dag_id.clone(), run_id: oldest.0.clone() }),
            labels,
            summary: format!("{dag_id}: {} tasks are queued{time}: {why}", stuck.len()),
            details: vec![
                ("tasks".to_owned(), named.join(", ")),
                ("queue".to_owned(), first.queue.to_string()),
                ("cause".to_owned(), cause.to_owned()),
            ],
        })
    }
}
