//! Cuts a stream of bytes into lines, none longer than the published limit.
use dagbok_protocol::limits::LOG_LINE_BYTES;

/// Holds the line that has begun and not ended.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    begun: Vec<u8>,
    cut: u64,
    open: bool,
}

impl Splitter {
    /// Takes what was read; `each` gets every line that ended, without its end, and the bytes cut from it.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut each: impl FnMut(&[u8], u64)) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            if !self.open && end <= LOG_LINE_BYTES {
                each(without_return(&bytes[..end]), 0);
            } else {
                self.hold(&bytes[..end]);
                self.end(&mut each);
            }
            bytes = &bytes[end + 1..];
        }
        if !bytes.is_empty() {
            self.hold(bytes);
        }
    }

    /// The stream is over: a line without an end is a line too.
    pub(crate) fn finish(&mut self, mut each: impl FnMut(&[u8], u64)) {
        if self.open {
            self.end(&mut each);
        }
    }

    fn hold(&mut self, bytes: &[u8]) {
        self.open = true;
        let kept = bytes.len().min(LOG_LINE_BYTES.saturating_sub(self.begun.len()));
        self.begun.extend_from_slice(&bytes[..kept]);
        self.cut += (bytes.len() - kept) as u64;
    }

    fn end(&mut self, each: &mut impl FnMut(&[u8], u64)) {
        each(without_return(&self.begun), self.cut);
        self.begun.clear();
        (self.cut, self.open) = (0, false);
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<(String, u64)> {
        let (mut splitter, mut lines) = (Splitter::default(), vec![]);
        for chunk in chunks {
            splitter.feed(chunk, |line, cut| {
                lines.push((String::from_utf8_lossy(line).into_owned(), cut));
            });
        }
        splitter.finish(|line, cut| lines.push((String::from_utf8_lossy(line).into_owned(), cut)));
        lines
    }

    #[test]
    fn lines_are_whole_however_they_arrive() {
        let want = vec![
            ("ab".to_owned(), 0),
            (String::new(), 0),
            ("cd".to_owned(), 0),
            ("e".to_owned(), 0),
        ];
        assert_eq!(lines(&[b"ab\n\ncd\r\ne"]), want);
        assert_eq!(lines(&[b"a", b"b\n", b"\nc", b"d\r", b"\ne"]), want);
    }

    #[test]
    fn a_line_past_the_limit_is_cut_and_counted() {
        let long = vec![b'x'; LOG_LINE_BYTES + 10];
        for chunks in [
            vec![long.as_slice(), b"yz\nnext\n"],
            vec![[&long[..], b"yz\nnext\n"].concat().as_slice()],
        ] {
            let got = lines(&chunks);
            assert_eq!((got[0].0.len(), got[0].1), (LOG_LINE_BYTES, 12));
            assert_eq!(got[1], ("next".to_owned(), 0));
        }
    }
}
