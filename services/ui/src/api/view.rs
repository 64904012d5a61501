//! From rows to what the API shows.
use std::{collections::BTreeMap, sync::Arc};

use dagbok_events::{
    Actor, DagId, DagSpec, DagVersion, Interval, LogRef, MapIndex, Micros, RunType, TaskSpec, Timestamp, Timetable,
    TryNumber,
};
use serde_json::{Map, Value, json};

use crate::{
    model::{
        Store, StoreError,
        rows::{DagRow, RunEnd, RunInputRow, RunRow, TaskRow, TryEnd, TryRow, VersionRow},
    },
    shapes::{
        DagDetails, DagExtra, DagResponse, DagTag, DagVersionInfo, DateTime, ExpectedRun, LastRun,
        MissedRuns, RunExtra, RunResponse, TaskExtra, TaskInfo, TaskInstance, TaskInstanceExtra, TimeDelta,
        TryFailure, TryInstance, TryLog, TryUsage, seconds, uuid_of,
    },
};

/// The name under which the one DAG folder goes where Airflow has many.
pub(crate) const BUNDLE: &str = "dags";

/// A small enum's name in the API, as serde has it.
pub(crate) fn word<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        other => unreachable!("only enums without fields are put into words: {other:?}"),
    }
}

fn when(at: Option<Timestamp>) -> Option<DateTime> {
    at.map(DateTime)
}

/// The DAG's name for people.
pub(crate) fn display_name(spec: &DagSpec) -> String {
    spec.display_name.clone().unwrap_or_else(|| spec.dag_id.to_string())
}

pub(crate) fn version_info(number: DagVersion, row: &VersionRow) -> DagVersionInfo {
    let dag_id = row.spec.dag_id.as_str();
    DagVersionInfo {
        id: uuid_of(&["dag_version", dag_id, &number.to_string()]),
        version_number: number,
        dag_id: dag_id.to_owned(),
        bundle_name: Some(BUNDLE.to_owned()),
        bundle_version: Some(row.bundle.to_string()),
        created_at: row.created_at.into(),
        dag_display_name: display_name(&row.spec),
        bundle_url: None,
    }
}

/// A DAG with what belongs to it.
pub(crate) struct DagView {
    pub(crate) row: DagRow,
    pub(crate) version: Arc<VersionRow>,
    pub(crate) last_run: Option<RunRow>,
    pub(crate) has_import_error: bool,
    pub(crate) bundle: Option<String>,
}

impl DagView {
    /// Reads what belongs to `row`; `None` where its meaning is missing, which no log of ours says.
    pub(crate) fn read(store: &Store, row: DagRow) -> Result<Option<Self>, StoreError> {
        let Some(version) = store.version_shared(&row.dag_id, row.version)? else { return Ok(None) };
        let last_run = store.runs_in_order(Some(&row.dag_id), true, 0, 1)?.pop();
        let has_import_error = store.import_error(&row.file)?.is_some();
        let bundle = store.bundle()?.map(|row| row.bundle.to_string());
        Ok(Some(Self { row, version, last_run, has_import_error, bundle }))
    }

    pub(crate) fn response(&self) -> DagResponse {
        let Self { row, version, .. } = self;
        let spec = &version.spec;
        let id = row.dag_id.to_string();
        let name = display_name(spec);
        let interval = row.expected.as_ref().and_then(|run| run.data_interval);
        let tag = |tag: &String| DagTag {
            name: tag.clone(),
            dag_id: id.clone(),
            dag_display_name: name.clone(),
        };
        DagResponse {
            dag_display_name: name.clone(),
            is_paused: row.paused,
            is_stale: row.disappeared_at.is_some(),
            last_parsed_time: Some(row.registered_at.into()),
            last_parse_duration: None,
            last_expired: None,
            bundle_name: Some(BUNDLE.to_owned()),
            bundle_version: self.bundle.clone().or_else(|| Some(version.bundle.to_string())),
            relative_fileloc: Some(row.file.clone()),
            fileloc: row.file.clone(),
            description: spec.description.clone(),
            timetable_summary: spec.schedule.text.clone(),
            timetable_description: Some(describe(spec)),
            timetable_partitioned: false,
            timetable_periodic: is_periodic(&spec.schedule.timetable),
            tags: spec.tags.iter().map(tag).collect(),
            max_active_tasks: spec.max_active_tasks,
            max_active_runs: Some(spec.max_active_runs),
            max_consecutive_failed_dag_runs: 0,
            has_task_concurrency_limits: false,
            has_import_errors: self.has_import_error,
            next_dagrun_logical_date: when(row.expected.as_ref().and_then(|run| run.logical_date)),
            next_dagrun_data_interval_start: when(interval.map(|interval| interval.start)),
            next_dagrun_data_interval_end: when(interval.map(|interval| interval.end)),
            next_dagrun_run_after: when(row.expected.as_ref().and_then(|run| run.due)),
            allowed_run_types: None,
            owners: owners(&spec.owner),
            is_backfillable: is_periodic(&spec.schedule.timetable),
            file_token: row.file.clone(),
            dagbok: self.extra(),
            dag_id: id,
        }
    }

