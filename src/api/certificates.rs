//! Certificates that an administrator imports: sealed, stored and served at once.

use axum::http::Method;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use super::access::Audience;
use super::code::Code;
use super::endpoint::{ApiRequest, Endpoint, Success, nothing, success};
use super::error::ApiError;
use super::form::{Form, checked, secret};
use super::views::certificates::{CertificateView, RemovedCertificate};
use crate::certs::{CertificateError, CertificateOrigin, StoredCertificate};
use crate::hostname::Hostname;
use crate::store::keys::certificate_key;
use crate::store::{self, Batch};
use crate::tenancy::{FieldError, InvalidValue, Refusal};

const PATH: &str = "/api/admin/certificates/{name}";

pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::new(
            Method::PUT,
            PATH,
            Audience::Admin,
            "Bring a certificate for a name or `*.<name>`, in the place of the one before; it is served at once, under all its names",
            certificate_import,
            import,
        )
        .refuses(&[Code::StoreKeyMissing, Code::StoreUnavailable]),
        Endpoint::new(
            Method::DELETE,
            PATH,
            Audience::Admin,
            "Remove a certificate; it is served no longer",
            nothing,
            remove,
        )
        .refuses(&[Code::CertificateNotFound, Code::StoreUnavailable]),
    ]
}

struct CertificateImport {
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

fn certificate_import(form: &mut Form) -> Option<CertificateImport> {
    let chain = form.required("certificate", checked(pem_schema, chain));
    let key = form.required("key", secret());
    let key = key.and_then(|key| {
        let read = PrivateKeyDer::from_pem_slice(key.as_bytes()).ok();
        if read.is_none() {
            form.fault("key", "must be a private key in PEM");
        }
        read
    });
    Some(CertificateImport { chain: chain?, key: key?.secret_der().to_vec() })
}

#[allow(clippy::needless_pass_by_value)] // a form's check has this shape
fn chain(text: String) -> Result<Vec<CertificateDer<'static>>, InvalidValue> {
    let chain = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    chain.ok().filter(|chain| !chain.is_empty()).ok_or(InvalidValue::new("must be certificates in PEM, the leaf first"))
}

fn pem_schema() -> Value {
    json!({ "type": "string", "contentMediaType": "application/pem-certificate-chain" })
}

async fn import(
    request: ApiRequest,
    certificate_import: CertificateImport,
) -> Result<Success<CertificateView>, ApiError> {
    let name = name(&request)?;
    let certificate_store = request.state.certificate_store.clone();
    let before = found(&request, &name).await?;
    let prepared = certificate_store
        .prepare(&name, certificate_import.chain, certificate_import.key, CertificateOrigin::Import)
        .map_err(unfit)?;
    let audit_record =
        (before.as_ref().map_or(Value::Null, |kept| audit_record(&name, kept)), audit_record(&name, &prepared.kept));
    let batch = prepared.put_into(Batch::new());
    let follow = move || certificate_store.show(prepared);
    let kept =
        request.state.platform.commit_for(&request.context, "certificate.import", audit_record, batch, follow).await?;
    Ok(success(CertificateView::of(&name, &kept)))
}

async fn remove(request: ApiRequest, (): ()) -> Result<Success<RemovedCertificate>, ApiError> {
    let name = name(&request)?;
    let unknown = || ApiError::new(Code::CertificateNotFound, format!("there is no certificate for {name}"));
    let before = found(&request, &name).await?.ok_or_else(unknown)?;
    let certificate_store = request.state.certificate_store.clone();
    let batch = Batch::new().remove(certificate_key(&name));
    let audit_record = (audit_record(&name, &before), Value::Null);
    let hidden = name.clone();
    let follow = move || certificate_store.hide(&hidden);
    request.state.platform.commit_for(&request.context, "certificate.remove", audit_record, batch, follow).await?;
    Ok(success(RemovedCertificate { name, removed: true }))
}

async fn found(request: &ApiRequest, name: &str) -> Result<Option<StoredCertificate>, ApiError> {
    let unavailable = |error: store::Error| ApiError::from(Refusal::Unavailable(error));
    request.state.certificate_store.find(name).await.map_err(unavailable)
}

/// The name in the path, normalised as in the store.
fn name(request: &ApiRequest) -> Result<String, ApiError> {
    let given = request.path("name");
    let (star, name) = given.strip_prefix("*.").map_or(("", given), |name| ("*.", name));
    match name.parse::<Hostname>() {
        Ok(name) => Ok(format!("{star}{name}")),
        Err(bad) => Err(ApiError::validation(vec![FieldError::new("name", bad.to_string())])),
    }
}

fn unfit(unfit: CertificateError) -> ApiError {
    match unfit {
        CertificateError::NoStoreKey => {
            let message = "there is no store key to seal the private key with; `bitcall init` makes one";
            ApiError::new(Code::StoreKeyMissing, message)
        }
        CertificateError::Failed(why) => Refusal::Unavailable(store::Error::Failed(why)).into(),
        other => ApiError::validation(vec![FieldError::new("certificate", other.to_string())]),
    }
}

/// What the audit log records of a certificate.
fn audit_record(name: &str, kept: &StoredCertificate) -> Value {
    json!({
        "name": name,
        "names": kept.names,
        "issuer": kept.issuer,
        "notBefore": kept.not_before.to_string(),
        "notAfter": kept.not_after.to_string(),
    })
}
