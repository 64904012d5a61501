//! `dagbok alerts check`: whether the configuration holds, and whom each DAG's failures reach.
use std::path::{Path, PathBuf};

use dagbok_alerting::{ConfigError, Loaded, load, load_policy, load_without_secrets};
use dagbok_alerts::{Labels, Policy, Reach, labels_of_spec, reach};
use dagbok_api::shapes::{DEFAULT_OWNER, DagCollection, DagResponse};
use dagbok_events::Micros;
use dagbok_processor::parse_all;
use dagbok_runtime::Clock;
use serde_json::json;

use crate::{
    api::Api,
    cli::CheckAlerting,
    codes::Code,
    commands::dags::local::reader,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::Table,
    services,
};

/// DAGs that one answer has at most.
const PAGE: usize = 1_000;

/// How far ahead schedules are looked at for gaps.
const LOOK_AHEAD: Micros = Micros::from_secs(28 * 86_400);

pub(super) async fn run(context: &Context, args: &CheckAlerting) -> Outcome {
    let (file, mut loaded) = if args.dags.is_some() {
        let file = named(context, args.file.as_ref())?;
        let text = text_of(&file)?;
        let loaded = load_without_secrets(&file, &text).map_err(|error| wrong(&error))?;
        (file, loaded)
    } else {
        loaded(context, args.file.as_ref())?
    };
    let now = Clock::system().now();
    for (name, schedule) in &loaded.policy.crew.schedules {
        if let Some(at) = schedule.gap(now, LOOK_AHEAD) {
            loaded.warnings.push(format!("nobody is on call by the schedule `{name}` at {at}"));
        }
    }
    let labels: Option<Vec<Labels>> = match &args.dags {
        Some(folder) => Some(in_folder(context, folder).await?),
        None => match dags(context).await {
            Ok(dags) => Some(dags.iter().map(labels).collect()),
            Err(failure) => {
                context.out.note(&format!("DAGs are not checked: {failure}"));
                None
            }
        },
    };
    let namespace = &context.config.nats.namespace;
    let of = |labels: Labels| reach(&loaded.policy, namespace, labels, now);
    let reaches: Option<Vec<Reach>> = labels.map(|all| all.into_iter().map(of).collect());
    say(context, &file, &loaded, reaches.as_deref());
    let lost: Vec<&str> = reaches
        .iter()
        .flatten()
        .filter(|it| it.receivers.is_empty())
        .map(|it| it.dag_id.as_str())
        .collect();
    if lost.is_empty() {
        return Ok(Exit::Ok);
    }
    let what = format!("nobody is told of what goes wrong with {}", lost.join(", "));
    Err(Failure::new(Code::Refused, what).next("name a receiver in alerting.toml"))
}

/// The configuration that is meant.
pub(super) fn loaded(
    context: &Context,
    file: Option<&PathBuf>,
) -> Result<(PathBuf, Loaded), Failure> {
    let file = named(context, file)?;
    let loaded = read(&file)?;
    Ok((file, loaded))
}

fn named(context: &Context, file: Option<&PathBuf>) -> Result<PathBuf, Failure> {
    file.map_or_else(|| file_of(context), |file| Ok(file.clone()))
}

/// Who is told of what by the configuration that is meant; its secrets stay where they are.
pub(super) fn policy(context: &Context, file: Option<&PathBuf>) -> Result<Policy, Failure> {
    let file = named(context, file)?;
    load_policy(&file, &text_of(&file)?).map_err(|error| wrong(&error))
}

/// The file that is configured, or the installation's. An API that is named is another installation's.
fn file_of(context: &Context) -> Result<PathBuf, Failure> {
    if let Some(file) = &context.config.alerting.config {
        return Ok(file.clone());
    }
    if let Some(api) = context.named_api() {
        let what = format!("which file the service behind {api} has in force is not known here");
        return Err(Failure::new(Code::Usage, what).next("name it: `dagbok alerts check FILE`"));
    }
    Ok(services::alerting_file(&context.config, &context.home()?))
}

