//! Records at random: plausible ones, and ones that the rules would never make.
use dagbok_events::{
    Actor, ConnId, ConnectionSet, DagDisappeared, DagPaused, DagUnpaused, ExecutorJoined,
    ExecutorLeft, ExpectedRuns, Fact, ForeignReport, Interval, LeftWhy, Leg, LostWhy, MapIndex,
    Micros, MissedWhy, PoolDeleted, PoolName, PoolSet, QueueName, Record, RefusedWhy,
    ReportRefused, Rewrapped, RuledOut, RunCancelled, RunCleared, RunDeleted, RunExpected,
    RunFailed, RunMark, RunMarked, RunMissed, RunNoted, RunStarted, RunSucceeded, RunTimedOut,
    RunVersionChanged, RunWas, Scope, Sealed, SecretsRewrapped, TaskCleared, TaskExpanded,
    TaskGone, TaskMark, TaskMarked, TaskNoted, TaskQueued, TryCancelled, TryLost, TryRescheduled,
    TryReturned, TrySkipped, TryStarted, Usage, VariableDeleted, VariableKey, VariableSet,
};

use super::story::{FIRST, Story, dag, digest, executor, key, nth, spec, task};

/// A small generator: the same seed gives the same story for ever.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }
}

const DAGS: [&str; 2] = ["chain", "fan"];
const RUNS: [&str; 4] = ["one", "two", "three", "four"];
const TASKS: [&str; 4] = ["a", "b", "c", "ghost"];
const EXECUTORS: [&str; 2] = ["exec-1", "exec-2"];

#[expect(clippy::too_many_lines, reason = "one arm for each fact")]
fn fact(dice: &mut Dice) -> Fact {
    let id = dice.one(&TASKS);
    let number = u16::try_from(dice.below(3)).unwrap() + 1;
    let (task_id, map_index, try_number) =
        (task(id), MapIndex(i32::try_from(dice.below(2)).unwrap() - 1), nth(number));
    let leg = Leg(u32::try_from(dice.below(3)).unwrap());
    let on = executor(dice.one(&EXECUTORS));
    let retry_at = (dice.below(2) == 0).then_some(FIRST);
    let pool = PoolName::new(dice.one(&["default_pool", "gpu"])).unwrap();
    match dice.below(42) {
        0..=3 => Fact::TaskQueued(TaskQueued {
            task_id,
            map_index,
            try_number,
            leg,
            pool,
            pool_slots: 1 + u32::from(number),
            queue: QueueName::new("default").unwrap(),
        }),
        4..=6 => Fact::TryStarted(Box::new(TryStarted {
            task_id,
            map_index,
            try_number,
            leg,
            executor: on,
            hostname: "box".to_owned(),
            pid: 7,
            started_at: FIRST,
            inputs: [].into(),
        })),
        7..=8 => Story::success(id, number, None),
        9..=10 => Story::failure(id, number, retry_at),
        11 => Fact::TrySkipped(Box::new(TrySkipped {
            task_id,
            map_index,
            try_number,
            leg,
            ended_at: FIRST,
            message: "not today".to_owned(),
            usage: Usage::default(),
            log: None,
        })),
        12 => {
            let why = LostWhy::ExecutorGone;
            Fact::TryLost(Box::new(TryLost {
                task_id,
                map_index,
                try_number,
                leg,
                executor: Some(on),
                why,
                retry_at,
                usage: None,
                log: None,
            }))
        }
        13 => Fact::TryCancelled(TryCancelled {
            task_id,
            map_index,
            try_number,
            leg,
            executor: None,
            skipped: number == 1,
        }),
        14 => Fact::TryReturned(TryReturned { task_id, map_index, try_number, leg, executor: on }),
        15 => Story::ruled_out(id, RuledOut::UpstreamFailed),
        16 => Story::pushed(id, number, "return_value", Some("1")),
        17 => Story::pushed(id, number, "return_value", None),
        18 => Fact::ReportRefused(Box::new(ReportRefused {
            task_id,
            map_index,
            try_number,
            leg,
            report: ForeignReport::Succeeded,
            executor: on,
            why: RefusedWhy::NotInFlight,
            usage: None,
            log: None,
        })),
        19 => Story::creation(None),
        20 => Fact::RunStarted(RunStarted {}),
        21 => Fact::RunSucceeded(RunSucceeded {}),
        22 => Fact::RunFailed(RunFailed { failed: vec![task_id] }),
        23 => Fact::RunTimedOut(RunTimedOut { teardowns_left: number == 1 }),
        24 => Fact::RunCancelled(RunCancelled { teardowns_left: number == 1, was: None }),
        27 => Fact::TryRescheduled(Box::new(TryRescheduled {
            task_id,
            map_index,
            try_number,
            leg,
            ended_at: FIRST,
            due: FIRST,
            usage: Usage::default(),
            log: None,
        })),
        28 => Fact::TaskExpanded(TaskExpanded { task_id, length: u32::from(number) }),
        29 => Fact::TaskCleared(TaskCleared { task_id, map_index, further: u32::MAX, was: vec![] }),
        30 => Fact::RunCleared(RunCleared::default()),
        33 => Fact::TaskMarked(TaskMarked {
            task_id,
            map_index,
            further: u32::from(number) - 1,
            state: if number == 1 { TaskMark::Failed } else { TaskMark::Success },
            was: vec![],
        }),
        34 => Fact::RunMarked(RunMarked {
            state: if number == 1 { RunMark::Failed } else { RunMark::Success },
            was: RunWas::Running,
            teardowns_left: number == 3,
        }),
        35 => Fact::RunNoted(RunNoted {
            note: (number > 1).then(|| format!("note {number}")),
            was: None,
        }),
        36 => Fact::TaskNoted(TaskNoted {
            task_id,
            map_index,
            note: (number > 1).then(|| format!("note {number}")),
            was: None,
        }),
        37 => Fact::RunVersionChanged(Box::new(RunVersionChanged {
            version: u32::from(number),
            bundle: digest("c"),
            was: 1,
            bundle_was: digest("b"),
            added: if number == 1 { vec![task_id.clone()] } else { Vec::new() },
            removed: vec![TaskGone { task_id, map_index, further: u32::MAX, was: vec![] }],
            ends: number,
        })),
        31 => Fact::RunDeleted(RunDeleted { logical_date: None, tries: 0, ends: 0 }),
        25 => Fact::PoolSet(PoolSet { pool, slots: 4, description: None, include_deferred: false }),
        32 => Fact::PoolDeleted(PoolDeleted { pool }),
        38..=41 => about_secrets(dice, id, number),
        _ => {
            let name = format!("key_{:02}", dice.below(12));
            let large = format!("\"{}\"", "x".repeat(400));
            Story::pushed(id, number, &name, Some(if number == 1 { &large } else { "2" }))
        }
    }
}

