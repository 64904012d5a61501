//! Mail of retries: to whom a task's author names, and to nobody else.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
mod world;

use dagbok_alerts::{AlertFact, NotificationAttempted, Rule};
use dagbok_events::{Fact, Micros, RunSucceeded, TryFailed};
use serde_json::{Value, json};
use world::{
    HOUR, World,
    acts::{MINUTE, begin, of, queue, scope, wait},
};

fn world(mailboxes: &[(&str, &str)]) -> World {
    let task = |(task_id, mailbox): &(&str, &str)| {
        json!({
            "task_id": task_id, "operator": "PythonOperator", "retries": 9, "retry_email": [mailbox],
        })
    };
    let tasks: Vec<Value> = mailboxes.iter().map(task).collect();
    let mut world = world::acts::world(&[], &json!(tasks));
    let mail = world.policy.receivers.get_mut("mail").unwrap();
    (mail.mails_dags, mail.fallback) = (true, Some("pager".to_owned()));
    begin(&mut world, 0);
    world
}

/// A try fails, and the task is tried again in five minutes.
fn retried(world: &mut World, task: &str, number: u16) {
    queue(world, 0, task);
    let fact = json!({
        "task_id": task, "try_number": number, "ended_at": world.now,
        "failure": { "kind": "exception", "fault": "user", "message": "no", "retryable": true },
        "usage": { "max_rss_bytes": 0, "user_us": 0, "system_us": 0 },
        "retry_at": world.now.plus(Micros(5 * MINUTE.0)),
    });
    let failed: TryFailed = serde_json::from_value(fact).unwrap();
    world.log(scope(0), Fact::TryFailed(Box::new(failed)));
    world.settle();
}

fn sent(world: &World) -> Vec<NotificationAttempted> {
    let facts = world.alert_log.iter().flat_map(|record| &record.facts);
    let sent = facts.filter_map(|fact| match fact {
        AlertFact::NotificationAttempted(it) => Some((**it).clone()),
        _ => None,
    });
    sent.collect()
}

fn rejected(world: &mut World) {
    // An answer comes within the minute: what waits longer is a trouble of its own.
    for _ in 0..60 {
        wait(world, MINUTE);
        while !world.under_way.is_empty() {
            world.answer(0, 1);
            world.settle();
        }
    }
}

#[test]
fn each_tasks_author_has_mail_of_its_retries() {
    let mut world = world(&[("train", "ana@example.org"), ("tell", "ben@example.org")]);
    world.takes = true;
    retried(&mut world, "train", 1);
    retried(&mut world, "tell", 1);
    wait(&mut world, HOUR);
    let mut told: Vec<String> = sent(&world)
        .iter()
        .map(|it| world.book.alert(it.id).unwrap().labels["email"].clone())
        .collect();
    told.sort();
    assert_eq!(told, ["ana@example.org", "ben@example.org"]);
    world.log(scope(0), Fact::RunSucceeded(RunSucceeded {}));
    world.settle();
    assert!(of(&world, Rule::TaskRetried).iter().all(|alert| !alert.is_open()));
}

#[test]
fn what_is_no_mailbox_is_no_alert_and_wakes_nobody() {
    let mut world = world(&[("train", "ana"), ("tell", "Ben <ben@example.org>")]);
    retried(&mut world, "train", 1);
    rejected(&mut world);
    assert_eq!(of(&world, Rule::TaskRetried).len(), 0);
    retried(&mut world, "tell", 1);
    wait(&mut world, HOUR);
    assert_eq!(of(&world, Rule::TaskRetried).len(), 1);
}

#[test]
fn a_mailbox_that_nobody_takes_says_nothing_of_whoever_carries_the_mail() {
    let mut world = world(&[("train", "nobody@example.org")]);
    retried(&mut world, "train", 1);
    rejected(&mut world);
    for _ in 0..3 {
        rejected(&mut world);
    }
    let sent = sent(&world);
    assert_eq!(
        sent.len(),
        1,
        "it is not mailed again and again, and the pager has none of it: {sent:?}"
    );
    assert_eq!(of(&world, Rule::ReceiverFailing).len(), 0);
}
