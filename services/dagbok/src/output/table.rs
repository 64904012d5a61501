//! Tables for eyes: a header, aligned columns, no frames, so that `grep` and `cut` work on them.
use comfy_table::{Attribute, Cell, Color, ContentArrangement, presets};

/// A table in the making.
#[derive(Debug)]
pub(crate) struct Table {
    inner: comfy_table::Table,
}

impl Table {
    pub(crate) fn new(header: &[&str]) -> Self {
        let mut inner = comfy_table::Table::new();
        inner.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        inner.set_header(
            header.iter().map(|name| Cell::new(name.to_uppercase()).add_attribute(Attribute::Bold)),
        );
        Self { inner }
    }

    /// Adds a row of texts; a state among them is coloured.
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.inner.add_row(cells.into_iter().map(|text| {
            let color = color_of(&text);
            let cell = Cell::new(text);
            match color {
                Some(color) => cell.fg(color),
                None => cell,
            }
        }));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.inner.is_empty()
    }

    /// The lines, with colour where they are for a terminal.
    pub(crate) fn to_text(&self, terminal: bool) -> String {
        let mut table = self.inner.clone();
        if terminal {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }
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
