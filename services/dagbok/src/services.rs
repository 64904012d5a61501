//! Runs services: their settings from the configuration, their order of ending, their figures.
mod crew;
mod export;
mod figures;
mod http;
mod lineage;
mod numbers;
mod past;
mod pods;
mod refold;
mod series;
mod settings;
mod statsd;
mod traces;

pub(crate) use crew::{Crew, Stage};
pub(crate) use figures::{follow_executor, follow_log, follow_model};
pub(crate) use http::{bind, serve, with_health};
pub(crate) use lineage::{export_lineage, lineage};
pub(crate) use numbers::{Numbers, with_metrics};
pub(crate) use pods::pods;
pub(crate) use refold::{Folded, Points, with_refolds};
pub(crate) use series::push_series;
pub(crate) use settings::{
    alerting, alerting_file, archiving, connections, executor, hear_of_pods, key_file,
    own_key_file, processor, processors, queues, retention, scheduler, triggerer,
};
pub(crate) use statsd::{Socket, statsd};
pub(crate) use traces::{export_pages, export_runs};

use dagbok_config::{Config, LogFormat};
use dagbok_telemetry::{LogSettings, Telemetry};

use crate::{codes::Code, failure::Failure};

/// Sets up the log lines and figures of a service.
pub(crate) fn telemetry(service: &'static str, config: &Config) -> Result<Telemetry, Failure> {
    let format = match config.log.format {
        LogFormat::Auto => dagbok_telemetry::LogFormat::Auto,
        LogFormat::Text => dagbok_telemetry::LogFormat::Text,
        LogFormat::Json => dagbok_telemetry::LogFormat::Json,
    };
    let settings = LogSettings { filter: config.log.filter.clone(), format };
    dagbok_telemetry::init(service, &settings)
        .map_err(|error| Failure::from_error(Code::Config, &error))
}

/// Who answers the API's questions about the past.
pub(crate) fn past(
    ports: &dagbok_runlog::Ports,
    clock: &dagbok_runtime::Clock,
) -> std::sync::Arc<dyn dagbok_api::Past> {
    let past = dagbok_scheduler::Past::new(ports.clone(), clock.clone());
    std::sync::Arc::new(past::FoldedLog(past))
}
