//! Walks the DAG folder. Links are followed (git-sync and ConfigMaps mount files as links), each
//! folder once on a path; what can't be read is told, never taken for gone.
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use dagbok_protocol::limits::{BRANCH_ENTRIES, FOLDER_ENTRIES};
use nix::sys::statfs::{FsType, statfs};

use crate::{
    IgnoreSyntax,
    home::{dag_folder, home_around, is_home},
    ignored::{Rules, is_never_read},
    project::{self, is_project},
};

/// Folders within folders, at most.
const DEPTH: usize = 64;
/// How long a walk may take: a file system that hangs must not keep what is known from being used.
const WALK_TIME: Duration = Duration::from_mins(1);

/// File systems that are views of the kernel, by their numbers: proc, sysfs, devpts, debugfs, tracefs,
/// securityfs, bpf, cgroup and cgroup2.
const KERNELS: [FsType; 9] = [
    FsType(0x9fa0),
    FsType(0x6265_6572),
    FsType(0x1cd1),
    FsType(0x6462_6720),
    FsType(0x7472_6163),
    FsType(0x7363_6673),
    FsType(0xcafe_4a11),
    FsType(0x0027_e0eb),
    FsType(0x6367_7270),
];

/// What the system says of a file; while it stays the same, so does the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) size: u64,
    /// Nanoseconds since the epoch.
    pub(crate) modified: i128,
    /// Nanoseconds since the epoch; can't be set back by `touch`.
    pub(crate) changed: i128,
    pub(crate) inode: u64,
}

impl Stamp {
    pub(crate) fn of(meta: &fs::Metadata) -> Self {
        let nanos = |secs: i64, nanos: i64| i128::from(secs) * 1_000_000_000 + i128::from(nanos);
        Self {
            size: meta.size(),
            modified: nanos(meta.mtime(), meta.mtime_nsec()),
            changed: nanos(meta.ctime(), meta.ctime_nsec()),
            inode: meta.ino(),
        }
    }
}

/// One regular file.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) path: PathBuf,
    pub(crate) stamp: Stamp,
    pub(crate) executable: bool,
    /// Whether `.airflowignore` lets it be a DAG file.
    pub(crate) may_define: bool,
}

/// The folder's files by their path in it, `/` between its parts.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) files: BTreeMap<String, Listed>,
    /// What could not be read: with any, a file that is missing may still be there.
    pub(crate) problems: Vec<String>,
    /// Folders and links that were passed over, with the home of an installation that each leads into.
    pub(crate) homes: BTreeMap<PathBuf, PathBuf>,
    /// Other folders and links that were passed over, and why.
    pub(crate) passed_over: BTreeMap<PathBuf, String>,
    /// The folders that were listed, to be watched.
    pub(crate) folders: Vec<Walked>,
}

/// A folder whose entries were listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Walked {
    pub(crate) path: PathBuf,
    /// Device and inode of what stands there, behind links.
    pub(crate) id: (u64, u64),
}

/// Lists the folder. An error is about the folder itself; what lies in it goes to the problems.
pub(crate) fn list(folder: &Path, syntax: IgnoreSyntax) -> io::Result<Listing> {
    list_within(folder, syntax, (FOLDER_ENTRIES, BRANCH_ENTRIES), WALK_TIME)
}

/// Lists the folder with at most so many entries in all, and below one folder or link of it.
fn list_within(
    folder: &Path,
    syntax: IgnoreSyntax,
    (most, most_below): (usize, usize),
    time: Duration,
) -> io::Result<Listing> {
    let root = dag_folder(folder)?;
    let mut walk = Walk {
        syntax,
        is_project: is_project(&root),
        home: home_around(&root),
        device: fs::metadata(&root)?.dev(),
        most_below,
        until: Instant::now() + time,
        listing: Listing::default(),
        above: BTreeSet::new(),
        branches: vec![Branch { entries: 0, most }],
        cut: None,
    };
    walk.enter(&root, "", &Rules::default(), true, 0);
    if walk.cut == Some(Cut::Branch(0)) {
        walk.problem(
            &root,
            &format!(
                "it has more than {most} files and folders, and what comes after is not read; move what is no \
                 code of DAGs out of it, or name it in a `.dagbokignore` (written as a .gitignore is)"
            ),
        );
    }
    Ok(walk.listing)
}

