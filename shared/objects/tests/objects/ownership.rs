//! Whose a place is: two installations never share one, whichever is a copy of the other, and one that is not where its
//! blobs lie takes nothing for gone.
use std::{
    collections::HashSet,
    fs,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use dagbok_objects::{
    Objects, Part, Place, Placeless, Standing, TierSettings, Tiers, Title,
    owner::{Claims as _, InFile, InState},
    refuse_placeless,
};
use dagbok_runlog::{
    Blobs, Draft, PortError, PortResult, Ports, Seq,
    conformance::seeded::Seeded,
    digest_of,
    memory::{self, MemoryBlobs, MemoryState},
};

use crate::{
    faults::nth,
    servers::{Fault, Server, fresh, none},
};

const HOUR: Duration = Duration::from_hours(1);
const SETTINGS: TierSettings =
    TierSettings { direct_from: 100_000, move_after: Some(HOUR), timeout: Duration::from_secs(10) };

fn bytes(seed: u64) -> Bytes {
    Seeded::new(seed).bytes(200_000).into()
}

/// Ports whose log has a first entry; the same seed makes the same log.
async fn begun(seed: u64) -> Ports {
    let ports = memory::ports();
    let payload = Seeded::new(seed).bytes(10).into();
    let draft = Draft { subject: "log.case".to_owned(), payload };
    ports.log.append(Seq::ZERO, vec![draft]).await.unwrap();
    ports
}

/// The same installation's log, on a machine that knows nothing else of it: a backup that was put back.
fn restored(ports: &Ports) -> Ports {
    Ports {
        state: Arc::new(MemoryState::default()),
        blobs: Arc::new(MemoryBlobs::default()),
        ..ports.clone()
    }
}

/// A process that decides.
fn decides(ports: &Ports, far: &Objects) -> (Arc<Title>, Tiers) {
    process(ports, far, true, Part::Claims(fresh))
}

fn process(ports: &Ports, far: &Objects, reads_log: bool, part: Part) -> (Arc<Title>, Tiers) {
    let claims = Arc::new(InState(Arc::clone(&ports.state), "blobs/place"));
    let log = reads_log.then(|| Arc::clone(&ports.log));
    let title = Arc::new(Title::new(far.clone(), claims, log, part));
    let tiers = Tiers::new(Arc::clone(&ports.blobs), far.clone(), SETTINGS, Arc::clone(&title));
    (title, tiers)
}

fn refused<T: std::fmt::Debug>(outcome: PortResult<T>) -> String {
    match outcome.unwrap_err() {
        PortError::Refused { why, .. } => why,
        other => panic!("{other}"),
    }
}

fn unavailable<T: std::fmt::Debug>(outcome: PortResult<T>) -> String {
    match outcome.unwrap_err() {
        error @ PortError::Unavailable { .. } => error.to_string(),
        other => panic!("{other}"),
    }
}

/// Nothing is put, listed, deleted or moved there, and what is put is near.
async fn is_kept_out(ports: &Ports, tiers: &Tiers, theirs: &str) {
    let digest = tiers.put(bytes(99)).await.unwrap();
    assert!(ports.blobs.has(&digest).await.unwrap(), "it is near");
    let late = SystemTime::now() + 2 * HOUR;
    refused(tiers.list(None, 9).await);
    refused(tiers.delete(theirs, late).await);
    refused(tiers.settle(late, &HashSet::new()).await);
}

#[tokio::test]
async fn a_copy_of_the_log_is_kept_out_until_it_takes_the_place_over() {
    let server = Server::start(none()).await;
    let far = server.objects();
    let production = begun(1).await;
    let (title, theirs) = decides(&production, &far);
    assert_eq!(title.look().await.unwrap(), Standing::Ours);
    let digest = theirs.put(bytes(2)).await.unwrap();

    let copy = restored(&production);
    let (of_copy, ours) = decides(&copy, &far);
    let why = refused(of_copy.look().await);
    assert!(why.contains("another copy of this log") && why.contains("--take-over-blobs"), "{why}");
    is_kept_out(&copy, &ours, &digest).await;
    assert_eq!(ours.get(&digest).await.unwrap(), Some(bytes(2)), "it may be read");

    assert!(of_copy.take_over().await.unwrap());
    assert!(!of_copy.take_over().await.unwrap(), "it is its own by now");
    assert_eq!(of_copy.look().await.unwrap(), Standing::Ours);
    assert_eq!(ours.list(None, 9).await.unwrap().len(), 2);
    // The other is out, now and after a restart.
    assert!(refused(title.look().await).contains("taken it over"));
    is_kept_out(&production, &theirs, &digest).await;
    let (again, _) = decides(&production, &far);
    assert!(refused(again.look().await).contains("taken it over"));
}

#[tokio::test]
async fn a_place_is_of_one_log_and_is_not_taken_over_from_another() {
    let server = Server::start(none()).await;
    let far = server.objects();
    let (one, two) = (begun(1).await, begun(2).await);
    let (title, theirs) = decides(&one, &far);
    title.look().await.unwrap();
    let digest = theirs.put(bytes(2)).await.unwrap();
    let (other, ours) = decides(&two, &far);
    let why = refused(other.look().await);
    assert!(why.contains("another log") && why.contains("DBK0039"), "{why}");
    is_kept_out(&two, &ours, &digest).await;
    refused(other.take_over().await);
    // One that has no record yet is refused at once, not once it has put something.
    let unborn = memory::ports();
    let (unborn, _) = decides(&unborn, &far);
    assert!(refused(unborn.look().await).contains("another log"));
    assert!(theirs.get(&digest).await.unwrap().is_some());
}

#[tokio::test]
async fn nobody_puts_anything_there_before_it_is_claimed() {
    let server = Server::start(none()).await;
    let far = server.objects();
    let ports = memory::ports();
    let (executor, puts) = process(&ports, &far, false, Part::Follows);
    let (ui, _) = process(&ports, &far, true, Part::Follows);
    let (scheduler, _) = decides(&ports, &far);
    for title in [&executor, &ui, &scheduler] {
        assert_eq!(title.look().await.unwrap(), Standing::NotYet, "the log has no name yet");
    }
    let early = puts.put(bytes(3)).await.unwrap();
    assert!(ports.blobs.has(&early).await.unwrap());
    assert_eq!(far.owner().await.unwrap(), None);

    let draft = Draft { subject: "log.case".to_owned(), payload: "first".into() };
    ports.log.append(Seq::ZERO, vec![draft]).await.unwrap();
    assert_eq!(ui.look().await.unwrap(), Standing::NotYet, "the scheduler's to claim");
    assert_eq!(scheduler.look().await.unwrap(), Standing::Ours);
    for title in [&executor, &ui] {
        assert_eq!(title.look().await.unwrap(), Standing::Ours);
    }
    let later = puts.put(bytes(4)).await.unwrap();
    assert!(!ports.blobs.has(&later).await.unwrap() && far.has(&later).await.unwrap());
    // In the place of another's log an executor, which reads none, waits as well.
    let stranger = begun(9).await;
    let (executor, puts) = process(&stranger, &far, false, Part::Follows);
    assert_eq!(executor.look().await.unwrap(), Standing::NotYet);
    let near = puts.put(bytes(5)).await.unwrap();
    assert!(stranger.blobs.has(&near).await.unwrap() && !far.has(&near).await.unwrap());
}

#[tokio::test]
async fn two_schedulers_and_a_claim_that_broke_off_come_to_one() {
    let server = Server::start(none()).await;
    let far = server.objects();
    let ports = begun(1).await;
    let (a, b) = (decides(&ports, &far).0, decides(&ports, &far).0);
    let (one, two) = tokio::join!(a.look(), b.look());
    assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
    assert_eq!(a.look().await.unwrap(), Standing::Ours);
    assert_eq!(b.look().await.unwrap(), Standing::Ours);
    // As though the process had ended after `owner` was put, and before that was written down.
    let claims = InState(Arc::clone(&ports.state), "blobs/place");
    let mut claim = claims.read().await.unwrap().unwrap();
    claim.is_made = false;
    claims.put(Some(&claim)).await.unwrap();
    let (ui, _) = process(&ports, &far, true, Part::Follows);
    assert_eq!(ui.look().await.unwrap(), Standing::NotYet);
    let (c, _) = decides(&ports, &far);
    assert_eq!(c.look().await.unwrap(), Standing::Ours);
    assert_eq!(ui.look().await.unwrap(), Standing::Ours);
    // State that is lost while the scheduler lives is written again.
    claims.put(None).await.unwrap();
    assert_eq!(c.look().await.unwrap(), Standing::Ours);
    assert!(claims.read().await.unwrap().is_some_and(|claim| claim.is_made));
}

/// A store that overwrites whatever it is told to create.
#[tokio::test]
async fn a_store_without_conditional_puts_keeps_its_owner() {
    let (faults, puts) = nth(
        |request| request.headers().contains_key("if-none-match"),
        (0, 99),
        Fault::Says(501, "NotImplemented"),
    );
    let server = Server::start(faults).await;
    let far = server.objects();
    let (one, two) = (begun(1).await, begun(2).await);
    assert_eq!(decides(&one, &far).0.look().await.unwrap(), Standing::Ours);
    let owner = far.owner().await.unwrap();
    let tried = puts.load(Ordering::Relaxed);
    assert!(tried > 0);
    refused(decides(&two, &far).0.look().await);
    assert_eq!(far.owner().await.unwrap(), owner);
    assert_eq!(puts.load(Ordering::Relaxed), tried, "it looked before it put");
}

fn folder(at: &Path) -> Objects {
    let url = format!("file://{}", at.display());
    let timeout = Duration::from_secs(10);
    let place = Place { url, namespace: "default".to_owned(), timeout, ..Place::default() };
    place.open(&[]).unwrap()
}

/// The folder that is there while nothing is mounted on it is not taken for an empty share.
#[tokio::test]
async fn a_share_that_is_not_mounted_takes_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mount, away) = (dir.path().join("mnt"), dir.path().join("share"));
    fs::create_dir(&mount).unwrap();
    let far = folder(&mount);
    let ports = begun(1).await;
    let (title, tiers) = decides(&ports, &far);
    let digest = tiers.put(bytes(2)).await.unwrap();
    assert!(!ports.blobs.has(&digest).await.unwrap());

    fs::rename(&mount, &away).unwrap();
    fs::create_dir(&mount).unwrap();
    let why = unavailable(tiers.get(&digest).await);
    assert!(why.contains("is mounted") && why.contains("DBK0039"), "{why}");
    unavailable(tiers.has(&digest).await);
    let other = tiers.put(bytes(3)).await.unwrap();
    assert!(ports.blobs.has(&other).await.unwrap(), "it is kept near");
    let late = SystemTime::now() + 2 * HOUR;
    unavailable(tiers.settle(late, &HashSet::new()).await);
    assert!(ports.blobs.has(&other).await.unwrap(), "and stays there");
    unavailable(decides(&ports, &far).0.look().await);
    assert_eq!(fs::read_dir(&mount).unwrap().count(), 0, "nothing is written below a mount point");

    fs::remove_dir(&mount).unwrap();
    fs::rename(&away, &mount).unwrap();
    assert_eq!(title.look().await.unwrap(), Standing::Ours);
    assert_eq!(tiers.get(&digest).await.unwrap(), Some(bytes(2)));
    assert_eq!(tiers.settle(late, &HashSet::new()).await.unwrap().blobs, 1);
}

