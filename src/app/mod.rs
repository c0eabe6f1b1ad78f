//! The running appliance, put together from its rooms: a configuration becomes an [`App`], which is spawned and, at the
//! end, drained. `bitcall serve` builds all of it; `bitcall demo` builds the part it needs.

pub mod acme;
mod dns_records;
mod logging;
mod reload;
mod signals;
mod store_readiness;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::api::{self, Access, RequestLimits};
use crate::certs::{self, CertResolver, CertificateStore, Certs, Seal};
use crate::config::{self, Config, PublicUrl, RotatedSecret, Secrets};
use crate::dns::{self, Verifier, VerifierSettings};
use crate::domains::{self, Domains, NoCertificates};
use crate::edge::{self, Edge};
use crate::server::{
    self, AccessLog, CertificateFiles, DrainOutcome, EdgeDirectory, FileCertificate, HttpTokens, InheritedSockets,
    Listeners, Playground, RequestHandler, Server,
};
use crate::supervision::Supervisor;
use crate::tenancy::{Defaults, Names, Platform, TransportDefaults};
pub use dns_records::{DnsRecord, dns_records};
pub use logging::{LogFilter, log_filter, runtime, start_logging, use_colours};
use reload::{LiveSettings, Reload};
use signals::Signals;

/// Why the appliance does not start.
#[derive(Debug)]
pub enum StartError {
    /// The configuration or a secret is wrong, as the message says.
    Misconfigured(String),
    /// Something else is in the way: a taken port, a file, the store.
    Failed(String),
}

impl StartError {
    pub fn into_message(self) -> String {
        match self {
            Self::Misconfigured(message) | Self::Failed(message) => message,
        }
    }

    #[allow(clippy::needless_pass_by_value)] // used as a function in map_err
    fn misconfigured(problem: impl ToString) -> Self {
        Self::Misconfigured(problem.to_string())
    }
}

impl<E: std::error::Error> From<E> for StartError {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

/// What the API, the edge and the workers of one appliance share.
pub struct AppContext {
    pub platform: Platform,
    pub domains: Domains,
    pub secrets: Secrets,
    pub certificate_store: Arc<CertificateStore>,
    /// Where ACME is configured.
    pub certs: Option<Certs>,
    /// See [`RequestHandler::demo`].
    pub demo: Option<Playground>,
    /// See [`RequestHandler::strict_transport`].
    pub strict_transport: bool,
}

/// An appliance whose sockets are bound and whose store is open. Nothing is served yet.
pub struct App {
    pub context: AppContext,
    pub config: Config,
    pub listeners: Listeners,
    /// What `serve` has and `demo` has not.
    network: Option<NetworkServices>,
}

/// TLS, certificates and DNS.
struct NetworkServices {
    /// As the file has it.
    file_config: Config,
    file: PathBuf,
    log: LogFilter,
    url: PublicUrl,
    file_certificate: FileCertificate,
    cert_resolver: Arc<CertResolver>,
    verifier: Verifier,
    dns: Option<DnsListeners>,
    subdomains: Option<acme::Subdomains>,
}

impl App {
    /// Everything that the configuration asks for. Sockets are bound first, so that a taken port is the first thing an
    /// administrator hears of. `file` and `log` are for reloads.
    pub async fn build(
        mut config: Config,
        file: &Path,
        log: LogFilter,
        mut inherited: InheritedSockets,
    ) -> Result<Self, StartError> {
        let file_config = config.clone();
        let secrets = Secrets::load(&config.secrets).map_err(|missing| {
            let lines: Vec<_> = missing.iter().map(ToString::to_string).collect();
            StartError::Misconfigured(lines.join("\n"))
        })?;
        let store_key = config::store_key(&config.secrets).map_err(StartError::misconfigured)?;
        let listeners = Listeners::bind(&config.listen, &mut inherited)?;
        let dns = DnsListeners::bind(&config, &mut inherited)?;
        inherited.warn_of_unused();
        // With the port that the system chose, where the file says 0.
        config.listen.https = server::addresses(&listeners.https);
        let url =
            config.public_url().map_err(|problem| StartError::Misconfigured(format!("`public_url` {problem}")))?;

        let source = CertificateFiles::prepare(&config.tls, url.host(), &config.server.data_dir)?;
        let by_acme = acme::is_configured(&config);
        let strict_transport = !source.development || by_acme;
        if source.development && !by_acme {
            tracing::warn!("browsers will warn: the certificate is self-signed, `[tls]` names none");
        }
        let seal = Seal::new(store_key.iter().flat_map(RotatedSecret::all));
        let cert_resolver = CertResolver::new(seal.clone(), url.host(), by_acme);
        let file_certificate = FileCertificate::load(source, Arc::clone(&cert_resolver))?;

        let platform = Platform::open(&config.server.data_dir, defaults(&url, &config)?).await?;
        let certificate_store = CertificateStore::open(platform.store(), seal, Arc::clone(&cert_resolver))
            .await
            .map_err(|error| match error {
                certs::OpenError::Store(_) => StartError::Failed(error.to_string()),
                certs::OpenError::NoKey { .. } | certs::OpenError::OtherKey { .. } => StartError::misconfigured(error),
            })?;
        let verifier = Verifier::new(VerifierSettings::of(&config, platform.defaults().names.ingress.clone()));
        let certs = acme::open(&config, platform.store(), Arc::clone(&certificate_store), &verifier).await?;
        let subdomains =
            certs.as_ref().and_then(|certs| acme::want_own(&config, &url, certs, &cert_resolver, &platform));
        let certificates: Arc<dyn domains::CertificateProvider> = match &certs {
            Some(certs) => Arc::new(certs.clone()),
            None => Arc::new(NoCertificates::at_all()),
        };
        let domains = Domains::new(platform.clone(), Arc::new(verifier.clone()), certificates);
        let context = AppContext { platform, domains, secrets, certificate_store, certs, demo: None, strict_transport };
        let network = Some(NetworkServices {
            file_config,
            file: file.to_owned(),
            log,
            url,
            file_certificate,
            cert_resolver,
            verifier,
            dns,
            subdomains,
        });
        Ok(Self { context, config, listeners, network })
    }

