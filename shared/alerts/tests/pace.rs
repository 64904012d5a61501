//! How much a receiver is told, and in whose words: what is too much is told together, what is critical at once, and
//! words that come to nothing are replaced by plain ones.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
mod world;

use std::collections::BTreeSet;

use dagbok_alerts::{
    AlertFact, AskBody, DeliveryState, Gathered, Limit, NotificationAttempted, Purpose, Rule,
    Words, render,
};
use dagbok_events::{
    DagId, Fact, Micros, RunCreated, RunFailed, RunId, RunKey, RunSucceeded, RunType, Scope,
};
use proptest::prelude::*;
use world::{HOUR, World, created};

const MINUTE: Micros = Micros::from_secs(60);

fn world(messages: u32) -> World {
    let mut world = World::new();
    let pager = world.policy.receivers.get_mut("pager").unwrap();
    pager.limit = Some(Limit { messages, per: HOUR });
    // One by one, so that nothing but the limit keeps anything back.
    world.policy.root.as_mut().unwrap().grouping.after = 10_000;
    world
}

fn run_of(dag: u32) -> RunKey {
    RunKey {
        dag_id: DagId::new(format!("many_{dag}")).unwrap(),
        run_id: RunId::new("run").unwrap(),
    }
}

/// A run that somebody asked for fails: a warning.
fn warn(world: &mut World, dag: u32) {
    let run = run_of(dag);
    let made = RunCreated { run_type: RunType::Manual, ..created(world.now) };
    world.log(Scope::Run(run.clone()), Fact::RunCreated(Box::new(made)));
    world.log(Scope::Run(run), Fact::RunFailed(RunFailed { failed: vec![] }));
    world.settle();
}

fn answer_all(world: &mut World) {
    while !world.under_way.is_empty() {
        world.answer(0, 3);
        world.settle();
    }
}

/// All messages that the pager was sent that something is wrong, once each.
fn pager(world: &World) -> Vec<NotificationAttempted> {
    let facts = world.alert_log.iter().flat_map(|record| &record.facts);
    let sent = facts.filter_map(|fact| match fact {
        AlertFact::NotificationAttempted(it)
            if it.receiver == "pager" && it.purpose == Purpose::Trigger && it.attempt == 1 =>
        {
            Some((**it).clone())
        }
        _ => None,
    });
    sent.collect()
}

fn told(world: &World) -> BTreeSet<u64> {
    let sent = pager(world);
    let ids = sent.iter().flat_map(|it| {
        let others = it.gathers.iter().flat_map(|it: &Gathered| it.alerts.clone());
        std::iter::once(it.id).chain(others)
    });
    ids.collect()
}

#[test]
fn what_is_too_much_is_told_together_and_nothing_is_left_out() {
    let mut world = world(3);
    for dag in 0..40 {
        warn(&mut world, dag);
    }
    assert_eq!(pager(&world).len(), 3);
    answer_all(&mut world);
    world.crash();
    world.settle();
    assert_eq!(pager(&world).len(), 3, "and a crash gives no room");
    let due = world.agenda.next_due(&world.watch, &world.book, &world.policy);
    assert!(due.is_some_and(|due| due.since(world.now) <= HOUR));
    world.come_to_rest();
    let sent = pager(&world);
    let digest = sent.iter().find_map(|it| Some((it, it.gathers.as_ref()?))).unwrap();
    assert_eq!(digest.1.alerts.len(), 36, "36 with the one whose message it is");
    assert_eq!(digest.1.first.len(), 10);
    let alert = world.book.alert(digest.0.id).unwrap();
    let text = render(alert, &digest.0.into(), &world.policy).text;
    assert!(text.contains("too much to tell one by one: 36 more"), "{text}");
    assert!(text.contains("many_5"), "{text}");
    assert_eq!(told(&world).len(), 40);
}

#[test]
fn what_is_critical_is_told_at_once() {
    let mut world = world(1);
    warn(&mut world, 0);
    warn(&mut world, 1);
    assert_eq!(pager(&world).len(), 1);
    for dag in 2..6 {
        world.fail_of(dag);
        world.settle();
    }
    assert_eq!(pager(&world).len(), 5);
}

