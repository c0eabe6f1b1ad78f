//! `bitcall check`: everything that would stop `bitcall serve`, or leave it without what the configuration asks for, found
//! without starting it.

use std::cell::LazyCell;
use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use rustix::fs::{Access, access};
use serde::Serialize;
use serde_json::json;

use super::{CliError, Exit, GlobalOptions, output};
use crate::app::{self, acme};
use crate::certs::{CertificateStore, Seal};
use crate::config::{self, Config, ConfigErrors, RotatedSecret, Secrets};
use crate::dns::{self, DnsSockets, PassedSockets};
use crate::server::{self, AccessLog, CertificateFiles};
use crate::store;
use crate::store::keys::CERTIFICATES;
use crate::tenancy::store_file;

pub fn run(globals: &GlobalOptions) -> Result<(), CliError> {
    let file = &globals.config;
    let report = match Config::read(file) {
        Ok(config) => Report::of(&config),
        Err(errors) => Report::of_unreadable(errors),
    };
    let is_in_order = report.faults.is_empty();
    if globals.json {
        output::data(json!({ "file": file, "ok": is_in_order, "faults": report.faults, "notes": report.notes }))?;
    } else {
        report.notes.iter().for_each(|note| output::message(format_args!("note: {note}")));
    }
    if is_in_order {
        output::message(format_args!("{} is in order", file.display()));
        return Ok(());
    }
    let place = |line| format!("{}:{line}: ", file.display());
    let lines = report.faults.iter().map(|fault| {
        let hint = fault.hint.as_ref().map_or_else(String::new, |hint| format!("\nhint: {hint}"));
        fault.line.map_or_else(String::new, place) + fault.message.as_str() + hint.as_str()
    });
    Err(CliError::new(Exit::Misconfigured, lines.collect::<Vec<_>>().join("\n")))
}

/// What was found, in the order of the file.
#[derive(Default)]
struct Report {
    faults: Vec<Fault>,
    /// What may be as it is meant, and what could not be looked at.
    notes: Vec<String>,
}

#[derive(Serialize)]
struct Fault {
    /// Of the file; none where no line is to blame.
    line: Option<usize>,
    message: String,
    hint: Option<String>,
}

impl Report {
    fn of_unreadable(errors: ConfigErrors) -> Self {
        let mut report = Self::default();
        for error in errors.faults {
            // Without a line the message does not name the file.
            let file = if error.line.is_none() { format!("{}: ", errors.file.display()) } else { String::new() };
            report.fault_in(error.line, &(file + error.message.as_str()));
        }
        report
    }

    fn of(config: &Config) -> Self {
        let mut report = Self::default();
        report.data_dir(&config.server.data_dir);
        report.sockets(config);
        if let Err(missing) = Secrets::load(&config.secrets) {
            for problem in missing {
                report.fault(problem);
            }
        }
        match config::store_key(&config.secrets) {
            Err(problem) => report.fault(problem),
            Ok(store_key) => report.store(config, store_key.as_ref()),
        }
        if config.tls.certificate.is_some()
            && let Err(error) =
                CertificateFiles::prepare(&config.tls, "", &config.server.data_dir).and_then(|files| files.load())
        {
            report.fault(error);
        }
        report.notes.extend(acme::doubts(config));
        for problem in app::faults(config).into_iter().chain(acme::hopeless(config)) {
            report.fault(problem);
        }
        if let Err(problem) = AccessLog::check(&config.log) {
            report.fault(problem);
        }
        report
    }

    #[allow(clippy::needless_pass_by_value)] // errors are handed over where they are found
    fn fault(&mut self, problem: impl ToString) {
        self.fault_in(None, &problem.to_string());
    }

    /// A line of the message that starts with `hint:` says what to do.
    fn fault_in(&mut self, line: Option<usize>, text: &str) {
        let (message, hint) = text.split_once("\nhint: ").map_or((text, None), |(message, hint)| (message, Some(hint)));
        self.faults.push(Fault { line, message: message.to_owned(), hint: hint.map(str::to_owned) });
    }

