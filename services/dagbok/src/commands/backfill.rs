//! `dagbok backfill …`: as `airflow backfill`, and what becomes of one.
use dagbok_api::shapes::{
    BackfillBody, BackfillCollection, BackfillResponse, DryRunBackfillCollection, DryRunDate,
    ReprocessBehavior,
};
use reqwest::Method;

use super::dags::conf_object;
use crate::{
    api::{Api, Sent},
    cli::{BackfillCommand, ChangeBackfill, CreateBackfill, ListBackfills, Reprocess},
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::{Table, program},
};

/// Dates that are shown of each kind that follow each other.
const SHOWN: usize = 3;

pub(crate) async fn run(context: &Context, command: &BackfillCommand) -> Outcome {
    match command {
        BackfillCommand::Create(args) if args.only.dry_run => dry_run(context, args).await,
        BackfillCommand::Create(args) => create(context, args).await,
        BackfillCommand::List(args) => list(context, args).await,
        BackfillCommand::Show(args) => {
            let path = ["backfills", &args.id.to_string()];
            let found: BackfillResponse = Api::of(context).await?.get(&path, &[]).await?;
            show(context, &found);
            Ok(Exit::Ok)
        }
        BackfillCommand::Pause(args) => change(context, args, "pause").await,
        BackfillCommand::Resume(args) => change(context, args, "unpause").await,
        BackfillCommand::Cancel(args) => change(context, args, "cancel").await,
    }
}

fn body(args: &CreateBackfill) -> Result<BackfillBody, Failure> {
    let dag_id = args.dag_id.clone().or_else(|| args.dag.clone());
    Ok(BackfillBody {
        dag_id: dag_id.expect("clap asks for one"),
        from_date: args.from_date.to_string(),
        to_date: args.to_date.to_string(),
        run_backwards: args.run_backwards,
        dag_run_conf: args.conf.as_deref().map(conf_object).transpose()?,
        reprocess_behavior: match args.reprocess_behavior {
            Reprocess::None => ReprocessBehavior::None,
            Reprocess::Failed => ReprocessBehavior::Failed,
            Reprocess::Completed => ReprocessBehavior::Completed,
        },
        max_active_runs: args.max_active_runs,
        run_on_latest_version: None,
        reason: args.why.reason.clone(),
    })
}

async fn create(context: &Context, args: &CreateBackfill) -> Outcome {
    let api = Api::of(context).await?;
    let sent: Sent<BackfillResponse> = api.send(Method::POST, &["backfills"], &body(args)?).await?;
    match sent {
        Sent::Done(made) if context.out.is_json() => context.out.document(&made),
        Sent::Done(made) => {
            let (id, total) = (made.id, made.dagbok.total);
            let dates = if total == 1 { "1 date".to_owned() } else { format!("{total} dates") };
            context.out.line(&format!(
                "backfill {id} of {}: {dates}, {} runs at a time",
                made.dag_id, made.max_active_runs
            ));
            context.out.line(&format!("  next: {} backfill show {id}", program()));
        }
        Sent::Accepted(accepted) if context.out.is_json() => context.out.document(&accepted),
        Sent::Accepted(_) => {
            context.out.line("the backfill is made; `dagbok backfill list` shows it shortly");
        }
    }
    Ok(Exit::Ok)
}

async fn dry_run(context: &Context, args: &CreateBackfill) -> Outcome {
    let path = ["backfills", "dry_run"];
    let sent: Sent<DryRunBackfillCollection> =
        Api::of(context).await?.send(Method::POST, &path, &body(args)?).await?;
    match sent {
        Sent::Done(told) if context.out.is_json() => context.out.document(&told),
        Sent::Done(told) => tell(context, &told),
        Sent::Accepted(accepted) => context.out.document(&accepted),
    }
    Ok(Exit::Ok)
}

