//! A cgroup for each try, where the kernel's version 2 is delegated to this process: limits that hold to the byte,
//! an end for all that a try started, and the kernel's word on who was killed for memory.
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    thread::sleep,
    time::Duration,
};

use dagbok_events::Limits;

use crate::usage::field;

/// What must be handed out by a group for its children to be limited.
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];
/// The group of tries, below the one that this process was in.
const TRIES: &str = "dagbok-tries";
/// The group that this process itself moves to, since a group that hands out controllers holds no process.
pub(crate) const OWN: &str = "dagbok-executor";
/// `cpu.max` is a share of so many microseconds.
const PERIOD_US: u64 = 100_000;
/// `memory.high`, at which a try is slowed down and its pages are taken back, is this much below the limit.
const HIGH_BELOW: u64 = 128;
/// How often a group is asked to go, and how long apart: its last process may take its time to be gone.
const REMOVALS: u32 = 1_000;
const REMOVE_AGAIN: Duration = Duration::from_millis(20);

/// The groups of all tries of this executor.
#[derive(Debug)]
pub(crate) struct Cgroups {
    tries: PathBuf,
    controllers: Vec<&'static str>,
    made: AtomicU64,
}

/// One try's group. Removed, with all that is in it, when dropped.
#[derive(Debug)]
pub(crate) struct Group {
    path: PathBuf,
}

/// What a group's `memory.events` says of kills.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MemoryEvents {
    /// Processes that the kernel killed.
    pub(crate) killed: u64,
    /// How often that was since its own limit, or one below it, left no more.
    pub(crate) at_limit: u64,
}

impl Cgroups {
    /// Takes over the group that this process is in, where it may; otherwise says why not. Call it before any
    /// child is there.
    pub(crate) fn take_over(executor: &str) -> Result<Self, String> {
        Self::take(&here()?, executor)
    }

    /// The same of a group that is known.
    pub(crate) fn take(folder: &Path, executor: &str) -> Result<Self, String> {
        // A process that moved itself before, or was started by one that did, stands below what was delegated.
        let folder = match (folder.file_name(), folder.parent()) {
            (Some(name), Some(above)) if name == OWN => above,
            _ => folder,
        };
        let controllers = controllers_of(folder)?;
        let tries = folder.join(TRIES).join(executor);
        let refused = |what: &str, error: &io::Error| {
            format!(
                "{what} in the group {} is refused ({error}): it is not delegated to us, or others are in it; `systemd-run --scope -p Delegate=yes` gives one",
                folder.display()
            )
        };
        fs::create_dir_all(&tries).map_err(|error| refused("making a group", &error))?;
        let groups = Self { tries, controllers, made: AtomicU64::new(0) };
        let set_up = groups.set_up(folder);
        if let Err((what, error)) = set_up {
            drop(fs::remove_dir(&groups.tries));
            return Err(refused(what, &error));
        }
        groups.sweep(folder);
        Ok(groups)
    }

    /// Removes what killed executors left, unless one that lives may be in the same group.
    fn sweep(&self, folder: &Path) {
        let own = fs::read_to_string(folder.join(OWN).join("cgroup.procs")).unwrap_or_default();
        let pid = std::process::id().to_string();
        if own.lines().any(|other| other.trim() != pid) {
            return;
        }
        let inside = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
        for left in inside(&folder.join(TRIES)).map(|entry| entry.path()) {
            if left != self.tries && left.is_dir() {
                for group in inside(&left).map(|entry| entry.path()).filter(|path| path.is_dir()) {
                    // A group with processes in it stays.
                    drop(fs::remove_dir(group));
                }
                drop(fs::remove_dir(left));
            }
        }
    }

    fn set_up(&self, folder: &Path) -> Result<(), (&'static str, io::Error)> {
        let own = folder.join(OWN);
        let pid = std::process::id().to_string();
        fs::create_dir_all(&own).map_err(|error| ("making a group", error))?;
        write(&own, "cgroup.procs", &pid).map_err(|error| ("moving this process", error))?;
        let wanted: Vec<String> = self.controllers.iter().map(|name| format!("+{name}")).collect();
        let all = folder.join(TRIES);
        for group in [folder, &all, &self.tries] {
            if let Err(error) = write(group, "cgroup.subtree_control", &wanted.join(" ")) {
                // Back to where it was, so that nothing is changed.
                drop(write(folder, "cgroup.procs", &pid));
                return Err(("handing out controllers", error));
            }
        }
        Ok(())
    }

