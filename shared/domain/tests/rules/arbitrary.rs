//! Records of any shape: facts that never were in an order that never is, about a few ids so that they
//! meet, with numbers at the ends of their ranges.
use std::collections::BTreeMap;

use dagbok_events::{
    Actor, BackfillCancelled, BackfillCompleted, BackfillCreated, BackfillId, BackfillPaused,
    BackfillSkipped, BackfillUnpaused, BundlePublished, Cause, CheckpointDropped, CheckpointFiles,
    CheckpointKept, ClockWentBack, CommandId, DagDisappeared, DagForgotten, DagImportFailed,
    DagImportRecovered, DagPaused, DagRegistered, DagSpec, DagUnpaused, DagVersionsForgotten,
    ExecutorCordoned, ExecutorFull, ExecutorId, ExecutorJoined, ExecutorLeft, ExecutorName,
    ExecutorUncordoned, Expand, ExpectedRuns, Extent, Fact, Fault, ForeignReport, Interval,
    LeftWhy, Leg, LimitsSet, LineageTold, LogRef, LostWhy, MapIndex, Micros, MissedWhy, Payload,
    PoolDeleted, PoolName, PoolSet, QueueName, Record, RefusedWhy, ReportRefused,
    ReprocessBehavior, RuledOut, RunBackfilled, RunCancelled, RunCleared, RunCreated, RunDeleted,
    RunExpected, RunFailed, RunMark, RunMarked, RunMissed, RunNoted, RunStarted, RunSucceeded,
    RunTimedOut, RunType, RunVersionChanged, RunWas, Scope, Sealed, SkippedWhy, TaskCleared,
    TaskExpanded, TaskId, TaskMark, TaskMarked, TaskNoted, TaskQueued, TaskRuledOut, TaskSpec,
    Timestamp, Timetable, TraceContext, TriggerCall, TriggerFailed, TriggerFailedWhy, TriggerFired,
    TriggerRule, TryCancelled, TryDeferred, TryFailed, TryLost, TryNamed, TryNumber, TryProgressed,
    TryRescheduled, TryReturned, TrySkipped, TryStarted, TrySucceeded, Usage, VariableDeleted,
    VariableKey, VariableSet, XComPushed,
};
use proptest::{option, prelude::*, sample::select, strategy::Union};

use super::support::{dag, dag_id, digest, executor, failure, plain_task, run_key, task_id};

fn instant() -> impl Strategy<Value = Timestamp> {
    // 2024, give or take a few seconds, and the ends of time.
    let near = 1_704_067_200_000_000_i64;
    prop_oneof![
        8 => (0_i64..30).prop_map(move |n| Timestamp(near + n * 1_000_000)),
        1 => select(vec![i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX]).prop_map(Timestamp),
    ]
}

fn interval() -> impl Strategy<Value = Interval> {
    (instant(), instant()).prop_map(|(start, end)| Interval { start, end })
}

fn task() -> impl Strategy<Value = TaskId> {
    select(vec!["t0", "t1", "t2", "t3", "unknown"]).prop_map(task_id)
}

fn map_index() -> impl Strategy<Value = MapIndex> {
    prop_oneof![
        6 => Just(MapIndex::UNMAPPED),
        3 => (0_i32..4).prop_map(MapIndex),
        1 => any::<i32>().prop_map(MapIndex),
    ]
}

fn try_number() -> impl Strategy<Value = TryNumber> {
    prop_oneof![9 => 1_u16..3, 1 => select(vec![u16::MAX - 1, u16::MAX])]
        .prop_map(|n| TryNumber::new(n).expect("from one"))
}

fn holder() -> impl Strategy<Value = ExecutorId> {
    select(vec!["e0", "e1"]).prop_map(executor)
}

fn secret_name() -> impl Strategy<Value = String> {
    select(vec!["region".to_owned(), "token".to_owned()])
}

fn variable_set(name: &str, id: u32) -> Fact {
    let (key, text) = (VariableKey::new(name).expect("a key"), || "c2VhbGVk".to_owned());
    let sealed = Sealed { id: id.to_string(), master: "m".to_owned(), key: text(), value: text() };
    Fact::VariableSet(Box::new(VariableSet { key, description: None, sealed }))
}

