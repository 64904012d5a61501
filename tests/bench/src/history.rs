//! A long history on the embedded log, as real runs would have left it.
use std::path::Path;

use bytes::Bytes;
use dagbok_events::{RunId, encode, subject_of};
use dagbok_runlog::{Draft, Seq};
use dagbok_runlog_embedded::{Durability, Options, open};
use serde_json::{Value, json};

use crate::{
    script::{Script, dag_file},
    shapes::Shape,
};

/// Drafts written at once.
const BATCH: usize = 2_000;

/// Writes at least `records` records of runs of `dags` DAGs.
pub(crate) async fn fill(home: &Path, records: u64, dags: usize) -> anyhow::Result<Value> {
    let options = Options { durability: Durability::None, ..Options::default() };
    let (ports, _) = open(home, options)?;
    let drafts = std::cell::RefCell::new(Vec::new());
    let mut script = Script::new(|record| {
        let payload = Bytes::from(encode(record));
        drafts.borrow_mut().push(Draft { subject: subject_of(&record.scope), payload });
    });
    let ids: Vec<_> = (0..dags)
        .map(|number| {
            let spec = Shape::Fan.dag(&format!("bench_{number:03}"), 10, u32::MAX);
            let dag_id = spec.dag_id.clone();
            script.command(dag_file(spec));
            dag_id
        })
        .collect();
    let mut last = Seq::ZERO;
    let mut run = 0_usize;
    while last.0 < records {
        while drafts.borrow().len() < BATCH {
            script.play(&ids[run % ids.len()], RunId::new(format!("run-{run}"))?);
            script.now.0 += 1_000_000;
            run += 1;
        }
        let batch = drafts.take();
        last = ports.log.append(last, batch).await?;
    }
    Ok(json!({ "records": last.0, "runs": run, "dags": dags }))
}
