//! How Dagbok's names become NATS's: subjects, streams, and keys of any text as tokens.
//!
//! A token escapes every byte outside `A-Za-z0-9_-` as `=XX`. Not as `%XX`: NATS's own tools accept
//! `=` in the keys of a bucket and refuse `%`.

/// The names that belong to one namespace.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    namespace: String,
}

impl Names {
    pub(crate) fn new(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned() }
    }

    /// `dagbok.<ns>.`: what comes before every subject.
    pub(crate) fn root(&self) -> String {
        format!("dagbok.{}.", self.namespace)
    }

    /// `dagbok_<ns>_<part>`.
    pub(crate) fn stream(&self, part: &str) -> String {
        format!("dagbok_{}_{part}", self.namespace)
    }

    /// The stream below the bucket of keyed state.
    pub(crate) fn state_stream(&self) -> String {
        format!("KV_{}", self.stream("state"))
    }

    /// `$KV.<bucket>.`: what comes before every key of keyed state.
    pub(crate) fn state_root(&self) -> String {
        format!("$KV.{}.", self.stream("state"))
    }
}

/// Whether `namespace` can stand in the names of streams and buckets.
pub(crate) fn is_namespace(namespace: &str) -> bool {
    (1..=64).contains(&namespace.len())
        && namespace
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// Any text as one token; the empty text is `=`.
pub(crate) fn escape(text: &str) -> String {
    if text.is_empty() {
        return "=".to_owned();
    }
    let mut token = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' {
            token.push(char::from(byte));
        } else {
            use std::fmt::Write as _;
            write!(token, "={byte:02X}").expect("writing to a string does not fail");
        }
    }
    token
}

/// The text of a token that [`escape`] made; `None` for one that it can't have made.
pub(crate) fn unescape(token: &str) -> Option<String> {
    if token == "=" {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'=' {
            let (high, low) = (hex(rest.next()?)?, hex(rest.next()?)?);
            bytes.push(high << 4 | low);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// A key of keyed state as subject: `/` parts tokens, so that a prefix can be asked for.
pub(crate) fn key_subject(key: &str) -> String {
    key.split('/').map(escape).collect::<Vec<_>>().join(".")
}

/// The key of a subject that [`key_subject`] made.
pub(crate) fn subject_key(subject: &str) -> Option<String> {
    let parts: Option<Vec<String>> = subject.split('.').map(unescape).collect();
    Some(parts?.join("/"))
}

/// The subjects that hold every key that begins with `prefix`, and perhaps others: the whole tokens
/// before its last `/`, and the rest.
pub(crate) fn prefix_filter(prefix: &str) -> String {
    match prefix.rsplit_once('/') {
        Some((whole, _)) => format!("{}.>", key_subject(whole)),
        None => ">".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_comes_back() {
        for text in
            ["", "a", "a.b", "=", "=41", "a b", "*", ">", "ø/é", "\n\0", "%2E", "-_", "日本"]
        {
            let token = escape(text);
            assert!(!token.is_empty() && !token.contains(['.', '*', '>', ' ', '%']), "{token}");
            assert_eq!(unescape(&token).as_deref(), Some(text));
            assert_eq!(subject_key(&key_subject(text)).as_deref(), Some(text));
        }
        for key in ["/", "a/", "/a", "a//b", "lease/x y/.", "a/b/c"] {
            assert_eq!(subject_key(&key_subject(key)).as_deref(), Some(key));
        }
    }

    #[test]
    fn different_texts_are_different_tokens() {
        assert_ne!(escape("a.b"), escape("a=2Eb"));
        assert_ne!(escape(""), escape("="));
    }

    #[test]
    fn what_escape_can_not_have_made_is_no_text() {
        for token in ["=4", "=zz", "a=", "=FF"] {
            assert_eq!(unescape(token), None, "{token}");
        }
    }

    #[test]
    fn a_prefix_asks_for_whole_tokens() {
        assert_eq!(prefix_filter(""), ">");
        assert_eq!(prefix_filter("lea"), ">");
        assert_eq!(prefix_filter("lease/"), "lease.>");
        assert_eq!(prefix_filter("lease/a b/x"), "lease.a=20b.>");
    }

    #[test]
    fn namespaces_are_plain_words() {
        assert!(is_namespace("default") && is_namespace("team-a_2"));
        for bad in ["", "a.b", "a b", "ø", "a*", &"x".repeat(65)] {
            assert!(!is_namespace(bad), "{bad}");
        }
    }
}
