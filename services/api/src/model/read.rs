//! Questions to the rows. All of them may read the disk, so they are asked on a blocking thread.
use dagbok_events::{
    AssetKey, BackfillId, ConnId, DagId, DagVersion, ExecutorId, MapIndex, RunKey, TaskId,
    Timestamp, TryNumber, VariableKey, folder_of,
};

use dagbok_rows::{
    Row,
    key::{after, table},
};

use super::{
    Store, StoreError, keys, of_dag,
    rows::{
        AssetAliasRow, AssetEventRow, AssetIdRow, AssetRow, BackfillOfDagRow, BackfillRow,
        BundleRow, ConnectionRow, CordonRow, DagRow, ExecutorRow, Handed, HitlOpenRow, HitlRow,
        ImportErrorRow, LapsesRow, LimitsRow, LoadRow, PastTryRow, PoolRow, QueuedAssetRow,
        RefusedRow, RunAssetsRow, RunChangeRow, RunInputRow, RunRow, STRIP, SeqsRow, Stretch,
        StripRow, TaskInstanceState, TaskRow, TryRow, VariableRow, VersionRow, XComRow,
    },
};

type Found<T> = Result<T, StoreError>;

impl Store {
    /// A DAG.
    pub fn dag(&self, dag_id: &DagId) -> Found<Option<DagRow>> {
        self.get(&keys::dag(dag_id))
    }

    /// Every asset.
    pub fn assets(&self) -> Found<Vec<AssetRow>> {
        self.rows(&table::<AssetRow>())
    }

    /// An asset by its number.
    pub fn asset(&self, id: u32) -> Found<Option<AssetRow>> {
        let Some(known) = self.get::<AssetIdRow>(&keys::asset_id(id))? else { return Ok(None) };
        self.get(&keys::asset(&known.asset))
    }

    /// An asset by what it is known by.
    pub fn asset_row(&self, asset: &AssetKey) -> Found<Option<AssetRow>> {
        self.get(&keys::asset(asset))
    }

    /// Every alias, by name.
    pub fn asset_aliases(&self) -> Found<Vec<AssetAliasRow>> {
        self.rows(&table::<AssetAliasRow>())
    }

    /// An event by its number.
    pub fn asset_event(&self, id: u64) -> Found<Option<AssetEventRow>> {
        self.get(&keys::asset_event(id))
    }

    /// The assets that wait for a DAG's next run by them.
    pub fn queued_assets(&self, dag_id: &DagId) -> Found<Vec<QueuedAssetRow>> {
        self.rows(&keys::within_dag::<QueuedAssetRow>(dag_id))
    }

    /// An asset that waits for a DAG's next run, if it does.
    pub fn queued_asset(&self, dag_id: &DagId, asset: &AssetKey) -> Found<Option<QueuedAssetRow>> {
        self.get(&keys::queued_asset(dag_id, asset))
    }

    /// The DAGs that an asset waits in.
    pub fn queued_with(&self, asset: &AssetKey) -> Found<Vec<(DagId, QueuedAssetRow)>> {
        let (prefix, mut found) = (keys::within_queued_for(asset), Vec::new());
        for key in self.keys(&prefix) {
            let name = String::from_utf8_lossy(&key?[prefix.len()..]).into_owned();
            let Ok(dag_id) = DagId::new(name) else { continue };
            if let Some(row) = self.queued_asset(&dag_id, asset)? {
                found.push((dag_id, row));
            }
        }
        Ok(found)
    }

    /// The events that made a run.
    pub fn run_assets(&self, run: &RunKey) -> Found<Option<RunAssetsRow>> {
        self.get(&keys::run_assets(run))
    }

    /// What a try of a task asks people.
    pub fn hitl(
        &self,
        (run, task_id, map_index): (&RunKey, &TaskId, MapIndex),
        number: TryNumber,
    ) -> Found<Option<HitlRow>> {
        self.get(&keys::hitl((run, task_id, map_index), number))
    }

    /// What tasks asked people so far, up to `most`: of a run, of a DAG, or of all.
    pub fn hitl_of(
        &self,
        dag_id: Option<&DagId>,
        run: Option<&RunKey>,
        most: usize,
    ) -> Found<Vec<HitlRow>> {
        let prefix = within::<HitlRow>(dag_id, run);
        let keys = self.keys(&prefix).take(most);
        let mut found = Vec::new();
        for key in keys {
            found.extend(self.get::<HitlRow>(&key?)?);
        }
        Ok(found)
    }

