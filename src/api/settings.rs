//! The sections of a tenant's settings as requests write them, and what each value may be.

use bitcall_wire::config::{AudioClip, DeclineStatus, ThemeStart};
use serde_json::{Value, json};
use url::Url;

use super::form::{
    FieldType, Form, TextSchema, ValueError, boolean, checked, choice, integer, line, list, object, one_or_many,
    parsed, secret,
};
use crate::tenancy::{Change, IceEntry, InvalidValue, OriginPattern, SettingsChange, TransportChange, has_host_name};

/// Patterns of the API's document: everything that matches is accepted, but wildcards below a public suffix (`*.co.uk`);
/// some other spellings are, too.
const NAME_PATTERN: &str =
    r"([A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?\.){0,4}[A-Za-z]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?";
const ADDRESS_PATTERN: &str = r"(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(\.(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])){3}|\[([0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}\]|\[([0-9A-Fa-f]{1,4}:){1,6}:[0-9A-Fa-f]{1,4}\]|\[::([0-9A-Fa-f]{1,4})?\]";
const PORT_PATTERN: &str = "(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?";
/// The `-` of a punycode label (`xn--…`) must decode to something, which a pattern cannot say.
const NO_PUNYCODE: &str = r"(?!.*[Xx][Nn]--)";
pub const MAX_NAME_CHARS: usize = 80;
const MAX_URL_CHARS: usize = 2048;
const MAX_SECRET_CHARS: usize = 256;
const MAX_ORIGINS: usize = 100;
const MAX_SERVERS: usize = 8;
const MAX_CLIPS: usize = 20;

/// The sections of `PATCH /api/tenant/config`.
pub fn settings(form: &mut Form) -> Option<SettingsChange> {
    let mut change = SettingsChange::default();
    form.section("branding", |form| {
        change.display_name = form.change("displayName", line(MAX_NAME_CHARS));
        change.logo_light = form.change("logoLight", checked(https_schema, https_address));
        change.logo_dark = form.change("logoDark", checked(https_schema, https_address));
        change.theme_color = form.change("themeColor", checked(colour_schema, colour));
        change.header_mode = form.change("headerMode", choice(&["logo", "name", "both"]));
    });
    form.section("origins", |form| change.allowed_origins = form.change("allowedOrigins", OriginsType));
    form.section("app", |form| {
        change.popup_mode = form.change("popupMode", boolean());
        change.installable = form.change("installable", boolean());
        change.audio_clips = form.change("audioClips", boolean());
        change.recording = form.change("recording", boolean());
    });
    form.section("behavior", |form| {
        form.section("host", |form| {
            change.sign_in = form.change("mode", choice(&["confirm", "autologin", "prefilled"]));
        });
        change.session_restore = form.change("sessionRestore", choice(&["auto", "off"]));
        form.section("theme", |form| {
            change.theme_start = form.change("start", choice::<ThemeStart>(&["system", "light", "dark"]));
            change.theme_lock = form.change("lock", boolean());
        });
        change.cookie_mode = form.change("cookieMode", choice(&["isolated"]));
        form.section("calls", |form| {
            change.decline_status = form.change("declineStatus", DeclineStatusType);
            change.redirects = form.change("redirects", choice(&["never", "same-domain", "any-domain"]));
            change.referrals = form.change("referrals", choice(&["refuse", "ask", "own-domain"]));
            change.auto_answer = form.change("autoAnswer", boolean());
            change.message_replies = form.change("messageReplies", boolean());
            change.caller_id_header = form.change(
                "callerIdHeader",
                choice(&["p-asserted-identity", "p-preferred-identity", "remote-party-id", "from"]),
            );
        });
        form.section("holdMusic", |form| {
            change.hold_music = form.change("enabled", boolean());
            change.hold_music_url = form.change("url", checked(https_schema, https_address));
        });
        form.section("recording", |form| {
            change.auto_record = form.change("autoRecord", boolean());
            change.record_stereo = form.change("stereo", boolean());
            change.record_beep = form.change("beep", boolean());
            change.record_announcement = form.change("announcement", checked(https_schema, https_address));
        });
        change.clips = form.change("clips", list(object(audio_clip), 0..=MAX_CLIPS));
    });
    let transport = transport(form);
    change.sip_domain = transport.sip_domain;
    change.dtmf = transport.dtmf;
    change.wss = transport.wss;
    change.ice_servers = transport.ice_servers;
    Some(change)
}

