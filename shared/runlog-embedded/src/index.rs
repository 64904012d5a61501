//! Where in a segment its entries lie: one place every [`STRIDE`] bytes, with the subjects of what lies from there to
//! the next, in memory, and for a sealed segment in a checked file beside it, so that the segment itself is not read
//! at open.
use std::{fs, io, path::Path};

use crate::disk::Disk;

/// Bytes of segment between two places: what a read from any entry may have to skip.
const STRIDE: u64 = 32 << 10;

const MAGIC: &[u8; 8] = b"dagbokix";
/// 2: the places have subjects. A sidecar of another version is made anew from its segment.
const VERSION: u32 = 2;
/// Magic, version, first, last, end, count; then the places, each with a count and its prints; then a checksum.
const HEAD: usize = 8 + 4 + 8 + 8 + 8 + 8;

/// Places of some entries, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    places: Vec<Noted>,
}

/// An entry whose place is noted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Noted {
    seq: u64,
    offset: u64,
    /// Thirty-two bits of each subject from here to the next place; sorted once there is one.
    prints: Vec<u32>,
}

/// A part of a segment: entries from one to before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) seq: u64,
    pub(crate) offset: u64,
    /// The entry that follows, and where it begins; nothing where the segment ends with the part.
    pub(crate) next: Option<(u64, u64)>,
}

fn print(subject: &str) -> u32 {
    crc32fast::hash(subject.as_bytes())
}

impl Index {
    /// Notes that the entry `seq` begins at `offset`, where that is far enough from the last noted; and its subject.
    pub(crate) fn note(&mut self, seq: u64, offset: u64, subject: &str) {
        if self.places.last().is_none_or(|before| offset - before.offset >= STRIDE) {
            if let Some(full) = self.places.last_mut() {
                full.prints.sort_unstable();
                full.prints.dedup();
                full.prints.shrink_to_fit();
            }
            self.places.push(Noted { seq, offset, prints: Vec::new() });
        }
        let print = print(subject);
        let Some(Noted { prints, .. }) = self.places.last_mut() else { return };
        // One after the other on one subject is what most are; what is left is made single once it is full.
        if prints.last() != Some(&print) {
            prints.push(print);
        }
    }

    /// Where to begin reading for `seq`: the nearest noted place at or before it.
    pub(crate) fn before(&self, seq: u64) -> Option<(u64, u64)> {
        let after = self.places.partition_point(|noted| noted.seq <= seq);
        self.places[..after].last().map(|noted| (noted.seq, noted.offset))
    }

    /// The parts in which entries on `subject` may lie, in order; parts that touch are one.
    pub(crate) fn of_subject(&self, subject: &str) -> Vec<Part> {
        let wanted = print(subject);
        let mut found: Vec<Part> = Vec::new();
        for (at, noted) in self.places.iter().enumerate() {
            let next = self.places.get(at + 1).map(|next| (next.seq, next.offset));
            let holds = match next {
                Some(_) => noted.prints.binary_search(&wanted).is_ok(),
                None => noted.prints.contains(&wanted),
            };
            if !holds {
                continue;
            }
            match found.last_mut().filter(|before| before.next == Some((noted.seq, noted.offset))) {
                Some(before) => before.next = next,
                None => found.push(Part { seq: noted.seq, offset: noted.offset, next }),
            }
        }
        found
    }
}

/// What a sealed segment's sidecar says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// Bytes of the segment.
    pub(crate) end: u64,
    pub(crate) index: Index,
}

impl Sealed {
    /// Writes the sidecar, whole or not at all.
    pub(crate) fn store(&self, disk: &dyn Disk, path: &Path) -> io::Result<()> {
        let places = &self.index.places;
        let prints: usize = places.iter().map(|noted| noted.prints.len()).sum();
        let mut bytes = Vec::with_capacity(HEAD + places.len() * 20 + prints * 4 + 4);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        for number in [self.first, self.last, self.end, places.len() as u64] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for Noted { seq, offset, prints } in places {
            bytes.extend_from_slice(&seq.to_le_bytes());
            bytes.extend_from_slice(&offset.to_le_bytes());
            let count = u32::try_from(prints.len()).map_err(io::Error::other)?;
            bytes.extend_from_slice(&count.to_le_bytes());
            for print in prints {
                bytes.extend_from_slice(&print.to_le_bytes());
            }
        }
        let crc = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        disk.replace(path, &bytes)
    }