    /// Questions that nobody has answered and for which tasks wait, up to `most`.
    pub fn hitl_open(
        &self,
        dag_id: Option<&DagId>,
        run: Option<&RunKey>,
        most: usize,
    ) -> Found<Vec<HitlRow>> {
        let prefix = within::<HitlOpenRow>(dag_id, run);
        let mut found = Vec::new();
        for key in self.keys(&prefix).take(most) {
            let Some(open) = self.get::<HitlOpenRow>(&key?)? else { continue };
            let of = (&open.run, &open.task_id, open.map_index);
            let task = self.task(of.0, of.1, of.2)?;
            let waits = task.is_some_and(|task| {
                task.state == TaskInstanceState::Deferred
                    && task.attempt.is_some_and(|attempt| attempt.number == open.try_number)
            });
            if waits {
                found.extend(self.hitl(of, open.try_number)?);
            }
        }
        Ok(found)
    }

    /// A backfill.
    pub fn backfill(&self, id: BackfillId) -> Found<Option<BackfillRow>> {
        self.get(&keys::backfill(id))
    }

    /// The backfills of one DAG or of all, in the order of making.
    pub fn backfill_ids(&self, dag_id: Option<&DagId>) -> Found<Vec<BackfillId>> {
        let prefix = dag_id.map_or_else(table::<BackfillRow>, keys::within_dag::<BackfillOfDagRow>);
        let number = |key: dagbok_rows::RowKey| {
            BackfillId(key.last_chunk().map_or(0, |number| u64::from_be_bytes(*number)))
        };
        self.keys(&prefix).map(|key| Ok(number(key?))).collect()
    }

    /// Every DAG, by id.
    pub fn dags(&self) -> Found<Vec<DagRow>> {
        self.rows(&table::<DagRow>())
    }

    /// One meaning of a DAG.
    pub fn version(&self, dag_id: &DagId, version: DagVersion) -> Found<Option<VersionRow>> {
        self.get(&keys::version(dag_id, version))
    }

    /// The oldest version of a DAG that is not forgotten; from there on there is no gap.
    pub fn first_version(&self, dag_id: &DagId) -> Found<Option<DagVersion>> {
        let first = self.keys(&keys::within_dag::<VersionRow>(dag_id)).next().transpose()?;
        Ok(first.map(|key| version_in(&key)))
    }

    /// The versions of a DAG before one, the oldest first, with when each was registered.
    pub fn versions_below(
        &self,
        dag_id: &DagId,
        below: DagVersion,
    ) -> Found<Vec<(DagVersion, Timestamp)>> {
        let (end, mut older) = (keys::version(dag_id, below), Vec::new());
        for found in self.scan::<VersionRow>(&keys::within_dag::<VersionRow>(dag_id)) {
            let (key, row) = found?;
            if *key >= *end {
                break;
            }
            older.push((version_in(&key), row.created_at));
        }
        Ok(older)
    }

    /// Files that can't be read, by name.
    pub fn import_errors(&self) -> Found<Vec<ImportErrorRow>> {
        self.rows(&table::<ImportErrorRow>())
    }

    /// Why a file can't be read, if it can't.
    pub fn import_error(&self, file: &str) -> Found<Option<ImportErrorRow>> {
        self.get(&keys::import_error(file))
    }

    /// A run, with what of it was forgotten by now.
    pub fn run(&self, run: &RunKey) -> Found<Option<RunRow>> {
        let row = self.get::<RunRow>(&keys::run(run))?;
        row.map(|row| self.with_what_lapsed(row)).transpose()
    }

    /// The same for whoever reads many, by what was forgotten when they began.
    pub(crate) fn run_by(&self, run: &RunKey, lapses: &LapsesRow) -> Found<Option<RunRow>> {
        Ok(self.get::<RunRow>(&keys::run(run))?.map(|row| row.lapsed_by(lapses)))
    }

    /// What whoever made the run passed along.
    pub fn run_input(&self, run: &RunKey) -> Found<Option<RunInputRow>> {
        self.get(&keys::run_input(run))
    }

    /// Every run, of one DAG or all, by id.
    pub fn runs(&self, dag_id: Option<&DagId>) -> Found<Vec<RunRow>> {
        let prefix = dag_id.map_or_else(table::<RunRow>, keys::within_dag::<RunRow>);
        self.rows(&prefix)
    }

