//! Rows that have not changed for long: an LSM tree (lsm-tree), whose memory is its cache's, however many rows there
//! are. It is only ever given the rows of a whole generation, sorted, and takes them at once or not at all; nothing is
//! written to it otherwise, so it needs neither a journal nor threads of its own.
use std::{ops::Bound, path::Path, sync::Arc};

use lsm_tree::{
    AbstractTree as _, AnyTree, Cache, CompressionType, Config, DescriptorTable, Guard as _, SeqNo,
    SequenceNumberCounter,
    compaction::Leveled,
    config::{
        BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry, PinningPolicy,
    },
};

use crate::{
    merge::{Bytes, Pair},
    store::StoreError,
};

/// Memory that blocks of rows, of their index and of its filters may use, in bytes.
const CACHE_BYTES: u64 = 24 << 20;
/// Bits that a filter spends on a key: one in a hundred keys that are not there is looked for.
const FILTER_BITS: f32 = 10.0;
/// Files that are held open.
const FILES: usize = 128;

/// What a file is cut at when levels are merged, in bytes. A merge of two levels takes one and some ten that it
/// overlaps, and whoever closes the store waits for it.
const TABLE_BYTES: u64 = 32 << 20;
/// Reads see what is there when they begin: each holds the files that it reads.
const LATEST: SeqNo = SeqNo::MAX;

/// The tree. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Cold {
    tree: AnyTree,
    /// The number that the next rows to come in get.
    next: SequenceNumberCounter,
}

