//! What a reading depended on: the files that it read, the names in folders that it listed, and what stood
//! where it looked for modules.
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use dagbok_events::encode_any;

use crate::{
    ParsedFile,
    snapshot::{FileFacts, Hash, Snapshot, hash_bytes},
};

/// What one reading of a file depended on, as it was then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Inputs {
    /// The files that were read, and their content; `None` for one that is not in the folder.
    files: BTreeMap<String, Option<Hash>>,
    /// The folders that were listed, and the hash of the names in them.
    folders: BTreeMap<String, Hash>,
    /// Where modules were looked for, found there or not.
    places: BTreeSet<String>,
    /// What stood there.
    standing: BTreeMap<String, Option<Hash>>,
}

impl Inputs {
    /// Of what was parsed while the folder was as in `snapshot`.
    pub(super) fn of(parsed: &ParsedFile, snapshot: &Snapshot) -> Self {
        let names = parsed.imports.iter().chain([&parsed.file]);
        let files = names.map(|name| (name.clone(), snapshot.hash_of(name))).collect();
        let folders = parsed.listed.iter().map(|name| (name.clone(), names_in(name, snapshot)));
        let places: BTreeSet<_> = parsed.sought.iter().cloned().collect();
        let standing = standing(&places, snapshot);
        Self { files, folders: folders.collect(), places, standing }
    }

    /// The files that were read, and their content.
    pub(super) fn files(&self) -> &BTreeMap<String, Option<Hash>> {
        &self.files
    }

    /// Whether `snapshot` has the same content, and the folder still is as it says.
    pub(super) fn are_current(&self, snapshot: &Snapshot) -> bool {
        self.are_of(snapshot)
            && self.files.iter().all(|(name, hash)| hash.is_none() || snapshot.is_current(name))
    }

    /// The first file that is another in `snapshot`, or since; `None` where it is what stands in a folder.
    pub(super) fn first_changed(&self, snapshot: &Snapshot) -> Option<&str> {
        let stands = |name: &str, hash: &Option<Hash>| {
            snapshot.hash_of(name) == *hash && (hash.is_none() || snapshot.is_current(name))
        };
        let mut changed = self.files.iter().filter(|(name, hash)| !stands(name, hash));
        changed.next().map(|(name, _)| name.as_str())
    }

    /// Whether `snapshot` has the same content.
    pub(super) fn are_of(&self, snapshot: &Snapshot) -> bool {
        self.files.iter().all(|(name, hash)| snapshot.hash_of(name) == *hash)
            && self.folders.iter().all(|(name, names)| names_in(name, snapshot) == *names)
            && standing(&self.places, snapshot) == self.standing
    }
}

/// The hash of the names that stand right in a folder, files and folders alike.
fn names_in(folder: &str, snapshot: &Snapshot) -> Hash {
    let start = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let inside = beginning_with(&start, snapshot)
        .filter_map(|(file, _)| file[start.len()..].split('/').next());
    let names: BTreeSet<_> = inside.collect();
    hash_bytes(&encode_any(&names))
}

/// What Python could take for the modules of these places, with its content; a folder, which is a package
/// where nothing else is, by its name alone.
fn standing(places: &BTreeSet<String>, snapshot: &Snapshot) -> BTreeMap<String, Option<Hash>> {
    let mut standing = BTreeMap::new();
    let mut add_modules = |stem: &str| {
        let modules = beginning_with(stem, snapshot).filter(|(file, _)| is_module(file, stem));
        standing.extend(modules.map(|(file, facts)| (file.clone(), Some(facts.hash))));
    };
    let mut folders = Vec::new();
    for place in places {
        add_modules(&format!("{place}."));
        let folder = format!("{place}/");
        if beginning_with(&folder, snapshot).next().is_some() {
            add_modules(&format!("{folder}__init__."));
            folders.push((folder, None));
        }
    }
    standing.extend(folders);
    standing
}

/// Whether a file that begins with `stem` is a module of that name: in Python, or compiled for a machine.
fn is_module(file: &str, stem: &str) -> bool {
    let ending = &file[stem.len()..];
    ending == "py" || (ending.rsplit('.').next() == Some("so") && !ending.contains('/'))
}

