//! What the services meet in: the log, the queues, the keyed state, the signals; and the clock.
use std::collections::BTreeMap;

use dagbok_events::{
    Actor, CommandId, ExecutorId, Record, Timestamp, TryKey, decode, encode, subject_of,
};
use dagbok_protocol::{Answer, Command, CommandBody, Presence, WorkItem};

use crate::{Prng, audit::Audit, queue::Queue, storage::Storage};

/// Microseconds in a second.
pub(crate) const SECOND: i64 = 1_000_000;
/// How long a command or a work item is somebody's, and how long an executor may be silent.
pub(crate) const LEASE: i64 = 5 * SECOND;

/// Schedules of minutes to an hour, so that a clock that is hours ahead makes tens of runs and not thousands.
pub(crate) const SLOW: i64 = 200;

/// Somebody else appended first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conflict;

/// Everything outside of the services.
#[derive(Debug)]
pub struct World {
    /// Where chance comes from.
    pub rng: Prng,
    /// True time, in microseconds since the epoch.
    pub now: i64,
    /// How slow schedules are, and how far off clocks may be: by minutes at 1, by hours at [`SLOW`].
    pub pace: i64,
    /// Whether things still go wrong.
    pub chaos: bool,
    /// The log, as it was appended to and acknowledged. What services read is in [`Storage`].
    pub log: Vec<Vec<u8>>,
    pub(crate) storage: Storage,
    /// The second opinion on it.
    pub audit: Audit,
    pub(crate) inbox: Queue<Command>,
    pub(crate) work: Queue<WorkItem>,
    pub(crate) presence: BTreeMap<ExecutorId, (i64, Presence)>,
    pub(crate) orders: BTreeMap<ExecutorId, Vec<TryKey>>,
    pub(crate) answers: BTreeMap<String, Answer>,
    commands: BTreeMap<CommandId, Command>,
    next_command: u64,
}

impl World {
    /// Nothing yet; when it is depends on the seed.
    pub fn new(seed: u64) -> Self {
        let mut rng = Prng::new(seed);
        let now = 1_704_067_200 * SECOND + rng.between(0, 60 * SECOND);
        let pace = if rng.chance(400) { SLOW } else { 1 };
        Self {
            rng,
            now,
            pace,
            chaos: true,
            log: Vec::new(),
            storage: Storage::new(),
            audit: Audit::new(),
            inbox: Queue::new(LEASE),
            work: Queue::new(LEASE),
            presence: BTreeMap::new(),
            orders: BTreeMap::new(),
            answers: BTreeMap::new(),
            commands: BTreeMap::new(),
            next_command: 0,
        }
    }

    /// Whether something goes wrong that does so in `permille` of a thousand cases.
    pub(crate) fn trouble(&mut self, permille: u64) -> bool {
        self.chaos && self.rng.chance(permille)
    }

    /// Notes that something worth testing came about.
    pub(crate) fn note(&mut self, what: &str) {
        self.audit.note(what);
    }

    /// How far off somebody's clock is after it was set: a little, or by minutes and hours, either way.
    pub(crate) fn some_skew(&mut self) -> i64 {
        if !self.chaos || self.rng.chance(300) {
            return self.rng.between(-2 * SECOND, 2 * SECOND);
        }
        let minute = 60 * SECOND;
        let off = self.rng.between(minute, minute + self.pace * 2 * minute);
        if self.rng.chance(500) { -off } else { off }
    }

    /// Appends in one go, if the log still ends at `expected`.
    pub(crate) fn append(&mut self, expected: usize, records: &[Record]) -> Result<(), Conflict> {
        if self.log.len() != expected {
            self.note("append refused");
            return Err(Conflict);
        }
        for record in records {
            let bytes = encode(record);
            let stored = decode(&bytes).expect("what was encoded");
            assert_eq!(stored, *record, "a record comes back as it was stored");
            self.storage.append(&subject_of(&record.scope), &bytes);
            self.log.push(bytes);
            let command = record.cause.as_ref().and_then(|cause| self.commands.get(&cause.command));
            let seq = self.log.len() as u64;
            self.audit.check(seq, &stored, command).unwrap_or_else(|finding| panic!("{finding}"));
        }
        Ok(())
    }

    /// Somebody else puts an entry on the log that is no record.
    pub(crate) fn intrude(&mut self, payload: Vec<u8>) {
        assert!(decode(&payload).is_err(), "rubbish is no record");
        self.storage.append("log.rubbish", &payload);
        self.log.push(payload);
        self.audit.pass_over();
    }

    /// A command that nobody sent yet.
    pub(crate) fn command(&mut self, by: Actor, body: CommandBody, answered: bool) -> Command {
        self.next_command += 1;
        let id = CommandId::new(format!("c{}", self.next_command)).expect("an id");
        let reply_to = answered.then(|| format!("answers.{id}"));
        // Everybody has a clock of their own, and nothing goes by this one.
        let off = i64::try_from(self.next_command % 7).expect("small") - 3;
        let sent_at = Timestamp(self.now + off * 3_600 * SECOND);
        let command = Command { id, by, sent_at, reply_to, reason: None, trace: None, body };
        self.commands.insert(command.id.clone(), command.clone());
        command
    }

    /// Sends a command: it arrives, after a while, perhaps twice.
    pub(crate) fn send(&mut self, command: &Command) {
        self.send_once(command);
        if self.trouble(100) {
            self.note("command sent twice");
            let later = self.now + self.rng.between(0, 4 * LEASE);
            self.inbox.publish_again(command.id.as_str(), command.clone(), later);
        }
    }

    /// Sends a command that is not repeated on its way.
    pub(crate) fn send_once(&mut self, command: &Command) {
        let at = self.now + self.delay();
        self.inbox.publish(command.id.as_str(), command.clone(), at);
    }

    /// The answer to a command, where it came and was not lost.
    pub(crate) fn answer_to(&mut self, command: &CommandId) -> Option<Answer> {
        self.answers.remove(&format!("answers.{command}"))
    }

    /// Sends a command that takes its time, up to `longest`.
    pub(crate) fn send_late(&mut self, command: &Command, longest: i64) {
        let at = self.now + self.rng.between(0, longest);
        self.inbox.publish_again(command.id.as_str(), command.clone(), at);
    }

    fn delay(&mut self) -> i64 {
        if self.trouble(50) { self.rng.between(0, 2 * LEASE) } else { self.rng.between(100, 5_000) }
    }
}
