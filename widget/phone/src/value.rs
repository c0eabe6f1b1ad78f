//! Deserializes JavaScript values into the phone's types, and serializes them.
//!
//! Serializing uses serde-wasm-bindgen. Deserializing is implemented here: that crate supports every serde
//! type and formats every possible error, which is a twelfth of the phone's download size. The phone needs
//! only structs, lists, strings, unsigned integers, booleans and enums without fields, and its error names
//! only the field.

use std::fmt;

use js_sys::{Array, Reflect};
use serde::Serialize;
use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, EnumAccess, Expected, SeqAccess, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use wasm_bindgen::JsValue;

/// Deserializes `value`. Fields that are missing or `undefined` take their default.
pub fn from_js<T: DeserializeOwned>(value: &JsValue) -> Result<T, DecodeError> {
    T::deserialize(JsDeserializer(value))
}

/// Serializes to what `JSON.parse` would return. `None` for what JSON cannot represent.
pub fn to_js<T: Serialize + ?Sized>(what: &T) -> Option<JsValue> {
    what.serialize(&serde_wasm_bindgen::Serializer::json_compatible()).ok()
}

/// The value does not have the expected type.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct DecodeError {
    /// The field that is missing or wrong; empty for the value as a whole.
    field: &'static str,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unreadable ")?;
        f.write_str(if self.field.is_empty() { "value" } else { self.field })
    }
}

impl std::error::Error for DecodeError {}

impl de::Error for DecodeError {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::default()
    }

    // The default implementations would format values of every type, which is much code.
    fn invalid_type(_: Unexpected<'_>, _: &dyn Expected) -> Self {
        Self::default()
    }

    fn invalid_value(_: Unexpected<'_>, _: &dyn Expected) -> Self {
        Self::default()
    }

    fn invalid_length(_: usize, _: &dyn Expected) -> Self {
        Self::default()
    }

    fn unknown_variant(_: &str, _: &'static [&'static str]) -> Self {
        Self::default()
    }
}

struct JsDeserializer<'v>(&'v JsValue);

impl JsDeserializer<'_> {
    /// An unsigned integer that a JavaScript number represents exactly (below 2^53).
    fn as_integer(&self) -> Result<u64, DecodeError> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to fit")]
        match self.0.as_f64() {
            Some(number) if (0.0..9_007_199_254_740_992.0).contains(&number) => Ok(number as u64),
            _ => Err(DecodeError::default()),
        }
    }
}

impl<'de> de::Deserializer<'de> for JsDeserializer<'_> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, DecodeError> {
        Err(DecodeError::default())
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_bool(self.0.as_bool().ok_or_else(DecodeError::default)?)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_u64(self.as_integer()?)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_u64(self.as_integer()?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_string(self.0.as_string().ok_or_else(DecodeError::default)?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.0.is_null() || self.0.is_undefined() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if !Array::is_array(self.0) {
            return Err(DecodeError::default());
        }
        visitor.visit_seq(ArrayElements { values: Array::from(self.0), next: 0 })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        if !self.0.is_object() {
            return Err(DecodeError::default());
        }
        let mut object = ObjectFields { object: self.0, rest: fields, current: "" };
        visitor
            .visit_seq(&mut object)
            .map_err(|error| if error.field.is_empty() { DecodeError { field: object.current } } else { error })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_enum(VariantName(self.0.as_string().ok_or_else(DecodeError::default)?))
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct map identifier
        ignored_any
    }
}

/// The fields of an object that the type knows, in the order of their declaration, so that no code has to compare names.
/// Others are ignored. (An alias of a field would be one element too many.)
struct ObjectFields<'v> {
    object: &'v JsValue,
    rest: &'static [&'static str],
    current: &'static str,
}

impl<'de> SeqAccess<'de> for &mut ObjectFields<'_> {
    type Error = DecodeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        let Some((&field, rest)) = self.rest.split_first() else { return Ok(None) };
        self.rest = rest;
        self.current = field;
        let value = Reflect::get(self.object, &JsValue::from_str(field)).unwrap_or_default();
        match seed.deserialize(JsDeserializer(&value)) {
            // What is not there is none of its type, or what the type says instead.
            Err(_) if value.is_undefined() => Ok(None),
            done => done.map(Some),
        }
    }
}

struct ArrayElements {
    values: Array,
    next: u32,
}

impl<'de> SeqAccess<'de> for ArrayElements {
    type Error = DecodeError;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, DecodeError> {
        if self.next >= self.values.length() {
            return Ok(None);
        }
        let value = self.values.get(self.next);
        self.next += 1;
        seed.deserialize(JsDeserializer(&value)).map(Some)
    }
}

/// The name of an enum's variant.
struct VariantName(String);

impl<'de> EnumAccess<'de> for VariantName {
    type Error = DecodeError;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), DecodeError> {
        let variant = seed.deserialize(StrDeserializer::new(&self.0))?;
        Ok((variant, self))
    }
}

impl<'de> de::VariantAccess<'de> for VariantName {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, _: S) -> Result<S::Value, DecodeError> {
        Err(DecodeError::default())
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, DecodeError> {
        Err(DecodeError::default())
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, DecodeError> {
        Err(DecodeError::default())
    }
}
