//! Calendars that are had by their addresses: asked for again and again, kept over restarts, and laid into the schedules.
//! What was read last holds for as long as nothing newer can be read.
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use dagbok_alerts::{Policy, Shift};
use dagbok_config::Secret;
use dagbok_events::{Micros, Timestamp};
use dagbok_runtime::Clock;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::{
    Parts,
    config::{self, Loaded, digest, ical},
    receivers::Senders,
};

/// The name under which they are kept.
const KEPT: &str = "alerting-calendars";
/// After a failure one is asked for sooner than otherwise.
const SOON: Micros = Micros::from_secs(60);
/// The longest time between two of asking for one.
const DAY: Micros = Micros::from_secs(86_400);
/// What repeats is unrolled anew after so long, though the text is the same.
const UNROLL: Micros = Micros::from_secs(12 * 3_600);

/// A calendar that is to be asked for.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) schedule: String,
    pub(crate) url: Secret,
    pub(crate) etag: Option<String>,
    pub(crate) modified: Option<String>,
    /// The zone of times that name none.
    pub(crate) zone: TimeZone,
    /// What is known of it, where it is to be unrolled anew.
    pub(crate) known: Option<Arc<str>>,
}

/// A calendar as it came.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) text: Arc<str>,
    pub(crate) etag: Option<String>,
    pub(crate) modified: Option<String>,
}

/// What came of asking; nothing new is `Ok(None)`.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) schedule: String,
    pub(crate) url: Secret,
    pub(crate) came: Result<Option<Got>, String>,
    /// The shifts of what came, or of what was known.
    shifts: Option<Result<Vec<Shift>, String>>,
}

impl Fetched {
    /// Reads what came, on a thread for such work: whoever pages does not wait for what somebody else wrote.
    pub(crate) async fn of(
        asking: Asking,
        came: Result<Option<Got>, String>,
        now: Timestamp,
    ) -> Self {
        let Asking { schedule, url, zone, known, .. } = asking;
        let text = match &came {
            Ok(Some(got)) => Some(got.text.clone()),
            Ok(None) | Err(_) => known,
        };
        let shifts = match text {
            None => None,
            Some(text) => {
                let read = move || ical::shifts(&text, &zone, now);
                let read = tokio::task::spawn_blocking(read).await;
                Some(read.unwrap_or_else(|error| Err(format!("it can't be read: {error}"))))
            }
        };
        Self { schedule, url, came, shifts }
    }
}

/// What is new of a calendar.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) digest: String,
    pub(crate) shifts: usize,
    /// Whom it names and nobody knows, where it does: their shifts are left out.
    pub(crate) strangers: Option<String>,
}

/// A text that was read, as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    /// SHA-256 of the address: that of another says nothing.
    of: String,
    text: Arc<str>,
    etag: Option<String>,
    modified: Option<String>,
    /// What was read of it, and when: who, from when, until when.
    #[serde(default)]
    shifts: Vec<(String, Timestamp, Timestamp)>,
    #[serde(default = "never")]
    unrolled: Timestamp,
    /// By the clock of which zone, where a time names none.
    #[serde(default)]
    zone: Option<String>,
    /// Whom it names and nobody knows, where it does.
    #[serde(default)]
    strangers: Option<String>,
}

const fn never() -> Timestamp {
    Timestamp(0)
}

impl Kept {
    fn shifts(&self) -> Vec<Shift> {
        let shift = |(person, from, until): &(String, Timestamp, Timestamp)| Shift {
            person: person.clone(),
            from: *from,
            until: *until,
        };
        self.shifts.iter().map(shift).collect()
    }

    fn take(&mut self, shifts: Vec<Shift>, now: Timestamp, zone: &TimeZone, policy: &Policy) {
        let (shifts, strangers) = config::of_people(shifts, &policy.crew.people);
        self.strangers = strangers;
        self.shifts = shifts.into_iter().map(|it| (it.person, it.from, it.until)).collect();
        self.unrolled = now;
        self.zone = zone.iana_name().map(str::to_owned);
    }
}

