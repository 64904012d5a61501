//! Zips for tests.
use std::io::Write as _;

use flate2::{Compression, Crc, write::DeflateEncoder};

/// How files are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packed {
    /// As they are.
    Stored,
    /// As zips have them mostly.
    Deflated,
}

/// A zip of these files, by their names in it.
pub fn zip_of(files: &[(&str, &[u8])], packed: Packed) -> Vec<u8> {
    let (mut zip, mut list): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
    let size = |bytes: usize| u32::try_from(bytes).expect("small").to_le_bytes();
    for (name, text) in files {
        let (method, content) = match packed {
            Packed::Stored => (0_u16, text.to_vec()),
            Packed::Deflated => {
                let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(text).expect("in memory");
                (8, encoder.finish().expect("in memory"))
            }
        };
        let mut crc = Crc::new();
        crc.update(text);
        // The version, flags (names are UTF-8), the method, time and date, sums and lengths.
        let mut facts: Vec<u8> = vec![20, 0, 0, 8];
        facts.extend(method.to_le_bytes());
        facts.extend([0, 0, 0x21, 0]);
        facts.extend(crc.sum().to_le_bytes());
        facts.extend(size(content.len()));
        facts.extend(size(text.len()));
        facts.extend(&size(name.len())[..2]);
        facts.extend([0, 0]);
        list.extend(b"PK\x01\x02\x14\x00");
        list.extend(&facts);
        list.extend([0; 10]);
        list.extend(size(zip.len()));
        list.extend(name.as_bytes());
        zip.extend(b"PK\x03\x04");
        zip.extend(&facts);
        zip.extend(name.as_bytes());
        zip.extend(content);
    }
    let (start, count) = (size(zip.len()), size(files.len()));
    zip.extend(&list);
    for part in
        [&b"PK\x05\x06\0\0\0\0"[..], &count[..2], &count[..2], &size(list.len()), &start, &[0; 2]]
    {
        zip.extend(part);
    }
    zip
}
