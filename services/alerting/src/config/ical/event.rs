//! One event: when it is, how long, how it repeats, and what is left out of that.
use std::collections::BTreeSet;

use chrono::{Datelike as _, TimeZone as _, Timelike as _};
use dagbok_alerts::Shift;
use dagbok_events::Timestamp;
use jiff::{Span, civil, tz::TimeZone};
use rrule::{RRule, RRuleSet, Tz, Unvalidated};

use super::{
    parts::{Part, Property, plain},
    starts::Starts,
    zones::Zones,
};
use crate::config::crew::at_local;

/// A time as it is written: by the clock of a place.
#[derive(Clone, Debug)]
struct When {
    local: civil::DateTime,
    zone: TimeZone,
    is_day: bool,
}

impl When {
    fn at(&self) -> Result<Timestamp, String> {
        at_local(self.local, &self.zone)
    }
}

/// An event of a calendar.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) line: usize,
    pub(super) uid: String,
    pub(super) is_cancelled: bool,
    /// Which start of what repeats it stands for.
    pub(super) replaces: Option<Timestamp>,
    person: String,
    start: When,
    lasts: Span,
    rules: Vec<Property>,
    further: Vec<When>,
    left_out: Vec<When>,
}

impl Event {
    pub(super) fn read(part: &Part, zones: &Zones<'_>) -> Result<Self, String> {
        let at = |what: &str| format!("line {}: {what}", part.line);
        if let Some(it) = part.one("EXRULE") {
            return Err(format!(
                "line {}: EXRULE is not read: name what is left out by EXDATE",
                it.line
            ));
        }
        let summary = part.one("SUMMARY").map(|it| plain(&it.value)).filter(|it| !it.is_empty());
        let replaces = part.one("RECURRENCE-ID");
        if let Some(it) = replaces.filter(|it| it.parameter("RANGE").is_some()) {
            let what = "RANGE is not read: end what repeats, and begin another";
            return Err(format!("line {}: {what}", it.line));
        }
        let is_cancelled =
            part.one("STATUS").is_some_and(|it| it.value.trim().eq_ignore_ascii_case("CANCELLED"));
        let start = part.one("DTSTART").map(|it| one(it, zones)).transpose()?;
        // Of one that is cancelled no more may be said than which it was.
        let person = match summary {
            Some(person) => person,
            None if is_cancelled => String::new(),
            None => return Err(at("an event has SUMMARY, DTSTART and, later, DTEND")),
        };
        let replaces = replaces.map(|it| one(it, zones)).transpose()?;
        let start = start.or_else(|| replaces.clone().filter(|_| is_cancelled));
        let start = start.ok_or_else(|| at("an event has SUMMARY, DTSTART and, later, DTEND"))?;
        let lasts = lasts(part, &start, zones)?;
        let ends = start.local.checked_add(lasts).map_err(|error| at(&error.to_string()))?;
        if ends <= start.local && !is_cancelled {
            return Err(at("an event has SUMMARY, DTSTART and, later, DTEND"));
        }
        Ok(Self {
            line: part.line,
            uid: part
                .one("UID")
                .map_or_else(|| format!("line {}", part.line), |it| it.value.clone()),
            is_cancelled,
            replaces: replaces.map(|it| it.at()).transpose()?,
            person,
            start,
            lasts,
            rules: part.all("RRULE").cloned().collect(),
            further: many(part, "RDATE", zones)?,
            left_out: many(part, "EXDATE", zones)?,
        })
    }

    /// How many rules it repeats by.
    pub(super) fn rules(&self) -> usize {
        self.rules.len()
    }

    /// Its shifts, but for those that something else stands for.
    pub(super) fn shifts(
        &self,
        starts: &mut Starts,
        instead: Option<&BTreeSet<Timestamp>>,
    ) -> Result<Vec<Shift>, String> {
        let mut locals = if self.rules.is_empty() { vec![self.start.local] } else { Vec::new() };
        for rule in &self.rules {
            locals.extend(self.unrolled(rule, starts)?);
        }
        let further = self.further.iter().map(|it| it.local_in(&self.start.zone));
        locals.extend(further.collect::<Result<Vec<_>, _>>()?);
        locals.sort_unstable();
        locals.dedup();
        let left_out = self.left_out.iter().filter(|it| !it.is_day).map(When::at);
        let left_out = left_out.collect::<Result<BTreeSet<_>, _>>()?;
        let days: BTreeSet<civil::Date> =
            self.left_out.iter().filter(|it| it.is_day).map(|it| it.local.date()).collect();
        let mut found = Vec::new();
        for local in locals {
            let from = at_local(local, &self.start.zone)?;
            let is_replaced =
                self.replaces.is_none() && instead.is_some_and(|it| it.contains(&from));
            if is_replaced || left_out.contains(&from) || days.contains(&local.date()) {
                continue;
            }
            let ends = local.checked_add(self.lasts).map_err(|error| self.at(error))?;
            let until = at_local(ends, &self.start.zone)?;
            // What is over, or far ahead, says nothing of who is on call: whoever had it may be here no more.
            if from < until && starts.matters(from, until) {
                found.push(Shift { person: self.person.clone(), from, until });
            }
        }
        Ok(found)
    }

    fn at(&self, what: impl std::fmt::Display) -> String {
        format!("line {}: {what}", self.line)
    }

