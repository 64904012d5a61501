//! Pages, orders and patterns of lists.
use std::cmp::Ordering;

use dagbok_events::Timestamp;

use super::errors::ApiError;

/// Entries of a page where none is asked for, as in Airflow.
const DEFAULT_LIMIT: usize = 50;
/// The most entries of a page.
pub(crate) const MAX_LIMIT: usize = 1_000;

/// Which stretch of a list is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    pub(crate) offset: usize,
    pub(crate) limit: usize,
}

impl Page {
    /// From the query; a limit above the most is the most.
    pub(crate) fn new(limit: Option<usize>, offset: Option<usize>) -> Self {
        Self { offset: offset.unwrap_or(0), limit: limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT) }
    }

    /// That stretch of `all`, and how long `all` is.
    pub(crate) fn cut<T>(self, all: Vec<T>) -> (Vec<T>, usize) {
        let total = all.len();
        (all.into_iter().skip(self.offset).take(self.limit).collect(), total)
    }
}

/// What a list can be ordered by.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SortKey {
    Text(String),
    Number(f64),
    /// Comes last, whichever way.
    Nothing,
}

impl From<&str> for SortKey {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Option<Timestamp>> for SortKey {
    fn from(at: Option<Timestamp>) -> Self {
        #[expect(
            clippy::cast_precision_loss,
            reason = "instants of the next centuries are exact to a microsecond"
        )]
        at.map_or(Self::Nothing, |at| Self::Number(at.0 as f64))
    }
}

impl From<Option<f64>> for SortKey {
    fn from(number: Option<f64>) -> Self {
        number.map_or(Self::Nothing, Self::Number)
    }
}

impl SortKey {
    fn compare(&self, other: &Self, down: bool) -> Ordering {
        let order = match (self, other) {
            (Self::Nothing, Self::Nothing) => Ordering::Equal,
            (Self::Nothing, _) => return Ordering::Greater,
            (_, Self::Nothing) => return Ordering::Less,
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::Text(_), Self::Number(_)) => Ordering::Less,
            (Self::Number(_), Self::Text(_)) => Ordering::Greater,
        };
        if down { order.reverse() } else { order }
    }
}

/// One wish for an order: a field, and whether from the highest down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) field: &'static str,
    pub(crate) down: bool,
}

/// Reads `order_by`, each a field's name with `-` before it for the way down.
pub(crate) fn orders(asked: &[String], known: &[&'static str]) -> Result<Vec<Order>, ApiError> {
    asked
        .iter()
        .map(|wish| {
            let (name, down) =
                wish.strip_prefix('-').map_or((wish.as_str(), false), |name| (name, true));
            let field = known.iter().find(|field| **field == name).ok_or_else(|| {
                ApiError::BadRequest(format!(
                    "`{name}` is nothing to order by; use {}",
                    known.join(", ")
                ))
            })?;
            Ok(Order { field, down })
        })
        .collect()
}

/// Sorts by `orders`, the first wish first; what they leave equal stays as it was.
pub(crate) fn sort<T>(all: &mut [T], orders: &[Order], key: impl Fn(&T, &'static str) -> SortKey) {
    for Order { field, down } in orders.iter().rev() {
        all.sort_by(|a, b| key(a, field).compare(&key(b, field), *down));
    }
}

/// Whether `text` matches Airflow's search pattern: `%` any run of characters, `_` any one, `|`
/// between alternatives; anywhere in the text, whatever the case; `~` alone is everything.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    if pattern == "~" {
        return true;
    }
    let text: Vec<char> = text.to_lowercase().chars().collect();
    let terms: Vec<&str> =
        pattern.split('|').map(str::trim).filter(|term| !term.is_empty()).collect();
    let terms = if terms.is_empty() { vec![pattern] } else { terms };
    terms.iter().any(|term| {
        let term: Vec<char> = format!("%{}%", term.to_lowercase()).chars().collect();
        like(&term, &text)
    })
}

/// SQL's LIKE, in time proportional to the product of the lengths.
fn like(pattern: &[char], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('%') => {
                back = Some((p, t));
                p += 1;
            }
            Some(&c) if c == '_' || c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match back {
                Some((from, at)) => {
                    back = Some((from, at + 1));
                    (p, t) = (from + 1, at + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '%')
}

/// The instants that `…_gte`, `…_gt`, `…_lte`, `…_lt` of a field leave, both ends included; `None` where
/// none of them is given.
pub(crate) fn instants(
    field: &str,
    ends: [&Option<String>; 4],
) -> Result<Option<(i64, i64)>, ApiError> {
    let names = ["gte", "gt", "lte", "lt"];
    let mut read = ends.iter().zip(names).map(|(text, name)| {
        text.as_deref().map(super::extract::instant).transpose().map_err(|why| {
            ApiError::invalid("datetime_parsing", &["query", &format!("{field}_{name}")], why)
        })
    });
    let mut next = || read.next().transpose().map(|at| at.flatten().map(|at| at.0));
    let (from, above, to, below) = (next()?, next()?, next()?, next()?);
    if [from, above, to, below].iter().all(Option::is_none) {
        return Ok(None);
    }
    let low = from.unwrap_or(i64::MIN).max(above.map_or(i64::MIN, |at| at.saturating_add(1)));
    let high = to.unwrap_or(i64::MAX).min(below.map_or(i64::MAX, |at| at.saturating_sub(1)));
    Ok(Some((low, high)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_airflows() {
        for (pattern, text, want) in [
            ("daily", "my_daily_dag", true),
            ("DAILY", "my_daily_dag", true),
            ("a%c", "xxabbbc", true),
            ("a_c", "abc", true),
            ("a_c", "abbc", false),
            ("x | daily", "my_daily_dag", true),
            ("~", "anything", true),
            ("%%%%%%%%%%%%%%%%b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
            ("", "anything", true),
        ] {
            assert_eq!(matches(pattern, text), want, "{pattern} against {text}");
        }
    }

    #[test]
    fn nothing_comes_last_both_ways() {
        let mut all = vec![SortKey::Nothing, SortKey::Number(1.0), SortKey::Number(2.0)];
        for (down, first) in [(false, 1.0), (true, 2.0)] {
            sort(&mut all, &[Order { field: "x", down }], |key, _| key.clone());
            assert_eq!(all[0], SortKey::Number(first));
            assert_eq!(all[2], SortKey::Nothing);
        }
    }
}
