//! `dagbok runs …`; with `--json` the API's documents.
mod cancel;
mod list;
mod show;
mod wait;

pub(crate) use cancel::cancel;
pub(crate) use list::list;
pub(crate) use show::show;
pub(crate) use wait::wait;

use dagbok_ui::shapes::RunResponse;

use crate::{exit::Exit, output::seconds_text};

/// How a process ends that waited for this run.
fn exit_of(run: &RunResponse) -> Exit {
    if run.state == "success" { Exit::Ok } else { Exit::RunFailed }
}

/// How long it took, or has taken; empty before it began.
fn duration_of(run: &RunResponse) -> String {
    run.duration.map(seconds_text).unwrap_or_default()
}
