//! Decides how the phone signs in, before anything is shown.
//!
//! The host page, the tenant and a stored session may each contribute. The tenant's domain takes precedence
//! over the host page's. A stored session comes first where it is allowed, but never for another user than
//! the host page names.

use bitcall_wire::agent_protocol::{AccountSecret, RealmHa1, RegistrationFailureCode};
use bitcall_wire::config::{RuntimeConfig, SessionRestore, SignInMode};
use bitcall_wire::host_protocol::{HostOptions, HostSipOptions};
use serde::{Deserialize, Serialize};

/// Username, domain and secret: all that registering needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignInCredentials {
    pub username: String,
    pub domain: String,
    pub secret: RedactedSecret,
}

/// A secret that debug output does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct RedactedSecret(pub AccountSecret);

impl std::fmt::Debug for RedactedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

/// What is kept in browser storage: HA1 only, never a password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredSession {
    pub username: String,
    pub domain: String,
    /// One for each realm of the servers.
    pub ha1s: Vec<RealmHa1>,
    /// [`server_origins`] that the person has signed in with.
    pub servers: Vec<String>,
}

impl StoredSession {
    /// Whether these are all servers that the person has signed in with: no other gets an answer to its challenge
    /// that nobody asked for.
    pub fn fits(&self, wss: &[String]) -> bool {
        server_origins(wss).all(|server| self.servers.contains(&server))
    }

    /// Whether this session belongs to that user.
    pub fn is_of(&self, username: &str, domain: &str) -> bool {
        self.username.eq_ignore_ascii_case(username) && self.domain.eq_ignore_ascii_case(domain)
    }
}

/// Scheme, host and port of each WebSocket URL, in lower case.
pub fn server_origins(wss: &[String]) -> impl Iterator<Item = String> {
    wss.iter().map(|url| {
        let after_scheme = url.find("://").map_or(0, |at| at + 3);
        let rest = url.get(after_scheme..).unwrap_or_default();
        let end = rest.find(['/', '?', '#']).map_or(url.len(), |at| after_scheme + at);
        url.get(..end).unwrap_or_default().to_ascii_lowercase()
    })
}

/// The first step after `BITCALL_INIT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InitialSignIn {
    /// Sign in automatically with the stored session.
    Restore(SignInCredentials),
    /// Sign in automatically with the credentials of the host page.
    Auto(SignInCredentials),
    /// Show one "Connect" button.
    Connect(SignInCredentials),
    Form(FormDefaults),
}

/// The initial values of the sign-in form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FormDefaults {
    pub username: String,
    pub domain: String,
    /// The tenant sets the domain; it cannot be edited.
    pub domain_fixed: bool,
    /// The secret given by the host page. Used when the password field is empty and the username is
    /// unchanged.
    pub secret: Option<RedactedSecret>,
}

pub fn initial_sign_in(config: &RuntimeConfig, host: &HostOptions, stored: Option<StoredSession>) -> InitialSignIn {
    let defaults = FormDefaults::from_host(config, &host.sip);
    let restore = host.behavior.session_restore.unwrap_or(config.behavior.session_restore);
    if restore == SessionRestore::Auto
        && let Some(stored) = stored.filter(|stored| defaults.matches_session(stored) && stored.fits(&config.wss))
    {
        return InitialSignIn::Restore(stored.into());
    }
    let mode = host.behavior.mode.unwrap_or(config.behavior.host.mode);
    match (mode, defaults.complete()) {
        (SignInMode::Autologin, Some(given)) => InitialSignIn::Auto(given),
        (SignInMode::Confirm, Some(given)) => InitialSignIn::Connect(given),
        _ => InitialSignIn::Form(defaults),
    }
}

