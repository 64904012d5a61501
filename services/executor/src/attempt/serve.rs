//! Answers a try's requests over its frames, until its process closes them.
use std::{sync::Arc, time::Duration};

use dagbok_events::{AssetRef, MapIndex, TaskId, Timestamp, TryKey, Usage};
use dagbok_inbox::SecretsClient;
use dagbok_protocol::{
    CopiesHandedOn, OutletEvent, ReportBody,
    limits::{LINEAGE_BYTES, MESSAGE_BYTES, PAYLOAD_BYTES},
    names::{DAG_CALLBACK, TASK_CALLBACKS},
    text,
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::{
    io::{AsyncWriteExt as _, BufReader},
    net::UnixStream,
    time::{sleep, timeout},
};

use super::{
    ask::ApiClient,
    asked::{
        CallbackBegun, CallbackFailed, GetXCom, GetXComElement, GetXComSequence, LastWord,
        MaskSecret, Outlet, RescheduleTask, SetRenderedFields, SetRenderedMapIndex, SetXCom,
        SkipDownstreamTasks, SucceedTask, TaskLineage,
    },
    deferral, past,
    said::{Ending, Said},
    wire::{self, FrameError, Incoming},
    xcom::{Address, NoValue, RETURN_VALUE, XComs},
};
use crate::{
    held::{Control, Held, Kill},
    keep::Keeps,
    log::LiveLog,
    phase::{Phase, PhaseTeller},
    raised::Raised,
    reports::Reporter,
};

/// How long a process may live whose frames have ended without a last word.
const LAST_WORD: Duration = Duration::from_secs(1);
/// How long after the process' end its frames may stay open in somebody else's hands.
const EOF_GRACE: Duration = Duration::from_millis(250);

/// The serving end of a try's frames.
#[derive(Debug)]
pub(crate) struct Server {
    /// Which try.
    pub(crate) key: TryKey,
    /// The frames.
    pub(crate) stream: BufReader<UnixStream>,
    /// What is left to send of the first frame.
    pub(crate) startup: Vec<u8>,
    /// For values that are pushed.
    pub(crate) reporter: Reporter,
    /// For values that are read.
    pub(crate) xcoms: XComs,
    /// For what is asked about other runs.
    pub(crate) api: ApiClient,
    /// For variables and connections.
    pub(crate) secrets: SecretsClient,
    /// The run's logical date.
    pub(crate) date: Option<Timestamp>,
    /// When the try's first leg began, where this is a later one.
    pub(crate) first_started_at: Option<Timestamp>,
    /// To end the try by, where its process can't be understood.
    pub(crate) held: Arc<Held>,
    /// What it keeps for the next try; a callback in a process of its own keeps nothing.
    pub(crate) keeps: Option<Arc<Keeps>>,
    /// For what goes wrong.
    pub(crate) log: Arc<LiveLog>,
    /// Says when to begin, and is told of the last word.
    pub(crate) phase: PhaseTeller,
}

/// How the line of a log begins that has the rendered fields of a task, as a JSON object.
const RENDERED: &str = "rendered fields: ";
/// How long that object may be, in bytes.
const RENDERED_BYTES: usize = 16 << 10;

/// An answer: a body, nothing, or an error with its code.
type Reply = Result<Value, (&'static str, String)>;

impl Server {
    /// Serves until the frames end, the last word of a process that has nothing left to run, or shortly after the
    /// process did; returns what was said.
    pub(crate) async fn serve(mut self) -> Said {
        let mut said = Said::default();
        let mut phases = self.phase.reader();
        let mut ends = self.phase.reader();
        let held = Arc::clone(&self.held);
        let given_up = async {
            phases.reached(Phase::Exited).await;
            sleep(EOF_GRACE).await;
        };
        tokio::select! {
            biased;
            served = self.work(&mut said) => {
                let why = match served {
                    Err(FrameError::Garbled(why)) => Some(why),
                    Err(FrameError::Io(error)) => Some(error.to_string()),
                    Ok(()) => said.ending.is_none().then(|| "it was closed".to_owned()),
                };
                // It would wait for ever for answers, or run on with nobody to tell. Where it is ending by
                // itself, that is awaited.
                if let Some(why) = why
                    && timeout(LAST_WORD, ends.reached(Phase::Exited)).await.is_err()
                {
                    held.tell(Control::Kill(Kill::Garbled(why)));
                }
            }
            () = given_up => {}
        }
        said
    }

    async fn work(&mut self, said: &mut Said) -> Result<(), FrameError> {
        self.phase.reader().reached(Phase::Running).await;
        let startup = std::mem::take(&mut self.startup);
        self.stream.get_mut().write_all(&startup).await?;
        drop(startup);
        while let Some(incoming) = wire::read(&mut self.stream).await? {
            let (id, answer) = match incoming {
                Incoming::Request { id, body } => (id, self.answer(body, said).await),
                Incoming::TooLarge { id, bytes, seen } => {
                    (id, Err(("GENERIC_ERROR", too_large(bytes, &seen))))
                }
            };
            let frame = match answer {
                Ok(body) => wire::encode(&(id, body, ())),
                Err((error, why)) => wire::encode(&(
                    id,
                    (),
                    json!({"type": "ErrorResponse", "error": error, "detail": {"message": why}}),
                )),
            };
            // First the answer: the process ends while the rest is done.
            self.stream.get_mut().write_all(&frame).await?;
            if said.ending.is_some() {
                self.phase.reach(Phase::Said);
            }
            if said.used.is_some() {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn answer(&mut self, mut body: Map<String, Value>, said: &mut Said) -> Reply {
        let kind = body.remove("type");
        match kind.as_ref().and_then(Value::as_str).unwrap_or_default() {
            "GetXCom" => self.get_xcom(fields(body)?).await,
            "GetXComElement" => self.get_element(fields(body)?).await,
            "GetXComCount" => self.count_xcoms(fields(body)?).await,
            "GetXComSequenceSlice" => self.get_xcoms(fields(body)?).await,
            "SetXCom" => {
                let SetXCom { key, value, dag_id, run_id, task_id, map_index, mapped_length } =
                    fields(body)?;
                let to = Address::new(&dag_id, &run_id, &task_id, map_index);
                self.push(key, Some((value, mapped_length)), to, said).await
            }
            "DeleteXCom" => {
                let SetXCom { key, dag_id, run_id, task_id, map_index, .. } = fields(body)?;
                self.push(key, None, Address::new(&dag_id, &run_id, &task_id, map_index), said)
                    .await
            }
            "SetRenderedMapIndex" => self.named(fields(body)?).await,
            "CallbackBegun" => {
                let callback = known(fields::<CallbackBegun>(body)?.callback)?;
                Ok(calls(said, Some(callback)))
            }
            "CallbackEnded" => Ok(calls(said, None)),
            "CallbackFailed" => self.callback_failed(fields(body)?).await,
            "TaskLineage" => self.lineage(fields(body)?, said).await,
            "SetRenderedFields" => Ok(self.rendered(&fields(body)?)),
            "MaskSecret" => {
                self.log.masks().add(fields::<MaskSecret>(body)?.forms);
                Ok(Value::Null)
            }
            "TaskError" => {
                said.error = Some(fields::<Raised>(body)?);
                Ok(Value::Null)
            }
            "SkipDownstreamTasks" => skip(said, &fields::<SkipDownstreamTasks>(body)?.tasks),
            "SucceedTask" => Ok(succeed(said, fields(body)?)),
            "RetryTask" => Ok(end(said, Ending::Failed)),
            "RescheduleTask" => {
                let due = fields::<RescheduleTask>(body)?.reschedule_date;
                Ok(end(said, Ending::Rescheduled(due)))
            }
            "DeferTask" => self.defer(fields(body)?, said).await,
            "TaskState" => match fields::<LastWord>(body)?.state.as_str() {
                "failed" => Ok(end(said, Ending::Failed)),
                "skipped" | "removed" => Ok(end(said, Ending::Skipped)),
                other => Err(("GENERIC_ERROR", format!("no try ends as `{other}`"))),
            },
            "GetTaskRescheduleStartDate" => {
                let start = self.first_started_at.map(|at| at.to_string());
                Ok(json!({"type": "TaskRescheduleStartDate", "start_date": start}))
            }
            other if Keeps::is_asked(other) => self.keep(other, body).await,
            other => {
                if let Some(answer) = self.secrets.answer(other, &body).await {
                    return answer;
                }
                match past::answer(&mut self.api, &self.key, self.date, other, &body).await {
                    Some(answer) => answer,
                    None => Err(("GENERIC_ERROR", format!("`{other}` is not supported yet"))),
                }
            }
        }
    }

    async fn keep(&self, kind: &str, body: Map<String, Value>) -> Reply {
        let Some(keeps) = &self.keeps else {
            let why = "a callback that runs apart from its task has no checkpoint and no progress";
            return Err(("GENERIC_ERROR", why.to_owned()));
        };
        keeps.answer(kind, body, &self.log).await
    }

    async fn defer(&self, asked: deferral::DeferTask, said: &mut Said) -> Reply {
        let deferred = deferral::deferred(asked, self.xcoms.store()).await;
        let deferred = deferred.map_err(|why| ("GENERIC_ERROR", why))?;
        Ok(end(said, Ending::Deferred(Box::new(deferred))))
    }

    /// A copy has a name for people.
    async fn named(
        &self,
        SetRenderedMapIndex { rendered_map_index }: SetRenderedMapIndex,
    ) -> Reply {
        let rendered_map_index = self.log.masks().text(rendered_map_index);
        self.report(ReportBody::Named { rendered_map_index }).await
    }

    /// What its templates came to. It is kept with the try's log, as a line that people and the API find again.
    fn rendered(&self, SetRenderedFields { rendered_fields }: &SetRenderedFields) -> Value {
        // Value by value: what is masked over the finished text may take a quote with it, and a secret that has one
        // stands there in another form.
        let text = self.log.masks().json(&Value::from(rendered_fields.clone())).to_string();
        let bytes = text.len();
        let line = if bytes <= RENDERED_BYTES { text } else { format!("not kept, {bytes} bytes") };
        self.log.system("debug", format!("{RENDERED}{line}"));
        Value::Null
    }

    /// A callback of the task raised.
    async fn callback_failed(&self, CallbackFailed { callback, message }: CallbackFailed) -> Reply {
        let callback = known(callback)?;
        let message = text::cut(&self.log.masks().text(message), MESSAGE_BYTES);
        self.report(ReportBody::CallbackFailed { callback, message }).await
    }

    /// What its operator read and wrote.
    async fn lineage(&self, TaskLineage { lineage }: TaskLineage, said: &mut Said) -> Reply {
        if std::mem::replace(&mut said.lineage, true) {
            return Ok(Value::Null);
        }
        let lineage = self.log.masks().json(&Value::Object(lineage)).to_string();
        let bytes = lineage.len();
        if bytes > LINEAGE_BYTES {
            let why = format!(
                "lineage: {bytes} bytes are too much, the limit is {LINEAGE_BYTES}: it is left out"
            );
            self.log.system("warning", why.clone());
            return Err(("GENERIC_ERROR", why));
        }
        self.report(ReportBody::Lineage { lineage }).await
    }

    async fn report(&self, body: ReportBody) -> Reply {
        let sent = self.reporter.report(&self.key, body).send().await;
        sent.map(|()| Value::Null).map_err(|error| ("GENERIC_ERROR", error.to_string()))
    }

    /// Whether what is there may not be at hand: that is of runs that are not over, as one whose callback is called is.
    fn is_elsewhere(&self, from: &Address) -> bool {
        self.key.task_id.as_str() == DAG_CALLBACK || !from.is_of_run(&self.key)
    }

    async fn get_xcom(&mut self, asked: GetXCom) -> Reply {
        let GetXCom { key, dag_id, run_id, task_id, map_index, include_prior_dates } = asked;
        let found = match Address::new(&dag_id, &run_id, &task_id, map_index) {
            Some(from) => {
                let own = from.is_own(&self.key);
                let found = self.xcoms.get(&from, &key, own).await?;
                if found.is_none() && (include_prior_dates || self.is_elsewhere(&from)) {
                    let asked = from.asked(key.clone(), include_prior_dates);
                    self.api.xcom(asked).await.map_err(NoValue::answered)?
                } else {
                    found
                }
            }
            None => None,
        };
        let Some(value) = found else { return Err(nothing_pushed(&task_id, &key)) };
        Ok(json!({"type": "XComResult", "key": key, "value": value}))
    }

    /// One element of a value: what the value is, how many it has, and that one where there is one.
    async fn get_element(&mut self, asked: GetXComElement) -> Reply {
        let GetXComElement { key, dag_id, run_id, task_id, map_index, place } = asked;
        let found = match Address::new(&dag_id, &run_id, &task_id, map_index) {
            Some(from) => self.xcoms.elements(&from, &key).await?,
            None => None,
        };
        let elements = found.ok_or_else(|| nothing_pushed(&task_id, &key))?;
        let (kind, len) = (elements.kind.word(), elements.len());
        let element = elements.get(place);
        let (is_there, element) = (element.is_some(), element.unwrap_or_default());
        Ok(json!({
            "type": "XComElementResult", "kind": kind, "len": len, "is_there": is_there, "element": element,
        }))
    }

    /// How many copies of a mapped task have handed on a value.
    async fn count_xcoms(&mut self, asked: GetXComSequence) -> Reply {
        let GetXComSequence { key, dag_id, run_id, task_id, .. } = asked;
        let from = Address::new(&dag_id, &run_id, &task_id, None);
        let len = self.count_copies(from, &key).await?;
        Ok(json!({"type": "XComCountResponse", "len": len}))
    }

    async fn count_copies(&mut self, from: Option<Address>, key: &str) -> Result<usize, NoValue> {
        let at_hand = self.xcoms.count_copies(from.clone(), key).await?;
        let Some(from) = from.filter(|from| at_hand == 0 && self.is_elsewhere(from)) else {
            return Ok(at_hand);
        };
        let (mut values, mut after) = (Vec::new(), MapIndex::UNMAPPED);
        loop {
            let asked = from.asked_of_copies(key.to_owned(), after);
            let Some(found) = self.api.xcom(asked).await.map_err(NoValue::answered)? else { break };
            let found: CopiesHandedOn = serde_json::from_value(found)
                .map_err(|error| format!("the API's answer can't be read: {error}"))?;
            values.extend(found.values);
            match found.more_after {
                Some(more) if more > after => after = more,
                _ => break,
            }
        }
        Ok(self.xcoms.count_elsewhere(from, key, values))
    }

    /// Some of those values in order of the copies, as of the last count: as many as one answer should hold.
    async fn get_xcoms(&mut self, asked: GetXComSequence) -> Reply {
        let GetXComSequence { key, dag_id, run_id, task_id, start, stop } = asked;
        let from = Address::new(&dag_id, &run_id, &task_id, None);
        if from.as_ref().is_some_and(|from| !self.xcoms.has_counted(from, &key)) {
            self.count_copies(from.clone(), &key).await?;
        }
        let wanted = start..stop.unwrap_or(usize::MAX);
        let values = self.xcoms.some_copies(from, &key, wanted).await?;
        Ok(json!({"type": "XComSequenceSliceResult", "root": values}))
    }

    /// A value goes to the inbox before the task hears of it; the returned one goes with the last report.
    async fn push(
        &mut self,
        key: String,
        value: Option<(Value, Option<u32>)>,
        to: Option<Address>,
        said: &mut Said,
    ) -> Reply {
        let generic = |why: String| ("GENERIC_ERROR", why);
        if !to.is_some_and(|to| to.is_own(&self.key)) {
            return Err(generic(format!(
                "the XCom `{key}` is another task's: a task can change only its own"
            )));
        }
        let (value, length) = value.map_or((None, None), |(value, length)| (Some(value), length));
        let packed = self.xcoms.pack(&key, value.as_ref(), length).await.map_err(generic)?;
        said.xcoms.retain(|one| one.key != key);
        said.xcoms.push(packed.clone());
        if key != RETURN_VALUE {
            let sent = self.reporter.report(&self.key, ReportBody::XCom(packed)).send().await;
            // Dropped here midway, it goes with the last report instead: pushing twice changes nothing.
            said.xcoms.retain(|one| one.key != key);
            sent.map_err(|error| generic(error.to_string()))?;
        }
        self.xcoms.remember(key, value);
        Ok(Value::Null)
    }
}

fn fields<T: DeserializeOwned>(body: Map<String, Value>) -> Result<T, (&'static str, String)> {
    serde_json::from_value(Value::Object(body))
        .map_err(|error| ("GENERIC_ERROR", format!("the request is not understood: {error}")))
}

/// Notes tasks that the try decided against: that counts once it has succeeded.
fn skip(said: &mut Said, tasks: &[Value]) -> Reply {
    for task in tasks {
        let name = task.as_str().or_else(|| task.get(0)?.as_str());
        let id = name.and_then(|name| TaskId::new(name).ok());
        let id = id.ok_or_else(|| ("GENERIC_ERROR", format!("{task} is no task's id")))?;
        if !said.skips.contains(&id) {
            said.skips.push(id);
        }
    }
    Ok(Value::Null)
}

fn outlet(said: Outlet) -> Option<OutletEvent> {
    let Outlet { name, uri, refers, extra, aliases, partition_key } = said;
    let named = || {
        let (name, uri) = (name?, uri?);
        Some(AssetRef::Asset { name, uri, group: "asset".to_owned(), extra: None })
    };
    Some(OutletEvent { asset: refers.or_else(named)?, extra, aliases, partition_key })
}

/// The name of a task's callback; whatever else a process says stands in no fact.
fn known(callback: String) -> Result<String, (&'static str, String)> {
    if TASK_CALLBACKS.contains(&callback.as_str()) {
        return Ok(callback);
    }
    let shown = text::cut(&callback, 64);
    Err(("GENERIC_ERROR", format!("no callback of a task is called `{shown}`")))
}

/// Notes which callback of the task is being called.
fn calls(said: &mut Said, callback: Option<String>) -> Value {
    said.calling = callback;
    Value::Null
}

/// Whether a process may have used so much. What it says of itself is its code's to forge, and is added up elsewhere; where
/// it can't be, the kernel's own word at its end is waited for.
fn may_be(used: &Usage) -> bool {
    const MOST: u64 = 1 << 50;
    [used.max_rss_bytes, used.user_us, used.system_us].iter().all(|figure| *figure < MOST)
}

fn succeed(said: &mut Said, SucceedTask { outlet_events, used }: SucceedTask) -> Value {
    said.outlets = outlet_events.into_iter().filter_map(outlet).collect();
    if said.ending.is_none() {
        said.used = used.filter(may_be);
    }
    end(said, Ending::Succeeded)
}

/// The first word counts.
fn end(said: &mut Said, ending: Ending) -> Value {
    if said.ending.is_none() {
        said.ending = Some(ending);
        said.at = Some(std::time::Instant::now());
    }
    Value::Null
}

fn nothing_pushed(task_id: &str, key: &str) -> (&'static str, String) {
    ("XCOM_NOT_FOUND", format!("task `{task_id}` pushed no XCom `{key}`"))
}

fn too_large(bytes: usize, seen: &Map<String, Value>) -> String {
    let limit = PAYLOAD_BYTES >> 20;
    match (seen.get("type").and_then(Value::as_str), seen.get("key").and_then(Value::as_str)) {
        (Some("SetXCom"), Some(key)) => {
            format!("the XCom `{key}` has {bytes} bytes; the limit is {limit} MiB")
        }
        (kind, _) => format!(
            "the request `{}` has {bytes} bytes; the limit is {limit} MiB",
            kind.unwrap_or("?")
        ),
    }
}
