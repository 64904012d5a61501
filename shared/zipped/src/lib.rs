//! Zips of DAGs, as far as Python's own import reads them: what lies in one, whether all of it can be read, and one file
//! out of it.
//!
//! Absent on purpose: unpacking. DAG files are imported from the zip itself, so no name in one ever becomes a path on a
//! disk. Other compressions than deflate and zip64 are absent, too: imports from such a zip fail.
#[cfg(any(test, feature = "made"))]
pub mod made;

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    path::Path,
};

use dagbok_protocol::limits::ZIP_BYTES;
use flate2::{CrcWriter, read::DeflateDecoder};
use thiserror::Error;

/// Each part of a zip begins with these; then come fields of fixed lengths, then names.
const FILE: [u8; 4] = *b"PK\x03\x04";
const ENTRY: [u8; 4] = *b"PK\x01\x02";
const END: [u8; 4] = *b"PK\x05\x06";
const FILE_LENGTH: usize = 30;
const ENTRY_LENGTH: usize = 46;
const END_LENGTH: usize = 22;
/// The longest comment, which the end of a zip may lie before.
const COMMENT: usize = 0xffff;
/// What says in a field of two or of four bytes that the value stands elsewhere: zip64.
const ELSEWHERE: (usize, usize) = (0xffff, 0xffff_ffff);
const ENCRYPTED: u16 = 1;
const UTF8: u16 = 1 << 11;
const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// Why a zip can't be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ZipError {
    /// It has no end, or its directory is none.
    #[error("the zip is damaged or not complete: {0}; write it again")]
    Damaged(String),
    /// A file in it needs a password.
    #[error("`{0}` in the zip is encrypted; zip it without a password")]
    Encrypted(String),
    /// A file in it is packed otherwise.
    #[error(
        "`{0}` in the zip is packed in a way that Python does not import from; use deflate, as zip itself does"
    )]
    Method(String),
    /// It has the form of very large ones.
    #[error("the zip has the form zip64, which not every Python imports from; zip fewer files")]
    Zip64,
    /// It holds too much.
    #[error(
        "the zip holds more than {0} bytes unpacked; move data out of it into the DAG folder, or name a zip without \
         DAGs in an `.airflowignore`"
    )]
    TooLarge(u64),
}

/// A zip that is in memory whole.
#[derive(Debug)]
pub struct Zip<'a> {
    content: &'a [u8],
    /// What stands before it: places in it count from there.
    before: usize,
    entries: BTreeMap<String, Entry>,
}

/// What its directory says of a file.
#[derive(Debug)]
struct Entry {
    flags: u16,
    method: u16,
    crc: u32,
    packed: usize,
    unpacked: u64,
    at: usize,
}

impl<'a> Zip<'a> {
    /// Reads the directory. Of two files by one name the later counts, and one whose name is no UTF-8 is passed over.
    pub fn open(content: &'a [u8]) -> Result<Self, ZipError> {
        let damaged = |why: &str| ZipError::Damaged(why.to_owned());
        let tail = content.len().saturating_sub(END_LENGTH + COMMENT);
        let end = content[tail..].windows(END.len()).rposition(|at| at == END);
        let end = end.map(|at| tail + at).filter(|at| at + END_LENGTH <= content.len());
        let end = end.ok_or_else(|| damaged("its end is missing"))?;
        let (count, size, offset) =
            (short(content, end + 10), long(content, end + 12), long(content, end + 16));
        if usize::from(count) == ELSEWHERE.0 || [size, offset].contains(&ELSEWHERE.1) {
            return Err(ZipError::Zip64);
        }
        let start = end.checked_sub(size).ok_or_else(|| damaged("its beginning is missing"))?;
        let before =
            start.checked_sub(offset).ok_or_else(|| damaged("its beginning is missing"))?;
        let (mut entries, mut at) = (BTreeMap::new(), start);
        for _ in 0..count {
            if at + ENTRY_LENGTH > end || content[at..at + ENTRY.len()] != ENTRY {
                return Err(damaged("its list of files is none"));
            }
            let (flags, length) = (short(content, at + 8), short(content, at + 28));
            let name = at + ENTRY_LENGTH;
            let next = name + usize::from(length);
            let Some(name) = content.get(name..next).filter(|_| next <= end) else {
                return Err(damaged("its list of files is none"));
            };
            let entry = Entry {
                flags,
                method: short(content, at + 10),
                crc: u32::try_from(long(content, at + 16)).unwrap_or_default(),
                packed: long(content, at + 20),
                unpacked: long(content, at + 24) as u64,
                at: long(content, at + 42),
            };
            let is_told = name.is_ascii() || flags & UTF8 != 0;
            if let Some(name) = std::str::from_utf8(name).ok().filter(|_| is_told) {
                entries.insert(name.to_owned(), entry);
            }
            at = next + usize::from(short(content, at + 30)) + usize::from(short(content, at + 32));
        }
        Ok(Self { content, before, entries })
    }

