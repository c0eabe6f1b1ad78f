//! Versions of records (RFC 9110 §8.8, §13): `ETag` on the answer, `If-None-Match` on the next read, `If-Match` on a
//! change.
//!
//! A tag is the revision of the record, a dash, and a digest of the answer. All of it must be the same for a `304`.
//! `If-Match` compares the revision alone: a change is refused when the record was changed meanwhile, but not when,
//! say, a key was only used.

use axum::http::header::{HeaderMap, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use sha2::{Digest as _, Sha256};

use crate::store::Revision;

const DIGEST_BYTES: usize = 8;

/// In the extensions of a request whose endpoint supports versions.
#[derive(Clone, Copy)]
pub struct SupportsEtag;

/// The tag of an answer's body, which shows a record in `revision`.
pub fn tag(revision: Revision, body: &[u8]) -> String {
    let digest: [u8; 32] = Sha256::digest(body).into();
    let digest = digest.iter().take(DIGEST_BYTES).fold(0_u64, |digest, byte| (digest << 8) | u64::from(*byte));
    format!("\"{:x}-{digest:016x}\"", revision.0)
}

/// The revisions that `If-Match` names; `None` where any will do. Weak tags, and tags that are not ours, name no
/// revision.
pub fn expected_revisions(headers: &HeaderMap) -> Option<Vec<Revision>> {
    if !headers.contains_key(IF_MATCH) || tags(headers, &IF_MATCH).any(|tag| tag == "*") {
        return None;
    }
    Some(tags(headers, &IF_MATCH).filter_map(revision).collect())
}

/// Whether `If-None-Match` names `tag`, by weak comparison (RFC 9110 section 13.1.2).
pub fn matches_if_none_match(headers: &HeaderMap, tag: &str) -> bool {
    tags(headers, &IF_NONE_MATCH).any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}

/// Our tags hold no comma.
fn tags<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).into_iter().map(HeaderValue::to_str).map(Result::unwrap_or_default);
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

fn revision(tag: &str) -> Option<Revision> {
    let (revision, _) = tag.strip_prefix('"')?.strip_suffix('"')?.split_once('-')?;
    u64::from_str_radix(revision, 16).ok().map(Revision)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn with(name: &HeaderName, lines: &[&'static str]) -> HeaderMap {
        lines.iter().map(|line| (name.clone(), HeaderValue::from_static(line))).collect()
    }

    #[test]
    fn if_match_names_revisions_and_a_star_or_its_absence_matches_any() {
        let revisions = |lines: &[&'static str]| expected_revisions(&with(&IF_MATCH, lines));
        assert_eq!(revisions(&[]), None);
        assert_eq!(revisions(&["*"]), None);
        assert_eq!(revisions(&["\"1f-00\", \"20-01\"", "\"21-x\""]).unwrap(), [0x1f, 0x20, 0x21].map(Revision));
        for strange in ["", "W/\"1f-00\"", "1f-00", "\"1f\"", "\"zz-00\"", "\"-\"", "\""] {
            assert_eq!(revisions(&[strange]), Some(Vec::new()), "{strange:?} matches nothing");
        }
    }

    #[test]
    fn if_none_match_needs_the_whole_tag() {
        let tag = tag(Revision(31), b"body");
        assert!(tag.starts_with("\"1f-"), "{tag}");
        assert_ne!(tag, super::tag(Revision(31), b"other"));
        let known = |line: &str| {
            let line = HeaderValue::from_str(line).unwrap();
            matches_if_none_match(&HeaderMap::from_iter([(IF_NONE_MATCH, line)]), &tag)
        };
        assert!(known(&tag) && known(&format!("W/{tag}")) && known(&format!("\"x\", {tag}")) && known("*"));
        assert!(!known("\"1f-0\"") && !known(""));
    }
}