/// A text without the lines that say when it was asked for: many write those anew each time.
fn lasting(text: &str) -> String {
    let passes = ["DTSTAMP", "LAST-MODIFIED", "CREATED"];
    let lasts = |line: &&str| !passes.iter().any(|it| line.starts_with(it));
    text.lines().filter(lasts).collect::<Vec<_>>().join("\n")
}

/// One that the configuration names.
#[derive(Debug)]
struct Known {
    url: Secret,
    every: Duration,
    zone: TimeZone,
    next: Timestamp,
    is_asked: bool,
    text: Option<Kept>,
    /// Why it could not be had or read when it was asked for last.
    trouble: Option<String>,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Calendars {
    known: BTreeMap<String, Known>,
    /// What was kept before this process began, or of schedules whose configuration changed.
    kept: BTreeMap<String, Kept>,
    is_new: bool,
}

impl Calendars {
    /// What was kept.
    pub(crate) async fn kept(parts: &Parts) -> Self {
        let bytes = parts.snapshots.get(KEPT).await.ok().flatten();
        let kept = bytes.and_then(|bytes| rmp_serde::from_slice(&bytes).ok()).unwrap_or_default();
        Self { kept, ..Self::default() }
    }

    /// Keeps them where they changed; a failure costs only that they are asked for after a start.
    pub(crate) async fn keep(&mut self, parts: &Parts) {
        if !std::mem::take(&mut self.is_new) {
            return;
        }
        let texts = self.known.iter().filter_map(|(name, it)| Some((name, it.text.as_ref()?)));
        let texts: BTreeMap<&String, &Kept> = texts.collect();
        let Ok(bytes) = rmp_serde::to_vec_named(&texts) else { return };
        if let Err(error) = parts.snapshots.put(KEPT, bytes.into()).await {
            tracing::warn!(%error, "calendars can't be kept");
        }
    }

    /// From now on these are asked for.
    pub(crate) fn take(&mut self, named: &BTreeMap<String, config::Calendar>) {
        for (name, it) in std::mem::take(&mut self.known) {
            self.kept.extend(it.text.map(|text| (name, text)));
        }
        for (name, it) in named {
            let of = digest(it.url.reveal());
            let mut text = self.kept.remove(name).filter(|text| text.of == of);
            if let Some(text) = text.as_mut().filter(|text| {
                // Somebody whom it names may be known by now.
                text.zone.as_deref() != it.zone.iana_name() || text.strangers.is_some()
            }) {
                // What was read of it holds until it was read by the other clock.
                text.unrolled = never();
            }
            let (url, every, zone) = (it.url.clone(), it.every, it.zone.clone());
            let (next, is_asked, trouble) = (Timestamp(0), false, None);
            let known = Known { url, every, zone, next, is_asked, text, trouble };
            self.known.insert(name.clone(), known);
        }
    }

    /// Lays what is known into a policy's schedules.
    pub(crate) fn fill(&self, policy: &mut Policy) {
        for (name, it) in &self.known {
            if let Some(schedule) = policy.crew.schedules.get_mut(name) {
                schedule.calendar = it.text.as_ref().map(Kept::shifts).unwrap_or_default();
                schedule.trouble.clone_from(&it.trouble);
            }
        }
    }

    /// Those whose time it is.
    pub(crate) fn due(&mut self, now: Timestamp) -> Vec<Asking> {
        // What lies far ahead is by a clock that went back since.
        let is_due = |it: &Known| it.next <= now || it.next.since(now) > DAY;
        let due = self.known.iter_mut().filter(|(_, it)| !it.is_asked && is_due(it));
        due.map(|(name, it)| {
            it.is_asked = true;
            let text = it.text.as_ref();
            let known = text.filter(|_| it.is_old(now)).map(|it| it.text.clone());
            Asking {
                schedule: name.clone(),
                url: it.url.clone(),
                etag: text.and_then(|it| it.etag.clone()),
                modified: text.and_then(|it| it.modified.clone()),
                zone: it.zone.clone(),
                known,
            }
        })
        .collect()
    }

