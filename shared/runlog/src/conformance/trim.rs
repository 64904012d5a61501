//! Cases of a log's identity, of its base, and of trimming.
use futures::StreamExt as _;

use super::{
    Fixture, draft,
    log::{add, next_entries, payloads, rest, seqs},
    soon,
};
use crate::{Base, Chain, PortError, PortResult, Ports, ReadLimit, Seq, chain_at};

/// A log of `n` entries with their numbers as payloads.
async fn numbered(fixture: &impl Fixture, n: u64) -> Ports {
    let ports = fixture.ports().await;
    let drafts = (1..=n).map(|n| draft("log.n", &n.to_string())).collect();
    ports.log.append(Seq(0), drafts).await.unwrap();
    ports
}

fn is_trimmed<T: std::fmt::Debug>(answer: PortResult<T>, first: u64) {
    match answer {
        Err(PortError::Trimmed { first: said, .. }) => assert_eq!(said, Seq(first)),
        other => panic!("a trimmed entry was due, not {other:?}"),
    }
}

/// The mark is the same for ever, and another log has another.
pub async fn a_log_is_known_by_its_first_entry(fixture: &impl Fixture) {
    let ports = fixture.ports().await;
    assert_eq!(ports.log.mark().await.unwrap(), None);
    assert_eq!(ports.log.base().await.unwrap(), Base::START);
    add(&*ports.log, 0, "a").await;
    let mark = ports.log.mark().await.unwrap();
    assert!(mark.is_some());
    add(&*ports.log, 1, "b").await;
    assert_eq!(ports.log.mark().await.unwrap(), mark);
    let ports = fixture.reopen(ports).await;
    assert_eq!(ports.log.mark().await.unwrap(), mark);
    let other = fixture.ports().await.log;
    add(&*other, 0, "another").await;
    assert_ne!(other.mark().await.unwrap(), mark);
}

/// What is below is gone, what is above stays as it was, and the numbers go on.
pub async fn a_trimmed_log_begins_where_it_was_told(fixture: &impl Fixture) {
    let log = numbered(fixture, 100).await.log;
    let (mark, whole) = (log.mark().await.unwrap(), rest(&*log, 0).await);
    let end = chain_at(&*log, Seq(100)).await.unwrap();
    for below in [2_u64, 3, 50, 99, 100] {
        let chain = chain_at(&*log, Seq(below - 1)).await.unwrap();
        let base = Base { first: Seq(below), chain };
        assert_eq!(log.trim(Seq(below), chain).await.unwrap(), base);
        assert_eq!(log.base().await.unwrap(), base);
        let first = usize::try_from(below - 1).unwrap();
        assert_eq!(rest(&*log, below - 1).await, whole[first..]);
        is_trimmed(log.read(Seq(below - 2), ReadLimit::default()).await, below);
        is_trimmed(log.read(Seq::ZERO, ReadLimit::default()).await, below);
        is_trimmed(chain_at(&*log, Seq(below - 2)).await, below);
    }
    assert_eq!(chain_at(&*log, Seq(100)).await.unwrap(), end, "the chain goes on from the base");
    assert_eq!(log.mark().await.unwrap(), mark);
    assert_eq!(log.last().await.unwrap(), Seq(100));
    assert_eq!(add(&*log, 100, "101").await, 101);
    assert_eq!(payloads(&rest(&*log, 99).await), ["100", "101"]);
}

/// A trimmer whose copies are of something else, or that would leave nothing, removes nothing.
pub async fn a_trim_without_true_copies_is_refused(fixture: &impl Fixture) {
    let log = numbered(fixture, 20).await.log;
    let right = chain_at(&*log, Seq(9)).await.unwrap();
    let wrong = chain_at(&*log, Seq(8)).await.unwrap();
    let end = chain_at(&*log, Seq(20)).await.unwrap();
    for (below, chain) in [(10, wrong), (10, Chain::START), (21, end), (22, end), (1 << 40, end)] {
        let refused = log.trim(Seq(below), chain).await;
        assert!(matches!(refused, Err(PortError::Refused { .. })), "{below}: {refused:?}");
    }
    assert_eq!(rest(&*log, 0).await.len(), 20);
    let base = log.trim(Seq(10), right).await.unwrap();
    // Asked again, or for less, it is so already.
    for (below, chain) in [(10, right), (10, wrong), (5, wrong), (0, end), (1, Chain::START)] {
        assert_eq!(log.trim(Seq(below), chain).await.unwrap(), base);
    }
}

/// A follower from below the base is told; one that is beyond it never notices.
pub async fn followers_of_a_trimmed_log_are_told_or_go_on(fixture: &impl Fixture) {
    let log = numbered(fixture, 30).await.log;
    let mut ahead = log.follow(Seq(20));
    assert_eq!(next_entries(&mut ahead, 10).await.len(), 10);
    log.trim(Seq(11), chain_at(&*log, Seq(10)).await.unwrap()).await.unwrap();
    is_trimmed(soon("an error", log.follow(Seq(9)).next()).await.unwrap(), 11);
    let mut at_base = log.follow(Seq(10));
    assert_eq!(seqs(&next_entries(&mut at_base, 20).await), (11..=30).collect::<Vec<_>>());
    add(&*log, 30, "31").await;
    assert_eq!(seqs(&next_entries(&mut ahead, 1).await), [31]);
}

/// The base outlives the process, as the entries do.
pub async fn a_later_process_finds_the_base(fixture: &impl Fixture) {
    let ports = numbered(fixture, 40).await;
    let mark = ports.log.mark().await.unwrap();
    let end = chain_at(&*ports.log, Seq(40)).await.unwrap();
    let chain = chain_at(&*ports.log, Seq(24)).await.unwrap();
    let base = ports.log.trim(Seq(25), chain).await.unwrap();
    let ports = fixture.reopen(ports).await;
    assert_eq!(ports.log.base().await.unwrap(), base);
    assert_eq!(ports.log.mark().await.unwrap(), mark);
    assert_eq!(chain_at(&*ports.log, Seq(40)).await.unwrap(), end);
    is_trimmed(ports.log.read(Seq(3), ReadLimit::default()).await, 25);
    assert_eq!(seqs(&rest(&*ports.log, 24).await), (25..=40).collect::<Vec<_>>());
    assert_eq!(add(&*ports.log, 40, "41").await, 41);
}
