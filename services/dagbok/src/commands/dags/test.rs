//! `dagbok dags test`: one run in the foreground, on a log that is thrown away or kept in a folder.
//!
//! With `--json` one object at the end: `dag_id`, `run_id`, `state`, `duration`, `log` (the folder, or
//! null), `tasks`, an object of `state`, `try_number`, `start_date`, `end_date`, `failure` by task (`task[3]` is a
//! copy of a mapped one), `callback` (of the DAG: `state`, `failure`; null where none was called), `unanswered`
//! (what tasks asked and nobody answered: a list of `task`, `subject`, `options`), `refused`
//! (what of the file can't be read: a list of `file`, `line`, `exception`, `message`) and `not_carried_out`.
//!
//! Where the run succeeds, and something of the file was refused, it ends with 7, unless `--dag` asked for
//! that one DAG alone.
mod marked;
mod people;
mod stage;
mod terminal;

use std::collections::BTreeMap;

use dagbok_events::{Actor, RunKey};
use dagbok_executor::LogSource;
use dagbok_inbox::{Ask, Inbox};
use dagbok_protocol::{Answer, CommandBody, TriggerRun};
use dagbok_runlog::{Ports, Seq};
use dagbok_runtime::Clock;
use people::{People, Told, Unanswered};
use serde_json::json;
use stage::Stage;
use tokio::sync::mpsc;

use super::{
    conf_object,
    local::{Found, LocalDag, find, find_configured},
};
use crate::{
    cli::{Global, Test},
    codes::Code,
    context::{Context, Flags, push},
    exit::Exit,
    failure::{Failure, Outcome},
    live::{Change, News, RunView, TaskCopy, clock_part, watch},
    output::{Out, Table, program, quoted, seconds_text, state_style, styled},
    services,
};

pub(crate) async fn test(global: &Global, args: &Test) -> Outcome {
    let mut flags = Flags::new();
    push(&mut flags, "--slots", "executor.slots", args.slots.map(i64::from));
    let mut context = Context::new(global, flags)?;
    // What the services say of themselves is not what was asked for.
    if context.config.log.filter == dagbok_config::Log::default().filter {
        // Tries and runs that end badly are told by this command itself.
        "warn,dagbok_scheduler::bad=off".clone_into(&mut context.config.log.filter);
    }
    let telemetry = services::telemetry("dagbok-test", &context.config)?;
    let outcome = run(&context, args).await;
    let sent = tokio::task::spawn_blocking(move || telemetry.finish()).await;
    sent.map_err(|panic| Failure::new(Code::Bug, panic))?;
    outcome
}

async fn run(context: &Context, args: &Test) -> Outcome {
    if let Some(conf) = &args.conf {
        conf_object(conf)?;
    }
    let dag = match find_by_id_too(context, args).await? {
        Found::Here(dag) => *dag,
        Found::Elsewhere => {
            let what = format!("`{}` is no file", args.what);
            return Err(Failure::new(Code::NotFound, what)
                .next("name a DAG file, or the folder that has the DAG with --dags or as `processor.dags`"));
        }
    };
    let people = People::of(args, &dag, context.out)?;
    let told = marked::environment(&dag, args.mark_success_pattern.as_deref()).await?;
    let (stage, mut crew) = Stage::set(context, &dag, args.keep.as_deref(), told).await?;
    let outcome = tokio::select! {
        outcome = act(context, args, (&dag, people), &stage) => outcome,
        failed = crew.first_end() => Err(failed),
    };
    // With every try that is in flight.
    crew.end().await;
    outcome
}

/// Finds the DAG: of a file, of the folder that was named, or of the one that is configured.
async fn find_by_id_too(context: &Context, args: &Test) -> Result<Found, Failure> {
    let dag_id = args.dag.as_deref();
    match find(context, &args.what, args.dags.as_deref(), dag_id).await? {
        Found::Elsewhere => find_configured(context, &args.what, dag_id).await,
        found @ Found::Here(_) => Ok(found),
    }
}

