//! The process around the appliance: its log and its runtime.

use std::io::IsTerminal;
use std::time::Duration;

use tracing::Level;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt as _;

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

/// The most that libraries log by a level without a name: what they say beyond it is about frames and handshakes.
const MAX_LIBRARY_LEVEL: LevelFilter = LevelFilter::WARN;

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
pub type LogFilter = Box<dyn Fn(Targets) + Send + Sync>;

pub fn start_logging(log: &LogSettings) -> Result<LogFilter, StartError> {
    let filter = log_filter(&log.filter).map_err(StartError::Misconfigured)?;
    let builder = tracing_subscriber::fmt()
        // The filter decides.
        .with_max_level(LevelFilter::TRACE)
        .with_writer(std::io::stderr)
        // It would report a failed write on standard error, which is what cannot be written, and panic: a full disk
        // under the log must not end requests.
        .log_internal_errors(false)
        .with_ansi(use_colours(&std::io::stderr()));
    match log.format {
        LogFormat::Human => start_with(builder.compact().finish(), filter),
        LogFormat::Json => start_with(builder.json().flatten_event(true).finish(), filter),
    }
    .map_err(|error| StartError::Failed(format!("logging cannot start: {error}")))
}

fn start_with(
    lines: impl tracing::Subscriber + Send + Sync,
    filter: Targets,
) -> Result<LogFilter, tracing_subscriber::util::TryInitError> {
    let (filter, handle) = reload::Layer::new(filter);
    lines.with(filter).try_init()?;
    // Fails only when the log is gone.
    Ok(Box::new(move |filter| drop(handle.reload(filter))))
}

/// The filter of log lines. A level without a name is about Bitcall; libraries get no further than [`MAX_LIBRARY_LEVEL`]
/// by it. A named target is a module of Bitcall's (`bitcall::edge`) or a library (`hyper`); a word that is no level is
/// taken for one, so what is misspelt would silence the log without a word.
pub fn log_filter(text: &str) -> Result<Targets, String> {
    const SHAPE: &str = "error, warn, info, debug, trace or off, also per module as in \"info,bitcall::edge=debug\"";
    let refused = |why: &str| format!("`log.filter` \"{text}\" {why}\nhint: it is {SHAPE}");
    if text.contains(['[', '{']) {
        return Err(refused("names spans or fields, by which nothing of Bitcall's can be found"));
    }
    let plain: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let named = plain.parse::<Targets>().map_err(|error| refused(&format!("is not understood: {error}")))?;
    for (target, _) in &named {
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
    let mut filter = Targets::new();
    if let Some(level) = named.default_level() {
        filter = filter.with_default(level.min(MAX_LIBRARY_LEVEL)).with_target(CRATE, level);
    }
    let filter = filter.with_targets(&named);
    let is_heard = |target: &str| filter.would_enable(target, &Level::ERROR);
    let is_silent = !is_heard(CRATE) && !MODULES.iter().any(|module| is_heard(&format!("{CRATE}::{module}")));
    let is_off = plain.split(',').any(|part| part.eq_ignore_ascii_case("off"));
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
            "info, bitcall::edge = debug",
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
            ("info,[request{method=GET}]=debug", "names spans or fields"),
        ] {
            let refused = log_filter(bad).unwrap_err();
            assert!(refused.contains(why) && refused.contains("hint: ") && refused.contains(bad), "{bad}: {refused}");
        }
    }
    #[test]
    fn a_level_is_about_bitcall_and_libraries_say_more_only_where_they_are_named() {
        let most = |filter: &str, target: &str| {
            let filter = log_filter(filter).unwrap();
            let levels = [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR];
            levels.into_iter().find(|level| filter.would_enable(target, level))
        };
        for (filter, ours, h2, rustls) in [
            ("info", Some(Level::INFO), Some(Level::WARN), Some(Level::WARN)),
            ("debug", Some(Level::DEBUG), Some(Level::WARN), Some(Level::WARN)),
            ("trace,h2=debug", Some(Level::TRACE), Some(Level::DEBUG), Some(Level::WARN)),
            ("debug,h2=off", Some(Level::DEBUG), None, Some(Level::WARN)),
            ("error", Some(Level::ERROR), Some(Level::ERROR), Some(Level::ERROR)),
            ("off,bitcall=info", Some(Level::INFO), None, None),
            ("bitcall=debug", Some(Level::DEBUG), None, None),
        ] {
            let found = [
                most(filter, "bitcall::server::connection"),
                most(filter, "h2::codec::framed_read"),
                most(filter, "rustls::server::hs"),
            ];
            assert_eq!(found, [ours, h2, rustls], "{filter}");
        }
    }
}
