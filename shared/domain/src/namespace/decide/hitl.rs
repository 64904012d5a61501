//! Answers to what tasks ask people.
use std::collections::BTreeSet;

use dagbok_events::{Actor, Fact, HitlAnswered, HitlAsk, HitlUser, RunKey, Scope, Timestamp};
use dagbok_protocol::{AnswerHitl, Command, RefusalCode, limits::HITL_ANSWER_BYTES};
use serde_json::{Map, Value};

use crate::namespace::{
    Decision, Namespace, accepted, answering, decide::clear::no_task, ending_word, refuse,
};

impl Namespace {
    /// Takes an answer, and lets the task go on with it.
    pub(super) fn answer_hitl(
        &self,
        at: Timestamp,
        command: &Command,
        answer: &AnswerHitl,
    ) -> Decision {
        let key = RunKey { dag_id: answer.dag_id.clone(), run_id: answer.run_id.clone() };
        let Some(run) = self.run(&key) else {
            return match self.past_ending(&key) {
                None => self.no_run(&key),
                Some(ending) => {
                    let why = format!("run {key} is over already: {}", ending_word(ending));
                    refuse(RefusalCode::RunOver, why)
                }
            };
        };
        let Some(no) = run.find(&answer.task_id, answer.map_index) else {
            return refuse(RefusalCode::TaskNotFound, no_task(run, &answer.task_id));
        };
        let task = &answer.task_id;
        let instance = run.instance(no);
        let deferral = instance.deferral.as_ref();
        let Some(ask) = deferral.and_then(|it| it.ask.as_deref()) else {
            let why = format!("task {task} of run {key} asks nobody anything");
            return refuse(RefusalCode::NotAsked, why);
        };
        let waits = instance.state.deferred().filter(|_| deferral.is_some_and(|it| !it.is_over()));
        let Some(token) = waits else {
            let why = format!(
                "what task {task} of run {key} asks is answered already, or nobody waits for it any more"
            );
            return refuse(RefusalCode::AlreadyAnswered, why);
        };
        let by = answerer(&command.by);
        if let Some(why) = not_assigned(ask, &by) {
            return refuse(RefusalCode::NotAssigned, why);
        }
        if let Some(why) = fault_of(ask, answer) {
            return refuse(RefusalCode::Invalid, why);
        }
        let answered = Fact::HitlAnswered(Box::new(HitlAnswered {
            task_id: task.clone(),
            map_index: answer.map_index,
            try_number: token.try_number,
            leg: token.leg,
            chosen_options: answer.chosen_options.clone(),
            params_input: answer.params_input.clone(),
            by: Some(by),
            at,
        }));
        let facts = [answered].into_iter().chain(run.after_going_on(no)).collect();
        accepted(vec![answering(command, at, Scope::Run(key), facts)])
    }
}

/// Who answers, as the log will have it.
fn answerer(by: &Actor) -> HitlUser {
    let name = match by {
        Actor::User(name) | Actor::Token(name) => name.clone(),
        Actor::Executor(id) => id.as_str().to_owned(),
        Actor::Scheduler | Actor::Schedule => "scheduler".to_owned(),
        Actor::Processor => "processor".to_owned(),
    };
    HitlUser { id: name.clone(), name }
}

fn not_assigned(ask: &HitlAsk, by: &HitlUser) -> Option<String> {
    let users = &ask.assigned_users;
    let may = users.is_empty() || users.iter().any(|user| user.id == by.id || user.name == by.name);
    (!may).then(|| {
        let names: Vec<&str> = users.iter().take(10).map(|user| user.name.as_str()).collect();
        format!(
            "User={} (id={}) is not a respondent for the task; those are {}. Who asks is known by the \
             header `X-Dagbok-User` of a request from the API's own machine; from elsewhere everybody is anonymous",
            by.name,
            by.id,
            names.join(", ")
        )
    })
}

/// What is wrong with an answer; what its fields say is held against their schemas by whoever takes it in.
fn fault_of(ask: &HitlAsk, answer: &AnswerHitl) -> Option<String> {
    let chosen = &answer.chosen_options;
    if chosen.is_empty() {
        return Some("an answer chooses at least one option".to_owned());
    }
    let wrong: Vec<&str> =
        chosen.iter().filter(|it| !ask.options.contains(it)).map(String::as_str).collect();
    if !wrong.is_empty() {
        return Some(format!("Invalid options {wrong:?}; allowed options are {:?}", ask.options));
    }
    if chosen.iter().collect::<BTreeSet<_>>().len() < chosen.len() {
        return Some("an option is chosen twice".to_owned());
    }
    if !ask.multiple && chosen.len() > 1 {
        return Some(
            "Multiple options chosen but this Human-in-the-loop task accepts only a single option"
                .to_owned(),
        );
    }
    let input = answer.params_input.as_deref()?;
    if input.len() > HITL_ANSWER_BYTES {
        return Some(format!(
            "params_input has {} bytes of JSON, at most {HITL_ANSWER_BYTES} are taken",
            input.len()
        ));
    }
    let Ok(input) = serde_json::from_str::<Map<String, Value>>(input) else {
        return Some("params_input must be a JSON object".to_owned());
    };
    let asked = ask.params.as_deref().map(serde_json::from_str::<Map<String, Value>>);
    let asked = asked.and_then(Result::ok).unwrap_or_default();
    let names = |of: &Map<String, Value>| of.keys().cloned().collect::<BTreeSet<_>>();
    let (given, wanted) = (names(&input), names(&asked));
    (!input.is_empty() && given != wanted)
        .then(|| format!("params_input has the fields {given:?}, and the task asks for {wanted:?}"))
}
