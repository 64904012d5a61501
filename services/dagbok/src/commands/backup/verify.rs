//! Proves that a backup is whole: each file by its digest, each blob by its name, the logs by opening them, and
//! the archive against the log.
use std::path::Path;

use dagbok_archive::Archive;
use dagbok_runlog_embedded::open_read_only;
use serde_json::json;

use super::{
    make::{bytes_of, lines},
    manifest::{Fault, LogSpan, Manifest},
};
use crate::{
    codes::Code,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
};

/// Says what was proved, and every fault; ends with 9 where there is one.
pub(super) async fn run(context: &Context, folder: &Path) -> Outcome {
    let (manifest, digest, faults) = proved(folder).await?;
    let out = context.out;
    if out.is_json() {
        out.document(&json!({ "ok": faults.is_empty(), "folder": folder.display().to_string(),
            "manifest": digest, "made_at": manifest.made_at.to_string(),
            "records": manifest.log.as_ref().map_or(0, |log| log.last), "files": manifest.files.len(),
            "blobs": manifest.blobs.count, "bytes": bytes_of(&manifest), "faults": faults }));
    } else {
        for line in lines(&manifest, &digest, folder) {
            out.line(&line);
        }
        for fault in &faults {
            out.line(&format!("fault in {}: {}", fault.path, fault.message));
        }
        if faults.is_empty() {
            out.line(&format!("it is whole, as of {}", out.time(manifest.made_at)));
        }
    }
    Ok(if faults.is_empty() { Exit::Ok } else { Exit::Log })
}

/// The manifest, its digest, and what is not as it says.
pub(super) async fn proved(folder: &Path) -> Result<(Manifest, String, Vec<Fault>), Failure> {
    let dir = folder.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let (manifest, digest) = Manifest::load(&dir)?;
        let faults = manifest.faults(&dir);
        Ok::<_, Failure>((manifest, digest, faults))
    });
    let (manifest, digest, mut faults) =
        read.await.map_err(|panic| Failure::new(Code::Bug, panic))??;
    // What reads otherwise byte by byte need not be opened.
    if faults.is_empty() {
        for (at, span) in [("", &manifest.log), ("alerts", &manifest.alerts)] {
            let Some(span) = span else { continue };
            if let Err(why) = held(&folder.join(at), span, at.is_empty()).await {
                faults.push(Fault::new(format!("{at}/log"), why));
            }
        }
    }
    Ok((manifest, digest, faults))
}

/// Whether a log is the one that was copied, and the archive goes on into it.
async fn held(folder: &Path, span: &LogSpan, has_archive: bool) -> Result<(), String> {
    let dir = folder.to_owned();
    let opened = tokio::task::spawn_blocking(move || open_read_only(&dir)).await;
    let opened = opened.map_err(|panic| panic.to_string())?;
    let (read, _) =
        opened.map_err(|error| Failure::from_error(Code::LogDamaged, &error).to_string())?;
    let text = |error: dagbok_runlog::PortError| error.to_string();
    let found = LogSpan {
        mark: read.log.mark().await.map_err(text)?.map(|mark| mark.0.to_string()),
        first: read.log.base().await.map_err(text)?.first.0,
        last: read.log.last().await.map_err(text)?.0,
    };
    if found != *span {
        return Err(format!(
            "it has entries {} to {}, and had {} to {}",
            found.first, found.last, span.first, span.last
        ));
    }
    if has_archive && (folder.join("archive").is_dir() || span.first > 1) {
        let proof = Archive::new(&folder.join("archive")).prove_against(&*read.log).await;
        if let Some(fault) = proof.map_err(text)?.fault {
            return Err(format!("{}: {fault}", fault.path().display()));
        }
    }
    Ok(())
}
