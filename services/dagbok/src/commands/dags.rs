//! `dagbok dags …`.
mod errors;
mod list;
mod local;
mod pause;
mod show;
mod test;
mod trigger;

pub(crate) use errors::errors;
pub(crate) use list::list;
pub(crate) use pause::set_paused;
pub(crate) use show::show;
pub(crate) use test::test;
pub(crate) use trigger::trigger;

use serde_json::{Map, Value};

use crate::{codes::Code, failure::Failure};

/// The JSON object that `--conf` must be.
fn conf_object(text: &str) -> Result<Map<String, Value>, Failure> {
    let why = match serde_json::from_str(text) {
        Ok(Value::Object(conf)) => return Ok(conf),
        Ok(_) => "it is JSON, and no object".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(Failure::new(Code::BadConf, format!("--conf is no JSON object: {why}"))
        .next(r#"write it as --conf '{"key": "value"}'"#))
}
