//! What goes out once a batch is durable: answers, values for tasks to read, work items, orders, and
//! the inbox's acknowledgements. In that order, so that work never arrives before what it reads.
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use dagbok_events::{ExecutorId, TryKey, encode_any, encode_packed};
use dagbok_protocol::{Answer, Order, PROTOCOL, Refusal, RefusalCode, WorkItem, names};
use dagbok_runlog::{
    DeliveryHandle, Once, PortError, Ports, Queue, QueueSettings, limits::MAX_PAYLOAD,
};
use dagbok_runtime::{Backoff, Shutdown, fresh_id};
use futures::{StreamExt as _, stream};
use tokio::{
    sync::mpsc::{self, error::TryRecvError},
    time::Instant,
};

/// Requests to a port that are under way at once.
const AT_ONCE: usize = 128;
/// Answers longer than this are compressed; none to an executor is.
const PLAIN_BYTES: usize = 256 << 10;
/// Batches that may wait to go out before the loop waits for them.
const BATCHES: usize = 16;

/// An answer, and the subject that it is waited for on.
type Reply = (String, Answer);

/// What becomes of a value that tasks read.
#[derive(Clone, Debug)]
pub(crate) enum ValueChange {
    /// It is this.
    Put(Bytes),
    /// Nobody may find it any more.
    Remove,
    /// Nobody looks for it any more: it goes bit by bit, and before work of a run of the same name goes out.
    RemoveInTime,
}

/// What one batch sends out.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    pub(crate) answers: Vec<Reply>,
    /// By place, in the order of the log.
    pub(crate) values: Vec<(String, ValueChange)>,
    /// Whether the values are all that tasks and executors may read: with them the keyed state is whole.
    pub(crate) fills: bool,
    pub(crate) work: Vec<WorkItem>,
    /// A moment before the records of the work were durable: nobody can have offered it before.
    pub(crate) since: Option<Instant>,
    pub(crate) orders: Vec<(ExecutorId, Order)>,
    /// Triggers that nobody waits for any more.
    pub(crate) triggers_over: Vec<TryKey>,
    pub(crate) acks: Vec<Box<dyn DeliveryHandle>>,
    /// Answers that no record stands for, with the delivery to acknowledge first: a command that was
    /// answered so must not come again and be decided otherwise.
    pub(crate) unrecorded: Vec<(Box<dyn DeliveryHandle>, Option<Reply>)>,
}

impl Effects {
    pub(crate) fn is_empty(&self) -> bool {
        !self.fills
            && self.answers.is_empty()
            && self.values.is_empty()
            && self.work.is_empty()
            && self.orders.is_empty()
            && self.triggers_over.is_empty()
            && self.acks.is_empty()
            && self.unrecorded.is_empty()
    }

    /// Nothing of it goes out: its commands are for the next who looks, no sooner than after `delay`.
    pub(crate) async fn hand_back(self, delay: Duration) {
        let unrecorded = self.unrecorded.into_iter().map(|(handle, _)| handle);
        stream::iter(self.acks.into_iter().chain(unrecorded))
            .for_each_concurrent(AT_ONCE, async |handle| {
                // Without it they come again when their lease ends.
                if let Err(error) = handle.nak(delay).await {
                    tracing::debug!(%error, "a command can't be handed back");
                }
            })
            .await;
    }
}

/// Sends batches out in order, one after the other, until the term ends.
#[derive(Debug)]
pub(crate) struct Dispatcher {
    ports: Ports,
    lease: Duration,
    /// Whether tries are to say what they read and wrote.
    lineage: bool,
    term: Shutdown,
    queues: BTreeMap<String, Arc<dyn Queue>>,
    /// Values of runs that are over, yet to be taken away.
    gone: BTreeSet<String>,
}

impl Dispatcher {
    /// Starts; batches go in by the sender.
    pub(crate) fn start(
        ports: Ports,
        (lease, lineage): (Duration, bool),
        term: &Shutdown,
    ) -> mpsc::Sender<Effects> {
        let (sender, mut batches) = mpsc::channel::<Effects>(BATCHES);
        let (queues, gone) = (BTreeMap::new(), BTreeSet::new());
        let mut dispatcher = Self { ports, lease, lineage, term: term.clone(), queues, gone };
        term.spawn(async move {
            loop {
                // A run of many copies leaves as many values: others' work goes out in between.
                let batch = if dispatcher.gone.is_empty() {
                    batches.recv().await
                } else {
                    match batches.try_recv() {
                        Err(TryRecvError::Empty) => {
                            dispatcher.take_away().await;
                            continue;
                        }
                        received => received.ok(),
                    }
                };
                let Some(batch) = batch else { return };
                dispatcher.send(batch).await;
                // Where there is always something to send they must go too.
                dispatcher.take_away().await;
            }
        });
        sender
    }

