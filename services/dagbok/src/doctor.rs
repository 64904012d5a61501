//! `dagbok doctor`: checks what the services need, and says what to do about each finding.
//!
//! With `--json` one object: `ok`, whether nothing must be mended, and `findings`, a list of `check`,
//! `status` (`ok`, `warning`, `error`), `message` and `next`. Exit code 8 where something must be mended.
//! It asks the API that is named, else the one of this machine. It only reads, but for what two flags ask for: `--repair` writes a record for each entry on the
//! log that is no record, `--write` an object to the object store, which it deletes again.
mod alerting;
mod broker;
mod clock;
mod entries;
mod installation;
mod machine;
mod objects;
mod software;

use serde::Serialize;

use crate::{
    cli::{Doctor, Global},
    codes::Code,
    context::{Context, Flags, nats_flags},
    exit::Exit,
    failure::{Failure, Outcome},
    folders::push_folders,
    output::{state_style, styled},
};

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// As it should be.
    Ok,
    /// It works, and could be better.
    Warning,
    /// It must be mended.
    Error,
}

impl Status {
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that was checked.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Finding {
    check: &'static str,
    status: Status,
    message: String,
    /// What to do; null where nothing is to be done.
    next: Option<String>,
}

impl Finding {
    pub(crate) fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, status: Status::Ok, message: message.into(), next: None }
    }

    pub(crate) fn warning(
        check: &'static str,
        message: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self { check, status: Status::Warning, message: message.into(), next: Some(next.into()) }
    }

    pub(crate) fn error(
        check: &'static str,
        message: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self { check, status: Status::Error, message: message.into(), next: Some(next.into()) }
    }

    /// A failure as the service itself would tell it.
    pub(crate) fn failed(check: &'static str, failure: &Failure) -> Self {
        let message = format!("{failure} [{}]", failure.code());
        let next = failure.what_next().map_or_else(
            || format!("`dagbok explain {}` says more", failure.code()),
            str::to_owned,
        );
        Self::error(check, message, next)
    }
}

pub(crate) async fn run(global: &Global, args: &Doctor) -> Outcome {
    let mut flags: Flags = nats_flags(&args.nats)?;
    push_folders(&mut flags, &args.dags)?;
    let context = Context::new(global, flags)?;
    let (home, newest) = machine::home(&context).await;
    let mut findings =
        vec![software::build(), clock::alone(newest), machine::open_files(), machine::isolation()];
    findings.extend(home);
    findings.extend(software::python(&context.config).await);
    findings.extend(software::airflow(&context.config).await);
    findings.extend(machine::dag_folders(&context));
    findings.extend(software::environments(&context.config).await);
    let asks_for_nats = !args.nats.nats.is_empty() || args.nats.namespace.is_some();
    if asks_for_nats || context.config.nats != dagbok_config::Nats::default() {
        findings.extend(
            broker::check(&context.config.nats, &context.config.executor.queues, args).await,
        );
    } else if args.repair {
        let why = "--repair is about a log on NATS: name it with --nats and --namespace";
        return Err(Failure::new(Code::Usage, why));
    }
    findings.extend(objects::check(&context.config, args.write).await);
    let is_named = context.named_api().is_some();
    // Who names a folder asks about that, unless an API is named too.
    let (found, answers) = if is_named || !context.names_home() {
        installation::check(&context, is_named).await
    } else {
        (Vec::new(), false)
    };
    findings.extend(found);
    if !answers {
        findings.extend(alerting::check(&context));
    }
    let ok = findings.iter().all(|finding| finding.status != Status::Error);
    if context.out.is_json() {
        context.out.document(&serde_json::json!({ "ok": ok, "findings": findings }));
    } else {
        for finding in &findings {
            let word = finding.status.word();
            let mark = styled(state_style(word), &format!("{word:<7}"));
            context.out.line(&format!("{mark}  {:<10} {}", finding.check, finding.message));
            if let Some(next) = &finding.next {
                context.out.line(&format!("{:21}next: {next}", ""));
            }
        }
    }
    Ok(if ok { Exit::Ok } else { Exit::Setup })
}
