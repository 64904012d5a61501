//! `dagbok events`: the log, one record a line of JSON with `--json` (`seq`, `at`, `scope`, `by`,
//! `facts`, …), and a line for eyes otherwise.
use std::{collections::VecDeque, time::Duration};

use dagbok_api::shapes::Health;
use dagbok_events::Timestamp;
use serde_json::Value;

use crate::{
    api::Api,
    cli::Events,
    codes::Code,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    live::record_text,
};

/// The pause before a stream that broke is taken up again.
const PAUSE: Duration = Duration::from_secs(1);

/// Says that what is to be followed is not there yet: it may come, or be called otherwise.
async fn say_awaited(context: &Context, api: &Api, args: &Events) {
    let Some(dag) = &args.dag else { return };
    if !matches!(named(api, args).await, Err(failure) if failure.code() == Code::NotFound) {
        return;
    }
    let what = match &args.run {
        Some(run) => format!("the run `{run}` of the DAG `{dag}`"),
        None => format!("the DAG `{dag}`"),
    };
    context.out.note(&format!("nothing about {what} is on the log yet; waiting for it"));
}

/// Nothing was there to show: perhaps because nothing is called so. A DAG that is gone has its history.
async fn named(api: &Api, args: &Events) -> Result<(), Failure> {
    let Some(dag) = &args.dag else { return Ok(()) };
    let _: Value = match &args.run {
        Some(run) => api.get(&["dags", dag, "dagRuns", run], &[]).await?,
        None => api.get(&["dags", dag], &[]).await?,
    };
    Ok(())
}

/// What is asked of a stream of records.
fn query(args: &Events, from: u64, follow: bool) -> Vec<(&'static str, String)> {
    let mut query = vec![("from", from.to_string()), ("follow", follow.to_string())];
    query.extend(args.dag.iter().map(|dag| ("dag_id", dag.clone())));
    query.extend(args.run.iter().map(|run| ("run_id", run.clone())));
    query
}

/// Where the last `tail` records begin that are wanted.
async fn before_last(api: &Api, args: &Events, tail: usize) -> Result<u64, Failure> {
    let last = last_of(api).await?;
    if tail == 0 {
        return Ok(last + 1);
    }
    if args.dag.is_none() {
        return Ok((last + 1).saturating_sub(tail as u64).max(1));
    }
    let mut lines = api.lines(&["dagbok", "events"], &query(args, 1, false)).await?;
    let mut newest = VecDeque::new();
    while let Some(entry) = lines.next::<Value>().await? {
        newest.extend(entry["seq"].as_u64());
        if newest.len() > tail {
            newest.pop_front();
        }
    }
    Ok(newest.front().copied().unwrap_or(last + 1))
}

async fn last_of(api: &Api) -> Result<u64, Failure> {
    let health: Health = api.get(&["monitor", "health"], &[]).await?;
    Ok(health.dagbok.projection.last.max(health.dagbok.projection.applied))
}

/// The first record that is not older: stamps never go back, so it is found by halves.
async fn first_since(api: &Api, since: Timestamp) -> Result<u64, Failure> {
    let (mut low, mut high) = (1, last_of(api).await? + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let query = [("from", middle.to_string()), ("limit", "1".to_owned())];
        let mut lines = api.lines(&["dagbok", "events"], &query).await?;
        let entry = lines.next::<Value>().await?;
        let at = entry.as_ref().and_then(|entry| entry["at"].as_str());
        let at = at.and_then(|at| at.parse::<jiff::Timestamp>().ok()).map(Timestamp::from);
        if at.is_some_and(|at| at < since) { low = middle + 1 } else { high = middle }
    }
    Ok(low)
}

pub(crate) async fn run(context: &Context, args: &Events) -> Outcome {
    let api = Api::of(context).await?;
    // Nothing comes to a log that nobody writes.
    let follow = args.follow && !api.is_read_only();
    if follow {
        say_awaited(context, &api, args).await;
    }
    let mut from = match (args.tail, &args.since) {
        (Some(tail), _) => before_last(&api, args, tail).await?,
        (None, Some(since)) => first_since(&api, *since).await?,
        (None, None) => args.from,
    };
    let (mut seen, mut shown, mut awaited) = (false, false, false);
    loop {
        let query = query(args, from, follow);
        let broken = async {
            let mut lines = api.lines(&["dagbok", "events"], &query).await?;
            (seen, awaited) = (true, false);
            while let Some(entry) = lines.next::<Value>().await? {
                shown = true;
                if let Some(seq) = entry["seq"].as_u64() {
                    from = seq + 1;
                }
                if context.out.is_json() {
                    context.out.json_line(&entry);
                } else {
                    context.out.line(&record_text(&entry));
                }
            }
            Ok::<(), Failure>(())
        };
        match broken.await {
            Ok(()) if !follow && !shown => return named(&api, args).await.map(|()| Exit::Ok),
            Ok(()) if !follow => return Ok(Exit::Ok),
            Err(failure) if !(follow && seen && failure.code() == Code::ApiUnreachable) => {
                return Err(failure);
            }
            // Nothing is lost or shown twice: the stream is taken up after the last record seen.
            Ok(()) | Err(_) if !awaited => {
                awaited = true;
                let from = api.shown();
                context
                    .out
                    .note(&format!("the API at {from} went away; waiting for it to come back"));
            }
            Ok(()) | Err(_) => {}
        }
        tokio::time::sleep(PAUSE).await;
    }
}
