//! What the records hold: JSON with the version of its layout in front.
//!
//! A layout that changes gets the next [`Layout::VERSION`] and a step in
//! [`Layout::upgrade`]; old records are upgraded as they are read and written
//! back with their next change. So a start never rewrites the whole store.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::Error;

/// A kind of record.
pub trait Layout: Serialize + DeserializeOwned {
    const VERSION: u32 = 1;

    /// Turns the fields of a record written in `_version`, which is older than
    /// [`Self::VERSION`], into today's.
    fn upgrade(_version: u32, fields: Value) -> Value {
        fields
    }
}

pub fn encode<T: Layout>(value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(&Versioned { version: T::VERSION, fields: value })
        .map_err(|error| Error::Failed(error.to_string()))
}

pub fn decode<T: Layout>(key: &str, bytes: &[u8]) -> Result<T, Error> {
    let unreadable = |why: String| Error::Unreadable(format!("record {key}: {why}"));
    let told = |error: serde_json::Error| unreadable(error.to_string());
    let found: Versioned<&RawValue> = serde_json::from_slice(bytes).map_err(told)?;
    let (version, fields) = (found.version, found.fields.get());
    if version > T::VERSION {
        return Err(unreadable(format!(
            "it has layout {version}, this version knows up to {}; use the newer bitcall that wrote it",
            T::VERSION
        )));
    }
    if version < T::VERSION {
        let fields = serde_json::from_str(fields).map_err(told)?;
        return serde_json::from_value(T::upgrade(version, fields)).map_err(told);
    }
    // Straight into what it is: a start reads every record.
    serde_json::from_str(fields).map_err(told)
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    #[serde(rename = "v")]
    version: u32,
    #[serde(rename = "r")]
    fields: T,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Renamed {
        label: String,
    }

    impl Layout for Renamed {
        const VERSION: u32 = 2;

        fn upgrade(version: u32, mut fields: Value) -> Value {
            if version < 2 {
                let name = fields["name"].take();
                fields = serde_json::json!({ "label": name });
            }
            fields
        }
    }

    #[test]
    fn a_record_of_an_older_layout_is_upgraded_when_read() {
        let record: Renamed = decode("k", br#"{"v":1,"r":{"name":"x"}}"#).unwrap();
        assert_eq!(record, Renamed { label: "x".into() });
    }

    #[test]
    fn a_record_of_a_newer_layout_is_refused_with_the_remedy() {
        let error = decode::<Renamed>("k", br#"{"v":3,"r":{}}"#).unwrap_err();
        assert!(error.to_string().contains("newer bitcall"), "{error}");
    }
}
