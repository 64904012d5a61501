//! What links in messages are signed with, where the configuration names no key: drawn once, and kept in a file that only
//! this user can read, so that links hold over restarts.
use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use bytes::Bytes;

use crate::{
    Parts,
    keys::{KEY_BYTES, Links},
};

/// Where the key was kept in clear before, among the snapshots.
const BEFORE: &str = "alerting-links";

/// The key in the file, made where there is none; without a file it holds until the next start.
pub(super) async fn links(parts: &Parts, file: Option<&Path>) -> Links {
    let before = before(parts).await;
    let drawn = before.clone().or_else(Links::fresh_key);
    let Some(drawn) = drawn else {
        tracing::error!("this machine has no chance to draw a key from: links hold for nobody");
        return Links::new(dagbok_runtime::fresh_id().as_bytes());
    };
    let kept = file.map(|file| kept(file, &drawn));
    match &kept {
        // Links that were sent before hold by it; nobody needs it elsewhere any more.
        Some(Ok(_)) if before.is_some() => forget(parts).await,
        Some(Err(error)) => {
            tracing::warn!(%error, "the key of links can't be kept: those sent now hold until the next start");
        }
        _ => {}
    }
    Links::new(&kept.and_then(Result::ok).unwrap_or(drawn))
}

/// What the file holds; `drawn` where it is made.
fn kept(file: &Path, drawn: &[u8]) -> io::Result<Vec<u8>> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(mut made) => {
            made.write_all(drawn)?;
            made.sync_all()?;
            Ok(drawn.to_vec())
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let bytes = fs::read(file)?;
            if bytes.len() == KEY_BYTES {
                return Ok(bytes);
            }
            // Whoever made it died before it was whole.
            fs::remove_file(file)?;
            kept(file, drawn)
        }
        Err(error) => Err(error),
    }
}

async fn before(parts: &Parts) -> Option<Vec<u8>> {
    let bytes = parts.snapshots.get(BEFORE).await.ok()??;
    (bytes.len() == KEY_BYTES).then(|| bytes.to_vec())
}

async fn forget(parts: &Parts) {
    if let Err(error) = parts.snapshots.put(BEFORE, Bytes::new()).await {
        tracing::warn!(%error, "the key of links lies among the snapshots still");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_for_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("links.key");
        let (one, two) = (vec![1; KEY_BYTES], vec![2; KEY_BYTES]);
        assert_eq!(kept(&file, &one).unwrap(), one);
        assert_eq!(kept(&file, &two).unwrap(), one);
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&file, b"half").unwrap();
        assert_eq!(kept(&file, &two).unwrap(), two);
        assert!(kept(&folder.path().join("not there/links.key"), &one).is_err());
    }
}
