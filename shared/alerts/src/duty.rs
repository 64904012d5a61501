//! Who is told of what, for people to look at: receivers, routes with their chains, and who is on call now and next.
//! Names only: addresses and secrets are for whoever sends.
use std::collections::BTreeSet;

use dagbok_events::{Micros, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Crew, Policy, Route, Schedule, Step};

/// The signal on which alerting is asked for its [`Duty`], with an empty question.
pub const DUTY: &str = "alerts.duty";
/// How far ahead turns are looked for, and in which steps: no hand-over of a rotation is finer. Shifts are looked at
/// where they begin and end.
const AHEAD: Micros = Micros(21 * 86_400_000_000);
const STEP: Micros = Micros(900_000_000);
/// Turns of a schedule, the one that is on among them.
const TURNS: usize = 12;

/// A policy as people look at it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Duty {
    /// Receivers by name.
    pub receivers: Vec<DutyReceiver>,
    /// Routes from the root down, in the order in which they are looked at.
    pub routes: Vec<DutyRoute>,
    /// Schedules by name.
    pub schedules: Vec<DutySchedule>,
    /// Whether somebody outside notices when alerting itself is gone.
    #[serde(default)]
    pub is_watched: bool,
}

/// A receiver.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DutyReceiver {
    /// Its name.
    pub name: String,
    /// Who is told in its place where it fails.
    pub fallback: Option<String>,
}

/// A route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DutyRoute {
    /// Its name.
    pub name: String,
    /// How many routes stand above it.
    pub depth: u32,
    /// Which alerts take it: all of these match.
    pub matchers: Vec<String>,
    /// Who is told, one step after the other.
    pub steps: Vec<DutyStep>,
    /// How often the steps begin again after the last.
    pub repeat: u32,
    /// Where it says what to do about what goes this way.
    #[serde(default)]
    pub runbook: Option<String>,
}

/// A step of a chain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DutyStep {
    /// Receivers that are told.
    pub receivers: Vec<String>,
    /// People who are told.
    pub people: Vec<String>,
    /// People of whom one is told, by turns.
    pub by_turns: Vec<String>,
    /// Schedules of which whoever is on call is told.
    pub schedules: Vec<String>,
    /// How long an acknowledgement is waited for before the next step.
    pub wait: Micros,
}

/// A schedule with its turns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DutySchedule {
    /// Its name.
    pub name: String,
    /// The zone that it goes by.
    pub zone: String,
    /// Who is on call now, and who next; at most twelve turns of the next 21 days.
    pub turns: Vec<DutyTurn>,
    /// Why its calendar can't be had or read just now.
    #[serde(default)]
    pub trouble: Option<String>,
}

/// A stretch of time in which one person is on call, or nobody.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DutyTurn {
    /// Who; nobody is a hole.
    pub person: Option<String>,
    /// The receivers by which they are reached, the first at once.
    pub reached_by: Vec<String>,
    /// Since when, or now.
    pub from: Timestamp,
    /// Until before when; `None` where it holds for as long as was looked.
    pub until: Option<Timestamp>,
}

impl Duty {
    /// Of a policy at `now`.
    pub fn of(policy: &Policy, now: Timestamp) -> Self {
        let receivers = policy.receivers.iter().map(|(name, rules)| DutyReceiver {
            name: name.clone(),
            fallback: rules.fallback.clone(),
        });
        let mut routes = Vec::new();
        if let Some(root) = &policy.root {
            down(root, 0, &mut routes);
        }
        let schedules = policy.crew.schedules.iter().map(|(name, schedule)| DutySchedule {
            name: name.clone(),
            zone: schedule.zone.iana_name().unwrap_or("UTC").to_owned(),
            turns: turns(&policy.crew, schedule, now),
            trouble: schedule.trouble.clone(),
        });
        Self {
            receivers: receivers.collect(),
            routes,
            schedules: schedules.collect(),
            is_watched: false,
        }
    }
}

fn down(route: &Route, depth: u32, routes: &mut Vec<DutyRoute>) {
    let step = |step: &Step| DutyStep {
        receivers: step.receivers.clone(),
        people: step.people.clone(),
        by_turns: step.round_robin.clone(),
        schedules: step.schedules.clone(),
        wait: step.wait,
    };
    routes.push(DutyRoute {
        name: route.name.clone(),
        depth,
        matchers: route.matchers.iter().map(ToString::to_string).collect(),
        steps: route.chain.steps.iter().map(step).collect(),
        repeat: route.chain.repeat,
        runbook: route.runbook.clone(),
    });
    route.routes.iter().for_each(|child| down(child, depth + 1, routes));
}

fn turns(crew: &Crew, schedule: &Schedule, now: Timestamp) -> Vec<DutyTurn> {
    let turn = |from: Timestamp, person: Option<&str>| {
        let contacts = person.and_then(|name| crew.people.get(name)).map(|it| &it.contacts);
        DutyTurn {
            person: person.map(str::to_owned),
            reached_by: contacts.into_iter().flatten().map(|it| it.receiver.clone()).collect(),
            from,
            until: None,
        }
    };
    let mut found = vec![turn(now, schedule.on_call(now))];
    let mut before = now;
    for at in looked_at(schedule, now) {
        let from = std::mem::replace(&mut before, at);
        let person = schedule.on_call(at);
        let last = found.last_mut().expect("there is one at the least");
        if last.person.as_deref() == person {
            continue;
        }
        let begins = begin(schedule, from, at, person);
        last.until = Some(begins);
        if found.len() == TURNS {
            break;
        }
        found.push(turn(begins, person));
    }
    found
}

