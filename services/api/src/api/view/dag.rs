//! DAGs and their tasks.
use std::{collections::BTreeMap, sync::Arc};

use dagbok_events::{
    AssetCondition, AssetRef, DagSpec, Micros, Span, TaskSpec, Timetable, path_in_folder,
};
use serde_json::json;

use super::super::assets::way_back;
use super::{bundle_name, display_name, run::actor_name, version_info, when, word};
use crate::{
    model::{
        Store, StoreError,
        rows::{DagRow, RunRow, RunState, VersionRow},
    },
    shapes::{
        DEFAULT_OWNER, DagDetails, DagExtra, DagResponse, DagTag, ExpectedRun, LastRun, MissedRuns,
        NotCarriedOut, PausedWhy, TaskExtra, TaskInfo, TimeDelta,
    },
};

/// A DAG with what belongs to it.
pub(crate) struct DagView {
    pub(crate) row: DagRow,
    pub(crate) version: Arc<VersionRow>,
    pub(crate) last_run: Option<RunRow>,
    pub(crate) has_import_error: bool,
    pub(crate) bundle: Option<String>,
    /// The way through assets by which its runs may follow each other for ever.
    pub(crate) way_back: Option<Vec<String>>,
    /// What holds where the DAG says nothing.
    pub(crate) max_consecutive_failed_dag_runs: u32,
}

impl DagView {
    /// Reads what belongs to `row`; `None` where its meaning is missing, which no log of ours says.
    pub(crate) fn read(store: &Store, row: DagRow) -> Result<Option<Self>, StoreError> {
        let Some(version) = store.version_shared(&row.dag_id, row.version)? else {
            return Ok(None);
        };
        let last_run = store.newest_run(&row)?;
        let has_import_error = store.import_error(&row.file)?.is_some();
        let gone = row.disappeared_at.is_some();
        let way_back = if gone { None } else { way_back(store, &version.spec)? };
        let bundle = store.bundle(&row.file)?.map(|row| row.bundle.to_string());
        let max_consecutive_failed_dag_runs =
            store.limits()?.map_or(0, |row| row.max_consecutive_failed_dag_runs);
        Ok(Some(Self {
            row,
            version,
            last_run,
            has_import_error,
            bundle,
            way_back,
            max_consecutive_failed_dag_runs,
        }))
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
            bundle_name: Some(bundle_name(&row.file)),
            bundle_version: self.bundle.clone().or_else(|| Some(version.bundle.to_string())),
            relative_fileloc: Some(path_in_folder(&row.file).to_owned()),
            fileloc: row.file.clone(),
            description: spec.description.clone(),
            timetable_summary: spec.schedule.text.clone(),
            timetable_description: Some(describe(spec)),
            timetable_partitioned: matches!(
                spec.schedule.timetable,
                Timetable::CronPartition { .. } | Timetable::PartitionedAsset { .. }
            ),
            timetable_periodic: is_periodic(&spec.schedule.timetable),
            tags: spec.tags.iter().map(tag).collect(),
            max_active_tasks: spec.max_active_tasks,
            max_active_runs: Some(spec.max_active_runs),
            max_consecutive_failed_dag_runs: match spec.max_consecutive_failed_dag_runs {
                0 => self.max_consecutive_failed_dag_runs,
                most => most,
            },
            has_task_concurrency_limits: false,
            has_import_errors: self.has_import_error,
            next_dagrun_logical_date: when(row.expected.as_ref().and_then(|run| run.logical_date)),
            next_dagrun_data_interval_start: when(interval.map(|interval| interval.start)),
            next_dagrun_data_interval_end: when(interval.map(|interval| interval.end)),
            next_dagrun_run_after: when(row.expected.as_ref().and_then(|run| run.due)),
            allowed_run_types: None,
            owners: owners(&spec.owner),
            is_backfillable: is_periodic(&spec.schedule.timetable)
                && !matches!(spec.schedule.timetable, Timetable::Python { .. }),
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
            runs: {
                let counts = row.totals.runs_by_state();
                counts.iter().map(|(state, count)| (state.word().to_owned(), *count)).collect()
            },
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
            paused: row.pause.as_ref().map(|pause| PausedWhy {
                since: pause.at.into(),
                by: actor_name(&pause.by),
                reason: pause.reason.clone(),
                failed_runs: pause.failed_runs.iter().map(ToString::to_string).collect(),
            }),
            not_carried_out: {
                let told = version.spec.not_carried_out.iter().map(Into::into);
                told.chain(self.told_of_way_back()).collect()
            },
        }
    }

    fn told_of_way_back(&self) -> Option<NotCarriedOut> {
        let way = self.way_back.as_ref()?.join(" -> ");
        let what = format!(
            "its assets come back to it, so that its runs may follow each other for ever: {way}"
        );
        let line = self.version.spec.source.line;
        Some(NotCarriedOut { what, task_id: None, more: 0, line })
    }

    pub(crate) fn details(&self) -> DagDetails {
        let Self { row, version, .. } = self;
        let spec = &version.spec;
        let active = [RunState::Queued, RunState::Running];
        DagDetails {
            dag: self.response(),
            catchup: spec.catchup,
            dag_run_timeout: spec.dagrun_timeout.map(iso_duration),
            asset_expression: spec.asset_condition.as_ref().map(expression),
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
            active_runs_count: {
                let counts = row.totals.runs_by_state();
                active.iter().filter_map(|state| counts.get(state)).sum()
            },
            concurrency: spec.max_active_tasks,
            latest_dag_version: Some(version_info(row.version, version)),
        }
    }
}

