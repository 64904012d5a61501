//! Whose tries don't share a process: a task that ends the process which forked it takes the other tries of
//! its file along, and nobody can tell which of them it was. So for a while each of that file's tries runs
//! in a process of its own, where who does it again does it to nobody else, and is known by that.
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use dagbok_events::{DagId, TaskId, TryKey};
use parking_lot::Mutex;
use tokio::time::Instant;

/// How long all of a file's tries are kept apart after the last such end.
const SUSPECTED_FOR: Duration = Duration::from_mins(15);
/// Tasks that are remembered to have done it; beyond, any is forgotten.
const CULPRITS: usize = 1_000;

/// What is known of such ends.
#[derive(Debug, Default)]
pub(super) struct Apart {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    suspected: BTreeMap<String, Instant>,
    culprits: BTreeSet<(DagId, TaskId)>,
}

impl Apart {
    /// Whether a try must run apart.
    pub(super) fn is_wanted(&self, file: &str, key: &TryKey) -> bool {
        let mut inner = self.inner.lock();
        inner.suspected.retain(|_, since| since.elapsed() < SUSPECTED_FOR);
        inner.suspected.contains_key(file) || inner.culprits.contains(&task(key))
    }

    /// The process that had forked a try went away under it; `alone` where that was the try's own.
    pub(super) fn orphaned(&self, file: &str, key: &TryKey, alone: bool) {
        let mut inner = self.inner.lock();
        if alone {
            tracing::warn!(%key, "a task ends the process that forks it, and is kept apart from now on");
            if inner.culprits.len() >= CULPRITS {
                inner.culprits.pop_first();
            }
            inner.culprits.insert(task(key));
        } else {
            tracing::warn!(file, %key, "the process that forked a try is gone: the file's tries run apart");
            inner.suspected.insert(file.to_owned(), Instant::now());
        }
    }
}

fn task(key: &TryKey) -> (DagId, TaskId) {
    (key.dag_id.clone(), key.task_id.clone())
}

#[cfg(test)]
mod tests {
    use dagbok_events::{MapIndex, RunId, TryNumber};
    use tokio::time::advance;

    use super::*;

    fn key(task: &str) -> TryKey {
        serde_json::from_value(serde_json::json!({
            "dag_id": DagId::new("d").unwrap(),
            "run_id": RunId::new("r").unwrap(),
            "task_id": TaskId::new(task).unwrap(),
            "map_index": MapIndex::UNMAPPED,
            "try_number": TryNumber::FIRST,
        }))
        .unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_suspected_for_a_while_and_a_culprit_for_good() {
        let apart = Apart::default();
        assert!(!apart.is_wanted("f.py", &key("a")));
        apart.orphaned("f.py", &key("a"), false);
        assert!(apart.is_wanted("f.py", &key("b")) && !apart.is_wanted("g.py", &key("b")));
        apart.orphaned("f.py", &key("a"), true);
        advance(SUSPECTED_FOR).await;
        assert!(apart.is_wanted("f.py", &key("a")), "it did it apart: it is known");
        assert!(!apart.is_wanted("f.py", &key("b")));
    }
}
