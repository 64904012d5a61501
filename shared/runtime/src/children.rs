//! What processes of ours hand on to those that they start.
use std::ffi::OsString;

/// Python's own variables that a process of ours may inherit: where it finds what is installed, and how it
/// reads and writes text. Every other one is meant for some Python of the user's, and in ours it does harm:
/// `PYTHONINSPECT` waits for a person at the end, `PYTHONPYCACHEPREFIX` hides the bytecode that is installed,
/// `PYTHONOPTIMIZE` takes assertions out of DAG files.
const HANDED_ON: &[&str] = &[
    "PYTHONASYNCIODEBUG",
    "PYTHONCOERCECLOCALE",
    "PYTHONDEVMODE",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONFAULTHANDLER",
    "PYTHONHASHSEED",
    "PYTHONHOME",
    "PYTHONINTMAXSTRDIGITS",
    "PYTHONIOENCODING",
    "PYTHONMALLOC",
    "PYTHONNODEBUGRANGES",
    "PYTHONNOUSERSITE",
    "PYTHONPATH",
    "PYTHONPLATLIBDIR",
    "PYTHONSAFEPATH",
    "PYTHONTZPATH",
    "PYTHONUNBUFFERED",
    "PYTHONUSERBASE",
    "PYTHONUTF8",
    "PYTHONWARNINGS",
];

/// The variables of this process that a Python of ours is not to inherit.
pub fn foreign_python_variables() -> Vec<OsString> {
    std::env::vars_os().map(|(name, _)| name).filter(is_foreign).collect()
}

fn is_foreign(name: &OsString) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("PYTHON") && !HANDED_ON.contains(&&*name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_change_what_a_python_of_ours_does_is_foreign() {
        let foreign = |name: &str| is_foreign(&OsString::from(name));
        for name in [
            "PYTHONINSPECT",
            "PYTHONSTARTUP",
            "PYTHONPYCACHEPREFIX",
            "PYTHONOPTIMIZE",
            "PYTHONCASEOK",
        ] {
            assert!(foreign(name), "{name}");
        }
        for name in ["PYTHONPATH", "PYTHONUTF8", "PATH", "MY_PYTHON", "AIRFLOW_CONN_X"] {
            assert!(!foreign(name), "{name}");
        }
    }
}
