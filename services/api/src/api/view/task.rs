//! Task instances and their tries.
use std::{collections::BTreeMap, ops::Range, sync::Arc};

use dagbok_events::{
    Checkpoint, DagVersion, Failure, MapIndex, TaskId, TaskSpec, Timestamp, TryNumber,
};
use serde_json::{Map, Value};

use super::{display_name, try_log, try_usage, version_info, when, word};
use crate::{
    model::{
        Store, StoreError,
        rows::{RunRow, TaskInstanceState, TaskRow, TryEnd, TryRow, VersionRow},
    },
    shapes::{
        CallbackFailure, DagCallback, TaskCheckpoint, TaskInstance, TaskInstanceExtra, TryFailure,
        TryInstance, TryProgress, seconds, uuid_of,
    },
};

/// A task of a run with what belongs to it.
#[derive(Clone, Debug)]
pub(crate) struct InstanceView {
    pub(crate) run: Arc<RunRow>,
    pub(crate) version: Option<Arc<VersionRow>>,
    /// Which that is: the run's, or of a task that is gone from it the last that had it.
    pub(crate) number: DagVersion,
    /// Its place in the meaning's tasks; `None` for one that is not there.
    pub(crate) place: Option<usize>,
    /// Which copy; −1 of a task that has none.
    pub(crate) map_index: MapIndex,
    /// `None` while it has no state.
    pub(crate) row: Option<TaskRow>,
}

impl InstanceView {
    /// A task of a run, with the row that it has.
    pub(crate) fn of(
        store: &Store,
        run: &Arc<RunRow>,
        task_id: &TaskId,
        map_index: MapIndex,
        row: Option<TaskRow>,
    ) -> Result<Self, StoreError> {
        let gone = run.gone.iter().rfind(|gone| gone.is_of(task_id, map_index.0));
        let number = gone.filter(|gone| !run.is_hidden(gone)).map_or(run.version, |it| it.version);
        Self { run: Arc::clone(run), version: None, number, place: None, map_index, row }
            .in_version(store, number, task_id)
    }

    /// The same as another version has it.
    fn in_version(
        self,
        store: &Store,
        number: DagVersion,
        task_id: &TaskId,
    ) -> Result<Self, StoreError> {
        let version = store.version_shared(&self.run.dag_id, number)?;
        let tasks = version.as_ref().map_or(&[][..], |version| &version.spec.tasks);
        let place = tasks.iter().position(|spec| spec.task_id == *task_id);
        Ok(Self { version, number, place, ..self })
    }

    /// One try of it, as the version has it by which it ran.
    pub(crate) fn try_then(
        &self,
        store: &Store,
        attempt: &TryRow,
    ) -> Result<TryInstance, StoreError> {
        let (number, task_id) = (self.run.version_at(attempt.queued_seq), self.row.as_ref());
        match task_id.map(|row| &row.task_id).filter(|_| number != self.number) {
            Some(task_id) => {
                let then = self.clone().in_version(store, number, task_id)?;
                Ok(then.one_try(Some(attempt)))
            }
            None => Ok(self.one_try(Some(attempt))),
        }
    }

    /// Every task of `run`, those without a state too, in the order of the DAG's meaning; of more than `most` the
    /// first ones, and false.
    pub(crate) fn of_run(
        store: &Store,
        run: &Arc<RunRow>,
        most: usize,
    ) -> Result<(Vec<Self>, bool), StoreError> {
        let version = store.version_shared(&run.dag_id, run.version)?;
        let key = run.key();
        let tasks = version.as_ref().map_or(&[][..], |version| &version.spec.tasks);
        let view = |place, map_index, row| Self {
            run: Arc::clone(run),
            version: version.clone(),
            number: run.version,
            place,
            map_index,
            row,
        };
        let mut all = Vec::new();
        if (run.tasks as usize) <= most {
            let mut rows: BTreeMap<(String, MapIndex), TaskRow> = BTreeMap::new();
            for row in store.tasks(&key)? {
                rows.insert((row.task_id.to_string(), row.map_index), row);
            }
            for (place, task) in tasks.iter().enumerate() {
                for map_index in copies_of(run, &task.task_id).map(MapIndex) {
                    let row = rows.remove(&(task.task_id.to_string(), map_index));
                    all.push(view(Some(place), map_index, row));
                }
            }
            for row in rows.into_values() {
                let (task_id, map_index) = (row.task_id.clone(), row.map_index);
                all.push(Self::of(store, run, &task_id, map_index, Some(row))?);
            }
            return Ok((all, true));
        }
        for (place, task) in tasks.iter().enumerate() {
            let mut rows = store.each_copy(&key, &task.task_id).peekable();
            for map_index in copies_of(run, &task.task_id).map(MapIndex) {
                if all.len() >= most {
                    return Ok((all, false));
                }
                let is_it = |row: &Result<TaskRow, StoreError>| {
                    row.as_ref().map_or(true, |row| row.map_index == map_index)
                };
                let row = rows.next_if(is_it).transpose()?;
                all.push(view(Some(place), map_index, row));
            }
        }
        Ok((all, true))
    }

