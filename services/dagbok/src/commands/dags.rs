//! `dagbok dags …`.
mod check;
mod delete;
mod errors;
mod list;
pub(crate) mod local;
mod next;
mod pause;
mod reschedule;
mod show;
mod test;
mod trigger;

pub(crate) use check::check;
pub(crate) use delete::delete;
pub(crate) use errors::errors;
pub(crate) use list::list;
pub(super) use local::place;
pub(crate) use next::next_execution;
pub(crate) use pause::{pause, unpause};
pub(crate) use reschedule::reschedule;
pub(crate) use show::show;
pub(crate) use test::test;
pub(crate) use trigger::trigger;

use serde_json::value::RawValue;

use crate::{codes::Code, failure::Failure};

/// A traceback without the exception at its end, which is said before it; what is said may go on with advice.
fn way_there<'a>(traceback: &'a str, exception: &str, message: &str) -> &'a str {
    let traceback = traceback.trim_end();
    // Of `a.b.Error: no` a part would stay behind.
    let begins_a_line = |at: usize| at == 0 || traceback[..at].ends_with('\n');
    let begin = format!("{exception}: ");
    let said = |at: usize| message.starts_with(&traceback[at + begin.len()..]);
    let ends = traceback.match_indices(begin.as_str()).map(|(at, _)| at);
    let end = ends.into_iter().find(|at| begins_a_line(*at) && said(*at)).or_else(|| {
        let bare = traceback.strip_suffix(exception)?;
        begins_a_line(bare.len()).then_some(bare.len())
    });
    traceback[..end.unwrap_or(traceback.len())].trim_end()
}

/// The JSON object that `--conf` must be, as it was written: its numbers may be too long for any number of
/// ours.
pub(super) fn conf_object(text: &str) -> Result<Box<RawValue>, Failure> {
    flag_object(text, "--conf", r#"--conf '{"key": "value"}'"#)
}

/// The same of another flag, and how it is written.
pub(super) fn flag_object(text: &str, flag: &str, like: &str) -> Result<Box<RawValue>, Failure> {
    if let Some(file) = text.strip_prefix('@') {
        let read = if file == "-" {
            std::io::read_to_string(std::io::stdin())
        } else {
            std::fs::read_to_string(file)
        };
        let text = read.map_err(|error| {
            Failure::new(Code::BadConf, format!("{flag}: `{file}` can't be read: {error}"))
        })?;
        return object(text.trim(), flag, like);
    }
    object(text, flag, like)
}

fn object(text: &str, flag: &str, like: &str) -> Result<Box<RawValue>, Failure> {
    let why = match serde_json::from_str::<Box<RawValue>>(text) {
        Ok(conf) if conf.get().starts_with('{') => return Ok(conf),
        Ok(_) => "it is JSON, and no object".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(Failure::new(Code::BadConf, format!("{flag} is no JSON object: {why}"))
        .next(format!("write it as {like}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_is_not_said_a_second_time() {
        let way = "Traceback (most recent call last):\n  File \"a.py\", line 2";
        let traceback = format!("{way}\nValueError: no\nway\n");
        assert_eq!(way_there(&traceback, "ValueError", "no\nway"), way);
        assert_eq!(way_there(&traceback, "ValueError", "no\nway; do this"), way);
        assert_eq!(way_there(&format!("{way}\nValueError\n"), "ValueError", ""), way);
        assert_eq!(way_there("ValueError: no", "ValueError", "no"), "");
        assert_eq!(way_there("", "ValueError", "no"), "");
        // What was cut, or is named otherwise, is shown whole.
        let other = format!("{way}\na.b.ValueError: no");
        assert_eq!(way_there(&other, "ValueError", "no"), other);
    }
}
