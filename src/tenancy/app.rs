//! Whose standalone app is opened at an address: a name leads to its tenant, and
//! at the server's own names the query says which.

use std::sync::Arc;

use super::effective::Effective;
use super::id::TenantId;
use super::platform::Platform;
use super::refusal::Refusal;
use super::snapshot::Snapshot;
use super::tenant_state::TenantState;

/// What everybody may know of one tenant's app, at one address.
pub struct PublicApp {
    pub tenant: TenantId,
    pub effective: Effective,
    /// The name that leads to the tenant; without one its address needs the query.
    pub host: Option<String>,
}

/// To whom an address leads.
enum Address<'s> {
    /// A name that is this tenant's.
    Tenant { state: &'s Arc<TenantState>, host: String },
    /// A tenant's name, if it led anywhere.
    Nobody,
    /// The query says to whom.
    Query,
}

impl Platform {
    /// The tenant whose app is opened. `authority` is the address that the request was sent to, with or without a port;
    /// `named` the tenant in its query, or of the token that is redeemed.
    ///
    /// On a tenant's name no other tenant is to be had: what the browser keeps there is this one's.
    pub fn app_tenant(&self, authority: &str, named: &TenantId) -> Result<Arc<TenantState>, Refusal> {
        let snapshot = self.snapshot();
        let state = match address(&snapshot, authority) {
            Address::Tenant { state, .. } => Some(state).filter(|state| state.tenant.id == *named),
            Address::Nobody => None,
            Address::Query => snapshot.tenant(named.as_str()),
        };
        enabled(state.ok_or(Refusal::AppNotFound)?).cloned()
    }

    /// The app that is opened, for somebody who has shown neither a key nor a token.
    ///
    /// A query can guess. So for a tenant that does not exist, or is disabled, it gets what it would get for one without
    /// settings, which is worked out for every query, so that it takes the same time.
    pub fn public_app(&self, authority: &str, named: Option<&str>) -> Result<PublicApp, Refusal> {
        let snapshot = self.snapshot();
        let named = named.map(|named| named.parse::<TenantId>().map_err(|_| Refusal::AppNotFound)).transpose()?;
        let app = |state: &TenantState, host| PublicApp {
            tenant: state.tenant.id.clone(),
            effective: snapshot.values_of(state).effective,
            host,
        };
        match address(&snapshot, authority) {
            Address::Tenant { state, .. } if named.as_ref().is_some_and(|named| state.tenant.id != *named) => {
                Err(Refusal::AppNotFound)
            }
            Address::Tenant { state, host } => enabled(state).map(|state| app(state, Some(host))),
            Address::Nobody => Err(Refusal::AppNotFound),
            Address::Query => {
                let named = named.ok_or(Refusal::AppNotFound)?;
                let without_settings = snapshot.effective_without_settings(&named);
                Ok(match snapshot.tenant(named.as_str()).filter(|state| state.tenant.enabled) {
                    Some(state) => app(state, None),
                    None => PublicApp { tenant: named, effective: without_settings, host: None },
                })
            }
        }
    }
}

fn address<'s>(snapshot: &'s Snapshot, authority: &str) -> Address<'s> {
    let (host, names) = (host_in(authority), &snapshot.defaults().names);
    if let Some(state) = snapshot.on_host(&host) {
        Address::Tenant { state, host }
    } else if names.label_of(&host).is_some() && !names.are_ours(&host) {
        Address::Nobody
    } else {
        Address::Query
    }
}

fn enabled(state: &Arc<TenantState>) -> Result<&Arc<TenantState>, Refusal> {
    if state.tenant.enabled { Ok(state) } else { Err(Refusal::TenantDisabled) }
}

/// The host of `host[:port]` in the form in which names are kept.
fn host_in(authority: &str) -> String {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::host_in;

    #[test]
    fn the_host_is_found_in_every_authority() {
        for (authority, host) in [
            ("acme.bitcall.example", "acme.bitcall.example"),
            ("Acme.Bitcall.Example:8443", "acme.bitcall.example"),
            ("acme.bitcall.example.", "acme.bitcall.example"),
            ("acme.bitcall.example.:443", "acme.bitcall.example"),
            ("127.0.0.1:80", "127.0.0.1"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("", ""),
        ] {
            assert_eq!(host_in(authority), host, "{authority}");
        }
    }
}
