//! Whether a DAG is too large: asked by the processor, which tells its author, and again by the rules.
use dagbok_events::{DagSpec, encode_any, encode_packed};

use crate::limits::{SPEC_BYTES, SPEC_PACKED_BYTES, TASKS_PER_DAG};

/// What is too large about a DAG and what to do; `None` where it fits.
pub fn too_large(spec: &DagSpec) -> Option<String> {
    let tasks = spec.tasks.len();
    if tasks > TASKS_PER_DAG {
        return Some(format!(
            "it has {tasks} tasks; at most {TASKS_PER_DAG} are taken: split it into several DAGs"
        ));
    }
    let plain = encode_any(spec).len();
    if plain > SPEC_BYTES {
        return Some(format!(
            "it takes {plain} bytes; at most {SPEC_BYTES} are taken: shorten its docs or split it into several DAGs"
        ));
    }
    if plain <= SPEC_PACKED_BYTES {
        return None;
    }
    let packed = encode_packed(spec, 0).len();
    (packed > SPEC_PACKED_BYTES).then(|| {
        format!(
            "it takes {packed} bytes compressed; at most {SPEC_PACKED_BYTES} are taken: shorten its docs and \
             task ids, or split it into several DAGs"
        )
    })
}