    /// That the directory is not one, or cannot be written or made.
    fn data_dir(&mut self, data_dir: &Path) {
        let shown = data_dir.display();
        for place in data_dir.ancestors() {
            match fs::metadata(place) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => self.fault(format!("`data_dir` {shown} cannot be used: {}: {error}", place.display())),
                Ok(found) if !found.is_dir() => {
                    self.fault(format!("`data_dir` {shown} cannot be used: {} is not a directory", place.display()));
                }
                Ok(_) => {
                    if let Err(errno) = access(place, Access::WRITE_OK | Access::EXEC_OK) {
                        let hint = "run it as root or as the server's user";
                        let place = place.display();
                        self.fault(format!(
                            "`data_dir` {shown}: this user cannot write {place}: {errno}\nhint: {hint}"
                        ));
                    }
                }
            }
            return;
        }
    }

    /// That an address cannot be listened on. Beside a running server, those that are taken count as its own; those that
    /// systemd holds for it are passed on at its start.
    fn sockets(&mut self, config: &Config) {
        let is_running = UnixStream::connect(&config.listen.control).is_ok();
        // Asked when an address is taken, and not again.
        let held = LazyCell::new(held_by_systemd);
        // Kept until the end, so that an address that stands twice is found.
        let (mut listening, mut resolving) = (Vec::new(), Vec::new());
        let listen = &config.listen;
        let named = [
            ("listen.https", listen.https.as_slice()),
            ("listen.http", &listen.http),
            ("listen.redirect", &listen.redirect),
            ("listen.ops", listen.ops.as_slice()),
        ];
        for (setting, address) in named.iter().flat_map(|(name, all)| all.iter().map(move |address| (*name, *address)))
        {
            match server::bind_tcp(address) {
                Ok(bound) => listening.push(bound),
                Err(server::BindError::Taken { .. }) if is_running => {}
                Err(server::BindError::Taken { .. }) if held.contains(&address) => self.held(setting, address),
                Err(server::BindError::Forbidden { .. }) => self.not_tried(setting, address),
                Err(error) => self.fault(format!("`{setting}`: {error}")),
            }
        }
        for address in config.dns.listen.iter().copied() {
            match DnsSockets::open(&[address], |_| PassedSockets::default()) {
                Ok(sockets) => resolving.push(sockets),
                Err(dns::BindError::Taken { .. }) if is_running => {}
                Err(dns::BindError::Taken { .. }) if held.contains(&address) => self.held("dns.listen", address),
                Err(dns::BindError::Forbidden { .. }) => self.not_tried("dns.listen", address),
                Err(error) => self.fault(format!("`dns.listen`: {error}")),
            }
        }
    }

    fn held(&mut self, setting: &str, address: SocketAddr) {
        self.notes.push(format!("`{setting}`: systemd holds {address} (bitcall.socket) and passes it on at the start"));
    }

    fn not_tried(&mut self, setting: &str, address: SocketAddr) {
        self.notes
            .push(format!("`{setting}`: whether {address} is free was not tried: this user may not listen on it"));
    }

    /// That the store's certificates cannot be served with this store key.
    fn store(&mut self, config: &Config, store_key: Option<&RotatedSecret>) {
        let seal = Seal::new(store_key.into_iter().flat_map(RotatedSecret::all));
        match store::read_only(&store_file(&config.server.data_dir), CERTIFICATES) {
            Ok(records) => {
                if let Err(error) = CertificateStore::check(&records, seal.as_ref()) {
                    self.fault(error);
                }
            }
            Err(error @ store::Error::Unreadable(_)) => self.fault(error),
            // A server that runs has opened them; one that was killed left its store to the next one.
            Err(error) => self.notes.push(format!("the certificates in the store were not looked at: {error}")),
        }
    }
}

/// The addresses of the active bitcall.socket, of TCP and UDP alike; none where there is no systemd. Any user may ask.
fn held_by_systemd() -> Vec<SocketAddr> {
    let shown = Command::new("systemctl").args(["show", "bitcall.socket", "--property=ActiveState,Listen"]).output();
    let text = shown.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    if !text.lines().any(|line| line == "ActiveState=active") {
        return Vec::new();
    }
    // Listen=0.0.0.0:443 (Stream)
    let addresses = text.lines().filter_map(|line| line.strip_prefix("Listen=")?.split(' ').next()?.parse().ok());
    addresses.collect()
}
