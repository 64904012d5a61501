//! What only memory promises: time is tokio's, and nothing is kept for who no longer listens.
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;

use super::*;
use crate::{Change, KeyedState as _, QueueSettings, Queues as _, Signals as _, conformance::soon};

const LEASE: Duration = Duration::from_secs(30);

#[tokio::test(start_paused = true)]
async fn leases_and_delays_follow_paused_time() {
    let queue = MemoryQueues::default().open("q", QueueSettings { lease: LEASE }).await.unwrap();
    queue.publish("a", Bytes::new()).await.unwrap();
    let start = Instant::now();
    let first = queue.pull(1, Duration::ZERO).await.unwrap().remove(0);
    let second = queue.pull(1, LEASE * 2).await.unwrap().remove(0);
    assert_eq!((second.delivered, start.elapsed().as_secs()), (2, 30));
    first.handle.nak(Duration::ZERO).await.unwrap();
    first.handle.progress().await.unwrap();
    assert!(queue.pull(1, Duration::from_secs(29)).await.unwrap().is_empty(), "its lease is over");
    second.handle.progress().await.unwrap();
    second.handle.nak(Duration::from_hours(1)).await.unwrap();
    let third = queue.pull(1, Duration::MAX).await.unwrap().remove(0);
    assert_eq!((third.delivered, start.elapsed().as_secs()), (3, 30 + 29 + 3_600));
}

#[tokio::test(start_paused = true)]
async fn watchers_are_told_at_the_moment_a_key_runs_out() {
    let state = MemoryState::default();
    let mut watch = state.watch("a/").await.unwrap();
    let start = Instant::now();
    state.put("b/x", Bytes::new(), Some(Duration::from_millis(10))).await.unwrap();
    state.put("a/x", Bytes::new(), Some(Duration::from_millis(1_500))).await.unwrap();
    let put = soon("the put", watch.next()).await;
    assert!(matches!(put, Some(Ok(Change::Put { key, .. })) if key == "a/x"));
    let gone = soon("the end", watch.next()).await.unwrap().unwrap();
    assert_eq!(gone, Change::Gone { key: "a/x".to_owned() });
    assert_eq!(start.elapsed(), Duration::from_millis(1_500));
}

#[tokio::test]
async fn dropped_watches_and_subscriptions_are_forgotten() {
    let (state, signals) = (MemoryState::default(), MemorySignals::default());
    drop(state.watch("").await.unwrap());
    drop(signals.subscribe(">").await.unwrap());
    let _kept = state.watch("").await.unwrap();
    assert_eq!(state.table.lock().watchers.len(), 1);
    assert_eq!(signals.listeners.lock().len(), 0);
}

#[tokio::test]
async fn a_watcher_too_far_behind_is_told_so_and_ends() {
    let state = MemoryState::default();
    let watch = state.watch("").await.unwrap();
    for _ in 0..=crate::limits::WATCH_BACKLOG {
        state.put("k", Bytes::new(), None).await.unwrap();
    }
    let seen: Vec<_> = soon("the end", watch.collect()).await;
    assert_eq!(seen.len(), crate::limits::WATCH_BACKLOG + 1);
    assert!(seen.last().unwrap().as_ref().unwrap_err().to_string().contains("behind"));
}

mod suite {
    use async_trait::async_trait;

    use crate::{
        Ports,
        conformance::{Fixture, differential},
        memory,
    };

    struct InMemory;

    #[async_trait]
    impl Fixture for InMemory {
        async fn ports(&self) -> Ports {
            memory::ports()
        }

        async fn reopen(&self, ports: Ports) -> Ports {
            ports
        }

        async fn beside(&self, ports: &Ports) -> Option<Ports> {
            Some(ports.clone())
        }
    }

    async fn fixture() -> InMemory {
        InMemory
    }

    crate::conformance_tests!(fixture);

    /// The comparison itself finds nothing where there is nothing to find.
    #[tokio::test]
    async fn memory_agrees_with_itself() {
        for seed in 0..20 {
            let both = [("one", memory::ports()), ("other", memory::ports())];
            differential::log(seed, 200, &both).await;
            differential::queue(seed, 200, &both).await;
            differential::state(seed, 200, &both).await;
        }
    }
}
