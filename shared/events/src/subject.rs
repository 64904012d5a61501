//! Where a record stands on the log: dotted subjects with escaped tokens.
use crate::{DagId, RunId, RunKey, Scope};

/// A subject that no scope has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no subject of the log")]
pub struct BadSubject(pub String);

/// Escapes what NATS forbids in a token (dots, wildcards, blanks, control and non-ASCII characters)
/// and `%` itself, as `%` and two hexadecimal digits for each byte. Reversible.
pub fn escape_token(raw: &str) -> String {
    use std::fmt::Write as _;
    let mut token = String::with_capacity(raw.len());
    for byte in raw.bytes() {
        match byte {
            b'.' | b'*' | b'>' | b'%' | 0..=b' ' | 0x7f.. => {
                write!(token, "%{byte:02X}").expect("writing to a string does not fail");
            }
            _ => token.push(char::from(byte)),
        }
    }
    token
}

/// The text that [`escape_token`] escaped; `None` where it is not of that form.
pub fn unescape_token(token: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let (high, low) = (char::from(rest.next()?), char::from(rest.next()?));
            let value = high.to_digit(16)? * 16 + low.to_digit(16)?;
            bytes.push(u8::try_from(value).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// The subject of a scope's records, without the namespace.
pub fn subject_of(scope: &Scope) -> String {
    match scope {
        Scope::Namespace => "log.namespace".to_owned(),
        Scope::File(path) => format!("log.file.{}", escape_token(path)),
        Scope::Dag(dag_id) => format!("log.dag.{}", escape_token(dag_id.as_str())),
        Scope::Run(RunKey { dag_id, run_id }) => run_subject(dag_id, run_id),
        Scope::Executor(id) => format!("log.executor.{}", escape_token(id.as_str())),
    }
}

fn run_subject(dag_id: &DagId, run_id: &RunId) -> String {
    format!("log.run.{}.{}", escape_token(dag_id.as_str()), escape_token(run_id.as_str()))
}
