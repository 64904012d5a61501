//! What a line is before it is written: one key once, and what was just said not said again but counted.
use std::{
    collections::HashMap,
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Mutex, PoisonError},
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
    is_json: bool,
    seen: Mutex<HashMap<u64, Seen>>,
}

/// A fault that was said.
#[derive(Clone, Copy, Debug)]
struct Seen {
    since: Instant,
    said: u64,
    held: u64,
}

impl<F> Lines<F> {
    pub(crate) fn new(inner: F, is_json: bool) -> Self {
        Self { inner, is_json, seen: Mutex::default() }
    }

    /// Whether an event is said, and how many like it were not since the last one that was.
    fn say(&self, event: &Event<'_>, now: Instant) -> Option<u64> {
        // Only faults are said again and again; the rest is news each time.
        if *event.metadata().level() > Level::WARN {
            return Some(0);
        }
        let mut hasher = DefaultHasher::new();
        event.metadata().callsite().hash(&mut hasher);
        event.record(&mut Hashed(&mut hasher));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= FAULTS {
            seen.clear();
        }
        let it = seen.entry(hasher.finish()).or_insert(Seen { since: now, said: 0, held: 0 });
        if now.duration_since(it.since) >= QUIET {
            let held = it.held;
            *it = Seen { since: now, said: SAID, held: 0 };
            return Some(held);
        }
        if it.said >= SAID {
            it.held += 1;
            return None;
        }
        it.said += 1;
        Some(0)
    }
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
        let Some(held) = self.say(event, Instant::now()) else { return Ok(()) };
        if !self.is_json && held == 0 {
            return self.inner.format_event(context, writer, event);
        }
        let mut line = String::new();
        self.inner.format_event(context, Writer::new(&mut line), event)?;
        let line = line.trim_end();
        if self.is_json {
            writer.write_str(&with_keys_once(line, held))?;
        } else {
            write!(writer, "{line} (and {held} times more since, not said)")?;
        }
        writer.write_str("\n")
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
    use std::{io, sync::Arc};

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
        let kept = Kept::default();
        let form = tracing_subscriber::fmt::format().json().flatten_event(true);
        let layer = tracing_subscriber::fmt::layer()
            .json()
            .with_writer(kept.clone())
            .event_format(Lines::new(form, true));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
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
