//! Tries that wait for a trigger: what of them is kept, and what becomes of it.
use dagbok_events::{
    Fact, HitlAnswered, HitlAsk, Leg, MapIndex, Payload, TaskId, Timestamp, TriggerCall,
    TriggerFailed, TriggerFailedWhy, TryDeferred, TryNumber,
};
use dagbok_protocol::{Resume, ResumedBy};
use serde::{Deserialize, Serialize};

use super::{Change, InstanceNo, Run, TaskState, Token};

/// What a try waits for, and how it goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deferral {
    /// What it waits for.
    pub trigger: TriggerCall,
    next_method: String,
    next_kwargs: Option<Payload>,
    /// Where it waits for a person: what is asked. Nobody runs the trigger then.
    #[serde(default)]
    pub ask: Option<Box<HitlAsk>>,
    /// What became of the trigger.
    by: Option<ResumedBy>,
}

impl Deferral {
    /// Whether what it waits for has come.
    pub const fn is_over(&self) -> bool {
        self.by.is_some()
    }

    /// How the try goes on; nothing where its trigger has not fired.
    pub fn resume(&self) -> Option<Resume> {
        Some(Resume {
            next_method: self.next_method.clone(),
            next_kwargs: self.next_kwargs.clone(),
            by: self.by.clone()?,
        })
    }
}

impl Run {
    /// The instances that wait for a trigger.
    pub fn deferred(&self) -> impl Iterator<Item = InstanceNo> {
        self.deferred.iter().copied()
    }

    /// Folds a fact of a try that waits, or of its trigger.
    pub(super) fn evolve_deferral(
        &mut self,
        seq: u64,
        at: Timestamp,
        fact: &Fact,
    ) -> Option<Change> {
        match fact {
            Fact::TryDeferred(f) => self.defer(seq, at, f),
            // Where it ends the task the same record says how.
            Fact::TriggerFired(f) if !f.ends_task => {
                let (task, by) = ((&f.task_id, f.map_index), ResumedBy::Event(f.event.clone()));
                self.go_on_after(at, task, (f.try_number, f.leg), by)
            }
            Fact::HitlAnswered(f) => {
                let by = ResumedBy::Event(Payload::Inline(event_of(f)));
                self.go_on_after(at, (&f.task_id, f.map_index), (f.try_number, f.leg), by)
            }
            Fact::TriggerFailed(f) => {
                let of_ask = self.asks(&f.task_id, f.map_index).is_some();
                let by = if of_ask && f.why == TriggerFailedWhy::Timeout {
                    // As in Airflow the operator is told, and says that nobody answered.
                    ResumedBy::Event(Payload::Inline(NOBODY_ANSWERED.to_owned()))
                } else {
                    ResumedBy::Failure { why: f.why, traceback: f.traceback.clone() }
                };
                self.go_on_after(at, (&f.task_id, f.map_index), (f.try_number, f.leg), by)
            }
            _ => None,
        }
    }

    fn defer(&mut self, seq: u64, since: Timestamp, f: &TryDeferred) -> Option<Change> {
        let no = self.current(&f.task_id, f.map_index, f.try_number, f.leg)?;
        let instance = self.arena.get_mut(no);
        let hold = instance.state.hold().cloned()?;
        let Some(leg) = f.leg.next() else {
            // No try has so many legs.
            return Some(self.set(no, TaskState::UpForRetry { since, due: since }));
        };
        instance.deferral = Some(Box::new(Deferral {
            trigger: f.trigger.clone(),
            next_method: f.next_method.clone(),
            next_kwargs: f.next_kwargs.clone(),
            ask: f.ask.clone(),
            by: None,
        }));
        let token = Token { try_number: f.try_number, leg };
        Some(self.set(no, TaskState::Deferred { token, since, seq, hold, until: f.timeout_at }))
    }

