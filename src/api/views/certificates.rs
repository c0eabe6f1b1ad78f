//! Answers about certificates.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::Rfc3339;
use crate::certs::{CertificateOrigin, Problem, ProblemKind, Progress, Stage, StoredCertificate};
use crate::tenancy::TlsStatus;
use crate::timestamp::Timestamp;

/// `PUT /api/admin/certificates/{name}`
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateView {
    name: String,
    /// All that it is served for; a wildcard as `*.<name>`.
    names: Vec<String>,
    not_before: Rfc3339,
    not_after: Rfc3339,
    /// Hexadecimal, lower case.
    serial: String,
    issuer: String,
}

impl CertificateView {
    pub fn of(name: &str, kept: &StoredCertificate) -> Self {
        Self {
            name: name.to_owned(),
            names: kept.names.clone(),
            not_before: Rfc3339(kept.not_before),
            not_after: Rfc3339(kept.not_after),
            serial: kept.serial.clone(),
            issuer: kept.issuer.clone(),
        }
    }
}

/// `GET /api/admin/store-key`
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoreKeyView {
    /// The name of the key that the server seals by now, derived from it; none without a store key.
    pub name: Option<String>,
    /// How many secrets in the store each key has sealed, by the key's name.
    pub sealed_by: BTreeMap<String, usize>,
}

/// `DELETE /api/admin/certificates/{name}`
#[derive(Serialize, JsonSchema)]
pub struct RemovedCertificate {
    pub name: String,
    pub removed: bool,
}

/// `GET /api/admin/certificates`
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateList {
    pub certificates: Vec<CertificateSummary>,
    /// For the page after this one; null on the last.
    pub next_cursor: Option<String>,
}

/// A certificate, there or to come.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "CertificateLine")]
pub struct CertificateSummary {
    name: String,
    /// Whose subdomain or domain the name is; null where it is no tenant's.
    tenant_id: Option<String>,
    status: TlsStatus,
    /// What is being done about it; null where nothing is, because it was brought along.
    stage: Option<Stage>,
    /// All that it is served for; a wildcard as `*.<name>`.
    names: Vec<String>,
    not_before: Option<Rfc3339>,
    not_after: Option<Rfc3339>,
    /// When its successor is ordered.
    renew_at: Option<Rfc3339>,
    /// URL of the ACME directory that it came from; null where it was brought along, or is to come.
    directory: Option<String>,
    /// Hexadecimal, lower case.
    serial: Option<String>,
    issuer: Option<String>,
    /// Why the last try failed, or why the certificate is not the one that is served.
    problem: Option<CertificateProblem>,
    next_try_at: Option<Rfc3339>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct CertificateProblem {
    kind: ProblemKind,
    /// One sentence.
    message: String,
    at: Rfc3339,
}

impl CertificateSummary {
    /// `mismatch`: why the certificate is not the one that is served.
    pub fn of(
        name: &str,
        kept: Option<&StoredCertificate>,
        progress: Option<Progress>,
        mismatch: Option<Problem>,
        tenant_id: Option<String>,
    ) -> Self {
        let directory = kept.and_then(|kept| match &kept.origin {
            CertificateOrigin::Acme { directory } => Some(directory.clone()),
            CertificateOrigin::Import => None,
        });
        let stage = progress.as_ref().map(|progress| progress.stage);
        let next_try_at = progress.as_ref().and_then(|progress| progress.next_try_at);
        let renew_at = progress.as_ref().and_then(|progress| progress.certificate.as_ref()).map(|facts| facts.renew_at);
        let problem = progress.and_then(|progress| progress.problem).or(mismatch);
        Self {
            name: name.to_owned(),
            tenant_id,
            status: status(kept, stage),
            stage,
            names: kept.map(|kept| kept.names.clone()).unwrap_or_default(),
            not_before: kept.map(|kept| Rfc3339(kept.not_before)),
            not_after: kept.map(|kept| Rfc3339(kept.not_after)),
            renew_at: renew_at.map(Rfc3339),
            directory,
            serial: kept.map(|kept| kept.serial.clone()),
            issuer: kept.map(|kept| kept.issuer.clone()),
            problem: problem.map(|problem| CertificateProblem {
                kind: problem.kind,
                message: problem.message,
                at: Rfc3339(problem.at),
            }),
            next_try_at: next_try_at.map(Rfc3339),
        }
    }
}

fn status(kept: Option<&StoredCertificate>, stage: Option<Stage>) -> TlsStatus {
    match (kept, stage) {
        (Some(kept), _) if Timestamp::now() < kept.not_after => TlsStatus::Active,
        (Some(_), _) => TlsStatus::Expired,
        (None, None | Some(Stage::Waiting | Stage::Issued)) => TlsStatus::Pending,
        (None, Some(Stage::Backoff | Stage::Blocked)) => TlsStatus::Failed,
        (None, Some(_)) => TlsStatus::Issuing,
    }
}

/// `POST /api/internal/certificates/sync`
#[derive(Default, Serialize, JsonSchema)]
pub struct SyncedCertificates {
    /// Whether this server gets certificates at all, and runs.
    pub automatic: bool,
    /// Names that are to have one: what is missing is on its way.
    pub wanted: usize,
    /// Names whose certificates nobody needed any more.
    pub removed: Vec<String>,
}
