//! A segment file: its name, its header, and a scan of its frames.
use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use crate::{
    OpenError,
    frame::{self, HEAD as FRAME_HEAD},
    index::Index,
    reader::{FrameReader, Step},
};

const MAGIC: &[u8; 8] = b"dagboklg";

/// The format that is written; one that is higher is refused.
pub(crate) const VERSION: u32 = 1;

/// Bytes before the first frame: magic, version, first entry, checksum.
pub(crate) const HEADER: usize = 24;

/// The header of a segment that begins with the entry `first`.
pub(crate) fn header(first: u64) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[12..20].copy_from_slice(&first.to_le_bytes());
    let crc = crc32fast::hash(&bytes[..20]);
    bytes[20..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The name of the segment that begins with the entry `first`.
pub(crate) fn path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("{first:020}.seg"))
}

/// The sidecar of a segment.
pub(crate) fn sidecar(segment: &Path) -> PathBuf {
    segment.with_extension("idx")
}

/// The first entries of all segments in `dir`, by their names, in order.
pub(crate) fn list(dir: &Path) -> io::Result<Vec<u64>> {
    let mut firsts = Vec::new();
    for file in dir.read_dir()? {
        let name = file?.file_name();
        let name = name.to_str().and_then(|name| name.strip_suffix(".seg"));
        firsts
            .extend(name.filter(|name| name.len() == 20).and_then(|name| name.parse::<u64>().ok()));
    }
    firsts.sort_unstable();
    Ok(firsts)
}

/// Whether a file begins as the segment of `first` must; `Ok(false)` where it is cut short within
/// its header, as a crash while it was made leaves it.
pub(crate) fn check_header(file: &File, path: &Path, first: u64) -> Result<bool, OpenError> {
    let mut bytes = [0; HEADER];
    let length = file.metadata().map_err(|source| OpenError::io("read", path, source))?.len();
    if length < HEADER as u64 {
        return Ok(false);
    }
    file.read_exact_at(&mut bytes, 0).map_err(|source| OpenError::io("read", path, source))?;
    if length == HEADER as u64 && bytes == [0; HEADER] {
        return Ok(false);
    }
    let found = u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
    if bytes.starts_with(MAGIC) && found > VERSION {
        return Err(OpenError::Newer { file: path.to_owned(), found, known: VERSION });
    }
    if bytes != header(first) {
        let why = "its header is not that of this segment".to_owned();
        return Err(damaged(path, 0, why, RESTORE.to_owned()));
    }
    Ok(true)
}

/// What a scan found.
#[derive(Debug)]
pub(crate) struct Scan {
    /// The last whole entry; the one before the first where there is none.
    pub(crate) last: u64,
    /// Where it ends.
    pub(crate) end: u64,
    /// Why the scan ended before the file did.
    pub(crate) fault: Option<&'static str>,
}

/// Reads frames from the one after `last`, which begins at `offset`, up to the end of the file or
/// the first that is not whole, and notes their places.
pub(crate) fn scan(
    file: &File,
    last: u64,
    offset: u64,
    length: u64,
    index: &mut Index,
) -> io::Result<Scan> {
    let mut reader = FrameReader::new(file, offset, length);
    let mut scan = Scan { last, end: offset, fault: None };
    loop {
        let begins = reader.offset();
        match reader.next()? {
            Step::Frame(frame) if frame.seq == scan.last + 1 => {
                index.note(frame.seq, begins, frame.subject);
            }
            Step::Frame(_) => scan.fault = Some("a record has another record's place"),
            Step::Fault(why) => scan.fault = Some(why),
            Step::End => return Ok(scan),
        }
        if scan.fault.is_some() {
            return Ok(scan);
        }
        scan.last += 1;
        scan.end = reader.offset();
    }
}

/// The first whole frame that begins after `offset`, where a frame with the place `next` was due
/// and is not whole: what tells damage in the middle from a torn tail.
///
/// It looks within the `length` that was scanned and no further: what a writer has added since stands behind a
/// record that was half written then, and is no damage.
pub(crate) fn whole_after(
    file: &File,
    (offset, length): (u64, u64),
    next: u64,
) -> io::Result<Option<(u64, u64)>> {
    // At most a segment, and only when something is wrong with it.
    let size = usize::try_from(length - offset).map_err(io::Error::other)?;
    let mut bytes = vec![0; size];
    file.read_exact_at(&mut bytes, offset)?;
    let highest = next + (size / FRAME_HEAD) as u64;
    for at in 1..size {
        let Some(head) = bytes[at..].first_chunk() else { break };
        // The place first: it is rarely right by chance, and a checksum is work.
        if !(next..=highest).contains(&frame::announced_seq(head)) {
            continue;
        }
        let Some(end) = frame::announced(head).map(|size| at + size) else { continue };
        if let Some(found) = bytes.get(at..end).and_then(frame::decode) {
            return Ok(Some((offset + at as u64, found.seq)));
        }
    }
    Ok(None)
}

/// What to do about damage that can't be cut off.
pub(crate) const RESTORE: &str = "put that file back from a backup";

/// Damage in a file.
pub(crate) fn damaged(path: &Path, offset: u64, why: String, advice: String) -> OpenError {
    OpenError::Damaged { file: path.to_owned(), offset, why, advice }
}