fn pool() -> impl Strategy<Value = PoolName> {
    select(vec!["default_pool", "gpu"]).prop_map(|name| PoolName::new(name).expect("a pool"))
}

fn number() -> impl Strategy<Value = u32> {
    prop_oneof![4 => 0_u32..4, 1 => select(vec![u32::MAX - 1, u32::MAX])]
}

fn micros() -> impl Strategy<Value = Micros> {
    prop_oneof![4 => 0_i64..5_000_000, 1 => select(vec![i64::MIN, -1, i64::MAX])].prop_map(Micros)
}

fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        Just(Payload::Inline("{}".to_owned())),
        any::<u64>().prop_map(|size| Payload::Blob { digest: digest(size), size }),
    ]
}

fn trigger_rule() -> impl Strategy<Value = TriggerRule> {
    select(vec![
        TriggerRule::AllSuccess,
        TriggerRule::AllFailed,
        TriggerRule::AllDone,
        TriggerRule::AllDoneSetupSuccess,
        TriggerRule::OneSuccess,
        TriggerRule::OneFailed,
        TriggerRule::NoneSkipped,
        TriggerRule::Always,
    ])
}

fn extent() -> impl Strategy<Value = Extent> {
    let leaf = prop_oneof![
        4 => (0_u32..6).prop_map(|task| Extent::Of { task }),
        1 => number().prop_map(|length| Extent::Fixed { length }),
    ];
    leaf.prop_recursive(2, 6, 2, |inner| {
        let of = prop::collection::vec(inner, 1..3);
        (of, any::<bool>(), any::<bool>()).prop_map(|(of, zip, longest)| {
            if zip { Extent::Zip { of, longest } } else { Extent::Concat { of } }
        })
    })
}

/// What tasks are mapped over: what stands in the file, or results, of tasks that may not be there.
fn expand() -> impl Strategy<Value = Expand> {
    prop_oneof![
        (0_u32..4).prop_map(|length| Expand::Literal { length }),
        prop::collection::vec(extent(), 0..3).prop_map(|of| Expand::Product { of }),
    ]
}

fn task_spec() -> impl Strategy<Value = TaskSpec> {
    // Edges may lead nowhere, forward, or back to the task itself: history is never refused.
    let edges = prop::collection::vec(0_u32..6, 0..3);
    let numbers = (any::<u16>(), number(), any::<i32>(), number());
    let mapped = (option::weighted(0.4, expand()), any::<bool>());
    (task(), edges, trigger_rule(), numbers, micros(), pool(), 0..8_u8, mapped).prop_map(
        |(
            task_id,
            upstream,
            rule,
            (retries, backoff, weight, slots),
            delay,
            pool,
            kind,
            mapped,
        )| {
            let mut task = plain_task(task_id.as_str(), upstream);
            (task.trigger_rule, task.retries, task.retry_delay) = (rule, retries, delay);
            (task.retry_backoff_milli, task.priority_weight) = (backoff, weight);
            (task.pool_slots, task.pool) = (slots, pool);
            (task.is_setup, task.is_teardown) = (kind % 4 == 0, kind % 4 == 1);
            (task.on_failure_fail_dagrun, task.wants_next_interval) = (kind == 5, kind == 2);
            (task.depends_on_past, task.wait_for_downstream) = (kind >= 4, kind >= 6);
            task.wait_for_past_depends_before_skipping = kind % 2 == 1;
            task.ignore_first_depends_on_past = kind != 4;
            let soon = Timestamp(1_704_067_200_000_000 + i64::from(kind) * 3_000_000);
            (task.start_date, task.end_date) =
                ((kind == 3).then_some(soon), (kind == 6).then_some(soon));
            let (expand, in_a_group) = mapped;
            (task.is_mapped, task.expand) = (expand.is_some() && !in_a_group, expand);
            task.mapped_group = in_a_group.then(|| "g".to_owned());
            task
        },
    )
}

