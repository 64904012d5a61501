//! Who is told of what, for people to look at: receivers, routes with their chains, and who is on call now and next.
//! Names only: addresses and secrets are for whoever sends.
use dagbok_events::{Micros, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Crew, Policy, Route, Schedule, Step};

/// The signal on which alerting is asked for its [`Duty`], with an empty question.
pub const DUTY: &str = "alerts.duty";
/// How far ahead turns are looked for, and in which steps: no hand-over is finer.
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
}

/// A step of a chain.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DutyStep {
    /// Receivers that are told.
    pub receivers: Vec<String>,
    /// People who are told, by turns the last of them.
    pub people: Vec<String>,
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
    /// Until before when, or as far as was looked.
    pub until: Timestamp,
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
        });
        Self { receivers: receivers.collect(), routes, schedules: schedules.collect() }
    }
}

fn down(route: &Route, depth: u32, routes: &mut Vec<DutyRoute>) {
    let step = |step: &Step| DutyStep {
        receivers: step.receivers.clone(),
        people: step.people.iter().chain(&step.round_robin).cloned().collect(),
        schedules: step.schedules.clone(),
        wait: step.wait,
    };
    routes.push(DutyRoute {
        name: route.name.clone(),
        depth,
        matchers: route.matchers.iter().map(ToString::to_string).collect(),
        steps: route.chain.steps.iter().map(step).collect(),
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
            until: now.plus(AHEAD),
        }
    };
    let mut found = vec![turn(now, schedule.on_call(now))];
    for step in 1..=AHEAD.0 / STEP.0 {
        let (before, at) = (now.plus(Micros(STEP.0 * (step - 1))), now.plus(Micros(STEP.0 * step)));
        let person = schedule.on_call(at);
        let last = found.last_mut().expect("there is one at the least");
        if last.person.as_deref() == person {
            continue;
        }
        let begins = begin(schedule, before, at, person);
        last.until = begins;
        if found.len() == TURNS {
            break;
        }
        found.push(turn(begins, person));
    }
    found
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
    use crate::{Contact, Person, Rotation, Shift};

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
        assert!(turns.windows(2).all(|two| two[0].until == two[1].from), "there is no hole");
    }
}
