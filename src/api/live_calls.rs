//! The calls that are up now: reported by phones, read by panel and administrator.

use std::sync::Arc;

use std::time::Duration;

use axum::extract::Request;
use axum::http::Method;
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::middleware::{self, Next};
use axum::response::Response;

use super::access::Audience;
use super::code::Code;
use super::endpoint::{ApiRequest, Endpoint, Success, nothing, success};
use super::error::ApiError;
use super::form::{Form, choice, integer, line, list, object, query_boolean, secret, text};
use super::page::PageRequest;
use super::views::live_calls::{ReportReceipt, UsageList, UsageView};
use crate::tenancy::{
    CallState, CallUsage, Direction, KeyPurpose, KeyState, MAX_CALLS, Refusal, ReportedCall, ReportedCalls, TenantId,
};

const MAX_ID_CHARS: usize = 64;
const MAX_NUMBER_CHARS: usize = 128;
/// The largest whole number that every JSON reader knows exactly.
const MAX_SEQUENCE: u64 = (1 << 53) - 1;
/// Seconds; a year.
const MAX_AGE_SECONDS: u64 = 31_536_000;

pub fn endpoints() -> Vec<Endpoint> {
    let mut report = Endpoint::of_key(
        KeyPurpose::Pages,
        Method::POST,
        "/api/webphone/live-calls",
        "A phone tells which calls it is in; also as text/plain, which is what navigator.sendBeacon sends",
        report,
        record_report,
    )
    .refuses(&[Code::AppTenantDisabled, Code::TenantNotFound, Code::TooManyClients, Code::PhoneSessionInvalid]);
    report.service = report.service.layer(middleware::from_fn(accept_plain_text));
    vec![
        report,
        Endpoint::of_tenant(
            Method::GET,
            "/api/tenant/live-calls",
            "The calls that a tenant's phones are in now",
            nothing,
            of_tenant,
        ),
        Endpoint::new(
            Method::GET,
            "/api/admin/live-calls",
            Audience::Admin,
            "The calls that all tenants' phones are in now",
            usage_query,
            of_all,
        )
        .refuses(&[Code::TenantNotFound]),
    ]
}

/// `navigator.sendBeacon`, by which a closing page sends its last report, sends text/plain and can set no header. The
/// body is JSON all the same.
async fn accept_plain_text(mut request: Request, next: Next) -> Response {
    let declared = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if declared.is_some_and(|declared| declared.starts_with(b"text/plain")) {
        request.headers_mut().remove(CONTENT_TYPE);
    }
    next.run(request).await
}

/// A report and the phone's session: the one that the built-in edge sent in `X-Bitcall-Session` with its answer to
/// REGISTER, or where phones sign in elsewhere, the one that came so with the runtime configuration.
struct Report {
    session: String,
    calls: ReportedCalls,
}

fn report(form: &mut Form) -> Option<Report> {
    let session = form.required("session", secret());
    let client_id = form.required("clientId", line(MAX_ID_CHARS));
    let sequence = form.required("sequence", integer(0..=MAX_SEQUENCE));
    let calls = form.required("calls", list(object(reported_call), 0..=MAX_CALLS));
    let calls = ReportedCalls { client_id: client_id?, sequence: sequence?, calls: calls? };
    Some(Report { session: session?, calls })
}

fn reported_call(form: &mut Form) -> Option<ReportedCall> {
    let call_id = form.required("callId", line(MAX_ID_CHARS));
    let number = form.optional("number", line(MAX_NUMBER_CHARS));
    let direction = form.required("direction", choice::<Direction>(&["outbound", "inbound"]));
    let state = form.required("state", choice::<CallState>(&["ringing", "active", "held"]));
    let age = form.required("seconds", integer(0..=MAX_AGE_SECONDS)).map(Duration::from_secs);
    Some(ReportedCall { call_id: call_id?, number, direction: direction?, state: state?, age: age? })
}

struct UsageQuery {
    active_only: bool,
    tenant: Option<String>,
    page: PageRequest,
}

fn usage_query(form: &mut Form) -> Option<UsageQuery> {
    let active_only = form.optional("activeOnly", query_boolean()).unwrap_or(false);
    let tenant = form.optional("tenantId", text());
    Some(UsageQuery { active_only, tenant, page: PageRequest::read(form)? })
}

async fn record_report(
    request: ApiRequest,
    (key, Report { session, calls }): (Arc<KeyState>, Report),
) -> Result<Success<ReportReceipt>, ApiError> {
    let accepted = request.state.platform.report_calls(&request.context, &key.state.tenant.id, &session, calls)?;
    Ok(success(ReportReceipt { accepted }))
}

async fn of_tenant(request: ApiRequest, (id, ()): (TenantId, ())) -> Result<Success<UsageView>, ApiError> {
    Ok(success(UsageView::from(&request.state.platform.usage_of(&id)?)))
}

async fn of_all(request: ApiRequest, usage_query: UsageQuery) -> Result<Success<UsageList>, ApiError> {
    let platform = &request.state.platform;
    let busy = match &usage_query.tenant {
        // A text that is no valid tenant id names no tenant.
        Some(id) => vec![platform.usage_of(&id.parse().map_err(|_| Refusal::TenantNotFound(id.clone()))?)?],
        None => platform.usage(),
    };
    let live_calls = busy.iter().map(|usage| usage.calls.len()).sum();
    let active_clients = busy.iter().map(CallUsage::active_clients).sum();
    let ids: Vec<TenantId> = if usage_query.tenant.is_some() || usage_query.active_only {
        let matching = busy.iter().filter(|usage| !usage_query.active_only || !usage.calls.is_empty());
        matching.map(|usage| usage.state.tenant.id.clone()).collect()
    } else {
        platform.tenants().iter().map(|live| live.tenant.id.clone()).collect()
    };
    let total = ids.len();
    let (ids, next_cursor) = usage_query.page.take(ids, TenantId::as_str);
    // Tenants that were removed meanwhile are left out.
    let tenants = ids.iter().filter_map(|id| platform.usage_of(id).ok()).map(|usage| UsageView::from(&usage)).collect();
    Ok(success(UsageList { live_calls, active_clients, tenants, total, next_cursor }))
}
