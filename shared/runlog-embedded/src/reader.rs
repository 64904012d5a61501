//! Frames of a segment in order, through a buffer of bounded size.
use std::{fs::File, io, os::unix::fs::FileExt as _};

use crate::frame::{self, Frame, HEAD};

/// Bytes asked of the file at once; a frame that is larger gets what it needs.
const CHUNK: usize = 256 << 10;

/// Reads frames between two offsets of a file.
#[derive(Debug)]
pub(crate) struct FrameReader<'a> {
    file: &'a File,
    /// Of the first byte that is not consumed.
    offset: u64,
    end: u64,
    buffer: Vec<u8>,
    consumed: usize,
}

/// What a reader comes to next.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// A whole frame.
    Frame(Frame<'a>),
    /// The bytes are no whole frame, and why. The reader stays before them.
    Fault(&'static str),
    /// All is read.
    End,
}

impl<'a> FrameReader<'a> {
    /// Reads from `offset`, where a frame begins, up to `end`.
    pub(crate) const fn new(file: &'a File, offset: u64, end: u64) -> Self {
        Self { file, offset, end, buffer: Vec::new(), consumed: 0 }
    }

    /// Where the next frame begins.
    pub(crate) const fn offset(&self) -> u64 {
        self.offset
    }

    /// The next frame, whatever its place.
    pub(crate) fn next(&mut self) -> io::Result<Step<'_>> {
        if self.offset >= self.end {
            return Ok(Step::End);
        }
        if !self.have(HEAD)? {
            return Ok(Step::Fault("a record is cut short"));
        }
        let head = self.buffer[self.consumed..].first_chunk().expect("as many bytes are there");
        let Some(size) = frame::announced(head) else {
            return Ok(Step::Fault("a record has an impossible length"));
        };
        if !self.have(size)? {
            return Ok(Step::Fault("a record is cut short"));
        }
        let bytes = &self.buffer[self.consumed..self.consumed + size];
        let Some(frame) = frame::decode(bytes) else {
            return Ok(Step::Fault("a record does not match its checksum"));
        };
        self.consumed += size;
        self.offset += size as u64;
        Ok(Step::Frame(frame))
    }

    /// Whether `size` bytes are buffered, after reading where they were not.
    fn have(&mut self, size: usize) -> io::Result<bool> {
        let buffered = self.buffer.len() - self.consumed;
        if buffered >= size {
            return Ok(true);
        }
        let left = self.end - self.offset;
        if left < size as u64 {
            return Ok(false);
        }
        self.buffer.drain(..self.consumed);
        self.consumed = 0;
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK.max(size));
        self.buffer.resize(wanted, 0);
        let filled =
            self.file.read_exact_at(&mut self.buffer[buffered..], self.offset + buffered as u64);
        match filled {
            // The file is shorter than it was said to be: whoever knows better decides.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                self.buffer.truncate(buffered);
                Ok(false)
            }
            other => other.map(|()| true),
        }
    }
}
