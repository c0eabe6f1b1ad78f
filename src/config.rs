//! The configuration file: where Bitcall listens, where its data and secrets
//! are. Everything else (tenants, keys, plans) lives in the store and is
//! changed by CLI and API.
//!
//! The doc comments and defaults below are the single source: they fill the
//! structs, and `config/bitcall.toml` is generated from them.

// The doc comments become comments of a TOML file, where Markdown's marks would only disturb.
#![allow(clippy::doc_markdown)]
#![allow(clippy::struct_field_names)] // all secrets are in files

mod acme;
mod parse;
mod public_url;
mod secrets;

use std::fmt::{self, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeValue;

use crate::hostname::Hostname;
pub use acme::{ChallengeType, DirectoryUrl, external_accounts};
pub use parse::{ConfigError, ConfigErrors, duration, is_near};
use parse::{ConfigReader, Section, SectionReader, Setting, SettingDoc, full_name, must_be};
pub use public_url::PublicUrl;
pub use secrets::{RotatedSecret, Secrets, store_key};

/// Where packages put the file.
pub const DEFAULT_PATH: &str = "/etc/bitcall/bitcall.toml";

/// Declares a struct of settings: fields with doc comments and defaults in TOML. A reload takes those with `=> live`; the
/// others need a restart.
macro_rules! section {
    (
        $(#[doc = $doc:literal])*
        struct $name:ident in $key:literal {
            $( $(#[doc = $field_doc:literal])* $field:ident: $type:ty = $default:literal $(=> $live:ident)?, )*
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $( $(#[doc = $field_doc])* pub $field: $type, )*
        }

        impl Section for $name {
            const KEY: &'static str = $key;
            const DOC: &'static [&'static str] = &[$($doc),*];
            const SETTINGS: &'static [SettingDoc] = &[$(
                SettingDoc {
                    name: stringify!($field),
                    doc: &[$($field_doc),*],
                    default: $default,
                    is_live: !stringify!($($live)?).is_empty(),
                },
            )*];

            fn read(table: &mut SectionReader<'_, '_>) -> Option<Self> {
                $( let $field = table.take(stringify!($field), $default); )*
                Some(Self { $( $field: $field?, )* })
            }

            fn take_live(&mut self, new: &Self) -> Vec<ConfigChange> {
                let mut changes = Vec::new();
                $( if self.$field != new.$field {
                    let is_live = !stringify!($($live)?).is_empty();
                    if is_live {
                        self.$field.clone_from(&new.$field);
                    }
                    changes.push(ConfigChange { setting: full_name($key, stringify!($field)), is_live });
                } )*
                changes
            }
        }
    };
}

/// The whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub server: ServerSettings,
    pub listen: ListenSettings,
    pub tls: TlsSettings,
    pub sip: SipSettings,
    pub domains: DomainSettings,
    pub dns: DnsSettings,
    pub acme: AcmeSettings,
    pub secrets: SecretFiles,
    pub audit: AuditSettings,
    pub limits: LimitSettings,
    pub log: LogSettings,
}

section! {
    /// Bitcall's configuration. A line that starts with `#` shows a default;
    /// remove the `#` to change it. `bitcall check` names the line of every fault.
    /// `systemctl reload bitcall` (SIGHUP) takes the settings that say so; a change of any other needs a restart.
    struct ServerSettings in "" {
        /// The address under which browsers reach this server, e.g. "https://phone.example.com".
        /// Empty: https, this machine's host name, and the port of the first HTTPS listener.
        public_url: Option<PublicUrl> = r#""""#,
        /// Directory of the store and of the development certificate. Only Bitcall may read it.
        data_dir: PathBuf = r#""/var/lib/bitcall""#,
    }
}

section! {
    /// Where Bitcall listens.
    struct ListenSettings in "listen" {
        /// HTTPS: the phone, the API and the SIP edge.
        https: Vec<SocketAddr> = r#"["0.0.0.0:443", "[::]:443"]"#,
        /// The same without TLS, for a reverse proxy on this machine. Loopback addresses only.
        http: Vec<SocketAddr> = "[]",
        /// Plain HTTP that answers the challenges of certificate authorities and sends everybody else
        /// to HTTPS, e.g. `["0.0.0.0:80", "[::]:80"]`.
        redirect: Vec<SocketAddr> = "[]",
        /// /healthz and /readyz, for monitoring. Empty: off.
        ops: Option<SocketAddr> = r#""127.0.0.1:9180""#,
        /// Unix socket on which the `bitcall` commands reach the running server. Whoever may
        /// open it (owner and group) may administer every tenant.
        control: PathBuf = r#""/run/bitcall/control.sock""#,
    }
}

section! {
    /// The certificate of the HTTPS listeners. With both settings empty Bitcall makes a
    /// self-signed one in the data directory, which browsers warn about.
    struct TlsSettings in "tls" {
        /// PEM file: the certificate, then its intermediates.
        certificate: Option<PathBuf> = r#""""# => live,
        /// PEM file: the private key.
        key: Option<PathBuf> = r#""""# => live,
    }
}

section! {
    /// The built-in SIP edge.
    struct SipSettings in "sip" {
        /// Tenants' SIP domains are `<tenant>.<domain>`. The name needs no DNS entry.
        domain: String = r#""sip.bitcall.internal""#,
        /// Addresses under which this server is reached from outside when it is behind NAT, e.g.
        /// `["203.0.113.5"]`. The echo offers them for its media besides the machine's own.
        media_addresses: Vec<IpAddr> = "[]",
        /// UDP port of the echo's media on every address. 0: any free one; behind a firewall or
        /// NAT choose one and let it through.
        media_port: u16 = "0",
        /// How long the TURN credentials are good that phones get for `iceServers` with a shared secret.
        turn_lifetime: Duration = r#""12h""#,
    }
}

section! {
    /// The names under which tenants' phones are reached.
    struct DomainSettings in "domains" {
        /// Tenants' subdomains are `<name>.<base>`, e.g. "bitcall.example". DNS must lead
        /// `*.<base>` to this server. Empty: tenants have no subdomains.
        base: Option<Hostname> = r#""""#,
        /// The host name that tenants point their own domains at by CNAME. Empty: the host of
        /// `public_url`.
        ingress: Option<Hostname> = r#""""#,
    }
}

section! {
    /// The DNS server for the base domain, and how the domains of tenants' own are looked at.
    struct DnsSettings in "dns" {
        /// Where `domains.base` is served, by UDP and TCP, e.g. `["203.0.113.5:53", "[2001:db8::5]:53"]`.
        /// Whoever has the domain above it delegates the base to `nameservers`. Name the addresses, not
        /// 0.0.0.0, where the machine has several: an answer must come from the one that was asked. Empty: off.
        listen: Vec<SocketAddr> = "[]",
        /// What the base and every name below it lead to. Empty: `sip.media_addresses`, else this
        /// machine's own public addresses.
        addresses: Vec<IpAddr> = "[]",
        /// The host names under which this server is delegated to, e.g. `["ns1.bitcall.example"]`. Those below
        /// the base have its addresses. Empty: ns1 below the base.
        nameservers: Vec<Hostname> = "[]",
        /// Mail address of whoever is responsible for the zone. Empty: hostmaster at the base.
        hostmaster: Option<MailAddress> = r#""""#,
        /// The certificate authorities as they call themselves in CAA records, e.g. `["letsencrypt.org"]`: only
        /// they may certify names of the base, and a tenant whose own records forbid all of them is told so. Empty:
        /// those of `acme.directories`, as far as all of them are known.
        caa: Vec<Hostname> = "[]",
        /// Answers in a second to one network (a /24, by IPv6 a /56) over UDP, where addresses can be
        /// forged; whoever asks for more is sent to TCP. 0: any number.
        answers_per_network: u32 = "1000",
        /// Resolvers to look at tenants' domains with, e.g. `["9.9.9.9:53", "1.1.1.1:53"]`; several see more
        /// than one. Empty: those of the system.
        resolvers: Vec<SocketAddr> = "[]" => live,
    }
}

section! {
    /// Certificates that come and are renewed by themselves, from authorities that speak ACME. Needs
    /// the store key (`[secrets]`).
    struct AcmeSettings in "acme" {
        /// The authorities' directories, e.g. `["https://acme-v02.api.letsencrypt.org/directory"]`; where
        /// one fails the next one is asked. Naming one agrees to its terms of service. Empty: off.
        directories: Vec<DirectoryUrl> = "[]",
        /// Mail address under which the authorities can reach you.
        contact: Option<MailAddress> = r#""""#,
        /// How names are proved, in the order in which it is tried, as far as it is possible:
        /// "http-01" with `listen.redirect` on port 80, "tls-alpn-01" with `listen.https` on port 443,
        /// "dns-01" (the only one for wildcards) with `dns.listen` for names below `domains.base`
        /// and for domains that delegate their `_acme-challenge` to it.
        challenges: Vec<ChallengeType> = r#"["http-01", "tls-alpn-01", "dns-01"]"#,
        /// The kind of certificate, where an authority offers kinds, e.g. "shortlived".
        profile: Option<String> = r#""""#,
        /// Names below `domains.base` that may get their first certificate within a week, from each authority;
        /// further ones wait for their turn. Let's Encrypt allows 50 for a registered domain and all names
        /// below it, so leave room for your other ones. Renewals are not counted, and a wildcard (with `dns.listen`)
        /// is one name. 0: any number, for an authority of your own.
        new_names_per_week: usize = "40",
        /// File with the accounts that some authorities want you to have with them (External Account
        /// Binding), each on a line: the directory, the key identifier and the key in base64url. The
        /// systemd credential acme_eab comes first.
        eab_file: Option<PathBuf> = r#""""#,
        /// PEM file: who may sign the certificates of the directories' own servers. Empty: the
        /// authorities that browsers trust.
        ca_bundle: Option<PathBuf> = r#""""#,
    }
}

section! {
    /// Files that hold secrets, each readable by Bitcall's user only. The environment
    /// (BITCALL_PANEL_KEY, APP_MASTER_SECRET, BITCALL_STORE_KEY) and systemd credentials (panel_key,
    /// master_secret, store_key) come first. Each may hold two lines while the first secret takes the
    /// place of the second (`bitcall secret rotate`); a reload reads them again, the store key a restart.
    struct SecretFiles in "secrets" {
        /// What an operator's panel sends as X-Bitcall-Panel-Key.
        panel_key_file: Option<PathBuf> = r#""""# => live,
        /// What opens the admin and internal API.
        master_secret_file: Option<PathBuf> = r#""""# => live,
        /// What seals the private keys of certificates in the store. Needed as soon as there are any:
        /// a backup of the store is worth nothing without it.
        store_key_file: Option<PathBuf> = r#""""#,
    }
}

section! {
    /// The log of changes: who changed what, and when (`bitcall audit`).
    struct AuditSettings in "audit" {
        /// How long an entry is kept. 0: for ever.
        keep_days: usize = "400" => live,
    }
}

impl AuditSettings {
    /// How long an entry is kept; none: for ever.
    pub fn keep(&self) -> Option<Duration> {
        let days = u64::try_from(self.keep_days).unwrap_or(u64::MAX);
        (days > 0).then(|| Duration::from_secs(days.saturating_mul(86_400)))
    }
}

section! {
    /// Protection against slow and greedy clients.
    struct LimitSettings in "limits" {
        /// Open connections; further ones wait until one closes. The control socket and the
        /// operations listener do not count.
        max_connections: usize = "10000",
        /// Of these, what one address (by IPv6: one /64) may hold; further ones are closed at once.
        /// A phone holds about three. A reverse proxy on this machine counts as nobody. 0: no limit.
        max_connections_per_address: usize = "2000" => live,
        /// For the TLS handshake, and for a request's header; also how long an idle
        /// connection is kept (by HTTP/2: one that does not answer pings).
        header_timeout: Duration = r#""30s""# => live,
        /// For a request's body and the answer's computation.
        request_timeout: Duration = r#""30s""# => live,
        /// How long a client may refuse to read an answer.
        write_timeout: Duration = r#""30s""# => live,
        /// How long requests may go on after the order to stop.
        drain_timeout: Duration = r#""10s""# => live,
        /// Requests of the API that one address (by IPv6: one /64) may make in a minute; all of it
        /// may come at once. Of a reverse proxy on this machine the last address in X-Forwarded-For
        /// counts. Here and below: 0 for any number.
        requests_per_address: u32 = "60000" => live,
        /// The same for one API key: an office of 2,000 phones needs about 10,000.
        requests_per_key: u32 = "60000" => live,
        /// The same for one tenant, whatever its keys.
        requests_per_tenant: u32 = "120000" => live,
        /// The same for the pages of one origin.
        requests_per_origin: u32 = "120000" => live,
        /// Wrong panel keys, master secrets and API keys in a minute from one address. When they
        /// are used up, no panel key or master secret is looked at from there.
        wrong_credentials_per_address: u32 = "3000" => live,
    }
}

section! {
    /// What is written to standard error.
    struct LogSettings in "log" {
        /// "human" or "json".
        format: LogFormat = r#""human""#,
        /// error, warn, info, debug, trace or off: what Bitcall says. Libraries say no more than warnings,
        /// unless named, e.g. "debug,h2=debug"; also per module of Bitcall's, e.g. "info,bitcall::edge=debug".
        filter: String = r#""info""# => live,
        /// One line for each request of the public listeners: "stderr" beside the other lines, or a file,
        /// which a reload opens again, so that it can be rotated. "human" is the combined log format with
        /// the seconds it took and the tenant at the end. Keys, tokens and whatever else may be secret in
        /// an address are left out. Empty: off.
        access: Option<AccessLogTarget> = r#""""#,
    }
}

/// A setting that differs between two configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    /// As messages name it, such as `log.filter`.
    pub setting: String,
    /// A running server takes it; otherwise it needs a restart.
    pub is_live: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Human,
    Json,
}

/// Where the access log is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLogTarget {
    StandardError,
    File(PathBuf),
}

