//! What a value may be, read off the schema as the keys are, and said in a key's own terms.
use std::time::Duration;

use serde_json::Value as Schema;
use toml::Value;

use crate::Period;

/// What a key's value may be. Without any, everything of its type may be.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Bounds {
    /// Not less than this: a number, or a period's seconds.
    least: Option<f64>,
    /// Not more than this.
    most: Option<f64>,
    /// One of these only, where there are any.
    one_of: Vec<i64>,
    /// At least this many items of a list.
    items: usize,
    /// Whether it is a length of time.
    is_period: bool,
}

impl Bounds {
    /// What the schema of one key says.
    pub(crate) fn of(schema: &Schema) -> Self {
        let number = |name: &str| schema.get(name).and_then(Schema::as_f64);
        let types = schema.get("type").and_then(Schema::as_array).map_or(&[][..], Vec::as_slice);
        let one_of = schema.get("enum").and_then(Schema::as_array).into_iter().flatten();
        let items = schema.get("minItems").and_then(Schema::as_u64).unwrap_or(0);
        Self {
            least: number("minimum"),
            most: number("maximum"),
            one_of: one_of.filter_map(Schema::as_i64).collect(),
            items: usize::try_from(items).unwrap_or(usize::MAX),
            is_period: ["string", "number"].iter().all(|one| types.iter().any(|of| of == one)),
        }
    }

    /// Why `value`, which is of the key's type, can't be had; `None` where it can.
    pub(crate) fn refusal(&self, value: &Value) -> Option<String> {
        if let Value::Array(items) = value {
            let (least, has) = (self.items, items.len());
            return (has < least).then(|| format!("it has {has} items, and needs {least} or more"));
        }
        let number = self.number(value)?;
        if self.least.is_some_and(|least| number < least) {
            return self.least.map(|least| format!("it must be at least {}", self.shown(least)));
        }
        if self.most.is_some_and(|most| number > most) {
            return self.most.map(|most| format!("it must be at most {}", self.shown(most)));
        }
        let one_of = value.as_integer().filter(|_| !self.one_of.is_empty())?;
        let shown: Vec<String> = self.one_of.iter().map(ToString::to_string).collect();
        (!self.one_of.contains(&one_of)).then(|| format!("it must be one of {}", shown.join(", ")))
    }

    /// A value as a number that bounds are about.
    fn number(&self, value: &Value) -> Option<f64> {
        match value {
            #[expect(
                clippy::cast_precision_loss,
                reason = "bounds are far below what a double holds exactly"
            )]
            Value::Integer(number) => Some(*number as f64),
            Value::Float(number) => Some(*number),
            Value::String(text) if self.is_period => {
                text.parse::<Period>().ok().map(|period| period.0.as_secs_f64())
            }
            _ => None,
        }
    }

    /// A bound as the key is written.
    fn shown(&self, bound: f64) -> String {
        match Duration::try_from_secs_f64(bound) {
            Ok(time) if self.is_period => Period(time).to_string(),
            _ => bound.to_string(),
        }
    }
}
