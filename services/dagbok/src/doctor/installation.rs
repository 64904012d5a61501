//! A running installation, as its API tells of it: services that are missing or differ, work that nobody takes, files that
//! can't be read, and who is told of what goes wrong.
use std::collections::{BTreeMap, BTreeSet};

use dagbok_api::shapes::{
    ExecutorCollection, ExecutorInfo, Health, ImportErrorCollection, TaskInstanceCollection,
    VersionInfo,
};
use serde::Deserialize;

use super::Finding;
use crate::{api::Api, codes::Code, context::Context, failure::Failure};

/// Waiting tasks that are looked at.
const WAITING: usize = 1_000;

/// Looks at the API that is named, else at the one of this machine; with whether one answers.
pub(super) async fn check(context: &Context, is_named: bool) -> (Vec<Finding>, bool) {
    let asked = async {
        let api = Api::of_running(context)?;
        let health: Health = api.get(&["monitor", "health"], &[]).await?;
        Ok::<_, Failure>((api, health))
    };
    let (api, health) = match asked.await {
        Ok(found) => found,
        Err(failure) if !is_named && failure.code() == Code::ApiUnreachable => {
            let what = format!("none answers at {}: no installation is looked at", context.api());
            let next = "start one, or name its API with --api or DAGBOK_API";
            return (vec![Finding::warning("api", what, next)], false);
        }
        Err(failure) => return (vec![Finding::failed("api", &failure)], false),
    };
    let mut findings = vec![model(context, &health)];
    findings.extend(services(&health));
    match looks(&api).await {
        Ok(found) => findings.extend(found),
        Err(failure) => findings.push(Finding::failed("api", &failure)),
    }
    (findings, true)
}

async fn looks(api: &Api) -> Result<Vec<Finding>, Failure> {
    let page = |page: ExecutorCollection| (page.executors, page.total_entries);
    let executors = api.all(&["dagbok", "executors"], page).await?;
    let alive: Vec<&ExecutorInfo> = executors.iter().filter(|it| it.status == "alive").collect();
    let version: VersionInfo = api.get(&["version"], &[]).await?;
    Ok(vec![
        queues(api, &alive).await?,
        versions(&version.version, &alive),
        files(api).await?,
        told(api).await?,
    ])
}

fn model(context: &Context, health: &Health) -> Finding {
    let projection = &health.dagbok.projection;
    let behind = projection.last.saturating_sub(projection.applied);
    let message = format!("at {}: the read model is {behind} records behind", context.api());
    match &projection.failed {
        Some(why) => Finding::error(
            "api",
            format!("the read model has stopped: {why}"),
            "start the API again",
        ),
        None => Finding::ok("api", message),
    }
}

/// The services without which nothing goes on.
fn services(health: &Health) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.push(match health.scheduler.status.as_deref() {
        Some("healthy") => Finding::ok("scheduler", "one decides"),
        _ => Finding::error(
            "scheduler",
            "none decides: no run is made and no task is queued",
            "start one with `dagbok scheduler`, or see its log lines",
        ),
    });
    findings.push(match health.dag_processor.status.as_deref() {
        Some("healthy") => Finding::ok("processor", "one reads DAG files"),
        _ => Finding::error(
            "processor",
            "none reads DAG files: what changes in them is not seen",
            "start one with `dagbok processor --dags DIR`, or see its log lines",
        ),
    });
    findings.push(match health.dagbok.executors {
        Some(0) => Finding::error(
            "executors",
            "none is there: no task runs",
            "start one with `dagbok executor`",
        ),
        Some(count) => Finding::ok("executors", format!("{count} there")),
        None => Finding::warning(
            "executors",
            "who is there can't be told",
            "see the API's log lines; the keyed state does not answer",
        ),
    });
    findings
}

