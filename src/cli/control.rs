//! What the commands that use the control API share: the choice of the server, errors with exit codes and hints,
//! output.

use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::Value;
use url::Url;

use super::output::{self, Reader};
use super::table::field_text;
use super::{CliError, Exit, GlobalOptions, help};
use crate::app::{self, acme};
use crate::certs::Seal;
use crate::client::{self, ControlClient, Remote};
use crate::config::{self, Config, RotatedSecret};
use crate::domains::NoCertificates;
use crate::tenancy::Platform;

/// Whom to talk to. Without any of these: the server on this machine, or, when
/// none runs, its store.
#[derive(Clone, Debug, Default, Args)]
pub struct TargetOptions {
    /// A remote server; its keys: `BITCALL_PANEL_KEY`, `APP_MASTER_SECRET`
    #[arg(
        long,
        global = true,
        env = "BITCALL_SERVER",
        hide_env_values = true,
        value_name = "URL",
        help_heading = help::TARGET
    )]
    server: Option<Url>,
    /// PEM file: who may certify the remote server, instead of the system's authorities
    #[arg(
        long,
        global = true,
        env = "BITCALL_CA",
        hide_env_values = true,
        value_name = "FILE",
        requires = "server",
        help_heading = help::TARGET
    )]
    ca: Option<PathBuf>,
    /// Control socket of the server, instead of the configured one
    #[arg(
        long,
        global = true,
        env = "BITCALL_SOCKET",
        hide_env_values = true,
        value_name = "FILE",
        conflicts_with = "server",
        help_heading = help::TARGET
    )]
    socket: Option<PathBuf>,
}

impl TargetOptions {
    async fn connect(self, globals: &GlobalOptions) -> Result<ControlClient, CliError> {
        if let Some(url) = self.server {
            let secret = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
            let remote = Remote {
                url,
                panel_key: secret("BITCALL_PANEL_KEY"),
                master_secret: secret("APP_MASTER_SECRET"),
                ca: self.ca,
            };
            return ControlClient::remote(remote).map_err(request_failure);
        }
        if let Some(socket) = self.socket {
            return Ok(ControlClient::on_socket(&socket));
        }
        let misconfigured = |problem: String| CliError::new(Exit::Misconfigured, problem);
        let config = Config::read(&globals.config).map_err(|faults| misconfigured(faults.to_string()))?;
        let url = config.public_url().map_err(|problem| misconfigured(format!("`public_url` {problem}")))?;
        let defaults = app::defaults(&url, &config)?;
        // Needed by few commands, which report it when there is no key or this user may not read it.
        let store_key = config::store_key(&config.secrets).ok().flatten();
        let seal = Seal::new(store_key.iter().flat_map(RotatedSecret::all));
        let certificates =
            if acme::is_configured(&config) { NoCertificates::at_present() } else { NoCertificates::at_all() };
        let domains = |platform: &Platform| app::domains(platform, &config, Arc::new(certificates));
        ControlClient::local(&config.listen.control, &config.server.data_dir, defaults, domains, seal)
            .await
            .map_err(request_failure)
    }

    /// Runs a command that talks to the control API.
    pub fn run<F>(
        self,
        globals: &GlobalOptions,
        command: impl FnOnce(ControlClient, Printer) -> F,
    ) -> Result<(), CliError>
    where
        F: Future<Output = Result<(), CliError>>,
    {
        // Commands make one call after the other: one thread is enough, and starts quicker.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let printer = Printer::of(globals);
        runtime.block_on(async { command(self.connect(globals).await?, printer).await })
    }
}

// Commands about one thing, each a call or some of the control API. No doc comment here: it would be the help text
// of all of them.
#[derive(Debug, Args)]
pub struct CommandGroup<C: Subcommand> {
    #[command(flatten)]
    pub target: TargetOptions,
    #[command(subcommand)]
    pub command: C,
}

