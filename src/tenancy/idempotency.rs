//! Requests that may come again and must not be done again: those with an
//! `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header).
//!
//! The answer of the first one is kept for a day and given to every repetition.
//! It may hold secrets that are shown once, so the store has it sealed under a
//! key that only the pepper and the caller's own idempotency key together make;
//! of the latter only a hash is kept. What was refused is not kept: it may be tried again.
//! How many answers are kept, and of how many bytes, is limited for each API key (see [`super::caller_shares`]).

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::caller_shares::Caller;
use super::key::Pepper;
use super::records::{self, Layout};
use crate::seal;
use crate::timestamp::Timestamp;

/// How a request with an idempotency key begins.
pub enum Idempotency {
    /// It is new. The attempt goes into the [`RequestContext`](super::RequestContext).
    Now(Arc<IdempotentRequest>),
    /// It was done before; the answer that it got.
    Before(Vec<u8>),
}

/// A request that is being done. As long as it lives no other of its name begins.
pub struct IdempotentRequest {
    /// The keyed hash of scope and idempotency key.
    pub(super) name: String,
    /// Opens and seals the answer.
    secret: [u8; 32],
    /// Digest of what is asked for.
    request: [u8; 32],
    running: Arc<RunningRequests>,
}

/// The names of the attempts that are under way.
pub type RunningRequests = Mutex<HashSet<String>>;

/// An answer as it is kept.
#[derive(Serialize, Deserialize)]
pub struct StoredAnswer {
    pub at: Timestamp,
    sealed: String,
}

impl Layout for StoredAnswer {}

/// What is stored beside an answer, under its tenant, so that it is found and counted without being read.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AnswerRecord {
    pub at: Timestamp,
    /// Of the stored answer.
    pub bytes: usize,
    pub made_by: Caller,
}

/// 1 was the moment alone; such answers count as the operator's.
impl Layout for AnswerRecord {
    const VERSION: u32 = 2;

    fn upgrade(_version: u32, moment: Value) -> Value {
        json!({ "at": moment, "bytes": 0, "madeBy": {} })
    }
}

/// The same key for another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReusedKey;

impl IdempotentRequest {
    /// Nothing while another one of the same name is under way. `scope` is whose keys these are;
    /// `request` all that the request says.
    pub fn start(
        pepper: &Pepper,
        running: &Arc<RunningRequests>,
        scope: &str,
        key: &str,
        request: &[u8],
    ) -> io::Result<Option<Self>> {
        let both = [scope, key].join("\n");
        let name = String::from(pepper.hash(&both));
        let secret = pepper.derive("idempotency answer", both.as_bytes())?;
        if !running.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone()) {
            return Ok(None);
        }
        Ok(Some(Self { name, secret, request: Sha256::digest(request).into(), running: Arc::clone(running) }))
    }

    pub fn seal(&self, at: Timestamp, answer: &[u8]) -> io::Result<StoredAnswer> {
        let sealed = seal::seal(&self.secret, &self.about(), [&self.request, answer].concat())?;
        Ok(StoredAnswer { at, sealed: BASE64.encode(sealed) })
    }

    /// The answer that was kept, if it was given to the same request.
    pub fn open(&self, kept: &StoredAnswer) -> io::Result<Result<Vec<u8>, ReusedKey>> {
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "a kept answer cannot be opened");
        let sealed = BASE64.decode(&kept.sealed).map_err(|_| damaged())?;
        let opened = seal::open(&self.secret, &self.about(), &sealed).ok_or_else(damaged)?;
        let (request, answer) = opened.split_at_checked(self.request.len()).ok_or_else(damaged)?;
        Ok(if request == self.request { Ok(answer.to_vec()) } else { Err(ReusedKey) })
    }

    fn about(&self) -> String {
        records::replay_key(&self.name)
    }
}

impl Drop for IdempotentRequest {
    fn drop(&mut self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}

impl fmt::Debug for IdempotentRequest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "IdempotentRequest({})", self.name)
    }
}
