//! Reads what a process and all below it use, from /proc.
use std::{
    fs,
    path::{Path, PathBuf},
};

use dagbok_protocol::limits::PROCESSES_PER_TRY;

use super::series::Sample;

/// A tree of more processes is taken at their resident memory: what they share is counted for each of them then.
const SHARES_LOOKED_AT: usize = 64;

/// Where processes are looked at, and in what the kernel counts.
#[derive(Clone, Debug)]
pub(crate) struct Proc {
    root: PathBuf,
    page: u64,
    tick_us: u64,
}

/// What `/proc/<pid>/stat` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stat {
    /// The program's name.
    pub(crate) name: String,
    /// CPU time of it and of its children that are gone, in ticks.
    ticks: u64,
    /// How many threads it has.
    threads: u32,
    /// When it began, in ticks since boot: tells it from another process of its number.
    pub(crate) began: u64,
    /// Resident pages.
    pages: u64,
}

/// One process of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its number.
    pub(crate) pid: u32,
    /// Its program's name.
    pub(crate) name: String,
    /// Its resident memory, in bytes.
    pub(crate) resident: u64,
}

/// What a look found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// All of them together.
    pub(crate) sample: Sample,
    /// The one with the most memory.
    pub(crate) largest: Option<Member>,
    /// All pids.
    pub(crate) pids: Vec<u32>,
}

impl Proc {
    /// The machine's own.
    pub(crate) fn new() -> Self {
        Self {
            root: PathBuf::from("/proc"),
            page: rustix::param::page_size() as u64,
            tick_us: 1_000_000 / rustix::param::clock_ticks_per_second().max(1),
        }
    }

    /// What a process says of itself; `None` where it is gone.
    pub(crate) fn stat(&self, pid: u32) -> Option<Stat> {
        parse_stat(&fs::read_to_string(self.of(pid).join("stat")).ok()?)
    }

    /// All that `pid` and what is below it use; `None` where it is gone, or began at another time.
    pub(crate) fn look(&self, pid: u32, began: u64) -> Option<Seen> {
        let first = self.stat(pid).filter(|stat| stat.began == began)?;
        let mut seen = Seen::default();
        let (mut resident, mut waiting) = (0, vec![(pid, first)]);
        while let Some((pid, stat)) = waiting.pop() {
            self.add(pid, &stat, &mut seen);
            resident += stat.pages * self.page;
            for child in self.children(pid, stat.threads) {
                if seen.pids.len() + waiting.len() >= PROCESSES_PER_TRY {
                    break;
                }
                if let Some(stat) = self.stat(child) {
                    waiting.push((child, stat));
                }
            }
        }
        seen.sample.memory = self.memory(&seen, resident);
        Some(seen)
    }

    fn add(&self, pid: u32, stat: &Stat, seen: &mut Seen) {
        let sample = &mut seen.sample;
        sample.cpu_us += stat.ticks * self.tick_us;
        sample.processes += 1;
        sample.threads += stat.threads;
        // Of another user's process nobody but root is told.
        let io = fs::read_to_string(self.of(pid).join("io")).unwrap_or_default();
        sample.read_bytes += field(&io, "read_bytes:").unwrap_or(0);
        sample.written_bytes += field(&io, "write_bytes:").unwrap_or(0);
        let own = stat.pages * self.page;
        if seen.largest.as_ref().is_none_or(|largest| largest.resident < own) {
            seen.largest = Some(Member { pid, name: stat.name.clone(), resident: own });
        }
        seen.pids.push(pid);
    }

    /// Of one process its resident memory. Of several, pages that they share count once: each has its share of
    /// them, and the largest is at least there as a whole, since it shares with the process that forked it too.
    fn memory(&self, seen: &Seen, resident: u64) -> u64 {
        if seen.pids.len() < 2 || seen.pids.len() > SHARES_LOOKED_AT {
            return resident;
        }
        let mut shares = 0;
        for pid in &seen.pids {
            let Ok(text) = fs::read_to_string(self.of(*pid).join("smaps_rollup")) else {
                // Gone meanwhile, or not ours to look at.
                continue;
            };
            shares += field(&text, "Pss:").unwrap_or(0) * 1_024;
        }
        let largest = seen.largest.as_ref().map_or(0, |largest| largest.resident);
        if shares == 0 { resident } else { shares.max(largest) }
    }

