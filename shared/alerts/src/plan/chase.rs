//! Who is told when: the steps of a chain, until somebody has it in hand.
use dagbok_events::{Micros, Timestamp};

use super::notices;
use crate::{
    Alert, AlertEscalated, AlertFact, Chain, DeliveryState, EscalatedWhy, Grouping, Policy,
    Purpose, Routed, Rule, Severity, book::Chase,
};

/// Where a chain reached nobody at all, it is begun again after this.
const NOBODY_WAIT: Micros = Micros::from_secs(60);

/// What is told again by what happens alone.
const NEVER: Micros = Micros::from_secs(400 * 86_400);

/// What comes next, when, and why.
struct Next {
    at: Timestamp,
    turn: u32,
    step: u32,
    why: Option<EscalatedWhy>,
}

/// What an alert's chain calls for at `now`.
pub(super) fn facts(policy: &Policy, alert: &Alert, now: Timestamp) -> Vec<AlertFact> {
    let Some((routed, next)) = next(policy, alert) else { return Vec::new() };
    if next.at > now {
        return Vec::new();
    }
    let (turn, step) = (next.turn, next.step);
    let place = routed.chain.steps.get(step as usize);
    let told = place.map(|it| policy.told(it, alert.id, now)).unwrap_or_default();
    // That nobody is there is recorded too: the step has been begun, and is not begun for ever.
    let nobody = told.is_empty().then_some(EscalatedWhy::NobodyReached);
    let mut facts = Vec::new();
    if let Some(why) = next.why.or(nobody) {
        facts.push(AlertFact::AlertEscalated(AlertEscalated { id: alert.id, turn, step, why }));
    }
    let (told, route) = if told.is_empty() && is_lost(&routed, alert, turn, step) {
        (platform(policy, alert.id, now), "platform, since the chain reaches nobody")
    } else {
        (told, routed.route.as_str())
    };
    for (receiver, person) in &told {
        let person = person.as_deref();
        let place = notices::Place { turn, step, route, instead_of: None, person };
        facts.push(notices::first(policy, alert, Purpose::Trigger, receiver, &place));
    }
    facts
}

/// Whether a chain's last step reaches nobody, and no step before it did.
fn is_lost(routed: &Routed, alert: &Alert, turn: u32, step: u32) -> bool {
    let is_last = step as usize + 1 >= routed.chain.steps.len();
    let mut told = alert.deliveries.values().filter(|it| it.turn == turn);
    is_last && told.all(|it| it.state == DeliveryState::Rejected)
}

/// Whom the platform's route tells first.
fn platform(policy: &Policy, id: u64, now: Timestamp) -> Vec<(String, Option<String>)> {
    let step = policy.root.as_ref().and_then(|root| root.chain.steps.first());
    step.map(|step| policy.told(step, id, now)).unwrap_or_default()
}

/// When an alert's chain calls for something next.
pub(super) fn due(policy: &Policy, alert: &Alert) -> Option<Timestamp> {
    next(policy, alert).map(|(_, next)| next.at)
}

fn next(policy: &Policy, alert: &Alert) -> Option<(Routed, Next)> {
    if !alert.is_firing() || alert.held.is_some() {
        return None;
    }
    let routed = route_of(policy, alert)?;
    let next = match alert.chase {
        None => Next { at: begins(&routed, alert), turn: 0, step: 0, why: None },
        Some(_) if alert.rule == Rule::Test => return None,
        Some(chase) => following(&routed, alert, chase),
    };
    Some((routed, next))
}

/// When an alert is first told.
fn begins(routed: &Routed, alert: &Alert) -> Timestamp {
    let label = |name: &str| alert.labels.get(name).map(String::as_str);
    let wait = if label("flapping").is_some() {
        routed.group_interval
    } else if label("severity") == Some(Severity::Critical.word()) || alert.rule == Rule::Test {
        Micros(0)
    } else {
        routed.grouping.wait
    };
    alert.opened_at.plus(wait)
}

