//! The log of a try: one line of JSON for each line that its processes wrote, kept in order of arrival,
//! readable while it grows, and a blob in the end.
mod leftovers;
mod line;
mod live;
mod mask;
mod pump;
mod registry;
mod split;
mod stopped;

pub(crate) use leftovers::{LogFolder, hand_in, the_dead};
pub use line::{LogLine, LogSource};
pub(crate) use live::LiveLog;
pub(crate) use mask::Masks;
pub(crate) use pump::{Early, Pump};
pub(crate) use registry::Logs;
pub(crate) use split::Splitter;
pub(crate) use stopped::LOGS;
pub use stopped::answer_for_executors;
