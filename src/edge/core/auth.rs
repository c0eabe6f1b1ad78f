//! Digest authentication (RFC 3261 section 22, RFC 7616, RFC 8760).
//!
//! Nonces are signed for one connection and one realm: a digest response that was overheard is refused on every other
//! connection, and nonce counts are remembered only as long as their connection lives.

use std::time::{Duration, Instant};

use bitcall_sip::digest::{Algorithm, Challenge, Credentials, DigestSecret as Password, Qop};
use bitcall_sip::message::{Header, Request, Response};
use bitcall_sip::uri::Uri;
use sha2::{Digest as _, Sha256};

use super::location::Extension;
use super::token_generator::Nonce;
use super::{ConnectionId, Core, Timer};
use crate::edge::StoredCredentials;

/// Nonces whose counts are remembered. Older ones are stale.
const MAX_REMEMBERED_NONCES: usize = 4;

/// The nonce counts a connection has used.
#[derive(Default)]
pub struct UsedNonces {
    highest: Vec<(u64, u32)>,
    /// Serials up to this one are forgotten, hence refused.
    floor: u64,
}

impl UsedNonces {
    /// Notes a count; false when it was used before.
    fn take(&mut self, serial: u64, count: u32) -> bool {
        if serial <= self.floor {
            return false;
        }
        if let Some((_, highest)) = self.highest.iter_mut().find(|(known, _)| *known == serial) {
            let new = count > *highest;
            *highest = count.max(*highest);
            return new;
        }
        self.highest.push((serial, count));
        if self.highest.len() > MAX_REMEMBERED_NONCES {
            let oldest = self.highest.iter().map(|(serial, _)| *serial).min().unwrap_or_default();
            self.floor = self.floor.max(oldest);
            self.highest.retain(|(serial, _)| *serial > oldest);
        }
        true
    }
}

/// Whether a challenge asks as a registrar (401) or as a proxy (407).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    Registrar,
    Proxy,
}

/// Tells one password of an extension from the next, without being of use to anybody who reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    pub fn of(credentials: &StoredCredentials) -> Self {
        let digest = Sha256::digest(format!("{}\n{}", credentials.ha1_md5, credentials.ha1_sha256));
        Self(digest.first_chunk().copied().unwrap_or_default())
    }
}

/// What a request has proven.
pub struct AuthenticatedUser {
    pub extension: Extension,
    /// Of the password that it was proven by.
    pub password: Fingerprint,
}

impl Core {
    /// The extension of `domain` that this request proves to come from, or the answer to it.
    pub(super) fn authenticate(
        &mut self,
        connection: ConnectionId,
        request: &Request,
        domain: &str,
        role: Role,
        now: Instant,
    ) -> Result<AuthenticatedUser, Response> {
        let header = match role {
            Role::Registrar => Header::Authorization,
            Role::Proxy => Header::ProxyAuthorization,
        };
        let credentials = request.values(header).filter_map(Credentials::parse).find(|sent| sent.realm == domain);
        let (Some(credentials), Some(state)) = (credentials, self.connections.get(&connection)) else {
            return Err(self.challenge(connection, request, domain, role, false, now));
        };
        let (source, network) = (state.source, state.network);
        let extension = Extension { domain: domain.to_owned(), user: credentials.username.clone().into_owned() };
        // Who has signed in on this connection knows the password already: guesses by others must not lock it out.
        let is_signed_in = state.identity.as_ref() == Some(&extension);
        let allowed = if is_signed_in { Ok(()) } else { self.sign_in_limiter.may_try(&extension, network, now) };
        if let Err(retry_after) = allowed {
            if let Some(at) = self.sign_in_log.not_compared(&extension, source, now) {
                self.schedule(at, Timer::SignInLog);
            }
            let delay = retry_after.min(self.limits.refusal_delay);
            if !delay.is_zero() {
                self.delay_answers(connection, now + delay);
            }
            return Err(too_many_failures(request, retry_after));
        }
        let Some(password) = self.verify_credentials(&credentials, request, domain) else {
            let lock_out = self.sign_in_limiter.failed(&extension, network, now);
            if let Some(at) = self.sign_in_log.wrong(&extension, source, lock_out, now) {
                self.schedule(at, Timer::SignInLog);
            }
            return Err(self.challenge(connection, request, domain, role, false, now));
        };
        let fresh = match self.tokens.check_nonce(&credentials.nonce, connection, domain, now) {
            Nonce::Fresh { serial } => credentials.count().is_some_and(|count| {
                self.connections.get_mut(&connection).is_some_and(|state| state.nonces.take(serial, count))
            }),
            Nonce::Stale => false,
        };
        if !fresh {
            return Err(self.challenge(connection, request, domain, role, true, now));
        }
        self.sign_in_limiter.succeeded(&extension, network, now);
        Ok(AuthenticatedUser { extension, password })
    }

