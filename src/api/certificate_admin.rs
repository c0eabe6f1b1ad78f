//! All certificates, for the operator: listed with those that are still to come, renewed, brought in line
//! with what is wanted.

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::json;

use super::State;
use super::access::Audience;
use super::code::Code;
use super::endpoint::{Call, Done, Endpoint, done, nothing};
use super::error::ApiError;
use super::page::Page;
use super::views::certificates::{CertificateLine, CertificateList, SyncedCertificates};
use crate::certs::Certs;
use crate::hostname::Hostname;
use crate::store::{self, Batch};
use crate::tenancy::Refusal;

pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::new(
            Method::GET,
            "/api/admin/certificates",
            Audience::Admin,
            "List all certificates, and those that are being got",
            Page::read,
            list,
        )
        .refuses(&[Code::StoreUnavailable]),
        Endpoint::new(
            Method::POST,
            "/api/admin/certificates/{name}/renew",
            Audience::Admin,
            "Order a new certificate now, as far as limits allow",
            nothing,
            renew,
        )
        .refuses(&[Code::CertificateNotFound, Code::CertificatesNotAutomatic, Code::StoreUnavailable]),
        Endpoint::new(
            Method::POST,
            "/api/internal/certificates/sync",
            Audience::Admin,
            "Order what is missing, and remove what nobody needs any more",
            nothing,
            sync,
        )
        .refuses(&[Code::StoreUnavailable]),
    ]
}

async fn list(call: Call, page: Page) -> Result<Done<CertificateList>, ApiError> {
    let State { cabinet, certs, .. } = &call.state;
    let kept = cabinet.names(page.cursor.as_deref(), page.enough()).await.map_err(unavailable)?;
    let wanted = certs.iter().flat_map(Certs::list).map(|(name, _)| name.to_string());
    let mut names: BTreeSet<String> = wanted.filter(|name| page.is_after(name)).collect();
    names.extend(kept);
    let (names, next_cursor) = page.cut(names.into_iter(), String::clone);
    let mut certificates = Vec::new();
    for name in &names {
        certificates.extend(line(&call.state, name).await?);
    }
    Ok(done(CertificateList { certificates, next_cursor }))
}

async fn renew(call: Call, (): ()) -> Result<Done<CertificateLine>, ApiError> {
    let given = call.path("name");
    let unknown = || ApiError::new(Code::CertificateNotFound, format!("no certificate is got for {given}"));
    let domain: Hostname = given.parse().map_err(|_| unknown())?;
    let name = domain.to_string();
    let certs = automatic(&call.state)?.clone();
    let before = certs.progress(&domain).ok_or_else(unknown)?;
    let told = (json!({ "stage": before.stage }), json!({ "name": name, "renewal": "asked for" }));
    let follow = move || certs.renew(&domain);
    call.state.platform.commit_for(&call.act, "certificate.renew", told, Batch::new(), follow).await?;
    Ok(done(line(&call.state, &name).await?.ok_or_else(unknown)?))
}

/// Where no certificates are got, none are missing.
async fn sync(call: Call, (): ()) -> Result<Done<SyncedCertificates>, ApiError> {
    let Some(certs) = &call.state.certs else { return Ok(done(SyncedCertificates::default())) };
    call.state.domains.want_all();
    let removed = certs.sweep().await.map_err(unavailable)?;
    Ok(done(SyncedCertificates {
        automatic: true,
        wanted: certs.list().len(),
        removed: removed.into_iter().map(String::from).collect(),
    }))
}

/// Nothing when it is neither there nor to come.
async fn line(state: &State, name: &str) -> Result<Option<CertificateLine>, ApiError> {
    let domain: Option<Hostname> = name.parse().ok();
    let kept = state.cabinet.find(name).await.map_err(unavailable)?;
    let progress = state.certs.as_ref().zip(domain.as_ref()).and_then(|(certs, domain)| certs.progress(domain));
    if kept.is_none() && progress.is_none() {
        return Ok(None);
    }
    // A wildcard is for names below what somebody has.
    let owned: Option<Hostname> = name.strip_prefix("*.").unwrap_or(name).parse().ok();
    let tenant = owned.and_then(|owned| state.platform.holder(&owned)).map(|tenant| tenant.to_string());
    let mismatch = kept.as_ref().and_then(|kept| state.cabinet.shelf().mismatches().of(&kept.serial, &kept.names));
    Ok(Some(CertificateLine::of(name, kept.as_ref(), progress, mismatch, tenant)))
}

fn automatic(state: &State) -> Result<&Certs, ApiError> {
    let why = "certificates are not got here: `[acme]` names no directory, or the server does not run";
    state.certs.as_ref().ok_or_else(|| ApiError::new(Code::CertificatesNotAutomatic, why))
}

fn unavailable(error: store::Error) -> ApiError {
    Refusal::Unavailable(error).into()
}