impl Setting for AccessLogTarget {
    fn parse(value: &DeValue<'_>, base: &Path) -> Result<Self, String> {
        match value.as_str() {
            Some("stderr") => Ok(Self::StandardError),
            Some(path) => Ok(Self::File(base.join(path))),
            None => Err(must_be("\"stderr\" or a path in quotes", value)),
        }
    }
}

/// `name@domain`, with nothing in the name that would need quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailAddress {
    pub name: String,
    pub domain: Hostname,
}

impl Setting for MailAddress {
    fn parse(value: &DeValue<'_>, _base: &Path) -> Result<Self, String> {
        const SHAPE: &str = "a mail address in quotes, such as \"hostmaster@bitcall.example\"";
        value.as_str().and_then(|text| Self::from_text(text).ok()).ok_or_else(|| must_be(SHAPE, value))
    }
}

impl MailAddress {
    pub fn from_text(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('@').and_then(|(name, domain)| Some((name, domain.parse().ok()?)));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+".contains(&byte);
        match parsed {
            // One label of the zone's SOA record holds it (RFC 1035 section 8).
            Some((name, domain)) if (1..64).contains(&name.len()) && name.bytes().all(plain) => {
                Ok(Self { name: name.to_owned(), domain })
            }
            _ => Err("must be a mail address such as hostmaster@bitcall.example".to_owned()),
        }
    }
}

