//! Assets, or datasets as Airflow 2 calls them: what tasks bring up to date and DAGs are scheduled on.
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{DagId, Interval, MapIndex, Partition, RunId, TaskId, Timestamp};

/// What an asset is known by.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct AssetKey {
    /// Where the data is, in the form that is compared.
    pub uri: String,
    /// Its name; the uri where it has no other.
    pub name: String,
}

/// An asset as a file names it, or what stands for one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AssetRef {
    /// The asset itself.
    Asset {
        /// What people call the asset.
        name: String,
        /// Where the asset lies, as a URI.
        uri: String,
        /// What kind it is: `asset`, `dataset`, `model`, or a word of the file's own.
        #[serde(default = "asset_group", skip_serializing_if = "is_asset_group")]
        group: String,
        /// A JSON object in text that goes with it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        extra: Option<String>,
    },
    /// A name that tasks give to assets when they run.
    Alias {
        /// The name of the alias.
        name: String,
    },
    /// Whatever asset has this name.
    Name {
        /// The name by which the asset is found.
        name: String,
    },
    /// Whatever asset has this uri.
    Uri {
        /// The URI by which the asset is found.
        uri: String,
    },
}

impl AssetRef {
    /// What the asset is known by, where all of that is said.
    pub fn key(&self) -> Option<AssetKey> {
        match self {
            Self::Asset { name, uri, .. } => {
                Some(AssetKey { name: name.clone(), uri: uri.clone() })
            }
            Self::Alias { .. } | Self::Name { .. } | Self::Uri { .. } => None,
        }
    }

    /// Whether this means an asset, under these aliases too.
    pub fn means<'a>(
        &self,
        asset: &AssetKey,
        aliases: impl IntoIterator<Item = &'a String>,
    ) -> bool {
        match self {
            Self::Asset { name, uri, .. } => (name, uri) == (&asset.name, &asset.uri),
            Self::Name { name } => *name == asset.name,
            Self::Uri { uri } => *uri == asset.uri,
            Self::Alias { name } => aliases.into_iter().any(|alias| alias == name),
        }
    }
}

impl AssetCondition {
    /// Every asset, or what stands for one, that it names.
    pub fn named(&self) -> Vec<&AssetRef> {
        match self {
            Self::One { of } => vec![of],
            Self::All { of } | Self::Any { of } => of.iter().flat_map(Self::named).collect(),
        }
    }
}

fn asset_group() -> String {
    "asset".to_owned()
}
fn is_asset_group(group: &str) -> bool {
    group == "asset"
}

/// Which assets must have been brought up to date for a run to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AssetCondition {
    /// This one.
    One {
        /// The asset or alias that must have been brought up to date.
        of: AssetRef,
    },
    /// All of these.
    All {
        /// The conditions that must all hold.
        of: Vec<AssetCondition>,
    },
    /// Any of these.
    Any {
        /// The conditions of which one must hold.
        of: Vec<AssetCondition>,
    },
}

/// Where an asset's event came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AssetSource {
    /// Id of the DAG, unique in the namespace.
    pub dag_id: DagId,
    /// Id of the run, unique within its DAG.
    pub run_id: RunId,
    /// Id of the task, unique within its DAG.
    pub task_id: TaskId,
    /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
    #[serde(default, skip_serializing_if = "MapIndex::is_unmapped")]
    pub map_index: MapIndex,
    /// The data that the run covers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_interval: Option<Interval>,
}

/// One event of an asset, as a run that it made keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AssetEvent {
    /// The sequence of its record.
    pub seq: u64,
    /// Which of the record's events it is, from 0.
    #[serde(default, skip_serializing_if = "is_first")]
    pub nth: u32,
    /// The asset that was brought up to date.
    pub asset: AssetKey,
    /// When the asset was brought up to date, by the record that says so.
    pub at: Timestamp,
    /// A JSON object in text that was said with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<String>,
    /// The aliases by which the task named the asset.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// The task that did it; `None` where somebody outside said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<AssetSource>,
    /// The partition that was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Partition>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
const fn is_first(nth: &u32) -> bool {
    *nth == 0
}
