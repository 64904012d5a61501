//! The fold of what happens to runs and their tries.
use dagbok_events::{
    DagId, Fact, FailureKind, Fault, MapIndex, RunCreated, RunId, RunKey, RunMark, RunType, TaskId,
    TaskQueued, Timestamp, TryFailed, TryLost,
};
use dagbok_protocol::names::WATCH;
use serde::{Deserialize, Serialize};

use super::{Condition, Copy, Dag, Failed, Over, Queued, Run, Traced, Watch, dag_labels};
use crate::{AlertScope, Rule, Severity, limits, text::cut, thresholds::heed};

/// The first task of a run that failed for good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct TaskFailure {
    seq: u64,
    task_id: TaskId,
    map_index: MapIndex,
    try_number: u16,
    kind: Option<FailureKind>,
    fault: Fault,
    message: String,
    exception: Option<String>,
    peak_bytes: u64,
    /// The end of the traceback.
    last_lines: String,
}

impl Watch {
    pub(super) fn of_run(&mut self, seq: u64, at: Timestamp, run: &RunKey, fact: &Fact) {
        self.of_time(seq, at, run, fact);
        match fact {
            Fact::RunCreated(created) => self.created(seq, at, run, created),
            Fact::RunCleared(_) => self.goes_on(seq, at, run),
            Fact::RunSucceeded(_) => self.succeeded(seq, run),
            Fact::RunFailed(_) => self.failed(seq, at, run, "failed"),
            Fact::RunTimedOut(timed_out) if !timed_out.teardowns_left => {
                self.failed(seq, at, run, "took longer than dagrun_timeout");
            }
            Fact::RunCancelled(cancelled) => {
                if let Some(run) = self.runs.get_mut(run) {
                    run.is_ended_by_hand = true;
                }
                if !cancelled.teardowns_left {
                    self.end(run);
                }
            }
            Fact::RunMarked(marked) => {
                if let Some(run) = self.runs.get_mut(run) {
                    run.is_ended_by_hand = true;
                }
                if marked.state == RunMark::Success {
                    self.succeeded(seq, run);
                } else if !marked.teardowns_left {
                    self.end(run);
                }
            }
            Fact::RunDeleted(_) => {
                self.end(run);
                self.dag(&run.dag_id).over.retain(|it| it.run_id != run.run_id);
                self.made_up(seq, run, None);
            }
            _ => self.of_try(seq, at, run, fact),
        }
    }

    fn of_try(&mut self, seq: u64, at: Timestamp, run: &RunKey, fact: &Fact) {
        match fact {
            Fact::TaskQueued(queued) => self.task_queued(seq, at, run, queued),
            Fact::TryStarted(it) => self.unqueue(run, &it.task_id, it.map_index),
            Fact::TrySucceeded(it) => self.unqueue(run, &it.task_id, it.map_index),
            Fact::TrySkipped(it) => self.unqueue(run, &it.task_id, it.map_index),
            Fact::TryCancelled(it) => self.unqueue(run, &it.task_id, it.map_index),
            Fact::TryRescheduled(it) => self.unqueue(run, &it.task_id, it.map_index),
            Fact::TryDeferred(it) => self.unqueue(run, &it.task_id, it.map_index),
            // It is queued again at once, and has waited since it was queued first.
            Fact::TryReturned(it) => {
                let copy = (run.run_id.clone(), it.task_id.clone(), it.map_index);
                let copies = self.queued.get_mut(&run.dag_id);
                if let Some(queued) = copies.and_then(|copies| copies.get_mut(&copy)) {
                    queued.is_returned = true;
                }
            }
            Fact::TryFailed(it) => {
                self.unqueue(run, &it.task_id, it.map_index);
                self.try_failed(seq, at, run, it);
            }
            Fact::TryLost(it) => {
                self.unqueue(run, &it.task_id, it.map_index);
                self.try_lost(seq, run, it);
            }
            Fact::TriggerFailed(it) if run.run_id.as_str() == WATCH => {
                self.watcher_failed(seq, at, run, it);
            }
            _ => self.of_callback(seq, at, run, fact),
        }
    }

