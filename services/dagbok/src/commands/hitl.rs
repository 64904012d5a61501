//! `dagbok hitl`: what tasks ask people; with `--json` the API's own shapes.
use dagbok_api::shapes::{
    HitlDetail, HitlDetailCollection, HitlDetailResponse, UpdateHitlDetailPayload,
};
use reqwest::Method;

use crate::{
    api::{Api, Sent},
    cli::{AnswerHitl, HitlCommand, HitlOf, ListHitl},
    codes::Code,
    commands::dags::flag_object,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    handles::{self, For},
    output::{Table, copy_name, quoted},
};

/// Carries out one of the commands.
pub(crate) async fn run(context: &Context, command: &HitlCommand) -> Outcome {
    match command {
        HitlCommand::List(args) => list(context, args).await,
        HitlCommand::Show(args) => show(context, args).await,
        HitlCommand::Answer(args) => answer(context, args).await,
    }
}

async fn list(context: &Context, args: &ListHitl) -> Outcome {
    let api = Api::of(context).await?;
    let dag_id = match &args.dag_id {
        Some(dag_id) => handles::dag(context, &api, dag_id, For::Reading).await?,
        None => "~".to_owned(),
    };
    let open = (!args.all).then(|| ("response_received", "false".to_owned()));
    let page = [("limit", args.limit.to_string()), ("offset", args.offset.to_string())];
    let query: Vec<_> = page.into_iter().chain(open).collect();
    let found: HitlDetailCollection =
        api.get(&["dags", &dag_id, "dagRuns", "~", "hitlDetails"], &query).await?;
    let out = context.out;
    if out.is_json() {
        out.document(&found);
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&["dag", "run", "task", "asks", "of whom", "until", "answer"]);
    for detail in &found.hitl_details {
        let task = &detail.task_instance;
        let until = detail.dagbok.timeout_at.as_ref();
        table.row(vec![
            task.dag_id.clone(),
            task.dag_run_id.clone(),
            copy_name(&task.task_id, task.map_index),
            detail.subject.clone(),
            whom(detail),
            until.map_or_else(|| "-".to_owned(), |at| out.time(at.0)),
            detail.chosen_options.as_ref().map_or_else(|| "-".to_owned(), |it| it.join(", ")),
        ]);
    }
    let shown = found.hitl_details.len();
    out.page(&table, "No task waits for a person.", shown, args.offset, found.total_entries);
    Ok(Exit::Ok)
}

fn whom(detail: &HitlDetail) -> String {
    if detail.assigned_users.is_empty() {
        return "anybody".to_owned();
    }
    detail.assigned_users.iter().map(|user| user.name.clone()).collect::<Vec<_>>().join(", ")
}

/// The run by its whole name, and the task.
async fn place(
    context: &Context,
    api: &Api,
    of: &HitlOf,
    why: For,
) -> Result<(String, String, String), Failure> {
    let (run, task) = handles::run_and_task(context, api, &of.run, &of.task_id, why).await?;
    Ok((run.dag_id, run.run_id, task))
}

async fn show(context: &Context, args: &HitlOf) -> Outcome {
    let api = Api::of(context).await?;
    let (dag, run, task) = place(context, &api, args, For::Reading).await?;
    let map = args.map_index.to_string();
    let path = ["dags", &dag, "dagRuns", &run, "taskInstances", &task, &map, "hitlDetails"];
    let found: HitlDetail = api.get(&path, &[]).await?;
    let out = context.out;
    if out.is_json() {
        out.document(&found);
        return Ok(Exit::Ok);
    }
    out.line(&found.subject);
    if let Some(body) = &found.body {
        out.line(body);
    }
    let many = if found.multiple { "any of" } else { "one of" };
    out.line(&format!("  choose {many}: {}", found.options.join(", ")));
    if let Some(defaults) = &found.defaults {
        out.line(&format!("  by default: {}", defaults.join(", ")));
    }
    for (name, field) in &found.params {
        let value = field.get("value").map_or_else(String::new, ToString::to_string);
        out.line(&format!("  field {name}: {value}"));
    }
    out.line(&format!("  asked of {}", whom(&found)));
    if let Some(at) = &found.dagbok.timeout_at {
        out.line(&format!("  until {}", out.time(at.0)));
    }
    if let (Some(chosen), Some(at)) = (&found.chosen_options, &found.responded_at) {
        let by = found.responded_by_user.as_ref().map_or("nobody, the time was up", |by| &by.name);
        out.line(&format!("  answered {} at {} by {by}", chosen.join(", "), out.time(at.0)));
    } else if found.dagbok.is_open {
        let option = found.options.first().map_or_else(String::new, |it| quoted(it));
        let (dag, run, task) = (quoted(&dag), quoted(&run), quoted(&task));
        out.line(&format!("  next: dagbok hitl answer {dag} {run} {task} {option}"));
    }
    Ok(Exit::Ok)
}

async fn answer(context: &Context, args: &AnswerHitl) -> Outcome {
    let api = Api::of(context).await?;
    let (dag, run, task) = place(context, &api, &args.of, For::Changing).await?;
    let map = args.of.map_index.to_string();
    let params = args.params.as_deref();
    let like = r#"--params '{"key": "value"}'"#;
    let params = params.map(|it| flag_object(it, "--params", like)).transpose()?;
    let params_input =
        params.and_then(|it| serde_json::from_str(it.get()).ok()).unwrap_or_default();
    let body = UpdateHitlDetailPayload { chosen_options: args.options.clone(), params_input };
    let path = ["dags", &dag, "dagRuns", &run, "taskInstances", &task, &map, "hitlDetails"];
    let sent: Sent<HitlDetailResponse> = api.send(Method::PATCH, &path, &body).await?;
    let out = context.out;
    match sent {
        Sent::Done(done) if out.is_json() => out.document(&done),
        Sent::Accepted(accepted) if out.is_json() => out.document(&accepted),
        Sent::Done(done) => {
            let (chosen, by) = (done.chosen_options.join(", "), done.responded_by.name);
            out.line(&format!("{dag} {run} {task} is answered by {by}: {chosen}"));
        }
        Sent::Accepted(accepted) => {
            let said = accepted["message"].as_str().map(str::to_owned);
            return Err(Failure::new(
                Code::ApiFailed,
                said.unwrap_or_else(|| "the answer is not there yet".to_owned()),
            ));
        }
    }
    Ok(Exit::Ok)
}