fn timetable() -> impl Strategy<Value = Timetable> {
    prop_oneof![
        Just(Timetable::Manual),
        Just(Timetable::Once),
        Just(Timetable::Continuous),
        select(vec!["* * * * *", "nonsense"])
            .prop_map(|text| Timetable::CronDataInterval { expression: text.to_owned() }),
        micros().prop_map(|every| Timetable::DeltaTrigger { every, months: 0 }),
        prop::collection::vec(interval(), 0..3)
            .prop_map(|dates| Timetable::Events { dates, restricted: false }),
    ]
}

fn spec() -> impl Strategy<Value = DagSpec> {
    let tasks = prop::collection::vec(task_spec(), 0..4);
    let dates = (option::of(instant()), option::of(instant()), any::<bool>());
    let sizes = (number(), number(), option::of(micros()));
    (select(vec!["d0", "d1"]), tasks, timetable(), dates, sizes).prop_map(
        |(name, tasks, timetable, (start, end, catchup), (runs, in_flight, timeout))| {
            let mut spec = dag(name);
            (spec.tasks, spec.schedule.timetable) = (tasks, timetable);
            (spec.start_date, spec.end_date, spec.catchup) = (start, end, catchup);
            (spec.max_active_runs, spec.max_active_tasks) = (runs, in_flight);
            (spec.dagrun_timeout, spec.fail_fast) = (timeout, runs % 3 == 0);
            spec.max_consecutive_failed_dag_runs = in_flight % 3;
            spec
        },
    )
}

fn about_dags() -> Union<BoxedStrategy<Fact>> {
    let registered = (1_u32..4, any::<u64>(), spec(), option::of(any::<bool>())).prop_map(
        |(version, n, spec, paused)| {
            let (spec_digest, bundle) = (digest(n), digest(n / 2));
            Fact::DagRegistered(Box::new(DagRegistered {
                version,
                spec_digest,
                bundle,
                spec,
                paused,
            }))
        },
    );
    let whys = vec![
        MissedWhy::Paused,
        MissedWhy::NoScheduler,
        MissedWhy::ScheduleChanged,
        MissedWhy::TooManyActive,
    ];
    let missed =
        (instant(), instant(), number(), select(whys)).prop_map(|(first, last, count, why)| {
            Fact::RunMissed(RunMissed { first, last, count, why })
        });
    let expected = (option::of(instant()), option::of(interval()), option::of(instant()), micros())
        .prop_map(|(logical_date, data_interval, due, grace)| {
            let owner = String::new();
            let (further, keeps) = (Vec::new(), due.is_some());
            Fact::RunExpected(RunExpected {
                logical_date,
                data_interval,
                due,
                grace,
                owner,
                further,
                keeps,
            })
        });
    let failed = option::of(any::<u32>()).prop_map(|line| {
        let (exception, message, traceback) = ("E".to_owned(), "m".to_owned(), String::new());
        let keeps = vec![dag_id("d0")];
        Fact::DagImportFailed(Box::new(DagImportFailed {
            line,
            exception,
            message,
            traceback,
            keeps,
        }))
    });
    let disappeared = any::<bool>().prop_map(|file_gone| {
        Fact::DagDisappeared(DagDisappeared { file: "d0.py".to_owned(), file_gone })
    });
    Union::new([
        registered.boxed(),
        missed.boxed(),
        expected.boxed(),
        failed.boxed(),
        disappeared.boxed(),
        Just(Fact::DagForgotten(DagForgotten {})).boxed(),
        (0..4_u32)
            .prop_map(|below| Fact::DagVersionsForgotten(DagVersionsForgotten { below }))
            .boxed(),
        Just(Fact::DagPaused(DagPaused::default())).boxed(),
        Just(Fact::DagUnpaused(DagUnpaused {})).boxed(),
        any::<bool>()
            .prop_map(|removed| Fact::DagImportRecovered(DagImportRecovered { removed }))
            .boxed(),
        bundle_published().boxed(),
    ])
}

fn bundle_published() -> impl Strategy<Value = Fact> {
    (any::<u64>(), option::of(Just("team".to_owned()))).prop_map(|(n, folder)| {
        Fact::BundlePublished(BundlePublished { bundle: digest(n), folder })
    })
}

fn run_marked(state: RunMark, teardowns_left: bool) -> Fact {
    Fact::RunMarked(RunMarked { state, was: RunWas::Running, teardowns_left })
}

