//! Whoever sits at the terminal where a DAG is tried: a question is put to them, and they answer line by line.
use std::io::{BufRead as _, IsTerminal as _, Write as _, stderr, stdin};

use dagbok_events::HitlAsk;
use rustix::termios::{QueueSelector, tcflush};
use serde_json::{Map, Value};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::people::{Choice, People, Told, breaks};
use crate::live::TaskCopy;

/// Somebody at the terminal.
#[derive(Debug)]
pub(super) struct Seat {
    /// What they type, from their first question on.
    lines: Option<UnboundedReceiver<String>>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Gone {
    /// They closed their input.
    Closed,
    /// The question is over.
    Over,
}

impl Seat {
    /// Whoever sits at the terminal of this process, where it has one.
    pub(super) fn of_terminal() -> Option<Self> {
        (stdin().is_terminal() && stderr().is_terminal()).then_some(Self { lines: None })
    }

    /// What they type, without what they typed before: that is no answer to what they had not seen. It is read on a
    /// thread of its own: the process does not wait for it when the run is over before.
    fn listen(&mut self) -> &mut UnboundedReceiver<String> {
        // Where it can't be let go, there is none.
        tcflush(stdin(), QueueSelector::IFlush).ok();
        let lines = self.lines.get_or_insert_with(|| {
            let (typed, lines) = unbounded_channel();
            std::thread::spawn(move || {
                for line in stdin().lock().lines() {
                    let Ok(line) = line else { break };
                    if typed.send(line.trim().to_owned()).is_err() {
                        break;
                    }
                }
            });
            lines
        });
        while lines.try_recv().is_ok() {}
        lines
    }
}

impl People {
    /// Asks at the terminal; `fields` are those that were said ahead.
    pub(super) async fn at_terminal(
        &mut self,
        copy: &TaskCopy,
        ask: &HitlAsk,
        fields: Option<String>,
        words: &mut UnboundedReceiver<Told>,
    ) -> Result<Choice, Gone> {
        let mut seat = self.take_seat().ok_or(Gone::Closed)?;
        let mut prompt = Prompt { people: self, lines: seat.listen(), words, copy };
        let choice = prompt.choice(ask, fields).await;
        self.sit_down(seat);
        choice
    }
}

/// A question that is being put.
struct Prompt<'a> {
    people: &'a mut People,
    lines: &'a mut UnboundedReceiver<String>,
    words: &'a mut UnboundedReceiver<Told>,
    copy: &'a TaskCopy,
}

impl Prompt<'_> {
    async fn choice(&mut self, ask: &HitlAsk, fields: Option<String>) -> Result<Choice, Gone> {
        write(&shown(self.copy, ask))?;
        let default = ask.defaults.as_ref().filter(|it| !it.is_empty());
        let many = if ask.multiple { " (several with commas)" } else { "" };
        let default_text = default.map(|it| format!(" [{}]", plain(&it.join(", "))));
        let question = format!("Which{many}?{}", default_text.unwrap_or_default());
        let options = loop {
            let said = self.line(&question).await?;
            match (said.as_str(), default) {
                ("", Some(default)) => break default.clone(),
                ("", None) => {}
                (said, _) => match chosen(said, ask) {
                    Ok(options) => break options,
                    Err(odd) => write(&format!("There is no `{}` to choose.\n", plain(&odd)))?,
                },
            }
        };
        let fields = match fields {
            Some(fields) => Some(fields),
            None => self.fields(ask).await?,
        };
        Ok(Choice { options, fields })
    }

    /// Asks for each field until it holds against its schema.
    async fn fields(&mut self, ask: &HitlAsk) -> Result<Option<String>, Gone> {
        let fields = ask.params.as_deref().and_then(|text| serde_json::from_str(text).ok());
        let fields: Map<String, Value> = fields.unwrap_or_default();
        let mut values = Map::new();
        for (name, field) in &fields {
            let question = format!("{} [{}]:", plain(name), plain(&field["value"].to_string()));
            let value = loop {
                let said = self.line(&question).await?;
                if said.is_empty() {
                    break field["value"].clone();
                }
                let value = typed(said, field);
                let one = Map::from_iter([(name.clone(), value.clone())]);
                match breaks(ask, &Value::Object(one).to_string()) {
                    None => break value,
                    Some(why) => write(&format!("{}\n", plain(&why)))?,
                }
            };
            values.insert(name.clone(), value);
        }
        Ok((!values.is_empty()).then(|| Value::Object(values).to_string()))
    }

    /// One line of the terminal, for as long as the question is open; what is written meanwhile stands between, so that it is
    /// asked once more.
    async fn line(&mut self, question: &str) -> Result<String, Gone> {
        write(&format!("{question} "))?;
        loop {
            tokio::select! {
                said = self.lines.recv() => return said.ok_or(Gone::Closed),
                Some(word) = self.words.recv() => {
                    let mut is_shown = matches!(word, Told::Shown);
                    self.people.hear(word);
                    while let Ok(word) = self.words.try_recv() {
                        is_shown |= matches!(word, Told::Shown);
                        self.people.hear(word);
                    }
                    if !self.people.is_open(self.copy) {
                        write(&format!("\nThe question of {} is over.\n", self.copy))?;
                        return Err(Gone::Over);
                    }
                    if is_shown {
                        write(&format!("{question} "))?;
                    }
                }
            }
        }
    }
}

