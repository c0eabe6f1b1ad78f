//! The phone, the loader and the site, embedded by `build.rs`: already
//! minified, hashed and compressed, so that answering is choosing.

use axum::body::Body;
use bytes::Bytes;
use hyper::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};

/// One embedded file.
pub struct Asset {
    /// Absolute URL path.
    pub path: &'static str,
    pub content_type: &'static str,
    pub body: &'static [u8],
    /// The body compressed, where that is smaller.
    pub brotli: Option<&'static [u8]>,
    pub gzip: Option<&'static [u8]>,
    /// Quoted, of the uncompressed body.
    pub etag: &'static str,
    /// The path contains a hash of the body: never asked for again.
    pub immutable: bool,
}

include!(concat!(env!("OUT_DIR"), "/assets.rs"));

const LOADER: &str = "/webphone/loader.js";
const PHONE_PAGE: &str = "/webphone/";

/// What the phone page may load besides scripts. All but the script that starts the phone are files, so nothing else is
/// allowed inline.
const PHONE_POLICY: &str = "worker-src 'self'; style-src 'self'; img-src 'self' https: data:; \
    media-src 'self' https: blob:; connect-src 'self' https: ws: wss:; base-uri 'none'; form-action 'none'";

/// For the site: it runs the loader, which frames the phone.
const SITE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' https: data:; connect-src 'self'; frame-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

const CROSS_ORIGIN_EMBEDDER_POLICY: HeaderName = HeaderName::from_static("cross-origin-embedder-policy");
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// The asset at `path`, if there is one.
pub fn find(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

impl Asset {
    /// Whether it is the page that loaders frame, which is answered for one tenant.
    pub fn is_phone_page(&self) -> bool {
        self.path == PHONE_PAGE
    }

    /// `200`, or `304` when the browser has it already. The phone's page, with its `frame_ancestors`, is always
    /// answered in full: an origin that the tenant no more allows must not frame it.
    pub fn answer(&self, request: &HeaderMap, frame_ancestors: Option<&str>) -> Response<Body> {
        let (coding, body) = self.choose(request);
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        if frame_ancestors.is_some() {
            // With no-store the pages around it would be kept out of the browser's back/forward cache. A proxy that rewrote the
            // inline script would stop the phone, as its hash would be another (RFC 9111 section 5.2.2.6).
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache, no-transform"));
        } else {
            headers.insert(ETAG, tag(self.etag, coding));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static(self.caching()));
        }
        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
        // Any page may load these, also one that isolates itself (COEP), or checks integrity (SRI).
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
        // A page with COEP frames only pages, and these run only workers, that have it, too (HTML standard, section 7.1.4).
        // `require-corp` would take the tenants' logos from the phone.
        headers.insert(CROSS_ORIGIN_EMBEDDER_POLICY, HeaderValue::from_static("credentialless"));
        if frame_ancestors.is_none() && self.already_there(request) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if let Some(coding) = coding.header() {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
        if self.content_type.starts_with("text/html") {
            let policy = match frame_ancestors {
                None => HeaderValue::from_static(SITE_POLICY),
                // It consists of origins, which are ASCII; what is none is framed by nobody.
                Some(ancestors) => HeaderValue::try_from(format!(
                    "default-src 'none'; script-src 'self' {INLINE_SCRIPTS} 'wasm-unsafe-eval'; {PHONE_POLICY}; {ancestors}"
                ))
                .unwrap_or_else(|_| HeaderValue::from_static("frame-ancestors 'none'")),
            };
            headers.insert(CONTENT_SECURITY_POLICY, policy);
            headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        }
        *response.body_mut() = Bytes::from_static(body).into();
        response
    }

    fn caching(&self) -> &'static str {
        if self.immutable {
            "public, max-age=31536000, immutable"
        } else if self.path == LOADER {
            // Thousands of host pages load it on every view.
            "public, max-age=300"
        } else {
            "no-cache"
        }
    }

    fn choose(&self, request: &HeaderMap) -> (Coding, &'static [u8]) {
        let accepted = Accepted::read(request);
        match (self.brotli, self.gzip) {
            (Some(body), _) if accepted.brotli => (Coding::Brotli, body),
            (_, Some(body)) if accepted.gzip => (Coding::Gzip, body),
            _ => (Coding::Identity, self.body),
        }
    }

    /// RFC 9110 section 13.1.2, by weak comparison. A tag of any coding counts:
    /// the bytes behind them are the same.
    fn already_there(&self, request: &HeaderMap) -> bool {
        let own = self.etag.trim_matches('"');
        request
            .get_all(IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|list| list.split(','))
            .map(|tag| tag.trim().trim_start_matches("W/").trim_matches('"'))
            .any(|tag| tag == "*" || tag.strip_prefix(own).is_some_and(Coding::is_suffix))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Coding {
    Identity,
    Brotli,
    Gzip,
}

impl Coding {
    fn header(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Brotli => Some("br"),
            Self::Gzip => Some("gzip"),
        }
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::Identity => "",
            Self::Brotli => "-br",
            Self::Gzip => "-gzip",
        }
    }

    fn is_suffix(text: &str) -> bool {
        [Self::Identity, Self::Brotli, Self::Gzip].iter().any(|coding| coding.suffix() == text)
    }
}

/// A strong tag names one sequence of bytes, so each coding needs its own.
fn tag(etag: &'static str, coding: Coding) -> HeaderValue {
    let own = etag.trim_matches('"');
    HeaderValue::try_from(format!("\"{own}{}\"", coding.suffix())).unwrap_or_else(|_| HeaderValue::from_static(etag))
}

/// What `Accept-Encoding` allows (RFC 9110 section 12.5.3).
#[derive(Default)]
struct Accepted {
    brotli: bool,
    gzip: bool,
}

impl Accepted {
    fn read(request: &HeaderMap) -> Self {
        let (mut brotli, mut gzip, mut others) = (None, None, None);
        let listed = request
            .get_all(ACCEPT_ENCODING)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|list| list.split(','));
        for item in listed {
            let mut parts = item.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let refused = parts.any(|parameter| {
                parameter
                    .split_once('=')
                    .filter(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
                    .is_some_and(|(_, q)| q.trim().parse::<f32>().is_ok_and(|q| q <= 0.0))
            });
            if name.eq_ignore_ascii_case("br") {
                brotli = Some(!refused);
            } else if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
                gzip = Some(!refused);
            } else if name == "*" {
                others = Some(!refused);
            }
        }
        Self { brotli: brotli.or(others).unwrap_or(false), gzip: gzip.or(others).unwrap_or(false) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    /// `build.rs` makes them from the definition of the host API.
    #[test]
    fn the_loaders_types_in_the_repository_are_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/widget/loader/loader.d.ts");
        let made = std::str::from_utf8(find("/webphone/loader.d.ts").unwrap().body).unwrap();
        if std::env::var_os("BITCALL_REGENERATE").is_some() {
            std::fs::write(path, made).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap();
        let how = "run BITCALL_REGENERATE=1 cargo test --bin bitcall";
        assert!(kept == made, "widget/loader/loader.d.ts is stale: {how}");
    }
}
