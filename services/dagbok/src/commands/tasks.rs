//! `dagbok tasks logs`; with `--json` one line of the log a line: `timestamp`, `event`, `level`,
//! `source`, and what the logger added.
mod follow;
mod list;
mod together;
mod usage;
mod whole;

pub(crate) use list::list;
pub(crate) use usage::usage;
pub(crate) use whole::of_run;

use follow::Of;

use dagbok_api::shapes::{LogLine, TaskInstance, TryInstance};

use crate::{
    api::{Api, Lines},
    cli::{Logs, Run},
    codes::Code,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    handles::{self, For},
    live::log_line_text,
    output::{program, quoted},
};

pub(crate) async fn logs(context: &Context, args: &Logs) -> Outcome {
    let api = Api::of(context).await?;
    let named = (&args.run, args.task_id.as_str());
    let (run, task_id) =
        handles::run_and_task(context, &api, named.0, named.1, For::Reading).await?;
    let args = &Logs { run, task_id, ..*args };
    let (dag, run, task) =
        (args.run.dag_id.as_str(), args.run.run_id.as_str(), args.task_id.as_str());
    let number = match args.try_number {
        Some(number) => number,
        None => last_try(&api, &args.run, task, args.map_index).await?,
    };
    let nth = number.to_string();
    // What is only read from the disk does not grow.
    if args.follow && !api.is_read_only() {
        return followed(context, &api, args, number).await;
    }
    let query = [("map_index", args.map_index.to_string()), ("full_content", "true".to_owned())];
    let path = ["dags", dag, "dagRuns", run, "taskInstances", task, "logs", &nth];
    if !tell(context, api.lines(&path, &query).await?).await? {
        context.out.note(&why_empty(&of(args, number).shown(&api).await?));
    }
    Ok(Exit::Ok)
}

/// Prints a try's lines as they come, and says at the end what may be missing and what follows.
async fn followed(context: &Context, api: &Api, args: &Logs, number: u16) -> Outcome {
    let away = || {
        context
            .out
            .note(&format!("the API at {} went away; waiting for it to come back", api.shown()));
    };
    let (shown, told) = of(args, number)
        .lines(api, away, |line| {
            print(context, &line);
            std::future::ready(())
        })
        .await?;
    let next = || command(context, api, args, number.saturating_add(1));
    if let Some(note) = after_the_last(&shown, told > 0, next) {
        context.out.note(&note);
    }
    Ok(Exit::Ok)
}

fn of(args: &Logs, number: u16) -> Of {
    Of {
        dag_id: args.run.dag_id.clone(),
        run_id: args.run.run_id.clone(),
        task_id: args.task_id.clone(),
        map_index: args.map_index,
        number,
    }
}

fn print(context: &Context, line: &LogLine) {
    if context.out.is_json() {
        context.out.json_line(line);
    } else {
        context.out.line(&log_line_text(line));
    }
}

/// Prints the lines; whether there was one.
pub(crate) async fn tell(context: &Context, mut lines: Lines) -> Result<bool, Failure> {
    let mut any = false;
    while let Some(line) = lines.next::<LogLine>().await? {
        any = true;
        print(context, &line);
    }
    Ok(any)
}

/// What follows a try, as it is typed.
fn command(context: &Context, api: &Api, args: &Logs, number: u16) -> String {
    let mut words = vec![program()];
    if context.named_api().is_some() {
        words.extend(["--api".to_owned(), quoted(&api.shown())]);
    }
    words.extend(["tasks", "logs"].map(str::to_owned));
    words.extend([&args.run.dag_id, &args.run.run_id, &args.task_id].map(|word| quoted(word)));
    if args.map_index >= 0 {
        words.push(format!("--map-index {}", args.map_index));
    }
    words.push(format!("--try {number} --follow"));
    words.join(" ")
}

/// What a person should know who followed a try that is over: why there was no line, or why the last one
/// may not be the end, and what follows.
fn after_the_last(shown: &TryInstance, any: bool, next: impl FnOnce() -> String) -> Option<String> {
    let extra = &shown.dagbok;
    let ended = extra.ended.as_deref();
    let how = match ended {
        _ if !any => why_empty(shown),
        Some("lost") => {
            let kept = if extra.log.is_some() {
                ""
            } else {
                "; its last lines may be missing, and an executor that is started again there hands in what lies on its disk"
            };
            format!("{} was lost{}{kept}", name_of(shown), lost_how(shown))
        }
        Some("returned") => format!("{} was handed back by its executor", name_of(shown)),
        _ => return None,
    };
    Some(match ended {
        Some("lost") if extra.retry_at.is_none() => format!("{how}; it is not tried again"),
        Some("lost" | "returned") => format!("{how}; `{}` follows the next", next()),
        _ => how,
    })
}

fn name_of(shown: &TryInstance) -> String {
    format!("try {} of `{}`", shown.try_number, shown.task_id)
}

/// Where a try was lost, and how that was found.
fn lost_how(shown: &TryInstance) -> String {
    let how = shown.dagbok.message.as_deref().unwrap_or("its executor is gone");
    format!("{} ({})", place_of(shown), how.replace('_', " "))
}

fn place_of(shown: &TryInstance) -> String {
    let executor = shown.hostname.as_deref().filter(|name| !name.is_empty());
    executor.map(|name| format!(" on {name}")).unwrap_or_default()
}

/// Why there is no line of a try's log, for people.
fn why_empty(shown: &TryInstance) -> String {
    let (name, place) = (name_of(shown), place_of(shown));
    match shown.dagbok.ended.as_deref() {
        None => match shown.state.as_deref() {
            Some("running") => format!("{name} has written nothing yet"),
            state => format!("{name} has not begun: it is {}", state.unwrap_or("not queued")),
        },
        Some("lost") => format!(
            "no log was kept of {name}: it was lost{} before its executor could hand it in; one that is started again there hands in what lies on its disk",
            lost_how(shown)
        ),
        Some("cancelled" | "returned") if shown.start_date.is_none() => {
            format!("{name} was ended before it began: it wrote nothing")
        }
        Some("cancelled") => format!(
            "no log was kept of {name}: it was ended with its run, and its executor{place} has not handed in what it wrote"
        ),
        Some(_) => format!("{name} wrote nothing"),
    }
}

async fn last_try(api: &Api, run: &Run, task_id: &str, map_index: i32) -> Result<u16, Failure> {
    let mut path = vec!["dags", &run.dag_id, "dagRuns", &run.run_id, "taskInstances", task_id];
    let index = map_index.to_string();
    if map_index >= 0 {
        path.push(&index);
    }
    let task: TaskInstance = api.get(&path, &[]).await?;
    if task.try_number == 0 {
        let state = task.state.unwrap_or_else(|| "not queued".to_owned());
        let what = format!("the task `{task_id}` has not been tried: it is {state}");
        return Err(Failure::new(Code::NotFound, what));
    }
    Ok(task.try_number)
}