/// The failure for an error of the client: exit code, message, and a hint where there is a remedy.
pub fn request_failure(error: client::Error) -> CliError {
    let refusal = match error {
        client::Error::Unreachable(why) => return CliError::new(Exit::Unreachable, why),
        client::Error::Forbidden(why) => return CliError::new(Exit::Refused, why),
        client::Error::Unsafe(why) => return CliError::new(Exit::Misconfigured, why),
        client::Error::Refused(refusal) => refusal,
    };
    let exit = match refusal.status.as_u16() {
        // A server of the command's own version knows every route that commands use.
        _ if matches!(refusal.code.as_str(), "NOT_FOUND" | "METHOD_NOT_ALLOWED") => Exit::Unreachable,
        400 | 413 | 415 => Exit::Misconfigured,
        401 | 403 => Exit::Refused,
        409 | 412 | 422 => Exit::Conflict,
        408 | 429 | 500.. => Exit::Unreachable,
        _ => Exit::Failed,
    };
    let hint = match refusal.code.as_str() {
        "NOT_FOUND" | "METHOD_NOT_ALLOWED" => "\nhint: is the server of another version than this command?",
        "TENANT_NOT_FOUND" => "\nhint: `bitcall tenant list` shows all tenants",
        "PLAN_NOT_FOUND" => "\nhint: `bitcall plan list` shows all plans",
        "PLAN_IN_USE" => "\nhint: `bitcall tenant list --plan` shows who has it",
        "DEFAULT_PLAN" => "\nhint: `bitcall plan set --default` makes another plan the default",
        "TENANT_EXISTS" => "\nhint: --if-missing makes that a success",
        "API_KEY_NOT_FOUND" => "\nhint: `bitcall key list` shows the tenant's keys with their ids",
        "API_KEY_RETIRING" => "\nhint: rotate the key that took its place; `bitcall key list` shows it",
        "SUBDOMAIN_NOT_ALLOWED" | "CUSTOM_DOMAIN_NOT_ALLOWED" => {
            "\nhint: `bitcall tenant plan <tenant> <plan>` gives it another plan, `bitcall plan set <plan> --grant <entitlement>` changes the plan"
        }
        "NOT_ENTITLED" => {
            "\nhint: `bitcall tenant plan <tenant> <plan>` gives it another plan; `bitcall tenant config <tenant> --operator` sets it whatever the plan says"
        }
        "API_KEY_LIMIT_REACHED" => {
            "\nhint: `bitcall key revoke` makes room; `bitcall plan set <plan> --max-api-keys` raises the limit"
        }
        "STORE_KEY_MISSING" => {
            "\nhint: name it by `secrets.store_key_file`; with no server running, this user must be able to read it"
        }
        "EXTENSION_EXISTS" => "\nhint: --reset-password gives it a new one",
        "FEATURE_DISABLED" => "\nhint: `bitcall tenant config <tenant> --operator --auth-link on` switches it on",
        "PANEL_UNAUTHORIZED" => "\nhint: set BITCALL_PANEL_KEY to the server's panel key",
        "ADMIN_UNAUTHORIZED" => "\nhint: set APP_MASTER_SECRET to the server's master secret",
        _ => "",
    };
    let faults: Vec<_> = refusal.fields.iter().map(fault_in_words).collect();
    let message = if faults.is_empty() { refusal.message } else { faults.join("\n") };
    CliError::new(exit, format!("{message}{hint}"))
}

/// A faulty field by the option or argument that it came from.
fn fault_in_words(fault: &client::FieldError) -> String {
    // An item of a list, and what is in it: `iceServers[1].urls[0]`.
    let (name, item) = fault.field.split_once('[').map_or((fault.field.as_str(), ""), |(name, item)| (name, item));
    let number = item.split_once(']').and_then(|(index, _)| index.parse::<usize>().ok());
    let number = number.filter(|index| *index > 0).map_or_else(String::new, |index| format!(" number {}", index + 1));
    let known = OPTIONS.iter().find(|(field, _)| *field == name).map_or(name, |(_, option)| option);
    format!("{known}{number} {}", fault.message)
}

