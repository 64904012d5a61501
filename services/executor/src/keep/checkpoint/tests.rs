//! What of a checkpoint is told, when, and what goes together.
use std::{fs, time::Duration};

use dagbok_runtime::Clock;
use tempfile::TempDir;
use tokio::time::sleep;

use super::*;
use crate::keep::heard::{Heard, key};

type Told = (bool, BTreeMap<String, Option<String>>);

/// A try's checkpoint, and the other end of it.
struct Rig {
    home: TempDir,
    heard: Heard,
    it: Arc<Checkpoint>,
}

impl Rig {
    async fn new() -> Self {
        let (home, heard) = (tempfile::tempdir().unwrap(), Heard::new().await);
        let work = home.path().join("0");
        fs::create_dir(&work).unwrap();
        let log = Arc::new(LiveLog::new(home.path().join("log.jsonl"), Clock::system()));
        let store = Store::new(Arc::clone(&heard.ports.blobs));
        let with = (store, heard.reporter.clone(), log);
        let folder = beside(&work);
        let it = Checkpoint::new((key(), Kept::default()), with, (work, folder));
        Self { home, heard, it: Arc::new(it) }
    }

    fn write(&self, text: &str) {
        fs::write(self.home.path().join("0.checkpoint/weights"), text).unwrap();
    }

    fn set(&self, key: &str, value: Option<&str>) {
        let answer = self.it.set(key.to_owned(), value.map(ToOwned::to_owned));
        assert_eq!(answer["kept"], true, "{answer}");
    }

    /// What was told since the last look: whether a directory, and values.
    async fn told(&self) -> Vec<Told> {
        let reports = self.heard.reports().await.into_iter();
        let told = reports.map(|body| match body {
            ReportBody::Checkpoint { files, values } => (files.is_some(), values),
            other => panic!("{other:?} is said of no checkpoint"),
        });
        told.collect()
    }
}

fn told(is_with_files: bool, values: &[(&str, Option<&str>)]) -> Told {
    let owned = values.iter().map(|(key, value)| ((*key).to_owned(), value.map(ToOwned::to_owned)));
    (is_with_files, owned.collect())
}

#[tokio::test(start_paused = true)]
async fn values_alone_are_told_as_they_come_and_not_each_of_them() {
    let rig = Rig::new().await;
    rig.it.open(false).await.unwrap();
    for step in 0..1_000 {
        rig.set("step", Some(&step.to_string()));
        sleep(Duration::from_millis(100)).await;
    }
    sleep(Duration::from_secs(10)).await;
    let all = rig.told().await;
    assert!((9..=13).contains(&all.len()), "{all:?}");
    assert_eq!(all[0], told(false, &[("step", Some("0"))]), "the first one at once");
    assert_eq!(all[all.len() - 1], told(false, &[("step", Some("999"))]));
    rig.set("step", Some("1000"));
    rig.it.end(Ended::Badly).await;
    assert_eq!(rig.told().await, [told(false, &[("step", Some("1000"))])], "and no directory");
}

#[tokio::test(start_paused = true)]
async fn once_the_directory_is_used_values_are_told_with_it_alone() {
    let rig = Rig::new().await;
    rig.it.open(true).await.unwrap();
    rig.write("1");
    rig.set("step", Some("1"));
    sleep(Duration::from_mins(5)).await;
    assert_eq!(rig.told().await, []);
    assert_eq!(rig.it.save().await["kept"], true);
    assert_eq!(rig.told().await, [told(true, &[("step", Some("1"))])]);
    rig.write("2");
    rig.set("step", Some("2"));
    sleep(Duration::from_mins(5)).await;
    rig.it.end(Ended::Badly).await;
    sleep(Duration::from_mins(5)).await;
    assert_eq!(rig.told().await, [], "the save before stands, with its values");
}

#[tokio::test(start_paused = true)]
async fn a_leg_that_goes_on_tells_both_and_so_does_a_bad_end_without_a_save() {
    for how in [Ended::GoesOn, Ended::Badly] {
        let rig = Rig::new().await;
        // Values alone at first.
        rig.it.open(false).await.unwrap();
        rig.it.open(true).await.unwrap();
        if how == Ended::GoesOn {
            assert_eq!(rig.it.save().await["kept"], true);
            rig.told().await;
        }
        rig.write("1");
        rig.set("step", Some("1"));
        rig.it.end(how).await;
        assert_eq!(rig.told().await, [told(true, &[("step", Some("1"))])], "{how:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_a_runner_that_does_not_say_what_it_uses_the_directory_tells() {
    let rig = Rig::new().await;
    rig.it.open(false).await.unwrap();
    rig.write("1");
    rig.set("step", Some("1"));
    sleep(Duration::from_mins(1)).await;
    assert_eq!(rig.told().await, []);
    rig.it.end(Ended::Badly).await;
    assert_eq!(rig.told().await, [told(true, &[("step", Some("1"))])]);
}

#[tokio::test(start_paused = true)]
async fn that_something_is_gone_which_nobody_heard_of_is_not_told() {
    let rig = Rig::new().await;
    rig.it.open(false).await.unwrap();
    for n in 0..1_000 {
        rig.set(&format!("unknown{n}"), None);
    }
    rig.set("a", Some("1"));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(rig.told().await, [told(false, &[("a", Some("1"))])]);
    rig.set("b", Some("1"));
    rig.set("b", None);
    rig.set("a", None);
    rig.it.end(Ended::Badly).await;
    assert_eq!(rig.told().await, [told(false, &[("a", None)])]);
}

#[tokio::test(start_paused = true)]
async fn a_save_that_comes_too_soon_is_told_how_long_to_wait() {
    let rig = Rig::new().await;
    rig.it.open(true).await.unwrap();
    for n in 0..10 {
        rig.write(&n.to_string());
        assert_eq!(rig.it.save().await["kept"], true);
    }
    rig.write("10");
    let answer = rig.it.save().await;
    assert_eq!(answer["kept"], false);
    let wait = Duration::from_millis(answer["wait_ms"].as_u64().unwrap());
    assert!(wait <= Duration::from_millis(5_001), "{answer}");
    assert_eq!(rig.told().await.len(), 10);
    sleep(wait).await;
    let answer = rig.it.save().await;
    assert_eq!((&answer["kept"], answer.get("wait_ms")), (&Value::Bool(true), None));
    assert_eq!(rig.told().await.len(), 1);
}

#[test]
fn the_values_of_a_checkpoint_have_so_many_bytes() {
    let of = |bytes: usize| {
        let one = ("step".to_owned(), "7".to_owned());
        too_many(&BTreeMap::from([one, ("x".to_owned(), "y".repeat(bytes - 6))]))
    };
    assert_eq!(of(CHECKPOINT_VALUES_BYTES), None);
    assert_eq!(of(CHECKPOINT_VALUES_BYTES + 1), Some(CHECKPOINT_VALUES_BYTES + 1));
}
