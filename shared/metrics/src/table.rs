//! The table of instruments: what each is called, how it is labelled, what it means and which facts it folds.
use self::{Group as G, Kind as K, Source as S};

/// What an instrument is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Whether what was promised happens in time.
    Promise,
    /// How runs and tasks end, and how long they take.
    Runs,
    /// What there is room for.
    Capacity,
    /// The log and what is folded from it.
    Log,
    /// DAG files and what is read in them.
    Definitions,
    /// Who was told of what goes wrong.
    Alerting,
    /// What is sent to other systems.
    Export,
}

impl Group {
    /// All of them, in the order of the reference.
    pub const ALL: [Self; 7] = [
        Self::Promise,
        Self::Runs,
        Self::Capacity,
        Self::Log,
        Self::Definitions,
        Self::Alerting,
        Self::Export,
    ];

    /// Its heading in the reference.
    pub const fn heading(self) -> &'static str {
        match self {
            Self::Promise => "Promises: in time or late",
            Self::Runs => "Runs and tasks",
            Self::Capacity => "Capacity",
            Self::Log => "The log and its folds",
            Self::Definitions => "DAG files",
            Self::Alerting => "Alerting",
            Self::Export => "What is sent elsewhere",
        }
    }
}

/// What kind of number it is, in Prometheus' words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Rises only.
    Counter,
    /// Rises only; counted in microseconds, shown in seconds.
    SecondsCounter,
    /// Goes up and down.
    Gauge,
    /// How many were at most so long, in steps.
    Histogram,
    /// The quantiles of the newest ones.
    Summary,
}

impl Kind {
    /// Prometheus' word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Counter | Self::SecondsCounter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Summary => "summary",
        }
    }
}

/// Who has the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The fold of the log: the same wherever it is folded.
    Fold,
    /// The fold of the log, where series of every task are asked for.
    TaskFold,
    /// The fold of alerting's own log.
    AlertFold,
    /// A service's own, which no log knows: by the service's name.
    Service(&'static str),
}

/// One number, or one for each set of labels.
#[derive(Clone, Copy, Debug)]
pub struct Instrument {
    /// As Prometheus knows it.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// What it is counted in.
    pub unit: &'static str,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it is about.
    pub group: Group,
    /// Who has it.
    pub source: Source,
    /// What it means, on one line.
    pub meaning: &'static str,
    /// The facts that it is made of; empty where it is no fold.
    pub facts: &'static [&'static str],
}

/// The instrument of this name.
pub fn find(name: &str) -> Option<&'static Instrument> {
    INSTRUMENTS.iter().find(|it| it.name == name)
}

const fn it(
    (name, kind, unit): (&'static str, Kind, &'static str),
    labels: &'static [&'static str],
    (group, source): (Group, Source),
    meaning: &'static str,
    facts: &'static [&'static str],
) -> Instrument {
    Instrument { name, kind, unit, labels, group, source, meaning, facts }
}

const RUN_ENDS: &[&str] = &[
    "RunCreated",
    "RunCleared",
    "RunSucceeded",
    "RunFailed",
    "RunTimedOut",
    "RunCancelled",
    "RunMarked",
];
const TRY_ENDS: &[&str] = &[
    "TrySucceeded",
    "TryFailed",
    "TrySkipped",
    "TryRescheduled",
    "TryDeferred",
    "TryLost",
    "TryCancelled",
    "TryReturned",
];
const TRY_TIMES: &[&str] =
    &["TryStarted", "TrySucceeded", "TryFailed", "TrySkipped", "TryRescheduled", "TryDeferred"];
const COPIES: &[&str] = &[
    "TaskQueued",
    "TryStarted",
    "TrySucceeded",
    "TryFailed",
    "TrySkipped",
    "TryRescheduled",
    "TryDeferred",
    "TriggerFired",
    "TriggerFailed",
    "HitlAnswered",
    "TryLost",
    "TryCancelled",
    "TryReturned",
    "TaskRuledOut",
    "TaskMarked",
    "TaskCleared",
];

