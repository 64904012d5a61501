//! What runs are ordered by, and how that stands in a key.
use dagbok_events::{DagId, RunType, Timestamp};
use dagbok_rows::{
    Key,
    key::{Parts as _, table},
};

use super::super::rows::{RunIndexRow, RunRow, RunState};

/// A field that the index has runs in the order of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RunField {
    /// The order of making.
    Id,
    /// The run's id. Within a DAG only: over all DAGs theirs are merged.
    RunId,
    /// What the run stands for.
    LogicalDate,
    /// Not before this.
    RunAfter,
    /// When it began.
    StartDate,
    /// When it was over.
    EndDate,
    /// From the one to the other.
    Duration,
    /// When something was last decided about it.
    UpdatedAt,
    /// The latest that a task of it began. Runs none of whose tasks has are in no list that is ordered by it.
    LatestStart,
}

/// What a run has in a field. Those with nothing come last, whichever way the order goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// An instant or a length, in microseconds.
    Number(i64),
    /// A name.
    Text(String),
    /// Nothing.
    Nothing,
}

impl From<Option<Timestamp>> for Value {
    fn from(at: Option<Timestamp>) -> Self {
        at.map_or(Self::Nothing, |at| Self::Number(at.0))
    }
}

impl RunField {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Id,
        Self::RunId,
        Self::LogicalDate,
        Self::RunAfter,
        Self::StartDate,
        Self::EndDate,
        Self::Duration,
        Self::UpdatedAt,
        Self::LatestStart,
    ];

    /// What `run` has in it.
    pub fn of(self, run: &RunRow) -> Value {
        if self.is_never(run.state) {
            return Value::Nothing;
        }
        match self {
            Self::Id => Value::Number(run.created_seq.cast_signed()),
            Self::RunId => Value::Text(run.run_id.to_string()),
            Self::LogicalDate => run.logical_date.into(),
            Self::RunAfter => Value::Number(run.run_after.0),
            Self::StartDate => run.start_date.into(),
            Self::EndDate => run.end_date.into(),
            Self::Duration => match (run.start_date, run.end_date) {
                (Some(start), Some(end)) => Value::Number(end.since(start).0),
                _ => Value::Nothing,
            },
            Self::UpdatedAt => Value::Number(run.updated_at.0),
            Self::LatestStart => run.latest_start.into(),
        }
    }

    /// Whether no run in this state has anything in it: the order of making then serves.
    pub(super) const fn is_never(self, state: RunState) -> bool {
        match self {
            Self::StartDate => matches!(state, RunState::Queued),
            Self::EndDate | Self::Duration => matches!(state, RunState::Queued | RunState::Running),
            // One that is queued again may have had tasks that began: it may have a latest start.
            Self::Id
            | Self::RunId
            | Self::LogicalDate
            | Self::RunAfter
            | Self::UpdatedAt
            | Self::LatestStart => false,
        }
    }

    /// Whether runs in this state are sorted in hand instead: what runs changes with each record.
    pub(super) const fn is_in_hand(self, state: RunState) -> bool {
        matches!((self, state), (Self::UpdatedAt | Self::LatestStart, RunState::Running))
    }

    /// Whether runs with nothing in it are in none of its lists.
    pub(super) const fn is_sparse(self) -> bool {
        matches!(self, Self::LatestStart)
    }

    const fn byte(self) -> u8 {
        match self {
            Self::Id => b'i',
            Self::RunId => b'n',
            Self::LogicalDate => b'l',
            Self::RunAfter => b'a',
            Self::StartDate => b's',
            Self::EndDate => b'e',
            Self::Duration => b'd',
            Self::UpdatedAt => b'u',
            Self::LatestStart => b't',
        }
    }
}

/// The index's part for a field, over one DAG or all, of runs in one state and of one type.
pub(super) fn part(dag: Option<&DagId>, field: RunField, state: RunState, of: RunType) -> Key {
    let key = table::<RunIndexRow>();
    let key = match dag {
        None => key.byte(0),
        Some(dag_id) => key.byte(1).text(dag_id.as_str()),
    };
    key.byte(field.byte()).byte(state as u8).byte(of as u8)
}

/// Runs with something in the field, and those with nothing, have a byte of their own after the part.
pub(super) const SOMETHING: u8 = 0;
pub(super) const NOTHING: u8 = 1;

/// A run's place in the index.
pub(super) fn place(part: Key, value: &Value, seq: u64) -> Key {
    match value {
        Value::Number(number) => part.byte(SOMETHING).signed(*number),
        Value::Text(text) => part.byte(SOMETHING).text(text),
        Value::Nothing => part.byte(NOTHING),
    }
    .number(seq)
}
