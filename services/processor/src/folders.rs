//! Several DAG folders at once: what each goes by in the facts, and that none lies in another.
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path, PathBuf},
};

use dagbok_events::{folder_of, path_in_folder};
use dagbok_zipped::splits;

use crate::{
    ProcessorError, ProcessorSettings,
    holders::{Holder, Holders},
    home::dag_folder,
    roots::Roots,
};

/// How people say that a folder goes by no name in the facts, where it is one of several processors'.
pub const UNNAMED: &str = "default";
/// The longest name, in bytes.
const NAME_BYTES: usize = 64;
/// What most DAG folders are called, which tells none from another, and Airflow a bundle that nobody named.
pub const COMMON: &str = "dags";

/// Whether a folder may be named so.
pub fn is_folder_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    !name.is_empty() && name.len() <= NAME_BYTES && name.bytes().all(is_plain)
}

/// Makes sure that each folder can be read, that none is or lies in another and that no two have one name; returns
/// them without links.
pub fn check_folders(folders: &[ProcessorSettings]) -> Result<Vec<PathBuf>, ProcessorError> {
    let mut roots: Vec<PathBuf> = Vec::new();
    let mut named: BTreeMap<&str, &Path> = BTreeMap::new();
    for ProcessorSettings { folder, name, .. } in folders {
        let root = dag_folder(folder).map_err(|error| ProcessorError::NoFolder {
            folder: folder.clone(),
            why: error.to_string(),
        })?;
        for (other, before) in roots.iter().zip(folders) {
            let other_folder = before.folder.clone();
            let nested = |inner, outer| Err(ProcessorError::Nested { inner, outer });
            if root.starts_with(other) {
                return nested(folder.clone(), other_folder);
            }
            if other.starts_with(&root) {
                return nested(other_folder, folder.clone());
            }
        }
        if let Some(name) = name
            && let Some(other) = named.insert(name, folder)
        {
            return Err(same_name(name, other, folder));
        }
        roots.push(root);
    }
    Ok(roots)
}

/// What each folder goes by in the facts; `None` for the one whose files are named by their paths alone. A name that
/// was said holds. Else a folder keeps what it went by where it lies, or what its files that are `known` go by, so that
/// nothing is another file because a folder was added, taken away or named at another place; what is new goes by its own
/// name, but for the first where no other has that place. What `others` hold, processors elsewhere, is not taken.
pub(crate) fn names(
    folders: &[ProcessorSettings],
    known: &BTreeSet<String>,
    roots: &Roots,
    others: &Holders,
) -> Result<Vec<Option<String>>, ProcessorError> {
    let mut found: Vec<Option<GoesBy>> = folders.iter().map(said).collect();
    let mut claims: Vec<_> =
        folders.iter().enumerate().flat_map(|(at, it)| claims(at, it, known, roots)).collect();
    claims.sort();
    for Claim { at, name, .. } in claims {
        if found[at].is_none() && is_free(&found, others, &name) {
            found[at] = Some(name);
        }
    }
    for (at, ProcessorSettings { folder, .. }) in folders.iter().enumerate() {
        if found[at].is_some() {
            continue;
        }
        let own = own_name(folder);
        let choices = [GoesBy(None), GoesBy(Some(own.clone()))];
        let Some(name) = choices.into_iter().find(|name| is_free(&found, others, name)) else {
            if let Some(Holder { host, place }) = others.get(&own).cloned() {
                let folder = folder.clone();
                return Err(ProcessorError::Held { name: own, folder, place, host });
            }
            let taken = Some(GoesBy(Some(own.clone())));
            let other = found.iter().position(|it| *it == taken).unwrap_or(at);
            return Err(same_name(&own, &folders[other].folder, folder));
        };
        found[at] = Some(name);
    }
    Ok(found.into_iter().map(|name| name.and_then(|GoesBy(name)| name)).collect())
}

/// What a folder goes by; `None` is no name, which one folder has alone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct GoesBy(Option<String>);

impl GoesBy {
    /// What people call it.
    fn said(&self) -> &str {
        self.0.as_deref().unwrap_or(UNNAMED)
    }
}

fn is_free(found: &[Option<GoesBy>], others: &Holders, name: &GoesBy) -> bool {
    found.iter().flatten().all(|taken| taken != name) && !others.contains_key(name.said())
}

/// What a folder may go by, the strongest first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Claim {
    why: Why,
    /// How many of its files go by it.
    files: Reverse<usize>,
    at: usize,
    name: GoesBy,
}

/// Why a folder may go by something.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    /// It did where it lies.
    Place,
    /// Files that it has go by its own name.
    Name,
    /// Files that it has go by their paths alone, which others' may too.
    Files,
}

