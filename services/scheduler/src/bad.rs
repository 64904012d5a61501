//! Runs and tries that end badly, a log line each: what somebody who reads lines alone needs to find the rest.
use dagbok_domain::namespace::Namespace;
use dagbok_events::{
    Actor, Fact, Failure, LostWhy, MapIndex, Record, RunKey, Scope, TaskId, TryNumber, hex,
};
use dagbok_protocol::trace::RunTrace;

/// The longest message, in letters: the whole is in the try's log.
const LONGEST: usize = 300;

/// Tasks that are named in the line of a run.
const NAMED: usize = 5;

/// A line in the making, said once its record is durable.
#[derive(Debug)]
pub(crate) struct Bad {
    run: RunKey,
    trace: Option<String>,
    what: What,
}

#[derive(Debug)]
enum What {
    /// A try, with its failure where it failed itself, and whether another follows.
    Try {
        task: TaskId,
        copy: MapIndex,
        number: TryNumber,
        how: String,
        failure: Option<Box<Failure>>,
        again: bool,
    },
    /// The run, and the tasks that failed it.
    Run { how: &'static str, tasks: String, by: String },
}

/// What of a record ended badly, by the fold before it, which still has the run.
pub(crate) fn of_record(namespace: &Namespace, record: &Record) -> Vec<Bad> {
    let Scope::Run(run) = &record.scope else { return Vec::new() };
    let found: Vec<What> = record.facts.iter().filter_map(|fact| of_fact(record, fact)).collect();
    if found.is_empty() {
        return Vec::new();
    }
    let trace = namespace.active_run(run).map(|it| {
        let meta = it.meta();
        hex(&RunTrace::of(run, meta.run_after, meta.traceparent.as_deref()).trace_id)
    });
    found.into_iter().map(|what| Bad { run: run.clone(), trace: trace.clone(), what }).collect()
}

fn of_fact(record: &Record, fact: &Fact) -> Option<What> {
    Some(match fact {
        Fact::TryFailed(f) => What::Try {
            task: f.task_id.clone(),
            copy: f.map_index,
            number: f.try_number,
            how: "failed".to_owned(),
            failure: Some(Box::new(Failure { traceback: None, ..f.failure.clone() })),
            again: f.retry_at.is_some(),
        },
        Fact::TryLost(f) => What::Try {
            task: f.task_id.clone(),
            copy: f.map_index,
            number: f.try_number,
            how: format!("was lost: {}", words(f.why)),
            failure: None,
            again: f.retry_at.is_some(),
        },
        Fact::RunFailed(f) => {
            What::Run { how: "failed", tasks: named(&f.failed), by: String::new() }
        }
        Fact::RunTimedOut(_) => {
            What::Run { how: "timed out", tasks: String::new(), by: String::new() }
        }
        Fact::RunCancelled(_) => {
            What::Run { how: "was cancelled", tasks: String::new(), by: by(&record.by) }
        }
        _ => return None,
    })
}

/// The first of them, and how many more there are.
fn named(tasks: &[TaskId]) -> String {
    let names: Vec<&str> = tasks.iter().take(NAMED).map(TaskId::as_str).collect();
    let names = names.join(", ");
    match tasks.len().saturating_sub(NAMED) {
        0 => names,
        more => format!("{names} and {more} more"),
    }
}

/// How a try was found to be lost, in the word that the log has for it.
fn words(why: LostWhy) -> String {
    let word = serde_json::to_value(why).ok();
    word.as_ref().and_then(|word| word.as_str()).unwrap_or("unknown").replace('_', " ")
}

/// Who did it.
fn by(actor: &Actor) -> String {
    match actor {
        Actor::User(name) => name.clone(),
        other => format!("{other:?}").to_lowercase(),
    }
}

impl Bad {
    /// Says it.
    pub(crate) fn say(&self) {
        let (dag, run) = (self.run.dag_id.as_str(), self.run.run_id.as_str());
        let trace = self.trace.as_deref();
        match &self.what {
            What::Try { task, copy, number, how, failure, again } => {
                let map_index = (!copy.is_unmapped()).then_some(copy.0);
                let failure = failure.as_deref();
                let exception = failure.and_then(|it| it.exception.as_deref());
                let place =
                    failure.and_then(|it| Some(format!("{}:{}", it.file.as_ref()?, it.line?)));
                let why = failure.map(|it| it.message.lines().next().unwrap_or_default());
                let why = why.map(|why| why.chars().take(LONGEST).collect::<String>());
                tracing::warn!(
                    dag,
                    run,
                    task = task.as_str(),
                    map_index,
                    try_number = number.get(),
                    exception,
                    place,
                    why,
                    is_tried_again = again,
                    trace,
                    "a try {how}"
                );
            }
            What::Run { how, tasks, by } => {
                let tasks = Some(tasks.as_str()).filter(|it| !it.is_empty());
                let by = Some(by.as_str()).filter(|it| !it.is_empty());
                // What somebody wished is news, and no fault.
                if by.is_some() {
                    tracing::info!(dag, run, tasks, by, trace, "a run {how}");
                } else {
                    tracing::warn!(dag, run, tasks, trace, "a run {how}");
                }
            }
        }
    }
}