/// Makes the run and tells of it until it is over, or somebody gives it up: then, too, of how far it came.
async fn act(
    context: &Context,
    args: &Test,
    (dag, mut people): (&LocalDag, People),
    stage: &Stage,
) -> Outcome {
    let (ports, out) = (stage.ports(), context.out);
    let before =
        ports.log.last().await.map_err(|error| Failure::from_error(Code::ServiceFailed, &error))?;
    for refused in dag.refused() {
        out.note(&refused.to_string());
    }
    for note in dag.parsed.warnings.iter().chain(&dag.not_carried_out()) {
        out.note(note);
    }
    let stop = dagbok_runtime::stop_signals();
    tokio::pin!(stop);
    let made = async {
        for note in stage.register(dag).await? {
            out.note(&note);
        }
        trigger(args, dag, ports, stage.clock()).await
    };
    let run = tokio::select! {
        made = made => made?,
        _ = &mut stop => return Ok(Exit::Interrupted),
    };
    if !out.is_json() {
        out.line(&format!("{} {}", run.dag_id, run.run_id));
    }
    let spec = &dag.spec;
    // Nothing is called where there is no task to call it about.
    let calls = |state: &str| {
        let given =
            if state == "success" { spec.on_success_callback } else { spec.on_failure_callback };
        given && !spec.tasks.is_empty()
    };
    let mut view = RunView::default();
    let (tell, mut words) = mpsc::unbounded_channel();
    let watched = watch(ports, &run, Seq(before.0), calls, &mut view, |_, news| {
        // Whoever answers listens for as long as the run is watched.
        if let Some(word) = of_questions(&news) {
            drop(tell.send(word));
        }
        if !out.is_json() && show(out, news) {
            drop(tell.send(Told::Shown));
        }
    });
    let answers = people.answer(stage, &run, &mut words);
    let given_up = tokio::select! {
        watched = watched => watched.map(|()| false)?,
        failed = answers => match failed? {},
        _ = &mut stop => true,
    };
    while let Ok(word) = words.try_recv() {
        people.hear(word);
    }
    let unanswered = people.finish();
    if let Some(failure) = view.callback.as_ref().and_then(|called| called.failure.as_ref()) {
        out.note(&format!("the DAG's callback failed: {}", failure.message));
    }
    tell_end(context, args, (dag, &unanswered), &run, &view);
    if given_up {
        out.note("the run was given up before it was over; what runs of it is ended");
        return Ok(Exit::Interrupted);
    }
    Ok(if view.ended.is_some_and(|(state, _)| state == "success") {
        dag.exit(args.dag.as_deref())
    } else {
        Exit::RunFailed
    })
}

async fn trigger(
    args: &Test,
    dag: &LocalDag,
    ports: &Ports,
    clock: &Clock,
) -> Result<RunKey, Failure> {
    let inbox = Inbox::open(ports, clock.clone()).await;
    let inbox = inbox.map_err(|error| Failure::from_error(Code::ServiceFailed, &error))?;
    // A run of a file of the newer era has a date only where somebody names one, and Airflow's `dags test` does.
    let has_begun = |now: &_| dag.spec.start_date.is_none_or(|start| start <= *now);
    let now = (dag.spec.era >= 3).then(|| clock.now()).filter(has_begun);
    let ask = TriggerRun {
        dag_id: dag.spec.dag_id.clone(),
        run_id: None,
        logical_date: args.logical_date.or(now),
        conf: args.conf.clone(),
        note: None,
        partition_key: None,
    };
    let user = std::env::var("USER").unwrap_or_else(|_| "somebody".to_owned());
    let ask = Ask::new(Actor::User(user), CommandBody::TriggerRun(ask));
    match inbox.ask(ask, stage::ANSWER_WITHIN).await {
        Ok(Answer::Accepted { run_id: Some(run_id), .. }) => {
            Ok(RunKey { dag_id: dag.spec.dag_id.clone(), run_id })
        }
        Ok(Answer::Refused(refusal)) => Err(Failure::from_error(Code::Refused, &refusal)),
        Ok(other) => Err(Failure::new(Code::Bug, format!("a trigger was answered with {other:?}"))),
        Err(error) => Err(Failure::from_error(Code::SchedulerSilent, &error)),
    }
}

/// What whoever answers wants to know of it.
fn of_questions(news: &News) -> Option<Told> {
    match news {
        News::Change(_, Change::Asked(copy, ask)) => Some(Told::Asked(copy.clone(), ask.clone())),
        News::Change(_, Change::Began(copy, _)) => Some(Told::Moved(copy.clone(), false)),
        News::Change(_, Change::Task(copy, state, ..)) => {
            let is_bad = matches!(*state, "failed" | "up_for_retry" | "cancelled");
            Some(Told::Moved(copy.clone(), is_bad))
        }
        News::Change(_, Change::Over(_) | Change::Quiet) | News::Line(..) => None,
    }
}