fn about_runs() -> Union<BoxedStrategy<Fact>> {
    let types =
        vec![RunType::Manual, RunType::Scheduled, RunType::Backfill, RunType::AssetTriggered];
    let dates = (option::of(instant()), option::of(interval()), instant());
    let backfill = option::weighted(0.3, backfill_id());
    let created = (select(types), dates, 1_u32..4, option::of(payload()), backfill).prop_map(
        |(run_type, (logical_date, data_interval, run_after), version, conf, backfill_id)| {
            Fact::RunCreated(Box::new(RunCreated {
                run_type,
                logical_date,
                data_interval,
                run_after,
                version,
                bundle: digest(1),
                conf,
                note: None,
                asset_events: Vec::new(),
                asset_events_left_out: 0,
                backfill_id,
                partition: None,
            }))
        },
    );
    let simple = vec![
        Fact::RunStarted(RunStarted {}),
        Fact::RunSucceeded(RunSucceeded {}),
        Fact::RunTimedOut(RunTimedOut::default()),
        Fact::RunTimedOut(RunTimedOut { teardowns_left: true }),
        Fact::RunCancelled(RunCancelled::default()),
        Fact::RunCancelled(RunCancelled { teardowns_left: true, was: None }),
        Fact::RunCleared(RunCleared::default()),
        Fact::RunDeleted(RunDeleted { logical_date: None, tries: 0, ends: 0 }),
        run_marked(RunMark::Success, false),
        run_marked(RunMark::Success, true),
        run_marked(RunMark::Failed, false),
        Fact::RunNoted(RunNoted { note: Some("seen".to_owned()), was: None }),
        Fact::TaskNoted(TaskNoted {
            task_id: task_id("t0"),
            map_index: MapIndex::UNMAPPED,
            note: Some("seen".to_owned()),
            was: None,
        }),
        Fact::RunFailed(RunFailed { failed: vec![task_id("t0")] }),
    ];
    let ruled_out =
        vec![RuledOut::Skipped, RuledOut::UpstreamFailed, RuledOut::Removed, RuledOut::OutOfDates];
    let ruled_out = (task(), map_index(), select(ruled_out), 0..4_u32).prop_map(
        |(task_id, map_index, why, further)| {
            Fact::TaskRuledOut(TaskRuledOut { task_id, map_index, why, further, message: None })
        },
    );
    let backfilled = (backfill_id(), option::of(payload()))
        .prop_map(|(backfill_id, conf)| Fact::RunBackfilled(RunBackfilled { backfill_id, conf }));
    let moved = (1_u32..4, any::<u64>(), prop::collection::vec(task(), 0..3)).prop_map(
        |(version, n, added)| {
            let (bundle, bundle_was, removed) = (digest(n), digest(1), Vec::new());
            let fact =
                RunVersionChanged { version, bundle, was: 1, bundle_was, added, removed, ends: 0 };
            Fact::RunVersionChanged(Box::new(fact))
        },
    );
    Union::new_weighted(vec![
        (1, moved.boxed()),
        (3, created.boxed()),
        (1, Just(Fact::RunStarted(RunStarted {})).boxed()),
        (1, select(simple).boxed()),
        (1, ruled_out.boxed()),
        (1, backfilled.boxed()),
    ])
}

fn backfill_id() -> impl Strategy<Value = BackfillId> {
    prop_oneof![8 => 1_u64..4, 1 => Just(0), 1 => Just(u64::MAX)].prop_map(BackfillId)
}