    /// Takes in what came. `None` where it is of an address that is named no more.
    pub(crate) fn came(
        &mut self,
        now: Timestamp,
        fetched: Fetched,
        policy: &Policy,
    ) -> Option<Result<Read, String>> {
        let it = self.known.get_mut(&fetched.schedule)?;
        if it.url.reveal() != fetched.url.reveal() {
            return None;
        }
        it.is_asked = false;
        let every = Micros(i64::try_from(it.every.as_micros()).unwrap_or(i64::MAX));
        let Fetched { came, shifts, .. } = fetched;
        let read = match came {
            Ok(Some(got)) => {
                let shifts = shifts.unwrap_or_else(|| Err("it was not read".to_owned()));
                shifts.and_then(|shifts| it.read(now, got, shifts, policy))
            }
            other => {
                // It could be read when it came; the same is unrolled further.
                if let (Some(text), Some(Ok(shifts))) = (&mut it.text, shifts) {
                    text.take(shifts, now, &it.zone, policy);
                    self.is_new = true;
                }
                match other {
                    Ok(_) if it.text.is_none() => {
                        Err("it answered 304 and was never had".to_owned())
                    }
                    Ok(_) => Ok(false),
                    Err(why) => Err(why),
                }
            }
        };
        self.is_new |= read == Ok(true);
        let wait = if read.is_ok() { every } else { Micros(every.0.min(SOON.0)) };
        it.next = now.plus(wait);
        let text = it.text.as_ref();
        let strangers = text.and_then(|it| it.strangers.clone());
        it.trouble = read.as_ref().err().cloned().or_else(|| strangers.clone());
        let shifts = text.map_or(0, |it| it.shifts.len());
        let digest = text.map(|it| digest(&lasting(&it.text))).unwrap_or_default();
        Some(read.map(|_| Read { digest, shifts, strangers }))
    }
}

/// Asks for the calendars of a configuration that somebody looks at, once, and lays them into its schedules. What can't be had
/// is a note of its policy.
pub async fn with_calendars(mut loaded: Loaded, clock: Clock) -> Loaded {
    let now = clock.now();
    let Ok(senders) = Senders::new(clock) else { return loaded };
    senders.allow(loaded.guard.clone());
    let mut calendars = Calendars::default();
    calendars.take(&loaded.calendars);
    for asking in calendars.due(now) {
        let schedule = asking.schedule.clone();
        let came = senders.fetch(&asking).await;
        let fetched = Fetched::of(asking, came, now).await;
        let note = match calendars.came(now, fetched, &loaded.policy) {
            Some(Err(why)) => {
                format!("the calendar of the schedule `{schedule}` can't be read: {why}")
            }
            Some(Ok(Read { strangers: Some(why), .. })) => config::named_strangers(&schedule, &why),
            Some(Ok(_)) | None => continue,
        };
        loaded.policy.notes.push(note);
    }
    calendars.fill(&mut loaded.policy);
    loaded
}

impl Known {
    /// Takes a text in; where it names nobody whom anybody knows, what was there stays. Whether it says something new.
    fn read(
        &mut self,
        now: Timestamp,
        got: Got,
        shifts: Vec<Shift>,
        policy: &Policy,
    ) -> Result<bool, String> {
        let people = &policy.crew.people;
        if let Some(shift) = shifts.first()
            && !shifts.iter().any(|it| people.contains_key(&it.person))
        {
            return Err(format!("there is nobody called `{}`", shift.person));
        }
        let known = self.text.as_ref().map(|it| lasting(&it.text));
        let is_new = known.is_none_or(|it| it != lasting(&got.text)) || self.is_old(now);
        let Got { text, etag, modified } = got;
        let of = digest(self.url.reveal());
        let (unrolled, zone) = (never(), None);
        let (shifts_known, strangers) = (Vec::new(), None);
        let mut text =
            Kept { of, text, etag, modified, shifts: shifts_known, unrolled, zone, strangers };
        text.take(shifts, now, &self.zone, policy);
        self.text = Some(text);
        Ok(is_new)
    }

    /// Whether what repeats was unrolled long ago.
    fn is_old(&self, now: Timestamp) -> bool {
        self.text.as_ref().is_some_and(|it| now.since(it.unrolled).0.abs() >= UNROLL.0)
    }
}

#[cfg(test)]
mod tests;
