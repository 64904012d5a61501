//! `dagbok runs logs --follow`: lines of all tasks of a run as they come, each behind its task's name in a colour of its
//! own, until the run is over.
use std::{collections::BTreeSet, sync::Arc, time::Duration};

use anstyle::{AnsiColor, Style};
use dagbok_api::shapes::{LogLine, RunResponse, TaskInstance, TaskInstanceCollection};
use serde_json::json;
use tokio::{sync::mpsc, task::JoinSet};

use super::follow::Of;
use crate::{
    api::Api,
    cli::Run,
    codes::Code,
    commands::runs::{exit_of, state_of},
    context::Context,
    failure::{Failure, Outcome},
    live::log_line_text,
    output::{copy_name, state_style, styled},
};

/// How often is looked which tries have begun.
const LOOK: Duration = Duration::from_millis(500);
/// Lines that wait to be printed: whoever reads them slowly slows down who sends them.
const WAITING: usize = 1_024;
/// Tries that are followed at once; others are told once one of them is over.
const AT_ONCE: usize = 100;
/// Colours that tell tasks apart; red and grey mean something.
const COLOURS: [AnsiColor; 8] = [
    AnsiColor::Cyan,
    AnsiColor::Green,
    AnsiColor::Yellow,
    AnsiColor::Blue,
    AnsiColor::Magenta,
    AnsiColor::BrightCyan,
    AnsiColor::BrightGreen,
    AnsiColor::BrightBlue,
];

/// A line of a try.
type Told = (Of, LogLine);
/// A try: task, copy, number.
type Tried = (String, i32, u16);
/// Those who hand on lines of tries.
type Following = JoinSet<Result<(), Failure>>;

pub(super) async fn run(context: &Context, api: Api, run: &Run, only_failed: bool) -> Outcome {
    let api = Arc::new(api);
    let (line_in, mut line_out) = mpsc::channel(WAITING);
    let (mut begun, mut following) = (BTreeSet::new(), JoinSet::new());
    let mut over: Option<RunResponse> = None;
    // Not begun anew by each line: a task that is never quiet would hide those that begin after it.
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            Some(ended) = following.join_next() => {
                let ended: Result<(), Failure> = ended.map_err(|panic| Failure::new(Code::Bug, panic))?;
                ended?;
            }
            _ = looks.tick(), if over.is_none() => {
                over = match look(context, &api, run, (&mut begun, &mut following), (only_failed, &line_in)).await {
                    Ok(over) => over,
                    Err(failure) if begun.is_empty() || !matches!(failure.code(), Code::ApiUnreachable | Code::ApiFailed) => {
                        return Err(failure);
                    }
                    // It comes back.
                    Err(_) => None,
                };
                // From when it was answered: a slow API must not keep lines waiting.
                looks.reset();
            }
            Some((of, line)) = line_out.recv() => print(context, &of, &line),
            else => break,
        }
        if over.is_some() && following.is_empty() && line_out.is_empty() {
            break;
        }
    }
    let over = over.expect("it is looked until the run is over");
    if !context.out.is_json() {
        let state = styled(state_style(state_of(&over)), state_of(&over));
        context.out.line(&format!("{} {}: {state}", run.dag_id, run.run_id));
    }
    Ok(exit_of(&over))
}

/// Begins to follow tries that have begun; the run, once it is over.
async fn look(
    context: &Context,
    api: &Arc<Api>,
    run: &Run,
    (begun, following): (&mut BTreeSet<Tried>, &mut Following),
    (only_failed, line_in): (bool, &mpsc::Sender<Told>),
) -> Result<Option<RunResponse>, Failure> {
    // First the run, so that no try begins between the two of one that is over.
    let is: RunResponse = api.get(&["dags", &run.dag_id, "dagRuns", &run.run_id], &[]).await?;
    let path = ["dags", &run.dag_id, "dagRuns", &run.run_id, "taskInstances"];
    let wanted: Vec<_> = only_failed.then(|| ("state", "failed".to_owned())).into_iter().collect();
    let page = |page: TaskInstanceCollection| (page.task_instances, page.total_entries);
    let tasks = api.all_of(&path, &wanted, page).await?;
    let mut left = false;
    for task in tasks.iter().filter(|task| has_begun(task)) {
        if following.len() >= AT_ONCE {
            left = true;
            break;
        }
        if !begun.insert((task.task_id.clone(), task.map_index, task.try_number)) {
            continue;
        }
        let of = Of {
            dag_id: run.dag_id.clone(),
            run_id: run.run_id.clone(),
            task_id: task.task_id.clone(),
            map_index: task.map_index,
            number: task.try_number,
        };
        following.spawn(one(Arc::clone(api), of, line_in.clone(), context.clone()));
    }
    let is_over = !left && matches!(is.state.as_str(), "success" | "failed");
    Ok(is_over.then_some(is))
}

fn has_begun(task: &TaskInstance) -> bool {
    task.try_number > 0 && task.start_date.is_some()
}

/// Hands on a try's lines; where nothing is kept of it, it is said why.
async fn one(
    api: Arc<Api>,
    of: Of,
    line_in: mpsc::Sender<Told>,
    context: Context,
) -> Result<(), Failure> {
    let away =
        || context.out.note(&format!("the API at {} went away; waiting for it", api.shown()));
    // Nobody takes them any more where the whole ends.
    let told = of.lines(&api, away, |line| {
        let (line_in, of) = (line_in.clone(), of.clone());
        async move { drop(line_in.send((of, line)).await) }
    });
    match told.await {
        Err(failure) if failure.code() == Code::NotFound => {
            context.out.note(&format!("{}: {failure}", copy_name(&of.task_id, of.map_index)));
            Ok(())
        }
        told => told.map(drop),
    }
}

fn print(context: &Context, of: &Of, line: &LogLine) {
    let out = context.out;
    if out.is_json() {
        let mut line = json!(line);
        line["task_id"] = json!(of.task_id);
        line["map_index"] = json!(of.map_index);
        line["try_number"] = json!(of.number);
        return out.json_line(&line);
    }
    let name = copy_name(&of.task_id, of.map_index);
    let shown = styled(colour_of(&of.task_id), &name);
    for text in log_line_text(line).lines() {
        out.line(&format!("{shown} | {text}"));
    }
}

/// A task's own colour, the same each time.
fn colour_of(task_id: &str) -> Style {
    let sum =
        task_id.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    COLOURS[sum % COLOURS.len()].on_default()
}