    /// The names of what it holds, folders among them, which end in a `/`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// A file's content, and whether that is all of it: it has at most so many bytes. `None` where there is no such file.
    pub fn read(&self, name: &str, most: u64) -> Result<Option<(Vec<u8>, bool)>, ZipError> {
        let Some(entry) = self.entries.get(name) else { return Ok(None) };
        let mut content = Vec::new();
        if entry.unpacked > most {
            let mut start = self.unpacking(name, entry)?.take(most);
            start.read_to_end(&mut content).map_err(|error| torn(name, &error))?;
            return Ok(Some((content, false)));
        }
        self.unpack(name, entry, &mut content)?;
        Ok(Some((content, true)))
    }

    /// Whether each file in it can be read, is what the directory says, and all together are no more than may be.
    pub fn check(&self) -> Result<(), ZipError> {
        if self.entries.values().map(|entry| entry.unpacked).sum::<u64>() > ZIP_BYTES {
            return Err(ZipError::TooLarge(ZIP_BYTES));
        }
        self.entries.iter().try_for_each(|(name, entry)| self.unpack(name, entry, io::sink()))
    }

    /// Unpacks a file, up to what the directory says of it and no further: more is a lie.
    fn unpack(&self, name: &str, entry: &Entry, into: impl Write) -> Result<(), ZipError> {
        let mut from = self.unpacking(name, entry)?.take(entry.unpacked.saturating_add(1));
        let mut into = CrcWriter::new(into);
        let length = io::copy(&mut from, &mut into).map_err(|error| torn(name, &error))?;
        if length == entry.unpacked && into.crc().sum() == entry.crc {
            return Ok(());
        }
        Err(ZipError::Damaged(format!("`{name}` in it is not what its list says")))
    }

    fn unpacking(&self, name: &str, entry: &Entry) -> Result<Box<dyn Read + 'a>, ZipError> {
        if entry.flags & ENCRYPTED != 0 {
            return Err(ZipError::Encrypted(name.to_owned()));
        }
        let torn = || ZipError::Damaged(format!("`{name}` in it can't be found"));
        let at = self.before.checked_add(entry.at).ok_or_else(torn)?;
        let head = self.content.get(at..at.saturating_add(FILE_LENGTH)).ok_or_else(torn)?;
        if head[..FILE.len()] != FILE {
            return Err(torn());
        }
        let names = usize::from(short(head, 26)) + usize::from(short(head, 28));
        let start = at + FILE_LENGTH + names;
        let packed = self.content.get(start..start.saturating_add(entry.packed));
        let packed = packed.ok_or_else(torn)?;
        match entry.method {
            STORED => Ok(Box::new(packed)),
            DEFLATED => Ok(Box::new(DeflateDecoder::new(packed))),
            _ => Err(ZipError::Method(name.to_owned())),
        }
    }
}

/// The zip that a file may lie in by its path, and the file's name there: the outermost first.
pub fn splits(path: &str) -> impl Iterator<Item = (&str, &str)> {
    path.match_indices('/')
        .map(|(at, _)| (&path[..at], &path[at + 1..]))
        .filter(|(zip, inner)| is_zip(zip) && !inner.is_empty())
}

/// Whether a file is a zip by its name.
pub fn is_zip(path: &str) -> bool {
    Path::new(path).extension() == Some("zip".as_ref())
}

/// Whether a name in a zip is one of a module at its top.
pub fn is_top_module(name: &str) -> bool {
    let is_python = Path::new(name).extension() == Some("py".as_ref());
    is_python && !name.contains(['/', '\\']) && !name.contains(char::is_control)
}

/// Whether what is no whole zip was one with modules at its top, by the heads of the files in it.
pub fn was_of_modules(content: &[u8]) -> bool {
    let heads = |head: [u8; 4], length: usize, name: usize| {
        let mut starts = content.windows(head.len()).enumerate().filter(|(_, at)| *at == head);
        starts.any(|(start, _)| {
            let Some(fields) = content.get(start..start + name) else { return false };
            let named =
                content.get(start + name..start + name + usize::from(short(fields, length)));
            named.and_then(|name| std::str::from_utf8(name).ok()).is_some_and(is_top_module)
        })
    };
    heads(FILE, 26, FILE_LENGTH) || heads(ENTRY, 28, ENTRY_LENGTH)
}

fn torn(name: &str, error: &io::Error) -> ZipError {
    ZipError::Damaged(format!("`{name}` in it: {error}"))
}

/// Two bytes of what is long enough.
fn short(content: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([content[at], content[at + 1]])
}

/// Four bytes of what is long enough.
fn long(content: &[u8], at: usize) -> usize {
    usize::from(short(content, at)) | usize::from(short(content, at + 2)) << 16
}

#[cfg(test)]
mod tests {
    use super::{
        made::{Packed, zip_of},
        *,
    };

