//! Every limit of alerting, in one place.
use dagbok_events::Micros;

/// Causes that one alert names: the first and the newest.
pub const CAUSES: usize = 16;
/// Alerts that are over and kept at hand; older ones are in the log.
pub const KEPT: usize = 10_000;
/// Runs that one alert names: the first and the newest. Every one is in the log.
pub const RUNS: usize = 1_000;
/// Attempts of one delivery that are kept at hand: the first and the newest.
pub const ATTEMPTS: usize = 16;
/// Messages about one alert that are kept at hand, beside those that are under way: the newest.
pub const DELIVERIES: usize = 32;
/// How far the clock may lie behind the last record before that is recorded; less is waited out.
pub const CLOCK_BACK: Micros = Micros::from_secs(10);
/// One detail of a message, in bytes; what is above is cut.
pub const DETAIL_BYTES: usize = 1_000;
/// Conditions that are older than this when alerting first begins open no alert.
pub const LOOK_BACK: Micros = Micros::from_secs(86_400);
/// The first wait after a delivery failed; it doubles.
pub const FIRST_WAIT: Micros = Micros::from_secs(1);
/// The longest wait between two attempts of a delivery, unless the receiver asks for more.
pub const LONGEST_WAIT: Micros = Micros::from_secs(300);
/// The longest `Retry-After` that is honoured.
pub const LONGEST_RETRY_AFTER: Micros = Micros::from_secs(3_600);
/// After so many failures of one delivery the fallback is told too.
pub const FALLBACK_AFTER: u32 = 5;
/// A delivery that was not accepted for so long is given up.
pub const GIVE_UP: Micros = Micros::from_secs(86_400);
/// The longest silence.
pub const LONGEST_SILENCE: Micros = Micros::from_secs(90 * 86_400);
/// A note, a reason, in bytes.
pub const NOTE_BYTES: usize = 4 << 10;
/// A try that nobody begins for so long counts as stuck: before the scheduler makes it anew, after ten minutes.
pub const STUCK_QUEUED: Micros = Micros::from_secs(300);
/// Matchers of one silence.
pub const MATCHERS: usize = 16;
/// One matcher, in bytes.
pub const MATCHER_BYTES: usize = 1 << 10;
/// What one matcher's expression may take once it is read, in bytes.
pub const EXPRESSION_BYTES: usize = 64 << 10;
/// Silences that hold at once, and beyond which those that are over are let go.
pub const SILENCES: usize = 1_000;
/// Heartbeats that are expected at once.
pub const HEARTBEATS: usize = 1_000;
/// A heartbeat's name, in bytes.
pub const HEARTBEAT_NAME: usize = 100;
/// The longest time between two heartbeats, and the longest grace.
pub const LONGEST_PERIOD: Micros = Micros::from_secs(400 * 86_400);
/// When a receiver had its newest messages: so many are remembered, and allowed at most within any time.
pub const PACE: usize = 200;
/// Alerts that one message tells besides its own.
pub const GATHERED: usize = 500;
/// Words of the configuration for a title and for a text, in bytes.
pub const WORDS_BYTES: usize = 16 << 10;
/// What may come of them, in bytes.
pub const WORDED_BYTES: usize = 64 << 10;
/// Steps that a template may take.
pub const WORDS_FUEL: u64 = 50_000;
/// How far ahead is looked for an end of mute times: a week and the day on which clocks change.
pub const MUTE_SEEN: Micros = Micros::from_secs(8 * 86_400);
/// Words that failed count as mended once one message went out in them, and none failed for so long.
pub const WORDS_QUIET: Micros = Micros::from_secs(86_400);
/// Signs of life that fail in a row before that is an alert.
pub const SIGNS_LOST: u32 = 3;
/// Incidents of one thing within [`FLAPS_WITHIN`] before it counts as flapping.
pub const FLAPS: usize = 5;
/// See [`FLAPS`].
pub const FLAPS_WITHIN: Micros = Micros::from_secs(3_600);
/// How long a link to acknowledge an alert holds.
pub const LINK_HOLDS: Micros = Micros::from_secs(3 * 86_400);
/// Tries that one condition names.
pub const NAMED: usize = 10;
/// A run counts as slow that takes more than this share of what nearly all before it took, in percent, unless the
/// configuration says another.
pub const SLOW_PERCENT: u32 = 300;
/// And at least so much longer than those.
pub const SLOW_LEAST: Micros = Micros::from_secs(600);
/// Runs whose times are remembered, where no deadline of their DAG asks for more.
pub const HISTORY: usize = 64;
/// And the most, whatever a deadline asks for.
pub const HISTORY_MOST: usize = 1_000;
/// Runs of a DAG that are over and that are still known when somebody clears them: the newest.
pub const OVER: usize = 16;
/// With fewer of them nobody knows what is slow.
pub const HISTORY_LEAST: usize = 5;
/// A run of which nothing is under way, nor waits for its time, counts as stuck after so long.
pub const STUCK_IDLE: Micros = Micros::from_secs(3_600);
/// What a task asks people counts as forgotten after so long, unless the configuration says another time.
pub const ANSWER_WITHIN: Micros = Micros::from_secs(3_600);
/// What is asked, as alerts have it, in bytes; what is above is cut.
pub const QUESTION_BYTES: usize = 200;
/// What a try took of memory is remembered from here on, in bytes: less is no matter.
pub const MEMORY_LEAST: u64 = 64 << 20;
/// Runs of which each task's peak is remembered.
pub const PEAKS: usize = 8;
/// How many runs ahead memory is foretold.
pub const FORECAST_RUNS: i128 = 3;
/// Runs whose retries are held against those of as many before.
pub const RETRY_RUNS: usize = 3;
/// How long nobody misses an executor that went without a word: one that broke is started again meanwhile.
pub const LOST_GRACE: Micros = Micros::from_secs(60);
/// How long an executor that went without a word is told of though others pull from all of its queues.
pub const LOST_SERVED: Micros = Micros::from_secs(3_600);
/// An asset's watcher that failed so often in a row is told of.
pub const WATCHER_FAILURES: u32 = 3;
/// And counts as well again once it has not failed for so long: twice the longest wait before it begins anew.
pub const WATCHER_QUIET: Micros = Micros::from_secs(3_600);
/// Executors that are gone and named.
pub const LOST: usize = 100;
/// Lines of a traceback that a message has.
pub const LAST_LINES: usize = 5;
/// How long before what a receiver is told by holds no more that is an alert.
pub const EXPIRES_SOON: Micros = Micros::from_secs(14 * 86_400);
/// A message that nobody took for so long is told of.
pub const UNSENT: Micros = Micros::from_secs(900);
/// So many refused reports within [`REFUSALS_WITHIN`] are told of.
pub const REFUSALS: usize = 20;
/// See [`REFUSALS`].
pub const REFUSALS_WITHIN: Micros = Micros::from_secs(3_600);
/// How often the free room of a disk is noted at most.
pub const DISK_EVERY: Micros = Micros::from_secs(300);
/// And how often at least, though it is as it was.
pub const DISK_LEAST: Micros = Micros::from_secs(3_600);
/// Notes of that which are remembered.
pub const DISK_NOTES: usize = 24;
/// A disk of which less than so many parts of a hundred are free is about to be full, whatever becomes of it, where the
/// configuration says nothing else.
pub const DISK_LOW: u8 = 5;
/// The most that the configuration may say.
pub const DISK_LOW_MOST: u8 = 50;
/// And one that is full within so long by what became of it lately.
pub const DISK_AHEAD: Micros = Micros::from_secs(24 * 3_600);
/// What became of it over less time says nothing.
pub const DISK_SPAN: Micros = Micros::from_secs(1_800);
/// Stores of the broker that are watched at once; further ones are passed over.
pub const STORES: usize = 64;
/// One that was not seen for so long, while others were, is there no more.
pub const STORE_GONE: Micros = Micros::from_secs(24 * 3_600);
/// How long alerting may know of records of the run log that it has not folded.
pub const BEHIND: Micros = Micros::from_secs(60);
