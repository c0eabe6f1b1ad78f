//! The audit log, for the operator.

use axum::http::Method;
use serde_json::{Value, json};

use super::access::Audience;
use super::code::Code;
use super::endpoint::{ApiRequest, Endpoint, Success, success};
use super::error::ApiError;
use super::form::{Form, TextSchema, parsed, text};
use super::page;
use super::views::{AuditEntryView, AuditList};
use crate::tenancy::{AuditId, AuditSearch};
use crate::timestamp::Timestamp;

pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::new(
            Method::GET,
            "/api/admin/audit",
            Audience::Admin,
            "What was changed, by whom: the newest first; `next`, where it is not null, is the `cursor` of the page behind",
            search,
            list,
        )
        .refuses(&[Code::StoreUnavailable]),
    ]
}

/// `since` is part of the time that is looked at, `until` is not.
#[allow(clippy::unnecessary_wraps)] // the shape of all forms
fn search(form: &mut Form) -> Option<AuditSearch> {
    Some(AuditSearch {
        tenant: form.optional("tenantId", parsed()),
        action: form.optional("action", text()),
        since: form.optional("since", parsed()),
        until: form.optional("until", parsed()),
        before: form.optional("cursor", parsed()),
        limit: page::limit(form),
    })
}

async fn list(request: ApiRequest, search: AuditSearch) -> Result<Success<AuditList>, ApiError> {
    let page = request.state.platform.audit(&search).await.map_err(|error| {
        tracing::error!(%error, "the audit could not be read");
        ApiError::new(Code::StoreUnavailable, "the audit could not be read; try again")
    })?;
    // As many a system has it; without the file users go by their numbers.
    let users = tokio::fs::read_to_string("/etc/passwd").await.unwrap_or_default();
    let entries = page.entries.into_iter().map(|(id, entry)| AuditEntryView::of(&id, entry, &users)).collect();
    Ok(success(AuditList { entries, next: page.next.map(|id| id.to_string()) }))
}

impl TextSchema for Timestamp {
    fn schema() -> Value {
        json!({ "type": "string", "format": "date-time" })
    }
}

impl TextSchema for AuditId {
    fn schema() -> Value {
        json!({ "type": "string", "pattern": "^[0-9]{13}-[0-9a-f]{8}$" })
    }
}
