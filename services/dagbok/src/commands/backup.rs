//! `dagbok backup`, `dagbok backup verify` and `dagbok restore`: an installation's folder as it is at one moment, whether
//! or not a process writes it. What can be made again (read models, snapshots, caches) is not in it; keys are by
//! choice. On NATS the logs are the server's to copy: it is said how, and once they are the rest is copied.
mod copies;
mod lost;
mod make;
mod manifest;
mod place;
mod restore;
mod verify;

use std::path::{Path, PathBuf};

use dagbok_config::Nats;
use serde_json::json;

use crate::{
    cli::{Backup, BackupCommand, Global, Restore},
    codes::Code,
    context::{Context, Flags, nats_flags},
    exit::Exit,
    failure::{Failure, Outcome},
    output::quoted,
    wire,
};

/// What `nats stream backup` writes beside a stream's bytes.
const OF_THE_SERVER: &str = "backup.json";

pub(crate) async fn run(global: &Global, args: &Backup) -> Outcome {
    if let Some(BackupCommand::Verify(args)) = &args.what {
        return verify::run(&Context::new(global, Flags::new())?, &args.folder).await;
    }
    let Some(folder) = &args.folder else {
        return Err(Failure::new(Code::Usage, "no folder is named to put the backup in"));
    };
    let context = Context::new(global, nats_flags(&args.nats)?)?;
    let choice = make::Choice { keys: args.with_keys, without_archive: args.without_archive };
    let asks_for_nats = !args.nats.nats.is_empty() || args.nats.namespace.is_some();
    if asks_for_nats || context.config.nats != Nats::default() {
        return on_nats(&context, folder, choice).await;
    }
    make::run(&context, folder, choice).await
}

pub(crate) async fn restore(global: &Global, args: &Restore) -> Outcome {
    restore::run(global, args).await
}

/// The parts of a namespace that are backed up, in this order: the log of alerts before the log that it names records
/// of; the blobs after it, since whatever it names is there by then and nobody deletes any. The rest is made again from
/// the log, and snapshots that are ahead of it would be worse than none.
const PARTS: [&str; 3] = ["alerts", "log", "blobs"];

/// Says how the streams are copied, and once they are, copies what is not on the server. The archive comes after the
/// log, so that what is trimmed in between is in both.
async fn on_nats(context: &Context, folder: &Path, choice: make::Choice) -> Outcome {
    let nats = &context.config.nats;
    let (connection, _) = wire::look(nats).await?;
    let all = connection.namespaces().await;
    let all = all.map_err(|error| Failure::from_error(Code::BrokerMisconfigured, &error))?;
    let Some(namespace) = all.iter().find(|it| it.name == nats.namespace) else {
        let why = format!("there is no namespace `{}`", nats.namespace);
        return Err(Failure::new(Code::NotFound, why).next(super::namespaces::there(&all)));
    };
    let streams = PARTS.map(|part| format!("dagbok_{}_{part}", namespace.name));
    let streams: Vec<(String, PathBuf)> = streams
        .into_iter()
        .filter(|stream| namespace.streams.contains(stream))
        .map(|stream| (stream.clone(), folder.join(copies::STREAMS).join(stream)))
        .collect();
    let out = context.out;
    let here = folder.display().to_string();
    if streams.iter().any(|(_, to)| !to.join(OF_THE_SERVER).is_file()) {
        let server = quoted(&nats.urls.join(","));
        let commands: Vec<String> = streams
            .iter()
            .map(|(stream, to)| {
                let to = quoted(&to.to_string_lossy());
                format!("nats --server {server} stream backup {stream} {to}")
            })
            .collect();
        if out.is_json() {
            out.document(&json!({ "folder": here, "manifest": null, "commands": commands }));
            return Ok(Exit::Refused);
        }
        out.line("there is no backup yet: the logs are on the server. Copy them, services running or not, in this order:");
        out.line(&format!(
            "  mkdir -p {}",
            quoted(&folder.join(copies::STREAMS).to_string_lossy())
        ));
        for command in commands {
            out.line(&format!("  {command}"));
        }
        out.line("and when each has ended well give this same command again, which adds the rest");
        return Ok(Exit::Refused);
    }
    let log = folder.join(copies::STREAMS).join(format!("dagbok_{}_log", namespace.name));
    let last = last_of(&log.join(OF_THE_SERVER));
    let work = make::Work { last, ..make::Work::of(context, folder, choice, false)? };
    let (manifest, digest) = make::made(work).await?;
    if out.is_json() {
        out.document(&json!({ "folder": here, "manifest": digest, "files": manifest.files.len(),
            "keys": manifest.keys, "without_archive": manifest.without_archive, "commands": [] }));
        return Ok(Exit::Ok);
    }
    for line in make::lines(&manifest, &digest, folder) {
        out.line(&line);
    }
    Ok(Exit::Ok)
}

/// The last record that the server's backup of the log has, where that says it.
fn last_of(file: &Path) -> Option<u64> {
    let text = std::fs::read(file).ok()?;
    let said: serde_json::Value = serde_json::from_slice(&text).ok()?;
    said.pointer("/state/last_seq")?.as_u64()
}
