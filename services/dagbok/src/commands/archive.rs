//! `dagbok archive verify`: for the auditor. Reads every file of the archive, proves each entry by the chain of
//! digests, and holds the whole against the log that was trimmed of it.
use std::path::PathBuf;

use dagbok_archive::{Archive, Proof};
use dagbok_config::Nats;
use serde_json::{Value, json};

use crate::{
    cli::{Global, Verify},
    codes::Code,
    context::{Context, nats_flags},
    exit::Exit,
    failure::{Failure, Outcome},
    output::bytes_text,
    wire,
};

/// Says what was proved, and the first fault; ends with 9 where there is one.
pub(crate) async fn verify(global: &Global, args: &Verify) -> Outcome {
    let context = Context::new(global, nats_flags(&args.nats)?)?;
    let asks_for_nats = !args.nats.nats.is_empty() || args.nats.namespace.is_some();
    let on_nats = asks_for_nats || context.config.nats != Nats::default();
    let archive = Archive::new(&folder(&context, args, on_nats)?);
    let log = match (args.alone, on_nats) {
        (true, _) => None,
        (false, true) => {
            let (_, ports) = wire::look(&context.config.nats).await?;
            Some(ports.map_err(|error| wire::failure(&error))?.log)
        }
        (false, false) => Some(wire::log_read_only(&context.home()?).await?),
    };
    let unreadable = |error| Failure::from_error(Code::LogDamaged, &error);
    let (proof, log_first) = match &log {
        None => (of_itself(&archive).await?, None),
        Some(log) => {
            let proof = archive.prove_against(&**log).await.map_err(unreadable)?;
            (proof, Some(log.base().await.map_err(unreadable)?.first.0))
        }
    };
    if context.out.is_json() {
        context.out.document(&document(&archive, &proof, log_first));
    } else {
        for line in lines(&archive, &proof, log_first) {
            context.out.line(&line);
        }
    }
    Ok(if proof.fault.is_none() { Exit::Ok } else { Exit::Log })
}

/// Where the archive lies.
fn folder(context: &Context, args: &Verify, on_nats: bool) -> Result<PathBuf, Failure> {
    if let Some(dir) = &args.dir {
        return Ok(dir.clone());
    }
    if !on_nats {
        return Ok(wire::archive(&context.home()?, &context.config).dir().to_path_buf());
    }
    context.config.retention.archive.clone().ok_or_else(|| {
        Failure::new(Code::Usage, "there is no archive: no folder is configured for it")
            .next("name it with --dir, or as `retention.archive`")
    })
}

async fn of_itself(archive: &Archive) -> Result<Proof, Failure> {
    let archive = archive.clone();
    let proof = tokio::task::spawn_blocking(move || archive.prove()).await;
    proof.map_err(|panic| Failure::new(Code::Bug, panic))
}

fn document(archive: &Archive, proof: &Proof, log_first: Option<u64>) -> Value {
    let fault = proof.fault.as_ref().map(
        |fault| json!({ "path": fault.path().display().to_string(), "message": fault.to_string() }),
    );
    let span = proof.proved;
    json!({
        "ok": proof.fault.is_none(),
        "archive": archive.dir().display().to_string(),
        "log": span.map(|span| span.mark.0),
        "chain": span.map(|span| span.after),
        "first": span.map(|span| span.first),
        "last": span.map(|span| span.last),
        "entries": span.map_or(0, |span| span.last.0 + 1 - span.first.0),
        "files": span.map_or(0, |span| span.files),
        "bytes": span.map_or(0, |span| span.bytes),
        "log_first": log_first,
        "fault": fault,
    })
}

fn lines(archive: &Archive, proof: &Proof, log_first: Option<u64>) -> Vec<String> {
    let mut lines = vec![match proof.proved {
        Some(span) => {
            let (files, bytes) = (span.files, bytes_text(span.bytes));
            let (first, last, count) = (span.first, span.last, span.last.0 + 1 - span.first.0);
            format!("proved: {count} entries, from {first} to {last}, in {files} files of {bytes}")
        }
        None => format!("{} holds nothing", archive.dir().display()),
    }];
    if let Some(span) = proof.proved {
        lines.push(format!("the log {}; chain at {}: {}", span.mark, span.last, span.after));
        if span.first.0 > 1 {
            lines.push(format!("what is before {} was taken elsewhere", span.first));
        }
    }
    match (&proof.fault, log_first) {
        (Some(fault), _) => {
            lines.push(format!("fault in {}: {fault}", fault.path().display()));
        }
        (None, Some(first)) => {
            lines.push(format!("the log begins at {first}, and goes on from it"));
        }
        (None, None) => lines.push("it was held against no log".to_owned()),
    }
    lines
}
