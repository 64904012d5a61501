//! Which DAGs name which assets, so that neither an event nor a file that changed asks all of them.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use dagbok_events::{AssetCondition, AssetKey, AssetRef, DagId, DagSpec};

use crate::graph::Version;

/// What a condition may mean an asset by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Meant {
    Asset(AssetKey),
    Name(String),
    Uri(String),
    Alias(String),
}

impl Meant {
    fn of(asset: &AssetRef) -> Self {
        match asset {
            AssetRef::Asset { name, uri, .. } => {
                Self::Asset(AssetKey { name: name.clone(), uri: uri.clone() })
            }
            AssetRef::Name { name } => Self::Name(name.clone()),
            AssetRef::Uri { uri } => Self::Uri(uri.clone()),
            AssetRef::Alias { name } => Self::Alias(name.clone()),
        }
    }

    /// Everything but an alias that an asset is meant by.
    fn as_any_of(asset: &AssetKey) -> [Self; 3] {
        let AssetKey { name, uri } = asset;
        [Self::Asset(asset.clone()), Self::Name(name.clone()), Self::Uri(uri.clone())]
    }
}

/// What a DAG's meaning says of assets.
#[derive(Clone, Debug, Default)]
struct Named {
    waits: BTreeSet<Meant>,
    known: BTreeSet<AssetKey>,
}

impl Named {
    fn by(spec: &DagSpec) -> Self {
        let waits = spec.asset_condition.iter().flat_map(AssetCondition::named);
        let outlets = spec.tasks.iter().flat_map(|task| &task.outlets);
        let inlets = spec.tasks.iter().flat_map(|task| &task.inlets);
        let known = waits.clone().chain(outlets).chain(inlets).filter_map(AssetRef::key).collect();
        Self { waits: waits.map(Meant::of).collect(), known }
    }
}

/// Every DAG that is there, by the assets that it names.
#[derive(Clone, Debug, Default)]
pub(super) struct AssetIndex {
    /// What each DAG names, and the version that says so.
    of: BTreeMap<DagId, (Arc<Version>, Named)>,
    waits: BTreeMap<Meant, BTreeSet<DagId>>,
    /// How many DAGs name each asset, by its name and by its uri.
    names: BTreeMap<String, BTreeMap<AssetKey, usize>>,
    uris: BTreeMap<String, BTreeMap<AssetKey, usize>>,
}

impl AssetIndex {
    /// Takes in what a DAG names now.
    pub(super) fn put(&mut self, dag_id: &DagId, version: &Arc<Version>) {
        if self.of.get(dag_id).is_some_and(|(known, _)| Arc::ptr_eq(known, version)) {
            return;
        }
        self.remove(dag_id);
        let named = Named::by(&version.spec);
        for meant in &named.waits {
            self.waits.entry(meant.clone()).or_default().insert(dag_id.clone());
        }
        for asset in &named.known {
            let by = [(&mut self.names, &asset.name), (&mut self.uris, &asset.uri)];
            for (map, text) in by {
                *map.entry(text.clone()).or_default().entry(asset.clone()).or_default() += 1;
            }
        }
        self.of.insert(dag_id.clone(), (Arc::clone(version), named));
    }

    /// Forgets a DAG.
    pub(super) fn remove(&mut self, dag_id: &DagId) {
        let Some((_, named)) = self.of.remove(dag_id) else { return };
        for meant in &named.waits {
            if let Some(dags) = self.waits.get_mut(meant) {
                dags.remove(dag_id);
                if dags.is_empty() {
                    self.waits.remove(meant);
                }
            }
        }
        for asset in &named.known {
            forget(&mut self.names, &asset.name, asset);
            forget(&mut self.uris, &asset.uri, asset);
        }
    }

    /// The DAGs that wait for an asset, under these aliases too; in the order of their ids.
    pub(super) fn waiting_for(&self, asset: &AssetKey, aliases: &[String]) -> BTreeSet<&DagId> {
        let aliases = aliases.iter().map(|alias| Meant::Alias(alias.clone()));
        Meant::as_any_of(asset)
            .into_iter()
            .chain(aliases)
            .filter_map(|it| self.waits.get(&it))
            .flatten()
            .collect()
    }

    /// The first asset of this name, or of this uri, that a DAG names.
    pub(super) fn first(&self, name: Option<&str>, uri: Option<&str>) -> Option<&AssetKey> {
        let by_name = name.and_then(|name| self.names.get(name));
        let by_uri = uri.and_then(|uri| self.uris.get(uri));
        Some(by_name.or(by_uri)?.first_key_value()?.0)
    }
}

fn forget(map: &mut BTreeMap<String, BTreeMap<AssetKey, usize>>, text: &str, asset: &AssetKey) {
    let Some(counts) = map.get_mut(text) else { return };
    if let Some(count) = counts.get_mut(asset) {
        *count -= 1;
        if *count == 0 {
            counts.remove(asset);
        }
    }
    if counts.is_empty() {
        map.remove(text);
    }
}
