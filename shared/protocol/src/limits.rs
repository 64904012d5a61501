//! Every published limit, in one place. Breaking one is a clear error, never a silent cut.

/// The largest record, command or work item, in bytes as it is stored. This is the root: what must fit in a
/// record is a part of it. NATS' own default stops at 1 MiB, headers included.
pub const RECORD_BYTES: usize = 1_000_000;
/// A command above this is compressed, in bytes.
pub const COMMAND_PLAIN_BYTES: usize = RECORD_BYTES / 2;
/// The largest DAG, in bytes before compression.
pub const SPEC_BYTES: usize = 4 << 20;
/// The largest DAG, in bytes compressed: the end of a run of all its tasks names each of them in one record,
/// with what became of it.
pub const SPEC_PACKED_BYTES: usize = RECORD_BYTES / 2;
/// The largest conf of a run, in bytes of JSON. It stays in the record whole, and in every work item of its run.
pub const CONF_BYTES: usize = RECORD_BYTES / 2;
/// An XCom above this goes beside the log, in bytes of JSON.
pub const INLINE_PAYLOAD_BYTES: usize = 4 << 10;
/// The largest XCom, in bytes of JSON.
pub const PAYLOAD_BYTES: usize = 64 << 20;
/// A trigger's arguments, what is called afterwards and an event's payload: the largest of each, in bytes of JSON.
pub const TRIGGER_BYTES: usize = 256 << 10;
/// Lines of one trigger's log: what is above is dropped, in bytes.
pub const TRIGGER_LOG_BYTES: usize = 256 << 10;
/// A traceback above this is cut in the record and kept whole as a blob, in bytes.
pub const INLINE_TRACEBACK_BYTES: usize = 8 << 10;
/// A message of a failure above this is cut, in bytes.
pub const MESSAGE_BYTES: usize = 2 << 10;
/// The log of one try: what is above is dropped in the middle, marked and counted, in bytes.
pub const TRY_LOG_BYTES: usize = 64 << 20;
/// One line of a try's log: what is above is cut and marked, in bytes.
pub const LOG_LINE_BYTES: usize = 64 << 10;
/// What is kept of a try's use of the machine: so many points, however long it runs; older ones stand for longer.
pub const USAGE_POINTS: usize = 512;
/// Processes of one try that are looked at, at each look.
pub const PROCESSES_PER_TRY: usize = 4_096;
/// What one task may say of the pod that its tries run in, in bytes of JSON. It goes into each of its work items.
pub const POD_OVERRIDE_BYTES: usize = 64 << 10;
/// Tasks in one DAG.
pub const TASKS_PER_DAG: usize = 20_000;
/// Copies of one mapped task in one run.
pub const COPIES_PER_TASK: u32 = 100_000;
/// Elements that a task may return for others to be mapped over, unless the executor is set otherwise.
pub const MAX_MAP_LENGTH: u32 = 1_024;
/// A copy's name for people: what is above is cut, in characters.
pub const RENDERED_MAP_INDEX_CHARS: usize = 250;
/// Asset events that a run keeps of those that made it: the newest.
pub const ASSET_EVENTS_PER_RUN: usize = 200;
/// What they may take together, in bytes.
pub const ASSET_EVENTS_BYTES: usize = RECORD_BYTES / 8;
/// What a task, or whoever says that an asset is up to date, may say with it, in bytes of JSON.
pub const ASSET_EXTRA_BYTES: usize = 8 << 10;
/// Assets that one try may bring up to date.
pub const ASSETS_PER_TRY: usize = 100;
/// Events of assets that one try may make, one for each partition that it brings up to date.
pub const ASSET_EVENTS_PER_TRY: usize = 2_000;
/// What these may take in their record, in bytes: past it those of partitions are left out.
pub const ASSET_EVENTS_PER_TRY_BYTES: usize = RECORD_BYTES / 2 + RECORD_BYTES / 10;
/// Names of executors that are cordoned at a time.
pub const CORDONS: usize = 10_000;
/// A note on a run, in bytes.
pub const NOTE_BYTES: usize = 4 << 10;
/// The description of a pool, in bytes.
pub const DESCRIPTION_BYTES: usize = 4 << 10;
/// What a variable or a connection holds, in bytes of JSON.
pub const SECRET_BYTES: usize = RECORD_BYTES / 4;
/// Keys of values that one fact wraps anew.
pub const REWRAPPED_AT_ONCE: usize = 2_000;
/// Runs of a DAG that are over and whose failed tasks are remembered, for those that depend on the past.
pub const PAST_RUNS: usize = 1_000;
/// The largest `max_consecutive_failed_dag_runs`: so many runs of a DAG are remembered for it.
pub const CONSECUTIVE_FAILED_RUNS: u32 = 1_000;
/// How often in a row a try that nobody begins is followed by another; the next one fails its task. Airflow's
/// `num_stuck_in_queued_retries`.
pub const QUEUED_TOO_LONG_RETRIES: u8 = 2;
/// Missed runs that one fact counts.
pub const MISSED_COUNTED: u32 = 10_000;
/// Failed tasks that one `RunFailed` names.
pub const FAILED_NAMED: usize = 100;
/// Command ids that the scheduler remembers, to know a second copy.
pub const COMMANDS_REMEMBERED: usize = 16_384;
/// Losses of one task in one run that are made up for, unless set otherwise; the next one fails it.
pub const MAX_LOSSES: u16 = 10;
/// Tries in flight at once over a namespace, unless set otherwise.
pub const PARALLELISM: u32 = 1_024;
/// Slots of `default_pool`, unless set otherwise.
pub const DEFAULT_POOL_SLOTS: u32 = 128;
/// Bytes of one bundle, packed.
pub const BUNDLE_BYTES: usize = 256 << 20;
/// Bytes that a zip of DAGs may have unpacked.
pub const ZIP_BYTES: u64 = 256 << 20;
/// DAG files in one zip.
pub const DAG_FILES_PER_ZIP: usize = 1_000;
/// How far the scheduler's clock may lie behind what it showed before, in microseconds: where it is more, this
/// is recorded, and what was put off by the clock as it was is due by the clock as it is.
pub const CLOCK_BACK_US: i64 = 10 * 1_000_000;
/// How much later than due a promised run may come before it counts as missing, in microseconds.
pub const EXPECTED_GRACE_US: i64 = 300 * 1_000_000;
/// How far ahead runs are promised, in microseconds: a day.
pub const AHEAD_US: i64 = 86_400 * 1_000_000;
/// Runs that are promised at least, however far ahead they are, the next one among them.
pub const AHEAD_RUNS: u64 = 5;
/// Runs that are promised at most, though a day has more: a run each minute.
pub const AHEAD_MOST: u64 = 1_440;
/// Copies of a task that one command notes.
pub const NOTED_AT_ONCE: usize = 1_000;
/// Runs of one backfill.
pub const BACKFILL_RUNS: u32 = 10_000;
/// Files and folders of a DAG folder, with all that links in it lead to.
pub const FOLDER_ENTRIES: usize = 200_000;
/// Those below one folder right in it, or below one link: a larger one is passed over.
pub const BRANCH_ENTRIES: usize = 50_000;
/// How long a callback of a DAG may take, in microseconds: a minute, as a task's that is called apart.
pub const DAG_CALLBACK_US: i64 = 60 * 1_000_000;
/// After so long, in microseconds, a callback of a DAG that nobody began to call is told of.
pub const DAG_CALLBACK_UNBEGUN_US: i64 = 600 * 1_000_000;
/// How often a callback of a DAG is ordered anew because whoever called it is gone; after the next time it has failed.
pub const DAG_CALLBACK_LOSSES: u32 = 5;
/// A partition's key, in characters; Airflow's `ID_LEN`.
pub const PARTITION_KEY_CHARS: usize = 250;
/// Partitions of one DAG that wait for more events: of those that wait longest the oldest goes when another comes.
pub const PARTITIONS_PENDING: usize = 2_000;
/// Events that these keep together, for the runs that come of them.
pub const PARTITION_EVENTS_KEPT: usize = 5_000;
/// And what these may take, in bytes: past either the oldest events of those that wait longest go, and are counted.
pub const PARTITION_EVENTS_BYTES: usize = 8 << 20;
/// What their keys take, with the assets, aliases and keys that came for each, in bytes; past it the one that waits longest
/// goes, as past their number.
pub const PARTITION_KNOWN_BYTES: usize = 8 << 20;
/// Partitions of a DAG that one event of an asset may count for, where its mapper does not say. Airflow's
/// `partition_mapper_max_downstream_keys`.
pub const PARTITION_KEYS_PER_EVENT: usize = 1_000;
/// What the keys of all these may take in one record, in bytes.
pub const PARTITION_KEYS_BYTES: usize = RECORD_BYTES / 4;
/// How many ticks a partition may lie apart from its run.
pub const PARTITION_RUN_OFFSET: u32 = 1_000;
/// What a task may ask people, in bytes of JSON with all its fields.
pub const HITL_ASK_BYTES: usize = 64 << 10;
/// What may be answered to it, in bytes of JSON.
pub const HITL_ANSWER_BYTES: usize = 64 << 10;
/// The directory of a checkpoint, in bytes of its files: a larger one is not kept, and the one before stands.
pub const CHECKPOINT_BYTES: u64 = 2 << 30;
/// Files, folders and links in it.
pub const CHECKPOINT_FILES: usize = 10_000;
/// It is kept in pieces of so many bytes.
pub const CHECKPOINT_PIECE_BYTES: usize = 8 << 20;
/// How many of those one has at most: what its files come to, and some for names and what the archive adds to each file.
pub const CHECKPOINT_PIECES: usize = 256 + 32;
/// The values of a checkpoint, in bytes of JSON with their keys.
pub const CHECKPOINT_VALUES_BYTES: usize = 64 << 10;
/// What the facts of one try's checkpoint may take before they come half as often, and again for as much more, in bytes.
pub const CHECKPOINT_TOLD_BYTES: usize = 4 << 20;
/// What the operator of a try says of what it read and wrote, in bytes of JSON; what is above is left out, and said.
pub const LINEAGE_BYTES: usize = 64 << 10;
/// What a task says with its progress: what is above is cut, in bytes.
pub const PROGRESS_TEXT_BYTES: usize = 512;