    /// The trigger is over: the try goes on as soon as there is room.
    fn go_on_after(
        &mut self,
        at: Timestamp,
        (task_id, map_index): (&TaskId, MapIndex),
        (try_number, leg): (TryNumber, Leg),
        by: ResumedBy,
    ) -> Option<Change> {
        let token = Token { try_number, leg };
        let no = self.find(task_id, map_index)?;
        let instance = self.arena.get_mut(no);
        if instance.state.deferred() != Some(token) {
            return None;
        }
        if let Some(deferral) = &mut instance.deferral {
            deferral.by = Some(by);
        }
        Some(self.set(no, TaskState::UpForReschedule { token, since: at, due: at }))
    }

    /// What a copy asks people, answered or not.
    pub fn asks(&self, task_id: &TaskId, map_index: MapIndex) -> Option<&HitlAsk> {
        let no = self.find(task_id, map_index)?;
        self.arena.get(no).deferral.as_ref()?.ask.as_deref()
    }

    /// That the time of a trigger is up, with what follows; nothing where it is not.
    pub(crate) fn trigger_timed_out(&self, no: InstanceNo, now: Timestamp) -> Vec<Fact> {
        let instance = self.arena.get(no);
        let TaskState::Deferred { token, until: Some(until), .. } = instance.state else {
            return Vec::new();
        };
        if until > now {
            return Vec::new();
        }
        let ask = instance.deferral.as_ref().and_then(|it| it.ask.as_deref());
        if let Some(defaults) = ask.and_then(|ask| ask.defaults.clone()) {
            let params = ask.and_then(|ask| ask.params.as_deref());
            let answered = Fact::HitlAnswered(Box::new(HitlAnswered {
                task_id: self.spec(no).task_id.clone(),
                map_index: instance.map_index,
                try_number: token.try_number,
                leg: token.leg,
                chosen_options: defaults,
                params_input: params.and_then(values_of),
                by: None,
                at: now,
            }));
            return [answered].into_iter().chain(self.after_going_on(no)).collect();
        }
        let failed = Fact::TriggerFailed(Box::new(TriggerFailed {
            task_id: self.spec(no).task_id.clone(),
            map_index: instance.map_index,
            try_number: token.try_number,
            leg: token.leg,
            why: TriggerFailedWhy::Timeout,
            traceback: String::new(),
            executor: None,
            log: None,
            asset: None,
        }));
        [failed].into_iter().chain(self.after_going_on(no)).collect()
    }
}

/// What a task is told where the time for an answer was up and it has no defaults; in Airflow's words.
const NOBODY_ANSWERED: &str = r#"{"error":"The timeout has passed, and the response has not yet been received.","error_type":"timeout"}"#;

/// What a task is told of an answer: the payload of Airflow's HITLTrigger, as XComs are written.
fn event_of(f: &HitlAnswered) -> String {
    let input = f.params_input.as_deref().and_then(|it| serde_json::from_str(it).ok());
    let input = input.unwrap_or_else(|| serde_json::json!({}));
    let at = f.at.to_string();
    let at = at.strip_suffix('Z').unwrap_or(&at);
    let by = f.by.as_ref().map(|by| serde_json::json!({"id": by.id, "name": by.name}));
    serde_json::json!({
        "chosen_options": f.chosen_options,
        "params_input": input,
        "responded_by_user": by,
        "responded_at": {
            "__classname__": "datetime.datetime",
            "__version__": 1,
            "__data__": [format!("{at}+00:00"), "UTC"],
        },
        "timedout": f.by.is_none(),
    })
    .to_string()
}

/// The values that fields begin with, by name.
fn values_of(params: &str) -> Option<String> {
    let params: serde_json::Map<String, serde_json::Value> = serde_json::from_str(params).ok()?;
    let values = params.into_iter().map(|(name, param)| {
        let value = param.get("value").cloned().unwrap_or_default();
        (name, value)
    });
    let values: serde_json::Map<_, _> = values.collect();
    Some(serde_json::Value::Object(values).to_string())
}
