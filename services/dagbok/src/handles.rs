//! Names as people type them. What is only read may be named by its beginning, a run also by its date; what is changed is
//! named whole, since a name that has gone may begin another's. `latest` is the DAG's newest run. Of what there is not,
//! what is like it is offered.
use dagbok_api::shapes::{DagCollection, RunCollection, UiRun};
use serde::de::IgnoredAny;

use crate::{api::Api, cli::Run, codes::Code, context::Context, failure::Failure};

/// The newest run of a DAG, where none is called so.
const LATEST: &str = "latest";
/// Runs that are looked through, the newest of them.
const RUNS: usize = 1_000;
/// How many are named where several are meant.
const NAMED: usize = 5;
/// How like a name must be to be offered, of 1.
const LIKE: f64 = 0.8;

/// What is to be done with what is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    /// Nothing changes: a part of the name will do.
    Reading,
    /// It is changed.
    Changing,
    /// It is gone afterwards, and `latest` would be another.
    Deleting,
}

/// The DAG that is meant.
pub(crate) async fn dag(
    context: &Context,
    api: &Api,
    typed: &str,
    to: For,
) -> Result<String, Failure> {
    let Some(missing) = missing(api, &["dags", typed]).await? else { return Ok(typed.to_owned()) };
    let names = api.all(&["dags"], |page: DagCollection| {
        (page.dags.into_iter().map(|dag| dag.dag_id).collect(), page.total_entries)
    });
    chosen(context, (typed, to), &names.await?, begins, missing)
}

/// The DAGs that are meant: all of them are there before anything is done to the first.
pub(crate) async fn dags(
    context: &Context,
    api: &Api,
    typed: &[String],
    to: For,
) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    for typed in typed {
        let dag_id = dag(context, api, typed, to).await?;
        if !found.contains(&dag_id) {
            found.push(dag_id);
        }
    }
    Ok(found)
}

/// The run that is meant.
pub(crate) async fn run(
    context: &Context,
    api: &Api,
    typed: &Run,
    to: For,
) -> Result<Run, Failure> {
    let raw = typed.run_id.as_str();
    // Whose names are whole is asked about once.
    if missing(api, &["dags", &typed.dag_id, "dagRuns", raw]).await?.is_none() {
        return Ok(Run { dag_id: typed.dag_id.clone(), run_id: raw.to_owned() });
    }
    let dag_id = dag(context, api, &typed.dag_id, to).await?;
    let Some(missing) = missing(api, &["dags", &dag_id, "dagRuns", raw]).await? else {
        return Ok(Run { dag_id, run_id: raw.to_owned() });
    };
    let query = [("limit", RUNS.to_string()), ("order_by", "-id".to_owned())];
    let newest: RunCollection = api.get(&["dags", &dag_id, "dagRuns"], &query).await?;
    let names: Vec<String> = newest.dag_runs.into_iter().map(|run| run.dag_run_id).collect();
    let run_id = match names.first() {
        Some(newest) if raw == LATEST && to != For::Deleting => {
            context.out.note(&format!("`{LATEST}` is {newest}"));
            newest.clone()
        }
        None if raw == LATEST => {
            let why = format!("the DAG `{dag_id}` has no run yet");
            return Err(Failure::new(Code::NotFound, why)
                .next(format!("make one: `dagbok dags trigger {dag_id}`")));
        }
        _ => chosen(context, (raw, to), &names, begins_or_is_of, missing)?,
    };
    Ok(Run { dag_id, run_id })
}

/// The run and the task of it that are meant.
pub(crate) async fn run_and_task(
    context: &Context,
    api: &Api,
    typed: &Run,
    task_id: &str,
    to: For,
) -> Result<(Run, String), Failure> {
    let path = ["dagbok", "ui", "tasks", &typed.dag_id, &typed.run_id, task_id];
    // Whose names are whole is asked about once.
    if missing(api, &path).await?.is_none() {
        let run = Run { dag_id: typed.dag_id.clone(), run_id: typed.run_id.clone() };
        return Ok((run, task_id.to_owned()));
    }
    let run = run(context, api, typed, to).await?;
    let task_id = task(context, api, &run, task_id, to).await?;
    Ok((run, task_id))
}

/// The task of a run that is meant.
async fn task(
    context: &Context,
    api: &Api,
    run: &Run,
    typed: &str,
    to: For,
) -> Result<String, Failure> {
    let path = ["dagbok", "ui", "tasks", &run.dag_id, &run.run_id, typed];
    let Some(missing) = missing(api, &path).await? else { return Ok(typed.to_owned()) };
    // One that the run's version of the DAG no longer has is known by its history alone.
    let kept = ["dags", &run.dag_id, "dagRuns", &run.run_id, "taskInstances", typed];
    if self::missing(api, &kept).await?.is_none() {
        return Ok(typed.to_owned());
    }
    let whole: UiRun = api.get(&["dagbok", "ui", "runs", &run.dag_id, &run.run_id], &[]).await?;
    let mut names: Vec<String> = whole.tasks.into_values().map(|task| task.task_id).collect();
    names.dedup();
    chosen(context, (typed, to), &names, begins, missing)
}

/// That there is no such thing; `None` where there is.
async fn missing(api: &Api, path: &[&str]) -> Result<Option<Failure>, Failure> {
    match api.get::<IgnoredAny>(path, &[]).await {
        Ok(_) => Ok(None),
        Err(failure) if failure.code() == Code::NotFound => Ok(Some(failure)),
        Err(failure) => Err(failure),
    }
}

fn begins(name: &str, typed: &str) -> bool {
    name.starts_with(typed)
}

/// Ids that are made have their date after the kind of run.
fn begins_or_is_of(name: &str, typed: &str) -> bool {
    begins(name, typed) || name.split_once("__").is_some_and(|(_, rest)| begins(rest, typed))
}

/// The one that is meant; else what to say.
fn chosen(
    context: &Context,
    (typed, to): (&str, For),
    names: &[String],
    is_meant: impl Fn(&str, &str) -> bool,
    missing: Failure,
) -> Result<String, Failure> {
    let meant: Vec<&String> =
        names.iter().filter(|name| !typed.is_empty() && is_meant(name, typed)).collect();
    match meant.as_slice() {
        [one] if to != For::Reading => {
            Err(missing.next(format!("what is to be changed is named whole: is `{one}` meant?")))
        }
        [one] => {
            context.out.note(&format!("`{typed}` is {one}"));
            Ok((*one).clone())
        }
        [] => {
            let like = |name: &&String| strsim::jaro_winkler(name, typed);
            let nearest = names.iter().max_by(|a, b| like(a).total_cmp(&like(b)));
            Err(match nearest.filter(|name| like(name) >= LIKE) {
                Some(name) => missing.next(format!("did you mean `{name}`?")),
                None => missing,
            })
        }
        several => {
            let mut shown: Vec<String> =
                several.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
            if several.len() > NAMED {
                shown.push(format!("{} more", several.len() - NAMED));
            }
            let why = format!("`{typed}` may be any of {}", shown.join(", "));
            Err(Failure::new(Code::NotFound, why).next("type more of it"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_shown_by_its_beginning_or_its_date() {
        for typed in ["manual", "manual__2026-01-31T05", "2026-01-31", "2026"] {
            assert!(begins_or_is_of("manual__2026-01-31T05:30:00+00:00", typed), "{typed}");
        }
        for typed in ["anual", "01-31", "__2026"] {
            assert!(!begins_or_is_of("manual__2026-01-31T05:30:00+00:00", typed), "{typed}");
        }
    }
}
