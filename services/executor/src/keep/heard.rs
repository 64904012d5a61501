//! What a scheduler hears of a try's checkpoint and progress: for tests, at their own time.
use std::time::Duration;

use dagbok_events::{ExecutorId, Leg, MapIndex, RunId, TaskId, TryKey, TryNumber, decode_any};
use dagbok_protocol::{Command, CommandBody, ReportBody, names};
use dagbok_runlog::{Ports, QueueSettings, memory};
use dagbok_runtime::Clock;

use crate::reports::Reporter;

/// The other end of a reporter.
pub(super) struct Heard {
    pub(super) ports: Ports,
    pub(super) reporter: Reporter,
}

impl Heard {
    pub(super) async fn new() -> Self {
        let ports = memory::ports();
        let executor = ExecutorId::new("e").unwrap();
        let reporter = Reporter::open(&ports, executor, Clock::system()).await;
        Self { ports, reporter }
    }

    /// What was reported since the last look.
    pub(super) async fn reports(&self) -> Vec<ReportBody> {
        let settings = QueueSettings { lease: Duration::from_hours(1) };
        let inbox = self.ports.queues.open(names::INBOX, settings).await.unwrap();
        let mut reports = Vec::new();
        for delivery in inbox.pull(10_000, Duration::from_millis(1)).await.unwrap() {
            let command: Command = decode_any(&delivery.payload).unwrap();
            if let CommandBody::Report(report) = command.body {
                reports.push(report.body);
            }
            delivery.handle.ack().await.unwrap();
        }
        reports
    }
}

/// A try.
pub(super) fn key() -> TryKey {
    TryKey {
        dag_id: "d".parse().unwrap(),
        run_id: RunId::new("r").unwrap(),
        task_id: TaskId::new("t").unwrap(),
        map_index: MapIndex::UNMAPPED,
        try_number: TryNumber::FIRST,
        leg: Leg::FIRST,
    }
}
