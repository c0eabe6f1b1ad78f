//! The access log: one line for each request of the public listeners, written when its answer has left.
//!
//! A thread of its own writes, so that no request waits for a disk. When it cannot follow, lines are dropped, and the
//! log says how many. What may be secret is never handed to it: of a query only the parameters in [`OPEN_PARAMETERS`]
//! keep their values, of a referrer the query is cut off, and no header with credentials is read.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use hyper::http::Uri;
use hyper::{Method, Version};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tokio::sync::oneshot;

use crate::config::{AccessLogTarget, LogFormat, LogSettings};
use crate::tenancy::resembles_secret;
use crate::timestamp::Timestamp;

/// Query parameters whose values are names and numbers of no secrecy.
const OPEN_PARAMETERS: &[&str] =
    &["tenant", "tenantId", "planId", "pageOrigin", "cursor", "limit", "since", "until", "action", "enabled", "source"];
/// In the place of what may be secret.
const REDACTED: &str = "redacted";
/// Lines that wait to be written; further ones are dropped.
const MAX_WAITING_LINES: usize = 8192;
/// How long the end of the process waits for the last lines.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);
/// The file may be read by the group, as log files are.
const FILE_MODE: u32 = 0o640;
const LOG_TIME: &[BorrowedFormatItem<'_>] =
    format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");

/// One request and its answer.
#[derive(Debug, Serialize)]
pub struct AccessEntry {
    #[serde(serialize_with = "as_text")]
    pub timestamp: Timestamp,
    pub target: &'static str,
    /// None only for users of this machine, of whom no line is written.
    pub client: Option<IpAddr>,
    pub tenant: Option<String>,
    #[serde(serialize_with = "as_text")]
    pub method: Method,
    /// Path and query, see [`redacted`].
    pub path: String,
    #[serde(serialize_with = "as_debug_text")]
    pub protocol: Version,
    pub status: u16,
    /// Of the answer's body, as far as they were sent.
    pub bytes: u64,
    pub duration_ms: f64,
    /// Of an answer of the API that is a refusal.
    pub error: Option<&'static str>,
    pub request_id: Option<String>,
    pub referer: Option<String>,
    pub user_agent: Option<String>,
}

fn as_text<T: std::fmt::Display, S: serde::Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn as_debug_text<T: std::fmt::Debug, S: serde::Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{value:?}"))
}

impl AccessEntry {
    fn line(&self, format: LogFormat) -> String {
        match format {
            LogFormat::Human => self.combined(),
            LogFormat::Json => serde_json::to_string(self).unwrap_or_default(),
        }
    }

    /// The combined log format of Apache and nginx, then the seconds and the tenant.
    fn combined(&self) -> String {
        let at = OffsetDateTime::from_unix_timestamp(self.timestamp.0 / 1000).unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let at = at.format(LOG_TIME).unwrap_or_default();
        let quoted = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), escaped);
        let client = self.client.map_or_else(|| "-".to_owned(), |client| client.to_string());
        let Self { method, protocol, status, bytes, .. } = self;
        format!(
            "{client} - - [{at}] \"{method} {} {protocol:?}\" {status} {bytes} \"{}\" \"{}\" {:.6} {}",
            escaped(&self.path),
            quoted(&self.referer),
            quoted(&self.user_agent),
            self.duration_ms / 1000.0,
            self.tenant.as_deref().unwrap_or("-"),
        )
    }
}

/// Nothing that would end the quotes or the line, or act on a terminal.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            // Writing to a String cannot fail.
            _ => drop(write!(out, "{}", c.escape_default())),
        }
    }
    out
}

