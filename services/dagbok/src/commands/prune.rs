//! `dagbok prune`: runs that go for their age or number; with `--json` the API's `Pruned`.
use dagbok_api::shapes::{DateTime, Forgotten, ForgottenOfRuns, Prune as Body, Pruned};
use reqwest::Method;

use super::agree::agreed;
use crate::{
    api::{Api, Sent},
    cli::Prune,
    context::Context,
    exit::Exit,
    failure::Outcome,
    output::{Table, bytes_text},
};

/// Shows what would go, asks, and lets it.
pub(crate) async fn run(context: &Context, args: &Prune) -> Outcome {
    let api = Api::of(context).await?;
    let out = context.out;
    let body = |dry_run| Body {
        older_than_seconds: args.older_than.map(|age| age.0.as_secs_f64()),
        keep_runs: args.keep_runs,
        dag_id: args.dag.clone(),
        dry_run,
    };
    let path = ["dagbok", "prune"];
    let preview: Sent<Pruned> = api.send(Method::POST, &path, &body(true)).await?;
    let Sent::Done(preview) = preview else { return Ok(Exit::Unreachable) };
    if !out.is_json() {
        show(context, &preview);
    }
    if args.asked.only.dry_run || (preview.runs == 0 && preview.forgotten.is_nothing()) {
        if out.is_json() {
            out.document(&preview);
        }
        return Ok(Exit::Ok);
    }
    if !args.asked.yes && !agreed("whether these shall go", "Let them go?")? {
        return Ok(Exit::Refused);
    }
    let mut all: Option<Pruned> = None;
    loop {
        let sent: Sent<Pruned> = api.send(Method::POST, &path, &body(false)).await?;
        let Sent::Done(done) = sent else { return Ok(Exit::Unreachable) };
        let (more, went) = (done.more, done.runs);
        match &mut all {
            None => all = Some(done),
            Some(all) => {
                all.runs += done.runs;
                all.bytes += done.bytes;
                all.dags.extend(done.dags);
                all.more = more;
                all.forgotten.dags.extend(done.forgotten.dags);
                all.forgotten.versions += done.forgotten.versions;
                all.forgotten.executors += done.forgotten.executors;
                all.forgotten.reports += done.forgotten.reports;
                all.forgotten.backfills += done.forgotten.backfills;
                all.forgotten.logs = more_of(all.forgotten.logs, done.forgotten.logs);
                all.forgotten.xcoms = more_of(all.forgotten.xcoms, done.forgotten.xcoms);
            }
        }
        if !more || went == 0 {
            break;
        }
    }
    if let Some(all) = all {
        if out.is_json() {
            out.document(&all);
        } else {
            let (s, their) = if all.runs == 1 { ("", "its") } else { ("s", "their") };
            out.line(&if all.runs > 0 || all.forgotten.is_nothing() {
                format!("{} run{s} went; {their} files go with the next sweep", all.runs)
            } else {
                "it is forgotten; its files go with the next sweep".to_owned()
            });
        }
    }
    Ok(Exit::Ok)
}

const fn more_of(all: ForgottenOfRuns, done: ForgottenOfRuns) -> ForgottenOfRuns {
    ForgottenOfRuns {
        runs: all.runs + done.runs,
        bytes: all.bytes + done.bytes,
        more: all.more || done.more,
    }
}

fn show(context: &Context, preview: &Pruned) {
    let out = context.out;
    if let Some(unnamed) = preview.unnamed.filter(|unnamed| unnamed.blobs > 0) {
        out.line(&format!(
            "files that nothing names: {} of {}, {}; they go with the next sweep, with or without this",
            unnamed.blobs,
            unnamed.of,
            bytes_text(unnamed.bytes)
        ));
    }
    if preview.runs == 0 && preview.forgotten.is_nothing() {
        out.line("there is nothing to let go");
        return;
    }
    say_forgotten(context, &preview.forgotten);
    if preview.runs == 0 {
        return;
    }
    let mut table = Table::new(&["dag_id", "runs", "frees", "ended from", "to"]);
    for dag in &preview.dags {
        let date = |date: &Option<_>| {
            date.as_ref().map_or_else(String::new, |at: &DateTime| out.time(at.0))
        };
        table.row(vec![
            dag.dag_id.clone(),
            dag.runs.to_string(),
            bytes_text(dag.bytes),
            date(&dag.first_end_date),
            date(&dag.last_end_date),
        ]);
    }
    out.table(&table, "");
    let more = if preview.more { " or more" } else { "" };
    out.line(&format!("{} runs{more}, {}", preview.runs, bytes_text(preview.bytes)));
}

fn say_forgotten(context: &Context, forgotten: &Forgotten) {
    let out = context.out;
    let Forgotten { dags, versions, executors, reports, backfills, logs, xcoms } = forgotten;
    if !dags.is_empty() {
        let dags = dags.join(", ");
        out.line(&format!("forgotten: DAGs that vanished and have no run left: {dags}"));
    }
    for (count, what) in [
        (versions, "versions of DAGs that no run has"),
        (executors, "executors that left"),
        (reports, "reports that were refused"),
        (backfills, "backfills that are over"),
    ] {
        if *count > 0 {
            out.line(&format!("forgotten: {count} {what}"));
        }
    }
    for (of, what) in [(logs, "logs"), (xcoms, "XComs")] {
        if of.runs > 0 {
            let (least, s) =
                (if of.more { "at least " } else { "" }, if of.runs == 1 { "" } else { "s" });
            let (runs, bytes) = (of.runs, bytes_text(of.bytes));
            let stay = if of.runs == 1 { "stays" } else { "stay" };
            out.line(&format!(
                "forgotten: the {what} of {least}{runs} run{s} that {stay}, {bytes}"
            ));
        }
    }
}
