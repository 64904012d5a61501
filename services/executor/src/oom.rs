//! Whether the kernel killed for memory lately: its counters, read when a try dies by SIGKILL that nobody
//! here sent. A kernel of neither kind of cgroup still has the machine's own counter.
use std::{
    fs,
    path::{Path, PathBuf},
};

use parking_lot::Mutex;

use crate::cgroup::OWN;

/// The counters, and how high they stood.
#[derive(Debug)]
pub(crate) struct OomWatch {
    sources: Vec<Source>,
    seen: Mutex<Seen>,
}

/// The height at the last look and at the one before: a killed process may take its time to be gone, so a
/// kill explains a death up to the second look after it.
#[derive(Debug, Default)]
struct Seen {
    older: u64,
    newer: u64,
}

#[derive(Debug)]
struct Source(PathBuf);

impl OomWatch {
    /// Finds the counters of this process' cgroup, or else the machine's.
    pub(crate) fn new() -> Self {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mut sources = own_groups(&groups);
        sources.retain(|source| source.read().is_some());
        if sources.is_empty() {
            sources.push(Source(PathBuf::from("/proc/vmstat")));
        }
        let watch = Self { sources, seen: Mutex::default() };
        watch.look();
        watch.look();
        watch
    }

    /// Notes how high the counters stand, so that what happened long before is not taken for what comes.
    pub(crate) fn look(&self) {
        let now = self.sum();
        let mut seen = self.seen.lock();
        seen.older = std::mem::replace(&mut seen.newer, now);
    }

    /// Whether there was a kill that no other try was told of.
    pub(crate) fn claim(&self) -> bool {
        let now = self.sum();
        let mut seen = self.seen.lock();
        let rose = now > seen.older;
        if rose {
            seen.older += 1;
            seen.newer = seen.newer.max(seen.older);
        }
        rose
    }

    /// What this process and all that it starts may use together, in bytes; `None` where only the machine bounds it.
    pub(crate) fn limit(&self) -> Option<u64> {
        self.sources.iter().find_map(|source| {
            // What a unit does not bound, a slice above it may.
            source.0.ancestors().skip(1).find_map(limit_of)
        })
    }

    fn sum(&self) -> u64 {
        self.sources.iter().find_map(Source::read).unwrap_or(0)
    }
}

impl Source {
    fn read(&self) -> Option<u64> {
        count_in(&fs::read_to_string(&self.0).ok()?)
    }
}

/// A group's own limit.
fn limit_of(folder: &Path) -> Option<u64> {
    let files = ["memory.max", "memory.limit_in_bytes"];
    let text = files.iter().find_map(|file| fs::read_to_string(folder.join(file)).ok())?;
    // Without a limit version 1 says the largest number of pages.
    text.trim().parse().ok().filter(|limit| *limit < 1 << 60)
}

fn count_in(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")).and_then(|n| n.trim().parse().ok())
}

/// The files that count kills in this process' own memory cgroup: version 2 first, then version 1.
fn own_groups(groups: &str) -> Vec<Source> {
    let at = |root: &str, path: &str, file: &str| {
        Source(PathBuf::from(root).join(path.trim_start_matches('/')).join(file))
    };
    let mut sources = vec![];
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        if controllers.is_empty() {
            // An executor that gives each try a group stands beside them: who is killed counts above both.
            let path = path.strip_suffix(OWN).unwrap_or(path);
            sources.push(at("/sys/fs/cgroup", path, "memory.events"));
            sources.push(at("/sys/fs/cgroup/unified", path, "memory.events"));
        } else if controllers.split(',').any(|one| one == "memory") {
            sources.push(at("/sys/fs/cgroup/memory", path, "memory.oom_control"));
            // In a container the group's own path is not visible: it is mounted as the root.
            sources.push(at("/sys/fs/cgroup/memory", "", "memory.oom_control"));
        }
    }
    sources
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_are_found_in_each_kind_of_file() {
        assert_eq!(
            count_in("low 0\nhigh 3\nmax 1\noom 2\noom_kill 7\noom_group_kill 0\n"),
            Some(7)
        );
        assert_eq!(count_in("oom_kill_disable 0\nunder_oom 0\noom_kill 4\n"), Some(4));
        assert_eq!(count_in("nothing of the kind\n"), None);
        let found: Vec<_> =
            own_groups("4:memory:/a/b\n1:cpu:/x\n0::/c\n").into_iter().map(|one| one.0).collect();
        assert_eq!(found[0], PathBuf::from("/sys/fs/cgroup/memory/a/b/memory.oom_control"));
        assert!(found.contains(&PathBuf::from("/sys/fs/cgroup/c/memory.events")));
        // Its tries are in groups beside the one that it moved to.
        let beside = own_groups("0::/a.slice/unit.service/dagbok-executor\n");
        let unit = Path::new("/sys/fs/cgroup/a.slice/unit.service/memory.events");
        assert_eq!(beside[0].0, unit);
    }

    #[test]
    fn the_limit_is_that_of_the_nearest_group_that_has_one() {
        let slice = tempfile::tempdir().unwrap();
        let unit = slice.path().join("unit.service");
        fs::create_dir(&unit).unwrap();
        fs::write(slice.path().join("memory.max"), "1000\n").unwrap();
        fs::write(unit.join("memory.max"), "max\n").unwrap();
        let sources = vec![Source(unit.join("memory.events"))];
        let watch = OomWatch { sources, seen: Mutex::default() };
        assert_eq!(watch.limit(), Some(1_000));
        fs::write(unit.join("memory.max"), "70\n").unwrap();
        assert_eq!(watch.limit(), Some(70));
    }

    #[test]
    fn each_kill_explains_one_try() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "oom_kill 1\n").unwrap();
        let watch =
            OomWatch { sources: vec![Source(file.path().to_owned())], seen: Mutex::default() };
        watch.look();
        watch.look();
        assert!(!watch.claim());
        fs::write(file.path(), "oom_kill 2\n").unwrap();
        watch.look();
        assert!(watch.claim(), "seen by a look, and not yet by the process' end");
        assert!(!watch.claim());
        watch.look();
        watch.look();
        fs::write(file.path(), "oom_kill 4\n").unwrap();
        watch.look();
        watch.look();
        assert!(!watch.claim(), "long ago");
    }
}
