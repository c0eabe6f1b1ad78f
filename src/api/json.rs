//! A request's JSON, read strictly: a duplicate field is an error (RFC 8259 §4 leaves open which one counts, and two
//! readers may differ). Deep nesting and bytes that are no UTF-8 are refused by the parser.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::tenancy::FieldError;

/// The value, and every field that was given more than once, by its path.
pub fn read(bytes: &[u8]) -> Result<(Value, Vec<FieldError>), serde_json::Error> {
    let mut duplicates = Vec::new();
    let mut source = serde_json::Deserializer::from_slice(bytes);
    let value = StrictJson { path: String::new(), duplicates: &mut duplicates }.deserialize(&mut source)?;
    source.end()?;
    Ok((value, duplicates))
}

/// For a field that the query or the body has more than once.
pub fn duplicate_field(path: String) -> FieldError {
    FieldError::new(path, "is given more than once")
}

struct StrictJson<'a> {
    path: String,
    duplicates: &'a mut Vec<FieldError>,
}

impl<'de> DeserializeSeed<'de> for StrictJson<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictJson<'_> {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        loop {
            let path = format!("{}[{}]", self.path, values.len());
            match items.next_element_seed(StrictJson { path, duplicates: self.duplicates })? {
                Some(value) => values.push(value),
                None => return Ok(Value::Array(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let path = if self.path.is_empty() { name.clone() } else { format!("{}.{name}", self.path) };
            let value = fields.next_value_seed(StrictJson { path: path.clone(), duplicates: self.duplicates })?;
            if values.insert(name, value).is_some() {
                self.duplicates.push(duplicate_field(path));
            }
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use proptest::prelude::*;

    use super::*;

    fn duplicates(text: &str) -> Vec<String> {
        read(text.as_bytes()).unwrap().1.into_iter().map(|fault| fault.field).collect()
    }

    #[test]
    fn a_duplicate_field_is_named_by_its_path() {
        assert_eq!(duplicates(r#"{"a":1,"b":{"c":[{"d":1,"d":1}],"c":2},"a":1}"#), ["b.c[0].d", "b.c", "a"]);
        assert_eq!(duplicates(r#"{"a":{"b":1},"c":{"b":1}}"#), Vec::<String>::new());
    }

    #[test]
    fn input_that_is_not_json_is_refused() {
        for text in ["", "{", "{} x", "{\"a\":1,}", "[1", "nul", "{\"a\":NaN}", "\u{feff}{}"] {
            assert!(read(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(read(b"{\"a\":\"\xff\"}").is_err(), "no UTF-8");
        assert!(read("[".repeat(60_000).as_bytes()).is_err(), "nested too deeply");
        assert!(read("{\"a\":".repeat(10_000).as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn other_input_is_read_as_serde_json_reads_it(bytes in "[\\[\\]{}\",:a\\\\u0-9eE.+ -]{0,40}") {
            match (read(bytes.as_bytes()), serde_json::from_slice::<Value>(bytes.as_bytes())) {
                (Ok((strict, _)), Ok(plain)) => prop_assert_eq!(strict, plain),
                (Err(_), Err(_)) => {}
                (strict, plain) => prop_assert!(false, "{:?} {:?}", strict.is_ok(), plain.is_ok()),
            }
        }
    }
}
