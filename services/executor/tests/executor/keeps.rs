//! What a task keeps for its next try, and what it says of how far it has come.
use dagbok_events::{Checkpoint, CheckpointFiles, CheckpointKept, TryNumber};
use dagbok_executor::LogLine;
use dagbok_protocol::{ReportBody, WorkItem};

use crate::rig::Rig;

const DAG: &str = r#"
import os, signal, time
from datetime import datetime
from airflow import DAG
from airflow.operators.python import PythonOperator

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def saves(ti, **context):
    kept = ti.checkpoint
    step = kept.get("step", 0)
    weights = kept.path / "epochs" / "weights"
    if step:
        assert weights.read_text() == f"weights of {step}", weights.read_text()
        assert sorted(os.listdir(kept.path)) == ["epochs"]
        return step
    weights.parent.mkdir()
    for step in range(1, 4):
        weights.write_text(f"weights of {step}")
        kept.set("step", step)
        assert kept.save()
    weights.write_text("half")
    (kept.path / "more").write_text("half")
    die()

def runs_ahead(ti, **context):
    kept = ti.checkpoint
    weights = kept.path / "weights"
    if kept.get("step"):
        assert weights.read_text() == f"weights of {kept.get('step')}", (weights.read_text(), kept.get("step"))
        return
    weights.write_text("weights of 1")
    kept.set("step", 1)
    assert kept.save()
    weights.write_text("weights of 2")
    kept.set("step", 2)
    die()

def values_alone(ti, **context):
    assert ti.checkpoint.set("step", 1)
    assert ti.checkpoint.set("step", 2)
    die()

def saves_often(ti, **context):
    began = time.monotonic()
    for step in range(11):
        (ti.checkpoint.path / "weights").write_text(str(step))
        assert ti.checkpoint.save()
    assert not ti.checkpoint.save(wait=False)
    raise ValueError(f"waited: {4 < time.monotonic() - began < 30}")

def never_saves(ti, **context):
    kept = ti.checkpoint
    found = kept.path / "found"
    if found.exists():
        return kept.get("why")
    found.write_text("what lies there")
    kept.set("why", "killed")
    die()

def raises(ti, **context):
    (ti.checkpoint.path / "found").write_text("what lies there")
    raise ValueError("no luck")

def sleeps(ti, **context):
    (ti.checkpoint.path / "found").write_text("what lies there")
    time.sleep(60)

def too_large(ti, **context):
    kept = ti.checkpoint
    (kept.path / "small").write_text("x")
    assert kept.set("a", "x" * 1000)
    assert kept.save()
    with open(kept.path / "large", "wb") as file:
        file.truncate((2 << 30) + 1)
    assert not kept.save()
    assert not kept.set("b", "x" * (64 << 10))
    assert kept.get("b") is None
    raise ValueError("the task went on")

def asks_for_nothing(ti, **context):
    pass

def progresses(ti, **context):
    for step in range(200):
        ti.progress(step / 200, f"step {step}")

def progresses_and_dies(ti, **context):
    progresses(ti)
    time.sleep(1)
    die()

with DAG("d", start_date=datetime(2026, 1, 1), schedule=None) as dag:
    for f in [
        saves, runs_ahead, values_alone, saves_often, never_saves, raises, sleeps, too_large,
        asks_for_nothing, progresses, progresses_and_dies,
    ]:
        PythonOperator(task_id=f.__name__, python_callable=f)
"#;

/// What the reports about a try come to, as a scheduler folds them, and how many there were.
fn kept(rig: &Rig, item: &WorkItem) -> (Checkpoint, usize) {
    let mut kept = item.checkpoint.as_deref().cloned().unwrap_or_default();
    let mut count = 0;
    for report in rig.scheduler.said(&item.key) {
        if let ReportBody::Checkpoint { files, values } = report.body {
            count += 1;
            kept.take_in(&CheckpointKept {
                task_id: item.key.task_id.clone(),
                map_index: item.key.map_index,
                try_number: item.key.try_number,
                leg: item.key.leg,
                files,
                values,
            });
        }
    }
    (kept, count)
}

fn next(item: &WorkItem, kept: Checkpoint) -> WorkItem {
    let mut next = item.clone();
    next.key.try_number = TryNumber::new(item.key.try_number.get() + 1).unwrap();
    next.checkpoint = Some(Box::new(kept));
    next
}

fn files(kept: &Checkpoint) -> &CheckpointFiles {
    kept.files.as_ref().expect("a directory was kept")
}

fn words(rig: &Rig, item: &WorkItem) -> Vec<(u16, String)> {
    let said = rig.scheduler.said(&item.key).into_iter();
    let words = said.filter_map(|report| match report.body {
        ReportBody::Progress { done, text } => Some((done, text)),
        _ => None,
    });
    words.collect()
}

