//! A run as a snapshot keeps it: what was folded, without the indexes.
use std::{collections::BTreeMap, sync::Arc};

use dagbok_events::{Checkpoint, DagVersion, MapIndex, RunKey, TaskId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Deferral, InstanceNo, Phase, Run, RunMeta, TaskState, Token, values::Values};
use crate::graph::Version;

/// One copy of a task as a snapshot keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SavedInstance {
    state: TaskState,
    tries: u16,
    failures: u16,
    losses: u16,
    not_begun: u8,
    began: Option<Timestamp>,
    deferral: Option<Box<Deferral>>,
}

/// A whole run as a snapshot keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedRun {
    /// Which run.
    pub key: RunKey,
    /// The version of its DAG that it runs.
    pub version: DagVersion,
    meta: RunMeta,
    phase: Phase,
    ends: u16,
    tried_before: u16,
    /// Mapped tasks that have their copies, with the first one's number and how many, in the order in which they
    /// got them.
    expanded: Vec<(u32, InstanceNo, u32)>,
    /// Every copy, in the DAG's order.
    instances: Vec<SavedInstance>,
    xcoms: Values,
    /// Of what was handed on before this record it is forgotten, and how long it was kept.
    forgotten: Option<(u64, Timestamp)>,
    /// By instance, how many elements it returned, where others are mapped over it.
    lengths: BTreeMap<InstanceNo, u32>,
    /// By instance that succeeded, the tasks that it decided against, in order.
    skips: BTreeMap<InstanceNo, Vec<u32>>,
    /// Of tasks that were in the run, and were taken out or had copies of another kind: how many tries were made.
    tried: BTreeMap<TaskId, u16>,
    /// What people noted of copies of its tasks.
    notes: Vec<(TaskId, MapIndex, String)>,
    /// What copies keep for their next try.
    checkpoints: Vec<(TaskId, MapIndex, Arc<Checkpoint>)>,
    /// Tries in flight whose input was made anew.
    stale: Vec<(TaskId, MapIndex, Token)>,
}

impl Run {
    /// What a snapshot keeps.
    pub fn save(&self) -> SavedRun {
        let instance = |it: &super::Instance| SavedInstance {
            state: it.state.clone(),
            tries: it.tries,
            failures: it.failures,
            losses: it.losses,
            not_begun: it.not_begun,
            began: it.began,
            deferral: it.deferral.clone(),
        };
        SavedRun {
            key: self.key.clone(),
            version: self.version.number,
            meta: self.meta.clone(),
            phase: self.phase,
            ends: self.ends,
            tried_before: self.arena.tried_before(),
            expanded: self.arena.expansions(),
            instances: self.instances().map(|(_, it)| instance(it)).collect(),
            xcoms: self.xcoms.clone(),
            forgotten: self.forgotten,
            lengths: self.lengths.clone(),
            skips: self.skips.clone(),
            tried: self.tried.clone(),
            notes: self.notes.iter().map(|((id, at), it)| (id.clone(), *at, it.clone())).collect(),
            checkpoints: {
                let kept = self.checkpoints.iter();
                kept.map(|((id, at), it)| (id.clone(), *at, Arc::clone(it))).collect()
            },
            stale: self.stale.iter().map(|((id, at), it)| (id.clone(), *at, *it)).collect(),
        }
    }

    /// The run that was saved; `None` where the version is not the one that it ran.
    pub fn restore(saved: SavedRun, version: Arc<Version>) -> Option<Self> {
        let mut run = Self::new(saved.key, saved.meta, version);
        run.tried = saved.tried;
        run.notes = saved.notes.into_iter().map(|(id, at, note)| ((id, at), note)).collect();
        let kept = saved.checkpoints.into_iter();
        run.checkpoints = kept.map(|(id, at, kept)| ((id, at), kept)).collect();
        run.stale = saved.stale.into_iter().map(|(id, at, token)| ((id, at), token)).collect();
        let mut run = run.numbered_from(saved.tried_before, saved.ends);
        for (node, first, length) in saved.expanded {
            if node >= run.version.node_count() || !run.arena.pass_over(first) {
                return None;
            }
            run.expand_node(node, length);
        }
        if run.instance_count() != saved.instances.len() {
            return None;
        }
        let numbers: Vec<InstanceNo> = run.instances().map(|(no, _)| no).collect();
        run.skips = saved.skips;
        for (no, it) in numbers.into_iter().zip(saved.instances) {
            let instance = run.arena.get_mut(no);
            (instance.tries, instance.failures) = (it.tries, it.failures);
            (instance.losses, instance.began) = (it.losses, it.began);
            (instance.not_begun, instance.deferral) = (it.not_begun, it.deferral);
            if it.state != TaskState::Waiting {
                run.set(no, it.state);
            }
        }
        for no in run.skipped_but_waiting().into_iter().flatten() {
            run.leave_ready(no);
        }
        (run.phase, run.xcoms, run.lengths) = (saved.phase, saved.xcoms, saved.lengths);
        (run.ends, run.forgotten) = (saved.ends, saved.forgotten);
        for node in 0..run.version.node_count() {
            run.look_at_length(node);
        }
        Some(run)
    }
}
