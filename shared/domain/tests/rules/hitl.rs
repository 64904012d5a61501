//! Tasks that ask people: who may answer what, what follows, and what the time's end makes of it.
use dagbok_events::{Actor, HitlAsk, HitlUser, MapIndex, Payload, RunId, TriggerCall, Usage};
use dagbok_protocol::{AnswerHitl, CommandBody, Reason, RefusalCode, ReportBody, ResumedBy};

use super::support::*;

fn question() -> HitlAsk {
    HitlAsk {
        subject: "Ship it?".to_owned(),
        body: None,
        options: vec!["Approve".to_owned(), "Reject".to_owned()],
        defaults: None,
        multiple: false,
        params: None,
        assigned_users: vec![],
    }
}

fn asking(ask: HitlAsk, within: Option<i64>) -> World {
    let mut world =
        World::with([dag("etl").add("ask", &[], |task| task.retries = 0).task("ship", &["ask"])]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.start("e1", "etl/r1/ask/1");
    let body = ReportBody::Deferred {
        trigger: TriggerCall {
            class_path: "airflow.providers.standard.triggers.hitl.HITLTrigger".to_owned(),
            kwargs: Payload::Inline("{}".to_owned()),
        },
        next_method: "execute_complete".to_owned(),
        next_kwargs: None,
        timeout_at: within.map(|within| world.now.plus(secs(within))),
        ask: Some(Box::new(ask)),
        xcoms: Vec::new(),
        usage: Usage::default(),
        log: None,
    };
    world.report("e1", "etl/r1/ask/1", body);
    world
}

fn answer(options: &[&str], input: Option<&str>) -> CommandBody {
    CommandBody::AnswerHitl(Box::new(AnswerHitl {
        dag_id: dag_id("etl"),
        run_id: RunId::new("r1").expect("an id"),
        task_id: task_id("ask"),
        map_index: MapIndex::UNMAPPED,
        chosen_options: options.iter().map(|it| (*it).to_owned()).collect(),
        params_input: input.map(str::to_owned),
    }))
}

fn event(world: &World) -> serde_json::Value {
    let run = world.namespace.active_run(&run_key("etl", "r1")).expect("there");
    let no = run.find(&task_id("ask"), MapIndex::UNMAPPED).expect("there");
    let by = run.instance(no).deferral.as_ref().expect("it waited").resume().expect("over").by;
    let ResumedBy::Event(Payload::Inline(text)) = by else { panic!("{by:?}") };
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn a_question_takes_up_nothing_is_in_no_triggers_hands_and_goes_on_with_the_answer() {
    let mut world = asking(question(), None);
    assert_eq!(world.namespace.in_flight(), 0);
    assert!(world.namespace.deferred_tries().is_empty());
    let told = world.why("etl", Some("r1"), Some("ask"), MapIndex::UNMAPPED).is.reasons;
    assert!(
        matches!(&told[..], [Reason::Hitl { subject, .. }] if subject == "Ship it?"),
        "{told:?}"
    );
    world.send(answer(&["Approve"], None)).is(["HitlAnswered ask Approve by ada"]);
    let event = event(&world);
    assert_eq!(event["chosen_options"], serde_json::json!(["Approve"]));
    assert_eq!(
        (&event["responded_by_user"]["name"], &event["timedout"]),
        (&"ada".into(), &false.into())
    );
    assert!(world.settle().iter().any(|fact| fact.starts_with("TaskQueued ask")));
    world.send(answer(&["Reject"], None)).refused(RefusalCode::AlreadyAnswered, []);
}

#[test]
fn an_answer_that_is_none_is_refused() {
    let mut world = asking(question(), None);
    world.send(answer(&["Maybe"], None)).refused(RefusalCode::Invalid, []);
    world.send(answer(&["Approve", "Reject"], None)).refused(RefusalCode::Invalid, []);
    world.send(answer(&[], None)).refused(RefusalCode::Invalid, []);
    world.send(answer(&["Approve"], Some("[1]"))).refused(RefusalCode::Invalid, []);
    world.send(answer(&["Approve"], Some(r#"{"x":1}"#))).refused(RefusalCode::Invalid, []);
    let user = HitlUser { id: "7".to_owned(), name: "bob".to_owned() };
    let mut world = asking(HitlAsk { assigned_users: vec![user], ..question() }, None);
    let why =
        world.send(answer(&["Approve"], None)).refused(RefusalCode::NotAssigned, []).to_owned();
    assert!(why.contains("bob"), "{why}");
    let mut command = world.command(answer(&["Approve"], None));
    command.by = Actor::User("bob".to_owned());
    world.deliver(&command).is(["HitlAnswered ask Approve by bob"]);
}

#[test]
fn what_asks_nobody_can_not_be_answered() {
    let mut world = World::with([dag("etl").task("ask", &[])]);
    world.trigger_as("etl", "r1");
    world.settle();
    world.send(answer(&["Approve"], None)).refused(RefusalCode::NotAsked, []);
    world.cancel("etl", "r1");
    world.send(answer(&["Approve"], None)).refused(RefusalCode::RunOver, []);
}

#[test]
fn once_the_time_is_up_the_defaults_count_or_the_task_is_told() {
    let params = r#"{"n":{"value":3,"description":null,"schema":{}}}"#.to_owned();
    let defaults = Some(vec!["Reject".to_owned()]);
    let mut world = asking(HitlAsk { defaults, params: Some(params), ..question() }, Some(60));
    let passed = world.pass(secs(61));
    assert!(passed.contains(&"HitlAnswered ask Reject by nobody".to_owned()), "{passed:?}");
    let told = event(&world);
    assert_eq!((&told["params_input"]["n"], &told["timedout"]), (&3.into(), &true.into()));
    let mut world = asking(question(), Some(60));
    world.pass(secs(61));
    assert_eq!(event(&world)["error_type"], "timeout");
    world.send(answer(&["Approve"], None)).refused(RefusalCode::AlreadyAnswered, []);
}
