//! The tenant's runtime configuration, which the phone needs to start. `GET
//! /api/webphone/config?key=…` returns it inside the `{ "ok": true, "data": … }` envelope.
//!
//! All values are effective: those of plan, tenant and platform are already merged.

use serde::{Deserialize, Serialize};

/// The whole runtime configuration of one tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct RuntimeConfig {
    pub tenant_id: String,
    /// Absolute URL of the page that the loader frames, e.g. `https://phone.example/webphone/`.
    pub ui_url: String,
    /// Prefix of every key that this tenant's phone keeps in browser storage.
    pub storage_namespace: String,
    /// First entry of [`Self::wss`], or null when the tenant has no SIP transport.
    pub ws_url: Option<String>,
    /// SIP-over-WebSocket servers (RFC 7118), in fail-over order.
    pub wss: Vec<String>,
    pub ice_servers: Vec<IceServer>,
    pub sip: SipConfig,
    pub behavior: Behavior,
    pub branding: Branding,
    pub capabilities: Capabilities,
    pub features: Features,
}

/// One entry of `RTCConfiguration.iceServers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct IceServer {
    pub urls: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Sip"))]
#[serde(rename_all = "camelCase")]
pub struct SipConfig {
    /// The tenant's SIP domain. When set it wins over the host page's.
    pub domain: Option<String>,
    #[serde(default)]
    pub dtmf: Dtmf,
}

/// How digits pressed during a call are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Dtmf {
    /// RFC 4733 `telephone-event` in the media, SIP INFO where it was not negotiated.
    #[default]
    #[serde(rename = "rfc2833", alias = "rfc4733")]
    Rfc4733,
    /// SIP INFO with `application/dtmf-relay`.
    #[serde(rename = "info")]
    Info,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Behavior {
    pub host: HostBehavior,
    pub session_restore: SessionRestore,
    pub theme: Theme,
    pub cookie_mode: CookieMode,
    pub calls: CallBehavior,
    pub hold_music: HoldMusic,
    pub recording: RecordingSettings,
    /// Clips that everybody of the tenant has in the phone, before those of the person; at most 20.
    pub clips: Vec<AudioClip>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(rename = "Calls"))]
#[serde(rename_all = "camelCase", default)]
pub struct CallBehavior {
    /// The SIP status that declines a call. 603 also stops the person's other devices from ringing.
    pub decline_status: DeclineStatus,
    pub redirects: Redirects,
    pub referrals: Referrals,
    /// Whether a call is answered by itself, after a tone, where its caller asks for it by `Call-Info: …;answer-after=0` or
    /// `Alert-Info: …;info=alert-autoanswer`. Never during another call.
    pub auto_answer: bool,
    /// Whether a person may answer the text messages (SIP MESSAGE) that the phone shows.
    pub message_replies: bool,
    /// The SIP header field in which a caller ID is sent first; then the one that the server has taken.
    pub caller_id_header: CallerIdHeader,
}

/// The SIP status with which a person's "Decline" answers a call. 603 ends the call on all devices of the person
/// (RFC 3261 §16.7, item 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u32", from = "u32")]
pub enum DeclineStatus {
    TemporarilyUnavailable,
    #[default]
    BusyHere,
    Decline,
}

impl From<DeclineStatus> for u16 {
    fn from(status: DeclineStatus) -> u16 {
        match status {
            DeclineStatus::TemporarilyUnavailable => 480,
            DeclineStatus::BusyHere => 486,
            DeclineStatus::Decline => 603,
        }
    }
}

impl From<DeclineStatus> for u32 {
    fn from(status: DeclineStatus) -> u32 {
        u16::from(status).into()
    }
}

impl DeclineStatus {
    /// `None` for a status that does not decline.
    pub fn of(status: u32) -> Option<Self> {
        [Self::TemporarilyUnavailable, Self::BusyHere, Self::Decline].into_iter().find(|it| u32::from(*it) == status)
    }
}

