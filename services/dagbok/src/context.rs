//! What a command works with: the configuration, the installation's folder, where results go.
use std::path::PathBuf;

use dagbok_config::{Config, FILE_NAME, PREFIX, Setting, Sources, load, settings};
use toml::Value;

use crate::{
    cli::{DEFAULT_API, Global, NatsArgs},
    codes::Code,
    failure::Failure,
    output::{Out, program, quoted},
};

/// Names the installation's folder, where no flag does.
const HOME_VARIABLE: &str = "DAGBOK_HOME";

/// Names the API, where neither `--api` nor `--home` does.
const API_VARIABLE: &str = "DAGBOK_API";

/// Flags, with the key that each stands for.
pub(crate) type Flags = Vec<(&'static str, &'static str, Value)>;

/// What a command works with.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) config: Config,
    pub(crate) out: Out,
    global: Global,
    sources: Sources,
}

impl Context {
    /// Reads the configuration under the command's own flags.
    pub(crate) fn new(global: &Global, mut flags: Flags) -> Result<Self, Failure> {
        for (flag, variable, key, value) in [
            ("--python", "DAGBOK_PYTHON", "python.interpreter", &global.python),
            ("--python-path", "DAGBOK_PYTHONPATH", "python.path", &global.python_path),
            ("--airflow-python", "DAGBOK_AIRFLOW_PYTHON", "airflow.python", &global.airflow_python),
        ] {
            let is_set = value.is_some()
                && std::env::var_os(variable) == value.clone().map(PathBuf::into_os_string);
            let from = if is_set { variable } else { flag };
            push(&mut flags, from, key, path_text(value.as_ref())?);
        }
        push(&mut flags, "--runtime", "airflow.runtime", global.runtime.clone());
        let sources = Sources {
            optional_file: home_of(global).map(|home| home.join(FILE_NAME)),
            file: global.config.clone(),
            environment: environment()?,
            flags,
        };
        let config = load(&sources).map_err(|error| {
            Failure::from_error(Code::Config, &error)
                .next("`dagbok explain DBK0002` says where settings come from; `dagbok config show --all --config /dev/null` lists every key")
        })?;
        Ok(Self { config, out: global.out(), global: global.clone(), sources })
    }

    /// The configuration key by key, each with where it comes from.
    pub(crate) fn settings(&self) -> Vec<Setting> {
        settings(&self.sources).expect("it was read from the same sources before")
    }

    /// The installation's folder, from the root: what lies in it, as the copy of the DAG folder that tasks run
    /// in, is named to processes that stand elsewhere.
    pub(crate) fn home(&self) -> Result<PathBuf, Failure> {
        let home = home_of(&self.global).map(|home| std::path::absolute(&home).unwrap_or(home));
        home.ok_or_else(|| {
            Failure::new(Code::HomeUnusable, "there is no home folder to keep the installation in")
                .next("name a folder with --home or DAGBOK_HOME")
        })
    }

    /// The folder of a stopped installation that is to be read; `None` asks an API.
    pub(crate) fn home_to_read(&self) -> Option<PathBuf> {
        self.global.home.clone().filter(|_| self.global.api.is_none())
    }

    /// Whether the command line names an installation's folder.
    pub(crate) const fn names_home(&self) -> bool {
        self.global.home.is_some()
    }

    /// How this program was called, with which installation it was asked about: for commands to type next.
    pub(crate) fn program(&self) -> String {
        let named = match (&self.global.api, &self.global.home) {
            (Some(api), _) => format!(" --api {}", quoted(api)),
            (None, Some(home)) => format!(" --home {}", quoted(&home.to_string_lossy())),
            (None, None) => String::new(),
        };
        format!("{}{named}", program())
    }

    /// The API to ask.
    pub(crate) fn api(&self) -> String {
        self.named_api().unwrap_or_else(|| DEFAULT_API.to_owned())
    }

    /// The API that the command line names, or the environment where the command line names no folder.
    pub(crate) fn named_api(&self) -> Option<String> {
        let of_environment = || std::env::var(API_VARIABLE).ok().filter(|api| !api.is_empty());
        let global = &self.global;
        global.api.clone().or_else(|| of_environment().filter(|_| global.home.is_none()))
    }
}

/// The environment as configuration reads it; what is meant for it and is no text is refused.
fn environment() -> Result<Vec<(String, String)>, Failure> {
    let mut all = Vec::new();
    for (name, value) in std::env::vars_os() {
        let Ok(name) = name.into_string() else { continue };
        match value.into_string() {
            Ok(value) => all.push((name, value)),
            Err(_) if name.starts_with(PREFIX) => {
                let what = format!("the environment variable `{name}` is not UTF-8");
                return Err(Failure::new(Code::Config, what));
            }
            Err(_) => {}
        }
    }
    Ok(all)
}

fn home_of(global: &Global) -> Option<PathBuf> {
    let named =
        global.home.clone().or_else(|| Some(PathBuf::from(std::env::var_os(HOME_VARIABLE)?)));
    named.or_else(|| {
        Some(std::env::home_dir().filter(|home| !home.as_os_str().is_empty())?.join(".dagbok"))
    })
}

/// Adds a flag that was given.
pub(crate) fn push(
    flags: &mut Flags,
    flag: &'static str,
    key: &'static str,
    value: Option<impl Into<Value>>,
) {
    if let Some(value) = value {
        flags.push((flag, key, value.into()));
    }
}

/// A path as configuration can say it.
pub(crate) fn path_text(path: Option<&PathBuf>) -> Result<Option<String>, Failure> {
    let text = |path: &PathBuf| {
        path.to_str().map(str::to_owned).ok_or_else(|| {
            Failure::new(Code::Usage, format!("the path `{}` is not UTF-8", path.display()))
        })
    };
    path.map(text).transpose()
}

/// The flags about NATS.
pub(crate) fn nats_flags(args: &NatsArgs) -> Result<Flags, Failure> {
    let mut flags = Flags::new();
    let urls = (!args.nats.is_empty()).then(|| args.nats.clone());
    push(&mut flags, "--nats", "nats.urls", urls);
    push(&mut flags, "--namespace", "nats.namespace", args.namespace.clone());
    push(&mut flags, "--nats-creds", "nats.creds_file", path_text(args.nats_creds.as_ref())?);
    push(&mut flags, "--nats-user", "nats.user", args.nats_user.clone());
    push(&mut flags, "--nats-ca", "nats.ca_file", path_text(args.nats_ca.as_ref())?);
    push(&mut flags, "--nats-cert", "nats.cert_file", path_text(args.nats_cert.as_ref())?);
    push(&mut flags, "--nats-key", "nats.key_file", path_text(args.nats_key.as_ref())?);
    let replicas = args.replicas.map(|n| i64::try_from(n).unwrap_or(i64::MAX));
    push(&mut flags, "--replicas", "nats.replicas", replicas);
    push(
        &mut flags,
        "--metrics-listen",
        "telemetry.metrics_listen",
        args.metrics_listen.map(|at| at.to_string()),
    );
    Ok(flags)
}