impl fmt::Display for MailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.domain)
    }
}

impl Setting for Hostname {
    fn parse(value: &DeValue<'_>, _base: &Path) -> Result<Self, String> {
        const SHAPE: &str = "a domain name in quotes, such as \"bitcall.example\"";
        let text = value.as_str().ok_or_else(|| must_be(SHAPE, value))?;
        text.parse().map_err(|_| must_be(SHAPE, value))
    }
}

impl Setting for LogFormat {
    fn parse(value: &DeValue<'_>, _base: &Path) -> Result<Self, String> {
        match value.as_str() {
            Some("human") => Ok(Self::Human),
            Some("json") => Ok(Self::Json),
            _ => Err(must_be("\"human\" or \"json\"", value)),
        }
    }
}

impl Config {
    /// Reads and validates `path`.
    pub fn read(path: &Path) -> Result<Self, ConfigErrors> {
        let whole =
            |message: String| ConfigErrors { file: path.to_owned(), faults: vec![ConfigError { line: None, message }] };
        let text = std::fs::read_to_string(path).map_err(|error| {
            whole(match error.kind() {
                std::io::ErrorKind::NotFound => {
                    "does not exist; `bitcall init` writes one, --config names another".to_owned()
                }
                std::io::ErrorKind::PermissionDenied => {
                    "permission denied; run as root or as Bitcall's user".to_owned()
                }
                _ => format!("cannot be read: {error}"),
            })
        })?;
        let base = path.parent().unwrap_or_else(|| Path::new("."));
        Self::parse(&text, base).map_err(|faults| ConfigErrors { file: path.to_owned(), faults })
    }

