//! Secrets that a log must not hold: every text that the tries' Python said to mask. It masks by itself
//! what goes through it; here goes everything, what subprocesses write and what was written in two pieces
//! too, as long as it falls in one line.
use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use aho_corasick::{AhoCorasick, MatchKind};
use parking_lot::RwLock;
use serde_json::Value;

/// What stands in a secret's place.
const MASK: &[u8] = b"***";
/// A shorter text would mask what is no secret, in bytes.
const SHORTEST: usize = 4;
/// As many texts are masked at most: a task that makes up secrets without end must not take all memory.
const MOST: usize = 100_000;
/// Where a line was cut, this much of a secret's beginning at its end is taken for the secret, in bytes.
const TELLING_BEGIN: usize = 4;

/// What is to be masked. Clones share it; a child has its parent's and its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Masks {
    parent: Option<Arc<Masks>>,
    own: Arc<RwLock<Own>>,
}

#[derive(Debug, Default)]
struct Own {
    forms: BTreeSet<String>,
    matcher: Option<AhoCorasick>,
}

impl Masks {
    /// With all that these mask, also what they learn later, and what it is told itself.
    pub(crate) fn child(&self) -> Self {
        Self { parent: Some(Arc::new(self.clone())), own: Arc::default() }
    }

    /// Masks these texts from now on.
    pub(crate) fn add(&self, forms: impl IntoIterator<Item = String>) {
        let mut own = self.own.write();
        let known = own.forms.len();
        for form in forms {
            if form.len() >= SHORTEST && own.forms.len() < MOST {
                own.forms.insert(form);
            }
        }
        if own.forms.len() > known {
            let longest = MatchKind::LeftmostLongest;
            match AhoCorasick::builder().match_kind(longest).build(&own.forms) {
                Ok(matcher) => own.matcher = Some(matcher),
                Err(error) => tracing::error!(%error, "secrets can't be masked by the executor"),
            }
        }
    }

    /// The bytes without secrets.
    pub(crate) fn bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let bytes = match &self.parent {
            Some(parent) => parent.bytes(bytes),
            None => Cow::Borrowed(bytes),
        };
        let own = self.own.read();
        match &own.matcher {
            Some(matcher) if matcher.is_match(bytes.as_ref()) => {
                Cow::Owned(matcher.replace_all_bytes(&bytes, &vec![MASK; own.forms.len()]))
            }
            _ => bytes,
        }
    }

    /// A line that was cut at its end, without secrets, and without one's beginning at its end.
    pub(crate) fn cut_line<'a>(&self, line: &'a [u8]) -> Cow<'a, [u8]> {
        let mut masked = self.bytes(line);
        let begun = self.begun_at_the_end(&masked);
        if begun > 0 {
            let line = masked.to_mut();
            line.truncate(line.len() - begun);
            line.extend_from_slice(MASK);
        }
        masked
    }

    fn begun_at_the_end(&self, line: &[u8]) -> usize {
        let own = self.own.read();
        let longest = own.forms.iter().filter_map(|form| {
            let form = form.as_bytes();
            (TELLING_BEGIN..form.len()).rev().find(|&n| line.ends_with(&form[..n]))
        });
        let parents = self.parent.as_ref().map_or(0, |parent| parent.begun_at_the_end(line));
        longest.max().unwrap_or(0).max(parents)
    }

    /// Text without secrets.
    pub(crate) fn text(&self, text: String) -> String {
        match self.bytes(text.as_bytes()) {
            Cow::Borrowed(_) => text,
            Cow::Owned(masked) => String::from_utf8_lossy(&masked).into_owned(),
        }
    }

    /// The value with every text in it masked, names within it too, and numbers that are a secret.
    pub(crate) fn json(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text.clone())),
            Value::Number(number) => {
                let shown = number.to_string();
                let masked = self.text(shown.clone());
                if masked == shown { value.clone() } else { Value::String(masked) }
            }
            Value::Array(all) => all.iter().map(|one| self.json(one)).collect(),
            Value::Object(all) => {
                all.iter().map(|(name, one)| (self.text(name.clone()), self.json(one))).collect()
            }
            Value::Null | Value::Bool(_) => value.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_try_masks_what_all_mask_and_its_own_and_no_other_does() {
        let all = Masks::default();
        let one = all.child();
        one.add(["own-secret".to_owned(), "own-secret-that-is-longer".to_owned()]);
        all.add(["shared-secret".to_owned(), "abc".to_owned()]);
        let line = b"a shared-secret, own-secret-that-is-longer and own-secret; abc";
        assert_eq!(&*one.bytes(line), b"a ***, *** and ***; abc");
        assert_eq!(&*all.bytes(b"own-secret"), b"own-secret");
        assert_eq!(one.text("x".to_owned()), "x");
    }

    #[test]
    fn what_is_masked_in_a_value_leaves_it_a_value() {
        let masks = Masks::default();
        masks.add(["pa\"ss\\".to_owned(), "n\", \"b".to_owned(), "98765".to_owned()]);
        let value = serde_json::json!({
            "cmd": ["log in pa\"ss\\", {"pa\"ss\\": "n"}], "b": [98765, 1.5, true, null], "n": "b",
        });
        let said = serde_json::json!({
            "cmd": ["log in ***", {"***": "n"}], "b": ["***", 1.5, true, null], "n": "b",
        });
        assert_eq!(masks.json(&value), said);
    }

    #[test]
    fn a_cut_does_not_leave_half_a_secret() {
        let masks = Masks::default();
        masks.add(["own-secret".to_owned()]);
        let child = masks.child();
        assert_eq!(&*child.cut_line(b"this is own-secr"), b"this is ***");
        assert_eq!(&*child.cut_line(b"this is own-secret"), b"this is ***");
        assert_eq!(&*child.cut_line(b"this is ow"), b"this is ow");
    }
}
