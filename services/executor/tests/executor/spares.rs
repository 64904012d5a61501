//! Processes forked ahead of the tries that they will be.
use std::{fs, path::Path, time::Duration};

use dagbok_protocol::ReportBody;
use dagbok_runlog::memory;

use crate::rig::{Rig, until};

/// Each process that has loaded the file says so, and each try which one it is. A thread that no fork survives
/// has every try load the file in a process of its own.
const DAG: &str = r#"
import os, threading, time
from airflow import DAG
from airflow.operators.python import PythonOperator

def say(what):
    with open(os.environ["SAID"], "a") as file:
        file.write(f"{what} {os.getpid()}\n")

say("loaded")
threading.Thread(target=time.sleep, args=(300,), daemon=True).start()
with DAG("d", schedule=None):
    PythonOperator(task_id="says", python_callable=lambda: say("ran"))
"#;

fn said(file: &Path, what: &str) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.lines().filter_map(|line| line.strip_prefix(what)).map(str::to_owned).collect()
}

async fn rig(file: &Path, spares_for: Duration) -> Rig {
    Rig::with(DAG, memory::ports(), |settings| {
        settings.env.insert("SAID".to_owned(), file.to_str().unwrap().to_owned());
        settings.spares_for = spares_for;
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_no_fork_survives_has_been_loaded_when_the_next_try_comes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("said");
    let rig = rig(&file, Duration::from_mins(1)).await;
    let mut item = rig.item("says");
    rig.run_item(&item).await;
    // The zygote that found it out, the first try itself, and one ahead; then one more after each.
    for loaded in [3, 4, 5] {
        until("it is loaded ahead", async || said(&file, "loaded ").len() == loaded).await;
        let ahead = said(&file, "loaded ");
        item.key.try_number = item.key.try_number.next();
        let end = rig.run_item(&item).await;
        assert!(matches!(end, ReportBody::Succeeded { .. }), "{end:?}");
        let ran = said(&file, "ran ").pop().unwrap();
        assert!(ahead.contains(&ran), "{ahead:?} {ran}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_no_time_to_wait_none_is_forked_ahead() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("said");
    let rig = rig(&file, Duration::ZERO).await;
    let mut item = rig.item("says");
    for tries in 1..=3 {
        rig.run_item(&item).await;
        item.key.try_number = item.key.try_number.next();
        assert_eq!(said(&file, "loaded ").len(), 1 + tries);
    }
}
