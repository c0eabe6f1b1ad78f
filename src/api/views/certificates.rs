//! Answers about certificates.

use schemars::JsonSchema;
use serde::Serialize;

use super::Moment;
use crate::certs::Kept;

/// `PUT /api/admin/certificates/{name}`
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateView {
    name: String,
    /// All that it is served for; a wildcard as `*.<name>`.
    names: Vec<String>,
    not_before: Moment,
    not_after: Moment,
    /// Hexadecimal, lower case.
    serial: String,
    issuer: String,
}

impl CertificateView {
    pub fn of(name: &str, kept: &Kept) -> Self {
        Self {
            name: name.to_owned(),
            names: kept.names.clone(),
            not_before: Moment(kept.not_before),
            not_after: Moment(kept.not_after),
            serial: kept.serial.clone(),
            issuer: kept.issuer.clone(),
        }
    }
}

/// `DELETE /api/admin/certificates/{name}`
#[derive(Serialize, JsonSchema)]
pub struct RemovedCertificate {
    pub name: String,
    pub removed: bool,
}
