//! Directories there and back, and what is no directory of ours.
use std::{os::unix::fs::PermissionsExt as _, sync::Arc};

use dagbok_runlog::memory;

use super::*;
use crate::{keep::pieces, store::Store};

fn store() -> Store {
    Store::new(Arc::clone(&memory::ports().blobs))
}

fn own() -> (u32, u32) {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
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
    pieces::unpack(&store, &files, &to, own()).await.unwrap();
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
    pieces::unpack(&store(), &files, &to, own()).await.unwrap();
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
    pieces::unpack(&store, &files, &to, own()).await.unwrap();
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
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &from.join("pipe"),
        rustix::fs::FileType::Fifo,
        Mode::RUSR,
        0,
    )
    .unwrap();
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
    fs::write(large.join("weights"), vec![7; 2 * CHECKPOINT_PIECE_BYTES]).unwrap();
    let files = pieces::pack(&store, &large).await.unwrap();
    assert_eq!(files.pieces.len(), 3, "an archive is longer than what is in it");
    for piece in &files.pieces[..2] {
        let bytes = store.get(piece.as_str()).await.unwrap();
        assert_eq!(bytes.len(), CHECKPOINT_PIECE_BYTES);
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
    let why = pieces::unpack(&store, &files, &to, own()).await.unwrap_err();
    assert!(why.contains("ends early") || why.contains("torn"), "{why}");
    assert!(!to.exists());
    files.pieces.push(dagbok_events::Digest::new("0".repeat(64)).unwrap());
    let why = pieces::unpack(&store, &files, &to, own()).await.unwrap_err();
    assert!(why.contains("is not in the store"), "{why}");
    assert!(!to.exists());
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
