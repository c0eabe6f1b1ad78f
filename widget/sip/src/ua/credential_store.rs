//! Password, HA1s, and the digest challenges of the servers (RFC 3261 §22).
//!
//! The password is deleted as soon as a registrar has accepted an HA1 made of it.
//! A nonce is reused for later requests, with a higher `nc` (RFC 7616 §3.3).

use serde::{Deserialize, Serialize};

use super::context::ClientRequest;
use super::interface::{Config, Event, SipSecret};
use super::random::Random;
use crate::digest::{Algorithm, AuthorizationInput, Challenge, Credentials, DigestSecret, choose, ha1};
use crate::message::{Header, Response};
use crate::request_template::RequestTemplate;

/// A request is sent again at most this often. Several servers on the path may each report a stale nonce.
const MAX_CHALLENGE_RETRIES: u8 = 5;

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct CredentialStore {
    username: String,
    password: Option<String>,
    realm_ha1s: Vec<RealmHa1>,
    sessions: Vec<DigestSession>,
}

/// HA1s of one realm.
#[derive(Clone, Serialize, Deserialize)]
struct RealmHa1 {
    /// None: used for any realm.
    realm: Option<String>,
    md5: Option<String>,
    sha256: Option<String>,
    /// Whether the driver has it already (`Event::Ha1`).
    reported: bool,
}

impl RealmHa1 {
    fn secret(&self) -> DigestSecret<'_> {
        DigestSecret::Ha1 { md5: self.md5.as_deref(), sha256: self.sha256.as_deref() }
    }

    fn matches_realm(&self, realm: &str) -> bool {
        self.realm.as_deref().is_none_or(|ours| ours == realm)
    }
}

