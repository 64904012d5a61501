//! The folder's bundle: packed and stored when the folder changed, told of when its files were. Where only
//! what is no code keeps changing, the bundle of before stands for the folder for a while.
use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use dagbok_events::Digest;
use dagbok_runlog::{PortError, Ports};
use dagbok_runtime::{Backoff, Shutdown};
use tokio::time::Instant;

use super::{
    inputs::Inputs,
    repeats::{Pace, Repeats},
};
use crate::{
    bundle::{BundleError, pack},
    service::blocking,
    snapshot::{FileFacts, Hash, Snapshot},
};

/// The pause before a store that failed is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// Bundles that differ from the one before in no code: a query may be mended five times in a row, and what
/// goes on and on is written by something that runs.
static DATA: Pace = Pace {
    within: Duration::from_mins(2),
    allowed: 4,
    rest: (Duration::from_secs(2), Duration::from_mins(5)),
};
/// Files named in a warning, at most.
const NAMED: usize = 3;

/// The bundle of the folder as it was walked last.
#[derive(Debug, Default)]
pub(super) struct Bundle {
    /// Of which content it is.
    of: Option<Arc<Snapshot>>,
    digest: Option<Digest>,
    /// Why the folder can't be published.
    trouble: Option<String>,
    published: Option<Digest>,
    /// Bundles of changed data in a row.
    repeats: Option<Repeats>,
    /// The folder that has other data and no bundle of its own yet.
    rests: Option<Rest>,
    /// Of which rest was warned last.
    warned: Option<Duration>,
}

#[derive(Debug)]
struct Rest {
    of: Hash,
    until: Instant,
}

impl Bundle {
    /// Whether it is of the snapshot's content, or known to be impossible.
    pub(super) fn is_of(&self, snapshot: &Snapshot) -> bool {
        self.of.as_ref().is_some_and(|of| of.hash == snapshot.hash)
    }

    /// Whether the snapshot has the same code and only other data, of which a bundle is made later.
    pub(super) fn rests_at(&self, snapshot: &Snapshot) -> bool {
        self.rests.as_ref().is_some_and(|rest| rest.of == snapshot.hash)
    }

    /// Whether it is all that is to be told of the snapshot now.
    pub(super) fn stands_for(&self, snapshot: &Snapshot) -> bool {
        self.is_of(snapshot) || self.rests_at(snapshot)
    }

    /// When the bundle of other data is to be made.
    pub(super) fn rests_until(&self) -> Option<Instant> {
        self.rests.as_ref().map(|rest| rest.until)
    }

    /// The folder can't be seen: what it has now is not known.
    pub(super) fn stop_resting(&mut self) {
        self.rests = None;
    }

    /// Whether what was read with these inputs is what a task would read in it.
    pub(super) fn holds(&self, inputs: &Inputs) -> bool {
        self.of.as_ref().is_none_or(|of| inputs.are_of(of))
    }

    /// Where it lies.
    pub(super) fn digest(&self) -> Option<Digest> {
        self.digest.clone()
    }

    /// Why there is none of the folder as it is.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// What the scheduler was not told of.
    pub(super) fn unpublished(&self) -> Option<Digest> {
        let digest = self.digest.clone().filter(|_| self.trouble.is_none());
        digest.filter(|digest| self.published.as_ref() != Some(digest))
    }

    pub(super) fn published(&mut self, digest: Digest) {
        self.published = Some(digest);
    }

