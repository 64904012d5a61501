//! What the API shows of assets: pages, orders, what waits, and who brings what up to date.
mod support;

use axum::http::StatusCode;
use dagbok_events::{
    AssetCondition, AssetEvent, AssetKey, AssetRef, AssetUpdated, DagId, Fact, MapIndex,
    RunCreated, RunType, Scope,
};
use serde_json::{Value, json};
use support::{
    World, each,
    story::{FIRST, dag, key, spec, task},
};

fn asset(name: &str) -> AssetRef {
    let (name, uri) = (name.to_owned(), format!("s3://{name}"));
    AssetRef::Asset { name, uri, group: "asset".to_owned(), extra: None }
}

fn updated(name: &str, queued_for: &[&str], aliases: &[&str]) -> Fact {
    Fact::AssetUpdated(Box::new(AssetUpdated {
        asset: AssetKey { name: name.to_owned(), uri: format!("s3://{name}") },
        task_id: Some(task("make")),
        map_index: MapIndex::UNMAPPED,
        extra: None,
        aliases: aliases.iter().map(|alias| (*alias).to_owned()).collect(),
        queued_for: queued_for.iter().map(|id| dag(id)).collect(),
        kept_for: Vec::new(),
        partition: None,
        partitioned_for: Vec::new(),
        extra_left_out: 0,
        more_left_out: 0,
    }))
}

/// `maker` and `other` bring `a` up to date, `maker` `b` too; `taker` waits for both, `eater` for `a`.
async fn told() -> World {
    let world = World::new().await;
    let makes = |id: &str, outlets: &[&str]| {
        let mut spec = spec(id, &["make"]);
        spec.tasks[0].outlets = outlets.iter().map(|name| asset(name)).collect();
        spec
    };
    let waits = |id: &str, names: &[&str]| {
        let of = names.iter().map(|name| AssetCondition::One { of: asset(name) }).collect();
        let mut spec = spec(id, &["take"]);
        spec.asset_condition = Some(AssetCondition::All { of });
        spec
    };
    for spec in [
        makes("maker", &["a", "b"]),
        makes("other", &["a"]),
        waits("taker", &["a", "b"]),
        waits("eater", &["a", "c"]),
    ] {
        world.story.registered(spec, 1).await;
    }
    for (id, run) in [("maker", "m"), ("other", "o")] {
        world.story.created(&key(id, run)).await;
    }
    let facts = vec![updated("a", &["taker", "eater"], &[])];
    world.story.in_run(&key("maker", "m"), facts).await;
    world.story.in_run(&key("other", "o"), vec![updated("a", &["taker", "eater"], &["any"])]).await;
    world.story.in_run(&key("maker", "m"), vec![updated("b", &[], &[])]).await;
    world.settled().await;
    world
}

const EVENTS: &str = "/api/v2/assets/events";

fn sources(answer: &Value) -> Vec<(String, String)> {
    let events = answer["asset_events"].as_array().expect("a list");
    let text = |event: &Value, field: &str| event[field].as_str().unwrap_or("-").to_owned();
    events.iter().map(|event| (text(event, "name"), text(event, "source_dag_id"))).collect()
}

