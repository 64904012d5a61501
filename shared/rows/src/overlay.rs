//! The rows in hand while a batch is folded: read from the store once, changed in memory, written
//! together. A row that changes many times in a batch is written once.
use std::{
    collections::{HashMap, hash_map::Entry},
    convert::Infallible,
    fmt,
    mem::take,
};

use crate::{
    Key, Row,
    store::{KeyChange, META, Store, StoreError, pack},
};

#[derive(Debug)]
struct Held<R> {
    row: Option<R>,
    changed: bool,
    /// Whether the store may have the key: a row that came and went in hand need not be written.
    stored: bool,
}

/// The rows in hand of one table. A hash map is in order: what it yields is sorted before use.
#[derive(Debug)]
pub struct Table<R> {
    rows: HashMap<Key, Held<R>>,
    /// The keys of those that have changed, each once: a batch costs nothing for rows that it did not touch.
    changed: Vec<Key>,
}

impl<R> Default for Table<R> {
    fn default() -> Self {
        Self { rows: HashMap::new(), changed: Vec::new() }
    }
}

impl<R: Row> Table<R> {
    fn held(&mut self, store: &Store, key: Key) -> Result<&mut Held<R>, StoreError> {
        match self.rows.entry(key) {
            Entry::Occupied(held) => Ok(held.into_mut()),
            Entry::Vacant(place) => {
                let row = store.get::<R>(place.key())?;
                let stored = row.is_some();
                Ok(place.insert(Held { row, changed: false, stored }))
            }
        }
    }

    /// The row in hand, noted as changed; `read` says of one that is not yet what it is, and whether the store may
    /// have it.
    fn changed<E>(
        &mut self,
        key: Key,
        read: impl FnOnce(&Key) -> Result<(Option<R>, bool), E>,
    ) -> Result<&mut Held<R>, E> {
        match self.rows.entry(key) {
            Entry::Occupied(held) => {
                if !held.get().changed {
                    self.changed.push(held.key().clone());
                }
                let held = held.into_mut();
                held.changed = true;
                Ok(held)
            }
            Entry::Vacant(place) => {
                let (row, stored) = read(place.key())?;
                self.changed.push(place.key().clone());
                Ok(place.insert(Held { row, changed: true, stored }))
            }
        }
    }

    /// Sets a row; `stored`: whether the store may have the key, where it is not in hand.
    fn set(&mut self, key: Key, row: Option<R>, stored: bool) {
        let Ok(held) = self.changed::<Infallible>(key, |_| Ok((None, stored)));
        held.row = row;
    }

    /// Moves what has changed into `into`; keeps up to `keep` rows in hand.
    pub fn take_changes(&mut self, keep: usize, into: &mut Vec<KeyChange>) {
        for key in take(&mut self.changed) {
            let Some(held) = self.rows.get_mut(&key) else { continue };
            held.changed = false;
            if held.stored || held.row.is_some() {
                held.stored = held.row.is_some();
                into.push((key, held.row.as_ref().map(pack)));
            }
        }
        if self.rows.len() > keep {
            self.rows.clear();
        }
    }
}

/// Every table of a projection, as [`tables!`](crate::tables) makes it.
pub trait TableSet: Default + fmt::Debug + Send + 'static {
    /// Takes out what has changed, sorted by key; keeps up to `keep` rows of each table in hand.
    fn take_changes(&mut self, keep: usize) -> Vec<KeyChange>;
}

/// A set of tables that has one of `R`.
pub trait Has<R> {
    /// That one.
    fn table(&mut self) -> &mut Table<R>;
}

/// Refuses, when a projection is compiled, tables that share a first byte, and one that has the checkpoint's.
pub const fn assert_apart(tables: &[u8]) {
    let mut at = 0;
    while at < tables.len() {
        assert!(tables[at] != META[0], "a table's byte is the checkpoint's");
        let mut other = at + 1;
        while other < tables.len() {
            assert!(tables[at] != tables[other], "two tables have the same byte");
            other += 1;
        }
        at += 1;
    }
}

/// Names the tables of a projection: `tables! { pub struct Tables { dags: DagRow = b'd', … } }` gives each
/// row its byte, and the set that an [`Overlay`] is over.
#[macro_export]
macro_rules! tables {
    ($(#[$about:meta])* $vis:vis struct $set:ident { $($field:ident: $row:ty = $byte:literal),* $(,)? }) => {
        const _: () = $crate::assert_apart(&[$($byte),*]);

        $(impl $crate::Row for $row { const TABLE: u8 = $byte; })*

        $(#[$about])*
        #[derive(Debug, Default)]
        $vis struct $set { $($field: $crate::Table<$row>),* }

        $(impl $crate::Has<$row> for $set {
            fn table(&mut self) -> &mut $crate::Table<$row> {
                &mut self.$field
            }
        })*

        impl $crate::TableSet for $set {
            fn take_changes(&mut self, keep: usize) -> Vec<$crate::KeyChange> {
                let mut changes = Vec::new();
                $(self.$field.take_changes(keep, &mut changes);)*
                changes.sort_unstable_by(|a, b| a.0.cmp(&b.0));
                changes
            }
        }
    };
}

/// The rows in hand over a store.
#[derive(Debug)]
pub struct Overlay<'a, T> {
    store: &'a Store,
    tables: &'a mut T,
}

impl<'a, T: TableSet> Overlay<'a, T> {
    pub(crate) fn new(store: &'a Store, tables: &'a mut T) -> Self {
        Self { store, tables }
    }

    /// The row under `key`, to look at.
    pub fn peek<R: Row>(&mut self, key: Key) -> Result<Option<&R>, StoreError>
    where
        T: Has<R>,
    {
        Ok(self.tables.table().held(self.store, key)?.row.as_ref())
    }

    /// The row under `key`, to change; `None` in it means that there is none.
    pub fn edit<R: Row>(&mut self, key: Key) -> Result<&mut Option<R>, StoreError>
    where
        T: Has<R>,
    {
        let read = |key: &Key| {
            let row = self.store.get::<R>(key)?;
            let stored = row.is_some();
            Ok::<_, StoreError>((row, stored))
        };
        Ok(&mut self.tables.table().changed(key, read)?.row)
    }

    /// Sets the row under `key`, whatever it was.
    pub fn put<R: Row>(&mut self, key: Key, row: Option<R>)
    where
        T: Has<R>,
    {
        self.tables.table().set(key, row, true);
    }

    /// Adds a row under a key that the store is known not to have. Where it goes again before it is
    /// written, nothing is written.
    pub fn add<R: Row>(&mut self, key: Key, row: R)
    where
        T: Has<R>,
    {
        self.tables.table().set(key, Some(row), false);
    }

    /// The keys that begin with `prefix`, sorted, on disk and in hand. Costs as much as they are, and as are
    /// in hand.
    pub fn keys_within<R: Row>(&mut self, prefix: &[u8]) -> Result<Vec<Key>, StoreError>
    where
        T: Has<R>,
    {
        let stored = self.store.keys(prefix).map(|key| Ok(key?.to_vec()));
        let mut found = stored.collect::<Result<Vec<Key>, StoreError>>()?;
        let held: &mut Table<R> = self.tables.table();
        found.extend(held.rows.keys().filter(|key| key.starts_with(prefix)).cloned());
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Removes every row whose key begins with `prefix`.
    pub fn remove_all<R: Row>(&mut self, prefix: &[u8]) -> Result<(), StoreError>
    where
        T: Has<R>,
    {
        for key in self.keys_within::<R>(prefix)? {
            self.put::<R>(key, None);
        }
        Ok(())
    }
}