/// One that is not known, of a server of another version, is the usual one.
impl From<u32> for DeclineStatus {
    fn from(status: u32) -> Self {
        Self::of(status).unwrap_or_default()
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for DeclineStatus {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DeclineStatus".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "integer",
            "enum": [480, 486, 603],
        })
    }
}

/// Where a redirection (SIP 300 to 302) may lead a call that is placed. One is followed per call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Redirects {
    /// Nowhere: the call ends.
    Never,
    /// To an address in the SIP domain or in the domain that was dialled, or to a telephone number.
    #[default]
    SameDomain,
    /// Also to any other domain.
    AnyDomain,
}

/// What happens when the other side of a call wants to connect the person with somebody else (a transfer by REFER).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Referrals {
    /// It is refused.
    Refuse,
    /// The person decides.
    Ask,
    /// One to an address in the SIP domain or to a telephone number is followed; the person decides about others.
    #[default]
    OwnDomain,
}

/// A SIP header field that presents a caller ID (RFC 3325 and draft-ietf-sip-privacy-04).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum CallerIdHeader {
    #[default]
    PAssertedIdentity,
    PPreferredIdentity,
    RemotePartyId,
    From,
}

/// What a party hears that is put on hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct HoldMusic {
    /// `false`: silence.
    pub enabled: bool,
    /// An OGG or MP3 file of at most 8 MB that is played in a loop; its server lets the phone's page read it by CORS. null: a
    /// melody of the phone's own, which also stands in for a file that cannot be had or decoded.
    pub url: Option<String>,
}

impl Default for HoldMusic {
    fn default() -> Self {
        Self { enabled: true, url: None }
    }
}

/// A sound that a person plays into calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AudioClip {
    pub name: String,
    /// An MP3, OGG, WAV or M4A file of at most 8 MB, whose server lets the phone's page read it by CORS.
    pub url: String,
}

/// How calls are recorded. Recordings stay on the person's device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct RecordingSettings {
    /// Every call is recorded from its answer on.
    pub auto_record: bool,
    /// The person on the left channel and the other side on the right one; else both are mixed.
    pub stereo: bool,
    /// Both sides hear a short beep when a recording begins or goes on, and every 15 seconds.
    pub beep: bool,
    /// A file as of an [`AudioClip`] that both sides hear when a recording of a call begins. One that cannot be had is
    /// replaced by a beep.
    pub announcement: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct HostBehavior {
    pub mode: SignInMode,
}

/// What the phone does with the credentials that the host page hands it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum SignInMode {
    /// Complete credentials: one "Connect" button. Partial ones: the form with what is missing.
    #[default]
    Confirm,
    /// Complete credentials: signs in by itself. Partial ones: the form.
    Autologin,
    /// Always the form, filled with what the host gave.
    Prefilled,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum SessionRestore {
    /// Stored credentials sign in by themselves before any form is shown.
    #[default]
    Auto,
    Off,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Theme {
    pub start: ThemeStart,
    /// The agent and the host page may not change the theme.
    pub lock: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ThemeStart {
    #[default]
    System,
    Light,
    Dark,
}

/// Storage isolation policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum CookieMode {
    /// No cookies at all; storage is namespaced by tenant.
    #[default]
    Isolated,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Branding {
    pub display_name: String,
    pub logo_light: Option<String>,
    pub logo_dark: Option<String>,
    /// `#rrggbb`. The phone derives the accent's shades from it.
    pub theme_color: String,
    pub header_mode: HeaderMode,
}

/// What stands in the phone's header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum HeaderMode {
    Logo,
    Name,
    #[default]
    Both,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "each is one switch of the API")]
pub struct Capabilities {
    /// Concurrent calls per phone.
    pub max_sessions: u32,
    pub transfer_blind: bool,
    pub popup_mode: bool,
    pub installable: bool,
    pub audio_clips: bool,
    /// Recording calls.
    pub recording: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Features {
    pub auth_link: bool,
}