/// One line for each thing that happens: the time, the task, what. Whether there was one.
fn show(out: Out, news: News) -> bool {
    match news {
        News::Line(key, line) => {
            let at = line.t.to_string();
            let task = TaskCopy::of(&key.task_id, key.map_index);
            // A task's own output has no level of its author's; a logger's is worth a word when it is not
            // the usual one.
            let logged = matches!(line.s, LogSource::Log | LogSource::System) && line.l != "info";
            let level = if logged { format!("{}: ", line.l) } else { String::new() };
            out.line(&format!("{} {} | {level}{}", clock_part(&at), task, line.m));
            for text in line.exception.iter().flat_map(|text| text.lines()) {
                out.line(&format!("{} {} | {text}", clock_part(&at), task));
            }
        }
        News::Change(at, change) => {
            let at = at.to_string();
            let at = clock_part(&at);
            match change {
                Change::Began(task, number) => {
                    let number =
                        if number.get() > 1 { format!(", try {number}") } else { String::new() };
                    out.line(&format!(
                        "{at} {task} {}{number}",
                        styled(state_style("running"), "running")
                    ));
                }
                Change::Task(task, state, took, why) => {
                    let took =
                        took.map(|took| format!(" in {}", seconds_text(took))).unwrap_or_default();
                    // The rest of a longer message is in the log, just above.
                    let first = why.as_deref().and_then(|why| why.lines().next());
                    let why = first.map(|why| format!(": {why}")).unwrap_or_default();
                    out.line(&format!(
                        "{at} {task} {}{took}{why}",
                        styled(state_style(state), state)
                    ));
                }
                Change::Asked(..) | Change::Over(_) | Change::Quiet => return false,
            }
        }
    }
    true
}

fn tell_end(
    context: &Context,
    args: &Test,
    (dag, unanswered): (&LocalDag, &[Unanswered]),
    run: &RunKey,
    view: &RunView,
) {
    let out = context.out;
    let state = view.ended.map_or("interrupted", |(state, _)| state);
    let log = args.keep.as_deref();
    if out.is_json() {
        let tasks: BTreeMap<String, _> =
            view.tasks.iter().map(|(copy, task)| (copy.to_string(), task)).collect();
        out.document(&json!({
            "dag_id": run.dag_id,
            "run_id": run.run_id,
            "state": state,
            "duration": view.seconds(),
            "log": log,
            "tasks": tasks,
            "callback": view.callback,
            "unanswered": unanswered,
            "refused": dag.refused(),
            "not_carried_out": dag.spec.not_carried_out,
        }));
        return;
    }
    let mut table = Table::new(&["task", "state", "try", "took"]);
    let places = dag.spec.tasks.iter().zip(0..).map(|(task, place)| (&task.task_id, place));
    let places: BTreeMap<_, usize> = places.collect();
    let mut tasks: Vec<_> = view.tasks.iter().collect();
    // In the file's order, the copies of a task in their own.
    tasks.sort_by_key(|(copy, _)| places.get(&copy.task_id));
    for (task, view) in tasks {
        table.row(vec![
            task.to_string(),
            view.state.unwrap_or_default().to_owned(),
            if view.try_number > 0 { view.try_number.to_string() } else { String::new() },
            view.seconds().map(seconds_text).unwrap_or_default(),
        ]);
    }
    out.line("");
    out.table(&table, "No task was queued.");
    out.line("");
    let took = view.seconds().map(seconds_text).unwrap_or_default();
    out.line(&format!(
        "{} {} {} in {took}",
        run.dag_id,
        run.run_id,
        styled(state_style(state), state)
    ));
    for refused in dag.refused() {
        out.line(&refused.to_string());
    }
    if let Some(log) = log {
        let at = format!("{} --home {}", program(), quoted(&log.to_string_lossy()));
        out.line(&format!("  log   {}", log.join("log").display()));
        let (dag, run) = (quoted(run.dag_id.as_str()), quoted(run.run_id.as_str()));
        out.line(&format!("  next  {at} runs show {dag} {run}"));
        out.line(&format!("        {at} events"));
    }
}