impl FormDefaults {
    pub fn from_host(config: &RuntimeConfig, sip: &HostSipOptions) -> Self {
        let fixed = non_empty(config.sip.domain.as_deref());
        let secret = non_empty(sip.ha1_password.as_deref()).map(ha1_of_unknown_realm).or_else(|| {
            sip.password
                .clone()
                .filter(|password| !password.is_empty())
                .map(|password| AccountSecret::Password { password })
        });
        Self {
            username: non_empty(sip.username.as_deref()).unwrap_or_default(),
            domain_fixed: fixed.is_some(),
            domain: fixed.or_else(|| non_empty(sip.domain.as_deref())).unwrap_or_default(),
            secret: secret.map(RedactedSecret),
        }
    }

    /// The credentials, if complete.
    pub fn complete(&self) -> Option<SignInCredentials> {
        let secret = self.secret.clone()?;
        let known = !self.username.is_empty() && !self.domain.is_empty();
        known.then(|| SignInCredentials { username: self.username.clone(), domain: self.domain.clone(), secret })
    }

    fn matches_session(&self, stored: &StoredSession) -> bool {
        (self.username.is_empty() || self.username.eq_ignore_ascii_case(&stored.username))
            && (self.domain.is_empty() || self.domain.eq_ignore_ascii_case(&stored.domain))
    }
}

/// The errors of the sign-in form, by field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FormErrors {
    pub username: Option<&'static str>,
    pub domain: Option<&'static str>,
    pub password: Option<&'static str>,
}

/// Validates the form. A full SIP address in the username field also sets the domain.
pub fn read_form(
    username: &str,
    domain: &str,
    password: &str,
    defaults: &FormDefaults,
) -> Result<SignInCredentials, FormErrors> {
    let username = username.trim();
    let username = username.strip_prefix("sip:").unwrap_or(username);
    let (username, domain) = match username.split_once('@') {
        Some((user, host)) if !defaults.domain_fixed => (user, host),
        Some((user, _)) => (user, domain.trim()),
        None => (username, domain.trim()),
    };
    let from_host = defaults.secret.as_ref().filter(|_| username == defaults.username);
    let secret = match (password, from_host) {
        ("", Some(secret)) => Some(secret.clone()),
        ("", None) => None,
        (password, _) => Some(RedactedSecret(AccountSecret::Password { password: password.to_owned() })),
    };
    let has_forbidden_char = |text: &str| {
        text.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | '"' | '@' | ';' | '?'))
    };
    let errors = FormErrors {
        username: if username.is_empty() {
            Some("Enter your username.")
        } else if has_forbidden_char(username) {
            Some("A username has no spaces or special characters.")
        } else {
            None
        },
        domain: if domain.is_empty() {
            Some("Enter the domain, for example sip.example.com.")
        } else if has_forbidden_char(domain) || domain.as_bytes().contains(&b'/') {
            Some("Enter only the domain, for example sip.example.com.")
        } else {
            None
        },
        password: secret.is_none().then_some("Enter your password."),
    };
    match secret {
        Some(secret) if errors == FormErrors::default() => {
            Ok(SignInCredentials { username: username.to_owned(), domain: domain.to_ascii_lowercase(), secret })
        }
        _ => Err(errors),
    }
}

impl SignInCredentials {
    /// `username@domain` in lower case: identifies the user on every page.
    pub fn user_key(&self) -> String {
        format!("{}@{}", self.username, self.domain).to_ascii_lowercase()
    }

    /// The session to store after a sign-in with the servers `wss`; `None` while only the password is known.
    pub fn storable(&self, wss: &[String]) -> Option<StoredSession> {
        match &self.secret.0 {
            AccountSecret::Password { .. } => None,
            AccountSecret::Ha1 { ha1s } => Some(StoredSession {
                username: self.username.clone(),
                domain: self.domain.clone(),
                ha1s: ha1s.clone(),
                servers: server_origins(wss).collect(),
            }),
        }
    }
}

/// Whether a refusal may be due to an outdated stored session: its realm may have changed, and to hide which names
/// exist, some registrars answer a wrong password with 403 or 404.
pub fn may_mean_outdated_session(refusal: RegistrationFailureCode) -> bool {
    matches!(
        refusal,
        RegistrationFailureCode::WrongPassword
            | RegistrationFailureCode::PasswordNeeded
            | RegistrationFailureCode::Forbidden
            | RegistrationFailureCode::NotFound
    )
}

