//! Records as trees of names and values, walked along their schema: to see what the bytes hold, and not
//! what a reader of today makes of them.
use dagbok_events::{DecodeError, Record, decode_any};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

/// How a compressed record begins.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The longest record that is unpacked, in bytes.
const UNPACKED_MOST: usize = 64 << 20;

/// What the bytes of a record hold, unpacked.
pub fn tree(bytes: &[u8]) -> Result<Value, DecodeError> {
    if !bytes.starts_with(&ZSTD_MAGIC) {
        return decode_any(bytes);
    }
    let plain = zstd::bulk::decompress(bytes, UNPACKED_MOST)
        .map_err(|error| DecodeError::Malformed(error.to_string()))?;
    decode_any(&plain)
}

/// The schema of a record, as the types of today have it.
pub fn schema() -> Value {
    SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Record>().to_value()
}

/// What a walk meets.
pub trait Visit {
    /// An object of the type `place`, before what is in it.
    fn object(&mut self, place: &str, schema: &Map<String, Value>, object: &mut Map<String, Value>);
    /// The word or variant `word` of the type `place`.
    fn variant(&mut self, _place: &str, _word: &str) {}
}

/// Walks a record.
pub fn walk(schema: &Value, tree: &mut Value, visit: &mut dyn Visit) {
    Walk { root: schema, visit }.value("Record", schema, tree);
}

struct Walk<'a> {
    root: &'a Value,
    visit: &'a mut dyn Visit,
}

impl Walk<'_> {
    fn value(&mut self, place: &str, schema: &Value, value: &mut Value) {
        let Some(fields) = schema.as_object() else { return };
        if let Some(name) = target(schema) {
            return self.value(name, &self.root["$defs"][name], value);
        }
        if let Some(branches) = schema["anyOf"].as_array() {
            // An optional value: itself, or null.
            let branch = branches.iter().find(|branch| branch["type"] != "null");
            if let Some(branch) = branch.filter(|_| !value.is_null()) {
                self.value(place, branch, value);
            }
            return;
        }
        for variant in variants(schema) {
            if variant.holds(value) {
                self.visit.variant(place, &variant.word);
                if let (Some(body), Some(value)) = (variant.body, value.get_mut(&variant.word)) {
                    self.value(&format!("{place}::{}", variant.word), body, value);
                }
                return;
            }
        }
        match value {
            Value::Object(object) => {
                self.visit.object(place, fields, object);
                for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                    if let Some(value) = object.get_mut(name) {
                        self.value(&format!("{place}.{name}"), field, value);
                    }
                }
            }
            Value::Array(items) => {
                for item in items {
                    self.value(place, &schema["items"], item);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
}

/// The definition that a schema refers to.
pub fn target(schema: &Value) -> Option<&str> {
    schema["$ref"].as_str()?.strip_prefix("#/$defs/")
}

/// One of the forms of an enum.
#[derive(Clone, Debug)]
pub struct Variant<'a> {
    /// Its name.
    pub word: String,
    /// What it carries, where it carries something.
    pub body: Option<&'a Value>,
}

impl Variant<'_> {
    fn holds(&self, value: &Value) -> bool {
        match self.body {
            Some(_) => value.get(&self.word).is_some(),
            None => value.as_str() == Some(&self.word),
        }
    }
}

/// The forms of an enum; none where the schema is of something else.
pub fn variants(schema: &Value) -> Vec<Variant<'_>> {
    let words = |schema: &Value| -> Vec<String> {
        let listed = schema["enum"].as_array().into_iter().flatten();
        listed.chain([&schema["const"]]).filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut found: Vec<Variant<'_>> =
        words(schema).into_iter().map(|word| Variant { word, body: None }).collect();
    for form in schema["oneOf"].as_array().into_iter().flatten() {
        found.extend(words(form).into_iter().map(|word| Variant { word, body: None }));
        for (name, body) in form["properties"].as_object().into_iter().flatten() {
            found.push(Variant { word: name.clone(), body: Some(body) });
        }
    }
    found
}

/// Whether objects of this schema may lack the field.
pub fn may_lack(schema: &Map<String, Value>, name: &str) -> bool {
    let required = schema.get("required").and_then(Value::as_array);
    !required.into_iter().flatten().any(|required| required == name)
}

/// Fields that are left out of the bytes: how a writer wrote before they were.
#[derive(Clone, Debug)]
pub enum Without {
    /// None: as the encoder of today writes.
    Nothing,
    /// All that may be missing.
    All,
    /// Those of these that may be missing, each as `Type.field`.
    These(Vec<String>),
}

impl Without {
    /// Reads `all`, or a list with commas.
    pub fn of(text: &str) -> Self {
        match text {
            "all" => Self::All,
            list => Self::These(list.split(',').map(str::to_owned).collect()),
        }
    }

    fn names(&self, place: &str, field: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::All => true,
            Self::These(these) => these.contains(&format!("{place}.{field}")),
        }
    }
}

impl Visit for Without {
    fn object(
        &mut self,
        place: &str,
        schema: &Map<String, Value>,
        object: &mut Map<String, Value>,
    ) {
        if schema.contains_key("properties") {
            object.retain(|field, _| !(may_lack(schema, field) && self.names(place, field)));
        }
    }
}

/// Adds a field that no reader of today knows to every object: how a later writer may write.
#[derive(Debug)]
pub struct FromLater;

impl Visit for FromLater {
    fn object(&mut self, _: &str, schema: &Map<String, Value>, object: &mut Map<String, Value>) {
        // A map of free names is no object with fields.
        if !schema.get("additionalProperties").is_some_and(Value::is_object) {
            object
                .insert("of_a_later_version".to_owned(), serde_json::json!({ "deep": [1, "two"] }));
        }
    }
}
