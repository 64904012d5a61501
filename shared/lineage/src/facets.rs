//! The standard's facets.
use dagbok_events::{
    AssetKey, AssetRef, AssetUpdated, DagSpec, Failure, Interval, TaskSpec, Timestamp,
    path_in_folder,
};
use serde_json::{Value, json};

use crate::{
    datasets::{Dataset, dataset_of},
    event::{Facets, Names},
};

/// Bytes of a text that an event carries at most: documentation, a traceback, what was said with an asset.
const TEXT: usize = 16 << 10;
/// Datasets of an event on either side at most.
const DATASETS: usize = 1_000;

/// A text's begin, up to the limit.
pub(crate) fn cut(text: &str) -> &str {
    let end = text.floor_char_boundary(TEXT.min(text.len()));
    text.get(..end).unwrap_or_default()
}

/// A run or job that others name.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Named {
    pub(crate) run_id: String,
    pub(crate) namespace: String,
    pub(crate) job: String,
}

pub(crate) fn parent(names: &Names, parent: &Named, root: &Named) -> Value {
    let of = |it: &Named| {
        json!({
            "run": { "runId": it.run_id },
            "job": { "namespace": it.namespace, "name": it.job },
        })
    };
    let mut body = of(parent);
    if let Value::Object(body) = &mut body {
        body.insert("root".to_owned(), of(root));
    }
    names.facet("ParentRunFacet", "1-2-0", body)
}

pub(crate) fn nominal_time(names: &Names, interval: Option<Interval>) -> Option<Value> {
    let Interval { start, end } = interval?;
    let body = json!({ "nominalStartTime": start, "nominalEndTime": end });
    Some(names.facet("NominalTimeRunFacet", "1-0-1", body))
}

pub(crate) fn processing_engine(names: &Names) -> Value {
    let body = json!({ "name": "Dagbok", "version": names.version });
    names.facet("ProcessingEngineRunFacet", "1-1-1", body)
}

pub(crate) fn error_message(names: &Names, message: &str, stack: Option<&str>) -> Value {
    let body = json!({
        "message": cut(message),
        "programmingLanguage": "python",
        "stackTrace": stack.map(cut),
    });
    names.facet("ErrorMessageRunFacet", "1-0-1", body)
}

pub(crate) fn failure(names: &Names, of: &Failure) -> Value {
    error_message(names, &of.message, of.traceback.as_deref().filter(|text| !text.is_empty()))
}

/// What the standard says of a job: its type, whose it is, what it is for, its labels, where it is written.
pub(crate) fn job(
    names: &Names,
    kind: &str,
    spec: Option<&DagSpec>,
    task: Option<&TaskSpec>,
    bundle: Option<&str>,
) -> Facets {
    let mut facets = Facets::new();
    let body = json!({ "processingType": "BATCH", "integration": "AIRFLOW", "jobType": kind });
    facets.insert("jobType".to_owned(), names.facet("JobTypeJobFacet", "2-0-4", body));
    let Some(spec) = spec else { return facets };
    let markdown = |text: &String| (text.clone(), "text/markdown");
    let documentation = task
        .and_then(|task| task.doc_md.as_ref().map(markdown))
        .or_else(|| spec.doc_md.as_ref().map(markdown))
        .or_else(|| Some((spec.description.clone()?, "text/plain")));
    if let Some((text, kind)) = documentation.filter(|(text, _)| !text.is_empty()) {
        let body = json!({ "description": cut(&text), "contentType": kind });
        let facet = names.facet("DocumentationJobFacet", "1-1-0", body);
        facets.insert("documentation".to_owned(), facet);
    }
    let own = task.map(|task| &task.owner).filter(|owner| !owner.is_empty());
    let owner = own.unwrap_or(&spec.owner);
    let mut owners: Vec<_> = owner.split(',').map(str::trim).filter(|it| !it.is_empty()).collect();
    owners.sort_unstable();
    if !owners.is_empty() {
        let owners: Vec<_> = owners.iter().map(|name| json!({ "name": name })).collect();
        let facet = names.facet("OwnershipJobFacet", "1-0-1", json!({ "owners": owners }));
        facets.insert("ownership".to_owned(), facet);
    }
    if !spec.tags.is_empty() {
        let tag = |tag: &String| json!({ "key": tag, "value": tag, "source": "AIRFLOW" });
        let tags: Vec<_> = spec.tags.iter().map(tag).collect();
        let facet = names.facet("TagsJobFacet", "1-0-0", json!({ "tags": tags }));
        facets.insert("tags".to_owned(), facet);
    }
    let path = path_in_folder(&spec.source.file);
    if let Some(bundle) = bundle.filter(|_| !path.is_empty()) {
        let body = json!({
            "type": "dagbok",
            "url": format!("dagbok://bundles/{bundle}/{}", escaped(path)),
            "path": path,
            "version": bundle,
        });
        let facet = names.facet("SourceCodeLocationJobFacet", "1-1-0", body);
        facets.insert("sourceCodeLocation".to_owned(), facet);
    }
    facets
}

