//! Who signs in, decided before anything is shown.
//!
//! The host page, the tenant and an earlier visit each may know a part of it.
//! The tenant's domain wins over the host's; a stored session comes first
//! where it may, but never for somebody else than the host page names.

use bitcall_wire::agent_protocol::{AccountSecret, RegistrationFailureCode};
use bitcall_wire::config::{RuntimeConfig, SessionRestore, SignInMode};
use bitcall_wire::host_protocol::{HostOptions, HostSipOptions};
use serde::{Deserialize, Serialize};

/// All that is needed to register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub username: String,
    pub domain: String,
    pub secret: SecretBox,
}

/// A secret that debug output does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretBox(pub AccountSecret);

impl std::fmt::Debug for SecretBox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// What is kept in browser storage: the hashed form only, never a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stored {
    pub username: String,
    pub domain: String,
    pub realm: Option<String>,
    pub ha1: String,
}

impl Stored {
    /// Whether this is about that person, with whatever secret.
    pub fn is_of(&self, username: &str, domain: &str) -> bool {
        self.username.eq_ignore_ascii_case(username) && self.domain.eq_ignore_ascii_case(domain)
    }
}

/// How the phone begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Signs in by itself, with what an earlier visit left.
    Restore(Credentials),
    /// Signs in by itself, with what the host page gave.
    Auto(Credentials),
    /// One "Connect" button.
    Connect(Credentials),
    Form(Prefill),
}

/// What the form shows before anything is typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefill {
    pub username: String,
    pub domain: String,
    /// The tenant dictates the domain.
    pub domain_fixed: bool,
    /// Given by the host page; used when the field is left empty and the name is the one it was given for.
    pub secret: Option<SecretBox>,
}

pub fn start(config: &RuntimeConfig, host: &HostOptions, stored: Option<Stored>) -> Start {
    let prefill = Prefill::from_host(config, &host.sip);
    let restore = host.behavior.session_restore.unwrap_or(config.behavior.session_restore);
    if restore == SessionRestore::Auto
        && let Some(stored) = stored.filter(|stored| prefill.allows(stored))
    {
        return Start::Restore(stored.into());
    }
    let mode = host.behavior.mode.unwrap_or(config.behavior.host.mode);
    match (mode, prefill.complete()) {
        (SignInMode::Autologin, Some(given)) => Start::Auto(given),
        (SignInMode::Confirm, Some(given)) => Start::Connect(given),
        _ => Start::Form(prefill),
    }
}

impl Prefill {
    pub fn from_host(config: &RuntimeConfig, sip: &HostSipOptions) -> Self {
        let fixed = filled(config.sip.domain.as_deref());
        let secret =
            filled(sip.ha1_password.as_deref()).map(|ha1| AccountSecret::Ha1 { realm: None, ha1 }).or_else(|| {
                sip.password
                    .clone()
                    .filter(|password| !password.is_empty())
                    .map(|password| AccountSecret::Password { password })
            });
        Self {
            username: filled(sip.username.as_deref()).unwrap_or_default(),
            domain_fixed: fixed.is_some(),
            domain: fixed.or_else(|| filled(sip.domain.as_deref())).unwrap_or_default(),
            secret: secret.map(SecretBox),
        }
    }

    /// The credentials, when nothing is missing.
    pub fn complete(&self) -> Option<Credentials> {
        let secret = self.secret.clone()?;
        let known = !self.username.is_empty() && !self.domain.is_empty();
        known.then(|| Credentials { username: self.username.clone(), domain: self.domain.clone(), secret })
    }

    fn allows(&self, stored: &Stored) -> bool {
        (self.username.is_empty() || self.username.eq_ignore_ascii_case(&stored.username))
            && (self.domain.is_empty() || self.domain.eq_ignore_ascii_case(&stored.domain))
    }
}

/// What is wrong with the form, in words, beside the field it is about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FormFaults {
    pub username: Option<&'static str>,
    pub domain: Option<&'static str>,
    pub password: Option<&'static str>,
}

