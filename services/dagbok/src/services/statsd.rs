//! Sends by StatsD what the fold of the log hears of, and its gauges in turns; only while this process' scheduler leads.
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use dagbok_config::{Config, StatsdTags};
use dagbok_metrics::{Ledger, Note, airflow};
use dagbok_projection::Progress;
use dagbok_runtime::Shutdown;
use dagbok_telemetry::{Sample, Statsd, StatsdSettings, TagForm, metrics};

use crate::{codes::Code, failure::Failure};

/// The socket, as it is shared by who hears and who counts.
pub(crate) type Socket = Arc<Mutex<Statsd>>;

/// The socket that the configuration names; what is wrong with it is said before anything runs.
pub(crate) fn statsd(config: &Config) -> Result<Option<Socket>, Failure> {
    let of = &config.telemetry;
    let Some(address) = &of.statsd else { return Ok(None) };
    let settings = StatsdSettings {
        address: address.clone(),
        prefix: of.statsd_prefix.clone(),
        tags: match of.statsd_tags {
            StatsdTags::Off => TagForm::Off,
            StatsdTags::Datadog => TagForm::Datadog,
            StatsdTags::Influx => TagForm::Influx,
        },
        legacy_names: of.statsd_legacy_names,
        allow: of.statsd_allow.clone(),
        block: of.statsd_block.clone(),
        disabled_tags: of.statsd_disabled_tags.clone(),
    };
    let socket =
        Statsd::new(settings).map_err(|error| Failure::from_error(Code::Config, &error))?;
    Ok(Some(Arc::new(Mutex::new(socket))))
}

/// Sends what a note adds.
pub(crate) fn tell(socket: &mut Statsd, note: &Note<'_>) {
    for sample in airflow::of_note(note) {
        socket.send(&sample);
    }
}

/// Sends gauges until the end.
pub(crate) fn send_gauges(
    socket: Socket,
    (ledger, progress): (Arc<RwLock<Ledger>>, Progress),
    config: &Config,
    shutdown: &Shutdown,
) {
    let (every, stop) = (config.telemetry.statsd_every.0, shutdown.clone());
    shutdown.spawn(async move {
        // Tasks that were counted the last time: those that are gone stand at none.
        let mut shown = BTreeSet::new();
        // What was before the fold stopped is not sent as what is.
        while !stop.is_started() && progress.now().failed.is_none() {
            let (socket, ledger, before) =
                (Arc::clone(&socket), Arc::clone(&ledger), shown.clone());
            let sent = tokio::task::spawn_blocking(move || send_once(&socket, &ledger, &before));
            shown = sent.await.unwrap_or_default();
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = stop.started() => {}
            }
        }
    });
}

type Shown = BTreeSet<(&'static str, Vec<(&'static str, String)>)>;

fn send_once(socket: &Mutex<Statsd>, ledger: &RwLock<Ledger>, before: &Shown) -> Shown {
    let Some(waiting) = metrics().waiting() else { return Shown::new() };
    let mut samples = {
        let ledger = ledger.read().unwrap_or_else(PoisonError::into_inner);
        airflow::gauges(ledger.state(), &waiting)
    };
    let tasks = samples.iter().filter(|sample| sample.name.starts_with("ti."));
    let shown: Shown = tasks.map(|sample| (sample.name, sample.tags.clone())).collect();
    let what = airflow::What::Gauge;
    let gone = before.difference(&shown).cloned();
    samples.extend(gone.map(|(name, tags)| Sample { name, what, value: 0.0, tags }));
    let what = airflow::What::Counter;
    samples.push(Sample { name: "scheduler_heartbeat", what, value: 1.0, tags: vec![] });
    let mut socket = socket.lock().unwrap_or_else(PoisonError::into_inner);
    for sample in &samples {
        socket.send(sample);
    }
    socket.flush();
    shown
}
