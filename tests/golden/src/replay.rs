//! A golden log through both folds: the scheduler's and the read model's.
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use dagbok_api::model::{ReadModel, Store};
use dagbok_domain::namespace::{ColdRun, Namespace};
use dagbok_events::{Record, subject_of};
use dagbok_runlog::{Draft, RunLog as _, Seq, memory::MemoryLog};

use crate::shelf::Golden;

/// What the folds hold after the last record.
#[derive(Debug)]
pub struct Replayed {
    /// The log's name.
    pub name: String,
    /// Its records.
    pub records: Vec<Record>,
    /// The scheduler's fold.
    pub namespace: Namespace,
    /// The read model's rows.
    pub store: Arc<Store>,
}

/// Folds a log. Every step of the scheduler's fold must survive its snapshot, and the rules must have
/// something to say about it that is not a panic.
pub fn replay(golden: &Golden) -> Result<Replayed> {
    let records = golden.records()?;
    let mut namespace = Namespace::new();
    for (record, seq) in records.iter().zip(1..) {
        if let Some(key) = namespace.needs(record) {
            // What the log does not hold is passed over, as by the scheduler.
            let cold = ColdRun::pick(&key, (1..seq).zip(&records));
            drop(cold.map(|cold| namespace.revive(&cold)));
        }
        namespace.evolve(seq, record);
        let snapshot = namespace.to_snapshot();
        let restored = Namespace::from_snapshot(&snapshot)
            .with_context(|| format!("the snapshot after record {seq} of {}", golden.name))?;
        ensure!(
            restored.to_snapshot() == snapshot,
            "the snapshot after record {seq} of {} restores something else",
            golden.name
        );
        for proposal in namespace.plan(record.at) {
            // Proposals are decided on and dropped: only that it can be done is asked here.
            namespace.carry_out(record.at, &proposal);
        }
    }
    let store = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(rows_of(golden, &records))?;
    Ok(Replayed { name: golden.name.clone(), records, namespace, store })
}

async fn rows_of(golden: &Golden, records: &[Record]) -> Result<Arc<Store>> {
    let log = Arc::new(MemoryLog::default());
    let draft = |(payload, record): (&Vec<u8>, &Record)| Draft {
        subject: subject_of(&record.scope),
        payload: payload.clone().into(),
    };
    log.append(Seq::ZERO, golden.payloads.iter().zip(records).map(draft).collect()).await?;
    let model = ReadModel::open(None)?;
    model.catch_up(log).await?;
    Ok(model.store())
}
