//! Lines of JSON as they come.
use reqwest::Response;
use serde::de::DeserializeOwned;

use crate::{codes::Code, failure::Failure};

/// The longest line: a record and some.
const LONGEST: usize = 16 << 20;

/// A stream of lines.
#[derive(Debug)]
pub(crate) struct Lines {
    response: Response,
    /// Whose they are, for people.
    from: String,
    held: Vec<u8>,
    /// Up to where there is known to be no line's end.
    looked: usize,
}

impl Lines {
    pub(crate) fn new(response: Response, from: String) -> Self {
        Self { response, from, held: Vec::new(), looked: 0 }
    }

    /// The next line, read as `T`; `None` at the end.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Failure> {
        loop {
            let end = self.held[self.looked..].iter().position(|byte| *byte == b'\n');
            if let Some(end) = end {
                let rest = self.held.split_off(self.looked + end + 1);
                let line = std::mem::replace(&mut self.held, rest);
                self.looked = 0;
                // An empty line is a sign of life.
                if line.trim_ascii().is_empty() {
                    continue;
                }
                return serde_json::from_slice(&line).map(Some).map_err(|error| {
                    Failure::new(Code::ApiFailed, format!("a line can't be read: {error}"))
                });
            }
            self.looked = self.held.len();
            if self.held.len() > LONGEST {
                return Err(Failure::new(
                    Code::ApiFailed,
                    format!("a line has more than {LONGEST} bytes"),
                ));
            }
            match self.response.chunk().await {
                Ok(Some(chunk)) => self.held.extend_from_slice(&chunk),
                Ok(None) if self.held.trim_ascii().is_empty() => return Ok(None),
                Ok(None) => {
                    return Err(Failure::new(
                        Code::ApiFailed,
                        "the stream broke off within a line",
                    ));
                }
                // What broke beneath says nothing to a person.
                Err(_) => {
                    let what = format!("the API at {} went away while it answered", self.from);
                    let next = "ask again once it is back; `dagbok doctor` tells whether it is";
                    return Err(Failure::new(Code::ApiUnreachable, what).next(next));
                }
            }
        }
    }
}
