//! Rate limits: per address for every request, per API key, tenant and origin
//! for those of phones and tenants' back ends. Whoever may open the control
//! socket, and this process itself, are not limited.
//!
//! Wrong credentials have a much smaller limit per address. Once an address has used it up, the operator's secrets are
//! not even compared for it. API keys are: their 160 random bits cannot be guessed, and behind one address there may be
//! one page with an old key and many with valid ones.
//!
//! Callers are told by `RateLimit-Policy`, `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11)
//! and `Retry-After`.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::extract::Request;
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};

use super::access::EntryPoint;
use super::code::Code;
use super::error::{ApiError, RetryHint};
use crate::config;
use crate::rate_limiter::{ClientNetwork, Exceeded, FailureLimiter, RateLimiter, Standing};
use crate::tenancy::KeyState;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// All limits of one server.
pub struct RequestLimits {
    address: ArcSwap<RateLimiter>,
    key: ArcSwap<RateLimiter>,
    tenant: ArcSwap<RateLimiter>,
    origin: ArcSwap<RateLimiter>,
    wrong_credentials: ArcSwap<FailureLimiter>,
}

/// What a limit counts by, as callers are told in `RateLimit-Policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Address,
    Key,
    Tenant,
    Origin,
    WrongCredentials,
}

/// A request over the limit of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitExceeded {
    policy: Policy,
    exceeded: Exceeded,
}

/// Where a caller stands by one policy.
type PolicyStanding = (Policy, Standing);

impl RequestLimits {
    pub fn new(settings: &config::LimitSettings) -> Self {
        Self {
            address: limiter(settings.requests_per_address),
            key: limiter(settings.requests_per_key),
            tenant: limiter(settings.requests_per_tenant),
            origin: limiter(settings.requests_per_origin),
            wrong_credentials: failure_limiter(settings.wrong_credentials_per_address),
        }
    }

    /// Takes the limits of `new` that are other ones than in `old`; what was counted for these is forgotten.
    pub fn replace(&self, old: &config::LimitSettings, new: &config::LimitSettings) {
        for (current, old, new) in [
            (&self.address, old.requests_per_address, new.requests_per_address),
            (&self.key, old.requests_per_key, new.requests_per_key),
            (&self.tenant, old.requests_per_tenant, new.requests_per_tenant),
            (&self.origin, old.requests_per_origin, new.requests_per_origin),
        ] {
            if old != new {
                current.store(Arc::new(RateLimiter::per_minute(new)));
            }
        }
        if old.wrong_credentials_per_address != new.wrong_credentials_per_address {
            self.wrong_credentials.store(Arc::new(FailureLimiter::per_minute(new.wrong_credentials_per_address)));
        }
    }

    /// For a router that is only called by this process.
    pub fn none() -> Self {
        let none = || limiter(0);
        Self { address: none(), key: none(), tenant: none(), origin: none(), wrong_credentials: failure_limiter(0) }
    }

    /// Any request from the network.
    pub fn count_request(&self, source: ClientNetwork) -> Result<Option<PolicyStanding>, LimitExceeded> {
        Policy::Address.of(self.address.load().check(source))
    }

    /// A request with a good API key.
    pub fn count_admitted(&self, key: &KeyState, origin: Option<&str>) -> Result<Standings, LimitExceeded> {
        let standings = [
            Policy::Key.of(self.key.load().check(&key.id))?,
            Policy::Tenant.of(self.tenant.load().check(&key.state.tenant.id))?,
            origin.map_or(Ok(None), |origin| Policy::Origin.of(self.origin.load().check(origin)))?,
        ];
        Ok(Standings(standings))
    }

    /// Refuses an address that has sent too many wrong credentials.
    pub fn check_failures(&self, source: Option<ClientNetwork>) -> Result<(), LimitExceeded> {
        let outcome = source.map_or(Ok(()), |source| self.wrong_credentials.load().may_try(source));
        outcome.map_err(|exceeded| LimitExceeded { policy: Policy::WrongCredentials, exceeded })
    }

    /// Counts wrong credentials of an address.
    pub fn count_failure(&self, source: Option<ClientNetwork>) -> Result<(), LimitExceeded> {
        let outcome = source.map_or(Ok(()), |source| self.wrong_credentials.load().failed(source).map(drop));
        outcome.map_err(|exceeded| LimitExceeded { policy: Policy::WrongCredentials, exceeded })
    }
}

fn limiter(per_minute: u32) -> ArcSwap<RateLimiter> {
    ArcSwap::from_pointee(RateLimiter::per_minute(per_minute))
}

fn failure_limiter(per_minute: u32) -> ArcSwap<FailureLimiter> {
    ArcSwap::from_pointee(FailureLimiter::per_minute(per_minute))
}

impl Policy {
    fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Key => "key",
            Self::Tenant => "tenant",
            Self::Origin => "origin",
            Self::WrongCredentials => "wrong-credentials",
        }
    }

    fn of(self, outcome: Result<Option<Standing>, Exceeded>) -> Result<Option<PolicyStanding>, LimitExceeded> {
        match outcome {
            Ok(standing) => Ok(standing.map(|standing| (self, standing))),
            Err(exceeded) => Err(LimitExceeded { policy: self, exceeded }),
        }
    }
}

/// The network that a request came from. `None` for callers that are not limited.
pub fn client_network(parts: &Parts) -> Option<ClientNetwork> {
    client_address(parts).map(ClientNetwork::of)
}

/// See [`EntryPoint::client_address`].
pub fn client_address(parts: &Parts) -> Option<IpAddr> {
    EntryPoint::of(parts).client_address(&parts.headers)
}

