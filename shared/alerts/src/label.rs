//! Labels, and what matches them, in Alertmanager's words.
use std::{collections::BTreeMap, fmt, str::FromStr};

use regex::Regex;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::limits;

/// Names and what they say: `dag`, `owner`, `severity` and so on.
pub type Labels = BTreeMap<String, String>;

/// A text that is no matcher.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is no matcher: {why}; write it as `owner=\"ml\"`, with `=`, `!=`, `=~` or `!~`")]
pub struct BadMatcher {
    /// What was given.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

/// One condition on one label. A label that is not there is empty. Expressions match the whole value, as
/// Alertmanager's do.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Matcher {
    name: String,
    test: Test,
    text: String,
}

#[derive(Clone, Debug)]
enum Test {
    Is(String),
    IsNot(String),
    Like(Regex),
    NotLike(Regex),
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Matcher {
    /// Whether it holds for `labels`.
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.name).map_or("", String::as_str);
        match &self.test {
            Test::Is(wanted) => value == wanted,
            Test::IsNot(other) => value != other,
            Test::Like(pattern) => pattern.is_match(value),
            Test::NotLike(pattern) => !pattern.is_match(value),
        }
    }
}

impl From<Matcher> for String {
    fn from(matcher: Matcher) -> Self {
        matcher.text
    }
}

impl TryFrom<String> for Matcher {
    type Error = BadMatcher;

    fn try_from(text: String) -> Result<Self, BadMatcher> {
        text.parse()
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Matcher {
    type Err = BadMatcher;

    fn from_str(text: &str) -> Result<Self, BadMatcher> {
        let bad = |why: &str| BadMatcher { text: text.to_owned(), why: why.to_owned() };
        if text.len() > limits::MATCHER_BYTES {
            let why = format!("it is longer than {} bytes", limits::MATCHER_BYTES);
            return Err(BadMatcher { text: text.chars().take(40).collect(), why });
        }
        let at = text.find(['=', '!']).ok_or_else(|| bad("it has no `=`, `!=`, `=~` or `!~`"))?;
        let name = text[..at].trim();
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(plain) {
            return Err(bad("a label's name has letters, digits and `_`"));
        }
        let rest = &text[at..];
        let operator = ["=~", "!~", "!=", "="].into_iter().find(|one| rest.starts_with(one));
        let operator = operator.ok_or_else(|| bad("it has no `=`, `!=`, `=~` or `!~`"))?;
        let raw = rest[operator.len()..].trim();
        let value = match raw.strip_prefix('"') {
            Some(inner) => inner
                .strip_suffix('"')
                .ok_or_else(|| bad("the value's quotation mark is not closed"))?
                .replace("\\\"", "\""),
            None => raw.to_owned(),
        };
        let pattern = || {
            let whole = regex::RegexBuilder::new(&format!("^(?:{value})$"));
            whole
                .clone()
                .size_limit(limits::EXPRESSION_BYTES)
                .build()
                .map_err(|error| bad(&error.to_string()))
        };
        let holds = match operator {
            "=~" => Test::Like(pattern()?),
            "!~" => Test::NotLike(pattern()?),
            "!=" => Test::IsNot(value),
            _ => Test::Is(value),
        };
        Ok(Self { name: name.to_owned(), test: holds, text: text.to_owned() })
    }
}

/// Whether every one of `matchers` holds.
pub fn matches_all(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers.iter().all(|matcher| matcher.matches(labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matchers_are_alertmanagers() {
        let labels: Labels = [("owner", "ml-core"), ("severity", "critical")]
            .map(|(a, b)| (a.into(), b.into()))
            .into();
        for (text, holds) in [
            ("owner=\"ml-core\"", true),
            ("owner = ml-core", true),
            ("owner!=ml-core", false),
            ("owner=~\"ml-.*\"", true),
            ("owner=~\"ml\"", false),
            ("owner!~ml-.*", false),
            ("team=\"\"", true),
            ("team!=\"\"", false),
            ("severity=~\"critical|warning\"", true),
        ] {
            let matcher: Matcher = text.parse().unwrap();
            assert_eq!(matcher.matches(&labels), holds, "{text}");
        }
        for bad in ["owner", "=x", "own er=x", "owner=\"x", "owner=~\"(\""] {
            assert!(bad.parse::<Matcher>().is_err(), "{bad}");
        }
    }
}
