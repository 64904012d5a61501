//! What a line is before it is written: one key once, and what was just said not said again but counted.
use std::{
    collections::HashMap,
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// The same fault is said again after this long.
const QUIET: Duration = Duration::from_mins(1);
/// Faults that are remembered; where there are more, all are forgotten.
const FAULTS: usize = 1_000;
/// How often a fault is said before it is only counted: two at the same time may be two.
const SAID: u64 = 3;

/// A form of lines, with what repeats held back.
#[derive(Debug)]
pub(crate) struct Lines<F> {
    inner: F,
    held: Held,
}

/// What was said of faults, and how often they were not: shared with whoever ends the process in good order.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    is_json: bool,
    book: Arc<Mutex<Book>>,
}

#[derive(Debug, Default)]
struct Book {
    seen: HashMap<u64, Seen>,
    /// When it was last looked for what is held back and does not repeat any more.
    looked: Option<Instant>,
}

/// A fault that was said.
#[derive(Clone, Debug)]
struct Seen {
    since: Instant,
    said: u64,
    held: u64,
    /// As it was said last.
    line: String,
}

impl Held {
    pub(crate) fn new(is_json: bool) -> Self {
        Self { is_json, book: Arc::default() }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a fault is said, and how many like it were not since the last one that was; and lines of others that
    /// are due.
    fn say(&self, fault: u64, now: Instant) -> (Option<u64>, Vec<String>) {
        let mut book = self.book();
        let mut due = Vec::new();
        if book.seen.len() >= FAULTS && !book.seen.contains_key(&fault) {
            due = self.taken(&mut book, |_| true);
            book.seen.clear();
        } else if book.looked.is_none_or(|at| now.duration_since(at) >= QUIET) {
            book.looked = Some(now);
            due = self.taken(&mut book, |(of, it)| {
                **of != fault && now.duration_since(it.since) >= QUIET
            });
        }
        let first = || Seen { since: now, said: 0, held: 0, line: String::new() };
        let it = book.seen.entry(fault).or_insert_with(first);
        let held = if now.duration_since(it.since) >= QUIET {
            (it.since, it.said) = (now, SAID);
            Some(std::mem::take(&mut it.held))
        } else if it.said >= SAID {
            it.held += 1;
            None
        } else {
            it.said += 1;
            Some(0)
        };
        (held, due)
    }

    /// Keeps how a fault was said.
    fn keep(&self, fault: u64, line: &str) {
        if let Some(it) = self.book().seen.get_mut(&fault) {
            line.clone_into(&mut it.line);
        }
    }

    /// What is still held back, a line each with its count; nothing is afterwards.
    pub(crate) fn take(&self) -> Vec<String> {
        self.taken(&mut self.book(), |_| true)
    }

    fn taken(&self, book: &mut Book, wanted: impl Fn(&(&u64, &mut Seen)) -> bool) -> Vec<String> {
        let held = book.seen.iter_mut().filter(|it| it.1.held > 0 && wanted(it));
        let mut held: Vec<&mut Seen> = held.map(|(_, it)| it).collect();
        held.sort_unstable_by_key(|it| it.since);
        held.into_iter().map(|it| self.counted(&it.line, std::mem::take(&mut it.held))).collect()
    }

    /// A line with how often it was not said.
    fn counted(&self, line: &str, held: u64) -> String {
        if self.is_json {
            with_keys_once(line, held)
        } else {
            format!("{line} (and {held} times more since, not said)")
        }
    }
}

impl<F> Lines<F> {
    pub(crate) fn new(inner: F, held: Held) -> Self {
        Self { inner, held }
    }
}

/// By what the same fault is known.
fn fault(event: &Event<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    event.metadata().callsite().hash(&mut hasher);
    event.record(&mut Hashed(&mut hasher));
    hasher.finish()
}

/// Every field of an event by its name and value.
struct Hashed<'a>(&'a mut DefaultHasher);

impl Visit for Hashed<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        (field.name(), format!("{value:?}")).hash(self.0);
    }
}