fn claims(
    at: usize,
    of: &ProcessorSettings,
    known: &BTreeSet<String>,
    roots: &Roots,
) -> Vec<Claim> {
    let folder = &of.folder;
    if of.name.is_some() {
        return Vec::new();
    }
    if let Some(name) = roots.get(&*folder.to_string_lossy()) {
        return vec![Claim { why: Why::Place, files: Reverse(0), at, name: GoesBy(name.clone()) }];
    }
    let by = |why: Why, name: Option<String>| {
        let of_it = known.iter().filter(|file| folder_of(file) == name.as_deref());
        let count = of_it.filter(|file| holds(folder, path_in_folder(file))).count();
        (count > 0).then_some(Claim { why, files: Reverse(count), at, name: GoesBy(name) })
    };
    let own = by(Why::Name, Some(own_name(folder)));
    own.into_iter().chain(by(Why::Files, None)).collect()
}

fn said(settings: &ProcessorSettings) -> Option<GoesBy> {
    let name = settings.name.clone()?;
    Some(GoesBy((name != UNNAMED).then_some(name)))
}

fn same_name(name: &str, one: &Path, other: &Path) -> ProcessorError {
    ProcessorError::SameName { name: name.to_owned(), one: one.to_owned(), other: other.to_owned() }
}

/// What a folder is called that is not told apart by a name of its own: its path's last part but `dags`.
fn own_name(folder: &Path) -> String {
    let mut parts = folder.components().filter_map(|part| match part {
        Component::Normal(part) => part.to_str(),
        _ => None,
    });
    let last = parts.rfind(|part| *part != COMMON).unwrap_or(COMMON);
    let plain =
        |letter: char| if is_folder_name(letter.encode_utf8(&mut [0; 4])) { letter } else { '_' };
    let name: String = last.chars().map(plain).take(NAME_BYTES).collect();
    // Those words say that a folder goes by none, to us and to Airflow.
    if [UNNAMED, COMMON].contains(&&*name) { format!("{name}_") } else { name }
}

