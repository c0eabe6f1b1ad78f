//! Certificates ordered by ACME: [`Certs`] from the configuration, and the names that this server needs
//! certificates for itself.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};

use super::StartError;
use crate::certs::{
    self, AcmeError, AcmeHttpClient, AcmeSettings, Addresses, CertResolver, CertificateStore, Certs, ChallengeStore,
    ExternalAccountBinding, Kind, Limits, Method, Preflight, Reachability, Rules, Wanted,
};
use crate::config::{self, ChallengeType, Config, PublicUrl, external_accounts};
use crate::dns::{self, Delegation, Lookup, Verifier, ZoneSettings};
use crate::hostname::Hostname;
use crate::server::HttpTokens;
use crate::store::Store;
use crate::tenancy::Platform;

/// How long changes of tenants are collected before the subdomains' certificates follow them.
const CHANGE_DEBOUNCE: Duration = Duration::from_millis(200);

/// Whether the configuration names an ACME directory.
pub fn is_configured(config: &Config) -> bool {
    !config.acme.directories.is_empty()
}

/// Opens [`Certs`] as configured; none where the configuration names no directory. Nothing is ordered yet.
pub async fn open(
    config: &Config,
    store: Arc<dyn Store>,
    certificate_store: Arc<CertificateStore>,
    verifier: &Verifier,
) -> Result<Option<Certs>, StartError> {
    if !is_configured(config) {
        return Ok(None);
    }
    let zone = ZoneSettings::of(config).map_err(StartError::misconfigured)?;
    let settings = settings(config, Box::new(DnsPreflight { verifier: verifier.clone(), zone }))?;
    let http_client = AcmeHttpClient::new(config.acme.ca_bundle.as_deref()).map_err(StartError::misconfigured)?;
    match Certs::open(store, certificate_store, http_client, settings).await {
        Ok(certs) => Ok(Some(certs)),
        Err(error @ certs::StartError::NoStoreKey) => Err(StartError::misconfigured(error)),
        Err(error) => Err(error.into()),
    }
}

/// Requests the certificates of this server's own names, except those that the files in `[tls]` cover, and of the
/// tenants' subdomains as they are now.
pub fn want_own(
    config: &Config,
    url: &PublicUrl,
    certs: &Certs,
    cert_resolver: &CertResolver,
    platform: &Platform,
) -> Option<Subdomains> {
    let from_files = |wanted: &Wanted| {
        let wildcard = wanted.wildcard.then(|| format!("*.{}", wanted.name));
        std::iter::once(wanted.name.to_string()).chain(wildcard).all(|name| cert_resolver.is_behind_files(&name))
    };
    for wanted in own_names(config, url).into_iter().filter(|wanted| !from_files(wanted)) {
        certs.want(wanted);
    }
    Subdomains::of(config, certs, platform)
}

/// The names of this server: the host of its public URL, the ingress host, and with its own DNS server the base
/// domain with a wildcard.
fn own_names(config: &Config, url: &PublicUrl) -> Vec<Wanted> {
    let zone = zone(config);
    let base = zone.iter().map(|base| Wanted { name: base.clone(), wildcard: true, delegated: false });
    let covered = |name: &Hostname| {
        zone.as_ref().is_some_and(|zone| {
            name == zone || name.as_str().split_once('.').is_some_and(|(_, parent)| parent == zone.as_str())
        })
    };
    let public = url.host().parse::<Hostname>().ok();
    let mut own: Vec<Wanted> = base.collect();
    for name in public.into_iter().chain(config.domains.ingress.clone()) {
        // A name of one label, such as `localhost`, is not in the public DNS.
        if !name.has_one_label() && !covered(&name) && !own.iter().any(|wanted| wanted.name == name) {
            own.push(Wanted { name, wildcard: false, delegated: false });
        }
    }
    own
}

/// The certificates of tenants' subdomains, one for each. Not needed with this server's own DNS: the base domain's
/// wildcard covers all of them.
pub struct Subdomains {
    certs: Certs,
    platform: Platform,
    base: Hostname,
    wanted: HashSet<Hostname>,
}

impl Subdomains {
    /// Requests those of the current subdomains.
    fn of(config: &Config, certs: &Certs, platform: &Platform) -> Option<Self> {
        let base = config.domains.base.clone().filter(|_| zone(config).is_none())?;
        let mut this = Self { certs: certs.clone(), platform: platform.clone(), base, wanted: HashSet::new() };
        this.want_new();
        Some(this)
    }

    /// Follows every change of the tenants until the platform ends.
    pub async fn keep(mut self) {
        let mut changes = self.platform.changes();
        loop {
            for gone in self.want_new() {
                if let Err(error) = self.certs.release(&gone).await {
                    tracing::warn!(name = %gone, %error, "the certificate of a subdomain that is gone is still there");
                }
            }
            if changes.changed().await.is_err() {
                return;
            }
            tokio::time::sleep(CHANGE_DEBOUNCE).await;
        }
    }

