//! `dagbok dags show FILE|DAG_ID`; with `--json` one object: `dag_id`, `schedule` (as written, or null),
//! `start_date`, `catchup`, `max_active_runs`, `max_consecutive_failed_dag_runs`, `paused`, `tags`, `owner`, and `tasks`, a list of `task_id`,
//! `operator`, `downstream` (sorted), `trigger_rule`, `retries`, `is_mapped`, `group`; `not_carried_out`, a
//! list of `what`, `task_id`, `more`, `line`; `missed`, where promised runs are not there; of a file also `refused`, a list of `file`, `line`, `exception`,
//! `message`. It ends with 7 where something of a file was refused, unless `--dag` asked for one DAG alone.
use dagbok_api::shapes::{
    DEFAULT_OWNER, DagDetails, MissedRuns, NotCarriedOut, PausedWhy, TaskCollection,
};
use dagbok_events::{DagSpec, Timestamp};
use serde::Serialize;

use super::local::{Found, Refused, find, find_configured, not_carried_out};
use crate::{
    api::Api,
    cli::Show,
    codes::Code,
    commands::hints::Hints,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    handles::{self, For},
    output::{Out, Table, program},
};

pub(crate) async fn show(context: &Context, args: &Show) -> Outcome {
    let mut exit = Exit::Ok;
    let many = args.what.len() > 1;
    for (at, what) in args.what.iter().enumerate() {
        let (shown, ended) = one(context, args, what).await?;
        exit = if exit == Exit::Ok { ended } else { exit };
        if context.out.is_json() {
            context.out.one_of(many, &shown);
        } else {
            if at > 0 {
                context.out.line("");
            }
            shown.print(context.out);
        }
    }
    Ok(exit)
}

async fn one(context: &Context, args: &Show, what: &str) -> Result<(Shown, Exit), Failure> {
    match find(context, what, args.dags.as_deref(), args.dag.as_deref()).await? {
        Found::Here(local) => {
            let shown = Shown { refused: local.refused(), ..Shown::of_spec(&local.spec) };
            Ok((shown, local.exit(args.dag.as_deref())))
        }
        Found::Elsewhere => match of_api(context, what).await {
            Err(failure) if failure.code() == Code::ApiUnreachable => {
                Ok((of_folder(context, what, failure).await?, Exit::Ok))
            }
            shown => Ok((shown?, Exit::Ok)),
        },
    }
}

#[derive(Debug, Serialize)]
struct Shown {
    dag_id: String,
    schedule: Option<String>,
    start_date: Option<Timestamp>,
    catchup: bool,
    max_active_runs: Option<u32>,
    max_consecutive_failed_dag_runs: u32,
    /// For eyes; the API has it.
    #[serde(skip)]
    is_paused: bool,
    paused: Option<PausedWhy>,
    tags: Vec<String>,
    owner: String,
    tasks: Vec<ShownTask>,
    not_carried_out: Vec<NotCarriedOut>,
    refused: Vec<Refused>,
    /// The promises that were broken last; null where none was, or nobody keeps any.
    #[serde(skip_serializing_if = "Option::is_none")]
    missed: Option<MissedRuns>,
    /// What keeps the next run, and what to type, for eyes.
    #[serde(skip)]
    hints: Hints,
    /// Whether its file can't be read as it is now.
    #[serde(skip)]
    has_import_errors: bool,
}

#[derive(Debug, Serialize)]
struct ShownTask {
    task_id: String,
    operator: String,
    downstream: Vec<String>,
    trigger_rule: String,
    retries: u32,
    is_mapped: bool,
    group: Option<String>,
}

impl Shown {
    fn of_spec(spec: &DagSpec) -> Self {
        let mut tasks: Vec<ShownTask> = spec.tasks.iter().map(ShownTask::of_spec).collect();
        for task in &spec.tasks {
            for upstream in &task.upstream {
                // The parser's word, so that a wrong place is passed over and not a crash.
                if let Some(upstream) = tasks.get_mut(*upstream as usize) {
                    upstream.downstream.push(task.task_id.to_string());
                }
            }
        }
        for task in &mut tasks {
            task.downstream.sort();
        }
        Self {
            dag_id: spec.dag_id.to_string(),
            schedule: spec.schedule.text.clone(),
            start_date: spec.start_date,
            catchup: spec.catchup,
            max_active_runs: Some(spec.max_active_runs),
            max_consecutive_failed_dag_runs: spec.max_consecutive_failed_dag_runs,
            is_paused: false,
            paused: None,
            tags: spec.tags.clone(),
            owner: owner_or_default(&spec.owner),
            tasks,
            not_carried_out: spec.not_carried_out.iter().map(Into::into).collect(),
            refused: Vec::new(),
            missed: None,
            hints: Hints::default(),
            has_import_errors: false,
        }
    }

    fn paused_text(&self, out: Out) -> String {
        match &self.paused {
            Some(why) => paused_text(out, why),
            None if self.is_paused => "since it was first seen".to_owned(),
            None => "no".to_owned(),
        }
    }

    fn failed_runs(&self) -> Option<String> {
        let most = self.max_consecutive_failed_dag_runs;
        (most > 0).then(|| format!("paused after {most} in a row"))
    }

