//! The operator's view of all certificates: listed with those that are being ordered, renewed, and synchronised with
//! the names that need one.

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::json;

use super::ApiState;
use super::access::Audience;
use super::code::Code;
use super::endpoint::{ApiRequest, Endpoint, Success, nothing, success};
use super::error::ApiError;
use super::page::PageRequest;
use super::views::certificates::{CertificateList, CertificateSummary, StoreKeyView, SyncedCertificates};
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
            PageRequest::read,
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
        Endpoint::new(
            Method::GET,
            "/api/admin/store-key",
            Audience::Admin,
            "The store key that the server seals by, and which keys have sealed what is stored",
            nothing,
            store_key,
        )
        .refuses(&[Code::StoreUnavailable]),
    ]
}

async fn list(request: ApiRequest, page: PageRequest) -> Result<Success<CertificateList>, ApiError> {
    let ApiState { certificate_store, certs, .. } = &*request.state;
    let kept = certificate_store.names(page.cursor.as_deref(), page.fetch_count()).await.map_err(unavailable)?;
    let ordered = certs.iter().flat_map(Certs::list).map(|(name, _)| name.to_string());
    let mut names: BTreeSet<String> = ordered.collect();
    names.extend(kept);
    let (names, next_cursor) = page.take(names, String::as_str);
    let mut certificates = Vec::new();
    for name in &names {
        certificates.extend(line(&request.state, name).await?);
    }
    Ok(success(CertificateList { certificates, next_cursor }))
}

async fn renew(request: ApiRequest, (): ()) -> Result<Success<CertificateSummary>, ApiError> {
    let given = request.path("name");
    let unknown = || ApiError::new(Code::CertificateNotFound, format!("no certificate is got for {given}"));
    let domain: Hostname = given.parse().map_err(|_| unknown())?;
    let name = domain.to_string();
    let certs = automatic(&request.state)?.clone();
    let before = certs.progress(&domain).ok_or_else(unknown)?;
    let change = (json!({ "stage": before.stage }), json!({ "name": name, "renewal": "asked for" }));
    let follow = move || certs.renew(&domain);
    request.state.platform.commit_for(&request.context, "certificate.renew", change, Batch::new(), follow).await?;
    Ok(success(line(&request.state, &name).await?.ok_or_else(unknown)?))
}

/// Without ACME there is nothing to order.
async fn sync(request: ApiRequest, (): ()) -> Result<Success<SyncedCertificates>, ApiError> {
    let Some(certs) = &request.state.certs else { return Ok(success(SyncedCertificates::default())) };
    request.state.domains.order_all();
    let removed = certs.sweep().await.map_err(unavailable)?;
    Ok(success(SyncedCertificates {
        automatic: true,
        wanted: certs.list().len(),
        removed: removed.into_iter().map(String::from).collect(),
    }))
}

async fn store_key(request: ApiRequest, (): ()) -> Result<Success<StoreKeyView>, ApiError> {
    let certificate_store = &request.state.certificate_store;
    let name = certificate_store.seal().map(|seal| seal.name().to_owned());
    Ok(success(StoreKeyView { name, sealed_by: certificate_store.sealed_by().await.map_err(unavailable)? }))
}

/// `None` when there is neither a certificate nor an order for the name.
async fn line(state: &ApiState, name: &str) -> Result<Option<CertificateSummary>, ApiError> {
    let domain: Option<Hostname> = name.parse().ok();
    let kept = state.certificate_store.find(name).await.map_err(unavailable)?;
    let progress = state.certs.as_ref().zip(domain.as_ref()).and_then(|(certs, domain)| certs.progress(domain));
    if kept.is_none() && progress.is_none() {
        return Ok(None);
    }
    // A wildcard belongs to the tenant of the name behind `*.`.
    let owned: Option<Hostname> = name.strip_prefix("*.").unwrap_or(name).parse().ok();
    let tenant = owned.and_then(|owned| state.platform.holder(&owned)).map(|tenant| tenant.to_string());
    let mismatch = kept
        .as_ref()
        .and_then(|kept| state.certificate_store.cert_resolver().mismatches().of(&kept.serial, &kept.names));
    Ok(Some(CertificateSummary::of(name, kept.as_ref(), progress, mismatch, tenant)))
}

fn automatic(state: &ApiState) -> Result<&Certs, ApiError> {
    let why = "certificates are not got here: `[acme]` names no directory, or the server does not run";
    state.certs.as_ref().ok_or_else(|| ApiError::new(Code::CertificatesNotAutomatic, why))
}

fn unavailable(error: store::Error) -> ApiError {
    Refusal::Unavailable(error).into()
}
