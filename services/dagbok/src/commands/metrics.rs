//! `dagbok metrics`: the table of what is counted; what is served beside what the log says; and what was, from the log.
use std::collections::BTreeMap;

use dagbok_metrics::{INSTRUMENTS, Instrument, Kept, Source, find, parse};
use serde::Serialize;
use serde_json::json;

use crate::{
    api::Api,
    cli::{MetricHistory, MetricsCommand, VerifyMetrics},
    codes::Code,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    output::Table,
    services::{Folded, Points},
};

pub(crate) async fn run(context: &Context, command: &MetricsCommand) -> Outcome {
    match command {
        MetricsCommand::Verify(args) => verify(context, args).await,
        MetricsCommand::History(args) => history(context, args).await,
        MetricsCommand::List => {
            list(context);
            Ok(Exit::Ok)
        }
    }
}

fn list(context: &Context) {
    if context.out.is_json() {
        let line = |it: &Instrument| {
            json!({
                "name": it.name, "kind": it.kind.word(), "unit": it.unit, "labels": it.labels,
                "meaning": it.meaning, "facts": it.facts,
            })
        };
        context.out.document(&INSTRUMENTS.iter().map(line).collect::<Vec<_>>());
        return;
    }
    let mut table = Table::new(&["name", "kind", "labels", "what it means"]);
    for it in INSTRUMENTS {
        let labels = it.labels.join(",");
        table.row(vec![it.name.into(), it.kind.word().into(), labels, it.meaning.into()]);
    }
    context.out.table(&table, "nothing");
}

/// A counter that is not what the log says.
#[derive(Debug, Serialize)]
struct Differs {
    series: String,
    served: Option<String>,
    folded: Option<String>,
}

async fn verify(context: &Context, args: &VerifyMetrics) -> Outcome {
    let api = Api::of(context).await?;
    let page = api.text("metrics").await?;
    let (Some(seq), served) = parse(&page) else {
        let what = "the figures of the log are not served: they are still being folded, or it is another service";
        return Err(
            Failure::new(Code::ApiFailed, what).next("try again soon; ask a standalone or a UI")
        );
    };
    let by_task = page.contains("# TYPE dagbok_task_tries_ended_total ");
    let mut query = vec![("seq", seq.to_string()), ("by_task", by_task.to_string())];
    query.extend(args.since.map(|since| ("since", since.to_string())));
    let afresh: Folded = api.beside(&["metrics", "folded"], &query).await?;
    let (_, folded) = parse(&afresh.page);
    let differ = differences(&served, &folded);
    let since = afresh.before.map(|before| rises(&parse(&before).1, &folded));
    if context.out.is_json() {
        let compared = folded.len();
        let said = json!({ "seq": seq, "compared": compared, "differ": differ, "since": since });
        context.out.document(&said);
    } else {
        say(context, seq, folded.len(), &differ, since.as_ref());
    }
    Ok(if differ.is_empty() { Exit::Ok } else { Exit::RunFailed })
}

fn say(
    context: &Context,
    seq: u64,
    compared: usize,
    differ: &[Differs],
    since: Option<&BTreeMap<String, f64>>,
) {
    for it in differ {
        let none = "nothing".to_owned();
        let (served, folded) =
            (it.served.as_ref().unwrap_or(&none), it.folded.as_ref().unwrap_or(&none));
        context.out.line(&format!("{}: {served} is served, the log says {folded}", it.series));
    }
    for (series, by) in since.into_iter().flatten() {
        context.out.line(&format!("{series} +{by}"));
    }
    let same = compared - differ.len().min(compared);
    context
        .out
        .line(&format!("{same} of {compared} series are what the log says up to record {seq}"));
}

fn differences(served: &Kept, folded: &Kept) -> Vec<Differs> {
    let mut differ = Vec::new();
    for (series, folded) in folded {
        let served = served.get(series);
        if served != Some(folded) {
            let (series, folded) = (series.clone(), Some(folded.clone()));
            differ.push(Differs { series, served: served.cloned(), folded });
        }
    }
    for (series, value) in served.iter().filter(|(series, _)| !folded.contains_key(*series)) {
        let (series, served) = (series.clone(), Some(value.clone()));
        differ.push(Differs { series, served, folded: None });
    }
    differ
}

/// What rose, and by how much.
fn rises(before: &Kept, now: &Kept) -> BTreeMap<String, f64> {
    let number = |text: &String| text.parse::<f64>().unwrap_or(0.0);
    let rise = |(series, value): (&String, &String)| {
        let by = number(value) - before.get(series).map_or(0.0, number);
        (by > 0.0).then(|| (series.clone(), by))
    };
    now.iter().filter_map(rise).collect()
}

fn wanted(name: &str) -> Result<&'static Instrument, Failure> {
    let Some(instrument) = find(name) else {
        let like = |it: &&Instrument| strsim::jaro_winkler(name, it.name);
        let best = INSTRUMENTS.iter().max_by(|a, b| like(a).total_cmp(&like(b)));
        let next = best.map_or_else(String::new, |it| format!("do you mean `{}`?", it.name));
        return Err(
            Failure::new(Code::NotFound, format!("no metric is called `{name}`")).next(next)
        );
    };
    if !matches!(instrument.source, Source::Fold | Source::TaskFold) {
        let what = format!("`{name}` is no fold of the run log: it has no history here");
        return Err(Failure::new(Code::NotFound, what).next("ask a Prometheus that scraped it"));
    }
    Ok(instrument)
}

async fn history(context: &Context, args: &MetricHistory) -> Outcome {
    let of = wanted(&args.name)?;
    let mut query = vec![("name", args.name.clone()), ("points", args.points.to_string())];
    query.extend(args.since.map(|since| ("since", since.to_string())));
    let api = Api::of(context).await?;
    let series: BTreeMap<String, Points> = api.beside(&["metrics", "history"], &query).await?;
    if context.out.is_json() {
        let (kind, unit) = (of.kind.word(), of.unit);
        context
            .out
            .document(&json!({ "name": of.name, "kind": kind, "unit": unit, "series": series }));
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(&["series", "at", "value"]);
    for (name, points) in &series {
        for (at, value) in points {
            table.row(vec![name.clone(), at.to_string(), value.to_string()]);
        }
    }
    context.out.table(&table, "the log says nothing of it");
    Ok(Exit::Ok)
}
