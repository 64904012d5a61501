//! Which files are worth a Python process: Airflow's safe mode, for plain files and for the modules at the top of zips.
use std::{path::Path, sync::Arc};

use dagbok_protocol::limits::{DAG_FILES_PER_ZIP, ZIP_BYTES};
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
    /// What is called a zip and is none, or none yet, and why; no name in it shows that it has modules. What it had
    /// before is not gone by that.
    NoZip(ZipError),
    /// Code or data that DAGs use.
    Other,
}

/// As Airflow: a `.py` that mentions `dag` and `airflow` (or `dagbok`) in any case, and a `.zip` with such at its top.
pub(crate) fn kind_of(name: &str, content: &[u8]) -> Kind {
    kind_by(name, content, content.len())
}

/// The same where names in what is no whole zip are looked for in its first bytes alone.
pub(crate) fn kind_by(name: &str, content: &[u8], first: usize) -> Kind {
    if !is_zip(name) {
        let is_python = Path::new(name).extension() == Some("py".as_ref());
        return if is_python && may_have_dags(content) { Kind::DagFile } else { Kind::Other };
    }
    let zip = match Zip::open(content) {
        Ok(zip) => zip,
        Err(error) if was_of_modules(&content[..first.min(content.len())]) => {
            return Kind::BrokenZip(error);
        }
        Err(error) => return Kind::NoZip(error),
    };
    match modules_of(&zip) {
        Ok(modules) if modules.is_empty() => Kind::Other,
        Ok(modules) => Kind::Zip(modules.into()),
        Err(error) => Kind::BrokenZip(error),
    }
}

/// The modules of a zip that are to be parsed; all of a zip that has some can be read. Whatever it says of itself, no
/// more than `ZIP_BYTES` are unpacked.
fn modules_of(zip: &Zip<'_>) -> Result<Vec<String>, ZipError> {
    if zip.unpacked(is_top_module) > ZIP_BYTES {
        return Err(ZipError::TooLarge(ZIP_BYTES));
    }
    let mut modules = Vec::new();
    for name in zip.names().filter(|name| is_top_module(name)) {
        let (text, whole) = zip.read(name, ZIP_BYTES)?.unwrap_or_default();
        if !whole {
            return Err(ZipError::TooLarge(ZIP_BYTES));
        }
        if may_have_dags(&text) {
            if modules.len() == DAG_FILES_PER_ZIP {
                return Err(ZipError::TooMany(DAG_FILES_PER_ZIP));
            }
            modules.push(name.to_owned());
        }
    }
    if !modules.is_empty() {
        zip.check_but(is_top_module)?;
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
        assert!(matches!(cut("table.csv"), Kind::NoZip(ZipError::Damaged(_))));
        for content in [&b""[..], b"no zip at all"] {
            assert!(matches!(kind_of("p.zip", content), Kind::NoZip(ZipError::Damaged(_))));
        }
        let whole = zip_of(&[("a.csv", DAG), ("a.py", DAG)], Packed::Stored);
        let torn = &whole[..whole.len() - 1];
        assert!(matches!(kind_by("p.zip", torn, torn.len()), Kind::BrokenZip(_)));
        assert!(
            matches!(kind_by("p.zip", torn, 50), Kind::NoZip(_)),
            "its names are not looked for"
        );
        assert!(matches!(kind_by("p.zip", &whole, 0), Kind::Zip(_)), "its list is");
        // A helper that can't be read would be found by its import, a table by whoever reads it.
        let mut zip = zip_of(&[("a.py", DAG), ("lib/b.py", b"XYZ = 1")], Packed::Stored);
        let at = zip.windows(3).position(|at| at == b"XYZ").unwrap();
        zip[at] = b'x';
        assert!(matches!(kind_of("p.zip", &zip), Kind::BrokenZip(ZipError::Damaged(_))));
    }

    #[test]
    fn a_bomb_of_many_names_for_one_text_is_unpacked_for_none_of_them() {
        let zip = zip_of(&[("a.py", &vec![b' '; 1 << 20])], Packed::Deflated);
        let list = zip.windows(4).rposition(|at| at == b"PK\x01\x02").unwrap();
        let end = zip.len() - 22;
        // The same text by so many names.
        let of_names = |count: u16| {
            let mut content = zip[..list].to_vec();
            for number in 0..count {
                let mut entry = zip[list..end].to_vec();
                let name = format!("{number:05}.py");
                entry[28..30].copy_from_slice(&8_u16.to_le_bytes());
                entry.truncate(46);
                content.extend(entry);
                content.extend(name.as_bytes());
            }
            let size = u32::try_from(content.len() - list).unwrap().to_le_bytes();
            let mut closing = zip[end..].to_vec();
            closing[8..10].copy_from_slice(&count.to_le_bytes());
            closing[10..12].copy_from_slice(&count.to_le_bytes());
            closing[12..16].copy_from_slice(&size);
            content.extend(closing);
            content
        };
        assert_eq!(kind_of("p.zip", &of_names(2)), Kind::Other);
        let too_large = Kind::BrokenZip(ZipError::TooLarge(ZIP_BYTES));
        assert_eq!(kind_of("p.zip", &of_names(257)), too_large);
    }

    #[test]
    fn a_zip_has_so_many_dag_files_and_not_one_more() {
        let of = |count: usize| {
            let names: Vec<String> = (0..count).map(|number| format!("{number}.py")).collect();
            let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), DAG)).collect();
            kind_of("p.zip", &zip_of(&files, Packed::Stored))
        };
        let Kind::Zip(modules) = of(DAG_FILES_PER_ZIP) else { panic!("that many may be") };
        assert_eq!(modules.len(), DAG_FILES_PER_ZIP);
        let too_many = Kind::BrokenZip(ZipError::TooMany(DAG_FILES_PER_ZIP));
        assert_eq!(of(DAG_FILES_PER_ZIP + 1), too_many);
    }
}