/// Reads the form. A full address in the username field fills the domain.
pub fn read_form(username: &str, domain: &str, password: &str, prefill: &Prefill) -> Result<Credentials, FormFaults> {
    let username = username.trim();
    let username = username.strip_prefix("sip:").unwrap_or(username);
    let (username, domain) = match username.split_once('@') {
        Some((user, host)) if !prefill.domain_fixed => (user, host),
        Some((user, _)) => (user, domain.trim()),
        None => (username, domain.trim()),
    };
    let handed = prefill.secret.as_ref().filter(|_| username == prefill.username);
    let secret = match (password, handed) {
        ("", Some(secret)) => Some(secret.clone()),
        ("", None) => None,
        (password, _) => Some(SecretBox(AccountSecret::Password { password: password.to_owned() })),
    };
    let odd = |text: &str| {
        text.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | '"' | '@' | ';' | '?'))
    };
    let faults = FormFaults {
        username: if username.is_empty() {
            Some("Enter your username.")
        } else if odd(username) {
            Some("A username has no spaces or special characters.")
        } else {
            None
        },
        domain: if domain.is_empty() {
            Some("Enter the domain, for example sip.example.com.")
        } else if odd(domain) || domain.as_bytes().contains(&b'/') {
            Some("Enter only the domain, for example sip.example.com.")
        } else {
            None
        },
        password: secret.is_none().then_some("Enter your password."),
    };
    match secret {
        Some(secret) if faults == FormFaults::default() => {
            Ok(Credentials { username: username.to_owned(), domain: domain.to_ascii_lowercase(), secret })
        }
        _ => Err(faults),
    }
}

impl Credentials {
    /// `username@domain`, lower case: the same person on every page.
    pub fn user_key(&self) -> String {
        format!("{}@{}", self.username, self.domain).to_ascii_lowercase()
    }

    /// What may be stored: nothing while only the password is known.
    pub fn storable(&self) -> Option<Stored> {
        match &self.secret.0 {
            AccountSecret::Password { .. } => None,
            AccountSecret::Ha1 { realm, ha1 } => Some(Stored {
                username: self.username.clone(),
                domain: self.domain.clone(),
                realm: realm.clone(),
                ha1: ha1.clone(),
            }),
        }
    }
}

/// Whether a refusal may be about what was stored and not about the person: a
/// registrar that does not want to be probed for names answers a wrong password
/// with 403 or 404, too.
pub fn may_be_outdated(refusal: RegistrationFailureCode) -> bool {
    matches!(
        refusal,
        RegistrationFailureCode::WrongPassword | RegistrationFailureCode::Forbidden | RegistrationFailureCode::NotFound
    )
}

impl From<Stored> for Credentials {
    fn from(stored: Stored) -> Self {
        Self {
            username: stored.username,
            domain: stored.domain,
            secret: SecretBox(AccountSecret::Ha1 { realm: stored.realm, ha1: stored.ha1 }),
        }
    }
}