    fn extra(&self) -> DagExtra {
        let Self { row, version, last_run, .. } = self;
        DagExtra {
            version: row.version,
            spec_digest: version.spec_digest.to_string(),
            line: version.spec.source.line,
            runs: row.runs.iter().map(|(state, count)| (state.word().to_owned(), *count)).collect(),
            last_run: last_run.as_ref().map(|run| LastRun {
                dag_run_id: run.run_id.to_string(),
                state: run.state.word().to_owned(),
                start_date: when(run.start_date),
                end_date: when(run.end_date),
            }),
            expected: row.expected.as_ref().map(|run| ExpectedRun {
                logical_date: when(run.logical_date),
                due: when(run.due),
                grace: run.grace.to_std().as_secs_f64(),
                owner: run.owner.clone(),
            }),
            missed: row.missed.as_ref().map(|missed| MissedRuns {
                first: missed.first.into(),
                last: missed.last.into(),
                count: missed.count,
                why: word(&missed.why),
                at: missed.at.into(),
            }),
        }
    }

    pub(crate) fn details(&self) -> DagDetails {
        use crate::model::rows::RunState;
        let Self { row, version, .. } = self;
        let spec = &version.spec;
        let active = [RunState::Queued, RunState::Running];
        DagDetails {
            dag: self.response(),
            catchup: spec.catchup,
            dag_run_timeout: spec.dagrun_timeout.map(iso_duration),
            asset_expression: None,
            doc_md: spec.doc_md.clone(),
            start_date: when(spec.start_date),
            end_date: when(spec.end_date),
            is_paused_upon_creation: spec.is_paused_upon_creation,
            params: spec.params.as_deref().and_then(|text| serde_json::from_str(text).ok()),
            render_template_as_native_obj: false,
            template_search_path: None,
            timezone: Some(spec.schedule.timezone.clone()),
            last_parsed: Some(row.registered_at.into()),
            default_args: None,
            rerun_with_latest_version: None,
            owner_links: None,
            is_favorite: false,
            active_runs_count: active.iter().filter_map(|state| row.runs.get(state)).sum(),
            concurrency: spec.max_active_tasks,
            latest_dag_version: Some(version_info(row.version, version)),
        }
    }
}

fn owners(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|owner| !owner.is_empty()).map(str::to_owned).collect()
}

const fn is_periodic(timetable: &Timetable) -> bool {
    match timetable {
        Timetable::Manual | Timetable::Once | Timetable::Events { .. } => false,
        Timetable::Continuous
        | Timetable::CronDataInterval { .. }
        | Timetable::CronTrigger { .. }
        | Timetable::DeltaDataInterval { .. }
        | Timetable::DeltaTrigger { .. } => true,
    }
}

fn describe(spec: &DagSpec) -> String {
    let zone = &spec.schedule.timezone;
    let every = |every: &Micros, months: &i32| match months {
        0 => format!("every {}", iso_duration(*every)),
        months => format!("every {months} months and {}", iso_duration(*every)),
    };
    match &spec.schedule.timetable {
        Timetable::Manual => "never, only when triggered".to_owned(),
        Timetable::Once => "once, at the start date".to_owned(),
        Timetable::Continuous => "again as soon as the last run is over".to_owned(),
        Timetable::CronDataInterval { expression } => {
            format!("cron `{expression}` in {zone}, each run for the interval before it")
        }
        Timetable::CronTrigger { expression } => format!("cron `{expression}` in {zone}"),
        Timetable::DeltaDataInterval { every: length, months } => {
            format!("{}, each run for the interval before it", every(length, months))
        }
        Timetable::DeltaTrigger { every: length, months } => every(length, months),
        Timetable::Events { dates } => format!("at {} given instants", dates.len()),
    }
}

