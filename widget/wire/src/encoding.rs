//! The encoding of the messages between page and agent: postcard's wire format, which has neither names nor types in it.
//!
//! postcard itself returns an error from every value that it reads, and each struct then has code that drops what was read
//! before: an eighth of the phone's size. Here a reader that finds the bytes wrong goes on with empty values and says so at
//! the end, and no value has an error of its own.

use std::fmt;

use serde::de::value::U32Deserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor};
use serde::{Serialize, forward_to_deserialize_any, ser};

/// Encodes a value.
pub fn to_bytes<M: Serialize>(message: &M) -> Vec<u8> {
    let mut writer = Writer(Vec::new());
    let Ok(()) = message.serialize(&mut writer);
    writer.0
}

/// Decodes a value. `None` if the bytes are not valid.
pub fn from_bytes<M: DeserializeOwned>(bytes: &[u8]) -> Option<M> {
    let mut reader = Reader { rest: bytes, failed: false };
    let Ok(message) = M::deserialize(&mut reader);
    (!reader.failed).then_some(message)
}

/// The error of a single value, where there is none: whoever reads says at the end that something was wrong.
#[derive(Debug)]
pub enum Never {}

impl fmt::Display for Never {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl std::error::Error for Never {}

/// serde's derived code asks for errors where a value is missing, too large, or its variant unknown: who has this error leaves
/// none of that to it.
impl de::Error for Never {
    fn custom<T: fmt::Display>(_: T) -> Self {
        unreachable!("a value has an error of its own")
    }

    // The default implementations format what was there.
    fn unknown_variant(_: &str, _: &'static [&'static str]) -> Self {
        Self::custom("")
    }

    fn invalid_value(_: de::Unexpected<'_>, _: &dyn de::Expected) -> Self {
        Self::custom("")
    }

    fn invalid_length(_: usize, _: &dyn de::Expected) -> Self {
        Self::custom("")
    }
}

impl ser::Error for Never {
    fn custom<T: fmt::Display>(_: T) -> Self {
        unreachable!("a value has an error of its own")
    }
}

struct Writer(Vec<u8>);

impl Writer {
    #[inline(never)]
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }

    #[inline(never)]
    fn bytes(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }
}

struct Reader<'b> {
    rest: &'b [u8],
    failed: bool,
}

impl Reader<'_> {
    #[inline(never)]
    fn byte(&mut self) -> u8 {
        if let [first, rest @ ..] = self.rest {
            self.rest = rest;
            *first
        } else {
            self.failed = true;
            0
        }
    }

    #[inline(never)]
    fn varint(&mut self) -> u64 {
        let mut value = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte();
            value |= u64::from(byte & 0x7f) << shift;
            // The tenth byte has one bit of the 64.
            if byte < 0x80 && (shift < 63 || byte < 2) {
                return value;
            }
        }
        self.failed = true;
        0
    }

    /// A varint that fits in the type.
    fn number<N: TryFrom<u64> + Default>(&mut self) -> N {
        N::try_from(self.varint()).unwrap_or_else(|_| {
            self.failed = true;
            N::default()
        })
    }

    #[inline(never)]
    fn text(&mut self) -> String {
        let length = self.number::<usize>();
        let Some((text, rest)) = self.rest.split_at_checked(length) else {
            self.failed = true;
            return String::new();
        };
        self.rest = rest;
        if let Ok(text) = std::str::from_utf8(text) {
            return text.to_owned();
        }
        self.failed = true;
        String::new()
    }

    /// The number of one of so many variants.
    #[inline(never)]
    fn variant(&mut self, count: usize) -> u32 {
        let variant = self.number::<u32>();
        if variant as usize >= count {
            self.failed = true;
            return 0;
        }
        variant
    }
}

macro_rules! write_numbers {
    ($($method:ident $type:ty;)*) => {
        $(fn $method(self, value: $type) -> Result<(), Never> {
            self.varint(value.into());
            Ok(())
        })*
    };
}

macro_rules! unused {
    ($($method:ident($($type:ty),*) -> $output:ty;)*) => {
        $(fn $method(self, $(_: $type),*) -> Result<$output, Never> {
            unreachable!("the agent's messages have no such type")
        })*
    };
}

