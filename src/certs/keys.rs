//! Private keys, a new one for each certificate, and certificate signing requests.

use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::acme_error::{AcmeError, Kind};

/// A new key on P-256, in PKCS #8.
pub fn generate() -> Result<Vec<u8>, AcmeError> {
    KeyPair::generate().map(|key| key.serialize_der()).map_err(|error| failed(&error))
}

/// The certificate signing request (RFC 2986, DER) for these names. They stand in the subject alternative names only,
/// and the subject is empty (RFC 8555 section 7.4).
pub fn request(key: &[u8], names: &[String]) -> Result<Vec<u8>, AcmeError> {
    let key = KeyPair::try_from(key).map_err(|error| failed(&error))?;
    let mut params = CertificateParams::new(names.to_vec()).map_err(|error| failed(&error))?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).map_err(|error| failed(&error))?;
    Ok(request.der().to_vec())
}

fn failed(error: &rcgen::Error) -> AcmeError {
    AcmeError::new(Kind::Internal, format!("The key of the certificate cannot be made: {error}."))
}
