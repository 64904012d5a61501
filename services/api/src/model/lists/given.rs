//! Runs by what they were given: each name and value of a run's `conf` is a place in an index of its own, in the order of
//! `run_after`. It only says which runs may be wanted: whoever asks compares the values themselves.
//!
//! Lists and objects, a `conf` that lies beside the log, and names of great length are in no index: those are looked for.
use std::collections::BTreeSet;

use dagbok_events::Payload;
use dagbok_rows::Key;
use serde_json::{Map, Value};

use super::{
    super::{
        Overlay, Store, keys,
        rows::{RunGivenRow, RunRow},
    },
    ask::{Range, RunAsk},
    field::{self, SOMETHING},
    merge::{Merge, Stream},
    standing::change_keys,
};

/// What of a value stands in a key, and the longest name that does, in bytes.
const SHOWN: usize = 120;

/// A name and what it is to be, as the parts of the index that may have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given(Vec<Key>);

impl Given {
    /// Where runs stand that were given `value` by `name`; `None` where the index has none of those.
    pub fn of(name: &str, value: &Value) -> Option<Self> {
        let mut words = vec![word(value)?];
        if let Value::Number(typed) = value {
            // Whoever types `1.50` may mean the text, which stands as it was typed.
            words.push(typed.to_string());
            words.dedup();
        }
        let part = |word: String| keys::runs_given(name, cut(&word));
        is_short(name).then(|| Self(words.into_iter().map(part).collect()))
    }
}

const fn is_short(name: &str) -> bool {
    name.len() <= SHOWN
}

/// A value as a word: numbers that are equal have the same.
fn word(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        // Zero has two signs, and is one number.
        Value::Number(number) => number.as_f64().map(|number| (number + 0.0).to_string()),
        Value::Bool(_) | Value::Null => Some(value.to_string()),
        Value::Array(_) | Value::Object(_) => None,
    }
}

fn cut(word: &str) -> &str {
    &word[..word.floor_char_boundary(SHOWN)]
}

/// Where a run stands by what it was given.
fn places(run: &RunRow, conf: Option<&Payload>) -> BTreeSet<Key> {
    let Some(Payload::Inline(text)) = conf else { return BTreeSet::new() };
    let conf = serde_json::from_str::<Map<String, Value>>(text).unwrap_or_default();
    let at = field::Value::Number(run.run_after.0);
    let place = |(name, value): (&String, &Value)| {
        let part = keys::runs_given(name, cut(&word(value).filter(|_| is_short(name))?));
        Some(field::place(part, &at, run.created_seq))
    };
    conf.iter().filter_map(place).collect()
}

/// Brings the index from what a run was given before to what it is given now.
pub(in super::super) fn put(
    rows: &mut Overlay<'_>,
    run: &RunRow,
    before: Option<&Payload>,
    after: Option<&Payload>,
) {
    change_keys::<RunGivenRow>(rows, (places(run, before), places(run, after)));
}

impl Store {
    /// The runs that may have been given it, in the order of `run_after`.
    pub(super) fn given(&self, given: &Given, down: bool, range: Option<Range>) -> Merge {
        let stream = |part: &Key| -> Stream { self.stream(part.clone(), SOMETHING, down, range) };
        Merge::new(given.0.iter().map(stream).collect(), down)
    }

    /// What fewest runs were given, and how many: of any DAG, in whichever state. No more than one beyond `most` are counted.
    pub(super) fn fewest_given<'a>(
        &self,
        ask: &'a RunAsk,
        most: usize,
    ) -> Option<(usize, &'a Given)> {
        let mut fewest: Option<(usize, &Given)> = None;
        for given in &ask.given {
            // What as many were given is no better: counting goes no further.
            let enough = fewest.map_or(most.saturating_add(1), |(least, _)| least);
            let count = self.given(given, false, None).take(enough).count();
            if fewest.is_none_or(|(least, _)| count < least) {
                fewest = Some((count, given));
            }
        }
        fewest
    }
}
