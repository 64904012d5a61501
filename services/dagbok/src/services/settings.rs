//! Services' settings from the configuration.
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use dagbok_api::retention::{Retention, Rules};
use dagbok_archive::Archive;
use dagbok_config::{Config, IgnoreSyntax};
use dagbok_events::{
    ExecutorId, ExecutorName, Limits, Micros, PoolName, PoolSet, QueueName, Resources,
};
use dagbok_executor::ExecutorSettings;
use dagbok_processor::ProcessorSettings;
use dagbok_protocol::PoolChange;
use dagbok_runlog::ReadLimit;
use dagbok_runtime::fresh_id;
use dagbok_scheduler::{Archiving, Holds, SchedulerSettings};
use dagbok_secrets::KeyFile;

use crate::{codes::Code, failure::Failure, folders, python::Python};

/// What of the log goes into the archive, if anything does.
pub(crate) fn archiving(config: &Config, archive: Archive) -> Option<Archiving> {
    let retention = &config.retention;
    let archiving = Archiving::new(archive, retention.log.0);
    let batch = ReadLimit { entries: retention.archive_records, ..archiving.batch };
    let every = retention.every.0;
    (!retention.log.0.is_zero()).then_some(Archiving { every, batch, ..archiving })
}

/// Where the master key of variables and connections lies.
pub(crate) fn key_file(config: &Config, home: &Path) -> KeyFile {
    match &config.secrets.key_file {
        Some(file) => KeyFile::named(file.clone()),
        None => KeyFile::own(home.join("secrets.key")),
    }
}

/// The file that master keys of variables and connections lie in.
pub(crate) fn own_key_file(config: &Config, home: &Path) -> PathBuf {
    config.secrets.key_file.clone().unwrap_or_else(|| home.join("secrets.key"))
}

/// What is kept, and for how long.
pub(crate) fn retention(config: &Config) -> Retention {
    let retention = &config.retention;
    let age = |age: Duration| (!age.is_zero()).then_some(age);
    let rules = Rules {
        runs: age(retention.runs.0),
        runs_per_dag: retention.runs_per_dag,
        dags: age(retention.dags.0),
        versions: age(retention.versions.0),
        executors: age(retention.executors.0),
        reports: age(retention.reports.0),
        backfills: age(retention.backfills.0),
        logs: age(retention.logs.0),
        xcoms: age(retention.xcoms.0),
        blobs: age(retention.blobs.0),
    };
    Retention { rules, every: retention.every.0 }
}

/// The scheduler's.
pub(crate) fn scheduler(config: &Config) -> Result<SchedulerSettings, Failure> {
    Ok(SchedulerSettings {
        executor_lease: config.executor.lease.0,
        leader_lease: config.scheduler.lease.0,
        snapshot_every: config.scheduler.snapshot_every,
        lineage: super::lineage::is_wanted(config),
        holds: Some(Holds {
            parallelism: config.scheduler.parallelism,
            max_losses: config.scheduler.max_losses,
            max_consecutive_failed_dag_runs: config
                .scheduler
                .max_consecutive_failed_dag_runs_per_dag,
            task_queued_timeout: Micros(
                i64::try_from(config.scheduler.task_queued_timeout.0.as_micros())
                    .unwrap_or(i64::MAX),
            ),
            pools: pools(config)?,
        }),
        ..SchedulerSettings::default()
    })
}

/// The pools that the configuration names.
fn pools(config: &Config) -> Result<Vec<PoolChange>, Failure> {
    let one = |(name, it): (&String, &dagbok_config::Pool)| {
        let bad = |why: String| {
            Failure::new(Code::Config, format!("the pool {name:?}: {why}"))
                .next(format!("mend `[pools.{name}]` in dagbok.toml"))
        };
        let pool = PoolName::new(name.as_str()).map_err(|error| bad(error.to_string()))?;
        let slots = match it.slots {
            -1 => Some(PoolSet::UNLIMITED),
            slots => u32::try_from(slots).ok().filter(|slots| *slots != PoolSet::UNLIMITED),
        };
        let slots = slots.ok_or_else(|| {
            bad(format!("slots is {}; it is -1 for no limit, or 0 to 4,294,967,294", it.slots))
        })?;
        Ok(PoolChange {
            pool,
            slots: Some(slots),
            description: Some(it.description.clone()),
            include_deferred: Some(it.include_deferred),
            only: None,
        })
    };
    config.pools.iter().map(one).collect()
}

/// By which whoever reads DAG files hears that tries run in pods, and of which queue: `dagbok.parsing.pods` reads it.
const PODS_VARIABLE: &str = "DAGBOK_PODS";