/// The route of an alert: a test's is its one receiver; what is wrong with a receiver goes by another's fallback
/// as anything does.
pub(super) fn route_of(policy: &Policy, alert: &Alert) -> Option<Routed> {
    match &alert.only {
        Some(receiver) => Some(Routed {
            route: "test".to_owned(),
            chain: Chain::of(receiver, NOBODY_WAIT),
            group_interval: NOBODY_WAIT,
            repeat_interval: NOBODY_WAIT,
            grouping: Grouping::default(),
            mutes: Vec::new(),
            runbook: None,
        }),
        // By mail alone, and to whom the task's author names: nobody is woken by a task that is tried again.
        None if alert.rule == Rule::TaskRetried => mailed(policy),
        None => policy.route(&alert.labels),
    }
}

/// The way of mail to those whom DAG files name, where a receiver does that.
fn mailed(policy: &Policy) -> Option<Routed> {
    let receivers: Vec<String> = policy.mailing().cloned().collect();
    let mut chain = Chain::of(receivers.first()?, NOBODY_WAIT);
    chain.steps[0].receivers = receivers;
    let root = policy.root.as_ref()?;
    Some(Routed {
        route: "email_on_retry".to_owned(),
        chain,
        group_interval: root.group_interval,
        repeat_interval: NEVER,
        grouping: Grouping::default(),
        mutes: root.mutes.clone(),
        runbook: None,
    })
}

fn following(routed: &Routed, alert: &Alert, chase: Chase) -> Next {
    let chain = &routed.chain;
    let cycle = chain.repeat.saturating_add(1);
    // Where further steps wait, they are told of it when their time comes: a DAG that fails more often than a step
    // waits would begin its chain anew for ever, and nobody further on would hear of it.
    let is_last = chase.step as usize + 1 >= chain.steps.len();
    if alert.is_news && is_last {
        let turn = (chase.turn / cycle).saturating_add(1).saturating_mul(cycle);
        let at = chase.at.plus(routed.group_interval);
        return Next { at, turn, step: 0, why: Some(EscalatedWhy::Recurred) };
    }
    let nobody = reached_nobody(alert, chase);
    let step = chase.step as usize;
    let wait = chain.steps.get(step).map_or(NOBODY_WAIT, |step| step.wait);
    if step + 1 < chain.steps.len() {
        let (at, why) = if nobody {
            (chase.at, EscalatedWhy::NobodyReached)
        } else {
            (chase.at.plus(wait), EscalatedWhy::NotAcknowledged)
        };
        return Next { at, turn: chase.turn, step: chase.step.saturating_add(1), why: Some(why) };
    }
    let (wait, why) = if nobody && alert.rule == Rule::TaskRetried {
        // Whoever can't be mailed is not mailed again and again: the next retry is another letter.
        (routed.repeat_interval, EscalatedWhy::NobodyReached)
    } else if nobody {
        (Micros(wait.0.max(NOBODY_WAIT.0)), EscalatedWhy::NobodyReached)
    } else if chase.turn % cycle < chain.repeat {
        (wait, EscalatedWhy::NotAcknowledged)
    } else {
        (routed.repeat_interval, EscalatedWhy::StillFiring)
    };
    // Never at once: a chain of no time would be told for ever.
    let wait = Micros(wait.0.max(Micros::from_secs(1).0));
    Next { at: chase.at.plus(wait), turn: chase.turn.saturating_add(1), step: 0, why: Some(why) }
}

/// Whether every message of the step in hand was given up, fallbacks included, or none was sent.
fn reached_nobody(alert: &Alert, chase: Chase) -> bool {
    alert
        .deliveries
        .values()
        .filter(|it| it.purpose == Purpose::Trigger)
        .filter(|it| it.turn == chase.turn && it.step == chase.step)
        .all(|it| it.state == DeliveryState::Rejected)
}