    pub(crate) fn spec(&self) -> Option<&TaskSpec> {
        self.version.as_ref()?.spec.tasks.get(self.place?)
    }

    pub(crate) fn task_id(&self) -> &str {
        let row = self.row.as_ref().map(|row| row.task_id.as_str());
        row.or_else(|| self.spec().map(|spec| spec.task_id.as_str())).unwrap_or_default()
    }

    pub(crate) fn map_index(&self) -> i32 {
        self.map_index.0
    }

    pub(crate) fn state(&self) -> Option<&'static str> {
        let row = self.row.as_ref().filter(|row| row.state != TaskInstanceState::Cleared);
        row.map(|row| row.state.word())
    }

    pub(crate) fn attempt(&self) -> Option<&TryRow> {
        self.row.as_ref()?.attempt.as_ref()
    }

    /// Whether it is failed by Airflow's word, and was cancelled.
    pub(crate) fn is_cancelled(&self) -> bool {
        let row = self.row.as_ref().filter(|row| row.state == TaskInstanceState::Failed);
        let end = row.and_then(|row| row.attempt.as_ref()).and_then(|attempt| attempt.end.as_ref());
        matches!(end, Some(TryEnd::Cancelled))
    }

    pub(crate) fn start_date(&self) -> Option<Timestamp> {
        self.attempt()?.started_at
    }

    pub(crate) fn end_date(&self) -> Option<Timestamp> {
        let row = self.row.as_ref()?;
        row.ruled_out_at.or_else(|| row.attempt.as_ref()?.ended_at)
    }

    pub(crate) fn duration(&self) -> Option<f64> {
        let attempt = self.attempt()?;
        seconds(attempt.started_at, attempt.ended_at)
    }

    pub(crate) fn pool(&self) -> &str {
        let pool = self.attempt().map(|attempt| attempt.pool.as_str());
        pool.or_else(|| self.spec().map(|spec| spec.pool.as_str())).unwrap_or("default_pool")
    }

    pub(crate) fn queue(&self) -> Option<&str> {
        let queue = self.attempt().map(|attempt| attempt.queue.as_str());
        queue.or_else(|| self.spec().map(|spec| spec.queue.as_str()))
    }

    /// It as one of a list: of what it keeps only how much that is, since values may be long.
    pub(crate) fn listed(&self) -> TaskInstance {
        let mut one = self.response();
        if let Some(kept) = &mut one.dagbok.checkpoint {
            kept.values = None;
        }
        one
    }

    pub(crate) fn response(&self) -> TaskInstance {
        let one = self.one_try(self.attempt());
        let run = &self.run;
        let parts = ["task_instance", run.dag_id.as_str(), run.run_id.as_str(), self.task_id()];
        let (map, number) = (self.map_index().to_string(), one.try_number.to_string());
        TaskInstance {
            id: uuid_of(&[&parts[..], &[&map, &number]].concat()),
            task_id: one.task_id,
            dag_id: one.dag_id,
            dag_run_id: one.dag_run_id,
            map_index: one.map_index,
            logical_date: when(run.logical_date),
            run_after: run.run_after.into(),
            start_date: one.start_date,
            end_date: when(self.end_date()),
            duration: one.duration,
            state: self.state().map(str::to_owned),
            try_number: one.try_number,
            max_tries: one.max_tries,
            task_display_name: one.task_display_name,
            dag_display_name: one.dag_display_name,
            hostname: one.hostname,
            unixname: one.unixname,
            pool: one.pool,
            pool_slots: one.pool_slots,
            queue: one.queue,
            priority_weight: one.priority_weight,
            operator: one.operator,
            operator_name: one.operator_name,
            queued_when: one.queued_when,
            scheduled_when: one.scheduled_when,
            pid: one.pid,
            executor: one.executor,
            executor_config: one.executor_config,
            note: self.row.as_ref().and_then(|row| row.note.clone()),
            rendered_map_index: self.row.as_ref().and_then(|row| row.name.clone()),
            rendered_fields: Map::new(),
            trigger: None,
            triggerer_job: None,
            dag_version: one.dag_version,
            dagbok: one.dagbok,
        }
    }

    /// One try of it; without one, the task before its first.
    pub(crate) fn one_try(&self, attempt: Option<&TryRow>) -> TryInstance {
        let spec = self.spec();
        let run = &self.run;
        let queued = when(attempt.map(|attempt| attempt.queued_at));
        let operator = spec.map(|spec| spec.operator.clone());
        let version = self.version.as_ref();
        TryInstance {
            task_id: self.task_id().to_owned(),
            dag_id: run.dag_id.to_string(),
            dag_run_id: run.run_id.to_string(),
            map_index: self.map_index(),
            start_date: when(attempt.and_then(|attempt| attempt.started_at)),
            end_date: when(attempt.and_then(|attempt| attempt.ended_at)),
            duration: attempt.and_then(|attempt| seconds(attempt.started_at, attempt.ended_at)),
            state: attempt.map(|attempt| self.state_of(attempt).word().to_owned()),
            try_number: attempt.map_or(0, |attempt| TryNumber::get(attempt.number)),
            max_tries: spec
                .map_or(0, |spec| spec.retries)
                .saturating_add(attempt.map_or(0, |attempt| attempt.spared)),
            task_display_name: self.task_id().to_owned(),
            dag_display_name: version
                .map_or_else(|| run.dag_id.to_string(), |row| display_name(&row.spec)),
            hostname: attempt.and_then(|attempt| attempt.hostname.clone()),
            unixname: spec.and_then(|spec| spec.run_as_user.clone()),
            pool: attempt
                .map_or_else(|| self.pool().to_owned(), |attempt| attempt.pool.to_string()),
            pool_slots: attempt
                .map(|attempt| attempt.pool_slots)
                .or_else(|| spec.map(|spec| spec.pool_slots))
                .unwrap_or(1),
            queue: self.queue().map(str::to_owned),
            priority_weight: spec.map(|spec| spec.priority_weight),
            operator_name: operator.clone(),
            operator,
            queued_when: queued,
            scheduled_when: queued,
            pid: attempt.and_then(|attempt| attempt.pid),
            executor: attempt
                .and_then(|attempt| attempt.executor.as_ref())
                .map(ToString::to_string),
            executor_config: "{}".to_owned(),
            dag_version: version.map(|row| version_info(self.number, row)),
            dagbok: self.extra(attempt),
        }
    }

    /// The state of a try: one that failed waits for nothing once another has followed it, or the run is
    /// over.
    fn state_of(&self, attempt: &TryRow) -> TaskInstanceState {
        let newest = self.attempt().is_some_and(|newest| newest.number == attempt.number);
        let task = self.row.as_ref().map(|row| row.state);
        let waits =
            newest && task == Some(TaskInstanceState::UpForRetry) && !self.run.state.is_over();
        if attempt.state == TaskInstanceState::UpForRetry && !waits {
            TaskInstanceState::Failed
        } else {
            attempt.state
        }
    }

    fn extra(&self, attempt: Option<&TryRow>) -> TaskInstanceExtra {
        let mut extra = TaskInstanceExtra {
            group: self.spec().and_then(|spec| spec.group.clone()),
            last_seq: self.row.as_ref().map(|row| row.last_seq),
            checkpoint: {
                let newest = self.attempt().map(|attempt| attempt.number);
                let is_newest = attempt.is_none_or(|attempt| newest == Some(attempt.number));
                let kept = self.row.as_ref().filter(|_| is_newest);
                kept.and_then(|row| row.checkpoint.as_deref()).map(kept_by_task)
            },
            ..TaskInstanceExtra::default()
        };
        let ruled_out = self.row.as_ref().and_then(|row| row.message.clone());
        let Some(attempt) = attempt else {
            extra.message = ruled_out;
            return extra;
        };
        extra.retry_at = when(attempt.retry_at);
        extra.inputs.clone_from(&attempt.inputs);
        let failed = attempt.failed_callbacks.iter();
        let failed = failed.map(|it| CallbackFailure {
            callback: it.callback.clone(),
            message: it.message.clone(),
        });
        extra.failed_callbacks = failed.collect();
        extra.log_kept_until = when(self.run.log_kept_until(attempt));
        extra.log = attempt.kept_log().filter(|_| extra.log_kept_until.is_none()).map(try_log);
        extra.progress = attempt.progress.as_deref().map(|it| TryProgress {
            fraction: f64::from(it.done) / 10_000.0,
            text: it.text.clone(),
            said_at: it.said_at.into(),
        });
        extra.usage = attempt.usage.map(try_usage);
        let (ended, message) = match &attempt.end {
            None => (None, None),
            Some(TryEnd::Succeeded) => (Some("succeeded"), None),
            Some(TryEnd::Failed(failure)) => {
                extra.failure = Some(try_failure(failure));
                (Some("failed"), None)
            }
            Some(TryEnd::Skipped(message)) => (Some("skipped"), Some(message.clone())),
            Some(TryEnd::Lost(why)) => (Some("lost"), Some(word(why))),
            Some(TryEnd::Cancelled) => (Some("cancelled"), None),
            Some(TryEnd::Returned) => (Some("returned"), None),
        };
        extra.ended = ended.map(str::to_owned);
        extra.message = message.filter(|message| !message.is_empty()).or(ruled_out);
        extra
    }
}

