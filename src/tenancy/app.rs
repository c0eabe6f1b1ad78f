//! Whose standalone app is opened at an address: a name leads to its tenant, and
//! at the server's own names the query says which.

use std::sync::Arc;

use super::platform::Platform;
use super::refusal::Refusal;
use super::tenant_state::TenantState;

/// One tenant's app, at one address.
pub struct App {
    pub state: Arc<TenantState>,
    /// The name that leads to the tenant; without one its address needs the query.
    pub host: Option<String>,
}

impl Platform {
    /// `authority` is the address that the request was sent to, with or without a port; `named`
    /// the tenant in its query.
    ///
    /// On a tenant's name no other tenant is to be had: what the browser keeps there is this one's.
    pub fn app(&self, authority: &str, named: Option<&str>) -> Result<App, Refusal> {
        let host = host_in(authority);
        let snapshot = self.snapshot();
        let app = if let Some(state) = snapshot.on_host(&host) {
            let agrees = named.is_none_or(|named| state.tenant.id.as_str() == named);
            agrees.then(|| App { state: Arc::clone(state), host: Some(host) })
        } else if snapshot.defaults().names.label_of(&host).is_some_and(|_| !snapshot.defaults().names.are_ours(&host))
        {
            // A tenant's name, if it led anywhere.
            None
        } else {
            let state = named.and_then(|named| snapshot.tenant(named));
            state.map(|state| App { state: Arc::clone(state), host: None })
        };
        let app = app.ok_or(Refusal::AppNotFound)?;
        if app.state.tenant.enabled { Ok(app) } else { Err(Refusal::TenantDisabled) }
    }
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
