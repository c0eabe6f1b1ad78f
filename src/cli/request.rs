//! Options that stand for fields of a request: the JSON body that they make,
//! on top of one from a file where that is given.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde_json::{Map, Value, json};

use super::{CliError, Exit};

/// Where a request comes from besides its own options.
#[derive(Debug, Args)]
pub struct ChangeSource {
    /// JSON of the whole change, as the API takes it; `-` is standard input. Options win over it
    #[arg(long, value_name = "FILE")]
    json_file: Option<PathBuf>,
    /// Back to the default, by the field's name in the API, e.g. `branding.themeColor`, `wss`; may be repeated
    #[arg(long, value_name = "FIELD")]
    reset: Vec<String>,
}

/// How phones reach their SIP server.
#[derive(Debug, Args)]
#[command(next_help_heading = "Transport")]
pub struct TransportOptions {
    /// SIP domain, e.g. `sip.acme.com`
    #[arg(long, value_name = "HOST")]
    sip_domain: Option<String>,
    /// How digits are sent
    #[arg(long, value_parser = ["rfc2833", "info"], value_name = "WAY")]
    dtmf: Option<String>,
    /// SIP WebSocket, e.g. `wss://pbx.acme.com/ws`; repeated in the order of fail-over
    #[arg(long, value_name = "URL")]
    wss: Vec<String>,
    /// ICE server: `stun:HOST`, or `turn:HOST,username=NAME,credential-file=FILE`, or `turn:HOST,secret-file=FILE`
    /// with the secret that the relay shares with Bitcall; may be repeated
    #[arg(long, value_name = "SERVER")]
    ice: Vec<String>,
}

impl TransportOptions {
    pub fn add_to(self, body: &mut ChangeBody) -> Result<(), CliError> {
        body.set("sip.domain", self.sip_domain);
        body.set("sip.dtmf", self.dtmf);
        body.set("wss", Some(self.wss).filter(|list| !list.is_empty()));
        let servers: Vec<Value> = self.ice.iter().map(|text| ice_server(text)).collect::<Result<_, _>>()?;
        body.set("iceServers", Some(servers).filter(|list| !list.is_empty()));
        Ok(())
    }
}

/// The body of a change.
pub struct ChangeBody(Map<String, Value>);

impl ChangeBody {
    /// As the file has it, without the fields that are to be reset.
    pub fn new(given: &ChangeSource) -> Result<Self, CliError> {
        let mut body = Self(match &given.json_file {
            Some(path) => read_object(path)?,
            None => Map::new(),
        });
        given.reset.iter().for_each(|field| body.put(field, Value::Null));
        Ok(body)
    }

    /// Sets the field at a path like `behavior.theme.start`, where there is a value.
    pub fn set(&mut self, path: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.put(path, value.into());
        }
    }

    /// # Errors
    /// When nothing is to be changed: that is a mistake on the command line.
    pub fn finish(self) -> Result<Value, CliError> {
        if self.0.is_empty() {
            return Err(usage_error("nothing is to be changed\nhint: --help lists what can be"));
        }
        Ok(Value::Object(self.0))
    }

    fn put(&mut self, path: &str, value: Value) {
        let (above, name) = path.rsplit_once('.').map_or((None, path), |(above, name)| (Some(above), name));
        let mut place = &mut self.0;
        for section in above.into_iter().flat_map(|above| above.split('.')) {
            let inner = place.entry(section).or_insert_with(|| json!({}));
            if !inner.is_object() {
                *inner = json!({});
            }
            let Value::Object(fields) = inner else { return };
            place = fields;
        }
        place.insert(name.to_owned(), value);
    }
}

/// `on` or `off`.
pub fn on_off() -> impl TypedValueParser<Value = bool> {
    PossibleValuesParser::new(["on", "off"]).map(|text| text == "on")
}

/// Secrets come from files: everybody on the machine can read a command line.
fn ice_server(text: &str) -> Result<Value, CliError> {
    let mut parts = text.split(',');
    let mut server = json!({ "urls": [parts.next().unwrap_or_default()] });
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        match name {
            "username" => server["username"] = value.into(),
            "credential-file" => server["credential"] = secret(value)?.into(),
            "secret-file" => server["secret"] = secret(value)?.into(),
            _ => {
                let what = format!("--ice {text}: {name:?} is not known");
                return Err(usage_error(format!("{what}\nhint: username=, credential-file= and secret-file= are")));
            }
        }
    }
    Ok(server)
}

fn secret(path: &str) -> Result<String, CliError> {
    let text = std::fs::read_to_string(path).map_err(|error| usage_error(format!("{path}: {error}")))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

fn read_object(path: &Path) -> Result<Map<String, Value>, CliError> {
    let mut text = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text))
    };
    read.map_err(|error| usage_error(format!("{}: {error}", path.display())))?;
    serde_json::from_str(&text).map_err(|error| usage_error(format!("{}: no JSON object: {error}", path.display())))
}

pub fn usage_error(message: impl Into<String>) -> CliError {
    CliError::new(Exit::Misconfigured, message)
}
