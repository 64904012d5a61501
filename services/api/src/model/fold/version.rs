//! A run that goes on with another version of its DAG: which of its tasks are gone, and which of those are back.
use dagbok_events::{DagVersion, MapIndex, RunVersionChanged, TaskExpanded, TaskId};

use super::{
    Context,
    counted::{change, known_run},
    task::Done,
};
use crate::model::{
    Overlay, keys,
    rows::{EarlierVersion, GoneRow, RunRow, TaskInstanceState, VersionRow},
};

pub(super) fn changed(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    fact: &RunVersionChanged,
) -> Done {
    let Some(run) = known_run(rows, context)? else { return Ok(()) };
    let spec = rows.peek::<VersionRow>(keys::version(&run.dag_id, fact.version))?;
    let tasks = spec.map(|row| &row.spec.tasks).into_iter().flatten();
    let tasks: Vec<(TaskId, bool)> =
        tasks.map(|task| (task.task_id.clone(), task.expand.is_some())).collect();
    let Some(row) = rows.edit::<RunRow>(keys::run(run))?.as_mut() else { return Ok(()) };
    // Of one that is not over it says nothing, as by the rules.
    if !row.state.is_over() {
        return Ok(());
    }
    let before = row.version;
    row.bundle = fact.bundle.clone();
    if before == fact.version {
        return Ok(());
    }
    row.version = fact.version;
    row.earlier.push(EarlierVersion { version: before, until: context.seq });
    let mut gone = Vec::new();
    for it in &fact.removed {
        let copies = row.expanded.remove(&it.task_id).unwrap_or(1);
        let count = it.further.saturating_add(1).min(copies);
        let (task_id, first) = (it.task_id.clone(), it.map_index.0);
        let is_gone = GoneRow { task_id, version: before, first, count, replaced: false };
        row.gone =
            std::mem::take(&mut row.gone).into_iter().flat_map(|it| it.without(&is_gone)).collect();
        row.gone.push(is_gone.clone());
        gone.push(is_gone);
    }
    // As lists have them, whatever the order in which they went.
    row.gone.sort_by(|one, other| one.place().cmp(&other.place()));
    let (mut back, mut count) = (Vec::new(), 0_u32);
    for (task_id, is_mapped) in &tasks {
        count = count.saturating_add(row.expanded.get(task_id).copied().unwrap_or(1));
        if !is_mapped && row.gone.iter().any(|it| it.is_of(task_id, -1)) {
            back.push(task_id.clone());
        }
    }
    row.gone.retain(|it| !(it.first < 0 && back.contains(&it.task_id)));
    for it in &mut row.gone {
        it.replaced = tasks.iter().any(|(task_id, _)| *task_id == it.task_id);
    }
    row.tasks = count.saturating_add(row.gone_count());
    // What waits for its copies has the place of one without an index that is gone.
    let hidden = row.gone.iter().filter(|it| row.is_hidden(it));
    back.extend(hidden.map(|it| it.task_id.clone()));
    for it in gone {
        let maps = (0..it.count).map(|n| MapIndex(it.first.saturating_add_unsigned(n)));
        for map_index in maps {
            go(rows, context, (&it.task_id, map_index), fact.version)?;
        }
    }
    back.iter().try_for_each(|task_id| come_back(rows, context, task_id, MapIndex::UNMAPPED))
}

/// A mapped task has copies: those that were gone before are there again.
pub(super) fn expanded(rows: &mut Overlay<'_>, context: &Context<'_>, fact: &TaskExpanded) -> Done {
    let Some(run) = known_run(rows, context)? else { return Ok(()) };
    let known = rows.peek::<RunRow>(keys::run(run))?.is_some_and(|row| !row.gone.is_empty());
    if !known {
        return Ok(());
    }
    let Some(row) = rows.edit::<RunRow>(keys::run(run))?.as_mut() else { return Ok(()) };
    let copies = i32::try_from(fact.length).unwrap_or(i32::MAX);
    let mut back = Vec::new();
    for it in row.gone.iter_mut().filter(|it| it.task_id == fact.task_id && it.first >= 0) {
        let end = it.first.saturating_add_unsigned(it.count);
        back.extend(it.first.min(copies)..end.min(copies));
        it.first = it.first.max(copies);
        it.count = u32::try_from(end - it.first).unwrap_or(0);
    }
    row.gone.retain(|it| it.count > 0);
    let single = row.gone.iter().find(|it| it.is_of(&fact.task_id, -1)).map(|it| it.version);
    let lacks = single.map(|version| row.version_after(version));
    for map_index in back.into_iter().map(MapIndex) {
        come_back(rows, context, &fact.task_id, map_index)?;
    }
    // Its row was that of all copies until there were any.
    lacks.map_or(Ok(()), |lacks| go(rows, context, (&fact.task_id, MapIndex::UNMAPPED), lacks))
}

/// A copy is gone, since a version does not have it.
fn go(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    (task_id, map_index): (&TaskId, MapIndex),
    version: DagVersion,
) -> Done {
    change(rows, context, task_id, map_index, |row| {
        row.state = TaskInstanceState::Removed;
        row.message = Some(format!("version {version} of the DAG does not have it"));
    })
}

fn come_back(
    rows: &mut Overlay<'_>,
    context: &Context<'_>,
    task_id: &TaskId,
    map_index: MapIndex,
) -> Done {
    change(rows, context, task_id, map_index, |row| {
        // What stood in its place meanwhile may have an end of its own, and stays.
        if row.state == TaskInstanceState::Removed {
            row.state = TaskInstanceState::Cleared;
            (row.ruled_out_at, row.message) = (None, None);
        }
    })
}
