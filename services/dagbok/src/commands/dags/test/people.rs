//! Who answers what a DAG's tasks ask, where it is tried: what was said ahead, whoever sits at the terminal, or the
//! default. A question that none of them answers fails its task at once; nobody else will ever see it.
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    convert::Infallible,
};

use dagbok_events::{Actor, HitlAsk, RunKey, TaskId, TaskMark};
use dagbok_inbox::{Ask, Inbox};
use dagbok_protocol::{Answer, AnswerHitl, CommandBody, MarkTasks, RefusalCode};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::mpsc::UnboundedReceiver;

use super::{
    stage::{ANSWER_WITHIN, Stage},
    terminal::{Seat, plain},
};
use crate::{
    cli::Test,
    codes::Code,
    commands::dags::{flag_object, local::LocalDag},
    failure::Failure,
    live::TaskCopy,
    output::Out,
};

/// How often whoever sits at the terminal may answer one question so that it is refused.
const MOST_REFUSALS: u32 = 10;

/// What whoever answers is told of the run.
#[derive(Debug)]
pub(super) enum Told {
    /// A task asks.
    Asked(TaskCopy, Box<HitlAsk>),
    /// A task is in another state; whether it ended badly.
    Moved(TaskCopy, bool),
    /// A line was written.
    Shown,
}

/// A question that nobody answered.
#[derive(Clone, Debug, Serialize)]
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
    /// Which of that a question took.
    taken: BTreeSet<String>,
    /// Questions that nobody has answered yet, and in which order they came.
    open: BTreeMap<TaskCopy, Turn>,
    order: VecDeque<TaskCopy>,
    unanswered: Vec<Unanswered>,
    seat: Option<Seat>,
    out: Out,
}

/// How it stands with a question.
#[derive(Clone, Debug)]
struct Turn {
    ask: Box<HitlAsk>,
    /// How many answers to it were refused.
    refused: u32,
}

/// What is answered, and who says so.
#[derive(Debug, PartialEq)]
pub(super) struct Choice {
    pub(super) options: Vec<String>,
    pub(super) fields: Option<String>,
}

/// What comes of a question's turn.
#[derive(Debug, PartialEq)]
enum Reply {
    Chosen(Choice),
    /// Nobody is there, and it has no default.
    Nobody,
    /// Its answer was refused, and nobody is there to give another.
    Refused,
    /// It is over.
    Over,
}