/// ISO 8601, in seconds and their fraction.
fn iso_duration(length: Micros) -> String {
    let (sign, micros) = if length.0 < 0 { ("-", length.0.unsigned_abs()) } else { ("", length.0.unsigned_abs()) };
    let (whole, part) = (micros / 1_000_000, micros % 1_000_000);
    let fraction = format!(".{part:06}");
    format!("{sign}PT{whole}{}S", if part == 0 { "" } else { fraction.trim_end_matches('0') })
}

fn time_delta(length: Micros) -> TimeDelta {
    let (seconds, microseconds) = (length.0.div_euclid(1_000_000), length.0.rem_euclid(1_000_000));
    TimeDelta {
        kind: "TimeDelta".to_owned(),
        days: seconds.div_euclid(86_400),
        seconds: seconds.rem_euclid(86_400),
        microseconds,
    }
}

/// Every task of a DAG, in the order of its meaning.
pub(crate) fn task_infos(spec: &DagSpec) -> Vec<TaskInfo> {
    let id = |at: u32| spec.tasks.get(at as usize).map(|task| task.task_id.to_string());
    let mut downstream: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for task in &spec.tasks {
        for &up in &task.upstream {
            downstream.entry(up).or_default().push(task.task_id.to_string());
        }
    }
    spec.tasks
        .iter()
        .zip(0_u32..)
        .map(|(task, at)| {
            let mut down = downstream.remove(&at).unwrap_or_default();
            down.sort_unstable();
            let mut up: Vec<String> = task.upstream.iter().filter_map(|&up| id(up)).collect();
            up.sort_unstable();
            task_info(spec, task, up, down)
        })
        .collect()
}

fn task_info(spec: &DagSpec, task: &TaskSpec, upstream: Vec<String>, downstream: Vec<String>) -> TaskInfo {
    TaskInfo {
        task_id: Some(task.task_id.to_string()),
        task_display_name: Some(task.task_id.to_string()),
        owner: Some(if task.owner.is_empty() { spec.owner.clone() } else { task.owner.clone() }),
        start_date: when(spec.start_date),
        end_date: when(spec.end_date),
        trigger_rule: Some(word(&task.trigger_rule)),
        depends_on_past: false,
        wait_for_downstream: false,
        retries: Some(f64::from(task.retries)),
        queue: Some(task.queue.to_string()),
        pool: Some(task.pool.to_string()),
        pool_slots: Some(f64::from(task.pool_slots)),
        execution_timeout: task.execution_timeout.map(time_delta),
        retry_delay: Some(time_delta(task.retry_delay)),
        retry_exponential_backoff: f64::from(task.retry_backoff_milli) / 1_000.0,
        priority_weight: Some(f64::from(task.priority_weight)),
        weight_rule: None,
        ui_color: None,
        ui_fgcolor: None,
        template_fields: None,
        downstream_task_ids: Some(downstream),
        doc_md: task.doc_md.clone(),
        operator_name: Some(task.operator.clone()),
        params: None,
        class_ref: Some(json!({ "class_name": task.operator })),
        is_mapped: Some(task.is_mapped),
        extra_links: Vec::new(),
        dagbok: TaskExtra { upstream_task_ids: upstream, group: task.group.clone() },
    }
}

/// An actor's name for people, as events have it.
fn actor_name(actor: &Actor) -> String {
    match actor {
        Actor::User(name) | Actor::Token(name) => name.clone(),
        Actor::Executor(id) => id.to_string(),
        Actor::Scheduler => "scheduler".to_owned(),
        Actor::Schedule => "schedule".to_owned(),
        Actor::Processor => "processor".to_owned(),
    }
}

