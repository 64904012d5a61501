//! The folder's content by hash: what a listing says, with each file's digest. Files whose stamps did
//! not change are not read again.
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
};

use dagbok_events::Timestamp;
use dagbok_zipped::{TAIL, ZipError, has_end, splits};
use sha2::{Digest as _, Sha256};

use crate::{
    IgnoreSyntax,
    candidate::{Kind, kind_by, kind_of},
    folder::{Listed, Stamp, Walked, list},
    ignored::is_ignore_file,
};

/// A file changed this short a time before it was read may change again within its stamp's grain.
const SETTLED_NANOS: i128 = 2_000_000_000;
/// Of a zip that is being written no more than this is read again and again, in bytes.
const WRITTEN: u64 = 1 << 20;

/// A SHA-256.
pub(crate) type Hash = [u8; 32];

/// One file as it was read.
#[derive(Clone, Debug)]
pub(crate) struct FileFacts {
    pub(crate) listed: Listed,
    pub(crate) hash: Hash,
    pub(crate) kind: Kind,
    /// Whether it could be read this time; otherwise this is what was known of it.
    pub(crate) present: bool,
    /// Whether the same stamp will mean the same content.
    settled: bool,
    /// Whether all of this content was looked at for what it is.
    looked_at: bool,
}

impl FileFacts {
    /// Whether a file of this name is code, or rules what is read and published. A zip that can't be read is neither:
    /// while it is being written the rest of the folder does not wait for it.
    pub(crate) fn is_code(&self, name: &str) -> bool {
        let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
        let is_run = matches!(self.kind, Kind::DagFile | Kind::Zip(_));
        is_run || matches!(extension, Some("py" | "so")) || is_ignore_file(name)
    }

    /// Why it can't be read, where it is called a zip.
    fn trouble(&self) -> Option<&ZipError> {
        match &self.kind {
            Kind::BrokenZip(error) | Kind::NoZip(error) => Some(error),
            Kind::DagFile | Kind::Zip(_) | Kind::Other => None,
        }
    }
}

/// The folder at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    /// By path in the folder.
    pub(crate) files: BTreeMap<String, FileFacts>,
    /// Over names, modes and content.
    pub(crate) hash: Hash,
    /// What could not be read.
    pub(crate) problems: Vec<String>,
    /// Folders and links in it that lead into homes of installations, and are no part of it, with those homes.
    pub(crate) homes: BTreeMap<PathBuf, PathBuf>,
    /// Other folders and links in it that are no part of it, and why.
    pub(crate) passed_over: BTreeMap<PathBuf, String>,
    /// The folders that were walked.
    pub(crate) folders: Arc<Vec<Walked>>,
}

impl Snapshot {
    /// Walks the folder and reads what changed since `before`.
    pub(crate) fn take(
        folder: &Path,
        syntax: IgnoreSyntax,
        before: &Self,
        now: Timestamp,
    ) -> io::Result<Self> {
        let listing = list(folder, syntax)?;
        let mut problems = listing.problems;
        let mut files = BTreeMap::new();
        for (name, listed) in listing.files {
            let known = before.files.get(&name);
            let settled = known.filter(|known| known.settled && known.listed.stamp == listed.stamp);
            match settled {
                Some(known) => {
                    let facts =
                        FileFacts { kind: kind_now(known, &listed), listed, ..known.clone() };
                    files.insert(name, FileFacts { present: true, ..facts });
                }
                None => match read(&name, listed, known, now) {
                    Ok(facts) => {
                        files.insert(name, facts);
                    }
                    Err(problem) => problems.push(problem),
                },
            }
        }
        if !problems.is_empty() {
            // What can't be read now is not gone: what was known of it stands.
            for (name, known) in &before.files {
                files
                    .entry(name.clone())
                    .or_insert_with(|| FileFacts { present: false, ..known.clone() });
            }
        }
        Ok(Self {
            hash: hash_all(&files),
            files,
            problems,
            homes: listing.homes,
            passed_over: listing.passed_over,
            folders: Arc::new(listing.folders),
        })
    }

    /// The same with these files' content, `None` for one that is gone; they are read again at the next walk.
    pub(crate) fn with(&self, newer: &BTreeMap<String, Option<Hash>>) -> Self {
        let mut files = self.files.clone();
        for (name, hash) in newer {
            match (hash, files.get_mut(name)) {
                (Some(hash), Some(facts)) => {
                    facts.hash = *hash;
                    (facts.settled, facts.looked_at) = (false, false);
                }
                _ => drop(files.remove(name)),
            }
        }
        Self { hash: hash_all(&files), files, ..self.clone() }
    }

    /// The files to parse: those in zips by the zip's name and theirs, a zip that can't be read by its own.
    pub(crate) fn dag_files(&self) -> impl Iterator<Item = String> {
        self.files.iter().flat_map(|(name, facts)| match &facts.kind {
            Kind::DagFile | Kind::BrokenZip(_) => vec![name.clone()],
            Kind::Zip(modules) => modules.iter().map(|it| format!("{name}/{it}")).collect(),
            Kind::NoZip(_) | Kind::Other => Vec::new(),
        })
    }

