//! What the store key has sealed, in whatever record: private keys of certificates and of orders under way, and ACME
//! accounts. While the store key is replaced, a start seals it again by the new one, and until then the old one is
//! needed.
//!
//! The records are read without their types: a sealed secret is an object of `by` and `text` ([`Sealed`]), bound to the
//! key of its record.

use std::collections::BTreeMap;

use serde_json::Value;

use super::account::ACCOUNTS;
use super::sealed::{Seal, Sealed};
use crate::store::keys::{CERTIFICATES, ORDERS};
use crate::store::{self, Batch, Error, MAX_BATCH_OPERATIONS, Store};

/// The keys of all records with sealed secrets start with one of these.
const PREFIXES: [&str; 3] = [CERTIFICATES, ORDERS, ACCOUNTS];
/// Records that are sealed again in one batch; each takes a condition and a change.
const RESEALED_PER_BATCH: usize = MAX_BATCH_OPERATIONS / 2;

/// Seals again by the current key what the previous one sealed. What cannot be opened stays as it is.
pub async fn seal_again(store: &dyn Store, seal: &Seal) -> Result<(), Error> {
    let mut stale = Vec::new();
    for prefix in PREFIXES {
        store::for_each(store, prefix, |key, record| {
            let mut is_stale = false;
            each_sealed(&mut read(key, &record.bytes)?, &mut |sealed| {
                is_stale |= seal.knows(sealed) && !seal.is_current(sealed);
            });
            if is_stale {
                stale.push(key.to_owned());
            }
            Ok(())
        })
        .await?;
    }
    for keys in stale.chunks(RESEALED_PER_BATCH) {
        let mut batch = Batch::new();
        for key in keys {
            let Some(record) = store.get(key).await? else { continue };
            let mut fields = read(key, &record.bytes)?;
            let mut failure = None;
            each_sealed(&mut fields, &mut |sealed| {
                if let Some(secret) = seal.open(key, sealed) {
                    match seal.seal(key, secret) {
                        Ok(again) => *sealed = again,
                        Err(error) => failure = Some(error),
                    }
                }
            });
            if let Some(error) = failure {
                return Err(Error::Failed(error.to_string()));
            }
            batch = batch.require_revision(key, record.revision).put(key, fields.to_string().into_bytes());
        }
        match store.commit(batch).await {
            // Written meanwhile, with the current key.
            Ok(_) | Err(Error::Conflict(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// How many secrets each store key has sealed, by the key's name.
pub async fn sealed_by(store: &dyn Store) -> Result<BTreeMap<String, usize>, Error> {
    let mut counts = BTreeMap::new();
    for prefix in PREFIXES {
        store::for_each(store, prefix, |key, record| {
            each_sealed(&mut read(key, &record.bytes)?, &mut |sealed| {
                *counts.entry(sealed.by().to_owned()).or_default() += 1;
            });
            Ok(())
        })
        .await?;
    }
    Ok(counts)
}

fn read(key: &str, bytes: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::Unreadable(format!("record {key}: {error}")))
}

fn each_sealed(value: &mut Value, visit: &mut impl FnMut(&mut Sealed)) {
    match value {
        Value::Object(fields) if fields.len() == 2 && fields.contains_key("by") && fields.contains_key("text") => {
            if let Ok(mut sealed) = serde_json::from_value::<Sealed>(Value::Object(fields.clone())) {
                visit(&mut sealed);
                if let Ok(after) = serde_json::to_value(sealed) {
                    *value = after;
                }
            }
        }
        Value::Object(fields) => fields.values_mut().for_each(|inner| each_sealed(inner, visit)),
        Value::Array(items) => items.iter_mut().for_each(|inner| each_sealed(inner, visit)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use serde_json::json;

    use super::*;
    use crate::store::RedbStore;

    #[tokio::test]
    async fn whatever_the_previous_key_sealed_is_sealed_again_and_until_then_needs_it() {
        let directory = tempfile::tempdir().unwrap();
        let store = RedbStore::open(&directory.path().join("store")).unwrap();
        let old = Seal::new(["the old store key"]).unwrap();
        let both = Seal::new(["the new store key", "the old store key"]).unwrap();
        let records = ["certificate/a.example", "order/a.example", "acme-account/0123"];
        let mut batch = Batch::new();
        for key in records {
            let sealed = old.seal(key, key.as_bytes().to_vec()).unwrap();
            let fields = json!({ "v": 1, "f": { "state": [{ "at": 1, "key": sealed }], "names": ["by", "text"] } });
            batch = batch.put(key, fields.to_string().into_bytes());
        }
        store.commit(batch).await.unwrap();
        assert_eq!(sealed_by(&store).await.unwrap(), BTreeMap::from([(old.name().to_owned(), 3)]));
        seal_again(&store, &both).await.unwrap();
        assert_eq!(sealed_by(&store).await.unwrap(), BTreeMap::from([(both.name().to_owned(), 3)]));
        let new = Seal::new(["the new store key"]).unwrap();
        for key in records {
            let record = store.get(key).await.unwrap().unwrap();
            let mut opened = Vec::new();
            each_sealed(&mut read(key, &record.bytes).unwrap(), &mut |sealed| opened.push(new.open(key, sealed)));
            assert_eq!(opened, [Some(key.as_bytes().to_vec())], "{key}");
        }
    }
}
