//! The names that services meet under: queues, keys of the keyed state, signal subjects. One file, so
//! that permissions can be written from it.
use dagbok_events::{
    CommandId, DagId, ExecutorId, ExecutorName, MapIndex, QueueName, RunId, TaskId, TryKey,
    escape_token,
};

/// The queue of commands and reports.
pub const INBOX: &str = "inbox";

/// The key of the scheduler's lease in the keyed state.
pub const SCHEDULER_LEASE: &str = "lease/scheduler";

/// The name of the scheduler's snapshot.
pub const SCHEDULER_SNAPSHOT: &str = "scheduler";
/// The name of the place that the scheduler's snapshot stands at, by itself: the snapshot may be large.
pub const SCHEDULER_POSITION: &str = "scheduler-position";
/// The name of the snapshot of what the processor has read of the log.
pub const PROCESSOR_SNAPSHOT: &str = "processor";
/// The name of a scheduler's snapshot that was found to be of another log, for people to look at.
pub const SCHEDULER_SNAPSHOT_SET_ASIDE: &str = "scheduler-set-aside";

/// The key that says where this installation's big things lie, on an object store, and by which id they are its own.
pub const BLOBS_PLACE: &str = "blobs/place";

/// The prefix of [`xcom_prefix`].
pub const XCOM_PREFIX: &str = "xcom/";

/// The prefix of [`presence_key`].
pub const PRESENCE_PREFIX: &str = "presence/";

/// What the ids of runs begin with that nobody triggers: the schedule's, a backfill's, an asset's, a watcher's. A run
/// that somebody triggers may not take such an id, since theirs would then be taken.
pub const RESERVED_RUN_IDS: [&str; 5] =
    ["scheduled__", "backfill__", "asset_triggered__", "dataset_triggered__", WATCH];

/// Which of [`RESERVED_RUN_IDS`] a run id begins with.
pub fn reserved_prefix(run_id: &str) -> Option<&'static str> {
    RESERVED_RUN_IDS.into_iter().find(|prefix| run_id.starts_with(prefix))
}

/// The key under which the processor shows that it is there.
pub const PROCESSOR_PRESENCE: &str = "processor/presence";

/// The queue that executors of `queue` pull from.
pub fn work_queue(queue: &QueueName) -> String {
    format!("work.{}", escape_token(queue.as_str()))
}

/// The queue that triggerers pull from.
pub const TRIGGERS: &str = "triggers";

/// Where an item is offered: to executors of its queue, or where it is a trigger, to triggerers.
pub fn queue_of(item: &crate::WorkItem) -> String {
    if item.trigger.is_some() { TRIGGERS.to_owned() } else { work_queue(&item.queue) }
}

/// Where triggerers hear which triggers nobody waits for any more: a list of [`TryKey`].
pub const TRIGGERS_OVER: &str = "triggers-over";

/// What stands in place of a task's id in the key of a DAG's callback: the number of the try is that of the run's end,
/// the leg the attempt. No task may be called so.
pub const DAG_CALLBACK: &str = "__dag_callback__";

/// The arguments by which a task is given callbacks, as in Airflow.
pub const TASK_CALLBACKS: [&str; 5] = [
    "on_execute_callback",
    "on_success_callback",
    "on_failure_callback",
    "on_retry_callback",
    "on_skipped_callback",
];

/// What stands in place of the ids of a DAG and a run in the key of an asset's watcher, whose task is a digest of what it
/// is made of.
pub const WATCH: &str = "__watch__";

/// The key of a work item: while it is stored or in flight no second copy is taken.
pub fn work_key(key: &TryKey) -> String {
    let leg = if key.leg.is_first() { String::new() } else { format!(".{}", key.leg) };
    format!(
        "{}.{}.{}.{}.{}{leg}",
        escape_token(key.dag_id.as_str()),
        escape_token(key.run_id.as_str()),
        escape_token(key.task_id.as_str()),
        key.map_index.0,
        key.try_number
    )
}

/// In the keyed state: by which delivery the item of this try was passed on before anything of it began.
pub fn passed_key(key: &TryKey) -> String {
    format!("passed/{}", work_key(key))
}