    fn check(content: &[u8]) -> Result<(), ZipError> {
        Zip::open(content).and_then(|zip| zip.check())
    }

    #[test]
    fn what_was_zipped_comes_out_again_stored_or_deflated_and_behind_whatever_stands_before_it() {
        let files: [(&str, &[u8]); 2] = [("a.py", b"print(1)\n"), ("lib/b.txt", &[7; 5_000])];
        for packed in [Packed::Stored, Packed::Deflated] {
            let zip = zip_of(&files, packed);
            for before in [&b""[..], b"#!/usr/bin/env python3\n"] {
                let content = [before, &zip].concat();
                let zip = Zip::open(&content).unwrap();
                assert_eq!(zip.names().collect::<Vec<_>>(), ["a.py", "lib/b.txt"]);
                assert_eq!(zip.check(), Ok(()));
                for (name, text) in files {
                    assert_eq!(zip.read(name, 5_000).unwrap(), Some((text.to_vec(), true)));
                }
                assert_eq!(zip.read("lib/b.txt", 9).unwrap(), Some((vec![7; 9], false)));
                assert_eq!(zip.read("b.txt", 9), Ok(None));
            }
        }
    }

    #[test]
    fn a_zip_that_is_cut_anywhere_is_an_error_and_never_a_panic() {
        let zip = zip_of(&[("a.py", b"print(1)\n"), ("b.py", &[7; 500])], Packed::Deflated);
        for cut in 0..zip.len() {
            assert!(check(&zip[..cut]).is_err(), "cut at {cut}");
            assert!(check(&zip[cut + 1..]).is_err(), "from {cut}");
            let mut other = zip.clone();
            other[cut] ^= 0x41;
            drop(check(&other));
        }
        assert!(was_of_modules(&zip[..60]) && was_of_modules(&zip));
        assert!(!was_of_modules(&zip_of(&[("lib/a.py", b""), ("a.csv", b"")], Packed::Stored)));
        assert!(!was_of_modules(b"PK\x03\x04") && !was_of_modules(b""));
    }

    #[test]
    fn what_is_not_what_the_directory_says_is_found() {
        let text = b"print(12345)\n";
        let zip = zip_of(&[("a.py", text)], Packed::Stored);
        let at = zip.windows(text.len()).position(|at| at == text).unwrap();
        let mut other = zip.clone();
        other[at] = b'P';
        assert!(matches!(check(&other), Err(ZipError::Damaged(why)) if why.contains("`a.py`")));

        let entry = zip.windows(4).position(|at| at == ENTRY).unwrap();
        let mut locked = zip.clone();
        locked[entry + 8] |= 1;
        assert_eq!(check(&locked), Err(ZipError::Encrypted("a.py".to_owned())));
        let mut packed = zip.clone();
        packed[entry + 10] = 14;
        assert_eq!(check(&packed), Err(ZipError::Method("a.py".to_owned())));
        let mut large = zip.clone();
        let end = large.len() - END_LENGTH;
        large[end + 16..end + 20].copy_from_slice(&[0xff; 4]);
        assert_eq!(check(&large), Err(ZipError::Zip64));
    }

    #[test]
    fn a_bomb_is_defused_by_what_it_says_and_by_what_it_does() {
        let zip = zip_of(&[("a.py", &vec![0; 100_000])], Packed::Deflated);
        let entry = zip.windows(4).position(|at| at == ENTRY).unwrap();
        let saying = |bytes: u64| {
            let mut content = zip.clone();
            let bytes = u32::try_from(bytes).unwrap().to_le_bytes();
            content[entry + 24..entry + 28].copy_from_slice(&bytes);
            content
        };
        assert_eq!(check(&saying(100_000)), Ok(()));
        assert!(matches!(check(&saying(99_999)), Err(ZipError::Damaged(_))), "it holds more");
        assert!(matches!(check(&saying(ZIP_BYTES)), Err(ZipError::Damaged(_))), "it holds less");
        assert_eq!(check(&saying(ZIP_BYTES + 1)), Err(ZipError::TooLarge(ZIP_BYTES)));
    }

    #[test]
    fn a_path_is_split_at_each_zip_that_it_could_lead_into() {
        let at = |path| splits(path).collect::<Vec<_>>();
        assert_eq!(at("lib/x.zip/a/b.py"), [("lib/x.zip", "a/b.py")]);
        assert_eq!(at("x.zip/y.zip/b.py"), [("x.zip", "y.zip/b.py"), ("x.zip/y.zip", "b.py")]);
        assert!(at("x.zip").is_empty() && at("x.zip/").is_empty() && at(".zip/a.py").is_empty());
        assert!(is_top_module("a.py") && !is_top_module("../a.py") && !is_top_module("/a.py"));
        assert!(!is_top_module("a.pyc") && !is_top_module("lib\\a.py"));
    }
}