    /// Packs and stores the snapshot where it is new; returns the folder as it was packed, in which data may
    /// be newer, or `None` where its code is changing meanwhile. Where only data keeps changing, and no
    /// reading that is `called_for` waits, that is left for later.
    pub(super) async fn renew(
        &mut self,
        ports: &Ports,
        snapshot: &Arc<Snapshot>,
        shutdown: &Shutdown,
        called_for: bool,
    ) -> Option<Arc<Snapshot>> {
        self.rests = None;
        let began = Instant::now();
        if self.is_of(snapshot) {
            return Some(Arc::clone(snapshot));
        }
        // What may end trouble is never put off.
        let of = self.of.as_ref().filter(|_| !called_for && self.trouble.is_none());
        let data = of.and_then(|of| changed_data(of, snapshot));
        if data.as_ref().is_some_and(|names| self.rest(snapshot, names)) {
            return Some(Arc::clone(snapshot));
        }
        let mut taken = Arc::clone(snapshot);
        let packing = Arc::clone(snapshot);
        let packed = tokio::select! {
            packed = blocking(move || pack(&packing)) => packed,
            () = shutdown.started() => return None,
        };
        let packed = match packed {
            Ok(packed) => {
                self.trouble = None;
                if !packed.newer.is_empty() {
                    let files = packed.newer.keys().take(NAMED).map(|name| format!("`{name}`"));
                    let files = files.collect::<Vec<_>>().join(", ");
                    tracing::info!(
                        files,
                        "data files changed while they were packed; they are taken as read then"
                    );
                    taken = Arc::new(snapshot.with(&packed.newer));
                }
                packed.bytes
            }
            Err(BundleError::Changed(file)) => {
                tracing::debug!(file, "the DAG folder is being changed");
                return None;
            }
            Err(error) => {
                tracing::error!(%error, "the DAG folder can't be published");
                self.trouble = Some(error.to_string());
                // The word that goes out about each file must name a bundle; DAGs keep their own.
                let empty = pack(&Snapshot::default());
                empty.expect("an archive of nothing is within every limit").bytes
            }
        };
        let stored = tokio::select! {
            digest = store(ports, packed.into()) => digest,
            () = shutdown.started() => return None,
        };
        match stored {
            Ok(digest) => self.digest = Some(digest),
            Err(why) => self.trouble = Some(why),
        }
        self.of = Some(Arc::clone(&taken));
        if data.is_some() {
            let before = self.repeats.take();
            let again = |repeats: Repeats| repeats.again(began);
            self.repeats = Some(before.map_or_else(|| Repeats::begun(&DATA), again));
        }
        self.digest.is_some().then_some(taken)
    }

    /// Leaves the change of these files for later, where there were too many like it.
    fn rest(&mut self, snapshot: &Snapshot, names: &BTreeSet<String>) -> bool {
        let Some(repeats) = &self.repeats else { return false };
        let Some(until) = repeats.rests_until().filter(|until| *until > Instant::now()) else {
            return false;
        };
        let pause = repeats.rest();
        if self.warned != pause {
            let first: Vec<_> = names.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
            tracing::warn!(
                files = first.join(", "),
                more = names.len() - first.len(),
                pause_s = pause.map(|pause| pause.as_secs()),
                "files of the DAG folder that are no code change again and again, and each change makes a \
                 bundle: the next waits for a while, or for code to change; have them written elsewhere, or \
                 name them in a `.dagbokignore`"
            );
            self.warned = pause;
        }
        self.rests = Some(Rest { of: snapshot.hash, until });
        true
    }
}

/// The files that differ, where none of them is code, or says what is.
fn changed_data(before: &Snapshot, now: &Snapshot) -> Option<BTreeSet<String>> {
    let names = before.files.keys().chain(now.files.keys());
    let mut differ = BTreeSet::new();
    for name in names {
        let facts = [before, now].map(|snapshot| snapshot.files.get(name));
        let [was, is] = facts.map(|facts| facts.filter(|facts| facts.present).map(what_counts));
        if was == is {
            continue;
        }
        if facts.into_iter().flatten().any(|facts| facts.is_code(name)) {
            return None;
        }
        differ.insert(name.clone());
    }
    Some(differ)
}

fn what_counts(facts: &FileFacts) -> (Hash, bool) {
    (facts.hash, facts.listed.executable)
}