/// The HA1 that the host page gave: 64 digits are SHA-256, others MD5.
fn ha1_of_unknown_realm(ha1: String) -> AccountSecret {
    let algorithm = if ha1.len() == 64 { "SHA-256" } else { "MD5" }.to_owned();
    AccountSecret::Ha1 { ha1s: vec![RealmHa1 { realm: None, algorithm, ha1 }] }
}

impl From<StoredSession> for SignInCredentials {
    fn from(stored: StoredSession) -> Self {
        Self {
            username: stored.username,
            domain: stored.domain,
            secret: RedactedSecret(AccountSecret::Ha1 { ha1s: stored.ha1s }),
        }
    }
}

fn non_empty(text: Option<&str>) -> Option<String> {
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
            "wss": ["wss://sip.acme/ws"], "iceServers": [], "sip": { "domain": domain }, "behavior": {},
            "branding": { "displayName": "Acme", "logoLight": null, "logoDark": null, "themeColor": "#2563eb", "headerMode": "both" },
            "capabilities": { "maxSessions": 2, "transferBlind": false, "popupMode": false, "installable": false, "audioClips": false,
                              "recording": false },
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

    fn stored(username: &str) -> StoredSession {
        StoredSession {
            username: username.to_owned(),
            domain: "sip.acme".to_owned(),
            ha1s: vec![RealmHa1 {
                realm: Some("sip.acme".to_owned()),
                algorithm: "MD5".to_owned(),
                ha1: "00112233445566778899aabbccddeeff".to_owned(),
            }],
            servers: vec!["wss://sip.acme".to_owned()],
        }
    }

    #[test]
    fn complete_credentials_are_confirmed_by_a_button_by_default() {
        let InitialSignIn::Connect(given) = initial_sign_in(&config(None), &host(None, "101", "pw"), None) else {
            panic!()
        };
        assert_eq!(given.user_key(), "101@host.example");
    }

    #[test]
    fn incomplete_credentials_show_the_form_in_every_mode() {
        for mode in [SignInMode::Confirm, SignInMode::Autologin, SignInMode::Prefilled] {
            let InitialSignIn::Form(form) = initial_sign_in(&config(None), &host(Some(mode), "101", ""), None) else {
                panic!()
            };
            assert_eq!((form.username.as_str(), form.domain.as_str()), ("101", "host.example"));
        }
    }

    #[test]
    fn autologin_signs_in_and_prefilled_does_not() {
        assert!(matches!(
            initial_sign_in(&config(None), &host(Some(SignInMode::Autologin), "101", "pw"), None),
            InitialSignIn::Auto(_)
        ));
        assert!(matches!(
            initial_sign_in(&config(None), &host(Some(SignInMode::Prefilled), "101", "pw"), None),
            InitialSignIn::Form(_)
        ));
    }

    #[test]
    fn the_tenants_domain_overrides_the_host_pages() {
        let InitialSignIn::Connect(given) = initial_sign_in(&config(Some("sip.acme")), &host(None, "101", "pw"), None)
        else {
            panic!()
        };
        assert_eq!(given.domain, "sip.acme");
    }

    #[test]
    fn a_stored_session_is_restored_only_for_the_same_user() {
        let config = config(Some("sip.acme"));
        assert!(matches!(
            initial_sign_in(&config, &host(None, "101", "pw"), Some(stored("101"))),
            InitialSignIn::Restore(_)
        ));
        assert!(matches!(
            initial_sign_in(&config, &HostOptions::default(), Some(stored("101"))),
            InitialSignIn::Restore(_)
        ));
        assert!(matches!(
            initial_sign_in(&config, &host(None, "102", "pw"), Some(stored("101"))),
            InitialSignIn::Connect(_)
        ));
    }

    #[test]
    fn a_stored_session_is_restored_only_with_servers_that_it_was_made_with() {
        let restored = |wss: &[&str]| {
            let mut config = config(Some("sip.acme"));
            config.wss = wss.iter().map(|url| (*url).to_owned()).collect();
            matches!(initial_sign_in(&config, &HostOptions::default(), Some(stored("101"))), InitialSignIn::Restore(_))
        };
        for same in ["wss://sip.acme/ws", "wss://sip.acme", "WSS://SIP.acme?x", "wss://sip.acme/other"] {
            assert!(restored(&[same]), "{same}");
        }
        for other in [
            "wss://evil.example",
            "ws://sip.acme",
            "wss://sip.acme:8443",
            "wss://sip.acme.evil.example",
            "wss://sip.acme@evil.example",
            "wss://evil.example/wss://sip.acme",
        ] {
            assert!(!restored(&[other]), "{other}");
            assert!(!restored(&["wss://sip.acme/ws", other]), "{other} behind the known one");
        }
    }

    #[test]
    fn only_account_failures_may_mean_an_outdated_session() {
        for code in [
            RegistrationFailureCode::WrongPassword,
            RegistrationFailureCode::PasswordNeeded,
            RegistrationFailureCode::Forbidden,
            RegistrationFailureCode::NotFound,
        ] {
            assert!(may_mean_outdated_session(code), "{code:?}");
        }
        for code in [
            RegistrationFailureCode::Offline,
            RegistrationFailureCode::Timeout,
            RegistrationFailureCode::ServerError,
            RegistrationFailureCode::TooManyDevices,
        ] {
            assert!(!may_mean_outdated_session(code), "{code:?}");
        }
    }

    #[test]
    fn the_host_page_can_disable_session_restore() {
        let mut host = host(None, "101", "");
        host.behavior.session_restore = Some(SessionRestore::Off);
        assert!(matches!(
            initial_sign_in(&config(Some("sip.acme")), &host, Some(stored("101"))),
            InitialSignIn::Form(_)
        ));
    }

    #[test]
    fn ha1_is_preferred_to_the_password() {
        let mut host = host(Some(SignInMode::Autologin), "101", "pw");
        host.sip.ha1_password = Some("00112233445566778899aabbccddeeff".to_owned());
        let InitialSignIn::Auto(given) = initial_sign_in(&config(None), &host, None) else { panic!() };
        assert!(matches!(given.secret.0, AccountSecret::Ha1 { .. }));
        let stored = given.storable(&["wss://sip.acme/ws".to_owned()]).unwrap();
        assert_eq!(stored.servers, ["wss://sip.acme"]);
    }

    #[test]
    fn a_password_is_neither_stored_nor_in_debug_output() {
        let InitialSignIn::Connect(given) = initial_sign_in(&config(None), &host(None, "101", "hunter2"), None) else {
            panic!()
        };
        assert_eq!(given.storable(&[]), None);
        assert!(!format!("{given:?}").contains("hunter2"));
    }

    #[test]
    fn each_form_error_is_shown_at_its_field() {
        let errors = read_form(" ", "", "", &FormDefaults::default()).unwrap_err();
        assert!(errors.username.is_some() && errors.domain.is_some() && errors.password.is_some());
        let errors = read_form("a b", "https://x", "pw", &FormDefaults::default()).unwrap_err();
        assert!(errors.username.is_some() && errors.domain.is_some() && errors.password.is_none());
    }

    #[test]
    fn a_full_address_as_username_fills_the_domain() {
        let read = read_form("sip:101@Sip.Example", "", "pw", &FormDefaults::default()).unwrap();
        assert_eq!((read.username.as_str(), read.domain.as_str()), ("101", "sip.example"));
    }

    #[test]
    fn the_host_pages_secret_is_used_only_for_its_username() {
        let defaults = FormDefaults::from_host(&config(None), &host(None, "101", "pw").sip);
        assert!(read_form("101", "host.example", "", &defaults).is_ok());
        assert!(read_form("102", "host.example", "", &defaults).is_err());
    }
}