/// Path and query without what may be secret.
pub fn redacted(uri: &Uri) -> String {
    let segments: Vec<_> =
        uri.path().split('/').map(|segment| if is_secret(segment) { REDACTED } else { segment }).collect();
    let mut text = segments.join("/");
    for (index, pair) in uri.query().into_iter().flat_map(|query| query.split('&')).enumerate() {
        text.push(if index == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, value)) if OPEN_PARAMETERS.contains(&name) && !is_secret(value) => text.push_str(pair),
            Some((name, _)) if !is_secret(name) => {
                let _ = write!(text, "{name}={REDACTED}");
            }
            _ => text.push_str(REDACTED),
        }
    }
    text
}

fn is_secret(text: &str) -> bool {
    if !text.contains('%') {
        return resembles_secret(text);
    }
    let plain = text.replace(['=', '&'], "");
    url::form_urlencoded::parse(plain.as_bytes()).any(|(decoded, _)| resembles_secret(&decoded))
}

/// A URL without its query and fragment.
pub fn without_query(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or_default().to_owned()
}

enum Message {
    Line(String),
    Reopen,
    Flush(oneshot::Sender<()>),
}

pub struct AccessLog {
    format: LogFormat,
    messages: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

impl AccessLog {
    /// Opens it. None: it is not wanted.
    ///
    /// # Errors
    /// A sentence about `log.access`.
    pub fn open(settings: &LogSettings) -> Result<Option<Arc<Self>>, String> {
        let Some(target) = &settings.access else { return Ok(None) };
        let mut output = Output::open(target)?;
        let (messages, received) = sync_channel(MAX_WAITING_LINES);
        let lost = Arc::new(AtomicU64::new(0));
        std::thread::Builder::new()
            .name("access-log".into())
            .spawn({
                let lost = Arc::clone(&lost);
                move || output.run(&received, &lost)
            })
            .map_err(|error| format!("there is no thread for `log.access`: {error}"))?;
        Ok(Some(Arc::new(Self { format: settings.format, messages, lost })))
    }

    /// Why it could not be opened, without making anything; of a file that is not there, whether its directory is.
    ///
    /// # Errors
    /// A sentence about `log.access`.
    pub fn check(settings: &LogSettings) -> Result<(), String> {
        let Some(AccessLogTarget::File(path)) = &settings.access else { return Ok(()) };
        match OpenOptions::new().append(true).open(path) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let directory = path.parent().unwrap_or(path);
                rustix::fs::access(directory, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK)
                    .map_err(|error| unusable(path, &error.into()))
            }
            Err(error) => Err(unusable(path, &error)),
        }
    }

    pub fn write(&self, entry: &AccessEntry) {
        if self.messages.try_send(Message::Line(entry.line(self.format))).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The file was moved away, or will be: what comes next goes to a file of the configured name.
    pub fn reopen(&self) {
        // Full only while the disk is stuck; the next reload tries again.
        let _ = self.messages.try_send(Message::Reopen);
    }

    /// Waits until everything up to now is written.
    pub async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.messages.try_send(Message::Flush(done)).is_ok() {
            let _ = tokio::time::timeout(FLUSH_TIMEOUT, flushed).await;
        }
    }
}

/// The writing side.
enum Output {
    StandardError,
    File { path: PathBuf, file: BufWriter<File> },
}

impl Output {
    fn open(target: &AccessLogTarget) -> Result<Self, String> {
        match target {
            AccessLogTarget::StandardError => Ok(Self::StandardError),
            AccessLogTarget::File(path) => Ok(Self::File { path: path.clone(), file: open(path)? }),
        }
    }

    fn run(&mut self, messages: &Receiver<Message>, lost: &AtomicU64) {
        let mut is_failing = false;
        while let Ok(first) = messages.recv() {
            let mut outcome = Ok(());
            let mut flushed = Vec::new();
            for message in std::iter::once(first).chain(messages.try_iter().take(MAX_WAITING_LINES)) {
                match message {
                    Message::Line(line) => outcome = outcome.and(self.write(line)),
                    Message::Reopen => self.reopen(),
                    Message::Flush(done) => flushed.push(done),
                }
            }
            match outcome.and_then(|()| self.flush()) {
                Err(error) if !is_failing => {
                    tracing::error!(%error, "the access log cannot be written; lines are lost");
                    is_failing = true;
                }
                Ok(()) => is_failing = false,
                Err(_) => {}
            }
            match lost.swap(0, Ordering::Relaxed) {
                0 => {}
                lines => {
                    tracing::warn!(lines, "lines of the access log were lost: they came faster than they are written");
                }
            }
            for done in flushed {
                let _ = done.send(());
            }
        }
    }

