//! `dagbok alerts …`: what is wrong, and who was told.
mod again;
mod check;
mod oncall;
mod show;

use std::time::Duration;

use dagbok_api::shapes::{
    AlertChange, AlertCollection, AlertResponse, AlertTest, SilenceBody, SilenceCollection,
    SilenceResponse,
};
use reqwest::Method;
use serde::Serialize;
use serde_json::json;
use tokio::time::Instant;

use crate::{
    api::{Api, Sent},
    cli::{AlertsCommand, AlertsList, ChangeAlert, SilenceAlerts, TestReceiver, TraceAlerts},
    codes::Code,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::Table,
};

/// How often a test's answer is looked for.
const LOOK: Duration = Duration::from_millis(100);

pub(crate) async fn run(context: &Context, command: &AlertsCommand) -> Outcome {
    match command {
        AlertsCommand::List(args) => list(context, args).await,
        AlertsCommand::Show(args) => {
            let found: AlertResponse = get(context, &["alerts", &args.id.to_string()]).await?;
            show::one(context, &found);
            Ok(Exit::Ok)
        }
        AlertsCommand::Ack(args) => change(context, args, "acknowledge").await,
        AlertsCommand::Resolve(args) => change(context, args, "resolve").await,
        AlertsCommand::Silence(args) => silence(context, args).await,
        AlertsCommand::Unsilence(args) => {
            let id = args.id.to_string();
            Api::of(context).await?.delete(&["dagbok", "silences", &id]).await?;
            if context.out.is_json() {
                context.out.document(&json!({ "silence_id": args.id }));
            } else {
                context.out.line(&format!("silence {id} is over"));
            }
            Ok(Exit::Ok)
        }
        AlertsCommand::Silences => silences(context).await,
        AlertsCommand::Test(args) => test(context, args).await,
        AlertsCommand::Check(args) => check::run(context, args).await,
        AlertsCommand::Oncall(args) => oncall::run(context, args).await,
        AlertsCommand::Explain(args) => again::explain(context, args).await,
        AlertsCommand::Backtest(args) => again::backtest(context, args).await,
        AlertsCommand::Trace(args) => trace(context, args).await,
    }
}

async fn get<T: serde::de::DeserializeOwned>(
    context: &Context,
    path: &[&str],
) -> Result<T, Failure> {
    let path: Vec<&str> = std::iter::once("dagbok").chain(path.iter().copied()).collect();
    Api::of(context).await?.get(&path, &[]).await
}

/// Posts and takes the answer.
async fn post<T: serde::de::DeserializeOwned>(
    api: &Api,
    path: &[&str],
    body: &impl Serialize,
) -> Result<T, Failure> {
    let path: Vec<&str> = std::iter::once("dagbok").chain(path.iter().copied()).collect();
    match api.send(Method::POST, &path, body).await? {
        Sent::Done(done) => Ok(done),
        Sent::Accepted(answer) => Err(Failure::new(Code::ApiFailed, answer)),
    }
}

async fn list(context: &Context, args: &AlertsList) -> Outcome {
    let mut query = vec![("limit", args.limit.to_string()), ("offset", args.offset.to_string())];
    query.extend(args.state.iter().map(|state| ("state", state.clone())));
    query.extend(args.dag.iter().map(|dag| ("dag_id", dag.clone())));
    let api = Api::of(context).await?;
    let found: AlertCollection = api.get(&["dagbok", "alerts"], &query).await?;
    if context.out.is_json() {
        context.out.document(&found);
    } else {
        let total = found.total_entries;
        let table = show::table(context.out, &found.alerts);
        context.out.page(&table, "No alerts.", found.alerts.len(), args.offset, total);
    }
    Ok(Exit::Ok)
}

async fn change(context: &Context, args: &ChangeAlert, what: &str) -> Outcome {
    let api = Api::of(context).await?;
    let body = AlertChange { note: args.note.clone() };
    let id = args.id.to_string();
    let changed: AlertResponse = post(&api, &["alerts", &id, what], &body).await?;
    if context.out.is_json() {
        context.out.document(&changed);
    } else {
        context.out.line(&format!("alert {id} is {}: {}", changed.state, changed.summary));
    }
    Ok(Exit::Ok)
}

async fn silence(context: &Context, args: &SilenceAlerts) -> Outcome {
    let period = jiff::SignedDuration::try_from(args.period.0)
        .map_err(|error| Failure::new(Code::Usage, error))?;
    let until = dagbok_runtime::Clock::system()
        .now()
        .to_jiff()
        .checked_add(period)
        .map_err(|error| Failure::new(Code::Usage, error))?;
    let body = SilenceBody {
        matchers: args.matchers.clone(),
        until: until.to_string(),
        reason: args.reason.clone(),
    };
    let api = Api::of(context).await?;
    let made: SilenceResponse = post(&api, &["silences"], &body).await?;
    if context.out.is_json() {
        context.out.document(&made);
    } else {
        let (id, until) = (made.silence_id, made.until.0);
        context
            .out
            .line(&format!("silence {id} holds until {until}: {}", made.matchers.join(", ")));
    }
    Ok(Exit::Ok)
}

async fn silences(context: &Context) -> Outcome {
    let found: SilenceCollection = get(context, &["silences"]).await?;
    if context.out.is_json() {
        context.out.document(&found);
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&["silence", "holds", "until", "matchers", "by", "reason"]);
    for silence in &found.silences {
        table.row(vec![
            silence.silence_id.to_string(),
            if silence.active { "yes" } else { "no" }.to_owned(),
            context.out.time(silence.until.0),
            silence.matchers.join(", "),
            silence.by.clone(),
            silence.reason.clone(),
        ]);
    }
    context.out.table(&table, "No silences.");
    Ok(Exit::Ok)
}

/// Tests a receiver by the real way; ends well only where the provider took it.
async fn test(context: &Context, args: &TestReceiver) -> Outcome {
    let api = Api::of(context).await?;
    let body = AlertTest { receiver: args.receiver.clone() };
    let mut alert: AlertResponse = post(&api, &["alerts", "test"], &body).await?;
    let id = alert.alert_id.to_string();
    let until = Instant::now() + args.timeout.0;
    let over = |alert: &AlertResponse| {
        alert.notifications.iter().any(|it| matches!(it.state.as_str(), "accepted" | "rejected"))
    };
    while !over(&alert) && Instant::now() < until {
        tokio::time::sleep(LOOK).await;
        alert = api.get(&["dagbok", "alerts", &id], &[]).await?;
    }
    show::one(context, &alert);
    let accepted = alert.notifications.iter().any(|it| it.state == "accepted");
    if accepted {
        return Ok(Exit::Ok);
    }
    let mut why =
        alert.notifications.iter().flat_map(|it| &it.attempts).filter_map(|it| it.why.clone());
    let why = why.next_back().unwrap_or_else(|| "it has not answered".to_owned());
    let failure = Failure::new(Code::Refused, format!("{} did not take it: {why}", args.receiver));
    Err(failure.next("mend the receiver in alerting.toml, and test it again"))
}

async fn trace(context: &Context, args: &TraceAlerts) -> Outcome {
    let (dag, run) = (args.dag_id.as_str(), args.run_id.as_str());
    let found: AlertCollection = get(context, &["runs", dag, run, "told"]).await?;
    if context.out.is_json() {
        context.out.document(&found);
        return Ok(Exit::Ok);
    }
    if found.alerts.is_empty() {
        context.out.line(&format!("No alert is about {dag}/{run}."));
    }
    for alert in &found.alerts {
        show::one(context, alert);
    }
    Ok(Exit::Ok)
}
