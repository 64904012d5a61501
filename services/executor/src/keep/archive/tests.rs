//! Directories there and back, and what is no directory of ours.
use std::{os::unix::fs::PermissionsExt as _, sync::Arc, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use dagbok_protocol::limits;
use dagbok_runlog::{BlobInfo, Blobs, PortResult, memory};

use super::*;
use crate::{keep::pieces, store::Store};

fn store() -> Store {
    Store::new(Arc::clone(&memory::ports().blobs))
}

fn own() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

fn pipe(path: &Path) {
    rustix::fs::mknodat(CWD, path, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
}

#[tokio::test]
async fn a_directory_comes_back_as_it_was() {
    let home = tempfile::tempdir().unwrap();
    let (from, to) = (home.path().join("from"), home.path().join("to"));
    fs::create_dir_all(from.join("epochs/empty")).unwrap();
    // More than two pieces, and no two alike.
    let weights: Vec<u8> = (0..5_u32 << 20).flat_map(u32::to_le_bytes).collect();
    fs::write(from.join("epochs/weights"), &weights).unwrap();
    fs::write(from.join("run.sh"), "#!/bin/sh").unwrap();
    fs::set_permissions(from.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("epochs/weights", from.join("last")).unwrap();
    let store = store();
    let files = pieces::pack(&store, &from).await.unwrap();
    assert_eq!((files.files, files.bytes), (3, weights.len() as u64 + 9));
    assert_eq!(files.pieces.len(), 3);
    pieces::unpack(&store, &files, (&to, own()), ()).await.unwrap();
    assert_eq!(fs::read(to.join("last")).unwrap(), weights, "by the link");
    assert!(to.join("epochs/empty").is_dir());
    assert_eq!(to.join("run.sh").metadata().unwrap().mode() & 0o777, 0o755);
    let modified = |path: &str| [&from, &to].map(|at| at.join(path).metadata().unwrap().mtime());
    assert_eq!(modified("run.sh")[0], modified("run.sh")[1]);
    assert_eq!(pieces::pack(&store, &to).await.unwrap(), files, "packed again it is the same");
}

#[tokio::test]
async fn an_empty_directory_is_one() {
    let home = tempfile::tempdir().unwrap();
    let (from, to) = (home.path().join("from"), home.path().join("to"));
    fs::create_dir(&from).unwrap();
    let files = pieces::pack(&store(), &from).await.unwrap();
    assert_eq!(files, dagbok_events::CheckpointFiles::default());
    pieces::unpack(&store(), &files, (&to, own()), ()).await.unwrap();
    assert_eq!(fs::read_dir(&to).unwrap().count(), 0);
}

#[tokio::test]
async fn no_link_is_followed_out_of_it() {
    let home = tempfile::tempdir().unwrap();
    let (from, to) = (home.path().join("from"), home.path().join("to"));
    fs::create_dir(&from).unwrap();
    fs::create_dir(home.path().join("others")).unwrap();
    fs::write(home.path().join("others/secret"), "secret").unwrap();
    symlink("../others", from.join("others")).unwrap();
    let store = store();
    let files = pieces::pack(&store, &from).await.unwrap();
    assert_eq!((files.files, files.bytes), (1, 0), "the link alone");
    pieces::unpack(&store, &files, (&to, own()), ()).await.unwrap();
    assert!(to.join("others").is_symlink());
}

#[tokio::test]
async fn what_can_t_be_kept_is_said_and_read_by_nobody() {
    let home = tempfile::tempdir().unwrap();
    let from = home.path().join("from");
    fs::create_dir(&from).unwrap();
    let large = File::create(from.join("large")).unwrap();
    // It has no blocks: it is refused before it is read.
    large.set_len(CHECKPOINT_BYTES + 1).unwrap();
    let why = pieces::pack(&store(), &from).await.unwrap_err();
    assert_eq!(why, "it has 2147483649 bytes, and the limit is 2147483648");
    fs::remove_file(from.join("large")).unwrap();
    pipe(&from.join("pipe"));
    let why = pieces::pack(&store(), &from).await.unwrap_err();
    assert_eq!(why, "`pipe` is no file, folder or link");
}

#[tokio::test]
async fn a_directory_has_so_many_files_and_lies_in_pieces_of_so_many_bytes() {
    let home = tempfile::tempdir().unwrap();
    let from = home.path().join("from");
    fs::create_dir(&from).unwrap();
    for n in 0..CHECKPOINT_FILES {
        File::create(from.join(format!("{n}"))).unwrap();
    }
    let store = store();
    let files = pieces::pack(&store, &from).await.unwrap();
    assert_eq!(files.files as usize, CHECKPOINT_FILES);
    File::create(from.join("one more")).unwrap();
    let why = pieces::pack(&store, &from).await.unwrap_err();
    assert_eq!(why, "it has more than 10000 files and folders");

    let large = home.path().join("large");
    fs::create_dir(&large).unwrap();
    fs::write(large.join("weights"), vec![7; 2 * limits::CHECKPOINT_PIECE_BYTES]).unwrap();
    let files = pieces::pack(&store, &large).await.unwrap();
    assert_eq!(files.pieces.len(), 3, "an archive is longer than what is in it");
    for piece in &files.pieces[..2] {
        let bytes = store.get(piece.as_str()).await.unwrap();
        assert_eq!(bytes.len(), limits::CHECKPOINT_PIECE_BYTES);
    }
}

#[tokio::test]
async fn one_that_is_torn_is_none() {
    let home = tempfile::tempdir().unwrap();
    let (from, to) = (home.path().join("from"), home.path().join("to"));
    fs::create_dir(&from).unwrap();
    fs::write(from.join("weights"), vec![7; 20 << 20]).unwrap();
    fs::write(from.join("weights2"), vec![8; 20 << 20]).unwrap();
    let store = store();
    let mut files = pieces::pack(&store, &from).await.unwrap();
    files.pieces.pop();
    let why = pieces::unpack(&store, &files, (&to, own()), ()).await.unwrap_err();
    assert!(why.contains("ends early") || why.contains("torn"), "{why}");
    assert!(!to.exists() && !half_of(&to).exists(), "nothing half made is left");
    files.pieces.push(dagbok_events::Digest::new("0".repeat(64)).unwrap());
    let why = pieces::unpack(&store, &files, (&to, own()), ()).await.unwrap_err();
    assert!(why.contains("is not in the store"), "{why}");
    assert!(!to.exists() && !half_of(&to).exists());
}

#[test]
fn an_archive_of_another_makes_nothing_outside() {
    let home = tempfile::tempdir().unwrap();
    let to = home.path().join("to");
    let mut archive = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Symlink);
    header.set_size(0);
    archive.append_link(&mut header, "out", home.path()).unwrap();
    let mut header = Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o644);
    archive.append_data(&mut header, "out/there", &b"x"[..]).unwrap();
    let archive = archive.into_inner().unwrap();
    let why = unpack(Some(archive.as_slice()), &to, (2, 1), own()).unwrap_err();
    assert!(why.ends_with("is no file, folder or link"), "{why}");
    assert!(!home.path().join("there").exists() && !to.exists());
}

/// A store that never answers about one of its blobs.
#[derive(Debug)]
struct Stuck {
    blobs: Arc<dyn Blobs>,
    at: String,
}

#[async_trait]
impl Blobs for Stuck {
    async fn put(&self, bytes: Bytes) -> PortResult<String> {
        self.blobs.put(bytes).await
    }

    async fn get(&self, digest: &str) -> PortResult<Option<Bytes>> {
        if digest == self.at {
            std::future::pending::<()>().await;
        }
        self.blobs.get(digest).await
    }

    async fn has(&self, digest: &str) -> PortResult<bool> {
        self.blobs.has(digest).await
    }

    async fn list(&self, after: Option<&str>, most: usize) -> PortResult<Vec<BlobInfo>> {
        self.blobs.list(after, most).await
    }

    async fn delete(&self, digest: &str, put_since: SystemTime) -> PortResult<bool> {
        self.blobs.delete(digest, put_since).await
    }
}

#[tokio::test]
async fn whoever_is_killed_while_it_is_filled_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let (from, to) = (home.path().join("from"), home.path().join("to"));
    fs::create_dir(&from).unwrap();
    fs::write(from.join("large"), vec![7; 9 << 20]).unwrap();
    let blobs = memory::ports().blobs;
    let files = pieces::pack(&Store::new(Arc::clone(&blobs)), &from).await.unwrap();
    let store = Store::new(Arc::new(Stuck { blobs, at: files.pieces[1].to_string() }));
    let turn = Arc::new(tokio::sync::Mutex::new(()));
    let filling =
        pieces::unpack(&store, &files, (&to, own()), Arc::clone(&turn).lock_owned().await);
    // Dropped while it waits for the second piece.
    assert!(tokio::time::timeout(Duration::ZERO, filling).await.is_err());
    let _turn = turn.lock().await;
    assert!(!to.exists() && !half_of(&to).exists());
}

