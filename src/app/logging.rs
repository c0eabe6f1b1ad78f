//! The process around the appliance: its log and its runtime.

use std::io::IsTerminal;
use std::time::Duration;

use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Targets;

use super::StartError;
use crate::config::{self, LogFormat, LogSettings};

/// The target of a log line is the path of its module, which starts with these.
const CRATE: &str = "bitcall";
const MODULES: &[&str] = &[
    "api",
    "app",
    "certs",
    "cli",
    "client",
    "config",
    "dial",
    "dns",
    "domains",
    "edge",
    "hostname",
    "rate_limiter",
    "seal",
    "server",
    "store",
    "supervision",
    "tenancy",
    "timestamp",
];

/// One worker for every two processors: requests are short, and a worker that is woken to take one
/// from its neighbour costs more than the request (measured: 8.0 instead of 10.9 µs each with one
/// worker instead of two). The store commits on threads of its own.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads((processors / 2).max(1))
        .enable_all()
        .thread_name("bitcall")
        // Blocking calls are rare (reads of the store): their threads need not linger.
        .thread_keep_alive(Duration::from_secs(5))
        .build()
}

/// Replaces the filter of the log that was started.
pub type LogFilter = Box<dyn Fn(EnvFilter) + Send + Sync>;

pub fn start_logging(log: &LogSettings) -> Result<LogFilter, StartError> {
    let filter = log_filter(&log.filter).map_err(StartError::Misconfigured)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // It would report a failed write on standard error, which is what cannot be written, and panic: a full disk
        // under the log must not end requests.
        .log_internal_errors(false)
        .with_ansi(use_colours(&std::io::stderr()));
    let (started, replace): (_, LogFilter) = match log.format {
        LogFormat::Human => {
            let builder = builder.compact().with_filter_reloading();
            let handle = builder.reload_handle();
            (builder.try_init(), Box::new(move |filter| drop(handle.reload(filter))))
        }
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_filter_reloading();
            let handle = builder.reload_handle();
            // Fails only when the log is gone.
            (builder.try_init(), Box::new(move |filter| drop(handle.reload(filter))))
        }
    };
    started.map_err(|error| StartError::Failed(format!("logging cannot start: {error}")))?;
    Ok(replace)
}

/// The filter of log lines. A target is a module of Bitcall's (`bitcall::edge`) or of a library (`hyper`); a word that is
/// no level is taken for one, so what is misspelt would silence the log without a word.
pub fn log_filter(text: &str) -> Result<EnvFilter, String> {
    const SHAPE: &str = "error, warn, info, debug, trace or off, also per module as in \"info,bitcall::edge=debug\"";
    let refused = |why: &str| format!("`log.filter` \"{text}\" {why}\nhint: it is {SHAPE}");
    let filter = EnvFilter::try_new(text).map_err(|error| refused(&format!("is not understood: {error}")))?;
    // Filters of spans and fields have another form, and are not looked into.
    let Ok(targets) = text.parse::<Targets>() else { return Ok(filter) };
    for (target, _) in &targets {
        let mut path = target.split("::");
        let (name, module) = (path.next().unwrap_or_default(), path.next());
        let is_known = match module {
            _ if name != CRATE => !is_misspelt(name, CRATE),
            None => true,
            Some(module) => MODULES.contains(&module),
        };
        if !is_known {
            return Err(refused(&format!("names {target}, which is no module of Bitcall's")));
        }
    }
    let is_heard = |target: &str| targets.would_enable(target, &Level::ERROR);
    let is_silent = !is_heard(CRATE) && !MODULES.iter().any(|module| is_heard(&format!("{CRATE}::{module}")));
    let is_off = text.split(',').any(|part| part.trim().eq_ignore_ascii_case("off"));
    if is_silent && !is_off {
        return Err(refused("matches nothing of Bitcall's"));
    }
    Ok(filter)
}

/// Whether whoever wrote `name` may have meant `known`.
fn is_misspelt(name: &str, known: &'static str) -> bool {
    name.starts_with(known) || known.starts_with(name) || config::is_near(name, known)
}

/// Whether to colour what is written to `stream`: for a terminal, unless `NO_COLOR` is set (<https://no-color.org>).
pub fn use_colours(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn the_modules_are_those_of_the_program() {
        let main = include_str!("../main.rs");
        let found: Vec<_> = main.lines().filter_map(|line| line.strip_prefix("mod ")?.strip_suffix(';')).collect();
        assert_eq!(found, MODULES);
    }

    #[test]
    fn a_log_filter_that_matches_nothing_is_refused() {
        for good in [
            "info",
            "OFF",
            "error",
            "info,bitcall::edge=debug",
            "bitcall=trace",
            "bitcall::edge",
            "warn,hyper=debug,h2=trace",
            "info,bitcall::edge::core=off",
            "info,[request{method=GET}]=debug",
        ] {
            assert!(log_filter(good).is_ok(), "{good}: {}", log_filter(good).unwrap_err());
        }
        for (bad, why) in [
            ("inof", "matches nothing"),
            ("hyper=debug", "matches nothing"),
            ("info,bitcal=debug", "bitcal, which is no module"),
            ("info,bitcall_edge=debug", "bitcall_edge, which is no module"),
            ("info,bitcall::egde=debug", "bitcall::egde, which is no module"),
            ("info,bitcall=loud", "not understood"),
        ] {
            let refused = log_filter(bad).unwrap_err();
            assert!(refused.contains(why) && refused.contains("hint: ") && refused.contains(bad), "{bad}: {refused}");
        }
    }
}
