//! Puts a backup back, once all of it is proved, and says what is to be put elsewhere by hand.
use std::{fs, path::Path};

use dagbok_runlog_embedded::{blobs_in, copy_file};
use serde_json::json;

use super::{
    copies::{LINKS_KEY, SECRETS_KEY, put},
    make::blocking,
    manifest::{Listed, Manifest, within},
    place::Place,
    verify,
};
use crate::{
    cli::{Global, Restore},
    codes::Code,
    context::{Context, Flags},
    exit::Exit,
    failure::{Failure, Outcome},
    services::own_key_file,
    wire,
};

/// Proves it, and puts it where the installation's folder is to be, which is not there or empty.
pub(super) async fn run(global: &Global, args: &Restore) -> Outcome {
    let context = Context::new(global, Flags::new())?;
    let (home, folder) = (context.home()?, args.folder.clone());
    let (manifest, digest) = fit(&folder).await?;
    let (from, to, listed) = (folder, home.clone(), manifest.clone());
    let had_left = blocking(move || put_back(&from, &to, &listed)).await?;
    let out = context.out;
    if had_left {
        out.note("half of a copy was there, of a restore that was cut off, and was removed");
    }
    // The configuration that counts now may be the one that was just put back.
    let context = match Context::new(global, Flags::new()) {
        Ok(now) => now,
        Err(failure) => {
            out.note(&format!("the configuration that was put back can't be used: {failure}"));
            context
        }
    };
    let key = own_key_file(&context.config, &home);
    if out.is_json() {
        out.document(&json!({ "home": home.display().to_string(), "manifest": digest,
            "made_at": manifest.made_at.to_string(), "log": manifest.log,
            "key": key.display().to_string(), "lacks_key": !key.is_file(),
            "lacks_links_key": !home.join(LINKS_KEY).is_file(), "damaged": manifest.blobs.damaged,
            "to_do": to_do(&context, &home, &manifest) }));
        return Ok(Exit::Ok);
    }
    let last = manifest.log.as_ref().map_or(0, |log| log.last);
    out.line(&format!(
        "{} is as it was at {}, up to record {last}",
        home.display(),
        out.time(manifest.made_at)
    ));
    if !manifest.blobs.damaged.is_empty() {
        let (count, names) = (manifest.blobs.damaged.len(), manifest.blobs.damaged.join(", "));
        out.line(&format!("{count} blobs were damaged before the backup and are lost: {names}"));
    }
    for line in to_do(&context, &home, &manifest) {
        out.line(&line);
    }
    Ok(Exit::Ok)
}

/// A backup that can be put back.
async fn fit(folder: &Path) -> Result<(Manifest, String), Failure> {
    let (manifest, digest, faults) = verify::proved(folder).await?;
    if let Some(fault) = faults.first() {
        let why = format!(
            "{} is not whole: {}: {} ({} faults)",
            folder.display(),
            fault.path,
            fault.message,
            faults.len()
        );
        return Err(Failure::new(Code::LogDamaged, why)
            .next(format!("`dagbok backup verify {}` names them all", folder.display())));
    }
    if manifest.log.is_none() {
        let why = format!("{} has no log: that installation is on NATS", folder.display());
        return Err(Failure::new(Code::Refused, why).next(
            "put its streams back with `nats stream restore`, with no service running, and its files from the folder where they were",
        ));
    }
    Ok((manifest, digest))
}

/// What is to be put in its place by hand before anything is started.
fn to_do(context: &Context, home: &Path, manifest: &Manifest) -> Vec<String> {
    let mut lines = Vec::new();
    let (key, here) = (own_key_file(&context.config, home), home.join(SECRETS_KEY));
    if !key.is_file() && here.is_file() {
        lines.push(format!(
            "the master key is in {}, and `secrets.key_file` names {}: move it there before anything is started",
            here.display(),
            key.display()
        ));
    } else if !key.is_file() {
        lines.push(format!(
            "put the master key back as {} before anything is started, if there was one: without it connections and variables can't be read",
            key.display()
        ));
    }
    let signer = home.join(LINKS_KEY);
    if manifest.alerts.is_some() && !signer.is_file() {
        lines.push(format!(
            "put {} back, if there was one: without it the links in messages that were sent can't be used",
            signer.display()
        ));
    }
    if let Ok(Some(far)) = wire::objects(&context.config) {
        lines.push(format!(
            "big things are in {}, which this copy may read and not use: once what it is a copy of is gone for good, start it \
             once with --take-over-blobs; while that lives, give this one another `blobs.url`",
            far.place()
        ));
    }
    let (archive, here) = (wire::archive(home, &context.config), home.join("archive"));
    if let Some(last) = manifest.archived_elsewhere() {
        lines.push(format!(
            "records 1 to {last} are in the archive, which is not in this backup: it belongs in {}",
            archive.dir().display()
        ));
    } else if archive.dir() != here && here.is_dir() {
        lines.push(format!(
            "the archive is in {}, and `retention.archive` names {}: move it there",
            here.display(),
            archive.dir().display()
        ));
    }
    lines
}

/// Copies everything to where it belongs, in one step at last. Returns whether half of a copy was there before.
fn put_back(folder: &Path, home: &Path, manifest: &Manifest) -> Result<bool, Failure> {
    let place = Place::take(home, folder)?;
    let filled = fill(folder, &place.draft, manifest).and_then(|()| place.settle());
    filled.map(|()| place.had_left).map_err(|failure| place.give_up(failure))
}

fn fill(folder: &Path, draft: &Path, manifest: &Manifest) -> Result<(), Failure> {
    for Listed { path, .. } in &manifest.files {
        let Some(from) = within(folder, path) else { continue };
        put(&from, &draft.join(path))?;
    }
    let blobs = blobs_in(&folder.join("blobs"));
    for (digest, path) in blobs.map_err(|error| Failure::from_error(Code::LogDamaged, &error))? {
        let dir = draft.join("blobs").join(&digest[..2]);
        let to = dir.join(&digest[2..]);
        let copied = fs::create_dir_all(&dir).and_then(|()| copy_file(&path, &to));
        copied.map_err(|error| {
            let why = format!("{} can't be copied to {}: {error}", path.display(), to.display());
            Failure::new(Code::HomeUnusable, why)
        })?;
    }
    Ok(())
}
