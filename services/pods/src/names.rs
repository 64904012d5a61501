//! What pods and their labels are called: Airflow's names, made safe as Airflow does.
use dagbok_events::{ExecutorId, TryKey};
use dagbok_protocol::names::work_key;
use md5::{Digest as _, Md5};

/// The longest value of a label, and the longest name of a pod that is also its host's name.
const LONGEST: usize = 63;
/// Digits of a digest that end a label's value that had to be changed, as in Airflow.
const DIGEST: usize = 9;
/// Characters behind a pod's name that set it apart: as many as Airflow's random ones.
const SUFFIX: usize = 8;

fn digest(text: &str) -> String {
    use std::fmt::Write as _;
    Md5::digest(text.as_bytes()).iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string can't fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// A text as a label's value (`make_safe_label_value`): what a label can't have is left out, and where anything had to
/// be changed a digest of the whole sets it apart. Where nothing is left, Airflow's begins with `-`, which no label may.
pub(crate) fn label_value(text: &str) -> String {
    let is_edge = |c: char| c.is_ascii_alphanumeric();
    let is_inner = |c: &char| is_edge(*c) || matches!(c, '_' | '-' | '.');
    let trimmed = text.trim_start_matches(|c| !is_edge(c)).trim_end_matches(|c| !is_edge(c));
    let mut safe: String = trimmed.chars().filter(is_inner).collect();
    if safe.len() > LONGEST || safe != text {
        safe.truncate(LONGEST - DIGEST - 1);
        let apart = if safe.is_empty() { "" } else { "-" };
        safe = format!("{safe}{apart}{}", &digest(text)[..DIGEST]);
    }
    safe
}

/// A date as a label's value (`datetime_to_label_safe_datestring`).
pub(crate) fn label_date(iso: &str) -> String {
    iso.replace(':', "_").replace('+', "_plus_")
}

/// What a try's pod is called: its DAG and task for people, and a digest of the whole try where Airflow puts eight letters by chance. So
/// a try has one pod in a namespace of Dagbok, however often it is asked for: the second is refused by the API server.
pub(crate) fn pod_name(dagbok: &str, key: &TryKey) -> String {
    let readable = slug(&format!("{}-{}", key.dag_id, key.task_id));
    let readable = &readable[..readable.len().min(LONGEST - SUFFIX - 1)];
    let suffix = &digest(&format!("{dagbok}/{}", work_key(key)))[..SUFFIX];
    let readable = readable.trim_matches(['-', '.']);
    if readable.is_empty() { format!("pod-{suffix}") } else { format!("{readable}-{suffix}") }
}

/// The executor in a pod: of one delivery of one try, so that whoever watches knows it by what the pod says. Two that make pods in
/// two namespaces of Kubernetes may have a pod of the same name for one try; by their deliveries the scheduler tells them apart,
/// and lets one of them run.
pub(crate) fn executor_of(pod: &str, address: &str) -> ExecutorId {
    let id = format!("pod-{pod}-{}", &digest(address)[..SUFFIX]);
    ExecutorId::new(id).expect("a pod's name is short and of plain letters")
}

/// Lower case, with one `-` in place of whatever is no letter or digit. Letters beyond ASCII count as those: Airflow spells them
/// out in Latin ones, which needs a table.
fn slug(text: &str) -> String {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_called_by_its_try_and_by_no_other() {
        let key = |dag: &str, task: &str, try_number: u16| -> TryKey {
            serde_json::from_value(serde_json::json!({
                "dag_id": dag, "run_id": "r", "task_id": task, "try_number": try_number,
            }))
            .unwrap()
        };
        let name = pod_name("default", &key("My_DAG", "group.task_one", 1));
        assert!(name.starts_with("my-dag-group-task-one-"), "{name}");
        assert_eq!(name, pod_name("default", &key("My_DAG", "group.task_one", 1)));
        assert_ne!(name, pod_name("default", &key("My_DAG", "group.task_one", 2)));
        let long = pod_name("default", &key(&"d".repeat(100), "t", 1));
        assert_eq!(long.len(), LONGEST);
        let foreign = pod_name("default", &key("δ", "τ", 1));
        assert!(foreign.starts_with("pod-") && foreign.len() == 12, "{foreign}");
        let first = executor_of("a-b", "$JS.ACK.w.c.1.42.7.1.0");
        assert!(first.as_str().starts_with("pod-a-b-"), "{first}");
        assert_eq!(first, executor_of("a-b", "$JS.ACK.w.c.1.42.7.1.0"));
        assert_ne!(first, executor_of("a-b", "$JS.ACK.w.c.2.42.8.1.0"), "delivered to another");
    }

    #[test]
    fn labels_are_as_airflow_makes_them() {
        // Recorded from `make_safe_label_value` of the Kubernetes provider.
        for line in include_str!("../tests/recorded/labels.txt").lines() {
            let (text, label) = line.split_once('\t').unwrap();
            let text: String = serde_json::from_str(text).unwrap();
            assert_eq!(label_value(&text), label.trim_start_matches('-'), "{text:?}");
        }
        assert_eq!(label_date("2026-01-02T03:04:05+00:00"), "2026-01-02T03_04_05_plus_00_00");
    }
}
