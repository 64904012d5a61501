//! The runs of a timetable that is written in Python: whoever reads its file asks it.
use std::time::Duration;

use dagbok_events::{ExpectedRuns, decode_any, encode_any};
use dagbok_protocol::{CreateBackfill, DatesAnswer, DatesQuestion, names};
use dagbok_runlog::RequestError;

use crate::api::{errors::ApiError, state::ApiState};

/// How long the answer is waited for: an import, and some thousand questions to the timetable.
const WITHIN: Duration = Duration::from_secs(28);

/// What a DAG's timetable answers for the time of a backfill.
pub(super) async fn runs(
    state: &ApiState,
    file: &str,
    asked: &CreateBackfill,
) -> Result<Vec<ExpectedRuns>, ApiError> {
    // The rules say so.
    if asked.from_date > asked.to_date || asked.from_date >= state.clock.now() {
        return Ok(Vec::new());
    }
    let dag_id = &asked.dag_id;
    let (from, to) = (asked.from_date, asked.to_date);
    let question = DatesQuestion { dag_id: dag_id.clone(), file: file.to_owned(), from, to };
    let payload = encode_any(&question).into();
    let answer = match state.ports.signals.request(names::DATES, payload, WITHIN).await {
        Ok(answer) => answer,
        Err(RequestError::NoResponder { .. }) => {
            return Err(ApiError::Unavailable(format!(
                "{dag_id} has a timetable written in Python, which whoever reads its file must ask, and no processor \
                 is there (`dagbok standalone`, `dagbok processor`)"
            )));
        }
        Err(RequestError::TimedOut { .. }) => {
            return Err(ApiError::Unavailable(format!(
                "{dag_id} has a timetable written in Python, and no processor that has {file} answered within \
                 {} s when its runs are: ask for a shorter time",
                WITHIN.as_secs()
            )));
        }
        Err(RequestError::Port(error)) => return Err(error.into()),
    };
    match decode_any(&answer) {
        Ok(DatesAnswer::Runs(runs)) => Ok(runs),
        Ok(DatesAnswer::Failed(why)) => Err(ApiError::BadRequest(why)),
        Err(error) => Err(ApiError::bug(&error)),
    }
}
