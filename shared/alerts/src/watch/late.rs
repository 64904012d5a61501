//! What is said of what takes too long.
use dagbok_events::{DagId, Fault, RunKey, Timestamp};

use super::{Condition, Watch, dag_labels, dues::Due};
use crate::{AlertScope, Labels, Rule, Severity, limits, text::cut};

impl Watch {
    /// What of a DAG takes too long by one rule.
    pub(super) fn late(&self, rule: Rule, dag_id: &DagId, now: Timestamp) -> Option<Condition> {
        // Nothing of a DAG that is paused goes on, and somebody wants it so.
        if rule == Rule::RunStuck && self.dags.get(dag_id).is_some_and(|dag| dag.paused.is_some()) {
            return None;
        }
        let past = self.dues.past(rule, dag_id, now);
        let first = *past.first()?;
        let mut labels = self.dags.get(dag_id).map_or_else(
            || Labels::from([("dag".to_owned(), dag_id.to_string())]),
            |dag| dag_labels(dag_id, dag),
        );
        if let Some(task_id) = &first.task_id {
            labels.insert("task".to_owned(), task_id.to_string());
        }
        let (severity, fault) = match rule {
            Rule::DeadlineMissed | Rule::Stale => (Severity::Critical, None),
            Rule::RunStuck => (Severity::Warning, Some(Fault::System)),
            _ => (Severity::Warning, None),
        };
        let mut causes: Vec<u64> = past.iter().map(|due| due.seq).collect();
        causes.sort_unstable();
        causes.dedup();
        // The first, and those that came last.
        let further = causes.len().saturating_sub(limits::CAUSES);
        causes.drain(causes.len().min(1)..causes.len().min(1 + further));
        let run_id = first.run_id.clone();
        let run = run_id.map(|run_id| RunKey { dag_id: dag_id.clone(), run_id });
        Some(Condition {
            rule,
            scope: AlertScope::Dag(dag_id.clone()),
            severity,
            fault,
            since: first.at,
            causes,
            due: past.iter().map(|due| due.at).max(),
            run,
            labels,
            summary: cut(&summary(rule, dag_id, first)),
            details: details(rule, &past),
        })
    }
}

fn summary(rule: Rule, dag_id: &DagId, due: &Due) -> String {
    let run = due.run_id.as_ref().map(|run| format!("run {run}")).unwrap_or_default();
    let what = &due.what;
    match (rule, &due.task_id) {
        (Rule::DeadlineMissed, Some(task)) => {
            format!("{dag_id}: task {task} of {run} is not done, and {what} was {}", due.at)
        }
        (Rule::DeadlineMissed, None) => {
            format!("{dag_id}: {run} is not done, and {what} was {}", due.at)
        }
        (Rule::QuestionWaiting, task) => {
            let task = task.as_ref().map(|task| format!("task {task} of ")).unwrap_or_default();
            let since = due.from.unwrap_or(due.at);
            format!("{dag_id}: {task}{run} waits since {since} for an answer to {what}")
        }
        (Rule::DeadlineAhead, _) => format!("{dag_id}: {run} will likely miss {what}"),
        (Rule::RunSlow, _) => {
            let since = due.from.map(|at| format!(" since {at}")).unwrap_or_default();
            format!("{dag_id}: {run} runs{since}; those before it took {what}")
        }
        (Rule::Stale, _) => {
            let since = due.from.unwrap_or(due.at);
            if what == "succeeded" {
                format!("{dag_id}: its last success is of {since}")
            } else {
                format!("{dag_id}: it has never succeeded since it was first seen at {since}")
            }
        }
        _ => {
            let since = due.from.unwrap_or(due.at);
            format!("{dag_id}: nothing of {run} is under way since {since}, and it is not over")
        }
    }
}

fn details(rule: Rule, past: &[&Due]) -> Vec<(String, String)> {
    let named = past.iter().take(limits::NAMED).filter_map(|due| {
        let run_id = due.run_id.as_ref()?;
        Some(match &due.task_id {
            Some(task) if rule == Rule::QuestionWaiting => {
                format!("{task} of {run_id}: {}", due.what)
            }
            Some(task) => format!("{task} of {run_id}, due {}", due.at),
            None => format!("{run_id}, due {}", due.at),
        })
    });
    let named: Vec<String> = named.collect();
    if named.is_empty() {
        return Vec::new();
    }
    let name = if rule == Rule::QuestionWaiting { "asked" } else { "late" };
    let mut details = vec![(name.to_owned(), cut(&named.join("; ")))];
    if past.len() > limits::NAMED {
        details.push(("and".to_owned(), format!("{} more", past.len() - limits::NAMED)));
    }
    details
}
