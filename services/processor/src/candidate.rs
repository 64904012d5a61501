//! Which files are worth a Python process: Airflow's safe mode, for plain files and for the modules at the top of zips.
use std::{path::Path, sync::Arc};

use dagbok_protocol::limits::ZIP_BYTES;
use dagbok_zipped::{Zip, ZipError, is_top_module, is_zip, was_of_modules};

/// What a file is to the processor, by its name and text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To be parsed.
    DagFile,
    /// A zip with modules at its top that are to be parsed, by their names in it.
    Zip(Arc<[String]>),
    /// A zip that may have such modules and can't be read, and why.
    BrokenZip(ZipError),
    /// Code or data that DAGs use.
    Other,
}

/// As Airflow: a `.py` that mentions `dag` and `airflow` (or `dagbok`) in any case, and a `.zip` with such at its top.
pub(crate) fn kind_of(name: &str, content: &[u8]) -> Kind {
    if !is_zip(name) {
        let is_python = Path::new(name).extension() == Some("py".as_ref());
        return if is_python && may_have_dags(content) { Kind::DagFile } else { Kind::Other };
    }
    match modules_of(content) {
        Ok(modules) if modules.is_empty() => Kind::Other,
        Ok(modules) => Kind::Zip(modules.into()),
        // What has no modules at its top is data, whole or not.
        Err(_) if !was_of_modules(content) => Kind::Other,
        Err(error) => Kind::BrokenZip(error),
    }
}

/// The modules of a zip that are to be parsed; all of a zip that has some can be read.
fn modules_of(content: &[u8]) -> Result<Vec<String>, ZipError> {
    let zip = Zip::open(content)?;
    let mut modules = Vec::new();
    for name in zip.names().filter(|name| is_top_module(name)) {
        let (text, whole) = zip.read(name, ZIP_BYTES)?.unwrap_or_default();
        if !whole {
            return Err(ZipError::TooLarge(ZIP_BYTES));
        }
        if may_have_dags(&text) {
            modules.push(name.to_owned());
        }
    }
    if !modules.is_empty() {
        zip.check()?;
    }
    Ok(modules)
}

fn may_have_dags(content: &[u8]) -> bool {
    let mentions =
        |word: &[u8]| content.windows(word.len()).any(|at| at.eq_ignore_ascii_case(word));
    mentions(b"dagbok") || (mentions(b"airflow") && mentions(b"dag"))
}

#[cfg(test)]
mod tests {
    use dagbok_zipped::made::{Packed, zip_of};

    use super::*;

    const DAG: &[u8] = b"from airflow import DAG";

    #[test]
    fn only_files_that_speak_of_dags_are_parsed() {
        assert_eq!(kind_of("a.py", b"from airflow.sdk import DAG"), Kind::DagFile);
        assert_eq!(kind_of("a.py", b"import dagbok"), Kind::DagFile);
        assert_eq!(kind_of("lib/a.py", b"import AIRFLOW; Dag()"), Kind::DagFile);
        assert_eq!(kind_of("a.py", b"import airflow"), Kind::Other);
        assert_eq!(kind_of("a.py", b"def dag(): ..."), Kind::Other);
        assert_eq!(kind_of("a.txt", b"airflow dag"), Kind::Other);
        assert_eq!(kind_of("a.py", b""), Kind::Other);
    }

    #[test]
    fn of_a_zip_the_modules_at_its_top_are_parsed_that_speak_of_dags() {
        let files: [(&str, &[u8]); 7] = [
            ("b.py", DAG),
            ("a.py", DAG),
            ("helper.py", b"X = 1"),
            ("lib/c.py", DAG),
            ("../d.py", DAG),
            ("/e.py", DAG),
            ("notes.txt", DAG),
        ];
        for packed in [Packed::Stored, Packed::Deflated] {
            let kind = kind_of("team/p.zip", &zip_of(&files, packed));
            assert_eq!(kind, Kind::Zip(["a.py".to_owned(), "b.py".to_owned()].into()));
            assert_eq!(kind_of("p.zip", &zip_of(&files[2..], packed)), Kind::Other);
            assert_eq!(kind_of("p.whl", &zip_of(&files, packed)), Kind::Other);
        }
    }

    #[test]
    fn a_zip_that_can_not_be_read_is_told_of_where_it_has_modules_at_its_top() {
        let cut = |name| {
            let mut zip = zip_of(&[(name, DAG)], Packed::Stored);
            zip.truncate(zip.len() - 30);
            kind_of("p.zip", &zip)
        };
        assert!(matches!(cut("a.py"), Kind::BrokenZip(ZipError::Damaged(_))));
        assert_eq!(cut("table.csv"), Kind::Other);
        assert_eq!(kind_of("p.zip", b""), Kind::Other);
        assert_eq!(kind_of("p.zip", b"no zip at all"), Kind::Other);
        // A helper that can't be read would be found by its import, a table by whoever reads it.
        let mut zip = zip_of(&[("a.py", DAG), ("lib/b.py", b"XYZ = 1")], Packed::Stored);
        let at = zip.windows(3).position(|at| at == b"XYZ").unwrap();
        zip[at] = b'x';
        assert!(matches!(kind_of("p.zip", &zip), Kind::BrokenZip(ZipError::Damaged(_))));
    }
}
