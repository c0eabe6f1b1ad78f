//! Private keys, one for each certificate, and the requests that go with them.

use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::acme_error::{AcmeError, Kind};

/// A fresh key on P-256, in PKCS #8.
pub fn fresh() -> Result<Vec<u8>, AcmeError> {
    KeyPair::generate().map(|key| key.serialize_der()).map_err(|error| failed(&error))
}

/// The request (RFC 2986, DER) for a certificate for these names by that key. Names stand where RFC 8555
/// section 7.4 wants them, and nothing else stands there.
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
