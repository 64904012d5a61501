//! Croniter's dialect of cron, read into plain sets.
//!
//! Airflow hands expressions to croniter, and croniter's reading differs from that of every other cron:
//! ranges wrap around (`22-2`), a range of one value (`3-3`) is the whole field, `5/15` counts up from
//! 5, seconds stand last, `L5` (not `5L`) is the last Friday, a full list is the same as `*` in some
//! places and not in others. What comes out here is what croniter would match, with nothing left to
//! interpret. Hashed (`H`) and random (`R`) fields are refused: Airflow refuses the first, and the
//! second would give another schedule at every look.
use std::collections::{BTreeMap, BTreeSet};

use super::error::BadSchedule;

/// One field's name, bounds and words.
#[derive(Debug)]
struct Field {
    name: &'static str,
    min: u16,
    max: u16,
    words: &'static [(&'static str, u16)],
}

const DAY: usize = 2;
const WEEKDAY: usize = 4;

const MONTHS: &[(&str, u16)] = &[
    ("jan", 1),
    ("feb", 2),
    ("mar", 3),
    ("apr", 4),
    ("may", 5),
    ("jun", 6),
    ("jul", 7),
    ("aug", 8),
    ("sep", 9),
    ("oct", 10),
    ("nov", 11),
    ("dec", 12),
];
const WEEKDAYS: &[(&str, u16)] =
    &[("sun", 0), ("mon", 1), ("tue", 2), ("wed", 3), ("thu", 4), ("fri", 5), ("sat", 6)];

const FIELDS: [Field; 7] = [
    Field { name: "minute", min: 0, max: 59, words: &[] },
    Field { name: "hour", min: 0, max: 23, words: &[] },
    Field { name: "day-of-month", min: 1, max: 31, words: &[] },
    Field { name: "month", min: 1, max: 12, words: MONTHS },
    Field { name: "day-of-week", min: 0, max: 6, words: WEEKDAYS },
    Field { name: "second", min: 0, max: 59, words: &[] },
    Field { name: "year", min: 1970, max: 2099, words: &[] },
];

/// Airflow's presets, and those that croniter adds.
const PRESETS: &[(&str, &str)] = &[
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@quarterly", "0 0 1 */3 *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// Which of a month's days of one weekday.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Nth {
    /// Counted from 1.
    At(u8),
    /// The last one.
    Last,
}

/// What a field matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Set {
    /// A literal `*` is in it: everything matches.
    pub(super) any: bool,
    /// A literal `L` is in it: the month's last day.
    pub(super) last: bool,
    /// The values named.
    pub(super) values: BTreeSet<u16>,
}

impl Set {
    /// Whether the field is nothing but `*`, which is more than that everything matches.
    pub(super) fn is_bare_any(&self) -> bool {
        self.any && !self.last && self.values.is_empty()
    }

    fn len(&self) -> usize {
        self.values.len() + usize::from(self.any) + usize::from(self.last)
    }

    fn bare_any() -> Self {
        Self { any: true, ..Self::default() }
    }
}

/// A cron expression, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Expression {
    /// Minute, hour, day of month, month, day of week, and where given second and year.
    pub(super) sets: Vec<Set>,
    /// `1#2`, `L5`: which of a month's Mondays, Fridays and so on.
    pub(super) nth: BTreeMap<u16, BTreeSet<Nth>>,
    /// `15W`: the working day nearest to that day of the month.
    pub(super) nearest: Option<u16>,
}

impl Expression {
    pub(super) fn minutes(&self) -> &Set {
        &self.sets[0]
    }
    pub(super) fn hours(&self) -> &Set {
        &self.sets[1]
    }
    pub(super) fn days(&self) -> &Set {
        &self.sets[DAY]
    }
    pub(super) fn months(&self) -> &Set {
        &self.sets[3]
    }
    pub(super) fn weekdays(&self) -> &Set {
        &self.sets[WEEKDAY]
    }
    pub(super) fn seconds(&self) -> Option<&Set> {
        self.sets.get(5)
    }
    pub(super) fn years(&self) -> Option<&Set> {
        self.sets.get(6)
    }
}

