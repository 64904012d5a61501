//! The pod that every other is made from: a file of Airflow's (`pod_template_file`), or what is built in.
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

/// A pod to begin with.
#[derive(Clone, Debug, PartialEq)]
pub struct Template(Value);

/// A file that is no pod.
#[derive(Debug, thiserror::Error)]
#[error("{}{}: {why}", path.display(), line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct TemplateError {
    /// The file.
    pub path: PathBuf,
    /// The line in it, from 1, where one can be named.
    pub line: Option<u64>,
    /// What is wrong there.
    pub why: String,
}

impl Default for Template {
    /// One container, and nothing that a cluster's rules for pods refuse.
    fn default() -> Self {
        Self(json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "spec": {
                "containers": [{
                    "name": BASE,
                    "securityContext": {
                        "allowPrivilegeEscalation": false,
                        "capabilities": { "drop": ["ALL"] },
                    },
                }],
                "securityContext": {
                    "runAsNonRoot": true,
                    "seccompProfile": { "type": "RuntimeDefault" },
                },
                "automountServiceAccountToken": false,
            },
        }))
    }
}

/// What the container is called that runs the task, as in Airflow.
pub(crate) const BASE: &str = "base";

impl Template {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, TemplateError> {
        let bad = |why: String| TemplateError { path: path.to_owned(), line: None, why };
        let text = std::fs::read_to_string(path)
            .map_err(|error| bad(format!("the pod template can't be read: {error}")))?;
        Self::parse(path, &text)
    }

    /// Reads what such a file holds.
    pub fn parse(path: &Path, text: &str) -> Result<Self, TemplateError> {
        let bad = |line, why| TemplateError { path: path.to_owned(), line, why };
        let said = |error: &serde_saphyr::Error| {
            let line = error.location().map(|at| at.line()).filter(|line| *line > 0);
            (line, first_line(&error.without_snippet().to_string()))
        };
        let value: Value = serde_saphyr::from_str(text).map_err(|error| {
            let (line, why) = said(&error);
            bad(line, format!("the pod template is no YAML: {why}"))
        })?;
        let Some(fields) = value.as_object() else {
            return Err(bad(
                Some(1),
                "the pod template must be a pod: a mapping with `spec`".to_owned(),
            ));
        };
        if let Some(kind) = fields.get("kind").filter(|kind| **kind != "Pod") {
            return Err(bad(
                line_of(text, "kind"),
                format!("`kind` is {kind}, and must be \"Pod\""),
            ));
        }
        if let Err(error) = serde_saphyr::from_str::<Pod>(text) {
            let (line, why) = said(&error);
            let why = match check(&value) {
                Err(path) => path,
                Ok(()) => why,
            };
            return Err(bad(line, format!("the pod template is no pod: {why}")));
        }
        let containers = value.pointer("/spec/containers").and_then(Value::as_array);
        if containers.is_none_or(Vec::is_empty) {
            let why = "`spec.containers` names none: the first one, `base`, runs the task";
            return Err(bad(line_of(text, "spec"), why.to_owned()));
        }
        Ok(Self(value))
    }

    /// The pod.
    pub(crate) fn pod(&self) -> &Value {
        &self.0
    }
}

/// Whether a value is a pod by the API's own types; otherwise which field is none, and why.
pub(crate) fn check(value: &Value) -> Result<(), String> {
    match serde_path_to_error::deserialize::<_, Pod>(value) {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(format!("`{}`: {}", error.path(), first_line(&error.inner().to_string())))
        }
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// Where a key at the top stands.
fn line_of(text: &str, key: &str) -> Option<u64> {
    let begins = |line: &str| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':'));
    text.lines().zip(1..).find(|(line, _)| begins(line)).map(|(_, number)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(text: &str) -> String {
        Template::parse(Path::new("pod.yaml"), text).unwrap_err().to_string()
    }

    #[test]
    fn what_is_no_pod_is_told_with_its_line() {
        let no_yaml = error_of("spec:\n  containers: [\n");
        assert!(no_yaml.starts_with("pod.yaml:") && no_yaml.contains("no YAML"), "{no_yaml}");
        let kind =
            error_of("apiVersion: v1\nkind: Deployment\nspec: {containers: [{name: base}]}\n");
        assert_eq!(kind, "pod.yaml:2: `kind` is \"Deployment\", and must be \"Pod\"");
        let wrong = error_of(
            "kind: Pod\nspec:\n  containers:\n  - name: base\n    env:\n    - {name: A, value: x}\n    - {name: [B]}\n",
        );
        assert!(wrong.starts_with("pod.yaml:7: "), "{wrong}");
        assert!(wrong.contains("`spec.containers[0].env[1].name`"), "{wrong}");
        let none = error_of("kind: Pod\nmetadata: {}\nspec:\n  containers: []\n");
        assert!(none.starts_with("pod.yaml:3: ") && none.contains("names none"), "{none}");
        assert!(error_of("just text").contains("must be a pod"));
        let gone = Template::read(Path::new("/no/such/pod.yaml")).unwrap_err().to_string();
        assert!(gone.starts_with("/no/such/pod.yaml: the pod template can't be read"), "{gone}");
    }

    #[test]
    fn what_is_built_in_is_a_pod() {
        check(Template::default().pod()).unwrap();
    }

    #[test]
    fn airflow_s_own_examples_are_read() {
        let text = "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: placeholder-name\nspec:\n  initContainers:\n    \
                    - name: git-sync\n      image: \"git-sync:v3\"\n      env:\n        - name: GIT_SYNC_REV\n          \
                    value: \"HEAD\"\n  containers:\n    - name: base\n      image: dummy_image\n      \
                    imagePullPolicy: IfNotPresent\n  restartPolicy: Never\n  securityContext:\n    runAsUser: 50000\n";
        let read = Template::parse(Path::new("t"), text).unwrap();
        assert_eq!(read.pod()["spec"]["securityContext"]["runAsUser"], 50_000);
    }
}