    async fn send(&mut self, batch: Effects) {
        for (subject, answer) in batch.answers {
            self.answer(&subject, &answer).await;
        }
        stream::iter(batch.unrecorded)
            .for_each_concurrent(AT_ONCE, async |(handle, answer)| {
                // Not acknowledged, it comes again, and is answered then.
                if acknowledge(&*handle).await
                    && let Some((subject, answer)) = answer
                {
                    self.answer(&subject, &answer).await;
                }
            })
            .await;
        if batch.fills {
            self.fill(batch.values).await;
        } else {
            self.put_values(batch.values).await;
        }
        self.make_way(&batch.work).await;
        self.offer(batch.work, batch.since.unwrap_or_else(Instant::now)).await;
        for (executor, order) in batch.orders {
            self.order(&executor, &order).await;
        }
        self.end_triggers(&batch.triggers_over).await;
        stream::iter(batch.acks)
            .for_each_concurrent(AT_ONCE, async |handle| {
                // What is not acknowledged comes again and is known by its id.
                acknowledge(&*handle).await;
            })
            .await;
    }

    /// An answer that is lost is asked for again; nothing depends on it.
    async fn answer(&self, subject: &str, answer: &Answer) {
        let sent = self.ports.signals.publish(subject, packed(answer).into()).await;
        if let Err(error) = sent {
            tracing::debug!(%error, "an answer was not sent");
        }
    }

    /// Orders may be lost: presence shows whether they were heard, and they are repeated.
    async fn order(&self, executor: &ExecutorId, order: &Order) {
        let subject = names::orders_subject(executor);
        if let Err(error) = self.ports.signals.publish(&subject, encode_any(order).into()).await {
            tracing::debug!(%error, %executor, "an order was not sent");
        }
    }

    /// May be lost: a triggerer asks now and then what it still has to run.
    async fn end_triggers(&self, over: &[TryKey]) {
        for keys in over.chunks(AT_ONCE) {
            let payload = encode_any(&keys.to_vec()).into();
            let sent = self.ports.signals.publish(names::TRIGGERS_OVER, payload).await;
            if let Err(error) = sent {
                tracing::debug!(%error, "triggerers were not told what is over");
            }
        }
    }

    /// Puts all values, and says that they are there: a miss is believed from then on. A state that is lost meanwhile
    /// lacks some; it has lost the lease too, and whoever leads next fills it.
    async fn fill(&mut self, values: Vec<(String, ValueChange)>) {
        let state = Arc::clone(&self.ports.state);
        let filling = Bytes::from(fresh_id());
        self.insist("the start of filling the state", || async {
            state.put(names::FILLING, filling.clone(), None).await.map(drop)
        })
        .await;
        self.put_values(values).await;
        self.insist("the protocol's version", || async {
            if state.get(names::FILLING).await?.is_none_or(|it| it.value != filling) {
                tracing::warn!("the keyed state was lost while it was filled");
                return Ok(());
            }
            state.put(names::PROTOCOL, PROTOCOL.to_string().into(), None).await.map(drop)
        })
        .await;
    }

    async fn put_values(&mut self, values: Vec<(String, ValueChange)>) {
        // Two changes of one place must keep their order; the last one wins.
        let mut last = BTreeMap::new();
        for (place, change) in values {
            last.insert(place, change);
        }
        let mut now = Vec::new();
        for (place, change) in last {
            self.gone.remove(&place);
            match change {
                ValueChange::Put(text) => now.push((place, Some(text))),
                ValueChange::Remove => now.push((place, None)),
                ValueChange::RemoveInTime => {
                    self.gone.insert(place);
                }
            }
        }
        self.change(now).await;
    }

    async fn change(&self, values: Vec<(String, Option<Bytes>)>) {
        let state = &self.ports.state;
        stream::iter(values)
            .for_each_concurrent(AT_ONCE, |(place, text)| async move {
                self.insist("a task's value", || async {
                    match &text {
                        Some(text) => state.put(&place, text.clone(), None).await.map(|_| ()),
                        None => state.delete(&place).await,
                    }
                })
                .await;
            })
            .await;
    }

