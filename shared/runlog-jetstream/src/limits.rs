//! Every limit and span of time of the NATS side, in one place.
use std::time::Duration;

/// The oldest server that keeps the ports' words: per-message time to live and batched reads.
pub const OLDEST_SERVER: (u32, u32) = (2, 11);
/// The newest server that the tests run on; a newer one is taken with a warning.
pub const NEWEST_SERVER: (u32, u32) = (2, 15);

/// How long one question to the server may take, unless the settings say otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// How long one attempt to connect may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The first wait before connecting again; it doubles with every attempt.
pub const RECONNECT_FIRST: Duration = Duration::from_millis(20);
/// The longest wait before connecting again.
pub const RECONNECT_LONGEST: Duration = Duration::from_secs(1);
/// How often a silent connection is tried; two silences end it.
pub const PING_EVERY: Duration = Duration::from_secs(5);
/// How long to wait before looking again whether a restarted server's streams are there.
pub const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How long to wait for a cluster to settle who was first.
pub const SETTLES_IN: Duration = Duration::from_millis(5);
/// The longest span that is handed to the server, which counts in signed nanoseconds.
pub const LONGEST_SPAN: Duration = Duration::from_hours(24 * 365);

/// Appends sent ahead of their acknowledgements.
pub const APPENDS_IN_FLIGHT: usize = 128;
/// How long the server remembers the ids of appended records, to drop second copies of one.
pub const DUPLICATE_WINDOW: Duration = Duration::from_mins(1);
/// How much later than it was decided a queue's item may be stored, by the server's clock, and still count as
/// surely the first copy of it. No more than half of [`DUPLICATE_WINDOW`]: two copies that are both in time
/// are then within one window, and the server drops the second.
pub const FRESH: Duration = Duration::from_secs(30);
/// How old what is known of the server's clock may grow before it is asked again.
pub const CLOCK_REFRESH: Duration = Duration::from_secs(10);
/// How often is looked whether every stream of the namespace is still there.
pub const TEND_EVERY: Duration = Duration::from_secs(2);
/// How long a server may take to remove the files of a stream that was deleted.
pub const FILES_GO: Duration = Duration::from_millis(500);
/// How often is said again what nothing but a person can mend.
pub const SAY_AGAIN: Duration = Duration::from_secs(30);
/// Room that a message's headers need beside the payload, in bytes.
pub const HEADER_ROOM: usize = 8 * 1024;
const _: () = assert!(
    dagbok_runlog::limits::MAX_PAYLOAD + HEADER_ROOM <= 1 << 20,
    "a payload and its headers fit in the message that NATS takes unless it is told otherwise"
);

/// Bytes that a read asks for beyond its limit: the server also counts subjects and headers.
pub const READ_AHEAD: usize = 256 << 10;

/// Messages asked for at a time while following.
pub const FOLLOW_BATCH: usize = 5_000;
/// Bytes asked for at a time while following.
pub const FOLLOW_BYTES: usize = 8 << 20;
/// Entries handed on at a time while following.
pub const FOLLOW_CHUNK: usize = 4_096;
/// How long one request of a follower stands before it is made again.
pub const FOLLOW_EXPIRES: Duration = Duration::from_secs(30);
/// How often the server says that it is still there; two silences end a follow or a watch.
pub const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long the server keeps a reader that has gone.
pub const READER_LINGERS: Duration = Duration::from_secs(30);

/// Items of one queue in flight at once, over all executors.
pub const IN_FLIGHT_PER_QUEUE: i64 = 10_000;
/// Pulls of one queue that wait at once, over all executors.
pub const WAITING_PULLS: i64 = 2_048;

/// The shortest time to live that the server keeps; others are rounded up to whole seconds.
pub const SHORTEST_TTL: Duration = Duration::from_secs(1);
/// How long the mark of a key that has gone stays for watchers to see.
pub const MARKER_TTL: Duration = Duration::from_secs(30);

/// Bytes of one piece of a blob or a snapshot. Never change it: the pieces of a blob that is put
/// again are told apart by number only.
pub const PIECE: usize = 256 * 1024;
/// Pieces on their way at once.
pub const PIECES_IN_FLIGHT: usize = 8;

/// Messages that one subscription may be behind before the client drops some.
pub const SUBSCRIPTION_BACKLOG: usize = 1 << 17;