fn filled(text: Option<&str>) -> Option<String> {
    text.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use bitcall_wire::host_protocol::HostBehaviorOptions;

    fn config(domain: Option<&str>) -> RuntimeConfig {
        serde_json::from_value(serde_json::json!({
            "tenantId": "acme", "uiUrl": "", "storageNamespace": "bitcall:acme", "wsUrl": null,
            "wss": [], "iceServers": [], "sip": { "domain": domain }, "behavior": {},
            "branding": { "displayName": "Acme", "logoLight": null, "logoDark": null, "themeColor": "#2563eb", "headerMode": "both" },
            "capabilities": { "maxSessions": 2, "transferBlind": false, "popupMode": false, "installable": false, "audioClips": false },
            "features": {}
        }))
        .unwrap()
    }

    fn host(mode: Option<SignInMode>, username: &str, password: &str) -> HostOptions {
        HostOptions {
            sip: HostSipOptions {
                username: Some(username.to_owned()),
                domain: Some("host.example".to_owned()),
                password: Some(password.to_owned()),
                ha1_password: None,
            },
            behavior: HostBehaviorOptions { mode, ..HostBehaviorOptions::default() },
            ..HostOptions::default()
        }
    }

    fn stored(username: &str) -> Stored {
        Stored {
            username: username.to_owned(),
            domain: "sip.acme".to_owned(),
            realm: Some("sip.acme".to_owned()),
            ha1: "00112233445566778899aabbccddeeff".to_owned(),
        }
    }

    #[test]
    fn complete_credentials_wait_for_one_button_by_default() {
        let Start::Connect(given) = start(&config(None), &host(None, "101", "pw"), None) else { panic!() };
        assert_eq!(given.user_key(), "101@host.example");
    }

    #[test]
    fn missing_parts_bring_the_form_in_every_mode() {
        for mode in [SignInMode::Confirm, SignInMode::Autologin, SignInMode::Prefilled] {
            let Start::Form(form) = start(&config(None), &host(Some(mode), "101", ""), None) else { panic!() };
            assert_eq!((form.username.as_str(), form.domain.as_str()), ("101", "host.example"));
        }
    }

    #[test]
    fn autologin_signs_in_and_prefilled_never_does() {
        assert!(matches!(start(&config(None), &host(Some(SignInMode::Autologin), "101", "pw"), None), Start::Auto(_)));
        assert!(matches!(start(&config(None), &host(Some(SignInMode::Prefilled), "101", "pw"), None), Start::Form(_)));
    }

    #[test]
    fn the_tenants_domain_wins_over_the_hosts() {
        let Start::Connect(given) = start(&config(Some("sip.acme")), &host(None, "101", "pw"), None) else { panic!() };
        assert_eq!(given.domain, "sip.acme");
    }

    #[test]
    fn a_stored_session_comes_first_but_not_for_somebody_else() {
        let config = config(Some("sip.acme"));
        assert!(matches!(start(&config, &host(None, "101", "pw"), Some(stored("101"))), Start::Restore(_)));
        assert!(matches!(start(&config, &HostOptions::default(), Some(stored("101"))), Start::Restore(_)));
        assert!(matches!(start(&config, &host(None, "102", "pw"), Some(stored("101"))), Start::Connect(_)));
    }

    #[test]
    fn a_refusal_may_be_about_what_was_stored_unless_it_is_about_the_server() {
        for code in [
            RegistrationFailureCode::WrongPassword,
            RegistrationFailureCode::Forbidden,
            RegistrationFailureCode::NotFound,
        ] {
            assert!(may_be_outdated(code), "{code:?}");
        }
        for code in [
            RegistrationFailureCode::Offline,
            RegistrationFailureCode::Timeout,
            RegistrationFailureCode::ServerError,
            RegistrationFailureCode::TooManyDevices,
        ] {
            assert!(!may_be_outdated(code), "{code:?}");
        }
    }

    #[test]
    fn restore_can_be_switched_off_by_the_host() {
        let mut host = host(None, "101", "");
        host.behavior.session_restore = Some(SessionRestore::Off);
        assert!(matches!(start(&config(Some("sip.acme")), &host, Some(stored("101"))), Start::Form(_)));
    }

    #[test]
    fn ha1_is_preferred_to_the_password() {
        let mut host = host(Some(SignInMode::Autologin), "101", "pw");
        host.sip.ha1_password = Some("00112233445566778899aabbccddeeff".to_owned());
        let Start::Auto(given) = start(&config(None), &host, None) else { panic!() };
        assert!(matches!(given.secret.0, AccountSecret::Ha1 { .. }));
        assert!(given.storable().is_some());
    }

    #[test]
    fn a_password_is_never_storable_nor_shown_in_debug_output() {
        let Start::Connect(given) = start(&config(None), &host(None, "101", "hunter2"), None) else { panic!() };
        assert_eq!(given.storable(), None);
        assert!(!format!("{given:?}").contains("hunter2"));
    }

    #[test]
    fn each_fault_of_the_form_is_named_at_its_field() {
        let faults = read_form(" ", "", "", &Prefill::default()).unwrap_err();
        assert!(faults.username.is_some() && faults.domain.is_some() && faults.password.is_some());
        let faults = read_form("a b", "https://x", "pw", &Prefill::default()).unwrap_err();
        assert!(faults.username.is_some() && faults.domain.is_some() && faults.password.is_none());
    }

    #[test]
    fn a_full_address_as_username_fills_the_domain() {
        let read = read_form("sip:101@Sip.Example", "", "pw", &Prefill::default()).unwrap();
        assert_eq!((read.username.as_str(), read.domain.as_str()), ("101", "sip.example"));
    }

    #[test]
    fn the_hosts_secret_serves_only_the_name_it_came_with() {
        let prefill = Prefill::from_host(&config(None), &host(None, "101", "pw").sip);
        assert!(read_form("101", "host.example", "", &prefill).is_ok());
        assert!(read_form("102", "host.example", "", &prefill).is_err());
    }
}