    fn print(&self, out: Out) {
        out.line(&self.dag_id);
        for (name, text) in [
            ("schedule", self.schedule.clone()),
            ("start date", self.start_date.map(|at| out.time(at))),
            ("catchup", Some(self.catchup.to_string())),
            ("active runs", self.max_active_runs.map(|n| format!("at most {n}"))),
            ("failed runs", self.failed_runs()),
            ("paused", Some(self.paused_text(out))),
            ("tags", Some(self.tags.join(", ")).filter(|tags| !tags.is_empty())),
            ("owner", Some(self.owner.clone()).filter(|owner| !owner.is_empty())),
        ] {
            out.line(&format!("  {name:<12} {}", text.as_deref().unwrap_or("none")));
        }
        for (at, why) in self.hints.why.iter().enumerate() {
            out.line(&format!("  {:<12} {why}", if at == 0 { "next run" } else { "" }));
        }
        if let Some(missed) = &self.missed {
            out.line(&format!("  {:<12} {}", "missed", missed_text(out, missed)));
        }
        if self.has_import_errors {
            let errors = format!("{} dags errors", program());
            out.line(&format!("  {:<12} can't be read as it is now: `{errors}`", "file"));
        }
        out.line("");
        let mut table =
            Table::new(&["task", "operator", "trigger rule", "retries", "group", "downstream"]);
        for task in &self.tasks {
            table.row(vec![
                task.task_id.clone(),
                task.operator.clone(),
                task.trigger_rule.clone(),
                task.retries.to_string(),
                task.group.clone().unwrap_or_default(),
                task.downstream.join(", "),
            ]);
        }
        out.table(&table, "No tasks.");
        if !self.not_carried_out.is_empty() {
            out.line("");
            out.line("Not carried out:");
            for it in &self.not_carried_out {
                let task_id = it.task_id.as_deref();
                out.line(&format!("  {}", not_carried_out(&it.what, task_id, it.more, it.line)));
            }
        }
        if !self.refused.is_empty() {
            out.line("");
            for refused in &self.refused {
                out.line(&refused.to_string());
            }
        }
        self.hints.print_next(out);
    }
}

impl ShownTask {
    fn of_spec(task: &dagbok_events::TaskSpec) -> Self {
        let rule = serde_json::to_value(task.trigger_rule).expect("an enum of words is JSON");
        Self {
            task_id: task.task_id.to_string(),
            operator: task.operator.clone(),
            downstream: Vec::new(),
            trigger_rule: rule.as_str().unwrap_or_default().to_owned(),
            retries: task.retries.into(),
            is_mapped: task.is_mapped,
            group: task.group.clone(),
        }
    }
}

/// Where no installation answers: of the configured folder, unless one was asked for by its address.
async fn of_folder(context: &Context, dag_id: &str, failure: Failure) -> Result<Shown, Failure> {
    let found = match context.named_api() {
        Some(_) => find(context, dag_id, None, None).await?,
        None => find_configured(context, dag_id, None).await?,
    };
    match found {
        Found::Here(local) => {
            let folder = local.settings.folder.display();
            context.out.note(&format!("no API answers at {}; as `{folder}` has it", context.api()));
            Ok(Shown::of_spec(&local.spec))
        }
        Found::Elsewhere => Err(failure.next(
            "start an installation, name another with --api or --home, or a DAG folder with --dags",
        )),
    }
}

async fn of_api(context: &Context, dag_id: &str) -> Result<Shown, Failure> {
    let api = Api::of(context).await?;
    let dag_id = handles::dag(context, &api, dag_id, For::Reading).await?;
    let dag_id = dag_id.as_str();
    let hints = Hints::of_dag(context, &api, dag_id).await;
    let details: DagDetails = api.get(&["dags", dag_id, "details"], &[]).await?;
    let tasks: TaskCollection = api.get(&["dags", dag_id, "tasks"], &[]).await?;
    let tasks = tasks.tasks.into_iter().map(|task| {
        let mut downstream = task.downstream_task_ids.unwrap_or_default();
        downstream.sort();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small count that Airflow shows as a float"
        )]
        let retries = task.retries.unwrap_or_default() as u32;
        ShownTask {
            task_id: task.task_id.unwrap_or_default(),
            operator: task.operator_name.unwrap_or_default(),
            downstream,
            trigger_rule: task.trigger_rule.unwrap_or_default(),
            retries,
            is_mapped: task.is_mapped.unwrap_or_default(),
            group: task.dagbok.group,
        }
    });
    Ok(Shown {
        tasks: tasks.collect(),
        dag_id: details.dag.dag_id,
        schedule: details.dag.timetable_summary,
        start_date: details.start_date.map(|at| at.0),
        catchup: details.catchup,
        max_active_runs: details.dag.max_active_runs,
        max_consecutive_failed_dag_runs: details.dag.max_consecutive_failed_dag_runs,
        is_paused: details.dag.is_paused,
        paused: details.dag.dagbok.paused.clone(),
        tags: details.dag.tags.into_iter().map(|tag| tag.name).collect(),
        owner: details.dag.owners.join(", "),
        not_carried_out: details.dag.dagbok.not_carried_out,
        refused: Vec::new(),
        missed: details.dag.dagbok.missed,
        hints,
        has_import_errors: details.dag.has_import_errors,
    })
}

fn missed_text(out: Out, missed: &MissedRuns) -> String {
    let (first, last) = (out.time(missed.first.0), out.time(missed.last.0));
    let why = missed.why.replace('_', " ");
    match missed.count {
        1 => format!("the run of {first}: {why}"),
        count => format!("{count} runs, of {first} to {last}: {why}"),
    }
}

fn paused_text(out: Out, why: &PausedWhy) -> String {
    let reason = why.reason.as_ref().map(|reason| format!(": {reason}"));
    format!("by {} since {}{}", why.by, out.time(why.since.0), reason.unwrap_or_default())
}

fn owner_or_default(owner: &str) -> String {
    if owner.is_empty() { DEFAULT_OWNER.to_owned() } else { owner.to_owned() }
}
