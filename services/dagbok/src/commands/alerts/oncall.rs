//! `dagbok alerts oncall`: who is on call, by the configuration's schedules.
use dagbok_api::shapes::{OnCallEntry, OnCallResponse};
use dagbok_events::Timestamp;
use dagbok_runtime::Clock;
use serde::Serialize;
use serde_json::json;

use super::check;
use crate::{
    api::Api,
    cli::OnCall,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::Table,
};

#[derive(Debug, Serialize)]
struct Shown {
    schedule: String,
    person: Option<String>,
    receivers: Vec<String>,
}

pub(super) async fn run(context: &Context, args: &OnCall) -> Outcome {
    let (at, shown) = if args.file.is_none() && check::is_elsewhere(context) {
        in_force(context, args).await?
    } else {
        of_file(context, args).await?
    };
    if context.out.is_json() {
        context.out.document(&json!({ "at": at, "schedules": shown }));
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&["schedule", "on call", "reached by"]);
    for one in &shown {
        let person = one.person.clone().unwrap_or_else(|| "nobody".to_owned());
        table.row(vec![one.schedule.clone(), person, one.receivers.join(", ")]);
    }
    context.out.table(&table, "The configuration has no schedules.");
    Ok(Exit::Ok)
}

/// By what the service behind an API has in force.
async fn in_force(context: &Context, args: &OnCall) -> Result<(Timestamp, Vec<Shown>), Failure> {
    let api = Api::of(context).await?;
    let query: Vec<_> = args.at.iter().map(|at| ("at", at.to_string())).collect();
    let OnCallResponse { at, schedules } = api.get(&["dagbok", "alerts", "oncall"], &query).await?;
    let shown = schedules.into_iter().map(|OnCallEntry { schedule, person, receivers }| Shown {
        schedule,
        person,
        receivers,
    });
    Ok((at.0, shown.collect()))
}

/// By a file.
async fn of_file(context: &Context, args: &OnCall) -> Result<(Timestamp, Vec<Shown>), Failure> {
    let at = args.at.map_or_else(|| Clock::system().now(), |at| Timestamp(at.as_microsecond()));
    // What repeats in a calendar is known around the time at which it is read.
    let (_, loaded) = check::loaded_at(context, args.file.as_ref(), Clock::manual(at)).await?;
    let crew = &loaded.policy.crew;
    let shown: Vec<Shown> = crew
        .schedules
        .iter()
        .map(|(name, schedule)| {
            let person = schedule.on_call(at);
            let contacts = person.and_then(|it| crew.people.get(it)).map(|it| &it.contacts);
            let receivers = contacts.into_iter().flatten().map(|it| it.receiver.clone()).collect();
            Shown { schedule: name.clone(), person: person.map(str::to_owned), receivers }
        })
        .collect();
    Ok((at, shown))
}
