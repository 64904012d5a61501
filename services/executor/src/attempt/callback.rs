//! The failure callback of a try whose own process is gone before it could call it: killed, out of memory, out of
//! time, ended by its own code. It runs in another process of the same code, within a time, and what it writes is in
//! the try's log.
use std::{sync::Arc, time::Duration};

use dagbok_events::Failure;
use dagbok_protocol::ReportBody;
use tokio::sync::mpsc;

use super::{
    exit::{Patience, ProcessWatch},
    run::Running,
    startup::{self, Callback, With},
};
use crate::{
    bundle::BundleFolder,
    phase::{Phase, PhaseTeller},
    place::{Bounds, Start, Started},
};

/// How long a callback may take.
const TIMEOUT: Duration = Duration::from_mins(1);

impl Running<'_> {
    /// Has the failure callback run, or that of a try that is followed by another; nothing where the task has none.
    pub(super) async fn call_back(
        &self,
        folder: &BundleFolder,
        failure: &Failure,
        bounds: &Bounds,
    ) {
        let Self { shared, item, .. } = self;
        let conf = startup::conf(item, &shared.store).await.ok().flatten();
        let callback = Callback {
            message: failure.message.clone(),
            retries: item.will_retry && failure.retryable,
        };
        let with = With { conf: conf.as_deref(), resume: None, callback: Some(&callback) };
        let frame = self.startup(with, folder);
        let start = Start { item, folder, log: &self.log, startup: Some(&frame), bounds };
        let started = match self.place.start(start).await {
            Ok(started) => started,
            Err(error) => {
                let why = format!("it can't be run: {error:?}");
                self.log.system("error", format!("the failure callback: {why}"));
                self.tell_callback("on_failure_callback", &why).await;
                return;
            }
        };
        let Started { process, stream, startup, pump, exited, .. } = started;
        let phase = PhaseTeller::new(Phase::Running);
        // Nobody says anything to it; its time is short.
        let (_words, words) = mpsc::unbounded_channel();
        let settings = &shared.settings;
        let watch = ProcessWatch {
            process: Arc::clone(&process),
            exited,
            words,
            log: Arc::clone(&self.log),
            phase: phase.clone(),
            patience: Patience {
                timeout: Some(TIMEOUT),
                grace: settings.kill_grace,
                overtime: settings.overtime,
            },
        };
        let server = self.server(stream, startup, &phase, None);
        let store = shared.store.clone();
        let (exit, said, _) =
            tokio::join!(watch.run(), server.serve(), pump.run(phase.reader(), store));
        let why = if exit.timed_out {
            format!("it took longer than {} s and was ended", TIMEOUT.as_secs())
        } else if said.ending.is_none() {
            "its process ended before its end".to_owned()
        } else {
            return;
        };
        self.log.system("error", format!("the failure callback: {why}"));
        let argument = if callback.retries { "on_retry_callback" } else { "on_failure_callback" };
        self.tell_callback(said.calling.as_deref().unwrap_or(argument), &why).await;
    }

    /// Reports that a callback of the task failed, before the try's end is reported.
    pub(super) async fn tell_callback(&self, callback: &str, message: &str) {
        let body = ReportBody::CallbackFailed {
            callback: callback.to_owned(),
            message: message.to_owned(),
        };
        if let Err(error) = self.shared.reporter.report(&self.item.key, body).send().await {
            tracing::error!(key = %self.item.key, %error, "a callback's failure can't be reported");
        }
    }
}
