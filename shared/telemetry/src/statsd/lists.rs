//! Which names go: lists of regular expressions, held against all names that there are.
use dagbok_metrics::airflow::{all_sent, sent_plainly};
use regex::Regex;

use crate::TelemetryError;

/// Names that go, or names that don't.
#[derive(Debug)]
pub(super) struct Lists {
    allow: Vec<Regex>,
    block: Vec<Regex>,
}

impl Lists {
    /// Reads both lists; a pattern that can mean no name is an error.
    pub(super) fn new(
        allow: &[String],
        block: &[String],
        legacy: bool,
    ) -> Result<Self, TelemetryError> {
        let read = |key: &'static str, texts: &[String]| {
            texts.iter().map(|text| pattern(key, text, legacy)).collect::<Result<Vec<_>, _>>()
        };
        let allow = read("telemetry.statsd_allow", allow)?;
        Ok(Self { allow, block: read("telemetry.statsd_block", block)? })
    }

    /// Whether a name goes.
    pub(super) fn goes(&self, name: &str) -> bool {
        let name = name.to_lowercase();
        let any = |of: &[Regex]| of.iter().any(|pattern| pattern.is_match(&name));
        if self.allow.is_empty() { !any(&self.block) } else { any(&self.allow) }
    }
}

/// Reads one. A plain word is held against the names, for it is mostly one that is misspelt; what else may stand in a
/// dotted name nobody knows before there are DAGs.
fn pattern(key: &'static str, text: &str, legacy: bool) -> Result<Regex, TelemetryError> {
    let wanted = text.trim().to_lowercase();
    let pattern = Regex::new(&wanted).map_err(|error| super::bad(key, text, error.to_string()))?;
    let is_known = if legacy {
        all_sent().any(|name| may_match(&wanted, &pattern, name))
    } else {
        sent_plainly().any(|name| pattern.is_match(name))
    };
    if is_known {
        return Ok(pattern);
    }
    let is_word = wanted.chars().all(|c| c.is_ascii_alphanumeric() || "_.-^$\\".contains(c));
    if is_word || !legacy {
        let why = "no name that is sent is like it; schemas/statsd.md has all of them. Where an id of a DAG or a task in a \
                   dotted name is meant, write `.*` before it";
        return Err(super::bad(key, text, why));
    }
    tracing::warn!(
        pattern = text,
        key,
        "no name that is sent is like it, but for what ids may say"
    );
    Ok(pattern)
}

/// Whether a pattern can mean a name, whatever ids stand in it.
fn may_match(wanted: &str, pattern: &Regex, name: &str) -> bool {
    let name = name.to_lowercase();
    let fixed = name.split('{').next().unwrap_or(&name);
    let plain = wanted.trim_start_matches('^').replace('\\', "");
    pattern.is_match(&name.replace(['{', '}'], ""))
        || (fixed.len() < name.len() && fixed.len() > 3 && plain.starts_with(fixed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(text: &str, legacy: bool) -> bool {
        Lists::new(&[text.to_owned()], &[], legacy).is_ok()
    }

    #[test]
    fn only_what_can_mean_no_name_is_refused() {
        for text in
            ["ti\\.finish\\..*failed", "finish.*my_dag", ".*my_dag", "^dag\\.my_dag", "pool"]
        {
            assert!(reads(text, true), "{text}");
        }
        for text in ["schedular", "^scheduler\\.task\\.", "ti.("] {
            assert!(!reads(text, true), "{text}");
        }
        // Without dotted names all names are known.
        assert!(reads("^ti\\.", false));
        assert!(!reads(".*my_dag", false));
    }
}
