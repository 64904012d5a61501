//! A page of Prometheus' text format as OpenMetrics has it, and who is answered so.
//!
//! Native histograms are in neither: of Prometheus' formats only the one of Protocol Buffers has a form for them.
use std::{collections::BTreeSet, fmt::Write as _};

/// The type of a page of OpenMetrics.
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The type of a page of Prometheus' own text format.
pub const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether who accepts this is to be answered with OpenMetrics: it is named, and nothing that is ours is liked better.
pub fn wants_open_metrics(accept: &str) -> bool {
    let (mut open, mut text) = (0.0, 0.0);
    for part in accept.split(',') {
        let mut parts = part.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let quality = parts.find_map(|it| it.strip_prefix("q=")?.parse::<f64>().ok());
        let quality = quality.unwrap_or(1.0);
        match kind {
            "application/openmetrics-text" => open = quality.max(open),
            "text/plain" => text = quality.max(text),
            _ => {}
        }
    }
    open > 0.0 && open >= text
}

/// The page in OpenMetrics' form: a family of counters is called without `_total`, and the end is said.
pub fn open_metrics(page: &str) -> String {
    let of_type = |line: &str, kind: &str| {
        let (name, found) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
        (found == kind).then(|| name.to_owned())
    };
    let counters: BTreeSet<String> =
        page.lines().filter_map(|line| of_type(line, "counter")).collect();
    let mut open = String::with_capacity(page.len() + 64);
    for line in page.lines().filter(|line| !line.trim().is_empty()) {
        let head = ["# TYPE ", "# HELP "]
            .into_iter()
            .find_map(|what| Some((what, line.strip_prefix(what)?.split_once(' ')?)));
        let written = match head {
            Some((what, (name, rest))) if counters.contains(name) => {
                let family = name.strip_suffix("_total").unwrap_or(name);
                writeln!(open, "{what}{family} {rest}")
            }
            // What is true of the whole process: a family of its own kind there.
            Some(("# TYPE ", ("target_info", _))) => writeln!(open, "# TYPE target info"),
            Some(("# HELP ", ("target_info", rest))) => writeln!(open, "# HELP target {rest}"),
            _ => writeln!(open, "{line}"),
        };
        written.expect("a string takes all");
    }
    open.push_str("# EOF\n");
    open
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_names_it_and_likes_nothing_better_has_it() {
        for (accept, wants) in [
            ("", false),
            ("*/*", false),
            ("text/plain;version=0.0.4", false),
            (
                "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
                true,
            ),
            ("application/openmetrics-text;q=0.2, text/plain;q=0.9", false),
            ("application/openmetrics-text;q=0", false),
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily, text/plain;q=0.3",
                false,
            ),
        ] {
            assert_eq!(wants_open_metrics(accept), wants, "{accept}");
        }
    }

    #[test]
    fn counters_lose_their_ending_in_the_head_and_the_end_is_said() {
        let page = "# HELP a_total of a\n# TYPE a_total counter\na_total 1\n# TYPE g gauge\ng 2\n\n# HELP target_info of it\n# TYPE target_info gauge\ntarget_info{x=\"y\"} 1\n";
        let open = "# HELP a of a\n# TYPE a counter\na_total 1\n# TYPE g gauge\ng 2\n# HELP target of it\n# TYPE target info\ntarget_info{x=\"y\"} 1\n# EOF\n";
        assert_eq!(open_metrics(page), open);
    }
}
