//! What a task asks about the events of assets, its inlets mostly.
use std::collections::BTreeSet;

use dagbok_events::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{MOST, Unanswered, add, entries, entries_up_to, typed};
use crate::attempt::ask::ApiClient;

/// Which events.
#[derive(Debug, Deserialize)]
pub(super) struct Events {
    /// Of the asset with this name, or this uri.
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    uri: Option<String>,
    /// Of assets that this alias stood for.
    #[serde(default)]
    alias_name: Option<String>,
    /// From this time on, and until that.
    #[serde(default)]
    after: Option<Timestamp>,
    #[serde(default)]
    before: Option<Timestamp>,
    /// At most so many.
    #[serde(default)]
    limit: Option<usize>,
    /// Whether the oldest come first.
    #[serde(default = "yes")]
    ascending: bool,
}

const fn yes() -> bool {
    true
}

/// Events as the API lists them; none of an asset that nobody knows.
pub(super) async fn events(api: &ApiClient, asked: &Events) -> Result<Value, Unanswered> {
    let order = if asked.ascending { "timestamp" } else { "-timestamp" };
    let mut path = format!("/api/v2/assets/events?order_by={order}");
    for (name, at) in [("timestamp_gte", asked.after), ("timestamp_lte", asked.before)] {
        if let Some(at) = at {
            add(&mut path, name, &at.to_string());
        }
    }
    let limit = asked.limit.unwrap_or(MOST + 1);
    let found = if let Some(alias) = &asked.alias_name {
        by_alias(api, &path, alias).await?.take(limit).collect()
    } else {
        let Some(asset) = asset(api, asked).await? else { return Ok(answer(&[])) };
        add(&mut path, "asset_id", &asset["id"].to_string());
        entries_up_to(api, &path, "asset_events", limit).await?
    };
    Ok(answer(&found))
}

fn answer(events: &[Value]) -> Value {
    json!({"type": "AssetEventsResult", "asset_events": events})
}

/// Those events of a list that an alias brought about. No index stands for these: all are looked through.
async fn by_alias(
    api: &ApiClient,
    path: &str,
    alias: &str,
) -> Result<impl Iterator<Item = Value>, Unanswered> {
    let all = entries(api, path, "asset_events").await?;
    let is_its = move |event: &Value| {
        let mut aliases = event["source_aliases"].as_array().into_iter().flatten();
        aliases.any(|it| it == alias)
    };
    Ok(all.into_iter().filter(is_its))
}

/// The asset of a name or a uri.
pub(super) async fn one(api: &ApiClient, asked: &Events) -> Result<Value, Unanswered> {
    let Some(found) = asset(api, asked).await? else {
        let said = asked.name.as_ref().or(asked.uri.as_ref());
        let said = said.map(String::as_str).unwrap_or_default();
        return Err((
            404,
            format!("no DAG names an asset `{said}`; the page Assets lists those there are"),
        ));
    };
    Ok(typed("AssetResult", shown(&found)))
}

/// The assets that an alias stood for, in the order in which they first did.
pub(super) async fn of_alias(api: &ApiClient, asked: &Events) -> Result<Value, Unanswered> {
    let path = "/api/v2/assets/events?order_by=timestamp";
    let alias = asked.alias_name.as_deref().unwrap_or_default();
    let mut seen = BTreeSet::new();
    let mut assets = Vec::new();
    for event in by_alias(api, path, alias).await? {
        if seen.insert(event["asset_id"].to_string()) {
            assets.push(typed("AssetResult", shown(&event)));
        }
    }
    Ok(json!({"type": "AssetsByAliasResult", "assets": assets}))
}

/// An asset as tasks see one, of the API's own form of it or of an event.
fn shown(found: &Value) -> Value {
    let group = found["group"].as_str().unwrap_or("asset");
    // An event's `extra` is its own, and not the asset's.
    let extra = if found["asset_id"].is_null() { found["extra"].clone() } else { Value::Null };
    json!({"name": found["name"], "uri": found["uri"], "group": group, "extra": extra})
}

/// The asset that is meant, as the API has it.
async fn asset(api: &ApiClient, asked: &Events) -> Result<Option<Value>, Unanswered> {
    let wanted = [("name", &asked.name, "name_pattern"), ("uri", &asked.uri, "uri_pattern")];
    let mut path = "/api/v2/assets?order_by=id".to_owned();
    for (_, text, pattern) in wanted {
        // More may fit the pattern, which is none of those that it is.
        if let Some(text) = text {
            add(&mut path, pattern, text);
        }
    }
    let found = entries(api, &path, "assets").await?;
    let is_it = |asset: &Value| {
        wanted.iter().all(|(field, text, _)| {
            text.as_ref().is_none_or(|text| asset[*field].as_str() == Some(text))
        })
    };
    Ok(found.into_iter().find(is_it))
}
