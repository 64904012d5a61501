//! DAGs of files on this machine, without any service.
use std::path::{Path, PathBuf};

use dagbok_domain::namespace::spec_fault;
use dagbok_events::{DagSpec, NotCarriedOut, TaskId};
use dagbok_processor::{
    ParsedFile, ProcessorSettings, find_once, modules_in, parse_once, project_around,
};
use dagbok_protocol::ImportError;
use dagbok_runtime::Clock;
use dagbok_zipped::{is_zip, splits};

use serde::Serialize;

use super::way_there;
use crate::{
    codes::Code, context::Context, exit::Exit, failure::Failure, python::Python, services,
};

/// Where a DAG was found.
#[derive(Debug)]
pub(crate) enum Found {
    /// In a file here.
    Here(Box<LocalDag>),
    /// It is no file, and no folder was named: an installation may know it.
    Elsewhere,
}

/// A DAG of a file here, and what reads that file.
#[derive(Debug)]
pub(crate) struct LocalDag {
    pub(crate) spec: DagSpec,
    /// All that its file has.
    pub(crate) parsed: ParsedFile,
    pub(crate) python: Python,
    pub(crate) settings: ProcessorSettings,
}

impl LocalDag {
    /// What of the file can't be read, a line for each with its place.
    pub(crate) fn refused(&self) -> Vec<Refused> {
        let file = &self.parsed.file;
        let refused = |error: &ImportError| Refused {
            file: file.clone(),
            line: error.line,
            exception: error.exception.clone(),
            message: error.message.clone(),
        };
        self.parsed.errors.iter().map(refused).collect()
    }

    /// How a command ends that did what was asked for: beside a DAG that was not named, the file's other ones
    /// count as well.
    pub(crate) fn exit(&self, dag_id: Option<&str>) -> Exit {
        if dag_id.is_none() && !self.parsed.errors.is_empty() { Exit::BadDag } else { Exit::Ok }
    }

    /// What of the DAG is not carried out, a line for each with its place.
    pub(crate) fn not_carried_out(&self) -> Vec<String> {
        let shown = |it: &NotCarriedOut| {
            not_carried_out(&it.what, it.task_id.as_ref().map(TaskId::as_str), it.more, it.line)
        };
        self.spec.not_carried_out.iter().map(shown).collect()
    }
}

/// In a sentence for people.
pub(crate) fn not_carried_out(what: &str, task_id: Option<&str>, more: u32, line: u32) -> String {
    let line = if line > 0 { format!("line {line}: ") } else { String::new() };
    let task = task_id.map(|task_id| format!(" (task `{task_id}`")).unwrap_or_default();
    let more = match (task.is_empty(), more) {
        (true, _) => "",
        (false, 0) => ")",
        (false, more) => &format!(" and {more} more)"),
    };
    format!("{line}{what}{task}{more}")
}

/// A DAG of the file, or the file itself, that can't be read.
#[derive(Debug, Serialize)]
pub(crate) struct Refused {
    file: String,
    line: Option<u32>,
    exception: String,
    message: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { file, line, exception, message } = self;
        let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
        write!(f, "{file}{line}: refused: {exception}: {message}")
    }
}

/// Finds what a person named: a file, or the id of a DAG in the folder `dags`.
pub(crate) async fn find(
    context: &Context,
    what: &str,
    dags: Option<&Path>,
    dag_id: Option<&str>,
) -> Result<Found, Failure> {
    let path = Path::new(what);
    let looks_like_a_file =
        path.extension().is_some_and(|extension| extension == "py") || what.contains('/');
    if !looks_like_a_file && !path.is_file() {
        if let Some(other) = dag_id.filter(|id| *id != what) {
            let why = format!("`{what}` names a DAG, and --dag another: `{other}`");
            return Err(Failure::new(Code::Usage, why).next("--dag chooses one of a file's DAGs"));
        }
        let Some(folder) = dags else { return Ok(Found::Elsewhere) };
        return in_folder(context, folder, what).await.map(|dag| Found::Here(Box::new(dag)));
    }
    let (folder, file) = place(path, dags)?;
    let (python, settings) = reader(context, folder).await?;
    let mut parsed =
        parse_once(&settings.python, &settings.folder, &file, settings.parse_timeout).await;
    parsed.refuse(spec_fault);
    let spec = choose(what, &parsed, dag_id)?;
    Ok(Found::Here(Box::new(LocalDag { spec, parsed, python, settings })))
}