/// Where an executor keeps its presence.
pub fn presence_key(executor: &ExecutorId) -> String {
    format!("{PRESENCE_PREFIX}{executor}")
}

/// The prefix of [`cordon_key`].
pub const CORDON_PREFIX: &str = "cordon/";

/// Where it lies that an executor of this name is cordoned: a [`crate::Cordon`]; nothing where it is not.
pub fn cordon_key(name: &ExecutorName) -> String {
    format!("{CORDON_PREFIX}{name}")
}

/// Where the scheduler that leads says which version of the protocol it speaks, in digits. It writes that last, once all
/// that tasks and executors read is in the keyed state: where it is missing, a key that is missing may come yet.
pub const PROTOCOL: &str = "protocol";

/// Where a scheduler that leads notes which filling of the keyed state is under way: a state that was lost in between
/// lacks the note.
pub const FILLING: &str = "filling";

/// Where orders to an executor go.
pub fn orders_subject(executor: &ExecutorId) -> String {
    format!("orders.{}", escape_token(executor.as_str()))
}

/// Where the log of a try in flight is asked for.
pub fn log_subject(executor: &ExecutorId) -> String {
    format!("logs.{}", escape_token(executor.as_str()))
}

/// Where it is asked what a try in flight uses.
pub fn usage_subject(executor: &ExecutorId) -> String {
    format!("usage.{}", escape_token(executor.as_str()))
}

/// [`log_subject`] of every executor, as a pattern.
pub fn every_log_subject() -> String {
    "logs.*".to_owned()
}

/// Where whoever serves the API is asked for tasks: [`crate::ApiQuestion`].
pub const QUESTIONS: &str = "questions";

/// Where whoever reads DAG files is asked when a timetable that is written in Python has runs:
/// [`crate::DatesQuestion`].
pub const DATES: &str = "dates";

/// Where a fresh signal subject for one answer lies; `unique` is the command's id.
pub fn answer_subject(unique: &str) -> String {
    format!("answers.{}", escape_token(unique))
}

/// Where the answer to one of an executor's reports goes.
pub fn report_answer_subject(executor: &ExecutorId, command: &CommandId) -> String {
    format!("answers.{}.{}", escape_token(executor.as_str()), escape_token(command.as_str()))
}

/// What an executor listens on for all of those.
pub fn report_answers(executor: &ExecutorId) -> String {
    format!("answers.{}.*", escape_token(executor.as_str()))
}

/// Where a task's value is read by other tasks, as JSON of a [`dagbok_events::Payload`]; written by the
/// scheduler once the fact is in the log.
pub fn xcom_key(
    dag_id: &DagId,
    run_id: &RunId,
    task_id: &TaskId,
    map: MapIndex,
    key: &str,
) -> String {
    format!("{}{}/{}", xcom_task_prefix(dag_id, run_id, task_id), map.0, escape_token(key))
}

/// The prefix of every [`xcom_key`] of a task, whichever copy's.
pub fn xcom_task_prefix(dag_id: &DagId, run_id: &RunId, task_id: &TaskId) -> String {
    format!("{}{}/", xcom_prefix(dag_id, run_id), escape_token(task_id.as_str()))
}

/// Which copy's value lies at a place that begins with a task's prefix, where that is its `key`.
pub fn map_index_of(place: &str, prefix: &str, key: &str) -> Option<MapIndex> {
    let (map_index, name) = place.strip_prefix(prefix)?.split_once('/')?;
    (name == escape_token(key)).then(|| map_index.parse().ok().map(MapIndex)).flatten()
}

/// Where it is read which copies of a mapped task that is done returned something: JSON of a
/// [`crate::ReturnedBy`], written by the scheduler once the last of them is over. No [`xcom_key`] is like it.
pub fn returned_by_key(dag_id: &DagId, run_id: &RunId, task_id: &TaskId) -> String {
    format!("{}copies", xcom_task_prefix(dag_id, run_id, task_id))
}

/// The prefix of every [`xcom_key`] of a run.
pub fn xcom_prefix(dag_id: &DagId, run_id: &RunId) -> String {
    format!("{XCOM_PREFIX}{}/{}/", escape_token(dag_id.as_str()), escape_token(run_id.as_str()))
}
