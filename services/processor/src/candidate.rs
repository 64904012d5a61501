//! Which files are worth a Python process: Airflow's safe mode, and packages that are refused.
use std::path::Path;

/// What a file is to the processor, by its name and text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To be parsed.
    DagFile,
    /// A packaged DAG: refused, with a clear word.
    ZipPackage,
    /// Code or data that DAGs use.
    Other,
}

/// As Airflow: a `.py` that mentions `dag` and `airflow` (or `dagbok`) in any case, and a `.zip` with
/// modules at its top.
pub(crate) fn kind_of(name: &str, content: &[u8]) -> Kind {
    match Path::new(name).extension().and_then(|extension| extension.to_str()) {
        Some("py") if mentions(content, b"dagbok") => Kind::DagFile,
        Some("py") if mentions(content, b"airflow") && mentions(content, b"dag") => Kind::DagFile,
        Some("zip") if has_top_modules(content) => Kind::ZipPackage,
        _ => Kind::Other,
    }
}

fn mentions(content: &[u8], word: &[u8]) -> bool {
    content.windows(word.len()).any(|at| at.eq_ignore_ascii_case(word))
}

/// Whether a zip's directory lists a `.py` that is in no folder.
fn has_top_modules(content: &[u8]) -> bool {
    const ENTRY: &[u8] = b"PK\x01\x02";
    const NAME_LENGTH: usize = 28;
    const NAME: usize = 46;
    content.windows(ENTRY.len()).enumerate().filter(|(_, at)| *at == ENTRY).any(|(start, _)| {
        let Some(length) = content.get(start + NAME_LENGTH..start + NAME_LENGTH + 2) else {
            return false;
        };
        let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
        content
            .get(start + NAME..start + NAME + length)
            .is_some_and(|name| name.ends_with(b".py") && !name.contains(&b'/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_that_speak_of_dags_are_parsed() {
        assert_eq!(kind_of("a.py", b"from airflow.sdk import DAG"), Kind::DagFile);
        assert_eq!(kind_of("a.py", b"import dagbok"), Kind::DagFile);
        assert_eq!(kind_of("a.py", b"import AIRFLOW; Dag()"), Kind::DagFile);
        assert_eq!(kind_of("a.py", b"import airflow"), Kind::Other);
        assert_eq!(kind_of("a.py", b"def dag(): ..."), Kind::Other);
        assert_eq!(kind_of("a.txt", b"airflow dag"), Kind::Other);
        assert_eq!(kind_of("a.py", b""), Kind::Other);
    }

    #[test]
    fn a_zip_is_a_package_when_modules_lie_at_its_top() {
        let entry = |name: &str| {
            let mut bytes = b"PK\x01\x02".to_vec();
            bytes.resize(46, 0);
            bytes[28..30].copy_from_slice(&u16::try_from(name.len()).unwrap().to_le_bytes());
            bytes.extend_from_slice(name.as_bytes());
            bytes
        };
        assert_eq!(kind_of("p.zip", &entry("my_dag.py")), Kind::ZipPackage);
        assert_eq!(kind_of("p.zip", &entry("lib/my_dag.py")), Kind::Other);
        assert_eq!(kind_of("p.zip", &entry("table.csv")), Kind::Other);
        assert_eq!(kind_of("p.zip", b"PK\x01\x02"), Kind::Other);
    }
}