    /// Reads a sidecar; `None` where it is not there, damaged or of another version, as the segment
    /// says the same.
    pub(crate) fn load(path: &Path) -> Option<Self> {
        let bytes = fs::read(path).ok()?;
        let (bytes, crc) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(bytes) != u32::from_le_bytes(*crc) {
            return None;
        }
        let (magic, bytes) = bytes.split_first_chunk::<8>()?;
        let (version, bytes) = bytes.split_first_chunk::<4>()?;
        if magic != MAGIC || u32::from_le_bytes(*version) != VERSION {
            return None;
        }
        let (numbers, bytes) = bytes.split_first_chunk::<32>()?;
        let number = |at: usize| long(&numbers[at * 8..]);
        let (first, last, end, count) = (number(0)?, number(1)?, number(2)?, number(3)?);
        let (mut places, mut rest) = (Vec::new(), bytes);
        for _ in 0..count {
            let (noted, after) = Noted::read(rest)?;
            places.push(noted);
            rest = after;
        }
        rest.is_empty().then_some(Self { first, last, end, index: Index { places } })
    }
}

impl Noted {
    /// Reads one, and what follows it.
    fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (head, rest) = bytes.split_first_chunk::<20>()?;
        let (seq, offset) = (long(head)?, long(&head[8..])?);
        let count = usize::try_from(u32::from_le_bytes(*head[16..].first_chunk()?)).ok()?;
        let (prints, rest) = rest.split_at_checked(count.checked_mul(4)?)?;
        let prints = prints.as_chunks::<4>().0.iter().map(|it| u32::from_le_bytes(*it)).collect();
        Some((Self { seq, offset, prints }, rest))
    }
}

fn long(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Durability, disk::FileDisk};

    /// Each hundredth entry is of a DAG; runs take ten each.
    fn subject(n: u64) -> String {
        if n.is_multiple_of(100) { "dag".to_owned() } else { format!("run.{}", n / 10) }
    }

    fn sealed() -> Sealed {
        let mut index = Index::default();
        for n in 0..1_000 {
            index.note(100 + n, 24 + n * 1_000, &subject(n));
        }
        Sealed { first: 100, last: 1_099, end: 1_000_024, index }
    }

    #[test]
    fn the_nearest_place_before_an_entry_is_found() {
        let index = sealed().index;
        assert!(index.places.len() < 32, "{} places for 1 MB", index.places.len());
        assert_eq!(index.before(99), None);
        assert_eq!(index.before(100), Some((100, 24)));
        for seq in 100..1_100 {
            let (noted, offset) = index.before(seq).unwrap();
            assert!(noted <= seq && (seq - noted) * 1_000 < STRIDE + 1_000);
            assert_eq!(offset, 24 + (noted - 100) * 1_000);
        }
    }

    #[test]
    fn the_parts_with_a_subject_hold_all_of_its_entries_and_little_else() {
        let index = sealed().index;
        let held =
            |part: &Part, seq: u64| seq >= part.seq && part.next.is_none_or(|(next, _)| seq < next);
        for wanted in ["dag".to_owned(), subject(5), subject(555), subject(999)] {
            let parts = index.of_subject(&wanted);
            let of_it: Vec<u64> = (0..1_000).filter(|n| subject(*n) == wanted).collect();
            assert!(of_it.iter().all(|n| parts.iter().any(|part| held(part, 100 + n))), "{wanted}");
            let covered = (100..1_100).filter(|seq| parts.iter().any(|part| held(part, *seq)));
            assert!(covered.count() <= of_it.len() * 34 + 34, "{wanted}: {parts:?}");
        }
        assert_eq!(index.of_subject("somebody"), []);
    }

    #[test]
    fn a_sidecar_is_read_back_or_not_believed() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("x.idx");
        let disk = FileDisk { durability: Durability::None };
        assert_eq!(Sealed::load(&path), None);
        sealed().store(&disk, &path).unwrap();
        assert_eq!(Sealed::load(&path), Some(sealed()));
        let bytes = fs::read(&path).unwrap();
        for at in (0..HEAD).chain((HEAD..bytes.len()).step_by(7)) {
            let mut changed = bytes.clone();
            changed[at] ^= 4;
            fs::write(&path, changed).unwrap();
            assert_eq!(Sealed::load(&path), None, "byte {at}");
            fs::write(&path, &bytes[..at]).unwrap();
            assert_eq!(Sealed::load(&path), None, "{at} bytes");
        }
    }
}