    fn created(&mut self, seq: u64, at: Timestamp, run: &RunKey, created: &RunCreated) {
        let by_hand = matches!(created.run_type, RunType::Manual | RunType::Backfill);
        let logical_date = created.logical_date;
        let interval_end = created.data_interval.map(|interval| interval.end);
        let is_scheduled = created.run_type == RunType::Scheduled;
        let known = Run { created: seq, by_hand, logical_date, ..Run::default() };
        let made = Run { is_scheduled, interval_end, ..known };
        self.runs.insert(run.clone(), made);
        let dag = self.dag(&run.dag_id);
        dag.active += 1;
        let kept =
            dag.promise.is_some_and(|promise| Some(promise.logical_date) == created.logical_date);
        if kept {
            self.promise(&run.dag_id, None);
        }
        self.begun(seq, at, run);
    }

    /// A run that was over, or was about to be, goes on.
    fn goes_on(&mut self, seq: u64, at: Timestamp, run: &RunKey) {
        if let Some(known) = self.runs.get_mut(run) {
            known.is_ended_by_hand = false;
            return;
        }
        let dag = self.dag(&run.dag_id);
        dag.active += 1;
        let over = dag.over.iter().find(|it| it.run_id == run.run_id);
        let again = Run { is_cleared: true, ..over.map_or_else(Run::default, Over::again) };
        self.runs.insert(run.clone(), again);
        self.begun(seq, at, run);
    }

    /// A run is over: nothing of it waits any more.
    fn end(&mut self, run: &RunKey) -> Option<Run> {
        let ended = self.runs.remove(run)?;
        self.rest_of(run, &ended);
        let dag = self.dag(&run.dag_id);
        dag.active = dag.active.saturating_sub(1);
        dag.remember(&run.run_id, &ended);
        if let Some(copies) = self.queued.get(&run.dag_id) {
            let first = (run.run_id.clone(), lowest_task(), MapIndex(i32::MIN));
            let of_run = copies.range(first..).map(|(copy, _)| copy);
            let of_run: Vec<Copy> =
                of_run.take_while(|copy| copy.0 == run.run_id).cloned().collect();
            for (_, task_id, map_index) in of_run {
                self.unqueue(run, &task_id, map_index);
            }
        }
        let (seq, at) = (self.last_seq, self.last_at);
        self.retries_over(seq, &run.dag_id, |it| it.run.as_ref() == Some(run));
        self.weigh_pools(seq, &run.dag_id);
        self.weigh_retries(seq, at, &run.dag_id, ended.retries);
        Some(ended)
    }

    fn succeeded(&mut self, seq: u64, run: &RunKey) {
        let created = self.end(run).map(|ended| ended.created);
        self.made_up(seq, run, created);
    }

    /// A success of a run, or its being gone: what of its DAG was wrong may be so no more.
    fn made_up(&mut self, seq: u64, run: &RunKey, created: Option<u64>) {
        let scope = AlertScope::Dag(run.dag_id.clone());
        let Some(dag) = self.dags.get_mut(&run.dag_id) else { return };
        let makes_up = dag.failed.as_ref().is_some_and(|failed| {
            failed.run_id == run.run_id || created.is_some_and(|at| at > failed.created)
        });
        if makes_up {
            dag.failed = None;
            self.clear(seq, Rule::RunFailed, scope.clone());
        }
        let missed = self.raised.get(&(Rule::RunMissed, scope.clone()));
        let since = missed.map(Condition::last_cause);
        if created.zip(since).is_some_and(|(created, since)| created > since) {
            self.clear(seq, Rule::RunMissed, scope.clone());
        }
        let failed = self.raised.get(&(Rule::CallbackFailed, scope)).map(Condition::last_cause);
        if created.zip(failed).is_some_and(|(created, since)| created > since) {
            self.callback_worked(seq, run, "task");
        }
    }