    /// Requests certificates for new subdomains; returns those that no tenant has any more.
    fn want_new(&mut self) -> Vec<Hostname> {
        let tenants = self.platform.tenants();
        let labels = tenants.iter().filter_map(|live| live.tenant.subdomain.as_ref());
        let now: HashSet<Hostname> = labels.filter_map(|label| format!("{label}.{}", self.base).parse().ok()).collect();
        for name in now.difference(&self.wanted) {
            self.certs.want(Wanted { name: name.clone(), wildcard: false, delegated: false });
        }
        let gone = self.wanted.difference(&now).cloned().collect();
        self.wanted = now;
        gone
    }
}

/// Every fault in `[acme]` that would keep the server from starting.
pub fn faults(config: &Config) -> Vec<String> {
    if !is_configured(config) {
        return Vec::new();
    }
    let settings = settings(config, Box::new(())).err().map(StartError::into_message);
    let bundle = AcmeHttpClient::new(config.acme.ca_bundle.as_deref()).err().map(|error| error.to_string());
    let no_key =
        matches!(config::store_key(&config.secrets), Ok(None)).then(|| certs::StartError::NoStoreKey.to_string());
    settings.into_iter().chain(bundle).chain(no_key).collect()
}

/// Why no authority would certify the names of this server, which would start all the same.
pub fn hopeless(config: &Config) -> Vec<String> {
    if !is_configured(config) {
        return Vec::new();
    }
    let nameless = config.public_url().ok().filter(|url| {
        let own = own_names(config, url);
        own.is_empty() && config.domains.base.is_none() && config.tls.certificate.is_none()
    });
    let nameless = nameless.map(|url| {
        let hint = "set `public_url` to a name of this server in the public DNS, or name no `acme.directories`";
        format!("no authority certifies {}, the host of `public_url`\nhint: {hint}", url.host())
    });
    let unreachable = ports(config).filter(|ports| {
        let at_usual_port = config.public_url().is_ok_and(|url| url.https_port() == Some(443));
        zone(config).is_none() && !ports.iter().any(ChallengePort::is_usual) && !at_usual_port
    });
    let unreachable = unreachable.map(|_| {
        "no authority reaches this server: \"http-01\" is asked for at port 80 and \"tls-alpn-01\" at port 443, and neither `listen.redirect` nor `listen.https` has it\nhint: `listen.redirect = [\"0.0.0.0:80\", \"[::]:80\"]`".to_owned()
    });
    nameless.into_iter().chain(unreachable).collect()
}

/// What works only where a port is forwarded.
pub fn doubts(config: &Config) -> Vec<String> {
    let mut found = Vec::new();
    for port in ports(config).into_iter().flatten().filter(|port| !port.is_usual()) {
        let ChallengePort { challenge, usual, setting, .. } = port;
        found.push(format!(
            "`acme.challenges`: \"{challenge}\" is asked for at port {usual}, which `{setting}` has not: it works only where that port is forwarded here"
        ));
    }
    found
}

/// Where a type of challenge is answered.
struct ChallengePort {
    challenge: &'static str,
    /// Where authorities ask (RFC 8555 section 8.3, RFC 8737 section 3).
    usual: u16,
    setting: &'static str,
    listening: Vec<u16>,
}

impl ChallengePort {
    fn is_usual(&self) -> bool {
        self.listening.contains(&self.usual)
    }
}

/// The listeners of the configured challenges; none where there are none, or no ACME.
fn ports(config: &Config) -> Option<Vec<ChallengePort>> {
    let ports = |addresses: &[SocketAddr]| addresses.iter().map(SocketAddr::port).collect::<Vec<_>>();
    let port = |challenge: &ChallengeType| match challenge {
        ChallengeType::Http01 => {
            let listening = ports(&config.listen.redirect);
            Some(ChallengePort { challenge: "http-01", usual: 80, setting: "listen.redirect", listening })
        }
        ChallengeType::TlsAlpn01 => {
            let listening = ports(&config.listen.https);
            Some(ChallengePort { challenge: "tls-alpn-01", usual: 443, setting: "listen.https", listening })
        }
        ChallengeType::Dns01 => None,
    };
    let found = config.acme.challenges.iter().filter_map(port).filter(|port| !port.listening.is_empty());
    let found: Vec<_> = found.collect();
    (is_configured(config) && !found.is_empty()).then_some(found)
}

