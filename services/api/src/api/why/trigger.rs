//! What is said of a task that waits for a trigger.
use dagbok_events::Timestamp;

use super::text::new;
use crate::shapes::WhyReason;

pub(super) fn reason(class_path: &str, until: Option<Timestamp>) -> WhyReason {
    let by = until.map(|it| format!(", until {it} at the latest")).unwrap_or_default();
    let message = format!("it waits for the trigger {class_path} to fire{by}");
    WhyReason { until: until.map(Into::into), ..new("trigger", message) }
}