/// Whether a folder has a file of this path, or the zip that it lies in, and nothing beside the folder is meant.
pub(crate) fn holds(folder: &Path, path: &str) -> bool {
    let plain = path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    let mut zips = splits(path).map(|(zip, _)| zip);
    plain && (folder.join(path).is_file() || zips.any(|zip| folder.join(zip).is_file()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::Python;

    /// Folders with these files in a place of their own, by names that were said or not.
    struct Place(tempfile::TempDir);

    impl Place {
        fn of(folders: &[(&str, &[&str])]) -> Self {
            let place = Self(tempfile::tempdir().unwrap());
            for (folder, files) in folders {
                fs::create_dir_all(place.0.path().join(folder)).unwrap();
                for file in *files {
                    fs::write(place.0.path().join(folder).join(file), "").unwrap();
                }
            }
            place
        }

        fn settings(&self, said: &str) -> ProcessorSettings {
            let (name, folder) = said.split_once('=').unwrap_or(("", said));
            let python = Python {
                interpreter: "python3".into(),
                package_path: None,
                start: None,
                env: BTreeMap::new(),
                bytecode: None,
                lookup: None,
            };
            let mut settings = ProcessorSettings::new(self.0.path().join(folder), python);
            settings.name = (!name.is_empty()).then(|| name.to_owned());
            settings
        }

        fn settings_of(&self, said: &[&str]) -> Vec<ProcessorSettings> {
            said.iter().map(|it| self.settings(it)).collect()
        }

        /// What each goes by, nothing for no name.
        fn names(&self, said: &[&str], known: &[&str]) -> Vec<String> {
            self.names_at(said, known, &[])
        }

        /// The same where it is known where folders lay.
        fn names_at(&self, said: &[&str], known: &[&str], roots: &[(&str, &str)]) -> Vec<String> {
            let known = known.iter().map(|&file| file.to_owned()).collect();
            let root = |(folder, name): &(&str, &str)| {
                let name = (!name.is_empty()).then(|| (*name).to_owned());
                (self.0.path().join(folder).display().to_string(), name)
            };
            let roots = roots.iter().map(root).collect();
            let found = names(&self.settings_of(said), &known, &roots, &Holders::new()).unwrap();
            found.into_iter().map(Option::unwrap_or_default).collect()
        }
    }

    const BOTH: &[(&str, &[&str])] = &[("a/dags", &["x.py", "y.py"]), ("b", &["x.py", "z.py"])];

    #[test]
    fn the_first_folder_goes_by_no_name_and_the_others_by_their_own() {
        let place = Place::of(BOTH);
        assert_eq!(place.names(&["a/dags", "b"], &[]), ["", "b"]);
        assert_eq!(place.names(&["b", "a/dags"], &[]), ["", "a"]);
        assert_eq!(place.names(&["b"], &[]), [""], "one alone is called as it always was");
        assert_eq!(place.names(&["team=b"], &[]), ["team"]);
        assert_eq!(place.names(&["team=b", "a/dags"], &[]), ["team", ""]);
        assert_eq!(place.names(&["default=b", "a/dags"], &[]), ["", "a"]);
    }

    #[test]
    fn a_folder_keeps_what_its_files_go_by_wherever_it_is_named() {
        let place = Place::of(BOTH);
        // A alone, then with B before it; back to A; B alone.
        let alone = ["x.py", "y.py"];
        assert_eq!(place.names(&["b", "a/dags"], &alone), ["b", ""]);
        let both = ["x.py", "y.py", "b//x.py", "b//z.py"];
        assert_eq!(place.names(&["b", "a/dags"], &both), ["b", ""]);
        assert_eq!(place.names(&["a/dags"], &both), [""]);
        assert_eq!(place.names(&["b"], &both), ["b"]);
        // B alone had no name; A comes before it.
        assert_eq!(place.names(&["a/dags", "b"], &["x.py", "z.py"]), ["a", ""]);
        // Where both have only files of the same names, their places tell them apart.
        let same = Place::of(&[("a", &["x.py"]), ("b", &["x.py"])]);
        assert_eq!(same.names_at(&["b", "a"], &["x.py"], &[("a", "")]), ["b", ""]);
        assert_eq!(same.names(&["b", "a"], &["x.py", "b//x.py"]), ["b", ""]);
        assert_eq!(same.names_at(&["b"], &["x.py", "b//x.py"], &[("a", ""), ("b", "b")]), ["b"]);
        // Mounted elsewhere, it is known by its files.
        assert_eq!(place.names_at(&["a/dags", "b"], &both, &[("old/b", "")]), ["", "b"]);
        // What was said holds, whatever is known.
        assert_eq!(place.names(&["a=a/dags", "default=b"], &both), ["a", ""]);
    }

    #[test]
    fn what_another_processor_has_is_taken_by_none_that_was_given_no_name() {
        let place = Place::of(BOTH);
        let holders = |names: &[&str]| -> Holders {
            let holder = || Holder { host: "far".to_owned(), place: "/srv/x".to_owned() };
            names.iter().map(|name| ((*name).to_owned(), holder())).collect()
        };
        let known: BTreeSet<String> = ["x.py".to_owned()].into();
        let goes_by = |said: &[&str], held: &[&str]| {
            names(&place.settings_of(said), &known, &Roots::new(), &holders(held))
        };
        assert_eq!(goes_by(&["b"], &["default"]).unwrap(), [Some("b".to_owned())]);
        assert_eq!(goes_by(&["b"], &["b"]).unwrap(), [None]);
        assert_eq!(goes_by(&["default=b"], &["default"]).unwrap(), [None], "what was said holds");
        let refused = goes_by(&["b"], &["default", "b"]).unwrap_err();
        let said = refused.to_string();
        assert!(matches!(refused, ProcessorError::Held { .. }), "{said}");
        assert!(said.contains("`/srv/x` on far") && said.contains("--dags NAME="), "{said}");
    }

    #[test]
    fn folders_of_one_name_are_refused_until_one_is_given_another() {
        let place = Place::of(&[("a", &[]), ("one/etl", &[]), ("two/etl/dags", &[])]);
        let found = names(
            &place.settings_of(&["a", "one/etl", "two/etl/dags"]),
            &BTreeSet::new(),
            &Roots::new(),
            &Holders::new(),
        );
        let said = found.unwrap_err().to_string();
        assert!(said.contains("`etl`") && said.contains("one/etl`"), "{said}");
        assert_eq!(place.names(&["a", "one/etl", "two=two/etl/dags"], &[]), ["", "etl", "two"]);
        let twice = check_folders(&place.settings_of(&["x=a", "x=one/etl"]));
        assert!(matches!(twice, Err(ProcessorError::SameName { .. })), "{twice:?}");
    }

    #[test]
    fn a_folder_within_another_is_refused_by_whatever_way() {
        let place = Place::of(&[("a/b", &[]), ("c", &[])]);
        std::os::unix::fs::symlink(place.0.path().join("a/b"), place.0.path().join("link"))
            .unwrap();
        for said in [["a", "a/b"], ["a/b", "a"], ["a", "link"], ["a", "a/../a"]] {
            let refused = check_folders(&place.settings_of(&said)).unwrap_err();
            assert!(matches!(refused, ProcessorError::Nested { .. }), "{said:?}: {refused}");
        }
        assert_eq!(check_folders(&place.settings_of(&["a", "c"])).unwrap().len(), 2);
        let away = check_folders(&place.settings_of(&["a", "gone"])).unwrap_err();
        assert!(matches!(away, ProcessorError::NoFolder { .. }), "{away}");
    }

    #[test]
    fn what_a_folder_is_called_is_plain() {
        for (folder, name) in [
            ("/srv/team a/dags", "team_a"),
            ("/opt/airflow/dags/dags", "airflow"),
            ("/dags", "dags_"),
            ("/", "dags_"),
            ("/srv/p.zip", "p_zip"),
            ("/srv/default", "default_"),
        ] {
            assert_eq!(own_name(Path::new(folder)), name, "{folder}");
            assert!(is_folder_name(name));
        }
    }
}
