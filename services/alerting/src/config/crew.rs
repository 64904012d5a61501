//! People and who of them is on call, from what the file says.
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use dagbok_alerts::{Contact, Crew, MuteTime, Person, Rotation, Schedule, Shift};
use dagbok_config::Period;
use dagbok_events::{Micros, Timestamp};
use jiff::{civil, tz::TimeZone};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Calendar,
    build::{Checked, Source, known, list, micros},
    file::{File, SecretRef},
    ical,
};

/// A time at which nobody is told, week by week.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MuteSection {
    /// The clock that it goes by, as `Europe/Madrid`.
    pub(super) zone: String,
    /// On which days, as `mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`; every day where none is said.
    #[serde(default)]
    pub(super) weekdays: Vec<String>,
    /// From when, as `22:00`; the whole day where not said.
    #[serde(default)]
    pub(super) from: Option<String>,
    /// Until before when, as `07:00`; where that is not later than `from`, on the day after.
    #[serde(default)]
    pub(super) until: Option<String>,
}

/// The times at which nobody is told.
pub(super) fn mute_times(source: &Source<'_>, file: &File) -> Checked<BTreeMap<String, MuteTime>> {
    let times = file.mute_times.iter().map(|(name, section)| {
        let read = mute_time(section);
        let read = read.map_err(|(part, what)| source.wrong(&["mute_times", name, part], what))?;
        Ok((name.clone(), read))
    });
    times.collect()
}

fn mute_time(section: &MuteSection) -> Result<MuteTime, (&'static str, String)> {
    use civil::Weekday::{Friday, Monday, Saturday, Sunday, Thursday, Tuesday, Wednesday};
    let zone = TimeZone::get(&section.zone)
        .map_err(|_| ("zone", format!("there is no time zone `{}`", section.zone)))?;
    let days = [
        ("mon", Monday),
        ("tue", Tuesday),
        ("wed", Wednesday),
        ("thu", Thursday),
        ("fri", Friday),
        ("sat", Saturday),
        ("sun", Sunday),
    ];
    let weekday = |text: &String| {
        let found = days.iter().find(|(name, _)| *name == text.to_lowercase());
        found.map(|(_, day)| *day).ok_or_else(|| {
            let known: Vec<&str> = days.iter().map(|(name, _)| *name).collect();
            ("weekdays", format!("`{text}` is no day; there are: {}", list(&known)))
        })
    };
    let time = |part: &'static str, text: &str| {
        let read: Result<civil::Time, _> = text.parse();
        read.map_err(|_| (part, format!("`{text}` is no time of the day, as `18:00`")))
    };
    let hours = match (&section.from, &section.until) {
        (Some(from), Some(until)) => Some((time("from", from)?, time("until", until)?)),
        (None, None) => None,
        _ => return Err(("from", "`from` and `until` go together".to_owned())),
    };
    let weekdays = section.weekdays.iter().map(weekday).collect::<Result<_, _>>()?;
    let time = MuteTime { zone, weekdays, hours };
    if time.is_always() {
        let what = "a time that is always would tell nobody anything: say some `weekdays`, or a `from` and an `until` that differ";
        return Err(("weekdays", what.to_owned()));
    }
    Ok(time)
}

/// Somebody who can be told.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PersonSection {
    /// How they are reached, in order. The first is told at once.
    #[schemars(length(min = 1))]
    pub(super) contacts: Vec<ContactSection>,
}

/// A way to reach somebody.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ContactSection {
    /// Name of the receiver that reaches this person.
    pub(super) receiver: String,
    /// How long after the person was first told, where they have not acknowledged.
    #[serde(default)]
    pub(super) after: Option<Period>,
}

/// Who is on call when: who stands in, then what was imported, then rotations.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ScheduleSection {
    /// The clock that it goes by, as `Europe/Madrid`.
    pub(super) zone: String,
    /// Who takes turns; the first rotation that has somebody counts.
    #[serde(default)]
    pub(super) rotations: Vec<RotationSection>,
    /// Who stands in for a time; the last of them first.
    #[serde(default)]
    pub(super) overrides: Vec<ShiftSection>,
    /// A calendar (iCalendar) whose events are shifts: the summary is the person's name. A relative path begins where this
    /// file lies. It is taken anew when it changes.
    #[serde(default)]
    pub(super) ical: Option<PathBuf>,
    /// The same by its web address, which often lets anybody read it: a secret. It is asked for again and again; while it
    /// can't be had, or can't be read, what was had last holds, and that is an alert.
    #[serde(default)]
    pub(super) ical_url: Option<SecretRef>,
    /// How often `ical_url` is asked for, from a minute to a day; a quarter of an hour where nobody says.
    #[serde(default)]
    pub(super) ical_every: Option<Period>,
    /// Whether its calendar's file was taken out, since it can't be read.
    #[serde(skip)]
    pub(super) is_lame: bool,
}

