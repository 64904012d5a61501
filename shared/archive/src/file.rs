//! One file of an archive.
//!
//! ```text
//! "dagbokar" | version u32 | subjects u32 | first u64 | last u64 | before 32 | after 32 | mark 32 | crc u32
//! print of each subject u32, sorted
//! one zstd frame of: subject u16 | payload u32 | subject bytes | payload bytes, for each entry
//! ```
//!
//! Numbers are little-endian. The checksum covers the head and the prints; zstd checks its frame, and the
//! chain's values prove the entries.
use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::Path,
};

use bytes::Bytes;
use dagbok_runlog::{Chain, Entry, LogMark, Seq};

use crate::ArchiveError;

const MAGIC: &[u8; 8] = b"dagbokar";
/// The format that is written; one that is higher is refused.
const VERSION: u32 = 1;
/// Bytes before the prints, without the checksum.
const HEAD: usize = 8 + 4 + 4 + 8 + 8 + 32 * 3;
/// What the name of a file ends with until it is whole.
pub(crate) const UNFINISHED: &str = "new";
/// How hard zstd tries: 3 is its own choice, and a file is written once.
const LEVEL: i32 = 6;
/// Subjects that a file may say it has, more than any batch has entries.
const MOST_SUBJECTS: usize = 1 << 20;

/// What a file says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) first: Seq,
    pub(crate) last: Seq,
    /// The chain's value at the entry before `first`, and at `last`.
    pub(crate) before: Chain,
    pub(crate) after: Chain,
    pub(crate) mark: LogMark,
    prints: Vec<u32>,
}

impl Head {
    /// The head of a file of these entries.
    pub(crate) fn of(mark: LogMark, before: Chain, entries: &[Entry]) -> Option<Self> {
        let (first, last) = (entries.first()?.seq, entries.last()?.seq);
        let after = entries.iter().fold(before, Chain::then);
        let prints: BTreeSet<u32> = entries.iter().map(|entry| print(&entry.subject)).collect();
        let prints = prints.into_iter().collect();
        Some(Self { first, last, before, after, mark, prints })
    }

    /// Whether entries on `subject` may be in the file.
    pub(crate) fn may_hold(&self, subject: &str) -> bool {
        self.prints.binary_search(&print(subject)).is_ok()
    }

    /// About how many bytes it takes in memory.
    pub(crate) const fn bytes(&self) -> usize {
        HEAD + self.prints.len() * 4
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD + 4 + self.prints.len() * 4);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        let count = u32::try_from(self.prints.len()).expect("a batch is far smaller");
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&self.first.0.to_le_bytes());
        bytes.extend_from_slice(&self.last.0.to_le_bytes());
        for chain in [self.before, self.after, self.mark.0] {
            bytes.extend_from_slice(&chain.0);
        }
        let mut crc = crc32fast::Hasher::new();
        crc.update(&bytes);
        let prints: Vec<u8> = self.prints.iter().flat_map(|print| print.to_le_bytes()).collect();
        crc.update(&prints);
        bytes.extend_from_slice(&crc.finalize().to_le_bytes());
        bytes.extend_from_slice(&prints);
        bytes
    }

    /// Reads the head; the reader then stands before the entries.
    fn read(path: &Path, file: &mut File) -> Result<Self, ArchiveError> {
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ArchiveError::damaged(path, "it is cut short"),
            _ => ArchiveError::io("read", path, error),
        };
        let mut head = [0; HEAD + 4];
        file.read_exact(&mut head).map_err(failed)?;
        let number =
            |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
        let long =
            |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().expect("eight bytes"));
        let chain = |at: usize| Chain(head[at..at + 32].try_into().expect("32 bytes"));
        if !head.starts_with(MAGIC) {
            return Err(ArchiveError::damaged(path, "it is no archive of a log"));
        }
        if number(8) > VERSION {
            let why =
                format!("its format is {}, and this version reads up to {VERSION}", number(8));
            return Err(ArchiveError::damaged(path, why));
        }
        let count = number(12) as usize;
        if count > MOST_SUBJECTS {
            return Err(ArchiveError::damaged(path, "its head has an impossible length"));
        }
        let mut prints = vec![0; count * 4];
        file.read_exact(&mut prints).map_err(failed)?;
        let mut crc = crc32fast::Hasher::new();
        crc.update(&head[..HEAD]);
        crc.update(&prints);
        if crc.finalize() != number(HEAD) {
            return Err(ArchiveError::damaged(path, "its head does not match its checksum"));
        }
        let prints = prints.as_chunks::<4>().0.iter().map(|it| u32::from_le_bytes(*it)).collect();
        let (first, last) = (Seq(long(16)), Seq(long(24)));
        let (before, after, mark) = (chain(32), chain(64), LogMark(chain(96)));
        Ok(Self { first, last, before, after, mark, prints })
    }

    /// What the file at `path` says of itself.
    pub(crate) fn load(path: &Path) -> Result<Self, ArchiveError> {
        let mut file = File::open(path).map_err(|error| ArchiveError::io("read", path, error))?;
        Self::read(path, &mut file)
    }
}

