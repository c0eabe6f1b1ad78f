//! `bitcall serve`: from a configuration to a running server, and what it has
//! in common with `bitcall demo`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use super::{Exit, Failure, Globals, automatic, colours};
use crate::api::{self, Access, Limits};
use crate::certs::{self, Cabinet, Certs, Seal, Shelf};
use crate::config::{self, Config, Log, LogFormat, PublicUrl, Secret, SecretFiles, Secrets};
use crate::dns::{self, Verifier, VerifierSettings};
use crate::domains::{self, Domains, NoCertificates};
use crate::edge::{self, Edge};
use crate::server::{self, CertificateSource, Certificates, Doors, Drained, Front, HttpTokens, Server};
use crate::tenancy::{Defaults, Names, Platform, TransportDefaults};

pub fn run(globals: &Globals) -> Result<(), Failure> {
    let mut config =
        Config::read(&globals.config).map_err(|faults| Failure::new(Exit::Misconfigured, faults.to_string()))?;
    let secrets = Secrets::load(&config.secrets).map_err(|missing| {
        let lines: Vec<_> = missing.iter().map(ToString::to_string).collect();
        Failure::new(Exit::Misconfigured, lines.join("\n"))
    })?;
    let store_key =
        config::store_key(&config.secrets).map_err(|problem| Failure::new(Exit::Misconfigured, problem.to_string()))?;
    start_logging(&config.log)?;
    server::raise_file_limit();
    let doors = Doors::open(&config.listen)?;
    let dns = DnsDoors::open(&config)?;
    // With the port that the system chose, where the file says 0.
    config.listen.https = server::addresses(&doors.https);
    let url =
        config.public_url().map_err(|problem| Failure::new(Exit::Misconfigured, format!("`public_url` {problem}")))?;

    let source = CertificateSource::prepare(&config.tls, url.host(), &config.server.data_dir)?;
    let automatic = automatic::is_wanted(&config);
    let strict_transport = !source.development || automatic;
    if source.development && !automatic {
        tracing::warn!("browsers will warn: the certificate is self-signed, `[tls]` names none");
    }
    let seal = Seal::new(store_key.iter().flat_map(Secret::all));
    let shelf = Shelf::new(seal.clone(), url.host(), automatic);
    let certificates = Certificates::load(Some(source), Arc::clone(&shelf))?;

    runtime()?.block_on(async {
        let platform = Platform::open(&config.server.data_dir, defaults(&url, &config)?).await?;
        let cabinet =
            Cabinet::open(platform.store(), seal, Arc::clone(&shelf)).await.map_err(|error| cabinet_failure(&error))?;
        let eyes = Verifier::new(VerifierSettings::of(&config, platform.defaults().names.ingress.clone()));
        let certs = automatic::open(&config, platform.store(), Arc::clone(&cabinet), &eyes).await?;
        if let Some(listener) = config.listen.https.first() {
            let certs = certs.clone();
            let tell = move |name: &str| certs.iter().for_each(|certs| certs.announce(name));
            tokio::spawn(certs::watch(Arc::downgrade(&shelf), shelf.swaps(), *listener, tell));
        }
        let subdomains = certs.as_ref().and_then(|certs| automatic::want_own(&config, &url, certs, &shelf, &platform));
        let getting: Arc<dyn domains::Certificates> = match &certs {
            Some(certs) => Arc::new(certs.clone()),
            None => Arc::new(NoCertificates::at_all()),
        };
        let domains = domains(&platform, &config, getting);
        let keeper = domains.clone();
        let house = House { platform, domains, secrets, cabinet, certs: certs.clone(), demo: None, strict_transport };
        let https_port = url.https_port().or(config.listen.https.first().map(SocketAddr::port));
        let mut running = house.open(doors, Some(&certificates), https_port, &config)?;
        let nothing = || Arc::new(()) as Arc<dyn dns::Challenges>;
        let challenges = certs.as_ref().map_or_else(nothing, |certs| Arc::new(certs.board()));
        if let Some(dns) = &dns {
            tokio::spawn(eyes.watch_delegation(dns.zone.clone()));
        }
        running.dns = dns.map(|dns| dns.serve(challenges)).transpose()?;
        if let Some(certs) = certs {
            tokio::spawn(certs.run());
        }
        if let Some(subdomains) = subdomains {
            tokio::spawn(subdomains.keep());
        }
        // Last of those who want certificates: it removes those that nobody does.
        tokio::spawn(keeper.keep());
        tracing::info!(url = %url.origin(), "ready");
        server::announce_ready(&format!("serving {}", url.origin()));
        running.until_stopped(Some(&Reload { certificates, secrets: config.secrets.clone() })).await;
        Ok(())
    })
}