/// A path as it may stand in a URI.
fn escaped(path: &str) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").expect("writing to a string does not fail");
        }
    }
    text
}

/// A dataset that a try reads or writes.
#[derive(Debug, PartialEq)]
pub(crate) struct Touched {
    pub(crate) dataset: Dataset,
    /// What is said of it.
    pub(crate) facets: Facets,
    /// What is said of this reading or writing.
    pub(crate) here: Facets,
}

/// Datasets of one side, each once.
#[derive(Default)]
pub(crate) struct Datasets(Vec<Touched>);

impl Datasets {
    /// What a task says that it reads or brings up to date. An alias is no dataset, nor is a name that nothing is known of.
    pub(crate) fn declared(names: &Names, all: &[AssetRef]) -> Self {
        let mut datasets = Self::default();
        for of in all {
            match of {
                AssetRef::Asset { name, uri, group, extra } => {
                    let key = AssetKey { uri: uri.clone(), name: name.clone() };
                    datasets.add(names, &key, Some(group), extra.as_deref(), &[]);
                }
                AssetRef::Uri { uri } => {
                    let key = AssetKey { uri: uri.clone(), name: uri.clone() };
                    datasets.add(names, &key, None, None, &[]);
                }
                AssetRef::Alias { .. } | AssetRef::Name { .. } => {}
            }
        }
        datasets
    }

    /// What a task did bring up to date.
    pub(crate) fn updated(&mut self, names: &Names, of: &AssetUpdated) {
        self.add(names, &of.asset, None, of.extra.as_deref(), &of.aliases);
    }

    fn add(
        &mut self,
        names: &Names,
        asset: &AssetKey,
        group: Option<&str>,
        extra: Option<&str>,
        aliases: &[String],
    ) {
        let dataset = dataset_of(&asset.uri, &names.namespace);
        let extra = extra.filter(|text| text.len() <= TEXT);
        let extra = extra.and_then(|text| serde_json::from_str::<Value>(text).ok());
        let extra = extra.filter(|it| it.as_object().is_some_and(|it| !it.is_empty()));
        let body = json!({
            "name": asset.name,
            "uri": without_login(&asset.uri),
            "group": group,
            "extra": extra,
            "aliases": (!aliases.is_empty()).then_some(aliases),
        });
        let facets =
            Facets::from_iter([("dagbok_asset".to_owned(), names.own_facet("DatasetFacet", body))]);
        // What was said when it happened stands for what was declared.
        if let Some(there) = self.0.iter_mut().find(|it| it.dataset == dataset) {
            there.facets = facets;
        } else if self.0.len() < DATASETS {
            self.0.push(Touched { dataset, facets, here: Facets::new() });
        }
    }

    /// What the operator says: it adds to what is declared, and takes nothing of it away.
    pub(crate) fn told(&mut self, all: Vec<Touched>) {
        for told in all {
            if let Some(there) = self.0.iter_mut().find(|it| it.dataset == told.dataset) {
                add(&mut there.facets, told.facets);
                add(&mut there.here, told.here);
            } else if self.0.len() < DATASETS {
                self.0.push(told);
            }
        }
    }

    pub(crate) fn into_vec(self) -> Vec<Touched> {
        self.0
    }
}

/// Adds facets whose names are not there yet.
pub(crate) fn add(facets: &mut Facets, more: Facets) {
    for (name, facet) in more {
        facets.entry(name).or_insert(facet);
    }
}

/// A URI without who logs in there.
pub(crate) fn without_login(uri: &str) -> String {
    let Some((scheme, rest)) = uri.split_once("://") else { return uri.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest.get(..end).and_then(|authority| authority.rfind('@')) {
        // A container of Azure's stores stands there without a password.
        Some(at) if rest[..at].contains(':') => format!("{scheme}://{}", &rest[at + 1..]),
        _ => uri.to_owned(),
    }
}

/// A span of time in seconds, as Airflow has durations.
#[expect(clippy::cast_precision_loss, reason = "a run takes less than 2^53 microseconds")]
pub(crate) fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.since(from).0.max(0) as f64 / 1e6
}