/// The first that is named.
fn owner_of(names: [&str; 2]) -> String {
    names.into_iter().find(|name| !name.is_empty()).unwrap_or(DEFAULT_OWNER).to_owned()
}

fn owners(text: &str) -> Vec<String> {
    let named = text.split(',').map(str::trim).filter(|owner| !owner.is_empty());
    let named: Vec<_> = named.map(str::to_owned).collect();
    if named.is_empty() { vec![DEFAULT_OWNER.to_owned()] } else { named }
}

const fn is_periodic(timetable: &Timetable) -> bool {
    match timetable {
        Timetable::Manual
        | Timetable::Once
        | Timetable::Events { .. }
        | Timetable::PartitionedAsset { .. }
        | Timetable::PartitionedAtRuntime => false,
        Timetable::Continuous
        | Timetable::CronDataInterval { .. }
        | Timetable::CronTrigger { .. }
        | Timetable::CronTriggers { .. }
        | Timetable::DeltaDataInterval { .. }
        | Timetable::DeltaTrigger { .. }
        | Timetable::DeltaTriggers { .. }
        | Timetable::CronPartition { .. }
        | Timetable::Python { .. } => true,
    }
}

/// Its schedule in words.
pub(crate) fn describe(spec: &DagSpec) -> String {
    let by_time = by_time(spec);
    match (&spec.asset_condition, &spec.schedule.timetable) {
        (None, _) => by_time,
        (Some(condition), Timetable::Manual) => format!("once {} up to date", assets(condition)),
        (Some(condition), Timetable::PartitionedAsset { .. }) => {
            format!("for each partition, once {} up to date", assets(condition))
        }
        (Some(condition), _) => format!("{by_time}, or once {} up to date", assets(condition)),
    }
}

/// Assets as a sentence has them.
fn assets(condition: &AssetCondition) -> String {
    match condition {
        AssetCondition::One { of } => format!("{} is", name_of(of)),
        AssetCondition::All { of } => format!("{} are", joined(of, " and ")),
        AssetCondition::Any { of } => format!("{} is", joined(of, " or ")),
    }
}

