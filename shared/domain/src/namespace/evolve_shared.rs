//! Folding what is said of the namespace itself and of files of the folder.
use std::sync::Arc;

use dagbok_events::{DagId, Fact, Record, folder_of};

use super::{Dag, FileState, Namespace};

impl Namespace {
    /// A fact about the namespace itself.
    pub(super) fn evolve_shared(&mut self, fact: &Fact) {
        match fact {
            Fact::PoolSet(f) => {
                self.pools.entry(f.pool.clone()).or_default().set = Some(f.clone());
            }
            Fact::PoolDeleted(f) => {
                if let Some(pool) = self.pools.get_mut(&f.pool) {
                    pool.set = None;
                    if pool.used == 0 && pool.deferred == 0 {
                        self.pools.remove(&f.pool);
                    }
                }
            }
            Fact::LimitsSet(f) => {
                self.limits = *f;
            }
            Fact::VariableSet(f) => {
                self.variables.insert(f.key.clone(), f.sealed.id.clone());
            }
            Fact::VariableDeleted(f) => {
                self.variables.remove(&f.key);
            }
            Fact::ConnectionSet(f) => {
                self.connections.insert(f.conn_id.clone(), f.sealed.id.clone());
            }
            Fact::ConnectionDeleted(f) => {
                self.connections.remove(&f.conn_id);
            }
            Fact::SecretsRewrapped(f) => self.retired.note(f),
            Fact::ClockWentBack(f) => self.clock_back(f.to),
            Fact::BundlePublished(f) => {
                let folder = f.folder.as_deref();
                self.bundles.insert(folder.unwrap_or_default().to_owned(), f.bundle.clone());
                let of_folder = |dag: &&mut Arc<Dag>| !dag.gone && folder_of(&dag.file) == folder;
                for dag in self.dags.values_mut().filter(of_folder).map(Arc::make_mut) {
                    if self.files.get(&dag.file).is_none_or(|file| file.error.is_none()) {
                        dag.bundle = f.bundle.clone();
                    }
                }
                let watching: Vec<DagId> = self.index.watching.keys().cloned().collect();
                for dag_id in watching {
                    if let Some(dag) = self.dags.get(&dag_id) {
                        self.index.put_watchers(&dag_id, dag);
                    }
                }
            }
            _ => {}
        }
    }

    /// What tasks handed on in runs that were over before some time is forgotten.
    pub(super) fn let_lapse(&mut self, seq: u64, record: &Record) {
        for fact in &record.facts {
            let Fact::HistoryForgotten(f) = fact else { continue };
            let Some(before) = f.xcoms_of_runs_over_before else { continue };
            self.lapses.note(seq, record.decided_at(), before);
            // What they say of it was true before.
            self.revived.clear();
        }
    }

    /// A record about a DAG file.
    pub(super) fn evolve_file(&mut self, file: &str, record: &Record) {
        for fact in &record.facts {
            match fact {
                Fact::DagImportFailed(f) => {
                    let error = Some((f.line, f.exception.clone(), f.message.clone()));
                    self.files.insert(file.to_owned(), FileState { error });
                }
                Fact::DagImportRecovered(_) => {
                    self.files.remove(file);
                }
                _ => {}
            }
        }
    }
}
