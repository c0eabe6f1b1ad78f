//! `bitcall demo`: everything, on this machine, in one command, without a PBX,
//! an account or the internet. Forgotten when stopped, unless `--data` keeps it.

mod ephemeral_directory;

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{CliError, Exit, GlobalOptions, output};
use crate::app::{self, App, AppContext};
use crate::certs::CertificateStore;
use crate::config::{Config, PublicUrl, Secrets};
use crate::domains::NoCertificates;
use crate::server::{self, BindError, Bound, ControlSocket, Listeners, Playground};
use crate::store::replace_private;
use crate::tenancy::{Defaults, NewExtension, NewKey, NewTenant, Platform, RequestContext, TenantId};
use ephemeral_directory::EphemeralDirectory;

const FIRST_PORT: u16 = 8088;
/// So many ports are tried when nobody asked for a particular one.
const PORTS: u16 = 100;
const TENANT: &str = "demo";
const EXTENSIONS: [&str; 2] = ["101", "102"];
const ECHO: &str = "*43";
/// Where web developers' own pages usually run: they may embed the demo's phone.
const DEVELOPMENT_PORTS: [u16; 9] = [3000, 3001, 4200, 4321, 5000, 5173, 8000, 8080, 9000];
const CONTROL_SOCKET: &str = "control.sock";
/// What `--data` remembers of the secrets that the store knows only as hashes.
const SECRETS_FILE: &str = "demo.json";

#[derive(Debug, Args)]
pub struct Demo {
    /// Address of the web server; by default the first free port from 127.0.0.1:8088 on
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Where browsers reach it besides this machine's own names: the address of a tunnel, whose users may then use the demo's extensions, or a name in your network
    #[arg(long, value_name = "URL", value_parser = PublicUrl::parse)]
    public_url: Option<PublicUrl>,
    /// Keep the demo's data in this directory instead of forgetting them
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// The demo's secrets, in clear.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SavedSecrets {
    api_key: String,
    panel_key: String,
    master_secret: String,
    extensions: Vec<Account>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Account {
    username: String,
    password: String,
}

impl Demo {
    pub fn run(self, globals: &GlobalOptions) -> Result<(), CliError> {
        let ephemeral = self.data.is_none();
        let directory = DemoDirectory::open(self.data)?;
        let mut config =
            Config::parse("", directory.path()).map_err(|faults| CliError::new(Exit::Failed, format!("{faults:?}")))?;
        "warn".clone_into(&mut config.log.filter);
        config.limits.drain_timeout = std::time::Duration::from_secs(2);
        // Nothing is reloaded.
        drop(app::start_logging(&config.log)?);

        let listener = listen(self.listen)?;
        let address = listener.local_addr()?;
        let control = ControlSocket::bind(&directory.path().join(CONTROL_SOCKET))?;
        let listeners = Listeners { http: vec![listener], control: Some(control), ..Listeners::default() };
        let local_url = PublicUrl::parse(&format!("http://{}", reachable(address)))
            .map_err(|problem| CliError::new(Exit::Failed, format!("the address {problem}")))?;
        let url = self.public_url.unwrap_or_else(|| local_url.clone());
        let defaults = Defaults { at_local_names: true, ..app::defaults(&url, &config)? };

        app::runtime()?.block_on(async {
            let saved = directory.load()?;
            let secrets = match &saved {
                Some(saved) => Secrets {
                    panel_key: saved.panel_key.clone().into(),
                    master_secret: saved.master_secret.clone().into(),
                },
                None => Secrets::random()?,
            };
            let platform = Platform::open(directory.path(), defaults).await?;
            let saved = provision(&platform, saved, &secrets, address.port()).await?;
            directory.save(&saved)?;
            let demo = RunningDemo::new(&platform, &saved, &url, &local_url)?;

            let playground = demo.for_playground(platform.defaults());
            let domains = app::domains(&platform, &config, Arc::new(NoCertificates::at_all()));
            let context = AppContext {
                certificate_store: CertificateStore::beside(platform.store(), None),
                certs: None,
                platform,
                domains,
                secrets,
                demo: Some(playground),
                strict_transport: false,
            };
            let running = App::plain(context, config, listeners).spawn()?;
            if globals.json {
                output::data(demo.json_summary()?)?;
            } else {
                output::data(demo.for_people(ephemeral, app::use_colours(&std::io::stdout())))?;
            }
            Ok(running.drain_at_signal().await?)
        })
    }
}

/// Brings tenant, key and extensions to the state that the demo promises.
async fn provision(
    platform: &Platform,
    saved: Option<SavedSecrets>,
    secrets: &Secrets,
    port: u16,
) -> Result<SavedSecrets, CliError> {
    let context = RequestContext::of_bitcall();
    let tenant: TenantId = TENANT.parse()?;
    let remembered = saved.as_ref().map(|saved| saved.api_key.clone());
    let api_key = if platform.tenant(&tenant).is_err() {
        let mut new = NewTenant::named(tenant.clone());
        new.display_name = Some("Bitcall demo".to_owned());
        new.allowed_origins = local_origins(port);
        platform.provision(&context, new, |made| made.api_key.as_str().to_owned()).await?
    } else if let Some(key) = remembered.filter(|key| platform.key(key).is_some()) {
        key
    } else {
        platform.create_key(&context, &tenant, NewKey::default(), |api_key, _| api_key.as_str().to_owned()).await?
    };

    let mut extensions = Vec::new();
    for username in EXTENSIONS {
        let password = saved
            .iter()
            .flat_map(|saved| &saved.extensions)
            .find(|account| account.username == username)
            .map(|account| account.password.clone());
        let new = NewExtension { username: username.parse()?, display_name: None, password };
        let password = platform.add_extension(&context, &tenant, new, true, |added| added.password.clone()).await?;
        extensions.push(Account { username: username.to_owned(), password });
    }
    Ok(SavedSecrets {
        api_key,
        panel_key: secrets.panel_key.current.clone(),
        master_secret: secrets.master_secret.current.clone(),
        extensions,
    })
}

/// Where browsers on this machine find a server that listens on `address`.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn local_origins(port: u16) -> Vec<crate::tenancy::OriginPattern> {
    std::iter::once(port)
        .chain(DEVELOPMENT_PORTS.into_iter().filter(|other| *other != port))
        .flat_map(|port| [format!("http://localhost:{port}"), format!("http://127.0.0.1:{port}")])
        .filter_map(|origin| origin.parse().ok())
        .collect()
}