    /// Only what answers on `listeners`: no TLS, no certificates, no DNS.
    pub fn plain(context: AppContext, config: Config, listeners: Listeners) -> Self {
        Self { context, config, listeners, network: None }
    }

    /// The origin at which clients reach it.
    pub fn origin(&self) -> String {
        self.network.as_ref().map(|network| network.url.origin().clone()).unwrap_or_default()
    }

    /// Starts to serve, and the workers behind it.
    pub fn spawn(self) -> Result<Running, StartError> {
        let Self { context, config, listeners, network } = self;
        let AppContext { platform, domains, secrets, certificate_store, certs, demo, strict_transport } = context;
        let access_log = AccessLog::open(&config.log).map_err(StartError::Misconfigured)?;
        let signals = Signals::listen()?;
        let supervisor = Supervisor::default();
        watch_store(&platform, &supervisor);
        let edge = edge::EdgeOptions {
            media_addresses: config.sip.media_addresses.clone(),
            media_port: config.sip.media_port,
            limits: edge::EdgeLimits { connections: config.limits.max_connections, ..edge::EdgeLimits::default() },
            supervisor: supervisor.clone(),
        };
        let edge = Edge::new(Arc::new(EdgeDirectory(platform.clone())), edge);
        supervisor.keep("revoked registrations", {
            let (platform, edge) = (platform.clone(), edge.clone());
            move || close_revoked_registrations(platform.changes(), edge.clone())
        });
        let limits = watch::Sender::new(config.limits.clone());
        let request_limits = Arc::new(RequestLimits::new(&config.limits));
        let audit_keep = watch::Sender::new(config.audit.keep());
        let access = Access::new(secrets.panel_key.all(), secrets.master_secret.all());
        let https_port = network.as_ref().and_then(|network| network.url.https_port());
        let https_port = https_port.or(config.listen.https.first().map(SocketAddr::port));
        let handler = RequestHandler {
            api: api::Api::new(api::ApiState {
                platform: platform.clone(),
                domains: domains.clone(),
                access: access.clone(),
                limits: Arc::clone(&request_limits),
                certificate_store,
                certs: certs.clone(),
            }),
            edge,
            demo,
            challenges: certs.as_ref().map(|certs| Arc::new(certs.challenges()) as Arc<dyn HttpTokens>),
            https_port: https_port.unwrap_or(443),
            strict_transport,
            limits: limits.subscribe(),
            health: supervisor.health().clone(),
            access_log: access_log.clone(),
        };
        let tls = network.as_ref().map(|network| network.file_certificate.server_config()).transpose()?;
        let server = Server::start(listeners, tls, handler, limits.subscribe())?;
        spawn_workers(&platform, &audit_keep, &supervisor);
        let (dns, reload) = match network {
            None => (None, None),
            Some(network) => {
                let access_log = access_log.clone();
                let live =
                    |verifier, log| LiveSettings { limits, request_limits, audit_keep, verifier, log, access_log };
                network.spawn(&config, certs, live, &supervisor)?
            }
        };
        // Last of those who want certificates: it removes those that nobody wants.
        supervisor.keep("domains", move || domains.clone().run());
        Ok(Running { server, dns, platform, access, access_log, signals, reload, supervisor })
    }
}

fn spawn_workers(platform: &Platform, audit_keep: &watch::Sender<Option<Duration>>, supervisor: &Supervisor) {
    let platform = || platform.clone();
    let (uses, tokens, answers, keys, audit) = (platform(), platform(), platform(), platform(), platform());
    supervisor.keep("key uses", move || uses.clone().persist_key_uses());
    supervisor.keep("expired tokens", move || tokens.clone().sweep_tokens());
    supervisor.keep("expired answers", move || answers.clone().expire_answers());
    supervisor.keep("retiring keys", move || keys.clone().drop_retiring_keys());
    let keep = audit_keep.subscribe();
    supervisor.keep("expired audit", move || audit.clone().expire_audit(keep.clone()));
}

/// Tells whether the store can be written, and tries it again while it cannot.
fn watch_store(platform: &Platform, supervisor: &Supervisor) {
    let health = supervisor.health().clone();
    health.set("store", platform.store_state().borrow().problem());
    let state = platform.store_state();
    supervisor.keep("store state", move || store_readiness::tell(state.clone(), health.clone()));
    let platform = platform.clone();
    supervisor.keep("store check", move || platform.clone().check_store());
}

impl NetworkServices {
    fn spawn(
        self,
        config: &Config,
        certs: Option<Certs>,
        live: impl FnOnce(Verifier, LogFilter) -> LiveSettings,
        supervisor: &Supervisor,
    ) -> Result<(Option<dns::DnsServer>, Option<Reload>), StartError> {
        let Self { file_config, file, log, url, file_certificate, cert_resolver, verifier, dns, subdomains } = self;
        let live = live(verifier.clone(), log);
        if let Some(listener) = config.listen.https.first() {
            let certs = certs.clone();
            let notify = move |name: &str| certs.iter().for_each(|certs| certs.announce(name));
            let watch = certs::watch(Arc::downgrade(&cert_resolver), cert_resolver.swaps(), *listener, notify);
            supervisor.require("served certificates", watch);
        }
        if let Some(dns) = &dns {
            let zone = dns.zone.clone();
            supervisor.keep("delegation", move || verifier.clone().watch_delegation(zone.clone()));
        }
        let challenges: Arc<dyn dns::Challenges> = match &certs {
            Some(certs) => Arc::new(certs.challenges()),
            None => Arc::new(()),
        };
        let dns = dns.map(|dns| dns.serve(challenges)).transpose()?;
        if let Some(certs) = certs {
            supervisor.keep("certificates", move || certs.clone().run());
        }
        if let Some(subdomains) = subdomains {
            supervisor.require("certificates of subdomains", subdomains.keep());
        }
        let status = serving(&url.origin());
        Ok((dns, Some(Reload { file, config: file_config, file_certificate, live, status })))
    }
}

/// Closes the connections of tenants that were disabled and of extensions that are gone or have another password.
async fn close_revoked_registrations(mut changes: watch::Receiver<()>, edge: Edge) {
    while changes.changed().await.is_ok() {
        edge.directory_changed();
    }
}

/// The base domain's zone, and the sockets on which it will be served.
struct DnsListeners {
    sockets: dns::DnsSockets,
    zone: dns::ZoneSettings,
    per_network: u32,
}

impl DnsListeners {
    /// None: the configuration wants none.
    fn bind(config: &Config, inherited: &mut InheritedSockets) -> Result<Option<Self>, StartError> {
        let Some(zone) = dns::ZoneSettings::of(config).map_err(StartError::Misconfigured)? else {
            return Ok(None);
        };
        let take = |address| dns::PassedSockets { udp: inherited.take_udp(address), tcp: inherited.take_tcp(address) };
        let sockets = dns::DnsSockets::open(&config.dns.listen, take)?;
        Ok(Some(Self { sockets, zone, per_network: config.dns.answers_per_network }))
    }

