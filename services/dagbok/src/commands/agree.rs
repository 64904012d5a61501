//! The question before what can't be undone.
use std::io::{BufRead as _, IsTerminal as _, Write as _, stderr, stdin};

use crate::{codes::Code, failure::Failure};

/// Whether whoever sits at the terminal agrees; nobody there is a mistake of the command line.
pub(crate) fn agreed(what: &str, question: &str) -> Result<bool, Failure> {
    if !stdin().is_terminal() {
        let why = format!("nobody is there to ask {what}");
        return Err(Failure::new(Code::Usage, why).next("add --yes, or look with --dry-run"));
    }
    let mut answer = String::new();
    let asked = write!(stderr(), "{question} [y/N] ").and_then(|()| stderr().flush());
    let read = asked.and_then(|()| stdin().lock().read_line(&mut answer));
    read.map_err(|error| Failure::from_error(Code::Usage, &error))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