#[test]
fn an_end_is_told_though_there_is_no_room_and_only_to_whom_was_told_alone() {
    let mut world = world(1);
    warn(&mut world, 0);
    warn(&mut world, 1);
    answer_all(&mut world);
    for dag in 0..2 {
        world.log(
            Scope::Run(run_of(dag)),
            Fact::RunDeleted(dagbok_events::RunDeleted { logical_date: None, tries: 0, ends: 0 }),
        );
    }
    world.settle();
    let ends = world.under_way.iter().filter(|(_, message, _)| message.contains("/resolve/"));
    assert_eq!(ends.count(), 1);
    world.come_to_rest();
    assert_eq!(told(&world).len(), 2, "what was withheld and is over is told, as what it is");
}

/// Warns of so many DAGs, and waits until the receiver has room again: a digest is under way.
fn warn_until_there_is_room(world: &mut World, dags: u32) {
    for dag in 0..dags {
        warn(world, dag);
    }
    answer_all(world);
    world.now = world.now.plus(HOUR);
    world.settle();
}

#[test]
fn a_digest_that_is_refused_goes_to_the_fallback_whole() {
    let mut world = world(1);
    warn_until_there_is_room(&mut world, 5);
    let digest = world.under_way.iter().position(|(_, message, _)| message.ends_with("/pager"));
    world.answer(digest.unwrap(), 1);
    world.settle();
    let facts = world.alert_log.iter().flat_map(|record| &record.facts);
    let fallback = facts.filter_map(|fact| match fact {
        AlertFact::NotificationAttempted(it) if it.instead_of.as_deref() == Some("pager") => {
            Some(it.gathers.as_ref()?.alerts.len())
        }
        _ => None,
    });
    assert_eq!(fallback.collect::<Vec<_>>(), [3]);
}

#[test]
fn a_receiver_that_is_not_there_any_more_keeps_nothing_waiting() {
    let mut world = world(1);
    for dag in 0..5 {
        warn(&mut world, dag);
    }
    world.policy.receivers.remove("pager");
    world.agenda.look_again();
    world.settle();
    let waits = world.book.alerts().flat_map(|alert| alert.deliveries.values());
    assert_eq!(waits.filter(|it| it.state == DeliveryState::Withheld).count(), 0);
}

/// How the messages about an alert to a receiver stand.
fn states(world: &World, id: u64, receiver: &str) -> Vec<DeliveryState> {
    let all = world.book.alert(id).unwrap().deliveries.values();
    let triggers = all.filter(|it| it.receiver == receiver && it.purpose == Purpose::Trigger);
    triggers.map(|it| it.state).collect()
}

fn over(world: &mut World, dag: u32) {
    let gone = dagbok_events::RunDeleted { logical_date: None, tries: 0, ends: 0 };
    world.log(Scope::Run(run_of(dag)), Fact::RunDeleted(gone));
    world.settle();
}

#[test]
fn what_is_withheld_of_what_was_told_is_let_go_once_it_is_over() {
    let mut world = world(2);
    warn(&mut world, 0);
    answer_all(&mut world);
    warn(&mut world, 1);
    answer_all(&mut world);
    // Nobody acknowledges: the chain is begun again within the hour, and there is no room for that.
    for _ in 0..20 {
        world.now = world.now.plus(MINUTE);
        world.settle();
        answer_all(&mut world);
        warn_again(&mut world, 0);
    }
    assert!(states(&world, 1, "pager").contains(&DeliveryState::Withheld));
    world.ask(AskBody::Resolve { id: 1 });
    world.settle();
    answer_all(&mut world);
    let sent = pager(&world).iter().filter(|it| it.id == 1).count();
    assert!(!states(&world, 1, "pager").contains(&DeliveryState::Withheld));
    world.come_to_rest();
    assert_eq!(pager(&world).iter().filter(|it| it.id == 1).count(), sent, "it opens nothing anew");
}