    fn failed(&mut self, seq: u64, at: Timestamp, run: &RunKey, how: &str) {
        let Some(ended) = self.end(run).filter(|ended| !ended.is_ended_by_hand) else { return };
        let dag = self.dag(&run.dag_id);
        let failed = Failed { run_id: run.run_id.clone(), created: ended.created };
        // What makes it up is a success after the newest that failed, whichever of them ended last.
        if dag.failed.as_ref().is_none_or(|newest| newest.created <= failed.created) {
            dag.failed = Some(failed);
        }
        let labels = dag_labels(&run.dag_id, dag);
        let limit = heed(&self.thresholds, &labels).memory_bytes;
        let mut condition = run_failed(seq, at, run, &ended, how, labels);
        if let Some(limit) = limit.filter(|_| ended.failure.is_some()) {
            condition.details.push(("memory limit".to_owned(), format!("{} MiB", limit >> 20)));
        }
        self.raise(condition);
    }

    /// Retries of a DAG's tasks are news no more.
    pub(super) fn retries_over(
        &mut self,
        seq: u64,
        dag_id: &DagId,
        is_over: impl Fn(&Condition) -> bool,
    ) {
        let first = (Rule::TaskRetried, AlertScope::Task(dag_id.clone(), lowest_task()));
        let is_its = |(rule, scope): &(Rule, AlertScope)| {
            let of_it = matches!(scope, AlertScope::Task(of, _) if of == dag_id);
            *rule == Rule::TaskRetried && of_it
        };
        let all = self.raised.range(first..).take_while(|&(key, _)| is_its(key));
        let over: Vec<AlertScope> =
            all.filter(|&(_, it)| is_over(it)).map(|((_, scope), _)| scope.clone()).collect();
        for scope in over {
            self.clear(seq, Rule::TaskRetried, scope);
        }
    }

    /// A task is tried again, and its author asks for mail of that.
    fn tried_again(
        &mut self,
        seq: u64,
        at: Timestamp,
        run: &RunKey,
        it: &TryFailed,
        due: Timestamp,
    ) {
        let Some(dag) = self.dags.get(&run.dag_id) else { return };
        let Some(mailboxes) = dag.retry_email.get(&it.task_id) else { return };
        // What is no mailbox nobody can mail to, and that is no fault of whoever carries the mail.
        let mailboxes: Vec<&str> =
            mailboxes.iter().map(String::as_str).filter(|it| is_mailbox(it)).collect();
        if mailboxes.is_empty() {
            return;
        }
        let mut labels = dag_labels(&run.dag_id, dag);
        labels.insert("email".to_owned(), mailboxes.join(","));
        labels.insert("task".to_owned(), it.task_id.to_string());
        labels.insert("kind".to_owned(), it.failure.kind.word().to_owned());
        let (task, number, message) = (&it.task_id, it.try_number.get(), &it.failure.message);
        self.raise(Condition {
            rule: Rule::TaskRetried,
            // Each task may name another author.
            scope: AlertScope::Task(run.dag_id.clone(), it.task_id.clone()),
            severity: Severity::Info,
            fault: Some(it.failure.fault),
            since: at,
            causes: vec![seq],
            due: None,
            run: Some(run.clone()),
            labels,
            summary: cut(&format!(
                "{}: task {task} of run {} failed at try {number}, and is tried again at {due}: {message}",
                run.dag_id, run.run_id
            )),
            details: vec![
                ("run".to_owned(), run.run_id.to_string()),
                ("task".to_owned(), format!("{task}, try {number}")),
                ("tried again at".to_owned(), due.to_string()),
                ("error".to_owned(), cut(message)),
            ],
        });
    }

    fn try_failed(&mut self, seq: u64, at: Timestamp, run: &RunKey, it: &TryFailed) {
        if let Some(due) = it.retry_at {
            return self.tried_again(seq, at, run, it, due);
        }
        let failure = &it.failure;
        self.note_failure(
            run,
            TaskFailure {
                seq,
                task_id: it.task_id.clone(),
                map_index: it.map_index,
                try_number: it.try_number.get(),
                kind: Some(failure.kind),
                fault: failure.fault,
                message: cut(&failure.message),
                exception: failure.exception.clone(),
                peak_bytes: it.usage.max_rss_bytes,
                last_lines: last_lines(failure.traceback.as_deref().unwrap_or_default()),
            },
        );
    }