/// People who take turns.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RotationSection {
    /// In this order.
    #[schemars(length(min = 1))]
    pub(super) people: Vec<String>,
    /// When the first turn begins, as `2026-01-05T09:00`; its time of day is that of every hand-over.
    pub(super) start: String,
    /// How many days a turn lasts; a week where not said.
    #[serde(default = "week")]
    #[schemars(range(min = 1, max = 366))]
    pub(super) days: u32,
    /// From what time of the day it holds, as `18:00`; with `to`.
    #[serde(default)]
    pub(super) from: Option<String>,
    /// Until what time of the day it holds, which may be on the next day; with `from`.
    #[serde(default)]
    pub(super) to: Option<String>,
}

const fn week() -> u32 {
    7
}

/// Somebody for a span of time.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ShiftSection {
    /// Name of the person on call meanwhile, of `[[people]]`.
    pub(super) person: String,
    /// From when, as `2026-12-24T09:00` by the schedule's clock.
    pub(super) from: String,
    /// Until when.
    pub(super) until: String,
}

/// Calendars that are had by their addresses, by their schedules.
pub(super) fn calendars(source: &Source<'_>, file: &File) -> Checked<BTreeMap<String, Calendar>> {
    let mut found = BTreeMap::new();
    for (name, section) in &file.schedules {
        let at = |part: &'static str| ["schedules", name, part];
        let Some(from) = &section.ical_url else {
            if section.ical_every.is_some() {
                return Err(source.wrong(&at("ical_every"), "it goes with `ical_url`"));
            }
            continue;
        };
        if section.ical.is_some() {
            return Err(
                source.wrong(&at("ical_url"), "a schedule has `ical` or `ical_url`, not both")
            );
        }
        let every = section.ical_every.unwrap_or(Period::secs(900));
        if every < Period::secs(60) || every > Period::secs(86_400) {
            return Err(source.wrong(&at("ical_every"), "from `1m` to `24h`"));
        }
        let url = source.secret(&at("ical_url"), from)?;
        // The name that calendars give to what is HTTPS.
        let url = url
            .reveal()
            .strip_prefix("webcal://")
            .map_or(url.clone(), |rest| dagbok_config::Secret::new(format!("https://{rest}")));
        let url = source.url(&at("ical_url"), url.reveal())?;
        let zone = TimeZone::get(&section.zone)
            .map_err(|_| source.wrong(&at("zone"), format!("`{}` is no zone", section.zone)))?;
        found.insert(name.clone(), Calendar { url, every: every.0, zone });
    }
    Ok(found)
}

/// Files of calendars.
pub(super) fn calendar_files(source: &Source<'_>, file: &File) -> Vec<PathBuf> {
    file.schedules.values().filter_map(|it| it.ical.as_ref()).map(|it| source.beside(it)).collect()
}

pub(super) fn crew(source: &Source<'_>, file: &File) -> Checked<Crew> {
    let mut people = BTreeMap::new();
    for (name, section) in &file.people {
        people.insert(name.clone(), person(source, file, name, section)?);
    }
    let mut schedules = BTreeMap::new();
    for (name, section) in &file.schedules {
        schedules.insert(name.clone(), schedule(source, file, name, section)?);
    }
    Ok(Crew { people, schedules })
}

fn person(
    source: &Source<'_>,
    file: &File,
    name: &str,
    section: &PersonSection,
) -> Checked<Person> {
    let at = ["people", name, "contacts"];
    if section.contacts.first().is_none_or(|it| it.after.is_some_and(|it| !it.0.is_zero())) {
        return Err(source.wrong(&at, "the first contact is told at once: without `after`"));
    }
    let contact = |(index, it): (usize, &ContactSection)| {
        let index = index.to_string();
        let at = ["people", name, "contacts", &index, "receiver"];
        known(file, &it.receiver).map_err(|what| source.wrong(&at, what))?;
        if it.after.is_some_and(|after| after > Period::secs(86_400)) {
            let at = ["people", name, "contacts", &index, "after"];
            return Err(source.wrong(&at, "a day at most"));
        }
        let after = it.after.map_or(Micros(0), micros);
        Ok(Contact { receiver: it.receiver.clone(), after })
    };
    let contacts = section.contacts.iter().enumerate().map(contact).collect::<Checked<_>>()?;
    Ok(Person { contacts })
}

