//! What the operator sees of a tenant and of the platform: what was set, beside what is in effect.

use std::collections::BTreeMap;

use bitcall_wire::config::{
    AudioClip, Behavior, Branding, CallerIdHeader, Capabilities, CookieMode, DeclineStatus, Dtmf, Features, HeaderMode,
    Redirects, Referrals, SessionRestore, SignInMode, ThemeStart,
};
use schemars::JsonSchema;
use serde::Serialize;

use super::domains::ProfileDomains;
use super::plans::PlanEntry;
use super::{ApiKeyView, IceView, NotApplied, OriginsView, Rfc3339, TransportView};
use crate::tenancy::{
    Defaults, Effective, Entitlements, IceEntry, OperatorOverrides, PlanStatus, Platform, Settings, TenantState,
    TransportDefaults, TransportMode,
};

/// `GET /api/admin/tenants/{tenantId}`
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TenantRecord {
    tenant_id: String,
    enabled: bool,
    plan_id: String,
    plan_status: PlanStatus,
    /// As the catalogue has it.
    plan: PlanEntry,
    domains: ProfileDomains,
    api_keys: Vec<ApiKeyView>,
    extension_count: usize,
    raw: SettingsView,
    effective: EffectiveView,
    not_applied: Vec<NotApplied>,
    created_at: Rfc3339,
    updated_at: Rfc3339,
}

impl TenantRecord {
    pub fn of(live: &TenantState, platform: &Platform) -> Self {
        let values_of = platform.values_of(live);
        let tenant = &live.tenant;
        let Effective { branding, behavior, capabilities, features, transport } = values_of.effective;
        Self {
            tenant_id: tenant.id.to_string(),
            enabled: tenant.enabled,
            plan_id: tenant.plan_id.clone(),
            plan_status: tenant.plan_status,
            plan: values_of.plan.as_ref().into(),
            domains: ProfileDomains::of(live, platform),
            api_keys: platform.api_keys(live).into_iter().map(ApiKeyView::from).collect(),
            extension_count: platform.extensions(&tenant.id).map_or(0, |extensions| extensions.len()),
            raw: (&tenant.settings).into(),
            not_applied: NotApplied::of(live, &values_of.rights, platform),
            effective: EffectiveView {
                entitlements: values_of.rights,
                branding,
                behavior,
                capabilities,
                features,
                transport: transport.into(),
            },
            created_at: Rfc3339(tenant.created_at),
            updated_at: Rfc3339(tenant.updated_at),
        }
    }
}

/// What phones and panel get: plan, tenant and platform merged.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct EffectiveView {
    entitlements: Entitlements,
    branding: Branding,
    behavior: Behavior,
    capabilities: Capabilities,
    features: Features,
    transport: TransportView,
}

