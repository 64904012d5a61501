//! The form of a calendar: lines that may be folded, properties with parameters, parts within parts.

/// Lines of a calendar.
const LINES: usize = 400_000;
/// Parts within parts.
const DEPTH: usize = 8;

/// One property.
#[derive(Clone, Debug)]
pub(super) struct Property {
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) parameters: Vec<(String, String)>,
    pub(super) value: String,
}

impl Property {
    /// A parameter, by its name in capitals.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }
}

/// A part of a calendar: an event, a zone. What is within it is apart: an alarm has a summary too.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) properties: Vec<Property>,
    pub(super) parts: Vec<Self>,
}

impl Part {
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Property> {
        self.properties.iter().filter(move |it| it.name == name)
    }

    pub(super) fn one(&self, name: &str) -> Option<&Property> {
        self.properties.iter().find(|it| it.name == name)
    }
}

/// The parts of all calendars in a text.
pub(super) fn read(text: &str) -> Result<Vec<Part>, String> {
    if !super::is_calendar(text) {
        return Err("it does not begin with BEGIN:VCALENDAR, so it is no calendar".to_owned());
    }
    let mut open: Vec<Part> = Vec::new();
    let mut found = Vec::new();
    for (line, text) in unfolded(text)? {
        let at = |what: &str| format!("line {line}: {what}");
        let Some(property) = property(line, &text) else { continue };
        match property.name.as_str() {
            "BEGIN" => {
                if open.len() >= DEPTH {
                    return Err(at("parts stand too deep within one another"));
                }
                let name = property.value.trim().to_ascii_uppercase();
                open.push(Part { line, name, properties: Vec::new(), parts: Vec::new() });
            }
            "END" => {
                let ended =
                    open.pop().filter(|it| property.value.trim().eq_ignore_ascii_case(&it.name));
                let ended = ended.ok_or_else(|| at("it ends what has not begun"))?;
                match open.last_mut() {
                    Some(outer) => outer.parts.push(ended),
                    None => found.extend(ended.parts),
                }
            }
            _ => {
                if let Some(part) = open.last_mut() {
                    part.properties.push(property);
                }
            }
        }
    }
    match open.last() {
        None => Ok(found),
        // Half of a calendar may be a network that broke: what is missing may be who is on call.
        Some(part) => Err(format!("line {}: {} does not end", part.line, part.name)),
    }
}

/// Lines with their numbers, those that go on with a blank joined.
fn unfolded(text: &str) -> Result<Vec<(usize, String)>, String> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        if index >= LINES {
            return Err(format!("a calendar has up to {LINES} lines"));
        }
        match (line.strip_prefix([' ', '\t']), lines.last_mut()) {
            (Some(more), Some((_, before))) => before.push_str(more),
            _ => lines.push((index + 1, line.to_owned())),
        }
    }
    Ok(lines)
}

/// `NAME;PARAMETER="value":value`; what stands in quotes parts nothing.
fn property(line: usize, text: &str) -> Option<Property> {
    let (mut pieces, mut piece, mut is_quoted) = (Vec::new(), String::new(), false);
    let mut rest = text.char_indices();
    let value = loop {
        let (at, c) = rest.next()?;
        match c {
            '"' => is_quoted = !is_quoted,
            ';' if !is_quoted => pieces.push(std::mem::take(&mut piece)),
            ':' if !is_quoted => break &text[at + 1..],
            _ => piece.push(c),
        }
    };
    pieces.push(piece);
    let mut pieces = pieces.into_iter();
    let name = pieces.next()?.trim().to_ascii_uppercase();
    let parameters = pieces.filter_map(|it| {
        let (name, value) = it.split_once('=')?;
        Some((name.trim().to_ascii_uppercase(), value.to_owned()))
    });
    Some(Property { line, name, parameters: parameters.collect(), value: value.to_owned() })
}

/// Text without the backslashes that keep commas and ends of lines.
pub(super) fn plain(text: &str) -> String {
    let (mut said, mut rest) = (String::new(), text.chars());
    while let Some(c) = rest.next() {
        match (c, c == '\\') {
            (_, true) => match rest.next() {
                Some('n' | 'N') => said.push(' '),
                Some(other) => said.push(other),
                None => {}
            },
            (c, false) => said.push(c),
        }
    }
    said.trim().to_owned()
}
