//! `dagbok runs wait`: ends as the run does. With `--json` one object: `finished`, and `dag_run`, the
//! API's `DAGRunResponse`.
use std::time::Duration;

use dagbok_api::shapes::{RunResponse, RunWait, TaskInstanceCollection};
use tokio::time::Instant;

use super::{duration_of, exit_of, failed_text, state_of};
use crate::{
    api::Api,
    cli::{Run, Wait},
    codes::Code,
    commands::hints::Hints,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    handles::{self, For},
    output::{state_style, styled},
};

/// One question waits no longer than this, so that a dead connection is noticed.
const STRETCH: Duration = Duration::from_secs(30);
/// The pause before an API that does not answer is asked again.
const PAUSE: Duration = Duration::from_secs(1);

pub(crate) async fn wait(context: &Context, args: &Wait) -> Outcome {
    let api = Api::of(context).await?;
    let run = handles::run(context, &api, &args.run, For::Reading).await?;
    until_over(context, &api, &run, args.timeout.map(|timeout| timeout.0), (true, false)).await
}

/// Waits for a run, and ends as it did.
pub(crate) async fn until_over(
    context: &Context,
    api: &Api,
    run: &Run,
    timeout: Option<Duration>,
    (is_known, many): (bool, bool),
) -> Outcome {
    let until = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    // Of one that is known to be there an API that is away for a moment is no news.
    let (mut seen, mut found) = (is_known, false);
    let waited = loop {
        let left = until
            .map_or(STRETCH, |until| until.saturating_duration_since(Instant::now()).min(STRETCH));
        let query = [("timeout", left.as_secs_f64().to_string())];
        let path = ["dagbok", "runs", &run.dag_id, &run.run_id, "wait"];
        match api.get::<RunWait>(&path, &query).await {
            Ok(waited) => {
                (seen, found) = (true, true);
                let over = until.is_some_and(|until| Instant::now() >= until);
                if waited.finished || over || context.home_to_read().is_some() {
                    break waited;
                }
            }
            // A service that is started again takes a moment; a run that was there goes on.
            Err(failure)
                if seen
                    && (matches!(failure.code(), Code::ApiUnreachable | Code::ApiFailed)
                        || is_known && failure.code() == Code::NotFound && !found)
                    && until.is_none_or(|until| Instant::now() + PAUSE < until) =>
            {
                tokio::time::sleep(PAUSE).await;
            }
            Err(failure) => return Err(failure),
        }
    };
    let run = &waited.dag_run;
    if context.out.is_json() {
        context.out.one_of(many, &waited);
    }
    if !waited.finished {
        let what = format!("the run {} {} is still {}", run.dag_id, run.dag_run_id, run.state);
        let why = Hints::of_run(context, api, run).await.why.join("; ");
        let what = if why.is_empty() { what } else { format!("{what}: {why}") };
        return if context.out.is_json() {
            Ok(Exit::TimedOut)
        } else {
            Err(Failure::new(Code::WaitedTooLong, what))
        };
    }
    if !context.out.is_json() {
        let state = styled(state_style(state_of(run)), state_of(run));
        context.out.line(&format!(
            "{} {}: {state} {}",
            run.dag_id,
            run.dag_run_id,
            duration_of(run)
        ));
        if let Some(failed) = failed_of(api, run).await {
            context.out.line(&format!("  failed: {failed}"));
        }
        Hints::of_run(context, api, run).await.print_next(context.out);
    }
    Ok(exit_of(run))
}

/// Which tasks failed, where that can be had: how the run ended is known without.
async fn failed_of(api: &Api, run: &RunResponse) -> Option<String> {
    if run.dagbok.failed_tasks.is_empty() {
        return None;
    }
    let path = ["dags", &run.dag_id, "dagRuns", &run.dag_run_id, "taskInstances"];
    let found = api.get::<TaskInstanceCollection>(&path, &[("state", "failed".to_owned())]).await;
    failed_text(&found.ok()?.task_instances)
}