/// What was set for the tenant, in the sections of `PATCH`; null where nothing was.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Raw")]
struct SettingsView {
    branding: BrandingSettingsView,
    origins: OriginsView,
    app: AppSettingsView,
    behavior: BehaviorSettingsView,
    sip: SipSettingsView,
    wss: Option<Vec<String>>,
    ice_servers: Option<Vec<IceView>>,
    features: FeatureSettingsView,
    /// Which of the transport the operator has set, so that it is in effect whatever the plan says.
    by_operator: OperatorOverrides,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RawBranding")]
struct BrandingSettingsView {
    display_name: Option<String>,
    logo_light: Option<String>,
    logo_dark: Option<String>,
    theme_color: Option<String>,
    header_mode: Option<HeaderMode>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RawApp")]
struct AppSettingsView {
    popup_mode: Option<bool>,
    installable: Option<bool>,
    audio_clips: Option<bool>,
    recording: Option<bool>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RawBehavior")]
struct BehaviorSettingsView {
    host: HostSettingsView,
    session_restore: Option<SessionRestore>,
    theme: ThemeSettingsView,
    cookie_mode: Option<CookieMode>,
    calls: CallSettingsView,
    hold_music: HoldMusicSettingsView,
    recording: RecordingSettingsView,
    clips: Option<Vec<AudioClip>>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RawCalls")]
struct CallSettingsView {
    decline_status: Option<DeclineStatus>,
    redirects: Option<Redirects>,
    referrals: Option<Referrals>,
    auto_answer: Option<bool>,
    message_replies: Option<bool>,
    caller_id_header: Option<CallerIdHeader>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RawHoldMusic")]
struct HoldMusicSettingsView {
    enabled: Option<bool>,
    url: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RawRecording")]
struct RecordingSettingsView {
    auto_record: Option<bool>,
    stereo: Option<bool>,
    beep: Option<bool>,
    announcement: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RawHost")]
struct HostSettingsView {
    mode: Option<SignInMode>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RawTheme")]
struct ThemeSettingsView {
    start: Option<ThemeStart>,
    lock: Option<bool>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RawSip")]
struct SipSettingsView {
    domain: Option<String>,
    dtmf: Option<Dtmf>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RawFeatures")]
struct FeatureSettingsView {
    auth_link: Option<bool>,
}

impl From<&Settings> for SettingsView {
    fn from(settings: &Settings) -> Self {
        let settings = settings.clone();
        Self {
            branding: BrandingSettingsView {
                display_name: settings.display_name,
                logo_light: settings.logo_light,
                logo_dark: settings.logo_dark,
                theme_color: settings.theme_color,
                header_mode: settings.header_mode,
            },
            origins: OriginsView { allowed_origins: settings.allowed_origins.into_iter().map(String::from).collect() },
            app: AppSettingsView {
                popup_mode: settings.popup_mode,
                installable: settings.installable,
                audio_clips: settings.audio_clips,
                recording: settings.recording,
            },
            behavior: BehaviorSettingsView {
                host: HostSettingsView { mode: settings.sign_in },
                session_restore: settings.session_restore,
                theme: ThemeSettingsView { start: settings.theme_start, lock: settings.theme_lock },
                cookie_mode: settings.cookie_mode,
                calls: CallSettingsView {
                    decline_status: settings.decline_status,
                    redirects: settings.redirects,
                    referrals: settings.referrals,
                    auto_answer: settings.auto_answer,
                    message_replies: settings.message_replies,
                    caller_id_header: settings.caller_id_header,
                },
                hold_music: HoldMusicSettingsView { enabled: settings.hold_music, url: settings.hold_music_url },
                recording: RecordingSettingsView {
                    auto_record: settings.auto_record,
                    stereo: settings.record_stereo,
                    beep: settings.record_beep,
                    announcement: settings.record_announcement,
                },
                clips: settings.clips,
            },
            sip: SipSettingsView { domain: settings.sip_domain, dtmf: settings.dtmf },
            wss: settings.wss,
            ice_servers: settings.ice_servers.map(shown),
            features: FeatureSettingsView { auth_link: settings.auth_link },
            by_operator: settings.by_operator,
        }
    }
}

fn shown(servers: Vec<IceEntry>) -> Vec<IceView> {
    servers.into_iter().map(IceView::from).collect()
}

/// `POST /api/admin/tenants/{tenantId}/enable` and `…/disable`
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnabledTenant {
    pub tenant_id: String,
    pub enabled: bool,
}

/// `DELETE /api/admin/tenants/{tenantId}`
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeletedTenant {
    pub tenant_id: String,
    /// Nothing was changed, this is only what would be.
    pub dry_run: bool,
    pub deleted: bool,
    /// How much of each kind.
    pub removed: BTreeMap<&'static str, usize>,
    /// The tenant's name in the audit log once it is deleted.
    pub tenant_hash: String,
}

/// `GET /api/admin/settings/transport-defaults`: what was set, null where nothing was, and what tenants inherit.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TransportDefaultsView {
    sip: SipSettingsView,
    wss: Option<Vec<String>>,
    ice_servers: Option<Vec<IceView>>,
    effective: InheritedTransportView,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Inherited")]
struct InheritedTransportView {
    mode: TransportMode,
    sip: InheritedSipView,
    wss: Vec<String>,
    ice_servers: Vec<IceView>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "InheritedSip")]
struct InheritedSipView {
    /// Null where each tenant has a domain of its own on the built-in SIP edge.
    domain: Option<String>,
    dtmf: Dtmf,
}

impl TransportDefaultsView {
    pub fn of(defaults: &Defaults) -> Self {
        let TransportDefaults { sip_domain, dtmf, wss, ice_servers } = defaults.transport.clone();
        let on_edge = sip_domain.is_none() && wss.is_none();
        Self {
            effective: InheritedTransportView {
                mode: if on_edge { TransportMode::Edge } else { TransportMode::Platform },
                sip: InheritedSipView { domain: sip_domain.clone(), dtmf: dtmf.unwrap_or_default() },
                wss: wss.clone().unwrap_or_else(|| vec![defaults.edge_wss()]),
                ice_servers: shown(ice_servers.clone().unwrap_or_default()),
            },
            sip: SipSettingsView { domain: sip_domain, dtmf },
            wss,
            ice_servers: ice_servers.map(shown),
        }
    }
}