#[tokio::test]
async fn another_place_or_none_is_refused_unless_all_was_moved_there() {
    let server = Server::start(none()).await;
    let root = server.folder.path().join("big");
    let far = server.objects();
    let ports = begun(1).await;
    let (title, tiers) = decides(&ports, &far);
    title.look().await.unwrap();
    let digest = tiers.put(bytes(2)).await.unwrap();

    let elsewhere = folder(&root);
    let (moved, through) = decides(&ports, &elsewhere);
    let why = refused(moved.look().await);
    assert!(why.contains("s3://big/some/where/default") && why.contains("--take-over"), "{why}");
    let why = unavailable(through.get(&digest).await);
    assert!(why.contains("has not their `owner`"), "{why}: it is not said to be gone");
    let claims = InState(Arc::clone(&ports.state), "blobs/place");
    let why = refused(refuse_placeless(&claims, Some(&*ports.log)).await);
    assert!(why.contains("s3://big/some/where/default"), "{why}");
    refused(refuse_placeless(&claims, None).await);
    let placeless = Placeless::new(Arc::clone(&ports.blobs), Arc::new(claims.clone()));
    assert!(unavailable(placeless.get(&digest).await).contains("DBK0039"));
    refuse_placeless(&claims, Some(&*begun(2).await.log)).await.unwrap();

    // A copy of all that lies there, `owner` too.
    let copied = std::process::Command::new("cp")
        .arg("-r")
        .args([root.join("some/where/default"), root.join("default")])
        .status();
    assert!(copied.unwrap().success());
    let (executor, _) = process(&ports, &elsewhere, false, Part::Follows);
    assert!(refused(executor.look().await).contains("every service"), "the scheduler comes first");
    assert_eq!(moved.look().await.unwrap(), Standing::Ours);
    assert_eq!(executor.look().await.unwrap(), Standing::Ours);
    assert_eq!(through.get(&digest).await.unwrap(), Some(bytes(2)));
    assert_eq!(through.get(&digest_of(b"never")).await.unwrap(), None, "now it is known");
}