/// All instruments.
#[rustfmt::skip]
pub const INSTRUMENTS: &[Instrument] = &[
    // Promises.
    it(("dagbok_hand_off_seconds", K::Histogram, "seconds"), &[], (G::Promise, S::Fold),
        "From the last end of a task of the run before a task was queued to the start of its first try: a hand-off where nothing lacks room, and the wait for room where something does",
        &["TrySucceeded", "TryFailed", "TrySkipped", "TaskQueued", "TryStarted"]),
    it(("dagbok_hand_off_hop_seconds", K::Histogram, "seconds"), &["hop"], (G::Promise, S::Fold),
        "The two parts of a hand-off: `decide` from the end to the successor's queueing, `start` from there to its start",
        &["TrySucceeded", "TryFailed", "TrySkipped", "TaskQueued", "TryStarted"]),
    it(("dagbok_schedule_delay_seconds", K::Histogram, "seconds"), &["hop"], (G::Promise, S::Fold),
        "Scheduled runs, from when they were due: to their making (`made`), their start (`started`), their first try's start (`first_try`)",
        &["RunCreated", "RunStarted", "TryStarted"]),
    it(("dagbok_expected_runs_total", K::Counter, "runs"), &["outcome"], (G::Promise, S::Fold),
        "Runs that schedules promised: `made`, or missed by which reason (`paused`, `no_scheduler`, `schedule_changed`, `too_many_active`, `made_by_hand`)",
        &["RunCreated", "RunMissed"]),
    it(("dagbok_next_run_due_timestamp_seconds", K::Gauge, "seconds since 1970"), &[], (G::Promise, S::Fold),
        "When the next run is due of any DAG that is not paused and has room for one (`max_active_runs`): in the past while one is late",
        &["RunExpected", "RunCreated", "RunCleared", "RunSucceeded", "RunFailed", "RunTimedOut", "RunCancelled", "RunMarked", "RunMissed", "DagRegistered", "DagPaused", "DagUnpaused", "DagDisappeared", "DagForgotten"]),
    // Runs and tasks.
    it(("dagbok_runs", K::Gauge, "runs"), &["state"], (G::Runs, S::Fold),
        "Unfinished runs by state (`queued`, `running`)", RUN_ENDS),
    it(("dagbok_runs_created_total", K::Counter, "runs"), &["run_type"], (G::Runs, S::Fold),
        "Runs that came into being, by how", &["RunCreated"]),
    it(("dagbok_runs_ended_total", K::Counter, "runs"), &["state"], (G::Runs, S::Fold),
        "Runs that ended, by state (`success`, `failed`, `timed_out`, `cancelled`)", RUN_ENDS),
    it(("dagbok_run_duration_seconds", K::Histogram, "seconds"), &["state"], (G::Runs, S::Fold),
        "From a run's start to its end", RUN_ENDS),
    it(("dagbok_dag_runs_ended_total", K::Counter, "runs"), &["dag_id", "state"], (G::Runs, S::Fold),
        "Runs of a DAG that ended, by state", RUN_ENDS),
    it(("dagbok_dag_run_duration_seconds", K::Summary, "seconds"), &["dag_id"], (G::Runs, S::Fold),
        "From start to end: quantiles of the DAG's newest 100 runs that ended; sum and count of all", RUN_ENDS),
    it(("dagbok_tasks", K::Gauge, "tasks"), &["state"], (G::Runs, S::Fold),
        "Tasks of unfinished runs by state (`queued`, `running`, `up_for_retry`, `up_for_reschedule`, `deferred`)", COPIES),
    it(("dagbok_tries_started_total", K::Counter, "tries"), &[], (G::Runs, S::Fold),
        "Tries that executors began, each leg of one by itself", &["TryStarted"]),
    it(("dagbok_tasks_ended_total", K::Counter, "tries"), &["state"], (G::Runs, S::Fold),
        "Tries that ended, by what became of the task: `success`, `failed`, `up_for_retry`, `skipped`, `up_for_reschedule`, `deferred`, `lost`, `cancelled`, `returned`", TRY_ENDS),
    it(("dagbok_task_failures_total", K::Counter, "tries"), &["kind", "fault"], (G::Runs, S::Fold),
        "Failed tries by kind of failure and by whose fault it is", &["TryFailed"]),
    it(("dagbok_try_duration_seconds", K::Histogram, "seconds"), &["state"], (G::Runs, S::Fold),
        "From a try's start to its end, by what became of the task", TRY_TIMES),
    it(("dagbok_queue_wait_seconds", K::Histogram, "seconds"), &[], (G::Runs, S::Fold),
        "From a try's queueing to its start", &["TaskQueued", "TryStarted"]),
    it(("dagbok_try_cpu_seconds_total", K::SecondsCounter, "seconds"), &["mode"], (G::Runs, S::Fold),
        "CPU time of tries, in `user` code and in the `system`", TRY_TIMES),
    it(("dagbok_dag_tries_ended_total", K::Counter, "tries"), &["dag_id", "state"], (G::Runs, S::Fold),
        "Tries of a DAG that ended, by what became of the task", TRY_ENDS),
    it(("dagbok_task_tries_ended_total", K::Counter, "tries"), &["dag_id", "task_id", "state"], (G::Runs, S::TaskFold),
        "Tries of a task that ended, by what became of it", TRY_ENDS),
    it(("dagbok_task_try_duration_seconds", K::Summary, "seconds"), &["dag_id", "task_id"], (G::Runs, S::TaskFold),
        "From start to end: quantiles of the task's newest 100 tries that succeeded or failed; sum and count of all", TRY_TIMES),
    it(("dagbok_tasks_ruled_out_total", K::Counter, "tasks"), &["why"], (G::Runs, S::Fold),
        "Tasks that never ran (`skipped`, `upstream_failed`, `removed`)", &["TaskRuledOut"]),
    it(("dagbok_tasks_cleared_total", K::Counter, "tasks"), &[], (G::Runs, S::Fold),
        "Tasks that somebody had run again", &["TaskCleared"]),
    it(("dagbok_reports_refused_total", K::Counter, "reports"), &["why"], (G::Runs, S::Fold),
        "Reports of executors that came too late, or from the wrong one", &["ReportRefused"]),
    it(("dagbok_triggers_total", K::Counter, "triggers"), &["outcome"], (G::Runs, S::Fold),
        "Triggers of deferred tasks that `fired` or `failed`", &["TriggerFired", "TriggerFailed"]),
    it(("dagbok_callbacks_total", K::Counter, "callbacks"), &["outcome"], (G::Runs, S::Fold),
        "Callbacks of DAGs that went well (`success`) or not (`failed`, `lost`), and those of tasks that did not (`task_failed`)",
        &["DagCallbackSucceeded", "DagCallbackFailed", "DagCallbackLost", "TaskCallbackFailed"]),
    it(("dagbok_asset_updates_total", K::Counter, "updates"), &[], (G::Runs, S::Fold),
        "Assets brought up to date", &["AssetUpdated"]),
    // Capacity.
    it(("dagbok_pool_slots", K::Gauge, "slots"), &["pool", "state"], (G::Capacity, S::Fold),
        "A pool's slots that are `queued`, `running` or `deferred`, and those that are `open`", COPIES),
    it(("dagbok_pool_size", K::Gauge, "slots"), &["pool"], (G::Capacity, S::Fold),
        "How many slots a pool has; -1 for no limit", &["PoolSet", "PoolDeleted"]),
    it(("dagbok_queue_depth", K::Gauge, "tries"), &["queue"], (G::Capacity, S::Fold),
        "Tries on offer that no executor has begun", COPIES),
    it(("dagbok_queue_oldest_timestamp_seconds", K::Gauge, "seconds since 1970"), &["queue"], (G::Capacity, S::Fold),
        "Since when the oldest try is on offer that no executor has begun", COPIES),
    it(("dagbok_queue_executors", K::Gauge, "executors"), &["queue"], (G::Capacity, S::Fold),
        "Executors that take work from a queue: none that is cordoned", &["ExecutorJoined", "ExecutorLeft", "ExecutorCordoned", "ExecutorUncordoned"]),
    it(("dagbok_queue_slots", K::Gauge, "slots"), &["queue"], (G::Capacity, S::Fold),
        "How many tries those can hold together", &["ExecutorJoined", "ExecutorLeft", "ExecutorCordoned", "ExecutorUncordoned"]),
    it(("dagbok_queue_wanted", K::Gauge, "slots, bytes, CPUs, devices"), &["queue", "labels", "resource"], (G::Capacity, S::Fold),
        "What tries on offer ask for together: `slots`, `memory`, `cpus`, `gpus` and others by name; by the labels that they ask for, as `region=eu,tier=fast`",
        COPIES),
    it(("dagbok_executors", K::Gauge, "executors"), &[], (G::Capacity, S::Fold),
        "Executors that are there", &["ExecutorJoined", "ExecutorLeft"]),
    it(("dagbok_executor_slots", K::Gauge, "slots"), &["state"], (G::Capacity, S::Fold),
        "Slots of all executors: `running` ones and `open` ones, less those that a cordon keeps empty",
        &["ExecutorJoined", "ExecutorLeft", "ExecutorCordoned", "ExecutorUncordoned", "TryStarted"]),
    it(("dagbok_executors_left_total", K::Counter, "executors"), &["why"], (G::Capacity, S::Fold),
        "Executors that went: `drained` with a word, `gone` without", &["ExecutorLeft"]),
    it(("dagbok_tasks_waiting_for_room", K::Gauge, "tasks"), &["pool"], (G::Capacity, S::Service("scheduler")),
        "Tasks that wait for nothing but room: in their pool, their DAG, or all slots", &[]),
    it(("dagbok_tasks_starving", K::Gauge, "tasks"), &["pool"], (G::Capacity, S::Service("scheduler")),
        "Tasks that wait for nothing but slots of their pool", &[]),
    it(("dagbok_slots", K::Gauge, "slots"), &[], (G::Capacity, S::Service("executor")),
        "Tries that this executor can hold", &[]),
    it(("dagbok_slots_open", K::Gauge, "slots"), &[], (G::Capacity, S::Service("executor")),
        "Tries that this executor could take now", &[]),
    // The log.
    it(("dagbok_log_records_total", K::Counter, "records"), &[], (G::Log, S::Fold),
        "Records of the log", &["all"]),
    it(("dagbok_log_facts_total", K::Counter, "facts"), &[], (G::Log, S::Fold),
        "Facts in records of the log", &["all"]),
    it(("dagbok_log_folded_seq", K::Gauge, "sequence"), &[], (G::Log, S::Fold),
        "Up to where the log is folded into these numbers", &["all"]),
    it(("dagbok_log_last_record_timestamp_seconds", K::Gauge, "seconds since 1970"), &[], (G::Log, S::Fold),
        "When the last record was decided", &["all"]),
    it(("dagbok_clock_went_back_total", K::Counter, "times"), &[], (G::Log, S::Fold),
        "Times that the scheduler's clock showed much less than before", &["ClockWentBack"]),
    it(("dagbok_foreign_entries_total", K::Counter, "entries"), &[], (G::Log, S::Fold),
        "Entries of the log that are no records and were passed over", &["ForeignEntrySkipped"]),
    it(("dagbok_appends_total", K::Counter, "appends"), &[], (G::Log, S::Service("scheduler")),
        "Appends to the log", &[]),
    it(("dagbok_records_appended_total", K::Counter, "records"), &[], (G::Log, S::Service("scheduler")),
        "Records that this scheduler appended", &[]),
    it(("dagbok_append_seconds", K::Histogram, "seconds"), &[], (G::Log, S::Service("scheduler")),
        "From an append's start to its durability", &[]),
    it(("dagbok_decisions_total", K::Counter, "commands"), &[], (G::Log, S::Service("scheduler")),
        "Commands decided", &[]),
    it(("dagbok_refusals_total", K::Counter, "commands"), &["code"], (G::Log, S::Service("scheduler")),
        "Commands refused, by code", &[]),
    it(("dagbok_log_ahead_seconds", K::Gauge, "seconds"), &[], (G::Log, S::Service("scheduler")),
        "How far the last record's stamp lies ahead of the clock", &[]),
    it(("dagbok_projection_lag_records", K::Gauge, "records"), &[], (G::Log, S::Service("ui")),
        "Records that the read model is behind the log", &[]),
    it(("dagbok_metrics_lag_records", K::Gauge, "records"), &[], (G::Log, S::Service("ui")),
        "Records that these numbers are behind the log", &[]),
    // Definitions.
    it(("dagbok_dags", K::Gauge, "DAGs"), &["state"], (G::Definitions, S::Fold),
        "DAGs: `active`, `paused`, or `gone` from their file",
        &["DagRegistered", "DagPaused", "DagUnpaused", "DagDisappeared", "DagForgotten"]),
    it(("dagbok_dags_registered_total", K::Counter, "versions"), &[], (G::Definitions, S::Fold),
        "DAGs read for the first time or with another meaning", &["DagRegistered"]),
    it(("dagbok_import_errors", K::Gauge, "files"), &[], (G::Definitions, S::Fold),
        "DAG files that can't be read now", &["DagImportFailed", "DagImportRecovered"]),
    it(("dagbok_import_failures_total", K::Counter, "times"), &[], (G::Definitions, S::Fold),
        "Times that a DAG file could not be read", &["DagImportFailed"]),
    it(("dagbok_files_parsed_total", K::Counter, "files"), &["outcome"], (G::Definitions, S::Service("processor")),
        "DAG files parsed, by outcome (`ok`, `error`, `timeout`, `crash`)", &[]),
    it(("dagbok_parse_seconds", K::Histogram, "seconds"), &[], (G::Definitions, S::Service("processor")),
        "Time to parse a DAG file", &[]),
    // Alerting.
    it(("dagbok_alerts_open", K::Gauge, "alerts"), &["severity"], (G::Alerting, S::AlertFold),
        "Alerts that are not over", &["AlertOpened", "AlertResolved"]),
    it(("dagbok_alerts_opened_total", K::Counter, "alerts"), &["rule", "severity"], (G::Alerting, S::AlertFold),
        "Alerts that were opened, by rule and severity", &["AlertOpened"]),
    it(("dagbok_page_latency_seconds", K::Histogram, "seconds"), &[], (G::Alerting, S::AlertFold),
        "From an alert's opening to the first receiver that took a notification of it", &["AlertOpened", "NotificationAccepted"]),
    it(("dagbok_alert_acknowledge_seconds", K::Histogram, "seconds"), &[], (G::Alerting, S::AlertFold),
        "From an alert's opening to its being acknowledged", &["AlertOpened", "AlertAcknowledged"]),
    it(("dagbok_alert_open_seconds", K::Histogram, "seconds"), &[], (G::Alerting, S::AlertFold),
        "From an alert's opening to its end", &["AlertOpened", "AlertResolved"]),
    it(("dagbok_alert_escalations_total", K::Counter, "times"), &[], (G::Alerting, S::AlertFold),
        "Times that the next ones of a chain were told", &["AlertEscalated"]),
    it(("dagbok_notifications_attempted_total", K::Counter, "notifications"), &["receiver"], (G::Alerting, S::AlertFold),
        "Notifications that were about to be sent, by receiver", &["NotificationAttempted"]),
    it(("dagbok_notification_ends_total", K::Counter, "notifications"), &["outcome"], (G::Alerting, S::AlertFold),
        "What became of notifications: `accepted`, `failed` (it is tried again), `rejected` (given up)",
        &["NotificationAccepted", "NotificationFailed", "NotificationRejected"]),
    // Export.
    it(("dagbok_statsd_sent_total", K::Counter, "values"), &[], (G::Export, S::Service("scheduler")),
        "Values handed to the StatsD socket", &[]),
    it(("dagbok_statsd_dropped_total", K::Counter, "values"), &[], (G::Export, S::Service("scheduler")),
        "Values that the StatsD socket did not take", &[]),
    it(("dagbok_spans_sent_total", K::Counter, "spans"), &[], (G::Export, S::Service("scheduler")),
        "Spans that the collector took", &[]),
    it(("dagbok_spans_dropped_total", K::Counter, "spans"), &[], (G::Export, S::Service("scheduler")),
        "Spans that the collector did not take in time", &[]),
    it(("dagbok_points_sent_total", K::Counter, "values"), &[], (G::Export, S::Service("ui")),
        "Values of the log's figures that the collector took", &[]),
    it(("dagbok_points_dropped_total", K::Counter, "values"), &[], (G::Export, S::Service("ui")),
        "Values of the log's figures that the collector did not take; the next ones have them too", &[]),
    it(("dagbok_log_lines_sent_total", K::Counter, "lines"), &[], (G::Export, S::Service("every")),
        "Log lines that the collector took", &[]),
    it(("dagbok_log_lines_dropped_total", K::Counter, "lines"), &[], (G::Export, S::Service("every")),
        "Log lines that found no room, or that the collector refused", &[]),
    it(("dagbok_lineage_sent_total", K::Counter, "events"), &[], (G::Export, S::Service("scheduler")),
        "Lineage events that were taken", &[]),
    it(("dagbok_lineage_dropped_total", K::Counter, "events"), &[], (G::Export, S::Service("scheduler")),
        "Lineage events that were refused, and are not sent again", &[]),
    it(("dagbok_lineage_waiting", K::Gauge, "events"), &[], (G::Export, S::Service("scheduler")),
        "Lineage events in hand that are not taken yet; while there are any, the log waits too", &[]),
];