fn kept_by_task(kept: &Checkpoint) -> TaskCheckpoint {
    let files = kept.files.as_ref();
    let value = |text: &String| serde_json::from_str(text).unwrap_or(Value::Null);
    TaskCheckpoint {
        files: files.map_or(0, |it| it.files),
        bytes: files.map_or(0, |it| it.bytes),
        keys: u32::try_from(kept.values.len()).unwrap_or(u32::MAX),
        values: Some(kept.values.iter().map(|(key, text)| (key.clone(), value(text))).collect()),
    }
}

/// The map indexes of a task's copies in a run; −1 alone where it has none.
pub(crate) fn copies_of(run: &RunRow, task_id: &TaskId) -> Range<i32> {
    let count = run.expanded.get(task_id).and_then(|count| i32::try_from(*count).ok());
    count.map_or(-1..0, |count| 0..count)
}

/// A call of a DAG's callback; none where the row is a task's try.
pub(crate) fn dag_callback(run: &RunRow, row: &TryRow) -> Option<DagCallback> {
    let ordered = row.dag_callback.as_ref()?;
    let failure = match &row.end {
        Some(TryEnd::Failed(failure)) => Some(try_failure(failure)),
        _ => None,
    };
    let kept_until = run.log_kept_until(row);
    Some(DagCallback {
        number: row.number.get(),
        callback: ordered.callback.argument().to_owned(),
        reason: ordered.reason.clone(),
        state: row.state.word().to_owned(),
        attempts: ordered.attempt.0.saturating_add(1),
        task_id: ordered.task_id.to_string(),
        map_index: ordered.map_index.0,
        ordered_when: row.queued_at.into(),
        start_date: row.started_at.map(Into::into),
        end_date: row.ended_at.map(Into::into),
        executor: row.executor.as_ref().map(ToString::to_string),
        failure,
        log: row.log.as_ref().filter(|_| kept_until.is_none()).map(try_log),
        log_kept_until: kept_until.filter(|_| row.log.is_some()).map(Into::into),
    })
}

fn try_failure(failure: &Failure) -> TryFailure {
    TryFailure {
        kind: word(&failure.kind),
        fault: word(&failure.fault),
        message: failure.message.clone(),
        exception: failure.exception.clone(),
        traceback: failure.traceback.clone(),
        file: failure.file.clone(),
        line: failure.line,
        signal: failure.signal,
        exit_code: failure.exit_code,
        retryable: failure.retryable,
        retry_delay: failure.retry_delay.map(|delay| delay.to_std().as_secs_f64()),
        retry_reason: failure.retry_reason.clone(),
    }
}
