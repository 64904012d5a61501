//! `dagbok alerts explain` and `backtest`: the log gone through again by the rules, under a configuration that need not
//! be in force. What goes through it has no sender, so that nothing can be sent.
use dagbok_alerts::{AlertScope, Backtest, Condition, Explained, Policy, Step, Watch, WouldBe};
use dagbok_events::{Micros, Record, Timestamp, entry_of_json};
use dagbok_runtime::Clock;
use serde_json::{Value, json};

use super::check;
use crate::{
    api::Api,
    cli::{BacktestAlerts, ExplainAlerts},
    codes::Code,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::Table,
};

/// Hands over the log, record by record, up to `last`; how many there were.
async fn walk(
    context: &Context,
    last: u64,
    mut take: impl FnMut(u64, &Record),
) -> Result<(u64, u64), Failure> {
    let api = Api::of(context).await?;
    let query = [("from", "1".to_owned()), ("follow", "false".to_owned())];
    let mut lines = api.lines(&["dagbok", "events"], &query).await?;
    let (mut records, mut unread) = (0, 0);
    while let Some(entry) = lines.next::<Value>().await? {
        if entry["seq"].as_u64().is_some_and(|seq| seq > last) {
            break;
        }
        match entry_of_json(&entry) {
            Some((seq, record)) => take(seq, &record),
            None => unread += 1,
        }
        records += 1;
    }
    Ok((records, unread))
}

/// Says what could not be read: what it would have called for is not known.
fn say_unread(context: &Context, unread: u64) {
    if unread > 0 {
        context.out.note(&format!(
            "{unread} records are of a newer version and passed over: use that version's program"
        ));
    }
}

pub(super) async fn backtest(context: &Context, args: &BacktestAlerts) -> Outcome {
    let policy = check::policy(context, args.file.as_ref())?;
    let now = Clock::system().now();
    let back = i64::try_from(args.since.0.as_micros()).unwrap_or(i64::MAX);
    let since = Timestamp(now.0.saturating_sub(back));
    let mut again = Backtest::new(policy, &context.config.nats.namespace, since);
    let (records, unread) = walk(context, u64::MAX, |seq, record| again.take(seq, record)).await?;
    again.pass(now);
    say_unread(context, unread);
    let (found, left_out) = again.found();
    let found: Vec<&WouldBe> = found.collect();
    if context.out.is_json() {
        let alerts: Vec<Value> = found.iter().map(|it| would_be(it)).collect();
        context.out.document(&json!({
            "since": since, "until": now, "records": records, "left_out": left_out, "alerts": alerts,
        }));
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&["opened", "over", "severity", "route", "told", "summary"]);
    for it in &found {
        let told: Vec<String> = it.told.iter().map(|(who, n)| format!("{who} {n}×")).collect();
        table.row(vec![
            it.opened_at.to_string(),
            it.resolved_at.map_or_else(|| "open".to_owned(), |at| at.to_string()),
            it.labels.get("severity").cloned().unwrap_or_default(),
            it.route.clone(),
            if told.is_empty() { "nobody by itself".to_owned() } else { told.join(", ") },
            it.summary.clone(),
        ]);
    }
    context.out.table(&table, "Nobody would have been told of anything.");
    if left_out > 0 {
        context.out.note(&format!("{left_out} more are not shown"));
    }
    context.out.note(&format!(
        "{} alerts in {records} records; each message counts as taken, and nobody acknowledges",
        found.len()
    ));
    Ok(Exit::Ok)
}

fn would_be(it: &WouldBe) -> Value {
    json!({
        "rule": it.rule.word(), "scope": it.scope.to_string(), "summary": it.summary,
        "labels": it.labels, "opened_at": it.opened_at, "resolved_at": it.resolved_at,
        "route": it.route, "told": it.told,
    })
}

