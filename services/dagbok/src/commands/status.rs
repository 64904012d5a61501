//! `dagbok status`: on one screen whether all is right, and if not, what is not. With `--json` one object: `home`, what
//! the UI's first page has, `health`, the API's, and `executors`, a list of its `ExecutorInfo`.
use dagbok_api::shapes::{ExecutorCollection, ExecutorInfo, Health, UiHome, UiTold, UiVerdict};
use serde::de::IgnoredAny;
use serde_json::json;

use crate::{
    api::Api,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Out, one_line, program, state_style, styled},
};

/// How many of a kind are named.
const NAMED: usize = 5;

pub(crate) async fn run(context: &Context) -> Outcome {
    let api = Api::of(context).await?;
    // Whoever reads a stopped log waits for its rows here: the two below say how it is at once.
    let _: IgnoredAny = api.get(&["dags"], &[("limit", "1".to_owned())]).await?;
    let health: Health = api.get(&["monitor", "health"], &[]).await?;
    let home: UiHome = api.get(&["dagbok", "ui", "home"], &[]).await?;
    let executors = if api.is_read_only() { Vec::new() } else { executors(&api).await? };
    let out = context.out;
    if out.is_json() {
        out.document(&json!({ "home": home, "health": health, "executors": executors }));
        return Ok(Exit::Ok);
    }
    out.line(&verdict(&home.verdict, &health));
    services(out, &health, &home, &executors);
    runs(out, &home);
    trouble(out, &home);
    Ok(Exit::Ok)
}

async fn executors(api: &Api) -> Result<Vec<ExecutorInfo>, Failure> {
    let page = |page: ExecutorCollection| (page.executors, page.total_entries);
    api.all(&["dagbok", "executors"], page).await
}

