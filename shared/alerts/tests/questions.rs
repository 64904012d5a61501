//! Questions to people that nobody answers.
#![expect(clippy::unwrap_used, reason = "a test that can not go on must stop")]
mod world;

use dagbok_alerts::{Rule, Thresholds};
use dagbok_events::{
    ClockWentBack, Fact, HitlAnswered, HitlAsk, Leg, MapIndex, Micros, Scope, TaskId, Timestamp,
    TriggerCall, TryDeferred, TryNumber, Usage,
};
use serde_json::{from_value, json};
use world::{
    HOUR, World,
    acts::{MINUTE, begin, end, of, open, scope, tasks, thresholds, wait, world},
};

fn ask(world: &mut World, run: u8, copy: i32, until: Option<Timestamp>, defaults: &[&str]) {
    let ask: HitlAsk =
        from_value(json!({ "subject": "Ship\n \u{7} it?", "options": ["Approve", "Reject"] }))
            .unwrap();
    let defaults: Vec<String> = defaults.iter().map(ToString::to_string).collect();
    let trigger: TriggerCall =
        from_value(json!({ "class_path": "airflow.HITLTrigger", "kwargs": { "Inline": "{}" } }))
            .unwrap();
    let fact = TryDeferred {
        task_id: TaskId::new("approve").unwrap(),
        map_index: MapIndex(copy),
        try_number: TryNumber::new(1).unwrap(),
        leg: Leg::default(),
        ended_at: world.now,
        trigger,
        next_method: "execute_complete".to_owned(),
        next_kwargs: None,
        timeout_at: until,
        ask: Some(Box::new(HitlAsk {
            defaults: (!defaults.is_empty()).then_some(defaults),
            ..ask
        })),
        usage: Usage::default(),
        log: None,
    };
    world.log(scope(run), Fact::TryDeferred(Box::new(fact)));
}

fn answer(world: &mut World, run: u8, copy: i32) {
    let fact = HitlAnswered {
        task_id: TaskId::new("approve").unwrap(),
        map_index: MapIndex(copy),
        try_number: TryNumber::new(1).unwrap(),
        leg: Leg::default(),
        chosen_options: vec!["Approve".to_owned()],
        params_input: None,
        by: None,
        at: world.now,
    };
    world.log(scope(run), Fact::HitlAnswered(Box::new(fact)));
    world.settle();
}

#[test]
fn a_question_that_nobody_answers_is_told_of_after_an_hour_until_its_answer() {
    let mut world = world(&[], &tasks());
    begin(&mut world, 0);
    ask(&mut world, 0, -1, None, &[]);
    wait(&mut world, Micros(HOUR.0 - 1));
    assert!(of(&world, Rule::QuestionWaiting).is_empty(), "not a moment early");
    wait(&mut world, Micros(1));
    let alert = open(&world, Rule::QuestionWaiting).unwrap();
    assert!(alert.summary.starts_with("dag_0: task approve of run run_0 waits since"));
    assert!(alert.summary.ends_with("for an answer to \"Ship it?\""), "{}", alert.summary);
    let label = |name: &str| alert.labels[name].clone();
    assert_eq!([label("owner"), label("task"), label("severity")], ["ml", "approve", "warning"]);
    world.crash();
    world.settle();
    assert!(open(&world, Rule::QuestionWaiting).is_some(), "and after a crash it is the same");
    answer(&mut world, 0, -1);
    assert!(open(&world, Rule::QuestionWaiting).is_none());
    assert_eq!(of(&world, Rule::QuestionWaiting).len(), 1);
}

#[test]
fn one_that_has_an_end_is_told_of_once_a_quarter_of_its_time_is_left() {
    let mut world = world(&[], &tasks());
    begin(&mut world, 0);
    let until = world.now.plus(Micros(20 * MINUTE.0));
    ask(&mut world, 0, -1, Some(until), &["Reject"]);
    wait(&mut world, Micros(15 * MINUTE.0 - 1));
    assert!(of(&world, Rule::QuestionWaiting).is_empty());
    wait(&mut world, Micros(1));
    let alert = open(&world, Rule::QuestionWaiting).unwrap();
    assert!(alert.summary.ends_with(&format!("; at {until} `Reject` counts")), "{}", alert.summary);
    end(&mut world, 0);
    world.settle();
    assert!(open(&world, Rule::QuestionWaiting).is_none(), "its run is over");
}

#[test]
fn each_copy_asks_by_itself_and_the_last_answer_is_the_end() {
    let mut world = world(&[], &tasks());
    begin(&mut world, 0);
    ask(&mut world, 0, 0, None, &[]);
    ask(&mut world, 0, 1, None, &[]);
    wait(&mut world, HOUR);
    let alert = open(&world, Rule::QuestionWaiting).unwrap();
    assert!(alert.details.iter().any(|(name, text)| name == "asked" && text.contains("of copy 1")));
    answer(&mut world, 0, 0);
    assert!(open(&world, Rule::QuestionWaiting).is_some());
    answer(&mut world, 0, 1);
    assert!(open(&world, Rule::QuestionWaiting).is_none());
}

#[test]
fn the_configuration_says_how_long_an_answer_may_take_also_of_what_is_asked_already() {
    let mut world = world(&[], &tasks());
    begin(&mut world, 0);
    ask(&mut world, 0, -1, None, &[]);
    let within = |minutes| Thresholds {
        answer_within: Some(Micros(minutes * MINUTE.0)),
        ..Thresholds::default()
    };
    thresholds(&mut world, &within(10));
    wait(&mut world, Micros(10 * MINUTE.0));
    assert!(open(&world, Rule::QuestionWaiting).is_some());
    thresholds(&mut world, &within(300));
    world.settle();
    assert!(open(&world, Rule::QuestionWaiting).is_none());
    wait(&mut world, Micros(290 * MINUTE.0));
    assert!(open(&world, Rule::QuestionWaiting).is_some());
}

#[test]
fn a_clock_that_goes_back_has_it_wait_as_long_from_there() {
    let mut world = world(&[], &tasks());
    begin(&mut world, 0);
    let asked = world.now;
    ask(&mut world, 0, -1, None, &[]);
    world.now = Timestamp(asked.0 - HOUR.0);
    let back = ClockWentBack { from: asked, to: world.now };
    world.log(Scope::Namespace, Fact::ClockWentBack(back));
    wait(&mut world, Micros(HOUR.0 - 1));
    assert!(of(&world, Rule::QuestionWaiting).is_empty());
    wait(&mut world, Micros(1));
    assert!(open(&world, Rule::QuestionWaiting).is_some());
}
