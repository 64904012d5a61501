//! Walks the DAG folder. Links are followed (git-sync and ConfigMaps mount files as links), each
//! folder once on a path; what can't be read is told, never taken for gone.
use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::{
    IgnoreSyntax,
    home::{dag_folder, home_around, is_home},
    ignored::{Rules, is_never_read},
};

/// Folders within folders, at most.
const DEPTH: usize = 64;

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
}

/// Lists the folder. An error is about the folder itself; what lies in it goes to the problems.
pub(crate) fn list(folder: &Path, syntax: IgnoreSyntax) -> io::Result<Listing> {
    let root = dag_folder(folder)?;
    let home = home_around(&root);
    let mut walk = Walk { syntax, home, listing: Listing::default(), above: BTreeSet::new() };
    walk.enter(&root, "", &Rules::default(), true, 0);
    Ok(walk.listing)
}

struct Walk {
    syntax: IgnoreSyntax,
    /// The home that the folder itself lies in.
    home: Option<PathBuf>,
    listing: Listing,
    /// Real paths of the folders around the current one: a link back to one is not followed.
    above: BTreeSet<PathBuf>,
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
        if depth > 0 && self.is_of_home(folder, &real) {
            return;
        }
        if !self.above.insert(real.clone()) {
            return;
        }
        let problems = &mut self.listing.problems;
        let rules = around.inside(folder, self.syntax, &mut |problem| problems.push(problem));
        match fs::read_dir(folder) {
            Ok(entries) => {
                for entry in entries {
                    match entry {
                        Ok(entry) => self.entry(&entry.path(), prefix, &rules, may_define, depth),
                        Err(error) => self.problem(folder, &error),
                    }
                }
            }
            Err(error) => self.problem(folder, &error),
        }
        self.above.remove(&real);
    }

    /// Whether a folder below is a home or, by a link, in another one than the DAG folder itself.
    fn is_of_home(&mut self, folder: &Path, real: &Path) -> bool {
        let linked = !real.parent().is_some_and(|parent| self.above.contains(parent));
        let home = if linked { home_around(real) } else { is_home(real).then(|| real.to_owned()) };
        let Some(home) = home.filter(|home| home == real || self.home.as_ref() != Some(home))
        else {
            return false;
        };
        self.listing.homes.insert(folder.to_owned(), home);
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
        let may_define = may_define && !rules.not_parsed(path, is_dir);
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
}
