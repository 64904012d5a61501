//! Which files differ between what two versions of a DAG were read from. An archive is of the whole DAG folder, so files of
//! other DAGs differ, too: those come last. The texts themselves are asked for one by one.
use std::collections::{BTreeMap, BTreeSet};

use axum::{Json, extract::State};
use dagbok_events::{DagVersion, Digest, RunKey, folder_of, path_in_folder};
use dagbok_rows::key::table;
use serde::Deserialize;
use utoipa::IntoParams;

use super::super::{
    errors::ApiError,
    extract::{InPath, InQuery, dag_id, run_key},
    sources::Listing,
    state::ApiState,
};
use crate::{
    model::{Store, rows::DagRow},
    shapes::{Detail, UiChange, UiChangeKind, UiChanges},
};

/// Files that are named.
const NAMED: usize = 200;

/// Which two.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub(crate) struct ChangesQuery {
    /// The version that changes lead to; what is published now where neither it nor a run is said.
    version: Option<u32>,
    /// The run that ran what changes lead to.
    run_id: Option<String>,
    /// The version that they begin with; what is published now where not said.
    against: Option<u32>,
}

/// The files of Python that differ between two versions of a DAG.
#[utoipa::path(get, path = "/api/v2/dagbok/ui/dags/{dag_id}/changes", tag = "UI",
    params(("dag_id" = String, Path), ChangesQuery), responses(
    (status = 200, body = UiChanges), (status = 404, body = Detail), (status = 422, body = Detail),
    (status = 503, body = Detail)
))]
pub(crate) async fn changes(
    State(state): State<ApiState>,
    InPath(raw): InPath<String>,
    InQuery(query): InQuery<ChangesQuery>,
) -> Result<Json<UiChanges>, ApiError> {
    let id = dag_id(&raw)?;
    let run = query.run_id.as_deref().map(|run| run_key(&raw, run)).transpose()?;
    let seq = state.model.progress().now().applied.0;
    let of = id.clone();
    let find = move |store: &Store| {
        let dag = store.dag(&of)?.ok_or_else(|| ApiError::no_dag(of.as_str()))?;
        let now = bundle(store, &dag, query.version, run.as_ref())?;
        let then = bundle(store, &dag, query.against, None)?;
        Ok((dag.file, now, then))
    };
    let (file, now, then) = state.read(find).await?;
    let blobs = &*state.ports.blobs;
    let listing = async |bundle: Option<Digest>| match bundle {
        Some(bundle) => state.sources.listing(blobs, &bundle).await,
        None => Ok(None),
    };
    let (then, now) = (listing(then).await?, listing(now).await?);
    let mut found = UiChanges {
        seq,
        as_of: state.clock.now().into(),
        dag_id: id.to_string(),
        file,
        kept: then.is_some() && now.is_some(),
        files: Vec::new(),
        total: 0,
        complete: true,
    };
    if let (Some(then), Some(now)) = (then, now) {
        let differ = differ(&then, &now);
        found.complete = then.complete && now.complete;
        found.total = differ.len();
        let own = found.file.clone();
        found.files = state.read(move |store| sorted(store, differ, &own)).await?;
    }
    Ok(Json(found))
}

/// The archive that a version was read from, that a run ran, or that is published now.
fn bundle(
    store: &Store,
    dag: &DagRow,
    version: Option<DagVersion>,
    run: Option<&RunKey>,
) -> Result<Option<Digest>, ApiError> {
    if let Some(key) = run {
        let unknown = || ApiError::no_run(key.dag_id.as_str(), key.run_id.as_str());
        return Ok(Some(store.run(key)?.ok_or_else(unknown)?.bundle));
    }
    let Some(number) = version else {
        return Ok(store.bundle(&dag.file)?.map(|row| row.bundle));
    };
    let id = &dag.dag_id;
    let head = store.version_head(id, number)?.ok_or_else(|| {
        ApiError::NotFound(format!("the DAG `{id}` has no version {number} at hand"))
    })?;
    Ok(Some(head.bundle))
}

/// What became of each file that is not the same in both, as far as both name all that there is.
fn differ(then: &Listing, now: &Listing) -> BTreeMap<String, UiChangeKind> {
    let is_now = |(file, digest): (&String, &String)| {
        let kind = match then.files.get(file) {
            Some(before) if before == digest => return None,
            Some(_) => UiChangeKind::Changed,
            None => UiChangeKind::Added,
        };
        Some((file.clone(), kind))
    };
    let gone = then.files.keys().filter(|file| !now.files.contains_key(*file));
    let gone = gone.map(|file| (file.clone(), UiChangeKind::Removed));
    // A list that was cut says nothing of what comes after its last.
    let cut = [then, now].into_iter().filter(|it| !it.complete);
    let end = cut.filter_map(|it| it.files.last_key_value()).map(|(last, _)| last).min();
    let is_known = |file: &String| end.is_none_or(|end| file <= end);
    let all = now.files.iter().filter_map(is_now).chain(gone);
    all.filter(|(file, _)| is_known(file)).collect()
}

/// The DAG's own file first, files that other DAGs are read from last.
fn sorted(
    store: &Store,
    differ: BTreeMap<String, UiChangeKind>,
    own: &str,
) -> Result<Vec<UiChange>, ApiError> {
    // Another folder's files are other ones, though they may be called the same.
    let (folder, own) = (folder_of(own), path_in_folder(own));
    let mut others = BTreeSet::new();
    for dag in store.scan::<DagRow>(&table::<DagRow>()) {
        let other = dag?.1.file;
        let path = path_in_folder(&other);
        if folder_of(&other) == folder && path != own && differ.contains_key(path) {
            others.insert(path.to_owned());
        }
    }
    let change = |(file, kind): (String, UiChangeKind)| UiChange {
        of_others: others.contains(&file),
        kind,
        file,
    };
    let mut files: Vec<UiChange> = differ.into_iter().map(change).collect();
    files.sort_by_key(|it| (it.file != own, it.of_others));
    files.truncate(NAMED);
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_became_of_each_file_is_told_by_its_digest() {
        let listing = |files: &[(&str, &str)]| Listing {
            files: files.iter().map(|(file, of)| ((*file).to_owned(), (*of).to_owned())).collect(),
            complete: true,
        };
        let then = listing(&[("a.py", "1"), ("lib/b.py", "1"), ("lib/gone.py", "1")]);
        let now = listing(&[("a.py", "1"), ("lib/b.py", "2"), ("lib/new.py", "1")]);
        let found: Vec<(String, UiChangeKind)> = differ(&then, &now).into_iter().collect();
        assert_eq!(
            found,
            [
                ("lib/b.py".to_owned(), UiChangeKind::Changed),
                ("lib/gone.py".to_owned(), UiChangeKind::Removed),
                ("lib/new.py".to_owned(), UiChangeKind::Added),
            ]
        );
        // Of what lies beyond the end of a list that was cut nothing is said.
        let cut = Listing { complete: false, ..listing(&[("a.py", "1"), ("lib/b.py", "2")]) };
        let only = [("lib/b.py".to_owned(), UiChangeKind::Changed)];
        assert_eq!(differ(&then, &cut).into_iter().collect::<Vec<_>>(), only);
        assert_eq!(differ(&cut, &then).into_iter().collect::<Vec<_>>(), only);
    }
}