/// How phones reach their SIP server; of a tenant, and of the platform.
pub fn transport(form: &mut Form) -> TransportChange {
    let mut change = TransportChange::default();
    form.section("sip", |form| {
        change.sip_domain = form.change("domain", checked(sip_domain_schema, sip_domain));
        // An older name, which counts where the right one is not given.
        let server = form.change("server", checked(sip_domain_schema, sip_domain));
        if change.sip_domain == Change::Keep {
            change.sip_domain = server;
        }
        change.dtmf = form.change("dtmf", choice(&["rfc2833", "rfc4733", "info"]));
    });
    change.wss = form.change("wss", one_or_many(checked(wss_schema, wss_address), MAX_SERVERS));
    change.ice_servers = form.change("iceServers", list(object(ice_server), 0..=MAX_SERVERS));
    change
}

/// A status that declines a call.
struct DeclineStatusType;

impl FieldType for DeclineStatusType {
    type Value = DeclineStatus;

    fn read(&self, value: Value) -> Result<DeclineStatus, ValueError> {
        let status = integer(480..=603).read(value).ok().and_then(|status| u32::try_from(status).ok());
        let status = status.and_then(DeclineStatus::of);
        status.ok_or_else(|| InvalidValue::new("must be 480, 486 or 603").into())
    }

    fn schema(&self) -> Value {
        json!({ "type": "integer", "enum": [480, 486, 603] })
    }
}

/// A list of origins, each once.
pub struct OriginsType;

impl FieldType for OriginsType {
    type Value = Vec<OriginPattern>;

    fn read(&self, value: Value) -> Result<Vec<OriginPattern>, ValueError> {
        let mut origins: Vec<OriginPattern> = Vec::new();
        for origin in list(parsed(), 0..=MAX_ORIGINS).read(value)? {
            if !origins.contains(&origin) {
                origins.push(origin);
            }
        }
        Ok(origins)
    }

    fn schema(&self) -> Value {
        list(parsed::<OriginPattern>(), 0..=MAX_ORIGINS).schema()
    }
}

impl TextSchema for OriginPattern {
    fn schema() -> Value {
        json!({
            "type": "string",
            "pattern": format!(r"^{NO_PUNYCODE}(https?://({NAME_PATTERN}|{ADDRESS_PATTERN})|https://\*\.[A-Za-z0-9-]*[A-Za-z0-9]\.{NAME_PATTERN}){PORT_PATTERN}/?$"),
            "examples": ["https://crm.example.com", "https://*.example.com"],
        })
    }
}

fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

fn with_credentials() -> InvalidValue {
    InvalidValue::new("must not hold a user name or password: every page that embeds the phone could read them")
}

/// An address that the phone page may load images and sound from.
#[allow(clippy::needless_pass_by_value)] // the shape of all checks
fn https_address(text: String) -> Result<String, InvalidValue> {
    match Url::parse(&text) {
        Ok(url) if has_credentials(&url) => Err(with_credentials()),
        Ok(url) if url.scheme() == "https" && has_host_name(url.as_str()) && text.len() <= MAX_URL_CHARS => {
            Ok(url.into())
        }
        _ => Err(InvalidValue::new(format!("must be an https:// address of at most {MAX_URL_CHARS} characters"))),
    }
}

fn https_schema() -> Value {
    json!({ "type": "string", "format": "uri", "maxLength": MAX_URL_CHARS, "pattern": format!("^{NO_PUNYCODE}https://({NAME_PATTERN}|{ADDRESS_PATTERN}){PORT_PATTERN}(/[A-Za-z0-9._~/-]*)?$") })
}

