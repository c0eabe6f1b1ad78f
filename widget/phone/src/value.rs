//! Deserializes JavaScript values into the phone's types, and serializes them.
//!
//! Serializing uses serde-wasm-bindgen. Deserializing is implemented here: that crate supports every serde
//! type and formats every possible error, which is a twelfth of the phone's download size. The phone needs
//! only structs, lists, strings, unsigned integers, booleans and enums without fields, and its error names
//! only the field. As with the agent's messages ([`bitcall_wire::encoding`]) no value has an error of its own: a wrong one
//! is an empty one, and the whole says at the end that it is wrong.

use std::cell::Cell;
use std::fmt;

use bitcall_wire::encoding::Never;
use js_sys::{Array, Reflect};
use serde::Serialize;
use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, EnumAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;
use wasm_bindgen::JsValue;

/// Deserializes `value`. A field that is missing or `undefined` is none, false, 0 or empty; a text and a variant must be there.
pub fn from_js<T: DeserializeOwned>(value: &JsValue) -> Result<T, DecodeError> {
    let wrong = Cell::new(None);
    let Ok(read) = T::deserialize(JsDeserializer { value, field: "", wrong: &wrong });
    match wrong.get() {
        None => Ok(read),
        Some(field) => Err(DecodeError { field }),
    }
}

/// Serializes to what `JSON.parse` would return. `None` for what JSON cannot represent.
pub fn to_js<T: Serialize + ?Sized>(what: &T) -> Option<JsValue> {
    what.serialize(&serde_wasm_bindgen::Serializer::json_compatible()).ok()
}

/// The value does not have the expected type.
#[derive(Debug, PartialEq, Eq)]
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

struct JsDeserializer<'v> {
    value: &'v JsValue,
    /// Where it stands.
    field: &'static str,
    /// The first field that is wrong.
    wrong: &'v Cell<Option<&'static str>>,
}

impl JsDeserializer<'_> {
    #[inline(never)]
    fn is_wrong(&self) {
        if self.wrong.get().is_none() {
            self.wrong.set(Some(self.field));
        }
    }

    /// What may be missing.
    fn is_wrong_unless_missing(&self) {
        if !self.value.is_undefined() {
            self.is_wrong();
        }
    }

    /// An unsigned integer that a JavaScript number represents exactly (below 2^53).
    #[inline(never)]
    fn integer(&self, below: f64) -> u64 {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to fit")]
        match self.value.as_f64() {
            Some(number) if (0.0..below).contains(&number) => number as u64,
            _ => {
                self.is_wrong_unless_missing();
                0
            }
        }
    }

    #[inline(never)]
    fn text(&self) -> String {
        self.value.as_string().unwrap_or_else(|| {
            self.is_wrong();
            String::new()
        })
    }
}

impl<'de> de::Deserializer<'de> for JsDeserializer<'_> {
    type Error = Never;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Never> {
        unreachable!("the phone reads no such type")
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        visitor.visit_bool(self.value.as_bool().unwrap_or_else(|| {
            self.is_wrong_unless_missing();
            false
        }))
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        #[expect(clippy::cast_possible_truncation, reason = "below 2^32")]
        visitor.visit_u32(self.integer(4_294_967_296.0) as u32)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        visitor.visit_u64(self.integer(9_007_199_254_740_992.0))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        visitor.visit_string(self.text())
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        visitor.visit_string(self.text())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        if self.value.is_null() || self.value.is_undefined() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Never> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        let values = if Array::is_array(self.value) {
            Array::from(self.value)
        } else {
            self.is_wrong_unless_missing();
            Array::new()
        };
        visitor.visit_seq(ArrayElements { list: self, values, next: 0 })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Never> {
        if !self.value.is_object() {
            self.is_wrong_unless_missing();
        }
        visitor.visit_seq(ObjectFields { object: self, rest: fields })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Never> {
        let name = self.text();
        let variant = variants.iter().find(|variant| **variant == name).unwrap_or_else(|| {
            self.is_wrong();
            &variants[0]
        });
        visitor.visit_enum(VariantName(variant))
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct map identifier
        ignored_any
    }
}

/// The fields of an object that the type knows, in the order of their declaration, so that no code has to compare names.
/// Others are ignored. (An alias of a field would be one element too many.)
struct ObjectFields<'v> {
    object: JsDeserializer<'v>,
    rest: &'static [&'static str],
}

impl<'de> SeqAccess<'de> for ObjectFields<'_> {
    type Error = Never;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Never> {
        let (field, rest) = self.rest.split_first().unwrap_or((&"", &[]));
        self.rest = rest;
        let value = property(self.object.value, field);
        seed.deserialize(JsDeserializer { value: &value, field, wrong: self.object.wrong }).map(Some)
    }
}

#[inline(never)]
fn property(object: &JsValue, name: &str) -> JsValue {
    Reflect::get(object, &JsValue::from_str(name)).unwrap_or_default()
}

struct ArrayElements<'v> {
    list: JsDeserializer<'v>,
    values: Array,
    next: u32,
}

impl<'de> SeqAccess<'de> for ArrayElements<'_> {
    type Error = Never;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Never> {
        if self.next >= self.values.length() {
            return Ok(None);
        }
        let value = self.values.get(self.next);
        self.next += 1;
        seed.deserialize(JsDeserializer { value: &value, ..self.list }).map(Some)
    }
}

/// The name of an enum's variant, which it has.
struct VariantName(&'static str);

impl<'de> EnumAccess<'de> for VariantName {
    type Error = Never;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Never> {
        let name: StrDeserializer<Never> = StrDeserializer::new(self.0);
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> de::VariantAccess<'de> for VariantName {
    type Error = Never;

    fn unit_variant(self) -> Result<(), Never> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, _: S) -> Result<S::Value, Never> {
        unreachable!("the phone reads no variants with fields")
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Never> {
        unreachable!("the phone reads no variants with fields")
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Never> {
        unreachable!("the phone reads no variants with fields")
    }
}
