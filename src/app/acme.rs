//! Certificates that come by themselves: from the configuration to [`Certs`], and the names that this
//! server wants for itself.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};

use super::StartError;
use crate::certs::{
    self, AcmeError, AcmeHttpClient, Binding, CertResolver, CertificateStore, Certs, ChallengeStore, Kind, Limits,
    Method, Preflight, Reachability, Rules, Settings, Wanted,
};
use crate::config::{self, ChallengeType, Config, PublicUrl, external_accounts};
use crate::dns::{self, Delegation, Verifier, ZoneSettings};
use crate::hostname::Hostname;
use crate::server::HttpTokens;
use crate::store::Store;
use crate::tenancy::Platform;

const PAUSE: Duration = Duration::from_millis(200);

/// Whether the configuration names an authority.
pub fn is_configured(config: &Config) -> bool {
    !config.acme.directories.is_empty()
}

/// Opens what the configuration asks for; nothing where it names no directory. Nothing is ordered yet.
pub async fn open(
    config: &Config,
    store: Arc<dyn Store>,
    certificate_store: Arc<CertificateStore>,
    eyes: &Verifier,
) -> Result<Option<Certs>, StartError> {
    if !is_configured(config) {
        return Ok(None);
    }
    let zone = ZoneSettings::of(config).map_err(StartError::misconfigured)?;
    let settings = settings(config, Box::new(Outlook { eyes: eyes.clone(), zone }))?;
    let exchange = AcmeHttpClient::new(config.acme.ca_bundle.as_deref()).map_err(StartError::misconfigured)?;
    match Certs::open(store, certificate_store, exchange, settings).await {
        Ok(certs) => Ok(Some(certs)),
        Err(error @ certs::StartError::NoStoreKey) => Err(StartError::misconfigured(error)),
        Err(error) => Err(error.into()),
    }
}

/// Wants the certificates of this server's own names, except those that the administrator's files are for, and of
/// the tenants' subdomains as they are now.
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

/// What this server is reached by: the names in its own URL and at the end of tenants' CNAME, and with a
/// DNS server of its own all names below the base domain at once.
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
        // A name without a dot, as `localhost`, is in nobody's DNS.
        if !name.has_one_label() && !covered(&name) && !own.iter().any(|wanted| wanted.name == name) {
            own.push(Wanted { name, wildcard: false, delegated: false });
        }
    }
    own
}

/// The certificates of tenants' subdomains, each its own. With a DNS server of our own there is nothing to
/// do: the base domain's wildcard is for all of them.
pub struct Subdomains {
    certs: Certs,
    platform: Platform,
    base: Hostname,
    wanted: HashSet<Hostname>,
}

impl Subdomains {
    /// Wants those that there are now.
    fn of(config: &Config, certs: &Certs, platform: &Platform) -> Option<Self> {
        let base = config.domains.base.clone().filter(|_| zone(config).is_none())?;
        let mut this = Self { certs: certs.clone(), platform: platform.clone(), base, wanted: HashSet::new() };
        this.want_new();
        Some(this)
    }

    /// Follows every change, for ever.
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
            // Many changes at once are one.
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Gives the names that are no longer anybody's.
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

/// Everything in `[acme]` that would stop the server.
pub fn check(config: &Config) -> Vec<String> {
    if !is_configured(config) {
        return Vec::new();
    }
    let settings = settings(config, Box::new(())).err().map(StartError::into_message);
    let bundle = AcmeHttpClient::new(config.acme.ca_bundle.as_deref()).err().map(|error| error.to_string());
    let no_key =
        matches!(config::store_key(&config.secrets), Ok(None)).then(|| certs::StartError::NoStoreKey.to_string());
    settings.into_iter().chain(bundle).chain(no_key).collect()
}

fn settings(config: &Config, scout: Box<dyn Preflight>) -> Result<Settings, StartError> {
    let accounts = external_accounts(config.acme.eab_file.as_deref()).map_err(StartError::misconfigured)?;
    let directories: Vec<String> = config.acme.directories.iter().map(|url| url.0.clone()).collect();
    if let Some(stranger) = accounts.keys().find(|directory| !directories.contains(directory)) {
        return Err(StartError::Misconfigured(format!(
            "there is an external account for {stranger}, which `acme.directories` does not name"
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
        .map(|(directory, account)| (directory, Binding { key_id: account.key_id, key: account.key }));
    Ok(Settings {
        rules: Rules { directories, methods, zone },
        profile: config.acme.profile.clone(),
        contact: config.acme.contact.as_ref().map(|mail| format!("{}@{}", mail.name, mail.domain)),
        bindings: bindings.collect(),
        limits: Limits { base: config.domains.base.clone(), debuts: config.acme.new_names_per_week },
        scout,
        // One process at a time has the directory open.
        holder: format!("{}:{}", node.nodename().to_string_lossy(), config.server.data_dir.display()),
    })
}

/// The zone in which our own DNS server proves names.
fn zone(config: &Config) -> Option<Hostname> {
    let proves = !config.dns.listen.is_empty() && config.acme.challenges.contains(&ChallengeType::Dns01);
    config.domains.base.clone().filter(|_| proves)
}

impl dns::Challenges for ChallengeStore {
    fn txt(&self, name: &str) -> Vec<String> {
        let delegated = || name.split_once("._acme.").map(|(domain, _)| domain);
        let domain = name.strip_prefix("_acme-challenge.").or_else(delegated);
        domain.map(|domain| Self::txt(self, domain)).unwrap_or_default()
    }
}

/// Where an authority would look, as far as it can be told from here.
struct Outlook {
    eyes: Verifier,
    zone: Option<ZoneSettings>,
}

impl Preflight for Outlook {
    fn addresses<'a>(&'a self, name: &'a Hostname, method: Method) -> BoxFuture<'a, Vec<SocketAddr>> {
        // RFC 8555 section 8.3, RFC 8737 section 3.
        let port = if method == Method::Http01 { 80 } else { 443 };
        let found = self.eyes.public_addresses(name);
        found.map(move |found| found.into_iter().map(|address| SocketAddr::new(address, port)).collect()).boxed()
    }

    fn zone(&self) -> BoxFuture<'_, Reachability> {
        async move {
            let Some(zone) = &self.zone else { return Reachability::Unknown("no zone is served here".into()) };
            match self.eyes.delegation(zone).await {
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
