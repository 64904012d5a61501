//! Cases of the run log.
use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::{FutureExt as _, StreamExt as _, future::join_all, stream::BoxStream};

use super::{Fixture, draft, seeded::Seeded, soon};
use crate::{AppendError, Draft, Entry, PortError, PortResult, ReadLimit, RunLog, Seq};

/// Appends one text and returns its place.
pub(super) async fn add(log: &dyn RunLog, after: u64, payload: &str) -> u64 {
    log.append(Seq(after), vec![draft("log.case", payload)]).await.unwrap().0
}

/// Everything after `after`, read to the end.
pub(super) async fn rest(log: &dyn RunLog, after: u64) -> Vec<Entry> {
    let mut all = Vec::new();
    loop {
        let seen = all.last().map_or(Seq(after), |entry: &Entry| entry.seq);
        let more = log.read(seen, ReadLimit::default()).await.unwrap();
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

/// The next `count` entries or more of a stream.
pub(super) async fn next_entries(
    follow: &mut BoxStream<'static, PortResult<Vec<Entry>>>,
    count: usize,
) -> Vec<Entry> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let batch = soon("entries to follow", follow.next()).await.unwrap().unwrap();
        assert!(!batch.is_empty(), "a batch has entries");
        seen.extend(batch);
    }
    seen
}

pub(super) fn payloads(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| String::from_utf8_lossy(&entry.payload).into_owned()).collect()
}

pub(super) fn seqs(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.seq.0).collect()
}

/// Nothing before the first append.
pub async fn an_empty_log_has_nothing(fixture: &impl Fixture) {
    let log = fixture.ports().await.log;
    assert_eq!(log.last().await.unwrap(), Seq::ZERO);
    assert_eq!(log.read(Seq::ZERO, ReadLimit::default()).await.unwrap(), []);
    assert_eq!(log.read(Seq(7), ReadLimit::default()).await.unwrap(), []);
    assert!(log.max_payload() >= 512 << 10, "records of half a MiB fit everywhere");
}

/// Places count from one and rise by one.
pub async fn an_append_returns_the_last_place_and_is_read_back(fixture: &impl Fixture) {
    let log = fixture.ports().await.log;
    assert_eq!(log.append(Seq(0), vec![draft("log.a", "1")]).await.unwrap(), Seq(1));
    let two = vec![draft("log.b", "2"), draft("log.c.d", "3")];
    assert_eq!(log.append(Seq(1), two).await.unwrap(), Seq(3));
    assert_eq!(log.last().await.unwrap(), Seq(3));
    let entry = |seq, subject: &str, payload: &str| {
        let Draft { subject, payload } = draft(subject, payload);
        Entry { seq: Seq(seq), subject, payload }
    };
    let all = [entry(1, "log.a", "1"), entry(2, "log.b", "2"), entry(3, "log.c.d", "3")];
    assert_eq!(log.read(Seq::ZERO, ReadLimit::default()).await.unwrap(), all);
}

/// What is on one subject, and nothing of subjects that begin alike, up to a place.
pub async fn a_subject_is_read_alone_in_order_and_up_to_a_place(fixture: &impl Fixture) {
    let log = fixture.ports().await.log;
    assert_eq!(log.read_subject("log.a", Seq::ZERO).await.unwrap(), []);
    let subjects = ["log.a", "log.b", "log.a.c", "log.a", "log.b", "log.a"];
    for (at, subject) in (0..).zip(subjects) {
        let drafts = vec![draft(subject, &at.to_string())];
        log.append(Seq(at), drafts).await.unwrap();
    }
    for (subject, until, found) in [
        ("log.a", 6, &["0", "3", "5"][..]),
        ("log.a", 5, &["0", "3"]),
        ("log.a", 4, &["0", "3"]),
        ("log.a", 1, &["0"]),
        ("log.a", 0, &[]),
        ("log.b", 6, &["1", "4"]),
        ("log.a.c", 6, &["2"]),
        ("log", 6, &[]),
    ] {
        let entries = log.read_subject(subject, Seq(until)).await.unwrap();
        assert_eq!(payloads(&entries), found, "{subject} until {until}");
        assert!(entries.iter().all(|entry| entry.subject == subject), "{entries:?}");
    }
}

