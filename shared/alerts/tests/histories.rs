//! Histories drawn at random, with a receiver that lies, people who interfere and crashes at every moment: what
//! alerting promises holds for each of them.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
mod world;

use dagbok_alerts::{AlertState, Book, Purpose};
use dagbok_events::{decode_any, encode_any};
use proptest::prelude::*;
use world::{Step, World};

fn step() -> impl Strategy<Value = Step> {
    let (dag, run) = (0..2_u8, 0..4_u8);
    prop_oneof![
        4 => (dag.clone(), run.clone()).prop_map(|(a, b)| Step::Create(a, b)),
        4 => (dag.clone(), run.clone()).prop_map(|(a, b)| Step::Fail(a, b)),
        2 => (dag.clone(), run).prop_map(|(a, b)| Step::Succeed(a, b)),
        1 => dag.clone().prop_map(Step::Promise),
        1 => dag.prop_map(Step::Missed),
        4 => (1..20_000_u16).prop_map(Step::Wait),
        8 => (any::<u8>(), 0..4_u8).prop_map(|(a, b)| Step::Answer(a, b)),
        2 => Just(Step::Crash),
        1 => (0..4_u8).prop_map(Step::Acknowledge),
        1 => (0..4_u8).prop_map(Step::Resolve),
        1 => Just(Step::Silence),
    ]
}

fn lived(steps: &[Step]) -> World {
    let mut world = World::new();
    for step in steps {
        world.take(step);
    }
    world
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_same_history_gives_the_same_bytes(steps in prop::collection::vec(step(), 1..80)) {
        let (one, two) = (lived(&steps), lived(&steps));
        let bytes = |world: &World| world.alert_log.iter().flat_map(encode_any).collect::<Vec<u8>>();
        prop_assert_eq!(bytes(&one), bytes(&two));
        let mut folded = Book::default();
        for (seq, record) in (1..).zip(&one.alert_log) {
            folded.evolve(seq, record);
        }
        // As it is from its checkpoint, and as it is from the log.
        let kept: Book = decode_any(&encode_any(&one.book)).unwrap();
        prop_assert_eq!(&kept, &one.book);
        prop_assert_eq!(folded, one.book);
    }

    #[test]
    fn every_failure_is_an_alert_and_every_alert_is_told(steps in prop::collection::vec(step(), 1..80)) {
        let mut world = lived(&steps);
        world.come_to_rest();
        for seq in &world.failures {
            let alert = world.book.alerts().find(|alert| alert.last_cause >= *seq && alert.causes.first() <= Some(seq));
            prop_assert!(alert.is_some(), "the failure {} has no alert", seq);
        }
        for alert in world.book.alerts() {
            let is_firing = matches!(alert.state, AlertState::Firing);
            if is_firing && world.book.silenced_by(&alert.labels, world.now).is_none() {
                // What is told with another, or follows from it, is told by that one's message.
                let mut teller = alert;
                while let Some(by) = teller.held.and_then(|held| held.by) {
                    teller = world.book.alert(by).unwrap();
                    prop_assert!(teller.id != alert.id, "{} keeps itself from being told", alert.summary);
                    let listed = teller.follows.count > 0;
                    prop_assert!(listed && !(teller.is_firing() && teller.held.is_none() && teller.is_news));
                }
                let is_told = !teller.told().is_empty() || !teller.is_firing();
                prop_assert!(is_told && teller.is_open(), "nobody was told of {}", alert.summary);
            }
            // Whoever was told of it is told of its end.
            for receiver in alert.told().into_iter().filter(|_| !alert.is_open()) {
                let ended = alert.deliveries.values().any(|it| it.purpose == Purpose::Resolve && it.receiver == receiver);
                prop_assert!(ended, "{} does not know that {} is over", receiver, alert.summary);
            }
        }
    }

    #[test]
    fn what_a_crash_leaves_open_is_sent_again_under_its_name(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = lived(&steps);
        let open: Vec<String> = world.under_way.iter().map(|(_, message, _)| message.clone()).collect();
        world.crash();
        let before = world.reached.clone();
        world.settle();
        for message in open {
            if !world.taken.contains(&message) {
                let again = world.reached[&message] > before[&message];
                prop_assert!(again, "{} was lost by a crash", message);
            }
        }
    }
}