/// One more run of a DAG fails: its alert is news again.
fn warn_again(world: &mut World, dag: u32) {
    let number = world.run_log.len();
    let run = RunKey { run_id: RunId::new(format!("run_{number}")).unwrap(), ..run_of(dag) };
    let made = RunCreated { run_type: RunType::Manual, ..created(world.now) };
    world.log(Scope::Run(run.clone()), Fact::RunCreated(Box::new(made)));
    world.log(Scope::Run(run), Fact::RunFailed(RunFailed { failed: vec![] }));
    world.settle();
    answer_all(world);
}

#[test]
fn what_is_repeated_while_it_is_withheld_waits_as_one_message() {
    let mut world = world(1);
    world.policy.root.as_mut().unwrap().chain.steps.truncate(1);
    warn(&mut world, 0);
    answer_all(&mut world);
    for _ in 0..59 {
        world.now = world.now.plus(MINUTE);
        warn_again(&mut world, 0);
        let states = states(&world, 1, "pager");
        let waits = states.iter().filter(|state| **state == DeliveryState::Withheld).count();
        assert!(waits <= 1, "{states:?}");
    }
    assert!(states(&world, 1, "pager").contains(&DeliveryState::Withheld));
    world.ask(AskBody::Acknowledge { id: 1 });
    world.come_to_rest();
    assert_eq!(pager(&world).len(), 1, "whoever has it in hand was told, and is not told again");
}

#[test]
fn what_a_digest_tells_is_told_once_somebody_took_it() {
    let mut world = world(1);
    warn_until_there_is_room(&mut world, 3);
    let heard = |world: &World, id| {
        let all = &world.book.alert(id).unwrap().deliveries;
        all.values().any(|it| it.receiver == "pager" && it.is_heard())
    };
    let digest = world.under_way.iter().position(|(_, name, _)| name.ends_with("/pager")).unwrap();
    let carried = if world.under_way[digest].0 == 2 { 3 } else { 2 };
    assert!(states(&world, carried, "pager").contains(&DeliveryState::Gathered));
    assert!(!heard(&world, carried), "it is under way");
    world.answer(digest, 3);
    assert!(heard(&world, carried));
}

#[test]
fn what_a_digest_told_is_let_go_too_once_somebody_has_it_in_hand() {
    let mut world = world(1);
    warn_until_there_is_room(&mut world, 3);
    answer_all(&mut world);
    let was_carried = |id: &u64| states(&world, *id, "pager").contains(&DeliveryState::Gathered);
    let carried = [2, 3].into_iter().find(was_carried).unwrap();
    for _ in 0..30 {
        world.now = world.now.plus(MINUTE);
        warn_again(&mut world, u32::try_from(carried).unwrap() - 1);
    }
    assert!(states(&world, carried, "pager").contains(&DeliveryState::Withheld));
    world.ask(AskBody::Acknowledge { id: carried });
    world.settle();
    assert!(!states(&world, carried, "pager").contains(&DeliveryState::Withheld));
}

#[test]
fn what_a_digest_told_is_given_up_with_it_where_nobody_stands_in() {
    let mut world = world(1);
    world.policy.receivers.get_mut("pager").unwrap().fallback = None;
    warn_until_there_is_room(&mut world, 3);
    let digest = world.under_way.iter().position(|(_, name, _)| name.ends_with("/pager")).unwrap();
    let carried = if world.under_way[digest].0 == 2 { 3 } else { 2 };
    world.answer(digest, 1);
    assert!(states(&world, carried, "pager").contains(&DeliveryState::Rejected));
    assert!(!states(&world, carried, "pager").contains(&DeliveryState::Gathered));
}