struct Walk {
    syntax: IgnoreSyntax,
    /// Whether its DAG files lie below `dags/` alone.
    is_project: bool,
    /// The home that the folder itself lies in.
    home: Option<PathBuf>,
    /// The file system that it lies on.
    device: u64,
    most_below: usize,
    until: Instant,
    listing: Listing,
    /// Real paths of the folders around the current one: a link back to one is not followed.
    above: BTreeSet<PathBuf>,
    /// What is counted of the folders around the current one: of the DAG folder itself, of each right in it
    /// and of each that a link leads to.
    branches: Vec<Branch>,
    /// Why the walk goes back up.
    cut: Option<Cut>,
}

/// A part of the folder that must not be too large.
struct Branch {
    entries: usize,
    most: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// This branch is too large.
    Branch(usize),
    /// The walk takes too long.
    Time,
}

impl Walk {
    fn enter(
        &mut self,
        folder: &Path,
        prefix: &str,
        around: &Rules,
        may_define: bool,
        depth: usize,
    ) {
        let real = match fs::canonicalize(folder) {
            Ok(real) => real,
            Err(error) => return self.problem(folder, &error),
        };
        if depth > DEPTH {
            return self.problem(folder, &format!("more than {DEPTH} folders deep"));
        }
        let linked = depth > 0 && !real.parent().is_some_and(|parent| self.above.contains(parent));
        if depth > 0 && (self.is_of_home(folder, &real, linked) || self.is_of_kernel(folder)) {
            return;
        }
        if !self.above.insert(real.clone()) {
            return;
        }
        if depth == 1 || linked {
            self.branches.push(Branch { entries: 0, most: self.most_below });
            self.read(folder, prefix, around, may_define, depth);
            self.leave_branch(folder, prefix);
        } else {
            self.read(folder, prefix, around, may_define, depth);
        }
        self.above.remove(&real);
    }

    fn read(
        &mut self,
        folder: &Path,
        prefix: &str,
        around: &Rules,
        may_define: bool,
        depth: usize,
    ) {
        if let Ok(meta) = fs::metadata(folder) {
            let (path, id) = (folder.to_owned(), (meta.dev(), meta.ino()));
            self.listing.folders.push(Walked { path, id });
        }
        let problems = &mut self.listing.problems;
        let rules = around.inside(folder, self.syntax, &mut |problem| problems.push(problem));
        let mut paths = Vec::new();
        match fs::read_dir(folder) {
            Ok(entries) => {
                for entry in entries {
                    match entry {
                        Ok(entry) => paths.push(entry.path()),
                        Err(error) => self.problem(folder, &error),
                    }
                    if paths.len() > self.most_below {
                        // Too many whatever they are: they are counted below.
                        break;
                    }
                }
            }
            Err(error) => self.problem(folder, &error),
        }
        // In the same order each time, so that where the walk is cut short it is cut at the same place.
        paths.sort_unstable();
        for path in paths {
            self.count();
            if self.cut.is_some() {
                return;
            }
            self.entry(&path, prefix, &rules, may_define, depth);
        }
    }

    /// Counts an entry, and cuts the walk short where that is one too many, or it takes too long.
    fn count(&mut self) {
        for branch in &mut self.branches {
            branch.entries += 1;
        }
        if self.cut.is_some() {
            return;
        }
        if self.branches.iter().any(|branch| branch.entries > branch.most) {
            // The innermost that is large itself is to blame, not what it lies in.
            let large = |branch: &Branch| branch.entries > branch.most / 2;
            self.cut = Some(Cut::Branch(self.branches.iter().rposition(large).unwrap_or(0)));
        } else if Instant::now() > self.until {
            self.cut = Some(Cut::Time);
            let path = self.listing.folders.last().map(|walked| walked.path.clone());
            let path = path.unwrap_or_default();
            self.problem(
                &path,
                &format!(
                    "the walk took longer than {WALK_TIME:?} and stopped here; what comes after is left as it \
                     was known. Move large folders out, or name them in a `.dagbokignore`"
                ),
            );
        }
    }

    /// Passes a branch over that is too large.
    fn leave_branch(&mut self, folder: &Path, prefix: &str) {
        let branch = self.branches.pop().expect("it was pushed before the branch was read");
        if self.cut != Some(Cut::Branch(self.branches.len())) {
            return;
        }
        self.cut = None;
        for around in &mut self.branches {
            around.entries -= branch.entries;
        }
        self.listing.files.retain(|name, _| !name.starts_with(prefix));
        self.listing.folders.retain(|walked| !walked.path.starts_with(folder));
        let most = branch.most;
        let why = format!("there are more than {most} files and folders in it");
        self.listing.passed_over.insert(folder.to_owned(), why);
    }

