//! `dagbok namespaces list` and `delete`: what lies on a NATS server. With `--json` a list of objects, or one.
use std::time::Duration;

use bytes::Bytes;
use dagbok_config::{Config, Nats};
use dagbok_objects::Objects;
use dagbok_protocol::names::{PRESENCE_PREFIX, PROCESSOR_PRESENCE, QUESTIONS, TRIGGERS_OVER};
use dagbok_runlog::{Ports, RequestError};
use dagbok_runlog_jetstream::{ConnectError, Connection, Namespace};
use serde_json::json;

use super::agree::agreed;
use crate::{
    cli::{DeleteNamespace, Global, NamespacesCommand},
    codes::Code,
    context::{Context, nats_flags},
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Table, bytes_text},
    wire,
};

/// What the keys begin with that only a service that lives keeps.
const LEASES: &str = "lease/";
/// What services listen to that keep no such key.
const LISTENED: [(&str, &str); 2] = [(QUESTIONS, "UI"), (TRIGGERS_OVER, "triggerer")];
/// How long somebody who listens is given to answer.
const HEARD: Duration = Duration::from_millis(300);

pub(crate) async fn run(global: &Global, command: &NamespacesCommand) -> Outcome {
    match command {
        NamespacesCommand::List(nats) => list(&Context::new(global, nats_flags(nats)?)?).await,
        NamespacesCommand::Delete(args) => {
            delete(&Context::new(global, nats_flags(&args.nats)?)?, args).await
        }
    }
}

async fn list(context: &Context) -> Outcome {
    let nats = &context.config.nats;
    let (connection, _) = wire::look(nats).await?;
    let mut rows = Vec::new();
    for it in all(&connection).await? {
        let services = services(nats, &it.name).await?;
        rows.push((it, services));
    }
    let out = context.out;
    if out.is_json() {
        let rows = rows.iter().map(|(it, services)| {
            json!({ "namespace": it.name, "records": it.records, "bytes": it.bytes, "replicas": it.replicas,
                "streams": it.streams, "services": services })
        });
        out.document(&rows.collect::<Vec<_>>());
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&["namespace", "records", "size", "copies", "services", "+streams"]);
    for (it, services) in rows {
        table.row(vec![
            it.name,
            it.records.to_string(),
            bytes_text(it.bytes),
            if it.replicas == 0 { "its log is gone".to_owned() } else { it.replicas.to_string() },
            services.join(", "),
            it.streams.join(", "),
        ]);
    }
    out.table(&table, "No namespace is on this server; `dagbok scheduler` makes one.");
    Ok(Exit::Ok)
}

async fn delete(context: &Context, args: &DeleteNamespace) -> Outcome {
    let nats = &context.config.nats;
    let (connection, _) = wire::look(nats).await?;
    let all = all(&connection).await?;
    let Some(it) = all.iter().find(|it| it.name == args.name) else {
        let failure =
            Failure::new(Code::NotFound, format!("there is no namespace `{}`", args.name));
        return Err(failure.next(there(&all)));
    };
    let services = services(nats, &it.name).await?;
    if !services.is_empty() {
        let what = format!("services live in the namespace `{}`: {}", it.name, services.join(", "));
        return Err(Failure::new(Code::Refused, what)
            .next("stop them; one that was killed counts for some thirty seconds more"));
    }
    let far = far(&context.config, &it.name).await?;
    let besides = match &far {
        Far::Ours(objects) => format!(", and all that lies at {}", objects.place()),
        Far::None | Far::Left(_) => String::new(),
    };
    let question = format!(
        "Delete `{}` with {} records and {}{besides}? Nothing brings them back.",
        it.name,
        it.records,
        bytes_text(it.bytes)
    );
    if !args.yes && !agreed("whether it shall be deleted", &question)? {
        return Ok(Exit::Refused);
    }
    let deleted = connection.delete_namespace(it).await;
    deleted.map_err(|error| Failure::from_error(Code::BrokerMisconfigured, &error))?;
    let (objects, left) = match far {
        Far::None => (0, None),
        Far::Left(place) => (0, Some(place)),
        Far::Ours(objects) => {
            let gone = objects.clear().await.map_err(|error| {
                Failure::from_error(Code::ObjectStore, &error).next(format!(
                    "the namespace is deleted; delete by hand what is left at {}, the object `owner` too",
                    objects.place()
                ))
            })?;
            (gone, None)
        }
    };
    let out = context.out;
    if out.is_json() {
        out.document(&json!({ "namespace": it.name, "streams": it.streams, "objects": objects,
            "left": left }));
        return Ok(Exit::Ok);
    }
    out.line(&format!("{} is deleted", it.name));
    if let Some(place) = left {
        out.line(&format!(
            "its big things lie at {place}, which this configuration does not name as its place: delete them by hand, the \
             object `owner` too, or no namespace can use that place"
        ));
    }
    Ok(Exit::Ok)
}

