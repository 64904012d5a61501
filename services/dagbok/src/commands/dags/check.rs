//! `dagbok dags check`: a DAG folder as a processor would read it, for people and for their CI.
use std::collections::BTreeMap;

use dagbok_domain::namespace::spec_fault;
use dagbok_events::{DagId, TaskId};
use dagbok_processor::{ParsedFile, parse_all};
use dagbok_protocol::ImportError;
use dagbok_runtime::Clock;
use serde_json::{Value, json};

use super::local::{not_carried_out, reader};
use crate::{
    cli::CheckDags,
    codes::Code,
    context::Context,
    exit::Exit,
    failure::{Failure, Outcome},
    folders::named_or_configured,
};

pub(crate) async fn check(context: &Context, args: &CheckDags) -> Outcome {
    let next = "`dagbok dags check FOLDER`";
    let folders = named_or_configured(&context.config, &args.folders, next)?;
    let several = folders.len() > 1;
    let mut files = Vec::new();
    for folder in folders {
        let (_, settings) = reader(context, folder.clone()).await?;
        let parsed = parse_all(&settings, &Clock::system()).await;
        let parsed = parsed.map_err(|error| Failure::from_error(Code::NoDagFolder, &error))?;
        for mut file in parsed {
            file.refuse(spec_fault);
            if several {
                // Two folders may each have a file of one name.
                file.file = folder.join(&file.file).display().to_string();
            }
            files.push(file);
        }
    }
    refuse_twins(&mut files);
    let failed = files.iter().any(|file| !file.errors.is_empty());
    if context.out.is_json() {
        context.out.document(&document(&files));
    } else {
        print(context, &files);
    }
    Ok(if failed { Exit::BadDag } else { Exit::Ok })
}

/// Two files that define a DAG of one id: which of them would be in force is chance, so each is told of the other.
fn refuse_twins(files: &mut [ParsedFile]) {
    let mut found: BTreeMap<DagId, Vec<(usize, u32)>> = BTreeMap::new();
    for (at, file) in files.iter().enumerate() {
        for dag in &file.dags {
            found.entry(dag.spec.dag_id.clone()).or_default().push((at, dag.spec.source.line));
        }
    }
    for (dag_id, places) in found.into_iter().filter(|(_, places)| places.len() > 1) {
        let name = |(at, line): &(usize, u32)| match line {
            0 => files[*at].file.clone(),
            line => format!("{}:{line}", files[*at].file),
        };
        let names: Vec<String> = places.iter().map(name).collect();
        for (place, own) in places.iter().zip(&names) {
            let others: Vec<&str> =
                names.iter().filter(|it| *it != own).map(String::as_str).collect();
            let message = format!(
                "DAG {dag_id} is defined in {} too; give one of them another id, or take one out",
                others.join(" and ")
            );
            files[place.0].errors.push(ImportError {
                line: (place.1 > 0).then_some(place.1),
                exception: "AirflowDagDuplicatedIdException".to_owned(),
                message,
                traceback: String::new(),
            });
        }
    }
}

/// What of a file's DAGs is not carried out, each with its DAG and in a sentence.
fn ignored(file: &ParsedFile) -> impl Iterator<Item = (&str, String)> {
    file.dags.iter().flat_map(|dag| {
        let told = dag.spec.not_carried_out.iter();
        told.map(move |it| {
            let task = it.task_id.as_ref().map(TaskId::as_str);
            (dag.spec.dag_id.as_str(), not_carried_out(&it.what, task, it.more, it.line))
        })
    })
}

fn document(files: &[ParsedFile]) -> Value {
    let (mut errors, mut otherwise, mut warnings) = (Vec::new(), Vec::new(), Vec::new());
    for file in files {
        errors.extend(file.errors.iter().map(|error| {
            json!({ "file": file.file, "line": error.line, "exception": error.exception, "message": error.message })
        }));
        otherwise
            .extend(ignored(file).map(
                |(dag_id, what)| json!({ "file": file.file, "dag_id": dag_id, "what": what }),
            ));
        warnings.extend(
            file.warnings.iter().map(|message| json!({ "file": file.file, "message": message })),
        );
    }
    json!({
        "ok": errors.is_empty(),
        "files": files.len(),
        "dags": files.iter().map(|file| file.dags.len()).sum::<usize>(),
        "errors": errors,
        "not_carried_out": otherwise,
        "warnings": warnings,
    })
}

fn print(context: &Context, files: &[ParsedFile]) {
    let out = context.out;
    let (mut errors, mut otherwise) = (0, 0);
    for file in files {
        for error in &file.errors {
            errors += 1;
            let line = error.line.map(|line| format!(":{line}")).unwrap_or_default();
            out.line(&format!("{}{line}: {}: {}", file.file, error.exception, error.message));
        }
        for (dag_id, what) in ignored(file) {
            otherwise += 1;
            out.line(&format!("{}: DAG `{dag_id}`: not carried out: {what}", file.file));
        }
        for warning in &file.warnings {
            out.line(&format!("{}: {warning}", file.file));
        }
    }
    let dags: usize = files.iter().map(|file| file.dags.len()).sum();
    let said = |count: usize, one: &str, many: &str| {
        format!("{count} {}", if count == 1 { one } else { many })
    };
    out.line(&format!(
        "{}, {}, {}, {} otherwise here",
        said(files.len(), "file", "files"),
        said(dags, "DAG", "DAGs"),
        said(errors, "error", "errors"),
        said(otherwise, "thing", "things"),
    ));
}