#[tokio::test]
async fn a_pipe_or_a_link_in_its_place_is_not_waited_for_and_not_followed() {
    let home = tempfile::tempdir().unwrap();
    let from = home.path().join("from");
    pipe(&from);
    let why = pieces::pack(&store(), &from).await.unwrap_err();
    assert_eq!(why, "a pipe lies in its place");
    fs::remove_file(&from).unwrap();
    fs::create_dir(home.path().join("others")).unwrap();
    fs::write(home.path().join("others/secret"), "secret").unwrap();
    symlink("others", &from).unwrap();
    let why = pieces::pack(&store(), &from).await.unwrap_err();
    assert_eq!(why, "a link lies in its place");
    fs::remove_file(&from).unwrap();
    fs::write(&from, "x").unwrap();
    let why = pieces::pack(&store(), &from).await.unwrap_err();
    assert_eq!(why, "a file lies in its place");
    fs::remove_file(&from).unwrap();
    let why = pieces::pack(&store(), &from).await.unwrap_err();
    assert!(why.starts_with("it can't be read: No such file"), "{why}");
}

#[test]
fn a_pipe_that_takes_a_file_s_place_midway_is_not_waited_for() {
    let home = tempfile::tempdir().unwrap();
    let weights = home.path().join("weights");
    fs::write(&weights, "x").unwrap();
    let meta = weights.symlink_metadata().unwrap();
    fs::remove_file(&weights).unwrap();
    pipe(&weights);
    let root = open_root(home.path()).unwrap();
    let (to, _pieces) = tokio::sync::mpsc::channel(1);
    let found = Found { path: PathBuf::from("weights"), what: What::File(meta) };
    let why = append(&mut Builder::new(Cutter::new(to)), &root, &found).unwrap_err();
    assert_eq!(why.to_string(), "it was written to while it was kept");
}

