//! Rows that have not changed for long: an LSM tree (fjall), whose memory is its cache's, however many rows there
//! are. It is only ever given the rows of a whole generation, sorted, and takes them at once or not at all.
use std::{ops::Bound, path::Path};

use fjall::{
    CompressionType, Database, Keyspace, KeyspaceCreateOptions,
    config::{
        BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry,
        PartitioningPolicy, PinningPolicy,
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

/// The tree. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Cold {
    /// It ends its own threads when the last is dropped.
    _database: Database,
    rows: Keyspace,
}

impl Cold {
    /// Opens or makes the one in the folder `dir`.
    pub(crate) fn open(dir: &Path) -> Result<Self, fjall::Error> {
        let database = Database::builder(dir)
            .cache_size(CACHE_BYTES)
            .max_cached_files(Some(FILES))
            .worker_threads(1)
            .open()?;
        let rows = database.keyspace("rows", options)?;
        Ok(Self { _database: database, rows })
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<fjall::Slice>, StoreError> {
        Ok(self.rows.get(key)?)
    }

    /// What lies in a range of keys, in their order.
    pub(crate) fn range(
        &self,
        range: (Bound<&[u8]>, Bound<&[u8]>),
    ) -> impl DoubleEndedIterator<Item = Result<Pair, StoreError>> + use<> {
        self.rows.range::<&[u8], _>(range).map(|found| {
            let (key, value) = found.into_inner()?;
            Ok(Pair { key: Bytes::Cold(key), value: Some(Bytes::Cold(value)) })
        })
    }

    /// Takes rows in, sorted by key: no reader and no crash sees a part of them. `false` where `goes_on` said to stop,
    /// and nothing was taken.
    pub(crate) fn take_in(
        &self,
        rows: impl Iterator<Item = Result<Pair, StoreError>>,
        mut goes_on: impl FnMut() -> bool,
    ) -> Result<bool, StoreError> {
        let mut into = self.rows.start_ingestion()?;
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
}

/// Nothing is held in memory but what was lately asked for: neither whole filters nor whole indexes.
fn options() -> KeyspaceCreateOptions {
    let bits = BloomConstructionPolicy::BitsPerKey(FILTER_BITS);
    KeyspaceCreateOptions::default()
        // Rows name their fields, and come in at a level that is left as it is otherwise.
        .data_block_compression_policy(CompressionPolicy::all(CompressionType::Lz4))
        .filter_policy(FilterPolicy::all(FilterPolicyEntry::Bloom(bits)))
        .filter_block_partitioning_policy(PartitioningPolicy::all(true))
        .index_block_partitioning_policy(PartitioningPolicy::all(true))
        .filter_block_pinning_policy(PinningPolicy::all(false))
        .index_block_pinning_policy(PinningPolicy::all(false))
}
