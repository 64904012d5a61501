//! `dagbok variables …`: as `airflow variables`, from which files can be taken over.
use std::collections::BTreeMap;

use dagbok_api::shapes::{
    BulkResponse, OnExistence, VariableAction, VariableBody, VariableBulk, VariableCollection,
    VariableResponse,
};
use dagbok_events::VariableKey;
use dagbok_secrets::Entry;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::secrets::{done, given, path_argument, python, sealed, unreadable, write_secret};
use crate::{
    api::Api,
    cli::{
        ExportVariables, GetVariable, ImportVariables, OnExisting, SetVariable, Variable,
        VariablesCommand,
    },
    codes::Code,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::Table,
};

/// Variables that one request names or one answer has at most.
const PAGE: usize = 1_000;
/// Bytes of values that one request has at most: a body has an end.
const BYTES: usize = 400_000;

pub(crate) async fn run(context: &Context, command: &VariablesCommand) -> Outcome {
    match command {
        VariablesCommand::Set(args) => set(context, args).await,
        VariablesCommand::List => list(context).await,
        VariablesCommand::Get(args) => get(context, args).await,
        VariablesCommand::Delete(args) => delete(context, args).await,
        VariablesCommand::Import(args) => import(context, args).await,
        VariablesCommand::Export(args) => export(context, args).await,
    }
}

async fn set(context: &Context, args: &SetVariable) -> Outcome {
    let api = Api::of(context).await?;
    let text = given(&args.value)?;
    let value = if args.serialize_json {
        serde_json::to_string(&text).expect("a text has a form in JSON")
    } else {
        text
    };
    let body = VariableBody {
        key: args.key.clone(),
        value: Value::String(value),
        description: args.description.clone(),
        team_name: None,
    };
    put(&api, vec![body], OnExistence::Overwrite).await?;
    if context.out.is_json() {
        let found: VariableResponse = api.get(&["variables", &args.key], &[]).await?;
        context.out.document(&found);
    } else {
        context.out.line(&format!("{} is set", args.key));
    }
    Ok(Exit::Ok)
}

async fn list(context: &Context) -> Outcome {
    let found = all(&Api::of(context).await?).await?;
    if context.out.is_json() {
        let total_entries = found.len();
        context.out.document(&VariableCollection { variables: found, total_entries });
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&["key", "value", "description", "set by"]);
    for one in found {
        table.row(vec![
            one.key,
            one.value
                .or(one.dagbok.problem.map(|_| "(its key is missing)".to_owned()))
                .unwrap_or_default(),
            one.description.unwrap_or_default(),
            one.dagbok.set_by,
        ]);
    }
    context.out.table(&table, "No variables on the log.");
    Ok(Exit::Ok)
}

async fn get(context: &Context, args: &GetVariable) -> Outcome {
    let api = Api::of(context).await?;
    let found: Result<VariableResponse, Failure> = api.get(&["variables", &args.key], &[]).await;
    let mut found = match (found, &args.default) {
        (Err(failure), Some(default)) if failure.code() == Code::NotFound => {
            context.out.line(default);
            return Ok(Exit::Ok);
        }
        (found, _) => found?,
    };
    if args.show_secret && found.dagbok.masked {
        let (entries, ring) = sealed(context, &api).await?;
        if let Some(entry) = entries.variables.iter().find(|entry| entry.name == args.key) {
            let key = VariableKey::try_from(args.key.clone()).map_err(|_| gone(&args.key))?;
            let value: String = ring
                .open(Entry::Variable(&key), &entry.sealed)
                .map_err(|error| unreadable(&error))?;
            (found.value, found.dagbok.masked) = (Some(value), false);
        }
    }
    if context.out.is_json() {
        context.out.document(&found);
        return Ok(Exit::Ok);
    }
    context.out.line(found.value.as_deref().unwrap_or_default());
    if found.dagbok.masked {
        context.out.note("its name says that it is a secret: --show-secret shows it");
    }
    Ok(Exit::Ok)
}

fn gone(key: &str) -> Failure {
    Failure::new(Code::NotFound, format!("there is no variable `{key}`"))
}

