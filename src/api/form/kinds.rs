//! What a field's value may be: read, and described as JSON Schema.

use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Description, Form};
use crate::tenancy::{Invalid, TenantId};

/// Up to here every whole number has a floating one of its own.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A kind of value.
pub trait Kind {
    type Value;

    fn read(&self, value: Value) -> Result<Self::Value, Wrong>;

    /// JSON Schema, draft 2020-12, as exact as it can be: what it allows is accepted.
    fn schema(&self) -> Value;
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

/// Any text.
pub fn text() -> Text {
    Text
}

pub struct Text;

impl Kind for Text {
    type Value = String;

    fn read(&self, value: Value) -> Result<String, Wrong> {
        match value {
            Value::String(text) => Ok(text),
            other => Err(wrong(format!("must be a text, not {}", name(&other)))),
        }
    }

    fn schema(&self) -> Value {
        json!({ "type": "string" })
    }
}

/// A text that must not be logged or shown.
pub fn secret() -> Secret {
    Secret
}

pub struct Secret;

impl Kind for Secret {
    type Value = String;

    fn read(&self, value: Value) -> Result<String, Wrong> {
        Text.read(value)
    }

    fn schema(&self) -> Value {
        json!({ "type": "string", "format": "password" })
    }
}

/// A line for people: trimmed, not empty, no control characters, at most `max` characters.
pub fn line(max: usize) -> Line {
    Line { max }
}

pub struct Line {
    max: usize,
}

impl Kind for Line {
    type Value = String;

    fn read(&self, value: Value) -> Result<String, Wrong> {
        let text = Text.read(value)?;
        let line = text.trim();
        match line.chars().count() {
            0 => Err(wrong("must not be empty")),
            count if count > self.max => Err(wrong(format!("must have at most {} characters", self.max))),
            _ if line.chars().any(char::is_control) => Err(wrong("must be one line without control characters")),
            _ => Ok(line.to_owned()),
        }
    }

    fn schema(&self) -> Value {
        // Blanks at the ends do not count, but a schema has to count them.
        let pattern = r"^[^\u0000-\u001f\u007f-\u009f]*[^\u0000-\u0020\u007f-\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000][^\u0000-\u001f\u007f-\u009f]*$";
        json!({ "type": "string", "minLength": 1, "maxLength": self.max, "pattern": pattern })
    }
}

/// A text that the domain has a type for.
pub fn parsed<T: Described>() -> Parsed<T> {
    Parsed(PhantomData)
}

pub struct Parsed<T>(PhantomData<T>);

/// A type of the domain that has a form as text.
pub trait Described: FromStr<Err: std::fmt::Display> {
    fn schema() -> Value;
}

impl Described for TenantId {
    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[a-z0-9]([a-z0-9_-]{0,46}[a-z0-9])?$", "examples": ["acme_corp"] })
    }
}

impl<T: Described> Kind for Parsed<T> {
    type Value = T;

    fn read(&self, value: Value) -> Result<T, Wrong> {
        Text.read(value)?.parse().map_err(|error: T::Err| wrong(error.to_string()))
    }

    fn schema(&self) -> Value {
        T::schema()
    }
}

/// A text that `check` turns into the value, or refuses with the reason.
pub fn checked<T>(schema: fn() -> Value, check: fn(String) -> Result<T, Invalid>) -> Checked<T> {
    Checked { schema, check }
}

pub struct Checked<T> {
    schema: fn() -> Value,
    check: fn(String) -> Result<T, Invalid>,
}

impl<T> Kind for Checked<T> {
    type Value = T;

    fn read(&self, value: Value) -> Result<T, Wrong> {
        Ok((self.check)(Text.read(value)?)?)
    }

    fn schema(&self) -> Value {
        (self.schema)()
    }
}

pub fn boolean() -> Boolean {
    Boolean
}

pub struct Boolean;

impl Kind for Boolean {
    type Value = bool;

    fn read(&self, value: Value) -> Result<bool, Wrong> {
        match value {
            Value::Bool(value) => Ok(value),
            other => Err(wrong(format!("must be true or false, not {}", name(&other)))),
        }
    }

    fn schema(&self) -> Value {
        json!({ "type": "boolean" })
    }
}

/// [`boolean`] in a query, where everything is text.
pub fn switch() -> Switch {
    Switch
}

pub struct Switch;

impl Kind for Switch {
    type Value = bool;

    fn read(&self, value: Value) -> Result<bool, Wrong> {
        match value.as_str() {
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) => Err(wrong("must be true or false")),
            None => Boolean.read(value),
        }
    }

    fn schema(&self) -> Value {
        json!({ "type": "boolean" })
    }
}

/// A whole number, in a body or a query.
pub fn count(allowed: RangeInclusive<u64>) -> Count {
    Count { allowed }
}

