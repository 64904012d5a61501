//! `dagbok runs cancel`; with `--json` the API's `DAGRunResponse`.
use dagbok_api::shapes::{RunCancel, RunResponse};
use reqwest::Method;

use crate::{
    api::{Api, Sent},
    cli::Cancel,
    context::Context,
    exit::Exit,
    failure::Outcome,
    handles::{self, For},
};

pub(crate) async fn cancel(context: &Context, args: &Cancel) -> Outcome {
    let api = Api::of(context).await?;
    let named = &handles::run(context, &api, &args.run, For::Changing).await?;
    let path = ["dagbok", "runs", &named.dag_id, &named.run_id, "cancel"];
    let body = RunCancel { reason: args.why.reason.clone() };
    let sent: Sent<RunResponse> = api.send(Method::POST, &path, &body).await?;
    match sent {
        Sent::Done(run) if context.out.is_json() => context.out.document(&run),
        Sent::Done(run) if run.state == "running" => context.out.line(&format!(
            "{} {} is cancelled; its teardowns still run (cancel it again to end those, too)",
            named.dag_id, named.run_id
        )),
        Sent::Accepted(accepted) if context.out.is_json() => context.out.document(&accepted),
        _ => context.out.line(&format!("{} {} is cancelled", named.dag_id, named.run_id)),
    }
    Ok(Exit::Ok)
}
