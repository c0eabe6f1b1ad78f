//! The types of fields: each reads a JSON value and describes itself as JSON Schema.

use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::str::FromStr;

use bitcall_wire::text::is_misleading;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Description, Form};
use crate::tenancy::{InvalidValue, TenantId};

/// 2^53: every integer up to it is exact as an `f64`.
const MAX_EXACT_INTEGER: f64 = 9_007_199_254_740_992.0;

/// The type of a field.
pub trait FieldType {
    type Value;

    fn read(&self, value: Value) -> Result<Self::Value, ValueError>;

    /// JSON Schema, draft 2020-12, as exact as it can be: what it allows is accepted.
    fn schema(&self) -> Value;
}

/// What is wrong with one value: pairs of a path below it (`[2].urls`, or empty) and a message.
#[derive(Debug)]
pub struct ValueError(pub Vec<(String, String)>);

impl From<InvalidValue> for ValueError {
    fn from(invalid: InvalidValue) -> Self {
        Self(vec![(String::new(), invalid.0)])
    }
}

fn value_error(message: impl Into<String>) -> ValueError {
    ValueError(vec![(String::new(), message.into())])
}

/// Any text.
pub fn text() -> TextType {
    TextType
}

pub struct TextType;

impl FieldType for TextType {
    type Value = String;

    fn read(&self, value: Value) -> Result<String, ValueError> {
        match value {
            Value::String(text) => Ok(text),
            other => Err(value_error(format!("must be a text, not {}", type_name(&other)))),
        }
    }

    fn schema(&self) -> Value {
        json!({ "type": "string" })
    }
}

/// A text that must not be logged or shown.
pub fn secret() -> SecretType {
    SecretType
}

pub struct SecretType;

impl FieldType for SecretType {
    type Value = String;

    fn read(&self, value: Value) -> Result<String, ValueError> {
        TextType.read(value)
    }

    fn schema(&self) -> Value {
        json!({ "type": "string", "format": "password" })
    }
}

/// A line for people: trimmed, not empty, no control characters and none that mislead, at most `max` characters.
pub fn line(max: usize) -> LineType {
    LineType { max }
}

pub struct LineType {
    max: usize,
}

impl FieldType for LineType {
    type Value = String;

    fn read(&self, value: Value) -> Result<String, ValueError> {
        let text = TextType.read(value)?;
        let line = text.trim();
        match line.chars().count() {
            0 => Err(value_error("must not be empty")),
            count if count > self.max => Err(value_error(format!("must have at most {} characters", self.max))),
            _ if line.chars().any(char::is_control) => Err(value_error("must be one line without control characters")),
            _ if line.chars().any(is_misleading) => {
                Err(value_error("must not hold characters that are not seen (direction marks, zero-width spaces)"))
            }
            _ => Ok(line.to_owned()),
        }
    }

    fn schema(&self) -> Value {
        // Blanks at the ends do not count, but a schema has to count them.
        let unseen = r"\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff";
        let blanks = r"\u0020\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000";
        let pattern = format!("^[^{unseen}]*[^{unseen}{blanks}][^{unseen}]*$");
        json!({ "type": "string", "minLength": 1, "maxLength": self.max, "pattern": pattern })
    }
}

/// A text that is parsed by its type's `FromStr`.
pub fn parsed<T: TextSchema>() -> ParsedType<T> {
    ParsedType(PhantomData)
}

pub struct ParsedType<T>(PhantomData<T>);

/// A type that is written as text, with the JSON Schema of that text.
pub trait TextSchema: FromStr<Err: std::fmt::Display> {
    fn schema() -> Value;
}

impl TextSchema for TenantId {
    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[a-z0-9]([a-z0-9_-]{0,46}[a-z0-9])?$", "examples": ["acme_corp"] })
    }
}

impl<T: TextSchema> FieldType for ParsedType<T> {
    type Value = T;

    fn read(&self, value: Value) -> Result<T, ValueError> {
        TextType.read(value)?.parse().map_err(|error: T::Err| value_error(error.to_string()))
    }

    fn schema(&self) -> Value {
        T::schema()
    }
}

/// A text that `check` turns into the value, or refuses with the reason.
pub fn checked<T>(schema: fn() -> Value, check: fn(String) -> Result<T, InvalidValue>) -> CheckedType<T> {
    CheckedType { schema, check }
}

pub struct CheckedType<T> {
    schema: fn() -> Value,
    check: fn(String) -> Result<T, InvalidValue>,
}

impl<T> FieldType for CheckedType<T> {
    type Value = T;

    fn read(&self, value: Value) -> Result<T, ValueError> {
        Ok((self.check)(TextType.read(value)?)?)
    }

    fn schema(&self) -> Value {
        (self.schema)()
    }
}

pub fn boolean() -> BooleanType {
    BooleanType
}

pub struct BooleanType;

impl FieldType for BooleanType {
    type Value = bool;

    fn read(&self, value: Value) -> Result<bool, ValueError> {
        match value {
            Value::Bool(value) => Ok(value),
            other => Err(value_error(format!("must be true or false, not {}", type_name(&other)))),
        }
    }

