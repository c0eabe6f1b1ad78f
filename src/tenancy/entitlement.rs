//! Single rights of a plan, by name: which settings need which one, and what of a tenant's settings is kept without
//! being in effect because its plan does not include it.

use super::plan::Entitlements;
use super::settings::Settings;

/// A right that a plan grants or withholds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entitlement {
    CustomBranding,
    SubdomainAccess,
    CustomDomainAccess,
    PopupMode,
    AudioClips,
    SipHostOverride,
    WssOverride,
    IceOverride,
}

impl Entitlement {
    /// As the plan's record has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::CustomBranding => "customBranding",
            Self::SubdomainAccess => "subdomainAccess",
            Self::CustomDomainAccess => "customDomainAccess",
            Self::PopupMode => "popupMode",
            Self::AudioClips => "audioClips",
            Self::SipHostOverride => "sipHostOverride",
            Self::WssOverride => "wssOverride",
            Self::IceOverride => "iceOverride",
        }
    }

    pub fn is_granted_by(self, rights: &Entitlements) -> bool {
        match self {
            Self::CustomBranding => rights.custom_branding,
            Self::SubdomainAccess => rights.subdomain_access,
            Self::CustomDomainAccess => rights.custom_domain_access,
            Self::PopupMode => rights.popup_mode,
            Self::AudioClips => rights.audio_clips,
            Self::SipHostOverride => rights.sip_host_override,
            Self::WssOverride => rights.wss_override,
            Self::IceOverride => rights.ice_override,
        }
    }
}

/// The settings that are kept and not in effect, by their path in requests, with the right that they need.
pub fn withheld(settings: &Settings, rights: &Entitlements) -> Vec<(&'static str, Entitlement)> {
    use Entitlement::{AudioClips, CustomBranding, IceOverride, PopupMode, SipHostOverride, WssOverride};
    let by_operator = settings.by_operator;
    let all = [
        ("branding.logoLight", CustomBranding, settings.logo_light.is_some()),
        ("branding.logoDark", CustomBranding, settings.logo_dark.is_some()),
        ("branding.themeColor", CustomBranding, settings.theme_color.is_some()),
        ("branding.headerMode", CustomBranding, settings.header_mode.is_some()),
        ("app.popupMode", PopupMode, settings.popup_mode == Some(true)),
        ("app.audioClips", AudioClips, settings.audio_clips == Some(true)),
        ("sip.domain", SipHostOverride, settings.sip_domain.is_some() && !by_operator.sip_domain),
        ("wss", WssOverride, settings.wss.is_some() && !by_operator.wss),
        ("iceServers", IceOverride, settings.ice_servers.is_some() && !by_operator.ice_servers),
    ];
    let wanted = all.into_iter().filter(|(_, right, is_set)| *is_set && !right.is_granted_by(rights));
    wanted.map(|(field, right, _)| (field, right)).collect()
}