impl Cold {
    /// Opens or makes the one in the folder `dir`.
    pub(crate) fn open(dir: &Path) -> Result<Self, lsm_tree::Error> {
        let (next, visible) = (SequenceNumberCounter::default(), SequenceNumberCounter::default());
        let tree = config(dir, &next, &visible).open()?;
        // What comes in is newer than all that is there.
        let after = tree.get_highest_seqno().map_or(0, |highest| highest + 1);
        next.fetch_max(after);
        visible.fetch_max(after);
        Ok(Self { tree, next })
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<lsm_tree::Slice>, StoreError> {
        Ok(self.tree.get(key, LATEST)?)
    }

    /// What lies in a range of keys, in their order.
    pub(crate) fn range(
        &self,
        range: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> impl DoubleEndedIterator<Item = Result<Pair, StoreError>> + use<> {
        self.tree.range::<&[u8], _>(range, LATEST, None).map(|found| {
            let (key, value) = found.into_inner()?;
            Ok(Pair { key: Bytes::Cold(key), value: Some(Bytes::Cold(value)) })
        })
    }

    /// Takes rows in, sorted by key: no reader and no crash sees a part of them. `false` where `goes_on` said to stop,
    /// and nothing was taken. Until [`Cold::merge`] has run they cost readers a look more.
    pub(crate) fn take_in(
        &self,
        rows: impl Iterator<Item = Result<Pair, StoreError>>,
        mut goes_on: impl FnMut() -> bool,
    ) -> Result<bool, StoreError> {
        let mut into = self.tree.ingestion()?;
        for row in rows {
            if !goes_on() {
                return Ok(false);
            }
            let Pair { key, value } = row?;
            match value {
                Some(value) => into.write(&*key, &*value)?,
                None => into.write_tombstone(&*key)?,
            }
        }
        into.finish()?;
        Ok(true)
    }

    /// Merges levels until none is larger than it may be, or `goes_on` says to stop between two merges. One merge for
    /// each time that rows come in would not do: the first level would grow, and each merge with it takes all of it.
    pub(crate) fn merge(&self, mut goes_on: impl FnMut() -> bool) -> Result<(), StoreError> {
        let strategy = Arc::new(Leveled::default().with_table_target_size(TABLE_BYTES));
        while goes_on() {
            let before = self.tree.current_version().id();
            // Whoever reads holds the files, so that nothing that newer rows replace need stay.
            self.tree.compact(Arc::<Leveled>::clone(&strategy), self.next.get())?;
            if self.tree.current_version().id() == before {
                break;
            }
        }
        Ok(())
    }
}

/// Nothing is held in memory but what was lately asked for: neither whole filters nor whole indexes.
fn config(dir: &Path, next: &SequenceNumberCounter, visible: &SequenceNumberCounter) -> Config {
    let bits = BloomConstructionPolicy::BitsPerKey(FILTER_BITS);
    Config::new(dir, next.clone(), visible.clone())
        .use_cache(Arc::new(Cache::with_capacity_bytes(CACHE_BYTES)))
        .use_descriptor_table(Some(Arc::new(DescriptorTable::new(FILES))))
        // Rows name their fields, and come in at a level that is left as it is otherwise.
        .data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4))
        .filter_policy(FilterPolicy::all(FilterPolicyEntry::Bloom(bits)))
        .filter_block_partitioning_policy(PinningPolicy::all(true))
        .index_block_partitioning_policy(PinningPolicy::all(true))
        .filter_block_pinning_policy(PinningPolicy::all(false))
        .index_block_pinning_policy(PinningPolicy::all(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: u32 = 2_000;
    /// What is left of them where one in ten is gone.
    const LEFT: usize = 1_800;

    fn key(n: u32) -> Vec<u8> {
        format!("r{n:08}").into_bytes()
    }

    /// Rows of a generation that reach over all keys: `value`, and some that are gone.
    fn take_in(cold: &Cold, value: u8, gone: u32) {
        let rows = (0..KEYS).map(|n| {
            let live = n % 10 != gone;
            let value = live.then(|| Bytes::Cold(lsm_tree::Slice::from(vec![value; 64])));
            Ok(Pair { key: Bytes::Cold(lsm_tree::Slice::from(key(n))), value })
        });
        assert!(cold.take_in(rows, || true).unwrap());
    }

    fn assert_newest(cold: &Cold, value: u8, gone: u32) {
        for n in 0..KEYS {
            let found = cold.get(&key(n)).unwrap();
            let wanted = (n % 10 != gone).then_some(value);
            assert_eq!(found.map(|row| row[0]), wanted, "row {n}");
        }
        let all = cold.range((Bound::Unbounded, Bound::Unbounded)).map(|row| row.unwrap().key);
        assert_eq!(all.count(), LEFT);
    }

    #[test]
    fn levels_stay_few_however_often_rows_come_in() {
        let home = tempfile::tempdir().unwrap();
        let cold = Cold::open(home.path()).unwrap();
        for round in 0..40_u8 {
            take_in(&cold, round, u32::from(round) % 10);
            cold.merge(|| true).unwrap();
            assert!(cold.tree.l0_run_count() < 4, "{} runs", cold.tree.l0_run_count());
        }
        assert_newest(&cold, 39, 9);
        // What is replaced is gone from the disk too: one generation is 100 kB and less.
        assert!(cold.tree.disk_space() < 2 << 20, "{} bytes", cold.tree.disk_space());
    }

    #[test]
    fn rows_that_come_in_after_a_restart_are_the_newest() {
        let home = tempfile::tempdir().unwrap();
        for life in 0..6_u8 {
            let cold = Cold::open(home.path()).unwrap();
            take_in(&cold, 10 * life, 3);
            take_in(&cold, 10 * life + 1, u32::from(life));
            if life % 2 == 1 {
                cold.merge(|| true).unwrap();
            }
            assert_newest(&cold, 10 * life + 1, u32::from(life));
        }
        assert_newest(&Cold::open(home.path()).unwrap(), 51, 5);
    }

    #[test]
    fn a_reader_keeps_what_it_began_with() {
        let home = tempfile::tempdir().unwrap();
        let cold = Cold::open(home.path()).unwrap();
        take_in(&cold, 1, 0);
        let mut old = cold.range((Bound::Unbounded, Bound::Unbounded));
        let first = old.next().unwrap().unwrap();
        for round in 2..12 {
            take_in(&cold, round, 1);
            cold.merge(|| true).unwrap();
        }
        let rest: Vec<_> = old.map(|row| row.unwrap().value.unwrap()[0]).collect();
        assert_eq!(first.value.unwrap()[0], 1);
        assert_eq!(rest.len(), LEFT - 1);
        assert!(rest.iter().all(|value| *value == 1));
        assert_newest(&cold, 11, 1);
    }

    #[test]
    fn nothing_is_taken_in_where_it_was_stopped() {
        let home = tempfile::tempdir().unwrap();
        let cold = Cold::open(home.path()).unwrap();
        take_in(&cold, 1, 0);
        let row = |n| {
            let value = Some(Bytes::Cold(lsm_tree::Slice::from(vec![2])));
            Ok(Pair { key: Bytes::Cold(lsm_tree::Slice::from(key(n))), value })
        };
        let mut left = 100;
        let stopped = cold.take_in((0..KEYS).map(row), || {
            left -= 1;
            left > 0
        });
        assert!(!stopped.unwrap());
        assert_newest(&cold, 1, 0);
        drop(cold);
        assert_newest(&Cold::open(home.path()).unwrap(), 1, 0);
    }
}
