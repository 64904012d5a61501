//! What the processor read: DAGs registered, changed, gone, and files that can't be read.
use dagbok_events::{
    BundlePublished, DagDisappeared, DagId, DagImportFailed, DagImportRecovered, DagRegistered, Digest,
    Fact, MissedWhy, Record, RunExpected, Scope, Timestamp,
};
use dagbok_protocol::{Command, DagFile, ImportError, RegisteredDag, limits};

use crate::{
    graph::Version,
    namespace::{Decision, Namespace, accepted, answering, schedule, unchanged},
    timetable,
};

impl Namespace {
    pub(super) fn file_read(&self, at: Timestamp, command: &Command, file: &DagFile) -> Decision {
        let mut errors = file.errors.clone();
        let mut records = Vec::new();
        for dag in &file.dags {
            match admit(dag) {
                Ok(()) => records.extend(self.register(at, command, file, dag)),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() {
            let named = |dag_id: &DagId| file.dags.iter().any(|dag| dag.spec.dag_id == *dag_id);
            records.extend(self.disappear(at, command, &file.file, false, named));
        }
        records.extend(self.errors_of(at, command, &file.file, errors.first()));
        if records.is_empty() { unchanged() } else { accepted(records) }
    }

    pub(super) fn file_gone(&self, at: Timestamp, command: &Command, file: &str) -> Decision {
        let mut records = self.disappear(at, command, file, true, |_| false);
        if self.files.contains_key(file) {
            let facts = vec![Fact::DagImportRecovered(DagImportRecovered { removed: true })];
            records.push(answering(command, at, Scope::File(file.to_owned()), facts));
        }
        if records.is_empty() { unchanged() } else { accepted(records) }
    }

    pub(super) fn publish_bundle(&self, at: Timestamp, command: &Command, bundle: &Digest) -> Decision {
        if self.bundle.as_ref() == Some(bundle) {
            return unchanged();
        }
        let facts = vec![Fact::BundlePublished(BundlePublished { bundle: bundle.clone() })];
        accepted(vec![answering(command, at, Scope::Namespace, facts)])
    }

    fn register(
        &self,
        at: Timestamp,
        command: &Command,
        file: &DagFile,
        read: &RegisteredDag,
    ) -> Option<Record> {
        let known = self.dags.get(&read.spec.dag_id);
        let same = known.is_some_and(|dag| {
            !dag.gone && dag.current.digest == read.spec_digest && dag.file == file.file
        });
        if same {
            return None;
        }
        let number = known.map_or(1, |dag| dag.current.number.saturating_add(1));
        let version = Version::new(number, read.spec_digest.clone(), read.spec.clone());
        let paused = match known {
            None => Some(read.spec.is_paused_upon_creation.unwrap_or(file.paused_at_creation)),
            Some(_) => None,
        };
        let mut facts = vec![Fact::DagRegistered(Box::new(DagRegistered {
            version: number,
            spec_digest: read.spec_digest.clone(),
            bundle: file.bundle.clone(),
            spec: read.spec.clone(),
            paused,
        }))];
        let standing = known.and_then(|dag| dag.expected.as_ref());
        let last = known.and_then(|dag| dag.last_interval);
        facts.extend(schedule::changed_promise(&version, standing, last, at));
        Some(answering(command, at, Scope::Dag(read.spec.dag_id.clone()), facts))
    }

    fn disappear(
        &self,
        at: Timestamp,
        command: &Command,
        file: &str,
        file_gone: bool,
        keep: impl Fn(&DagId) -> bool,
    ) -> Vec<Record> {
        let gone = self.dags.iter().filter(|(id, dag)| !dag.gone && dag.file == file && !keep(id));
        gone.map(|(dag_id, dag)| {
            let mut facts =
                vec![Fact::DagDisappeared(DagDisappeared { file: file.to_owned(), file_gone })];
            if dag.expected.is_some() {
                facts.extend(schedule::missed(dag, None, at, MissedWhy::ScheduleChanged));
                facts.push(Fact::RunExpected(RunExpected {
                    logical_date: None,
                    data_interval: None,
                    due: None,
                    grace: dagbok_events::Micros(0),
                    owner: dag.current.spec.owner.clone(),
                }));
            }
            answering(command, at, Scope::Dag(dag_id.clone()), facts)
        })
        .collect()
    }

    fn errors_of(
        &self,
        at: Timestamp,
        command: &Command,
        file: &str,
        error: Option<&ImportError>,
    ) -> Option<Record> {
        let standing = self.files.get(file).and_then(|state| state.error.clone());
        let fact = match (error, standing) {
            (None, None) => return None,
            (None, Some(_)) => Fact::DagImportRecovered(DagImportRecovered { removed: false }),
            (Some(error), standing) => {
                let new = (error.line, error.exception.clone(), error.message.clone());
                if standing.as_ref() == Some(&new) {
                    return None;
                }
                let keeps = self.dags.iter().filter(|(_, dag)| !dag.gone && dag.file == file);
                Fact::DagImportFailed(Box::new(DagImportFailed {
                    line: error.line,
                    exception: error.exception.clone(),
                    message: cut(&error.message, limits::MESSAGE_BYTES),
                    traceback: cut(&error.traceback, limits::INLINE_TRACEBACK_BYTES),
                    keeps: keeps.map(|(id, _)| id.clone()).collect(),
                }))
            }
        };
        Some(answering(command, at, Scope::File(file.to_owned()), vec![fact]))
    }
}

/// What the processor can't see: limits, and whether the schedule can be followed.
fn admit(dag: &RegisteredDag) -> Result<(), ImportError> {
    let spec = &dag.spec;
    let line = (spec.source.line > 0).then_some(spec.source.line);
    let refuse = |exception: &str, message: String| {
        Err(ImportError { line, exception: exception.to_owned(), message, traceback: String::new() })
    };
    if spec.tasks.len() > limits::TASKS_PER_DAG {
        let (has, most) = (spec.tasks.len(), limits::TASKS_PER_DAG);
        return refuse("LimitExceeded", format!("DAG {} has {has} tasks; at most {most} are taken", spec.dag_id));
    }
    if let Err(error) = timetable::compile(&spec.schedule) {
        return refuse("BadSchedule", format!("DAG {}: {error}", spec.dag_id));
    }
    let size = dagbok_events::encode_any(spec).len();
    if size > limits::SPEC_BYTES {
        let most = limits::SPEC_BYTES;
        return refuse(
            "LimitExceeded",
            format!("DAG {} takes {size} bytes stored, at most {most} are taken: shorten its docs or split it", spec.dag_id),
        );
    }
    Ok(())
}

fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let mut end = most;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}… ({} bytes cut)", &text[..end], text.len() - end)
}
