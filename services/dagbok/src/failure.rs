//! What a person is told when a command can't do what it was asked: what, where, what next, and a code.
use std::fmt;

use serde_json::{Value, json};

use crate::{codes::Code, exit::Exit};

/// A command that could not be done.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    message: String,
    next: Option<String>,
}

/// How a command ends.
pub(crate) type Outcome = Result<Exit, Failure>;

impl Failure {
    /// What went wrong.
    pub(crate) fn new(code: Code, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string(), next: None }
    }

    /// What went wrong, with every cause that the error names and has not said itself.
    pub(crate) fn from_error(code: Code, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            cause = error.source();
        }
        Self::new(code, message)
    }

    /// With what to do next.
    #[must_use]
    pub(crate) fn next(mut self, next: impl fmt::Display) -> Self {
        self.next = Some(next.to_string());
        self
    }

    /// How the process ends with it.
    pub(crate) fn exit(&self) -> Exit {
        self.code.exit()
    }

    /// For programs: `{"error": {"code", "exit", "message", "next"}}`.
    pub(crate) fn to_json(&self) -> Value {
        json!({ "error": {
            "code": self.code.to_string(),
            "exit": self.exit() as u8,
            "message": self.message,
            "next": self.next,
        }})
    }

    /// What to do next, where there is more to say than the message.
    pub(crate) fn what_next(&self) -> Option<&str> {
        self.next.as_deref()
    }

    /// The code, for tests and for telling failures apart.
    pub(crate) fn code(&self) -> Code {
        self.code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)
    }
}

impl std::error::Error for Failure {}

impl Failure {
    /// As lines for a terminal.
    pub(crate) fn lines(&self) -> Vec<String> {
        let (first, rest) = self.message.split_once('\n').unwrap_or((&self.message, ""));
        let mut lines = vec![format!("error: {first} [{}]", self.code)];
        lines.extend(rest.lines().map(str::to_owned));
        lines.extend(self.next.iter().map(|next| format!("  next: {next}")));
        lines
    }
}