fn settings(config: &Config, preflight: Box<dyn Preflight>) -> Result<AcmeSettings, StartError> {
    let accounts = external_accounts(config.acme.eab_file.as_deref()).map_err(StartError::misconfigured)?;
    let directories: Vec<String> = config.acme.directories.iter().map(|url| url.0.clone()).collect();
    if let Some(unlisted) = accounts.keys().find(|directory| !directories.contains(directory)) {
        return Err(StartError::Misconfigured(format!(
            "there is an external account for {unlisted}, which `acme.directories` does not name"
        )));
    }
    let zone = zone(config);
    let possible = |challenge: &&ChallengeType| match challenge {
        ChallengeType::Http01 => !config.listen.redirect.is_empty(),
        ChallengeType::TlsAlpn01 => !config.listen.https.is_empty(),
        ChallengeType::Dns01 => zone.is_some(),
    };
    let methods = config.acme.challenges.iter().filter(possible).map(|challenge| match challenge {
        ChallengeType::Http01 => Method::Http01,
        ChallengeType::TlsAlpn01 => Method::TlsAlpn01,
        ChallengeType::Dns01 => Method::Dns01,
    });
    let methods: Vec<_> = methods.collect();
    if methods.is_empty() {
        return Err(StartError::misconfigured(
            "none of `acme.challenges` is possible: \"http-01\" needs `listen.redirect`, \"tls-alpn-01\" `listen.https`, \"dns-01\" `dns.listen`",
        ));
    }
    let node = rustix::system::uname();
    let bindings = accounts
        .into_iter()
        .map(|(directory, account)| (directory, ExternalAccountBinding { key_id: account.key_id, key: account.key }));
    Ok(AcmeSettings {
        rules: Rules { directories, methods, zone },
        profile: config.acme.profile.clone(),
        contact: config.acme.contact.as_ref().map(ToString::to_string),
        bindings: bindings.collect(),
        limits: Limits { base: config.domains.base.clone(), new_names_per_week: config.acme.new_names_per_week },
        preflight,
        // Unique: only one process at a time has the data directory open.
        holder: format!("{}:{}", node.nodename().to_string_lossy(), config.server.data_dir.display()),
    })
}

/// The zone in which this server's DNS answers DNS-01 challenges.
fn zone(config: &Config) -> Option<Hostname> {
    let answers_dns_01 = !config.dns.listen.is_empty() && config.acme.challenges.contains(&ChallengeType::Dns01);
    config.domains.base.clone().filter(|_| answers_dns_01)
}

impl dns::Challenges for ChallengeStore {
    fn txt(&self, name: &str) -> Vec<String> {
        let delegated = || name.split_once("._acme.").map(|(domain, _)| domain);
        let domain = name.strip_prefix("_acme-challenge.").or_else(delegated);
        domain.map(|domain| Self::txt(self, domain)).unwrap_or_default()
    }
}

/// The records that lead the name to this server, as a zone file has them.
fn missing_records(name: &Hostname, own: &[IpAddr]) -> String {
    let record = |address: &IpAddr| format!("{name}. {} {address}", if address.is_ipv4() { "A" } else { "AAAA" });
    let records = match own {
        [] => format!("{name}. A <this server's public IPv4 address>, or the same with AAAA for IPv6"),
        own => own.iter().map(record).collect::<Vec<_>>().join(" and "),
    };
    format!("{name} has no address in the DNS. Add at its DNS provider: {records}")
}

/// What a certificate authority finds in DNS, by this server's own lookups.
struct DnsPreflight {
    verifier: Verifier,
    zone: Option<ZoneSettings>,
}

impl Preflight for DnsPreflight {
    fn addresses<'a>(&'a self, name: &'a Hostname, method: Method) -> BoxFuture<'a, Addresses> {
        // RFC 8555 section 8.3, RFC 8737 section 3.
        let port = if method == Method::Http01 { 80 } else { 443 };
        async move {
            match self.verifier.public_addresses(name).await {
                Lookup::Found(addresses) => {
                    Addresses::Known(addresses.into_iter().map(|address| SocketAddr::new(address, port)).collect())
                }
                Lookup::Nothing => {
                    let message = missing_records(name, &self.verifier.own_addresses());
                    Addresses::Missing(AcmeError::new(Kind::Dns, message))
                }
                Lookup::Failed(_) => Addresses::Known(Vec::new()),
            }
        }
        .boxed()
    }

    fn zone(&self) -> BoxFuture<'_, Reachability> {
        async move {
            let Some(zone) = &self.zone else { return Reachability::Unknown("no zone is served here".into()) };
            match self.verifier.delegation(zone).await {
                Delegation::Here => Reachability::Here,
                Delegation::Elsewhere(sentence) => Reachability::Elsewhere(AcmeError::new(Kind::Dns, sentence)),
                Delegation::Unknown(why) => Reachability::Unknown(why),
            }
        }
        .boxed()
    }
}

impl HttpTokens for ChallengeStore {
    fn http_token(&self, token: &str) -> Option<String> {
        self.http(token)
    }
}
