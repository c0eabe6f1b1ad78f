//! Password, HA1s, and the digest challenges of the servers (RFC 3261 §22).
//!
//! The password stays in memory, because another realm may challenge later; it is never part of the
//! serialised state. Each realm that has accepted credentials leaves its HA1, which the driver may store.
//! A nonce is reused for later requests, with a higher `nc` (RFC 7616 §3.3).

use serde::{Deserialize, Serialize};

use super::context::ClientRequest;
use super::interface::{Event, RealmHa1, SipSecret, UserAgentConfig};
use super::random::Random;
use crate::digest::{Algorithm, AuthorizationInput, Challenge, Credentials, DigestSecret, challenges, choose, ha1};
use crate::message::{Header, Response};
use crate::request_template::RequestTemplate;

/// A request is sent again at most this often. Several servers on the path may each report a stale nonce.
const MAX_CHALLENGE_RETRIES: u8 = 5;
/// Limit of realms in one response, and of realms whose HA1 is kept.
const MAX_REALMS: usize = 16;

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct CredentialStore {
    username: String,
    /// Not restored: the driver gives it again ([`CredentialStore::set_password`]) if it has it.
    #[serde(skip)]
    password: Option<String>,
    /// Given by the driver, or accepted by their realm.
    ha1s: Vec<RealmHa1>,
    sessions: Vec<DigestSession>,
}

/// A challenge that is answered in every request to its source.
#[derive(Clone, Serialize, Deserialize)]
struct DigestSession {
    source: ChallengeSource,
    challenge: Challenge,
    cnonce: String,
    /// Nonce count `nc`: the number of requests sent with this nonce.
    count: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum ChallengeSource {
    /// 401 to REGISTER: the registrar.
    Registrar,
    /// 401 to any other request: the UAS.
    Peer,
    Proxy,
}

/// The earlier tries of one request. They belong to the request and not to the account: while two requests are
/// under way, a server with one-time nonces refuses the nonce of the second one (RFC 7616 §3.3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EarlierTries {
    count: u8,
    /// Who refused a nonce without `stale=true`, and its realm. Doubted once more, the credentials are wrong.
    doubts: Vec<(ChallengeSource, String)>,
}

impl EarlierTries {
    /// The tries before the next one, which is sent for another reason than a challenge.
    pub(super) fn next(&self) -> Self {
        Self { count: self.count.saturating_add(1), doubts: self.doubts.clone() }
    }
}

/// Why a challenge is not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ChallengeRefusal {
    /// Our credentials were refused.
    WrongPassword,
    /// Only the password can answer, and only HA1s of other realms or algorithms are known.
    PasswordNeeded { realm: String },
    /// No challenge is understood.
    Unsupported,
}

/// The challenges of one header field.
struct ChosenChallenges {
    answerable: Vec<Challenge>,
    /// The first realm whose secret is unknown.
    unknown_realm: Option<String>,
}

impl CredentialStore {
    pub(super) fn new(config: &UserAgentConfig) -> Self {
        let (password, ha1s) = match &config.secret {
            SipSecret::Password(password) => (Some(password.clone()), Vec::new()),
            SipSecret::Ha1(ha1s) => (None, ha1s.clone()),
        };
        Self { username: config.username.clone(), password, ha1s, sessions: Vec::new() }
    }

    /// The password, which a restored state does not contain, or which the user has entered again.
    pub(super) fn set_password(&mut self, password: String) {
        self.password = Some(password);
    }