/// Reads `expression`, resolving presets.
pub(super) fn parse(expression: &str) -> Result<Expression, BadSchedule> {
    let lower = expression.to_lowercase();
    let resolved =
        PRESETS.iter().find(|(name, _)| *name == lower).map_or(lower.as_str(), |(_, cron)| cron);
    let texts: Vec<&str> = resolved.split_ascii_whitespace().collect();
    if !(5..=7).contains(&texts.len()) {
        return Err(BadSchedule::CronFields {
            expression: expression.to_owned(),
            found: texts.len(),
        });
    }
    let mut read = Expression { sets: Vec::new(), nth: BTreeMap::new(), nearest: None };
    for (place, text) in texts.iter().enumerate() {
        let refuse = |reason: String| BadSchedule::CronField {
            expression: expression.to_owned(),
            field: FIELDS[place].name,
            text: (*text).to_owned(),
            reason,
        };
        let set = read_field(place, text, &mut read).map_err(refuse)?;
        let set = if counts_as_any(place, &set, &texts) { Set::bare_any() } else { set };
        if place == WEEKDAY {
            refuse_mixed_weekdays(&set, &read.nth).map_err(refuse)?;
        }
        read.sets.push(set);
    }
    Ok(read)
}

/// A full list becomes `*`; of the two day fields only where the other one has a `*` written in it,
/// because a day then has to match both and not one of them.
fn counts_as_any(place: usize, set: &Set, texts: &[&str]) -> bool {
    let field = &FIELDS[place];
    let other = match place {
        DAY => Some(WEEKDAY),
        WEEKDAY => Some(DAY),
        _ => None,
    };
    set.len() == usize::from(field.max - field.min) + 1
        && other.is_none_or(|other| texts[other].contains('*'))
}

fn refuse_mixed_weekdays(set: &Set, nth: &BTreeMap<u16, BTreeSet<Nth>>) -> Result<(), String> {
    let mixed = set.values.iter().any(|day| !nth.contains_key(day));
    if !nth.is_empty() && mixed && set.len() != 7 {
        return Err(
            "weekdays by number (`1#2`, `L5`) and plain weekdays can't stand together".to_owned()
        );
    }
    Ok(())
}

fn read_field(place: usize, text: &str, read: &mut Expression) -> Result<Set, String> {
    if is_drawn(text) {
        return Err(
            "hashed (`H`) and random (`R`) values are not supported: write a value".to_owned()
        );
    }
    if text.contains('?') {
        return match (text, place) {
            ("?", DAY | WEEKDAY) => Ok(Set::bare_any()),
            ("?", _) => Err("`?` can stand only in the two day fields".to_owned()),
            _ => Err("`?` can't be combined with anything else".to_owned()),
        };
    }
    let mut set = Set::default();
    let parts: Vec<&str> = text.split(',').collect();
    for part in &parts {
        if place == DAY
            && let Some(day) = nearest_working_day(part)?
        {
            if parts.len() > 1 {
                return Err("`W` takes one day, not a list or a range".to_owned());
            }
            read.nearest = Some(day);
            set.values.insert(day);
            continue;
        }
        let (plain, nth) = if place == WEEKDAY { split_nth(part)? } else { (*part, None) };
        let mut found = Set::default();
        read_part(&FIELDS[place], plain, place, &mut found)?;
        if let Some(nth) = nth {
            for day in &found.values {
                read.nth.entry(*day).or_default().insert(nth);
            }
        }
        set.any |= found.any;
        set.last |= found.last;
        set.values.append(&mut found.values);
    }
    Ok(set)
}

/// `h`, `r`, `h(0-29)`, `h/15`.
fn is_drawn(text: &str) -> bool {
    text.strip_prefix(['h', 'r'])
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['(', '/']))
}

/// `15w` or `w15`.
fn nearest_working_day(part: &str) -> Result<Option<u16>, String> {
    let Some(digits) = part.strip_suffix('w').or_else(|| part.strip_prefix('w')) else {
        return Ok(None);
    };
    match number(digits) {
        Some(day @ 1..=31) => Ok(Some(u16::try_from(day).expect("at most 31"))),
        Some(_) => Err("the day before `W` must be between 1 and 31".to_owned()),
        None => Ok(None),
    }
}

/// `tue#2` to `tue` and the second; `l5` to `5` and the last.
fn split_nth(part: &str) -> Result<(&str, Option<Nth>), String> {
    if let Some(day) = part.strip_prefix('l').filter(|digits| number(digits).is_some()) {
        return Ok((day, Some(Nth::Last)));
    }
    let Some((day, which)) = part.split_once('#') else {
        return Ok((part, None));
    };
    let words = |(low, high): (&str, &str)| {
        [low, high].iter().all(|end| end.bytes().all(|b| b.is_ascii_alphabetic()))
    };
    if day.contains(['*', '/']) || !day.split_once('-').is_none_or(words) {
        return Err(
            "before `#` stands one weekday, or a range of names such as `MON-WED`".to_owned()
        );
    }
    match number(which) {
        Some(n @ 1..=5) => Ok((day, Some(Nth::At(u8::try_from(n).expect("at most 5"))))),
        _ => Err("the number after `#` must be between 1 and 5".to_owned()),
    }
}

