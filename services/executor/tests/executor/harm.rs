//! What a task's code can do to the machinery around it: garbage on its socket, the end of the process that
//! forked it, its bundle, secrets in what it prints.
use std::time::{Duration, Instant};

use dagbok_events::{FailureKind, Fault, LostWhy};
use dagbok_protocol::ReportBody;

use super::rig::*;

const HARM: &str = r#"
import os, pathlib, signal, subprocess, time
from airflow import DAG
from airflow.hooks.base import BaseHook
from airflow.operators.python import PythonOperator
from dagbok.runtime import current

os.environ["AIRFLOW_CONN_DB"] = "http://u:hush-hush-1@h"

def frames():
    return current.supervisor()._stream.fd

def garbage(what):
    def write():
        os.write(frames(), what)
        time.sleep(300)
    return write

def closed():
    os.close(frames())
    time.sleep(300)

def kills_parent():
    time.sleep(0.5)
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(300)

def writes():
    subprocess.run(["sh", "-c", f"chmod u+w {pathlib.Path(__file__).parent}; echo x > {pathlib.Path(__file__).parent}/new.txt"])
    time.sleep(0.3)

def leaks():
    secret = BaseHook.get_connection("db").password
    os.write(1, secret[:4].encode())
    time.sleep(0.2)
    os.write(1, secret[4:].encode() + b"\n")
    subprocess.run(["echo", "sub", secret])
    raise ValueError("with " + secret)

with DAG("d", schedule=None):
    for name, function in {
        "short": garbage(b"AAAAAA"), "long": garbage(b"\x00\x00\x00\x05hello"), "huge": garbage(b"\xff" * 64),
        "closed": closed, "kills": kills_parent, "bystander": lambda: time.sleep(2), "writes": writes,
        "leaks": leaks, "quick": lambda: None,
    }.items():
        PythonOperator(task_id=name, python_callable=function)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_its_socket_ends_a_try() {
    let rig = Rig::new(HARM).await;
    for task in ["short", "long", "huge", "closed"] {
        let begun = Instant::now();
        let end = rig.run_task(task).await;
        let failure = failure(&end);
        assert_eq!((failure.kind, failure.fault), (FailureKind::Exit, Fault::User), "{task}");
        assert!(failure.message.contains("connection"), "{}", failure.message);
        assert!(begun.elapsed() < Duration::from_secs(20), "{task}");
    }
    assert!(matches!(rig.run_task("quick").await, ReportBody::Succeeded { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_kills_the_zygote_is_told_from_its_neighbours() {
    let rig = Rig::new(HARM).await;
    let (culprit, bystander) = (rig.item("kills"), rig.item("bystander"));
    rig.queue(&bystander).await;
    rig.queue(&culprit).await;
    for key in [&culprit.key, &bystander.key] {
        assert_eq!(lost(&rig.scheduler.end(key).await).0, LostWhy::ParentDied, "{key}");
    }
    // Again, as the scheduler would: the culprit alone has an end of its own making.
    let again = |task: &str| {
        let mut item = rig.item(task);
        item.key.try_number = item.key.try_number.next();
        item
    };
    let (culprit, bystander) = (again("kills"), again("bystander"));
    rig.queue(&bystander).await;
    rig.queue(&culprit).await;
    let end = rig.scheduler.end(&culprit.key).await;
    assert_eq!((kind(&end).0, failure(&end).fault), (FailureKind::Signal, Fault::User));
    assert!(matches!(rig.scheduler.end(&bystander.key).await, ReportBody::Succeeded { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_a_task_changed_is_put_back_and_said() {
    let rig = Rig::new(HARM).await;
    // It is looked at after a try where that costs no more than its part of the time: on a slow machine not
    // after each.
    let mut item = rig.item("writes");
    let told = async || {
        let ReportBody::Succeeded { log, .. } = rig.run_item(&item).await else {
            panic!("it failed")
        };
        item.key.try_number = item.key.try_number.next();
        let Some(log) = log else { return false };
        let text = rig.ports.blobs.get(log.digest.as_str()).await.unwrap().unwrap();
        String::from_utf8_lossy(&text).contains("`new.txt` was added")
    };
    until("what the task wrote is told", told).await;
    let file = rig.settings.home.join("bundles").join(rig.bundle.as_str()).join("new.txt");
    assert!(!file.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_masked_in_what_goes_past_python_too() {
    let rig = Rig::new(HARM).await;
    let end = rig.run_task("leaks").await;
    let log = serde_json::to_string(&rig.log(&end).await).unwrap();
    assert!(!log.contains("hush-hush") && log.contains("sub ***"), "{log}");
    assert_eq!(failure(&end).message, "with ***");
    assert!(!failure(&end).traceback.as_deref().unwrap_or_default().contains("hush-hush"));
}
