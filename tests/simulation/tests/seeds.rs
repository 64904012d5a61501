//! Thousands of seeds, and what they must have met with.
use std::collections::BTreeMap;

use dagbok_simulation::{run_seeds, simulate};

/// Seeds in a round of tests. The long round is a command: see the crate's binary.
const SEEDS: u64 = 2_000;

#[test]
fn every_run_ends_and_the_log_tells_no_lies() {
    if let Ok(seed) = std::env::var("DAGBOK_SIM_SEED") {
        let seed = seed.parse().expect("DAGBOK_SIM_SEED is a whole number");
        simulate(seed);
        return;
    }
    let seen = run_seeds(0, SEEDS).unwrap_or_else(|failed| panic!("{failed}"));
    let missing: Vec<_> = WORTH_SEEING.iter().filter(|what| !seen.contains_key(**what)).collect();
    assert!(missing.is_empty(), "never came about: {missing:?}");
}

#[test]
fn a_seed_gives_the_same_bytes_every_time() {
    for seed in 0..40 {
        let (once, again) = (simulate(seed), simulate(seed));
        assert!(once.log == again.log, "seed {seed}");
        assert_eq!(once.seen, again.seen, "seed {seed}");
    }
    let logs: BTreeMap<_, _> = (0..10).map(|seed| (simulate(seed).log, seed)).collect();
    assert_eq!(logs.len(), 10, "other seeds give other logs");
}

/// What a round must have met with, or it tested nothing.
const WORTH_SEEING: [&str; 139] = [
    "ScheduleForetold",
    "RunVersionChanged",
    "TaskNoted",
    "a run that goes on keeps its version",
    "a version adds copies",
    "a version adds tasks",
    "a version removes copies",
    "a version removes tasks",
    "newer code taken",
    "a backfill passed dates over",
    "a backfill runs backwards",
    "a backfill was cancelled",
    "a backfill was completed",
    "a run by a backfill",
    "a run that runs again by a backfill",
    "run revived for a backfill",
    "waited: BackfillMaxActiveRuns",
    "waited: BackfillPaused",
    "waited: ExecutorsFull",
    "waited: Lengths",
    "waited: MaxActiveRuns",
    "waited: NoExecutor",
    "waited: Pool",
    "waited: Retry",
    "waited: Upstream",
    "AssetUpdated",
    "QueuedAssetsDropped",
    "a run by assets",
    "an asset updated for a paused DAG",
    "DagRegistered",
    "BundlePublished",
    "DagImportFailed",
    "DagImportRecovered",
    "DagDisappeared",
    "DagPaused",
    "DagUnpaused",
    "RunExpected",
    "RunMissed",
    "RunCreated",
    "RunStarted",
    "RunSucceeded",
    "RunFailed",
    "RunTimedOut",
    "RunCancelled",
    "TaskQueued",
    "TaskRuledOut",
    "TryStarted",
    "TrySucceeded",
    "TryFailed",
    "TrySkipped",
    "TryLost",
    "TryCancelled",
    "TryReturned",
    "XComPushed",
    "ReportRefused",
    "PoolSet",
    "PoolDeleted",
    "LimitsSet",
    "ExecutorJoined",
    "ExecutorLeft",
    "ClockWentBack",
    "ForeignEntrySkipped",
    "DagForgotten",
    "DagVersionsForgotten",
    "HistoryForgotten",
    "a forgotten DAG is back",
    "answered DagInUse",
    "rubbish put on the log",
    "stopped by a foreign entry",
    "run pruned",
    "log trimmed",
    "archivist died BeforeTrim",
    "archivist died AfterTrim",
    "loaded from the archive on",
    "read from the archive",
    "clock jumped",
    "clock set",
    "refused NoSuchRun",
    "refused NoSuchTask",
    "refused NotInFlight",
    "refused HeldByAnother",
    "refused RunOver",
    "report seen before",
    "append refused",
    "scheduler died Before",
    "scheduler died InMid",
    "scheduler died After",
    "scheduler died Untold",
    "scheduler frozen",
    "executor crashed",
    "executor frozen",
    "executor left with tries",
    "zombie goes on",
    "killed by order",
    "told to end",
    "redelivered",
    "redelivery may begin",
    "handed back",
    "report not taken",
    "command sent twice",
    "asked again",
    "RunCleared",
    "RunDeleted",
    "TaskExpanded",
    "TaskCleared",
    "TryRescheduled",
    "a deleted run's date taken again",
    "a deleted run's id taken again",
    "a leg handed back",
    "a second leg",
    "a third leg",
    "answered LogicalDateTaken",
    "answered RunActive",
    "answered RunAlreadyExists",
    "answered RunNotFound",
    "answered RunOver",
    "answered TaskNotFound",
    "asked what would be cleared",
    "cleared after the end",
    "cleared all",
    "cleared copies",
    "cleared some tasks",
    "cleared what failed",
    "cleared while running",
    "decided later, for a run that is over",
    "expanded by clearing",
    "failed after legs",
    "may have begun elsewhere",
    "refused InFlight",
    "refused a late start of an earlier leg",
    "refused an earlier leg",
    "refused an unknown copy",
    "refused of a deleted run",
    "decided against tasks",
    "rescheduled for later",
    "rescheduled for now",
    "revived while loading",
    "run revived",
    "succeeded after legs",
];
