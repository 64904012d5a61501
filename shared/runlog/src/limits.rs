//! Every limit of the primitives, in one place, and the checks that hold callers to them. All
//! implementations use these, so that what one takes no other refuses.
use crate::{Chain, PortError, PortResult, Seq};

/// Bytes of one record, item, value or signal. A NATS message is at most 1 MiB, headers included. The protocol's
/// `RECORD_BYTES` is this one: `dagbok-inbox`, which knows both, does not compile where they differ.
pub const MAX_PAYLOAD: usize = 1_000_000;

/// Bytes of one subject, the namespace not counted. NATS reads at most 4 KiB of control line, which
/// also names the namespace and where to answer.
pub const MAX_SUBJECT: usize = 3_500;

/// Signals that a listener may be behind before it loses the oldest.
pub const SIGNAL_BACKLOG: usize = 1_024;

/// Changes that a watcher may be behind before its watch ends with an error.
pub const WATCH_BACKLOG: usize = 4_096;

/// Refuses a payload of more than [`MAX_PAYLOAD`] bytes; `what` and `about` name it in the error.
pub fn check_payload(what: &'static str, about: &str, bytes: usize) -> PortResult<()> {
    if bytes <= MAX_PAYLOAD {
        return Ok(());
    }
    let why = format!(
        "`{about}`: {bytes} bytes are more than the {MAX_PAYLOAD} that fit; keep them as a blob"
    );
    Err(PortError::Refused { what, why })
}

/// Refuses a subject that is not dotted tokens without blanks, control characters or wildcards.
pub fn check_subject(what: &'static str, subject: &str) -> PortResult<()> {
    match subject_fault(subject, false) {
        None => Ok(()),
        Some(fault) => Err(PortError::Refused { what, why: format!("`{subject}`: {fault}") }),
    }
}

/// Refuses a pattern that is not dotted tokens, `*` for one token, or `>` at the end for the rest.
pub fn check_pattern(what: &'static str, pattern: &str) -> PortResult<()> {
    match subject_fault(pattern, true) {
        None => Ok(()),
        Some(fault) => Err(PortError::Refused { what, why: format!("`{pattern}`: {fault}") }),
    }
}

/// Refuses the name of a snapshot that is not 1 to 255 letters, digits, `_` or `-`.
pub fn check_snapshot_name(name: &str) -> PortResult<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if (1..=255).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    let why = format!("the name `{name}`: it has 1 to 255 letters, digits, `_` or `-`");
    Err(PortError::Refused { what: "snapshots", why })
}

/// Refuses a trim that would leave no entry, or of whose entries the trimmer has other copies: `given` is
/// the chain's value that it names, `found` the one that the log comes to.
pub fn check_trim(below: Seq, last: Seq, given: Chain, found: Chain) -> PortResult<()> {
    let why = if below > last {
        format!("to be trimmed below {below}: it ends at {last}, and keeps its last entry")
    } else if given != found {
        format!(
            "to be trimmed below {below}: the chain there is {found}, and the copies that were made \
             come to {given}; nothing was removed: make them again"
        )
    } else {
        return Ok(());
    };
    Err(PortError::Refused { what: "log", why })
}

/// What is wrong with a subject, where something is.
fn subject_fault(subject: &str, wildcards: bool) -> Option<String> {
    if subject.len() > MAX_SUBJECT {
        return Some(format!("{} bytes of subject, of {MAX_SUBJECT} allowed", subject.len()));
    }
    let last = subject.split('.').count() - 1;
    for (place, token) in subject.split('.').enumerate() {
        if token.is_empty() {
            return Some("a subject has no empty token".to_owned());
        }
        if token.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Some("a subject has no blanks or control characters; escape them".to_owned());
        }
        let is_wildcard = token == "*" || (token == ">" && place == last);
        if token.contains(['*', '>']) && !(wildcards && is_wildcard) {
            return Some("a wildcard is not allowed there".to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subjects_are_dotted_tokens() {
        for good in ["log", "log.run.my_dag", "log.run.caf%C3%A9", "a.b-c.d_e.$x", "log.ø"] {
            check_subject("log", good).unwrap();
        }
        for bad in
            ["", ".", "a.", ".a", "a..b", "a b", "a\tb", "a\n", "a.*", "a.>", "a*b", "\u{7f}"]
        {
            let said = check_subject("log", bad).unwrap_err().to_string();
            assert!(said.starts_with("the log refuses `"), "{bad:?}: {said}");
        }
        check_subject("log", &"x".repeat(MAX_SUBJECT)).unwrap();
        check_subject("log", &"x".repeat(MAX_SUBJECT + 1)).unwrap_err();
    }

    #[test]
    fn patterns_may_have_wildcards_in_their_places() {
        for good in [">", "*", "a.*", "a.>", "*.b.*", "a.*.>"] {
            check_pattern("signals", good).unwrap();
        }
        for bad in ["a.>.b", "a*", "a.b>", "", "a..*"] {
            check_pattern("signals", bad).unwrap_err();
        }
    }
}
