//! Who we are, provably: passwords, HA1s, and the challenges they answer.
//!
//! The password is forgotten as soon as a server accepted what was made of it.
//! Nonces are used again for the requests that follow (RFC 7616 §3.3, `nc`).

use serde::{Deserialize, Serialize};

use super::context::Client;
use super::interface::{Config, Event, Secret};
use super::random::Random;
use crate::digest::{Algorithm, Attempt, Challenge, Credentials, Secret as Proof, choose, ha1};
use crate::message::{Header, Response};
use crate::request_template::Draft;

/// A request is sent again this often at most: servers in series, each with a stale nonce.
const MAX_RETRIES: u8 = 5;

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Vault {
    username: String,
    password: Option<String>,
    keys: Vec<Key>,
    sessions: Vec<Session>,
}

/// HA1s of one realm.
#[derive(Clone, Serialize, Deserialize)]
struct Key {
    /// None: whatever realm the server names.
    realm: Option<String>,
    md5: Option<String>,
    sha256: Option<String>,
    /// The driver knows it.
    told: bool,
}

impl Key {
    fn proof(&self) -> Proof<'_> {
        Proof::Ha1 { md5: self.md5.as_deref(), sha256: self.sha256.as_deref() }
    }

    fn serves(&self, realm: &str) -> bool {
        self.realm.as_deref().is_none_or(|ours| ours == realm)
    }
}

/// A challenge that we answer, in every request of its kind.
#[derive(Clone, Serialize, Deserialize)]
struct Session {
    kind: Kind,
    challenge: Challenge,
    cnonce: String,
    /// Requests sent with this nonce.
    count: u32,
    /// The one before was refused, without a word on the nonce's age: the next refusal is final.
    doubtful: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    /// 401 to REGISTER: the registrar.
    Registrar,
    /// 401 to anything else: a server that is the other side of the call.
    Peer,
    Proxy,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// There is something new to send.
    Retry,
    /// Our credentials were refused.
    Wrong,
    /// There is no challenge that we can answer.
    Unusable,
}

impl Vault {
    pub(super) fn new(config: &Config) -> Self {
        let mut vault =
            Self { username: config.username.clone(), password: None, keys: Vec::new(), sessions: Vec::new() };
        match &config.secret {
            Secret::Password(password) => vault.password = Some(password.clone()),
            Secret::Ha1 { realm, ha1 } => {
                let long = ha1.len() == 64;
                vault.keys.push(Key {
                    realm: realm.clone(),
                    md5: (!long).then(|| ha1.clone()),
                    sha256: long.then(|| ha1.clone()),
                    told: realm.is_some(),
                });
            }
        }
        vault
    }

