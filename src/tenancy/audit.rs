//! The audit log: every change with who made it, in which request, and what was
//! before and after. An entry is committed in one batch with its change, so
//! neither is there without the other.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::id::TenantId;
use super::refusal::InvalidValue;
use super::request_context::{Actor, RequestContext};
use crate::timestamp::Timestamp;

/// What was done, before it is written down.
#[derive(Clone, Debug)]
pub struct AuditAction {
    /// `tenant.provision`, `key.revoke` …
    pub action: &'static str,
    pub tenant: Option<TenantId>,
    /// Of what was changed; never a secret, nor anything that a secret could be tested with.
    pub before: Value,
    pub after: Value,
}

impl AuditAction {
    pub fn on(tenant: &TenantId, action: &'static str, before: Value, after: Value) -> Self {
        Self { action, tenant: Some(tenant.clone()), before, after }
    }

    /// On what belongs to no tenant.
    pub fn on_platform(action: &'static str, before: Value, after: Value) -> Self {
        Self { action, tenant: None, before, after }
    }
}

/// The name of an entry, `1773489600007-00c0ffee`: they sort by time, and a number keeps those of one moment apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AuditId(String);

impl AuditId {
    pub fn new(at: Timestamp, number: u32) -> Self {
        Self(format!("{:013}-{number:08x}", at.0))
    }
}

impl fmt::Display for AuditId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for AuditId {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let known = text.split_once('-').is_some_and(|(moment, number)| {
            let hexadecimal = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
            moment.len() == 13
                && number.len() == 8
                && moment.bytes().all(|byte| byte.is_ascii_digit())
                && number.bytes().all(hexadecimal)
        });
        if known { Ok(Self(text.to_owned())) } else { Err(InvalidValue::new("names no entry of the audit")) }
    }
}

/// Which entries are wanted.
#[derive(Clone, Debug)]
pub struct AuditSearch {
    /// Its deletion, under whose entry its name no longer stands, included.
    pub tenant: Option<TenantId>,
    pub action: Option<String>,
    /// Not older than this.
    pub since: Option<Timestamp>,
    /// Older than this.
    pub until: Option<Timestamp>,
    /// Older than this entry.
    pub before: Option<AuditId>,
    /// At least 1.
    pub limit: usize,
}

/// Some of them, the newest first.
#[derive(Debug)]
pub struct AuditPage {
    pub entries: Vec<(AuditId, AuditEntry)>,
    /// What to ask for to get those before; none when these are all.
    pub next: Option<AuditId>,
}

/// One change, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    pub at: Timestamp,
    pub actor: Actor,
    pub request_id: String,
    pub action: String,
    pub tenant_id: Option<TenantId>,
    /// Only what differs; null where there was nothing.
    pub before: Value,
    pub after: Value,
}

impl AuditEntry {
    pub fn of(context: &RequestContext, action: AuditAction) -> Self {
        let (before, after) = differences(action.before, action.after);
        Self {
            at: context.at,
            actor: context.actor.clone(),
            request_id: context.request_id.clone(),
            action: action.action.to_owned(),
            tenant_id: action.tenant,
            before,
            after,
        }
    }
}

/// Both sides without what is the same in both.
fn differences(before: Value, after: Value) -> (Value, Value) {
    let (Value::Object(before), Value::Object(mut after)) = (before.clone(), after.clone()) else {
        return (before, after);
    };
    let (mut lost, mut gained) = (Map::new(), Map::new());
    for (name, old) in before {
        match after.shift_remove(&name) {
            Some(new) if new == old => {}
            Some(new) => {
                let (old, new) = differences(old, new);
                lost.insert(name.clone(), old);
                gained.insert(name, new);
            }
            None => {
                lost.insert(name, old);
            }
        }
    }
    gained.extend(after);
    (Value::Object(lost), Value::Object(gained))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_entry_shows_what_changed_and_nothing_else() {
        let before = json!({ "a": 1, "b": { "c": 1, "d": 2 }, "gone": true });
        let after = json!({ "a": 1, "b": { "c": 1, "d": 3 }, "new": null });
        let (lost, gained) = differences(before, after);
        assert_eq!(lost, json!({ "b": { "d": 2 }, "gone": true }));
        assert_eq!(gained, json!({ "b": { "d": 3 }, "new": null }));
    }

    #[test]
    fn what_was_made_or_removed_is_shown_whole() {
        assert_eq!(differences(Value::Null, json!({ "a": 1 })), (Value::Null, json!({ "a": 1 })));
    }
}
