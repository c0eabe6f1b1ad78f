//! How phones reach a SIP server, as it is stored: ICE servers with their
//! secrets, and what the platform sets for every tenant that sets nothing itself.

use std::fmt;
use std::time::Duration;

use bitcall_wire::config::{Dtmf, IceServer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::id::TenantId;
use super::settings::Change;
use super::turn_credentials::TurnCredentials;
use crate::timestamp::Timestamp;

/// One ICE server as it was set. A relay has a name and a password, or a shared
/// secret from which short-lived ones are made; never both.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IceEntry {
    pub urls: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// Shared with the relay (coturn's `use-auth-secret`). No phone ever gets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

impl IceEntry {
    /// As a phone of the tenant is told now.
    pub fn for_phones(&self, tenant: &TenantId, now: Timestamp, lifetime: Duration) -> IceServer {
        let (username, credential) = match &self.secret {
            None => (self.username.clone(), self.credential.clone()),
            Some(secret) => {
                let pass = TurnCredentials::new(secret, tenant, now, lifetime);
                (Some(pass.username), Some(pass.credential))
            }
        };
        IceServer { urls: self.urls.clone(), username, credential }
    }

    /// As the audit may tell it: whether there are secrets, but none of them.
    pub fn audit_value(&self) -> Value {
        json!({
            "urls": self.urls,
            "username": self.username,
            "hasCredential": self.credential.is_some(),
            "hasSecret": self.secret.is_some(),
        })
    }
}

/// Logs must not show secrets.
impl fmt::Debug for IceEntry {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("IceEntry").field("urls", &self.urls).finish_non_exhaustive()
    }
}

/// What tenants inherit. `None` means: the built-in SIP edge, and no ICE servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TransportDefaults {
    pub sip_domain: Option<String>,
    pub dtmf: Option<Dtmf>,
    pub wss: Option<Vec<String>>,
    pub ice_servers: Option<Vec<IceEntry>>,
}

/// A change of the platform's transport whose values are valid one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransportChange {
    pub sip_domain: Change<String>,
    pub dtmf: Change<Dtmf>,
    pub wss: Change<Vec<String>>,
    pub ice_servers: Change<Vec<IceEntry>>,
}

impl TransportDefaults {
    pub fn apply(&mut self, change: TransportChange) {
        change.sip_domain.apply(&mut self.sip_domain);
        change.dtmf.apply(&mut self.dtmf);
        change.wss.apply(&mut self.wss);
        change.ice_servers.apply(&mut self.ice_servers);
    }

    /// The record as the audit may tell it.
    pub fn audit_value(&self) -> Value {
        json!({
            "sipDomain": self.sip_domain,
            "dtmf": self.dtmf,
            "wss": self.wss,
            "iceServers": servers_audit_value(self.ice_servers.as_deref()),
        })
    }
}

pub fn servers_audit_value(servers: Option<&[IceEntry]>) -> Value {
    servers.map_or(Value::Null, |servers| servers.iter().map(IceEntry::audit_value).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn secrets_are_neither_told_nor_debugged() {
        let relay = IceEntry {
            urls: vec!["turn:relay".into()],
            username: Some("anna".into()),
            credential: Some("hush-credential".into()),
            secret: Some("hush-secret".into()),
        };
        let defaults = TransportDefaults { ice_servers: Some(vec![relay.clone()]), ..TransportDefaults::default() };
        for shown in [
            format!("{relay:?}"),
            relay.audit_value().to_string(),
            format!("{defaults:?}"),
            defaults.audit_value().to_string(),
        ] {
            assert!(!shown.contains("hush") && shown.contains("turn:relay"), "{shown}");
        }
        assert_eq!(relay.audit_value()["hasSecret"], true);
        let audited = relay.for_phones(&"acme".parse().unwrap(), Timestamp(0), Duration::from_mins(1));
        assert!(!format!("{audited:?}").contains("hush"), "the secret is for the server only");
    }
}