fn write(text: &str) -> Result<(), Gone> {
    let mut to = stderr();
    to.write_all(text.as_bytes()).and_then(|()| to.flush()).map_err(|_| Gone::Closed)
}

/// A text of tasks without what would move a terminal's cursor.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

fn shown(copy: &TaskCopy, ask: &HitlAsk) -> String {
    let subject = format!("{copy} asks: {}\n", plain(&ask.subject));
    let body = ask.body.iter().flat_map(|body| body.lines());
    let body = body.map(|text| format!("  {}\n", plain(text)));
    let options = (1..).zip(&ask.options);
    let options = options.map(|(number, option)| format!("  {number}  {}\n", plain(option)));
    std::iter::once(subject).chain(body).chain(options).collect()
}

/// What was typed for a field: a text where its schema (or, without one, its value) knows nothing else, and JSON otherwise, as
/// far as it is. Two quotes are the empty text.
fn typed(said: String, field: &Value) -> Value {
    let kinds: Vec<&str> = match &field["schema"]["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ if field["value"].is_string() => vec!["string"],
        _ => vec![],
    };
    let is_text =
        kinds.contains(&"string") && kinds.iter().all(|it| ["string", "null"].contains(it));
    match said.as_str() {
        "\"\"" => Value::String(String::new()),
        "null" if kinds.contains(&"null") => Value::Null,
        _ if is_text => Value::String(said),
        _ => serde_json::from_str(&said).unwrap_or(Value::String(said)),
    }
}

/// What was chosen, by number or by name.
fn chosen(said: &str, ask: &HitlAsk) -> Result<Vec<String>, String> {
    let one = |word: &str| {
        let by_number =
            word.parse::<usize>().ok().and_then(|it| ask.options.get(it.checked_sub(1)?));
        let by_name = ask.options.iter().find(|it| it.eq_ignore_ascii_case(word));
        by_name.or(by_number).cloned().ok_or_else(|| word.to_owned())
    };
    if !ask.multiple {
        return one(said).map(|it| vec![it]);
    }
    said.split(',').map(|word| one(word.trim())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn ask(multiple: bool) -> HitlAsk {
        from_value(json!({ "subject": "?", "options": ["Approve", "2"], "multiple": multiple }))
            .unwrap()
    }

    #[test]
    fn an_option_is_chosen_by_its_number_or_its_name() {
        assert_eq!(chosen("1", &ask(false)).unwrap(), ["Approve"]);
        assert_eq!(chosen("approve", &ask(false)).unwrap(), ["Approve"]);
        assert_eq!(chosen("2", &ask(false)).unwrap(), ["2"], "a name goes before a number");
        assert_eq!(chosen("3", &ask(false)).unwrap_err(), "3");
        assert_eq!(chosen("0", &ask(false)).unwrap_err(), "0");
        assert_eq!(chosen("2, 1", &ask(true)).unwrap(), ["2", "Approve"]);
        assert_eq!(chosen("1,x", &ask(true)).unwrap_err(), "x");
    }

    #[test]
    fn a_text_stays_a_text_where_nothing_else_is_meant() {
        let of = |said: &str, kind: Value| {
            typed(said.to_owned(), &json!({ "schema": { "type": kind } }))
        };
        assert_eq!(of("10115", json!("string")), json!("10115"));
        assert_eq!(of("true", json!(["null", "string"])), json!("true"));
        assert_eq!(of("null", json!(["null", "string"])), Value::Null);
        assert_eq!(of("\"\"", json!("string")), json!(""));
        assert_eq!(of("10115", json!("integer")), json!(10115));
        assert_eq!(typed("1.10".to_owned(), &json!({ "value": "1.9" })), json!("1.10"));
        assert_eq!(typed("[1]".to_owned(), &json!({ "value": null })), json!([1]));
    }

    #[test]
    fn what_tasks_ask_moves_no_cursor() {
        let mut ask = ask(false);
        ask.subject = "First\nline \u{1b}[31mred".to_owned();
        ask.body = Some("a\nb\u{7}".to_owned());
        let copy = TaskCopy::of(
            &dagbok_events::TaskId::new("a").unwrap(),
            dagbok_events::MapIndex::UNMAPPED,
        );
        let text = shown(&copy, &ask);
        assert_eq!(text, "a asks: First line  [31mred\n  a\n  b \n  1  Approve\n  2  2\n");
    }
}