fn tell(context: &Context, told: &DryRunBackfillCollection) {
    let it = &told.dagbok;
    let mut table = Table::new(&["logical date", "what would become of it"]);
    for part in it.dates.chunk_by(|one, next| one.does == next.does) {
        let does = match part[0].does.as_str() {
            "create" => "a run is made",
            "rerun" => "its run runs again",
            "skip_in_flight" => "passed over: its run is not over",
            _ => "passed over: it has a run",
        };
        let row = |date: &DryRunDate| vec![date.logical_date.0.to_string(), does.to_owned()];
        let mut shown = part.iter();
        if part.len() <= 2 * SHOWN {
            shown.for_each(|date| table.row(row(date)));
            continue;
        }
        shown.by_ref().take(SHOWN).for_each(|date| table.row(row(date)));
        table.row(vec![format!("… {} more", part.len() - SHOWN - 1), does.to_owned()]);
        shown.next_back().into_iter().for_each(|date| table.row(row(date)));
    }
    context.out.table(&table, "");
    context.out.line(&format!(
        "{} dates: {} runs would be made, {} would run again, {} would be passed over",
        it.total,
        it.create,
        it.rerun,
        it.skip_existing + it.skip_in_flight
    ));
}

async fn list(context: &Context, args: &ListBackfills) -> Outcome {
    let mut query = vec![("limit", args.limit.to_string()), ("order_by", "-id".to_owned())];
    query.extend(args.dag_id.clone().map(|dag_id| ("dag_id", dag_id)));
    let found: BackfillCollection = Api::of(context).await?.get(&["backfills"], &query).await?;
    if context.out.is_json() {
        context.out.document(&found);
        return Ok(Exit::Ok);
    }
    let mut table =
        Table::new(&["id", "dag_id", "from", "to", "state", "dates", "done", "failed", "left"]);
    for one in &found.backfills {
        table.row(vec![
            one.id.to_string(),
            one.dag_id.clone(),
            one.from_date.0.to_string(),
            one.to_date.0.to_string(),
            one.dagbok.state.clone(),
            one.dagbok.total.to_string(),
            one.dagbok.done.to_string(),
            one.dagbok.failed.to_string(),
            one.dagbok.left.to_string(),
        ]);
    }
    let (shown, total) = (found.backfills.len(), found.total_entries);
    context.out.page(&table, "No backfills.", shown, 0, total);
    Ok(Exit::Ok)
}

async fn change(context: &Context, args: &ChangeBackfill, what: &str) -> Outcome {
    let path = ["backfills", &args.id.to_string(), what];
    let query: Vec<(&str, String)> =
        args.why.reason.clone().map(|reason| ("reason", reason)).into_iter().collect();
    let sent: Sent<BackfillResponse> = Api::of(context).await?.put(&path, &query).await?;
    match sent {
        Sent::Done(found) => show(context, &found),
        Sent::Accepted(accepted) => context.out.document(&accepted),
    }
    Ok(Exit::Ok)
}

fn show(context: &Context, found: &BackfillResponse) {
    let (out, it) = (context.out, &found.dagbok);
    if out.is_json() {
        out.document(found);
        return;
    }
    out.line(&format!("backfill {} of {}: {}, {}", found.id, found.dag_id, it.state, it.message));
    let order = if it.run_backwards { ", the newest first" } else { "" };
    out.line(&format!(
        "  {} dates from {} to {}{order}, {} runs at a time",
        it.total, found.from_date.0, found.to_date.0, found.max_active_runs
    ));
    let skipped: u32 = it.skipped.values().sum();
    out.line(&format!(
        "  {} done, {} failed, {} running, {} queued, {skipped} passed over, {} left",
        it.done, it.failed, it.running, it.queued, it.left
    ));
    if let Some(expected) = &it.expected {
        out.line(&format!(
            "  expected to end at {} (by {} in nine of ten, after {} runs)",
            expected.p50.0, expected.p90.0, expected.of
        ));
    }
    let why = it.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    out.line(&format!("  asked for by {} at {}{why}", it.created_by, out.time(found.created_at.0)));
}
