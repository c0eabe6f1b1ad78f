//! The audit log as it is shown.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::Rfc3339;
use crate::tenancy::{Actor, AuditEntry, AuditId};

/// `GET /api/admin/audit`
#[derive(Serialize, JsonSchema)]
pub struct AuditList {
    /// The newest first.
    pub entries: Vec<AuditEntryView>,
    /// The `cursor` of the page behind this one.
    pub next: Option<String>,
}

/// One change.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AuditLine")]
pub struct AuditEntryView {
    id: String,
    at: Rfc3339,
    actor: Actor,
    /// The actor in words.
    by: String,
    /// Empty where nobody asked for it.
    request_id: String,
    action: String,
    /// None where no tenant is concerned, or it is gone.
    tenant_id: Option<String>,
    /// Only what differs, without secrets; null where there was nothing.
    before: Value,
    after: Value,
}

impl AuditEntryView {
    /// `users` as in `passwd(5)`.
    pub fn of(id: &AuditId, entry: AuditEntry, users: &str) -> Self {
        Self {
            id: id.to_string(),
            at: Rfc3339(entry.at),
            by: in_words(&entry.actor, users),
            actor: entry.actor,
            request_id: entry.request_id,
            action: entry.action,
            tenant_id: entry.tenant_id.map(|id| id.to_string()),
            before: entry.before,
            after: entry.after,
        }
    }
}

fn in_words(actor: &Actor, users: &str) -> String {
    match actor {
        Actor::PanelKey { digest } => format!("panel key {digest}…"),
        Actor::MasterSecret { digest } => format!("master secret {digest}…"),
        Actor::ApiKey { id } => id.0.clone(),
        Actor::User { uid } => match user_name(*uid, users) {
            Some(name) => format!("uid {uid} ({name})"),
            None => format!("uid {uid}"),
        },
        Actor::Bitcall => "bitcall".into(),
        Actor::Anyone => "anyone".into(),
    }
}

fn user_name(uid: u32, users: &str) -> Option<&str> {
    let uid = uid.to_string();
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1) == Some(uid.as_str())).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_is_shown_with_its_user_name() {
        let users = "root:x:0:0:root:/root:/bin/sh\nbitcall:x:998:997::/:/bin/false\n";
        assert_eq!(in_words(&Actor::User { uid: 0 }, users), "uid 0 (root)");
        assert_eq!(in_words(&Actor::User { uid: 998 }, users), "uid 998 (bitcall)");
        assert_eq!(in_words(&Actor::User { uid: 997 }, users), "uid 997", "a group is no user");
    }
}
