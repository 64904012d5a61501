//! What a task asks about the events of its inlets: those of one asset, or of what an alias stood for.
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    ask::{ApiClient, Unanswered},
    past::{entries, part},
};

/// Which events: an asset's by its name or uri, or an alias's.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Inlet {
    name: Option<String>,
    uri: Option<String>,
    alias_name: Option<String>,
}

impl Inlet {
    fn wants(&self, event: &Value) -> bool {
        let is = |field: &str, wanted: &Option<String>| {
            wanted.as_ref().is_none_or(|wanted| event[field].as_str() == Some(wanted))
        };
        let named = is("name", &self.name) && is("uri", &self.uri);
        named
            && self.alias_name.as_ref().is_none_or(|alias| {
                let mut aliases = event["source_aliases"].as_array().into_iter().flatten();
                aliases.any(|one| one.as_str() == Some(alias))
            })
    }
}

/// All of them, oldest first.
pub(super) async fn events(api: &ApiClient, inlet: Inlet) -> Result<Value, Unanswered> {
    let mut path = "/api/v2/assets/events?order_by=timestamp".to_owned();
    if let Some(name) = &inlet.name {
        // Finds names that have it in them, and more where it has a wildcard in it: those are left out here.
        path.push_str("&name_pattern=");
        path.push_str(&part(name));
    }
    let mut found = entries(api, &path, "asset_events").await?;
    found.retain(|event| inlet.wants(event));
    Ok(json!({"type": "AssetEventsResult", "asset_events": found}))
}
