//! The published responses to challenges: HTTP-01 by token, DNS-01 by domain. Those to TLS-ALPN-01 are in the
//! [`CertResolver`], which answers the handshakes.
//!
//! In memory only. After a restart the order is read from the authority and its challenges are published again.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rustls::sign::CertifiedKey;

use super::acme_error::{AcmeError, Kind};
use super::cert_resolver::{CertResolver, signing_key};
use super::client::ChallengeResponse;
use super::order::Method;

/// The responses published now. Cloning is cheap, and clones share them.
#[derive(Clone, Default)]
pub struct ChallengeStore(Arc<RwLock<Responses>>);

#[derive(Default)]
struct Responses {
    http: HashMap<String, String>,
    txt: HashMap<String, Vec<String>>,
}

/// The responses of one order, withdrawn when this is dropped.
pub struct PublishedChallenges {
    store: ChallengeStore,
    cert_resolver: Arc<CertResolver>,
    tokens: Vec<String>,
    records: Vec<(String, String)>,
    names: Vec<String>,
}

impl ChallengeStore {
    /// The response at `/.well-known/acme-challenge/<token>` (RFC 8555 section 8.3).
    pub fn http(&self, token: &str) -> Option<String> {
        self.read().http.get(token).cloned()
    }

    /// The values of the TXT record at `_acme-challenge.<domain>`, or at the name that it is delegated to (RFC 8555
    /// section 8.4). `domain` is in lower case, without `*.` and without a trailing dot.
    pub fn txt(&self, domain: &str) -> Vec<String> {
        self.read().txt.get(domain).cloned().unwrap_or_default()
    }

    /// Publishes responses.
    pub fn publish(
        &self,
        responses: &[ChallengeResponse],
        cert_resolver: &Arc<CertResolver>,
    ) -> Result<PublishedChallenges, AcmeError> {
        let mut published = PublishedChallenges {
            store: self.clone(),
            cert_resolver: Arc::clone(cert_resolver),
            tokens: Vec::new(),
            records: Vec::new(),
            names: Vec::new(),
        };
        for response in responses {
            match response.method {
                Method::Http01 => {
                    self.write().http.insert(response.token.clone(), response.key_authorization.clone());
                    published.tokens.push(response.token.clone());
                }
                Method::TlsAlpn01 => {
                    cert_resolver.challenge(&response.name, certificate(&response.name, &response.digest)?);
                    published.names.push(response.name.clone());
                }
                Method::Dns01 => {
                    self.write().txt.entry(response.name.clone()).or_default().push(response.dns_value.clone());
                    published.records.push((response.name.clone(), response.dns_value.clone()));
                }
            }
        }
        Ok(published)
    }

    fn read(&self) -> RwLockReadGuard<'_, Responses> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Responses> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PublishedChallenges {
    fn drop(&mut self) {
        let mut responses = self.store.write();
        for token in &self.tokens {
            responses.http.remove(token);
        }
        for (name, value) in &self.records {
            if let Some(values) = responses.txt.get_mut(name) {
                // Another order for the name may have published the same value.
                if let Some(index) = values.iter().position(|other| other == value) {
                    values.swap_remove(index);
                }
                if values.is_empty() {
                    responses.txt.remove(name);
                }
            }
        }
        drop(responses);
        for name in &self.names {
            self.cert_resolver.withdraw_challenge(name);
        }
    }
}

/// The self-signed certificate of RFC 8737 section 3.
fn certificate(name: &str, digest: &[u8]) -> Result<CertifiedKey, AcmeError> {
    let failed =
        |why: String| AcmeError::new(Kind::Internal, format!("The answer to TLS-ALPN-01 cannot be made: {why}."));
    let mut params = rcgen::CertificateParams::new([name.to_owned()]).map_err(|error| failed(error.to_string()))?;
    params.custom_extensions = vec![rcgen::CustomExtension::new_acme_identifier(digest)];
    let key = rcgen::KeyPair::generate().map_err(|error| failed(error.to_string()))?;
    let certificate = params.self_signed(&key).map_err(|error| failed(error.to_string()))?;
    let signing = signing_key(&key.serialize_der()).ok_or_else(|| failed("no such key".into()))?;
    Ok(CertifiedKey::new(vec![certificate.der().clone()], signing))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn response(method: Method, name: &str, value: &str) -> ChallengeResponse {
        ChallengeResponse {
            method,
            name: name.into(),
            token: format!("token-{value}"),
            key_authorization: format!("authorization-{value}"),
            digest: vec![7; 32],
            dns_value: value.into(),
        }
    }

    #[test]
    fn published_responses_are_withdrawn_with_their_order() {
        let (store, cert_resolver) = (ChallengeStore::default(), CertResolver::new(None, "", true));
        let responses = [
            response(Method::Http01, "a.example", "1"),
            response(Method::Dns01, "a.example", "2"),
            response(Method::Dns01, "a.example", "3"),
            response(Method::TlsAlpn01, "a.example", "4"),
        ];
        let other = store.publish(&[response(Method::Dns01, "a.example", "5")], &cert_resolver).unwrap();
        let published = store.publish(&responses, &cert_resolver).unwrap();
        assert_eq!(store.http("token-1").as_deref(), Some("authorization-1"));
        assert_eq!(store.txt("a.example"), ["5", "2", "3"]);
        drop(published);
        assert_eq!(store.http("token-1"), None);
        assert_eq!(store.txt("a.example"), ["5"], "another order's response stays");
        drop(other);
        assert!(store.read().txt.is_empty() && store.read().http.is_empty());
    }
}