/// The base domain's zone, and the sockets on which it will be served.
struct DnsDoors {
    sockets: dns::Sockets,
    zone: dns::ZoneSettings,
    per_network: u32,
}

impl DnsDoors {
    /// None: the configuration wants none.
    fn open(config: &Config) -> Result<Option<Self>, Failure> {
        let Some(zone) = dns::ZoneSettings::of(config).map_err(|problem| Failure::new(Exit::Misconfigured, problem))?
        else {
            return Ok(None);
        };
        let sockets = dns::Sockets::open(&config.dns.listen)?;
        Ok(Some(Self { sockets, zone, per_network: config.dns.answers_per_network }))
    }

    fn serve(self, challenges: Arc<dyn dns::Challenges>) -> Result<dns::Server, Failure> {
        let zone = dns::Zone::new(&self.zone, challenges)?;
        Ok(dns::Server::start(self.sockets, zone, self.per_network)?)
    }
}

fn cabinet_failure(error: &certs::OpenError) -> Failure {
    let exit = match error {
        certs::OpenError::Store(_) => Exit::Failed,
        certs::OpenError::NoKey { .. } | certs::OpenError::OtherKey { .. } => Exit::Misconfigured,
    };
    Failure::new(exit, error.to_string())
}

/// What the server is built from.
pub struct House {
    pub platform: Platform,
    pub domains: Domains,
    pub secrets: Secrets,
    pub cabinet: Arc<Cabinet>,
    /// Where certificates come by themselves.
    pub certs: Option<Certs>,
    /// See [`Front::demo`].
    pub demo: Option<Bytes>,
    pub strict_transport: bool,
}

impl House {
    /// Builds API and edge and starts to accept.
    pub fn open(
        self,
        doors: Doors,
        certificates: Option<&Certificates>,
        https_port: Option<u16>,
        config: &Config,
    ) -> Result<Running, Failure> {
        let edge = edge::Options {
            media_addresses: config.sip.media_addresses.clone(),
            media_port: config.sip.media_port,
            limits: edge::Limits::default(),
        };
        let edge = Edge::new(Arc::new(server::Directory(self.platform.clone())), edge);
        tokio::spawn(cut_off_who_may_no_longer(self.platform.changes(), edge.clone()));
        let access = Access::new(self.secrets.panel_key.all(), self.secrets.master_secret.all());
        let limits = Arc::new(Limits::new(&config.limits));
        let front = Front {
            api: api::router(api::State {
                platform: self.platform.clone(),
                domains: self.domains,
                access: access.clone(),
                limits: Arc::clone(&limits),
                cabinet: self.cabinet,
                certs: self.certs.clone(),
            }),
            platform: self.platform.clone(),
            edge,
            demo: self.demo,
            challenges: self.certs.map(|certs| Arc::new(certs.board()) as Arc<dyn HttpTokens>),
            https_port: https_port.unwrap_or(443),
            strict_transport: self.strict_transport,
            limits,
        };
        let tls = certificates.map(Certificates::server_config).transpose()?;
        let signals = Signals::listen()?;
        let server = Server::start(doors, tls, front, config.limits.clone())?;
        tokio::spawn(self.platform.clone().keep_key_uses());
        tokio::spawn(self.platform.clone().sweep_tokens());
        tokio::spawn(self.platform.clone().forget_answers());
        tokio::spawn(self.platform.clone().keep_retiring_keys());
        if let Some(keep) = config.audit.keep() {
            tokio::spawn(self.platform.clone().forget_old_audit(keep));
        }
        Ok(Running { server, dns: None, platform: self.platform, access, signals })
    }
}

/// A tenant may be disabled now, an extension gone: their phones are, too. Whatever became of
/// the request that changed it.
async fn cut_off_who_may_no_longer(mut changes: watch::Receiver<()>, edge: Edge) {
    while changes.changed().await.is_ok() {
        edge.directory_changed();
    }
}

