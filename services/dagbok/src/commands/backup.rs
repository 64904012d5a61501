//! `dagbok backup`, `dagbok backup verify` and `dagbok restore`: an installation's folder as it is at one moment, whether
//! or not a process writes it. What can be made again (read models, snapshots, caches) is not in it; keys are by
//! choice. On NATS the logs are the server's to copy: it is said how, and the rest is copied.
mod make;
mod manifest;
mod restore;
mod verify;

use std::path::Path;

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

pub(crate) async fn run(global: &Global, args: &Backup) -> Outcome {
    if let Some(BackupCommand::Verify(args)) = &args.what {
        return verify::run(&Context::new(global, Flags::new())?, &args.folder).await;
    }
    let Some(folder) = &args.folder else {
        return Err(Failure::new(Code::Usage, "no folder is named to put the backup in"));
    };
    let context = Context::new(global, nats_flags(&args.nats)?)?;
    let asks_for_nats = !args.nats.nats.is_empty() || args.nats.namespace.is_some();
    if asks_for_nats || context.config.nats != Nats::default() {
        return on_nats(&context, folder, args.with_keys).await;
    }
    make::run(&context, folder, args.with_keys).await
}

pub(crate) async fn restore(global: &Global, args: &Restore) -> Outcome {
    restore::run(&Context::new(global, Flags::new())?, args).await
}

/// Copies what is not on the server, and says how what is gets copied.
async fn on_nats(context: &Context, folder: &Path, with_keys: bool) -> Outcome {
    let nats = &context.config.nats;
    let (connection, _) = wire::look(nats).await?;
    let all = connection.namespaces().await;
    let all = all.map_err(|error| Failure::from_error(Code::BrokerMisconfigured, &error))?;
    let Some(namespace) = all.iter().find(|it| it.name == nats.namespace) else {
        let why = format!("there is no namespace `{}`", nats.namespace);
        return Err(Failure::new(Code::NotFound, why).next(super::namespaces::there(&all)));
    };
    let (manifest, digest) = make::made(make::Work::of(context, folder, with_keys, false)?).await?;
    let server = nats.urls.join(",");
    let commands: Vec<String> = namespace
        .streams
        .iter()
        .map(|stream| {
            let to = folder.join("streams").join(stream);
            format!(
                "nats --server {} stream backup {stream} {}",
                quoted(&server),
                quoted(&to.to_string_lossy())
            )
        })
        .collect();
    let out = context.out;
    if out.is_json() {
        out.document(&json!({ "folder": folder.display().to_string(), "manifest": digest,
            "files": manifest.files.len(), "keys": manifest.keys, "commands": commands }));
        return Ok(Exit::Ok);
    }
    for line in make::lines(&manifest, &digest, folder) {
        out.line(&line);
    }
    out.line("the logs are on the server; copy them from there, services stopped or running:");
    for command in commands {
        out.line(&format!("  {command}"));
    }
    Ok(Exit::Ok)
}
