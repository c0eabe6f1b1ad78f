//! Reading a request's fields one by one, so that an answer can name every
//! field that is wrong at once, by its path, and not only the first.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::tenancy::{Change, Fault, Invalid};

/// One JSON object that is being read. Fields are taken out of it; what remains is unknown.
pub struct Form {
    /// With a dot at its end, or empty.
    path: String,
    fields: Map<String, Value>,
    /// The whole object was given as `null`: all its fields are to be reset.
    reset: bool,
    faults: Vec<Fault>,
}

impl Form {
    /// # Errors
    /// All faults; never empty.
    pub fn read<T>(fields: Map<String, Value>, read: impl FnOnce(&mut Self) -> Option<T>) -> Result<T, Vec<Fault>> {
        let mut form = Self { path: String::new(), fields, reset: false, faults: Vec::new() };
        let outcome = read(&mut form);
        let faults = form.finish();
        match outcome {
            Some(read) if faults.is_empty() => Ok(read),
            _ => Err(faults),
        }
    }

    /// A field that must be there.
    pub fn required<T>(&mut self, name: &str, read: impl FnOnce(Value) -> Result<T, Wrong>) -> Option<T> {
        match self.fields.remove(name) {
            None | Some(Value::Null) => {
                self.fault(name, "is missing");
                None
            }
            Some(value) => self.accept(name, read(value)),
        }
    }

    /// A field that may be absent or null.
    pub fn optional<T>(&mut self, name: &str, read: impl FnOnce(Value) -> Result<T, Wrong>) -> Option<T> {
        match self.fields.remove(name) {
            None | Some(Value::Null) => None,
            Some(value) => self.accept(name, read(value)),
        }
    }

    /// A field that is kept when absent, reset when null, and else set.
    pub fn change<T>(&mut self, name: &str, read: impl FnOnce(Value) -> Result<T, Wrong>) -> Change<T> {
        match self.fields.remove(name) {
            None if self.reset => Change::Reset,
            None => Change::Keep,
            Some(Value::Null) => Change::Reset,
            Some(value) => self.accept(name, read(value)).map_or(Change::Keep, Change::Set),
        }
    }

    /// An object inside. When it is null, all its fields are reset; when absent, kept.
    pub fn section(&mut self, name: &str, read: impl FnOnce(&mut Self)) {
        let (fields, reset) = match self.fields.remove(name) {
            None => (Map::new(), self.reset),
            Some(Value::Null) => (Map::new(), true),
            Some(Value::Object(fields)) => (fields, false),
            Some(other) => {
                self.fault(name, format!("must be an object, not {}", kind(&other)));
                return;
            }
        };
        let mut inner = Self { path: format!("{}{name}.", self.path), fields, reset, faults: Vec::new() };
        read(&mut inner);
        self.faults.append(&mut inner.finish());
    }

    pub fn fault(&mut self, name: &str, message: impl Into<String>) {
        self.faults.push(Fault::new(format!("{}{name}", self.path), message));
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
        for name in std::mem::take(&mut self.fields).keys() {
            self.fault(name, "is not a known field");
        }
        self.faults
    }
}

/// What is wrong with one value: where below it (`[2].urls`, or empty) and why.
#[derive(Debug)]
pub struct Wrong(pub Vec<(String, String)>);

impl From<Invalid> for Wrong {
    fn from(invalid: Invalid) -> Self {
        Self(vec![(String::new(), invalid.0)])
    }
}

fn wrong(message: impl Into<String>) -> Wrong {
    Wrong(vec![(String::new(), message.into())])
}

pub fn text(value: Value) -> Result<String, Wrong> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(wrong(format!("must be a text, not {}", kind(&other)))),
    }
}

/// A text that the domain has a type for.
pub fn parsed<T: std::str::FromStr<Err = Invalid>>(value: Value) -> Result<T, Wrong> {
    Ok(text(value)?.parse()?)
}

/// A line for people: trimmed, not empty, no control characters.
pub fn line(max: usize) -> impl FnOnce(Value) -> Result<String, Wrong> {
    move |value| {
        let text = text(value)?;
        let line = text.trim();
        match line.chars().count() {
            0 => Err(wrong("must not be empty")),
            count if count > max => Err(wrong(format!("must have at most {max} characters"))),
            _ if line.chars().any(char::is_control) => Err(wrong("must be one line without control characters")),
            _ => Ok(line.to_owned()),
        }
    }
}

pub fn boolean(value: Value) -> Result<bool, Wrong> {
    match value {
        Value::Bool(value) => Ok(value),
        other => Err(wrong(format!("must be true or false, not {}", kind(&other)))),
    }
}

/// One of the names of an enumeration.
pub fn choice<T: DeserializeOwned>(names: &'static [&'static str]) -> impl FnOnce(Value) -> Result<T, Wrong> {
    move |value| serde_json::from_value(value).map_err(|_| wrong(format!("must be one of {}", names.join(", "))))
}

/// As many items as allowed, each read by `read`; all wrong ones are named by their index.
pub fn list<T>(
    value: Value,
    allowed: std::ops::RangeInclusive<usize>,
    mut read: impl FnMut(Value) -> Result<T, Wrong>,
) -> Result<Vec<T>, Wrong> {
    let Value::Array(values) = value else {
        return Err(wrong(format!("must be a list, not {}", kind(&value))));
    };
    if !allowed.contains(&values.len()) {
        return Err(wrong(format!("must have {} to {} entries", allowed.start(), allowed.end())));
    }
    let mut items = Vec::with_capacity(values.len());
    let mut wrongs = Vec::new();
    for (index, value) in values.into_iter().enumerate() {
        match read(value) {
            Ok(item) => items.push(item),
            Err(Wrong(below)) => {
                wrongs.extend(below.into_iter().map(|(below, message)| (format!("[{index}]{below}"), message)));
            }
        }
    }
    if wrongs.is_empty() { Ok(items) } else { Err(Wrong(wrongs)) }
}

/// The fields of an object that is an item of a list.
pub fn object<T>(value: Value, read: impl FnOnce(&mut Form) -> Option<T>) -> Result<T, Wrong> {
    let Value::Object(fields) = value else {
        return Err(wrong(format!("must be an object, not {}", kind(&value))));
    };
    Form::read(fields, read)
        .map_err(|faults| Wrong(faults.into_iter().map(|fault| (format!(".{}", fault.field), fault.message)).collect()))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