    /// Whether a folder below is a home or, by a link, in another one than the DAG folder itself.
    fn is_of_home(&mut self, folder: &Path, real: &Path, linked: bool) -> bool {
        let home = if linked { home_around(real) } else { is_home(real).then(|| real.to_owned()) };
        let Some(home) = home.filter(|home| home == real || self.home.as_ref() != Some(home))
        else {
            return false;
        };
        self.listing.homes.insert(folder.to_owned(), home);
        true
    }

    /// Whether a folder is none on a disk but a view of the kernel, as `/proc` is, which has no end.
    fn is_of_kernel(&mut self, folder: &Path) -> bool {
        if fs::metadata(folder).is_ok_and(|meta| meta.dev() == self.device) {
            return false;
        }
        let Ok(system) = statfs(folder) else { return false };
        if !KERNELS.contains(&system.filesystem_type()) {
            return false;
        }
        let why = "it holds no files but a view of the system, as /proc and /sys do".to_owned();
        self.listing.passed_over.insert(folder.to_owned(), why);
        true
    }

    fn entry(&mut self, path: &Path, prefix: &str, rules: &Rules, may_define: bool, depth: usize) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            return self.problem(path, &"its name is not UTF-8");
        };
        let meta = match fs::metadata(path) {
            Ok(meta) => meta,
            // A link that leads nowhere, such as an editor's lock, or a file that went just now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.problem(path, &error),
        };
        let is_dir = meta.is_dir();
        if is_never_read(path, name, is_dir) || rules.not_published(path, is_dir) {
            return;
        }
        let beside = self.is_project && prefix.is_empty() && name != project::DAGS;
        let may_define = may_define && !beside && !rules.not_parsed(path, is_dir);
        if is_dir {
            self.enter(path, &format!("{prefix}{name}/"), rules, may_define, depth + 1);
        } else if meta.is_file() {
            let listed = Listed {
                path: path.to_owned(),
                stamp: Stamp::of(&meta),
                executable: meta.mode() & 0o100 != 0,
                may_define,
            };
            self.listing.files.insert(format!("{prefix}{name}"), listed);
        }
    }

    fn problem(&mut self, path: &Path, why: &dyn std::fmt::Display) {
        self.listing.problems.push(format!("`{}`: {why}", path.display()));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::mark_home;

    #[test]
    fn what_leads_into_a_home_is_named_as_it_stands_in_the_folder() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| fs::canonicalize(root.path()).unwrap().join(name);
        fs::create_dir_all(at("dags")).unwrap();
        fs::create_dir_all(at("home/blobs")).unwrap();
        mark_home(&at("home"));
        mark_home(&at("dags/state"));
        symlink(at("home/blobs"), at("dags/linked")).unwrap();
        let listing = list(&at("dags"), IgnoreSyntax::Glob).unwrap();
        let homes = [(at("dags/linked"), at("home")), (at("dags/state"), at("dags/state"))];
        assert_eq!(listing.homes, BTreeMap::from(homes));
    }

    #[test]
    fn files_beside_the_dags_of_a_project_are_code_and_no_dag_files() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| fs::canonicalize(root.path()).unwrap().join(name);
        for folder in ["dags/lib", "plugins", "tests"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        let files = ["dags/a.py", "dags/lib/b.py", "plugins/own.py", "setup.py", "tests/test_a.py"];
        for file in files {
            fs::write(at(file), "").unwrap();
        }
        let may_define = || {
            let listing = list(&at(""), IgnoreSyntax::Glob).unwrap();
            assert_eq!(names(&listing), files, "all of it is published");
            let define = listing.files.iter().filter(|(_, listed)| listed.may_define);
            define.map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(may_define(), ["dags/a.py", "dags/lib/b.py"]);
        fs::rename(at("plugins"), at("own")).unwrap();
        let listing = list(&at(""), IgnoreSyntax::Glob).unwrap();
        assert!(
            listing.files["setup.py"].may_define,
            "a folder of DAGs that has one called `dags`"
        );
    }

    /// A folder with a DAG file, a `lib` and, in that, a link to a tree of so many files.
    fn with_a_tree(files: usize) -> (tempfile::TempDir, PathBuf) {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| fs::canonicalize(root.path()).unwrap().join(name);
        for folder in ["dags/lib", "dags/zz", "tree/deep"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        for file in ["dags/a.py", "dags/lib/b.py", "dags/zz/c.py"] {
            fs::write(at(file), "").unwrap();
        }
        for n in 0..files {
            fs::write(at(&format!("tree/{}{n}", if n % 2 == 0 { "" } else { "deep/" })), "")
                .unwrap();
        }
        symlink(at("tree"), at("dags/lib/linked")).unwrap();
        let dags = at("dags");
        (root, dags)
    }

    fn names(listing: &Listing) -> Vec<&str> {
        listing.files.keys().map(String::as_str).collect()
    }

    #[test]
    fn a_link_to_a_tree_without_end_is_passed_over_and_the_rest_is_read() {
        let (_root, dags) = with_a_tree(100);
        let limits =
            |most, below| list_within(&dags, IgnoreSyntax::Glob, (most, below), WALK_TIME).unwrap();
        let listing = limits(1_000, 50);
        assert_eq!(names(&listing), ["a.py", "lib/b.py", "zz/c.py"]);
        assert!(listing.problems.is_empty(), "{:?}", listing.problems);
        let (path, why) = listing.passed_over.first_key_value().unwrap();
        assert_eq!((path, listing.passed_over.len()), (&dags.join("lib/linked"), 1));
        assert!(why.contains("more than 50"), "{why}");
        assert!(listing.folders.iter().all(|walked| !walked.path.starts_with(path)));
        let whole = limits(1_000, 500);
        assert_eq!((whole.files.len(), whole.passed_over.len()), (103, 0));
        // The whole folder's limit names what most of it is in; the same each time.
        assert_eq!(names(&limits(60, 500)).len(), names(&limits(60, 500)).len());
        let whole = limits(60, 500);
        assert!(whole.problems[0].contains("more than 60"), "{:?}", whole.problems);
        assert!(whole.files.contains_key("a.py"));
    }

    #[test]
    fn a_link_to_proc_is_passed_over_at_once() {
        let (_root, dags) = with_a_tree(0);
        for (link, to) in [("system", "/proc"), ("sys", "/sys"), ("self", "/proc/self")] {
            symlink(to, dags.join(link)).unwrap();
        }
        let listing = list(&dags, IgnoreSyntax::Glob).unwrap();
        assert_eq!(names(&listing), ["a.py", "lib/b.py", "zz/c.py"]);
        assert_eq!(listing.passed_over.len(), 3, "{:?}", listing.passed_over);
    }

    /// Names of one file: that is quicker than as many files.
    fn names_below(folder: &Path, count: usize) {
        fs::create_dir(folder).unwrap();
        let one = folder.join("first.txt");
        fs::write(&one, "").unwrap();
        (1..count).for_each(|n| fs::hard_link(&one, folder.join(format!("{n}"))).unwrap());
    }

    #[test]
    fn a_folder_has_so_many_entries_and_a_branch_of_it_so_many() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| fs::canonicalize(root.path()).unwrap().join(name);
        fs::write(at("a.py"), "").unwrap();
        let read = || {
            let listing = list_within(
                &at(""),
                IgnoreSyntax::Glob,
                (FOLDER_ENTRIES, BRANCH_ENTRIES),
                Duration::from_mins(5),
            );
            let listing = listing.unwrap();
            (listing.passed_over.len(), listing.problems.len())
        };
        names_below(&at("b0"), BRANCH_ENTRIES);
        assert_eq!(read(), (0, 0));
        let one_more = at("b0/one more");
        fs::write(&one_more, "").unwrap();
        assert_eq!(read(), (1, 0));
        fs::remove_file(&one_more).unwrap();
        // Beside the first branch and the file there are the other branches, and what is in them.
        let branches = FOLDER_ENTRIES / BRANCH_ENTRIES;
        let left = FOLDER_ENTRIES - BRANCH_ENTRIES - 1 - branches;
        for n in 1..branches {
            let of = left / (branches - 1) + usize::from(n <= left % (branches - 1));
            names_below(&at(&format!("b{n}")), of);
        }
        assert_eq!(read(), (0, 0));
        fs::write(at("z.py"), "").unwrap();
        assert_eq!(read(), (0, 1));
    }

    #[test]
    fn a_walk_that_takes_too_long_says_so_and_takes_nothing_for_gone() {
        let (_root, dags) = with_a_tree(10);
        let listing =
            list_within(&dags, IgnoreSyntax::Glob, (1_000, 1_000), Duration::ZERO).unwrap();
        assert!(listing.problems[0].contains("took longer"), "{:?}", listing.problems);
    }
}
