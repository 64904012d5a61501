//! The log of a try: one line of JSON for each line that its processes wrote, kept in order of arrival,
//! readable while it grows, and a blob in the end.
mod line;
mod live;
mod pump;
mod registry;
mod split;

pub use line::{LogLine, LogSource};
pub(crate) use live::LiveLog;
pub(crate) use pump::{Early, Pump};
pub(crate) use registry::{Logs, sweep};
pub(crate) use split::Splitter;
