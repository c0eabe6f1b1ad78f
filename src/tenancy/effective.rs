//! What is in effect for a tenant: plan ∧ tenant ∧ platform, worked out here
//! and nowhere else. The panel's reads and the phone's runtime configuration
//! both show exactly this.

use bitcall_wire::config::{
    Behavior, Branding, Capabilities, Features, HostBehavior, IceServer, RuntimeConfig, Sip, Theme,
};
use schemars::JsonSchema;
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

    /// The standalone app.
    pub fn app_url(&self) -> String {
        self.at("/app/").into()
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
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Effective {
    pub branding: Branding,
    pub behavior: Behavior,
    pub capabilities: Capabilities,
    pub features: Features,
    pub transport: Transport,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Transport {
    pub mode: TransportMode,
    pub sip: Sip,
    pub wss: Vec<String>,
    pub ice_servers: Vec<IceServer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::tenancy::plan;

    fn defaults() -> Defaults {
        Defaults {
            public_url: "https://phone.example/".parse().unwrap(),
            edge_domain: "sip.example".into(),
            ice_servers: vec![stun("stun:platform")],
        }
    }

    fn stun(url: &str) -> IceServer {
        IceServer { urls: vec![url.into()], username: None, credential: None }
    }

    /// Everything that a tenant can wish for, and none of it a default.
    fn wishes() -> Settings {
        Settings {
            display_name: Some("Acme".into()),
            logo_light: Some("https://l".into()),
            logo_dark: Some("https://d".into()),
            theme_color: Some("#ff0000".into()),
            header_mode: Some(bitcall_wire::config::HeaderMode::Logo),
            popup_mode: Some(false),
            installable: Some(false),
            audio_clips: Some(false),
            sip_domain: Some("pbx.acme.com".into()),
            dtmf: Some(bitcall_wire::config::Dtmf::Info),
            wss: Some(vec!["wss://pbx.acme.com/".into()]),
            ice_servers: Some(vec![stun("stun:acme")]),
            ..Settings::default()
        }
    }

    fn rights(change: impl Fn(&mut Entitlements)) -> Entitlements {
        let mut rights = plan::seeds().into_iter().find(|plan| plan.id == "enterprise").unwrap().entitlements;
        change(&mut rights);
        rights
    }

    fn in_effect(settings: &Settings, rights: &Entitlements) -> Effective {
        effective(&"acme_corp".parse().unwrap(), settings, rights, &defaults())
    }

    /// One line per rule: whether the tenant wished, what the plan withholds, what must come out.
    #[test]
    fn plan_and_tenant_and_platform_meet_in_every_value() {
        type Rule = (&'static str, bool, fn(&mut Entitlements), fn(&Effective) -> bool);
        let rules: &[Rule] = &[
            ("no wish, full plan: name", false, |_| {}, |e| e.branding.display_name == "acme_corp"),
            ("no wish, full plan: accent", false, |_| {}, |e| e.branding.theme_color == ACCENT),
            ("no wish, full plan: logos", false, |_| {}, |e| e.branding.logo_light.is_none()),
            ("no wish, full plan: pop-up", false, |_| {}, |e| e.capabilities.popup_mode),
            ("no wish, full plan: clips", false, |_| {}, |e| e.capabilities.audio_clips),
            ("no wish, full plan: install", false, |_| {}, |e| e.capabilities.installable),
            ("no wish: edge", false, |_| {}, |e| e.transport.mode == TransportMode::Edge),
            ("no wish: domain", false, |_| {}, |e| e.transport.sip.domain.as_deref() == Some("acme-corp.sip.example")),
            ("no wish: wss", false, |_| {}, |e| e.transport.wss == ["wss://phone.example/sip"]),
            ("no wish: ice", false, |_| {}, |e| e.transport.ice_servers == [stun("stun:platform")]),
            ("wish granted: name", true, |_| {}, |e| e.branding.display_name == "Acme"),
            ("wish granted: accent", true, |_| {}, |e| e.branding.theme_color == "#ff0000"),
            ("wish granted: logos", true, |_| {}, |e| e.branding.logo_dark.as_deref() == Some("https://d")),
            ("wish granted: pop-up off", true, |_| {}, |e| !e.capabilities.popup_mode),
            ("wish granted: clips off", true, |_| {}, |e| !e.capabilities.audio_clips),
            ("wish granted: install off", true, |_| {}, |e| !e.capabilities.installable),
            ("wish granted: custom", true, |_| {}, |e| e.transport.mode == TransportMode::Custom),
            ("wish granted: domain", true, |_| {}, |e| e.transport.sip.domain.as_deref() == Some("pbx.acme.com")),
            ("wish granted: wss", true, |_| {}, |e| e.transport.wss == ["wss://pbx.acme.com/"]),
            ("wish granted: ice", true, |_| {}, |e| e.transport.ice_servers == [stun("stun:acme")]),
            ("no branding: name stays", true, |r| r.custom_branding = false, |e| e.branding.display_name == "Acme"),
            ("no branding: accent", true, |r| r.custom_branding = false, |e| e.branding.theme_color == ACCENT),
            ("no branding: logos", true, |r| r.custom_branding = false, |e| e.branding.logo_light.is_none()),
            (
                "no branding: header",
                true,
                |r| r.custom_branding = false,
                |e| e.branding.header_mode == bitcall_wire::config::HeaderMode::Both,
            ),
            ("no pop-up in the plan", false, |r| r.popup_mode = false, |e| !e.capabilities.popup_mode),
            ("no clips in the plan", false, |r| r.audio_clips = false, |e| !e.capabilities.audio_clips),
            ("no transfer in the plan", false, |r| r.transfer = false, |e| !e.capabilities.transfer_blind),
            ("calls at a time", false, |r| r.max_sessions = 7, |e| e.capabilities.max_sessions == 7),
            (
                "no own host",
                true,
                |r| r.sip_host_override = false,
                |e| e.transport.sip.domain.as_deref() == Some("acme-corp.sip.example"),
            ),
            (
                "no own host: digits stay",
                true,
                |r| r.sip_host_override = false,
                |e| e.transport.sip.dtmf == bitcall_wire::config::Dtmf::Info,
            ),
            ("no own wss", true, |r| r.wss_override = false, |e| e.transport.wss == ["wss://phone.example/sip"]),
            ("no own ice", true, |r| r.ice_override = false, |e| e.transport.ice_servers == [stun("stun:platform")]),
        ];
        for (name, wished, withhold, holds) in rules {
            let settings = if *wished { wishes() } else { Settings::default() };
            assert!(holds(&in_effect(&settings, &rights(withhold))), "{name}");
        }
    }

    #[test]
    fn the_edge_is_reached_without_tls_where_the_server_is() {
        let defaults = Defaults { public_url: "http://127.0.0.1:8088".parse().unwrap(), ..defaults() };
        assert_eq!(defaults.edge_wss(), "ws://127.0.0.1:8088/sip");
        assert_eq!(defaults.ui_url(), "http://127.0.0.1:8088/webphone/");
    }
}
