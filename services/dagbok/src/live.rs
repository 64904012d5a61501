//! A run as it happens, and records and log lines as text.
mod lines;
mod run_view;
mod text;
mod watch;

pub(crate) use run_view::{Change, RunView, TaskCopy};
pub(crate) use text::{clock_part, log_line_text, record_text};
pub(crate) use watch::{News, watch};
