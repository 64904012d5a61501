//! `dagbok providers …`: a DAG folder's own environment.
use std::path::{Path, PathBuf};

use crate::{
    cli::{InstallProviders, ProvidersCommand},
    codes::Code,
    context::Context,
    environment::{self, Environment},
    exit::Exit,
    failure::{Failure, Outcome},
    folders,
    output::Table,
    python::Python,
};

const PREFIX: &str = "apache-airflow-providers-";

pub(crate) async fn run(context: &Context, command: &ProvidersCommand) -> Outcome {
    let (dags, arguments) = match command {
        ProvidersCommand::Install(args) => (&args.folder.dags, install(args)),
        ProvidersCommand::List(folder) => (&folder.dags, vec!["list".to_owned()]),
        ProvidersCommand::Remove(args) => {
            let names = args.names.iter().cloned();
            (&args.folder.dags, std::iter::once("remove".to_owned()).chain(names).collect())
        }
    };
    let python = Python::find(&context.config).await?;
    let configured = &context.config.processor.dags;
    if matches!(command, ProvidersCommand::List(_)) && dags.is_none() {
        let many = configured.paths().nth(1).is_some();
        for path in configured.paths().filter(|_| many) {
            let path = real(path)?;
            let found = if environment::has_one(&path) {
                environment::ask(&python, &path, &arguments).await?
            } else {
                Environment::none(&path)
            };
            if !context.out.is_json() {
                context.out.line(&format!("{}:", found.folder));
            }
            show(context, &found, many);
        }
        if many {
            return Ok(Exit::Ok);
        }
    }
    let folder = folder(context, dags.as_deref())?;
    if !context.out.is_json() && matches!(command, ProvidersCommand::Install(_)) {
        context
            .out
            .note("looking for versions that go together, and installing what is not here yet");
    }
    let found = environment::ask(&python, &folder, &arguments).await?;
    show(context, &found, false);
    Ok(Exit::Ok)
}

fn install(args: &InstallProviders) -> Vec<String> {
    let mut arguments = vec!["install".to_owned()];
    for (option, files) in
        [("--requirements", &args.requirements), ("--constraints", &args.constraints)]
    {
        arguments.extend(files.iter().map(|file| format!("{option}={file}")));
    }
    if args.upgrade {
        arguments.push("--upgrade".to_owned());
    }
    // After the options, so that no name is taken for one.
    arguments.push("--".to_owned());
    arguments.extend(args.names.iter().cloned());
    arguments
}

fn folder(context: &Context, named: Option<&Path>) -> Result<PathBuf, Failure> {
    let folder = folders::only(&context.config, named)?.ok_or_else(|| {
        Failure::new(Code::NoDagFolder, "no DAG folder is named").next("name one with --dags")
    })?;
    real(folder)
}

fn real(folder: &Path) -> Result<PathBuf, Failure> {
    std::fs::canonicalize(folder).map_err(|error| {
        let what = format!("the DAG folder `{}` can't be read: {error}", folder.display());
        Failure::new(Code::NoDagFolder, what)
    })
}

/// Of one folder, or with `many` of one of several.
fn show(context: &Context, found: &Environment, many: bool) {
    if context.out.is_json() {
        context.out.one_of(many, found);
        return;
    }
    let mut table = Table::new(&["provider", "version"]);
    for (name, version) in &found.providers {
        let short = name.strip_prefix(PREFIX).unwrap_or(name);
        table.row(vec![short.to_owned(), version.clone()]);
    }
    context.out.table(&table, "No providers.");
    if let Some(lock) = &found.lock {
        context.out.line(&format!("{} packages in all, locked in {lock}", found.packages.len()));
    }
    match &found.interpreter {
        Some(interpreter) => context.out.line(&format!("Python: {interpreter}")),
        None if found.lock.is_some() => {
            context
                .out
                .line("The environment is not made here yet: `dagbok providers install` makes it");
        }
        None => {}
    }
    if found.stale {
        context
            .out
            .note("a requirements file has changed since: `dagbok providers install` takes it in");
    }
}
