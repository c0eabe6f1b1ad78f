//! The browser storage of the phone. Passwords are never stored.
//!
//! Pages of one site share the storage of the phone that they embed, and need not trust one another: a key has the
//! tenant and the origin of the page. A session is also bound to the servers that it was made with
//! ([`StoredSession::fits`]).
//!
//! Storage may be blocked or full (private windows, third-party frames). The phone then works without it.

use js_sys::JSON;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::browser;
use crate::signin::StoredSession;
use crate::value;

/// The browser storage of one tenant's phone on pages of one origin.
#[derive(Clone)]
pub struct TenantStorage {
    namespace: String,
}

/// Keys of the session: in `sessionStorage` for this tab, in `localStorage` if the person wants to stay
/// signed in.
const SESSION: &str = "session";
const REMEMBERED: &str = "account";

impl TenantStorage {
    /// `namespace` is the tenant's, `page_origin` that of the page that embeds the phone.
    pub fn new(namespace: &str, page_origin: &str) -> Self {
        Self { namespace: format!("{namespace}|{page_origin}") }
    }

    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// This tab's session, else the remembered one. The flag says whether the returned session is
    /// remembered.
    pub fn session(&self) -> Option<(StoredSession, bool)> {
        let remembered = || local()?.read(&self.key(REMEMBERED)).map(|stored| (stored, true));
        let here = session_storage().and_then(|storage| storage.read(&self.key(SESSION)));
        match here {
            Some(stored) => {
                let kept = remembered().is_some_and(|(other, _): (StoredSession, bool)| other == stored);
                Some((stored, kept))
            }
            None => remembered(),
        }
    }

    /// Stores the session for this tab, and permanently with `remember`. A remembered session of another
    /// user is kept.
    pub fn keep_session(&self, stored: &StoredSession, remember: bool) {
        if let Some(storage) = session_storage() {
            storage.write(&self.key(SESSION), stored);
        }
        if remember {
            self.set(REMEMBERED, stored);
        } else {
            self.forget_remembered(|other| other.is_of(&stored.username, &stored.domain));
        }
    }

    /// Deletes this tab's session and the remembered one, each only if `whose` is true for it: other tabs
    /// may be signed in as other users, or with another secret.
    pub fn forget_session(&self, whose: impl Fn(&StoredSession) -> bool) {
        if let Some(storage) = session_storage()
            && storage.read(&self.key(SESSION)).is_some_and(|stored| whose(&stored))
        {
            storage.forget(&self.key(SESSION));
        }
        self.forget_remembered(whose);
    }

    fn forget_remembered(&self, whose: impl Fn(&StoredSession) -> bool) {
        if self.get(REMEMBERED).is_some_and(|stored| whose(&stored))
            && let Some(storage) = local()
        {
            storage.forget(&self.key(REMEMBERED));
        }
    }

    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        local()?.read(&self.key(name))
    }

    pub fn set(&self, name: &str, value: &impl Serialize) {
        if let Some(storage) = local() {
            storage.write(&self.key(name), value);
        }
    }

    /// The instance id of this device, `urn:uuid:…` (RFC 5626 §4.1). It never changes.
    pub fn instance(&self) -> String {
        const INSTANCE: &str = "instance";
        if let Some(known) = self.get::<String>(INSTANCE).filter(|known| known.starts_with("urn:uuid:")) {
            return known;
        }
        let fresh = format!("urn:uuid:{}", random_uuid());
        self.set(INSTANCE, &fresh);
        fresh
    }

    fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.namespace)
    }
}

struct WebStorage(web_sys::Storage);

impl WebStorage {
    fn read<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let text = self.0.get_item(key).ok().flatten()?;
        value::from_js(&JSON::parse(&text).ok()?).ok()
    }

    fn write(&self, key: &str, value: &impl Serialize) {
        let text = value::to_js(value).and_then(|value| JSON::stringify(&value).ok());
        if let Some(text) = text.and_then(|text| text.as_string()) {
            let _ = self.0.set_item(key, &text);
        }
    }

    fn forget(&self, key: &str) {
        let _ = self.0.remove_item(key);
    }
}

fn local() -> Option<WebStorage> {
    web_sys::window()?.local_storage().ok().flatten().map(WebStorage)
}

fn session_storage() -> Option<WebStorage> {
    browser::session_storage().map(WebStorage)
}

/// A version 4 UUID (RFC 9562 §5.4).
fn random_uuid() -> String {
    let mut bytes = [0_u8; 16];
    if let Some(crypto) = web_sys::window().and_then(|window| window.crypto().ok()) {
        let _ = crypto.get_random_values_with_u8_array(&mut bytes);
    }
    let number = u128::from_be_bytes(bytes);
    let number = number & !(0xf << 76) | 0x4 << 76;
    let number = number & !(0x3 << 62) | 0x2 << 62;
    let hex = format!("{number:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}