/// Finds a DAG by its id in the folders that are configured, one after the other.
pub(crate) async fn find_configured(
    context: &Context,
    dag_id: &str,
    dag: Option<&str>,
) -> Result<Found, Failure> {
    let (mut missing, mut trouble) = (None, None);
    for folder in context.config.processor.dags.paths() {
        match find(context, dag_id, Some(folder), dag).await {
            Err(failure) if failure.code() == Code::NoSuchDag => missing = Some(failure),
            // Another folder may have it all the same.
            Err(failure) => trouble = trouble.or(Some(failure)),
            found => return found,
        }
    }
    if let Some(failure) = trouble {
        return Err(failure);
    }
    let folders = &context.config.processor.dags;
    match missing {
        Some(_) if folders.paths().nth(1).is_some() => {
            let all = folders.paths().map(|path| format!("`{}`", path.display()));
            let all = all.collect::<Vec<_>>().join(" and ");
            let what = format!("no file in {all} has a DAG `{dag_id}`");
            Err(Failure::new(Code::NoSuchDag, what)
                .next("`dagbok dags show FILE` shows what a file has, or why it can't be read"))
        }
        Some(failure) => Err(failure),
        None => find(context, dag_id, None, dag).await,
    }
}

/// The folder and the file's path in it: the named one, the project that it is a DAG file of, or its own.
pub(in crate::commands) fn place(
    path: &Path,
    dags: Option<&Path>,
) -> Result<(PathBuf, String), Failure> {
    let unreadable = |path: &Path, error: std::io::Error| {
        Failure::new(Code::NotFound, format!("`{}` can't be read: {error}", path.display()))
    };
    let (path, module) = zip_and_module(path)?;
    let path = path.as_path();
    let file = std::fs::canonicalize(path).map_err(|error| unreadable(path, error))?;
    let folder = match dags {
        Some(dags) => std::fs::canonicalize(dags).map_err(|error| unreadable(dags, error))?,
        None => project_around(&file)
            .unwrap_or_else(|| file.parent().unwrap_or(Path::new("/")).to_owned()),
    };
    let inside = file.strip_prefix(&folder).ok().and_then(Path::to_str).map(str::to_owned);
    let inside = inside.ok_or_else(|| {
        let what = format!("`{}` does not lie in `{}`", file.display(), folder.display());
        Failure::new(Code::Usage, what).next("name the DAG folder that it lies in with --dags")
    })?;
    let inside = match module {
        Some(module) => format!("{inside}/{module}"),
        None => inside,
    };
    Ok((folder, inside))
}

/// The zip that a file lies in with the file's name there; of a zip itself its only module; any other file as it is.
fn zip_and_module(path: &Path) -> Result<(PathBuf, Option<String>), Failure> {
    let text = path.to_string_lossy();
    if let Some((zip, inner)) = splits(&text).find(|(zip, _)| Path::new(zip).is_file()) {
        return Ok((PathBuf::from(zip), Some(inner.to_owned())));
    }
    if !is_zip(&text) || !path.is_file() {
        return Ok((path.to_owned(), None));
    }
    let modules = modules_in(path).map_err(|why| {
        Failure::new(Code::BadDagFile, format!("`{text}` can't be read: BadZipFile: {why}"))
    })?;
    match modules.as_slice() {
        [module] => Ok((path.to_owned(), Some(module.clone()))),
        [] => Err(Failure::new(Code::NoSuchDag, format!("`{text}` has no DAG")).next(
            "a zip's DAGs are those of modules at its top that speak of Airflow and of DAGs",
        )),
        [first, ..] => {
            let what = format!("`{text}` has {} modules: {}", modules.len(), modules.join(", "));
            Err(Failure::new(Code::WhichDag, what)
                .next(format!("name one as a file, as in {text}/{first}")))
        }
    }
}

