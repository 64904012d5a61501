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
/// The two parts of the form of very large ones, and how far before the end each begins.
const LARGE: [([u8; 4], usize); 2] = [(*b"PK\x06\x07", 20), (*b"PK\x06\x06", 56)];
const FILE_LENGTH: usize = 30;
const ENTRY_LENGTH: usize = 46;
const END_LENGTH: usize = 22;
/// The longest comment, which the end of a zip may lie before.
const COMMENT: usize = 0xffff;
/// A zip's end is in so many of its last bytes.
pub const TAIL: usize = END_LENGTH + COMMENT;
/// The longest name of a module at its top, in bytes: what a file of a folder may have.
const NAME: usize = 255;
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
    /// It has too many DAG files.
    #[error("the zip has more than {0} DAG files; spread them over several zips")]
    TooMany(usize),
}

/// A zip that is in memory whole.
#[derive(Debug)]
pub struct Zip<'a> {
    content: &'a [u8],
    /// What stands before it: places in it count from there.
    before: usize,
    entries: BTreeMap<String, Entry>,
    /// Those whose names have no encoding that is told: nobody asks for them by name.
    nameless: Vec<(String, Entry)>,
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
    /// Reads the directory. Of two files by one name the later counts.
    pub fn open(content: &'a [u8]) -> Result<Self, ZipError> {
        let damaged = |why: &str| ZipError::Damaged(why.to_owned());
        let end = end_of(content).ok_or_else(|| damaged("its end is missing"))?;
        let (count, size, offset) =
            (short(content, end + 10), long(content, end + 12), long(content, end + 16));
        let is_large = LARGE.iter().any(|(part, before)| {
            end.checked_sub(*before).is_some_and(|at| content[at..].starts_with(part))
        });
        if is_large || usize::from(count) == ELSEWHERE.0 || [size, offset].contains(&ELSEWHERE.1) {
            return Err(ZipError::Zip64);
        }
        let start = end.checked_sub(size).ok_or_else(|| damaged("its beginning is missing"))?;
        let before =
            start.checked_sub(offset).ok_or_else(|| damaged("its beginning is missing"))?;
        let (mut entries, mut nameless, mut at) = (BTreeMap::new(), Vec::new(), start);
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
            if name.is_ascii() || flags & UTF8 != 0 {
                let name = std::str::from_utf8(name)
                    .map_err(|_| damaged("a name in its list is not the UTF-8 that it says"))?;
                entries.insert(name.to_owned(), entry);
            } else {
                nameless.push((String::from_utf8_lossy(name).into_owned(), entry));
            }
            at = next + usize::from(short(content, at + 30)) + usize::from(short(content, at + 32));
        }
        if at != end {
            return Err(damaged("its list of files is longer or shorter than it says"));
        }
        Ok(Self { content, before, entries, nameless })
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

    /// How many bytes these files are said to be unpacked, and never are more: each counts, though several are one
    /// packed text.
    pub fn unpacked(&self, is_one: impl Fn(&str) -> bool) -> u64 {
        self.all().filter(|(name, _)| is_one(name)).map(|(_, entry)| entry.unpacked).sum()
    }

    /// Whether each file in it can be read, is what the directory says, and all together are no more than may be.
    pub fn check(&self) -> Result<(), ZipError> {
        self.check_but(|_| false)
    }

    /// The same where some were read already, which need not be unpacked once more.
    pub fn check_but(&self, was_read: impl Fn(&str) -> bool) -> Result<(), ZipError> {
        if self.unpacked(|_| true) > ZIP_BYTES {
            return Err(ZipError::TooLarge(ZIP_BYTES));
        }
        let rest = self.entries.iter().filter(|(name, _)| !was_read(name));
        let rest = rest.chain(self.nameless.iter().map(|it| (&it.0, &it.1)));
        for (name, entry) in rest {
            self.unpack(name, entry, io::sink())?;
        }
        Ok(())
    }

    fn all(&self) -> impl Iterator<Item = (&String, &Entry)> {
        self.entries.iter().chain(self.nameless.iter().map(|it| (&it.0, &it.1)))
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
    let is_plain = !name.contains(['/', '\\']) && !name.contains(char::is_control);
    is_python && is_plain && name.len() <= NAME
}

/// Whether a file that ends so, in `TAIL` bytes or more, may be a whole zip.
pub fn has_end(tail: &[u8]) -> bool {
    end_of(tail).is_some()
}

fn end_of(content: &[u8]) -> Option<usize> {
    let tail = content.len().saturating_sub(TAIL);
    let end = content[tail..].windows(END.len()).rposition(|at| at == END)?;
    Some(tail + end).filter(|at| at + END_LENGTH <= content.len())
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
    fn the_list_ends_where_the_end_begins_and_each_name_in_it_counts() {
        let zip = zip_of(&[("a.py", b"A = 1\n"), ("b.txt", b"text")], Packed::Stored);
        let end = zip.len() - END_LENGTH;
        let mut fewer = zip.clone();
        fewer[end + 10] = 1;
        assert!(matches!(check(&fewer), Err(ZipError::Damaged(why)) if why.contains("list")));
        // As a zip64 has it: its own end before the plain one, which leaves that as it is.
        for (part, before) in LARGE {
            let more = [&part[..], &vec![0; before - part.len()]].concat();
            let large = [&zip[..end], &more, &zip[end..]].concat();
            assert_eq!(check(&large), Err(ZipError::Zip64));
        }

        let entry = zip.windows(4).rposition(|at| at == ENTRY).unwrap();
        let mut other = zip.clone();
        other[entry + ENTRY_LENGTH] = 0xe4;
        assert!(matches!(check(&other), Err(ZipError::Damaged(why)) if why.contains("UTF-8")));
        // No encoding is told: it has no name for us, and is unpacked all the same.
        other[entry + 9] = 0;
        let opened = Zip::open(&other).unwrap();
        assert_eq!(opened.names().collect::<Vec<_>>(), ["a.py"]);
        assert_eq!((opened.unpacked(|_| true), opened.check()), (10, Ok(())));
        let text = other.windows(4).position(|at| at == b"text").unwrap();
        other[text] = b'T';
        assert!(matches!(check(&other), Err(ZipError::Damaged(_))));
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
        let long = |letters: usize| format!("{}.py", "x".repeat(letters));
        assert!(is_top_module(&long(NAME - 3)) && !is_top_module(&long(NAME - 2)));
    }
}
