//! Old records go into the archive, are let go by the log only then, and are read as before.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
mod common;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use common::{Player, World, runs_ended, spec};
use dagbok_archive::{Archive, Whole};
use dagbok_events::{Micros, Timestamp};
use dagbok_protocol::Answer;
use dagbok_runlog::{Base, Entry, PortResult, ReadLimit, RunLog, Seq, Snapshots, chain_at, memory};
use dagbok_scheduler::{Archiving, SchedulerSettings, archive_old, check_log, load};

const LEASE: Duration = Duration::from_secs(30);

/// A namespace with some finished runs, stopped: its snapshot is at its end.
async fn world() -> World {
    let world = World::new(memory::ports()).await;
    let (shutdown, scheduler) = world.scheduler(world.ports.clone(), SchedulerSettings::default());
    world.register(spec(&[&[], &[0]], 0)).await;
    tokio::spawn(Player::new(&world, "e1", LEASE).await.play());
    for n in 1..=12 {
        world.trigger(&format!("r{n}")).await;
        world.until("the run's end", |facts| runs_ended(facts) == n).await;
    }
    shutdown.start();
    scheduler.await.unwrap().unwrap();
    world
}

fn later(world: &World, by: Duration) -> Timestamp {
    world.clock.now().plus(Micros::from_secs(i64::try_from(by.as_secs()).unwrap()))
}

