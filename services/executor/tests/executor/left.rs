//! What an executor that was killed leaves on the disk, and who hands it in.
use std::{
    fs::{self, File},
    path::Path,
    time::Duration,
};

use dagbok_events::{Digest, ExecutorId};
use dagbok_executor::LogSource;
use dagbok_protocol::{ReportBody, names};
use dagbok_runlog::memory;
use tokio::time::sleep;

use crate::rig::{Rig, item, until};

/// Nothing of it is run here.
const DAG: &str = "";

/// What an executor called so left in `home` of a try of this task; and the lock that it held.
fn leave(home: &Path, executor: &str, task: &str, text: &str) -> File {
    let folder = home.join("logs").join(executor);
    let tries = folder.join("d/run1").join(task).join("-1");
    fs::create_dir_all(&tries).unwrap();
    fs::write(tries.join("1.jsonl"), text).unwrap();
    fs::write(tries.join("2.told"), text).unwrap();
    File::create(folder.join(".lock")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_executor_left_is_handed_in() {
    let line = r#"{"t":"2026-01-01T00:00:00Z","s":"stdout","l":"info","m":"the last word"}"#;
    let key = |task: &str| item(&Digest::new("a".repeat(64)).unwrap(), task).key;
    let (ports, mut locked) = (memory::ports(), None);
    let far_away = ExecutorId::new("executor-far").unwrap();
    let presence = names::presence_key(&far_away);
    ports.state.put(&presence, "there".into(), None).await.unwrap();
    let rig = Rig::with(DAG, ports, |settings| {
        settings.lease = Duration::from_secs(1);
        leave(&settings.home, "executor-dead", "sleeps", &format!("{line}\n{{\"torn"));
        let lock = leave(&settings.home, "executor-alive", "quick", line);
        lock.lock().unwrap();
        locked = Some(lock);
        // Its lock is of another machine, as on a file system that keeps them apart.
        leave(&settings.home, "executor-far", "talks", line);
    })
    .await;
    let left = async |task: &str, by: &str| {
        let key = key(task);
        until("it is handed in", async || !rig.scheduler.said(&key).is_empty()).await;
        let said = rig.scheduler.said(&key);
        assert_eq!((said.len(), said[0].executor.as_str()), (1, by), "{said:?}");
        let ReportBody::Left { .. } = &said[0].body else { panic!("{said:?}") };
        rig.log(&said[0].body).await
    };
    let lines = left("sleeps", "executor-dead").await;
    assert_eq!(lines.len(), 2, "a torn line is no line: {lines:?}");
    assert_eq!(lines[0].m, "the last word");
    assert!(lines[1].s == LogSource::System && lines[1].m.contains("killed"), "{lines:?}");
    let logs = rig.settings.home.join("logs");
    until("the folder is gone", async || !logs.join("executor-dead").exists()).await;
    sleep(rig.settings.lease).await;
    for (task, executor) in [("quick", "executor-alive"), ("talks", "executor-far")] {
        assert!(rig.scheduler.said(&key(task)).is_empty(), "{executor} lives");
    }
    rig.ports.state.delete(&presence).await.unwrap();
    left("talks", "executor-far").await;
    assert!(logs.join("executor-alive/d/run1/quick/-1/1.jsonl").exists(), "its owner lives");
}