impl ser::Serializer for &mut Writer {
    type Ok = ();
    type Error = Never;
    type SerializeSeq = Self;
    type SerializeTuple = ser::Impossible<(), Never>;
    type SerializeTupleStruct = ser::Impossible<(), Never>;
    type SerializeTupleVariant = ser::Impossible<(), Never>;
    type SerializeMap = ser::Impossible<(), Never>;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    write_numbers! {
        serialize_u16 u16;
        serialize_u32 u32;
        serialize_u64 u64;
    }

    unused! {
        serialize_i8(i8) -> ();
        serialize_i16(i16) -> ();
        serialize_i32(i32) -> ();
        serialize_i64(i64) -> ();
        serialize_u8(u8) -> ();
        serialize_f32(f32) -> ();
        serialize_f64(f64) -> ();
        serialize_char(char) -> ();
        serialize_bytes(&[u8]) -> ();
        serialize_unit() -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_tuple(usize) -> Self::SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
        serialize_map(Option<usize>) -> Self::SerializeMap;
    }

    fn serialize_bool(self, value: bool) -> Result<(), Never> {
        self.0.push(value.into());
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), Never> {
        self.bytes(value.as_bytes());
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Never> {
        self.0.push(0);
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Never> {
        self.0.push(1);
        value.serialize(self)
    }

    fn serialize_unit_variant(self, _: &'static str, variant: u32, _: &'static str) -> Result<(), Never> {
        self.varint(variant.into());
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Never> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        variant: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Never> {
        self.varint(variant.into());
        value.serialize(self)
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Self, Never> {
        // Only iterators do not know it, and the messages have lists.
        self.varint(length.unwrap_or_default() as u64);
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Never> {
        Ok(self)
    }

    fn serialize_struct_variant(self, _: &'static str, variant: u32, _: &'static str, _: usize) -> Result<Self, Never> {
        self.varint(variant.into());
        Ok(self)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

impl ser::SerializeSeq for &mut Writer {
    type Ok = ();
    type Error = Never;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Never> {
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), Never> {
        Ok(())
    }
}

impl ser::SerializeStruct for &mut Writer {
    type Ok = ();
    type Error = Never;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, _: &'static str, value: &T) -> Result<(), Never> {
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), Never> {
        Ok(())
    }
}

impl ser::SerializeStructVariant for &mut Writer {
    type Ok = ();
    type Error = Never;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, _: &'static str, value: &T) -> Result<(), Never> {
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), Never> {
        Ok(())
    }
}

impl<'de> de::Deserializer<'de> for &mut Reader<'_> {
    type Error = Never;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Never> {
        unreachable!("the agent's messages have no such type")
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        visitor.visit_bool(self.variant(2) != 0)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        visitor.visit_u16(self.number())
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        visitor.visit_u32(self.number())
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        visitor.visit_u64(self.varint())
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        visitor.visit_string(self.text())
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        visitor.visit_string(self.text())
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        if self.variant(2) == 0 { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Never> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Never> {
        let left = self.number();
        visitor.visit_seq(Elements { reader: self, left })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Never> {
        visitor.visit_seq(Fields(self))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Never> {
        // An alias counts as one, too: an enum with aliases must be read from its own writer only.
        let variant = self.variant(variants.len());
        visitor.visit_enum(Variant { reader: self, variant })
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u128 f32 f64 char bytes byte_buf unit unit_struct tuple tuple_struct map identifier
        ignored_any
    }
}

/// The elements of a list.
struct Elements<'r, 'b> {
    reader: &'r mut Reader<'b>,
    left: usize,
}

impl<'de> de::SeqAccess<'de> for Elements<'_, '_> {
    type Error = Never;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Never> {
        if self.left == 0 || self.reader.failed {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.reader).map(Some)
    }
}

/// The fields of a struct, of which there are always enough.
struct Fields<'r, 'b>(&'r mut Reader<'b>);

impl<'de> de::SeqAccess<'de> for Fields<'_, '_> {
    type Error = Never;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Never> {
        seed.deserialize(&mut *self.0).map(Some)
    }
}

struct Variant<'r, 'b> {
    reader: &'r mut Reader<'b>,
    variant: u32,
}

impl<'de> de::EnumAccess<'de> for Variant<'_, '_> {
    type Error = Never;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Never> {
        let variant: U32Deserializer<Never> = self.variant.into_deserializer();
        Ok((seed.deserialize(variant)?, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_, '_> {
    type Error = Never;

    fn unit_variant(self) -> Result<(), Never> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Never> {
        seed.deserialize(self.reader)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Never> {
        visitor.visit_seq(Fields(self.reader))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, Never> {
        visitor.visit_seq(Fields(self.reader))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::agent_protocol::{
        AgentEvent, AgentSnapshot, CallDirection, CallEndCause, CallHeader, CallOptions, CallSnapshot, CallState,
        HoldState, MediaReply, RecordingState, RegistrationStatus, ToAgent, ToPage, TransferSnapshot, TransferState,
    };

    fn to_page() -> Vec<ToPage> {
        let call = CallSnapshot {
            id: "a".repeat(200),
            direction: CallDirection::Inbound,
            number: "+49 30 901820".to_owned(),
            display_name: Some("Größe".to_owned()),
            requested_caller_id: None,
            state: CallState::Ended { cause: CallEndCause { text: "Busy".to_owned(), sip_code: Some(486) } },
            hold: HoldState::HeldHere,
            remote_held: true,
            voice: false,
            rings: true,
            muted: false,
            started_at: u64::MAX,
            answered_at: Some(0x80),
            page: None,
            detached: true,
            transfer: Some(TransferSnapshot { target: "100".to_owned(), state: TransferState::Ringing }),
            consults_for: None,
            referral: None,
            auto_answer: false,
            diverted_from: None,
            recording: RecordingState::On { id: "r".to_owned() },
            headers: vec![CallHeader { name: "X-A".to_owned(), value: String::new() }; 3],
        };
        let registration = RegistrationStatus::Registered {
            username: "a".into(),
            domain: "b".into(),
            server: "c".into(),
            session: None,
        };
        let calls = vec![call.clone(), call.clone()];
        let snapshot = AgentSnapshot { revision: 300, registration, calls, ..AgentSnapshot::default() };
        let cause = CallEndCause { text: String::new(), sip_code: None };
        vec![
            ToPage::Snapshot { snapshot },
            ToPage::Event { event: AgentEvent::CallEnded { call, cause, duration: 7 } },
            ToPage::Log { line: "…".to_owned() },
        ]
    }

    fn to_agent() -> Vec<ToAgent> {
        let headers = vec![CallHeader { name: "X-A".to_owned(), value: "b".to_owned() }];
        let options = CallOptions { caller_id: Some("1".to_owned()), headers, consults_for: None };
        vec![
            ToAgent::Detach,
            ToAgent::Alive { visible: true },
            ToAgent::Call { call: "a".into(), number: "1".into(), options, offer: Some("v=0".repeat(999)) },
            ToAgent::MediaReply { call: "a".into(), request_id: u32::MAX, reply: MediaReply::Done },
        ]
    }

    #[test]
    fn messages_are_read_as_they_were_written_in_the_format_of_postcard() {
        for message in to_page() {
            assert_eq!(to_bytes(&message), postcard::to_allocvec(&message).unwrap());
            assert_eq!(from_bytes(&to_bytes(&message)), Some(message));
        }
        for message in to_agent() {
            assert_eq!(to_bytes(&message), postcard::to_allocvec(&message).unwrap());
            assert_eq!(from_bytes(&to_bytes(&message)), Some(message));
        }
    }

    #[test]
    fn bytes_that_are_no_message_are_none() {
        for message in to_page() {
            let whole = to_bytes(&message);
            for length in 0..whole.len() {
                assert_eq!(from_bytes::<ToPage>(&whole[..length]), None, "{length} of {} bytes", whole.len());
            }
            for (at, byte) in (0..whole.len()).flat_map(|at| [0, 1, 2, 0x7f, 0x80, 0xff].map(|byte| (at, byte))) {
                let mut bytes = whole.clone();
                bytes[at] = byte;
                assert_eq!(from_bytes::<ToPage>(&bytes), postcard::from_bytes(&bytes).ok(), "{byte} at {at}");
            }
        }
    }
}
