//! Questions to the rows. All of them may read the disk, so they are asked on a blocking thread.
use dagbok_events::{DagId, DagVersion, ExecutorId, MapIndex, RunId, RunKey, TaskId, TryNumber};

use super::{
    keys,
    rows::{
        BundleRow, DagRow, DagRunOrderRow, ExecutorRow, Handed, ImportErrorRow, LimitsRow, LoadRow,
        PastTryRow, PoolRow, RefusedRow, RunInputRow, RunOrderRow, RunRow, SeqsRow, Stretch,
        TaskRow, TryRow, VersionRow, XComRow,
    },
    store::{Store, StoreError},
};

type Found<T> = Result<T, StoreError>;

impl Store {
    /// A DAG.
    pub fn dag(&self, dag_id: &DagId) -> Found<Option<DagRow>> {
        self.get(&keys::dag(dag_id))
    }

    /// Every DAG, by id.
    pub fn dags(&self) -> Found<Vec<DagRow>> {
        self.rows(&keys::table::<DagRow>())
    }

    /// One meaning of a DAG.
    pub fn version(&self, dag_id: &DagId, version: DagVersion) -> Found<Option<VersionRow>> {
        self.get(&keys::version(dag_id, version))
    }

    /// Every meaning of a DAG with its number, oldest first.
    pub fn versions(&self, dag_id: &DagId) -> Found<Vec<(DagVersion, VersionRow)>> {
        let prefix = keys::within_dag::<VersionRow>(dag_id);
        self.scan::<VersionRow>(&prefix)
            .map(|found| {
                let (key, row) = found?;
                let number = key[prefix.len()..].try_into().map(DagVersion::from_be_bytes);
                let number =
                    number.map_err(|_| StoreError::Unreadable("a version's key".to_owned()))?;
                Ok((number, row))
            })
            .collect()
    }

    /// Files that can't be read, by name.
    pub fn import_errors(&self) -> Found<Vec<ImportErrorRow>> {
        self.rows(&keys::table::<ImportErrorRow>())
    }

    /// Why a file can't be read, if it can't.
    pub fn import_error(&self, file: &str) -> Found<Option<ImportErrorRow>> {
        self.get(&keys::import_error(file))
    }

    /// A run.
    pub fn run(&self, run: &RunKey) -> Found<Option<RunRow>> {
        self.get(&keys::run(run))
    }

    /// What whoever made the run passed along.
    pub fn run_input(&self, run: &RunKey) -> Found<Option<RunInputRow>> {
        self.get(&keys::run_input(run))
    }

    /// Every run, of one DAG or all, by id.
    pub fn runs(&self, dag_id: Option<&DagId>) -> Found<Vec<RunRow>> {
        let prefix = dag_id.map_or_else(keys::table::<RunRow>, keys::within_dag::<RunRow>);
        self.rows(&prefix)
    }

    /// How many runs there are, of one DAG or all.
    pub fn run_count(&self, dag_id: Option<&DagId>) -> Found<usize> {
        let of =
            |row: &DagRow| usize::try_from(row.runs.values().sum::<u64>()).unwrap_or(usize::MAX);
        match dag_id {
            Some(dag_id) => Ok(self.dag(dag_id)?.as_ref().map_or(0, of)),
            None => Ok(self.dags()?.iter().map(of).sum()),
        }
    }

    /// Runs in the order of making, of one DAG or all: `take` of them after `skip`.
    pub fn runs_in_order(
        &self,
        dag_id: Option<&DagId>,
        newest_first: bool,
        skip: usize,
        take: usize,
    ) -> Found<Vec<RunRow>> {
        let ids: Vec<RunKey> = if let Some(dag_id) = dag_id {
            let rows = self.scan::<DagRunOrderRow>(&keys::within_dag::<DagRunOrderRow>(dag_id));
            let rows = page(rows, newest_first, skip, take)?;
            rows.into_iter().map(|row| run_key(dag_id, &row.run_id)).collect()
        } else {
            let rows = self.scan::<RunOrderRow>(&keys::table::<RunOrderRow>());
            let rows = page(rows, newest_first, skip, take)?;
            rows.into_iter().map(|row| run_key(&row.dag_id, &row.run_id)).collect()
        };
        ids.iter().filter_map(|run| self.run(run).transpose()).collect()
    }

    /// The tasks of a run that have a state, by id.
    pub fn tasks(&self, run: &RunKey) -> Found<Vec<TaskRow>> {
        self.rows(&keys::within_run::<TaskRow>(run))
    }

    /// The copies of one task of a run that have a state.
    pub fn copies(&self, run: &RunKey, task_id: &TaskId) -> Found<Vec<TaskRow>> {
        self.rows(&keys::within_task::<TaskRow>(run, task_id))
    }

    /// One task of a run, if it has a state.
    pub fn task(
        &self,
        run: &RunKey,
        task_id: &TaskId,
        map_index: MapIndex,
    ) -> Found<Option<TaskRow>> {
        self.get(&keys::task((run, task_id, map_index)))
    }

