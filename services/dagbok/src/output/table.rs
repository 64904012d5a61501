//! Tables for eyes: a header, aligned columns, no frames, so that `grep` and `cut` work on them.
use comfy_table::{Attribute, Cell, Color, ContentArrangement, presets};

/// No column is cut below this.
const LEAST: usize = 8;
/// What stands around a cell.
const AROUND: usize = 2;

/// A table in the making.
#[derive(Debug)]
pub(crate) struct Table {
    /// What each column is called, and whether only a wide table has it.
    header: Vec<(String, bool)>,
    rows: Vec<Vec<String>>,
    /// How many columns name a row.
    named_by: usize,
}

impl Table {
    /// One with these columns; those whose names begin with `+` are shown by `-o wide` alone.
    pub(crate) fn new(header: &[&str]) -> Self {
        let column = |name: &&str| match name.strip_prefix('+') {
            Some(name) => (name.to_uppercase(), true),
            None => (name.to_uppercase(), false),
        };
        Self { header: header.iter().map(column).collect(), rows: Vec::new(), named_by: 1 }
    }

    /// Of which so many columns name a row.
    pub(crate) const fn named_by(mut self, columns: usize) -> Self {
        self.named_by = columns;
        self
    }

    /// Adds a row of texts; a state among them is coloured.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// What each row is called.
    pub(crate) fn names(&self) -> Vec<String> {
        self.rows.iter().map(|row| row[..self.named_by.min(row.len())].join(" ")).collect()
    }

    /// The lines, with colour where they are for a terminal, in no more columns than `room`.
    pub(crate) fn to_text(&self, terminal: bool, wide: bool, room: Option<usize>) -> String {
        let is_shown = |at: &usize| {
            let is_empty = self.rows.iter().all(|row| row.get(*at).is_none_or(String::is_empty));
            // Where there is little room, none is for what nothing stands in.
            (wide || !self.header[*at].1) && (room.is_none() || !is_empty)
        };
        let shown: Vec<usize> = (0..self.header.len()).filter(is_shown).collect();
        let widths = room.map(|room| self.widths(&shown, room));
        let cut = |place: usize, text: &str| match &widths {
            Some(widths) => plain(&cut(text, widths[place])),
            None => plain(text),
        };
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(shown.iter().enumerate().map(|(place, at)| {
            Cell::new(cut(place, &self.header[*at].0)).add_attribute(Attribute::Bold)
        }));
        for row in &self.rows {
            table.add_row(shown.iter().enumerate().map(|(place, at)| {
                let text = row.get(*at).map(String::as_str).unwrap_or_default();
                let cell = Cell::new(cut(place, text));
                match color_of(text) {
                    Some(color) => cell.fg(color),
                    None => cell,
                }
            }));
        }
        if terminal {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }

    /// How wide each column may be, so that all fit: the widest are cut first, and what names a row last.
    fn widths(&self, shown: &[usize], room: usize) -> Vec<usize> {
        let longest = |at: &usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(*at));
            let longest = cells.map(|text| text.chars().count()).max().unwrap_or_default();
            longest.max(self.header[*at].0.chars().count())
        };
        let mut widths: Vec<usize> = shown.iter().map(longest).collect();
        let names = self.named_by.min(widths.len());
        for cut in [names..widths.len(), 0..names] {
            loop {
                let all: usize = widths.iter().map(|width| width + AROUND).sum();
                let widest = cut.clone().max_by_key(|at| widths[*at]);
                let Some(at) = widest.filter(|at| all > room && widths[*at] > LEAST) else { break };
                let least = second(&widths, &cut, at);
                widths[at] = widths[at].saturating_sub(all - room).max(least);
            }
        }
        widths
    }
}

/// Down to where a column is no longer the widest, or to the least; always less than it is.
fn second(widths: &[usize], among: &std::ops::Range<usize>, at: usize) -> usize {
    let others = among.clone().filter(|other| *other != at).map(|other| widths[other]);
    others.max().unwrap_or_default().clamp(LEAST, widths[at] - 1)
}

/// The first line of a cell, in at most so many letters.
fn cut(text: &str, width: usize) -> String {
    let (first, more) = text.split_once('\n').map_or((text, false), |(first, _)| (first, true));
    if first.chars().count() <= width && !more {
        return first.to_owned();
    }
    // Of an instant its age goes first.
    if let Some((at, age)) = first.rsplit_once(" (")
        && age.ends_with(" ago)")
        && at.chars().count() <= width
    {
        return at.to_owned();
    }
    let kept: String = first.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// A text in its row, without what would break the row or move a terminal's cursor.
fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

fn color_of(text: &str) -> Option<Color> {
    Some(match text {
        "success" | "ok" => Color::Green,
        "failed" | "upstream_failed" | "error" => Color::Red,
        "running" => Color::Cyan,
        "queued" | "scheduled" | "up_for_retry" | "warning" | "paused" => Color::Yellow,
        "skipped" | "removed" | "cancelled" => Color::Magenta,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_fits_its_room_and_keeps_its_names() {
        let mut table = Table::new(&["dag", "why", "file", "+digest"]);
        table.row(vec![
            "a_dag_of_a_name".into(),
            "because ".repeat(20),
            "dags/a.py".into(),
            "ff".into(),
        ]);
        let text = table.to_text(false, false, Some(60));
        assert!(text.lines().all(|line| line.chars().count() <= 60), "{text}");
        assert!(text.contains("a_dag_of_a_name") && text.contains('…'), "{text}");
        assert!(!text.contains("DIGEST"), "{text}");
        let wide = table.to_text(false, true, None);
        assert!(
            wide.contains("DIGEST") && wide.contains("because ".repeat(20).trim_end()),
            "{wide}"
        );
        assert_eq!(table.names(), ["a_dag_of_a_name"]);
        let mut notes = Table::new(&["dag", "note"]);
        notes.row(vec!["a".into(), "two\nlines\x1b[2J".into()]);
        let text = notes.to_text(false, true, None);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(!text.contains('\x1b'), "{text}");
        table.row(vec!["b".into(), String::new(), String::new(), String::new()]);
        assert_eq!(cut("00:17:59 (3 s ago)", 12), "00:17:59");
        // Where there is no room at all, it is cut to the least and not for ever.
        assert!(table.to_text(false, false, Some(3)).contains("a_dag_o…"));
    }
}