fn about_secrets(dice: &mut Dice, name: &str, number: u16) -> Fact {
    let id = format!("{name}-{number}");
    let text = || "c2VhbGVk".to_owned();
    let sealed = Sealed { id: id.clone(), master: "m".to_owned(), key: text(), value: text() };
    let key = VariableKey::new(name).unwrap();
    match dice.below(4) {
        0 => Fact::VariableDeleted(VariableDeleted { key }),
        1 => {
            let keys = vec![Rewrapped { id, key: "bmV3".to_owned() }];
            Fact::SecretsRewrapped(SecretsRewrapped {
                master: "n".to_owned(),
                keys,
                retires: Vec::new(),
            })
        }
        2 => {
            let (conn_id, conn_type) = (ConnId::new(name).unwrap(), "http".to_owned());
            Fact::ConnectionSet(Box::new(ConnectionSet {
                conn_id,
                conn_type,
                description: None,
                sealed,
            }))
        }
        _ => Fact::VariableSet(Box::new(VariableSet { key, description: None, sealed })),
    }
}

fn about_dag(dice: &mut Dice, dag_id: &str) -> Fact {
    match dice.below(6) {
        0 => Fact::DagPaused(DagPaused::default()),
        1 => Fact::DagUnpaused(DagUnpaused {}),
        2 => Fact::DagDisappeared(DagDisappeared { file: format!("{dag_id}.py"), file_gone: true }),
        3 => Fact::RunMissed(RunMissed {
            first: FIRST,
            last: FIRST,
            count: 1,
            why: MissedWhy::Paused,
        }),
        4 => Fact::RunExpected(RunExpected {
            logical_date: (dice.below(2) == 0).then_some(FIRST),
            data_interval: None,
            due: Some(FIRST),
            grace: Micros::from_secs(1),
            owner: String::new(),
            further: vec![ExpectedRuns {
                first: Interval { start: FIRST, end: FIRST },
                step: Micros(i64::try_from(dice.below(3)).unwrap() - 1),
                count: u32::try_from(dice.below(4)).unwrap(),
            }],
            keeps: dice.below(2) == 0,
        }),
        _ => {
            let version = u32::try_from(dice.below(3)).unwrap() + 1;
            Fact::DagRegistered(Box::new(dagbok_events::DagRegistered {
                version,
                spec_digest: digest(dag_id),
                bundle: digest("bundle"),
                spec: spec(dag_id, &TASKS[..3]),
                paused: (dice.below(2) == 0).then_some(true),
            }))
        }
    }
}

fn about_executor(dice: &mut Dice) -> Fact {
    if dice.below(2) == 0 {
        return Fact::ExecutorLeft(ExecutorLeft { why: LeftWhy::Gone });
    }
    Fact::ExecutorJoined(Box::new(ExecutorJoined {
        hostname: "box".to_owned(),
        slots: 2,
        queues: vec![],
        version: "0".to_owned(),
        python: String::new(),
        resources: dagbok_events::Resources::default(),
        isolation: String::new(),
        name: None,
        protocol: None,
        part_of: None,
    }))
}

/// `count` records from `seed`.
pub(crate) fn records(seed: u64, count: usize) -> Vec<Record> {
    let mut dice = Dice::new(seed);
    let mut at = FIRST;
    (0..count)
        .map(|_| {
            at = at.plus(Micros(1_000 + i64::try_from(dice.below(1_000)).unwrap()));
            let dag_id = dice.one(&DAGS);
            let (scope, facts) = match dice.below(20) {
                0 => (Scope::Dag(dag(dag_id)), vec![about_dag(&mut dice, dag_id)]),
                1 => (
                    Scope::Executor(executor(dice.one(&EXECUTORS))),
                    vec![about_executor(&mut dice)],
                ),
                2 => (Scope::Namespace, vec![fact(&mut dice)]),
                _ => {
                    let facts = (0..=dice.below(3)).map(|_| fact(&mut dice)).collect();
                    (Scope::Run(key(dag_id, dice.one(&RUNS))), facts)
                }
            };
            let by = match dice.below(3) {
                0 => Actor::User("ada".to_owned()),
                1 => Actor::Schedule,
                _ => Actor::Scheduler,
            };
            Record {
                at,
                clock: None,
                scope,
                by,
                reason: Some("because".to_owned()),
                cause: None,
                trace: None,
                facts,
            }
        })
        .collect()
}