fn pairs(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

#[tokio::test]
async fn events_come_in_the_order_of_time_by_asset_by_dag_and_between_instants() {
    let world = told().await;
    let all = world.ok(EVENTS).await;
    assert_eq!(sources(&all), pairs(&[("a", "maker"), ("a", "other"), ("b", "maker")]));
    let at =
        |place: usize| all["asset_events"][place]["timestamp"].as_str().expect("one").to_owned();
    let (first, second) = (at(0), at(1));
    let id = &all["asset_events"][0]["asset_id"];
    for (query, want, total) in [
        ("?order_by=-timestamp&limit=1".to_owned(), pairs(&[("b", "maker")]), 3),
        ("?offset=1&limit=1".to_owned(), pairs(&[("a", "other")]), 3),
        (
            format!("?asset_id={id}&order_by=-timestamp"),
            pairs(&[("a", "other"), ("a", "maker")]),
            2,
        ),
        ("?source_dag_id=maker".to_owned(), pairs(&[("a", "maker"), ("b", "maker")]), 2),
        (format!("?asset_id={id}&source_dag_id=other"), pairs(&[("a", "other")]), 1),
        (format!("?timestamp_gte={second}"), pairs(&[("a", "other"), ("b", "maker")]), 2),
        (format!("?timestamp_gt={first}&timestamp_lte={second}"), pairs(&[("a", "other")]), 1),
        (format!("?timestamp_lt={first}"), vec![], 0),
        ("?name_pattern=b".to_owned(), pairs(&[("b", "maker")]), 1),
        ("?order_by=-source_dag_id&limit=1".to_owned(), pairs(&[("a", "other")]), 3),
        ("?asset_id=999".to_owned(), vec![], 0),
        ("?source_dag_id=no%20id".to_owned(), vec![], 0),
    ] {
        let answer = world.ok(&format!("{EVENTS}{query}")).await;
        assert_eq!(sources(&answer), want, "{query}");
        assert_eq!(answer["total_entries"], total, "{query}");
        assert_eq!(
            answer["dagbok"],
            json!({ "total_is_exact": true, "complete": true }),
            "{query}"
        );
    }
    let (status, _) = world.get(&format!("{EVENTS}?order_by=colour")).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, _) = world.get(&format!("{EVENTS}?timestamp_gte=soon")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn assets_and_aliases_are_listed_in_the_order_that_is_asked_for() {
    let world = told().await;
    for (query, want) in [
        ("", vec!["a", "b", "c"]),
        ("?order_by=-name", vec!["c", "b", "a"]),
        ("?order_by=-id&limit=1", vec!["c"]),
        ("?only_active=true&name_pattern=a", vec!["a"]),
    ] {
        let answer = world.ok(&format!("/api/v2/assets{query}")).await;
        assert_eq!(each(&answer, "assets", "name"), want, "{query}");
    }
    let answer = world.ok("/api/v2/assets/aliases?order_by=-name").await;
    assert_eq!(each(&answer, "asset_aliases", "name"), ["any"]);
    let id = &answer["asset_aliases"][0]["id"];
    assert_eq!(world.ok(&format!("/api/v2/assets/aliases/{id}")).await["name"], "any");
    assert_eq!(world.get("/api/v2/assets/aliases/99").await.0, StatusCode::NOT_FOUND);
    let first = world.ok("/api/v2/assets?name_pattern=a").await["assets"][0].clone();
    assert_eq!(first["aliases"], json!(["any"]));
}

#[tokio::test]
async fn what_waits_is_shown_by_dag_by_asset_and_by_both() {
    let world = told().await;
    let id = world.ok("/api/v2/assets?name_pattern=a").await["assets"][0]["id"].clone();
    let of_asset = format!("/api/v2/assets/{id}/queuedEvents");
    let answer = world.ok(&of_asset).await;
    assert_eq!(each(&answer, "queued_events", "dag_id"), ["eater", "taker"]);
    let since = answer["queued_events"][0]["created_at"].as_str().expect("one").to_owned();
    let answer = world.ok(&format!("{of_asset}?before={since}")).await;
    assert_eq!(answer["total_entries"], 0);
    let one = world.ok(&format!("/api/v2/dags/taker/assets/{id}/queuedEvents")).await;
    assert_eq!((&one["dag_id"], &one["asset_id"]), (&json!("taker"), &id));
    let (status, _) = world.get(&format!("/api/v2/dags/maker/assets/{id}/queuedEvents")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    // The run that consumes it leaves nothing behind.
    let created = RunCreated {
        run_type: RunType::AssetTriggered,
        logical_date: None,
        data_interval: None,
        run_after: FIRST,
        version: 1,
        bundle: support::story::digest("bundle"),
        conf: None,
        note: None,
        asset_events: Vec::<AssetEvent>::new(),
        asset_events_left_out: 0,
        backfill_id: None,
        partition: None,
    };
    let facts = vec![Fact::RunCreated(Box::new(created))];
    world.story.in_run(&key("eater", "e"), facts).await;
    world.settled().await;
    assert_eq!(each(&world.ok(&of_asset).await, "queued_events", "dag_id"), ["taker"]);
}

#[tokio::test]
async fn of_what_aliases_brought_no_more_wait_than_the_scheduler_keeps() {
    let world = World::new().await;
    let mut waits = spec("taker", &["take"]);
    let of = AssetRef::Alias { name: "any".to_owned() };
    waits.asset_condition = Some(AssetCondition::One { of });
    world.story.registered(waits, 1).await;
    let most = dagbok_protocol::limits::ASSET_EVENTS_PER_RUN;
    for n in 0..most + 5 {
        let facts = vec![updated(&format!("u{n}"), &["taker"], &["any"])];
        world.story.tell(Scope::Namespace, facts).await;
    }
    world.settled().await;
    let answer = world.ok("/api/v2/dags/taker/assets/queuedEvents").await;
    assert_eq!(answer["total_entries"], most);
}

#[tokio::test]
async fn an_asset_is_brought_up_to_date_by_the_one_dag_that_does() {
    let world = told().await;
    let ids = world.ok("/api/v2/assets").await;
    let id = |place: usize| ids["assets"][place]["id"].clone();
    for (place, status, why) in
        [(0, StatusCode::CONFLICT, "maker, other"), (2, StatusCode::NOT_FOUND, "no DAG brings")]
    {
        let path = format!("/api/v2/assets/{}/materialize", id(place));
        let (got, answer) = world.body("POST", &path, &json!({ "logical_date": null })).await;
        assert_eq!(got, status, "{answer}");
        assert!(answer["detail"].as_str().is_some_and(|it| it.contains(why)), "{answer}");
    }
}

#[tokio::test]
async fn a_way_through_assets_that_comes_back_is_told_to_each_dag_on_it_and_ends_with_it() {
    let world = World::new().await;
    let on = |id: &str, from: &str, to: &str| {
        let mut spec = spec(id, &["make"]);
        spec.asset_condition = Some(AssetCondition::One { of: asset(from) });
        spec.tasks[0].outlets = vec![asset(to)];
        spec
    };
    world.story.registered(on("first", "a", "b"), 1).await;
    world.story.registered(on("second", "b", "c"), 1).await;
    world.story.registered(on("third", "c", "a"), 1).await;
    world.settled().await;
    let told = async |id: &str| {
        let answer = world.ok(&format!("/api/v2/dags/{id}")).await;
        let all = answer["dagbok"]["not_carried_out"].as_array().expect("a list").clone();
        all.first().map(|it| it["what"].as_str().expect("a text").to_owned())
    };
    let ways = [
        ("first", "first -> s3://b -> second -> s3://c -> third -> s3://a -> first"),
        ("second", "second -> s3://c -> third -> s3://a -> first -> s3://b -> second"),
        ("third", "third -> s3://a -> first -> s3://b -> second -> s3://c -> third"),
    ];
    for (id, way) in ways {
        let said = told(id).await.expect("a way back");
        assert!(said.ends_with(way), "{said}");
    }
    world.story.registered(on("third", "c", "d"), 2).await;
    world.settled().await;
    for (id, _) in ways {
        assert_eq!(told(id).await, None, "{id}");
    }
    let _: DagId = dag("first");
}
