//! A DAG folder that is a whole project of Airflow's: `dags/` with `plugins/` or `include/` beside it.
//!
//! Its DAG files are those below `dags/`; what lies beside is code that they use, and goes with them. Where imports
//! look in such a folder, `dagbok.project` says.
use std::path::{Path, PathBuf};

/// Where a project has its DAG files.
pub(crate) const DAGS: &str = "dags";
/// What makes a folder with `dags/` a project, each alone.
const BESIDE: [&str; 2] = ["plugins", "include"];

/// Whether a folder is one; a virtual environment, which has an `include/` too, is none.
pub(crate) fn is_project(folder: &Path) -> bool {
    folder.join(DAGS).is_dir()
        && BESIDE.iter().any(|name| folder.join(name).is_dir())
        && !folder.join("pyvenv.cfg").is_file()
}

/// The project that a file is a DAG file of, if it is in one.
pub fn project_around(file: &Path) -> Option<PathBuf> {
    let folders = file.ancestors().skip(1);
    let mut dags = folders.filter(|folder| folder.file_name().is_some_and(|name| name == DAGS));
    dags.find_map(|folder| folder.parent().filter(|around| is_project(around))).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_project_is_known_by_what_lies_beside_its_dags() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("dags/sales/daily.py");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "").unwrap();
        assert!(!is_project(root.path()), "a folder of DAGs by that name is none");
        assert_eq!(project_around(&file), None);

        fs::create_dir(root.path().join("plugins")).unwrap();
        assert!(is_project(root.path()));
        assert_eq!(project_around(&file).as_deref(), Some(root.path()));
        assert_eq!(project_around(&root.path().join("plugins/own.py")), None);

        fs::write(root.path().join("pyvenv.cfg"), "").unwrap();
        assert!(!is_project(root.path()));
    }
}