fn text_of(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| {
        Failure::new(Code::Config, format!("`{}` can't be read: {error}", file.display()))
            .next("write one: the README says how, in \"Being told\"")
    })
}

fn wrong(error: &ConfigError) -> Failure {
    Failure::from_error(Code::Config, error)
        .next("the README of alerting in the sources (deploy/alerting) lists every key; they are not in a wheel")
}

fn read(file: &Path) -> Result<Loaded, Failure> {
    load(file, &text_of(file)?).map_err(|error| wrong(&error))
}

/// What an API knows of a DAG that routes match.
fn labels(dag: &DagResponse) -> Labels {
    let mut labels = Labels::from([("dag".to_owned(), dag.dag_id.clone())]);
    if dag.owners.iter().any(|owner| !owner.is_empty() && owner != DEFAULT_OWNER) {
        labels.insert("owner".to_owned(), dag.owners.join(", "));
    }
    if !dag.tags.is_empty() {
        let tags: Vec<&str> = dag.tags.iter().map(|tag| tag.name.as_str()).collect();
        labels.insert("tags".to_owned(), tags.join(","));
    }
    labels
}

/// What the files of a folder say of their DAGs that routes match. A file that can't be read may have more of them.
async fn in_folder(context: &Context, folder: &Path) -> Result<Vec<Labels>, Failure> {
    let unread = |what: String| {
        let next = "`dagbok dags check FOLDER` shows what is wrong";
        Failure::new(Code::BadDagFile, what).next(next)
    };
    let folder = std::fs::canonicalize(folder).map_err(|error| {
        let what = format!("the DAG folder `{}` can't be read: {error}", folder.display());
        Failure::new(Code::NoDagFolder, what)
    })?;
    let (_, settings) = reader(context, folder).await?;
    let files = parse_all(&settings, &Clock::system()).await;
    let files = files.map_err(|error| Failure::from_error(Code::NoDagFolder, &error))?;
    if let Some(bad) = files.iter().find(|file| !file.errors.is_empty()) {
        return Err(unread(format!("`{}` can't be read", bad.file)));
    }
    let dags = files.iter().flat_map(|file| &file.dags);
    Ok(dags.map(|dag| labels_of_spec(&dag.spec)).collect())
}

fn say(context: &Context, file: &Path, loaded: &Loaded, reaches: Option<&[Reach]>) {
    let names: Vec<&str> = loaded.policy.receivers.keys().map(String::as_str).collect();
    let out = context.out;
    if out.is_json() {
        out.document(&json!({
            "file": file, "receivers": names, "warnings": loaded.warnings, "dags": reaches,
        }));
        return;
    }
    out.line(&format!("{} holds; receivers: {}", file.display(), names.join(", ")));
    for warning in &loaded.warnings {
        out.line(&format!("warning: {warning}"));
    }
    let Some(reaches) = reaches else { return };
    let mut table = Table::new(&["dag", "owner", "route", "told"]);
    for reach in reaches {
        table.row(vec![
            reach.dag_id.clone(),
            reach.owner.clone().unwrap_or_else(|| "nobody named".to_owned()),
            reach.route.clone().unwrap_or_default(),
            reach.receivers.join(", "),
        ]);
    }
    out.table(&table, "No DAGs.");
}

async fn dags(context: &Context) -> Result<Vec<DagResponse>, Failure> {
    let api = Api::of(context).await?;
    let mut found: Vec<DagResponse> = Vec::new();
    loop {
        let query = [("limit", PAGE.to_string()), ("offset", found.len().to_string())];
        let page: DagCollection = api.get(&["dags"], &query).await?;
        let total = page.total_entries;
        let is_last = page.dags.is_empty();
        found.extend(page.dags);
        if is_last || found.len() >= total {
            return Ok(found);
        }
    }
}
