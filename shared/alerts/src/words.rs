//! Words that people write for a receiver's messages, as templates: of what they may say all is there, what they may take
//! is bounded, and where they come to nothing a message goes out in plain words.
use std::{collections::BTreeMap, fmt::Write as _};

use minijinja::{Environment, Value};
use thiserror::Error;

use crate::{Labels, Message, limits};

/// What templates may name.
const NAMES: [&str; 18] = [
    "title",
    "text",
    "summary",
    "status",
    "purpose",
    "severity",
    "owner",
    "dag",
    "labels",
    "details",
    "causes",
    "count",
    "since",
    "ended_at",
    "link",
    "route",
    "namespace",
    "runbook",
];

/// Words for a receiver, in place of the plain ones. Without one of the two that one is plain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    title: Option<String>,
    text: Option<String>,
}

/// Words that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}{what}", .line.map(|line| format!("line {line} of the template: ")).unwrap_or_default())]
pub struct BadWords {
    /// Whether they are those of the title.
    pub is_title: bool,
    /// Where in them.
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
}

impl Words {
    /// Checks what people wrote: its form, its length, and that it names nothing that is not there.
    pub fn new(title: Option<String>, text: Option<String>) -> Result<Self, BadWords> {
        for (is_title, source) in [(true, &title), (false, &text)] {
            let Some(source) = source else { continue };
            check(source).map_err(|(line, what)| BadWords { is_title, line, what })?;
        }
        Ok(Self { title, text })
    }

    /// The title and the text of a message in these words; an error says why they can't be used for it.
    pub(crate) fn of(
        &self,
        message: &Message,
        route: &str,
        summary: &str,
    ) -> Result<(Option<String>, Option<String>), String> {
        let about = about(message, route, summary);
        let title = self.title.as_deref().map(|it| worded(it, &about).map(|it| one_line(&it)));
        let text = self.text.as_deref().map(|it| worded(it, &about));
        Ok((title.transpose()?, text.transpose()?))
    }
}

fn environment<'a>() -> Environment<'a> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(limits::WORDS_FUEL));
    environment
}

fn check(source: &str) -> Result<(), (Option<usize>, String)> {
    if source.len() > limits::WORDS_BYTES {
        let what = format!("a template has {} bytes at most", limits::WORDS_BYTES);
        return Err((None, what));
    }
    let environment = environment();
    let template = environment.template_from_str(source);
    let template = template.map_err(|error| (error.line(), said(&error)))?;
    let mut unknown: Vec<String> = template.undeclared_variables(false).into_iter().collect();
    unknown.retain(|name| {
        !NAMES.contains(&name.as_str()) && !environment.globals().any(|(it, _)| it == name)
    });
    unknown.sort_unstable();
    match unknown.first() {
        None => Ok(()),
        Some(name) => {
            let known = NAMES.join(", ");
            Err((None, format!("there is no `{name}`; there are: {known}")))
        }
    }
}

fn said(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

fn worded(source: &str, about: &Value) -> Result<String, String> {
    let environment = environment();
    let template = environment.template_from_str(source).map_err(|error| said(&error))?;
    let text = template.render(about.clone()).map_err(|error| said(&error))?;
    if text.len() > limits::WORDED_BYTES {
        return Err(format!("it comes to more than {} bytes", limits::WORDED_BYTES));
    }
    if text.trim().is_empty() {
        return Err("it comes to nothing".to_owned());
    }
    Ok(text.trim_end().to_owned())
}

/// Mail and others take a title of one line.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    for word in text.split_whitespace() {
        let blank = if line.is_empty() { "" } else { " " };
        let _ = write!(line, "{blank}{word}");
    }
    crate::text::cut(&line)
}

/// All that words may be of.
fn about(message: &Message, route: &str, summary: &str) -> Value {
    let label = |name: &str| message.labels.get(name).cloned().unwrap_or_default();
    let details: BTreeMap<String, String> = message.details.iter().cloned().collect();
    let mut about: BTreeMap<&str, Value> = BTreeMap::new();
    let texts = [
        ("title", message.title.clone()),
        ("text", message.text.clone()),
        ("summary", summary.to_owned()),
        ("status", message.status.word().to_owned()),
        ("purpose", message.purpose.word().to_owned()),
        ("severity", label("severity")),
        ("owner", label("owner")),
        ("dag", label("dag")),
        ("since", message.since.to_string()),
        ("ended_at", message.ended_at.map(|at| at.to_string()).unwrap_or_default()),
        ("link", message.link.clone().unwrap_or_default()),
        ("route", route.to_owned()),
        ("runbook", message.runbook.clone().unwrap_or_default()),
        ("namespace", label("namespace")),
    ];
    about.extend(texts.map(|(name, text)| (name, Value::from(text))));
    about.insert("labels", map_of(&message.labels));
    about.insert("details", map_of(&details));
    about.insert("causes", message.causes.iter().copied().collect());
    about.insert("count", Value::from(message.count));
    Value::from_pairs(about)
}

fn map_of(labels: &Labels) -> Value {
    Value::from_pairs(labels.iter().map(|(name, value)| (name.as_str(), value.as_str())))
}
