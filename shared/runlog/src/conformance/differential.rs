//! One seeded run of operations through several implementations at once: all give the same answers.
//! The first is the model; put memory there. A failure names seed and step, which replay it.
use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{PATIENCE, seeded::Seeded};
use crate::{
    AppendError, Delivery, Draft, KeyedState, Ports, Published, Queue, QueueSettings, ReadLimit,
    RunLog, Seq, StateError, digest_of,
};

/// An implementation and its name; each starts empty.
pub type Named = (&'static str, Ports);

/// Bytes to write, small enough to print.
#[derive(Clone, Copy, Debug)]
struct Filler {
    seed: u64,
    length: usize,
}

impl Filler {
    fn any(chance: &mut Seeded, length: usize) -> Self {
        Self { seed: chance.number(), length }
    }

    fn bytes(self) -> Bytes {
        Seeded::new(self.seed).bytes(self.length).into()
    }
}

/// Bytes that came back, small enough to print: how many, and the beginning of their digest.
type Print = (usize, String);

fn print(bytes: &[u8]) -> Print {
    (bytes.len(), digest_of(bytes)[..8].to_owned())
}

/// Drives the log of each with the same `steps` operations: appends that are right, behind and
/// ahead, of any size, and reads from anywhere with any limit.
pub async fn log(seed: u64, steps: usize, all: &[Named]) {
    let mut chance = Seeded::new(seed);
    let mut last = 0;
    for step in 0..steps {
        let operation = LogOperation::any(&mut chance, last);
        let mut answers = Vec::new();
        for (name, ports) in all {
            answers.push((*name, operation.run(&*ports.log).await));
        }
        agree(seed, step, &operation, &answers);
        if let LogAnswer::At(seq) = answers[0].1 {
            last = last.max(seq);
        }
    }
}

#[derive(Debug)]
enum LogOperation {
    Append { expected: u64, drafts: Vec<(String, Filler)> },
    Read { after: u64, limit: ReadLimit },
    Last,
}

#[derive(Debug, PartialEq, Eq)]
enum LogAnswer {
    At(u64),
    Conflict,
    Entries(Vec<(u64, String, Print)>),
}

impl LogOperation {
    fn any(chance: &mut Seeded, last: u64) -> Self {
        match chance.below(10) {
            0..5 => {
                let expected = match chance.below(8) {
                    0 => chance.below(last),
                    1 => last + 1 + chance.below(3),
                    _ => last,
                };
                let count = [1, 1, 1, 2, 5, 40][chance.size(6)];
                // An empty list is no question to the log, so it says nothing of what is last.
                Self::Append { expected, drafts: (0..count).map(|_| any_draft(chance)).collect() }
            }
            5..9 => {
                let after = chance.below(last + 3);
                let limit = ReadLimit { entries: chance.size(200), bytes: chance.size(100_000) };
                Self::Read { after, limit }
            }
            _ => Self::Last,
        }
    }

    async fn run(&self, log: &dyn RunLog) -> LogAnswer {
        match self {
            Self::Append { expected, drafts } => {
                let draft = |(subject, filler): &(String, Filler)| Draft {
                    subject: subject.clone(),
                    payload: filler.bytes(),
                };
                match log.append(Seq(*expected), drafts.iter().map(draft).collect()).await {
                    Ok(seq) => LogAnswer::At(seq.0),
                    Err(AppendError::Conflict { .. }) => LogAnswer::Conflict,
                    Err(other) => panic!("{other}"),
                }
            }
            Self::Read { after, limit } => {
                let entries = log.read(Seq(*after), *limit).await.unwrap().into_iter();
                let entries = entries.map(|it| (it.seq.0, it.subject, print(&it.payload)));
                LogAnswer::Entries(entries.collect())
            }
            Self::Last => LogAnswer::At(log.last().await.unwrap().0),
        }
    }
}

fn any_draft(chance: &mut Seeded) -> (String, Filler) {
    let length = [0, 1, 200, 250, 300, 5_000, 40_000][chance.size(7)];
    let subject = format!("log.run.dag_{}.run_{}", chance.below(4), chance.below(100));
    (subject, Filler::any(chance, length))
}

/// Drives one queue of each with the same operations. Leases are long: what time decides is not
/// compared here.
pub async fn queue(seed: u64, steps: usize, all: &[Named]) {
    let mut chance = Seeded::new(seed);
    let settings = QueueSettings { lease: Duration::from_mins(5) };
    let mut sides = Vec::new();
    for (name, ports) in all {
        let queue = ports.queues.open("work.differential", settings).await.unwrap();
        sides.push((*name, QueueSide { queue, held: BTreeMap::new() }));
    }
    let mut ready = 0_usize;
    for step in 0..steps {
        let held: Vec<_> = sides[0].1.held.keys().cloned().collect();
        let operation = QueueOperation::any(&mut chance, &held);
        let mut answers = Vec::new();
        for (name, side) in &mut sides {
            answers.push((*name, side.run(&operation, ready).await));
        }
        agree(seed, step, &operation, &answers);
        match (&operation, &answers[0].1) {
            (_, QueueAnswer::Published(Published::New)) | (QueueOperation::Nak(_), _) => ready += 1,
            (QueueOperation::PullAll, _) => ready = 0,
            _ => {}
        }
    }
}

#[derive(Debug)]
enum QueueOperation {
    Publish { key: String, payload: Filler },
    PullAll,
    Ack(String),
    Nak(String),
    Progress(String),
    Depth,
}

#[derive(Debug, PartialEq, Eq)]
enum QueueAnswer {
    Published(Published),
    /// Key, payload, times delivered; sorted, as the order is only roughly the same.
    Items(Vec<(String, Print, u32)>),
    Depth(u64),
    Done,
}

struct QueueSide {
    queue: Arc<dyn Queue>,
    held: BTreeMap<String, Delivery>,
}

impl QueueOperation {
    fn any(chance: &mut Seeded, held: &[String]) -> Self {
        let one = |chance: &mut Seeded| held.get(chance.size(held.len())).cloned();
        match chance.below(10) {
            0..4 => {
                let length = chance.size(2_000);
                let payload = Filler::any(chance, length);
                Self::Publish {
                    key: format!("run {}/task.{}", chance.below(3), chance.below(8)),
                    payload,
                }
            }
            4..6 => Self::PullAll,
            6 | 7 => one(chance).map_or(Self::Depth, Self::Ack),
            8 => one(chance).map_or(Self::Depth, Self::Nak),
            _ => one(chance).map_or(Self::Depth, Self::Progress),
        }
    }
}

impl QueueSide {
    async fn run(&mut self, operation: &QueueOperation, ready: usize) -> QueueAnswer {
        match operation {
            QueueOperation::Publish { key, payload } => {
                QueueAnswer::Published(self.queue.publish(key, payload.bytes()).await.unwrap())
            }
            QueueOperation::PullAll => QueueAnswer::Items(self.pull_all(ready).await),
            QueueOperation::Ack(key) => {
                self.held.remove(key).unwrap().handle.ack().await.unwrap();
                QueueAnswer::Done
            }
            QueueOperation::Nak(key) => {
                self.held.remove(key).unwrap().handle.nak(Duration::ZERO).await.unwrap();
                QueueAnswer::Done
            }
            QueueOperation::Progress(key) => {
                self.held[key].handle.progress().await.unwrap();
                QueueAnswer::Done
            }
            QueueOperation::Depth => QueueAnswer::Depth(self.queue.depth().await.unwrap()),
        }
    }

    async fn pull_all(&mut self, ready: usize) -> Vec<(String, Print, u32)> {
        let mut items = Vec::new();
        while items.len() < ready {
            let more = self.queue.pull(ready - items.len(), PATIENCE).await.unwrap();
            assert!(!more.is_empty(), "{} of {ready} items came", items.len());
            for item in more {
                items.push((item.key.clone(), print(&item.payload), item.delivered));
                self.held.insert(item.key.clone(), item);
            }
        }
        let extra = self.queue.pull(1, Duration::ZERO).await.unwrap();
        assert!(extra.is_empty(), "more than {ready} items came: {extra:?}");
        items.sort();
        items
    }
}

/// Drives the keyed state of each with the same operations. Revisions differ in number, not in
/// meaning: an update names the revision that its own side gave for the same earlier write.
pub async fn state(seed: u64, steps: usize, all: &[Named]) {
    let mut chance = Seeded::new(seed);
    let mut written = vec![Vec::<u64>::new(); all.len()];
    for step in 0..steps {
        let operation = StateOperation::any(&mut chance, written[0].len());
        let mut answers = Vec::new();
        for ((name, ports), written) in all.iter().zip(&mut written) {
            answers.push((*name, operation.run(&*ports.state, written).await));
        }
        agree(seed, step, &operation, &answers);
    }
}

#[derive(Debug)]
enum StateOperation {
    Put(String, Filler),
    Create(String, Filler),
    /// The key, the value, and which write's revision to name.
    Update(String, Filler, usize),
    Delete(String),
    Get(String),
    List(&'static str),
}

#[derive(Debug, PartialEq, Eq)]
enum StateAnswer {
    Written,
    Conflict,
    /// Keys and values, with the number of the write that made each.
    Found(Vec<(String, Print, usize)>),
}

impl StateOperation {
    fn any(chance: &mut Seeded, writes: usize) -> Self {
        let key = format!("{}/{}", ["lease", "presence", "x.com"][chance.size(3)], chance.below(4));
        let length = chance.size(300);
        let value = Filler::any(chance, length);
        match chance.below(12) {
            0 | 1 => Self::Put(key, value),
            2..5 => Self::Create(key, value),
            // Mostly one of the last few writes, so that some still are the key's present one.
            5..8 if writes > 0 => Self::Update(key, value, writes - 1 - chance.size(writes.min(6))),
            8 => Self::Delete(key),
            9 => Self::List(["", "lease/", "p", "none"][chance.size(4)]),
            _ => Self::Get(key),
        }
    }

    async fn run(&self, state: &dyn KeyedState, written: &mut Vec<u64>) -> StateAnswer {
        let found = |written: &[u64], key: &str, value: crate::Versioned| {
            let write = written.iter().position(|revision| *revision == value.revision);
            (
                key.to_owned(),
                print(&value.value),
                write.expect("a value has a revision that was given"),
            )
        };
        let outcome = match self {
            Self::Put(key, value) => state.put(key, value.bytes(), None).await.map_err(Into::into),
            Self::Create(key, value) => state.create(key, value.bytes(), None).await,
            Self::Update(key, value, write) => {
                state.update(key, value.bytes(), written[*write], None).await
            }
            Self::Delete(key) => {
                state.delete(key).await.unwrap();
                return StateAnswer::Written;
            }
            Self::Get(key) => {
                let value = state.get(key).await.unwrap();
                return StateAnswer::Found(
                    value.map(|v| found(written, key, v)).into_iter().collect(),
                );
            }
            Self::List(prefix) => {
                let all = state.list(prefix).await.unwrap().into_iter();
                return StateAnswer::Found(all.map(|(key, v)| found(written, &key, v)).collect());
            }
        };
        match outcome {
            Ok(revision) => {
                written.push(revision);
                StateAnswer::Written
            }
            Err(StateError::Conflict { .. }) => StateAnswer::Conflict,
            Err(other) => panic!("{other}"),
        }
    }
}

/// Panics, with all that is needed to do it again, unless everybody answered as the first did.
fn agree<O: std::fmt::Debug, A: PartialEq + std::fmt::Debug>(
    seed: u64,
    step: usize,
    operation: &O,
    answers: &[(&str, A)],
) {
    let (model, wanted) = &answers[0];
    for (name, answer) in &answers[1..] {
        assert!(
            answer == wanted,
            "seed {seed}, step {step}: {operation:?}\n{model}: {wanted:?}\n{name}: {answer:?}"
        );
    }
}