/// The fields of requests, and the options and arguments that they are made from.
const OPTIONS: &[(&str, &str)] = &[
    ("tenantId", "TENANT"),
    ("planId", "PLAN"),
    ("apiKeyLabel", "--key-label"),
    ("label", "--label"),
    ("overlapSeconds", "--overlap"),
    ("ttlSeconds", "--ttl"),
    ("displayName", "--name"),
    ("branding.displayName", "--name"),
    ("branding.logoLight", "--logo-light"),
    ("branding.logoDark", "--logo-dark"),
    ("branding.themeColor", "--accent"),
    ("branding.headerMode", "--header"),
    ("origins.allowedOrigins", "--origin"),
    ("app.popupMode", "--popup"),
    ("app.installable", "--installable"),
    ("app.audioClips", "--audio-clips"),
    ("app.recording", "--recording"),
    ("behavior.recording.autoRecord", "--auto-record"),
    ("behavior.recording.stereo", "--record-stereo"),
    ("behavior.recording.beep", "--record-beep"),
    ("behavior.recording.announcement", "--record-announcement"),
    ("behavior.clips", "--clip"),
    ("behavior.host.mode", "--sign-in"),
    ("behavior.sessionRestore", "--session-restore"),
    ("behavior.theme.start", "--theme"),
    ("behavior.theme.lock", "--theme-lock"),
    ("behavior.cookieMode", "--cookie-mode"),
    ("behavior.calls.declineStatus", "--decline-status"),
    ("behavior.calls.redirects", "--redirects"),
    ("behavior.calls.referrals", "--referrals"),
    ("behavior.calls.autoAnswer", "--auto-answer"),
    ("behavior.calls.messageReplies", "--message-replies"),
    ("behavior.calls.callerIdHeader", "--caller-id-header"),
    ("behavior.holdMusic.enabled", "--hold-music"),
    ("behavior.holdMusic.url", "--hold-music-url"),
    ("features.authLink", "--auth-link"),
    ("sip.domain", "--sip-domain"),
    ("sip.dtmf", "--dtmf"),
    ("wss", "--wss"),
    ("iceServers", "--ice"),
    ("sip.username", "--username"),
    ("sip.password", "--password-file"),
    ("sip.HA1Password", "--password-file"),
    ("username", "USERNAME"),
    ("password", "--password-file"),
    ("subdomain", "NAME"),
    ("domain", "DOMAIN"),
    ("name", "--name"),
    ("status", "--status"),
    ("price", "--price"),
    ("currency", "--currency"),
    ("interval", "--interval"),
    ("entitlements.maxApiKeys", "--max-api-keys"),
    ("entitlements.maxSessions", "--max-sessions"),
    ("certificate", "--certificate"),
    ("key", "--key"),
    ("limit", "--limit"),
    ("since", "--since"),
    ("until", "--until"),
    ("action", "--action"),
];

/// The settings that are kept and not in effect, each by its option, with the plans that include it; nothing where all
/// of them are.
pub fn not_applied(data: &Value) -> String {
    let lines = data["notApplied"].as_array().into_iter().flatten().map(|line| {
        let field = line["field"].as_str().unwrap_or_default();
        let option = OPTIONS.iter().find(|(known, _)| *known == field).map_or(field, |(_, option)| option);
        let plans = match field_text(line, "/plans").as_str() {
            "-" => "no plan includes it".to_owned(),
            plans => format!("included in: {plans}"),
        };
        format!("{option} is kept and not in effect: not in the tenant's plan ({plans})")
    });
    lines.fold(String::new(), |text, line| text + "\n" + line.as_str())
}

/// A name as one segment of a request's path.
pub fn path_segment(name: &str) -> String {
    url::form_urlencoded::byte_serialize(name.as_bytes()).collect()
}

/// Standard output: the data as JSON for scripts, or as people like to read them.
#[derive(Clone, Copy)]
pub struct Printer {
    json: bool,
}

impl Printer {
    pub fn of(globals: &GlobalOptions) -> Self {
        Self { json: globals.json }
    }

    pub fn is_json(self) -> bool {
        self.json
    }

    /// `data` goes to scripts as it is; people get what `text` makes of it. That a pipe has lost its reader is no error.
    pub fn print<T: Display>(self, data: &Value, text: impl FnOnce(&Value) -> T) -> Result<(), CliError> {
        self.print_next(data, text).map(|_| ())
    }

    /// [`Self::print`] for a command that goes on printing as long as there is a reader.
    pub fn print_next<T: Display>(self, data: &Value, text: impl FnOnce(&Value) -> T) -> Result<Reader, CliError> {
        if self.json { output::data(data) } else { output::data(text(data)) }
    }

    /// [`Self::print`] for what is shown once and is lost when it cannot be written. `withdraw` makes it useless then,
    /// and says in a message of [`CliError`] what it has done.
    pub async fn print_once<T: Display>(
        self,
        data: &Value,
        text: impl FnOnce(&Value) -> T,
        withdraw: impl AsyncFnOnce() -> String,
    ) -> Result<(), CliError> {
        let written = if self.json { output::write(data) } else { output::write(text(data)) };
        match written {
            Ok(()) => Ok(()),
            Err(error) => {
                Err(CliError::new(Exit::Failed, format!("{}\n{}", output::failure(&error), withdraw().await)))
            }
        }
    }
}