/// Nothing to append is no question to the log, so it is no conflict either.
pub async fn an_empty_append_returns_what_was_expected(fixture: &impl Fixture) {
    let log = fixture.ports().await.log;
    add(&*log, 0, "x").await;
    for expected in [0, 1, 9] {
        assert_eq!(log.append(Seq(expected), vec![]).await.unwrap(), Seq(expected));
    }
    assert_eq!(log.last().await.unwrap(), Seq(1));
}

async fn refused_as_conflict(log: &dyn RunLog, expected: u64, last: u64) {
    let two = vec![draft("log.late", "late"), draft("log.late", "later")];
    match log.append(Seq(expected), two).await {
        Err(AppendError::Conflict { expected: said, actual }) => {
            assert_eq!(said, Seq(expected));
            assert!(actual.is_none_or(|actual| actual == Seq(last)), "{actual:?} is not {last}");
        }
        other => panic!("a conflict was due, not {other:?}"),
    }
    assert_eq!(log.last().await.unwrap(), Seq(last));
}

/// A writer that has not seen the last entry adds nothing.
pub async fn who_is_behind_is_refused_and_told_what_is_last(fixture: &impl Fixture) {
    let log = fixture.ports().await.log;
    add(&*log, 0, "a").await;
    add(&*log, 1, "b").await;
    refused_as_conflict(&*log, 0, 2).await;
    refused_as_conflict(&*log, 1, 2).await;
    assert_eq!(add(&*log, 2, "c").await, 3);
    assert_eq!(payloads(&rest(&*log, 0).await), ["a", "b", "c"]);
}

/// A writer that believes in entries that are not there adds nothing.
pub async fn who_is_ahead_is_refused_and_told_what_is_last(fixture: &impl Fixture) {
    let log = fixture.ports().await.log;
    refused_as_conflict(&*log, 1, 0).await;
    add(&*log, 0, "a").await;
    refused_as_conflict(&*log, 2, 1).await;
    refused_as_conflict(&*log, 1 << 40, 1).await;
    assert_eq!(payloads(&rest(&*log, 0).await), ["a"]);
}

/// The limit is the one that the log names, and it is checked before the first byte is written.
pub async fn the_largest_payload_fits_and_one_byte_more_is_refused_before_anything(
    fixture: &impl Fixture,
) {
    let log = fixture.ports().await.log;
    let sized = |bytes: usize| Draft {
        subject: "log.large".to_owned(),
        payload: Seeded::new(1).bytes(bytes).into(),
    };
    let max = log.max_payload();
    let refused = log.append(Seq(0), vec![draft("log.small", "x"), sized(max + 1)]).await;
    assert!(
        matches!(refused, Err(AppendError::Port(PortError::Refused { .. }))),
        "a refusal was due, not {refused:?}"
    );
    assert_eq!(log.last().await.unwrap(), Seq::ZERO);
    let largest = sized(max);
    log.append(Seq(0), vec![largest.clone()]).await.unwrap();
    assert_eq!(rest(&*log, 0).await[0].payload, largest.payload);
}

/// A subject that a broker could not carry is taken by no implementation.
pub async fn what_is_no_subject_is_refused_before_anything(fixture: &impl Fixture) {
    let log = fixture.ports().await.log;
    for bad in ["", ".", "a..b", "a.", ".a", "a b", "a.*", "a.>", "a\n", "a\u{0}b"] {
        let refused = log.append(Seq(0), vec![draft("log.fine", "x"), draft(bad, "x")]).await;
        assert!(
            matches!(refused, Err(AppendError::Port(PortError::Refused { .. }))),
            "a refusal of {bad:?} was due, not {refused:?}"
        );
    }
    assert_eq!(log.last().await.unwrap(), Seq::ZERO);
}