#[test]
fn what_a_digest_told_is_told_by_whoever_stands_in_though_that_one_knows_of_the_alert() {
    let mut world = world(1);
    let chain = &mut world.policy.root.as_mut().unwrap().chain;
    chain.steps.truncate(1);
    chain.steps[0].receivers.push("mail".to_owned());
    warn_until_there_is_room(&mut world, 3);
    let digest = world.under_way.iter().position(|(_, name, _)| name.ends_with("/pager")).unwrap();
    let carried = if world.under_way[digest].0 == 2 { 3 } else { 2 };
    world.answer(digest, 1);
    let facts = world.alert_log.iter().flat_map(|record| &record.facts);
    let instead = facts.filter_map(|fact| match fact {
        AlertFact::NotificationAttempted(it) if it.instead_of.is_some() => it.gathers.clone(),
        _ => None,
    });
    assert_eq!(instead.map(|it| it.alerts).collect::<Vec<_>>(), [[carried]]);
    let with = |world: &World| {
        let all = world.book.alert(carried).unwrap().deliveries.values();
        let mut all = all.filter(|it| it.receiver == "pager");
        all.find_map(|it| it.told_with.clone()).unwrap()
    };
    assert!(!with(&world).is_taken && with(&world).message.ends_with("/mail"));
    answer_all(&mut world);
    assert!(with(&world).is_taken);
}

#[test]
fn what_somebody_silences_is_in_no_digest_while_that_holds() {
    let mut world = world(1);
    for dag in 0..4 {
        warn(&mut world, dag);
    }
    answer_all(&mut world);
    let (matchers, until) = (vec!["dag=\"many_2\"".to_owned()], world.now.plus(Micros(HOUR.0 * 3)));
    world.ask(AskBody::Silence { matchers, until });
    for _ in 0..150 {
        world.now = world.now.plus(MINUTE);
        world.settle();
        answer_all(&mut world);
        assert!(!told(&world).contains(&3), "{:?}", pager(&world));
    }
    assert!(told(&world).contains(&4));
    over(&mut world, 2);
    world.settle();
    for _ in 0..20 {
        world.now = world.now.plus(MINUTE);
        world.settle();
        assert!(!told(&world).contains(&3), "it is over, and silent still");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10, ..ProptestConfig::default() })]
    #[test]
    fn no_hour_has_more_messages_than_the_limit_and_every_alert_is_told(
        waits in prop::collection::vec(0i64..1_200, 1..30), messages in 1u32..6,
    ) {
        let mut world = world(messages);
        let mut times: Vec<i64> = Vec::new();
        let mut known = 0;
        let mut note = |world: &World, times: &mut Vec<i64>| {
            let count = pager(world).len();
            times.extend(std::iter::repeat_n(world.now.0, count - known));
            known = count;
        };
        for (dag, wait) in (0..).zip(&waits) {
            // Nobody acknowledges and nothing is repeated meanwhile: what is sent is what is new.
            world.now = world.now.plus(Micros(wait * 1_000_000));
            world.settle();
            note(&world, &mut times);
            warn(&mut world, dag);
            answer_all(&mut world);
            note(&world, &mut times);
            let id = world.book.open().last().map(|alert| alert.id).unwrap();
            world.ask(AskBody::Acknowledge { id });
        }
        for _ in 0..130 {
            world.now = world.now.plus(MINUTE);
            world.settle();
            answer_all(&mut world);
            note(&world, &mut times);
        }
        for (nth, at) in times.iter().enumerate() {
            let within = times[nth..].iter().filter(|other| **other - at < HOUR.0).count();
            prop_assert!(within <= messages as usize, "{within} of {messages}");
        }
        prop_assert_eq!(told(&world).len(), waits.len());
    }
}

fn words(title: &str, text: &str) -> Words {
    Words::new(Some(title.to_owned()), Some(text.to_owned())).unwrap()
}

fn with_words(words: Words) -> World {
    let mut world = World::new();
    world.policy.receivers.get_mut("pager").unwrap().words = Some(words);
    world
}

#[test]
fn a_receiver_is_told_in_its_own_words() {
    let title = "{{ severity|upper }} {{ dag }}\nof {{ labels.owner or 'nobody' }}";
    let text =
        "{% for name, value in details|items %}{{ name }}={{ value }};{% endfor %} {{ link }}";
    let mut world = with_words(words(title, text));
    world.fail_of(1);
    world.settle();
    let sent = pager(&world);
    let alert = world.book.alert(sent[0].id).unwrap();
    let message = render(alert, &(&sent[0]).into(), &world.policy);
    assert_eq!(message.plain_since, None);
    assert_eq!(message.title, "CRITICAL many_1 of nobody");
    assert!(message.text.starts_with("logical date="), "{}", message.text);
    assert!(message.text.ends_with("https://example.org/dags/many_1/runs/run"), "{}", message.text);
    assert_eq!(message.digest(), sent[0].text_digest, "what is recorded is what is sent");
    assert_eq!(message.plain_since, None);
}

