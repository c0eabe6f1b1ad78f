//! The command line: one file per command group. Standard output carries data, standard error messages.

mod audit;
mod calls;
mod cert;
mod check;
mod completion;
mod control;
mod demo;
mod docs;
mod domain;
mod examples;
mod extension;
mod help;
mod init;
mod key;
mod link;
mod output;
mod plan;
mod request;
mod secret;
mod serve;
mod store;
mod subdomain;
mod table;
mod tenant;
mod transport;

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Command, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::config;

/// A phone for any web page, and the server behind it.
#[derive(Debug, Parser)]
#[command(name = "bitcall", version, infer_long_args = true)]
pub struct Cli {
    #[command(flatten)]
    globals: GlobalOptions,
    #[command(subcommand)]
    command: CliCommand,
}

/// Options that every command understands.
#[derive(Clone, Debug, Args)]
pub struct GlobalOptions {
    /// Configuration file.
    #[arg(
        long,
        global = true,
        env = "BITCALL_CONFIG",
        hide_env_values = true,
        default_value = config::DEFAULT_PATH,
        value_name = "FILE",
        help_heading = help::SHARED
    )]
    pub config: PathBuf,
    /// Print JSON for scripts instead of text for people.
    #[arg(long, global = true, help_heading = help::SHARED)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Try Bitcall: a tenant and two extensions, gone when you stop it.
    Demo(demo::Demo),
    /// Write a configuration file and secrets for this machine.
    Init(init::Init),
    /// Run the server.
    ///
    /// SIGHUP (`systemctl reload bitcall`) reads the configuration, the certificate and the secrets again. The log names
    /// what was taken and what needs a restart; a configuration with faults is not taken.
    Serve,
    /// Check the configuration; names the line of every fault.
    Check,
    /// Manage tenants.
    Tenant(tenant::TenantCommands),
    /// Manage a tenant's API keys.
    Key(key::KeyCommands),
    /// Manage a tenant's name below the base domain.
    Subdomain(subdomain::SubdomainCommands),
    /// Manage domains of the tenants' own.
    Domain(domain::DomainCommands),
    /// Manage certificates.
    Cert(cert::CertCommands),
    /// Manage the catalogue of plans.
    Plan(plan::PlanCommands),
    /// Manage the SIP, WebSocket and ICE servers that tenants inherit.
    Transport(transport::TransportCommands),
    /// Manage a tenant's extensions on the built-in SIP edge.
    Extension(extension::ExtensionCommands),
    /// Make one-time links that sign a person in to the app.
    Link(link::LinkCommands),
    /// Show the calls that phones are in now.
    Calls(calls::CallsCommand),
    /// Replace the panel key or the master secret without down time.
    Secret(secret::SecretCommands),
    /// Maintain the file that holds everything.
    Store(store::StoreCommands),
    /// Show who changed what, and when.
    Audit(audit::AuditCommand),
    /// Write the man pages into a directory.
    #[command(hide = true)]
    Man(docs::Man),
    /// Print a shell's completions; they know tenants, keys and domains.
    Completions(completion::Completions),
}

/// How much of the command line is explained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Help {
    /// Of a command what is its own, for `-h`.
    Short,
    /// All, for `--help` and the man pages.
    Full,
}

impl Help {
    /// What was asked for, if it is help.
    fn wanted() -> Self {
        let words: Vec<_> = std::env::args_os().skip(1).collect();
        let is_full = words.iter().any(|word| word == "--help") || words.first().is_some_and(|word| word == "help");
        if is_full { Self::Full } else { Self::Short }
    }
}

/// The command line as it is parsed, explained and completed.
fn command(help: Help) -> Command {
    help::add_to(Cli::command(), help)
}

/// Parses the command line and runs its command.
pub fn run() -> Result<(), CliError> {
    if completion::answer_shell() {
        return Ok(());
    }
    let parsed = command(Help::wanted()).try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let Cli { globals, command } = match parsed {
        Ok(cli) => cli,
        // Help and version are data, too.
        Err(shown) if !shown.use_stderr() => return output::styled(&shown),
        Err(wrong) => wrong.exit(),
    };
    match command {
        CliCommand::Demo(demo) => demo.run(&globals),
        CliCommand::Init(init) => init.run(&globals),
        CliCommand::Serve => serve::run(&globals),
        CliCommand::Check => check::run(&globals),
        CliCommand::Tenant(tenant) => tenant.run(&globals),
        CliCommand::Key(key) => key.run(&globals),
        CliCommand::Subdomain(subdomain) => subdomain.run(&globals),
        CliCommand::Domain(domain) => domain.run(&globals),
        CliCommand::Cert(cert) => cert.run(&globals),
        CliCommand::Plan(plan) => plan.run(&globals),
        CliCommand::Transport(transport) => transport.run(&globals),
        CliCommand::Extension(extension) => extension.run(&globals),
        CliCommand::Link(link) => link.run(&globals),
        CliCommand::Calls(calls) => calls.run(&globals),
        CliCommand::Secret(secret) => secret.run(&globals),
        CliCommand::Store(store) => store.run(&globals),
        CliCommand::Audit(audit) => audit.run(&globals),
        CliCommand::Man(man) => man.run(self::command(Help::Full)),
        CliCommand::Completions(completions) => completions.run(),
    }
}

/// Why a command failed. A line of the message that starts with `hint:` says what to do.
#[derive(Debug)]
pub struct CliError {
    exit: Exit,
    message: String,
}

/// Exit codes: part of the contract with scripts. clap itself uses 2 for a wrong command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The answer is no: it does not exist, or something went wrong on the way.
    Failed = 1,
    /// The command line, the configuration, a secret or a value is missing or wrong.
    Misconfigured = 2,
    /// The server cannot be reached, or could not do it now. Retrying may help.
    Unreachable = 3,
    /// The server does not allow it: wrong or missing key, or beyond the plan.
    Refused = 4,
    /// It contradicts what is there: exists already, limit reached, last one.
    Conflict = 5,
}

impl CliError {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }

    /// Prints the message on standard error.
    pub fn report(&self) -> ExitCode {
        for (index, line) in self.message.lines().enumerate() {
            if index == 0 && !line.starts_with("hint:") {
                output::message(format_args!("error: {line}"));
            } else if line.starts_with("hint:") {
                output::message(format_args!(" {line}"));
            } else {
                output::message(format_args!("       {line}"));
            }
        }
        ExitCode::from(self.exit as u8)
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Any error without an exit code of its own.
impl<E: std::error::Error> From<E> for CliError {
    fn from(error: E) -> Self {
        Self::new(Exit::Failed, error.to_string())
    }
}
