//! Reading a request's fields one by one, so that an answer can name every
//! field that is wrong at once, by its path, and not only the first.
//!
//! What a form reads is written down once, as a function over [`Form`]. Run
//! over a request it yields the values; run by [`Description::of`] it yields
//! the JSON Schema that the API's document shows. So the two cannot differ.

mod kinds;

use serde_json::{Map, Value, json};

pub use kinds::{
    Described, Kind, Wrong, boolean, checked, choice, count, fields, line, list, one_or_many, parsed, secret, switch,
    text,
};

use crate::tenancy::{Change, Fault};

/// One JSON object that is being read. Fields are taken out of it; what remains is unknown.
pub struct Form {
    /// With a dot at its end, or empty.
    path: String,
    source: Source,
    faults: Vec<Fault>,
}

enum Source {
    Request {
        fields: Map<String, Value>,
        /// The whole object was given as `null`: all its fields are to be reset.
        reset: bool,
    },
    /// Nobody asks: the fields are only written down.
    Description(Description),
}

#[allow(clippy::needless_pass_by_value)] // kinds are made where they are named
impl Form {
    /// # Errors
    /// All faults; never empty.
    pub fn read<T>(fields: Map<String, Value>, read: impl FnOnce(&mut Self) -> Option<T>) -> Result<T, Vec<Fault>> {
        let source = Source::Request { fields, reset: false };
        let mut form = Self { path: String::new(), source, faults: Vec::new() };
        let outcome = read(&mut form);
        let faults = form.finish();
        match outcome {
            Some(read) if faults.is_empty() => Ok(read),
            _ => Err(faults),
        }
    }

    /// A field that must be there.
    pub fn required<K: Kind>(&mut self, name: &'static str, kind: K) -> Option<K::Value> {
        match self.take(name, &kind, true) {
            Taken::Described => None,
            Taken::Absent { .. } | Taken::Null => {
                self.fault(name, "is missing");
                None
            }
            Taken::Given(value) => self.accept(name, kind.read(value)),
        }
    }

    /// A field that may be absent or null.
    pub fn optional<K: Kind>(&mut self, name: &'static str, kind: K) -> Option<K::Value> {
        match self.take(name, &kind, false) {
            Taken::Described | Taken::Absent { .. } | Taken::Null => None,
            Taken::Given(value) => self.accept(name, kind.read(value)),
        }
    }

    /// A field that is kept when absent, reset when null, and else set.
    pub fn change<K: Kind>(&mut self, name: &'static str, kind: K) -> Change<K::Value> {
        match self.take(name, &kind, false) {
            Taken::Described | Taken::Absent { reset: false } => Change::Keep,
            Taken::Absent { reset: true } | Taken::Null => Change::Reset,
            Taken::Given(value) => self.accept(name, kind.read(value)).map_or(Change::Keep, Change::Set),
        }
    }

    /// An object inside. When it is null, all its fields are reset; when absent, kept.
    pub fn section(&mut self, name: &'static str, read: impl FnOnce(&mut Self)) {
        let source = match &mut self.source {
            Source::Description(_) => Source::Description(Description::default()),
            Source::Request { fields, reset } => match fields.remove(name) {
                None => Source::Request { fields: Map::new(), reset: *reset },
                Some(Value::Null) => Source::Request { fields: Map::new(), reset: true },
                Some(Value::Object(fields)) => Source::Request { fields, reset: false },
                Some(other) => {
                    self.fault(name, format!("must be an object, not {}", kinds::name(&other)));
                    return;
                }
            },
        };
        let mut inner = Self { path: format!("{}{name}.", self.path), source, faults: Vec::new() };
        read(&mut inner);
        if let (Source::Description(outer), Source::Description(inner)) = (&mut self.source, &inner.source) {
            outer.add(name, inner.schema(), false);
        }
        self.faults.append(&mut inner.finish());
    }

    /// A rule between fields, which `read` checks by itself, as the document tells it.
    pub fn rule(&mut self, schema: impl FnOnce() -> Value) {
        if let Source::Description(description) = &mut self.source {
            description.rules.push(schema());
        }
    }

    pub fn fault(&mut self, name: &str, message: impl Into<String>) {
        self.faults.push(Fault::new(format!("{}{name}", self.path), message));
    }

    fn take(&mut self, name: &'static str, kind: &impl Kind, required: bool) -> Taken {
        match &mut self.source {
            Source::Description(description) => {
                description.add(name, kind.schema(), required);
                Taken::Described
            }
            Source::Request { fields, reset } => match fields.remove(name) {
                None => Taken::Absent { reset: *reset },
                Some(Value::Null) => Taken::Null,
                Some(value) => Taken::Given(value),
            },
        }
    }

    fn accept<T>(&mut self, name: &str, read: Result<T, Wrong>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(Wrong(wrongs)) => {
                for (below, message) in wrongs {
                    self.fault(&format!("{name}{below}"), message);
                }
                None
            }
        }
    }

    fn finish(mut self) -> Vec<Fault> {
        if let Source::Request { fields, .. } = &mut self.source {
            for name in std::mem::take(fields).keys() {
                self.fault(name, "is not a known field");
            }
        }
        self.faults
    }
}

enum Taken {
    Described,
    Absent { reset: bool },
    Null,
    Given(Value),
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
        let source = Source::Description(Self::default());
        let mut form = Form { path: String::new(), source, faults: Vec::new() };
        let _ = read(&mut form);
        match form.source {
            Source::Description(description) => description,
            Source::Request { .. } => Self::default(),
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
