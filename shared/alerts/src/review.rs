//! What of a policy holds and is not as it should be: told to whoever edits it, before anybody is to be paged by it.
use dagbok_events::{Micros, Timestamp};

use crate::{Matcher, Policy, Route, limits::EXPIRES_SOON};

/// How far ahead schedules are looked at for gaps.
const AHEAD: Micros = Micros::from_secs(28 * 86_400);

/// All of it, for people, at `now`.
pub fn review(policy: &Policy, now: Timestamp) -> Vec<String> {
    let mut found = policy.notes.clone();
    for (name, schedule) in &policy.crew.schedules {
        let is_unread = policy.unread.contains(name);
        if is_unread {
            found.push(format!(
                "the calendar of the schedule `{name}` was not asked for: whom it names is not known here"
            ));
        }
        if let Some(at) = schedule.gap(now, AHEAD).filter(|_| !is_unread) {
            found.push(format!("nobody is on call by the schedule `{name}` at {at}"));
        }
        let unknown = schedule.people().find(|it| !policy.crew.people.contains_key(*it));
        found
            .extend(unknown.map(|it| format!("the schedule `{name}` names `{it}`, who is nobody")));
    }
    for (name, person) in &policy.crew.people {
        if person.contacts.is_empty() {
            found.push(format!("`{name}` has no contact: whoever is told is not"));
        }
    }
    if let Some(root) = &policy.root {
        of_route(policy, root, now, &mut found);
    }
    for (name, rules) in &policy.receivers {
        if let Some(until) = rules.expires.filter(|until| until.since(now) < EXPIRES_SOON) {
            found.push(format!("the credentials of the receiver `{name}` hold until {until}"));
        }
    }
    found
}

/// Steps of a route that reach nobody as things are, and routes below it that nothing ever takes.
fn of_route(policy: &Policy, route: &Route, now: Timestamp, found: &mut Vec<String>) {
    let name = &route.name;
    let steps = route.chain.steps.iter().enumerate();
    let lost = steps.filter(|(_, step)| policy.reachable(step, now).is_empty());
    found.extend(lost.map(|(place, _)| {
        format!("step {} of the route `{name}` reaches nobody now: it is passed over", place + 1)
    }));
    for (place, child) in route.routes.iter().enumerate() {
        let before = route.routes[..place].iter().filter(|it| !it.goes_on);
        let mut covers = before.filter(|it| is_within(&child.matchers, &it.matchers));
        if let Some(by) = covers.next() {
            found.push(format!(
                "nothing reaches the route `{}`: all of it goes to `{}` before it",
                child.name, by.name
            ));
        }
        of_route(policy, child, now, found);
    }
}

/// Whether whatever these match the wider ones match too: all of those stand among these.
fn is_within(these: &[Matcher], wider: &[Matcher]) -> bool {
    wider.iter().all(|it| these.iter().any(|other| other.to_string() == it.to_string()))
}
