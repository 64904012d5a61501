//! How tries end, each told apart: with the real Python runtime.
use crate::rig::{Rig, failure, is_alive, kind, millis, text};
use dagbok_events::{FailureKind, Fault, Payload};
use dagbok_executor::LogSource;
use dagbok_protocol::ReportBody;

const DAG: &str = r#"
import os, signal, sys, time, logging
from datetime import datetime
from airflow import DAG
from airflow.exceptions import AirflowFailException, AirflowSkipException
from airflow.operators.python import PythonOperator

log = logging.getLogger("airflow.task")

def give(ti, **context):
    print("to stdout")
    print("to stderr", file=sys.stderr)
    log.warning("to the log")
    ti.xcom_push(key="early", value={"n": 1})
    assert ti.xcom_pull(task_ids="give", key="early") == {"n": 1}
    return [1, "two", None]

def take(ti, dag_run, **context):
    assert ti.xcom_pull(task_ids="give") == [1, "two", None], ti.xcom_pull(task_ids="give")
    assert ti.xcom_pull(task_ids="give", key="early") == {"n": 1}
    return dag_run.conf["answer"]

def big(**context):
    return "x" * 50_000

def take_big(ti, **context):
    assert len(ti.xcom_pull(task_ids="big")) == 50_000

def huge(**context):
    return "x" * (65 << 20)

def inner():
    raise ValueError("no luck")

def raises(**context):
    inner()

def gives_up(**context):
    raise AirflowFailException("never")

def skips(**context):
    raise AirflowSkipException("not today")

def sleeps(**context):
    time.sleep(60)

def stubborn(**context):
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(60)

def segfaults(**context):
    os.kill(os.getpid(), signal.SIGSEGV)

def killed(**context):
    os.kill(os.getpid(), signal.SIGKILL)

def exits(**context):
    os._exit(3)

def memory_error(**context):
    raise MemoryError("no more")

def grandchild(**context):
    import subprocess
    child = subprocess.Popen(["sleep", "300"], start_new_session=True)
    print(child.pid)

