//! The read model and the API: a fold of the log on sled, REST in the shape of Airflow's public API,
//! and the log itself as a stream.
//!
//! Nothing here decides anything: what is asked for goes to the scheduler's inbox as a command, and
//! what is read comes from rows that may be deleted and rebuilt.
//!
//! Under `/api/v2`, as in Airflow 3 (`~` for a DAG or a run in lists means any; `{t}` is
//! `dags/{dag_id}/dagRuns/{dag_run_id}/taskInstances`; the types are in [`shapes`]):
//!
//! | route | answer |
//! |---|---|
//! | `GET dags?limit&offset&tags&dag_id_pattern&paused&exclude_stale&order_by` | [`shapes::DagCollection`] |
//! | `GET dags/{dag_id}`, `PATCH` with [`shapes::DagPatch`] | [`shapes::DagResponse`] |
//! | `GET dags/{dag_id}/details` | [`shapes::DagDetails`] |
//! | `GET dags/{dag_id}/dagVersions` | [`shapes::DagVersionCollection`] |
//! | `GET dags/{dag_id}/tasks`, `tasks/{task_id}` | [`shapes::TaskCollection`], [`shapes::TaskInfo`] |
//! | `GET dags/{dag_id}/dagRuns?limit&offset&state&run_type&order_by&…` | [`shapes::RunCollection`] |
//! | `POST dags/{dag_id}/dagRuns` with [`shapes::TriggerBody`] | [`shapes::RunResponse`] |
//! | `GET dags/{dag_id}/dagRuns/{dag_run_id}`, `PATCH` with [`shapes::RunPatch`], `DELETE` | [`shapes::RunResponse`]; 204 |
//! | `GET dags/{dag_id}/dagRuns/{dag_run_id}/wait?interval` | a line of JSON for each look |
//! | `GET {t}?limit&offset&state&order_by&…`, `{t}/{task_id}`, `{t}/{task_id}/{map_index}` | [`shapes::TaskInstanceCollection`], [`shapes::TaskInstance`] |
//! | `GET {t}/{task_id}/tries`, `…/tries/{task_try_number}` | [`shapes::TryCollection`], [`shapes::TryInstance`] |
//! | `GET {t}/{task_id}/logs/{try_number}?map_index&token&full_content` | [`shapes::TryLogs`], or NDJSON of [`shapes::LogLine`] |
//! | `GET {t}/{task_id}/xcomEntries`, `…/xcomEntries/{xcom_key}` | [`shapes::XComCollection`], [`shapes::XComValue`] |
//! | `GET importErrors`, `importErrors/{import_error_id}` | [`shapes::ImportErrorCollection`] |
//! | `GET pools`, `pools/{pool_name}`, `PATCH` with [`shapes::PoolPatch`] | [`shapes::PoolCollection`], [`shapes::PoolResponse`] |
//! | `GET variables`, `variables/{variable_key}`, `POST`, `PATCH`, `DELETE` with [`shapes::VariableBody`] | [`shapes::VariableCollection`], [`shapes::VariableResponse`] |
//! | `GET connections`, `connections/{connection_id}`, `POST`, `PATCH`, `DELETE` with [`shapes::ConnectionBody`] | [`shapes::ConnectionCollection`], [`shapes::ConnectionResponse`] |
//! | `GET monitor/health`, `version` | [`shapes::Health`], [`shapes::VersionInfo`] |
//!
//! Ours, under `/api/v2/dagbok`:
//!
//! | route | answer |
//! |---|---|
//! | `GET events?from&dag_id&run_id&follow&limit` | the log as NDJSON, or server-sent events with `Accept: text/event-stream` |
//! | `GET runs/{dag_id}/{dag_run_id}/wait?timeout` | [`shapes::RunWait`] |
//! | `POST runs/{dag_id}/{dag_run_id}/cancel` with [`shapes::RunCancel`] | [`shapes::RunResponse`] |
//! | `POST runs/{dag_id}/{dag_run_id}/clear` with [`shapes::RunClear`] | [`shapes::RunCleared`] |
//! | `POST runs/{dag_id}/{dag_run_id}/mark` with [`shapes::RunMarkBody`] | [`shapes::RunResponse`] |
//! | `GET runs/{dag_id}/{dag_run_id}/changes` | [`shapes::RunChangeCollection`] |
//! | `GET runs/{dag_id}/{dag_run_id}/refusedReports` | [`shapes::RefusedReportCollection`] |
//! | `GET dags/{dag_id}/why?at`, `runs/{dag_id}/{dag_run_id}/why?at` | [`shapes::WhyAnswer`] |
//! | `GET runs/{dag_id}/{dag_run_id}/tasks/{task_id}/why?map_index&at` | [`shapes::WhyAnswer`] |
//! | `GET runs/{dag_id}/{dag_run_id}/whyChanges`, `…/tasks/{task_id}/whyChanges?map_index` | [`shapes::WhyChanges`] |
//! | `GET logs/{dag_id}/{dag_run_id}/{task_id}/{try_number}/follow?map_index&offset` | NDJSON of [`shapes::LogLine`] until the try is over |
//! | `POST prune` with [`shapes::Prune`] | [`shapes::Pruned`] |
//! | `GET secrets` | [`shapes::SealedEntries`]: what the log has of variables and connections, encrypted |
//! | `POST secrets/rotate` with [`shapes::RotateSecrets`] | [`shapes::RotatedSecrets`] |
//! | `GET executors` | [`shapes::ExecutorCollection`] |
//! | `GET alerts?state&dag_id&limit&offset` | [`shapes::AlertCollection`] |
//! | `GET alerts/{alert_id}`, `POST …/acknowledge`, `POST …/resolve` with [`shapes::AlertChange`] | [`shapes::AlertResponse`] |
//! | `POST alerts/test` with [`shapes::AlertTest`] | [`shapes::AlertResponse`] |
//! | `GET silences`, `POST` with [`shapes::SilenceBody`], `DELETE silences/{silence_id}` | [`shapes::SilenceCollection`], [`shapes::SilenceResponse`]; 204 |
//! | `GET runs/{dag_id}/{dag_run_id}/told` | [`shapes::AlertCollection`] |
//!
//! Every error is `{"detail": …}`: 404 unknown, 409 in conflict, 422 a request that breaks a rule, 503
//! the log can't be reached, 504 no scheduler answered (the command is kept, and named).
mod alerts;
#[expect(unused_qualifications, reason = "utoipa writes parameter types with a path")]
mod api;
pub mod model;
mod questions;
pub mod retention;
mod serve;
pub mod shapes;
mod word;

pub use alerts::Alerts;
pub use api::{
    ApiState, CountsQueues, Names, Parts, Past, PastError, Patience, check_fields, openapi, router,
};
pub use serve::{ServeError, Served, Settings, answer_tasks, model_dir, serve};