#[allow(clippy::needless_pass_by_value)] // the shape of all checks
fn colour(text: String) -> Result<String, InvalidValue> {
    let text = text.to_ascii_lowercase();
    let digits = text.strip_prefix('#').unwrap_or_default();
    match (digits.len(), digits.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        (6, true) => Ok(text),
        (3, true) => Ok(digits.chars().fold(String::from("#"), |text, digit| format!("{text}{digit}{digit}"))),
        _ => Err(InvalidValue::new("must be a colour as #14b8a6")),
    }
}

fn colour_schema() -> Value {
    json!({ "type": "string", "pattern": "^#([0-9A-Fa-f]{3}|[0-9A-Fa-f]{6})$", "examples": ["#14b8a6"] })
}

#[allow(clippy::needless_pass_by_value)] // the shape of all checks
pub fn sip_domain(text: String) -> Result<String, InvalidValue> {
    let text = text.to_ascii_lowercase();
    let plain = !text.is_empty()
        && text.len() <= 255
        && text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b':' | b'[' | b']'));
    // `Url` knows what a host and a port are; `http` makes it ask for exactly these.
    match Url::parse(&format!("http://{text}/")) {
        Ok(url) if plain && url.has_host() => Ok(text),
        _ => Err(InvalidValue::new("must be a host name or address, as sip.example.com")),
    }
}

pub fn sip_domain_schema() -> Value {
    json!({ "type": "string", "pattern": format!("^{NO_PUNYCODE}({NAME_PATTERN}|{ADDRESS_PATTERN}){PORT_PATTERN}$"), "maxLength": 255, "examples": ["sip.example.com"] })
}

#[allow(clippy::needless_pass_by_value)] // the shape of all checks
fn wss_address(text: String) -> Result<String, InvalidValue> {
    match Url::parse(&text) {
        Ok(url) if has_credentials(&url) => Err(with_credentials()),
        Ok(url)
            if matches!(url.scheme(), "ws" | "wss")
                && has_host_name(url.as_str())
                && url.fragment().is_none()
                && text.len() <= MAX_URL_CHARS =>
        {
            Ok(url.into())
        }
        _ => Err(InvalidValue::new("must be a wss:// (or ws://) address, as wss://pbx.example.com/ws")),
    }
}

fn wss_schema() -> Value {
    json!({
        "type": "string",
        "format": "uri",
        "maxLength": MAX_URL_CHARS,
        "pattern": format!("^{NO_PUNYCODE}wss?://({NAME_PATTERN}|{ADDRESS_PATTERN}){PORT_PATTERN}(/[A-Za-z0-9._~/-]*)?$"),
        "examples": ["wss://pbx.example.com/ws"],
    })
}

fn audio_clip(form: &mut Form) -> Option<AudioClip> {
    let name = form.required("name", line(MAX_NAME_CHARS));
    let url = form.required("url", checked(https_schema, https_address));
    Some(AudioClip { name: name?, url: url? })
}

/// One ICE server: a relay has credentials or the secret that it shares with this server (coturn's
/// `use-auth-secret`), from which each phone's are made; another server needs neither.
pub fn ice_server(form: &mut Form) -> Option<IceEntry> {
    let urls = form.required("urls", one_or_many(checked(ice_schema, ice_address), MAX_SERVERS));
    let username = form.optional("username", line(MAX_URL_CHARS));
    let credential = form.optional("credential", secret());
    let secret = form.optional("secret", line(MAX_SECRET_CHARS));
    form.rule(|| {
        let (text, nothing) = (json!({ "type": "string" }), json!({ "type": "null" }));
        let stun_only = one_or_many(checked(stun_schema, ice_address), MAX_SERVERS).schema();
        json!({ "anyOf": [
            { "properties": { "urls": stun_only, "secret": nothing } },
            {
                "properties": { "username": text, "credential": text, "secret": nothing },
                "required": ["username", "credential"],
            },
            {
                "properties": { "username": nothing, "credential": nothing, "secret": text },
                "required": ["secret"],
            },
        ] })
    });
    let urls = urls?;
    let relays = urls.iter().any(|url| url.starts_with("turn"));
    if secret.is_some() && (username.is_some() || credential.is_some()) {
        form.fault("secret", "stands instead of username and credential, not beside them");
    } else if relays && secret.is_none() && (username.is_none() || credential.is_none()) {
        form.fault("credential", "is missing: turn servers need username and credential, or secret");
    }
    Some(IceEntry { urls, username, credential, secret })
}