fn about_backfills() -> Union<BoxedStrategy<Fact>> {
    let runs = (interval(), micros(), number()).prop_map(|(first, step, count)| ExpectedRuns {
        first,
        step,
        count,
    });
    let words = (
        any::<bool>(),
        select(vec![
            ReprocessBehavior::None,
            ReprocessBehavior::Failed,
            ReprocessBehavior::Completed,
        ]),
    );
    let dates = (instant(), instant(), prop::collection::vec(runs, 0..3));
    let created = (backfill_id(), dates, words, number(), option::of(payload())).prop_map(
        |(backfill_id, (from_date, to_date, runs), words, max_active_runs, conf)| {
            Fact::BackfillCreated(Box::new(BackfillCreated {
                backfill_id,
                from_date,
                to_date,
                runs,
                run_backwards: words.0,
                reprocess_behavior: words.1,
                max_active_runs,
                conf,
            }))
        },
    );
    let skipped = (backfill_id(), instant(), instant(), number()).prop_map(
        |(backfill_id, first, last, count)| {
            let why = SkippedWhy::AlreadyExists;
            Fact::BackfillSkipped(BackfillSkipped { backfill_id, first, last, count, why })
        },
    );
    let moved = (backfill_id(), 0..4_u8).prop_map(|(backfill_id, n)| match n {
        0 => Fact::BackfillPaused(BackfillPaused { backfill_id }),
        1 => Fact::BackfillUnpaused(BackfillUnpaused { backfill_id }),
        2 => Fact::BackfillCancelled(BackfillCancelled { backfill_id }),
        _ => Fact::BackfillCompleted(BackfillCompleted { backfill_id }),
    });
    Union::new_weighted(vec![(3, created.boxed()), (1, skipped.boxed()), (2, moved.boxed())])
}

fn tries() -> impl Strategy<Value = (TaskId, MapIndex, TryNumber, Leg)> {
    (task(), map_index(), try_number(), (0..3_u32).prop_map(Leg))
}

/// What copies keep for their next try, how far one has come, and what it read and wrote.
fn checkpoints() -> impl Strategy<Value = Fact> {
    let value = ("[a-b]", option::of("[0-9]"));
    let values = proptest::collection::btree_map(value.0, value.1, 0..3);
    let kept = (tries(), option::of(0_u64..3), values).prop_map(
        |((task_id, map_index, try_number, leg), files, values)| {
            let files =
                files.map(|n| CheckpointFiles { pieces: vec![digest(n)], files: 1, bytes: n });
            let it = CheckpointKept { task_id, map_index, try_number, leg, files, values };
            Fact::CheckpointKept(Box::new(it))
        },
    );
    let dropped = (task(), map_index()).prop_map(|(task_id, map_index)| {
        Fact::CheckpointDropped(CheckpointDropped { task_id, map_index })
    });
    let progressed = (tries(), any::<u16>(), instant()).prop_map(
        |((task_id, map_index, try_number, leg), done, said_at)| {
            let text = String::new();
            let it = TryProgressed { task_id, map_index, try_number, leg, done, text, said_at };
            Fact::TryProgressed(Box::new(it))
        },
    );
    let told =
        (tries(), "[{}a]{0,3}").prop_map(|((task_id, map_index, try_number, leg), lineage)| {
            let it = LineageTold { task_id, map_index, try_number, leg, lineage };
            Fact::LineageTold(Box::new(it))
        });
    prop_oneof![2 => kept, 1 => dropped, 1 => progressed, 1 => told]
}

