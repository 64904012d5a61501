//! Where in a segment its entries lie: one place every [`STRIDE`] bytes, in memory, and for a sealed
//! segment in a checked file beside it, so that the segment itself is not read at open.
use std::{fs, io, path::Path};

use crate::disk::Disk;

/// Bytes of segment between two places: what a read from any entry may have to skip.
const STRIDE: u64 = 32 << 10;

const MAGIC: &[u8; 8] = b"dagbokix";
const VERSION: u32 = 1;
/// Magic, version, first, last, end, count; then the places; then a checksum.
const HEAD: usize = 8 + 4 + 8 + 8 + 8 + 8;

/// Places of some entries, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    places: Vec<(u64, u64)>,
}

impl Index {
    /// Notes that the entry `seq` begins at `offset`, where that is far enough from the last noted.
    pub(crate) fn note(&mut self, seq: u64, offset: u64) {
        if self.places.last().is_none_or(|(_, before)| offset - before >= STRIDE) {
            self.places.push((seq, offset));
        }
    }

    /// Where to begin reading for `seq`: the nearest noted place at or before it.
    pub(crate) fn before(&self, seq: u64) -> Option<(u64, u64)> {
        let after = self.places.partition_point(|(noted, _)| *noted <= seq);
        self.places[..after].last().copied()
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
        let mut bytes = Vec::with_capacity(HEAD + places.len() * 16 + 4);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        for number in [self.first, self.last, self.end, places.len() as u64] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for (seq, offset) in places {
            bytes.extend_from_slice(&seq.to_le_bytes());
            bytes.extend_from_slice(&offset.to_le_bytes());
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
        let (numbers, odd) = bytes.as_chunks::<8>();
        let numbers: Vec<_> = numbers.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
        let (&[first, last, end, count], places) = numbers.split_first_chunk::<4>()?;
        let (places, alone) = places.as_chunks::<2>();
        if !odd.is_empty() || !alone.is_empty() || places.len() as u64 != count {
            return None;
        }
        let places = places.iter().map(|[seq, offset]| (*seq, *offset)).collect();
        Some(Self { first, last, end, index: Index { places } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Durability, disk::FileDisk};

    fn sealed() -> Sealed {
        let mut index = Index::default();
        for n in 0..1_000 {
            index.note(100 + n, 24 + n * 1_000);
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
