//! The manifests that are shipped are what the API's own types say, with no field that nobody knows; and grant no more than is used.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]
use std::path::{Path, PathBuf};

use dagbok_pods::Template;
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service, ServiceAccount},
        rbac::v1::{Role, RoleBinding},
    },
    serde::{Serialize, de::DeserializeOwned},
};
use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/kubernetes")
}

/// All documents of all files.
fn documents() -> Vec<(String, Value)> {
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|it| it == "yaml"));
    let mut found = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        for document in text.split("\n---\n") {
            let value: Value = serde_saphyr::from_str(document).unwrap();
            found.push((path.file_name().unwrap().to_string_lossy().into_owned(), value));
        }
    }
    found
}

/// Reads it as the API does, and finds in what is read all that was written.
fn is<T: DeserializeOwned + Serialize>(file: &str, value: &Value) {
    let read: T = serde_path_to_error::deserialize(value)
        .unwrap_or_else(|error| panic!("{file}: {}: {}", error.path(), error.inner()));
    let again = serde_json::to_value(&read).unwrap();
    has_all(file, value, &again, "");
}

fn has_all(file: &str, written: &Value, read: &Value, at: &str) {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => {
            for (name, value) in written {
                let at = format!("{at}.{name}");
                let found = read.get(name).unwrap_or_else(|| panic!("{file}: {at} is no field"));
                has_all(file, value, found, &at);
            }
        }
        (Value::Array(written), Value::Array(read)) => {
            for (place, (written, read)) in written.iter().zip(read).enumerate() {
                has_all(file, written, read, &format!("{at}[{place}]"));
            }
        }
        (written, read) => assert_eq!(written, read, "{file}: {at}"),
    }
}

#[test]
fn every_manifest_is_one() {
    let all = documents();
    assert!(all.len() >= 10, "{}", all.len());
    for (file, value) in &all {
        match value["kind"].as_str().unwrap() {
            "ConfigMap" => is::<ConfigMap>(file, value),
            "Deployment" => is::<Deployment>(file, value),
            "PersistentVolumeClaim" => is::<PersistentVolumeClaim>(file, value),
            "Role" => is::<Role>(file, value),
            "RoleBinding" => is::<RoleBinding>(file, value),
            "Secret" => is::<Secret>(file, value),
            "Service" => is::<Service>(file, value),
            "ServiceAccount" => is::<ServiceAccount>(file, value),
            other => panic!("{file}: {other}"),
        }
    }
}

#[test]
fn the_role_has_the_verbs_that_are_used_and_no_other() {
    let all = documents();
    let of = |kind: &str| {
        all.iter()
            .filter(|(_, it)| it["kind"] == kind)
            .map(|(_, it)| it.clone())
            .collect::<Vec<_>>()
    };
    let granted = of("Role");
    let rules = serde_json::json!([{"apiGroups": [""], "resources": ["pods"],
        "verbs": ["create", "list", "watch", "get", "delete", "patch"]}]);
    assert_eq!((granted.len(), &granted[0]["rules"]), (1, &rules));
    let binding = &of("RoleBinding")[0];
    assert_eq!(
        (&binding["roleRef"]["name"], &binding["subjects"][0]["name"]),
        (&"dagbok-pods".into(), &"dagbok-pods".into())
    );
    assert_eq!(binding["subjects"][0]["namespace"], "dagbok");
    // Where tries are there is nobody with a right, whom a pod_override could name.
    let tries = all.iter().filter(|(file, _)| file == "tries.yaml");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let there: Vec<String> = tries
        .map(|(_, it)| format!("{} {}", text(&it["kind"]), text(&it["metadata"]["name"])))
        .collect();
    assert_eq!(there, ["ServiceAccount dagbok-try", "Role dagbok-pods", "RoleBinding dagbok-pods"]);
    // Nobody else has a token to speak to the cluster with.
    for deployment in of("Deployment") {
        let spec = &deployment["spec"]["template"]["spec"];
        let speaks = spec["automountServiceAccountToken"] != false;
        assert_eq!(
            speaks,
            spec["serviceAccountName"] == "dagbok-pods",
            "{}",
            deployment["metadata"]["name"]
        );
    }
}

#[test]
fn the_template_and_the_configuration_in_them_are_read() {
    let all = documents();
    let map = all.iter().find(|(_, it)| it["kind"] == "ConfigMap").unwrap();
    let template = map.1["data"]["pod-template.yaml"].as_str().unwrap();
    Template::parse(Path::new("pod-template.yaml"), template).unwrap();
    assert!(template.contains("serviceAccountName: dagbok-try\n"));
    let settings = map.1["data"]["dagbok.toml"].as_str().unwrap();
    assert!(settings.contains("\nnamespace = \"dagbok-tries\"\n"), "apart from the services");
}
