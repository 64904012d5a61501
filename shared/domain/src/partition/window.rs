//! What a partition is made of: the items of a window, from or up to where the partition begins.
use dagbok_events::{PartitionWindow, Period};
use jiff::{Span, ToSpan as _, civil::DateTime};

use super::times::Decoded;

/// The items, in order. Steps are on the wall clock, as Airflow takes them.
pub(super) fn items(window: &PartitionWindow, of: &Decoded) -> Result<Vec<Decoded>, String> {
    let (period, backward) = match window {
        PartitionWindow::Segments { segments } => {
            return Ok(segments.iter().cloned().map(Decoded::Text).collect());
        }
        PartitionWindow::Of { period, backward } => (*period, *backward),
    };
    let Decoded::At(begin, offset) = of else {
        return Err("a window of a period needs a mapper to a period before it".to_owned());
    };
    let by_months = matches!(period, Period::Month | Period::Quarter | Period::Year);
    if by_months && begin.day() != 1 {
        return Err(format!("a window of months begins on the first of one, not at {begin}"));
    }
    let times = match period {
        Period::Month => days_of_month(*begin, backward),
        Period::Hour => steps(*begin, 60, backward, i64::minutes),
        Period::Day => steps(*begin, 24, backward, i64::hours),
        Period::Week => steps(*begin, 7, backward, i64::days),
        Period::Quarter => steps(*begin, 3, backward, i64::months),
        Period::Year => steps(*begin, 12, backward, i64::months),
    };
    let times = times.ok_or_else(|| format!("the window at {begin} ends past the end of time"))?;
    Ok(times.into_iter().map(|at| Decoded::At(at, *offset)).collect())
}

fn steps(
    begin: DateTime,
    count: i64,
    backward: bool,
    step: impl Fn(i64) -> Span,
) -> Option<Vec<DateTime>> {
    let from = if backward { 1 - count } else { 0 };
    (from..from + count).map(|n| begin.checked_add(step(n)).ok()).collect()
}

/// The days of the month; backward those after the first of the month before, up to and with the first.
fn days_of_month(begin: DateTime, backward: bool) -> Option<Vec<DateTime>> {
    let first = if backward { begin.checked_sub(1.month()).ok()? } else { begin };
    let days = i64::from(first.date().days_in_month());
    let from = i64::from(backward);
    (from..from + days).map(|n| first.checked_add(n.days()).ok()).collect()
}