#[expect(clippy::too_many_lines, reason = "one arm for each fact")]
fn about_tries() -> Union<BoxedStrategy<Fact>> {
    let queued = (tries(), pool(), number()).prop_map(
        |((task_id, map_index, try_number, leg), pool, pool_slots)| {
            let queue = QueueName::new("default").expect("a queue");
            Fact::TaskQueued(TaskQueued {
                task_id,
                map_index,
                try_number,
                leg,
                pool,
                pool_slots,
                queue,
            })
        },
    );
    let started = (tries(), holder(), instant()).prop_map(
        |((task_id, map_index, try_number, leg), executor, started_at)| {
            Fact::TryStarted(Box::new(TryStarted {
                task_id,
                map_index,
                try_number,
                leg,
                executor,
                hostname: "host".to_owned(),
                pid: 1,
                started_at,
                inputs: BTreeMap::new(),
            }))
        },
    );
    let cancelled = (tries(), option::of(holder()), any::<bool>()).prop_map(
        |((task_id, map_index, try_number, leg), executor, skipped)| {
            let it = TryCancelled { task_id, map_index, try_number, leg, executor, skipped };
            Fact::TryCancelled(it)
        },
    );
    let returned =
        (tries(), holder()).prop_map(|((task_id, map_index, try_number, leg), executor)| {
            Fact::TryReturned(TryReturned { task_id, map_index, try_number, leg, executor })
        });
    let cleared = (task(), map_index(), 0..4_u32).prop_map(|(task_id, map_index, further)| {
        Fact::TaskCleared(TaskCleared { task_id, map_index, further, was: vec![] })
    });
    let expanded = (task(), 0..5_u32)
        .prop_map(|(task_id, length)| Fact::TaskExpanded(TaskExpanded { task_id, length }));
    let key = prop_oneof!["[a-z]{1,2}", Just("return_value".to_owned())];
    let xcom = (tries(), key, option::of(payload()), option::of(0..5_u32)).prop_map(
        |((task_id, map_index, try_number, leg), key, value, length)| {
            Fact::XComPushed(XComPushed { task_id, map_index, try_number, leg, key, value, length })
        },
    );
    let named = (tries(), "[a-z]{1,3}").prop_map(
        |((task_id, map_index, try_number, leg), rendered_map_index)| {
            Fact::TryNamed(TryNamed { task_id, map_index, try_number, leg, rendered_map_index })
        },
    );
    Union::new_weighted(vec![
        (4, queued.boxed()),
        (3, started.boxed()),
        (3, ended_tries().boxed()),
        (1, lost().boxed()),
        (1, cancelled.boxed()),
        (1, returned.boxed()),
        (1, rescheduled().boxed()),
        (2, deferrals().boxed()),
        (1, cleared.boxed()),
        (1, marked().boxed()),
        (1, expanded.boxed()),
        (1, xcom.boxed()),
        (1, named.boxed()),
        (1, checkpoints().boxed()),
        (1, refused().boxed()),
    ])
}

fn marked() -> impl Strategy<Value = Fact> {
    let marks = select(vec![TaskMark::Success, TaskMark::Failed, TaskMark::Skipped]);
    (task(), map_index(), 0..4_u32, marks).prop_map(|(task_id, map_index, further, state)| {
        Fact::TaskMarked(TaskMarked { task_id, map_index, further, state, was: vec![] })
    })
}

fn lost() -> impl Strategy<Value = Fact> {
    let losses = vec![
        LostWhy::ExecutorGone,
        LostWhy::NotHeld,
        LostWhy::Fenced,
        LostWhy::Drained,
        LostWhy::Ordered,
        LostWhy::ParentDied,
        LostWhy::MayHaveBegun,
        LostWhy::QueuedTooLong,
    ];
    (tries(), option::of(holder()), select(losses), option::of(instant())).prop_map(
        |((task_id, map_index, try_number, leg), executor, why, retry_at)| {
            let (usage, log) = (Some(Usage::default()), None);
            Fact::TryLost(Box::new(TryLost {
                task_id,
                map_index,
                try_number,
                leg,
                executor,
                why,
                retry_at,
                usage,
                log,
            }))
        },
    )
}

fn rescheduled() -> impl Strategy<Value = Fact> {
    (tries(), instant(), instant()).prop_map(
        |((task_id, map_index, try_number, leg), ended_at, due)| {
            let (usage, log) = (Usage::default(), None);
            Fact::TryRescheduled(Box::new(TryRescheduled {
                task_id,
                map_index,
                try_number,
                leg,
                ended_at,
                due,
                usage,
                log,
            }))
        },
    )
}

fn deferrals() -> impl Strategy<Value = Fact> {
    (tries(), instant(), option::of(instant()), 0..4_u8).prop_map(
        |((task_id, map_index, try_number, leg), at, timeout_at, kind)| {
            let text = || Payload::Inline("{}".to_owned());
            let log = None;
            match kind {
                0 | 1 => Fact::TryDeferred(Box::new(TryDeferred {
                    task_id,
                    map_index,
                    try_number,
                    leg,
                    ended_at: at,
                    trigger: TriggerCall { class_path: "a.B".to_owned(), kwargs: text() },
                    next_method: "go_on".to_owned(),
                    next_kwargs: None,
                    timeout_at,
                    ask: None,
                    usage: Usage::default(),
                    log,
                })),
                2 => Fact::TriggerFired(Box::new(TriggerFired {
                    task_id,
                    map_index,
                    try_number,
                    leg,
                    event: text(),
                    ends_task: timeout_at.is_some(),
                    executor: executor("e1"),
                    fired_at: at,
                    log,
                })),
                _ => Fact::TriggerFailed(Box::new(TriggerFailed {
                    task_id,
                    map_index,
                    try_number,
                    leg,
                    why: TriggerFailedWhy::Raised,
                    traceback: String::new(),
                    executor: None,
                    log,
                    asset: None,
                })),
            }
        },
    )
}

