//! How the process ends. These numbers are promised: scripts branch on them.
use std::process::ExitCode;

/// The exit codes. `dagbok --help` lists them; a new one may be added, none changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done; where a run was waited for, it succeeded.
    Ok = 0,
    /// The run that was waited for failed or was cancelled, or the connection that was tried does not work.
    RunFailed = 1,
    /// The command line or the configuration is wrong. Nothing was done.
    Usage = 2,
    /// No such DAG, run, task, try or log.
    NotFound = 3,
    /// It was understood and refused: it breaks a rule, or the caller's picture is out of date.
    Refused = 4,
    /// The API, the broker or a scheduler does not answer. What was asked may or may not be done.
    Unreachable = 5,
    /// The run that was waited for is not over yet.
    TimedOut = 6,
    /// A DAG file can't be read.
    BadDag = 7,
    /// The machine lacks what is needed: Python, a free port, a folder, room on the disk.
    Setup = 8,
    /// The log is damaged, or was written by a newer version.
    Log = 9,
    /// A bug of Dagbok's.
    Bug = 70,
    /// Ended by SIGINT before it was done.
    Interrupted = 130,
}

impl Exit {
    /// All of them, in order.
    pub(crate) const ALL: [Self; 12] = [
        Self::Ok,
        Self::RunFailed,
        Self::Usage,
        Self::NotFound,
        Self::Refused,
        Self::Unreachable,
        Self::TimedOut,
        Self::BadDag,
        Self::Setup,
        Self::Log,
        Self::Bug,
        Self::Interrupted,
    ];

    /// In a few words, for the help.
    pub(crate) const fn about(self) -> &'static str {
        match self {
            Self::Ok => "done; a run that was waited for succeeded",
            Self::RunFailed => "the run that was waited for failed or was cancelled",
            Self::Usage => "bad usage or configuration; nothing was done",
            Self::NotFound => "not found: no such DAG, run, task or log",
            Self::Refused => "refused: it breaks a rule, or is out of date",
            Self::Unreachable => "unreachable: the API, the broker or a scheduler does not answer",
            Self::TimedOut => "the run that was waited for is not over yet",
            Self::BadDag => "a DAG file can't be read",
            Self::Setup => "the machine lacks what is needed: Python, a port, a folder, room",
            Self::Log => "the log is damaged, or a newer version wrote it",
            Self::Bug => "a bug in Dagbok",
            Self::Interrupted => "interrupted",
        }
    }

    /// The list for the end of `--help`.
    pub(crate) fn help() -> String {
        let lines =
            Self::ALL.iter().map(|exit| format!("  {:>3}  {}\n", *exit as u8, exit.about()));
        format!("Exit codes:\n{}", lines.collect::<String>())
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
