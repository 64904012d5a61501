//! A DAG's file as it was published: now, with a version, or with a run; and the lines of it that tries failed at.
use std::{collections::BTreeMap, path::Path};

use axum::{Json, extract::State};
use dagbok_events::{DagId, DagVersion, Digest, RunKey, Timestamp, path_in_folder};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    super::{
        errors::ApiError,
        extract::{InPath, InQuery, dag_id, run_key},
        state::ApiState,
    },
    dags::last_runs,
    failure::{self, failure_of},
};
use crate::{
    model::{
        Store,
        rows::{DagRow, RunState},
    },
    shapes::{Detail, UiCode, UiCodeError, UiCodeVersion},
};

/// Runs that are looked at for failures, and archives that those may be of.
const RUNS: usize = 60;
const ARCHIVES: usize = 6;
/// Versions that are named, the newest.
const VERSIONS: u32 = 200;

/// As it was when.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct CodeQuery {
    /// The version that was read from it; counts from 1.
    version: Option<u32>,
    /// The run that ran it.
    run_id: Option<String>,
    /// Another file of Python in the same archive, by its path within the DAG folder; the DAG's own where not said.
    file: Option<String>,
    /// Whether the text is wanted; without it come the rest, and by `bundle` whether the text is another.
    text: Option<bool>,
}

/// A DAG's file, as it is where neither a version nor a run is named.
#[utoipa::path(get, path = "/api/v2/dagbok/ui/dags/{dag_id}/code", tag = "UI",
    params(("dag_id" = String, Path), CodeQuery), responses(
    (status = 200, body = UiCode), (status = 404, body = Detail), (status = 422, body = Detail),
    (status = 503, body = Detail)
))]
pub(crate) async fn code(
    State(state): State<ApiState>,
    InPath(raw): InPath<String>,
    InQuery(query): InQuery<CodeQuery>,
) -> Result<Json<UiCode>, ApiError> {
    let id = dag_id(&raw)?;
    let run = query.run_id.as_deref().map(|run| run_key(&raw, run)).transpose()?;
    let seq = state.model.progress().now().applied.0;
    let with_text = query.text.unwrap_or(true);
    let file = query.file;
    if file.as_ref().is_some_and(|file| Path::new(file).extension() != Some("py".as_ref())) {
        // What else lies in the folder is not for whoever may look at a page.
        let msg = "must be a file of Python: its name ends with .py";
        return Err(ApiError::invalid("value_error", &["query", "file"], msg));
    }
    let as_of = (query.version, run);
    let found = state.read(move |store| look(store, &id, as_of, file)).await?;
    let blobs = &*state.ports.blobs;
    let source = state.sources.file(blobs, &found.bundle, &found.file).await?;
    let mut errors = Vec::new();
    if let Some(source) = &source {
        // An archive is of the whole folder: that another file of it changed says nothing of this one.
        for (bundle, failed) in found.failed {
            let other = state.sources.file(blobs, &bundle, &found.file).await?;
            if other.is_some_and(|other| other.text == source.text) {
                errors.extend(failed);
            }
        }
    }
    // The newest first at each line.
    errors.sort_by_key(|(run_after, error): &(Timestamp, UiCodeError)| {
        (error.line, std::cmp::Reverse(*run_after))
    });
    Ok(Json(UiCode {
        seq,
        as_of: state.clock.now().into(),
        dag_id: found.dag_id.to_string(),
        whole: source.as_ref().is_none_or(|source| source.whole),
        content: source.filter(|_| with_text).map(|source| source.text.clone()),
        file: found.file,
        line: found.line,
        version: found.version,
        bundle: found.bundle.to_string(),
        versions: found.versions,
        errors: errors.into_iter().map(|(_, error)| error).collect(),
    }))
}

struct Found {
    dag_id: DagId,
    file: String,
    line: u32,
    version: DagVersion,
    bundle: Digest,
    versions: Vec<UiCodeVersion>,
    /// By the archive that the runs ran.
    failed: Failed,
}

/// Failures by the archive that the run ran, with when the run was due.
type Failed = BTreeMap<Digest, Vec<(Timestamp, UiCodeError)>>;

fn look(
    store: &Store,
    id: &DagId,
    (version, run): (Option<DagVersion>, Option<RunKey>),
    file: Option<String>,
) -> Result<Found, ApiError> {
    let dag = store.dag(id)?.ok_or_else(|| ApiError::no_dag(id.as_str()))?;
    let (number, bundle) = match (&run, version) {
        (Some(key), _) => {
            let unknown = || ApiError::no_run(key.dag_id.as_str(), key.run_id.as_str());
            let run = store.run(key)?.ok_or_else(unknown)?;
            (run.version, Some(run.bundle))
        }
        (None, Some(number)) => (number, None),
        (None, None) => (dag.version, store.bundle(&dag.file)?.map(|row| row.bundle)),
    };
    let row = store.version_shared(id, number)?;
    let row = row.ok_or_else(|| {
        ApiError::NotFound(format!("the DAG `{id}` has no version {number} at hand"))
    })?;
    let first = store.first_version(id)?.unwrap_or(dag.version);
    let first = first.max(dag.version.saturating_sub(VERSIONS - 1));
    let mut versions = Vec::new();
    for number in (first..=dag.version).rev() {
        let head = store.version_head(id, number)?;
        versions.extend(head.map(|head| UiCodeVersion {
            version: number,
            since: head.created_at.into(),
            bundle: head.bundle.to_string(),
        }));
    }
    let own = &row.spec.source;
    let path = path_in_folder(&own.file);
    let line = file.as_ref().is_none_or(|file| file == path).then_some(own.line);
    let file = file.unwrap_or_else(|| path.to_owned());
    Ok(Found {
        dag_id: id.clone(),
        line: line.unwrap_or(0),
        version: number,
        bundle: bundle.unwrap_or_else(|| row.bundle.clone()),
        versions,
        failed: failed(store, &dag, &file)?,
        file,
    })
}

/// Where tries of the newest runs failed in the file.
fn failed(store: &Store, dag: &DagRow, file: &str) -> Result<Failed, ApiError> {
    let mut found = Failed::new();
    for run in last_runs(store, dag, RUNS)?.into_iter().rev() {
        if run.state != RunState::Failed
            || (found.len() >= ARCHIVES && !found.contains_key(&run.bundle))
        {
            continue;
        }
        let Some(failure) = failure_of(store, &run)? else { continue };
        if let Some(line) = failure.line.filter(|_| failure.file.as_deref() == Some(file)) {
            let error = UiCodeError {
                line,
                words: failure::line(&failure),
                task_id: failure.task_id,
                map_index: failure.map_index,
                run_id: run.run_id.to_string(),
            };
            found.entry(run.bundle.clone()).or_default().push((run.run_after, error));
        }
    }
    Ok(found)
}