    /// The children of all of its threads.
    fn children(&self, pid: u32, threads: u32) -> Vec<u32> {
        let tasks = self.of(pid).join("task");
        let of = |task: &Path| fs::read_to_string(task.join("children")).unwrap_or_default();
        let texts = if threads < 2 {
            vec![of(&tasks.join(pid.to_string()))]
        } else {
            let entries = fs::read_dir(tasks).into_iter().flatten().flatten();
            entries.map(|task| of(&task.path())).collect()
        };
        texts
            .iter()
            .flat_map(|text| text.split_whitespace())
            .filter_map(|n| n.parse().ok())
            .collect()
    }

    fn of(&self, pid: u32) -> PathBuf {
        self.root.join(pid.to_string())
    }
}

/// The number behind `name` at the beginning of a line.
pub(crate) fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// A program may be called anything, with spaces and brackets: the last bracket ends its name.
fn parse_stat(text: &str) -> Option<Stat> {
    let (head, rest) = text.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |place: usize| fields.get(place).and_then(|text| text.parse::<u64>().ok());
    Some(Stat {
        name: name.to_owned(),
        ticks: (11..=14).map(|place| number(place).unwrap_or(0)).sum(),
        threads: u32::try_from(number(17)?).ok()?,
        began: number(19)?,
        pages: number(21)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "71 (a) (b c) S 1 71 71 0 -1 4194560 900 0 3 0 7 5 30 4 20 0 6 0 4242 9000000 250 \
                        18446744073709551615 1 1 0 0 0 0 0 0";

    #[test]
    fn a_line_of_a_process_is_read_whatever_its_name() {
        let stat =
            Stat { name: "a) (b c".to_owned(), ticks: 46, threads: 6, began: 4242, pages: 250 };
        assert_eq!(parse_stat(STAT), Some(stat));
        for torn in ["", "71 (a", "71 (a) S 1 2", "no brackets"] {
            assert_eq!(parse_stat(torn), None);
        }
    }

    #[test]
    fn figures_are_found_by_their_names() {
        let text = "rchar: 3\nread_bytes: 4096\nwrite_bytes: 12\ncancelled_write_bytes: 7\n";
        assert_eq!(field(text, "read_bytes:"), Some(4_096));
        assert_eq!(field(text, "write_bytes:"), Some(12));
        assert_eq!(field("Rss:  5 kB\nPss:  90 kB\n", "Pss:"), Some(90));
        assert_eq!(field(text, "nothing:"), None);
    }

    /// A tree of a parent and its children, as the kernel writes of one.
    fn family(children: usize) -> (tempfile::TempDir, Proc) {
        let root = tempfile::tempdir().unwrap();
        let put = |pid: usize, below: &str| {
            let task = root.path().join(format!("{pid}/task/{pid}"));
            fs::create_dir_all(&task).unwrap();
            let stat = STAT.replace("4 20 0 6 0", "4 20 0 1 0");
            fs::write(root.path().join(format!("{pid}/stat")), stat).unwrap();
            fs::write(task.join("children"), below).unwrap();
        };
        let all: Vec<String> = (2..children + 2).map(|pid| pid.to_string()).collect();
        put(1, &all.join(" "));
        (2..children + 2).for_each(|pid| put(pid, ""));
        let proc = Proc { root: root.path().to_owned(), page: 4_096, tick_us: 10_000 };
        (root, proc)
    }

    #[test]
    fn of_so_many_processes_each_is_looked_at() {
        for (children, seen) in [
            (PROCESSES_PER_TRY - 1, PROCESSES_PER_TRY),
            (PROCESSES_PER_TRY + 9, PROCESSES_PER_TRY),
            (3, 4),
        ] {
            let (_root, proc) = family(children);
            assert_eq!(proc.look(1, 4_242).unwrap().pids.len(), seen);
        }
    }

    #[test]
    fn a_process_is_seen_with_what_it_started() {
        let started = std::process::Command::new("sleep").arg("60").spawn();
        let mut child = started.expect("sleep is there");
        let (proc, own) = (Proc::new(), std::process::id());
        let began = proc.stat(own).unwrap().began;
        let seen = proc.look(own, began).unwrap();
        assert!(seen.pids.contains(&own) && seen.pids.contains(&child.id()));
        assert!(seen.sample.processes >= 2 && seen.sample.threads >= 2);
        assert!(seen.sample.memory >= seen.largest.unwrap().resident);
        assert_eq!(proc.look(own, began + 1), None, "another process that has its number");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
