//! The machine: limits, disks and folders.
use std::{
    fs, io,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use dagbok_config::Config;
use dagbok_events::{Timestamp, decode};
use dagbok_runlog::{Ports, ReadLimit, Seq};
use nix::sys::resource::{Resource, getrlimit};

use super::Finding;
use crate::{context::Context, wire};

/// Free room below which to warn, and below which nothing works for long, in bytes.
const ROOM: (u64, u64) = (2 << 30, 128 << 20);
/// A flush slower than this is what a hand-off waits for.
const SLOW_FLUSH: Duration = Duration::from_millis(10);
/// How often a flush is timed.
const FLUSHES: usize = 21;
/// A try takes about this many files.
const FILES_PER_TRY: u64 = 16;

/// How many files may be open.
pub(super) fn open_files() -> Finding {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        // The soft limit is raised to the hard one by the executor itself.
        Ok((_, hard)) if hard < 256 * FILES_PER_TRY => {
            let message = format!(
                "at most {hard} files may be open, enough for {} tries at once",
                hard / FILES_PER_TRY
            );
            Finding::warning(
                "files",
                message,
                "raise the limit: `ulimit -Hn 65536`, or LimitNOFILE= in systemd",
            )
        }
        Ok((_, hard)) => Finding::ok("files", format!("{hard} may be open")),
        Err(error) => Finding::warning(
            "files",
            format!("the limit can't be read: {error}"),
            "check `ulimit -n`",
        ),
    }
}

/// How an executor here would hold tries to their limits.
pub(super) fn isolation() -> Finding {
    match dagbok_executor::can_have_cgroups() {
        Ok(()) => {
            let text = "each try gets a cgroup of its own, where an executor is started as this command is";
            Finding::ok("limits", text.to_owned())
        }
        // On most machines it is so, and nothing is wrong with them.
        Err(why) => Finding::ok(
            "limits",
            format!(
                "tries get no cgroups ({why}): memory is looked at every quarter of a second, CPU and processes \
                 are not bounded; Delegate=yes in an executor's systemd unit changes that"
            ),
        ),
    }
}

/// The installation's folder: room, speed, and the log in it; with when that was written last.
pub(super) async fn home(context: &Context) -> (Vec<Finding>, Option<Timestamp>) {
    let home = match context.home() {
        Ok(home) => home,
        Err(failure) => return (vec![Finding::failed("home", &failure)], None),
    };
    let mut findings = Vec::new();
    // What is not there yet will be made in the nearest folder that is.
    let there = home.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/")).to_owned();
    findings.push(room(&home, &there));
    let folder = there.clone();
    let timed = tokio::task::spawn_blocking(move || flush_time(&folder)).await;
    findings.push(match timed {
        Ok(Ok(took)) if took > SLOW_FLUSH => {
            let next = "each hand-off waits for two flushes: put the home on a local SSD";
            Finding::warning(
                "disk",
                format!("a flush takes {took:.1?} on {}", there.display()),
                next,
            )
        }
        Ok(Ok(took)) => Finding::ok("disk", format!("a flush takes {took:.1?}")),
        Ok(Err(error)) => {
            let next =
                format!("make it writable, or name another folder with --home: {}", home.display());
            Finding::error("disk", format!("{} can't be written: {error}", there.display()), next)
        }
        Err(panic) => Finding::error("disk", panic.to_string(), "report this"),
    });
    let mut newest = None;
    if home.join("log").is_dir() {
        let (finding, at) = log(&home, &context.config).await;
        findings.push(finding);
        newest = at;
    }
    (findings, newest)
}

