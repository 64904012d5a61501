//! No try at all: the reports of one that started and succeeded at once. It measures what the scheduler
//! and the broker can carry, and does no work: see [`crate::Runner::Null`].
use dagbok_events::Usage;
use dagbok_protocol::{ReportBody, WorkItem};

use super::settle::End;
use crate::shared::Shared;

/// Reports the start, and what is to be reported as the end.
pub(crate) async fn run(shared: &Shared, item: &WorkItem) -> End {
    let hostname = shared.settings.hostname.clone();
    let started = ReportBody::Started {
        hostname,
        pid: 0,
        inputs: std::collections::BTreeMap::new(),
        again: false,
    };
    if let Err(error) = shared.reporter.report(&item.key, started).send().await {
        tracing::error!(key = %item.key, %error, "the start of a try can't be reported");
    }
    End::report(ReportBody::Succeeded {
        xcoms: vec![],
        usage: Usage::default(),
        log: None,
        skips: vec![],
        outlets: vec![],
    })
}
