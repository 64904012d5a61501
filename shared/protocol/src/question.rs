//! What is asked over signals, and changes nothing: what tasks ask about other runs, and when timetables that are
//! written in Python had runs.
use dagbok_events::{DagId, ExpectedRuns, MapIndex, Payload, RunId, TaskId, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::SealedQuestion;

/// A question on [`crate::names::QUESTIONS`]. An executor may know the broker alone, so it does not ask over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApiQuestion {
    /// The log's sequence that the rows must hold before they answer: what led to the try that asks.
    pub seen: u64,
    /// Who asks: the DAG and the task, for the log.
    pub by: String,
    /// What is asked.
    pub asked: Asked,
}

/// What a task can ask the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Asked {
    /// One request of the API's REST interface, answered as over HTTP.
    Rest {
        /// The path, and the query where there is one, each part percent-escaped.
        target: String,
        /// The body of a POST, as JSON text; without one it is a GET.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<String>,
        /// The same when the question is asked again, so that what it asks for is done once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    /// A value that a task has handed on in this run, whether it is over or not.
    XCom {
        /// Id of the DAG, unique in the namespace.
        dag_id: DagId,
        /// Id of the run, unique within its DAG.
        run_id: RunId,
        /// Id of the task, unique within its DAG.
        task_id: TaskId,
        /// Which of a mapped task's copies, from 0; -1 where the task is not mapped.
        map_index: MapIndex,
        /// The value's name.
        key: String,
        /// Where it has none: that of the newest run before it which has one, by logical dates.
        #[serde(default)]
        prior: bool,
    },
    /// What the copies of a mapped task have handed on in this run, whether it is over or not: as many as one answer
    /// holds, as a [`CopiesHandedOn`].
    XComs {
        /// Id of the DAG, unique in the namespace.
        dag_id: DagId,
        /// Id of the run, unique within its DAG.
        run_id: RunId,
        /// Id of the task, unique within its DAG.
        task_id: TaskId,
        /// The values' name.
        key: String,
        /// Of copies after this one.
        after: MapIndex,
    },
    /// The public half of the key that questions about variables and connections are sealed for.
    SecretsKey {
        /// Whether one is to be made where there is none yet, since something is to be set.
        #[serde(default)]
        make: bool,
    },
    /// Something about variables and connections. The answer is sealed for whoever asks.
    Secret(SealedQuestion),
}

/// What copies of a mapped task have handed on, in their order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CopiesHandedOn {
    /// The values.
    pub values: Vec<Payload>,
    /// The copy that was looked at last, where there are more after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_after: Option<MapIndex>,
}

/// The answer to an [`ApiQuestion`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApiReply {
    /// As of HTTP.
    pub status: u16,
    /// JSON text; a value that was handed on lies beside the log where it is large.
    pub body: Payload,
}

/// A question on [`crate::names::DATES`]: when a timetable that is written in Python has runs. Whoever reads the DAG's
/// file asks it; others don't answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatesQuestion {
    /// Id of the DAG, unique in the namespace.
    pub dag_id: DagId,
    /// Its file, within the DAG folder.
    pub file: String,
    /// The first logical date that is wanted.
    pub from: Timestamp,
    /// The last one.
    pub to: Timestamp,
}

/// The answer to a [`DatesQuestion`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DatesAnswer {
    /// Those of its runs that are due, in the order of their logical dates.
    Runs(Vec<ExpectedRuns>),
    /// It can't say; why, for people.
    Failed(String),
}