fn ended_tries() -> impl Strategy<Value = Fact> {
    let usage = Usage { max_rss_bytes: u64::MAX, user_us: 1, system_us: 0 };
    let faults = vec![Fault::User, Fault::System, Fault::Data];
    let skips = prop_oneof![3 => Just(Vec::new()), 1 => prop::collection::vec(task(), 0..3)];
    (tries(), instant(), select(faults), option::of(instant()), 0..3_u8, skips).prop_map(
        move |((task_id, map_index, try_number, leg), ended_at, fault, retry_at, kind, skips)| {
            let log =
                Some(LogRef { digest: digest(1), size: 1, lines: 1, dropped: 0, usage: None });
            match kind {
                0 => Fact::TrySucceeded(Box::new(TrySucceeded {
                    task_id,
                    map_index,
                    try_number,
                    leg,
                    ended_at,
                    usage,
                    log,
                    skips,
                })),
                1 => Fact::TrySkipped(Box::new(TrySkipped {
                    task_id,
                    map_index,
                    try_number,
                    leg,
                    ended_at,
                    message: "why".to_owned(),
                    usage,
                    log,
                })),
                _ => Fact::TryFailed(Box::new(TryFailed {
                    task_id,
                    map_index,
                    try_number,
                    leg,
                    ended_at,
                    failure: failure(fault),
                    retry_at,
                    usage,
                    log,
                })),
            }
        },
    )
}

fn refused() -> impl Strategy<Value = Fact> {
    let claims = vec![ForeignReport::Started, ForeignReport::Succeeded, ForeignReport::Lost];
    let whys = vec![RefusedWhy::NoSuchRun, RefusedWhy::NotInFlight, RefusedWhy::RunOver];
    (tries(), holder(), select(claims), select(whys)).prop_map(
        |((task_id, map_index, try_number, leg), executor, report, why)| {
            Fact::ReportRefused(Box::new(ReportRefused {
                task_id,
                map_index,
                try_number,
                leg,
                report,
                executor,
                why,
                usage: None,
                log: None,
            }))
        },
    )
}

fn about_what_is_shared() -> Union<BoxedStrategy<Fact>> {
    let joined = number().prop_map(|slots| {
        let (hostname, version, python) = ("host".to_owned(), "0.1.0".to_owned(), String::new());
        Fact::ExecutorJoined(Box::new(ExecutorJoined {
            hostname,
            slots,
            queues: vec![],
            version,
            python,
            resources: dagbok_events::Resources::default(),
            isolation: String::new(),
            name: None,
            protocol: None,
            part_of: None,
        }))
    });
    let name = || ExecutorName::new("host").expect("a name");
    let cordoned = any::<bool>().prop_map(move |drain| {
        Fact::ExecutorCordoned(ExecutorCordoned { name: name(), drain, limit: None })
    });
    let uncordoned = Just(Fact::ExecutorUncordoned(ExecutorUncordoned { name: name() }));
    let full = any::<bool>().prop_map(|full| Fact::ExecutorFull(ExecutorFull { full }));
    let left = select(vec![LeftWhy::Drained, LeftWhy::Gone]);
    Union::new([
        full.boxed(),
        (pool(), number(), any::<bool>())
            .prop_map(|(pool, slots, include_deferred)| {
                let description = include_deferred.then(|| "for models".to_owned());
                Fact::PoolSet(PoolSet { pool, slots, description, include_deferred })
            })
            .boxed(),
        (secret_name(), number()).prop_map(|(name, id)| variable_set(&name, id)).boxed(),
        secret_name()
            .prop_map(|name| {
                let key = VariableKey::new(name).expect("a key");
                Fact::VariableDeleted(VariableDeleted { key })
            })
            .boxed(),
        pool().prop_map(|pool| Fact::PoolDeleted(PoolDeleted { pool })).boxed(),
        (number(), any::<u16>(), 0..3_u32, micros())
            .prop_map(|(parallelism, max_losses, failed_runs, task_queued_timeout)| {
                let max_consecutive_failed_dag_runs = failed_runs;
                Fact::LimitsSet(LimitsSet {
                    parallelism,
                    max_losses,
                    max_consecutive_failed_dag_runs,
                    task_queued_timeout,
                })
            })
            .boxed(),
        joined.boxed(),
        cordoned.boxed(),
        uncordoned.boxed(),
        left.prop_map(|why| Fact::ExecutorLeft(ExecutorLeft { why })).boxed(),
        (instant(), instant())
            .prop_map(|(from, to)| Fact::ClockWentBack(ClockWentBack { from, to }))
            .boxed(),
    ])
}

