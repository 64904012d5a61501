//! A list cut where its first orders, by names, change: parts that follow one another. They are made as the
//! list gets to them, since a page of a list by DAG needs the first DAGs alone, however many there are.
use dagbok_events::{DagId, RunType};
use dagbok_rows::{RowKey, StoreError};

use super::{
    super::{
        Store, keys,
        rows::{DagRow, RunState},
    },
    ask::{RunAsk, RunBy, RunOrder, STATES, Scope, TYPES},
};

/// Runs that follow one another in a list whose first orders are by names.
#[derive(Clone, Debug)]
pub(super) struct Section {
    pub(super) scope: Scope,
    pub(super) states: Vec<RunState>,
    pub(super) types: Vec<RunType>,
}

/// Sections one after another, or why there are no more.
pub(super) type Sections<'a> = Box<dyn Iterator<Item = Result<Section, StoreError>> + 'a>;

impl Section {
    /// All that is asked for, in one.
    pub(super) fn whole(ask: &RunAsk) -> Self {
        let states = STATES.into_iter().filter(|it| ask.has_state(*it)).collect();
        let types = TYPES.into_iter().filter(|it| ask.has_type(*it)).collect();
        Self { scope: ask.scope.clone(), states, types }
    }
}

impl Store {
    /// The list cut where its first orders, by names, change.
    pub(super) fn sections<'a>(&'a self, ask: &RunAsk, names: &[RunOrder]) -> Sections<'a> {
        let mut sections: Sections<'a> = Box::new(std::iter::once(Ok(Section::whole(ask))));
        for order in names {
            let order = *order;
            sections = Box::new(sections.flat_map(move |section| match section {
                Ok(section) => self.cut(section, order),
                Err(error) => Box::new(std::iter::once(Err(error))),
            }));
        }
        sections
    }

    fn cut(&self, section: Section, RunOrder { by, down }: RunOrder) -> Sections<'_> {
        match by {
            RunBy::Dag => {
                let cut = section.clone();
                let one = move |dag| Section { scope: Scope::Dags(vec![dag]), ..cut.clone() };
                match section.scope {
                    Scope::All if down => {
                        Box::new(self.dags_in_order().rev().map(move |dag| Ok(one(dag?))))
                    }
                    Scope::All => Box::new(self.dags_in_order().map(move |dag| Ok(one(dag?)))),
                    Scope::Dags(mut dags) => {
                        dags.sort_unstable();
                        each(dags, down, one)
                    }
                }
            }
            RunBy::State => {
                let states = section.states.clone();
                each(states, down, move |state| Section { states: vec![state], ..section.clone() })
            }
            RunBy::Type => {
                let types = section.types.clone();
                each(types, down, move |of| Section { types: vec![of], ..section.clone() })
            }
            RunBy::Field(_) => Box::new(std::iter::once(Ok(section))),
        }
    }

    /// The ids of every DAG, in order.
    pub fn dag_ids(&self) -> Result<Vec<DagId>, StoreError> {
        self.dags_in_order().collect()
    }

    fn dags_in_order(&self) -> impl DoubleEndedIterator<Item = Result<DagId, StoreError>> + use<> {
        let read = |key: RowKey| {
            let id = key.get(1..key.len().saturating_sub(1)).and_then(|id| str::from_utf8(id).ok());
            id.and_then(|id| DagId::new(id).ok())
                .ok_or_else(|| StoreError::Unreadable("a DAG's key".to_owned()))
        };
        self.keys(&keys::table::<DagRow>()).map(move |key| read(key?))
    }
}

fn each<'a, T: 'a>(mut parts: Vec<T>, down: bool, one: impl Fn(T) -> Section + 'a) -> Sections<'a> {
    if down {
        parts.reverse();
    }
    Box::new(parts.into_iter().map(move |part| Ok(one(part))))
}