    /// The password by which the answer is right, if it is.
    fn verify_credentials(
        &self,
        credentials: &Credentials<'_>,
        request: &Request,
        domain: &str,
    ) -> Option<Fingerprint> {
        let stored = self.directory.credentials(domain, &credentials.username);
        // An unknown name costs the same time as a wrong password, so that names cannot be found out.
        let unknown = "0".repeat(64);
        let (md5, sha256) =
            stored.as_ref().map_or((&unknown, &unknown), |stored| (&stored.ha1_md5, &stored.ha1_sha256));
        let password = Password::Ha1 { md5: Some(md5), sha256: Some(sha256), sha512_256: None };
        let is_right = credentials.verify(password, request.method().as_str(), request.body());
        let same_uri = credentials.uri == request.uri_text()
            || match (Uri::parse(&credentials.uri), request.uri()) {
                (Ok(signed), Ok(requested)) => signed.is_equivalent(&requested),
                _ => false,
            };
        stored.filter(|_| is_right && same_uri && credentials.qop != Qop::None).map(|stored| Fingerprint::of(&stored))
    }

    fn challenge(
        &mut self,
        connection: ConnectionId,
        request: &Request,
        domain: &str,
        role: Role,
        stale: bool,
        now: Instant,
    ) -> Response {
        let (status, reason, header) = match role {
            Role::Registrar => (401, "Unauthorized", Header::WwwAuthenticate),
            Role::Proxy => (407, "Proxy Authentication Required", Header::ProxyAuthenticate),
        };
        let mut response = request.response(status, reason, Some(&self.tokens.token()));
        let nonce = self.tokens.nonce(connection, domain, now);
        // The strongest first: a client takes the topmost one it knows (RFC 8760 section 2.3).
        for algorithm in [Algorithm::Sha256, Algorithm::Md5] {
            let challenge = Challenge {
                realm: domain.to_owned(),
                nonce: nonce.clone(),
                opaque: None,
                algorithm,
                qop: vec![Qop::Auth],
                stale,
            };
            response.append(header, &challenge.to_value());
        }
        response
    }
}

/// 503 rather than 401: a phone must not take its password for wrong that nobody has compared.
fn too_many_failures(request: &Request, retry_after: Duration) -> Response {
    let mut response = request.response(503, "Too Many Wrong Passwords", Some("edge"));
    response.append(Header::RetryAfter, &(retry_after.as_secs() + 1).to_string());
    response
}

#[cfg(test)]
mod tests {
    use super::UsedNonces;

    #[test]
    fn a_count_is_good_once_and_old_nonces_are_refused() {
        let mut used = UsedNonces::default();
        assert!(used.take(5, 1));
        assert!(!used.take(5, 1));
        assert!(used.take(5, 3));
        assert!(!used.take(5, 2));
        for serial in 6..12 {
            assert!(used.take(serial, 1), "{serial}");
        }
        assert!(!used.take(5, 9), "forgotten, so refused");
        assert!(!used.take(1, 1), "older than what is forgotten");
    }
}