fn schedule(
    source: &Source<'_>,
    file: &File,
    name: &str,
    section: &ScheduleSection,
) -> Checked<Schedule> {
    let at = |part: &'static str| ["schedules", name, part];
    let zone = TimeZone::get(&section.zone)
        .map_err(|_| source.wrong(&at("zone"), format!("`{}` is no zone", section.zone)))?;
    let has_calendar = section.ical.is_some() || section.ical_url.is_some() || section.is_lame;
    if section.rotations.is_empty() && section.overrides.is_empty() && !has_calendar {
        let what = "somebody takes turns: `rotations`, `ical`, `ical_url` or `overrides`";
        return Err(source.wrong(&["schedules", name], what));
    }
    let someone =
        |at: &[&str], who: &str| known_person(file, who).map_err(|what| source.wrong(at, what));
    let mut rotations = Vec::new();
    for (index, it) in section.rotations.iter().enumerate() {
        let index = index.to_string();
        let at = ["schedules", name, "rotations", &index];
        it.people.iter().try_for_each(|who| someone(&at, who))?;
        rotations.push(rotation(it).map_err(|what| source.wrong(&at, what))?);
    }
    let mut overrides = Vec::new();
    for (index, it) in section.overrides.iter().enumerate() {
        let index = index.to_string();
        let at = ["schedules", name, "overrides", &index];
        someone(&at, &it.person)?;
        let shift = shift(it, &zone).map_err(|what| source.wrong(&at, what))?;
        overrides.push(shift);
    }
    let (mut calendar, mut trouble) = (Vec::new(), None);
    if let Some(path) = &section.ical {
        let path = source.beside(path);
        let wrong = |what: &dyn std::fmt::Display| {
            source.wrong(&at("ical"), format!("`{}` can't be read: {what}", path.display()))
        };
        let text = ical::read(&path).map_err(|error| wrong(&error))?;
        let shifts = ical::shifts(&text, &zone, source.now).map_err(|what| wrong(&what))?;
        let first = shifts.first().map(|shift| shift.person.clone());
        (calendar, trouble) = of_people(shifts, &file.people);
        // A calendar of strangers alone is another's, or a mistake in every name.
        if let (true, Some(person)) = (calendar.is_empty(), first) {
            someone(&at("ical"), &person)?;
        }
    }
    Ok(Schedule { zone, rotations, calendar, overrides, trouble })
}

/// The shifts of people who are known; and whom the others name, where there are some: one name that is written wrong is
/// no reason that nobody else is on call.
pub(crate) fn of_people<P>(
    shifts: Vec<Shift>,
    people: &BTreeMap<String, P>,
) -> (Vec<Shift>, Option<String>) {
    let (known, others): (Vec<Shift>, Vec<Shift>) =
        shifts.into_iter().partition(|it| people.contains_key(&it.person));
    let unknown: BTreeSet<&str> = others.iter().map(|it| it.person.as_str()).collect();
    let mut named: Vec<String> = unknown.iter().take(5).map(|name| format!("`{name}`")).collect();
    if unknown.len() > named.len() {
        named.push(format!("{} more", unknown.len() - named.len()));
    }
    let strangers = (!named.is_empty()).then(|| {
        format!("it names {}, whom nobody knows: their shifts are left out", named.join(", "))
    });
    (known, strangers)
}

/// The same for whoever edits the configuration.
pub(crate) fn named_strangers(schedule: &str, why: &str) -> String {
    format!("of the calendar of the schedule `{schedule}` a part does not hold: {why}")
}

fn rotation(it: &RotationSection) -> Result<Rotation, String> {
    if it.people.is_empty() {
        return Err("`people` names at least one".to_owned());
    }
    if !(1..=366).contains(&it.days) {
        return Err("`days` is from 1 to 366".to_owned());
    }
    let start = it
        .start
        .parse()
        .map_err(|_| format!("`start` is `{}`, and not as `2026-01-05T09:00`", it.start))?;
    let time = |text: &str| {
        let read: Result<civil::Time, _> = text.parse();
        read.map_err(|_| format!("`{text}` is no time of the day, as `18:00`"))
    };
    let hours = match (&it.from, &it.to) {
        (Some(from), Some(to)) => Some((time(from)?, time(to)?)),
        (None, None) => None,
        _ => return Err("`from` and `to` go together".to_owned()),
    };
    Ok(Rotation { people: it.people.clone(), start, days: it.days, hours })
}

fn shift(it: &ShiftSection, zone: &TimeZone) -> Result<Shift, String> {
    let instant = |text: &str| {
        let local: Result<civil::DateTime, _> = text.parse();
        let local = local.map_err(|_| format!("`{text}` is not as `2026-12-24T09:00`"))?;
        at_local(local, zone)
    };
    let (from, until) = (instant(&it.from)?, instant(&it.until)?);
    if until <= from {
        return Err("`until` is after `from`".to_owned());
    }
    Ok(Shift { person: it.person.clone(), from, until })
}

/// An instant by a place's clock.
pub(super) fn at_local(local: civil::DateTime, zone: &TimeZone) -> Result<Timestamp, String> {
    let zoned = zone.to_ambiguous_zoned(local).compatible().map_err(|error| error.to_string())?;
    Ok(Timestamp(zoned.timestamp().as_microsecond()))
}

/// Whether somebody is there.
pub(super) fn known_person(file: &File, name: &str) -> Result<(), String> {
    if file.people.contains_key(name) {
        return Ok(());
    }
    let there: Vec<&str> = file.people.keys().map(String::as_str).collect();
    Err(format!("there is nobody called `{name}`; there are: {}", list(&there)))
}