fn counted(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

/// The first line.
fn verdict(is: &UiVerdict, health: &Health) -> String {
    let mut wrong = Vec::new();
    let mut say = |count: usize, one: &str, many: &str| {
        if count > 0 {
            wrong.push(counted(count, one, many));
        }
    };
    say(is.failed, "run failed", "runs failed");
    say(is.late, "run is late", "runs are late");
    say(is.missed, "run was missed", "runs were missed");
    say(is.import_errors, "file can't be read", "files can't be read");
    say(is.unacknowledged, "alert is in nobody's hand", "alerts are in nobody's hand");
    if !is.scheduler {
        wrong.push("no scheduler decides".to_owned());
    }
    if health.dagbok.executors == Some(0) {
        wrong.push("no executor runs tasks".to_owned());
    }
    if wrong.is_empty() {
        return styled(state_style("ok"), "Everything is all right.");
    }
    styled(state_style("failed"), &format!("{}.", wrong.join(", ")))
}

fn services(out: Out, health: &Health, home: &UiHome, executors: &[ExecutorInfo]) {
    let is = |there: bool| if there { "there" } else { "not there" };
    let slots: u32 = executors.iter().map(|it| it.slots).sum();
    let running: u32 = executors.iter().map(|it| it.running).sum();
    let executors = match home.verdict.executors {
        Some(count) => format!(
            "{}, {running} of {} taken",
            counted(count, "executor", "executors"),
            counted(slots as usize, "slot", "slots")
        ),
        None => "executors can't be asked".to_owned(),
    };
    let processor = health.dag_processor.status.as_deref() == Some("healthy");
    out.line(&format!(
        "  services   scheduler {}, processor {}, alerting {}; {executors}",
        is(home.verdict.scheduler),
        is(processor),
        is(home.verdict.alerting)
    ));
    let behind = match home.verdict.lag {
        0 => "nothing is behind it".to_owned(),
        lag => format!("the read model is {lag} behind"),
    };
    out.line(&format!("  log        record {}; {behind}", home.seq));
    if let Some(ahead) = health.dagbok.clock.log_ahead_seconds.filter(|ahead| *ahead > 1.0) {
        out.line(&format!("  clock      the log's last stamp is {ahead:.0} s ahead of the clock"));
    }
}

fn runs(out: Out, home: &UiHome) {
    let is = &home.verdict;
    let about = |count: usize, is_exact: bool| {
        if is_exact { count.to_string() } else { format!("{count} or more") }
    };
    out.line(&format!(
        "  runs       {} running, {} queued; since {}: {} succeeded, {} failed",
        is.running,
        is.queued,
        out.time(home.since.0),
        about(is.succeeded, is.succeeded_is_exact),
        about(is.failed, is.failed_is_exact)
    ));
    out.line(&format!("  DAGs       {}, {} paused", is.dags, is.paused));
    let next: Vec<String> = home
        .next
        .iter()
        .take(3)
        .map(|next| format!("{} {}", next.dag_id, out.time(next.due.0)))
        .collect();
    if !next.is_empty() {
        out.line(&format!("  next       {}", next.join(", ")));
    }
}

fn trouble(out: Out, home: &UiHome) {
    let listed = |title: &str, lines: Vec<String>, all: usize| {
        for (at, line) in lines.iter().enumerate() {
            let title = if at == 0 { title } else { "" };
            out.line(&format!("  {title:<10} {line}"));
        }
        if all > lines.len() && !lines.is_empty() {
            out.line(&format!("  {:<10} and {} more", "", all - lines.len()));
        }
    };
    let failed = home.failed.iter().take(NAMED).map(|run| {
        let why = run.failure.as_ref().map(|why| {
            let line = why.line.map(|line| format!(":{line}")).unwrap_or_default();
            let place =
                why.file.as_ref().map(|file| format!(" ({file}{line})")).unwrap_or_default();
            let kind = why.exception.as_ref().unwrap_or(&why.kind);
            format!(": {}: {kind}: {}{place}", why.task_id, one_line(&why.message))
        });
        format!("{} {}{}; {}", run.dag_id, run.run_id, why.unwrap_or_default(), told(&run.told))
    });
    listed("failed", failed.collect(), home.verdict.failed);
    let late = home.late.iter().take(NAMED).map(|late| {
        let due = late.due.map(|due| format!(", due at {}", out.time(due.0))).unwrap_or_default();
        format!("{}{due}: {}", late.dag_id, late.why.replace('_', " "))
    });
    listed("late", late.collect(), home.late.len());
    let waiting = home.waiting.iter().take(NAMED).map(|run| {
        let tasks = counted(run.tasks as usize, "task waits", "tasks wait");
        format!("{} {}: {tasks} since {}", run.dag_id, run.run_id, out.time(run.since.0))
    });
    listed("waiting", waiting.collect(), home.waiting.len());
    let files = home.import_errors.iter().take(NAMED).map(|it| {
        let line = it.line.map(|line| format!(":{line}")).unwrap_or_default();
        format!("{}{line}: {}: {}", it.file, it.exception, one_line(&it.message))
    });
    listed("files", files.collect(), home.verdict.import_errors);
    let alerts = home.needs_human.iter().take(NAMED);
    let alerts =
        alerts.map(|it| format!("{} {}; {}", it.alert_id, one_line(&it.summary), told(&it.told)));
    listed("alerts", alerts.collect(), home.verdict.unacknowledged);
    if home.verdict.failed > 0 {
        out.line(&format!("  next: {} runs why", program()));
    } else if let Some(run) = home.waiting.first() {
        out.line(&format!("  next: {} why {} {}", program(), run.dag_id, run.run_id));
    }
}

fn told(it: &UiTold) -> String {
    let by = it.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
    match it.state.as_str() {
        "told" => format!("told {}", it.receivers.join(", ")),
        "acknowledged" => format!("in hand{by}"),
        "no_rule" => "no alert was made".to_owned(),
        "no_receiver" => "no route leads to anybody".to_owned(),
        other => format!("{}{by}", other.replace('_', " ")),
    }
}
