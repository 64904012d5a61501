//! Lists of assets' events: in the order of time, of all or of one asset or DAG.
use dagbok_events::DagId;
use dagbok_rows::key::Parts as _;

use super::{COUNTED, LOOKED, ask::Listed};
use crate::model::{
    Store, StoreError, keys,
    rows::{AssetCountRow, AssetEventRow},
};

/// Which events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventsOf {
    /// Every one.
    All,
    /// Those of an asset, by its number.
    Asset(u32),
    /// Those that a DAG's tasks made.
    Dag(DagId),
}

/// What is asked of a list of events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventAsk {
    /// Whose.
    pub of: EventsOf,
    /// Between which instants, in microseconds, both included.
    pub between: Option<(i64, i64)>,
    /// From the newest down.
    pub down: bool,
    /// Events before the page, and of it.
    pub page: (usize, usize),
}

/// Whether an event is wanted that an index names.
pub type KeepEvent<'a> = &'a dyn Fn(&AssetEventRow) -> bool;

impl Store {
    /// A page of events. What no index stands for is looked for in at most [`LOOKED`] of them.
    pub fn list_asset_events(
        &self,
        ask: &EventAsk,
        keep: Option<KeepEvent<'_>>,
    ) -> Result<Listed<AssetEventRow>, StoreError> {
        if keep.is_some() {
            let mut listed = self.look_at_asset_events(ask, keep)?;
            let rows = std::mem::take(&mut listed.page).into_iter();
            listed.page = rows.skip(ask.page.0).take(ask.page.1).collect();
            return Ok(listed);
        }
        let (skip, take) = ask.page;
        let (mut page, mut passed) = (Vec::new(), 0);
        let counted = match (&ask.of, ask.between) {
            (EventsOf::All, None) => {
                let count = self.get::<AssetCountRow>(&keys::asset_count())?.unwrap_or_default();
                Some(usize::try_from(count.events).unwrap_or(usize::MAX))
            }
            _ => None,
        };
        let mut exact = true;
        for id in self.event_ids(ask) {
            let id = id?;
            if passed >= skip && page.len() < take {
                page.extend(self.get::<AssetEventRow>(&keys::asset_event(id))?);
            }
            passed += 1;
            let full = passed >= skip.saturating_add(take);
            if full && (counted.is_some() || passed >= skip.saturating_add(COUNTED)) {
                exact = counted.is_some();
                break;
            }
        }
        Ok(Listed {
            page,
            total: counted.unwrap_or(passed),
            exact,
            complete: true,
            looked_to: None,
        })
    }

    /// Of the events that an index names, the first [`LOOKED`], those that are wanted.
    pub fn look_at_asset_events(
        &self,
        ask: &EventAsk,
        keep: Option<KeepEvent<'_>>,
    ) -> Result<Listed<AssetEventRow>, StoreError> {
        let (mut page, mut whole) = (Vec::new(), true);
        for (looked, id) in self.event_ids(ask).enumerate() {
            if looked == LOOKED {
                whole = false;
                break;
            }
            let row = self.get::<AssetEventRow>(&keys::asset_event(id?))?;
            page.extend(row.filter(|row| keep.is_none_or(|keep| keep(row))));
        }
        Ok(Listed { total: page.len(), page, exact: whole, complete: whole, looked_to: None })
    }

    /// The numbers of the events that are asked for, in the order that is.
    fn event_ids(&self, ask: &EventAsk) -> Box<dyn Iterator<Item = Result<u64, StoreError>>> {
        let prefix = match &ask.of {
            EventsOf::All => keys::events_of_all(),
            EventsOf::Asset(id) => keys::events_of_asset(*id),
            EventsOf::Dag(dag_id) => keys::events_of_dag(dag_id),
        };
        let (from, to) = ask.between.unwrap_or((i64::MIN, i64::MAX));
        if to < from {
            return Box::new(std::iter::empty());
        }
        let to = prefix.clone().signed(to).number(u64::MAX);
        let from = prefix.signed(from);
        let number = |key: Result<dagbok_rows::RowKey, StoreError>| {
            Ok(key?.last_chunk().map_or(0, |number| u64::from_be_bytes(*number)))
        };
        let found = self.keys_between(&from, Some(&to));
        if ask.down { Box::new(found.rev().map(number)) } else { Box::new(found.map(number)) }
    }
}
