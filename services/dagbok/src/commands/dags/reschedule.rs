//! `dagbok dags reschedule`; with `--json` the API's `Rescheduled`.
use dagbok_api::shapes::Rescheduled;
use reqwest::Method;
use serde_json::json;

use crate::{
    api::{Api, Sent},
    cli::Reschedule,
    context::Context,
    exit::Exit,
    failure::Outcome,
};

pub(crate) async fn reschedule(context: &Context, args: &Reschedule) -> Outcome {
    let api = Api::of(context).await?;
    let which = args.dag_id.as_deref().unwrap_or("~");
    let sent: Sent<Rescheduled> =
        api.send(Method::POST, &["dags", which, "reschedule"], &json!({})).await?;
    match sent {
        Sent::Done(changed) if context.out.is_json() => context.out.document(&changed),
        Sent::Accepted(accepted) if context.out.is_json() => context.out.document(&accepted),
        Sent::Done(changed) if changed.dags.is_empty() => {
            context.out.line("nothing changed: what is promised goes by the clock as it is");
        }
        Sent::Done(changed) => {
            for dag in changed.dags {
                let due = dag.next_dagrun_run_after.unwrap_or_else(|| "never".to_owned());
                context.out.line(&format!("{}: its next run is due {due}", dag.dag_id));
            }
        }
        Sent::Accepted(_) => context.out.line("it is done, and will be seen shortly"),
    }
    Ok(Exit::Ok)
}