with DAG("d", start_date=datetime(2026, 1, 1), schedule=None) as dag:
    for f in [give, take, big, take_big, huge, raises, gives_up, skips, sleeps, stubborn, segfaults, killed, exits, memory_error, grandchild]:
        PythonOperator(task_id=f.__name__, python_callable=f)
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_task_succeeds_with_its_output_and_its_values() {
    let rig = Rig::new(DAG).await;
    let end = rig.run_task("give").await;
    let ReportBody::Succeeded { xcoms, usage, .. } = &end else { panic!("{end:?}") };
    assert_eq!(xcoms.len(), 1, "the early one went before");
    assert_eq!(
        (xcoms[0].key.as_str(), &xcoms[0].value),
        ("return_value", &Some(Payload::Inline("[1,\"two\",null]".into())))
    );
    assert!(usage.max_rss_bytes > 1 << 20 && usage.user_us + usage.system_us > 0, "{usage:?}");
    let lines = rig.log(&end).await;
    let said = |source, text: &str| lines.iter().any(|line| line.s == source && line.m == text);
    assert!(
        said(LogSource::Stdout, "to stdout") && said(LogSource::Stderr, "to stderr"),
        "{lines:?}"
    );
    let logged = lines.iter().find(|line| line.m == "to the log").expect("logging is kept");
    assert_eq!(
        (logged.s, logged.l.as_str(), logged.logger.as_deref()),
        (LogSource::Log, "warning", Some("airflow.task"))
    );
    let said = rig.scheduler.said(&rig.item("give").key);
    let kinds: Vec<_> =
        said.iter().map(|report| matches!(report.body, ReportBody::XCom(_))).collect();
    assert_eq!(kinds.iter().filter(|xcom| **xcom).count(), 1, "{said:?}");

    let mut item = rig.item("take");
    item.run.conf = Some(Payload::Inline(r#"{"answer": 42}"#.into()));
    let end = rig.run_item(&item).await;
    let ReportBody::Succeeded { xcoms, .. } = &end else { panic!("{end:?}") };
    assert_eq!(xcoms[0].value, Some(Payload::Inline("42".into())));
    rig.until_acknowledged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_value_lies_beside_the_log() {
    let rig = Rig::new(DAG).await;
    let end = rig.run_task("big").await;
    let ReportBody::Succeeded { xcoms, .. } = &end else { panic!("{end:?}") };
    let value = xcoms[0].value.as_ref().unwrap();
    assert!(matches!(value, Payload::Blob { size: 50_002, .. }), "{value:?}");
    assert_eq!(text(&rig.ports, value).await.len(), 50_002);
    assert!(matches!(rig.run_task("take_big").await, ReportBody::Succeeded { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_above_the_limit_fails_its_task_by_name_and_size() {
    let rig = Rig::new(DAG).await;
    let end = rig.run_task("huge").await;
    let message = kind(&end).1;
    assert!(message.contains("`return_value`") && message.contains("681"), "{message}");
    assert!(message.contains("limit"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exception_has_its_place_and_traceback() {
    let rig = Rig::new(DAG).await;
    let end = rig.run_task("raises").await;
    let failure = failure(&end);
    assert_eq!((failure.kind, failure.fault), (FailureKind::Exception, Fault::User));
    assert_eq!(
        (failure.exception.as_deref(), failure.message.as_str()),
        (Some("ValueError"), "no luck")
    );
    assert_eq!(failure.file.as_deref(), Some("dag.py"));
    let line = DAG.lines().position(|line| line.contains("raise ValueError")).unwrap() + 1;
    assert_eq!(failure.line, Some(u32::try_from(line).unwrap()));
    assert!(failure.traceback.as_deref().unwrap().contains("in inner"), "{failure:?}");
    assert!(failure.retryable);
    let lines = rig.log(&end).await;
    assert!(
        lines
            .iter()
            .any(|line| line.exception.as_deref().is_some_and(|text| text.contains("no luck"))),
        "{lines:?}"
    );
    let end = rig.run_task("gives_up").await;
    assert!(!crate::rig::failure(&end).retryable);
    let end = rig.run_task("skips").await;
    assert!(matches!(end, ReportBody::Skipped { .. }), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_is_raised_in_the_task_or_else_enforced() {
    let rig = Rig::new(DAG).await;
    for task in ["sleeps", "stubborn"] {
        let mut item = rig.item(task);
        item.execution_timeout = Some(millis(300));
        let end = rig.run_item(&item).await;
        assert_eq!(kind(&end).0, FailureKind::Timeout, "{end:?}");
        assert_eq!(failure(&end).exception.is_some(), task == "sleeps", "{end:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deaths_without_a_word_are_told_apart() {
    let rig = Rig::new(DAG).await;
    let end = rig.run_task("segfaults").await;
    assert_eq!(
        (failure(&end).kind, failure(&end).signal, failure(&end).fault),
        (FailureKind::Signal, Some(11), Fault::User)
    );
    let end = rig.run_task("killed").await;
    assert_eq!(
        (failure(&end).kind, failure(&end).signal, failure(&end).fault),
        (FailureKind::Signal, Some(9), Fault::System)
    );
    let end = rig.run_task("exits").await;
    assert_eq!((failure(&end).kind, failure(&end).exit_code), (FailureKind::Exit, Some(3)));
    assert!(
        rig.log(&end)
            .await
            .iter()
            .any(|line| line.s == LogSource::System && line.m.contains("exit code 3"))
    );
    let end = rig.run_task("memory_error").await;
    assert_eq!(failure(&end).kind, FailureKind::OutOfMemory);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_a_task_started_outlives_it() {
    let rig = Rig::new(DAG).await;
    let end = rig.run_task("grandchild").await;
    let lines = rig.log(&end).await;
    let pid = lines.iter().find(|line| line.s == LogSource::Stdout).unwrap().m.parse().unwrap();
    assert!(!is_alive(pid), "the sleeper is still there: {lines:?}");
    assert!(lines.iter().any(|line| line.m.contains("left behind were killed")), "{lines:?}");
}
