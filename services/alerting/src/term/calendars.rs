//! Calendars that are had by their addresses: asked for again and again, kept over restarts, and laid into the schedules.
//! What was read last holds for as long as nothing newer can be read.
use std::{collections::BTreeMap, time::Duration};

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
}

/// A calendar as it came.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) text: String,
    pub(crate) etag: Option<String>,
    pub(crate) modified: Option<String>,
}

/// What came of asking; nothing new is `Ok(None)`.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) schedule: String,
    pub(crate) url: Secret,
    pub(crate) came: Result<Option<Got>, String>,
}

/// What is new of a calendar.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) digest: String,
    pub(crate) shifts: usize,
}

/// A text that was read, as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Text {
    /// SHA-256 of the address: that of another says nothing.
    of: String,
    text: String,
    etag: Option<String>,
    modified: Option<String>,
}

/// One that the configuration names.
#[derive(Debug)]
struct Known {
    url: Secret,
    every: Duration,
    zone: TimeZone,
    next: Timestamp,
    is_asked: bool,
    text: Option<Text>,
    shifts: Vec<Shift>,
    unrolled: Timestamp,
    /// Why it could not be had or read when it was asked for last.
    trouble: Option<String>,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Calendars {
    known: BTreeMap<String, Known>,
    /// What was kept before this process began, or of schedules whose configuration changed.
    kept: BTreeMap<String, Text>,
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
        let texts: BTreeMap<&String, &Text> = texts.collect();
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
            let text = self.kept.remove(name).filter(|text| text.of == of);
            let (url, every, zone) = (it.url.clone(), it.every, it.zone.clone());
            let (next, unrolled) = (Timestamp(0), Timestamp(0));
            let (is_asked, shifts) = (false, Vec::new());
            let trouble = None;
            let known = Known { url, every, zone, next, is_asked, text, shifts, unrolled, trouble };
            self.known.insert(name.clone(), known);
        }
    }

    /// Lays what is known into a policy's schedules.
    pub(crate) fn fill(&mut self, policy: &mut Policy, now: Timestamp) {
        for (name, it) in &mut self.known {
            it.unroll(now);
            if let Some(schedule) = policy.crew.schedules.get_mut(name) {
                schedule.calendar.clone_from(&it.shifts);
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
            Asking {
                schedule: name.clone(),
                url: it.url.clone(),
                etag: text.and_then(|it| it.etag.clone()),
                modified: text.and_then(|it| it.modified.clone()),
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
        let read = match fetched.came {
            Ok(Some(got)) => it.read(now, got, policy).map(|is_new| self.is_new |= is_new),
            Ok(None) if it.text.is_none() => Err("it answered 304 and was never had".to_owned()),
            Ok(None) => Ok(()),
            Err(why) => Err(why),
        };
        let wait = if read.is_ok() { every } else { Micros(every.0.min(SOON.0)) };
        it.next = now.plus(wait);
        it.trouble = read.as_ref().err().cloned();
        it.unroll(now);
        let (shifts, text) = (it.shifts.len(), it.text.as_ref());
        Some(
            read.map(|()| Read {
                digest: text.map(|it| digest(&it.text)).unwrap_or_default(),
                shifts,
            }),
        )
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
        let fetched = Fetched { schedule: schedule.clone(), url: asking.url, came };
        if let Some(Err(why)) = calendars.came(now, fetched, &loaded.policy) {
            let note = format!("the calendar of the schedule `{schedule}` can't be read: {why}");
            loaded.policy.notes.push(note);
        }
    }
    calendars.fill(&mut loaded.policy, now);
    loaded
}

impl Known {
    /// Reads a text; where it can't be, what was there stays.
    fn read(&mut self, now: Timestamp, got: Got, policy: &Policy) -> Result<bool, String> {
        let shifts = ical::shifts(&got.text, &self.zone, now)?;
        let people = &policy.crew.people;
        if let Some(shift) = shifts.iter().find(|it| !people.contains_key(&it.person)) {
            return Err(format!("there is nobody called `{}`", shift.person));
        }
        let is_new = self.text.as_ref().is_none_or(|it| it.text != got.text);
        (self.shifts, self.unrolled) = (shifts, now);
        let Got { text, etag, modified } = got;
        self.text = Some(Text { of: digest(self.url.reveal()), text, etag, modified });
        Ok(is_new)
    }

    /// Unrolls what repeats anew, where that is long ago.
    fn unroll(&mut self, now: Timestamp) {
        let Some(text) = &self.text else { return };
        if self.unrolled != Timestamp(0) && now.since(self.unrolled).0.abs() < UNROLL.0 {
            return;
        }
        // It could be read when it came.
        if let Ok(shifts) = ical::shifts(&text.text, &self.zone, now) {
            (self.shifts, self.unrolled) = (shifts, now);
        }
    }
}