    /// A fresh group with these limits.
    pub(crate) fn make(&self, limits: &Limits) -> io::Result<Group> {
        let name = self.made.fetch_add(1, Ordering::Relaxed);
        let path = self.tries.join(name.to_string());
        fs::create_dir(&path)?;
        let group = Group { path };
        for (file, text) in settings(limits) {
            let controller = file.split_once('.').map_or("", |(name, _)| name);
            if self.controllers.contains(&controller) {
                write(&group.path, file, &text)?;
            }
        }
        // No swap: a limit that can be evaded to the disk is none. Kernels without swap don't have the file.
        if limits.memory.is_some() {
            drop(write(&group.path, "memory.swap.max", "0"));
        }
        Ok(group)
    }

    /// What it can hold tries to, for people.
    pub(crate) fn told(&self) -> String {
        let mut told = vec!["memory"];
        if self.controllers.contains(&"cpu") {
            told.push("CPU");
        }
        if self.controllers.contains(&"pids") {
            told.push("processes");
        }
        format!("a cgroup for each try, which bounds {}", told.join(", "))
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        drop(fs::remove_dir(&self.tries));
    }
}

impl Group {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The memory that it has now, in bytes.
    pub(crate) fn memory(&self) -> Option<u64> {
        self.number("memory.current")
    }

    /// The most memory that it had, in bytes; kernels before 5.19 don't say.
    pub(crate) fn peak(&self) -> Option<u64> {
        self.number("memory.peak")
    }

    /// CPU time, in microseconds.
    pub(crate) fn cpu_us(&self) -> Option<u64> {
        field(&fs::read_to_string(self.path.join("cpu.stat")).ok()?, "usage_usec ")
    }

    /// Who was killed for memory.
    pub(crate) fn events(&self) -> MemoryEvents {
        events_in(&fs::read_to_string(self.path.join("memory.events")).unwrap_or_default())
    }

    fn number(&self, file: &str) -> Option<u64> {
        fs::read_to_string(self.path.join(file)).ok()?.trim().parse().ok()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.path);
        // Kernels before 5.14 have no such file: the zygote has killed what it could find.
        drop(write(&path, "cgroup.kill", "1"));
        if is_busy(&path) {
            // What was killed takes its time to be gone, and nobody is to wait for that.
            std::thread::spawn(move || {
                for _ in 0..REMOVALS {
                    sleep(REMOVE_AGAIN);
                    if !is_busy(&path) {
                        return;
                    }
                }
                let text = "a try's group does not go: something in it does not die";
                tracing::warn!(group = %path.display(), "{text}");
            });
        }
    }
}

/// Removes a group; whether it can't be removed yet.
fn is_busy(path: &Path) -> bool {
    fs::remove_dir(path).is_err_and(|error| error.kind() == io::ErrorKind::ResourceBusy)
}

/// Whether an executor that is started here could have a cgroup for each try; otherwise why not. Changes nothing.
pub fn can_have_cgroups() -> Result<(), String> {
    let folder = here()?;
    controllers_of(&folder)?;
    let procs = folder.join("cgroup.procs");
    let open = fs::OpenOptions::new().write(true).open(&procs);
    open.map_err(|error| format!("{} can't be written: {error}", procs.display()))?;
    let pid = std::process::id().to_string();
    let inside = fs::read_to_string(&procs).unwrap_or_default();
    // The root hands out controllers with processes in it.
    if folder.join("cgroup.type").exists() && inside.lines().any(|other| other.trim() != pid) {
        return Err(format!(
            "others are in the group {}, in which this command runs; an executor needs one of its own",
            folder.display()
        ));
    }
    Ok(())
}

/// The folder of the group that this process is in.
fn here() -> Result<PathBuf, String> {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
    let root = roots.iter().map(Path::new).find(|root| root.join("cgroup.controllers").exists());
    let folder = root.and_then(|root| own_folder(root, &own));
    folder.ok_or_else(|| "this machine has no cgroup version 2".to_owned())
}

