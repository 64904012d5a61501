//! The words for small enums.

/// An enum's name, as serde has it; of one whose variants have no fields.
pub(crate) fn word<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        other => unreachable!("only enums without fields are put into words: {other:?}"),
    }
}