/// The processor's, of each configured folder, with the Python of each; `home` keeps compiled modules.
pub(crate) fn processors(
    config: &Config,
    pythons: &[Python],
    home: &Path,
) -> Result<Vec<ProcessorSettings>, Failure> {
    let all = folders::configured(config)?.into_iter().zip(pythons);
    let one = |((name, folder), python)| {
        let settings = processor(config, folder, python, home);
        ProcessorSettings { name, host: hostname(), ..settings }
    };
    Ok(all.map(one).collect())
}

/// The processor's of one folder.
pub(crate) fn processor(
    config: &Config,
    folder: PathBuf,
    python: &Python,
    home: &Path,
) -> ProcessorSettings {
    let mut settings = ProcessorSettings::new(folder, python.for_processor(home));
    settings.parse_timeout = config.processor.parse_timeout.0;
    settings.rescan = config.processor.rescan.0;
    settings.debounce = config.processor.debounce.0;
    settings.paused_at_creation = config.processor.paused_at_creation;
    settings.parsers = config.processor.parsers.unwrap_or(settings.parsers).max(1);
    settings.ignore_syntax = match config.processor.ignore_syntax {
        IgnoreSyntax::Glob => dagbok_processor::IgnoreSyntax::Glob,
        IgnoreSyntax::Regexp => dagbok_processor::IgnoreSyntax::Regexp,
    };
    settings
}

/// An executor's; `home` keeps bundles and the logs of tries in flight.
pub(crate) fn executor(
    config: &Config,
    python: &Python,
    home: PathBuf,
) -> Result<ExecutorSettings, Failure> {
    let id =
        ExecutorId::new(format!("executor-{}", fresh_id())).expect("a UUID is within the rules");
    let mut settings = ExecutorSettings::new(id, hostname(), python.executable.clone(), home);
    if let Some(name) = &config.executor.name {
        settings.name = ExecutorName::new(name.as_str()).map_err(|error| {
            Failure::from_error(Code::Config, &error).next("mend `executor.name`")
        })?;
    }
    settings.after_drain = match config.executor.after_drain {
        dagbok_config::AfterDrain::End => dagbok_executor::AfterDrain::End,
        dagbok_config::AfterDrain::Wait => dagbok_executor::AfterDrain::Wait,
    };
    settings.python_path.clone_from(&python.package_path);
    settings.start.clone_from(&python.start);
    settings.airflow.clone_from(&python.beside);
    settings.slots = config.executor.slots.unwrap_or_else(default_slots);
    settings.queues = queues(config)?;
    settings.env.clone_from(&python.env);
    settings.env.extend(config.executor.env.clone());
    settings.lease = config.executor.lease.0;
    settings.drain_timeout = config.executor.drain.0;
    settings.kill_grace = config.executor.kill_grace.0;
    settings.max_map_length = config.executor.max_map_length;
    settings.load_timeout = config.executor.load_timeout.0;
    settings.loaded_files = config.executor.loaded_files;
    settings.loaded_idle = config.executor.loaded_idle.0;
    settings.spares_for = config.executor.spares_for.0;
    settings.usage_every = config.executor.usage_every.0;
    settings.inherit_env.clone_from(&config.executor.inherit_env);
    settings.resources = resources(&config.executor)?;
    settings.gpus.clone_from(&config.executor.gpus);
    settings.oom_score_adj = oom_score_adj(config)?;
    settings.limits = limits(config)?;
    Ok(settings)
}

/// What tries can use together.
fn resources(of: &dagbok_config::Executor) -> Result<Resources, Failure> {
    let twice = of.gpus.iter().enumerate().find(|(n, gpu)| of.gpus[..*n].contains(gpu));
    if let Some((_, gpu)) = twice {
        let what =
            format!("the GPU {gpu:?} is named twice: it would be given to two tries at once");
        return Err(Failure::new(Code::Config, what).next("mend `executor.gpus`"));
    }
    Ok(Resources {
        memory: of.memory.map(|size| size.0),
        cpu_milli: of.cpus.map(|cpus| milli("executor.cpus", cpus)).transpose()?,
        gpus: u32::try_from(of.gpus.len()).unwrap_or(u32::MAX),
        custom: of.resources.clone(),
        labels: of.labels.clone(),
    })
}

/// What a try may use that does not say so itself, by its queue.
fn limits(config: &Config) -> Result<BTreeMap<String, Limits>, Failure> {
    let one = |(queue, it): (&String, &dagbok_config::QueueLimits)| {
        let cpus = it.cpus.map(|cpus| milli(&format!("limits.{queue}.cpus"), cpus)).transpose()?;
        // Nothing can run within nothing: what is meant is no limit, or another figure.
        let nothing =
            [("memory", it.memory.map(|size| size.0)), ("processes", it.processes.map(u64::from))];
        if let Some((key, _)) = nothing.into_iter().find(|(_, value)| *value == Some(0)) {
            let key = format!("limits.{queue}.{key}");
            let what = format!("{key} is 0, within which nothing can run");
            let next =
                format!("give `{key}` a figure in dagbok.toml, or leave it out for no limit");
            return Err(Failure::new(Code::Config, what).next(next));
        }
        let limits = Limits {
            memory: it.memory.map(|size| size.0),
            cpu_milli: cpus,
            processes: it.processes,
        };
        Ok((queue.clone(), limits))
    };
    config.limits.iter().map(one).collect()
}

