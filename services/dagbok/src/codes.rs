//! The codes of errors that people see. Each has a page, `deploy/errors/DBKnnnn.md`: what happened, how
//! to find out more, what to do.
use std::fmt;

use crate::exit::Exit;

macro_rules! codes {
    ($($(#[doc = $about:literal])+ $name:ident = $number:literal => $exit:ident,)+) => {
        /// What went wrong, for people and for searching.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u16)]
        pub(crate) enum Code {
            $($(#[doc = $about])+ $name = $number,)+
        }

        impl Code {
            /// All of them, in order.
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)+];

            /// How the process ends with it.
            pub(crate) const fn exit(self) -> Exit {
                match self {
                    $(Self::$name => Exit::$exit,)+
                }
            }
        }
    };
}

codes! {
    /// The command line is wrong.
    Usage = 1 => Usage,
    /// The configuration has an unknown key or a bad value.
    Config = 2 => Usage,
    /// `conf` is no JSON object.
    BadConf = 3 => Usage,
    /// The API does not answer.
    ApiUnreachable = 10 => Unreachable,
    /// The API answered with what can't be read, or broke down.
    ApiFailed = 11 => Unreachable,
    /// No scheduler answered in time.
    SchedulerSilent = 12 => Unreachable,
    /// What was named does not exist.
    NotFound = 13 => NotFound,
    /// A rule forbids it.
    Refused = 14 => Refused,
    /// The run is not over within the time.
    WaitedTooLong = 15 => TimedOut,
    /// No NATS server answers.
    BrokerUnreachable = 20 => Unreachable,
    /// The NATS server is too old.
    BrokerTooOld = 21 => Setup,
    /// The NATS server or its streams are configured wrongly.
    BrokerMisconfigured = 22 => Setup,
    /// Another process writes the log.
    HomeInUse = 30 => Setup,
    /// There is no log where one was to be read.
    NoLog = 31 => NotFound,
    /// A newer version wrote the log.
    LogNewer = 32 => Log,
    /// The log is damaged.
    LogDamaged = 33 => Log,
    /// The installation's folder can't be used.
    HomeUnusable = 34 => Setup,
    /// The address to listen on is taken.
    PortInUse = 35 => Setup,
    /// The address to listen on can't be had.
    CantListen = 36 => Setup,
    /// The log has lost records that the installation knows of.
    LogShorter = 37 => Log,
    /// The master key of variables and connections is missing, or another one.
    SecretsKey = 38 => Setup,
    /// The object store for big things is not this installation's.
    ObjectStore = 39 => Setup,
    /// No Python interpreter.
    NoPython = 40 => Setup,
    /// The interpreter does not have the `dagbok` package, or what it needs.
    NoPythonPackage = 41 => Setup,
    /// The DAG folder can't be read.
    NoDagFolder = 42 => Setup,
    /// A DAG file can't be read.
    BadDagFile = 43 => BadDag,
    /// The file or the folder has no such DAG.
    NoSuchDag = 44 => NotFound,
    /// A file has several DAGs, and none was named.
    WhichDag = 45 => Usage,
    /// A DAG folder's environment can't be made, or is not there.
    BadEnvironment = 46 => Setup,
    /// Exact mode has no Airflow that it can drive.
    NoAirflow = 47 => Setup,
    /// A service ended that should not.
    ServiceFailed = 50 => Setup,
    /// A bug.
    Bug = 99 => Bug,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DBK{:04}", *self as u16)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn every_code_has_its_page_and_every_page_its_code() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/errors");
        let pages: BTreeSet<String> = fs::read_dir(folder)
            .unwrap()
            .filter_map(|entry| {
                entry.unwrap().file_name().to_str().unwrap().strip_suffix(".md").map(str::to_owned)
            })
            .filter(|name| name.starts_with("DBK"))
            .collect();
        let codes: BTreeSet<String> = Code::ALL.iter().map(ToString::to_string).collect();
        assert_eq!(codes, pages);
    }

    #[test]
    fn every_page_says_what_how_and_what_next_and_its_exit_code() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/errors");
        for code in Code::ALL {
            let page = fs::read_to_string(folder.join(format!("{code}.md"))).unwrap();
            assert!(page.starts_with(&format!("# {code}: ")), "{code} has no title");
            for part in ["## What happened", "## Finding out more", "## What to do"] {
                assert!(page.contains(part), "{code} has no `{part}`");
            }
            let exit = format!("Exit code {}.", code.exit() as u8);
            assert!(page.contains(&exit), "{code} does not say `{exit}`");
        }
    }
}