#[tokio::test]
async fn what_a_home_knows_is_kept_in_a_file_and_a_place_that_is_given_up_is_empty() {
    let (home, server) = (tempfile::tempdir().unwrap(), Server::start(none()).await);
    let far = server.objects();
    let ports = begun(1).await;
    let claims = Arc::new(InFile(home.path().join("blobs.place")));
    let title = |claims: &Arc<InFile>| {
        let log = Some(Arc::clone(&ports.log));
        Title::new(far.clone(), Arc::clone(claims) as _, log, Part::Claims(fresh))
    };
    assert_eq!(title(&claims).look().await.unwrap(), Standing::Ours);
    assert_eq!(title(&claims).look().await.unwrap(), Standing::Ours);
    let claim = claims.read().await.unwrap().unwrap();
    assert_eq!((claim.place.as_str(), claim.is_made), (far.place(), true));
    fs::write(&claims.0, "garbage").unwrap();
    assert!(matches!(title(&claims).look().await, Err(PortError::Damaged { .. })));
    claims.put(Some(&claim)).await.unwrap();
    // A log that is begun anew in the same home, once what lay there was deleted.
    far.put(bytes(2)).await.unwrap();
    assert_eq!(far.clear().await.unwrap(), 1);
    assert_eq!((far.owner().await.unwrap(), far.list(None, 9).await.unwrap()), (None, vec![]));
    let other = begun(2).await;
    let anew = Title::new(
        far.clone(),
        Arc::clone(&claims) as _,
        Some(Arc::clone(&other.log)),
        Part::Claims(fresh),
    );
    assert_eq!(anew.look().await.unwrap(), Standing::Ours);
}

#[tokio::test]
async fn half_a_file_that_nobody_writes_any_more_goes() {
    let dir = tempfile::tempdir().unwrap();
    let far = folder(dir.path());
    let digest = far.put(bytes(2)).await.unwrap();
    let half = dir.path().join("default").join(&digest[..2]).join(format!("{digest}#1"));
    let young = dir.path().join("default").join(&digest[..2]).join(format!("{digest}#2"));
    for file in [&half, &young] {
        fs::write(file, "half").unwrap();
    }
    let old = SystemTime::now() - 25 * HOUR;
    fs::File::options().write(true).open(&half).unwrap().set_modified(old).unwrap();
    assert_eq!(far.list(None, 9).await.unwrap().len(), 1);
    assert!(!half.exists() && young.exists());
}
