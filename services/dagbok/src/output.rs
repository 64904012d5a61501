//! What commands print: one JSON or YAML document, lines of JSON, names alone, or tables for eyes.
//!
//! Colour is only for terminals, and never where `NO_COLOR` is set; `anstream` sees to that.
mod held;
mod table;
mod time;

use std::io::{ErrorKind, IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use serde::Serialize;
use serde_json::json;

use crate::{exit::Exit, failure::Failure};
pub(crate) use held::{Held, rows};
pub(crate) use table::Table;
pub(crate) use time::in_zone;

/// How this program was called, for commands to type next: as a path where it was one, since it may not be
/// on `PATH` then.
pub(crate) fn program() -> String {
    let called = std::env::args().next().filter(|called| called.contains('/'));
    called.map_or_else(|| "dagbok".to_owned(), |called| quoted(&called))
}

/// The name of a copy of a task; the task's where it is not mapped.
pub(crate) fn copy_name(task_id: &str, map_index: i32) -> String {
    if map_index < 0 { task_id.to_owned() } else { format!("{task_id}[{map_index}]") }
}

/// A word as a shell takes it.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// Ends the process since results can't be written. Where whoever read is gone (`| head`) there is nobody
/// to do the rest for, and nothing is said; a full disk must not pass for a run that failed, or for success.
pub(crate) fn unwritable(error: &std::io::Error) -> ! {
    if error.kind() == ErrorKind::BrokenPipe {
        std::process::exit(Exit::Ok as i32);
    }
    let mut err = anstream::stderr().lock();
    // Nobody is left to tell where stderr is gone too.
    let _ = writeln!(err, "error: the results can't be written to stdout: {error}");
    std::process::exit(Exit::Setup as i32);
}

/// The shape of results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For eyes, cut to the terminal
    #[default]
    Table,
    /// For eyes, with more columns, nothing cut, and times in full
    Wide,
    /// For programs
    Json,
    /// The same as YAML
    Yaml,
    /// The names of what is listed or shown, one a line
    Name,
}

/// Where a command's results go. Cheap to copy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Out {
    format: Format,
    /// Holds them back, to be drawn together.
    held: Option<&'static Held>,
}

impl Out {
    pub(crate) const fn new(format: Format, held: Option<&'static Held>) -> Self {
        Self { format, held }
    }

    /// Whether the results are for programs.
    pub(crate) const fn is_json(self) -> bool {
        matches!(self.format, Format::Json | Format::Yaml)
    }

    /// Whether only names are wanted.
    pub(crate) const fn is_names(self) -> bool {
        matches!(self.format, Format::Name)
    }

    /// Whether all is to be shown, however long.
    pub(crate) const fn is_wide(self) -> bool {
        matches!(self.format, Format::Wide)
    }

    /// Whether what is watched is added line by line, each that is new.
    pub(crate) fn is_added(self) -> bool {
        self.held.is_some() && !std::io::stdout().is_terminal()
    }

    /// One document.
    pub(crate) fn document(self, value: &impl Serialize) {
        let text = if self.format == Format::Yaml {
            yaml(value)
        } else if self.held.is_some() {
            // Of a list that is watched each state is a line.
            serde_json::to_string(value).expect("what is printed has text keys")
        } else {
            serde_json::to_string_pretty(value).expect("what is printed has text keys")
        };
        self.put(&text);
    }

    /// One document, or with `many` one of several.
    pub(crate) fn one_of(self, many: bool, value: &impl Serialize) {
        if many { self.json_line(value) } else { self.document(value) }
    }

    /// One of many documents: of JSON on a line of its own.
    pub(crate) fn json_line(self, value: &impl Serialize) {
        if self.format == Format::Yaml {
            return self.put(&format!("---\n{}", yaml(value)));
        }
        self.put(&serde_json::to_string(value).expect("what is printed has text keys"));
    }

    /// A line as it is; nothing where only names are wanted.
    pub(crate) fn line(self, text: &str) {
        if self.format != Format::Name {
            self.put(text);
        }
    }

    /// The name of what is shown, made or changed, where names are wanted.
    pub(crate) fn name(self, name: &str) {
        if self.format == Format::Name {
            self.put(name);
        }
    }

    fn put(self, text: &str) {
        if let Some(held) = self.held {
            return held.put(text);
        }
        let mut out = anstream::stdout().lock();
        let written = writeln!(out, "{text}").and_then(|()| out.flush());
        if let Err(error) = written {
            unwritable(&error);
        }
    }

