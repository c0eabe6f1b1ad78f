//! What a tenant has set for itself, and the changes to it.
//!
//! Everything here is the tenant's wish, kept even where the plan does not
//! grant it: after an upgrade it takes effect. What does take effect is worked
//! out in [`super::effective`].

use bitcall_wire::config::{
    AudioClip, CallerIdHeader, CookieMode, DeclineStatus, Dtmf, HeaderMode, Redirects, Referrals, SessionRestore,
    SignInMode, ThemeStart,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::origin::OriginPattern;
use super::transport::IceEntry;

/// `None` means: as the platform has it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    pub display_name: Option<String>,
    pub logo_light: Option<String>,
    pub logo_dark: Option<String>,
    /// `#rrggbb`
    pub theme_color: Option<String>,
    pub header_mode: Option<HeaderMode>,
    pub allowed_origins: Vec<OriginPattern>,
    pub popup_mode: Option<bool>,
    pub installable: Option<bool>,
    pub audio_clips: Option<bool>,
    pub recording: Option<bool>,
    pub sign_in: Option<SignInMode>,
    pub session_restore: Option<SessionRestore>,
    pub theme_start: Option<ThemeStart>,
    pub theme_lock: Option<bool>,
    pub cookie_mode: Option<CookieMode>,
    pub decline_status: Option<DeclineStatus>,
    pub redirects: Option<Redirects>,
    pub referrals: Option<Referrals>,
    pub auto_answer: Option<bool>,
    pub message_replies: Option<bool>,
    pub caller_id_header: Option<CallerIdHeader>,
    pub hold_music: Option<bool>,
    pub hold_music_url: Option<String>,
    pub auto_record: Option<bool>,
    pub record_stereo: Option<bool>,
    pub record_beep: Option<bool>,
    pub record_announcement: Option<String>,
    pub clips: Option<Vec<AudioClip>>,
    pub sip_domain: Option<String>,
    pub dtmf: Option<Dtmf>,
    pub wss: Option<Vec<String>>,
    pub ice_servers: Option<Vec<IceEntry>>,
    /// Whether sign-in links may be made for the tenant's phones.
    pub auth_link: Option<bool>,
    pub by_operator: OperatorOverrides,
}

/// Which transport the operator has set for the tenant: it is in effect whatever the plan says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OperatorOverrides {
    pub sip_domain: bool,
    pub wss: bool,
    pub ice_servers: bool,
}

/// What a request says about one field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// Not mentioned.
    #[default]
    Keep,
    /// `null`: back to the platform's default.
    Reset,
    Set(T),
}

impl<T> Change<T> {
    pub fn apply(self, field: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Reset => *field = None,
            Self::Set(value) => *field = Some(value),
        }
    }

    /// Notes whose value it is, where there is one now.
    fn mark(&self, by_operator: &mut bool, is_operator: bool) {
        match self {
            Self::Keep => {}
            Self::Reset => *by_operator = false,
            Self::Set(_) => *by_operator = is_operator,
        }
    }

    pub fn is_set(&self) -> bool {
        matches!(self, Self::Set(_))
    }
}

/// A change of settings whose values are valid one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingsChange {
    pub display_name: Change<String>,
    pub logo_light: Change<String>,
    pub logo_dark: Change<String>,
    pub theme_color: Change<String>,
    pub header_mode: Change<HeaderMode>,
    pub allowed_origins: Change<Vec<OriginPattern>>,
    pub popup_mode: Change<bool>,
    pub installable: Change<bool>,
    pub audio_clips: Change<bool>,
    pub recording: Change<bool>,
    pub sign_in: Change<SignInMode>,
    pub session_restore: Change<SessionRestore>,
    pub theme_start: Change<ThemeStart>,
    pub theme_lock: Change<bool>,
    pub cookie_mode: Change<CookieMode>,
    pub decline_status: Change<DeclineStatus>,
    pub redirects: Change<Redirects>,
    pub referrals: Change<Referrals>,
    pub auto_answer: Change<bool>,
    pub message_replies: Change<bool>,
    pub caller_id_header: Change<CallerIdHeader>,
    pub hold_music: Change<bool>,
    pub hold_music_url: Change<String>,
    pub auto_record: Change<bool>,
    pub record_stereo: Change<bool>,
    pub record_beep: Change<bool>,
    pub record_announcement: Change<String>,
    pub clips: Change<Vec<AudioClip>>,
    pub sip_domain: Change<String>,
    pub dtmf: Change<Dtmf>,
    pub wss: Change<Vec<String>>,
    pub ice_servers: Change<Vec<IceEntry>>,
    pub auth_link: Change<bool>,
}

impl Settings {
    /// Transport that is set here is in effect beyond the plan when it comes from the operator.
    pub fn apply(&mut self, change: SettingsChange, by_operator: bool) {
        change.sip_domain.mark(&mut self.by_operator.sip_domain, by_operator);
        change.wss.mark(&mut self.by_operator.wss, by_operator);
        change.ice_servers.mark(&mut self.by_operator.ice_servers, by_operator);
        change.display_name.apply(&mut self.display_name);
        change.logo_light.apply(&mut self.logo_light);
        change.logo_dark.apply(&mut self.logo_dark);
        change.theme_color.apply(&mut self.theme_color);
        change.header_mode.apply(&mut self.header_mode);
        match change.allowed_origins {
            Change::Keep => {}
            Change::Reset => self.allowed_origins.clear(),
            Change::Set(origins) => self.allowed_origins = origins,
        }
        change.popup_mode.apply(&mut self.popup_mode);
        change.installable.apply(&mut self.installable);
        change.audio_clips.apply(&mut self.audio_clips);
        change.recording.apply(&mut self.recording);
        change.sign_in.apply(&mut self.sign_in);
        change.session_restore.apply(&mut self.session_restore);
        change.theme_start.apply(&mut self.theme_start);
        change.theme_lock.apply(&mut self.theme_lock);
        change.cookie_mode.apply(&mut self.cookie_mode);
        change.decline_status.apply(&mut self.decline_status);
        change.redirects.apply(&mut self.redirects);
        change.referrals.apply(&mut self.referrals);
        change.auto_answer.apply(&mut self.auto_answer);
        change.message_replies.apply(&mut self.message_replies);
        change.caller_id_header.apply(&mut self.caller_id_header);
        change.hold_music.apply(&mut self.hold_music);
        change.hold_music_url.apply(&mut self.hold_music_url);
        change.auto_record.apply(&mut self.auto_record);
        change.record_stereo.apply(&mut self.record_stereo);
        change.record_beep.apply(&mut self.record_beep);
        change.record_announcement.apply(&mut self.record_announcement);
        change.clips.apply(&mut self.clips);
        change.sip_domain.apply(&mut self.sip_domain);
        change.dtmf.apply(&mut self.dtmf);
        change.wss.apply(&mut self.wss);
        change.ice_servers.apply(&mut self.ice_servers);
        change.auth_link.apply(&mut self.auth_link);
    }
}