#[test]
fn words_that_take_too_long_are_replaced_by_plain_ones_and_that_is_an_alert() {
    let endless = "{% for a in range(1000) %}{% for b in range(1000) %}x{% endfor %}{% endfor %}";
    let mut world = with_words(words("t", endless));
    world.fail_of(1);
    world.settle();
    let sent = pager(&world);
    let alert = world.book.alert(sent[0].id).unwrap();
    let message = render(alert, &(&sent[0]).into(), &world.policy);
    assert!(message.title.contains("run run failed") && message.text.contains("route: platform"));
    assert!(sent[0].plain_since.as_ref().unwrap().contains("fuel"), "{sent:?}");
    let open = |world: &World| {
        world.book.open().filter(|alert| alert.rule == Rule::TemplateFailing).count()
    };
    assert_eq!(open(&world), 1);
    let about_it = pager(&world).into_iter().filter(|it| it.id != 1).collect::<Vec<_>>();
    assert!(!about_it.is_empty(), "it is told by the same receiver");
    world.policy.receivers.get_mut("pager").unwrap().words = Some(words("t", "{{ summary }}"));
    world.agenda.look_again();
    world.fail_of(2);
    world.settle();
    assert_eq!(open(&world), 1, "words may hold for one alert and fail for another");
    world.now = world.now.plus(Micros::from_secs(86_400));
    world.fail_of(3);
    world.settle();
    assert_eq!(open(&world), 0, "none failed for a day: {:?}", pager(&world));
}

#[test]
fn that_words_fail_is_not_over_by_a_page_about_it() {
    // Its own page is rendered well.
    let endless = "{% for a in range(1000) %}{% for b in range(1000) %}x{% endfor %}{% endfor %}";
    let text = format!(
        "{{% if labels.rule == 'template_failing' %}}fine{{% else %}}{endless}{{% endif %}}"
    );
    let mut world = with_words(words("t", &text));
    world.fail_of(1);
    world.settle();
    answer_all(&mut world);
    let all = world.book.alerts().filter(|alert| alert.rule == Rule::TemplateFailing);
    let all: Vec<bool> = all.map(dagbok_alerts::Alert::is_open).collect();
    assert_eq!(all, [true]);
    let rendered = pager(&world).into_iter().filter(|it| it.id == 2 && it.plain_since.is_none());
    assert_eq!(rendered.count(), 1, "{:?}", pager(&world));
}

#[test]
fn words_that_can_not_hold_are_refused_when_they_are_read() {
    let refused = |text: &str| Words::new(None, Some(text.to_owned())).unwrap_err().to_string();
    assert!(refused("a\n{{ b").starts_with("line 2 of the template: syntax error"));
    assert!(refused("{{ nothing }}").contains("there is no `nothing`; there are: title, text"));
    assert!(refused(&"x".repeat(20_000)).contains("16384 bytes at most"));
    assert_eq!(
        Words::new(None, Some("{{ labels.nothing }}{{ range(2)|join }}".to_owned())).err(),
        None
    );
}

#[test]
fn a_success_ends_what_was_withheld_too() {
    let mut world = world(1);
    warn(&mut world, 0);
    warn(&mut world, 1);
    answer_all(&mut world);
    let run = RunKey { run_id: RunId::new("later").unwrap(), ..run_of(1) };
    world.log(Scope::Run(run.clone()), Fact::RunCreated(Box::new(created(world.now))));
    world.log(Scope::Run(run), Fact::RunSucceeded(RunSucceeded {}));
    world.settle();
    assert_eq!(world.book.open().count(), 1);
    world.come_to_rest();
    let withheld = world.book.alerts().flat_map(|alert| alert.deliveries.values());
    assert_eq!(withheld.filter(|it| it.state == DeliveryState::Withheld).count(), 0);
}