fn oom_score_adj(config: &Config) -> Result<i32, Failure> {
    let adj = config.executor.oom_score_adj;
    if (0..=1_000).contains(&adj) {
        return Ok(adj);
    }
    let what = format!("executor.oom_score_adj is {adj}: it must be from 0 to 1000");
    Err(Failure::new(Code::Config, what).next("mend `executor.oom_score_adj` in dagbok.toml"))
}

/// CPUs in thousandths.
pub(super) fn milli(key: &str, cpus: f64) -> Result<u64, Failure> {
    if !(0.001..=1e6).contains(&cpus) {
        let what = format!("{key} is {cpus}: it must be from 0.001 to 1,000,000");
        return Err(Failure::new(Code::Config, what).next(format!("mend `{key}` in dagbok.toml")));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it lies between 1 and a milliard"
    )]
    Ok((cpus * 1_000.0).round() as u64)
}

/// A triggerer's: the executor's, of which it has the Python, the environment of tries and the lease.
pub(crate) fn triggerer(
    config: &Config,
    python: &Python,
    home: PathBuf,
) -> Result<ExecutorSettings, Failure> {
    let id =
        ExecutorId::new(format!("triggerer-{}", fresh_id())).expect("a UUID is within the rules");
    Ok(ExecutorSettings { executor: id, ..executor(config, python, home)? })
}

/// Alerting's; `home` is where its configuration lies where none is named.
pub(crate) fn alerting(config: &Config, home: &Path) -> dagbok_alerting::Settings {
    let file = alerting_file(config, home);
    let mut settings = dagbok_alerting::Settings::new(config.nats.namespace.as_str(), Some(file));
    settings.links_key = Some(home.join("links.key"));
    settings.disk = Some(home.to_owned());
    settings.lease = config.alerting.lease.0;
    settings
}

/// Where receivers and routes stand.
pub(crate) fn alerting_file(config: &Config, home: &Path) -> PathBuf {
    config.alerting.config.clone().unwrap_or_else(|| home.join("alerting.toml"))
}

/// Connections that the API may hold at once: a quarter of this process' descriptors, so that tries, logs
/// and the broker have theirs.
pub(crate) fn connections() -> usize {
    const MOST: u64 = 1_024;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    usize::try_from(limit.map_or(MOST, |limit| (limit / 4).clamp(16, MOST))).unwrap_or(16)
}

/// The queues that an executor pulls from.
pub(crate) fn queues(config: &Config) -> Result<Vec<QueueName>, Failure> {
    let names = config.executor.queues.iter().map(|name| QueueName::new(name.as_str()));
    names
        .collect::<Result<_, _>>()
        .map_err(|error| Failure::from_error(Code::Config, &error).next("mend `executor.queues`"))
}

/// Tasks wait more than they compute.
fn default_slots() -> u32 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    u32::try_from(cores * 2).unwrap_or(u32::MAX).max(4)
}

pub(super) fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Where pods are made, whoever reads DAG files hears so. Not in one process with the rest, which makes none.
pub(crate) fn hear_of_pods(settings: &mut ProcessorSettings, config: &Config) {
    if let Some(queue) = config.kubernetes.queues.first().filter(|_| config.kubernetes.enabled) {
        settings.python.env.insert(PODS_VARIABLE.to_owned(), queue.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_reads_dag_files_hears_of_pods_only_where_they_are_made() {
        let python = serde_json::json!({
            "executable": "/python", "version": "3.11.7", "missing": [], "new_enough": true,
        });
        let python: Python = serde_json::from_value(python).unwrap();
        let mut config = Config::default();
        let told = |config: &Config| {
            let mut settings = processor(config, "/dags".into(), &python, Path::new("/home"));
            assert_eq!(settings.python.env.get(PODS_VARIABLE), None, "in one process, or a test");
            hear_of_pods(&mut settings, config);
            settings.python.env.get(PODS_VARIABLE).cloned()
        };
        assert_eq!(told(&config), None);
        config.kubernetes.enabled = true;
        assert_eq!(told(&config).as_deref(), Some("kubernetes"));
        config.kubernetes.queues = vec!["gpu".to_owned(), "cpu".to_owned()];
        assert_eq!(told(&config).as_deref(), Some("gpu"));
    }
}