    fn serve(self, challenges: Arc<dyn dns::Challenges>) -> Result<dns::DnsServer, StartError> {
        let zone = dns::DnsZone::new(&self.zone, challenges)?;
        Ok(dns::DnsServer::start(self.sockets, zone, self.per_network)?)
    }
}

/// The appliance in operation.
pub struct Running {
    server: Server,
    dns: Option<dns::DnsServer>,
    platform: Platform,
    access: Access,
    access_log: Option<Arc<AccessLog>>,
    signals: Signals,
    reload: Option<Reload>,
    supervisor: Supervisor,
}

impl Running {
    /// Waits until it is known that the store is whole. Until then everything is served that only reads.
    pub async fn verified(&self) -> Result<(), StartError> {
        Ok(self.platform.verified().await?)
    }

    /// Serves until SIGTERM or SIGINT, then drains: accepts nothing new, finishes open requests, ends. SIGHUP reads
    /// configuration, certificate and secrets again, or ends a server that has none to read, because its terminal is gone.
    ///
    /// # Errors
    /// When it has ended because a task broke off that cannot be started anew.
    pub async fn drain_at_signal(mut self) -> Result<(), StartError> {
        let dns_broken = async {
            match &mut self.dns {
                Some(dns) => dns.broken().await,
                None => std::future::pending().await,
            }
        };
        let outcome = tokio::select! {
            () = self.signals.wait_for_stop(self.reload.as_mut(), &self.access) => Ok(()),
            reason = self.supervisor.must_end() => Err(StartError::Failed(reason)),
            error = self.server.broken() => Err(StartError::Failed(format!("a listener broke off: {error}"))),
            error = dns_broken => Err(StartError::Failed(format!("a listener of DNS broke off: {error}"))),
        };
        let drained = self.server.drain().await;
        // After the server: while requests are finished, names still have to be found.
        if let Some(dns) = self.dns {
            dns.drain().await;
        }
        if let Err(error) = self.platform.store_key_uses().await {
            tracing::warn!(%error, "the last uses of API keys could not be stored");
        }
        if let Some(access_log) = &self.access_log {
            access_log.flush().await;
        }
        match drained {
            DrainOutcome::Completely => tracing::info!("stopped; every open request was answered"),
            DrainOutcome::Cut { connections } => {
                tracing::warn!(connections, "stopped; connections that took too long were cut");
            }
        }
        outcome
    }
}

/// The state as `systemctl status` shows it.
pub fn serving(origin: &str) -> String {
    format!("serving {origin}")
}

/// What keeps the server from starting although every setting by itself can be read.
pub fn faults(config: &Config) -> Vec<String> {
    let zone = dns::ZoneSettings::of(config).err();
    let url = config.public_url().err().map(|problem| format!("`public_url` {problem}"));
    let filter = log_filter(&config.log.filter).err();
    zone.into_iter().chain(url).chain(acme::faults(config)).chain(filter).collect()
}

/// The worker of custom domains, with the resolvers of the configuration.
pub fn domains(platform: &Platform, config: &Config, certificates: Arc<dyn domains::CertificateProvider>) -> Domains {
    let ingress = platform.defaults().names.ingress.clone();
    let verifier = Verifier::new(VerifierSettings::of(config, ingress));
    Domains::new(platform.clone(), Arc::new(verifier), certificates)
}

/// What the domain model must know of this server.
pub fn defaults(url: &PublicUrl, config: &Config) -> Result<Defaults, StartError> {
    let public_host = url.host().to_owned();
    let ingress = config.domains.ingress.as_ref().map_or_else(|| public_host.clone(), ToString::to_string);
    Ok(Defaults {
        public_url: url.origin().parse()?,
        at_local_names: false,
        edge_domain: config.sip.domain.clone(),
        names: Names { base: config.domains.base.clone(), ingress, public_host },
        transport: TransportDefaults::default(),
        turn_lifetime: config.sip.turn_lifetime,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_listener_that_breaks_off_ends_the_process_with_an_error_once_it_is_drained() {
        let directory = tempfile::tempdir().unwrap();
        let config = Config::parse("[listen]\nhttp = '127.0.0.1:0'", directory.path()).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let url = PublicUrl::parse(&format!("http://{address}")).unwrap();
        let platform = Platform::open(directory.path(), defaults(&url, &config).unwrap()).await.unwrap();
        let context = AppContext {
            domains: domains(&platform, &config, Arc::new(NoCertificates::at_all())),
            certificate_store: CertificateStore::beside(platform.store(), None),
            platform,
            secrets: Secrets::random().unwrap(),
            certs: None,
            demo: None,
            strict_transport: false,
        };
        let listeners = Listeners { http: vec![listener], ..Listeners::default() };
        let mut running = App::plain(context, config, listeners).spawn().unwrap();
        running.verified().await.unwrap();
        running.server.break_listener();
        let StartError::Failed(why) = running.drain_at_signal().await.unwrap_err() else { panic!("another error") };
        assert!(why.contains("a listener broke off") && why.contains("on purpose"), "{why}");
        assert!(std::net::TcpStream::connect(address).is_err(), "the other listeners accept nothing more");
    }
}
