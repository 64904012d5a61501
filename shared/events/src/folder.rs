//! Which DAG folder a file lies in, by its name in the facts: `etl.py` lies in the folder that goes by no name,
//! `team//etl.py` in the folder `team`. No path has two slashes in a row, so that neither is taken for the other.

/// Between a folder's name and a path in it.
const BETWEEN: &str = "//";

/// The name of a DAG folder that a file lies in; `None` for the folder that goes by no name.
pub fn folder_of(file: &str) -> Option<&str> {
    file.split_once(BETWEEN).map(|(folder, _)| folder)
}

/// A file's path in its DAG folder.
pub fn path_in_folder(file: &str) -> &str {
    file.split_once(BETWEEN).map_or(file, |(_, path)| path)
}

/// What a file of a folder goes by, from its path there.
pub fn file_in(folder: Option<&str>, path: &str) -> String {
    folder.map_or_else(|| path.to_owned(), |folder| format!("{folder}{BETWEEN}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_name_says_its_folder_and_its_path() {
        for (folder, path) in
            [(None, "etl.py"), (Some("team"), "etl.py"), (Some("a"), "p.zip/b.py")]
        {
            let file = file_in(folder, path);
            assert_eq!((folder_of(&file), path_in_folder(&file)), (folder, path), "{file}");
        }
        assert_eq!(folder_of("team/etl.py"), None, "a path in the folder that goes by no name");
    }
}
