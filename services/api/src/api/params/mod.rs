//! A run's conf against its DAG's params, before the run is asked for: a value that breaks a param's schema
//! would fail the first task, and each of its retries.
mod format;
mod schema;

use dagbok_events::DagSpec;
use serde_json::{Map, Value};

/// Why `conf`, the text of a JSON object, can't be a run's: the first param that it breaks, and how.
pub(crate) fn check(spec: &DagSpec, conf: Option<&str>) -> Result<(), String> {
    let object = |text: &str| serde_json::from_str::<Map<String, Value>>(text).ok();
    let given = conf.and_then(object).unwrap_or_default();
    for name in &spec.required_params {
        if !given.contains_key(name) {
            return Err(format!(
                "Invalid input for param {name}: it has no default, so that the conf must give a value"
            ));
        }
    }
    let schemas = spec.param_schemas.as_deref().and_then(object).unwrap_or_default();
    for (name, schema) in &schemas {
        if let Some(value) = given.get(name)
            && let Err(why) = schema::check(schema, value)
        {
            return Err(format!("Invalid input for param {name}: {why}"));
        }
    }
    Ok(())
}

/// Whether the fields of a question can be filled in so: both are JSON objects in text, and each field has its schema with it.
///
/// # Errors
///
/// The first field whose schema it breaks, and how; and where `given` is no object.
pub fn check_fields_text(fields: Option<&str>, given: &str) -> Result<(), String> {
    let fields = fields.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let given = serde_json::from_str(given).map_err(|error| error.to_string())?;
    check_fields(&fields, &given)
}

/// The same of the fields of a question: each has its schema with it.
pub(crate) fn check_fields(
    fields: &Map<String, Value>,
    given: &Map<String, Value>,
) -> Result<(), String> {
    for (name, value) in given {
        let Some(schema) = fields.get(name).and_then(|field| field.get("schema")) else { continue };
        schema::check(schema, value)
            .map_err(|why| format!("Invalid input for param {name}: {why}"))?;
    }
    Ok(())
}
