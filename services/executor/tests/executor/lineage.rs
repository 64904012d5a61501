//! What operators say of what they read and wrote, on its way to the log.
use dagbok_executor::LogLine;
use dagbok_protocol::{ReportBody, WorkItem, limits::LINEAGE_BYTES};
use serde_json::{Value, json};

use crate::rig::Rig;

const DAG: &str = r#"
import os, signal, time
from datetime import datetime
from types import SimpleNamespace
from airflow import DAG
from airflow.models import BaseOperator

def told(name):
    return SimpleNamespace(inputs=[SimpleNamespace(namespace="db", name=name)])

class Tells(BaseOperator):
    def __init__(self, ends=False, **kwargs):
        super().__init__(**kwargs)
        self.ends = ends

    def execute(self, context):
        if self.ends:
            raise ValueError("no")
        return "done"

    def get_openlineage_facets_on_complete(self, task_instance):
        return told("complete")

    def get_openlineage_facets_on_failure(self, task_instance):
        return told("failure")

class Crashes(Tells):
    def get_openlineage_facets_on_complete(self, task_instance):
        os.kill(os.getpid(), signal.SIGKILL)

class Says(BaseOperator):
    """Says it itself, past all bounds of the runtime's own."""

    def execute(self, context):
        from dagbok.runtime import current
        ask = current.supervisor().ask
        try:
            ask({"type": "TaskLineage", "lineage": {"inputs": "x" * (64 << 10)}})
        except Exception as error:
            print("refused", error)
        ask({"type": "TaskLineage", "lineage": {"inputs": []}})

with DAG("d", start_date=datetime(2026, 1, 1), schedule=None) as dag:
    Tells(task_id="tells")
    Tells(task_id="fails", ends=True)
    Crashes(task_id="crashes")
    Says(task_id="says")
"#;

fn wanted(rig: &Rig, task: &str) -> WorkItem {
    WorkItem { lineage: true, ..rig.item(task) }
}

fn told(rig: &Rig, item: &WorkItem) -> Vec<Value> {
    let said = rig.scheduler.said(&item.key);
    let ends = |body: &ReportBody| {
        matches!(body, ReportBody::Succeeded { .. } | ReportBody::Failed { .. })
    };
    assert!(ends(&said.last().unwrap().body), "its end is told last");
    let words = said.into_iter().filter_map(|report| match report.body {
        ReportBody::Lineage { lineage } => Some(serde_json::from_str(&lineage).unwrap()),
        _ => None,
    });
    words.collect()
}

fn warnings(lines: &[LogLine]) -> Vec<&str> {
    lines.iter().map(|line| line.m.as_str()).filter(|text| text.contains("lineage:")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_before_the_end_where_it_is_wanted() {
    let rig = Rig::new(DAG).await;
    for (task, name) in [("tells", "complete"), ("fails", "failure")] {
        let item = wanted(&rig, task);
        rig.run_item(&item).await;
        let read = json!({ "inputs": [{ "namespace": "db", "name": name }] });
        assert_eq!(told(&rig, &item), [read]);
    }
    let mut item = rig.item("tells");
    item.key.try_number = dagbok_events::TryNumber::new(2).unwrap();
    rig.run_item(&item).await;
    assert_eq!(told(&rig, &item), Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extractor_that_dies_takes_nothing_of_the_result_along() {
    let rig = Rig::new(DAG).await;
    let item = wanted(&rig, "crashes");
    let end = rig.run_item(&item).await;
    let ReportBody::Succeeded { xcoms, .. } = &end else { panic!("{end:?}") };
    assert_eq!(xcoms.len(), 1);
    assert_eq!(told(&rig, &item), Vec::<Value>::new());
    let lines = rig.log(&end).await;
    assert_eq!(warnings(&lines).len(), 1, "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_left_out_and_said_and_the_first_word_counts() {
    let rig = Rig::new(DAG).await;
    let item = rig.item("says");
    let end = rig.run_item(&item).await;
    assert!(matches!(end, ReportBody::Succeeded { .. }), "{end:?}");
    assert_eq!(told(&rig, &item), Vec::<Value>::new());
    let lines = rig.log(&end).await;
    let told = warnings(&lines);
    assert!(told[0].contains(&LINEAGE_BYTES.to_string()), "{told:?}");
    assert!(lines.iter().any(|line| line.m.starts_with("refused")), "{lines:?}");
}
