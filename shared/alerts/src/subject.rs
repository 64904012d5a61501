//! Which alert a fact is about, and where its record stands on the log.
use crate::{AlertFact, AlertRecord};

impl AlertFact {
    /// The number of the alert that it is about.
    pub(crate) fn alert_id(&self) -> Option<u64> {
        match self {
            Self::AlertOpened(it) => Some(it.id),
            Self::AlertRecurred(it) => Some(it.id),
            Self::AlertAcknowledged(it) => Some(it.id),
            Self::AlertEscalated(it) => Some(it.id),
            Self::AlertResolved(it) => Some(it.id),
            Self::NotificationAttempted(it) => Some(it.id),
            Self::NotificationWithheld(it) => Some(it.id),
            Self::NotificationAccepted(it) => Some(it.id),
            Self::NotificationFailed(it) => Some(it.id),
            Self::NotificationRejected(it) => Some(it.id),
            Self::AlertSuppressed(it) => Some(it.id),
            Self::AlertReleased(it) => Some(it.id),
            Self::SignOfLife(_)
            | Self::SignOfLifeFailed(_)
            | Self::SignOfLifeAccepted(_)
            | Self::HeartbeatReceived(_)
            | Self::HeartbeatForgotten(_)
            | Self::AlertingBegan(_)
            | Self::ConfigurationTaken(_)
            | Self::ConfigurationRefused(_)
            | Self::AlertSilenced(_)
            | Self::AlertUnsilenced(_)
            | Self::ClockWentBack(_)
            | Self::CalendarTaken(_)
            | Self::CalendarRefused(_)
            | Self::DiskObserved(_)
            | Self::ProjectionObserved(_)
            | Self::StoreObserved(_)
            | Self::BlobsObserved(_) => None,
        }
    }
}

/// The subject of a record on the alert log, without the namespace.
pub fn subject_of(record: &AlertRecord) -> String {
    match record.facts.first() {
        Some(AlertFact::AlertSilenced(it)) => format!("alerts.silence.{}", it.silence),
        Some(AlertFact::AlertUnsilenced(it)) => format!("alerts.silence.{}", it.silence),
        first => match first.and_then(AlertFact::alert_id) {
            Some(id) => format!("alerts.alert.{id}"),
            None => "alerts.namespace".to_owned(),
        },
    }
}
