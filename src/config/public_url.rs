//! The public address of the server.

use std::path::Path;

use toml::de::DeValue;
use url::Url;

use super::parse::{Setting, must_be};
use crate::hostname::Hostname;

/// `scheme://host[:port]`, no path: the base of every URL that Bitcall hands out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicUrl(Url);

impl PublicUrl {
    /// The error completes the sentence "`public_url` …".
    pub fn parse(text: &str) -> Result<Self, String> {
        const SHAPE: &str = "must be http(s)://host[:port] without a path";
        let url = Url::parse(text).map_err(|error| format!("{SHAPE}: {error} in \"{text}\""))?;
        let plain = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if plain && has_valid_host(&url) { Ok(Self(url)) } else { Err(format!("{SHAPE}, not \"{text}\"")) }
    }

    /// Without a trailing slash; a default port is left out.
    pub fn origin(&self) -> String {
        self.0.origin().ascii_serialization()
    }

    /// Of HTTPS, also where it is the default one.
    pub fn https_port(&self) -> Option<u16> {
        self.0.port_or_known_default().filter(|_| self.0.scheme() == "https")
    }

    /// Host name or address, without the port and without an IPv6 address's brackets.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default().trim_matches(['[', ']'])
    }
}

/// Whether the host is an address or a name that DNS can have; `Url` takes `a..b`, too.
pub(super) fn has_valid_host(url: &Url) -> bool {
    url.domain().is_none_or(|name| name.parse::<Hostname>().is_ok())
}

impl Setting for PublicUrl {
    fn parse(value: &DeValue<'_>, _base: &Path) -> Result<Self, String> {
        Self::parse(value.as_str().ok_or_else(|| must_be("a URL in quotes", value))?)
    }
}
