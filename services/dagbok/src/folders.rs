//! The DAG folders that a command is about, and the Python of each.
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use dagbok_config::{Config, Folders, Runtime};
use dagbok_executor::{Environment, FindEnvironment, FolderEnvironments, lock_in};
use dagbok_processor::{COMMON, ProcessorError, ProcessorSettings, UNNAMED, is_folder_name};

use crate::{
    codes::Code,
    context::{Flags, path_text, push},
    environment,
    failure::Failure,
    python::Python,
};

/// Adds the folders that were named: the one, or a list.
pub(crate) fn push_folders(flags: &mut Flags, named: &[PathBuf]) -> Result<(), Failure> {
    let written = named.iter().filter_map(|path| path_text(Some(path)).transpose());
    let mut written: Vec<String> = written.collect::<Result<_, _>>()?;
    match written.len() {
        0 => {}
        1 => push(flags, "--dags", "processor.dags", written.pop()),
        _ => push(flags, "--dags", "processor.dags", Some(written)),
    }
    Ok(())
}

/// The folders that are configured, with the names that were given to them. None is an error.
pub(crate) fn configured(config: &Config) -> Result<Vec<(Option<String>, PathBuf)>, Failure> {
    let dags = &config.processor.dags;
    if dags.is_empty() {
        return Err(Failure::new(Code::Usage, "no DAG folder is given")
            .next("name it with --dags, or as `processor.dags`"));
    }
    let one = |(name, path): (Option<&str>, &Path)| {
        if let Some(name) = name.filter(|name| !is_folder_name(name)) {
            let what = format!("`{name}` is too long for the name of a DAG folder");
            return Err(Failure::new(Code::Config, what).next("give it 64 letters at most"));
        }
        if name == Some(COMMON) {
            let what = format!("`{COMMON}` is what people know the folder by that has no name");
            let path = path.display();
            return Err(Failure::new(Code::Config, what)
                .next(format!("give `{path}` another name; `{UNNAMED}={path}` gives it none")));
        }
        // The folder is also where tasks find themselves: a relative one would move with the process.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Ok((name.map(str::to_owned), path))
    };
    dags.named().map(one).collect()
}

/// The one folder that a command is about: the one that was named, or that is configured alone.
pub(crate) fn only<'a>(
    config: &'a Config,
    named: Option<&'a Path>,
) -> Result<Option<&'a Path>, Failure> {
    let mut all = config.processor.dags.paths();
    match (named, all.next(), all.next()) {
        (Some(named), _, _) => Ok(Some(named)),
        (None, first, None) => Ok(first),
        (None, _, Some(_)) => {
            let all = config.processor.dags.paths().map(|it| it.display().to_string());
            let all = all.collect::<Vec<_>>().join(", ");
            Err(Failure::new(Code::Usage, format!("which DAG folder is meant? There are {all}"))
                .next("name one with --dags"))
        }
    }
}

/// Makes sure that each folder can be read and none lies in another.
pub(crate) fn check(folders: &[ProcessorSettings]) -> Result<(), Failure> {
    for ProcessorSettings { folder, .. } in folders {
        std::fs::read_dir(folder).map(drop).map_err(|error| {
            let what = format!("the DAG folder `{}` can't be read: {error}", folder.display());
            Failure::new(Code::NoDagFolder, what).next("make it, or name another with --dags")
        })?;
    }
    dagbok_processor::check_folders(folders).map(drop).map_err(|error| Failure::of_service(&error))
}

/// What is wrong with the folders that a processor can't start with; `None` where it is something else.
pub(crate) fn code_of(error: &ProcessorError) -> Option<Code> {
    match error {
        ProcessorError::Nested { .. }
        | ProcessorError::SameName { .. }
        | ProcessorError::Held { .. } => Some(Code::Config),
        ProcessorError::NoFolder { .. } => Some(Code::NoDagFolder),
        ProcessorError::Port(_) => None,
    }
}

/// The Pythons of the configured folders.
pub(crate) struct Pythons {
    /// What tries run in whose bundles ask for no environment: the only folder's own, where there is but one without a name.
    pub(crate) tries: Python,
    /// Of each folder, in their order.
    pub(crate) folders: Vec<Python>,
    /// Those of the folders' environments, and how others are found. `None` where all tries run in the one above.
    pub(crate) environments: Option<FolderEnvironments>,
}

impl Pythons {
    /// Finds them.
    pub(crate) async fn find(config: &Config) -> Result<Self, Failure> {
        let paths: Vec<&Path> = config.processor.dags.paths().collect();
        // A folder with a name is one of several, though the others be another machine's.
        let is_alone =
            config.processor.dags.named().all(|(name, _)| name.is_none()) && paths.len() < 2;
        if is_alone {
            let tries = Python::find_for_tries(config, paths.first().copied()).await?;
            let folders = paths.iter().map(|_| tries.clone()).collect();
            return Ok(Self { tries, folders, environments: None });
        }
        let tries = Python::find_for_tries(config, None).await?;
        let (mut folders, mut known) = (Vec::new(), BTreeMap::new());
        for path in paths {
            let python = Python::find_for(config, Some(path)).await?;
            let lock = lock_in(path).map_err(|error| {
                let what = format!("{}/{}: {error}", path.display(), environment::LOCK);
                Failure::new(Code::BadEnvironment, what)
            })?;
            known.extend(lock.map(|lock| (lock, environment_of(&python))));
            folders.push(python);
        }
        // There an installed Airflow runs every try, in its own Python.
        let has_own = config.airflow.runtime != Runtime::Airflow;
        let environments = has_own.then(|| FolderEnvironments { known, find: finder(config) });
        Ok(Self { tries, folders, environments })
    }
}

fn environment_of(python: &Python) -> Environment {
    let (python, python_path) = (python.executable.clone(), python.package_path.clone());
    Environment { python, python_path }
}

/// Looks for the environment of a folder, a bundle's among them, where those of this machine lie.
fn finder(config: &Config) -> FindEnvironment {
    let config = Arc::new(config.clone());
    Arc::new(move |folder| {
        let config = Arc::clone(&config);
        Box::pin(async move {
            let found = Python::find_for(&config, Some(&folder)).await;
            found.map(|python| environment_of(&python)).map_err(|failure| {
                format!(
                    "its DAG folder's {} asks for an environment that this machine has not ({failure}); \
                     `dagbok providers install --dags DIR` makes it here",
                    environment::LOCK
                )
            })
        })
    })
}

/// Folders that were named to a command, else those that are configured, without links.
pub(crate) fn named_or_configured(
    config: &Config,
    named: &[PathBuf],
    next: &str,
) -> Result<Vec<PathBuf>, Failure> {
    let named = Folders::of_paths(named);
    let all = if named.is_empty() { &config.processor.dags } else { &named };
    if all.is_empty() {
        return Err(Failure::new(Code::NoDagFolder, "no DAG folder is named").next(next));
    }
    all.paths().map(real).collect()
}

fn real(folder: &Path) -> Result<PathBuf, Failure> {
    let is_folder = folder.is_dir();
    std::fs::canonicalize(folder).ok().filter(|_| is_folder).ok_or_else(|| {
        let what = format!("there is no DAG folder `{}`", folder.display());
        Failure::new(Code::NoDagFolder, what)
            .next("name a folder; `dagbok dags show FILE` reads one file")
    })
}
