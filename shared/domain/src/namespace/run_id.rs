//! Airflow's way of naming runs: the type, two underscores, and the date in ISO 8601 with its offset.
use dagbok_events::{RunId, RunType, Timestamp};

const TYPES: [RunType; 4] =
    [RunType::Manual, RunType::Scheduled, RunType::Backfill, RunType::AssetTriggered];

const fn prefix(run_type: RunType) -> &'static str {
    match run_type {
        RunType::Manual => "manual",
        RunType::Scheduled => "scheduled",
        RunType::Backfill => "backfill",
        RunType::AssetTriggered => "asset_triggered",
    }
}

/// The id of a run that nobody named.
pub(super) fn run_id_for(run_type: RunType, date: Timestamp) -> RunId {
    let (kind, text) = (prefix(run_type), date.to_string());
    let text = text.strip_suffix('Z').unwrap_or(&text);
    RunId::new(format!("{kind}__{text}+00:00")).expect("a date in ASCII is within the rules")
}

/// The id of a run by assets, as the era of its file has it.
pub(super) fn run_id_by_assets(era: u8, date: Timestamp) -> RunId {
    let by_assets = run_id_for(RunType::AssetTriggered, date);
    if era >= 3 {
        return by_assets;
    }
    let older = by_assets.as_str().replacen("asset_", "dataset_", 1);
    RunId::new(older).expect("as long as the other, but for two letters")
}

/// The type and date that a run is named by, where it is named so.
pub(super) fn dated(run_id: &RunId) -> Option<(RunType, Timestamp)> {
    let (kind, date) = run_id.as_str().split_once("__")?;
    let run_type = TYPES.into_iter().find(|it| prefix(*it) == kind)?;
    let date: jiff::Timestamp = format!("{}Z", date.strip_suffix("+00:00")?).parse().ok()?;
    let date = Timestamp::from(date);
    // Only what comes out the same again may be told by its date.
    (run_id_for(run_type, date) == *run_id).then_some((run_type, date))
}