fn room(home: &Path, there: &Path) -> Finding {
    match rustix::fs::statvfs(there) {
        Ok(stat) => {
            let free = stat.f_bavail.saturating_mul(stat.f_frsize);
            let message = format!("{}: {} MiB free", home.display(), free >> 20);
            let next = "make room, or name another folder with --home: a full disk stops the log";
            if free < ROOM.1 {
                Finding::error("home", message, next)
            } else if free < ROOM.0 {
                Finding::warning("home", message, next)
            } else {
                Finding::ok("home", message)
            }
        }
        Err(error) => {
            Finding::warning("home", format!("{}: {error}", there.display()), "check the folder")
        }
    }
}

/// The middle of some timed flushes of a small write.
fn flush_time(folder: &Path) -> io::Result<Duration> {
    let mut file = tempfile::tempfile_in(folder)?;
    let mut times = Vec::with_capacity(FLUSHES);
    for _ in 0..FLUSHES {
        let start = Instant::now();
        file.write_all(&[0x5a; 4096])?;
        file.sync_data()?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times[FLUSHES / 2])
}

/// The log, and when its last record was decided.
async fn log(home: &Path, config: &Config) -> (Finding, Option<Timestamp>) {
    let ports = match wire::read_only(home, config).await {
        Ok(ports) => ports,
        Err(failure) => return (Finding::failed("log", &failure), None),
    };
    match ports.log.last().await {
        Ok(last) => {
            let message = format!("{last} records in {}", home.join("log").display());
            (Finding::ok("log", message), decided_at(&ports, last).await)
        }
        Err(error) => {
            let next = "`dagbok explain DBK0033` says more";
            (Finding::error("log", error.to_string(), next), None)
        }
    }
}

/// When the record at `seq` was decided, where there is one that can be read.
async fn decided_at(ports: &Ports, seq: Seq) -> Option<Timestamp> {
    let before = Seq(seq.0.checked_sub(1)?);
    let entries = ports.log.read(before, ReadLimit::default()).await.ok()?;
    decode(&entries.last()?.payload).ok().map(|record| record.at)
}

/// The DAG folders that are configured: that the home lies in none, and none in another.
pub(super) fn dag_folders(context: &Context) -> Vec<Finding> {
    let folders: Vec<&Path> = context.config.processor.dags.paths().collect();
    let mut findings: Vec<Finding> =
        folders.iter().flat_map(|folder| dag_folder(context, folder)).collect();
    let real = |folder: &&Path| fs::canonicalize(folder).ok();
    for (at, folder) in folders.iter().enumerate() {
        let others = folders.iter().enumerate().filter(|(other, _)| *other != at);
        let around = others.map(|(_, other)| other).find(|other| {
            real(folder).zip(real(other)).is_some_and(|(inner, outer)| inner.starts_with(outer))
        });
        if let Some(around) = around {
            let what = format!("{} lies in {}", folder.display(), around.display());
            let next = "name one of the two: its files would be read twice";
            findings.push(Finding::error("dags", what, next));
        }
    }
    findings
}

/// A DAG folder, and that the home does not lie in it.
fn dag_folder(context: &Context, folder: &Path) -> Vec<Finding> {
    let mut findings = vec![match fs::read_dir(folder) {
        Ok(entries) => {
            Finding::ok("dags", format!("{} has {} entries", folder.display(), entries.count()))
        }
        Err(error) => {
            let next = "make it, or name another with --dags";
            Finding::error("dags", format!("{} can't be read: {error}", folder.display()), next)
        }
    }];
    let real = |path: &Path| fs::canonicalize(path).ok();
    let home = context.home().ok();
    // What is not there yet will be made in the nearest folder that is.
    let home = home.as_deref().and_then(|home| home.ancestors().find_map(real));
    if let (Some(home), Some(folder)) = (home, real(folder))
        && home.starts_with(&folder)
        && context.home().is_ok_and(|it| it.starts_with(&folder) || home != folder)
    {
        let what = format!("the home lies inside the DAG folder: {}", home.display());
        findings.push(Finding::error(
            "dags",
            what,
            "move one of them: the log would be looked through for DAGs, and go with each bundle of code",
        ));
    }
    findings
}
