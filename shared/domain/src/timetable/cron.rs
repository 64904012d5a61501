//! Cron on the wall clock of a time zone.
//!
//! croner finds matching wall clock times, without a zone; what happens where the clock is put forward
//! or back is Airflow's rule, and it has two halves. An expression that runs in every hour counts
//! elapsed time, so that it keeps running through an hour that comes twice. Any other one means a wall
//! clock time: one that comes twice is taken at its second coming, one that does not come is moved on
//! by the gap (02:30 becomes 03:30).
use std::sync::Arc;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use dagbok_events::{Micros, RunImmediately, Timestamp};
use jiff::civil::{DateTime, DateTimeRound, date};
use jiff::{RoundMode, Unit};

use super::dialect::{self, Expression, Nth, Set};
use super::error::BadSchedule;
use super::ticks::Ticks;
use super::zone::Zone;

/// Croniter gives up where nothing matches for this many years, and so does the search here: an
/// impossible date (30 February) has no tick, and takes no time.
const YEARS_SEARCHED: i16 = 50;

/// A cron expression in its zone.
#[derive(Clone, Debug)]
pub(super) struct CronTicks {
    /// A tick matches any of these; none where nothing can match.
    patterns: Arc<[Cron]>,
    zone: Zone,
    every_hour: bool,
}

impl CronTicks {
    /// Reads an expression and a zone.
    pub(super) fn new(expression: &str, zone: &str) -> Result<Self, BadSchedule> {
        let read = dialect::parse(expression)?;
        Ok(Self {
            patterns: patterns(&read).into(),
            zone: Zone::parse(zone)?,
            every_hour: read.hours().is_bare_any(),
        })
    }

    /// The last tick if it is just past, so that a DAG deployed a moment late still runs, or as a file has it;
    /// otherwise the next one.
    pub(super) fn first_run_by(&self, how: RunImmediately, now: Timestamp) -> Option<Timestamp> {
        let (past, next) = (self.align_prev(now)?, self.align_next(now)?);
        let grace = match how {
            RunImmediately::Always => return Some(past),
            RunImmediately::Within(grace) => grace,
            RunImmediately::IfNear => {
                Micros((next.since(past).0 / 10).max(Micros::from_secs(300).0))
            }
        };
        Some(if now.since(past) <= grace { past } else { next })
    }

    /// Whether no date can ever match.
    pub(super) fn is_never(&self) -> bool {
        self.patterns.is_empty()
    }

    fn wall_next(&self, wall: DateTime) -> Option<DateTime> {
        let from =
            wall.round(DateTimeRound::new().smallest(Unit::Second).mode(RoundMode::Floor)).ok()?;
        let found = self
            .patterns
            .iter()
            .filter_map(|cron| cron.find_next_occurrence(&from, false).ok())
            .min()?;
        (found.year() - from.year() <= YEARS_SEARCHED).then_some(found)
    }

    fn wall_prev(&self, wall: DateTime) -> Option<DateTime> {
        let from =
            wall.round(DateTimeRound::new().smallest(Unit::Second).mode(RoundMode::Ceil)).ok()?;
        let found = self
            .patterns
            .iter()
            .filter_map(|cron| cron.find_previous_occurrence(&from, false).ok())
            .max()?;
        (from.year() - found.year() <= YEARS_SEARCHED).then_some(found)
    }

    /// The instant of wall clock time `tick`, reached from `from`, whose wall clock shows `wall`.
    fn instant(&self, from: Timestamp, wall: DateTime, tick: DateTime) -> Option<Timestamp> {
        if self.every_hour {
            let micros = i64::try_from(tick.duration_since(wall).as_micros()).ok()?;
            return Some(from.plus(Micros(micros)));
        }
        self.zone.instant(tick)
    }
}

impl Ticks for CronTicks {
    fn next(&self, from: Timestamp) -> Option<Timestamp> {
        let wall = self.zone.wall(from);
        self.instant(from, wall, self.wall_next(wall)?)
    }

    fn prev(&self, from: Timestamp) -> Option<Timestamp> {
        let wall = self.zone.wall(from);
        self.instant(from, wall, self.wall_prev(wall)?)
    }

    fn align_next(&self, at: Timestamp) -> Option<Timestamp> {
        let next = self.next(at)?;
        Some(if self.prev(next)? == at { at } else { next })
    }

    fn align_prev(&self, at: Timestamp) -> Option<Timestamp> {
        let prev = self.prev(at)?;
        Some(if self.next(prev)? == at { at } else { prev })
    }

