//! From rows to what the API shows.
mod dag;
mod run;
mod task;

pub(crate) use dag::{DagView, describe, task_infos};
use dagbok_events::{DagSpec, DagVersion, LogRef, Timestamp, Usage, folder_of};
pub(crate) use run::{actor_name, inline_input, run_response};
pub(crate) use task::{InstanceView, copies_of, dag_callback};

pub(crate) use crate::word::word;
use crate::{
    model::rows::VersionRow,
    shapes::{DagVersionInfo, DateTime, TryLog, TryUsage, uuid_of},
};

/// What the DAG folder that goes by no name is called where Airflow names its bundles.
const BUNDLE: &str = "dags";

/// What Airflow calls a bundle: the DAG folder that a file lies in.
pub(crate) fn bundle_name(file: &str) -> String {
    folder_of(file).unwrap_or(BUNDLE).to_owned()
}

pub(crate) fn when(at: Option<Timestamp>) -> Option<DateTime> {
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
        bundle_name: Some(bundle_name(&row.spec.source.file)),
        bundle_version: Some(row.bundle.to_string()),
        created_at: row.created_at.into(),
        dag_display_name: display_name(&row.spec),
        bundle_url: None,
    }
}

pub(crate) fn try_log(log: &LogRef) -> TryLog {
    TryLog {
        digest: log.digest.to_string(),
        size: log.size,
        lines: log.lines,
        dropped: log.dropped,
    }
}

pub(crate) const fn try_usage(usage: Usage) -> TryUsage {
    let Usage { max_rss_bytes, user_us, system_us } = usage;
    TryUsage { max_rss_bytes, user_us, system_us }
}