fn warnings(lines: &[LogLine]) -> Vec<&str> {
    lines.iter().map(|line| line.m.as_str()).filter(|text| text.contains("not kept")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_the_last_save_stands_and_what_was_half_written_is_not_seen() {
    let rig = Rig::new(DAG).await;
    let first = rig.item("saves");
    let end = rig.run_item(&first).await;
    assert!(matches!(end, ReportBody::Failed { .. }), "{end:?}");
    let (kept, count) = kept(&rig, &first);
    assert_eq!(kept.values["step"], "3");
    assert_eq!((files(&kept).files, files(&kept).bytes), (1, 12));
    let second = next(&first, kept);
    let end = rig.run_item(&second).await;
    assert!(matches!(end, ReportBody::Succeeded { .. }), "{end:?}");
    assert_eq!(count, 3, "each value goes with a save");
    assert_eq!(self::kept(&rig, &second).1, 0, "a task that is done keeps nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_no_value_is_of_a_later_moment_than_the_directory() {
    let rig = Rig::new(DAG).await;
    let first = rig.item("runs_ahead");
    rig.run_item(&first).await;
    let (kept, count) = kept(&rig, &first);
    assert_eq!((kept.values["step"].as_str(), count), ("1", 1));
    let end = rig.run_item(&next(&first, kept)).await;
    assert!(matches!(end, ReportBody::Succeeded { .. }), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_alone_are_kept_without_a_save_and_without_a_directory() {
    let rig = Rig::new(DAG).await;
    let item = rig.item("values_alone");
    rig.run_item(&item).await;
    let (kept, _) = kept(&rig, &item);
    assert_eq!((kept.values["step"].as_str(), kept.files), ("2", None));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_saves_too_often_waits_and_is_told_so_once() {
    let rig = Rig::new(DAG).await;
    let item = rig.item("saves_often");
    let end = rig.run_item(&item).await;
    assert_eq!(crate::rig::kind(&end).1, "waited: True");
    assert_eq!(kept(&rig, &item).1, 11);
    let lines = rig.log(&end).await;
    let told = lines.iter().filter(|line| line.m.contains("the next save is done in"));
    assert_eq!(told.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_task_that_never_saves_what_lies_there_is_kept_however_it_ends() {
    let rig = Rig::new(DAG).await;
    let first = rig.item("never_saves");
    rig.run_item(&first).await;
    let (found, _) = kept(&rig, &first);
    assert_eq!((files(&found).files, found.values["why"].as_str()), (1, "\"killed\""));
    let end = rig.run_item(&next(&first, found)).await;
    assert!(matches!(end, ReportBody::Succeeded { .. }), "{end:?}");
    for task in ["raises", "sleeps"] {
        let mut item = rig.item(task);
        item.execution_timeout = Some(crate::rig::millis(1_500));
        let end = rig.run_item(&item).await;
        assert!(matches!(end, ReportBody::Failed { .. }), "{end:?}");
        let (kept, count) = kept(&rig, &item);
        assert_eq!((files(&kept).bytes, count), (15, 1), "{task}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_not_kept_and_the_task_goes_on() {
    let rig = Rig::new(DAG).await;
    let item = rig.item("too_large");
    let end = rig.run_item(&item).await;
    assert_eq!(crate::rig::kind(&end).1, "the task went on");
    let (kept, _) = kept(&rig, &item);
    assert_eq!((files(&kept).files, files(&kept).bytes), (1, 1), "the one before stands");
    assert_eq!(kept.values.keys().collect::<Vec<_>>(), ["a"]);
    let lines = rig.log(&end).await;
    let told = warnings(&lines);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("2147483650 bytes, and the limit is 2147483648"), "{told:?}");
    assert!(told[0].ends_with("the one before, of 1 bytes, stands"), "{told:?}");
    assert!(told[1].contains("the value `b`") && told[1].contains("65536"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_asks_for_nothing_says_nothing_of_it() {
    let rig = Rig::new(DAG).await;
    let first = rig.item("asks_for_nothing");
    let before = Checkpoint { values: [("step".to_owned(), "1".to_owned())].into(), files: None };
    let item = next(&first, before);
    rig.run_item(&item).await;
    assert_eq!(kept(&rig, &item).1, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_much_progress_the_first_word_and_the_last_are_told() {
    let rig = Rig::new(DAG).await;
    let item = rig.item("progresses");
    let end = rig.run_item(&item).await;
    assert!(matches!(end, ReportBody::Succeeded { .. }), "{end:?}");
    let words = words(&rig, &item);
    assert!(words.len() <= 2, "{words:?}");
    assert_eq!(words.last(), Some(&(9_950, "step 199".to_owned())), "{words:?}");
    let said = rig.scheduler.said(&item.key);
    let is_end = |body: &ReportBody| matches!(body, ReportBody::Succeeded { .. });
    assert!(is_end(&said.last().unwrap().body), "its end is told last");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_much_progress_the_last_word_is_told_after_a_kill_too() {
    let rig = Rig::new(DAG).await;
    let item = rig.item("progresses_and_dies");
    let end = rig.run_item(&item).await;
    assert!(matches!(end, ReportBody::Failed { .. }), "{end:?}");
    let words = words(&rig, &item);
    assert!(words.len() <= 2, "{words:?}");
    assert_eq!(words.last(), Some(&(9_950, "step 199".to_owned())), "{words:?}");
}