#[tokio::test]
async fn links_that_name_the_directory_lead_to_the_same_in_the_next_try() {
    let home = tempfile::tempdir().unwrap();
    let (from, to) = (home.path().join("0.checkpoint"), home.path().join("1.checkpoint"));
    fs::create_dir_all(from.join("a/b")).unwrap();
    fs::write(from.join("a/weights"), "x").unwrap();
    let links = [
        ("last", from.join("a/weights"), "a/weights"),
        ("a/b/last", from.join("a/weights"), "../../a/weights"),
        ("a/all", from.clone(), ".."),
        ("itself", from.clone(), "."),
        ("out", from.join("../others"), ""),
        ("elsewhere", PathBuf::from("/etc/hosts"), ""),
        ("there", PathBuf::from("a/weights"), "a/weights"),
    ];
    for (link, target, _) in &links {
        symlink(target, from.join(link)).unwrap();
    }
    let store = store();
    let files = pieces::pack(&store, &from).await.unwrap();
    fs::remove_dir_all(&from).unwrap();
    pieces::unpack(&store, &files, (&to, own()), ()).await.unwrap();
    for (link, target, wanted) in &links {
        let wanted = if wanted.is_empty() { target.clone() } else { PathBuf::from(wanted) };
        assert_eq!(fs::read_link(to.join(link)).unwrap(), wanted, "{link}");
    }
    assert_eq!(fs::read(to.join("a/b/last")).unwrap(), b"x");
}

#[test]
fn it_is_given_away_from_the_bottom_up_and_the_whole_last() {
    let home = tempfile::tempdir().unwrap();
    let to = home.path().join("to");
    let mut archive = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(0);
    header.set_entry_type(EntryType::Directory);
    for folder in ["a", "a/b"] {
        archive.append_data(&mut header, folder, io::empty()).unwrap();
    }
    header.set_entry_type(EntryType::Regular);
    for file in ["a/b/deep", "a/file"] {
        archive.append_data(&mut header, file, io::empty()).unwrap();
    }
    header.set_entry_type(EntryType::Symlink);
    archive.append_link(&mut header, "a/link", "file").unwrap();
    let archive = archive.into_inner().unwrap();
    let half = half_of(&to);
    let mut given: Vec<(String, bool)> = Vec::new();
    let mut give = |path: &Path, file: Option<&File>| -> io::Result<()> {
        assert_eq!(half.metadata()?.mode() & 0o777, 0o700, "nobody else comes in meanwhile");
        let at = path.strip_prefix(&half).unwrap();
        if let Some(file) = file {
            assert_eq!(file.metadata()?.ino(), path.symlink_metadata()?.ino());
        }
        given.push((at.display().to_string(), file.is_some()));
        Ok(())
    };
    unpack_and_give(Some(archive.as_slice()), &to, (3, 0), &mut give).unwrap();
    let given: Vec<(&str, bool)> =
        given.iter().map(|(path, open)| (path.as_str(), *open)).collect();
    let wanted = [
        ("a/b/deep", true),
        ("a/file", true),
        ("a/link", false),
        ("a/b", true),
        ("a", true),
        ("", true),
    ];
    assert_eq!(given, wanted);
    assert!(to.join("a/b/deep").is_file() && !half.exists());
}
