//! A keyed state that was lost is filled anew, and called whole once it is.
#![expect(clippy::unwrap_used, reason = "tests may unwrap")]
mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use common::{Player, World, spec};
use dagbok_protocol::names;
use dagbok_runlog::{Change, KeyedState, PortResult, Ports, StateError, Versioned, memory};
use dagbok_scheduler::SchedulerSettings;
use futures::stream::BoxStream;

const LEASE: Duration = Duration::from_secs(30);

/// A state that notes whether it was called whole before a value came, and may be lost as one comes.
#[derive(Debug)]
struct Watched {
    inner: Arc<dyn KeyedState>,
    loses: bool,
    early: AtomicBool,
}

#[async_trait]
impl KeyedState for Watched {
    async fn get(&self, key: &str) -> PortResult<Option<Versioned>> {
        self.inner.get(key).await
    }
    async fn put(&self, key: &str, value: Bytes, ttl: Option<Duration>) -> PortResult<u64> {
        if key.starts_with(names::XCOM_PREFIX) {
            if self.inner.get(names::PROTOCOL).await?.is_some() {
                self.early.store(true, Ordering::Relaxed);
            }
            if self.loses {
                self.inner.delete(names::FILLING).await?;
            }
        }
        self.inner.put(key, value, ttl).await
    }
    async fn create(
        &self,
        key: &str,
        value: Bytes,
        ttl: Option<Duration>,
    ) -> Result<u64, StateError> {
        self.inner.create(key, value, ttl).await
    }
    async fn update(
        &self,
        key: &str,
        value: Bytes,
        revision: u64,
        ttl: Option<Duration>,
    ) -> Result<u64, StateError> {
        self.inner.update(key, value, revision, ttl).await
    }
    async fn delete(&self, key: &str) -> PortResult<()> {
        self.inner.delete(key).await
    }
    async fn list(&self, prefix: &str) -> PortResult<Vec<(String, Versioned)>> {
        self.inner.list(prefix).await
    }
    async fn watch(&self, prefix: &str) -> PortResult<BoxStream<'static, PortResult<Change>>> {
        self.inner.watch(prefix).await
    }
}

/// Leads on a state that is empty, with a run whose first task has handed something on; once its second is offered.
async fn filled(loses: bool) -> Arc<Watched> {
    let mut world = World::new(memory::ports()).await;
    let settings = SchedulerSettings::default();
    let (_end, first) = world.scheduler(world.ports.clone(), settings.clone());
    world.register(spec(&[&[], &[0]], 0)).await;
    let player = Player::new(&world, "e1", LEASE).await;
    world.trigger("r1").await;
    let (item, delivery) = player.take().await;
    player.start(&item.key).await;
    player.succeed(&item.key, "1").await;
    delivery.handle.ack().await.unwrap();
    player.take().await;
    first.abort();
    drop(first.await);

    let inner = memory::ports().state;
    let state = Arc::new(Watched { inner, loses, early: AtomicBool::new(false) });
    let fresh = memory::ports();
    let log = Arc::clone(&world.ports.log);
    world.ports = Ports { log, state: Arc::<Watched>::clone(&state), ..fresh };
    let (end, second) = world.scheduler(world.ports.clone(), settings);
    let player = Player::new(&world, "e2", LEASE).await;
    assert_eq!(player.take().await.0.key.task_id, common::task(1));
    end.start();
    second.await.unwrap().unwrap();
    let place = names::xcom_key(
        &item.key.dag_id,
        &item.key.run_id,
        &item.key.task_id,
        item.key.map_index,
        "return_value",
    );
    assert!(state.get(&place).await.unwrap().is_some(), "it was filled");
    state
}

#[tokio::test(start_paused = true)]
async fn a_state_is_called_whole_after_its_last_value_and_before_any_work() {
    let state = filled(false).await;
    assert!(!state.early.load(Ordering::Relaxed), "a value came after it was called whole");
    assert!(state.get(names::PROTOCOL).await.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_state_that_was_lost_while_it_was_filled_is_not_called_whole() {
    let state = filled(true).await;
    assert_eq!(state.get(names::PROTOCOL).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_state_that_nothing_has_to_be_filled_into_is_called_whole_too() {
    let world = World::new(memory::ports()).await;
    let (end, scheduler) = world.scheduler(world.ports.clone(), SchedulerSettings::default());
    // Once it has answered, its start is over; and what it sent then went before.
    world.register(spec(&[&[]], 0)).await;
    assert!(world.ports.state.get(names::PROTOCOL).await.unwrap().is_some());
    end.start();
    scheduler.await.unwrap().unwrap();
}