async fn delete(context: &Context, args: &Variable) -> Outcome {
    Api::of(context).await?.delete(&["variables", &args.key]).await?;
    if context.out.is_json() {
        context.out.document(&json!({ "key": args.key }));
    } else {
        context.out.line(&format!("{} is deleted", args.key));
    }
    Ok(Exit::Ok)
}

/// A variable of a file.
#[derive(Deserialize)]
struct InFile {
    value: Value,
    description: Option<String>,
}

async fn import(context: &Context, args: &ImportVariables) -> Outcome {
    let path = path_argument(&args.path)?;
    let found: BTreeMap<String, InFile> =
        python(context, &["read-variables", path], None::<&()>).await?;
    let names: Vec<String> = found.keys().cloned().collect();
    let wanted = found.into_iter().map(|(key, InFile { value, description })| VariableBody {
        key,
        value,
        description,
        team_name: None,
    });
    let on_existence = match args.action_on_existing_key {
        OnExisting::Overwrite => OnExistence::Overwrite,
        OnExisting::Fail => OnExistence::Fail,
        OnExisting::Skip => OnExistence::Skip,
    };
    let set = put(&Api::of(context).await?, wanted.collect(), on_existence).await?;
    let skipped: Vec<&String> = names.iter().filter(|name| !set.contains(name)).collect();
    if context.out.is_json() {
        context.out.document(&json!({ "variables": set, "skipped": skipped }));
    } else {
        context.out.line(&format!(
            "{} variables are set, {} stay as they were",
            set.len(),
            skipped.len()
        ));
    }
    Ok(Exit::Ok)
}

/// Writes values that are JSON as what they say, as Airflow does, so that its import reads them.
async fn export(context: &Context, args: &ExportVariables) -> Outcome {
    let (entries, ring) = sealed(context, &Api::of(context).await?).await?;
    let mut all = BTreeMap::new();
    for entry in entries.variables {
        let key = VariableKey::try_from(entry.name.clone()).map_err(|_| gone(&entry.name))?;
        let text: String =
            ring.open(Entry::Variable(&key), &entry.sealed).map_err(|error| unreadable(&error))?;
        let value = match serde_json::from_str::<Value>(&text) {
            Ok(value) if !value.is_string() => value,
            _ => Value::String(text),
        };
        let holds_value = value.get("value").is_some();
        let shown = match entry.description {
            None if !holds_value => value,
            description => json!({ "value": value, "description": description }),
        };
        all.insert(entry.name, shown);
    }
    let text = serde_json::to_string_pretty(&all).expect("variables have text keys");
    write_secret(&args.path, format!("{text}\n").as_bytes())?;
    tell_written(context, args.path == std::path::Path::new("-"), &all.keys().collect::<Vec<_>>());
    Ok(Exit::Ok)
}

fn tell_written(context: &Context, to_stdout: bool, names: &[&String]) {
    if to_stdout {
        return;
    }
    if context.out.is_json() {
        context.out.document(&json!({ "variables": names }));
    } else {
        context.out.line(&format!("{} variables are written, in clear", names.len()));
    }
}

/// Sets these variables, in requests that are not too large; returns which were set.
async fn put(
    api: &Api,
    entities: Vec<VariableBody>,
    action_on_existence: OnExistence,
) -> Result<Vec<String>, Failure> {
    let (mut stored, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
    let mut parts = Vec::new();
    for body in entities {
        let size = body.key.len() + body.value.to_string().len();
        if !part.is_empty() && (bytes + size > BYTES || part.len() == PAGE) {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
        bytes += size;
        part.push(body);
    }
    parts.push(part);
    for entities in parts {
        let actions = vec![VariableAction::Create { entities, action_on_existence }];
        let sent = api.send(Method::PATCH, &["variables"], &VariableBulk { actions }).await?;
        let made = done::<BulkResponse>(sent)?.create.unwrap_or_default();
        if let Some(first) = made.errors.first() {
            return Err(Failure::new(Code::Refused, &first.error));
        }
        stored.extend(made.success);
    }
    Ok(stored)
}

async fn all(api: &Api) -> Result<Vec<VariableResponse>, Failure> {
    api.all(&["variables"], |page: VariableCollection| (page.variables, page.total_entries)).await
}
