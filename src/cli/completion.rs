//! Shell completions. The shell's script calls this program at each TAB, which completes commands and options from their
//! definitions, and names of tenants, keys, domains and the like by asking the server on this machine.
//!
//! Whatever is in the way (no server, no right to ask it, no answer in time), a shell gets no names and no message.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgMatches, Args, Command};
use clap_complete::env::{CompleteEnv, Shells};
use clap_complete::{ArgValueCompleter, CompletionCandidate, Shell};
use serde_json::Value;

use super::{CliError, output};
use crate::client::ControlClient;
use crate::config::Config;

const PROGRAM: &str = "bitcall";
/// Set by the shell's script.
const VARIABLE: &str = "BITCALL_COMPLETE";
/// For all that is asked of the server: somebody waits at a prompt.
const TIMEOUT: Duration = Duration::from_millis(500);
/// More names than a page has are of no help.
const PAGE: (&str, &str) = ("limit", "1000");

#[derive(Debug, Args)]
pub struct Completions {
    shell: Shell,
}

impl Completions {
    /// Prints the script.
    pub fn run(self) -> Result<(), CliError> {
        let shells = Shells::builtins();
        let mut script = Vec::new();
        if let Some(shell) = shells.completer(&self.shell.to_string()) {
            shell.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)?;
        }
        output::data(String::from_utf8_lossy(&script).trim())?;
        Ok(())
    }
}

/// Answers a shell's script; false where this process was not started by one.
pub fn answer_shell() -> bool {
    if std::env::var_os(VARIABLE).is_none_or(|shell| shell.is_empty()) {
        return false;
    }
    // Before the first letter, names and subcommands are offered alone, as far as there are any.
    let is_empty = std::env::args_os().next_back().is_some_and(|word| word.is_empty());
    let command = || completable(super::command(super::Help::Full), "", is_empty);
    let directory = std::env::current_dir().ok();
    // A fault is no matter for a prompt.
    let _ = CompleteEnv::with_factory(command)
        .var(VARIABLE)
        .bin(PROGRAM)
        .completer(PROGRAM)
        .try_complete(std::env::args_os(), directory.as_deref());
    true
}

/// What the values of an argument are names of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    Tenants,
    /// Of the tenant that stands before.
    Keys,
    /// Of the tenant that stands before.
    Extensions,
    Domains,
    TenantsAndDomains,
    Certificates,
    Plans,
}

/// The names that an argument of a command takes, if the server knows them.
fn names_of(command: &str, argument: &str) -> Option<Names> {
    match (command, argument) {
        // New ones.
        ("tenant provision", "tenant") | ("domain add", "domain") => None,
        (_, "tenant") => Some(Names::Tenants),
        (_, "plan") => Some(Names::Plans),
        ("key rotate" | "key revoke", "key") => Some(Names::Keys),
        ("extension add" | "extension remove", "username") => Some(Names::Extensions),
        ("domain check", "who") => Some(Names::TenantsAndDomains),
        ("domain sync", "domains") | ("domain activate", "domain") => Some(Names::Domains),
        ("cert renew" | "cert import" | "cert remove", "name") => Some(Names::Certificates),
        _ => None,
    }
}

/// The command at `path` with completers for names. Options that are hidden are offered only where nothing else is.
fn completable(command: Command, path: &str, hide_options: bool) -> Command {
    let with_names = |argument: Arg| {
        let hide = hide_options && !argument.is_positional();
        let argument = argument.hide(hide);
        match names_of(path, argument.get_id().as_str()) {
            Some(names) => argument.add(ArgValueCompleter::new(move |word: &OsStr| candidates(names, word))),
            None => argument,
        }
    };
    command.disable_help_flag(hide_options).disable_version_flag(hide_options).mut_args(with_names).mut_subcommands(
        |inner| {
            let path = format!("{path} {}", inner.get_name());
            completable(inner, path.trim_start(), hide_options)
        },
    )
}

fn candidates(names: Names, word: &OsStr) -> Vec<CompletionCandidate> {
    let found = || {
        let (typed, word) = (Typed::read()?, word.to_str()?);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        runtime.block_on(async { tokio::time::timeout(TIMEOUT, typed.ask(names, word)).await.ok() })
    };
    let mut found = found().unwrap_or_default();
    found.retain(|candidate| candidate.get_value().as_encoded_bytes().starts_with(word.as_encoded_bytes()));
    found
}

/// What of the command line before the word decides about its names.
struct Typed {
    socket: PathBuf,
    tenant: Option<String>,
}

impl Typed {
    fn read() -> Option<Self> {
        let words = std::env::args_os().skip_while(|word| word != "--").skip(1);
        let matches = super::command(super::Help::Full).ignore_errors(true).try_get_matches_from(words).ok()?;
        let mut last: &ArgMatches = &matches;
        while let Some((_, inner)) = last.subcommand() {
            last = inner;
        }
        let value = |name| -> Option<OsString> { Some(last.try_get_raw(name).ok()??.next()?.to_owned()) };
        if value("server").is_some() {
            // A prompt does not wait for the network.
            return None;
        }
        let configured = || Some(Config::read(value("config")?.as_ref()).ok()?.listen.control);
        let socket = value("socket").map(PathBuf::from).or_else(configured)?;
        Some(Self { socket, tenant: value("tenant").and_then(|tenant| tenant.into_string().ok()) })
    }

    async fn ask(&self, names: Names, word: &str) -> Vec<CompletionCandidate> {
        let client = ControlClient::on_socket(&self.socket);
        let get = async |path, query: &[(&str, &str)], list, name, help| {
            let answer = client.get(path, query).await;
            answer.map_or_else(|_| Vec::new(), |data| candidates_in(&data[list], name, help))
        };
        let tenant = [("tenantId", self.tenant.as_deref().unwrap_or_default())];
        let tenants =
            async || get("/api/admin/tenants", &[("q", word), PAGE], "tenants", "tenantId", "displayName").await;
        let domains = async || get("/api/admin/domains", &[PAGE], "domains", "domain", "tenantId").await;
        match names {
            Names::Tenants => tenants().await,
            Names::Domains => domains().await,
            Names::TenantsAndDomains => tenants().await.into_iter().chain(domains().await).collect(),
            Names::Plans => get("/api/admin/plans", &[], "plans", "planId", "name").await,
            Names::Certificates => get("/api/admin/certificates", &[PAGE], "certificates", "name", "stage").await,
            Names::Keys => get("/api/tenant", &tenant, "apiKeys", "id", "label").await,
            Names::Extensions => get("/api/tenant/extensions", &tenant, "extensions", "username", "displayName").await,
        }
    }
}

/// `help` is what some shells show beside the name.
fn candidates_in(items: &Value, name: &str, help: &str) -> Vec<CompletionCandidate> {
    let candidate = |item: &Value| {
        let help = item[help].as_str().map(|help| help.to_owned().into());
        Some(CompletionCandidate::new(item[name].as_str()?).help(help))
    };
    items.as_array().into_iter().flatten().filter_map(candidate).collect()
}
