//! The folder as one content-addressed archive: sorted paths, no times, no owners, two modes, so that
//! the same files give the same digest on any machine.
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write},
};

use dagbok_protocol::limits::BUNDLE_BYTES;
use thiserror::Error;

use crate::snapshot::{FileFacts, Hash, Snapshot, hash_bytes, read_up_to};

/// Packed and unpacked, text shrinks to about a fifth: a folder this large could never fit.
const UNPACKED_BYTES: u64 = 16 * BUNDLE_BYTES as u64;
/// Fixed: another level would give other bytes.
const LEVEL: i32 = 3;

/// Why there is no bundle.
#[derive(Debug, Error)]
pub(crate) enum BundleError {
    /// A file of code is not what the snapshot says: the folder is being changed.
    #[error("`{0}` changed while it was read")]
    Changed(String),
    /// More than the published limit.
    #[error(
        "the DAG folder is too large to publish: more than {limit} bytes packed. Largest files: {largest}. \
         Move data out of the folder, or name it in a `.dagbokignore` (written as a .gitignore is)"
    )]
    TooLarge { limit: usize, largest: String },
    /// The archive can't be written.
    #[error("the bundle can't be packed: {0}")]
    Pack(io::Error),
}

/// A bundle, and what is in it.
#[derive(Debug, PartialEq)]
pub(crate) struct Packed {
    pub(crate) bytes: Vec<u8>,
    /// Data that was other than the snapshot says: as it was packed, or `None` where it was gone.
    pub(crate) newer: BTreeMap<String, Option<Hash>>,
}

/// Packs the snapshot's files: tar, compressed with zstd. Code is what the snapshot says; data is what it is
/// by now, as some is written all the time.
pub(crate) fn pack(snapshot: &Snapshot) -> Result<Packed, BundleError> {
    pack_within(snapshot, BUNDLE_BYTES)
}

fn pack_within(snapshot: &Snapshot, limit: usize) -> Result<Packed, BundleError> {
    let unpacked: u64 = snapshot.files.values().map(|facts| facts.listed.stamp.size).sum();
    if unpacked > UNPACKED_BYTES {
        return Err(too_large(snapshot, limit));
    }
    let sink = Capped { bytes: Vec::new(), limit, full: false };
    let mut encoder = zstd::Encoder::new(sink, LEVEL).map_err(BundleError::Pack)?;
    let outcome = write_tar(&mut encoder, snapshot);
    if encoder.get_ref().full {
        return Err(too_large(snapshot, limit));
    }
    let newer = outcome?;
    match encoder.finish() {
        Ok(sink) => Ok(Packed { bytes: sink.bytes, newer }),
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Err(too_large(snapshot, limit)),
        Err(error) => Err(BundleError::Pack(error)),
    }
}

/// Returns what was other than the snapshot says.
fn write_tar(
    out: &mut impl Write,
    snapshot: &Snapshot,
) -> Result<BTreeMap<String, Option<Hash>>, BundleError> {
    let mut newer = BTreeMap::new();
    let mut tar = tar::Builder::new(out);
    for (name, facts) in snapshot.files.iter().filter(|(_, facts)| facts.present) {
        let content = match read_now(name, facts) {
            Ok(Content::Known(content)) => content,
            Ok(Content::Newer(content)) => {
                newer.insert(name.clone(), Some(hash_bytes(&content)));
                content
            }
            Ok(Content::Gone) => {
                newer.insert(name.clone(), None);
                continue;
            }
            Err(_) => return Err(BundleError::Changed(name.clone())),
        };
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(if facts.listed.executable { 0o755 } else { 0o644 });
        header.set_mtime(0);
        header.set_uid(0);
        header.set_gid(0);
        tar.append_data(&mut header, name, content.as_slice()).map_err(BundleError::Pack)?;
    }
    tar.finish().map_err(BundleError::Pack)?;
    drop(tar);
    Ok(newer)
}

/// What a file holds when it is packed.
enum Content {
    /// As the snapshot says.
    Known(Vec<u8>),
    /// Data that was written since.
    Newer(Vec<u8>),
    /// Data that was taken away since.
    Gone,
}

/// Reads a file; an error where it can't be read, or is code that changed.
fn read_now(name: &str, facts: &FileFacts) -> io::Result<Content> {
    let (path, size) = (&facts.listed.path, facts.listed.stamp.size);
    if facts.is_code(name) {
        // One byte more shows that it has grown.
        let content = read_up_to(path, size + 1)?;
        let same = hash_bytes(&content) == facts.hash;
        return same.then_some(Content::Known(content)).ok_or_else(|| io::ErrorKind::Other.into());
    }
    let read = |size| match read_up_to(path, size) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    };
    match read(size)? {
        None => Ok(Content::Gone),
        // As it was, or with more at its end, as a log.
        Some(content) if hash_bytes(&content) == facts.hash => Ok(Content::Known(content)),
        // Another file: its own length counts.
        Some(_) => {
            let now = fs::metadata(path).map_or(size, |meta| meta.len());
            Ok(read(now.min(UNPACKED_BYTES))?.map_or(Content::Gone, Content::Newer))
        }
    }
}

fn too_large(snapshot: &Snapshot, limit: usize) -> BundleError {
    let mut sizes: Vec<_> =
        snapshot.files.iter().map(|(name, facts)| (facts.listed.stamp.size, name)).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let largest: Vec<_> =
        sizes.iter().take(3).map(|(size, name)| format!("`{name}` ({size} bytes)")).collect();
    BundleError::TooLarge { limit, largest: largest.join(", ") }
}

/// Takes no more than its limit.
struct Capped {
    bytes: Vec<u8>,
    limit: usize,
    full: bool,
}