const fn triggered_by(run: &RunRow) -> &'static str {
    match (run.run_type, &run.created_by) {
        (RunType::Scheduled, _) => "timetable",
        (RunType::Backfill, _) => "backfill",
        (RunType::AssetTriggered, _) => "asset",
        (RunType::Manual, Actor::Schedule | Actor::Scheduler) => "timetable",
        (RunType::Manual, _) => "rest_api",
    }
}

/// A run, with the input that is shown: `conf` is an object where it is at hand.
pub(crate) fn run_response(run: &RunRow, version: Option<&VersionRow>, conf: Option<Value>, note: Option<String>) -> RunResponse {
    let end = |pick: fn(Interval) -> Timestamp| when(run.data_interval.map(pick));
    let user = matches!(run.created_by, Actor::User(_) | Actor::Token(_));
    RunResponse {
        dag_run_id: run.run_id.to_string(),
        dag_id: run.dag_id.to_string(),
        logical_date: when(run.logical_date),
        queued_at: Some(run.queued_at.into()),
        start_date: when(run.start_date),
        end_date: when(run.end_date),
        duration: seconds(run.start_date, run.end_date),
        data_interval_start: end(|interval| interval.start),
        data_interval_end: end(|interval| interval.end),
        run_after: run.run_after.into(),
        last_scheduling_decision: Some(run.updated_at.into()),
        run_type: word(&run.run_type),
        state: run.state.word().to_owned(),
        triggered_by: Some(triggered_by(run).to_owned()),
        triggering_user_name: user.then(|| actor_name(&run.created_by)),
        conf,
        note,
        dag_versions: version.map(|row| version_info(run.version, row)).into_iter().collect(),
        bundle_version: Some(run.bundle.to_string()),
        dag_display_name: version.map_or_else(|| run.dag_id.to_string(), |row| display_name(&row.spec)),
        partition_key: None,
        partition_date: None,
        dagbok: run_extra(run),
    }
}

fn run_extra(run: &RunRow) -> RunExtra {
    let mut counts: BTreeMap<String, u32> =
        run.counts.iter().map(|(state, count)| (state.word().to_owned(), *count)).collect();
    let stateless = run.tasks.saturating_sub(counts.values().sum());
    if stateless > 0 {
        counts.insert("none".to_owned(), stateless);
    }
    RunExtra {
        tasks: run.tasks,
        counts,
        ended: run.end.map(|end: RunEnd| word(&end)),
        ended_by: run.ended_by.as_ref().map(actor_name),
        reason: run.end_reason.clone(),
        failed_tasks: run.failed_tasks.iter().map(ToString::to_string).collect(),
        refused_reports: run.refused,
        created_seq: run.created_seq,
        last_seq: run.last_seq,
    }
}

/// The conf and note that can be shown without asking the blobs.
pub(crate) fn inline_input(input: Option<RunInputRow>) -> (Option<Value>, Option<String>) {
    let Some(RunInputRow { conf, note }) = input else { return (None, None) };
    let conf = match conf {
        Some(dagbok_events::Payload::Inline(text)) => serde_json::from_str(&text).ok(),
        Some(dagbok_events::Payload::Blob { .. }) | None => None,
    };
    (conf, note)
}

/// A task of a run with what belongs to it.
#[derive(Clone, Debug)]
pub(crate) struct InstanceView {
    pub(crate) run: Arc<RunRow>,
    pub(crate) version: Option<Arc<VersionRow>>,
    /// Its place in the meaning's tasks; `None` for one that is not there.
    pub(crate) place: Option<usize>,
    /// `None` while it has no state.
    pub(crate) row: Option<TaskRow>,
}

impl InstanceView {
    /// Every task of `run`, those without a state too, in the order of the DAG's meaning.
    pub(crate) fn of_run(store: &Store, run: RunRow) -> Result<Vec<Self>, StoreError> {
        let version = store.version_shared(&run.dag_id, run.version)?;
        let key = dagbok_events::RunKey { dag_id: run.dag_id.clone(), run_id: run.run_id.clone() };
        let mut rows: BTreeMap<String, Vec<TaskRow>> = BTreeMap::new();
        for row in store.tasks(&key)? {
            rows.entry(row.task_id.to_string()).or_default().push(row);
        }
        let run = Arc::new(run);
        let view = |place, row| Self { run: Arc::clone(&run), version: version.clone(), place, row };
        let mut all = Vec::new();
        let tasks = version.as_ref().map_or(&[][..], |version| &version.spec.tasks);
        for (place, task) in tasks.iter().enumerate() {
            match rows.remove(task.task_id.as_str()) {
                Some(copies) => all.extend(copies.into_iter().map(|row| view(Some(place), Some(row)))),
                None => all.push(view(Some(place), None)),
            }
        }
        all.extend(rows.into_values().flatten().map(|row| view(None, Some(row))));
        Ok(all)
    }