    fn try_lost(&mut self, seq: u64, run: &RunKey, it: &TryLost) {
        if it.retry_at.is_some() {
            return;
        }
        self.note_failure(
            run,
            TaskFailure {
                seq,
                task_id: it.task_id.clone(),
                map_index: it.map_index,
                try_number: it.try_number.get(),
                kind: None,
                fault: Fault::System,
                message: "its executor is gone, or nobody began it".to_owned(),
                exception: None,
                peak_bytes: it.usage.map_or(0, |usage| usage.max_rss_bytes),
                last_lines: String::new(),
            },
        );
    }

    fn note_failure(&mut self, run: &RunKey, failure: TaskFailure) {
        if let Some(run) = self.runs.get_mut(run) {
            run.failure.get_or_insert(failure);
        }
    }

    fn task_queued(&mut self, seq: u64, at: Timestamp, run: &RunKey, it: &TaskQueued) {
        let copy = (run.run_id.clone(), it.task_id.clone(), it.map_index);
        let known = self.queued.get(&run.dag_id).and_then(|copies| copies.get(&copy));
        let first = known.filter(|queued| queued.is_returned).map(|queued| (queued.seq, queued.at));
        let (seq, at) = first.unwrap_or((seq, at));
        self.unqueue(run, &it.task_id, it.map_index);
        let stuck_at = at.plus(limits::STUCK_QUEUED);
        let waiting = self.waiting.entry(stuck_at).or_default();
        *waiting.entry(run.dag_id.clone()).or_default() += 1;
        let queued = Queued { seq, at, queue: it.queue.clone(), is_returned: false };
        // What fits nowhere is news at once.
        if self.asks(&run.dag_id, &it.task_id).is_some() {
            self.touched.note(|| (Rule::StuckQueued, AlertScope::Dag(run.dag_id.clone())));
        }
        self.queued.entry(run.dag_id.clone()).or_default().insert(copy, queued);
        // A cleared run's first failure is history once it runs again.
        let failure = self.runs.get_mut(run).and_then(|run| run.failure.as_mut());
        if failure.is_some_and(|it_failed| it_failed.task_id == it.task_id)
            && let Some(run) = self.runs.get_mut(run)
        {
            run.failure = None;
        }
    }

    fn unqueue(&mut self, run: &RunKey, task_id: &TaskId, map_index: MapIndex) {
        let copy = (run.run_id.clone(), task_id.clone(), map_index);
        let Some(copies) = self.queued.get_mut(&run.dag_id) else { return };
        let Some(queued) = copies.remove(&copy) else { return };
        if copies.is_empty() {
            self.queued.remove(&run.dag_id);
        }
        let stuck_at = queued.at.plus(limits::STUCK_QUEUED);
        if let Some(dags) = self.waiting.get_mut(&stuck_at) {
            match dags.get_mut(&run.dag_id) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(dags.remove(&run.dag_id)),
            }
            if dags.is_empty() {
                self.waiting.remove(&stuck_at);
            }
        }
        // Only what may have counted as stuck is news.
        if stuck_at <= self.looked_at.max(self.last_at) || self.asks(&run.dag_id, task_id).is_some()
        {
            self.touched.note(|| (Rule::StuckQueued, AlertScope::Dag(run.dag_id.clone())));
        }
    }
}

impl Over {
    fn again(&self) -> Run {
        Run {
            created: self.created,
            by_hand: self.by_hand,
            is_scheduled: self.is_scheduled,
            logical_date: self.logical_date,
            interval_end: self.interval_end,
            traced: self.traced.clone().map(|it| Traced { round: it.round + 1, ..it }),
            ..Run::default()
        }
    }
}