    /// A table, with what to say where it has no rows.
    pub(crate) fn table(self, table: &Table, empty: &str) {
        if self.format == Format::Name {
            table.names().iter().for_each(|name| self.put(name));
        } else if table.is_empty() {
            self.line(empty);
        } else {
            let is_terminal = std::io::stdout().is_terminal();
            let room = if is_terminal && !self.is_wide() { held::columns() } else { None };
            self.line(&table.to_text(is_terminal, self.is_wide(), room));
        }
    }

    /// What a person should know besides the results, on stderr; with JSON as `{note}`.
    pub(crate) fn note(self, note: &str) {
        if let Some(held) = self.held {
            if !self.is_json() && self.format != Format::Name {
                held.put(&format!("note: {note}"));
            }
            return;
        }
        let mut err = anstream::stderr().lock();
        let text = if self.is_json() {
            json!({ "note": note }).to_string()
        } else {
            format!("note: {note}")
        };
        // It is only a note.
        let _ = writeln!(err, "{text}");
    }

    /// A page of a list as a table, of which `shown` of `total` are in it after `offset`.
    pub(crate) fn page(
        self,
        table: &Table,
        empty: &str,
        shown: usize,
        offset: usize,
        total: usize,
    ) {
        match (shown, total.saturating_sub(offset.saturating_add(shown))) {
            (0, _) if total == 0 => self.line(empty),
            (0, 0) => self.line(&format!("None after {offset}, of {total} in all.")),
            (0, _) => self.line(&format!("None shown, of {total} in all.")),
            (_, 0) => self.table(table, empty),
            (_, rest) => {
                self.table(table, empty);
                self.line(&format!("… and {rest} more; --offset {} goes on", shown + offset));
            }
        }
    }

    /// What went wrong, on stderr.
    pub(crate) fn failure(self, failure: &Failure) {
        let mut err = anstream::stderr().lock();
        let text = if self.is_json() {
            failure.to_json().to_string()
        } else {
            let bold_red = AnsiColor::Red.on_default().bold();
            let lines = failure.lines().join("\n");
            lines.replacen("error:", &format!("{bold_red}error:{bold_red:#}"), 1)
        };
        // With stderr gone the exit code still says it.
        let _ = writeln!(err, "{text}");
    }
}

/// The colour of a state, in Airflow's sense of them.
pub(crate) fn state_style(state: &str) -> Style {
    match state {
        "success" | "ok" => AnsiColor::Green.on_default(),
        "failed" | "upstream_failed" | "error" | "lost" => AnsiColor::Red.on_default().bold(),
        "running" => AnsiColor::Cyan.on_default(),
        "queued" | "scheduled" | "up_for_retry" | "warning" => AnsiColor::Yellow.on_default(),
        "skipped" | "removed" | "cancelled" => AnsiColor::Magenta.on_default(),
        _ => Style::new(),
    }
}

/// Text in a style, with what ends it.
pub(crate) fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// The first line of a text from elsewhere, cut, without what would move a terminal's cursor.
pub(crate) fn one_line(text: &str) -> String {
    const LONGEST: usize = 200;
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let plain = line.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    let mut line: String = plain.take(LONGEST).collect();
    if text.trim().chars().count() > line.trim().chars().count() {
        line.push('…');
    }
    line
}

fn yaml(value: &impl Serialize) -> String {
    // By way of JSON, so that both say the same of what only JSON has a form for.
    let value = serde_json::to_value(value).expect("what is printed has text keys");
    let text = serde_saphyr::to_string(&value).expect("JSON can be said in YAML");
    text.trim_end().to_owned()
}

/// A size for eyes: `12 B`, `340 KiB`, `1.2 GiB`.
pub(crate) fn bytes_text(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{} KiB", bytes >> 10),
        1_048_576..1_073_741_824 => format!("{} MiB", bytes >> 20),
        _ => format!("{}.{} GiB", bytes >> 30, (bytes >> 20) % 1_024 * 10 / 1_024),
    }
}

/// A length of time for eyes: `0.8 s`, `2 m 05 s`, `1 h 02 m`.
pub(crate) fn seconds_text(seconds: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "shown, and never negative"
    )]
    let whole = seconds.max(0.0) as u64;
    match whole {
        0..10 => format!("{:.2} s", seconds.max(0.0)),
        10..60 => format!("{seconds:.1} s"),
        60..3_600 => format!("{} m {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} m", whole / 3_600, whole % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_short() {
        for (seconds, text) in [
            (-1.0, "0.00 s"),
            (0.834, "0.83 s"),
            (12.34, "12.3 s"),
            (125.0, "2 m 05 s"),
            (3_725.0, "1 h 02 m"),
        ] {
            assert_eq!(seconds_text(seconds), text);
        }
    }
}