    /// Every try of a task, oldest first.
    pub fn tries(&self, run: &RunKey, task_id: &TaskId, map_index: MapIndex) -> Found<Vec<TryRow>> {
        let prefix = keys::within_instance::<PastTryRow>((run, task_id, map_index));
        let past = self.rows::<PastTryRow>(&prefix)?;
        let newest = self.task(run, task_id, map_index)?.and_then(|row| row.attempt);
        Ok(past.into_iter().map(|row| row.0).chain(newest).collect())
    }

    /// One try of a task.
    pub fn one_try(
        &self,
        run: &RunKey,
        task_id: &TaskId,
        map_index: MapIndex,
        number: TryNumber,
    ) -> Found<Option<TryRow>> {
        let newest = self.task(run, task_id, map_index)?.and_then(|row| row.attempt);
        if newest.as_ref().is_some_and(|attempt| attempt.number == number) {
            return Ok(newest);
        }
        let past = self.get::<PastTryRow>(&keys::past_try((run, task_id, map_index), number))?;
        Ok(past.map(|row| row.0))
    }

    /// What a task handed on, by name.
    pub fn xcoms(
        &self,
        run: &RunKey,
        task_id: &TaskId,
        map_index: MapIndex,
    ) -> Found<Vec<XComRow>> {
        let row = self.task(run, task_id, map_index)?;
        let handed = row.map(|row| row.xcoms).unwrap_or_default();
        let instance = (run, task_id, map_index);
        handed.into_iter().filter_map(|one| self.handed(instance, one).transpose()).collect()
    }

    /// One value that a task handed on.
    pub fn xcom(
        &self,
        run: &RunKey,
        task_id: &TaskId,
        map_index: MapIndex,
        name: &str,
    ) -> Found<Option<XComRow>> {
        let row = self.task(run, task_id, map_index)?;
        let handed = row.and_then(|row| row.xcoms.into_iter().find(|one| one.name() == name));
        handed.map_or(Ok(None), |one| self.handed((run, task_id, map_index), one))
    }

    fn handed(&self, instance: keys::Instance<'_>, handed: Handed) -> Found<Option<XComRow>> {
        match handed {
            Handed::Small(row) => Ok(Some(row)),
            Handed::Apart(name) => self.get(&keys::xcom(instance, &name)),
        }
    }

    /// Reports about a run that were refused, oldest first.
    pub fn refused(&self, run: &RunKey) -> Found<Vec<RefusedRow>> {
        self.rows(&keys::within_run::<RefusedRow>(run))
    }

    /// Where in the log a run's records are, in order.
    pub fn seqs(&self, run: &RunRow) -> Found<Vec<Stretch>> {
        let key = run_key(&run.dag_id, &run.run_id);
        let older = self.rows::<SeqsRow>(&keys::within_run::<SeqsRow>(&key))?;
        Ok(older.into_iter().flat_map(|row| row.0).chain(run.seqs.iter().copied()).collect())
    }

    /// Every executor that ever came, by id.
    pub fn executors(&self) -> Found<Vec<ExecutorRow>> {
        self.rows(&keys::table::<ExecutorRow>())
    }

    /// How many tries an executor runs.
    pub fn running_on(&self, id: &ExecutorId) -> Found<u32> {
        Ok(self.get::<LoadRow>(&keys::load(id))?.unwrap_or_default().running)
    }

    /// Every pool that was set or used, with its name.
    pub fn pools(&self) -> Found<Vec<(String, PoolRow)>> {
        self.scan::<PoolRow>(&keys::table::<PoolRow>())
            .map(|found| {
                let (key, row) = found?;
                Ok((String::from_utf8_lossy(&key[1..]).into_owned(), row))
            })
            .collect()
    }

    /// The namespace's limits, where somebody set them.
    pub fn limits(&self) -> Found<Option<LimitsRow>> {
        self.get(&keys::limits())
    }

    /// The code that new runs get, where some was published.
    pub fn bundle(&self) -> Found<Option<BundleRow>> {
        self.get(&keys::bundle())
    }

    fn rows<R: serde::de::DeserializeOwned>(&self, prefix: &[u8]) -> Found<Vec<R>> {
        self.scan::<R>(prefix).map(|found| found.map(|(_, row)| row)).collect()
    }
}

fn run_key(dag_id: &DagId, run_id: &RunId) -> RunKey {
    RunKey { dag_id: dag_id.clone(), run_id: run_id.clone() }
}

fn page<K, R>(
    rows: impl DoubleEndedIterator<Item = Found<(K, R)>>,
    newest_first: bool,
    skip: usize,
    take: usize,
) -> Found<Vec<R>> {
    let row = |found: Found<(K, R)>| found.map(|(_, row)| row);
    if newest_first {
        rows.rev().skip(skip).take(take).map(row).collect()
    } else {
        rows.skip(skip).take(take).map(row).collect()
    }
}
