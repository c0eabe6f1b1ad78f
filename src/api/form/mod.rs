//! Reading a request's fields one by one, so that an answer can name every
//! field that is wrong at once, by its path, and not only the first.
//!
//! What a form reads is written down once, as a function over [`Form`]. Run
//! over a request it yields the values; run by [`Description::of`] it yields
//! the JSON Schema that the API's document shows. So the two cannot differ.

mod field_types;

use serde_json::{Map, Value, json};

pub use field_types::{
    ChoiceType, FieldType, TextSchema, ValueError, boolean, checked, choice, integer, line, list, object, one_or_many,
    parsed, query_boolean, secret, text,
};

use crate::tenancy::{Change, FieldError};

/// One JSON object that is being read. Fields are taken out of it; what remains is unknown.
pub struct Form {
    /// With a dot at its end, or empty.
    path: String,
    source: FormSource,
    faults: Vec<FieldError>,
}

enum FormSource {
    Request {
        fields: Map<String, Value>,
        /// The whole object was given as `null`: all its fields are to be reset.
        reset: bool,
    },
    /// No request: the fields are only described.
    Description(Description),
}

#[allow(clippy::needless_pass_by_value)] // kinds are made where they are named
impl Form {
    /// # Errors
    /// All faults; never empty.
    pub fn read<T>(
        fields: Map<String, Value>,
        read: impl FnOnce(&mut Self) -> Option<T>,
    ) -> Result<T, Vec<FieldError>> {
        let source = FormSource::Request { fields, reset: false };
        let mut form = Self { path: String::new(), source, faults: Vec::new() };
        let outcome = read(&mut form);
        let faults = form.finish();
        match outcome {
            Some(read) if faults.is_empty() => Ok(read),
            _ => Err(faults),
        }
    }

    /// A field that must be there.
    pub fn required<K: FieldType>(&mut self, name: &'static str, kind: K) -> Option<K::Value> {
        match self.take(name, &kind, true) {
            FieldValue::TextSchema => None,
            FieldValue::Absent { .. } | FieldValue::Null => {
                self.fault(name, "is missing");
                None
            }
            FieldValue::Present(value) => self.accept(name, kind.read(value)),
        }
    }

    /// A field that may be absent or null.
    pub fn optional<K: FieldType>(&mut self, name: &'static str, kind: K) -> Option<K::Value> {
        match self.take(name, &kind, false) {
            FieldValue::TextSchema | FieldValue::Absent { .. } | FieldValue::Null => None,
            FieldValue::Present(value) => self.accept(name, kind.read(value)),
        }
    }

    /// A field that is kept when absent, reset when null, and else set.
    pub fn change<K: FieldType>(&mut self, name: &'static str, kind: K) -> Change<K::Value> {
        match self.take(name, &kind, false) {
            FieldValue::TextSchema | FieldValue::Absent { reset: false } => Change::Keep,
            FieldValue::Absent { reset: true } | FieldValue::Null => Change::Reset,
            FieldValue::Present(value) => self.accept(name, kind.read(value)).map_or(Change::Keep, Change::Set),
        }
    }

    /// An object inside. When it is null, all its fields are reset; when absent, kept.
    pub fn section(&mut self, name: &'static str, read: impl FnOnce(&mut Self)) {
        let source = match &mut self.source {
            FormSource::Description(_) => FormSource::Description(Description::default()),
            FormSource::Request { fields, reset } => match fields.remove(name) {
                None => FormSource::Request { fields: Map::new(), reset: *reset },
                Some(Value::Null) => FormSource::Request { fields: Map::new(), reset: true },
                Some(Value::Object(fields)) => FormSource::Request { fields, reset: false },
                Some(other) => {
                    self.fault(name, format!("must be an object, not {}", field_types::type_name(&other)));
                    return;
                }
            },
        };
        let mut inner = Self { path: format!("{}{name}.", self.path), source, faults: Vec::new() };
        read(&mut inner);
        if let (FormSource::Description(outer), FormSource::Description(inner)) = (&mut self.source, &inner.source) {
            outer.add(name, inner.schema(), false);
        }
        self.faults.append(&mut inner.finish());
    }

    /// A rule between fields, which `read` checks by itself, as the document tells it.
    pub fn rule(&mut self, schema: impl FnOnce() -> Value) {
        if let FormSource::Description(description) = &mut self.source {
            description.rules.push(schema());
        }
    }

    pub fn fault(&mut self, name: &str, message: impl Into<String>) {
        self.faults.push(FieldError::new(format!("{}{name}", self.path), message));
    }

    fn take(&mut self, name: &'static str, kind: &impl FieldType, required: bool) -> FieldValue {
        match &mut self.source {
            FormSource::Description(description) => {
                description.add(name, kind.schema(), required);
                FieldValue::TextSchema
            }
            FormSource::Request { fields, reset } => match fields.remove(name) {
                None => FieldValue::Absent { reset: *reset },
                Some(Value::Null) => FieldValue::Null,
                Some(value) => FieldValue::Present(value),
            },
        }
    }

    fn accept<T>(&mut self, name: &str, read: Result<T, ValueError>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(ValueError(errors)) => {
                for (below, message) in errors {
                    self.fault(&format!("{name}{below}"), message);
                }
                None
            }
        }
    }

    fn finish(mut self) -> Vec<FieldError> {
        if let FormSource::Request { fields, .. } = &mut self.source {
            for name in std::mem::take(fields).keys() {
                self.fault(name, "is not a known field");
            }
        }
        self.faults
    }
}

enum FieldValue {
    TextSchema,
    Absent { reset: bool },
    Null,
    Present(Value),
}

/// What a form would read, for the API's document.
#[derive(Clone, Debug, Default)]
pub struct Description {
    pub fields: Vec<Property>,
    /// Further schemas that all hold for the whole object.
    rules: Vec<Value>,
}

#[derive(Clone, Debug)]
pub struct Property {
    pub name: &'static str,
    /// JSON Schema, draft 2020-12.
    pub schema: Value,
    pub required: bool,
}

impl Description {
    pub fn of<T>(read: impl FnOnce(&mut Form) -> Option<T>) -> Self {
        let source = FormSource::Description(Self::default());
        let mut form = Form { path: String::new(), source, faults: Vec::new() };
        let _ = read(&mut form);
        match form.source {
            FormSource::Description(description) => description,
            FormSource::Request { .. } => Self::default(),
        }
    }

    pub fn add(&mut self, name: &'static str, schema: Value, required: bool) {
        self.fields.push(Property { name, schema, required });
    }

    /// The fields and rules of another form, after these.
    pub fn append(&mut self, other: Self) {
        self.fields.extend(other.fields);
        self.rules.extend(other.rules);
    }

    /// The object's schema. Fields that may be absent may be null as well.
    pub fn schema(&self) -> Value {
        let properties: Map<_, _> = self
            .fields
            .iter()
            .map(|field| {
                let schema = if field.required { field.schema.clone() } else { nullable(field.schema.clone()) };
                (field.name.to_owned(), schema)
            })
            .collect();
        let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
        let required: Vec<_> = self.fields.iter().filter(|field| field.required).map(|field| field.name).collect();
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        if !self.rules.is_empty() {
            schema["allOf"] = json!(self.rules);
        }
        schema
    }
}

fn nullable(mut schema: Value) -> Value {
    match (schema.get("type").and_then(Value::as_str).map(str::to_owned), schema.get("enum").is_some()) {
        (Some(kind), false) => {
            schema["type"] = json!([kind, "null"]);
            schema
        }
        _ => json!({ "anyOf": [schema, { "type": "null" }] }),
    }
}