/// No byte is changed on the way, and none is needed.
pub async fn subjects_and_payloads_come_back_as_they_went(fixture: &impl Fixture) {
    let log = fixture.ports().await.log;
    let every_byte: Vec<u8> = (0..=255).collect();
    let name = format!("log.{}", "x".repeat(2_000));
    let drafts = vec![
        draft("log.empty", ""),
        Draft { subject: "log.bytes".to_owned(), payload: every_byte.into() },
        draft("log.caf%C3%A9.a-b_c=d", "escaped"),
        draft("log.日誌", "unescaped"),
        draft(&name, "a long subject"),
    ];
    log.append(Seq(0), drafts.clone()).await.unwrap();
    let back = rest(&*log, 0).await.into_iter();
    let back: Vec<_> =
        back.map(|Entry { subject, payload, .. }| Draft { subject, payload }).collect();
    assert_eq!(back, drafts);
}

/// A read brings as much as it may, at least one entry, and never more.
pub async fn reads_stop_at_their_limits(fixture: &impl Fixture) {
    let log = fixture.ports().await.log;
    let ten = (0..10).map(|n| draft("log.ten", &format!("{n:010}"))).collect();
    log.append(Seq(0), ten).await.unwrap();
    let count = async |entries, bytes| {
        log.read(Seq::ZERO, ReadLimit { entries, bytes }).await.unwrap().len()
    };
    assert_eq!(count(3, 1_000).await, 3);
    assert_eq!(count(100, 1_000).await, 10);
    assert_eq!(count(100, 35).await, 3, "a fourth entry would pass 35 bytes");
    assert_eq!(count(100, 40).await, 4, "four entries are 40 bytes");
    assert_eq!(count(100, 0).await, 1, "the first always comes");
    assert_eq!(count(0, 1_000).await, 1, "none would say that the log ends");
    let sizes = [50, 0, 0, 10, 0].map(|size| draft("log.sizes", &"x".repeat(size)));
    log.append(Seq(10), sizes.to_vec()).await.unwrap();
    let count =
        async |bytes| log.read(Seq(10), ReadLimit { entries: 100, bytes }).await.unwrap().len();
    assert_eq!(count(49).await, 1, "after too large a first nothing more comes, not even nothing");
    assert_eq!(count(50).await, 3, "empty payloads take no room");
    assert_eq!(count(59).await, 3);
    assert_eq!(count(60).await, 5);
}

/// Any place is a place to read from; past the end there is nothing.
pub async fn reads_start_anywhere(fixture: &impl Fixture) {
    let log = fixture.ports().await.log;
    let drafts = (1..=500).map(|n| draft("log.n", &n.to_string())).collect();
    log.append(Seq(0), drafts).await.unwrap();
    for after in [0_u64, 1, 2, 63, 64, 65, 250, 498, 499] {
        let two = log.read(Seq(after), ReadLimit { entries: 2, bytes: 1_000 }).await.unwrap();
        let wanted: Vec<_> = (after + 1..=500.min(after + 2)).collect();
        assert_eq!(seqs(&two), wanted);
        assert_eq!(payloads(&two)[0], (after + 1).to_string());
    }
    for beyond in [500, 501, u64::MAX] {
        assert_eq!(log.read(Seq(beyond), ReadLimit::default()).await.unwrap(), []);
    }
}

/// One append may be large, and reading it takes several reads.
pub async fn thousands_at_once_keep_their_order(fixture: &impl Fixture) {
    let log = fixture.ports().await.log;
    let texts: Vec<_> = (0..5_000).map(|n| format!("entry {n}")).collect();
    let drafts = texts.iter().map(|text| draft("log.many", text)).collect();
    assert_eq!(soon("one large append", log.append(Seq(0), drafts)).await.unwrap(), Seq(5_000));
    let all = rest(&*log, 0).await;
    assert_eq!(payloads(&all), texts);
    assert_eq!(seqs(&all), (1..=5_000).collect::<Vec<_>>());
}

/// A sole writer that knows the next place goes on before it is answered. There are more of them
/// than tokio lets a task do at once (128): who then waits for a channel's room is woken last first.
pub async fn appends_need_not_wait_for_one_another(fixture: &impl Fixture) {
    const APPENDS: u64 = 300;
    let log = fixture.ports().await.log;
    let one = |n: u64| log.append(Seq(n), vec![draft("log.pipe", &n.to_string())]);
    let answers = soon("the pipeline", join_all((0..APPENDS).map(one))).await;
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.unwrap().0).collect();
    assert_eq!(answers, (1..=APPENDS).collect::<Vec<_>>());
    let wanted: Vec<_> = (0..APPENDS).map(|n| n.to_string()).collect();
    assert_eq!(payloads(&rest(&*log, 0).await), wanted);
}