/// Any fact.
pub(crate) fn fact() -> impl Strategy<Value = Fact> {
    prop_oneof![
        2 => about_dags(),
        3 => about_runs(),
        1 => about_backfills(),
        6 => about_tries(),
        1 => about_what_is_shared(),
    ]
}

fn scope() -> impl Strategy<Value = Scope> {
    let dags = || select(vec!["d0", "d1"]);
    prop_oneof![
        1 => Just(Scope::Namespace),
        1 => Just(Scope::File("d0.py".to_owned())),
        2 => dags().prop_map(|name| Scope::Dag(dag_id(name))),
        8 => (dags(), select(vec!["r0", "r1"])).prop_map(|(dag, run)| Scope::Run(run_key(dag, run))),
        1 => holder().prop_map(Scope::Executor),
    ]
}

/// Any record: facts of all kinds, mostly of the kind that belongs to its scope.
pub(crate) fn record() -> impl Strategy<Value = Record> {
    let cause = option::of((0_u8..20, option::of(instant())));
    let clock = option::of(instant());
    (instant(), clock, scope(), cause, prop::collection::vec(fact(), 0..5)).prop_map(
        |(at, clock, scope, cause, facts)| Record {
            at,
            clock,
            scope,
            by: Actor::Token("t".to_owned()),
            reason: None,
            cause: cause.map(|(n, sent_at)| Cause {
                command: CommandId::new(format!("c{n}")).expect("an id"),
                sent_at,
            }),
            trace: Some(TraceContext { traceparent: "00".to_owned(), tracestate: None }),
            facts,
        },
    )
}

/// Any history, most of them with a DAG and a run in it that the rest is about.
pub(crate) fn history() -> impl Strategy<Value = Vec<Record>> {
    let opening = (spec(), 0..4_u8).prop_map(|(mut spec, n)| {
        spec.dag_id = dag_id("d0");
        let registered = DagRegistered {
            version: 1,
            spec_digest: digest(1),
            bundle: digest(1),
            spec,
            paused: Some(n == 0),
        };
        let created = RunCreated {
            run_type: RunType::Manual,
            logical_date: (n > 1).then_some(Timestamp(1_704_067_201_000_000)),
            data_interval: None,
            run_after: Timestamp(0),
            version: 1,
            bundle: digest(1),
            conf: None,
            note: None,
            asset_events: Vec::new(),
            asset_events_left_out: 0,
            backfill_id: None,
            partition: None,
        };
        let plain = |scope, facts| Record {
            at: Timestamp(0),
            clock: None,
            scope,
            by: Actor::Scheduler,
            reason: None,
            cause: None,
            trace: None,
            facts,
        };
        vec![
            plain(Scope::Dag(dag_id("d0")), vec![Fact::DagRegistered(Box::new(registered))]),
            plain(
                Scope::Run(run_key("d0", "r0")),
                vec![Fact::RunCreated(Box::new(created)), Fact::RunStarted(RunStarted {})],
            ),
        ]
    });
    (opening, prop::collection::vec(record(), 0..60))
        .prop_map(|(opening, rest)| opening.into_iter().chain(rest).collect())
}
