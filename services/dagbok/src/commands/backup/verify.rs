//! Proves that a backup is whole: each file by its digest, each blob by its name, the logs by opening them, and
//! the archive against the log.
use std::path::Path;

use dagbok_archive::Archive;
use serde_json::json;

use super::{
    lost,
    make::{self, blocking, bytes_of, lines},
    manifest::{Fault, LogSpan, Manifest},
};
use crate::{
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
};

/// Says what was proved, and every fault; ends with 9 where there is one, or where something was damaged or lost before
/// the backup was made.
pub(super) async fn run(context: &Context, folder: &Path) -> Outcome {
    let (manifest, digest, faults) = proved(folder).await?;
    let damaged = &manifest.blobs.damaged;
    // What is broken is not read for what it names.
    let lost =
        if faults.is_empty() { Some(lost::found(context, folder, &manifest).await) } else { None };
    let (missing, unknown) = match lost {
        Some(Ok(missing)) => (Some(missing), None),
        Some(Err(why)) => (None, Some(why)),
        None => (None, None),
    };
    let has_all = missing.as_ref().is_none_or(Vec::is_empty);
    let is_whole = faults.is_empty() && damaged.is_empty() && has_all;
    let out = context.out;
    if out.is_json() {
        out.document(&json!({ "ok": is_whole, "damaged": damaged, "missing": missing,
            "missing_unknown": unknown, "folder": folder.display().to_string(),
            "manifest": digest, "made_at": manifest.made_at.to_string(),
            "records": manifest.log.as_ref().map_or(0, |log| log.last), "files": manifest.files.len(),
            "blobs": manifest.blobs.count, "bytes": bytes_of(&manifest), "without_archive": manifest.without_archive, "faults": faults }));
    } else {
        for line in lines(&manifest, &digest, folder) {
            out.line(&line);
        }
        for fault in &faults {
            out.line(&format!("fault in {}: {}", fault.path, fault.message));
        }
        if let Some(missing) = missing.filter(|it| !it.is_empty()) {
            let (count, names) = (missing.len(), missing.join(", "));
            out.line(&format!(
                "{count} blobs that its log names are not in it, and were gone before: {names}"
            ));
        }
        if let Some(why) = unknown {
            out.line(&format!("which blobs its log names can't be told: {why}"));
        }
        let as_of = out.time(manifest.made_at);
        if is_whole {
            out.line(&format!("it is whole, as of {as_of}"));
        } else if faults.is_empty() {
            out.line(&format!(
                "it is as it was made, as of {as_of}, and can be put back without those blobs"
            ));
        }
    }
    Ok(if is_whole { Exit::Ok } else { Exit::Log })
}

/// The manifest, its digest, and what is not as it says.
pub(super) async fn proved(folder: &Path) -> Result<(Manifest, String, Vec<Fault>), Failure> {
    let dir = folder.to_owned();
    let (manifest, digest, mut faults) = blocking(move || {
        let (manifest, digest) = Manifest::load(&dir)?;
        let faults = manifest.faults(&dir);
        Ok((manifest, digest, faults))
    })
    .await?;
    // What reads otherwise byte by byte need not be opened.
    if faults.is_empty() {
        for (at, span) in [("", &manifest.log), ("alerts", &manifest.alerts)] {
            let Some(span) = span else { continue };
            if let Err(why) =
                held(&folder.join(at), span, at.is_empty() && !manifest.without_archive).await
            {
                faults.push(Fault::new(format!("{at}/log"), why));
            }
        }
    }
    Ok((manifest, digest, faults))
}

/// Whether a log is the one that was copied, and the archive goes on into it.
async fn held(folder: &Path, span: &LogSpan, has_archive: bool) -> Result<(), String> {
    let read = make::opened(folder).await.map_err(|failure| failure.to_string())?;
    let found = make::span(&read).await.map_err(|failure| failure.to_string())?;
    if found != *span {
        return Err(format!(
            "it has entries {} to {}, and had {} to {}",
            found.first, found.last, span.first, span.last
        ));
    }
    if has_archive && (folder.join("archive").is_dir() || span.first > 1) {
        let proof = Archive::new(&folder.join("archive")).prove_against(&*read.log).await;
        if let Some(fault) = proof.map_err(|error| error.to_string())?.fault {
            return Err(format!("{}: {fault}", fault.path().display()));
        }
    }
    Ok(())
}
