//! What operators say of what their tries read and wrote. Anybody's code has said it: what is no dataset and no facet is
//! passed over.
use serde_json::{Map, Value};

use crate::{
    datasets::{Dataset, dataset_of},
    event::{Facets, Names},
    facets::Touched,
};

/// What an operator says of a try.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Told {
    pub(crate) inputs: Vec<Touched>,
    pub(crate) outputs: Vec<Touched>,
    pub(crate) run: Facets,
    pub(crate) job: Facets,
}

impl Told {
    /// It, by the text that its fact has.
    pub(crate) fn read(names: &Names, text: &str) -> Self {
        let Ok(mut said) = serde_json::from_str::<Map<String, Value>>(text) else {
            return Self::default();
        };
        Self {
            inputs: touched(names, said.remove("inputs"), "InputDatasetFacet"),
            outputs: touched(names, said.remove("outputs"), "OutputDatasetFacet"),
            run: facets(names, said.remove("run_facets"), "RunFacet"),
            job: facets(names, said.remove("job_facets"), "JobFacet"),
        }
    }
}

/// The datasets of one side, with what is said of each: in general, and of what this try did to it.
fn touched(names: &Names, all: Option<Value>, side: &str) -> Vec<Touched> {
    let Some(Value::Array(all)) = all else { return Vec::new() };
    let one = |value| {
        let Value::Object(mut said) = value else { return None };
        let mut text = |key| match said.remove(key) {
            Some(Value::String(text)) if !text.is_empty() => Some(text),
            _ => None,
        };
        // An asset that a hook touched has no other name.
        let dataset = match text("uri") {
            Some(uri) => dataset_of(&uri, &names.namespace),
            None => Dataset { namespace: text("namespace")?, name: text("name")? },
        };
        let here = said.remove("inputFacets").or_else(|| said.remove("outputFacets"));
        Some(Touched {
            dataset,
            facets: facets(names, said.remove("facets"), "DatasetFacet"),
            here: facets(names, here, side),
        })
    };
    all.into_iter().filter_map(one).collect()
}

/// Facets, each with who made it and a schema: the standard wants both.
fn facets(names: &Names, all: Option<Value>, kind: &str) -> Facets {
    let Some(Value::Object(all)) = all else { return Facets::new() };
    let one = |(name, value)| {
        let Value::Object(mut facet) = value else { return None };
        for key in ["_producer", "_schemaURL"] {
            if facet.get(key).and_then(Value::as_str).is_none_or(str::is_empty) {
                facet.remove(key);
            }
        }
        let Value::Object(mut whole) = names.own_facet(kind, Value::Null) else { return None };
        whole.append(&mut facet);
        Some((name, Value::Object(whole)))
    };
    all.into_iter().filter_map(one).collect()
}
