//! The figures of alerting: a fold of its own log.
use std::collections::BTreeMap;

use dagbok_alerts::{AlertFact, AlertRecord};
use dagbok_events::Timestamp;

use crate::{INSTRUMENTS, Kind, Source, Tallies, text::Page};

/// An alert that is not over.
#[derive(Clone, Debug, PartialEq)]
struct Open {
    severity: String,
    at: Timestamp,
    /// Whether somebody has been told.
    is_told: bool,
    is_acknowledged: bool,
}

/// All figures that the log of alerts tells of.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AlertLedger {
    open: BTreeMap<u64, Open>,
    tallies: Tallies,
}

impl AlertLedger {
    /// Takes a record in. History is never refused.
    pub fn take(&mut self, record: &AlertRecord) {
        for fact in &record.facts {
            self.fact(record.at, fact);
        }
    }

    fn fact(&mut self, at: Timestamp, fact: &AlertFact) {
        match fact {
            AlertFact::AlertOpened(f) => {
                let severity = f.labels.get("severity").cloned().unwrap_or_default();
                self.tallies.count("dagbok_alerts_opened_total", &[f.rule.word(), &severity], 1);
                let open = Open { severity, at, is_told: false, is_acknowledged: false };
                self.open.insert(f.id, open);
            }
            AlertFact::AlertAcknowledged(f) => {
                if let Some(open) = self.open.get_mut(&f.id) {
                    let was = std::mem::replace(&mut open.is_acknowledged, true);
                    let took = (!was).then(|| at.since(open.at));
                    self.tallies.time("dagbok_alert_acknowledge_seconds", &[], took, None);
                }
            }
            AlertFact::AlertResolved(f) => {
                let took = self.open.remove(&f.id).map(|open| at.since(open.at));
                self.tallies.time("dagbok_alert_open_seconds", &[], took, None);
            }
            AlertFact::AlertEscalated(_) => {
                self.tallies.count("dagbok_alert_escalations_total", &[], 1);
            }
            AlertFact::NotificationAttempted(f) => {
                self.tallies.count("dagbok_notifications_attempted_total", &[&f.receiver], 1);
            }
            AlertFact::NotificationAccepted(f) => {
                self.tallies.count("dagbok_notification_ends_total", &["accepted"], 1);
                if let Some(open) = self.open.get_mut(&f.id) {
                    let was = std::mem::replace(&mut open.is_told, true);
                    let took = (!was).then(|| at.since(open.at));
                    self.tallies.time("dagbok_page_latency_seconds", &[], took, None);
                }
            }
            AlertFact::NotificationFailed(_) => {
                self.tallies.count("dagbok_notification_ends_total", &["failed"], 1);
            }
            AlertFact::NotificationRejected(_) => {
                self.tallies.count("dagbok_notification_ends_total", &["rejected"], 1);
            }
            _ => {}
        }
    }

    /// All of them, in Prometheus' text format.
    pub fn text(&self) -> String {
        let mut page = Page::default();
        for instrument in INSTRUMENTS.iter().filter(|it| it.source == Source::AlertFold) {
            let gauge = match (instrument.kind, instrument.name) {
                (Kind::Gauge, "dagbok_alerts_open") => self.open_by_severity(),
                _ => Vec::new(),
            };
            self.tallies.write(&mut page, instrument, gauge);
        }
        page.text()
    }

    fn open_by_severity(&self) -> Vec<(String, String)> {
        let mut counts = BTreeMap::from([("critical", 0), ("warning", 0), ("info", 0)]);
        for open in self.open.values() {
            *counts.entry(open.severity.as_str()).or_default() += 1;
        }
        counts
            .into_iter()
            .map(|(word, count)| (format!("severity=\"{word}\""), count.to_string()))
            .collect()
    }
}
