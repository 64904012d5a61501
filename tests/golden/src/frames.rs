//! Many records in one file: each its length in four bytes, the highest first, and then itself.

/// A file that is not whole frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFrames {
    /// How many bytes before the frame that is cut.
    pub at: usize,
}

impl std::fmt::Display for BadFrames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the frame at byte {} is cut", self.at)
    }
}

impl std::error::Error for BadFrames {}

/// The file of these payloads.
pub fn write_frames(payloads: &[Vec<u8>]) -> Vec<u8> {
    let mut file = Vec::new();
    for payload in payloads {
        let length = u32::try_from(payload.len()).expect("a record is far below 4 GiB");
        file.extend_from_slice(&length.to_be_bytes());
        file.extend_from_slice(payload);
    }
    file
}

/// The payloads of a file.
pub fn read_frames(file: &[u8]) -> Result<Vec<&[u8]>, BadFrames> {
    let mut payloads = Vec::new();
    let mut rest = file;
    while !rest.is_empty() {
        let cut = BadFrames { at: file.len() - rest.len() };
        let (length, behind) = rest.split_first_chunk().ok_or(cut)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| cut)?;
        let (payload, behind) = behind.split_at_checked(length).ok_or(cut)?;
        payloads.push(payload);
        rest = behind;
    }
    Ok(payloads)
}