/// The server in operation.
pub struct Running {
    pub server: Server,
    dns: Option<dns::Server>,
    platform: Platform,
    access: Access,
    signals: Signals,
}

impl Running {
    /// Returns after SIGTERM or SIGINT and the drain. SIGHUP reads certificate and secrets again, or
    /// ends a server that has none to read: its terminal is gone.
    pub async fn until_stopped(mut self, reload: Option<&Reload>) {
        self.signals.wait_for_stop(reload, &self.access).await;
        match self.server.drain().await {
            Drained::Completely => tracing::info!("stopped; every open request was answered"),
            Drained::Cut { connections } => {
                tracing::warn!(connections, "stopped; connections that took too long were cut");
            }
        }
        // The last: while requests are finished, names still have to be found.
        if let Some(dns) = self.dns {
            dns.drain().await;
        }
        if let Err(error) = self.platform.store_key_uses().await {
            tracing::warn!(%error, "the last uses of API keys could not be stored");
        }
    }
}

/// The signals that concern a server. Made before it says that it is ready, because
/// whoever hears that may order the stop at once.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn wait_for_stop(&mut self, reload: Option<&Reload>, access: &Access) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => match reload {
                    Some(reload) => reload.now(access),
                    None => return,
                },
            }
        }
    }
}

/// What is read again on SIGHUP. Connections stay, and what cannot be read stays as it was.
pub struct Reload {
    certificates: Certificates,
    secrets: SecretFiles,
}

impl Reload {
    fn now(&self, access: &Access) {
        match self.certificates.reload() {
            Ok(()) => tracing::info!("certificate read again"),
            Err(error) => tracing::error!(%error, "the certificate was not replaced"),
        }
        match Secrets::load(&self.secrets) {
            Ok(Secrets { panel_key, master_secret }) => {
                access.replace(panel_key.all(), master_secret.all());
                let (panel_keys, master_secrets) = (panel_key.all().count(), master_secret.all().count());
                tracing::info!(panel_keys, master_secrets, "secrets read again");
            }
            Err(missing) => {
                for error in missing {
                    tracing::error!(%error, "the secrets were not replaced");
                }
            }
        }
    }
}

/// Tenants' domains, looked at as the configuration says.
pub fn domains(platform: &Platform, config: &Config, certificates: Arc<dyn domains::Certificates>) -> Domains {
    let ingress = platform.defaults().names.ingress.clone();
    let eyes = Verifier::new(VerifierSettings::of(config, ingress));
    Domains::new(platform.clone(), Arc::new(eyes), certificates)
}

/// What the domain model must know of this server.
pub fn defaults(url: &PublicUrl, config: &Config) -> Result<Defaults, Failure> {
    let public_host = url.host().to_owned();
    let ingress = config.domains.ingress.as_ref().map_or_else(|| public_host.clone(), ToString::to_string);
    Ok(Defaults {
        public_url: url.origin().parse()?,
        edge_domain: config.sip.domain.clone(),
        names: Names { base: config.domains.base.clone(), ingress, public_host },
        transport: TransportDefaults::default(),
        turn_lifetime: config.sip.turn_lifetime,
    })
}

/// One worker for every two processors: requests are short, and a worker that is woken to take one
/// from its neighbour costs more than the request (measured: 8.0 instead of 10.9 µs each with one
/// worker instead of two). The store commits on threads of its own.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Ok(tokio::runtime::Builder::new_multi_thread()
        .worker_threads((processors / 2).max(1))
        .enable_all()
        .thread_name("bitcall")
        // Blocking calls are rare (the store's commits): their threads need not linger.
        .thread_keep_alive(Duration::from_secs(5))
        .build()?)
}

pub fn start_logging(log: &Log) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&log.filter).map_err(|error| {
        Failure::new(Exit::Misconfigured, format!("`log.filter` \"{}\" is not understood: {error}", log.filter))
    })?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // It would say so on standard error, which is what cannot be written, and panic: a full disk
        // under the log must not take the requests with it.
        .log_internal_errors(false)
        .with_ansi(colours(&std::io::stderr()));
    let started = match log.format {
        LogFormat::Human => builder.compact().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| Failure::new(Exit::Failed, format!("logging cannot start: {error}")))
}
