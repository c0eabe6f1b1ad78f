//! The fields of a certificate (RFC 5280) that Bitcall needs.

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::hostname::Hostname;
use crate::timestamp::Timestamp;

/// The server's own certificate at the head of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// The host names that it is for, in the form of [`Hostname`]; a wildcard as `*.<name>`.
    pub names: Vec<String>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// Hexadecimal, lower case.
    pub serial: String,
    /// The authority's common name, else its whole name.
    pub issuer: String,
}

impl Leaf {
    /// None if it is not a certificate.
    pub fn read(der: &[u8]) -> Option<Self> {
        let certificate = parsed(der)?;
        let alternatives = certificate.subject_alternative_name().ok().flatten();
        let names =
            alternatives.iter().flat_map(|extension| &extension.value.general_names).filter_map(|name| match name {
                GeneralName::DNSName(name) => canonical(name),
                _ => None,
            });
        let timestamp = |time: x509_parser::time::ASN1Time| Timestamp(time.timestamp().saturating_mul(1000));
        let issuer = certificate.issuer();
        let common_name = issuer.iter_common_name().next().and_then(|name| name.as_str().ok());
        Some(Self {
            names: names.collect(),
            not_before: timestamp(certificate.validity().not_before),
            not_after: timestamp(certificate.validity().not_after),
            serial: certificate.raw_serial_as_string().replace(':', "").to_lowercase(),
            issuer: common_name.map_or_else(|| issuer.to_string(), str::to_owned),
        })
    }

    /// Whether it is for a name, also by a wildcard, which stands for the leftmost label (RFC 9525 section 6.3).
    pub fn covers(&self, name: &str) -> bool {
        let parent = name.split_once('.').map(|(_, parent)| parent);
        self.names.iter().any(|own| own == name || own.strip_prefix("*.").is_some_and(|own| Some(own) == parent))
    }
}

/// Whether each certificate but the last is followed by that of its issuer.
pub fn is_in_order(chain: &[CertificateDer<'_>]) -> bool {
    chain.windows(2).all(|pair| match (parsed(&pair[0]), parsed(&pair[1])) {
        (Some(one), Some(next)) => one.issuer().as_raw() == next.subject().as_raw(),
        _ => false,
    })
}

fn parsed(der: &[u8]) -> Option<X509Certificate<'_>> {
    X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate)
}

/// In the form of [`Hostname`].
fn canonical(name: &str) -> Option<String> {
    match name.strip_prefix("*.") {
        Some(parent) => Some(format!("*.{}", parent.parse::<Hostname>().ok()?)),
        None => Some(name.parse::<Hostname>().ok()?.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn names_times_and_serial_are_read_in_canonical_form() {
        let names = ["Phone.Example.COM", "*.example.com", "192.0.2.1"].map(str::to_owned);
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "Own Authority");
        params.serial_number = Some(rcgen::SerialNumber::from(vec![0x0a, 0xbc]));
        params.not_before = time::OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        params.not_after = time::OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap();
        let made = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let leaf = Leaf::read(made.der()).unwrap();
        assert_eq!(leaf.names, ["phone.example.com", "*.example.com"]);
        assert_eq!((leaf.not_before.0, leaf.not_after.0), (1_700_000_000_000, 1_800_000_000_000));
        assert_eq!((leaf.serial.as_str(), leaf.issuer.as_str()), ("0abc", "Own Authority"));
        assert_eq!(Leaf::read(b"no certificate"), None);
    }

    #[test]
    fn a_wildcard_covers_one_label_and_not_its_parent() {
        let made = rcgen::generate_simple_self_signed(vec!["*.example.com".to_owned()]).unwrap();
        let leaf = Leaf::read(made.cert.der()).unwrap();
        assert!(leaf.covers("a.example.com") && leaf.covers("*.example.com"));
        assert!(!leaf.covers("example.com") && !leaf.covers("a.b.example.com") && !leaf.covers("com"));
    }
}