    /// `base` is the directory that relative paths start from.
    pub fn parse(text: &str, base: &Path) -> Result<Self, Vec<ConfigError>> {
        let mut reader = ConfigReader::new(text, base);
        let server = reader.section::<ServerSettings>();
        let listen = reader.section::<ListenSettings>();
        let tls = reader.section::<TlsSettings>();
        let sip = reader.section::<SipSettings>();
        let domains = reader.section::<DomainSettings>();
        let dns = reader.section::<DnsSettings>();
        let acme = reader.section::<AcmeSettings>();
        let secrets = reader.section::<SecretFiles>();
        let audit = reader.section::<AuditSettings>();
        let limits = reader.section::<LimitSettings>();
        let log = reader.section::<LogSettings>();

        if let Some(listen) = &listen {
            if listen.https.is_empty() && listen.http.is_empty() {
                reader.fault("`listen.https` and `listen.http` are both empty: nobody could connect");
            }
            for address in listen.http.iter().filter(|address| !address.ip().is_loopback()) {
                reader.fault(format!(
                    "`listen.http` must be on loopback (127.0.0.1 or [::1]), not {address}: \
                     without TLS passwords would cross the network in clear, and browsers allow no microphone"
                ));
            }
        }
        if let Some(listen) = &listen
            && listen.https.is_empty()
            && !listen.redirect.is_empty()
        {
            reader.fault("`listen.redirect` would send everybody to HTTPS, and `listen.https` is empty");
        }
        if let Some(tls) = &tls
            && tls.certificate.is_some() != tls.key.is_some()
        {
            reader.fault("`tls.certificate` and `tls.key` must be set together, or both be empty");
        }
        if let (Some(domains), Some(dns)) = (&domains, &dns)
            && domains.base.is_none()
            && !dns.listen.is_empty()
        {
            reader.fault("`dns.listen` is set, but there is nothing to serve: `domains.base` names the zone");
        }
        if let Some(limits) = &limits
            && limits.max_connections == 0
        {
            reader.fault("`limits.max_connections` must be at least 1");
        }

        let faults = reader.finish();
        let whole = || {
            Some(Self {
                server: server?,
                listen: listen?,
                tls: tls?,
                sip: sip?,
                domains: domains?,
                dns: dns?,
                acme: acme?,
                secrets: secrets?,
                audit: audit?,
                limits: limits?,
                log: log?,
            })
        };
        match whole() {
            Some(config) if faults.is_empty() => Ok(config),
            _ => Err(faults),
        }
    }

