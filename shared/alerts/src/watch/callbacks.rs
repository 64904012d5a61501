//! Callbacks that came to nothing: whoever relies on being told by one is not.
use dagbok_events::{DagCallbackKind, DagId, DagSpec, Fact, Fault, RunKey, Timestamp};

use super::{Condition, Watch, dag_labels};
use crate::{AlertScope, Rule, Severity, text::cut};

/// The label that says whose callback it was.
const OF: &str = "callback_of";
/// The detail that says which of them it was.
const CALLBACK: &str = "callback";

impl Watch {
    pub(super) fn of_callback(&mut self, seq: u64, at: Timestamp, run: &RunKey, fact: &Fact) {
        let (of, callback, fault, what) = match fact {
            Fact::DagCallbackSucceeded(_) => return self.callback_worked(seq, run, "dag"),
            Fact::DagCallbackFailed(f) => {
                let message = f.failure.message.clone();
                ("dag", f.callback.argument().to_owned(), f.failure.fault, message)
            }
            Fact::DagCallbackUnbegun(f) => {
                let message = format!("nobody began it; it is offered on queue `{}`", f.queue);
                ("dag", f.callback.argument().to_owned(), Fault::System, message)
            }
            Fact::TaskCallbackFailed(f) => {
                let message = format!("of task `{}`: {}", f.task_id, f.message);
                ("task", f.callback.clone(), Fault::User, message)
            }
            _ => return,
        };
        let mut labels = dag_labels(&run.dag_id, self.dag(&run.dag_id));
        labels.insert(OF.to_owned(), of.to_owned());
        if let Fact::TaskCallbackFailed(f) = fact {
            labels.insert("task".to_owned(), f.task_id.to_string());
        }
        self.raise(Condition {
            rule: Rule::CallbackFailed,
            scope: AlertScope::Dag(run.dag_id.clone()),
            severity: Severity::Warning,
            fault: Some(fault),
            since: at,
            causes: vec![seq],
            due: None,
            run: Some(run.clone()),
            labels,
            summary: cut(&format!("{}: {callback} failed, so nobody was told by it", run.dag_id)),
            details: vec![
                ("run".to_owned(), run.run_id.to_string()),
                (CALLBACK.to_owned(), callback),
                ("error".to_owned(), cut(&what)),
            ],
        });
    }

    /// What a DAG's file says no more can't fail again, nor end well.
    pub(super) fn callback_is_gone(&mut self, seq: u64, dag_id: &DagId, spec: &DagSpec) {
        let scope = AlertScope::Dag(dag_id.clone());
        let Some(raised) = self.raised.get(&(Rule::CallbackFailed, scope.clone())) else { return };
        let of_dag = [
            (DagCallbackKind::OnSuccess, spec.on_success_callback),
            (DagCallbackKind::OnFailure, spec.on_failure_callback),
        ];
        let is_there = match raised.labels.get("task") {
            Some(task) => spec.tasks.iter().any(|it| it.task_id.as_str() == task),
            None => of_dag.iter().any(|(kind, given)| {
                let is_it =
                    |(name, value): &(String, String)| name == CALLBACK && value == kind.argument();
                *given && raised.details.iter().any(is_it)
            }),
        };
        if !is_there {
            self.clear(seq, Rule::CallbackFailed, scope);
        }
    }

    /// One of the same kind was called and ended well, or a whole run went by without one that failed.
    pub(super) fn callback_worked(&mut self, seq: u64, run: &RunKey, of: &str) {
        let scope = AlertScope::Dag(run.dag_id.clone());
        let raised = self.raised.get(&(Rule::CallbackFailed, scope.clone()));
        if raised.is_some_and(|it| it.labels.get(OF).is_some_and(|kind| kind == of)) {
            self.clear(seq, Rule::CallbackFailed, scope);
        }
    }
}
