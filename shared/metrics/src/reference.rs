//! The reference page, made of the table.
use std::fmt::Write as _;

use crate::{Group, INSTRUMENTS, Instrument, Source};

const HEAD: &str = "# Metrics\n\n\
    Made from the table in `shared/metrics/src/table.rs` by `make schemas`; a test holds it to that.\n\n\
    Every service shows its own numbers at `/metrics`, in Prometheus' text format. Numbers that are folds of the log are \
    shown by whoever serves the API (`dagbok standalone`, `dagbok ui`), and by nobody else, so that none is counted twice \
    over services; replicas of the UI each show all of them, and are the same: take the highest (`max`), never the sum. They \
    are counted from the log's beginning on, whichever process shows them and however often it was started, so that a \
    restart is no reset. A number that would grow while nothing happens is shown as the time since when: subtract it from \
    `time()`.\n";

/// The page, in Markdown.
pub fn reference() -> String {
    let mut page = HEAD.to_owned();
    for group in Group::ALL {
        write!(page, "\n## {}\n\n", group.heading()).expect("a string takes all");
        page.push_str(
            "| name | kind | unit | labels | what it means | from |\n|---|---|---|---|---|---|\n",
        );
        for instrument in INSTRUMENTS.iter().filter(|it| it.group == group) {
            line(&mut page, instrument);
        }
    }
    page
}

fn line(page: &mut String, it: &Instrument) {
    let ticked = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
        words.join(", ")
    };
    let from = match it.source {
        Source::Service("every") => "each service itself".to_owned(),
        Source::Service(service) => format!("the {service} service itself"),
        Source::Fold if it.facts == ["all"] => "all facts".to_owned(),
        Source::Fold => ticked(it.facts),
        Source::AlertFold => format!("{}, of the log of alerts", ticked(it.facts)),
        Source::TaskFold => format!("{}; where `telemetry.task_labels` is on", ticked(it.facts)),
    };
    let (name, kind, unit, labels) = (it.name, it.kind.word(), it.unit, ticked(it.labels));
    writeln!(page, "| `{name}` | {kind} | {unit} | {labels} | {} | {from} |", it.meaning)
        .expect("a string takes all");
}