pub(crate) async fn reader(
    context: &Context,
    folder: PathBuf,
) -> Result<(Python, ProcessorSettings), Failure> {
    let python = Python::find_for_tries(&context.config, Some(&folder)).await?;
    let cache = std::env::temp_dir().join(format!("dagbok-cache-{}", nix::unistd::getuid()));
    let settings = services::processor(&context.config, folder, &python, &cache);
    Ok((python, settings))
}

async fn in_folder(context: &Context, folder: &Path, dag_id: &str) -> Result<LocalDag, Failure> {
    let folder = std::fs::canonicalize(folder).map_err(|error| {
        Failure::new(
            Code::NoDagFolder,
            format!("the DAG folder `{}` can't be read: {error}", folder.display()),
        )
    })?;
    let (python, settings) = reader(context, folder).await?;
    let found = find_once(&settings, dag_id, &Clock::system()).await;
    let found = found.map_err(|error| Failure::from_error(Code::NoDagFolder, &error))?;
    let Some(mut parsed) = found else {
        let what = format!("no file in `{}` has a DAG `{dag_id}`", settings.folder.display());
        return Err(Failure::new(Code::NoSuchDag, what)
            .next("`dagbok dags show FILE` shows what a file has, or why it can't be read"));
    };
    parsed.refuse(spec_fault);
    let spec = choose(&parsed.file, &parsed, Some(dag_id))?;
    Ok(LocalDag { spec, parsed, python, settings })
}

/// The DAG that was named, or the only one.
fn choose(shown: &str, parsed: &ParsedFile, dag_id: Option<&str>) -> Result<DagSpec, Failure> {
    let ids: Vec<String> = parsed.dags.iter().map(|dag| dag.spec.dag_id.to_string()).collect();
    let named =
        parsed.dags.iter().find(|dag| dag_id.is_none_or(|id| dag.spec.dag_id.as_str() == id));
    match named {
        Some(_) if dag_id.is_none() && ids.len() > 1 => {
            let what = format!("`{shown}` has {} DAGs: {}", ids.len(), ids.join(", "));
            Err(Failure::new(Code::WhichDag, what).next("name one with --dag"))
        }
        Some(dag) => Ok(dag.spec.clone()),
        None => Err(none(shown, dag_id, &ids, &parsed.errors)),
    }
}

fn none(shown: &str, dag_id: Option<&str>, ids: &[String], errors: &[ImportError]) -> Failure {
    // The one about the DAG that was asked for, where one is.
    let about = |error: &&ImportError| dag_id.is_some_and(|id| error.message.contains(id));
    if let Some(error) = errors.iter().find(about).or(errors.first()) {
        let line = error.line.map(|line| format!(", line {line}")).unwrap_or_default();
        let mut what =
            format!("`{shown}`{line} can't be read: {}: {}", error.exception, error.message);
        let way = way_there(&error.traceback, &error.exception, &error.message);
        if !way.is_empty() {
            what = format!("{what}\n{way}");
        }
        return Failure::new(Code::BadDagFile, what);
    }
    match dag_id {
        Some(id) if !ids.is_empty() => Failure::new(
            Code::NoSuchDag,
            format!("`{shown}` has no DAG `{id}`; it has {}", ids.join(", ")),
        ),
        _ => Failure::new(Code::NoSuchDag, format!("`{shown}` has no DAG"))
            .next("a DAG is found at the module's top level, or made in a `with DAG(…)`"),
    }
}
