//! Web origins (RFC 6454) and the patterns by which a tenant allows them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::refusal::InvalidValue;

const SECURE: &str = "https://";
const WILDCARD: &str = "https://*.";

/// `scheme://host[:port]`, normalised: lower case, IDNA, default port dropped.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin(String);

impl FromStr for Origin {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let url = Url::parse(text).map_err(|error| {
            InvalidValue::new(format!("{text:?} is not an origin ({error}); write it as https://crm.example.com"))
        })?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(InvalidValue::new(format!("{text:?} must start with https:// or http://")));
        }
        // `Url` adds the slash; more than an origin's parts are a mistake worth naming.
        let plain = url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if !plain {
            return Err(InvalidValue::new(format!(
                "{text:?} has more than scheme, host and port; write only {}",
                url.origin().ascii_serialization()
            )));
        }
        if matches!(url.host(), Some(Host::Domain(host)) if host.contains('*')) {
            return Err(InvalidValue::new(format!(
                "{text:?} has a wildcard in an unexpected place; only https://*.example.com is possible"
            )));
        }
        Ok(Self(url.origin().ascii_serialization()))
    }
}

/// One entry of a tenant's `allowedOrigins`: an origin, or `https://*.acme.com[:port]`
/// for every name below `acme.com` (not `acme.com` itself).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OriginPattern {
    /// As shown: normalised.
    text: String,
    /// Whether `text` starts with `https://*.`.
    wildcard: bool,
}

impl OriginPattern {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a browser's `Origin` header, which is in normal form already, is allowed.
    pub fn allows(&self, origin: &str) -> bool {
        if !self.wildcard {
            return self.text == origin;
        }
        let parent = self.text.get(WILDCARD.len() - 1..).unwrap_or_default(); // `.acme.com[:port]`
        origin.strip_prefix(SECURE).and_then(|host| host.strip_suffix(parent)).is_some_and(|labels| {
            labels.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'))
                && !labels.is_empty()
                && !labels.split('.').any(str::is_empty)
        })
    }
}

impl FromStr for OriginPattern {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let pattern = Self::parse(text)?;
        if !has_host_name(pattern.text.replacen("*.", "", 1).as_str()) {
            return Err(InvalidValue::new(format!(
                "{text:?} has a host name that cannot exist; write it as https://crm.example.com"
            )));
        }
        // Everybody can have a name below a public suffix (co.uk, github.io).
        if pattern.wildcard
            && let Some(name) = pattern.text.strip_prefix(WILDCARD).and_then(|host| host.split(':').next())
            && psl::suffix(name.as_bytes()).is_some_and(|suffix| suffix == name.as_bytes())
        {
            return Err(InvalidValue::new(format!(
                "{text:?} would allow too much: everybody can have a name below {name}; write https://*.example.{name}"
            )));
        }
        Ok(pattern)
    }
}

impl OriginPattern {
    /// As stored patterns are read, which were accepted by whatever was known of public suffixes then.
    fn parse(text: &str) -> Result<Self, InvalidValue> {
        let lower = text.to_ascii_lowercase();
        let Some(parent) = lower.strip_prefix(WILDCARD) else {
            return Ok(Self { text: text.parse::<Origin>()?.0, wildcard: false });
        };
        let parent = format!("{SECURE}{parent}").parse::<Origin>()?;
        let host = parent.0.strip_prefix(SECURE).unwrap_or_default();
        let name = host.split(':').next().unwrap_or_default();
        let is_address = host.starts_with('[') || name.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if is_address || !name.contains('.') {
            return Err(InvalidValue::new(format!(
                "{text:?} would allow too much; a wildcard needs a domain of two labels or more, as https://*.example.com"
            )));
        }
        Ok(Self { text: format!("{WILDCARD}{host}"), wildcard: true })
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl From<OriginPattern> for String {
    fn from(pattern: OriginPattern) -> Self {
        pattern.text
    }
}

impl TryFrom<String> for OriginPattern {
    type Error = InvalidValue;

    fn try_from(text: String) -> Result<Self, InvalidValue> {
        Self::parse(&text)
    }
}

/// Whether the host is an address, or consists of labels of letters, digits, hyphens and underscores. `Url` takes more.
pub fn has_host_name(url: &str) -> bool {
    match Url::parse(url).as_ref().map(Url::host) {
        Ok(Some(Host::Domain(name))) => name.strip_suffix('.').unwrap_or(name).split('.').all(|label| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        }),
        Ok(Some(Host::Ipv4(_) | Host::Ipv6(_))) => true,
        Ok(None) | Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn pattern(text: &str) -> OriginPattern {
        text.parse().unwrap()
    }

    #[test]
    fn origins_are_kept_in_the_form_browsers_send() {
        for (given, kept) in [
            ("https://CRM.Acme.com", "https://crm.acme.com"),
            ("https://crm.acme.com/", "https://crm.acme.com"),
            ("https://crm.acme.com:443", "https://crm.acme.com"),
            ("http://crm.acme.com:80", "http://crm.acme.com"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("https://bücher.example", "https://xn--bcher-kva.example"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("HTTPS://*.Acme.com", "https://*.acme.com"),
            ("https://*.acme.com:8443", "https://*.acme.com:8443"),
            ("https://*.acme.com:443", "https://*.acme.com"),
        ] {
            assert_eq!(pattern(given).as_str(), kept);
            assert_eq!(pattern(kept).as_str(), kept);
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for bad in [
            "",
            "crm.acme.com",
            "*",
            "https://*",
            "https://*.com",
            "https://*.co.uk",
            "https://a..b",
            "https://a;b.com",
            "https://a'b.com",
            "https://*.github.io:8443",
            "http://*.acme.com",
            "https://a.*.acme.com",
            "https://crm*.acme.com",
            "https://*.*.acme.com",
            "https://crm.acme.com/path",
            "https://crm.acme.com?x",
            "https://crm.acme.com#x",
            "https://user@crm.acme.com",
            "ftp://crm.acme.com",
            "null",
            "file:///",
            "https://",
            "https://*.127.0.0.1",
            "https://*.[::1]",
            "javascript:alert(1)",
        ] {
            assert!(bad.parse::<OriginPattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_plain_origin_allows_itself_only() {
        let crm = pattern("https://crm.acme.com");
        assert!(crm.allows("https://crm.acme.com"));
        for foreign in [
            "http://crm.acme.com",
            "https://crm.acme.com:8443",
            "https://acme.com",
            "https://crm.acme.com.evil.com",
            "https://evilcrm.acme.com",
            "null",
            "",
        ] {
            assert!(!crm.allows(foreign), "{foreign}");
        }
    }

    #[test]
    fn a_wildcard_allows_the_names_below_and_nothing_that_looks_like_them() {
        let below = pattern("https://*.acme.com");
        assert!(below.allows("https://crm.acme.com"));
        assert!(below.allows("https://a.b.acme.com"));
        for foreign in [
            "https://acme.com",
            "https://.acme.com",
            "http://crm.acme.com",
            "https://crm.acme.com:8443",
            "https://evilacme.com",
            "https://crm.acme.com.evil.com",
            "https://evil.com/.acme.com",
            "https://evil.com#.acme.com",
            "https://a..acme.com",
            "https://evil@crm.acme.com",
            "null",
        ] {
            assert!(!below.allows(foreign), "{foreign}");
        }
    }
}