    /// The starts by one rule that matter, by the clock of the event's zone. The rules are unrolled by that clock alone, and
    /// only then made instants of: one database of zones for all that we do.
    fn unrolled(
        &self,
        rule: &Property,
        starts: &mut Starts,
    ) -> Result<Vec<civil::DateTime>, String> {
        let wrong = |what: &dyn std::fmt::Display| {
            format!("line {}: RRULE can't be read: {what}", rule.line)
        };
        let (text, until) = self.until(rule)?;
        let parsed: RRule<Unvalidated> = text.parse().map_err(|error| wrong(&error))?;
        starts.begin(&parsed).map_err(|why| wrong(&why))?;
        let first = chrono_of(self.start.local).ok_or_else(|| wrong(&"its start is no time"))?;
        let valid = parsed.validate(first).map_err(|error| wrong(&error))?;
        let (from, to) = starts.within();
        let local = |at: Timestamp| at.to_jiff().to_zoned(self.start.zone.clone()).datetime();
        // What began before may last until then.
        let from = local(from).checked_sub(self.lasts).map_err(|error| wrong(&error))?;
        let to = until.map_or(local(to), |until| until.min(local(to)));
        let mut found = Vec::new();
        starts.from(first.timestamp());
        for start in &RRuleSet::new(first).rrule(valid).limit() {
            starts.one(start.timestamp()).map_err(|why| wrong(&why))?;
            let Some(start) = jiff_of(&start).filter(|it| *it <= to) else { break };
            if start >= from {
                found.push(start);
            }
        }
        starts.end().map_err(|why| wrong(&why))?;
        Ok(found)
    }

    /// A rule without its end, and that end by the clock of the event's zone: it is often written by another.
    fn until(&self, rule: &Property) -> Result<(String, Option<civil::DateTime>), String> {
        let is_end = |it: &&str| it.trim_start().to_ascii_uppercase().starts_with("UNTIL=");
        let parts = rule.value.split(';').filter(|it| !it.is_empty());
        let (ends, rest): (Vec<&str>, Vec<&str>) = parts.partition(is_end);
        let end = match ends.first().and_then(|it| it.split_once('=')) {
            None => None,
            Some((_, value)) => {
                let when = when(value, &self.start.zone)
                    .map_err(|what| format!("line {}: UNTIL: {what}", rule.line))?;
                let local = when.local_in(&self.start.zone)?;
                // A day is meant with all that begins on it.
                let last = local.date().at(23, 59, 59, 0);
                Some(if when.is_day { last } else { local })
            }
        };
        Ok((rest.join(";"), end))
    }
}

impl When {
    /// The same by another clock; a day is that day everywhere.
    fn local_in(&self, zone: &TimeZone) -> Result<civil::DateTime, String> {
        if self.is_day {
            return Ok(self.local);
        }
        Ok(self.at()?.to_jiff().to_zoned(zone.clone()).datetime())
    }
}

fn chrono_of(it: civil::DateTime) -> Option<chrono::DateTime<Tz>> {
    let number = |it: i8| u32::try_from(it).ok();
    let (month, day) = (number(it.month())?, number(it.day())?);
    let (hour, minute, second) = (number(it.hour())?, number(it.minute())?, number(it.second())?);
    Tz::UTC.with_ymd_and_hms(i32::from(it.year()), month, day, hour, minute, second).single()
}

fn jiff_of(it: &chrono::DateTime<Tz>) -> Option<civil::DateTime> {
    let number = |it: u32| i8::try_from(it).ok();
    let year = i16::try_from(it.year()).ok()?;
    let (month, day) = (number(it.month())?, number(it.day())?);
    let (hour, minute, second) = (number(it.hour())?, number(it.minute())?, number(it.second())?);
    civil::DateTime::new(year, month, day, hour, minute, second, 0).ok()
}

/// How long an event lasts, by the clock of its zone.
fn lasts(part: &Part, start: &When, zones: &Zones<'_>) -> Result<Span, String> {
    if let Some(end) = part.one("DTEND") {
        let ends = one(end, zones)?.local_in(&start.zone)?;
        return Ok(ends - start.local);
    }
    if let Some(it) = part.one("DURATION") {
        let text = it.value.trim();
        let span: Result<Span, _> = text.parse();
        let span = span.ok().filter(|it| !it.is_negative());
        return span.ok_or_else(|| format!("line {}: `{text}` is no DURATION, as `P7D`", it.line));
    }
    Ok(if start.is_day { Span::new().days(1) } else { Span::new() })
}

/// The one time of a property.
fn one(property: &Property, zones: &Zones<'_>) -> Result<When, String> {
    let zone = zones.zone(property)?;
    when(property.value.trim(), &zone).map_err(|what| format!("line {}: {what}", property.line))
}

/// All times of the properties of one name, which may each have several.
fn many(part: &Part, name: &str, zones: &Zones<'_>) -> Result<Vec<When>, String> {
    let mut found = Vec::new();
    for property in part.all(name) {
        let at = |what: String| format!("line {}: {what}", property.line);
        if property.parameter("VALUE").is_some_and(|it| it.eq_ignore_ascii_case("PERIOD")) {
            return Err(at(format!("{name} with periods is not read: make each an event")));
        }
        let zone = zones.zone(property)?;
        for text in property.value.split(',').filter(|it| !it.trim().is_empty()) {
            found.push(when(text.trim(), &zone).map_err(at)?);
        }
    }
    Ok(found)
}

/// `20261224T090000Z`, the same without `Z` by a zone, or a day.
fn when(text: &str, zone: &TimeZone) -> Result<When, String> {
    let wrong = || format!("`{text}` is no time of a calendar");
    let (text, zone) = match text.strip_suffix('Z') {
        Some(text) => (text, TimeZone::UTC),
        None => (text, zone.clone()),
    };
    if text.len() == 8 {
        let day = civil::Date::strptime("%Y%m%d", text).map_err(|_| wrong())?;
        return Ok(When { local: day.to_datetime(civil::Time::midnight()), zone, is_day: true });
    }
    let local = civil::DateTime::strptime("%Y%m%dT%H%M%S", text).map_err(|_| wrong())?;
    Ok(When { local, zone, is_day: false })
}