async fn rest(log: &dyn RunLog) -> Vec<Entry> {
    let first = log.base().await.unwrap().first;
    let mut all: Vec<Entry> = Vec::new();
    loop {
        let seen = all.last().map_or(Seq(first.0 - 1), |entry| entry.seq);
        let more = log.read(seen, ReadLimit::default()).await.unwrap();
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_old_goes_and_is_read_as_before() {
    let (mut world, dir) = (world().await, tempfile::tempdir().unwrap());
    let log = Arc::clone(&world.ports.log);
    let before = rest(&*log).await;
    let end = chain_at(&*log, before.last().unwrap().seq).await.unwrap();
    let archive = Archive::new(dir.path());
    world.ports.log = Arc::new(Whole::new(Arc::clone(&log), archive.clone()));
    let batch = ReadLimit { entries: 16, ..ReadLimit::default() };
    let keep = Duration::from_hours(24);
    let archiving = Archiving { batch, ..Archiving::new(archive.clone(), keep) };

    let young =
        archive_old(&world.ports, &archiving, later(&world, Duration::from_hours(23))).await;
    assert_eq!(young.unwrap(), 0, "nothing is old enough");
    let now = later(&world, Duration::from_hours(25));
    let count = archive_old(&world.ports, &archiving, now).await.unwrap();
    assert!(count > 60 && count.is_multiple_of(16), "{count}");
    assert_eq!(log.base().await.unwrap().first, Seq(count + 1));
    assert_eq!(archive.verify().unwrap().unwrap().last, Seq(count));
    assert_eq!(archive_old(&world.ports, &archiving, now).await.unwrap(), 0, "once is enough");

    assert_eq!(world.ports.log.base().await.unwrap(), Base::START);
    assert_eq!(rest(&*world.ports.log).await, before);
    let last = before.last().unwrap().seq;
    assert_eq!(chain_at(&*world.ports.log, last).await.unwrap(), end);

    // From the snapshot nothing of the archive is needed; without it, all of it is folded.
    let from_snapshot = load(&world.ports, false).await.unwrap().namespace.to_snapshot();
    world.ports.snapshots.put("scheduler", "garbled".into()).await.unwrap();
    assert_eq!(load(&world.ports, false).await.unwrap().namespace.to_snapshot(), from_snapshot);

    // A run whose records are in the archive is known, and can be taken up again.
    let (_shutdown, _scheduler) =
        world.scheduler(world.ports.clone(), SchedulerSettings::default());
    assert!(matches!(world.trigger("r1").await, Answer::Refused(_)));
}

/// A crash between the archive and the log: the archive has what the log still has.
#[tokio::test(start_paused = true)]
async fn a_crash_before_the_trim_is_made_good() {
    let (mut world, dir) = (world().await, tempfile::tempdir().unwrap());
    let log = Arc::clone(&world.ports.log);
    let before = rest(&*log).await;
    let archive = Archive::new(dir.path());
    let mark = log.mark().await.unwrap().unwrap();
    archive.add(mark, dagbok_runlog::Chain::START, &before[..40]).unwrap();
    world.ports.log = Arc::new(Whole::new(Arc::clone(&log), archive.clone()));
    let archiving = Archiving::new(archive, Duration::from_hours(24));
    let count = archive_old(&world.ports, &archiving, later(&world, Duration::ZERO)).await;
    assert_eq!(count.unwrap(), 0);
    assert_eq!(log.base().await.unwrap().first, Seq(41), "what the archive has went");
    assert_eq!(rest(&*world.ports.log).await, before);
}

/// An archive of another log takes nothing and removes nothing.
#[tokio::test(start_paused = true)]
async fn an_archive_of_another_log_is_refused() {
    let (mut world, dir) = (world().await, tempfile::tempdir().unwrap());
    let log = Arc::clone(&world.ports.log);
    let before = rest(&*log).await;
    let archive = Archive::new(dir.path());
    let other = dagbok_runlog::LogMark(dagbok_runlog::Chain([7; 32]));
    archive.add(other, dagbok_runlog::Chain::START, &before[..7]).unwrap();
    world.ports.log = Arc::new(Whole::new(Arc::clone(&log), archive.clone()));
    let batch = ReadLimit { entries: 16, ..ReadLimit::default() };
    let archiving = Archiving { batch, ..Archiving::new(archive, Duration::from_hours(24)) };
    let now = later(&world, Duration::from_hours(25));
    let refused = archive_old(&world.ports, &archiving, now).await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(rest(&*log).await, before, "nothing went");
}

/// Snapshots that tell which of them were asked for.
#[derive(Debug)]
struct Watched {
    inner: Arc<dyn Snapshots>,
    asked: Mutex<Vec<String>>,
}

#[async_trait]
impl Snapshots for Watched {
    async fn put(&self, name: &str, bytes: Bytes) -> PortResult<()> {
        self.inner.put(name, bytes).await
    }

    async fn get(&self, name: &str) -> PortResult<Option<Bytes>> {
        self.asked.lock().unwrap().push(name.to_owned());
        self.inner.get(name).await
    }
}

/// A snapshot may be of hundreds of megabytes, and where it stands is asked for every ten minutes.
#[tokio::test(start_paused = true)]
async fn where_the_snapshot_stands_is_known_without_reading_it() {
    let (mut world, dir) = (world().await, tempfile::tempdir().unwrap());
    let inner = Arc::clone(&world.ports.snapshots);
    let watched = Arc::new(Watched { inner, asked: Mutex::default() });
    world.ports.snapshots = Arc::clone(&watched) as Arc<dyn Snapshots>;
    let asked = || std::mem::take(&mut *watched.asked.lock().unwrap());
    let batch = ReadLimit { entries: 16, ..ReadLimit::default() };
    let archiving = Archiving { batch, ..Archiving::new(Archive::new(dir.path()), Duration::ZERO) };
    let now = later(&world, Duration::from_hours(1));
    assert!(archive_old(&world.ports, &archiving, now).await.unwrap() > 0);
    check_log(&world.ports).await.unwrap();
    assert_eq!(asked(), ["scheduler-position", "scheduler-position"]);
    // Of before places were kept by themselves.
    world.ports.snapshots.put("scheduler-position", "garbled".into()).await.unwrap();
    check_log(&world.ports).await.unwrap();
    assert_eq!(asked(), ["scheduler-position", "scheduler"]);
}