    /// Takes from `new` what a running server can change, and says what differs.
    pub fn take_live(&mut self, new: &Self) -> Vec<ConfigChange> {
        // HSTS and the names to order certificates for follow from whether there are files at all.
        let is_other_kind = self.tls.certificate.is_some() != new.tls.certificate.is_some();
        let tls = self.tls.clone();
        let mut tls_changes = self.tls.take_live(&new.tls);
        if is_other_kind {
            self.tls = tls;
            for change in &mut tls_changes {
                change.is_live = false;
            }
        }
        [
            self.server.take_live(&new.server),
            self.listen.take_live(&new.listen),
            tls_changes,
            self.sip.take_live(&new.sip),
            self.domains.take_live(&new.domains),
            self.dns.take_live(&new.dns),
            self.acme.take_live(&new.acme),
            self.secrets.take_live(&new.secrets),
            self.audit.take_live(&new.audit),
            self.limits.take_live(&new.limits),
            self.log.take_live(&new.log),
        ]
        .concat()
    }

    /// The base of every URL that Bitcall hands out.
    pub fn public_url(&self) -> Result<PublicUrl, String> {
        if let Some(url) = &self.server.public_url {
            return Ok(url.clone());
        }
        let node = rustix::system::uname();
        let name = node.nodename().to_str().ok().filter(|name| name.parse::<Hostname>().is_ok());
        let host = name.unwrap_or("localhost");
        let text = match (self.listen.https.first(), self.listen.http.first()) {
            (Some(https), _) => format!("https://{host}:{}", https.port()),
            (None, Some(http)) => format!("http://{http}"),
            (None, None) => format!("https://{host}"),
        };
        PublicUrl::parse(&text)
    }
}

/// The example file: every setting with its explanation and its default.
pub fn template() -> String {
    let mut text = String::new();
    describe::<ServerSettings>(&mut text);
    describe::<ListenSettings>(&mut text);
    describe::<TlsSettings>(&mut text);
    describe::<SipSettings>(&mut text);
    describe::<DomainSettings>(&mut text);
    describe::<DnsSettings>(&mut text);
    describe::<AcmeSettings>(&mut text);
    describe::<SecretFiles>(&mut text);
    describe::<AuditSettings>(&mut text);
    describe::<LimitSettings>(&mut text);
    describe::<LogSettings>(&mut text);
    text.truncate(text.trim_end().len() + 1);
    text
}

fn describe<S: Section>(text: &mut String) {
    // Writing to a String cannot fail.
    for line in S::DOC {
        let _ = writeln!(text, "#{line}");
    }
    if S::KEY.is_empty() {
        text.push('\n');
    } else {
        let _ = writeln!(text, "[{}]", S::KEY);
    }
    for setting in S::SETTINGS {
        for line in setting.doc {
            let _ = writeln!(text, "#{line}");
        }
        if setting.is_live {
            let _ = writeln!(text, "# A reload takes it.");
        }
        let _ = writeln!(text, "#{} = {}\n", setting.name, setting.default);
    }
}

#[cfg(test)]
#[path = "config/tests.rs"]
mod tests;
