//! Who answers what a DAG's tasks ask, where it is tried: what was said ahead, whoever sits at the terminal, or the
//! default. A question that none of them answers fails its task at once; nobody else will ever see it.
use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    io::{BufRead as _, IsTerminal as _, Write as _, stderr, stdin},
};

use dagbok_events::{Actor, HitlAsk, RunKey, TaskId, TaskMark};
use dagbok_inbox::{Ask, Inbox};
use dagbok_protocol::{Answer, AnswerHitl, CommandBody, MarkTasks, RefusalCode};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::{mpsc::UnboundedReceiver, oneshot};

use super::stage::{ANSWER_WITHIN, Stage};
use crate::{
    cli::Test,
    codes::Code,
    commands::dags::{conf_object, local::LocalDag},
    failure::Failure,
    live::TaskCopy,
    output::Out,
};

/// What a task asks.
pub(super) type Question = (TaskCopy, Box<HitlAsk>);

/// A question that nobody answered.
#[derive(Debug, Serialize)]
pub(super) struct Unanswered {
    task: String,
    subject: String,
    options: Vec<String>,
}

/// Whoever answers.
#[derive(Debug)]
pub(super) struct People {
    /// What was said ahead, by task or copy.
    options: BTreeMap<String, Vec<String>>,
    fields: BTreeMap<String, String>,
    is_somebody_there: bool,
    out: Out,
}

/// What is answered, and who says so.
struct Choice {
    options: Vec<String>,
    fields: Option<String>,
}

impl People {
    /// Those of one run; refuses answers to tasks that the DAG has not, since nobody would notice.
    pub(super) fn of(args: &Test, dag: &LocalDag, out: Out) -> Result<Self, Failure> {
        let mut options: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (task, option) in &args.answers {
            options.entry(task.clone()).or_default().push(option.clone());
        }
        let fields: BTreeMap<String, String> = args.fields.iter().cloned().collect();
        for task in options.keys().chain(fields.keys()) {
            let id = task.split_once('[').map_or(task.as_str(), |(id, _)| id);
            if !dag.spec.tasks.iter().any(|it| it.task_id.as_str() == id) {
                let what = format!("DAG `{}` has no task `{id}`", dag.spec.dag_id);
                return Err(Failure::new(Code::Usage, what)
                    .next("name a task that asks: --answer TASK=OPTION"));
            }
        }
        for text in fields.values() {
            conf_object(text)?;
        }
        let is_somebody_there = stdin().is_terminal() && stderr().is_terminal();
        Ok(Self { options, fields, is_somebody_there, out })
    }

    /// Answers each question as it comes, one after the other; those that nobody answered are put into `unanswered`.
    pub(super) async fn answer(
        mut self,
        stage: &Stage,
        run: &RunKey,
        questions: &mut UnboundedReceiver<Question>,
        unanswered: &mut Vec<Unanswered>,
    ) -> Result<Infallible, Failure> {
        let inbox = Inbox::open(stage.ports(), stage.clock().clone()).await;
        let inbox = inbox.map_err(|error| Failure::from_error(Code::ServiceFailed, &error))?;
        let mut again = VecDeque::new();
        loop {
            let next = match again.pop_front() {
                Some(question) => Some(question),
                None => questions.recv().await,
            };
            let Some((copy, ask)) = next else { return std::future::pending().await };
            let Some(choice) = self.choose(&copy, &ask).await else {
                self.out.note(&nobody(&copy, &ask));
                let (task, subject) = (copy.to_string(), ask.subject.clone());
                unanswered.push(Unanswered { task, subject, options: ask.options.clone() });
                send(&inbox, run, None, failed(run, &copy)).await?;
                continue;
            };
            // Who is asked by name is whoever tries the DAG.
            let name = ask.assigned_users.first().map(|user| user.name.clone());
            match send(&inbox, run, name, answered(run, &copy, &choice)).await? {
                None => {}
                Some((RefusalCode::AlreadyAnswered, why)) => self.out.note(&why),
                Some((_, why)) => {
                    self.out.note(&format!("task `{copy}` can't be answered so: {why}"));
                    self.options.remove(&copy.to_string());
                    self.options.remove(copy.task_id.as_str());
                    again.push_back((copy, ask));
                }
            }
        }
    }

    async fn choose(&mut self, copy: &TaskCopy, ask: &HitlAsk) -> Option<Choice> {
        let names = [copy.to_string(), copy.task_id.to_string()];
        let said = names.iter().find_map(|name| self.options.get(name)).cloned();
        let fields = names.iter().find_map(|name| self.fields.get(name)).cloned();
        let fields = fields.or_else(|| values_of(ask));
        if let Some(options) = said {
            return Some(Choice { options, fields });
        }
        if self.is_somebody_there {
            if let Some(choice) = at_terminal(copy, ask).await {
                return Some(choice);
            }
            // Whoever sat there closed their input.
            self.is_somebody_there = false;
        }
        let options = ask.defaults.clone().filter(|defaults| !defaults.is_empty())?;
        self.out.note(&format!(
            "task `{copy}` asks \"{}\" ({}), and nobody is here to answer: its default {} counts",
            ask.subject,
            ask.options.join(", "),
            options.join(", "),
        ));
        Some(Choice { options, fields })
    }
}