fn stun_schema() -> Value {
    ice_pattern("stuns?", "stun:stun.example.com:3478")
}

fn ice_schema() -> Value {
    ice_pattern("(stuns?|turns?)", "turn:turn.example.com:3478?transport=udp")
}

fn ice_pattern(schemes: &str, example: &str) -> Value {
    json!({
        "type": "string",
        "maxLength": MAX_URL_CHARS,
        "pattern": format!("^{NO_PUNYCODE}{schemes}:({NAME_PATTERN}|{ADDRESS_PATTERN}){PORT_PATTERN}([?]transport=(udp|tcp))?$"),
        "examples": [example],
    })
}

fn ice_address(text: String) -> Result<String, InvalidValue> {
    let host = ["stun:", "stuns:", "turn:", "turns:"].iter().find_map(|scheme| text.strip_prefix(scheme));
    match host {
        Some(host) if !host.is_empty() && !host.contains(char::is_whitespace) && text.len() <= MAX_URL_CHARS => {
            Ok(text)
        }
        _ => Err(InvalidValue::new("must start with stun:, stuns:, turn: or turns: and name a host")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn matches(schema: &Value, text: &str) -> bool {
        // The crate knows no look-ahead, and the values have no punycode.
        let pattern = schema["pattern"].as_str().unwrap().replace(NO_PUNYCODE, "");
        regex::Regex::new(&pattern).unwrap().is_match(text)
    }

    #[test]
    fn the_document_accepts_what_the_server_accepts() {
        for host in [
            "localhost",
            "crm.acme.com",
            "my-crm.acme.com",
            "CRM.Acme.Com",
            "3cx.acme.com",
            "127.0.0.1",
            "192.168.10.255",
            "[2001:db8::1]",
            "[::1]",
            "[2001:db8:1:2:3:4:5:6]",
        ] {
            for port in ["", ":80", ":3000", ":8443", ":65535"] {
                let (host, schema) = (format!("{host}{port}"), <OriginPattern as TextSchema>::schema());
                for origin in [format!("https://{host}"), format!("http://{host}/")] {
                    assert!(origin.parse::<OriginPattern>().is_ok() && matches(&schema, &origin), "{origin}");
                }
                assert!(sip_domain(host.clone()).is_ok() && matches(&sip_domain_schema(), &host), "{host}");
                for address in [format!("wss://{host}"), format!("ws://{host}/ws")] {
                    assert!(wss_address(address.clone()).is_ok() && matches(&wss_schema(), &address), "{address}");
                }
                let relay = format!("turn:{host}?transport=udp");
                assert!(ice_address(relay.clone()).is_ok() && matches(&ice_schema(), &relay), "{relay}");
                let logo = format!("https://{host}/logo.svg");
                assert!(https_address(logo.clone()).is_ok() && matches(&https_schema(), &logo), "{logo}");
            }
        }
        for origin in ["https://*.acme.com", "https://*.my-crm.acme.co.uk:8443"] {
            let schema = <OriginPattern as TextSchema>::schema();
            assert!(origin.parse::<OriginPattern>().is_ok() && matches(&schema, origin), "{origin}");
        }
        for bad in ["https://a..b", "https://-a.com", "https://a.com:65536", "https://a.com/path", "https://*.com"] {
            assert!(!matches(&<OriginPattern as TextSchema>::schema(), bad), "{bad}");
        }
    }
}