/// What of a namespace lies on an object store.
enum Far {
    /// Nothing that is known.
    None,
    /// All of it is in a place that this configuration names.
    Ours(Objects),
    /// It is at this place, which is not the one that the configuration names, or is another's by now.
    Left(String),
}

/// Where a namespace's big things lie, by its own word.
async fn far(config: &Config, namespace: &str) -> Result<Far, Failure> {
    let mut config = config.clone();
    namespace.clone_into(&mut config.nats.namespace);
    // Of one that is not whole nobody knows.
    let (_, Ok(ports)) = wire::look(&config.nats).await? else { return Ok(Far::None) };
    let failed = |error| Failure::from_error(Code::ObjectStore, &error);
    let Some(claim) = wire::claimed_on(&ports).await.map_err(failed)? else {
        return Ok(Far::None);
    };
    let Some(objects) = wire::objects(&config)?.filter(|it| it.place() == claim.place) else {
        return Ok(Far::Left(claim.place));
    };
    let is_ours = objects.owner().await.map_err(failed)? == Some(claim.owner);
    Ok(if is_ours { Far::Ours(objects) } else { Far::Left(claim.place) })
}

async fn all(connection: &Connection) -> Result<Vec<Namespace>, Failure> {
    let found = connection.namespaces().await;
    found.map_err(|error| Failure::from_error(Code::BrokerMisconfigured, &error))
}

/// Which namespaces there are, for somebody who named another.
pub(crate) fn there(all: &[Namespace]) -> String {
    if all.is_empty() {
        return "the server has none; `dagbok scheduler` makes one".to_owned();
    }
    let names: Vec<String> = all.iter().map(|it| format!("`{}`", it.name)).collect();
    format!("the server has {}", names.join(", "))
}

/// The services that show in the keyed state that they live.
async fn services(nats: &Nats, namespace: &str) -> Result<Vec<String>, Failure> {
    let nats = Nats { namespace: namespace.to_owned(), ..nats.clone() };
    let (_, ports) = wire::look(&nats).await?;
    let ports = match ports {
        Ok(ports) => ports,
        // Of one that is not whole nothing can live: its services wait until it is.
        Err(ConnectError::NoNamespace { .. } | ConnectError::Incomplete { .. }) => {
            return Ok(Vec::new());
        }
        // Who can't look does not know that nothing lives.
        Err(error) => return Err(wire::failure(&error)),
    };
    living(&ports).await.map_err(|error| Failure::from_error(Code::BrokerMisconfigured, &error))
}

async fn living(ports: &Ports) -> dagbok_runlog::PortResult<Vec<String>> {
    let mut found = Vec::new();
    for (key, _) in ports.state.list(LEASES).await? {
        found.extend(key.strip_prefix(LEASES).map(str::to_owned));
    }
    match ports.state.list(PRESENCE_PREFIX).await?.len() {
        0 => {}
        1 => found.push("1 executor".to_owned()),
        many => found.push(format!("{many} executors")),
    }
    if ports.state.get(PROCESSOR_PRESENCE).await?.is_some() {
        found.push("processor".to_owned());
    }
    for (subject, who) in LISTENED {
        // The server says at once where nobody listens; whoever does need not answer a question that is none.
        match ports.signals.request(subject, Bytes::new(), HEARD).await {
            Err(RequestError::NoResponder { .. }) => {}
            Ok(_) | Err(RequestError::TimedOut { .. }) => found.push(who.to_owned()),
            Err(RequestError::Port(error)) => return Err(error),
        }
    }
    Ok(found)
}
