//! DAG files to `DagRegistered`: watches the DAG folder, parses each file in a process of its own,
//! publishes the folder as a bundle, and tells the scheduler what it read.
//!
//! Absent on purpose: any rule of what follows from a file's change. Which DAG is new, changed or gone
//! is decided by the scheduler; here a file is read, once for each meaning that its text can have.
mod answer;
mod bundle;
mod candidate;
mod child;
mod dates;
mod folder;
mod folders;
mod foretell;
mod holders;
mod home;
mod ignored;
mod known;
mod once;
mod parser;
mod presence;
mod project;
mod roots;
mod service;
mod settings;
mod snapshot;
mod tell;
mod unrest;
mod watch;

pub use answer::ParsedFile;
pub use folders::{COMMON, UNNAMED, check_folders, is_folder_name};
pub use home::mark_home;
pub use once::{OnceError, find_once, modules_in, parse_all, parse_once, tell_once};
pub use project::project_around;
pub use service::{run, run_all};
pub use settings::{IgnoreSyntax, ProcessorError, ProcessorSettings, Python};