/// Stores the bundle, as often as that takes; an error where it can never be.
async fn store(ports: &Ports, packed: Bytes) -> Result<Digest, String> {
    let mut backoff = Backoff::new(PAUSE / 8, PAUSE);
    loop {
        match ports.blobs.put(packed.clone()).await {
            Ok(digest) => return Digest::new(digest).map_err(|error| error.to_string()),
            Err(PortError::Refused { why, .. }) => {
                return Err(format!("the bundle is refused: {why}"));
            }
            Err(error) => {
                tracing::warn!(%error, "the bundle can't be stored; trying again");
                backoff.pause().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use dagbok_events::Timestamp;
    use dagbok_runlog::memory;

    use super::*;
    use crate::IgnoreSyntax;

    struct Folder(tempfile::TempDir, Ports, Bundle);

    impl Folder {
        /// Writes a file and renews the bundle; whether it is of the folder now.
        async fn write(&mut self, name: &str, text: &str, called_for: bool) -> bool {
            let Self(folder, ports, bundle) = self;
            fs::write(folder.path().join(name), text).unwrap();
            let snapshot = Arc::new(take(folder.path()));
            assert!(bundle.renew(ports, &snapshot, &Shutdown::new(), called_for).await.is_some());
            assert!(bundle.stands_for(&snapshot));
            bundle.is_of(&snapshot)
        }

        /// How long it rests.
        fn rest(&self) -> Option<u64> {
            Some((self.2.rests_until()? - Instant::now()).as_secs())
        }
    }

    fn take(folder: &Path) -> Snapshot {
        let now = Timestamp(i64::MAX);
        Snapshot::take(folder, IgnoreSyntax::Glob, &Snapshot::default(), now).unwrap()
    }

    async fn noisy() -> Folder {
        let folder = tempfile::tempdir().unwrap();
        let mut folder = Folder(folder, memory::ports(), Bundle::default());
        assert!(folder.write("dag.py", "", false).await);
        for n in 0..=DATA.allowed {
            assert!(folder.write("app.log", &n.to_string(), false).await, "{n}");
        }
        folder
    }

    #[tokio::test(start_paused = true)]
    async fn data_that_changes_again_and_again_makes_a_bundle_ever_more_rarely() {
        let mut folder = noisy().await;
        for (n, rest) in [2, 4, 8, 16, 32, 64, 128, 256, 300, 300].into_iter().enumerate() {
            assert!(!folder.write("app.log", &format!("rests {n}"), false).await);
            assert_eq!(folder.rest(), Some(rest));
            tokio::time::advance(Duration::from_secs(rest)).await;
            assert!(folder.write("app.log", &format!("over {n}"), false).await);
            assert_eq!(folder.rest(), None);
        }
        tokio::time::advance(DATA.rest.1 + DATA.within).await;
        for n in 0..=DATA.allowed {
            assert!(folder.write("query.sql", &n.to_string(), false).await, "a new beginning");
        }
    }

    #[tokio::test]
    async fn data_that_is_newer_than_the_walk_is_part_of_what_was_packed() {
        let mut folder = Folder(tempfile::tempdir().unwrap(), memory::ports(), Bundle::default());
        assert!(folder.write("dag.py", "", false).await);
        let Folder(root, ports, bundle) = &mut folder;
        let write = |name: &str, text: &str| fs::write(root.path().join(name), text).unwrap();
        write("app.log", "walked");
        let walked = Arc::new(take(root.path()));
        write("dag.py", "#");
        let packed = bundle.renew(ports, &walked, &Shutdown::new(), false).await;
        assert!(packed.is_none(), "code that is newer is walked again");
        let walked = Arc::new(take(root.path()));
        write("app.log", "newer");
        let packed = bundle.renew(ports, &walked, &Shutdown::new(), false).await.unwrap();
        assert!(bundle.is_of(&packed) && !bundle.is_of(&walked));
        assert_eq!(packed.hash, take(root.path()).hash);
    }

    #[tokio::test(start_paused = true)]
    async fn data_that_may_mend_a_folder_that_was_too_large_does_not_wait() {
        let mut folder = noisy().await;
        folder.2.trouble = Some("too large".into());
        assert!(folder.write("app.log", "", false).await);
        assert_eq!(folder.2.trouble(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn code_and_what_a_reading_waits_for_is_published_at_once() {
        let mut folder = noisy().await;
        for code in ["dag.py", "lib.so", ".dagbokignore", ".airflowignore"] {
            assert!(!folder.write("app.log", &format!("before {code}"), false).await);
            assert!(folder.write(code, "#", false).await, "{code}");
        }
        assert!(!folder.write("app.log", "more", false).await);
        assert!(folder.write("app.log", "and more", true).await);
    }
}