/// One part between commas, without its `#` or `W`.
fn read_part(field: &Field, part: &str, place: usize, set: &mut Set) -> Result<(), String> {
    let (range, step) = match part.split_once('/') {
        Some((range, step)) => (range, Some(read_step(step)?)),
        None => (part, None),
    };
    match (range, step) {
        ("*", None) => set.any = true,
        ("l", None) if place == DAY => set.last = true,
        ("*", Some(step)) => span(field, field.min, field.max, step, set),
        (_, step) => {
            let (low, high) = if let Some((low, high)) = range.split_once('-') {
                let high = if place == DAY && high == "l" { "31" } else { high };
                match (range_end(field, low)?, range_end(field, high)?) {
                    // A range of one value, written as one, is the whole field.
                    (low, high) if low == high => (field.min, field.max),
                    // `20-0` runs to the end of a field that begins at 1: nothing is left to wrap to.
                    (low, high) => (within(field, low)?, high),
                }
            } else {
                let low = value(field, range)?;
                (low, if step.is_some() { field.max } else { low })
            };
            span(field, low, high, step.unwrap_or(1), set);
        }
    }
    Ok(())
}

/// Every `step`th value from `low` to `high`, around the end of the field where `low` is the later.
fn span(field: &Field, low: u16, high: u16, step: u64, set: &mut Set) {
    let stride = usize::try_from(step).unwrap_or(usize::MAX);
    if low <= high {
        set.values.extend((low..=high).step_by(stride));
        return;
    }
    let up: Vec<u16> = (low..=field.max).step_by(stride).collect();
    let reached = *up.last().expect("low is within the field");
    // Croniter carries the count over the end only where the step is longer than what the field has.
    let (size, left) = (u64::from(field.max - field.min) + 1, u64::from(field.max - reached));
    let place = u64::from(reached - field.min);
    let skip = if place.saturating_add(step) > size && left < step { step - left } else { 0 };
    let from = u64::from(field.min).saturating_add(skip);
    set.values.extend(up);
    set.values.extend((field.min..=high).filter(|n| u64::from(*n) >= from).step_by(stride));
}

fn read_step(text: &str) -> Result<u64, String> {
    match number(text) {
        Some(0) => Err("a step of 0 goes nowhere".to_owned()),
        Some(step) => Ok(step),
        None => Err(format!("the step `{text}` is not a number")),
    }
}

fn value(field: &Field, text: &str) -> Result<u16, String> {
    within(field, range_end(field, text)?)
}

/// A value, or what is below all of them: croniter checks the ends of a range from above only.
fn range_end(field: &Field, text: &str) -> Result<u16, String> {
    let named = field.words.iter().find(|(word, _)| *word == text).map(|(_, n)| u64::from(*n));
    let Some(found) = named.or_else(|| number(text)) else {
        return Err(not_a_value(field, text));
    };
    // 7 is Sunday too.
    let found = if field.name == FIELDS[WEEKDAY].name && found == 7 { 0 } else { found };
    u16::try_from(found).ok().filter(|n| *n <= field.max).ok_or_else(|| out_of_range(field, found))
}

fn within(field: &Field, n: u16) -> Result<u16, String> {
    if n < field.min { Err(out_of_range(field, u64::from(n))) } else { Ok(n) }
}

fn out_of_range(field: &Field, n: u64) -> String {
    format!("{n} is out of range: {} to {} can stand here", field.min, field.max)
}

fn not_a_value(field: &Field, text: &str) -> String {
    if field.name == FIELDS[WEEKDAY].name
        && text.ends_with('l')
        && number(&text[..text.len() - 1]).is_some()
    {
        return format!("write the last weekday of a month as `L{}`", &text[..text.len() - 1]);
    }
    let words = match field.words {
        [] => String::new(),
        words => format!(
            ", or {} to {}",
            words[0].0.to_uppercase(),
            words[words.len() - 1].0.to_uppercase()
        ),
    };
    format!("`{text}` is no value: {} to {}{words} can stand here", field.min, field.max)
}

/// Decimal digits only; too many of them saturate.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}
