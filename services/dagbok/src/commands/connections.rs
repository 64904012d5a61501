//! `dagbok connections …`: as `airflow connections`, from which files can be taken over.
use std::{collections::BTreeMap, path::Path};

use dagbok_api::shapes::{
    BulkResponse, ConnectionAction, ConnectionBody, ConnectionBulk, ConnectionCollection,
    ConnectionResponse, OnExistence, SealedEntry,
};
use dagbok_events::ConnId;
use dagbok_secrets::{ConnectionFields, Entry, Ring};
use reqwest::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::secrets::{
    done, given, path_argument, python, python_text, sealed, unreadable, write_secret,
};
use crate::{
    api::Api,
    cli::{
        AddConnection, Connection, ConnectionsCommand, ExportConnections, FileFormat,
        GetConnection, ImportConnections, Serialization,
    },
    codes::Code,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::Table,
};

/// Connections that one request names or one answer has at most.
const PAGE: usize = 200;

/// A connection's fields, as the tasks' Python has them.
#[derive(Serialize, Deserialize)]
struct Fields {
    conn_type: String,
    description: Option<String>,
    #[serde(flatten)]
    rest: ConnectionFields,
}

pub(crate) async fn run(context: &Context, command: &ConnectionsCommand) -> Outcome {
    match command {
        ConnectionsCommand::Add(args) => add(context, args).await,
        ConnectionsCommand::List => list(context).await,
        ConnectionsCommand::Get(args) => get(context, args).await,
        ConnectionsCommand::Delete(args) => delete(context, args).await,
        ConnectionsCommand::Import(args) => import(context, args).await,
        ConnectionsCommand::Export(args) => export(context, args).await,
        ConnectionsCommand::Test(args) => test(context, args).await,
    }
}

fn body_of(connection_id: String, fields: Fields) -> ConnectionBody {
    let Fields { conn_type, description, rest } = fields;
    let ConnectionFields { host, login, password, schema, port, extra } = rest;
    ConnectionBody {
        connection_id,
        conn_type,
        description,
        host,
        login,
        schema,
        port,
        password,
        extra,
        team_name: None,
    }
}

async fn wanted(context: &Context, args: &AddConnection) -> Result<ConnectionBody, Failure> {
    let conn_id = args.conn_id.clone();
    if let Some(conn_type) = &args.conn_type {
        let password = args.conn_password.as_deref().map(given).transpose()?;
        let rest = ConnectionFields {
            host: args.conn_host.clone(),
            login: args.conn_login.clone(),
            password,
            schema: args.conn_schema.clone(),
            port: args.conn_port.map(i64::from),
            extra: args.conn_extra.clone(),
        };
        let description = args.conn_description.clone();
        return Ok(body_of(conn_id, Fields { conn_type: conn_type.clone(), description, rest }));
    }
    let uri = args.conn_uri.as_deref().map(given).transpose()?;
    let text = args.conn_json.as_deref().map(given).transpose()?;
    let ask = json!({ "conn_id": conn_id, "uri": uri, "json": text });
    let mut fields: Fields = python(context, &["parse-connection"], Some(&ask)).await?;
    fields.description = args.conn_description.clone().or(fields.description);
    Ok(body_of(conn_id, fields))
}

async fn add(context: &Context, args: &AddConnection) -> Outcome {
    let api = Api::of(context).await?;
    let body = wanted(context, args).await?;
    if args.overwrite {
        put(&api, vec![body], OnExistence::Overwrite).await?;
    } else {
        done::<ConnectionResponse>(api.send(Method::POST, &["connections"], &body).await?)?;
    }
    if context.out.is_json() {
        let found: ConnectionResponse = api.get(&["connections", &args.conn_id], &[]).await?;
        context.out.document(&found);
    } else {
        context.out.line(&format!("{} is set", args.conn_id));
    }
    Ok(Exit::Ok)
}

async fn list(context: &Context) -> Outcome {
    let found = all(&Api::of(context).await?).await?;
    if context.out.is_json() {
        let total_entries = found.len();
        context.out.document(&ConnectionCollection { connections: found, total_entries });
    } else {
        show(context, &found);
    }
    Ok(Exit::Ok)
}

fn show(context: &Context, connections: &[ConnectionResponse]) {
    let mut table = Table::new(&[
        "conn_id",
        "type",
        "host",
        "port",
        "schema",
        "login",
        "password",
        "extra",
        "description",
    ]);
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    for one in connections {
        table.row(vec![
            one.connection_id.clone(),
            one.conn_type.clone(),
            one.dagbok
                .problem
                .as_ref()
                .map_or(text(&one.host), |_| "(its key is missing)".to_owned()),
            one.port.map(|port| port.to_string()).unwrap_or_default(),
            text(&one.schema),
            text(&one.login),
            text(&one.password),
            text(&one.extra),
            text(&one.description),
        ]);
    }
    context.out.table(&table, "No connections on the log.");
}

async fn get(context: &Context, args: &GetConnection) -> Outcome {
    let api = Api::of(context).await?;
    let mut found: ConnectionResponse = api.get(&["connections", &args.conn_id], &[]).await?;
    if args.show_secret {
        let fields = opened(context, &api, &args.conn_id).await?.1.rest;
        (found.password, found.extra, found.dagbok.masked) = (fields.password, fields.extra, false);
    }
    if context.out.is_json() {
        context.out.document(&found);
        return Ok(Exit::Ok);
    }
    let masked = found.dagbok.masked;
    show(context, &[found]);
    if masked {
        context.out.note("--show-secret shows its password and extra");
    }
    Ok(Exit::Ok)
}