    fn write(&mut self, mut line: String) -> io::Result<()> {
        line.push('\n');
        match self {
            Self::StandardError => io::stderr().write_all(line.as_bytes()),
            Self::File { file, .. } => file.write_all(line.as_bytes()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::StandardError => Ok(()),
            Self::File { file, .. } => file.flush(),
        }
    }

    fn reopen(&mut self) {
        let Self::File { path, file } = self else { return };
        match open(path) {
            Ok(new) => {
                // What the old one still holds is written as it is dropped.
                *file = new;
                tracing::info!(path = %path.display(), "access log opened again");
            }
            Err(error) => tracing::error!(error, "the access log goes on in the file that was open"),
        }
    }
}

fn open(path: &Path) -> Result<BufWriter<File>, String> {
    let file = OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(path);
    file.map(BufWriter::new).map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, error: &io::Error) -> String {
    format!(
        "`log.access` {} cannot be written: {error}\nhint: its directory must be there, and this user must be able to write in it",
        path.display()
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn of_an_address_only_what_is_known_to_be_no_secret_is_written() {
        let key = format!("bk_live_{}", "a".repeat(32));
        for (address, written) in [
            ("/webphone/?tenant=acme", "/webphone/?tenant=acme"),
            ("/api/tenant?tenantId=acme&limit=5", "/api/tenant?tenantId=acme&limit=5"),
            (&format!("/webphone/?key={key}&pageOrigin=https://a.b"), "/webphone/?key=redacted&pageOrigin=https://a.b"),
            ("/app/?token=bt_x&dial=12", "/app/?token=redacted&dial=redacted"),
            (&format!("/?tenant={key}"), "/?tenant=redacted"),
            (&format!("/?{key}"), "/?redacted"),
            (&format!("/?{key}=1"), "/?redacted"),
            (&format!("/{key}/x"), "/redacted/x"),
            (&format!("/?tenant={}", key.replace('_', "%5f")), "/?tenant=redacted"),
            ("/?k%65y=v", "/?k%65y=redacted"),
            ("/sip", "/sip"),
        ] {
            assert_eq!(redacted(&address.parse().unwrap()), written, "{address}");
        }
        assert_eq!(without_query("https://crm.acme.com/a?session=1#x"), "https://crm.acme.com/a");
    }

    #[test]
    fn a_line_cannot_be_forged_by_what_a_client_sends() {
        let entry = AccessEntry {
            timestamp: Timestamp(1_773_489_600_007),
            target: "access",
            client: Some([192, 0, 2, 1].into()),
            tenant: Some("acme".into()),
            method: Method::GET,
            path: "/x".into(),
            protocol: Version::HTTP_2,
            status: 404,
            bytes: 12,
            duration_ms: 1.5,
            error: None,
            request_id: None,
            referer: None,
            user_agent: Some("a\"\n\u{1b}[2J\u{fc}".into()),
        };
        let line = r#"192.0.2.1 - - [14/Mar/2026:12:00:00 +0000] "GET /x HTTP/2.0" 404 12 "-" "a\"\n\u{1b}[2J\u{fc}" 0.001500 acme"#;
        assert_eq!(entry.line(LogFormat::Human), line);
        let json: serde_json::Value = serde_json::from_str(&entry.line(LogFormat::Json)).unwrap();
        assert_eq!(
            (json["timestamp"].as_str(), json["protocol"].as_str()),
            (Some("2026-03-14T12:00:00.007Z"), Some("HTTP/2.0"))
        );
    }
}