fn listen(wanted: Option<SocketAddr>) -> Result<TcpListener, CliError> {
    if let Some(address) = wanted {
        return match server::bind_tcp(address)? {
            Bound::Listening(listener) => Ok(listener),
            Bound::NoIpv6 => Err(CliError::new(Exit::Failed, "this machine has no IPv6")),
        };
    }
    for port in FIRST_PORT..FIRST_PORT + PORTS {
        match server::bind_tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port))) {
            Ok(Bound::Listening(listener)) => return Ok(listener),
            Ok(Bound::NoIpv6) | Err(BindError::Taken { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(CliError::new(
        Exit::Failed,
        format!(
            "ports {FIRST_PORT} to {} of 127.0.0.1 are all taken\nhint: name a free one by --listen",
            FIRST_PORT + PORTS - 1
        ),
    ))
}

/// The demo's data directory.
struct DemoDirectory {
    path: PathBuf,
    ephemeral: Option<EphemeralDirectory>,
}

impl DemoDirectory {
    fn open(kept: Option<PathBuf>) -> Result<Self, CliError> {
        let Some(path) = kept else {
            let place = std::env::temp_dir();
            EphemeralDirectory::remove_abandoned(&place);
            let directory = EphemeralDirectory::make(&place).map_err(|error| {
                CliError::new(Exit::Failed, format!("cannot create {}/…: {error}", place.display()))
            })?;
            return Ok(Self { path: directory.path().to_owned(), ephemeral: Some(directory) });
        };
        let path = std::path::absolute(path)?;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&path)
            .map_err(|error| CliError::new(Exit::Failed, format!("cannot create {}: {error}", path.display())))?;
        Ok(Self { path, ephemeral: None })
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn load(&self) -> Result<Option<SavedSecrets>, CliError> {
        let path = self.path.join(SECRETS_FILE);
        let Ok(text) = std::fs::read_to_string(&path) else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|error| {
            CliError::new(
                Exit::Failed,
                format!(
                    "{} is not what the demo wrote: {error}\nhint: delete it; new passwords will be made",
                    path.display()
                ),
            )
        })
    }

    fn save(&self, saved: &SavedSecrets) -> Result<(), CliError> {
        if self.ephemeral.is_none() {
            replace_private(&self.path.join(SECRETS_FILE), serde_json::to_string_pretty(saved)?.as_bytes())?;
        }
        Ok(())
    }
}

/// The line that `--json` prints, in this order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonSummary<'a> {
    url: &'a str,
    /// The same on this machine.
    local_url: &'a str,
    tenant_id: &'a str,
    api_key: &'a str,
    panel_key: &'a str,
    master_secret: &'a str,
    sip: SipSummary<'a>,
    extensions: &'a [Account],
    echo: &'a str,
}

