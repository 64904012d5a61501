//! `dagbok tasks render` and `dagbok tasks test`: one task of a file, by itself.
use std::{collections::BTreeMap, process::Stdio};

use dagbok_runtime::Clock;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::process::Command;

use super::dags::{conf_object, place};
use crate::{
    cli::Alone,
    codes::Code,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    python::Python,
};

/// What the package tells of a task: its fields, or what it handed on.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    dag_id: String,
    task_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fields: Option<BTreeMap<String, Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    xcoms: Option<BTreeMap<String, Value>>,
    /// How it ended: `success`, `skipped`, or how it would go on elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    /// What it said of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// Tasks that it decided against.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    skips: Vec<String>,
}

/// What was raised instead.
#[derive(Debug, Deserialize)]
struct Raised {
    exception: String,
    message: String,
    traceback: String,
}

pub(crate) async fn render(context: &Context, args: &Alone) -> Outcome {
    alone(context, "render", args).await
}

pub(crate) async fn test(context: &Context, args: &Alone) -> Outcome {
    alone(context, "test", args).await
}

async fn alone(context: &Context, what: &str, args: &Alone) -> Outcome {
    let (folder, file) = place(&args.file, args.dags.as_deref())?;
    let conf = args.conf.as_deref().map(conf_object).transpose()?;
    let python = Python::find_for(&context.config, Some(&folder)).await?;
    let date = args.logical_date.unwrap_or_else(|| Clock::system().now());
    let mut command = Command::new(&python.executable);
    command.args(["-P", "-m", "dagbok.desk", what, "--folder"]).arg(&folder);
    command.args(["--file", &file, "--task", &args.task_id, "--date", &date.to_string()]);
    if let Some(dag_id) = &args.dag {
        command.args(["--dag", dag_id]);
    }
    if let Some(conf) = conf {
        command.args(["--conf", conf.get()]);
    }
    // A debugger that is started by `breakpoint()` asks the terminal.
    command.stdin(Stdio::inherit()).stdout(Stdio::piped()).kill_on_drop(true);
    python.prepare(&mut command);
    let failed = |why: String| Failure::new(Code::BadDagFile, why);
    let child = command.spawn().map_err(|error| failed(error.to_string()))?;
    let output = child.wait_with_output().await.map_err(|error| failed(error.to_string()))?;
    if let Ok(raised) = serde_json::from_slice::<Raised>(&output.stdout) {
        for line in raised.traceback.lines() {
            context.out.note(line);
        }
        return Err(failed(format!("{}: {}", raised.exception, raised.message)));
    }
    let told: Told = serde_json::from_slice(&output.stdout)
        .map_err(|_| failed(format!("the task's process ended with {}", output.status)))?;
    show(context, &told);
    Ok(Exit::Ok)
}

fn show(context: &Context, told: &Told) {
    if context.out.is_json() {
        context.out.document(told);
        return;
    }
    if let Some(state) = told.state.as_deref().filter(|state| *state != "success") {
        let why = told.message.as_deref().filter(|why| !why.is_empty());
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        context.out.line(&format!("{}.{} {state}{why}", told.dag_id, told.task_id));
    }
    if !told.skips.is_empty() {
        context.out.line(&format!("skips: {}", told.skips.join(", ")));
    }
    for (name, value) in told.fields.iter().chain(&told.xcoms).flatten() {
        match value.as_str().filter(|text| text.contains('\n')) {
            Some(text) => context.out.line(&format!("{name}:\n{text}")),
            None => context.out.line(&format!("{name}: {value}")),
        }
    }
}
