//! Results that are held back while a command is asked again and again, and what is known of the terminal.
use std::sync::{Mutex, PoisonError};

/// Results of one round.
#[derive(Debug, Default)]
pub(crate) struct Held(Mutex<Vec<String>>);

impl Held {
    /// Adds text of one or more lines.
    pub(crate) fn put(&self, text: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.extend(text.lines().map(str::to_owned));
        if text.is_empty() {
            lines.push(String::new());
        }
    }

    /// The lines so far, which are gone from here.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How many columns the terminal has; `None` where stdout is none.
pub(super) fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// How many rows the terminal has; `None` where stdout is none.
pub(crate) fn rows() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(usize::from(size.ws_row)).filter(|rows| *rows > 0)
}