    /// The start of the last interval that is over; where one is over just now, of that one.
    fn latest_start(&self, _anchor: Option<Timestamp>, now: Timestamp) -> Option<Timestamp> {
        let last = self.prev(now)?;
        if self.next(last)? == now { Some(last) } else { self.prev(last) }
    }

    fn first_run(&self, now: Timestamp) -> Option<Timestamp> {
        self.first_run_by(RunImmediately::IfNear, now)
    }
}

/// The patterns whose union is what croniter matches, each of which can come.
fn patterns(read: &Expression) -> Vec<Cron> {
    let nth = !read.nth.is_empty();
    let restricted = !read.days().any && !read.weekdays().any;
    let (days, weekdays) = (day_variants(read), weekdays(read));
    let build = |days: &[(String, String)], weekdays: &str, join: Join| -> Vec<Cron> {
        days.iter()
            .map(|(days, months)| pattern(read, days, months, weekdays, join))
            .filter(comes)
            .collect()
    };
    if !restricted || (nth && read.nearest.is_some()) {
        return build(&days, &weekdays, Join::And);
    }
    if !nth && read.nearest.is_none() {
        return build(&days, &weekdays, Join::Or);
    }
    // With a `#` or a `W` on one side croniter looks for both sides together and for that side alone,
    // and takes the nearer: that side alone. But it fails where the two can't come together.
    if build(&days, &weekdays, Join::And).is_empty() {
        Vec::new()
    } else if nth {
        build(&[("*".to_owned(), list(read.months()))], &weekdays, Join::And)
    } else {
        build(&days, "*", Join::And)
    }
}

/// How the two day fields go together.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Join {
    And,
    Or,
}

/// The day of the month in croner's words, with the months that this holds for. Croniter takes `30W`
/// of a shorter month for that of its last day, where croner leaves the month out.
fn day_variants(read: &Expression) -> Vec<(String, String)> {
    const FEBRUARY: u16 = 2;
    let months = list(read.months());
    match read.nearest {
        None => vec![(list(read.days()), months)],
        Some(day @ ..=28) => vec![(format!("{day}W"), months)],
        Some(31..) => vec![("LW".to_owned(), months)],
        Some(day) => {
            let has = |month: &u16| read.months().any || read.months().values.contains(month);
            let others: Vec<u16> =
                (1..=12).filter(|month| *month != FEBRUARY && has(month)).collect();
            let mut variants = Vec::new();
            if !others.is_empty() {
                variants.push((format!("{day}W"), join(others)));
            }
            if has(&FEBRUARY) {
                variants.push(("LW".to_owned(), FEBRUARY.to_string()));
            }
            variants
        }
    }
}

fn weekdays(read: &Expression) -> String {
    if read.nth.is_empty() {
        return list(read.weekdays());
    }
    join(read.nth.iter().flat_map(|(day, which)| {
        which.iter().map(move |nth| match nth {
            Nth::At(n) => format!("{day}#{n}"),
            Nth::Last => format!("{day}#L"),
        })
    }))
}

fn pattern(read: &Expression, days: &str, months: &str, weekdays: &str, how: Join) -> Cron {
    let and = if how == Join::And && days != "*" && weekdays != "*" { "+" } else { "" };
    let seconds = read.seconds().map_or_else(|| "0".to_owned(), list);
    let years = read.years().map_or_else(|| "*".to_owned(), list);
    let (minutes, hours) = (list(read.minutes()), list(read.hours()));
    CronParser::builder()
        .seconds(Seconds::Required)
        .year(Year::Required)
        .build()
        .parse(&format!("{seconds} {minutes} {hours} {days} {months} {and}{weekdays} {years}"))
        .expect("the fields hold checked values only")
}

/// A field as croner reads it.
fn list(set: &Set) -> String {
    if set.any {
        return "*".to_owned();
    }
    join(set.values.iter().map(u16::to_string).chain(set.last.then(|| "L".to_owned())))
}

fn join<T: ToString>(parts: impl IntoIterator<Item = T>) -> String {
    parts.into_iter().map(|part| part.to_string()).collect::<Vec<_>>().join(",")
}

/// Whether any date matches at all, from where croniter's years begin.
fn comes(cron: &Cron) -> bool {
    cron.find_next_occurrence(&date(1969, 12, 31).at(23, 59, 59, 0), false).is_ok()
}
