//! A try whose process has nothing left to run is over at its last word; one that has, at its process' end.
use std::time::Duration;

use dagbok_executor::LogSource;
use dagbok_protocol::ReportBody;
use dagbok_runlog::memory;
use tokio::time::timeout;

use crate::rig::{Rig, is_alive, until};

/// Tasks whose processes end when the file `GATE` is there, or when what they left running has had its say.
const DAG: &str = r#"
import fcntl, os, threading, time
from datetime import datetime
from airflow import DAG
from airflow.operators.python import PythonOperator

def before_the_end(do):
    end = os._exit
    def late(code):
        do()
        end(code)
    os._exit = late

def lingers():
    def wait():
        while not os.path.exists("GATE"):
            time.sleep(0.005)
    before_the_end(wait)
    held = open("HELD", "w")
    fcntl.flock(held, fcntl.LOCK_EX)
    print("a line without an end", end="")
    globals()["kept"] = held

def follows():
    pass

def leaves_a_thread():
    over = threading.Event()
    def speak():
        over.wait()
        os.write(1, b"a late word\n")
    thread = threading.Thread(target=speak)
    thread.start()
    before_the_end(lambda: (over.set(), thread.join()))

def says_late(context):
    before_the_end(lambda: os.write(1, b"a late word\n"))

with DAG("d", start_date=datetime(2026, 1, 1), schedule=None) as dag:
    PythonOperator(task_id="lingers", python_callable=lingers)
    PythonOperator(task_id="follows", python_callable=follows)
    PythonOperator(task_id="leaves_a_thread", python_callable=leaves_a_thread)
    PythonOperator(task_id="is_called_back", python_callable=lambda: None, on_success_callback=says_late)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_try_is_over_at_its_last_word_and_keeps_its_slot_until_its_process_is_gone() {
    let place = tempfile::tempdir().unwrap();
    let (gate, held) = (place.path().join("gate"), place.path().join("held"));
    let dag = DAG.replace("GATE", &gate.display().to_string());
    let dag = dag.replace("HELD", &held.display().to_string());
    let rig = Rig::with(&dag, memory::ports(), |settings| settings.slots = 1).await;
    let (first, second) = (rig.item("lingers"), rig.item("follows"));
    rig.queue(&first).await;
    rig.queue(&second).await;
    let pid = rig.scheduler.started(&first.key).await;
    let end = rig.scheduler.end(&first.key).await;
    let ReportBody::Succeeded { usage, .. } = &end else { panic!("{end:?}") };
    assert!(is_alive(pid), "its process waits for the gate");
    std::fs::File::open(&held).unwrap().try_lock().expect("what it had locked is free");
    assert!(usage.max_rss_bytes > 1 << 20 && usage.user_us + usage.system_us > 0, "{usage:?}");
    let lines = rig.log(&end).await;
    assert!(
        lines.iter().any(|it| it.s == LogSource::Stdout && it.m == "a line without an end"),
        "{lines:?}"
    );
    assert_eq!(rig.depth().await, 2, "neither is done with");
    // That nothing comes can't be waited for: many times as long as a try takes to begin here.
    let begins = timeout(Duration::from_millis(500), rig.scheduler.started(&second.key)).await;
    assert!(begins.is_err(), "another has the slot while the process is there");
    std::fs::write(&gate, "").unwrap();
    let end = rig.scheduler.end(&second.key).await;
    assert!(matches!(end, ReportBody::Succeeded { .. }), "{end:?}");
    rig.until_acknowledged().await;
    until("the process is gone", async || !is_alive(pid)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_still_speak_is_waited_for() {
    let rig = Rig::new(DAG).await;
    for task in ["leaves_a_thread", "is_called_back"] {
        let item = rig.item(task);
        let end = rig.run_item(&item).await;
        assert!(matches!(end, ReportBody::Succeeded { .. }), "{task}: {end:?}");
        let lines = rig.log(&end).await;
        assert!(lines.iter().any(|it| it.m == "a late word"), "{task}: {lines:?}");
        assert!(!is_alive(rig.scheduler.started(&item.key).await), "{task}");
    }
}