    /// The same, one after the other.
    pub fn each_task(&self, run: &RunKey) -> impl Iterator<Item = Found<TaskRow>> + use<> {
        let found = self.scan::<TaskRow>(&keys::within_run::<TaskRow>(run));
        found.map(|found| Ok(found?.1))
    }

    /// Those copies of one task, one after the other.
    pub fn each_copy(
        &self,
        run: &RunKey,
        task_id: &TaskId,
    ) -> impl Iterator<Item = Found<TaskRow>> + use<> {
        self.each_copy_from((run, task_id, MapIndex::UNMAPPED))
    }

    /// Those from a copy on.
    pub fn each_copy_from(
        &self,
        first: (&RunKey, &TaskId, MapIndex),
    ) -> impl Iterator<Item = Found<TaskRow>> + use<> {
        let end = after(&keys::within_task::<TaskRow>(first.0, first.1));
        let found = self.scan_between::<TaskRow>(&keys::task(first), end.as_deref());
        found.map(|found| Ok(found?.1))
    }

    /// The tasks of a run that have a state, by id.
    pub fn tasks(&self, run: &RunKey) -> Found<Vec<TaskRow>> {
        self.rows(&keys::within_run::<TaskRow>(run))
    }

    /// The copies of one task of a run that have a state.
    pub fn copies(&self, run: &RunKey, task_id: &TaskId) -> Found<Vec<TaskRow>> {
        self.rows(&keys::within_task::<TaskRow>(run, task_id))
    }

    /// The states of a mapped task's copies, a [mark](TaskInstanceState::mark) for each as far as they have one.
    pub fn marks(&self, run: &RunKey, task_id: &TaskId) -> Found<Vec<u8>> {
        let (prefix, mut marks) = (keys::within_task::<StripRow>(run, task_id), Vec::new());
        for found in self.scan::<StripRow>(&prefix) {
            let (key, StripRow(strip)) = found?;
            let number = key.last_chunk().map_or(0, |number| u32::from_be_bytes(*number));
            marks.resize((number * STRIP) as usize, 0);
            marks.extend(strip);
        }
        Ok(marks)
    }

