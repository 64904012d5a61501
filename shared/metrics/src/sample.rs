//! Lines of Prometheus' text format, read back: for whoever compares what was served with what the log says.
use std::collections::BTreeMap;

use crate::{Kind, Source, find};

/// A series' name with its labels, as it is written.
pub type Series = String;

/// What can be compared: what rises only, of all that is folded.
pub type Kept = BTreeMap<Series, String>;

/// The counters of the fold in a page, with those of histograms and summaries; and up to where the log is folded in it.
pub fn parse(page: &str) -> (Option<u64>, Kept) {
    let (mut seq, mut kept) = (None, Kept::new());
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let name = series.split('{').next().unwrap_or(series);
        if name == "dagbok_log_folded_seq" {
            seq = value.parse().ok();
        }
        if rises(name) {
            kept.insert(series.to_owned(), value.to_owned());
        }
    }
    (seq, kept)
}

fn rises(name: &str) -> bool {
    let is_folded = |source| matches!(source, Source::Fold | Source::TaskFold);
    if let Some(instrument) = find(name) {
        let is_counter = matches!(instrument.kind, Kind::Counter | Kind::SecondsCounter);
        return is_counter && is_folded(instrument.source);
    }
    let of = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
    of.and_then(find).is_some_and(|instrument| is_folded(instrument.source))
}