/// Which of those that are wanted a group has; without that for memory it is no use.
fn controllers_of(folder: &Path) -> Result<Vec<&'static str>, String> {
    let there = fs::read_to_string(folder.join("cgroup.controllers"))
        .map_err(|error| format!("{} can't be read: {error}", folder.display()))?;
    let has = |name: &&str| there.split_whitespace().any(|one| one == *name);
    let controllers: Vec<&'static str> = CONTROLLERS.into_iter().filter(has).collect();
    if controllers.contains(&"memory") {
        return Ok(controllers);
    }
    Err(format!("the group {} does not have the memory controller", folder.display()))
}

fn write(folder: &Path, file: &str, text: &str) -> io::Result<()> {
    fs::write(folder.join(file), text)
}

/// The folder of the group that `/proc/self/cgroup` tells.
fn own_folder(root: &Path, told: &str) -> Option<PathBuf> {
    let path = told.lines().find_map(|line| line.strip_prefix("0::"))?;
    // One that lies outside of what is mounted here is told with `..`.
    let inside = !path.split('/').any(|part| part == "..");
    inside.then(|| root.join(path.trim_start_matches('/')))
}

/// What is written into a group's files for `limits`.
fn settings(limits: &Limits) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    if let Some(memory) = limits.memory {
        all.push(("memory.max", memory.to_string()));
        all.push(("memory.high", (memory - memory / HIGH_BELOW).to_string()));
    }
    if let Some(milli) = limits.cpu_milli {
        all.push((
            "cpu.max",
            format!("{} {PERIOD_US}", (milli.saturating_mul(PERIOD_US) / 1_000).max(1_000)),
        ));
    }
    if let Some(processes) = limits.processes {
        all.push(("pids.max", processes.to_string()));
    }
    all
}

fn events_in(text: &str) -> MemoryEvents {
    MemoryEvents {
        killed: field(text, "oom_kill ").unwrap_or(0),
        at_limit: field(text, "oom ").unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_group_are_read_and_written_as_the_kernel_has_them() {
        let text = "low 0\nhigh 3\nmax 12\noom 2\noom_kill 7\noom_group_kill 1\n";
        assert_eq!(events_in(text), MemoryEvents { killed: 7, at_limit: 2 });
        assert_eq!(events_in(""), MemoryEvents::default());
        let limits =
            Limits { memory: Some(160 << 20), cpu_milli: Some(1_500), processes: Some(64) };
        settings(&Limits { cpu_milli: Some(u64::MAX), ..limits });
        let want = [
            ("memory.max", "167772160"),
            ("memory.high", "166461440"),
            ("cpu.max", "150000 100000"),
            ("pids.max", "64"),
        ];
        assert_eq!(settings(&limits), want.map(|(file, text)| (file, text.to_owned())));
        assert_eq!(settings(&Limits::default()), []);
    }

    #[test]
    fn the_own_group_is_found_in_each_layout() {
        let root = Path::new("/sys/fs/cgroup");
        let at = |told: &str| own_folder(root, told);
        assert_eq!(at("0::/user.slice/a.scope\n"), Some(root.join("user.slice/a.scope")));
        assert_eq!(at("4:memory:/x\n0::/\n"), Some(root.to_owned()));
        assert_eq!(at("4:memory:/x\n"), None);
        assert_eq!(at("0::/../../b\n"), None, "it is not mounted here");
    }

    #[test]
    fn a_group_without_the_memory_controller_is_no_use() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("cgroup.controllers"), "hugetlb pids\n").unwrap();
        let why = Cgroups::take(folder.path(), "e").unwrap_err();
        assert!(why.contains("does not have the memory controller"), "{why}");
        fs::write(folder.path().join("cgroup.controllers"), "cpu memory pids\n").unwrap();
        let left = folder.path().join("dagbok-tries/killed/7");
        fs::create_dir_all(&left).unwrap();
        let groups = Cgroups::take(folder.path(), "e").unwrap();
        assert!(!left.parent().unwrap().exists(), "what a killed executor left");
        let group = groups.make(&Limits { memory: Some(1 << 30), ..Limits::default() }).unwrap();
        let said = |file: &str| fs::read_to_string(group.path().join(file)).unwrap();
        assert_eq!(said("memory.max"), (1_u64 << 30).to_string());
        assert_eq!(groups.told(), "a cgroup for each try, which bounds memory, CPU, processes");
        let handed_out = folder.path().join("cgroup.subtree_control");
        assert_eq!(fs::read_to_string(handed_out).unwrap(), "+memory +cpu +pids");
    }
}