/// Queues with work that no executor pulls from.
async fn queues(api: &Api, alive: &[&ExecutorInfo]) -> Result<Finding, Failure> {
    const CHECK: &str = "queues";
    let path = ["dags", "~", "dagRuns", "~", "taskInstances"];
    let query = [("state", "queued".to_owned()), ("limit", WAITING.to_string())];
    let waiting: TaskInstanceCollection = api.get(&path, &query).await?;
    let pulled: BTreeSet<&str> =
        alive.iter().flat_map(|it| it.queues.iter().map(String::as_str)).collect();
    let mut starved: BTreeMap<&str, usize> = BTreeMap::new();
    for task in &waiting.task_instances {
        let queue = task.queue.as_deref().unwrap_or("default");
        if !pulled.contains(queue) {
            *starved.entry(queue).or_default() += 1;
        }
    }
    if starved.is_empty() {
        return Ok(Finding::ok(
            CHECK,
            format!("{} tasks are queued, each where somebody pulls", waiting.task_instances.len()),
        ));
    }
    let said: Vec<String> =
        starved.iter().map(|(queue, tasks)| format!("`{queue}` ({tasks} tasks)")).collect();
    let queues: Vec<&str> = starved.keys().copied().collect();
    Ok(Finding::error(
        CHECK,
        format!("no executor pulls from {}", said.join(", ")),
        format!("start one with `dagbok executor --queues {}`", queues.join(",")),
    ))
}

/// Builds and Pythons that differ.
fn versions(api: &str, alive: &[&ExecutorInfo]) -> Finding {
    const CHECK: &str = "versions";
    let own = env!("CARGO_PKG_VERSION");
    let builds: BTreeSet<&str> =
        alive.iter().map(|it| it.version.as_str()).chain([api, own]).collect();
    if builds.len() > 1 {
        const NAMED: usize = 5;
        let others: Vec<&&ExecutorInfo> = alive.iter().filter(|it| it.version != own).collect();
        let mut said = vec![format!("services differ: this is {own}, the API {api}")];
        let named = others.iter().take(NAMED);
        said.extend(named.map(|it| format!("executor {} {}", it.executor, it.version)));
        if others.len() > NAMED {
            said.push(format!("and {} executors more", others.len() - NAMED));
        }
        return Finding::error(
            CHECK,
            said.join(", "),
            "upgrade all of them: see \"Upgrade\" in the README",
        );
    }
    let pythons: BTreeSet<&str> = alive.iter().map(|it| it.python.as_str()).collect();
    if pythons.len() > 1 {
        let all: Vec<&str> = pythons.into_iter().collect();
        return Finding::warning(
            CHECK,
            format!("executors run tasks with different Pythons: {}", all.join(", ")),
            "give all executors the same one, so that a task does not depend on where it runs",
        );
    }
    Finding::ok(
        CHECK,
        format!("this, the API and {} executors are {own}; the others don't say", alive.len()),
    )
}

/// DAG files that can't be read.
async fn files(api: &Api) -> Result<Finding, Failure> {
    const CHECK: &str = "imports";
    let found: ImportErrorCollection =
        api.get(&["importErrors"], &[("limit", "3".to_owned())]).await?;
    if found.total_entries == 0 {
        return Ok(Finding::ok(CHECK, "every DAG file can be read"));
    }
    let place = |error: &dagbok_api::shapes::ImportErrorResponse| {
        let line = error.dagbok.line.map(|line| format!(":{line}")).unwrap_or_default();
        format!("{}{line}", error.filename)
    };
    let names: Vec<String> = found.import_errors.iter().map(place).collect();
    let more = found.total_entries - names.len();
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let what =
        format!("{} DAG files can't be read: {}{more}", found.total_entries, names.join(", "));
    Ok(Finding::error(CHECK, what, "`dagbok dags errors` says why"))
}

/// Who is told, by the configuration that is in force.
async fn told(api: &Api) -> Result<Finding, Failure> {
    #[derive(Deserialize)]
    struct Receivers {
        receivers: Vec<serde_json::Value>,
        #[serde(default)]
        is_watched: bool,
    }
    const CHECK: &str = "told";
    let asked = api.get::<Receivers>(&["dagbok", "oncall"], &[]).await;
    Ok(match asked {
        Ok(found) if found.receivers.is_empty() => Finding::error(
            CHECK,
            "nobody is told of what goes wrong: alerting has no receiver",
            "name one in alerting.toml: see \"Being told\" in the README",
        ),
        Ok(found) if !found.is_watched => Finding::error(
            CHECK,
            "nobody outside notices when alerting itself is gone: there is no dead man's switch",
            "name the address of a check that alarms where no sign of life comes, as `[dead_mans_switch]` in alerting.toml",
        ),
        Ok(found) => Finding::ok(
            CHECK,
            format!("{} receivers, and a dead man's switch", found.receivers.len()),
        ),
        Err(failure) if failure.code() == Code::ApiUnreachable => return Err(failure),
        Err(failure) => Finding::error(
            CHECK,
            format!("no alerting service answers: nobody is told of what goes wrong ({failure})"),
            "start one with `dagbok alerting`, or see its log lines",
        ),
    })
}