impl<S, N, F> FormatEvent<S, N> for Lines<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        // Only faults are said again and again; the rest is news each time.
        let is_fault = *event.metadata().level() <= Level::WARN;
        if !is_fault && !self.held.is_json {
            return self.inner.format_event(context, writer, event);
        }
        let mut held = 0;
        let fault = is_fault.then(|| fault(event));
        if let Some(fault) = fault {
            let (said, due) = self.held.say(fault, Instant::now());
            for line in due {
                writeln!(writer, "{line}")?;
            }
            let Some(count) = said else { return Ok(()) };
            held = count;
        }
        let mut line = String::new();
        self.inner.format_event(context, Writer::new(&mut line), event)?;
        let line = line.trim_end();
        if let Some(fault) = fault {
            self.held.keep(fault, line);
        }
        match held {
            0 if !self.held.is_json => writeln!(writer, "{line}"),
            _ => writeln!(writer, "{}", self.held.counted(line, held)),
        }
    }
}

/// An object of JSON with each key once, the last value of each; as it is where it is none.
fn with_keys_once(line: &str, held: u64) -> String {
    let Ok(mut read) = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(line)
    else {
        return line.to_owned();
    };
    if held > 0 {
        read.insert("times_not_said".to_owned(), held.into());
    }
    serde_json::Value::Object(read).to_string()
}

#[cfg(test)]
mod tests {
    use std::io;

    use tracing_subscriber::{fmt::MakeWriter, layer::SubscriberExt as _};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Kept {
        type Writer = Self;
        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn lines(work: impl FnOnce()) -> Vec<String> {
        lines_held(work).0
    }

    fn lines_held(work: impl FnOnce()) -> (Vec<String>, Held) {
        let held = Held::new(true);
        let kept = Kept::default();
        let form = tracing_subscriber::fmt::format().json().flatten_event(true);
        let layer = tracing_subscriber::fmt::layer()
            .json()
            .with_writer(kept.clone())
            .event_format(Lines::new(form, held.clone()));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        (text.lines().map(str::to_owned).collect(), held)
    }

    #[test]
    fn what_is_still_held_back_at_the_end_is_said_then_with_its_count() {
        let (said, held) = lines_held(|| {
            for _ in 0..10 {
                tracing::warn!(queue = "a", "no work can be pulled");
            }
            tracing::error!("once");
        });
        assert_eq!(said.len(), 4);
        let left = held.take();
        let [line] = left.as_slice() else { panic!("{left:?}") };
        assert!(line.contains("\"times_not_said\":7") && line.contains("no work can be"), "{line}");
        assert_eq!(held.take(), Vec::<String>::new(), "it is said once");
    }

    #[test]
    fn what_no_longer_repeats_is_said_when_another_fault_is() {
        let (held, start) = (Held::new(false), Instant::now());
        for _ in 0..5 {
            held.say(1, start);
        }
        held.keep(1, "the queue is shut");
        let (_, due) = held.say(2, start + QUIET);
        assert_eq!(due, ["the queue is shut (and 2 times more since, not said)"]);
        assert_eq!(held.say(3, start + 2 * QUIET).1, Vec::<String>::new());
    }

    #[test]
    fn counts_outlive_the_bound_of_what_is_remembered() {
        let (held, now) = (Held::new(false), Instant::now());
        for _ in 0..4 {
            held.say(0, now);
        }
        held.keep(0, "first");
        let due: Vec<String> =
            (1..=FAULTS as u64).flat_map(|fault| held.say(fault, now).1).collect();
        assert_eq!(due, ["first (and 1 times more since, not said)"]);
    }

    #[test]
    fn a_fault_that_repeats_is_held_back_and_another_is_not() {
        let said = lines(|| {
            for n in 0..10 {
                tracing::warn!(queue = "a", "no work can be pulled");
                tracing::info!(n, "news");
            }
            tracing::warn!(queue = "b", "no work can be pulled");
        });
        let of = |text: &str| said.iter().filter(|line| line.contains(text)).count();
        assert_eq!((of("\"queue\":\"a\""), of("\"queue\":\"b\""), of("news")), (3, 1, 10));
    }

    #[test]
    fn a_key_stands_once_in_a_line_and_what_was_held_back_is_counted() {
        assert_eq!(with_keys_once(r#"{"a":1,"b":2,"a":3}"#, 0), r#"{"a":3,"b":2}"#);
        assert_eq!(with_keys_once(r#"{"a":1}"#, 41), r#"{"a":1,"times_not_said":41}"#);
        assert_eq!(with_keys_once("no JSON", 1), "no JSON");
        let said = lines(|| tracing::warn!("level" = "own", "twice"));
        let line = &said[0];
        assert_eq!(line.matches("\"level\":").count(), 1, "{line}");
    }
}