/// After a refusal everything that counted on the refused entries is refused too.
pub async fn a_gap_in_the_pipeline_voids_the_rest(fixture: &impl Fixture) {
    let log = fixture.ports().await.log;
    let one = |n: u64| log.append(Seq(n), vec![draft("log.pipe", &n.to_string())]);
    let answers = soon("the pipeline", join_all([0, 1, 3, 4, 5].map(one))).await;
    let landed: Vec<_> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(landed, [true, true, false, false, false]);
    assert_eq!(payloads(&rest(&*log, 0).await), ["0", "1"]);
}

/// Eight writers that read and append again on a conflict: each entry once, no gap, no one's lost.
pub async fn racing_writers_each_win_a_place_of_their_own(fixture: &impl Fixture) {
    const EACH: usize = 25;
    let log = fixture.ports().await.log;
    let writers = (0..8).map(|writer| {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            let mut won = Vec::new();
            let mut last = Seq::ZERO;
            while won.len() < EACH {
                let said = format!("{writer}/{}", won.len());
                match log.append(last, vec![draft("log.race", &said)]).await {
                    Ok(seq) => {
                        assert_eq!(seq, last.plus(1));
                        won.push((seq.0, said));
                        last = seq;
                    }
                    Err(AppendError::Conflict { .. }) => last = log.last().await.unwrap(),
                    Err(other) => panic!("{other}"),
                }
            }
            won
        })
    });
    let won = soon("all writers", join_all(writers)).await;
    let mut won: Vec<_> = won.into_iter().flat_map(Result::unwrap).collect();
    won.sort();
    let all = rest(&*log, 0).await;
    let found: Vec<_> = seqs(&all).into_iter().zip(payloads(&all)).collect();
    assert_eq!(found, won);
    assert_eq!(seqs(&all), (1..=8 * EACH as u64).collect::<Vec<_>>());
}

/// An append that nobody waits for any more leaves a log that goes on.
pub async fn a_cancelled_append_is_there_whole_or_not_at_all(fixture: &impl Fixture) {
    let log = fixture.ports().await.log;
    let mut last = Seq::ZERO;
    for n in 0..40_u64 {
        let append = log.append(last, vec![draft("log.cancel", &n.to_string())]);
        let _ = tokio::time::timeout(Duration::from_micros(n * 20), append).await;
        // The abandoned append may still land: this one finds out, and settles it.
        last = log.last().await.unwrap();
        loop {
            match log.append(last, vec![draft("log.settle", &format!("settled {n}"))]).await {
                Ok(seq) => break last = seq,
                Err(AppendError::Conflict { .. }) => last = log.last().await.unwrap(),
                Err(other) => panic!("{other}"),
            }
        }
    }
    let all = rest(&*log, 0).await;
    assert_eq!(seqs(&all), (1..=all.len() as u64).collect::<Vec<_>>());
    let said: BTreeSet<_> = payloads(&all).into_iter().collect();
    assert_eq!(said.len(), all.len(), "nothing is there twice");
    assert!((0..40).all(|n| said.contains(&format!("settled {n}"))));
}

/// No entry is missed at the seam between what was there and what came.
pub async fn follow_brings_what_is_there_then_what_comes(fixture: &impl Fixture) {
    let log = fixture.ports().await.log;
    add(&*log, 0, "a").await;
    add(&*log, 1, "b").await;
    let mut follow = log.follow(Seq::ZERO);
    assert_eq!(payloads(&next_entries(&mut follow, 2).await), ["a", "b"]);
    assert!(follow.next().now_or_never().is_none(), "nothing more is there yet");
    add(&*log, 2, "c").await;
    assert_eq!(payloads(&next_entries(&mut follow, 1).await), ["c"]);
    log.append(Seq(3), vec![draft("log.d", "d"), draft("log.e", "e")]).await.unwrap();
    assert_eq!(payloads(&next_entries(&mut follow, 2).await), ["d", "e"]);
}