fn joined(parts: &[AssetCondition], word: &str) -> String {
    let part = |part: &AssetCondition| match part {
        AssetCondition::One { of } => name_of(of).to_owned(),
        AssetCondition::All { of } => format!("({})", joined(of, " and ")),
        AssetCondition::Any { of } => format!("({})", joined(of, " or ")),
    };
    parts.iter().map(part).collect::<Vec<_>>().join(word)
}

/// As Airflow writes it.
fn expression(condition: &AssetCondition) -> serde_json::Value {
    let parts = |of: &[AssetCondition]| of.iter().map(expression).collect::<Vec<_>>();
    match condition {
        AssetCondition::All { of } => json!({ "all": parts(of) }),
        AssetCondition::Any { of } => json!({ "any": parts(of) }),
        AssetCondition::One { of } => match of {
            AssetRef::Asset { name, uri, group, .. } => {
                json!({ "asset": { "uri": uri, "name": name, "group": group } })
            }
            AssetRef::Alias { name } => json!({ "alias": { "name": name, "group": "asset" } }),
            AssetRef::Name { name } => json!({ "asset_ref": { "name": name } }),
            AssetRef::Uri { uri } => json!({ "asset_ref": { "uri": uri } }),
        },
    }
}

fn name_of(asset: &AssetRef) -> &str {
    match asset {
        AssetRef::Asset { name, .. } | AssetRef::Alias { name } | AssetRef::Name { name } => name,
        AssetRef::Uri { uri } => uri,
    }
}

fn by_time(spec: &DagSpec) -> String {
    let zone = &spec.schedule.timezone;
    let every = |every: &Micros, months: &i32| match months {
        0 => format!("every {}", iso_duration(*every)),
        months => format!("every {months} months and {}", iso_duration(*every)),
    };
    match &spec.schedule.timetable {
        Timetable::Manual => "never, only when triggered".to_owned(),
        Timetable::PartitionedAsset { .. } => "for each partition of its assets".to_owned(),
        Timetable::PartitionedAtRuntime => {
            "only when triggered; tasks say which partitions they bring up to date".to_owned()
        }
        Timetable::CronPartition { expression, .. } => {
            format!("cron `{expression}` in {zone}, each run for a partition")
        }
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
        Timetable::CronTriggers { expressions, interval, .. } => {
            let crons: Vec<_> = expressions.iter().map(|cron| format!("`{cron}`")).collect();
            format!("cron {} in {zone}{}", crons.join(" or "), over(*interval))
        }
        Timetable::DeltaTriggers { every: length, interval } => {
            format!("{}{}", every(&length.micros, &length.months), over(*interval))
        }
        Timetable::Events { dates, .. } => format!("at {} given instants", dates.len()),
        Timetable::Python { description, .. } if !description.is_empty() => description.clone(),
        Timetable::Python { class, .. } => format!("when {class} says"),
    }
}

/// The time that each run of a trigger stands for.
fn over(interval: Span) -> String {
    match (interval.months, interval.micros) {
        (0, Micros(0)) => String::new(),
        (0, length) => format!(", each run for the {} before it", iso_duration(length)),
        (months, length) => {
            format!(", each run for the {months} months and {} before it", iso_duration(length))
        }
    }
}

/// ISO 8601, in seconds and their fraction.
fn iso_duration(length: Micros) -> String {
    let (sign, micros) =
        if length.0 < 0 { ("-", length.0.unsigned_abs()) } else { ("", length.0.unsigned_abs()) };
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

fn task_info(
    spec: &DagSpec,
    task: &TaskSpec,
    upstream: Vec<String>,
    downstream: Vec<String>,
) -> TaskInfo {
    TaskInfo {
        task_id: Some(task.task_id.to_string()),
        task_display_name: Some(task.task_id.to_string()),
        owner: Some(owner_of([&task.owner, &spec.owner])),
        start_date: when(spec.start_date),
        end_date: when(spec.end_date),
        trigger_rule: Some(word(&task.trigger_rule)),
        depends_on_past: task.depends_on_past,
        wait_for_downstream: task.wait_for_downstream,
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
