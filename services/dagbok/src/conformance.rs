//! `dagbok executor conformance`: whether an executor, whoever wrote it, does what the protocol asks for. With `--json`
//! an object of `cases` (`case`, `passed`, `why`, `about`) and `passed`.
//!
//! It plays the scheduler in a namespace of its own, on a real broker, and looks at what reaches it: no word of the
//! executor's is believed where what it does can be seen.
mod cases;
mod process;
mod stage;

use std::time::Duration;

use dagbok_events::QueueName;
use dagbok_inbox::INBOX_LEASE;
use dagbok_protocol::names;
use dagbok_runlog::{PortError, Ports, QueueSettings, Seq};
use dagbok_runlog_jetstream::Connection;
use dagbok_runtime::fresh_id;
use serde_json::json;

use cases::Case;
use process::Started;
use stage::Stage;

use crate::{
    cli::{ConformanceArgs, Global},
    codes::Code,
    context::{Context, nats_flags},
    exit::Exit,
    failure::{Failure, Outcome},
    wire,
};

/// Runs the suite.
pub(crate) async fn run(global: &Global, args: &ConformanceArgs) -> Outcome {
    let mut nats = args.nats.clone();
    let own = nats.namespace.is_none();
    let fresh = || format!("conformance-{}", fresh_id());
    let namespace = nats.namespace.get_or_insert_with(fresh).clone();
    let context = Context::new(global, nats_flags(&nats)?)?;
    let chosen = chosen(&args.only)?;
    let queue = QueueName::new(args.queue.as_str()).map_err(|error| {
        Failure::from_error(Code::Usage, &error).next("choose another with --queue")
    })?;
    // A namespace that is thrown away has no place on an object store.
    let mut config = context.config.clone();
    config.blobs = dagbok_config::Blobs::default();
    config.logging = dagbok_config::Logging::default();
    let (ports, connection) = wire::connect(&config, "scheduler", false).await?;
    if !own {
        must_be_unused(&ports, &namespace).await?;
    }
    let folder =
        tempfile::tempdir().map_err(|error| Failure::from_error(Code::HomeUnusable, &error))?;
    let patience = args.patience.map_or(Duration::from_secs(30), |patience| patience.0);
    let stage = Stage::open(ports, queue, patience, folder.path().join("witness")).await;
    let stage = stage.map_err(|error| Failure::from_error(Code::BrokerUnreachable, &error))?;
    let urls = context.config.nats.urls.join(",");
    let meant = [("nats", urls.as_str()), ("namespace", &namespace), ("queue", &args.queue)];
    let mut started = if args.command.is_empty() {
        let note = format!(
            "start the executor now: namespace {namespace}, queue {}, NATS {urls}",
            args.queue
        );
        context.out.note(&note);
        None
    } else {
        Some(Started::start(&args.command, meant, folder.path().join("said"))?)
    };
    let passed = tokio::select! {
        passed = all(&context, &stage, started.as_mut(), &chosen) => Some(passed),
        // What was made for it is taken away all the same.
        _ = dagbok_runtime::stop_signals() => None,
    };
    if let Some(started) = &mut started {
        started.end().await;
    }
    drop(stage);
    if own {
        take_away(&context, &connection, &namespace).await;
    }
    Ok(match passed {
        Some(true) => Exit::Ok,
        Some(false) => Exit::RunFailed,
        None => Exit::Interrupted,
    })
}

/// The suite answers every command of its namespace, and keeps none: in one that a scheduler serves, or will serve, they
/// would be lost.
async fn must_be_unused(ports: &Ports, namespace: &str) -> Result<(), Failure> {
    let unread = |error: PortError| Failure::from_error(Code::BrokerUnreachable, &error);
    let used = if ports.log.last().await.map_err(unread)? > Seq(0) {
        Some("its log has records")
    } else if ports.state.get(names::SCHEDULER_LEASE).await.map_err(unread)?.is_some() {
        Some("a scheduler leads there")
    } else {
        let settings = QueueSettings { lease: INBOX_LEASE };
        let inbox = ports.queues.open(names::INBOX, settings).await.map_err(unread)?;
        let waits = inbox.depth().await.map_err(unread)? > 0;
        waits.then_some("commands wait in its inbox")
    };
    let Some(why) = used else { return Ok(()) };
    let what = format!(
        "the namespace {namespace} is in use ({why}): the suite would answer its commands and keep none"
    );
    Err(Failure::new(Code::Refused, what).next(
        "leave out --namespace, for one that is made for it, or use a NATS server that has nothing; start the executor afterwards",
    ))
}

async fn take_away(context: &Context, connection: &Connection, namespace: &str) {
    let all = connection.namespaces().await.unwrap_or_default();
    for it in all.iter().filter(|it| it.name == namespace) {
        if let Err(error) = connection.delete_namespace(it).await {
            context.out.note(&format!("the namespace {namespace} is left: {error}"));
        }
    }
}

/// The cases that are named; all where none is.
fn chosen(names: &[String]) -> Result<Vec<Case>, Failure> {
    if names.is_empty() {
        return Ok(Case::ALL.to_vec());
    }
    let found = names.iter().map(|wanted| {
        Case::ALL.into_iter().find(|case| case.name() == wanted).ok_or_else(|| {
            let all: Vec<&str> = Case::ALL.iter().map(|case| case.name()).collect();
            Failure::new(Code::Usage, format!("there is no case `{wanted}`"))
                .next(format!("the cases are {}", all.join(", ")))
        })
    });
    let mut cases: Vec<Case> = found.collect::<Result<_, _>>()?;
    // The last one ends the executor, in whichever order they are named.
    cases.sort_by_key(|case| Case::ALL.iter().position(|it| it == case));
    Ok(cases)
}

/// Tries one after the other, and tells what came of each; whether all passed.
async fn all(
    context: &Context,
    stage: &Stage,
    mut started: Option<&mut Started>,
    chosen: &[Case],
) -> bool {
    let out = context.out;
    let (mut told, mut passed) = (Vec::new(), true);
    for case in chosen {
        let over = started.as_mut().and_then(|it| it.over());
        let verdict = match over {
            Some(why) => Err(why),
            None => Box::pin(case.run(stage, started.as_deref_mut())).await,
        };
        passed &= verdict.is_ok();
        let why = verdict.err();
        if out.is_json() {
            told.push(json!({ "case": case.name(), "passed": why.is_none(), "why": why, "about": case.about() }));
        } else {
            let word = if why.is_none() { "pass" } else { "FAIL" };
            out.line(&format!(
                "{word}  {:<13}  {}",
                case.name(),
                why.as_deref().unwrap_or(case.about())
            ));
        }
        if why.is_some()
            && let Err(error) = stage.clear().await
        {
            out.note(&format!("what the case left can't be taken away: {error}"));
        }
    }
    if out.is_json() {
        out.document(&json!({ "cases": told, "passed": passed }));
    } else if !passed && let Some(started) = &started {
        out.note(&format!("the executor said last:\n{}", started.last_words()));
    }
    passed
}
