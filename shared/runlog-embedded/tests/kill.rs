//! kill -9 at any moment: what was acknowledged is there, and the log goes on.
mod support;

use std::time::Duration;

use dagbok_runlog::{Seq, conformance::seeded::Seeded};
use dagbok_runlog_embedded::{Durability, open};
use support::{Writer, assert_whole, options, write_if_asked};

/// Not a test of its own: the process that is killed.
#[test]
fn writer() {
    write_if_asked();
}

/// `DAGBOK_CRASH_ROUNDS` makes the round longer.
#[tokio::test]
async fn what_was_acknowledged_survives_kill_nine_at_any_moment() {
    let rounds = std::env::var("DAGBOK_CRASH_ROUNDS").map_or(5, |rounds| rounds.parse().unwrap());
    for durability in [Durability::Fsync, Durability::None] {
        let home = tempfile::tempdir().unwrap();
        let mut chance = Seeded::new(rounds);
        let mut torn = 0;
        let mut before = Seq::ZERO;
        for round in 0..rounds {
            let mut writer = Writer::start("writer", home.path(), durability);
            writer.let_write(Duration::from_micros(chance.below(60_000)));
            let acknowledged = writer.kill();
            let (ports, report) = open(home.path(), options(durability)).unwrap();
            assert!(
                report.last >= Seq(acknowledged),
                "round {round}: {acknowledged}, but {report}"
            );
            assert!(report.last > before, "round {round}: the log goes on");
            assert_whole(&*ports.log).await;
            torn += usize::from(report.torn.is_some());
            before = report.last;
        }
        eprintln!("{rounds} kills, {before} entries, {torn} torn tails");
    }
}
