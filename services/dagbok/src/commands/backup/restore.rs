//! Puts a backup back: beside where it belongs, and then there in one step.
use std::{fs, io, path::Path};

use dagbok_runlog_embedded::{blobs_in, copy_file};
use serde_json::json;

use super::{
    make::put,
    manifest::{Listed, Manifest, within},
    verify,
};
use crate::{
    cli::Restore,
    codes::Code,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    services::own_key_file,
};

/// Proves it, and puts it where the installation's folder is to be, which is not there or empty.
pub(super) async fn run(context: &Context, args: &Restore) -> Outcome {
    let home = context.home()?;
    let folder = args.folder.clone();
    let (manifest, digest, faults) = verify::proved(&folder).await?;
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
            "put its streams back with `nats stream restore`, and its files from the folder where they were",
        ));
    }
    let is_free = match fs::read_dir(&home) {
        Ok(mut listed) => listed.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    if !is_free {
        let why = format!("{} is there, and not empty", home.display());
        return Err(Failure::new(Code::Refused, why).next(format!(
            "stop what runs on it and move it away (mv {0} {0}.before), or name another with --home",
            home.display()
        )));
    }
    let (from, to, listed) = (folder.clone(), home.clone(), manifest.clone());
    let back = tokio::task::spawn_blocking(move || put_back(&from, &to, &listed)).await;
    back.map_err(|panic| Failure::new(Code::Bug, panic))??;
    let key = own_key_file(&context.config, &home);
    let lacks_key = !key.is_file();
    let out = context.out;
    if out.is_json() {
        out.document(&json!({ "home": home.display().to_string(), "manifest": digest,
            "made_at": manifest.made_at.to_string(), "log": manifest.log,
            "key": key.display().to_string(), "lacks_key": lacks_key }));
        return Ok(Exit::Ok);
    }
    let last = manifest.log.as_ref().map_or(0, |log| log.last);
    out.line(&format!(
        "{} is as it was at {}, up to record {last}",
        home.display(),
        out.time(manifest.made_at)
    ));
    if lacks_key {
        out.line(&format!(
            "put the master key back as {} before anything is started, if there was one: without it connections and variables can't be read",
            key.display()
        ));
    }
    if let Some(archive) = context.config.retention.archive.as_ref().filter(|it| it.is_absolute())
        && home.join("archive").is_dir()
    {
        out.line(&format!(
            "the archive is in {}; `retention.archive` names {}: move it there",
            home.join("archive").display(),
            archive.display()
        ));
    }
    Ok(Exit::Ok)
}

/// Copies everything beside `home`, and renames it there.
fn put_back(folder: &Path, home: &Path, manifest: &Manifest) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        Failure::new(Code::HomeUnusable, format!("{} can't be made: {error}", home.display()))
    };
    let Some(parent) = home.parent() else {
        return Err(Failure::new(Code::HomeUnusable, "the root can't be an installation's folder"));
    };
    fs::create_dir_all(parent).map_err(failed)?;
    let beside = tempfile::Builder::new().prefix(".dagbok-restoring-").tempdir_in(parent);
    let beside = beside.map_err(failed)?;
    for Listed { path, .. } in &manifest.files {
        let Some(from) = within(folder, path) else { continue };
        put(&from, &beside.path().join(path))?;
    }
    let blobs = blobs_in(&folder.join("blobs"));
    for (digest, path) in blobs.map_err(|error| Failure::from_error(Code::LogDamaged, &error))? {
        let dir = beside.path().join("blobs").join(&digest[..2]);
        let copied =
            fs::create_dir_all(&dir).and_then(|()| copy_file(&path, &dir.join(&digest[2..])));
        copied.map_err(failed)?;
    }
    if home.is_dir() {
        fs::remove_dir(home).map_err(failed)?;
    }
    let place = beside.keep();
    fs::rename(&place, home).map_err(failed)?;
    fs::File::open(parent).and_then(|dir| dir.sync_all()).map_err(failed)
}
