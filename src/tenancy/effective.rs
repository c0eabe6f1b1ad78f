//! What is in effect for a tenant: plan ∧ tenant ∧ platform, worked out here
//! and nowhere else, and which plan's rights a tenant has in the first place. The panel's reads and the phone's runtime configuration
//! both show exactly this.

use std::time::Duration;

use bitcall_wire::config::{
    Behavior, Branding, CallBehavior, Capabilities, Features, HoldMusic, HostBehavior, RecordingSettings,
    RuntimeConfig, SipConfig, Theme,
};
use schemars::JsonSchema;
use serde::Serialize;
use url::{Host, Url};

use super::id::TenantId;
use super::names::Names;
use super::plan::{Entitlements, Plan};
use super::settings::Settings;
use super::tenant::PlanStatus;
use super::transport::{IceEntry, TransportDefaults};
use crate::timestamp::Timestamp;

/// The accent of phones without branding of their own.
const DEFAULT_ACCENT: &str = "#14b8a6";

/// What the platform provides where a tenant says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// Where browsers reach this server, e.g. `https://phone.example/` or `http://127.0.0.1:8080/`.
    pub public_url: Url,
    /// Whether this server is also reached by `localhost` and by every literal address, with its own addresses following
    /// the request: `bitcall demo`. A page of another site can let a name of its own lead here, but none of these.
    pub at_local_names: bool,
    /// A tenant's domain on the built-in SIP edge is `<tenant>.<edge_domain>`.
    pub edge_domain: String,
    pub names: Names,
    pub transport: TransportDefaults,
    /// How long the credentials are good that phones get for a relay with a shared secret.
    pub turn_lifetime: Duration,
}

impl Defaults {
    /// The tenant's domain, and digest realm, on the built-in edge.
    pub fn edge_domain_of(&self, tenant: &TenantId) -> String {
        format!("{}.{}", tenant.dns_label(), self.edge_domain)
    }

    /// The same with the addresses of whoever sent a request to `authority`, if that is one of [`Self::at_local_names`].
    pub fn reached_at(&self, authority: Option<&str>) -> Option<Self> {
        let url = Url::parse(&format!("http://{}/", authority.filter(|_| self.at_local_names)?)).ok()?;
        let is_local = match url.host()? {
            Host::Domain(name) => name == "localhost" || name.ends_with(".localhost"),
            Host::Ipv4(_) | Host::Ipv6(_) => true,
        };
        let is_plain =
            url.username().is_empty() && url.password().is_none() && url.path() == "/" && url.query().is_none();
        (is_local && is_plain).then(|| Self { public_url: url, ..self.clone() })
    }

    /// The page that the loader frames.
    pub fn ui_url(&self) -> String {
        self.at("/webphone/").into()
    }

    /// The page of the standalone app: of the tenant that `host` leads to, else of the one that the query names.
    pub fn app_url_of(&self, tenant: &TenantId, host: Option<&str>) -> String {
        let mut url = self.at("/app/");
        // Fails for what is no host name, which leads to no tenant either.
        if host.is_none_or(|host| url.set_host(Some(host)).is_err()) {
            url.query_pairs_mut().append_pair("tenant", tenant.as_str());
        }
        url.into()
    }