/// When it is looked who is on call, in order: a shift of a minute between two steps is seen, too.
fn looked_at(schedule: &Schedule, now: Timestamp) -> BTreeSet<Timestamp> {
    let end = now.plus(AHEAD);
    let steps = (1..=AHEAD.0 / STEP.0).map(|step| now.plus(Micros(STEP.0 * step)));
    let shifts = schedule.calendar.iter().chain(&schedule.overrides);
    let edges = shifts.flat_map(|shift| [shift.from, shift.until]);
    steps.chain(edges.filter(|at| now < *at && *at < end)).collect()
}

/// The second in which `person` takes over, who does not at `before`, and does at `at`.
fn begin(schedule: &Schedule, before: Timestamp, at: Timestamp, person: Option<&str>) -> Timestamp {
    const SECOND: i64 = 1_000_000;
    let (mut low, mut high) = (before.0.div_euclid(SECOND), at.0.div_euclid(SECOND));
    while high - low > 1 {
        let mid = low + (high - low) / 2;
        if schedule.on_call(Timestamp(mid * SECOND)) == person { high = mid } else { low = mid }
    }
    Timestamp(high * SECOND)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::tz::TimeZone;

    use super::*;
    use crate::{Chain, Contact, Person, Rotation, Shift};

    fn at(text: &str) -> Timestamp {
        let at: jiff::Timestamp = text.parse().expect("an instant");
        Timestamp(at.as_microsecond())
    }

    #[test]
    fn turns_begin_when_the_clock_of_the_schedule_says_so() {
        let rotation = Rotation {
            people: vec!["ana".to_owned(), "bo".to_owned()],
            start: "2026-03-02T09:00".parse().expect("a time"),
            days: 7,
            hours: None,
        };
        let stands_in = Shift {
            person: "cy".to_owned(),
            from: at("2026-03-25T10:00:30Z"),
            until: at("2026-03-26T10:00:00Z"),
        };
        let schedule = Schedule {
            zone: TimeZone::get("Europe/Madrid").expect("a zone"),
            rotations: vec![rotation],
            calendar: Vec::new(),
            overrides: vec![stands_in],
            trouble: None,
        };
        let contact = Contact { receiver: "pager".to_owned(), after: Micros(0) };
        let people = BTreeMap::from([("bo".to_owned(), Person { contacts: vec![contact] })]);
        let crew = Crew { people, schedules: [("week".to_owned(), schedule)].into() };
        let policy = Policy { crew, ..Policy::default() };
        let duty = Duty::of(&policy, at("2026-03-24T12:00:10Z"));
        assert_eq!(duty.schedules[0].zone, "Europe/Madrid");
        let turns = &duty.schedules[0].turns;
        let who: Vec<_> = turns.iter().take(4).map(|it| it.person.as_deref()).collect();
        assert_eq!(who, [Some("bo"), Some("cy"), Some("bo"), Some("ana")]);
        assert_eq!(turns[0].reached_by, ["pager"]);
        let from: Vec<_> = turns.iter().take(4).map(|it| it.from).collect();
        let said = ["2026-03-24T12:00:10Z", "2026-03-25T10:00:30Z", "2026-03-26T10:00:00Z"];
        // The clocks go forward on the 29th: nine o'clock is an hour earlier in UTC.
        assert_eq!(from, [at(said[0]), at(said[1]), at(said[2]), at("2026-03-30T07:00:00Z")]);
        let joins = |two: &[DutyTurn]| two[0].until == Some(two[1].from);
        assert!(turns.windows(2).all(joins), "there is no hole");
        assert_eq!(turns.last().map(|it| it.until), Some(None), "nobody knows until when");
    }

    #[test]
    fn a_shift_between_two_looks_is_seen_to_the_second() {
        let shift = |person: &str, from: &str, until: &str| Shift {
            person: person.to_owned(),
            from: at(from),
            until: at(until),
        };
        let schedule = Schedule {
            zone: TimeZone::UTC,
            rotations: Vec::new(),
            calendar: vec![shift("ana", "2026-03-01T00:00:00Z", "2027-01-01T00:00:00Z")],
            overrides: vec![shift("bo", "2026-03-24T12:02:00Z", "2026-03-24T12:12:00Z")],
            trouble: None,
        };
        let found = turns(&Crew::default(), &schedule, at("2026-03-24T12:00:00Z"));
        let from: Vec<_> = found.iter().map(|it| (it.person.as_deref(), it.from)).collect();
        let said = ["2026-03-24T12:00:00Z", "2026-03-24T12:02:00Z", "2026-03-24T12:12:00Z"];
        assert_eq!(
            from,
            [(Some("ana"), at(said[0])), (Some("bo"), at(said[1])), (Some("ana"), at(said[2]))]
        );
        assert_eq!(found[2].until, None);
    }

    #[test]
    fn of_a_round_robin_one_is_told_and_a_chain_says_how_often_it_begins_again() {
        let step = Step { round_robin: vec!["ana".to_owned(), "bo".to_owned()], ..Step::default() };
        let chain = Chain { steps: vec![step], repeat: 2 };
        let route = Route {
            name: "root".to_owned(),
            matchers: Vec::new(),
            chain,
            goes_on: false,
            group_interval: Micros(0),
            repeat_interval: Micros(0),
            grouping: crate::Grouping::default(),
            mutes: Vec::new(),
            runbook: None,
            routes: Vec::new(),
        };
        let mut routes = Vec::new();
        down(&route, 0, &mut routes);
        assert_eq!(routes[0].repeat, 2);
        assert_eq!(routes[0].steps[0].by_turns, ["ana", "bo"]);
        assert!(routes[0].steps[0].people.is_empty());
    }
}
