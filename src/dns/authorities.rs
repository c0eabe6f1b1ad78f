//! The issuer domain names of certificate authorities in CAA records (RFC 8659 section 4.2), by their ACME directories.

use url::Url;

use crate::hostname::Hostname;

/// By the documentation of each authority.
const AUTHORITY_BY_DIRECTORY: [(&str, &str); 6] = [
    ("acme-v02.api.letsencrypt.org", "letsencrypt.org"),
    ("acme-staging-v02.api.letsencrypt.org", "letsencrypt.org"),
    ("acme.zerossl.com", "sectigo.com"),
    ("dv.acme-v02.api.pki.goog", "pki.goog"),
    ("dv.acme-v02.test-api.pki.goog", "pki.goog"),
    ("acme.ssl.com", "ssl.com"),
];

/// The issuer domain names for these directories. Empty unless all of them are known: an incomplete list would forbid
/// an authority that is in use.
pub fn names_of<'u>(directories: impl IntoIterator<Item = &'u str>) -> Vec<Hostname> {
    let names: Option<Vec<Hostname>> = directories.into_iter().map(|url| name_of(url)?.parse().ok()).collect();
    let mut names = names.unwrap_or_default();
    names.sort();
    names.dedup();
    names
}

fn name_of(directory: &str) -> Option<&'static str> {
    let url = Url::parse(directory).ok()?;
    let host = url.host_str()?;
    AUTHORITY_BY_DIRECTORY.iter().find_map(|(known, name)| (host == *known).then_some(*name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_unknown_directory_leaves_no_issuer_names() {
        let names_of = |directories: &[&'static str]| -> Vec<String> {
            names_of(directories.iter().copied()).iter().map(ToString::to_string).collect()
        };
        let le = "https://acme-v02.api.letsencrypt.org/directory";
        let staging = "https://acme-staging-v02.api.letsencrypt.org/directory";
        assert_eq!(names_of(&[le, staging, "https://acme.zerossl.com/v2/DV90"]), ["letsencrypt.org", "sectigo.com"]);
        assert_eq!(names_of(&[le, "https://ca.internal/acme/directory"]), Vec::<String>::new());
        assert_eq!(names_of(&["https://acme-v02.api.letsencrypt.org.evil.example/directory"]), Vec::<String>::new());
        assert_eq!(names_of(&[]), Vec::<String>::new());
    }
}
