//! Which files the scheduler was told of before this start, so that one that went while no processor
//! ran is missed. Kept in the keyed state; where that began empty, as it does in one process, the log
//! is read for it once.
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dagbok_events::{DagId, Fact, Scope, decode};
use dagbok_runlog::{PortResult, Ports, ReadLimit, Seq};

const PREFIX: &str = "processor/file/";
/// Stands once the log was read, or the folder was told of whole.
const MARK: &str = "processor/known";

/// The files that the scheduler holds something from.
pub(crate) async fn load(ports: &Ports) -> PortResult<BTreeSet<String>> {
    if ports.state.get(MARK).await?.is_none() {
        let known = from_log(ports).await?;
        for file in &known {
            remember(ports, file).await?;
        }
        ports.state.put(MARK, Bytes::new(), None).await?;
    }
    let keys = ports.state.list(PREFIX).await?;
    Ok(keys.into_iter().filter_map(|(key, _)| Some(key.strip_prefix(PREFIX)?.to_owned())).collect())
}

/// Keeps that the scheduler was told of `file`.
pub(crate) async fn remember(ports: &Ports, file: &str) -> PortResult<()> {
    ports.state.put(&format!("{PREFIX}{file}"), Bytes::new(), None).await.map(drop)
}

/// Keeps that the scheduler was told that `file` is gone.
pub(crate) async fn forget(ports: &Ports, file: &str) -> PortResult<()> {
    ports.state.delete(&format!("{PREFIX}{file}")).await
}

/// Folds the records about DAGs and files; those about runs, which are nearly all, are not even decoded.
async fn from_log(ports: &Ports) -> PortResult<BTreeSet<String>> {
    let mut dags: BTreeMap<DagId, String> = BTreeMap::new();
    let mut broken = BTreeSet::new();
    let mut after = Seq::ZERO;
    loop {
        let entries = ports.log.read(after, ReadLimit::default()).await?;
        let Some(last) = entries.last() else { break };
        after = last.seq;
        for entry in entries.iter().filter(|entry| is_about_files(&entry.subject)) {
            // A record of a newer version is for the scheduler to complain of.
            let Ok(record) = decode(&entry.payload) else { continue };
            for fact in record.facts {
                match (&record.scope, fact) {
                    (Scope::Dag(dag), Fact::DagRegistered(fact)) => {
                        dags.insert(dag.clone(), fact.spec.source.file);
                    }
                    (Scope::Dag(dag), Fact::DagDisappeared(_)) => {
                        dags.remove(dag);
                    }
                    (Scope::File(file), Fact::DagImportFailed(_)) => {
                        broken.insert(file.clone());
                    }
                    (Scope::File(file), Fact::DagImportRecovered(_)) => {
                        broken.remove(file);
                    }
                    _ => {}
                }
            }
        }
    }
    Ok(dags.into_values().chain(broken).collect())
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
}
