//! The board on which answers to challenges hang while an authority looks: HTTP-01 by token, DNS-01 by the
//! domain that is to be proved. Answers to TLS-ALPN-01 hang on the [`CertResolver`], where the handshakes are.
//!
//! It is memory only. After a restart the order is read again, and what it still needs is put up again.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rustls::sign::CertifiedKey;

use super::acme_error::{AcmeError, Kind};
use super::cert_resolver::{CertResolver, signing_key};
use super::client::ChallengeResponse;
use super::order::Method;

/// What is to be seen now. Cloning is cheap, and clones are the same board.
#[derive(Clone, Default)]
pub struct ChallengeStore(Arc<RwLock<Answers>>);

#[derive(Default)]
struct Answers {
    http: HashMap<String, String>,
    txt: HashMap<String, Vec<String>>,
}

/// What was put up for one order; taken down when this is dropped.
pub struct PublishedChallenges {
    board: ChallengeStore,
    cert_resolver: Arc<CertResolver>,
    tokens: Vec<String>,
    records: Vec<(String, String)>,
    names: Vec<String>,
}

impl ChallengeStore {
    /// What `/.well-known/acme-challenge/<token>` answers (RFC 8555 section 8.3).
    pub fn http(&self, token: &str) -> Option<String> {
        self.read().http.get(token).cloned()
    }

    /// What the TXT record of `_acme-challenge.<domain>` holds, or of the name that it is delegated to (RFC
    /// 8555 section 8.4). The domain in lower case, without `*.` and without a dot at its end.
    pub fn txt(&self, domain: &str) -> Vec<String> {
        self.read().txt.get(domain).cloned().unwrap_or_default()
    }

    /// Puts up what the authority has to find.
    pub fn put(
        &self,
        proofs: &[ChallengeResponse],
        served: &Arc<CertResolver>,
    ) -> Result<PublishedChallenges, AcmeError> {
        let mut notices = PublishedChallenges {
            board: self.clone(),
            cert_resolver: Arc::clone(served),
            tokens: Vec::new(),
            records: Vec::new(),
            names: Vec::new(),
        };
        for proof in proofs {
            match proof.method {
                Method::Http01 => {
                    self.write().http.insert(proof.token.clone(), proof.key_authorization.clone());
                    notices.tokens.push(proof.token.clone());
                }
                Method::TlsAlpn01 => {
                    served.challenge(&proof.name, certificate(&proof.name, &proof.digest)?);
                    notices.names.push(proof.name.clone());
                }
                Method::Dns01 => {
                    self.write().txt.entry(proof.name.clone()).or_default().push(proof.dns_value.clone());
                    notices.records.push((proof.name.clone(), proof.dns_value.clone()));
                }
            }
        }
        Ok(notices)
    }

    fn read(&self) -> RwLockReadGuard<'_, Answers> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Answers> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PublishedChallenges {
    fn drop(&mut self) {
        let mut answers = self.board.write();
        for token in &self.tokens {
            answers.http.remove(token);
        }
        for (name, value) in &self.records {
            if let Some(values) = answers.txt.get_mut(name) {
                // One of two orders for one name may be through.
                if let Some(place) = values.iter().position(|other| other == value) {
                    values.swap_remove(place);
                }
                if values.is_empty() {
                    answers.txt.remove(name);
                }
            }
        }
        drop(answers);
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

    fn proof(method: Method, name: &str, value: &str) -> ChallengeResponse {
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
    fn what_is_put_up_is_seen_until_its_order_is_through() {
        let (board, cert_resolver) = (ChallengeStore::default(), CertResolver::new(None, "", true));
        let proofs = [
            proof(Method::Http01, "a.example", "1"),
            proof(Method::Dns01, "a.example", "2"),
            proof(Method::Dns01, "a.example", "3"),
            proof(Method::TlsAlpn01, "a.example", "4"),
        ];
        let other = board.put(&[proof(Method::Dns01, "a.example", "5")], &cert_resolver).unwrap();
        let notices = board.put(&proofs, &cert_resolver).unwrap();
        assert_eq!(board.http("token-1").as_deref(), Some("authorization-1"));
        assert_eq!(board.txt("a.example"), ["5", "2", "3"]);
        drop(notices);
        assert_eq!(board.http("token-1"), None);
        assert_eq!(board.txt("a.example"), ["5"], "another order's answer stays");
        drop(other);
        assert!(board.read().txt.is_empty() && board.read().http.is_empty());
    }
}
