//! What becomes of a command and of a work item when a message between is lost.
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
use common::{PATIENCE, Player, World, assert_each_try_ended_once, dag_id, runs_ended, spec};
use dagbok_events::{
    Actor, Digest, Fact, ForeignEntrySkipped, Record, RunId, RunKey, Scope, encode, subject_of,
};
use dagbok_inbox::Ask;
use dagbok_protocol::{Answer, ClearTasks, CommandBody, names};
use dagbok_runlog::{
    Delivery, DeliveryHandle, Draft, PortError, PortResult, Published, Queue, QueueSettings,
    Queues, digest_of, memory,
};
use dagbok_scheduler::SchedulerSettings;

#[tokio::test(start_paused = true)]
async fn a_work_item_that_was_lost_is_offered_again_and_asked_about() {
    let world = World::new(memory::ports()).await;
    let settings = SchedulerSettings { lineage: true, ..SchedulerSettings::default() };
    let (lease, again) = (settings.executor_lease, settings.offer_again);
    let (end, scheduler) = world.scheduler(world.ports.clone(), settings);
    world.register(spec(&[&[]], 0)).await;
    world.trigger("r1").await;
    let player = Player::new(&world, "e1", lease).await;
    let (item, delivery) = player.take().await;
    assert!(!item.ask, "the first offer is nobody else's");
    delivery.handle.ack().await.unwrap();
    let since = tokio::time::Instant::now();
    let (same, delivery) = player.take().await;
    assert_eq!((&same.key, same.ask), (&item.key, true));
    assert!(item.lineage && same.lineage, "each offer says what is wanted of the try");
    assert!(since.elapsed() <= again * 2 + Duration::from_secs(10), "{:?}", since.elapsed());
    player.start(&same.key).await;
    player.succeed(&same.key, "1").await;
    delivery.handle.ack().await.unwrap();
    world.until("the run's end", |facts| runs_ended(facts) == 1).await;
    let none = player.queue.pull(1, again * 5).await.unwrap();
    assert!(none.is_empty(), "what is over is offered to nobody");
    end.start();
    scheduler.await.unwrap().unwrap();
    assert_each_try_ended_once(&world.records().await);
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_record_waits_until_its_command_can_not_come_again() {
    let world = World::new(memory::ports()).await;
    let deaf = Arc::new(AtomicBool::new(false));
    let mut ports = world.ports.clone();
    ports.queues = Arc::new(Forgetful { inner: ports.queues, deaf: Arc::clone(&deaf) });
    let (end, scheduler) = world.scheduler(ports, SchedulerSettings::default());
    world.register(spec(&[&[]], 0)).await;
    deaf.store(true, Ordering::SeqCst);
    let pause = || {
        let body = CommandBody::PauseDag { dag_id: dag_id() };
        world.inbox.ask(Ask::new(Actor::User("ann".into()), body), PATIENCE)
    };
    let first = pause().await.unwrap();
    assert!(matches!(first, Answer::Accepted { .. }), "it is in the log: {first:?}");
    assert!(pause().await.is_err(), "a change of nothing could still become one");
    deaf.store(false, Ordering::SeqCst);
    assert_eq!(pause().await.unwrap(), Answer::Unchanged);
    end.start();
    scheduler.await.unwrap().unwrap();
}

/// The answer to a work item's first publish is lost, and the item is long taken when it is published again.
#[tokio::test(start_paused = true)]
async fn a_work_item_whose_publish_was_unclear_asks_the_second_time() {
    let world = World::new(memory::ports()).await;
    let mut ports = world.ports.clone();
    ports.queues = Arc::new(Unclear { inner: ports.queues, heard: Arc::default() });
    let settings = SchedulerSettings::default();
    let lease = settings.executor_lease;
    let (end, scheduler) = world.scheduler(ports, settings);
    world.register(spec(&[&[]], 0)).await;
    let player = Player::new(&world, "e1", lease).await;
    let (_, taken) = tokio::join!(world.trigger("r1"), player.take());
    let (item, delivery) = taken;
    assert!(!item.ask, "the first offer is nobody else's");
    delivery.handle.ack().await.unwrap();
    let (same, _delivery) = player.take().await;
    assert_eq!((&same.key, same.ask), (&item.key, true), "what is sent again says so");
    assert!(!item.lineage && !same.lineage, "nobody wants it");
    end.start();
    scheduler.await.unwrap().unwrap();
}

/// A work queue that takes the first item, and says that it may not have.
#[derive(Debug)]
struct Unclear<T> {
    inner: T,
    heard: Arc<AtomicBool>,
}

#[async_trait]
impl Queues for Unclear<Arc<dyn Queues>> {
    async fn open(&self, name: &str, settings: QueueSettings) -> PortResult<Arc<dyn Queue>> {
        let inner = self.inner.open(name, settings).await?;
        let heard = Arc::clone(&self.heard);
        Ok(if name == names::INBOX { inner } else { Arc::new(Unclear { inner, heard }) })
    }
}

#[async_trait]
impl Queue for Unclear<Arc<dyn Queue>> {
    async fn publish(&self, key: &str, payload: Bytes) -> PortResult<Published> {
        let published = self.inner.publish(key, payload).await?;
        if self.heard.swap(true, Ordering::SeqCst) {
            return Ok(published);
        }
        Err(PortError::unavailable("queue", "a test"))
    }

    async fn pull(&self, max: usize, wait: Duration) -> PortResult<Vec<Delivery>> {
        self.inner.pull(max, wait).await
    }

    async fn depth(&self) -> PortResult<u64> {
        self.inner.depth().await
    }
}

/// An inbox that can't be told that anything is done with while it is deaf.
#[derive(Debug)]
struct Forgetful<T> {
    inner: T,
    deaf: Arc<AtomicBool>,
}

#[async_trait]
impl Queues for Forgetful<Arc<dyn Queues>> {
    async fn open(&self, name: &str, settings: QueueSettings) -> PortResult<Arc<dyn Queue>> {
        let inner = self.inner.open(name, settings).await?;
        let deaf = Arc::clone(&self.deaf);
        Ok(if name == names::INBOX { Arc::new(Forgetful { inner, deaf }) } else { inner })
    }
}

#[async_trait]
impl Queue for Forgetful<Arc<dyn Queue>> {
    async fn publish(&self, key: &str, payload: Bytes) -> PortResult<Published> {
        self.inner.publish(key, payload).await
    }

    async fn pull(&self, max: usize, wait: Duration) -> PortResult<Vec<Delivery>> {
        let pulled = self.inner.pull(max, wait).await?;
        let wrapped = pulled.into_iter().map(|delivery| {
            let handle = Forgetful { inner: delivery.handle, deaf: Arc::clone(&self.deaf) };
            Delivery { handle: Box::new(handle), ..delivery }
        });
        Ok(wrapped.collect())
    }

    async fn depth(&self) -> PortResult<u64> {
        self.inner.depth().await
    }
}

#[async_trait]
impl DeliveryHandle for Forgetful<Box<dyn DeliveryHandle>> {
    async fn ack(&self) -> PortResult<()> {
        if self.deaf.load(Ordering::SeqCst) {
            return Err(PortError::unavailable("queue", "a test"));
        }
        self.inner.ack().await
    }

    async fn progress(&self) -> PortResult<()> {
        self.inner.progress().await
    }

    async fn nak(&self, delay: Duration) -> PortResult<()> {
        self.inner.nak(delay).await
    }
}

/// Somebody else's entry on a run's own subject, which is read when the run is taken up again.
#[tokio::test(start_paused = true)]
async fn a_run_is_taken_up_again_past_what_somebody_else_wrote_on_its_subject() {
    let world = World::new(memory::ports()).await;
    let (end, scheduler) = world.scheduler(world.ports.clone(), SchedulerSettings::default());
    world.register(spec(&[&[]], 0)).await;
    let lease = SchedulerSettings::default().executor_lease;
    let player = tokio::spawn(Player::new(&world, "e1", lease).await.play());
    world.trigger("r1").await;
    world.until("the run's end", |facts| runs_ended(facts) == 1).await;
    end.start();
    scheduler.await.unwrap().unwrap();

    let (dag_id, run_id) = (dag_id(), RunId::new("r1").unwrap());
    let key = RunKey { dag_id: dag_id.clone(), run_id: run_id.clone() };
    let log = &world.ports.log;
    let (subject, payload) = (subject_of(&Scope::Run(key)), Bytes::from_static(b"\xc1"));
    let digest = Digest::new(digest_of(&payload)).unwrap();
    let after = log.last().await.unwrap();
    let skip = ForeignEntrySkipped { seq: after.0 + 1, subject: subject.clone(), digest, bytes: 1 };
    let record = Record {
        facts: vec![Fact::ForeignEntrySkipped(Box::new(skip))],
        scope: Scope::Namespace,
        ..world.records().await.pop().unwrap()
    };
    let drafts = vec![
        Draft { subject, payload },
        Draft { subject: subject_of(&Scope::Namespace), payload: encode(&record).into() },
    ];
    log.append(after, drafts).await.unwrap();

    let (end, scheduler) = world.scheduler(world.ports.clone(), SchedulerSettings::default());
    let clear = ClearTasks::of(dag_id, run_id);
    let answer = world.ask(CommandBody::ClearTasks(clear)).await;
    assert!(matches!(answer, Answer::Accepted { .. }), "{answer:?}");
    player.abort();
    end.start();
    scheduler.await.unwrap().unwrap();
}