/// A follower goes on from wherever it was, and one that is early waits for its place.
pub async fn follow_starts_in_the_middle_and_beyond_the_end(fixture: &impl Fixture) {
    let log = fixture.ports().await.log;
    let drafts = (1..=10).map(|n| draft("log.n", &n.to_string())).collect();
    log.append(Seq(0), drafts).await.unwrap();
    let mut middle = log.follow(Seq(7));
    assert_eq!(seqs(&next_entries(&mut middle, 3).await), [8, 9, 10]);
    let mut at_the_end = log.follow(Seq(10));
    let mut beyond = log.follow(Seq(11));
    let waiting = tokio::spawn(async move { seqs(&next_entries(&mut beyond, 1).await) });
    add(&*log, 10, "11").await;
    add(&*log, 11, "12").await;
    assert_eq!(seqs(&next_entries(&mut middle, 2).await), [11, 12]);
    assert_eq!(seqs(&next_entries(&mut at_the_end, 2).await), [11, 12]);
    assert_eq!(soon("the early follower", waiting).await.unwrap(), [12]);
}

/// Followers from many places, while it is being written.
pub async fn followers_see_every_entry_once_in_order(fixture: &impl Fixture) {
    const ENTRIES: u64 = 600;
    let log = fixture.ports().await.log;
    let followers: Vec<_> = (0..8)
        .map(|n| n * 50)
        .map(|after| {
            let mut follow = log.follow(Seq(after));
            tokio::spawn(async move {
                let wanted = usize::try_from(ENTRIES - after).unwrap();
                assert_eq!(
                    seqs(&next_entries(&mut follow, wanted).await),
                    (after + 1..=ENTRIES).collect::<Vec<_>>()
                );
            })
        })
        .collect();
    let mut last = Seq::ZERO;
    while last.0 < ENTRIES {
        let drafts = (0..3).map(|n| draft("log.n", &n.to_string())).collect();
        last = log.append(last, drafts).await.unwrap();
    }
    for follower in followers {
        soon("a follower", follower).await.unwrap();
    }
}

/// Leaving is a follower's right.
pub async fn a_dropped_follower_harms_nobody(fixture: &impl Fixture) {
    let log = fixture.ports().await.log;
    let mut stays = log.follow(Seq::ZERO);
    let mut leaves = log.follow(Seq::ZERO);
    add(&*log, 0, "a").await;
    next_entries(&mut leaves, 1).await;
    drop(leaves);
    drop(log.follow(Seq::ZERO));
    add(&*log, 1, "b").await;
    assert_eq!(payloads(&next_entries(&mut stays, 2).await), ["a", "b"]);
}

/// What was acknowledged is there after a restart, and the numbers go on.
pub async fn a_later_process_finds_the_log_and_goes_on(fixture: &impl Fixture) {
    let ports = fixture.ports().await;
    add(&*ports.log, 0, "a").await;
    add(&*ports.log, 1, "b").await;
    let ports = fixture.reopen(ports).await;
    assert_eq!(ports.log.last().await.unwrap(), Seq(2));
    refused_as_conflict(&*ports.log, 0, 2).await;
    assert_eq!(add(&*ports.log, 2, "c").await, 3);
    let ports = fixture.reopen(ports).await;
    assert_eq!(payloads(&rest(&*ports.log, 0).await), ["a", "b", "c"]);
    let mut follow = ports.log.follow(Seq(1));
    assert_eq!(payloads(&next_entries(&mut follow, 2).await), ["b", "c"]);
}

/// Where two processes may write, the log decides between them, and both see the same.
pub async fn two_processes_share_one_order(fixture: &impl Fixture) {
    let ours = fixture.ports().await;
    let Some(theirs) = fixture.beside(&ours).await else { return };
    let mut follow = theirs.log.follow(Seq::ZERO);
    assert_eq!(add(&*ours.log, 0, "ours").await, 1);
    refused_as_conflict(&*theirs.log, 0, 1).await;
    assert_eq!(add(&*theirs.log, 1, "theirs").await, 2);
    refused_as_conflict(&*ours.log, 1, 2).await;
    assert_eq!(payloads(&next_entries(&mut follow, 2).await), ["ours", "theirs"]);
    assert_eq!(rest(&*ours.log, 0).await, rest(&*theirs.log, 0).await);
}