    fn schema(&self) -> Value {
        json!({ "type": "boolean" })
    }
}

/// [`boolean`] in a query, where everything is text.
pub fn query_boolean() -> QueryBooleanType {
    QueryBooleanType
}

pub struct QueryBooleanType;

impl FieldType for QueryBooleanType {
    type Value = bool;

    fn read(&self, value: Value) -> Result<bool, ValueError> {
        match value.as_str() {
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) => Err(value_error("must be true or false")),
            None => BooleanType.read(value),
        }
    }

    fn schema(&self) -> Value {
        json!({ "type": "boolean" })
    }
}

/// A whole number, in a body or a query.
pub fn integer(allowed: RangeInclusive<u64>) -> IntegerType {
    IntegerType { allowed }
}

pub struct IntegerType {
    allowed: RangeInclusive<u64>,
}

impl FieldType for IntegerType {
    type Value = u64;

    fn read(&self, value: Value) -> Result<u64, ValueError> {
        let number = match &value {
            // No sign, no blanks: exactly what a number in JSON would look like.
            Value::String(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            other => other.as_u64().or_else(|| whole(other.as_f64()?)),
        };
        let (least, most) = (self.allowed.start(), self.allowed.end());
        number
            .filter(|number| self.allowed.contains(number))
            .ok_or_else(|| value_error(format!("must be a whole number from {least} to {most}")))
    }

    fn schema(&self) -> Value {
        json!({ "type": "integer", "minimum": self.allowed.start(), "maximum": self.allowed.end() })
    }
}

/// JSON knows one kind of numbers: `4.0` is whole too.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // it is whole and in range
fn whole(number: f64) -> Option<u64> {
    (number.fract() == 0.0 && (0.0..=MAX_EXACT_INTEGER).contains(&number)).then_some(number as u64)
}

/// One of the names of an enumeration.
pub fn choice<T: DeserializeOwned>(names: &'static [&'static str]) -> ChoiceType<T> {
    ChoiceType { names, kind: PhantomData }
}

pub struct ChoiceType<T> {
    names: &'static [&'static str],
    kind: PhantomData<T>,
}

impl<T: DeserializeOwned> FieldType for ChoiceType<T> {
    type Value = T;

    fn read(&self, value: Value) -> Result<T, ValueError> {
        let named = value.as_str().is_some_and(|text| self.names.contains(&text));
        match serde_json::from_value(value) {
            Ok(value) if named => Ok(value),
            _ => Err(value_error(format!("must be one of {}", self.names.join(", ")))),
        }
    }

    fn schema(&self) -> Value {
        json!({ "type": "string", "enum": self.names })
    }
}

/// As many items as allowed; all wrong ones are named by their index.
pub fn list<K: FieldType>(item: K, allowed: RangeInclusive<usize>) -> ListType<K> {
    ListType { item, allowed }
}

pub struct ListType<K> {
    item: K,
    allowed: RangeInclusive<usize>,
}

impl<K: FieldType> FieldType for ListType<K> {
    type Value = Vec<K::Value>;

    fn read(&self, value: Value) -> Result<Vec<K::Value>, ValueError> {
        let Value::Array(values) = value else {
            return Err(value_error(format!("must be a list, not {}", type_name(&value))));
        };
        if !self.allowed.contains(&values.len()) {
            return Err(value_error(format!("must have {} to {} entries", self.allowed.start(), self.allowed.end())));
        }
        let mut items = Vec::with_capacity(values.len());
        let mut errors = Vec::new();
        for (index, value) in values.into_iter().enumerate() {
            match self.item.read(value) {
                Ok(item) => items.push(item),
                Err(ValueError(below)) => {
                    errors.extend(below.into_iter().map(|(below, message)| (format!("[{index}]{below}"), message)));
                }
            }
        }
        if errors.is_empty() { Ok(items) } else { Err(ValueError(errors)) }
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
pub fn one_or_many<K: FieldType>(item: K, most: usize) -> OneOrManyType<K> {
    OneOrManyType(list(item, 1..=most))
}

pub struct OneOrManyType<K>(ListType<K>);

impl<K: FieldType> FieldType for OneOrManyType<K> {
    type Value = Vec<K::Value>;

    fn read(&self, value: Value) -> Result<Vec<K::Value>, ValueError> {
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
pub fn object<T>(read: fn(&mut Form) -> Option<T>) -> ObjectType<T> {
    ObjectType(read)
}

pub struct ObjectType<T>(fn(&mut Form) -> Option<T>);

impl<T> FieldType for ObjectType<T> {
    type Value = T;

    fn read(&self, value: Value) -> Result<T, ValueError> {
        let Value::Object(fields) = value else {
            return Err(value_error(format!("must be an object, not {}", type_name(&value))));
        };
        Form::read(fields, self.0).map_err(|faults| {
            ValueError(faults.into_iter().map(|fault| (format!(".{}", fault.field), fault.message)).collect())
        })
    }

    fn schema(&self) -> Value {
        Description::of(self.0).schema()
    }
}

/// The JSON type of a value, for error messages.
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
