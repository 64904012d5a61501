//! The rows in hand while a batch is folded: read from the store once, changed in memory, written
//! together. A run's rows change many times in a batch and are written once.
use std::collections::HashMap;

use super::{
    keys::Key,
    rows::{
        BundleRow, DagRow, DagRunOrderRow, ExecutorRow, ImportErrorRow, LimitsRow, LoadRow,
        PastTryRow, PoolRow, RefusedRow, Row, RunInputRow, RunOrderRow, RunRow, SeqsRow, TaskRow,
        VersionRow, XComRow,
    },
    store::{StoreError, pack, unpack},
};

/// Where rows come from that are not in hand.
pub(crate) trait Source {
    /// The stored bytes under `key`.
    fn stored(&self, key: &[u8]) -> Result<Option<sled::IVec>, StoreError>;
    /// The stored keys that begin with `prefix`.
    fn stored_within(&self, prefix: &[u8]) -> Result<Vec<Key>, StoreError>;
}

/// A change of one key: its new bytes, or `None` where it is gone.
pub(crate) type KeyChange = (Key, Option<Vec<u8>>);

#[derive(Debug)]
struct Held<R> {
    row: Option<R>,
    changed: bool,
    /// Whether the store may have the key: a row that came and went in hand need not be written.
    stored: bool,
}

/// The rows in hand of one table. A hash map is in order: what it yields is sorted before use.
#[derive(Debug)]
pub(crate) struct Table<R>(HashMap<Key, Held<R>>);

impl<R> Default for Table<R> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<R: Row> Table<R> {
    fn held(&mut self, source: &impl Source, key: Key) -> Result<&mut Held<R>, StoreError> {
        use std::collections::hash_map::Entry;
        match self.0.entry(key) {
            Entry::Occupied(held) => Ok(held.into_mut()),
            Entry::Vacant(place) => {
                let row: Option<R> =
                    source.stored(place.key())?.map(|bytes| unpack(&bytes)).transpose()?;
                let stored = row.is_some();
                Ok(place.insert(Held { row, changed: false, stored }))
            }
        }
    }

    fn take_changes(&mut self, keep: usize, into: &mut Vec<KeyChange>) {
        for (key, held) in &mut self.0 {
            if std::mem::take(&mut held.changed) && (held.stored || held.row.is_some()) {
                into.push((key.clone(), held.row.as_ref().map(pack)));
                held.stored = held.row.is_some();
            }
        }
        if self.0.len() > keep {
            self.0.clear();
        }
    }
}

/// A set of tables that has one of `R`.
pub(crate) trait Has<R> {
    fn table(&mut self) -> &mut Table<R>;
}

macro_rules! tables {
    ($($field:ident: $row:ident),* $(,)?) => {
        /// Every table's rows in hand.
        #[derive(Debug, Default)]
        pub(crate) struct Tables { $($field: Table<$row>),* }

        $(impl Has<$row> for Tables {
            fn table(&mut self) -> &mut Table<$row> {
                &mut self.$field
            }
        })*

        impl Tables {
            /// Takes out what has changed, sorted by key; keeps up to `keep` rows of each table in hand.
            pub(crate) fn take_changes(&mut self, keep: usize) -> Vec<KeyChange> {
                let mut changes = Vec::new();
                $(self.$field.take_changes(keep, &mut changes);)*
                changes.sort_unstable_by(|a, b| a.0.cmp(&b.0));
                changes
            }
        }
    };
}

tables! {
    dags: DagRow, versions: VersionRow, import_errors: ImportErrorRow, runs: RunRow, inputs: RunInputRow,
    run_order: RunOrderRow, dag_run_order: DagRunOrderRow, seqs: SeqsRow, tasks: TaskRow,
    past_tries: PastTryRow, xcoms: XComRow, refused: RefusedRow, executors: ExecutorRow, pools: PoolRow,
    limits: LimitsRow, bundles: BundleRow, loads: LoadRow,
}

/// The rows in hand over a store.
#[derive(Debug)]
pub(crate) struct Overlay<'a, S> {
    source: &'a S,
    tables: &'a mut Tables,
}

impl<'a, S: Source> Overlay<'a, S> {
    pub(crate) fn new(source: &'a S, tables: &'a mut Tables) -> Self {
        Self { source, tables }
    }

    /// The row under `key`, to look at.
    pub(crate) fn peek<R: Row>(&mut self, key: Key) -> Result<Option<&R>, StoreError>
    where
        Tables: Has<R>,
    {
        Ok(self.tables.table().held(self.source, key)?.row.as_ref())
    }

    /// The row under `key`, to change; `None` in it means that there is none.
    pub(crate) fn edit<R: Row>(&mut self, key: Key) -> Result<&mut Option<R>, StoreError>
    where
        Tables: Has<R>,
    {
        let held = self.tables.table().held(self.source, key)?;
        held.changed = true;
        Ok(&mut held.row)
    }

    /// The keys that begin with `prefix`, sorted, on disk and in hand. Costs as much as they are, and as are
    /// in hand.
    pub(crate) fn keys_within<R: Row>(&mut self, prefix: &[u8]) -> Result<Vec<Key>, StoreError>
    where
        Tables: Has<R>,
    {
        let mut found = self.source.stored_within(prefix)?;
        let held: &mut Table<R> = self.tables.table();
        found.extend(held.0.keys().filter(|key| key.starts_with(prefix)).cloned());
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Removes every row whose key begins with `prefix`.
    pub(crate) fn remove_all<R: Row>(&mut self, prefix: &[u8]) -> Result<(), StoreError>
    where
        Tables: Has<R>,
    {
        for key in self.keys_within::<R>(prefix)? {
            self.put::<R>(key, None);
        }
        Ok(())
    }

    /// Sets the row under `key`, whatever it was.
    pub(crate) fn put<R: Row>(&mut self, key: Key, row: Option<R>)
    where
        Tables: Has<R>,
    {
        self.tables.table().0.insert(key, Held { row, changed: true, stored: true });
    }
}
