//! The page of the published limits, out of the file that has them: each with its number and what it bounds.
use std::{collections::BTreeMap, fmt::Write as _};

const SOURCE: &str = include_str!("../../../shared/protocol/src/limits.rs");

/// One limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Its name in the code, and in what says that it is broken.
    pub name: String,
    /// How much.
    pub value: i64,
    /// What it bounds, and in which unit.
    pub meaning: String,
}

/// Every published limit, in the order of the file.
pub fn limits() -> Vec<Limit> {
    let (mut found, mut known) = (Vec::new(), BTreeMap::new());
    let mut meaning: Vec<&str> = Vec::new();
    for line in SOURCE.lines() {
        if let Some(doc) = line.strip_prefix("/// ") {
            meaning.push(doc);
        } else if let Some(rest) = line.strip_prefix("pub const ") {
            let (name, value) = constant(rest, &known);
            known.insert(name.clone(), value);
            found.push(Limit { name, value, meaning: meaning.join(" ") });
            meaning.clear();
        } else {
            meaning.clear();
        }
    }
    found
}

/// `NAME: type = expression;`
fn constant(line: &str, known: &BTreeMap<String, i64>) -> (String, i64) {
    let (name, rest) = line.split_once(": ").expect("a constant has a type");
    let (_, value) = rest.split_once(" = ").expect("on one line with its value");
    let value = value.strip_suffix(';').expect("on one line, to its end");
    (name.to_owned(), number(value, known))
}

/// Numbers and names by `<<`, `+`, `*` and `/`, which bind as in Rust: the first least.
fn number(text: &str, known: &BTreeMap<String, i64>) -> i64 {
    if let Some((left, right)) = text.split_once(" << ") {
        return number(left, known) << number(right, known);
    }
    if let Some((left, right)) = text.split_once(" + ") {
        return number(left, known) + number(right, known);
    }
    if let Some((left, right)) = text.rsplit_once(' ') {
        let (left, by) = left.rsplit_once(' ').expect("an operator stands between two numbers");
        let (left, right) = (number(left, known), number(right, known));
        return match by {
            "*" => left * right,
            "/" => left / right,
            other => panic!("the page of limits does not know `{other}`"),
        };
    }
    match text.replace('_', "").parse() {
        Ok(number) => number,
        Err(_) => *known.get(text).unwrap_or_else(|| panic!("`{text}` is no limit above it")),
    }
}

/// The page.
pub(crate) fn page() -> String {
    let mut text = String::from(
        "# Limits\n\nBreaking one is a clear error that names it, never a silent cut. They stand in \
         `shared/protocol/src/limits.rs`, which this page is made of.\n\n| limit | how much | of what |\n|---|---:|---|\n",
    );
    for Limit { name, value, meaning } in limits() {
        let _ = writeln!(text, "| `{name}` | {} | {meaning} |", grouped(value));
    }
    text
}

/// With commas between thousands.
fn grouped(value: i64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
