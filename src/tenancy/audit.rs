//! The audit log: every change with who made it, in which request, and what was
//! before and after. An entry is committed in one batch with its change, so
//! neither is there without the other.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::act::{Act, Actor};
use super::id::TenantId;
use super::timestamp::Timestamp;

/// What was done, before it is written down.
#[derive(Clone, Debug)]
pub struct Deed {
    /// `tenant.provision`, `key.revoke` …
    pub action: &'static str,
    pub tenant: Option<TenantId>,
    /// Of what was changed; never a secret, nor anything that a secret could be tested with.
    pub before: Value,
    pub after: Value,
}

impl Deed {
    pub fn on(tenant: &TenantId, action: &'static str, before: Value, after: Value) -> Self {
        Self { action, tenant: Some(tenant.clone()), before, after }
    }

    /// On what belongs to no tenant.
    pub fn on_platform(action: &'static str, before: Value, after: Value) -> Self {
        Self { action, tenant: None, before, after }
    }
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
    pub fn of(act: &Act, deed: Deed) -> Self {
        let (before, after) = differences(deed.before, deed.after);
        Self {
            at: act.at,
            actor: act.actor.clone(),
            request_id: act.request_id.clone(),
            action: deed.action.to_owned(),
            tenant_id: deed.tenant,
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
        match after.remove(&name) {
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