/// Plain HTTP is for a reverse proxy on this machine, which adds its client's address at the end.
pub fn behind_proxy(peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let forwarded =
        || headers.get_all(X_FORWARDED_FOR).iter().next_back()?.to_str().ok()?.rsplit(',').next()?.trim().parse().ok();
    if peer.is_loopback() { forwarded().unwrap_or(peer) } else { peer }
}

/// Where the caller stands by each limit of its key, tenant and origin.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standings([Option<PolicyStanding>; 3]);

/// In the extensions of a response whose `RateLimit` headers would be a large part of it: the runtime configuration,
/// which every page view asks for. Its refusals have them.
#[derive(Clone, Copy)]
pub struct OmitRateLimit;

/// Counts every request per address, has it answered by `route`, and adds the `RateLimit` headers to the response.
pub async fn enforce<F>(limits: &RequestLimits, request: Request, route: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Response>,
{
    let (parts, body) = request.into_parts();
    let Some(source) = client_network(&parts) else {
        return route(Request::from_parts(parts, body)).await;
    };
    let standing = match limits.count_request(source) {
        Ok(standing) => standing,
        Err(too_many) => {
            let mut refusal = ApiError::from(too_many).into_response();
            if parts.headers.contains_key(ORIGIN) {
                // The refusal reveals nothing about a tenant, so every page may read it.
                refusal.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            }
            return refusal;
        }
    };
    let mut response = route(Request::from_parts(parts, body)).await;
    if response.extensions_mut().remove::<OmitRateLimit>().is_some() {
        return response;
    }
    let of_key = response.extensions_mut().remove::<Standings>().unwrap_or_default().0;
    let (mut policies, mut standings) = (String::new(), String::new());
    for (policy, standing) in standing.into_iter().chain(of_key.into_iter().flatten()) {
        let (policy, Standing { quota, remaining, reset }) = (policy.name(), standing);
        let comma = if policies.is_empty() { "" } else { ", " };
        // Writing to a String cannot fail.
        let _ = write!(policies, "{comma}\"{policy}\";q={quota};w=60");
        let _ = write!(standings, "{comma}\"{policy}\";r={remaining};t={}", whole_seconds(reset));
    }
    if !policies.is_empty() && !response.headers().contains_key(RATE_LIMIT) {
        set_headers(response.headers_mut(), policies, standings);
    }
    response
}

impl LimitExceeded {
    /// Until the next request is allowed.
    pub fn retry_after(&self) -> Duration {
        self.exceeded.retry_after
    }

    /// For the refusal's header.
    pub fn set_headers(&self, headers: &mut HeaderMap) {
        let (policy, Exceeded { quota, retry_after }) = (self.policy.name(), self.exceeded);
        let policies = format!("\"{policy}\";q={quota};w=60");
        set_headers(headers, policies, format!("\"{policy}\";r=0;t={}", whole_seconds(retry_after)));
    }
}

impl From<LimitExceeded> for ApiError {
    fn from(too_many: LimitExceeded) -> Self {
        let seconds = whole_seconds(too_many.retry_after());
        let whose = match too_many.policy {
            Policy::WrongCredentials => "wrong credentials from this address",
            Policy::Address => "requests from this address",
            Policy::Key => "requests with this API key",
            Policy::Tenant => "requests for this tenant",
            Policy::Origin => "requests from pages of this origin",
        };
        Self {
            later: Some(RetryHint::Limit(too_many)),
            ..Self::new(Code::RateLimited, format!("too many {whose}; the next is answered in {seconds} s"))
        }
    }
}

fn set_headers(headers: &mut HeaderMap, policies: String, standings: String) {
    for (name, text) in [(RATE_LIMIT_POLICY, policies), (RATE_LIMIT, standings)] {
        if let Ok(text) = HeaderValue::try_from(text) {
            headers.insert(name, text);
        }
    }
}

/// Whole seconds, rounded up: a caller who waits that long is not refused again.
pub fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn source(address: &str) -> ClientNetwork {
        ClientNetwork::of(address.parse().unwrap())
    }

    #[test]
    fn an_ipv6_64_prefix_or_an_ipv4_address_is_one_client() {
        assert_eq!(source("2001:db8:1:2::1"), source("2001:db8:1:2:ffff::9"));
        assert_ne!(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
        assert_eq!(source("::ffff:192.0.2.1"), source("192.0.2.1"));
        assert_ne!(source("192.0.2.1"), source("192.0.2.2"));
        assert_ne!(source("::1"), source("0.0.0.1"));
    }

    #[test]
    fn behind_a_proxy_of_this_machine_the_last_forwarded_address_counts() {
        let behind = |peer: &str, forwarded: &[&'static str]| {
            let lines = forwarded.iter().map(|line| (X_FORWARDED_FOR, HeaderValue::from_static(line)));
            behind_proxy(peer.parse().unwrap(), &lines.collect()).to_string()
        };
        assert_eq!(behind("127.0.0.1", &["198.51.100.9, 192.0.2.7"]), "192.0.2.7");
        assert_eq!(behind("127.0.0.1", &["198.51.100.9", "192.0.2.8"]), "192.0.2.8");
        assert_eq!(behind("127.0.0.1", &[]), "127.0.0.1");
        assert_eq!(behind("127.0.0.1", &["nonsense"]), "127.0.0.1");
        assert_eq!(behind("203.0.113.1", &["192.0.2.7"]), "203.0.113.1", "anybody else may write what they like");
    }
}