/// A challenge that is answered in every request to its source.
#[derive(Clone, Serialize, Deserialize)]
struct DigestSession {
    source: ChallengeSource,
    challenge: Challenge,
    cnonce: String,
    /// Nonce count `nc`: the number of requests sent with this nonce.
    count: u32,
    /// The previous nonce was refused without `stale=true`; if this one is refused too, the credentials are wrong.
    refused_once: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum ChallengeSource {
    /// 401 to REGISTER: the registrar.
    Registrar,
    /// 401 to any other request: the UAS.
    Peer,
    Proxy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChallengeOutcome {
    /// Send the request again with new credentials.
    Retry,
    /// Our credentials were refused.
    Refused,
    /// No challenge can be answered.
    Unsupported,
}

impl CredentialStore {
    pub(super) fn new(config: &Config) -> Self {
        let mut store =
            Self { username: config.username.clone(), password: None, realm_ha1s: Vec::new(), sessions: Vec::new() };
        match &config.secret {
            SipSecret::Password(password) => store.password = Some(password.clone()),
            SipSecret::Ha1 { realm, ha1 } => {
                let long = ha1.len() == 64;
                store.realm_ha1s.push(RealmHa1 {
                    realm: realm.clone(),
                    md5: (!long).then(|| ha1.clone()),
                    sha256: long.then(|| ha1.clone()),
                    reported: realm.is_some(),
                });
            }
        }
        store
    }

    fn secret(&self, realm: &str) -> Option<DigestSecret<'_>> {
        match &self.password {
            Some(password) => Some(DigestSecret::Password(password)),
            None => self.realm_ha1s.iter().find(|realm_ha1| realm_ha1.matches_realm(realm)).map(RealmHa1::secret),
        }
    }

    /// The `Authorization` and `Proxy-Authorization` header fields of a request, for all known challenges.
    pub(super) fn credentials(&mut self, template: &RequestTemplate, random: &mut Random) -> Vec<(String, String)> {
        let method = template.method.as_str();
        // OPTIONS is only used as keep-alive, for which any response will do.
        if method == "OPTIONS" {
            return Vec::new();
        }
        let body = template.body.as_ref().map(|(_, content)| content.as_bytes());
        let mut sessions = std::mem::take(&mut self.sessions);
        let mut fields = Vec::new();
        for session in &mut sessions {
            let applies = match session.source {
                ChallengeSource::Registrar => method == "REGISTER",
                ChallengeSource::Peer => method != "REGISTER",
                ChallengeSource::Proxy => true,
            };
            let Some(secret) = self.secret(&session.challenge.realm).filter(|_| applies) else {
                continue;
            };
            if session.cnonce.is_empty() {
                session.cnonce = random.tag();
            }
            session.count = session.count.saturating_add(1);
            let answer = session.challenge.answer(&AuthorizationInput {
                username: &self.username,
                secret,
                method,
                uri: &template.uri,
                body: body.unwrap_or_default(),
                cnonce: &session.cnonce,
                count: session.count,
            });
            let header = if session.source == ChallengeSource::Proxy {
                Header::ProxyAuthorization
            } else {
                Header::Authorization
            };
            if let Some(value) = answer {
                fields.push((header.as_str().to_owned(), value));
            }
        }
        self.sessions = sessions;
        fields
    }

    /// A 401 or 407 to a request of ours.
    pub(super) fn on_challenge(&mut self, response: &Response, client: &ClientRequest) -> ChallengeOutcome {
        let is_register = client.template.method == "REGISTER";
        let mut challenges = Vec::new();
        for (header, source) in [
            (Header::WwwAuthenticate, if is_register { ChallengeSource::Registrar } else { ChallengeSource::Peer }),
            (Header::ProxyAuthenticate, ChallengeSource::Proxy),
        ] {
            let values: Vec<&str> = response.values(header).collect();
            challenges.extend(self.choose(&values).into_iter().map(|challenge| (source, challenge)));
        }
        if challenges.is_empty() || client.retries >= MAX_CHALLENGE_RETRIES {
            return ChallengeOutcome::Unsupported;
        }
        let mut refused = false;
        for (source, challenge) in challenges {
            let old_nonce = refused_nonce(client, source, &challenge.realm);
            let previous = self
                .sessions
                .iter()
                .position(|old| old.source == source && old.challenge.realm == challenge.realm)
                .map(|index| self.sessions.remove(index));
            let mut refused_once = false;
            if let Some(nonce) = old_nonce
                && !challenge.stale
            {
                // Some servers do not send `stale=true`: try once more if the nonce is a new one.
                refused_once = true;
                refused |= nonce == challenge.nonce || previous.is_some_and(|old| old.refused_once);
            }
            if !refused {
                self.sessions.push(DigestSession { source, challenge, cnonce: String::new(), count: 0, refused_once });
            }
        }
        if refused { ChallengeOutcome::Refused } else { ChallengeOutcome::Retry }
    }

    fn choose(&self, values: &[&str]) -> Vec<Challenge> {
        if let Some(password) = &self.password {
            return choose(values.iter().copied(), DigestSecret::Password(password));
        }
        let mut chosen: Vec<Challenge> = Vec::new();
        for realm_ha1 in &self.realm_ha1s {
            for challenge in choose(values.iter().copied(), realm_ha1.secret()) {
                let new = chosen.iter().all(|other| other.realm != challenge.realm);
                if new && realm_ha1.matches_realm(&challenge.realm) {
                    chosen.push(challenge);
                }
            }
        }
        chosen
    }

    /// A request with credentials got a final response other than 401 or 407.
    pub(super) fn on_credentials_accepted(&mut self) {
        for session in &mut self.sessions {
            session.refused_once = false;
        }
    }

    /// The registrar accepted a REGISTER: deletes the password. Returns the HA1 for the driver, unless it has it.
    pub(super) fn on_registered(&mut self) -> Option<Event> {
        self.on_credentials_accepted();
        if let Some(password) = self.password.take_if(|_| !self.sessions.is_empty()) {
            for session in &self.sessions {
                let realm = &session.challenge.realm;
                let make = |algorithm| Some(ha1(algorithm, &self.username, realm, &password));
                self.realm_ha1s.push(RealmHa1 {
                    realm: Some(realm.clone()),
                    md5: make(Algorithm::Md5),
                    sha256: make(Algorithm::Sha256),
                    reported: false,
                });
            }
        }
        let session = self
            .sessions
            .iter()
            .find(|session| session.source == ChallengeSource::Registrar)
            .or_else(|| self.sessions.first())?;
        let realm = &session.challenge.realm;
        let realm_ha1 =
            self.realm_ha1s.iter_mut().find(|realm_ha1| !realm_ha1.reported && realm_ha1.matches_realm(realm))?;
        realm_ha1.reported = true;
        realm_ha1.realm = Some(realm.clone());
        let sha256 = session.challenge.algorithm.is_sha256();
        let (algorithm, ha1) = if sha256 { ("SHA-256", &realm_ha1.sha256) } else { ("MD5", &realm_ha1.md5) };
        Some(Event::Ha1 { realm: realm.clone(), algorithm: algorithm.into(), ha1: ha1.clone()? })
    }
}

/// The nonce in the request's credentials for a realm.
fn refused_nonce(client: &ClientRequest, source: ChallengeSource, realm: &str) -> Option<String> {
    let header = if source == ChallengeSource::Proxy { Header::ProxyAuthorization } else { Header::Authorization };
    client
        .credentials
        .iter()
        .filter(|(name, _)| name == header.as_str())
        .filter_map(|(_, value)| Credentials::parse(value))
        .find(|credentials| credentials.realm == realm)
        .map(|credentials| credentials.nonce.into_owned())
}