fn beginning_with<'a>(
    start: &'a str,
    snapshot: &'a Snapshot,
) -> impl Iterator<Item = (&'a String, &'a FileFacts)> {
    let from = (Bound::Included(start), Bound::Unbounded);
    snapshot.files.range::<str, _>(from).take_while(move |(name, _)| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use dagbok_events::Timestamp;

    use super::*;
    use crate::IgnoreSyntax;

    /// A folder as it is with these files.
    fn folder(files: &[(&str, &str)]) -> Snapshot {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let now = Timestamp(i64::MAX);
        Snapshot::take(folder.path(), IgnoreSyntax::Glob, &Snapshot::default(), now).unwrap()
    }

    fn all(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn inputs(imports: &[&str], sought: &[&str], before: &Snapshot) -> Inputs {
        let (imports, sought) = (all(imports), all(sought));
        Inputs::of(
            &ParsedFile { file: "dag.py".into(), imports, sought, ..ParsedFile::default() },
            before,
        )
    }

    #[test]
    fn only_what_could_be_the_module_that_was_sought_makes_another_folder_of_it() {
        let inputs = inputs(&[], &["lib", "lib/names"], &folder(&[("dag.py", "")]));
        let changed = |file: &str| !inputs.are_of(&folder(&[("dag.py", ""), (file, "")]));
        for file in [
            "lib.py",
            "lib/names.py",
            "lib/names/__init__.py",
            "lib/names/deep/part.py",
            "lib.abi3.so",
            "lib.so",
        ] {
            assert!(changed(file), "{file}");
        }
        for file in
            ["names.py", "library.py", "other/lib.py", "lib.txt", "lib.test.py", "lib.d/x.so"]
        {
            assert!(!changed(file), "{file}");
        }
    }

    #[test]
    fn a_module_that_was_found_counts_by_its_content_and_a_package_by_what_makes_it_one() {
        let text = |module, init, part| {
            folder(&[
                ("dag.py", ""),
                ("a.py", module),
                ("b/__init__.py", init),
                ("b/part.py", part),
            ])
        };
        let inputs = inputs(&[], &["a", "b"], &text("1", "1", "1"));
        assert!(inputs.are_of(&text("1", "1", "1")));
        assert!(!inputs.are_of(&text("2", "1", "1")));
        assert!(!inputs.are_of(&text("1", "2", "1")));
        assert!(inputs.are_of(&text("1", "1", "2")), "nobody looked for `b.part`");
    }

    #[test]
    fn a_file_that_was_asked_for_counts_by_its_content_and_by_being_there() {
        let before = folder(&[("dag.py", ""), ("data.json", "1")]);
        let inputs = inputs(&["data.json", "more.json"], &[], &before);
        assert!(inputs.are_of(&folder(&[("dag.py", ""), ("data.json", "1"), ("x.json", "")])));
        assert!(!inputs.are_of(&folder(&[("dag.py", ""), ("data.json", "2")])));
        assert!(!inputs.are_of(&folder(&[("dag.py", ""), ("data.json", "1"), ("more.json", "")])));
        assert!(!inputs.are_of(&folder(&[("dag.py", "changed"), ("data.json", "1")])));
    }
    #[test]
    fn a_folder_that_was_listed_counts_by_the_names_right_in_it() {
        let (file, listed) = ("dag.py".to_owned(), all(&["", "sql"]));
        let parsed = ParsedFile { file, listed, ..ParsedFile::default() };
        let inputs = Inputs::of(&parsed, &folder(&[("dag.py", ""), ("sql/a.sql", "1")]));
        let stands = |more: &[(&str, &str)]| {
            inputs.are_of(&folder(&[&[("dag.py", ""), ("sql/a.sql", "2")], more].concat()))
        };
        assert!(stands(&[]), "what is in a file that nobody opened");
        assert!(!stands(&[("b.py", "")]));
        assert!(!stands(&[("sql/b.sql", "")]));
        assert!(!stands(&[("sql/deep/b.sql", "")]), "a new folder in it");
        let deep = |names: &[(&str, &str)]| Inputs::of(&parsed, &folder(names));
        let first = deep(&[("dag.py", ""), ("sql/deep/a.sql", "")]);
        assert_eq!(first, deep(&[("dag.py", ""), ("sql/deep/b.sql", "")]), "deeper than it looked");
    }
}