#[derive(Serialize)]
struct SipSummary<'a> {
    domain: &'a str,
    wss: &'a str,
}

/// What the terminal, scripts and the playground show of the running demo.
struct RunningDemo {
    url: String,
    /// The same on this machine.
    local_url: String,
    domain: String,
    wss: String,
    saved: SavedSecrets,
}

impl RunningDemo {
    fn new(
        platform: &Platform,
        saved: &SavedSecrets,
        url: &PublicUrl,
        local_url: &PublicUrl,
    ) -> Result<Self, CliError> {
        let live = platform.tenant(&TENANT.parse()?)?;
        Ok(Self {
            url: url.origin(),
            local_url: local_url.origin(),
            domain: live.edge_domain.clone(),
            wss: platform.defaults().edge_wss(),
            saved: saved.clone(),
        })
    }

    fn json_summary(&self) -> Result<String, CliError> {
        Ok(serde_json::to_string(&JsonSummary {
            url: &self.url,
            local_url: &self.local_url,
            tenant_id: TENANT,
            api_key: &self.saved.api_key,
            panel_key: &self.saved.panel_key,
            master_secret: &self.saved.master_secret,
            sip: SipSummary { domain: &self.domain, wss: &self.wss },
            extensions: &self.saved.extensions,
            echo: ECHO,
        })?)
    }

    fn for_playground(&self, defaults: Arc<Defaults>) -> Playground {
        let with = |extensions: Value| {
            let Self { saved: SavedSecrets { api_key, .. }, domain, .. } = self;
            json!({ "key": api_key, "domain": domain, "extensions": extensions, "echo": ECHO }).to_string().into()
        };
        let names = self.saved.extensions.iter().map(|account| json!({ "username": account.username }));
        Playground { defaults, body: with(json!(self.saved.extensions)), body_elsewhere: with(names.collect()) }
    }

    fn for_people(&self, ephemeral: bool, colour: bool) -> String {
        let paint = |code: &str, text: &str| {
            if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
        };
        let bold = |text: &str| paint("1", text);
        let faint = |text: &str| paint("2", text);
        let mut text = String::new();
        let [first, second] = EXTENSIONS;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "\n  {}\n", bold("Bitcall is running."));
        let _ = writeln!(text, "  Open       {}", paint("1;36", &format!("{}/", self.url)));
        if self.local_url != self.url {
            let _ = writeln!(text, "             {}", faint(&format!("on this machine {}/", self.local_url)));
        }
        let _ = writeln!(
            text,
            "             {}\n",
            faint(&format!("in two windows: the first is {first}, the second {second}"))
        );
        for (index, account) in self.saved.extensions.iter().enumerate() {
            let title = if index == 0 { "Extensions" } else { "" };
            let _ = writeln!(
                text,
                "  {title:<10} {}   {}",
                bold(&account.username),
                faint(&format!("password {}", account.password))
            );
        }
        let _ = writeln!(text, "\n  Try        call {} from the first window,", bold(second));
        let _ = writeln!(text, "             or dial {} and hear yourself", bold(ECHO));
        let end = if ephemeral { "everything is forgotten then" } else { "the data stay" };
        let _ = write!(text, "\n  Stop       {} {}\n", bold("Ctrl-C"), faint(&format!("({end})")));
        text
    }
}