    fn secret(&self, realm: &str) -> DigestSecret<'_> {
        match &self.password {
            Some(password) => DigestSecret::Password(password),
            None => DigestSecret::Ha1 {
                md5: self.stored_ha1(realm, Algorithm::Md5),
                sha256: self.stored_ha1(realm, Algorithm::Sha256),
                sha512_256: self.stored_ha1(realm, Algorithm::Sha512_256),
            },
        }
    }

    /// The HA1 of this realm, else one whose realm is not known yet.
    fn stored_ha1(&self, realm: &str, algorithm: Algorithm) -> Option<&str> {
        let usable = self
            .ha1s
            .iter()
            .filter(|stored| stored.algorithm == algorithm && stored.realm.as_deref().is_none_or(|ours| ours == realm));
        usable.max_by_key(|stored| stored.realm.is_some()).map(|stored| stored.ha1.as_str())
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
            if !applies {
                continue;
            }
            let secret = self.secret(&session.challenge.realm);
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

    /// A 401 or 407 to a request of ours: whether to send it again, with the credentials that
    /// [`credentials`](Self::credentials) then has for it.
    ///
    /// # Errors
    /// The reason why it cannot be answered.
    pub(super) fn on_challenge(
        &mut self,
        response: &Response,
        client: &ClientRequest,
    ) -> Result<EarlierTries, ChallengeRefusal> {
        let is_register = client.template.method == "REGISTER";
        let mut answerable = Vec::new();
        let mut unknown_realm = None;
        for (header, source) in [
            (Header::WwwAuthenticate, if is_register { ChallengeSource::Registrar } else { ChallengeSource::Peer }),
            (Header::ProxyAuthenticate, ChallengeSource::Proxy),
        ] {
            let values: Vec<&str> = response.values(header).collect();
            let chosen = self.choose(&values);
            answerable.extend(chosen.answerable.into_iter().map(|challenge| (source, challenge)));
            unknown_realm = unknown_realm.or(chosen.unknown_realm);
        }
        let refusal = |otherwise| match unknown_realm {
            Some(realm) => ChallengeRefusal::PasswordNeeded { realm },
            None => otherwise,
        };
        if answerable.is_empty() || client.tries.count >= MAX_CHALLENGE_RETRIES {
            return Err(refusal(ChallengeRefusal::Unsupported));
        }
        let mut tries = client.tries.next();
        let mut refused = false;
        for (source, challenge) in answerable {
            self.sessions.retain(|old| old.source != source || old.challenge.realm != challenge.realm);
            if let Some(nonce) = refused_nonce(client, source, &challenge.realm)
                && !challenge.stale
            {
                // Some servers do not send `stale=true`: each request is tried once more with a new nonce.
                let doubt = (source, challenge.realm.clone());
                refused |= nonce == challenge.nonce || tries.doubts.contains(&doubt);
                tries.doubts.push(doubt);
            }
            if !refused {
                self.sessions.push(DigestSession { source, challenge, cnonce: String::new(), count: 0 });
            }
        }
        if refused { Err(refusal(ChallengeRefusal::WrongPassword)) } else { Ok(tries) }
    }

    /// The strongest challenge of each realm that can be answered.
    fn choose(&self, values: &[&str]) -> ChosenChallenges {
        let mut realms: Vec<String> = Vec::new();
        for challenge in values.iter().flat_map(|value| challenges(value)) {
            if realms.len() < MAX_REALMS && !realms.contains(&challenge.realm) {
                realms.push(challenge.realm);
            }
        }
        let mut chosen = ChosenChallenges { answerable: Vec::new(), unknown_realm: None };
        for realm in realms {
            let of_all_realms = choose(values.iter().copied(), self.secret(&realm));
            match of_all_realms.into_iter().find(|challenge| challenge.realm == realm) {
                Some(challenge) => chosen.answerable.push(challenge),
                None => chosen.unknown_realm = chosen.unknown_realm.or(Some(realm)),
            }
        }
        chosen
    }

    /// A request was accepted: the HA1s of its credentials that the driver does not have yet.
    pub(super) fn on_accepted(&mut self, client: &ClientRequest) -> Vec<Event> {
        let mut events = Vec::new();
        for accepted in client.credentials.iter().filter_map(|(_, value)| Credentials::parse(value)) {
            let realm = accepted.realm.into_owned();
            let algorithm = accepted.algorithm.without_session();
            let known = self.ha1s.iter().position(|known| {
                known.algorithm == algorithm && known.realm.as_ref().is_none_or(|known| *known == realm)
            });
            let ha1 = match (known.and_then(|index| self.ha1s.get_mut(index)), &self.password) {
                (Some(known), _) if known.realm.is_some() => continue,
                // It is of this realm.
                (Some(known), _) => {
                    known.realm = Some(realm.clone());
                    known.ha1.clone()
                }
                (None, Some(password)) => ha1(algorithm, &self.username, &realm, password),
                (None, None) => continue,
            };
            if known.is_none() && self.ha1s.len() < MAX_REALMS {
                self.ha1s.push(RealmHa1 { realm: Some(realm.clone()), algorithm, ha1: ha1.clone() });
            }
            events.push(Event::Ha1 { realm, algorithm: algorithm.as_str().into(), ha1 });
        }
        events
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