/// Thirty-two bits of a subject.
fn print(subject: &str) -> u32 {
    crc32fast::hash(subject.as_bytes())
}

/// Writes a file, whole or not at all, and for good once this returns.
pub(crate) fn write(path: &Path, head: &Head, entries: &[Entry]) -> Result<(), ArchiveError> {
    let beside = path.with_extension(UNFINISHED);
    let written = (|| {
        let mut file = File::create(&beside)?;
        file.write_all(&head.encode())?;
        let mut packed = zstd::Encoder::new(&mut file, LEVEL)?;
        packed.include_checksum(true)?;
        for Entry { subject, payload, .. } in entries {
            let too_long = |_| io::Error::other("an entry beyond the limits");
            packed.write_all(&u16::try_from(subject.len()).map_err(too_long)?.to_le_bytes())?;
            packed.write_all(&u32::try_from(payload.len()).map_err(too_long)?.to_le_bytes())?;
            packed.write_all(subject.as_bytes())?;
            packed.write_all(payload)?;
        }
        packed.finish()?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    })();
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written.map_err(|error| ArchiveError::io("write", path, error))
}

/// All entries of a file, proved by the chain.
pub(crate) fn read(path: &Path) -> Result<(Head, Vec<Entry>), ArchiveError> {
    let mut file = File::open(path).map_err(|error| ArchiveError::io("read", path, error))?;
    let head = Head::read(path, &mut file)?;
    let damaged = |error: io::Error| ArchiveError::damaged(path, error.to_string());
    let mut packed = zstd::Decoder::new(file).map_err(damaged)?;
    let mut entries = Vec::new();
    let mut chain = head.before;
    for seq in head.first.0..=head.last.0 {
        let mut lengths = [0; 6];
        packed.read_exact(&mut lengths).map_err(damaged)?;
        let subject = usize::from(u16::from_le_bytes([lengths[0], lengths[1]]));
        let payload = u32::from_le_bytes([lengths[2], lengths[3], lengths[4], lengths[5]]);
        let subject = take(&mut packed, subject as u64).map_err(damaged)?;
        let subject = String::from_utf8(subject);
        let subject = subject.map_err(|_| ArchiveError::damaged(path, "a subject is no text"))?;
        let payload = Bytes::from(take(&mut packed, u64::from(payload)).map_err(damaged)?);
        let entry = Entry { seq: Seq(seq), subject, payload };
        chain = chain.then(&entry);
        entries.push(entry);
    }
    // The checksum stands at the end of the frame.
    let rest = packed.read(&mut [0]).map_err(damaged)?;
    if rest != 0 {
        return Err(ArchiveError::damaged(path, "it has more entries than it says"));
    }
    if chain != head.after {
        let why = format!("its entries come to {chain} in the chain, and it says {}", head.after);
        return Err(ArchiveError::damaged(path, why));
    }
    Ok((head, entries))
}

/// So many bytes, without believing a length before they are there.
fn take(reader: &mut impl io::Read, count: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let found = reader.take(count).read_to_end(&mut bytes)?;
    if found as u64 == count { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}