fn open(ring: &Ring, entry: SealedEntry) -> Result<(String, Fields), Failure> {
    let SealedEntry { name, conn_type, description, sealed } = entry;
    let conn_id = ConnId::try_from(name.clone()).map_err(|_| missing(&name))?;
    let rest =
        ring.open(Entry::Connection(&conn_id), &sealed).map_err(|error| unreadable(&error))?;
    Ok((name, Fields { conn_type: conn_type.unwrap_or_default(), description, rest }))
}

fn missing(conn_id: &str) -> Failure {
    Failure::new(Code::NotFound, format!("there is no connection `{conn_id}` on the log"))
}

/// One connection, with all its fields.
async fn opened(context: &Context, api: &Api, conn_id: &str) -> Result<(String, Fields), Failure> {
    let (entries, ring) = sealed(context, api).await?;
    let entry = entries.connections.into_iter().find(|entry| entry.name == conn_id);
    open(&ring, entry.ok_or_else(|| missing(conn_id))?)
}

async fn delete(context: &Context, args: &Connection) -> Outcome {
    Api::of(context).await?.delete(&["connections", &args.conn_id]).await?;
    if context.out.is_json() {
        context.out.document(&json!({ "connection_id": args.conn_id }));
    } else {
        context.out.line(&format!("{} is deleted", args.conn_id));
    }
    Ok(Exit::Ok)
}

async fn import(context: &Context, args: &ImportConnections) -> Outcome {
    let path = path_argument(&args.path)?;
    let found: BTreeMap<String, Fields> =
        python(context, &["read-connections", path], None::<&()>).await?;
    let names: Vec<String> = found.keys().cloned().collect();
    let wanted = found.into_iter().map(|(conn_id, fields)| body_of(conn_id, fields)).collect();
    let on_existence = if args.overwrite { OnExistence::Overwrite } else { OnExistence::Skip };
    let set = put(&Api::of(context).await?, wanted, on_existence).await?;
    let skipped: Vec<&String> = names.iter().filter(|name| !set.contains(name)).collect();
    if context.out.is_json() {
        context.out.document(&json!({ "connections": set, "skipped": skipped }));
    } else {
        let (set, stay) = (set.len(), skipped.len());
        context.out.line(&format!("{set} connections are set, {stay} stay as they were"));
    }
    Ok(Exit::Ok)
}

async fn export(context: &Context, args: &ExportConnections) -> Outcome {
    let (entries, ring) = sealed(context, &Api::of(context).await?).await?;
    let opened = entries.connections.into_iter().map(|entry| open(&ring, entry));
    let all = opened.collect::<Result<BTreeMap<String, Fields>, Failure>>()?;
    let ending = args.path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let format = match (args.file_format, ending) {
        (Some(FileFormat::Yaml), _) | (None, "yaml" | "yml") => "yaml",
        (Some(FileFormat::Env), _) | (None, "env") => "env",
        _ => "json",
    };
    let serialization = match args.serialization_format {
        Serialization::Uri => "uri",
        Serialization::Json => "json",
    };
    let ask = json!({ "entries": all, "format": format, "serialization": serialization });
    let text = python_text(context, &["write-connections"], Some(&ask)).await?;
    write_secret(&args.path, &text)?;
    if args.path == Path::new("-") {
        return Ok(Exit::Ok);
    }
    let names: Vec<&String> = all.keys().collect();
    if context.out.is_json() {
        context.out.document(&json!({ "connections": names }));
    } else {
        context.out.line(&format!("{} connections are written, in clear", names.len()));
    }
    Ok(Exit::Ok)
}

/// What became of trying a connection.
#[derive(Deserialize)]
struct Tried {
    worked: bool,
    message: String,
}

async fn test(context: &Context, args: &Connection) -> Outcome {
    let api = Api::of(context).await?;
    let (conn_id, fields) = opened(context, &api, &args.conn_id).await?;
    let ask = json!({ "conn_id": conn_id, "fields": fields });
    let Tried { worked, message } = python(context, &["test-connection"], Some(&ask)).await?;
    if context.out.is_json() {
        context
            .out
            .document(&json!({ "connection_id": conn_id, "worked": worked, "message": message }));
    } else {
        context.out.line(&format!("{}: {message}", if worked { "it works" } else { "it fails" }));
    }
    Ok(if worked { Exit::Ok } else { Exit::RunFailed })
}

/// Makes these connections; returns which were made.
async fn put(
    api: &Api,
    entities: Vec<ConnectionBody>,
    action_on_existence: OnExistence,
) -> Result<Vec<String>, Failure> {
    let mut stored = Vec::new();
    for entities in entities.chunks(PAGE) {
        let entities = entities.to_vec();
        let actions = vec![ConnectionAction::Create { entities, action_on_existence }];
        let sent = api.send(Method::PATCH, &["connections"], &ConnectionBulk { actions }).await?;
        let made = done::<BulkResponse>(sent)?.create.unwrap_or_default();
        if let Some(first) = made.errors.first() {
            return Err(Failure::new(Code::Refused, &first.error));
        }
        stored.extend(made.success);
    }
    Ok(stored)
}

async fn all(api: &Api) -> Result<Vec<ConnectionResponse>, Failure> {
    api.all(&["connections"], |page: ConnectionCollection| (page.connections, page.total_entries))
        .await
}