    /// Takes the values away that a run of the same name left and work of the new one could find.
    async fn make_way(&mut self, work: &[WorkItem]) {
        if self.gone.is_empty() {
            return;
        }
        let runs: BTreeSet<String> = work
            .iter()
            .map(|item| names::xcom_prefix(&item.key.dag_id, &item.key.run_id))
            .collect();
        let of = |run: &String| {
            let all = self.gone.range::<String, _>(run..);
            all.take_while(|place| place.starts_with(run.as_str())).cloned().collect::<Vec<_>>()
        };
        let left: Vec<String> = runs.iter().flat_map(of).collect();
        for place in &left {
            self.gone.remove(place);
        }
        self.change(left.into_iter().map(|place| (place, None)).collect()).await;
    }

    /// Takes some values away that nobody looks for.
    async fn take_away(&mut self) {
        let some = std::iter::from_fn(|| self.gone.pop_first()).take(AT_ONCE);
        let some = some.map(|place| (place, None)).collect();
        self.change(some).await;
    }

    /// Whatever is sent a second time says so: the first may have arrived, been taken, run and be over.
    async fn offer(&mut self, work: Vec<WorkItem>, since: Instant) {
        for item in &work {
            let name = names::queue_of(item);
            if !self.queues.contains_key(&name) {
                self.open(name).await;
            }
        }
        let this = &*self;
        stream::iter(work)
            .for_each_concurrent(AT_ONCE, |item| async move {
                // Nobody asks a trigger or a callback.
                let lineage = this.lineage && item.trigger.is_none() && item.dag_callback.is_none();
                let item = WorkItem { lineage, ..item };
                let Some(queue) = this.queues.get(&names::queue_of(&item)) else { return };
                let key = names::work_key(&item.key);
                let once = Once { id: item.queued_seq, since };
                let first = Bytes::from(encode_any(&item));
                let again = Bytes::from(encode_any(&WorkItem { ask: true, ..item }));
                let sent = AtomicBool::new(false);
                this.insist("a work item", || async {
                    let before = sent.swap(true, Ordering::Relaxed);
                    let bytes = if before { again.clone() } else { first.clone() };
                    queue.publish_once(&key, bytes, once).await.map(|_| ())
                })
                .await;
            })
            .await;
    }

    async fn open(&mut self, name: String) {
        let (mut opened, mut backoff) = (None, Backoff::default());
        while opened.is_none() && !self.term.is_started() {
            let settings = QueueSettings { lease: self.lease };
            match self.ports.queues.open(&name, settings).await {
                Ok(queue) => opened = Some(queue),
                Err(error) => {
                    tracing::warn!(%error, queue = %name, "the work queue can't be opened yet");
                    backoff.pause_unless(&self.term).await;
                }
            }
        }
        if let Some(queue) = opened {
            self.queues.insert(name, queue);
        }
    }

    /// Tries until it is done or the term ends; the next term sends all that is still called for.
    async fn insist<F, W>(&self, what: &str, mut work: F)
    where
        F: FnMut() -> W,
        W: Future<Output = Result<(), PortError>>,
    {
        let mut backoff = Backoff::default();
        loop {
            let Err(error) = work().await else { return };
            if self.term.is_started() {
                return;
            }
            tracing::warn!(%error, "{what} could not be sent out; trying again");
            if !backoff.pause_unless(&self.term).await {
                return;
            }
        }
    }
}

/// An answer as it is sent: one of many copies is long, and compresses well. Where that is not enough it says so.
fn packed(answer: &Answer) -> Vec<u8> {
    let bytes = encode_packed(answer, PLAIN_BYTES);
    if bytes.len() <= MAX_PAYLOAD {
        return bytes;
    }
    let message = format!(
        "the answer has {} bytes, more than the {MAX_PAYLOAD} that fit: ask about a part of it at a time, such as fewer \
         tasks or copies",
        bytes.len()
    );
    encode_any(&Answer::Refused(Refusal { code: RefusalCode::Invalid, message }))
}

async fn acknowledge(handle: &dyn DeliveryHandle) -> bool {
    let done = handle.ack().await;
    if let Err(error) = &done {
        tracing::debug!(%error, "a command will come again");
    }
    done.is_ok()
}
