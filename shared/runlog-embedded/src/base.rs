//! Where a log begins that was trimmed: one small checked file beside the segments.
//!
//! ```text
//! dagbok log base 1
//! first 4097
//! chain 3a7b…          the chain's value at the entry before
//! mark 90cc…           which log it is
//! crc 1b2c3d4e         of all lines above
//! ```
use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

use dagbok_runlog::{Base, Chain, LogMark, Seq};

use crate::{
    OpenError,
    disk::Disk,
    segment::{RESTORE, damaged},
};

const TITLE: &str = "dagbok log base ";
/// The format that is written; one that is higher is refused.
const VERSION: u32 = 1;

/// The beginning of a log whose first entries are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trimmed {
    pub(crate) base: Base,
    pub(crate) mark: LogMark,
}

fn path(dir: &Path) -> PathBuf {
    dir.join("base")
}

impl Trimmed {
    /// What the log in `dir` says; `None` for one that was never trimmed.
    pub(crate) fn load(dir: &Path) -> Result<Option<Self>, OpenError> {
        let path = path(dir);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => String::new(),
            Err(source) => return Err(OpenError::io("read", &path, source)),
        };
        let found = text.strip_prefix(TITLE).and_then(|rest| rest.lines().next()?.parse().ok());
        if let Some(found) = found.filter(|found| *found > VERSION) {
            return Err(OpenError::Newer { file: path, found, known: VERSION });
        }
        let read = Self::read(&text);
        let why = || "it can't be read or does not match its checksum".to_owned();
        read.map(Some).ok_or_else(|| damaged(&path, 0, why(), RESTORE.to_owned()))
    }

    fn read(text: &str) -> Option<Self> {
        let at = text.rfind("crc ")?;
        let (above, crc) = text.split_at(at);
        let crc = u32::from_str_radix(crc.strip_prefix("crc ")?.trim_end(), 16).ok()?;
        if crc != crc32fast::hash(above.as_bytes()) {
            return None;
        }
        let mut lines = above.lines();
        let mut next = |name: &str| lines.next()?.strip_prefix(name);
        next(TITLE)?;
        let first = Seq(next("first ")?.parse().ok()?);
        let chain: Chain = next("chain ")?.parse().ok()?;
        let mark = LogMark(next("mark ")?.parse().ok()?);
        (first > Seq::ZERO).then_some(Self { base: Base { first, chain }, mark })
    }

    /// Makes it so for good.
    pub(crate) fn store(&self, disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        let Self { base: Base { first, chain }, mark } = self;
        let mut text = format!("{TITLE}{VERSION}\nfirst {first}\nchain {chain}\nmark {}\n", mark.0);
        let crc = crc32fast::hash(text.as_bytes());
        let _ = writeln!(text, "crc {crc:08x}");
        disk.replace(&path(dir), text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Durability, disk::FileDisk};

    #[test]
    fn what_is_stored_is_read_back_or_refused() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path();
        assert_eq!(Trimmed::load(dir).unwrap(), None);
        let base = Base { first: Seq(4_097), chain: Chain([7; 32]) };
        let trimmed = Trimmed { base, mark: LogMark(Chain([9; 32])) };
        trimmed.store(&FileDisk { durability: Durability::None }, dir).unwrap();
        assert_eq!(Trimmed::load(dir).unwrap(), Some(trimmed));
        let bytes = fs::read(path(dir)).unwrap();
        for at in (TITLE.len() + 2..bytes.len() - 1).step_by(3) {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            fs::write(path(dir), changed).unwrap();
            assert!(matches!(Trimmed::load(dir), Err(OpenError::Damaged { .. })), "byte {at}");
        }
        fs::write(path(dir), format!("{TITLE}2\n")).unwrap();
        assert!(matches!(Trimmed::load(dir), Err(OpenError::Newer { found: 2, .. })));
    }
}