impl Write for Capped {
    fn write(&mut self, chunk: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + chunk.len() > self.limit {
            self.full = true;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(chunk);
        Ok(chunk.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Read as _, os::unix::fs::PermissionsExt as _, path::Path};

    use dagbok_events::Timestamp;

    use super::*;
    use crate::IgnoreSyntax;

    fn snapshot(folder: &Path) -> Snapshot {
        Snapshot::take(folder, IgnoreSyntax::Glob, &Snapshot::default(), Timestamp(i64::MAX))
            .unwrap()
    }

    fn fill(folder: &Path, order: [&str; 3]) {
        fs::create_dir_all(folder.join("lib")).unwrap();
        for name in order {
            fs::write(folder.join(name), format!("# {name}\n")).unwrap();
        }
        fs::create_dir_all(folder.join("__pycache__")).unwrap();
        fs::write(folder.join("__pycache__/a.cpython-311.pyc"), order[0]).unwrap();
    }

    fn unpack(packed: &Packed) -> Vec<(String, String)> {
        let decoder = zstd::Decoder::new(packed.bytes.as_slice()).unwrap();
        let mut files = Vec::new();
        for entry in tar::Archive::new(decoder).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            files.push((entry.path().unwrap().to_str().unwrap().to_owned(), text));
        }
        files
    }

    #[test]
    fn the_same_files_give_the_same_bytes_whenever_and_in_whatever_order_they_were_written() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fill(one.path(), ["a.py", "b.py", "lib/c.py"]);
        fill(two.path(), ["lib/c.py", "b.py", "a.py"]);
        fs::set_permissions(two.path().join("a.py"), fs::Permissions::from_mode(0o600)).unwrap();
        let (first, second) = (snapshot(one.path()), snapshot(two.path()));
        assert_eq!(first.hash, second.hash);
        assert_eq!(pack(&first).unwrap(), pack(&second).unwrap());

        fs::write(two.path().join("lib/c.py"), "# another\n").unwrap();
        let third = snapshot(two.path());
        assert_ne!(first.hash, third.hash);
        assert_ne!(pack(&first).unwrap(), pack(&third).unwrap());
    }

    #[test]
    fn what_was_packed_comes_out_again() {
        let folder = tempfile::tempdir().unwrap();
        fill(folder.path(), ["a.py", "b.py", "lib/c.py"]);
        let long = format!("{}.py", "x".repeat(180));
        fs::write(folder.path().join(&long), "pass").unwrap();
        let names = unpack(&pack(&snapshot(folder.path())).unwrap());
        assert_eq!(names.len(), 4);
        assert_eq!(names[2], ("lib/c.py".to_owned(), "# lib/c.py\n".to_owned()));
        assert_eq!(names[3].0, long);
    }

    #[test]
    fn a_bundle_may_have_just_so_many_bytes() {
        let folder = tempfile::tempdir().unwrap();
        fill(folder.path(), ["a.py", "b.py", "lib/c.py"]);
        let snapshot = snapshot(folder.path());
        let packed = pack(&snapshot).unwrap().bytes.len();
        assert!(packed < BUNDLE_BYTES);
        assert_eq!(pack_within(&snapshot, packed).unwrap().bytes.len(), packed);
        assert!(matches!(
            pack_within(&snapshot, packed - 1),
            Err(BundleError::TooLarge { limit, .. }) if limit == packed - 1
        ));
    }

    #[test]
    fn a_folder_above_the_limit_names_its_largest_files() {
        let folder = tempfile::tempdir().unwrap();
        fill(folder.path(), ["a.py", "b.py", "lib/c.py"]);
        let noise: Vec<u8> =
            (0..40_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        fs::write(folder.path().join("model.bin"), noise).unwrap();
        let error = pack_within(&snapshot(folder.path()), 10_000).unwrap_err().to_string();
        assert!(
            error.contains("`model.bin` (160000 bytes)") && error.contains(".dagbokignore"),
            "{error}"
        );
    }

    #[test]
    fn code_that_changes_under_the_packer_is_noticed() {
        for text in ["# b.py\nand more", "# ", "# x.py\n"] {
            let folder = tempfile::tempdir().unwrap();
            fill(folder.path(), ["a.py", "b.py", "lib/c.py"]);
            let before = snapshot(folder.path());
            assert!(pack(&before).unwrap().newer.is_empty());
            fs::write(folder.path().join("b.py"), text).unwrap();
            let packed = pack(&before);
            assert!(matches!(packed, Err(BundleError::Changed(name)) if name == "b.py"), "{text}");
        }
    }

    #[test]
    fn data_that_changes_under_the_packer_is_packed_as_it_is_then() {
        let folder = tempfile::tempdir().unwrap();
        fill(folder.path(), ["a.txt", "b.txt", "lib/c.txt"]);
        let before = snapshot(folder.path());
        let packed = pack(&before).unwrap();
        fs::write(folder.path().join("a.txt"), "# a.txt\nand more").unwrap();
        assert_eq!(pack(&before).unwrap(), packed, "one that grows is packed as it was");

        fs::write(folder.path().join("b.txt"), "another, and longer").unwrap();
        fs::remove_file(folder.path().join("lib/c.txt")).unwrap();
        let packed = pack(&before).unwrap();
        let file = |name: &str, text: &str| (name.to_owned(), text.to_owned());
        assert_eq!(
            unpack(&packed),
            [file("a.txt", "# a.txt\n"), file("b.txt", "another, and longer")]
        );
        fs::write(folder.path().join("a.txt"), "# a.txt\n").unwrap();
        let (with, now) = (before.with(&packed.newer), snapshot(folder.path()));
        assert_eq!(with.hash, now.hash, "what was packed is known");
        assert_eq!(pack(&now).unwrap().bytes, packed.bytes);
    }
}