    /// The first copy of a task of a run that has a state.
    pub fn first_copy(&self, run: &RunKey, task_id: &TaskId) -> Found<Option<TaskRow>> {
        let first = self.scan::<TaskRow>(&keys::within_task::<TaskRow>(run, task_id)).next();
        Ok(first.transpose()?.map(|(_, row)| row))
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

    /// Values that a run's tasks handed on, those that are no small ones.
    pub fn xcoms_of_run(&self, run: &RunKey) -> Found<Vec<XComRow>> {
        self.rows(&keys::within_run::<XComRow>(run))
    }

    /// The tries of a run that others have followed.
    pub fn past_tries_of_run(&self, run: &RunKey) -> Found<Vec<PastTryRow>> {
        self.rows(&keys::within_run::<PastTryRow>(run))
    }

    /// The calls of its DAG's callbacks, oldest first: one for each of its ends that called for one.
    pub fn dag_callbacks(&self, run: &RunKey) -> Found<Vec<PastTryRow>> {
        let task_id = of_dag();
        self.rows(&keys::within_instance::<PastTryRow>((run, &task_id, MapIndex::UNMAPPED)))
    }

    /// What a task handed on, by name.
    pub fn xcoms(
        &self,
        run: &RunKey,
        task_id: &TaskId,
        map_index: MapIndex,
    ) -> Found<Vec<XComRow>> {
        let row = self.task(run, task_id, map_index)?;
        self.handed_on((run, task_id, map_index), row.map(|row| row.xcoms).unwrap_or_default())
    }

    /// The same, as its row has it.
    pub(crate) fn handed_on(
        &self,
        instance: keys::Instance<'_>,
        handed: Vec<Handed>,
    ) -> Found<Vec<XComRow>> {
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

    /// What people changed of a run's history, oldest first.
    pub fn changes(&self, run: &RunKey) -> Found<Vec<RunChangeRow>> {
        self.rows(&keys::within_run::<RunChangeRow>(run))
    }

    /// Where in the log a run's records are, in order.
    pub fn seqs(&self, run: &RunRow) -> Found<Vec<Stretch>> {
        let key = run.key();
        let older = self.rows::<SeqsRow>(&keys::within_run::<SeqsRow>(&key))?;
        Ok(older.into_iter().flat_map(|row| row.0).chain(run.seqs.iter().copied()).collect())
    }

    /// Executors in the order of coming, `take` of them after `skip`, and how many there are: those that are
    /// there, with `left` those that have left too.
    pub fn executors(
        &self,
        left: bool,
        skip: usize,
        take: usize,
    ) -> Found<(Vec<ExecutorRow>, usize)> {
        let keys = |left| self.keys(&keys::executors_in_order(left));
        let there = keys(false).collect::<Result<Vec<_>, _>>()?;
        let mut total = there.len();
        let mut there = there.into_iter().peekable();
        let mut gone = left.then(|| keys(true)).into_iter().flatten().peekable();
        if left {
            total += usize::try_from(self.totals()?.executors_left).unwrap_or(usize::MAX);
        }
        // A place is the table, which of the two, when it came, and who it is.
        let place = |key: &dagbok_rows::RowKey| key.get(2..).map(<[u8]>::to_vec);
        let mut found = Vec::new();
        for number in 0..skip.saturating_add(take) {
            let next = match (there.peek().map(place), gone.peek()) {
                (_, Some(Err(_))) | (None, _) => gone.next().transpose()?,
                (Some(here), Some(Ok(other))) if place(other) < here => gone.next().transpose()?,
                (Some(_), _) => there.next(),
            };
            let Some(key) = next else { break };
            if number >= skip
                && let Some(id) = key.get(10..)
            {
                let id = [table::<ExecutorRow>().as_slice(), id].concat();
                found.extend(self.get::<ExecutorRow>(&id)?);
            }
        }
        Ok((found, total))
    }

    /// Who takes nothing new, by name.
    pub fn cordons(&self) -> Found<Vec<CordonRow>> {
        self.scan::<CordonRow>(&table::<CordonRow>()).map(|found| Ok(found?.1)).collect()
    }

    /// How many tries an executor runs.
    pub fn running_on(&self, id: &ExecutorId) -> Found<u32> {
        Ok(self.get::<LoadRow>(&keys::load(id))?.unwrap_or_default().running)
    }

    /// Every pool that was set or used, with its name.
    pub fn pools(&self) -> Found<Vec<(String, PoolRow)>> {
        self.scan::<PoolRow>(&table::<PoolRow>())
            .map(|found| {
                let (key, row) = found?;
                Ok((String::from_utf8_lossy(&key[1..]).into_owned(), row))
            })
            .collect()
    }

    /// Every variable, by its key.
    pub fn variables(&self) -> Found<Vec<VariableRow>> {
        self.scan::<VariableRow>(&table::<VariableRow>()).map(|found| Ok(found?.1)).collect()
    }

    /// A variable.
    pub fn variable(&self, key: &VariableKey) -> Found<Option<VariableRow>> {
        self.get(&keys::variable(key))
    }

    /// Every connection, by its id.
    pub fn connections(&self) -> Found<Vec<ConnectionRow>> {
        self.scan::<ConnectionRow>(&table::<ConnectionRow>()).map(|found| Ok(found?.1)).collect()
    }

    /// A connection.
    pub fn connection(&self, conn_id: &ConnId) -> Found<Option<ConnectionRow>> {
        self.get(&keys::connection(conn_id))
    }

    /// The namespace's limits, where somebody set them.
    pub fn limits(&self) -> Found<Option<LimitsRow>> {
        self.get(&keys::limits())
    }

    /// The code that new runs of this file's DAGs get, where some was published of its folder.
    pub fn bundle(&self, file: &str) -> Found<Option<BundleRow>> {
        self.get(&keys::bundle(folder_of(file)))
    }

    fn rows<R: serde::de::DeserializeOwned>(&self, prefix: &[u8]) -> Found<Vec<R>> {
        self.scan::<R>(prefix).map(|found| found.map(|(_, row)| row)).collect()
    }
}

/// The number at the end of a version's key.
fn version_in(key: &[u8]) -> DagVersion {
    key.last_chunk().map_or(0, |number| DagVersion::from_be_bytes(*number))
}

/// Where a table's rows begin: of a run, of a DAG, or all of them.
fn within<R: Row>(dag_id: Option<&DagId>, run: Option<&RunKey>) -> Vec<u8> {
    match (dag_id, run) {
        (_, Some(run)) => keys::within_run::<R>(run),
        (Some(dag_id), None) => keys::within_dag::<R>(dag_id),
        (None, None) => table::<R>(),
    }
}