pub struct Count {
    allowed: RangeInclusive<u64>,
}

impl Kind for Count {
    type Value = u64;

    fn read(&self, value: Value) -> Result<u64, Wrong> {
        let number = match &value {
            // No sign, no blanks: exactly what a number in JSON would look like.
            Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            other => other.as_u64().or_else(|| whole(other.as_f64()?)),
        };
        let (least, most) = (self.allowed.start(), self.allowed.end());
        number
            .filter(|number| self.allowed.contains(number))
            .ok_or_else(|| wrong(format!("must be a whole number from {least} to {most}")))
    }

    fn schema(&self) -> Value {
        json!({ "type": "integer", "minimum": self.allowed.start(), "maximum": self.allowed.end() })
    }
}

/// JSON knows one kind of numbers: `4.0` is whole too.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // it is whole and in range
fn whole(number: f64) -> Option<u64> {
    (number.fract() == 0.0 && (0.0..=EXACT).contains(&number)).then_some(number as u64)
}

/// One of the names of an enumeration.
pub fn choice<T: DeserializeOwned>(names: &'static [&'static str]) -> Choice<T> {
    Choice { names, kind: PhantomData }
}

pub struct Choice<T> {
    names: &'static [&'static str],
    kind: PhantomData<T>,
}

impl<T: DeserializeOwned> Kind for Choice<T> {
    type Value = T;

    fn read(&self, value: Value) -> Result<T, Wrong> {
        let named = value.as_str().is_some_and(|text| self.names.contains(&text));
        match serde_json::from_value(value) {
            Ok(value) if named => Ok(value),
            _ => Err(wrong(format!("must be one of {}", self.names.join(", ")))),
        }
    }

    fn schema(&self) -> Value {
        json!({ "type": "string", "enum": self.names })
    }
}

/// As many items as allowed; all wrong ones are named by their index.
pub fn list<K: Kind>(item: K, allowed: RangeInclusive<usize>) -> List<K> {
    List { item, allowed }
}

pub struct List<K> {
    item: K,
    allowed: RangeInclusive<usize>,
}

impl<K: Kind> Kind for List<K> {
    type Value = Vec<K::Value>;

    fn read(&self, value: Value) -> Result<Vec<K::Value>, Wrong> {
        let Value::Array(values) = value else {
            return Err(wrong(format!("must be a list, not {}", name(&value))));
        };
        if !self.allowed.contains(&values.len()) {
            return Err(wrong(format!("must have {} to {} entries", self.allowed.start(), self.allowed.end())));
        }
        let mut items = Vec::with_capacity(values.len());
        let mut wrongs = Vec::new();
        for (index, value) in values.into_iter().enumerate() {
            match self.item.read(value) {
                Ok(item) => items.push(item),
                Err(Wrong(below)) => {
                    wrongs.extend(below.into_iter().map(|(below, message)| (format!("[{index}]{below}"), message)));
                }
            }
        }
        if wrongs.is_empty() { Ok(items) } else { Err(Wrong(wrongs)) }
    }

    fn schema(&self) -> Value {
        json!({
            "type": "array",
            "items": self.item.schema(),
            "minItems": self.allowed.start(),
            "maxItems": self.allowed.end(),
        })
    }
}

/// One value, or a list of one to `most` of them.
pub fn one_or_many<K: Kind>(item: K, most: usize) -> OneOrMany<K> {
    OneOrMany(list(item, 1..=most))
}

pub struct OneOrMany<K>(List<K>);

impl<K: Kind> Kind for OneOrMany<K> {
    type Value = Vec<K::Value>;

    fn read(&self, value: Value) -> Result<Vec<K::Value>, Wrong> {
        match value {
            Value::Array(_) => self.0.read(value),
            one => Ok(vec![self.0.item.read(one)?]),
        }
    }

    fn schema(&self) -> Value {
        json!({ "anyOf": [self.0.item.schema(), self.0.schema()] })
    }
}

/// An object, as an item of a list.
pub fn fields<T>(read: fn(&mut Form) -> Option<T>) -> Fields<T> {
    Fields(read)
}

pub struct Fields<T>(fn(&mut Form) -> Option<T>);

impl<T> Kind for Fields<T> {
    type Value = T;

    fn read(&self, value: Value) -> Result<T, Wrong> {
        let Value::Object(fields) = value else {
            return Err(wrong(format!("must be an object, not {}", name(&value))));
        };
        Form::read(fields, self.0).map_err(|faults| {
            Wrong(faults.into_iter().map(|fault| (format!(".{}", fault.field), fault.message)).collect())
        })
    }

    fn schema(&self) -> Value {
        Description::of(self.0).schema()
    }
}

/// What a value is, in words.
pub fn name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