    fn proof(&self, realm: &str) -> Option<Proof<'_>> {
        match &self.password {
            Some(password) => Some(Proof::Password(password)),
            None => self.keys.iter().find(|key| key.serves(realm)).map(Key::proof),
        }
    }

    /// Header fields for a request, as far as we know who asks.
    pub(super) fn credentials(&mut self, draft: &Draft, random: &mut Random) -> Vec<(String, String)> {
        let method = draft.method.as_str();
        // A keep-alive needs any answer, not a good one.
        if method == "OPTIONS" {
            return Vec::new();
        }
        let body = draft.body.as_ref().map(|(_, content)| content.as_bytes());
        let mut sessions = std::mem::take(&mut self.sessions);
        let mut fields = Vec::new();
        for session in &mut sessions {
            let fits = match session.kind {
                Kind::Registrar => method == "REGISTER",
                Kind::Peer => method != "REGISTER",
                Kind::Proxy => true,
            };
            let Some(secret) = self.proof(&session.challenge.realm).filter(|_| fits) else {
                continue;
            };
            if session.cnonce.is_empty() {
                session.cnonce = random.tag();
            }
            session.count = session.count.saturating_add(1);
            let answer = session.challenge.answer(&Attempt {
                username: &self.username,
                secret,
                method,
                uri: &draft.uri,
                body: body.unwrap_or_default(),
                cnonce: &session.cnonce,
                count: session.count,
            });
            let header = if session.kind == Kind::Proxy { Header::ProxyAuthorization } else { Header::Authorization };
            if let Some(value) = answer {
                fields.push((header.as_str().to_owned(), value));
            }
        }
        self.sessions = sessions;
        fields
    }

    /// A 401 or 407 to a request of ours.
    pub(super) fn challenged(&mut self, response: &Response, client: &Client) -> Verdict {
        let registers = client.draft.method == "REGISTER";
        let mut found = Vec::new();
        for (header, kind) in [
            (Header::WwwAuthenticate, if registers { Kind::Registrar } else { Kind::Peer }),
            (Header::ProxyAuthenticate, Kind::Proxy),
        ] {
            let values: Vec<&str> = response.values(header).collect();
            found.extend(self.choose(&values).into_iter().map(|one| (kind, one)));
        }
        if found.is_empty() || client.retries >= MAX_RETRIES {
            return Verdict::Unusable;
        }
        let mut wrong = false;
        for (kind, challenge) in found {
            let refused = refused_nonce(client, kind, &challenge.realm);
            let before = self
                .sessions
                .iter()
                .position(|old| old.kind == kind && old.challenge.realm == challenge.realm)
                .map(|index| self.sessions.remove(index));
            let mut doubtful = false;
            if let Some(nonce) = refused
                && !challenge.stale
            {
                // Some servers forget to say `stale`: one more try, if there is a new nonce.
                doubtful = true;
                wrong |= nonce == challenge.nonce || before.is_some_and(|old| old.doubtful);
            }
            if !wrong {
                self.sessions.push(Session { kind, challenge, cnonce: String::new(), count: 0, doubtful });
            }
        }
        if wrong { Verdict::Wrong } else { Verdict::Retry }
    }

    fn choose(&self, values: &[&str]) -> Vec<Challenge> {
        if let Some(password) = &self.password {
            return choose(values.iter().copied(), Proof::Password(password));
        }
        let mut chosen: Vec<Challenge> = Vec::new();
        for key in &self.keys {
            for challenge in choose(values.iter().copied(), key.proof()) {
                let new = chosen.iter().all(|other| other.realm != challenge.realm);
                if new && key.serves(&challenge.realm) {
                    chosen.push(challenge);
                }
            }
        }
        chosen
    }

    /// A request with credentials got an answer that is not another challenge.
    pub(super) fn proven(&mut self) {
        for session in &mut self.sessions {
            session.doubtful = false;
        }
    }

    /// A registrar accepted us: forgets the password. What the driver should keep instead, if that is news.
    pub(super) fn accepted(&mut self) -> Option<Event> {
        self.proven();
        if let Some(password) = self.password.take_if(|_| !self.sessions.is_empty()) {
            for session in &self.sessions {
                let realm = &session.challenge.realm;
                let make = |algorithm| Some(ha1(algorithm, &self.username, realm, &password));
                self.keys.push(Key {
                    realm: Some(realm.clone()),
                    md5: make(Algorithm::Md5),
                    sha256: make(Algorithm::Sha256),
                    told: false,
                });
            }
        }
        let session =
            self.sessions.iter().find(|session| session.kind == Kind::Registrar).or_else(|| self.sessions.first())?;
        let realm = &session.challenge.realm;
        let key = self.keys.iter_mut().find(|key| !key.told && key.serves(realm))?;
        key.told = true;
        key.realm = Some(realm.clone());
        let sha256 = session.challenge.algorithm.is_sha256();
        let (algorithm, ha1) = if sha256 { ("SHA-256", &key.sha256) } else { ("MD5", &key.md5) };
        Some(Event::Ha1 { realm: realm.clone(), algorithm: algorithm.into(), ha1: ha1.clone()? })
    }
}

/// The nonce of the credentials that this request carried for a realm.
fn refused_nonce(client: &Client, kind: Kind, realm: &str) -> Option<String> {
    let header = if kind == Kind::Proxy { Header::ProxyAuthorization } else { Header::Authorization };
    client
        .credentials
        .iter()
        .filter(|(name, _)| name == header.as_str())
        .filter_map(|(_, value)| Credentials::parse(value))
        .find(|credentials| credentials.realm == realm)
        .map(|credentials| credentials.nonce.into_owned())
}
