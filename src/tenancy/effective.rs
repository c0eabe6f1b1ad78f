//! What is in effect for a tenant: plan ∧ tenant ∧ platform, worked out here
//! and nowhere else. The panel's reads and the phone's runtime configuration
//! both show exactly this.

use bitcall_wire::config::{
    Behavior, Branding, Capabilities, Features, HostBehavior, IceServer, RuntimeConfig, Sip, Theme,
};
use serde::Serialize;
use url::Url;

use super::id::TenantId;
use super::plan::Entitlements;
use super::settings::Settings;

/// What the platform provides where a tenant says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// Where browsers reach this server, e.g. `https://phone.example/` or `http://127.0.0.1:8080/`.
    pub public_url: Url,
    /// A tenant's domain on the built-in SIP edge is `<tenant>.<edge_domain>`.
    pub edge_domain: String,
    pub ice_servers: Vec<IceServer>,
}

impl Defaults {
    /// The tenant's domain, and digest realm, on the built-in edge.
    pub fn edge_domain_of(&self, tenant: &TenantId) -> String {
        format!("{}.{}", tenant.dns_label(), self.edge_domain)
    }

    /// The page that the loader frames.
    pub fn ui_url(&self) -> String {
        self.at("/webphone/").into()
    }

    /// The built-in edge's WebSocket.
    pub fn edge_wss(&self) -> String {
        let mut url = self.at("/sip");
        // Infallible between http(s) and ws(s), which are of one kind to `Url`.
        let _ = url.set_scheme(if url.scheme() == "http" { "ws" } else { "wss" });
        url.into()
    }

    fn at(&self, path: &str) -> Url {
        let mut url = self.public_url.clone();
        url.set_path(path);
        url.set_query(None);
        url.set_fragment(None);
        url
    }
}

/// The values in effect for one tenant.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Effective {
    pub branding: Branding,
    pub behavior: Behavior,
    pub capabilities: Capabilities,
    pub features: Features,
    pub transport: Transport,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Transport {
    pub mode: TransportMode,
    pub sip: Sip,
    pub wss: Vec<String>,
    pub ice_servers: Vec<IceServer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum TransportMode {
    /// The built-in SIP edge.
    Edge,
    /// A PBX of the tenant's own: domain or WebSocket are set.
    Custom,
}

/// The one place where plan, tenant and platform are merged.
pub fn effective(tenant: &TenantId, settings: &Settings, rights: &Entitlements, defaults: &Defaults) -> Effective {
    let branded = |value: &Option<String>| value.clone().filter(|_| rights.custom_branding);
    let own_domain = settings.sip_domain.clone().filter(|_| rights.sip_host_override);
    let own_wss = settings.wss.clone().filter(|_| rights.wss_override);
    let own_ice = settings.ice_servers.clone().filter(|_| rights.ice_override);
    Effective {
        branding: Branding {
            // The name is who the tenant is, not how it looks: no plan takes it away.
            display_name: settings.display_name.clone().unwrap_or_else(|| tenant.to_string()),
            logo_light: branded(&settings.logo_light),
            logo_dark: branded(&settings.logo_dark),
            theme_color: branded(&settings.theme_color).unwrap_or_else(|| ACCENT.into()),
            header_mode: settings.header_mode.filter(|_| rights.custom_branding).unwrap_or_default(),
        },
        behavior: Behavior {
            host: HostBehavior { mode: settings.sign_in.unwrap_or_default() },
            session_restore: settings.session_restore.unwrap_or_default(),
            theme: Theme {
                start: settings.theme_start.unwrap_or_default(),
                lock: settings.theme_lock.unwrap_or_default(),
            },
            cookie_mode: settings.cookie_mode.unwrap_or_default(),
        },
        capabilities: Capabilities {
            max_sessions: rights.max_sessions,
            transfer_blind: rights.transfer,
            popup_mode: rights.popup_mode && settings.popup_mode.unwrap_or(true),
            installable: settings.installable.unwrap_or(true),
            audio_clips: rights.audio_clips && settings.audio_clips.unwrap_or(true),
        },
        features: Features::default(),
        transport: Transport {
            mode: if own_domain.is_some() || own_wss.is_some() { TransportMode::Custom } else { TransportMode::Edge },
            sip: Sip {
                domain: Some(own_domain.unwrap_or_else(|| defaults.edge_domain_of(tenant))),
                dtmf: settings.dtmf.unwrap_or_default(),
            },
            wss: own_wss.unwrap_or_else(|| vec![defaults.edge_wss()]),
            ice_servers: own_ice.unwrap_or_else(|| defaults.ice_servers.clone()),
        },
    }
}

impl Effective {
    /// What the phone is told.
    pub fn runtime_config(&self, tenant: &TenantId, defaults: &Defaults) -> RuntimeConfig {
        RuntimeConfig {
            tenant_id: tenant.to_string(),
            ui_url: defaults.ui_url(),
            storage_namespace: format!("bitcall:{tenant}"),
            ws_url: self.transport.wss.first().cloned(),
            wss: self.transport.wss.clone(),
            ice_servers: self.transport.ice_servers.clone(),
            sip: self.transport.sip.clone(),
            behavior: self.behavior.clone(),
            branding: self.branding.clone(),
            capabilities: self.capabilities.clone(),
            features: self.features.clone(),
        }
    }
}

/// The accent of phones without branding of their own.
const ACCENT: &str = "#14b8a6";
