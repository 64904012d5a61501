//! What the web UI is sent: snapshots of views, and patches that make the next snapshot of the last.

mod support;

use dagbok_events::{Fact, RuledOut, RunFailed};
use futures::StreamExt as _;
use serde_json::{Value, json};
use support::{
    World,
    story::{Story, key, spec, task},
};

const UI: &str = "/api/v2/dagbok/ui";

/// A chain of which `a` succeeds, `b` fails twice and `c` is ruled out.
async fn told() -> World {
    let world = World::new().await;
    world.story.registered(spec("chain", &["a", "b", "c"]), 1).await;
    world.story.joined("exec-1").await;
    let run = key("chain", "one");
    world.story.created(&run).await;
    world.story.queued(&run, "a", 1).await;
    world.story.started(&run, "a", 1, "exec-1").await;
    let facts = vec![
        Story::pushed("a", 1, "return_value", Some(r#"{"rows": 3}"#)),
        Story::success("a", 1, None),
        Story::queueing("b", 1),
    ];
    world.story.in_run(&run, facts).await;
    world.story.started(&run, "b", 1, "exec-1").await;
    let failed = Fact::RunFailed(RunFailed { failed: vec![task("b")] });
    let facts =
        vec![Story::failure("b", 1, None), Story::ruled_out("c", RuledOut::UpstreamFailed), failed];
    world.story.in_run(&run, facts).await;
    world.settled().await;
    world
}

#[tokio::test]
async fn a_run_says_which_task_failed_and_with_what_words() {
    let world = told().await;
    let run = world.ok(&format!("{UI}/runs/chain/one")).await;
    assert_eq!((&run["state"], &run["failure"]["task_id"]), (&json!("failed"), &json!("b")));
    let failure = world.ok("/api/v2/dags/chain/dagRuns/one/taskInstances/b").await;
    assert_eq!(run["failure"]["message"], failure["dagbok"]["failure"]["message"]);
    let states: Vec<&str> =
        ["00000", "00001", "00002"].map(|at| run["tasks"][at]["state"].as_str().unwrap()).into();
    assert_eq!(states, ["success", "failed", "upstream_failed"]);
    assert_eq!(run["seq"], json!(world.story.last().0));
    let task = world.ok(&format!("{UI}/tasks/chain/one/a")).await;
    assert_eq!(task["xcoms"][0]["text"], json!(r#"{"rows": 3}"#));
    assert_eq!(task["downstream"], json!(["b"]));
}

#[tokio::test]
async fn a_dag_has_a_column_of_each_run_and_two_digits_of_each_task() {
    let world = told().await;
    let dag = world.ok(&format!("{UI}/dags/chain")).await;
    assert_eq!(
        (&dag["order"], &dag["columns"]["one"]["cells"]),
        (&json!(["one"]), &json!("415180"))
    );
    let list = world.ok(&format!("{UI}/dags")).await;
    assert_eq!((&list["total"], &list["dags"][0]["runs"]["failed"]), (&json!(1), &json!(1)));
    for (query, total) in
        [("chai", 1), ("other", 0), ("is:failed", 1), ("is:paused", 0), ("tag:none", 0)]
    {
        assert_eq!(
            world.ok(&format!("{UI}/dags?q={query}")).await["total"],
            json!(total),
            "{query}"
        );
    }
}

#[tokio::test]
async fn homes_numbers_are_those_of_the_lists_behind_them() {
    let world = told().await;
    let home = world.ok(&format!("{UI}/home")).await;
    let since = home["since"].as_str().unwrap();
    for (number, state) in [("failed", "failed"), ("succeeded", "success")] {
        let list = format!("/api/v2/dags/~/dagRuns?state={state}&end_date_gte={since}");
        assert_eq!(home["verdict"][number], world.ok(&list).await["total_entries"], "{number}");
    }
    let failed = home["failed"].as_array().unwrap().len();
    assert_eq!(home["verdict"]["failed"], json!(failed));
}

/// As RFC 7396 says.
fn merged(target: &Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut target = target.as_object().cloned().unwrap_or_default();
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
        } else {
            let before = target.remove(name).unwrap_or(Value::Null);
            target.insert(name.clone(), merged(&before, value));
        }
    }
    Value::Object(target)
}

#[tokio::test]
async fn a_stream_goes_on_from_the_snapshot_that_is_at_hand() {
    let world = told().await;
    let old = world.ok(&format!("{UI}/dags/chain")).await;
    let path = format!("{UI}/stream?view=dag&dag_id=chain&seq={}", old["seq"]);
    let mut body = world.get_with(&path, &[]).await.into_body().into_data_stream();
    let last = world.story.created(&key("chain", "two")).await;
    let (mut made, mut text) = (old, String::new());
    // A snapshot that was being read while the record came shows a part of it, and the next one all.
    while made["seq"].as_u64().unwrap() < last.0 {
        let part = body.next().await.unwrap().unwrap();
        text.push_str(str::from_utf8(&part).unwrap());
        assert!(!text.contains("event: snapshot"), "what is at hand comes once");
        while let Some((event, rest)) = text.split_once("\n\n") {
            if let Some(data) = event.lines().find_map(|line| line.strip_prefix("data: ")) {
                let data = serde_json::from_str::<Value>(data).unwrap();
                made = merged(&made, &data["patch"]);
                made["seq"] = data["seq"].clone();
            }
            text = rest.to_owned();
        }
    }
    let mut new = world.ok(&format!("{UI}/dags/chain")).await;
    for it in [&mut new, &mut made] {
        it.as_object_mut().unwrap().retain(|name, _| name != "as_of" && name != "seq");
    }
    assert_eq!(made, new);
    assert_eq!(made["order"], json!(["one", "two"]));
    // Who has nothing gets the whole first.
    let path = format!("{UI}/stream?view=dag&dag_id=chain");
    let mut body = world.get_with(&path, &[]).await.into_body().into_data_stream();
    let first = body.next().await.unwrap().unwrap();
    assert!(str::from_utf8(&first).unwrap().contains("event: snapshot"));
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let world = told().await;
    for path in [
        "dags/none",
        "runs/chain/none",
        "tasks/chain/one/none",
        "stream?view=run&dag_id=chain&run_id=none",
    ] {
        assert_eq!(world.get(&format!("{UI}/{path}")).await.0, 404, "{path}");
    }
    assert_eq!(world.get(&format!("{UI}/stream?view=nothing")).await.0, 422);
}
