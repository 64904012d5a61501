//! Which files the scheduler was told of before this start, so that one that went while no processor
//! ran is missed. Kept in the keyed state; where that began empty, as it does in one process, the log
//! is read for it, from where the last start left off.
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dagbok_events::{DagId, Fact, Scope, decode, file_in, folder_of, path_in_folder};
use dagbok_protocol::names::PROCESSOR_SNAPSHOT;
use dagbok_runlog::{Compared, PortResult, Ports, Position, ReadLimit, Seq};
use serde::{Deserialize, Serialize};

const PREFIX: &str = "processor/file/";
/// Of files of folders that go by a name: a key has no empty part.
const NAMED: &str = "processor/named/";
/// Stands once the log was read, or the folder was told of whole.
const MARK: &str = "processor/known";

/// The files that the scheduler holds something from. `resumes` says that the keyed state begins empty with
/// each start, so that what was read of the log is kept in a snapshot.
pub(crate) async fn load(ports: &Ports, resumes: bool) -> PortResult<BTreeSet<String>> {
    if ports.state.get(MARK).await?.is_none() {
        let known = from_log(ports, resumes).await?;
        for file in &known {
            remember(ports, file).await?;
        }
        ports.state.put(MARK, Bytes::new(), None).await?;
    }
    let mut files = BTreeSet::new();
    for prefix in [PREFIX, NAMED] {
        let keys = ports.state.list(prefix).await?;
        files.extend(keys.iter().filter_map(|(key, _)| file_of(key)));
    }
    Ok(files)
}

/// The key of a file.
fn key_of(file: &str) -> String {
    match folder_of(file) {
        Some(folder) => format!("{NAMED}{folder}/{}", path_in_folder(file)),
        None => format!("{PREFIX}{file}"),
    }
}

/// The file of a key.
fn file_of(key: &str) -> Option<String> {
    if let Some(file) = key.strip_prefix(PREFIX) {
        return Some(file.to_owned());
    }
    let (folder, path) = key.strip_prefix(NAMED)?.split_once('/')?;
    Some(file_in(Some(folder), path))
}

/// Keeps that the scheduler was told of `file`.
pub(crate) async fn remember(ports: &Ports, file: &str) -> PortResult<()> {
    ports.state.put(&key_of(file), Bytes::new(), None).await.map(drop)
}

/// Keeps that the scheduler was told that `file` is gone.
pub(crate) async fn forget(ports: &Ports, file: &str) -> PortResult<()> {
    ports.state.delete(&key_of(file)).await
}

/// What the log says of DAGs and files, up to a place.
#[derive(Debug, Default, Serialize, Deserialize)]
struct OfLog {
    /// The last entry that was read; `None` for none.
    position: Option<Position>,
    /// The file of each DAG that is there.
    dags: BTreeMap<DagId, String>,
    /// Files that can't be read.
    broken: BTreeSet<String>,
}

/// Folds the records about DAGs and files; those about runs, which are nearly all, are not even decoded. A
/// log that was trimmed, and has no archive here, is read from where it begins: what was said before is said
/// again, which changes nothing.
async fn from_log(ports: &Ports, resumes: bool) -> PortResult<BTreeSet<String>> {
    let mut known = if resumes { resumed(ports).await? } else { OfLog::default() };
    let base = ports.log.base().await?;
    let begun = known.position.map_or(Seq(base.first.0 - 1), |position| position.seq);
    let mut after = begun;
    loop {
        let entries = ports.log.read(after, ReadLimit::default()).await?;
        let Some(last) = entries.last() else { break };
        after = last.seq;
        for entry in entries.iter().filter(|entry| is_about_files(&entry.subject)) {
            known.fold(&entry.payload);
        }
    }
    if resumes && after > begun {
        known.position = Position::look(&*ports.log, after).await?;
        keep(ports, &known).await;
    }
    Ok(known.dags.into_values().chain(known.broken).collect())
}

/// What was read before, where it stands on this log.
async fn resumed(ports: &Ports) -> PortResult<OfLog> {
    let Some(bytes) = ports.snapshots.get(PROCESSOR_SNAPSHOT).await? else {
        return Ok(OfLog::default());
    };
    let Ok(known) = serde_json::from_slice::<OfLog>(&bytes) else { return Ok(OfLog::default()) };
    let Some(position) = known.position else { return Ok(OfLog::default()) };
    let same = position.compare(&*ports.log).await? == Compared::Same;
    Ok(if same { known } else { OfLog::default() })
}

/// Losing it costs time only.
async fn keep(ports: &Ports, known: &OfLog) {
    let bytes = serde_json::to_vec(known).expect("names and digests are JSON");
    if let Err(error) = ports.snapshots.put(PROCESSOR_SNAPSHOT, bytes.into()).await {
        tracing::warn!(%error, "which files are known can't be kept: the log is read again at the next start");
    }
}

