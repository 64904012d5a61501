//! Against what Airflow itself makes of the same pods.
use serde_json::Value;

use super::*;

/// Fields that are empty lists or `null` say nothing to the API server.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let said =
                object.iter().filter(|(_, it)| !it.is_null() && **it != Value::Array(Vec::new()));
            Value::Object(said.map(|(field, it)| (field.clone(), plain(it))).collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(plain).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

#[test]
fn pods_are_put_together_as_airflow_does() {
    let (mut cases, mut wrong) = (0, Vec::new());
    for line in include_str!("../../tests/recorded/pods.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let given = case["given"].as_array().unwrap();
        let made = given.iter().fold(Value::Null, |base, client| reconcile_pods(&base, client));
        cases += 1;
        if plain(&made) != plain(&case["pod"]) {
            wrong.push(format!(
                "{}\n made {}\n real {}",
                case["name"],
                plain(&made),
                plain(&case["pod"])
            ));
        }
    }
    assert!(cases > 100, "{cases} cases");
    assert!(wrong.is_empty(), "{} of {cases} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn what_nobody_here_knows_goes_through() {
    let base: Value = serde_json::json!({"spec": {"containers": [{"name": "base"}], "newInKubernetes2": {"a": 1}}});
    let client: Value =
        serde_json::json!({"spec": {"containers": [{"name": "base", "alsoNew": [1]}]}});
    let made = reconcile_pods(&base, &client);
    assert_eq!(made["spec"]["newInKubernetes2"]["a"], 1);
    assert_eq!(made["spec"]["containers"][0]["alsoNew"][0], 1);
}
