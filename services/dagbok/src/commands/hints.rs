//! Why something waits, and what to type next, for the end of what is shown.
use std::collections::BTreeMap;

use dagbok_api::shapes::{RunResponse, WhyAnswer, WhyPiece, WhyReason};

use crate::{
    api::Api,
    context::Context,
    output::{Out, in_zone, quoted},
};

/// Reasons that are shown; the rest is `dagbok why`'s.
const SHOWN: usize = 3;

/// What keeps something, and what to do.
#[derive(Debug, Default)]
pub(crate) struct Hints {
    /// In a sentence each.
    pub(crate) why: Vec<String>,
    /// Commands.
    pub(crate) next: Vec<String>,
    /// What keeps single tasks, by id and copy.
    pub(crate) tasks: BTreeMap<(String, i32), String>,
}

impl Hints {
    /// Of a run as it is; where the API can't say it, nothing is said.
    pub(crate) async fn of_run(context: &Context, api: &Api, run: &RunResponse) -> Self {
        let (dag, id) = (quoted(&run.dag_id), quoted(&run.dag_run_id));
        let program = context.program();
        let mut hints = Self::default();
        match run.state.as_str() {
            "queued" | "running" => {
                let path = ["dagbok", "runs", &run.dag_id, &run.dag_run_id, "why"];
                let Ok(found) = api.get::<WhyAnswer>(&path, &[]).await else { return hints };
                hints.take(&found);
                let of_tasks = found.roots.iter().flat_map(|root| &root.reasons);
                let reasons = found.is.reasons.iter().chain(of_tasks);
                hints.act_on(reasons, (&program[..], &dag[..]));
                let runs = found.roots.iter().any(|root| root.state == "running");
                hints.next.push(if runs {
                    format!("{program} runs logs {dag} {id} --follow")
                } else {
                    format!("{program} why {dag} {id}")
                });
            }
            "failed" => {
                hints.next.push(format!("{program} runs why {dag} {id}"));
                hints.next.push(format!("{program} runs retry {dag} {id}"));
            }
            _ => {}
        }
        hints
    }

    /// Of a DAG's next run.
    pub(crate) async fn of_dag(context: &Context, api: &Api, dag_id: &str) -> Self {
        let mut hints = Self::default();
        let path = ["dagbok", "dags", dag_id, "why"];
        let Ok(found) = api.get::<WhyAnswer>(&path, &[]).await else { return hints };
        hints.take(&found);
        hints.act_on(found.is.reasons.iter(), (&context.program()[..], &quoted(dag_id)[..]));
        hints
    }

    fn take(&mut self, found: &WhyAnswer) {
        self.why.push(in_zone(&found.message));
        let more = found.is.reasons.iter().map(|reason| in_zone(&said(reason)));
        self.why.extend(more.filter(|reason| !found.message.contains(reason)).take(SHOWN));
        for root in &found.roots {
            if let Some(text) = of_task(root) {
                let id = root.task_id.clone().unwrap_or_default();
                self.tasks.insert((id, root.map_index), text);
            }
        }
    }

    /// What helps against a reason.
    fn act_on<'a>(
        &mut self,
        reasons: impl Iterator<Item = &'a WhyReason>,
        (program, dag): (&str, &str),
    ) {
        for reason in reasons {
            let next = match reason.kind.as_str() {
                "paused" => format!("{program} dags unpause {dag}"),
                "max_active_runs" => format!("{program} runs list {dag} --state running"),
                "pool" | "no_pool" | "pool_too_small" => format!("{program} pools list"),
                "no_executor" | "executors_full" => format!("{program} executors list"),
                _ => continue,
            };
            if !self.next.contains(&next) {
                self.next.push(next);
            }
        }
    }

    /// Prints the commands, the first behind `next:`.
    pub(crate) fn print_next(&self, out: Out) {
        for (at, command) in self.next.iter().enumerate() {
            out.line(&format!("  {} {command}", if at == 0 { "next:" } else { "     " }));
        }
    }
}

/// A reason with the first who has what it is about.
fn said(reason: &WhyReason) -> String {
    let holder = reason.holders.first().map(|it| {
        let more = reason.holders.len() - 1 + reason.more as usize;
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!(": held by {} {} {}{more}", it.dag_id, it.dag_run_id, it.task_id)
    });
    format!("{}{}", reason.message, holder.unwrap_or_default())
}

/// Why a task waits, or where it runs.
fn of_task(root: &WhyPiece) -> Option<String> {
    if let Some(reason) = root.reasons.first() {
        return Some(in_zone(&said(reason)));
    }
    root.executor.as_ref().map(|executor| format!("on {executor}"))
}