impl OfLog {
    /// Takes a record in; one of a newer version is for the scheduler to complain of.
    fn fold(&mut self, payload: &[u8]) {
        let Ok(record) = decode(payload) else { return };
        for fact in record.facts {
            match (&record.scope, fact) {
                (Scope::Dag(dag), Fact::DagRegistered(fact)) => {
                    self.dags.insert(dag.clone(), fact.spec.source.file);
                }
                (Scope::Dag(dag), Fact::DagDisappeared(_)) => {
                    self.dags.remove(dag);
                }
                (Scope::File(file), Fact::DagImportFailed(_)) => {
                    self.broken.insert(file.clone());
                }
                (Scope::File(file), Fact::DagImportRecovered(_)) => {
                    self.broken.remove(file);
                }
                _ => {}
            }
        }
    }
}

fn is_about_files(subject: &str) -> bool {
    subject.starts_with("log.dag.") || subject.starts_with("log.file.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subjects_that_are_read_are_those_that_the_facts_stand_under() {
        let dag = Scope::Dag(DagId::new("a.b").unwrap());
        assert!(is_about_files(&dagbok_events::subject_of(&dag)));
        assert!(is_about_files(&dagbok_events::subject_of(&Scope::File("lib/x.py".into()))));
        assert!(!is_about_files(&dagbok_events::subject_of(&Scope::Namespace)));
    }

    async fn tell(ports: &Ports, file: &str, fact: Fact) {
        let last = ports.log.last().await.unwrap();
        let scope = Scope::File(file.to_owned());
        let record = dagbok_events::Record {
            at: dagbok_events::Timestamp(i64::try_from(last.0).unwrap()),
            clock: None,
            scope,
            by: dagbok_events::Actor::Scheduler,
            reason: None,
            cause: None,
            trace: None,
            facts: vec![fact],
        };
        let subject = dagbok_events::subject_of(&record.scope);
        let payload = dagbok_events::encode(&record).into();
        ports.log.append(last, vec![dagbok_runlog::Draft { subject, payload }]).await.unwrap();
    }

    fn broken() -> Fact {
        Fact::DagImportFailed(Box::new(dagbok_events::DagImportFailed {
            line: None,
            exception: "E".to_owned(),
            message: "no".to_owned(),
            traceback: String::new(),
            keeps: Vec::new(),
        }))
    }

    /// A later start, whose keyed state is empty.
    fn again(ports: &Ports) -> Ports {
        Ports { state: dagbok_runlog::memory::ports().state, ..ports.clone() }
    }

    async fn files(ports: &Ports, resumes: bool) -> Vec<String> {
        load(ports, resumes).await.unwrap().into_iter().collect()
    }

    #[tokio::test]
    async fn files_of_folders_with_names_are_known_as_the_others_are() {
        let ports = dagbok_runlog::memory::ports();
        let all = ["a.py", "team//a.py", "team//deep/p.zip/b.py"];
        for file in all {
            tell(&ports, file, broken()).await;
        }
        assert_eq!(files(&ports, true).await, all, "from the log");
        forget(&ports, "team//a.py").await.unwrap();
        remember(&ports, "other//a.py").await.unwrap();
        assert_eq!(
            files(&ports, true).await,
            ["a.py", "other//a.py", "team//deep/p.zip/b.py"],
            "from the keyed state"
        );
        let keys = ports.state.list("processor/").await.unwrap();
        assert!(keys.iter().all(|(key, _)| !key.contains("//")), "a subject has no empty part");
    }

    #[tokio::test]
    async fn a_later_start_reads_on_from_where_the_last_left_off() {
        let ports = dagbok_runlog::memory::ports();
        tell(&ports, "a.py", broken()).await;
        tell(&ports, "b.py", broken()).await;
        assert_eq!(files(&ports, true).await, ["a.py", "b.py"]);
        tell(
            &ports,
            "a.py",
            Fact::DagImportRecovered(dagbok_events::DagImportRecovered { removed: false }),
        )
        .await;
        tell(&ports, "c.py", broken()).await;
        // What was read before is not there to be read again.
        let chain = dagbok_runlog::chain_at(&*ports.log, Seq(1)).await.unwrap();
        ports.log.trim(Seq(2), chain).await.unwrap();
        assert_eq!(files(&again(&ports), true).await, ["b.py", "c.py"]);
        assert_eq!(files(&again(&ports), false).await, ["b.py", "c.py"], "from where it begins");

        // A snapshot of another log is not believed.
        let other = dagbok_runlog::memory::ports();
        tell(&other, "z.py", broken()).await;
        let mixed = Ports { snapshots: ports.snapshots.clone(), ..other };
        assert_eq!(files(&mixed, true).await, ["z.py"]);
    }
}
