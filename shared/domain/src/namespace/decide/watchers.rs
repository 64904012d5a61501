//! Reports about watchers of assets.
use dagbok_events::{Fact, Payload, RefusedWhy, RunKey, Scope, Timestamp, TriggerFailed};
use dagbok_protocol::{AssetUpdate, Command, Report, ReportBody, limits::ASSET_EXTRA_BYTES};

use super::report::refused;
use crate::namespace::{Decision, Namespace, accepted, answering, unchanged};

impl Namespace {
    /// What a triggerer says of a watcher: an event brings its asset up to date, and it goes on.
    pub(super) fn watcher_report(
        &self,
        at: Timestamp,
        command: &Command,
        report: &Report,
    ) -> Decision {
        let key = &report.key;
        let run = RunKey { dag_id: key.dag_id.clone(), run_id: key.run_id.clone() };
        let Some((dag_id, watcher)) = self.watcher_named(key) else {
            return refused(at, command, run, report, RefusedWhy::NotInFlight);
        };
        let run = RunKey { dag_id: dag_id.clone(), ..run };
        match &report.body {
            ReportBody::TriggerFired { event, .. } => {
                let asset = watcher.asset.clone();
                self.update_asset(
                    at,
                    command,
                    &AssetUpdate { asset, extra: Some(extra(event)), partition_key: None },
                )
            }
            // Its triggerer begins it anew after a while.
            ReportBody::TriggerFailed { why, traceback, log } => {
                let failed = Fact::TriggerFailed(Box::new(TriggerFailed {
                    task_id: key.task_id.clone(),
                    map_index: key.map_index,
                    try_number: key.try_number,
                    leg: key.leg,
                    why: *why,
                    traceback: traceback.clone(),
                    executor: Some(report.executor.clone()),
                    log: log.clone(),
                    asset: Some(watcher.asset.clone()),
                }));
                accepted(vec![answering(command, at, Scope::Run(run), vec![failed])])
            }
            _ => unchanged(),
        }
    }
}

/// What Airflow says with an event that a trigger made. A payload that is too large for it is left out.
fn extra(event: &Payload) -> String {
    let whole = match event {
        Payload::Inline(text) => format!(r#"{{"from_trigger": true, "payload": {text}}}"#),
        Payload::Blob { size, .. } => left_out(*size),
    };
    if whole.len() <= ASSET_EXTRA_BYTES { whole } else { left_out(whole.len() as u64) }
}

fn left_out(bytes: u64) -> String {
    format!(r#"{{"from_trigger": true, "payload": null, "payload_bytes": {bytes}}}"#)
}