fn nobody(copy: &TaskCopy, ask: &HitlAsk) -> String {
    let option = ask.options.first().map_or("OPTION", String::as_str);
    format!(
        "task `{copy}` asks \"{}\" ({}), nobody is here to answer, and it has no default, so it fails: run this at a \
         terminal, or add --answer '{copy}={option}'",
        ask.subject,
        ask.options.join(", "),
    )
}

/// What the fields are filled in with where nobody says anything: an object in text.
fn values_of(ask: &HitlAsk) -> Option<String> {
    let fields: Map<String, Value> = serde_json::from_str(ask.params.as_deref()?).ok()?;
    let values = fields.into_iter().map(|(name, mut field)| (name, field["value"].take()));
    Some(Value::Object(values.collect()).to_string())
}

fn failed(run: &RunKey, copy: &TaskCopy) -> CommandBody {
    let copies = if copy.map_index.is_unmapped() {
        vec![]
    } else {
        let (task_id, map_index) = (copy.task_id.clone(), copy.map_index);
        vec![dagbok_protocol::TaskCopy { task_id, map_index }]
    };
    let task_ids: Vec<TaskId> = if copies.is_empty() { vec![copy.task_id.clone()] } else { vec![] };
    CommandBody::MarkTasks(MarkTasks {
        dag_id: run.dag_id.clone(),
        run_id: run.run_id.clone(),
        task_ids,
        copies,
        state: TaskMark::Failed,
        upstream: false,
        downstream: false,
        dry_run: false,
    })
}

fn answered(run: &RunKey, copy: &TaskCopy, choice: &Choice) -> CommandBody {
    CommandBody::AnswerHitl(Box::new(AnswerHitl {
        dag_id: run.dag_id.clone(),
        run_id: run.run_id.clone(),
        task_id: copy.task_id.clone(),
        map_index: copy.map_index,
        chosen_options: choice.options.clone(),
        params_input: choice.fields.clone(),
    }))
}

/// Sends a command; why it is refused, where it is.
async fn send(
    inbox: &Inbox,
    run: &RunKey,
    name: Option<String>,
    body: CommandBody,
) -> Result<Option<(RefusalCode, String)>, Failure> {
    let user = name.or_else(|| std::env::var("USER").ok()).unwrap_or_else(|| "somebody".into());
    match inbox.ask(Ask::new(Actor::User(user), body), ANSWER_WITHIN).await {
        Ok(Answer::Refused(refusal)) => Ok(Some((refusal.code, refusal.message))),
        Ok(_) => Ok(None),
        Err(error) => Err(Failure::from_error(Code::SchedulerSilent, &error)
            .next(format!("run {run} could not be given an answer"))),
    }
}

/// Asks at the terminal, on a thread of its own: the process does not wait for it when the run is over before.
async fn at_terminal(copy: &TaskCopy, ask: &HitlAsk) -> Option<Choice> {
    let (said, choice) = oneshot::channel();
    let (copy, ask) = (copy.to_string(), ask.clone());
    std::thread::spawn(move || said.send(read(&copy, &ask)));
    choice.await.ok().flatten()
}

/// One line of the terminal; none where it was closed.
fn line(question: &str) -> Option<String> {
    write!(stderr(), "{question} ").and_then(|()| stderr().flush()).ok()?;
    let mut text = String::new();
    let count = stdin().lock().read_line(&mut text).ok()?;
    (count > 0).then(|| text.trim().to_owned())
}

fn read(copy: &str, ask: &HitlAsk) -> Option<Choice> {
    let subject = format!("{copy} asks: {}\n", ask.subject);
    let body = ask.body.iter().flat_map(|body| body.lines()).map(|text| format!("  {text}\n"));
    let options = (1..).zip(&ask.options).map(|(number, option)| format!("  {number}  {option}\n"));
    let shown: String = std::iter::once(subject).chain(body).chain(options).collect();
    let default = ask.defaults.as_ref().filter(|it| !it.is_empty());
    let many = if ask.multiple { " (several with commas)" } else { "" };
    let default_text = default.map(|it| format!(" [{}]", it.join(", "))).unwrap_or_default();
    write!(stderr(), "{shown}").ok()?;
    let options = loop {
        let said = line(&format!("Which{many}?{default_text}"))?;
        match (said.as_str(), default) {
            ("", Some(default)) => break default.clone(),
            ("", None) => {}
            (said, _) => match chosen(said, ask) {
                Ok(options) => break options,
                Err(odd) => writeln!(stderr(), "There is no `{odd}` to choose.").ok()?,
            },
        }
    };
    let fields: Map<String, Value> =
        ask.params.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let mut values = Map::new();
    for (name, field) in &fields {
        let said = line(&format!("{name} [{}]:", field["value"]))?;
        let value = if said.is_empty() {
            field["value"].clone()
        } else {
            // What is no JSON is a text.
            serde_json::from_str(&said).unwrap_or(Value::String(said))
        };
        values.insert(name.clone(), value);
    }
    let fields = (!values.is_empty()).then(|| Value::Object(values).to_string());
    Some(Choice { options, fields })
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
        let options = json!(["Approve", "2"]);
        let params = r#"{"n": {"value": 3, "schema": {}}, "name": {"value": null}}"#;
        from_value(json!({
            "subject": "?", "options": options, "multiple": multiple, "params": params
        }))
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
    fn fields_that_nobody_fills_in_have_the_values_that_they_had() {
        let values: Value = serde_json::from_str(&values_of(&ask(false)).unwrap()).unwrap();
        assert_eq!(values, json!({ "n": 3, "name": null }));
    }
}
