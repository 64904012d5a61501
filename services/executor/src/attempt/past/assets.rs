//! What a task asks about the events of assets, its inlets mostly.
use dagbok_events::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{MOST, Unanswered, add, entries, entries_up_to};
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
        // No index stands for these: all of that time are looked through.
        let all = entries(api, &path, "asset_events").await?;
        let by_alias = |event: &Value| {
            let mut aliases = event["source_aliases"].as_array().into_iter().flatten();
            aliases.any(|it| it == alias)
        };
        all.into_iter().filter(by_alias).take(limit).collect()
    } else {
        let Some(id) = asset_id(api, asked).await? else { return Ok(answer(&[])) };
        add(&mut path, "asset_id", &id.to_string());
        entries_up_to(api, &path, "asset_events", limit).await?
    };
    Ok(answer(&found))
}

fn answer(events: &[Value]) -> Value {
    json!({"type": "AssetEventsResult", "asset_events": events})
}

/// The number of the asset that is meant.
async fn asset_id(api: &ApiClient, asked: &Events) -> Result<Option<u64>, Unanswered> {
    let wanted = [("name", &asked.name, "name_pattern"), ("uri", &asked.uri, "uri_pattern")];
    let mut path = "/api/v2/assets?order_by=id".to_owned();
    for (_, text, pattern) in wanted {
        // More may fit the pattern, which is none of those that it is.
        if let Some(text) = text {
            add(&mut path, pattern, text);
        }
    }
    let found = entries(api, &path, "assets").await?;
    let is_it = |asset: &&Value| {
        wanted.iter().all(|(field, text, _)| {
            text.as_ref().is_none_or(|text| asset[*field].as_str() == Some(text))
        })
    };
    Ok(found.iter().find(is_it).and_then(|asset| asset["id"].as_u64()))
}
