//! What a person is told when a command can't do what it was asked: what, where, what next, and a code.
use std::fmt;

use dagbok_projection::FollowError;
use dagbok_runlog::{AppendError, PortError};
use serde_json::{Value, json};

use crate::{codes::Code, exit::Exit, folders};

/// A command that could not be done.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    message: String,
    next: Option<String>,
}

/// What a primitive said, where that is why a service ended: errors that pass it on as it is do not name it a cause.
fn port_of<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a PortError> {
    use dagbok_alerting::AlertingError;
    use dagbok_api::ServeError;
    use dagbok_scheduler::SchedulerError;
    let of_follow = |error: &'a FollowError| match error {
        FollowError::Port(port) => Some(port),
        _ => None,
    };
    let of_append = |error: &'a AppendError| match error {
        AppendError::Port(port) => Some(port),
        AppendError::Conflict { .. } => None,
    };
    if let Some(error) = error.downcast_ref::<SchedulerError>() {
        return match error {
            SchedulerError::Port(port) => Some(port),
            SchedulerError::Append(append) => of_append(append),
            _ => None,
        };
    }
    if let Some(error) = error.downcast_ref::<AlertingError>() {
        return match error {
            AlertingError::Port(port) => Some(port),
            AlertingError::Append(append) => of_append(append),
            AlertingError::Follow(follow) => of_follow(follow),
            AlertingError::Http(_) => None,
        };
    }
    if let Some(error) = error.downcast_ref::<ServeError>() {
        return match error {
            ServeError::Port(port) => Some(port),
            ServeError::Log(follow) => of_follow(follow),
            _ => None,
        };
    }
    let port = error.downcast_ref::<PortError>();
    port.or_else(|| error.downcast_ref::<FollowError>().and_then(of_follow))
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

    /// What a service ended with, or does not start with: the log's own where that is damaged, the configuration's where
    /// only the service could see that its folders don't go together.
    pub(crate) fn of_service(error: &(dyn std::error::Error + 'static)) -> Self {
        if let Some(code) = error.downcast_ref().and_then(folders::code_of) {
            return Self::from_error(code, error);
        }
        if matches!(port_of(error), Some(PortError::Damaged { what: "log", .. })) {
            return Self::from_error(Code::LogDamaged, error)
                .next("nothing was changed; `dagbok explain DBK0033` says how a log is put back");
        }
        Self::from_error(Code::ServiceFailed, error)
    }

    /// With what to do next.
    #[must_use]
    pub(crate) fn next(mut self, next: impl fmt::Display) -> Self {
        self.next = Some(next.to_string());
        self
    }

    /// With what to do next where nothing said it yet.
    #[must_use]
    pub(crate) fn or_next(mut self, next: impl fmt::Display) -> Self {
        self.next.get_or_insert_with(|| next.to_string());
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
