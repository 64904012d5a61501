//! What a bundle may hold, and what it must not.
use std::{io::Write as _, sync::Arc};

use bytes::Bytes;
use dagbok_runlog::memory;

use super::*;

fn entry(path: &str, kind: tar::EntryType, content: &[u8]) -> (tar::Header, Vec<u8>) {
    let mut header = tar::Header::new_gnu();
    // Written by hand: the library refuses to make the hostile names that this is about.
    header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    if matches!(kind, tar::EntryType::Symlink | tar::EntryType::Link) {
        header.set_size(0);
        header.set_link_name("/etc/passwd").unwrap();
    }
    header.set_cksum();
    (header, content.to_vec())
}

fn pack(entries: &[(tar::Header, Vec<u8>)]) -> Bytes {
    let mut tar = tar::Builder::new(vec![]);
    for (header, content) in entries {
        tar.append(header, content.as_slice()).unwrap();
    }
    zstd::encode_all(tar.into_inner().unwrap().as_slice(), 1).unwrap().into()
}

fn folders(home: &tempfile::TempDir) -> usize {
    let entries = fs::read_dir(home.path().join("bundles")).unwrap();
    entries.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count()
}

async fn open_with(packed: Bytes) -> (tempfile::TempDir, Result<BundleFolder, BundleError>) {
    let home = tempfile::tempdir().unwrap();
    let ports = memory::ports();
    let digest = Digest::new(ports.blobs.put(packed).await.unwrap()).unwrap();
    let bundles =
        Bundles::open(home.path().join("bundles"), Store::new(Arc::clone(&ports.blobs))).unwrap();
    let folder = bundles.folder(&digest).await;
    (home, folder)
}

#[tokio::test]
async fn a_folder_is_unpacked_under_its_name() {
    let file = tar::EntryType::Regular;
    let (home, folder) =
        open_with(pack(&[entry("a.py", file, b"x = 1\n"), entry("./sub/b.py", file, b"")])).await;
    let folder = folder.unwrap();
    assert_eq!(fs::read(folder.join("a.py")).unwrap(), b"x = 1\n");
    assert!(folder.join("sub/b.py").exists());
    assert_eq!(folders(&home), 1, "nothing half done is left");
    let again =
        || Bundles::open(home.path().join("bundles"), Store::new(memory::ports().blobs)).unwrap();
    drop(again());
    assert_eq!(folders(&home), 1, "another life of the executor finds it");
    fs::write(home.path().join("bundles/.boot"), "an earlier one").unwrap();
    drop(again());
    assert_eq!(folders(&home), 0, "another boot of the machine does not trust it");
}

#[tokio::test]
async fn what_leads_out_or_is_no_file_is_refused() {
    use tar::EntryType as Kind;
    let cases = [
        (vec![entry("../evil.py", Kind::Regular, b"x")], "leads out"),
        (vec![entry("a/../../evil.py", Kind::Regular, b"x")], "leads out"),
        (vec![entry("/evil.py", Kind::Regular, b"x")], "leads out"),
        (vec![entry("link", Kind::Symlink, b"")], "no regular file"),
        (vec![entry("link", Kind::Link, b"")], "no regular file"),
        (vec![entry("pipe", Kind::Fifo, b"")], "no regular file"),
        (vec![entry("a.py", Kind::Regular, b"x"), entry("./a.py", Kind::Regular, b"y")], "twice"),
    ];
    for (entries, says) in cases {
        let (home, folder) = open_with(pack(&entries)).await;
        let error = folder.unwrap_err();
        assert!(matches!(error, BundleError::Hostile { .. }), "{error}");
        assert!(error.to_string().contains(says), "{error}");
        assert!(!home.path().join("evil.py").exists());
        assert_eq!(folders(&home), 0, "{says}");
    }
}

#[tokio::test]
async fn what_is_torn_or_no_archive_is_refused() {
    let whole = pack(&[entry("a.py", tar::EntryType::Regular, &vec![7; 100_000])]);
    let mut noise = vec![];
    noise.write_all(b"not an archive at all").unwrap();
    for packed in [whole.slice(..whole.len() - 9), Bytes::from(noise)] {
        let (_home, folder) = open_with(packed).await;
        assert!(matches!(folder.unwrap_err(), BundleError::Hostile { .. }));
    }
}

#[tokio::test]
async fn a_bundle_that_was_changed_is_put_back() {
    use std::os::unix::fs::PermissionsExt as _;
    type Damage = fn(&Path);
    let file = tar::EntryType::Regular;
    let packed = pack(&[entry("a.py", file, b"x = 1\n"), entry("sub/b.py", file, b"y = 1\n")]);
    let home = tempfile::tempdir().unwrap();
    let ports = memory::ports();
    let digest = Digest::new(ports.blobs.put(packed).await.unwrap()).unwrap();
    let open = || {
        Bundles::open(home.path().join("bundles"), Store::new(Arc::clone(&ports.blobs))).unwrap()
    };
    let mut bundles = open();
    let folder = bundles.folder(&digest).await.unwrap();
    let mode = |path: &str| fs::metadata(folder.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("sub"), mode("a.py")), (0o555, 0o555, 0o444));
    let damages: [(&str, Damage); 6] = [
        ("`a.py` was changed", |folder| fs::write(writable(folder, "a.py"), b"x = 2\n").unwrap()),
        ("`new.txt` was added", |folder| fs::write(folder.join("new.txt"), b"").unwrap()),
        ("`a.py` was removed", |folder| fs::remove_file(folder.join("a.py")).unwrap()),
        ("`sub` was removed", |folder| remove_tree(&folder.join("sub")).unwrap()),
        ("it can't be read", |folder| remove_tree(folder).unwrap()),
        ("`a.py` was changed", |folder| {
            let path = writable(folder, "a.py");
            let at = fs::metadata(&path).unwrap().modified().unwrap();
            fs::write(&path, b"x = 3\n").unwrap();
            fs::File::options().write(true).open(path).unwrap().set_modified(at).unwrap();
        }),
    ];
    for (told, damage) in damages {
        seal::let_write(&folder).unwrap();
        damage(&folder);
        let seen = Seal::read(&folder).unwrap().broken(&folder).unwrap();
        assert!(seen.contains(told), "{seen}");
        bundles = open(); // it looks at once
        assert_eq!(*bundles.folder(&digest).await.unwrap(), *folder);
        assert_eq!(fs::read(folder.join("a.py")).unwrap(), b"x = 1\n", "{told}");
        assert!(folder.join("sub/b.py").exists() && !folder.join("new.txt").exists());
        assert_eq!(folders(&home), 1, "what was changed is gone");
    }
}

/// So that the test also runs for who is not root.
fn writable(folder: &Path, file: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join(file);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    path
}
