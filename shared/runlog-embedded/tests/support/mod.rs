//! A writer in a process of its own, for tests that kill it or take its disk away.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use dagbok_runlog::{Draft, ReadLimit, RunLog, Seq, conformance::seeded::Seeded};
use dagbok_runlog_embedded::{Durability, Options, open};
use futures::{StreamExt as _, stream::FuturesOrdered};

const HOME: &str = "DAGBOK_TEST_WRITER_HOME";
const DURABILITY: &str = "DAGBOK_TEST_WRITER_DURABILITY";

/// Small segments, so that a crash also meets the seam between two.
pub(crate) fn options(durability: Durability) -> Options {
    Options { durability, segment_bytes: 64 << 10 }
}

/// What the entry `n` is, in every process.
fn draft(n: u64) -> Draft {
    let mut chance = Seeded::new(n);
    let length = chance.size(600);
    Draft { subject: format!("log.entry.{n}"), payload: Bytes::from(chance.bytes(length)) }
}

/// All entries are there, up to the last and with no gap, and are what was written.
pub(crate) async fn assert_whole(log: &dyn RunLog) {
    let last = log.last().await.unwrap();
    let mut seen = Seq::ZERO;
    while seen < last {
        for entry in log.read(seen, ReadLimit::default()).await.unwrap() {
            let Draft { subject, payload } = draft(entry.seq.0);
            assert_eq!(entry.seq, seen.plus(1));
            assert_eq!((entry.subject, entry.payload), (subject, payload));
            seen = entry.seq;
        }
    }
}

/// In the writer's process: appends until it is killed or refused, and says what is acknowledged.
/// In any other it returns at once.
pub(crate) fn write_if_asked() {
    let Ok(home) = std::env::var(HOME) else { return };
    let is_durable = std::env::var(DURABILITY).unwrap() == "fsync";
    let durability = if is_durable { Durability::Fsync } else { Durability::None };
    tokio::runtime::Runtime::new().unwrap().block_on(write(Path::new(&home), durability));
}

async fn write(home: &Path, durability: Durability) {
    let (ports, report) = open(home, options(durability)).unwrap();
    let mut out = std::io::stdout();
    // The test harness has left a line unfinished.
    writeln!(out).unwrap();
    let mut chance = Seeded::new(report.last.0);
    let mut last = report.last;
    let mut answers = FuturesOrdered::new();
    loop {
        while answers.len() < 8 {
            let count = 1 + chance.below(20);
            let drafts = (1..=count).map(|n| draft(last.0 + n)).collect();
            answers.push_back(ports.log.append(last, drafts));
            last = last.plus(count);
        }
        let Some(Ok(acknowledged)) = answers.next().await else { return };
        writeln!(out, "acknowledged {acknowledged}").unwrap();
        out.flush().unwrap();
    }
}

/// A writer's process.
pub(crate) struct Writer {
    child: Child,
    acknowledged: mpsc::Receiver<u64>,
    last: u64,
}

impl Writer {
    /// Starts the test `test`, which calls [`write_if_asked`], as a process of its own.
    pub(crate) fn start(test: &str, home: &Path, durability: Durability) -> Self {
        let durability = if durability == Durability::Fsync { "fsync" } else { "none" };
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture", "--include-ignored"])
            .envs([(HOME, home.to_str().unwrap()), (DURABILITY, durability)])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, acknowledged) = mpsc::channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if let Some(seq) = line.strip_prefix("acknowledged ") {
                    // A line that the kill cut short may lack digits, and then says too little.
                    let _ = sender.send(seq.parse().unwrap_or(0));
                }
            }
        });
        Self { child, acknowledged, last: 0 }
    }

    /// Lets it write for a while after its first acknowledgement.
    pub(crate) fn let_write(&mut self, span: Duration) {
        let first = self.acknowledged.recv_timeout(Duration::from_secs(20));
        self.last = first.expect("the writer acknowledges something");
        let end = Instant::now() + span;
        while let Ok(seq) =
            self.acknowledged.recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            self.last = self.last.max(seq);
        }
    }

    /// The last entry that it has acknowledged by now.
    pub(crate) fn acknowledged(&mut self) -> u64 {
        self.last = self.acknowledged.try_iter().fold(self.last, u64::max);
        self.last
    }

    /// Kills it; returns the last entry that it had acknowledged.
    pub(crate) fn kill(mut self) -> u64 {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        // Until the pipe ends: all that it said counts.
        let last = self.acknowledged();
        self.acknowledged.iter().fold(last, u64::max)
    }
}