    /// The origin (RFC 6454) of this server's pages: at `host`, else at the host of `public_url`.
    pub fn origin_at(&self, host: Option<&str>) -> String {
        let mut url = self.public_url.clone();
        // Fails for what is no host name, which leads to no page either.
        let _ = host.map(|host| url.set_host(Some(host)));
        url.origin().ascii_serialization()
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
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    pub branding: Branding,
    pub behavior: Behavior,
    pub capabilities: Capabilities,
    pub features: Features,
    pub transport: Transport,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transport {
    pub mode: TransportMode,
    pub sip: SipConfig,
    pub wss: Vec<String>,
    pub ice_servers: Vec<IceEntry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum TransportMode {
    /// The built-in SIP edge.
    Edge,
    /// The platform's PBX: its transport defaults name a domain or WebSocket.
    Platform,
    /// A PBX of the tenant's own: domain or WebSocket are set for it.
    Custom,
}

/// Which plan's rights a tenant has. While a payment is late nothing changes: how long to wait is
/// the operator's decision. Whoever is suspended or has left has what everybody has without paying, the
/// default plan: phones go on working, and to stop those there is the tenant's `enabled`.
pub fn rights<'a>(status: PlanStatus, plan: &'a Plan, default_plan: &'a Plan) -> &'a Entitlements {
    match status {
        PlanStatus::Active | PlanStatus::Trialing | PlanStatus::PastDue => &plan.entitlements,
        PlanStatus::Paused | PlanStatus::Canceled => &default_plan.entitlements,
    }
}

/// The domain where a tenant's phones register; none where it is their own on the built-in edge.
pub fn sip_domain<'a>(settings: &'a Settings, rights: &Entitlements, defaults: &'a Defaults) -> Option<&'a str> {
    let may_choose = rights.sip_host_override || settings.by_operator.sip_domain;
    let own = settings.sip_domain.as_deref().filter(|_| may_choose);
    own.or(defaults.transport.sip_domain.as_deref())
}

/// The one place where plan, tenant and platform are merged.
pub fn effective(tenant: &TenantId, settings: &Settings, rights: &Entitlements, defaults: &Defaults) -> Effective {
    let branded = |value: &Option<String>| value.clone().filter(|_| rights.custom_branding);
    let (by_operator, platform) = (settings.by_operator, &defaults.transport);
    let has_own_domain = settings.sip_domain.is_some() && (rights.sip_host_override || by_operator.sip_domain);
    let own_wss = settings.wss.clone().filter(|_| rights.wss_override || by_operator.wss);
    let own_ice = settings.ice_servers.clone().filter(|_| rights.ice_override || by_operator.ice_servers);
    let mode = if has_own_domain || own_wss.is_some() {
        TransportMode::Custom
    } else if platform.sip_domain.is_some() || platform.wss.is_some() {
        TransportMode::Platform
    } else {
        TransportMode::Edge
    };
    Effective {
        branding: Branding {
            // The name is who the tenant is, not how it looks: no plan takes it away.
            display_name: settings.display_name.clone().unwrap_or_else(|| tenant.to_string()),
            logo_light: branded(&settings.logo_light),
            logo_dark: branded(&settings.logo_dark),
            theme_color: branded(&settings.theme_color).unwrap_or_else(|| DEFAULT_ACCENT.into()),
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
            calls: CallBehavior {
                decline_status: settings.decline_status.unwrap_or_default(),
                redirects: settings.redirects.unwrap_or_default(),
                referrals: settings.referrals.unwrap_or_default(),
                auto_answer: settings.auto_answer.unwrap_or_default(),
                message_replies: settings.message_replies.unwrap_or_default(),
                caller_id_header: settings.caller_id_header.unwrap_or_default(),
            },
            hold_music: HoldMusic {
                enabled: settings.hold_music.unwrap_or(true),
                url: settings.hold_music_url.clone(),
            },
            recording: RecordingSettings {
                auto_record: settings.auto_record.unwrap_or(false),
                stereo: settings.record_stereo.unwrap_or(false),
                beep: settings.record_beep.unwrap_or(false),
                announcement: settings.record_announcement.clone(),
            },
            clips: settings.clips.clone().unwrap_or_default(),
        },
        capabilities: Capabilities {
            max_sessions: rights.max_sessions,
            transfer_blind: rights.transfer,
            popup_mode: rights.popup_mode && settings.popup_mode.unwrap_or(true),
            installable: settings.installable.unwrap_or(true),
            audio_clips: rights.audio_clips && settings.audio_clips.unwrap_or(true),
            recording: settings.recording.unwrap_or(true),
        },
        features: Features { auth_link: settings.auth_link.unwrap_or(false) },
        transport: Transport {
            mode,
            sip: SipConfig {
                domain: sip_domain(settings, rights, defaults)
                    .map(str::to_owned)
                    .or_else(|| Some(defaults.edge_domain_of(tenant))),
                dtmf: settings.dtmf.or(platform.dtmf).unwrap_or_default(),
            },
            wss: own_wss.or_else(|| platform.wss.clone()).unwrap_or_else(|| vec![defaults.edge_wss()]),
            ice_servers: own_ice.or_else(|| platform.ice_servers.clone()).unwrap_or_default(),
        },
    }
}

impl Effective {
    /// What is told to somebody who has shown neither a key nor a token: all but the relays that take credentials.
    pub fn public_config(&self, tenant: &TenantId, defaults: &Defaults, now: Timestamp) -> RuntimeConfig {
        let mut config = self.runtime_config(tenant, defaults, now);
        config.ice_servers.retain(|server| server.username.is_none() && server.credential.is_none());
        config
    }

    /// What the phone is told now; with the credentials for relays that it is told only once, where
    /// [`Self::has_fresh_credentials`].
    pub fn runtime_config(&self, tenant: &TenantId, defaults: &Defaults, now: Timestamp) -> RuntimeConfig {
        let for_phones = |entry: &IceEntry| entry.for_phones(tenant, now, defaults.turn_lifetime);
        RuntimeConfig {
            tenant_id: tenant.to_string(),
            ui_url: defaults.ui_url(),
            storage_namespace: format!("bitcall:{tenant}"),
            ws_url: self.transport.wss.first().cloned(),
            wss: self.transport.wss.clone(),
            ice_servers: self.transport.ice_servers.iter().map(for_phones).collect(),
            sip: self.transport.sip.clone(),
            behavior: self.behavior.clone(),
            branding: self.branding.clone(),
            capabilities: self.capabilities.clone(),
            features: self.features.clone(),
        }
    }

    /// Whether what the phone is told differs from request to request.
    pub fn has_fresh_credentials(&self) -> bool {
        self.transport.ice_servers.iter().any(|entry| entry.secret.is_some())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::tenancy::plan;
    use crate::tenancy::settings::OperatorOverrides;

    fn defaults() -> Defaults {
        Defaults {
            public_url: "https://phone.example/".parse().unwrap(),
            at_local_names: false,
            edge_domain: "sip.example".into(),
            turn_lifetime: Duration::from_hours(12),
            names: Names { base: None, ingress: "phone.example".into(), public_host: "phone.example".into() },
            transport: TransportDefaults {
                ice_servers: Some(vec![stun("stun:platform")]),
                ..TransportDefaults::default()
            },
        }
    }

    fn stun(url: &str) -> IceEntry {
        IceEntry { urls: vec![url.into()], username: None, credential: None, secret: None }
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

    fn values_of(settings: &Settings, rights: &Entitlements) -> Effective {
        effective(&"acme_corp".parse().unwrap(), settings, rights, &defaults())
    }

    /// One line per rule: whether the tenant wished, what the plan withholds, what must come out.
    #[test]
    fn plan_and_tenant_and_platform_meet_in_every_value() {
        type Rule = (&'static str, bool, fn(&mut Entitlements), fn(&Effective) -> bool);
        let rules: &[Rule] = &[
            ("no wish, full plan: name", false, |_| {}, |e| e.branding.display_name == "acme_corp"),
            ("no wish, full plan: accent", false, |_| {}, |e| e.branding.theme_color == DEFAULT_ACCENT),
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
            ("no branding: accent", true, |r| r.custom_branding = false, |e| e.branding.theme_color == DEFAULT_ACCENT),
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
            assert!(holds(&values_of(&settings, &rights(withhold))), "{name}");
        }
    }

    /// What the platform sets, what the operator set for the tenant beyond its plan, and what must come out.
    #[test]
    fn the_platform_is_inherited_and_the_operator_is_above_the_plan() {
        use bitcall_wire::config::Dtmf::{Info, Rfc4733};
        type Rule<'a> =
            (&'a str, &'a TransportDefaults, Settings, OperatorOverrides, fn(&mut Entitlements), [&'a str; 5]);
        let platform = TransportDefaults {
            sip_domain: Some("pbx.platform".into()),
            dtmf: Some(Info),
            wss: Some(vec!["wss://platform/".into()]),
            ice_servers: Some(vec![stun("stun:platform")]),
        };
        let partly = TransportDefaults { wss: Some(vec!["wss://platform/".into()]), ..TransportDefaults::default() };
        let nothing = TransportDefaults::default();
        let nobody = OperatorOverrides::default();
        let everything = OperatorOverrides { sip_domain: true, wss: true, ice_servers: true };
        let own_digits = Settings { dtmf: Some(Rfc4733), ..Settings::default() };
        let no_relays = Settings { ice_servers: Some(Vec::new()), ..Settings::default() };
        let full: fn(&mut Entitlements) = |_| {};
        let poor: fn(&mut Entitlements) = |r| {
            (r.sip_host_override, r.wss_override, r.ice_override) = (false, false, false);
        };
        let inherited = ["Platform", "pbx.platform", "Info", "wss://platform/", "stun:platform"];
        let rules: &[Rule] = &[
            (
                "nothing set",
                &nothing,
                Settings::default(),
                nobody,
                full,
                ["Edge", "acme-corp.sip.example", "Rfc4733", "wss://phone.example/sip", ""],
            ),
            ("inherited", &platform, Settings::default(), nobody, full, inherited),
            (
                "inherited in part",
                &partly,
                Settings::default(),
                nobody,
                full,
                ["Platform", "acme-corp.sip.example", "Rfc4733", "wss://platform/", ""],
            ),
            (
                "own wins",
                &platform,
                wishes(),
                nobody,
                full,
                ["Custom", "pbx.acme.com", "Info", "wss://pbx.acme.com/", "stun:acme"],
            ),
            (
                "own digits on any plan",
                &platform,
                own_digits,
                nobody,
                poor,
                ["Platform", "pbx.platform", "Rfc4733", "wss://platform/", "stun:platform"],
            ),
            (
                "own, but to none",
                &platform,
                no_relays,
                nobody,
                full,
                ["Platform", "pbx.platform", "Info", "wss://platform/", ""],
            ),
            ("plan withholds: inherited", &platform, wishes(), nobody, poor, inherited),
            (
                "operator above the plan",
                &platform,
                wishes(),
                everything,
                poor,
                ["Custom", "pbx.acme.com", "Info", "wss://pbx.acme.com/", "stun:acme"],
            ),
            (
                "operator, one field",
                &platform,
                wishes(),
                OperatorOverrides { wss: true, ..nobody },
                poor,
                ["Custom", "pbx.platform", "Info", "wss://pbx.acme.com/", "stun:platform"],
            ),
        ];
        for (name, transport, settings, by_operator, withhold, expected) in rules {
            let defaults = Defaults { transport: TransportDefaults::clone(transport), ..defaults() };
            let settings = Settings { by_operator: *by_operator, ..settings.clone() };
            let found = effective(&"acme_corp".parse().unwrap(), &settings, &rights(withhold), &defaults).transport;
            let ice: Vec<_> = found.ice_servers.iter().flat_map(|server| server.urls.clone()).collect();
            let digits = format!("{:?}", found.sip.dtmf);
            let found =
                [format!("{:?}", found.mode), found.sip.domain.unwrap(), digits, found.wss.join(","), ice.join(",")];
            assert_eq!(&found, expected, "{name}");
        }
    }

    #[test]
    fn who_has_stopped_paying_has_what_everybody_has() {
        let [free, pro, _] = plan::seeds();
        for (status, expected) in [
            (PlanStatus::Active, &pro),
            (PlanStatus::Trialing, &pro),
            (PlanStatus::PastDue, &pro),
            (PlanStatus::Paused, &free),
            (PlanStatus::Canceled, &free),
        ] {
            assert_eq!(super::rights(status, &pro, &free), &expected.entitlements, "{status:?}");
        }
    }

    #[test]
    fn sign_in_links_are_off_until_the_operator_switches_them_on() {
        for (set, expected) in [(None, false), (Some(false), false), (Some(true), true)] {
            let settings = Settings { auth_link: set, ..Settings::default() };
            assert_eq!(values_of(&settings, &rights(|_| {})).features.auth_link, expected);
        }
    }

    #[test]
    fn the_secret_of_a_relay_is_in_no_phones_configuration() {
        let relay = IceEntry { secret: Some("hush".into()), ..stun("turn:relay") };
        let settings = Settings { ice_servers: Some(vec![stun("stun:acme"), relay]), ..Settings::default() };
        let config =
            values_of(&settings, &rights(|_| {})).runtime_config(&"acme".parse().unwrap(), &defaults(), Timestamp(0));
        assert!(!serde_json::to_string(&config).unwrap().contains("hush"));
    }

    #[test]
    fn the_edge_is_reached_without_tls_where_the_server_is() {
        let defaults = Defaults { public_url: "http://127.0.0.1:8088".parse().unwrap(), ..defaults() };
        assert_eq!(defaults.edge_wss(), "ws://127.0.0.1:8088/sip");
        assert_eq!(defaults.ui_url(), "http://127.0.0.1:8088/webphone/");
    }

    #[test]
    fn a_demo_is_reached_by_localhost_and_literal_addresses_and_by_no_foreign_name() {
        let public_url = "http://127.0.0.1:8088".parse().unwrap();
        let demo = Defaults { public_url, at_local_names: true, ..defaults() };
        let edge = |authority: &str| demo.reached_at(Some(authority)).map(|there| there.edge_wss());
        for (authority, there) in [
            ("localhost:8088", "ws://localhost:8088/sip"),
            ("LOCALHOST", "ws://localhost/sip"),
            ("shop.localhost:9000", "ws://shop.localhost:9000/sip"),
            ("[::1]:8088", "ws://[::1]:8088/sip"),
            ("192.168.1.5:8088", "ws://192.168.1.5:8088/sip"),
        ] {
            assert_eq!(edge(authority).as_deref(), Some(there));
        }
        for foreign in [
            "evil.example:8088",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "evillocalhost",
            "a@127.0.0.1",
            "127.0.0.1/x",
            "",
            "::1",
        ] {
            assert_eq!(edge(foreign), None, "{foreign}");
        }
        assert_eq!(demo.reached_at(None), None);
        assert_eq!(defaults().reached_at(Some("localhost")), None, "only a demo is");
    }
}