impl Dag {
    /// Of the newest runs it stays known which they were.
    fn remember(&mut self, run_id: &RunId, ended: &Run) {
        self.over.retain(|it| it.run_id != *run_id);
        if self.over.len() >= limits::OVER {
            self.over.remove(0);
        }
        self.over.push(Over {
            run_id: run_id.clone(),
            created: ended.created,
            by_hand: ended.by_hand,
            is_scheduled: ended.is_scheduled,
            logical_date: ended.logical_date,
            interval_end: ended.interval_end,
            traced: ended.traced.clone(),
        });
    }
}

/// The last lines of a traceback, without blanks around them.
/// Whether a text looks like a mailbox, with or without a name before it: the mail server knows whether it is one.
fn is_mailbox(text: &str) -> bool {
    let address = match (text.rsplit_once('<'), text.trim_end().ends_with('>')) {
        (Some((_, rest)), true) => rest.trim_end().trim_end_matches('>'),
        (None, false) => text,
        _ => return false,
    };
    let is_plain = |part: &str| {
        let odd = |c: char| c.is_whitespace() || c.is_control() || ",;:<>()[]\\\"".contains(c);
        !part.is_empty() && !part.contains(odd)
    };
    let parts = address.trim().rsplit_once('@');
    parts.is_some_and(|(who, domain)| is_plain(who) && is_plain(domain) && !who.contains('@'))
}

fn last_lines(traceback: &str) -> String {
    let lines: Vec<&str> = traceback.trim_end().lines().collect();
    let last = lines.iter().skip(lines.len().saturating_sub(limits::LAST_LINES));
    let last: Vec<&str> = last.map(|line| line.trim()).collect();
    cut(&last.join(" / "))
}

/// No task's id comes before it.
fn lowest_task() -> TaskId {
    TaskId::new("-").expect("a hyphen is an id")
}

fn run_failed(
    seq: u64,
    at: Timestamp,
    run: &RunKey,
    ended: &Run,
    how: &str,
    mut labels: crate::Labels,
) -> Condition {
    let mut details = vec![("run".to_owned(), run.run_id.to_string())];
    if let Some(date) = ended.logical_date {
        details.push(("logical date".to_owned(), date.to_string()));
    }
    let mut summary = format!("{}: run {} {how}", run.dag_id, run.run_id);
    let mut causes = vec![seq];
    let mut fault = None;
    if let Some(failure) = &ended.failure {
        let kind = failure.kind.map_or("lost", FailureKind::word);
        summary = format!("{summary} at task {} ({kind}): {}", failure.task_id, failure.message);
        labels.insert("task".to_owned(), failure.task_id.to_string());
        labels.insert("kind".to_owned(), kind.to_owned());
        fault = Some(failure.fault);
        causes.push(failure.seq);
        let copy = if failure.map_index.is_unmapped() {
            failure.task_id.to_string()
        } else {
            format!("{}[{}]", failure.task_id, failure.map_index.0)
        };
        details.push(("task".to_owned(), format!("{copy}, try {}", failure.try_number)));
        details.push(("failure".to_owned(), kind.to_owned()));
        let error = match &failure.exception {
            Some(exception) => format!("{exception}: {}", failure.message),
            None => failure.message.clone(),
        };
        details.push(("error".to_owned(), cut(&error)));
        if failure.peak_bytes > 0 {
            let megabytes = failure.peak_bytes >> 20;
            details.push(("peak memory".to_owned(), format!("{megabytes} MiB")));
        }
        if !failure.last_lines.is_empty() {
            details.push(("last lines".to_owned(), failure.last_lines.clone()));
        }
    }
    causes.sort_unstable();
    causes.dedup();
    Condition {
        rule: Rule::RunFailed,
        scope: AlertScope::Dag(run.dag_id.clone()),
        severity: if ended.by_hand { Severity::Warning } else { Severity::Critical },
        fault,
        since: at,
        causes,
        due: None,
        run: Some(run.clone()),
        labels,
        summary: cut(&summary),
        details,
    }
}