    /// What is known of a file, or of the zip that it lies in.
    pub(crate) fn facts_of(&self, name: &str) -> Option<&FileFacts> {
        let around = || splits(name).find_map(|(zip, _)| self.files.get(zip));
        self.files.get(name).or_else(around)
    }

    /// Why the zip that `name` is, or lies in, can't be read.
    pub(crate) fn trouble_of(&self, name: &str) -> Option<&ZipError> {
        self.facts_of(name)?.trouble()
    }

    /// What is called a zip and can't be read, names of DAG files in it or not.
    pub(crate) fn broken_zips(&self) -> impl Iterator<Item = &str> {
        self.files
            .iter()
            .filter(|(_, facts)| facts.trouble().is_some())
            .map(|(name, _)| name.as_str())
    }

    /// The content of `name`, if it is there; of a file in a zip that of the zip.
    pub(crate) fn hash_of(&self, name: &str) -> Option<Hash> {
        self.facts_of(name).map(|facts| facts.hash)
    }

    /// Whether a file is still as it was when this was taken, by its stamp.
    pub(crate) fn is_current(&self, name: &str) -> bool {
        self.facts_of(name).is_some_and(|facts| {
            fs::metadata(&facts.listed.path)
                .is_ok_and(|meta| Stamp::of(&meta) == facts.listed.stamp)
        })
    }
}

/// What a file is whose content is known, under the ignore rules of now.
fn kind_now(known: &FileFacts, listed: &Listed) -> Kind {
    match (listed.may_define, known.listed.may_define) {
        (true, true) => known.kind.clone(),
        (false, _) => Kind::Other,
        // Its text was not looked at when it was ignored.
        (true, false) => {
            let name = listed.path.to_string_lossy();
            fs::read(&listed.path).map_or(Kind::Other, |content| kind_of(&name, &content))
        }
    }
}

fn read(
    name: &str,
    listed: Listed,
    known: Option<&FileFacts>,
    now: Timestamp,
) -> Result<FileFacts, String> {
    let trouble = |error: io::Error| format!("`{}`: {error}", listed.path.display());
    let age = i128::from(now.0) * 1_000 - listed.stamp.changed.max(listed.stamp.modified);
    let settled = age > SETTLED_NANOS;
    let known = known.filter(|known| known.listed.may_define == listed.may_define);
    // A large one that is being written is read again when it has an end, or rests.
    let torn = known.filter(|it| it.trouble().is_some() && listed.stamp.size > WRITTEN);
    if let Some(torn) = torn.filter(|_| !settled)
        && !ends_as_zip(&listed).map_err(trouble)?
    {
        let torn = torn.clone();
        return Ok(FileFacts { listed, present: true, settled, looked_at: false, ..torn });
    }
    let content = read_up_to(&listed.path, listed.stamp.size).map_err(trouble)?;
    let hash = hash_bytes(&content);
    let (kind, looked_at) = match known.filter(|known| known.looked_at && known.hash == hash) {
        Some(known) => (known.kind.clone(), true),
        None if !listed.may_define => (Kind::Other, true),
        None if settled => (kind_of(name, &content), true),
        None => {
            let first = usize::try_from(WRITTEN).unwrap_or(usize::MAX);
            let kind = kind_by(name, &content, first);
            let is_all = content.len() <= first || !matches!(kind, Kind::NoZip(_));
            (kind, is_all)
        }
    };
    Ok(FileFacts { hash, kind, present: true, settled, looked_at, listed })
}

/// Whether a file has an end as zips have it.
fn ends_as_zip(listed: &Listed) -> io::Result<bool> {
    let mut file = fs::File::open(&listed.path)?;
    file.seek(SeekFrom::Start(listed.stamp.size.saturating_sub(TAIL as u64)))?;
    let mut tail = Vec::new();
    file.take(TAIL as u64).read_to_end(&mut tail)?;
    Ok(has_end(&tail))
}

/// What a file holds, up to this size: one that only grows is whole at any moment.
pub(crate) fn read_up_to(path: &Path, size: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    content.try_reserve_exact(usize::try_from(size).unwrap_or(usize::MAX))?;
    fs::File::open(path)?.take(size).read_to_end(&mut content)?;
    Ok(content)
}

/// The content's address.
pub(crate) fn hash_bytes(content: &[u8]) -> Hash {
    Sha256::digest(content).into()
}

fn hash_all(files: &BTreeMap<String, FileFacts>) -> Hash {
    let mut hasher = Sha256::new();
    for (name, facts) in files.iter().filter(|(_, facts)| facts.present) {
        hasher.update(u64::try_from(name.len()).unwrap_or(u64::MAX).to_le_bytes());
        hasher.update(name.as_bytes());
        hasher.update([u8::from(facts.listed.executable)]);
        hasher.update(facts.hash);
    }
    hasher.finalize().into()
}