    pub(crate) fn spec(&self) -> Option<&TaskSpec> {
        self.version.as_ref()?.spec.tasks.get(self.place?)
    }

    pub(crate) fn task_id(&self) -> &str {
        let row = self.row.as_ref().map(|row| row.task_id.as_str());
        row.or_else(|| self.spec().map(|spec| spec.task_id.as_str())).unwrap_or_default()
    }

    pub(crate) fn map_index(&self) -> i32 {
        self.row.as_ref().map_or(MapIndex::UNMAPPED, |row| row.map_index).0
    }

    pub(crate) fn state(&self) -> Option<&'static str> {
        self.row.as_ref().map(|row| row.state.word())
    }

    pub(crate) fn attempt(&self) -> Option<&TryRow> {
        self.row.as_ref()?.attempt.as_ref()
    }

    pub(crate) fn start_date(&self) -> Option<Timestamp> {
        self.attempt()?.started_at
    }

    pub(crate) fn end_date(&self) -> Option<Timestamp> {
        let row = self.row.as_ref()?;
        row.ruled_out_at.or_else(|| row.attempt.as_ref()?.ended_at)
    }

    pub(crate) fn duration(&self) -> Option<f64> {
        let attempt = self.attempt()?;
        seconds(attempt.started_at, attempt.ended_at)
    }

    pub(crate) fn pool(&self) -> &str {
        let pool = self.attempt().map(|attempt| attempt.pool.as_str());
        pool.or_else(|| self.spec().map(|spec| spec.pool.as_str())).unwrap_or("default_pool")
    }

    pub(crate) fn queue(&self) -> Option<&str> {
        let queue = self.attempt().map(|attempt| attempt.queue.as_str());
        queue.or_else(|| self.spec().map(|spec| spec.queue.as_str()))
    }

    pub(crate) fn response(&self) -> TaskInstance {
        let one = self.one_try(self.attempt());
        let run = &self.run;
        let parts = ["task_instance", run.dag_id.as_str(), run.run_id.as_str(), self.task_id()];
        let (map, number) = (self.map_index().to_string(), one.try_number.to_string());
        TaskInstance {
            id: uuid_of(&[&parts[..], &[&map, &number]].concat()),
            task_id: one.task_id,
            dag_id: one.dag_id,
            dag_run_id: one.dag_run_id,
            map_index: one.map_index,
            logical_date: when(run.logical_date),
            run_after: run.run_after.into(),
            start_date: one.start_date,
            end_date: when(self.end_date()),
            duration: one.duration,
            state: self.state().map(str::to_owned),
            try_number: one.try_number,
            max_tries: one.max_tries,
            task_display_name: one.task_display_name,
            dag_display_name: one.dag_display_name,
            hostname: one.hostname,
            unixname: None,
            pool: one.pool,
            pool_slots: one.pool_slots,
            queue: one.queue,
            priority_weight: one.priority_weight,
            operator: one.operator,
            operator_name: one.operator_name,
            queued_when: one.queued_when,
            scheduled_when: one.scheduled_when,
            pid: one.pid,
            executor: one.executor,
            executor_config: one.executor_config,
            note: None,
            rendered_map_index: None,
            rendered_fields: Map::new(),
            trigger: None,
            triggerer_job: None,
            dag_version: one.dag_version,
            dagbok: one.dagbok,
        }
    }

    /// One try of it; without one, the task before its first.
    pub(crate) fn one_try(&self, attempt: Option<&TryRow>) -> TryInstance {
        let spec = self.spec();
        let run = &self.run;
        let queued = when(attempt.map(|attempt| attempt.queued_at));
        let operator = spec.map(|spec| spec.operator.clone());
        let version = self.version.as_ref();
        TryInstance {
            task_id: self.task_id().to_owned(),
            dag_id: run.dag_id.to_string(),
            dag_run_id: run.run_id.to_string(),
            map_index: self.map_index(),
            start_date: when(attempt.and_then(|attempt| attempt.started_at)),
            end_date: when(attempt.and_then(|attempt| attempt.ended_at)),
            duration: attempt.and_then(|attempt| seconds(attempt.started_at, attempt.ended_at)),
            state: attempt.map(|attempt| attempt.state.word().to_owned()),
            try_number: attempt.map_or(0, |attempt| TryNumber::get(attempt.number)),
            max_tries: spec.map_or(0, |spec| spec.retries),
            task_display_name: self.task_id().to_owned(),
            dag_display_name: version.map_or_else(|| run.dag_id.to_string(), |row| display_name(&row.spec)),
            hostname: attempt.and_then(|attempt| attempt.hostname.clone()),
            unixname: None,
            pool: attempt.map_or_else(|| self.pool().to_owned(), |attempt| attempt.pool.to_string()),
            pool_slots: attempt
                .map(|attempt| attempt.pool_slots)
                .or_else(|| spec.map(|spec| spec.pool_slots))
                .unwrap_or(1),
            queue: self.queue().map(str::to_owned),
            priority_weight: spec.map(|spec| spec.priority_weight),
            operator_name: operator.clone(),
            operator,
            queued_when: queued,
            scheduled_when: queued,
            pid: attempt.and_then(|attempt| attempt.pid),
            executor: attempt.and_then(|attempt| attempt.executor.as_ref()).map(ToString::to_string),
            executor_config: "{}".to_owned(),
            dag_version: version.map(|row| version_info(run.version, row)),
            dagbok: self.extra(attempt),
        }
    }

    fn extra(&self, attempt: Option<&TryRow>) -> TaskInstanceExtra {
        let mut extra = TaskInstanceExtra {
            group: self.spec().and_then(|spec| spec.group.clone()),
            last_seq: self.row.as_ref().map(|row| row.last_seq),
            ..TaskInstanceExtra::default()
        };
        let Some(attempt) = attempt else { return extra };
        extra.retry_at = when(attempt.retry_at);
        extra.inputs.clone_from(&attempt.inputs);
        extra.log = attempt.log.as_ref().map(try_log);
        extra.usage = attempt.usage.map(|usage| TryUsage {
            max_rss_bytes: usage.max_rss_bytes,
            user_us: usage.user_us,
            system_us: usage.system_us,
        });
        let (ended, message) = match &attempt.end {
            None => (None, None),
            Some(TryEnd::Succeeded) => (Some("succeeded"), None),
            Some(TryEnd::Failed(failure)) => {
                extra.failure = Some(try_failure(failure));
                (Some("failed"), None)
            }
            Some(TryEnd::Skipped(message)) => (Some("skipped"), Some(message.clone())),
            Some(TryEnd::Lost(why)) => (Some("lost"), Some(word(why))),
            Some(TryEnd::Cancelled) => (Some("cancelled"), None),
            Some(TryEnd::Returned) => (Some("returned"), None),
        };
        extra.ended = ended.map(str::to_owned);
        extra.message = message.filter(|message| !message.is_empty());
        extra
    }
}

fn try_failure(failure: &dagbok_events::Failure) -> TryFailure {
    TryFailure {
        kind: word(&failure.kind),
        fault: word(&failure.fault),
        message: failure.message.clone(),
        exception: failure.exception.clone(),
        traceback: failure.traceback.clone(),
        file: failure.file.clone(),
        line: failure.line,
        signal: failure.signal,
        exit_code: failure.exit_code,
        retryable: failure.retryable,
    }
}

pub(crate) fn try_log(log: &LogRef) -> TryLog {
    TryLog { digest: log.digest.to_string(), size: log.size, lines: log.lines, dropped: log.dropped }
}

/// Which DAG a list is about: `None` for `~`, all of them.
pub(crate) fn any_dag(raw: &str) -> Result<Option<DagId>, super::errors::ApiError> {
    if raw == "~" { Ok(None) } else { super::extract::dag_id(raw).map(Some) }
}