pub(super) async fn explain(context: &Context, args: &ExplainAlerts) -> Outcome {
    let policy = check::policy(context, args.file.as_ref())?;
    let mut watch = Watch::default();
    watch.heed(&policy.thresholds);
    let mut found = None;
    let (_, unread) = walk(context, args.event, |seq, record| {
        watch.evolve(seq, record);
        found = (seq == args.event).then(|| record.clone()).or(found.take());
    })
    .await?;
    say_unread(context, unread);
    let Some(record) = found else {
        let what = format!("there is no record {} on the log", args.event);
        return Err(
            Failure::new(Code::NotFound, what).next("`dagbok events` shows those there are")
        );
    };
    let said = dagbok_alerts::explain(&watch, args.event, record.at);
    say(context, &policy, args.event, &record, &said);
    Ok(Exit::Ok)
}

/// What of a fact people know it by.
fn names(record: &Record) -> Vec<String> {
    let shown = dagbok_events::entry_json(0, record);
    let facts = shown["facts"].as_array().into_iter().flatten();
    facts.filter_map(|fact| fact["type"].as_str().map(str::to_owned)).collect()
}

fn say(context: &Context, policy: &Policy, seq: u64, record: &Record, said: &Explained) {
    let namespace = context.config.nats.namespace.as_str();
    let wrong = said.wrong.iter().map(|it| (it, steps(policy, it, namespace, record.at)));
    let wrong: Vec<(&Condition, Steps)> = wrong.collect();
    let over = |(rule, scope): &(dagbok_alerts::Rule, AlertScope)| json!({ "rule": rule.word(), "scope": scope.to_string() });
    let out = context.out;
    if out.is_json() {
        let shown = wrong.iter().map(|(it, steps)| {
            json!({
                "rule": it.rule.word(), "scope": it.scope.to_string(), "summary": it.summary,
                "labels": it.all_labels(namespace), "route": steps.route, "steps": steps.steps,
            })
        });
        let awaited = said.awaited.iter().map(|(rule, scope, at)| {
            json!({ "rule": rule.word(), "scope": scope.to_string(), "at": at })
        });
        out.document(&json!({
            "seq": seq, "at": record.at, "facts": names(record),
            "wrong": shown.collect::<Vec<_>>(), "awaited": awaited.collect::<Vec<_>>(),
            "over": said.over.iter().map(over).collect::<Vec<_>>(),
        }));
        return;
    }
    out.line(&format!("record {seq} of {}: {}", record.at, names(record).join(", ")));
    for (it, steps) in &wrong {
        let severity = it.severity.word();
        out.line(&format!("wrong by it: {} ({severity}): {}", it.rule, it.summary));
        match &steps.route {
            None => out.line("  nobody is told: the configuration has no receiver"),
            Some(route) => out.line(&format!("  route {route}")),
        }
        for (place, (receivers, wait)) in (1..).zip(&steps.steps) {
            let who = if receivers.is_empty() { "nobody".to_owned() } else { receivers.join(", ") };
            out.line(&format!("  step {place}: {who}; waits {wait} s for an acknowledgement"));
        }
    }
    for (rule, scope, at) in &said.awaited {
        out.line(&format!(
            "awaited: {rule} of {scope} from {at} on, unless something comes before"
        ));
    }
    for (rule, scope) in &said.over {
        out.line(&format!("over by it: {rule} of {scope}"));
    }
    if wrong.is_empty() && said.awaited.is_empty() && said.over.is_empty() {
        out.line("no rule is about it");
    }
}

/// Who is told of a condition, step by step.
struct Steps {
    route: Option<String>,
    /// Receivers, and how many seconds an acknowledgement is waited for.
    steps: Vec<(Vec<String>, i64)>,
}

fn steps(policy: &Policy, it: &Condition, namespace: &str, at: Timestamp) -> Steps {
    let Some(routed) = policy.route(&it.all_labels(namespace)) else {
        return Steps { route: None, steps: Vec::new() };
    };
    let told = |step: &Step| {
        let receivers = policy.told(step, 0, at).into_iter().map(|(receiver, _)| receiver);
        (receivers.collect(), step.wait.0 / Micros::from_secs(1).0)
    };
    let steps = routed.chain.steps.iter().map(told).collect();
    Steps { route: Some(routed.route), steps }
}