impl People {
    /// Those of one run; refuses answers to tasks that the DAG has not, since nobody would notice.
    pub(super) fn of(args: &Test, dag: &LocalDag, out: Out) -> Result<Self, Failure> {
        let mut options: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (task, option) in &args.answers {
            options.entry(task.clone()).or_default().push(option.clone());
        }
        let mut fields = BTreeMap::new();
        for (task, text) in &args.fields {
            let flag = format!("--fields {task}=…");
            let like = format!(r#"--fields '{task}={{"key": "value"}}'"#);
            fields.insert(task.clone(), flag_object(text, &flag, &like)?.get().to_owned());
        }
        for task in options.keys().chain(fields.keys()) {
            let id = task.split_once('[').map_or(task.as_str(), |(id, _)| id);
            if !dag.spec.tasks.iter().any(|it| it.task_id.as_str() == id) {
                let what = format!("DAG `{}` has no task `{id}`", dag.spec.dag_id);
                return Err(Failure::new(Code::Usage, what)
                    .next("name a task that asks: --answer TASK=OPTION"));
            }
        }
        Ok(Self::with(options, fields, Seat::of_terminal(), out))
    }

    fn with(
        options: BTreeMap<String, Vec<String>>,
        fields: BTreeMap<String, String>,
        seat: Option<Seat>,
        out: Out,
    ) -> Self {
        let (taken, open, order) = (BTreeSet::new(), BTreeMap::new(), VecDeque::new());
        Self { options, fields, taken, open, order, unanswered: Vec::new(), seat, out }
    }

    /// Answers each question as it comes, one after the other.
    pub(super) async fn answer(
        &mut self,
        stage: &Stage,
        run: &RunKey,
        words: &mut UnboundedReceiver<Told>,
    ) -> Result<Infallible, Failure> {
        let inbox = Inbox::open(stage.ports(), stage.clock().clone()).await;
        let inbox = inbox.map_err(|error| Failure::from_error(Code::ServiceFailed, &error))?;
        loop {
            while let Ok(word) = words.try_recv() {
                self.hear(word);
            }
            let Some(copy) = self.order.pop_front() else {
                let Some(word) = words.recv().await else { return std::future::pending().await };
                self.hear(word);
                continue;
            };
            // It may have come to its end meanwhile.
            let Some(turn) = self.open.get(&copy).cloned() else { continue };
            let choice = match self.choose(&copy, &turn, words).await {
                Reply::Chosen(choice) => choice,
                Reply::Over => continue,
                reply @ (Reply::Nobody | Reply::Refused) => {
                    self.out.note(&unanswerable(&copy, &turn.ask, &reply));
                    self.leave(&copy);
                    send(&inbox, run, None, failed(run, &copy)).await?;
                    continue;
                }
            };
            // Who is asked by name is whoever tries the DAG.
            let name = turn.ask.assigned_users.first().map(|user| user.name.clone());
            match send(&inbox, run, name, answered(run, &copy, &choice)).await? {
                None => drop(self.open.remove(&copy)),
                Some((RefusalCode::AlreadyAnswered, why)) => {
                    self.open.remove(&copy);
                    self.out.note(&why);
                }
                Some((_, why)) => self.refuse(&copy, &why),
            }
        }
    }

    /// Says at the end which answers no question took, since they may be meant for another task; what is still open
    /// is answered by nobody.
    pub(super) fn finish(mut self) -> Vec<Unanswered> {
        let said: BTreeSet<_> = self.options.keys().chain(self.fields.keys()).cloned().collect();
        for task in said.difference(&self.taken) {
            self.out.note(&format!("`{task}` asked nothing: the answer to it was not used"));
        }
        for copy in self.open.keys().cloned().collect::<Vec<_>>() {
            self.leave(&copy);
        }
        self.unanswered
    }

    /// Takes in what became of the run.
    pub(super) fn hear(&mut self, word: Told) {
        match word {
            Told::Asked(copy, ask) => {
                self.order.push_back(copy.clone());
                self.open.insert(copy, Turn { ask, refused: 0 });
            }
            Told::Moved(copy, true) => self.leave(&copy),
            Told::Moved(copy, false) => drop(self.open.remove(&copy)),
            Told::Shown => {}
        }
    }

    pub(super) fn is_open(&self, copy: &TaskCopy) -> bool {
        self.open.contains_key(copy)
    }

    /// Nobody answered it.
    fn leave(&mut self, copy: &TaskCopy) {
        let Some(Turn { ask, .. }) = self.open.remove(copy) else { return };
        let (task, subject) = (copy.to_string(), ask.subject);
        self.unanswered.push(Unanswered { task, subject, options: ask.options });
    }

    /// The same answer is not given to it again: whoever sits at the terminal gives another, or its task fails.
    fn refuse(&mut self, copy: &TaskCopy, why: &str) {
        self.out.note(&format!("task `{copy}` can't be answered so: {why}"));
        let Some(turn) = self.open.get_mut(copy) else { return };
        turn.refused += 1;
        self.order.push_back(copy.clone());
    }

    async fn choose(
        &mut self,
        copy: &TaskCopy,
        turn: &Turn,
        words: &mut UnboundedReceiver<Told>,
    ) -> Reply {
        let ask = &turn.ask;
        let names = [copy.to_string(), copy.task_id.to_string()];
        // What was refused of this copy is not said once more; other copies may take it.
        let is_fresh = turn.refused == 0;
        let find = |said: &BTreeSet<String>| names.iter().find(|it| said.contains(*it)).cloned();
        let said = find(&self.options.keys().cloned().collect());
        let filled = find(&self.fields.keys().cloned().collect());
        self.taken.extend(said.iter().chain(&filled).cloned());
        let options = said.and_then(|name| self.options.get(&name)).filter(|_| is_fresh).cloned();
        let fields = filled.and_then(|name| self.fields.get(&name)).filter(|_| is_fresh).cloned();
        if let Some(why) = fields.as_deref().and_then(|fields| breaks(ask, fields)) {
            self.refuse(copy, &why);
            return Reply::Over;
        }
        if let Some(options) = options {
            return Reply::Chosen(Choice { options, fields: fields.or_else(|| values_of(ask)) });
        }
        if self.seat.is_some() && turn.refused < MOST_REFUSALS {
            match self.at_terminal(copy, ask, fields.clone(), words).await {
                Ok(choice) => return Reply::Chosen(choice),
                Err(super::terminal::Gone::Over) => return Reply::Over,
                // Whoever sat there closed their input.
                Err(super::terminal::Gone::Closed) => self.seat = None,
            }
        }
        if !is_fresh {
            return Reply::Refused;
        }
        let default = ask.defaults.clone().filter(|defaults| !defaults.is_empty());
        let Some(options) = default else { return Reply::Nobody };
        self.out.note(&format!(
            "task `{copy}` asks \"{}\" ({}), and nobody is here to answer: its default {} counts",
            plain(&ask.subject),
            plain(&ask.options.join(", ")),
            plain(&options.join(", ")),
        ));
        Reply::Chosen(Choice { options, fields: fields.or_else(|| values_of(ask)) })
    }

    pub(super) fn take_seat(&mut self) -> Option<Seat> {
        self.seat.take()
    }

    pub(super) fn sit_down(&mut self, seat: Seat) {
        self.seat = Some(seat);
    }
}

/// Why these can't be a question's fields, where they can't.
pub(super) fn breaks(ask: &HitlAsk, fields: &str) -> Option<String> {
    dagbok_api::check_fields(ask.params.as_deref(), fields).err()
}

fn unanswerable(copy: &TaskCopy, ask: &HitlAsk, reply: &Reply) -> String {
    if *reply == Reply::Refused {
        return format!(
            "task `{copy}` fails: its answer was refused, and nobody is here to give another"
        );
    }
    nobody(copy, ask)
}

fn nobody(copy: &TaskCopy, ask: &HitlAsk) -> String {
    let option = plain(ask.options.first().map_or("OPTION", String::as_str));
    format!(
        "task `{copy}` asks \"{}\" ({}), nobody is here to answer, and it has no default, so it fails: run this at a \
         terminal, or add --answer '{copy}={option}'",
        plain(&ask.subject),
        plain(&ask.options.join(", ")),
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

#[cfg(test)]
mod tests {
    use dagbok_events::MapIndex;
    use serde_json::{from_value, json};
    use tokio::sync::mpsc;

    use super::*;

    fn ask(defaults: &[&str]) -> Box<HitlAsk> {
        let params =
            r#"{"n": {"value": 3, "schema": {"type": "integer"}}, "name": {"value": null}}"#;
        let options = json!(["Approve", "2"]);
        from_value(
            json!({ "subject": "?", "options": options, "defaults": defaults, "params": params }),
        )
        .unwrap()
    }

    fn copy(number: i32) -> TaskCopy {
        TaskCopy::of(&TaskId::new("a").unwrap(), MapIndex(number))
    }

    fn people(options: &[(&str, &str)], fields: &[(&str, &str)]) -> People {
        let options = options.iter().map(|(task, it)| ((*task).to_owned(), vec![(*it).to_owned()]));
        let fields = fields.iter().map(|(task, it)| ((*task).to_owned(), (*it).to_owned()));
        People::with(
            options.collect(),
            fields.collect(),
            None,
            Out::new(crate::output::Format::default(), None),
        )
    }

    async fn turn(people: &mut People, copy: &TaskCopy) -> Reply {
        let turn = people.open[copy].clone();
        let (_words, mut words) = mpsc::unbounded_channel();
        people.choose(copy, &turn, &mut words).await
    }

    #[tokio::test]
    async fn a_refused_answer_is_given_once_a_copy_and_no_default_counts_instead() {
        let mut people = people(&[("a", "Z")], &[]);
        for number in [0, 1] {
            people.hear(Told::Asked(copy(number), ask(&["Approve"])));
        }
        assert!(
            matches!(turn(&mut people, &copy(0)).await, Reply::Chosen(it) if it.options == ["Z"])
        );
        people.refuse(&copy(0), "no such option");
        assert_eq!(turn(&mut people, &copy(0)).await, Reply::Refused);
        let other = turn(&mut people, &copy(1)).await;
        assert!(matches!(other, Reply::Chosen(it) if it.options == ["Z"]), "others may take it");
    }

    #[tokio::test]
    async fn fields_that_break_their_schema_are_refused_once() {
        let mut people = people(&[], &[("a", r#"{"n": "x"}"#)]);
        people.hear(Told::Asked(copy(-1), ask(&["Approve"])));
        people.order.clear();
        assert_eq!(turn(&mut people, &copy(-1)).await, Reply::Over);
        assert_eq!(people.order.len(), 1, "it has one more turn");
        assert_eq!(turn(&mut people, &copy(-1)).await, Reply::Refused);
    }

    #[test]
    fn a_question_whose_task_failed_was_answered_by_nobody() {
        let mut people = people(&[], &[]);
        for number in 0..3 {
            people.hear(Told::Asked(copy(number), ask(&[])));
        }
        people.hear(Told::Moved(copy(0), true));
        people.hear(Told::Moved(copy(1), false));
        assert!(!people.is_open(&copy(0)));
        let left: Vec<String> = people.finish().into_iter().map(|it| it.task).collect();
        assert_eq!(left, ["a[0]", "a[2]"], "with what is open at the end");
    }

    #[test]
    fn fields_that_nobody_fills_in_have_the_values_that_they_had() {
        let values: Value = serde_json::from_str(&values_of(&ask(&[])).unwrap()).unwrap();
        assert_eq!(values, json!({ "n": 3, "name": null }));
    }
}
