//! `dagbok alerts check`: whether the configuration holds, and whom each DAG's failures reach.
use std::path::{Path, PathBuf};

use dagbok_alerting::{
    ConfigError, Loaded, load, load_policy, load_without_secrets, with_calendars,
};
use dagbok_alerts::{Labels, Policy, Reach, labels_of_spec, reach, review};
use dagbok_api::shapes::{
    AlertReach, AlertReachCollection, DEFAULT_OWNER, DagCollection, DagResponse,
};
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

pub(super) async fn run(context: &Context, args: &CheckAlerting) -> Outcome {
    let clock = Clock::system();
    let now = clock.now();
    let (file, loaded) = if !args.dags.is_empty() {
        let file = named(context, args.file.as_ref())?;
        let text = text_of(&file)?;
        let loaded = load_without_secrets(&file, &text, now).map_err(|error| wrong(&error))?;
        (file, loaded)
    } else if args.file.is_none() && is_elsewhere(context) {
        return in_force(context).await;
    } else {
        loaded(context, args.file.as_ref()).await?
    };
    let labels: Option<Vec<Labels>> = match &args.dags[..] {
        folders @ [_, ..] => Some(in_folders(context, folders).await?),
        [] => match dags(context).await {
            Ok(dags) => Some(dags.iter().map(labels).collect()),
            Err(failure) => {
                context.out.note(&format!("DAGs are not checked: {failure}"));
                None
            }
        },
    };
    // Addresses are secrets, and are not read where only a folder is looked at.
    let guarded = if args.dags.is_empty() { loaded.guarded().await } else { Vec::new() };
    let namespace = &context.config.nats.namespace;
    let of = |labels: Labels| {
        let Reach { dag_id, owner, route, receivers } =
            reach(&loaded.policy, namespace, labels, now);
        AlertReach { dag_id, owner, route, receivers }
    };
    let reaches: Option<Vec<AlertReach>> = labels.map(|all| all.into_iter().map(of).collect());
    let receivers: Vec<String> = loaded.policy.receivers.keys().cloned().collect();
    let checked = Checked {
        file: Some(&file),
        receivers: &receivers,
        warnings: &review(&loaded.policy, now),
        guarded: &guarded,
        dags: reaches.as_deref(),
    };
    checked.say(context)
}

/// Whether the configuration that counts is another installation's, which knows it itself.
pub(super) fn is_elsewhere(context: &Context) -> bool {
    context.config.alerting.config.is_none() && context.named_api().is_some()
}

/// What the service behind an API has in force, by itself.
async fn in_force(context: &Context) -> Outcome {
    let api = Api::of(context).await?;
    let found: AlertReachCollection = api.get(&["dagbok", "alerts", "check"], &[]).await?;
    let AlertReachCollection { dags, receivers, warnings, .. } = found;
    let checked = Checked {
        file: None,
        receivers: &receivers,
        warnings: &warnings,
        guarded: &[],
        dags: Some(&dags),
    };
    checked.say(context)
}

/// The configuration that is meant.
pub(super) async fn loaded(
    context: &Context,
    file: Option<&PathBuf>,
) -> Result<(PathBuf, Loaded), Failure> {
    loaded_at(context, file, Clock::system()).await
}

/// The same, around another time.
pub(super) async fn loaded_at(
    context: &Context,
    file: Option<&PathBuf>,
    clock: Clock,
) -> Result<(PathBuf, Loaded), Failure> {
    let file = named(context, file)?;
    let loaded = load(&file, &text_of(&file)?, clock.now()).map_err(|error| wrong(&error))?;
    Ok((file, with_calendars(loaded, clock).await))
}

fn named(context: &Context, file: Option<&PathBuf>) -> Result<PathBuf, Failure> {
    file.map_or_else(|| file_of(context), |file| Ok(file.clone()))
}

/// Who is told of what by the configuration that is meant; its secrets stay where they are.
pub(super) fn policy(context: &Context, file: Option<&PathBuf>) -> Result<Policy, Failure> {
    let file = named(context, file)?;
    let policy = load_policy(&file, &text_of(&file)?, Clock::system().now());
    let policy = policy.map_err(|error| wrong(&error))?;
    for name in &policy.unread {
        context.out.note(&format!(
            "the calendar of the schedule `{name}` is not asked for here: who is on call by it is not known"
        ));
    }
    Ok(policy)
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

/// The same of several folders.
async fn in_folders(context: &Context, folders: &[PathBuf]) -> Result<Vec<Labels>, Failure> {
    let mut all = Vec::new();
    for folder in folders {
        all.extend(in_folder(context, folder).await?);
    }
    Ok(all)
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

/// What a check comes to, whoever did it.
struct Checked<'a> {
    /// The file, where it was read here.
    file: Option<&'a Path>,
    receivers: &'a [String],
    warnings: &'a [String],
    /// What the guard does not let be reached.
    guarded: &'a [String],
    dags: Option<&'a [AlertReach]>,
}

impl Checked<'_> {
    fn say(&self, context: &Context) -> Outcome {
        let Self { file, receivers, warnings, guarded, dags } = *self;
        let out = context.out;
        if out.is_json() {
            out.document(&json!({
                "file": file, "receivers": receivers, "warnings": warnings, "guarded": guarded, "dags": dags,
            }));
        } else {
            let what = file.map_or("what is in force".to_owned(), |it| it.display().to_string());
            out.line(&format!("{what} holds; receivers: {}", receivers.join(", ")));
            for warning in warnings {
                out.line(&format!("warning: {warning}"));
            }
            self.table(context);
        }
        let lost = dags.unwrap_or_default().iter().filter(|it| it.receivers.is_empty());
        let lost: Vec<&str> = lost.map(|it| it.dag_id.as_str()).collect();
        if lost.is_empty() {
            return match guarded.first() {
                None => Ok(Exit::Ok),
                Some(first) => {
                    let more = guarded.len() - 1;
                    let more = if more > 0 { format!(" ({more} more)") } else { String::new() };
                    Err(Failure::new(Code::Refused, format!("{first}{more}")))
                }
            };
        }
        let what = format!("nobody is told of what goes wrong with {}", lost.join(", "));
        Err(Failure::new(Code::Refused, what).next("name a receiver in alerting.toml"))
    }

    fn table(&self, context: &Context) {
        let Some(reaches) = self.dags else { return };
        let mut table = Table::new(&["dag", "owner", "route", "told"]);
        for reach in reaches {
            table.row(vec![
                reach.dag_id.clone(),
                reach.owner.clone().unwrap_or_else(|| "nobody named".to_owned()),
                reach.route.clone().unwrap_or_default(),
                reach.receivers.join(", "),
            ]);
        }
        context.out.table(&table, "No DAGs.");
    }
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
