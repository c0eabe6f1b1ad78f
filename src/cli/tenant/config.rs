//! `bitcall tenant config`: every setting of a tenant by an option of its own.

use bitcall_wire::config::AudioClip;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use serde_json::{Value, json};

use super::super::control::{Printer, request_failure};
use super::super::request::{ChangeBody, ChangeSource, TransportOptions, on_off};
use super::{CliError, profile, record, record_path};
use crate::client::ControlClient;

#[derive(Debug, Args)]
pub struct ChangeSettings {
    /// Tenant id
    tenant: String,
    #[command(flatten)]
    given: ChangeSource,
    /// As the operator: transport is in effect whatever the tenant's plan says
    #[arg(long)]
    operator: bool,
    /// Whether links may be made that sign a person in
    #[arg(long, value_parser = on_off(), requires = "operator", value_name = "SWITCH")]
    auth_link: Option<bool>,
    #[command(flatten)]
    branding: BrandingOptions,
    #[command(flatten)]
    behaviour: BehaviourOptions,
    #[command(flatten)]
    transport: TransportOptions,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Branding")]
struct BrandingOptions {
    /// Name shown in the phone
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// Logo on light backgrounds (https)
    #[arg(long, value_name = "URL")]
    logo_light: Option<String>,
    /// Logo on dark backgrounds (https)
    #[arg(long, value_name = "URL")]
    logo_dark: Option<String>,
    /// Accent, as `#14b8a6`
    #[arg(long, value_name = "COLOUR")]
    accent: Option<String>,
    /// What stands in the phone's header
    #[arg(long, value_parser = ["logo", "name", "both"], value_name = "PARTS")]
    header: Option<String>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Behaviour")]
struct BehaviourOptions {
    /// Origin whose pages may embed the phone; repeated for all of them, in place of those there were
    #[arg(long = "origin", value_name = "ORIGIN")]
    origins: Vec<String>,
    /// The phone in a window of its own
    #[arg(long, value_parser = on_off(), value_name = "SWITCH")]
    popup: Option<bool>,
    /// Installing the phone as an app
    #[arg(long, value_parser = on_off(), value_name = "SWITCH")]
    installable: Option<bool>,
    /// Playing audio clips into calls
    #[arg(long, value_parser = on_off(), value_name = "SWITCH")]
    audio_clips: Option<bool>,
    /// Recording calls
    #[arg(long, value_parser = on_off(), value_name = "SWITCH")]
    recording: Option<bool>,
    /// Whether every call is recorded from its answer on
    #[arg(long, value_parser = on_off(), value_name = "SWITCH")]
    auto_record: Option<bool>,
    /// Whether recordings have the person on the left channel and the other side on the right one
    #[arg(long, value_parser = on_off(), value_name = "SWITCH")]
    record_stereo: Option<bool>,
    /// Whether both sides hear a beep while a call is recorded
    #[arg(long, value_parser = on_off(), value_name = "SWITCH")]
    record_beep: Option<bool>,
    /// https:// address of an audio file that both sides hear when a recording begins
    #[arg(long, value_name = "URL")]
    record_announcement: Option<String>,
    /// A clip that everybody of the tenant can play into calls: its name and the https:// address of an audio file; may be
    /// repeated, replaces the list
    #[arg(long = "clip", value_parser = named_clip, value_name = "NAME=URL")]
    clips: Vec<AudioClip>,
    /// What the phone does with credentials that the page hands it
    #[arg(long, value_parser = ["confirm", "autologin", "prefilled"], value_name = "MODE")]
    sign_in: Option<String>,
    /// Whether stored credentials sign in by themselves
    #[arg(long, value_parser = ["auto", "off"], value_name = "MODE")]
    session_restore: Option<String>,
    /// Theme at the start
    #[arg(long, value_parser = ["system", "light", "dark"], value_name = "THEME")]
    theme: Option<String>,
    /// Whether people and pages may not change the theme
    #[arg(long, value_parser = on_off(), value_name = "SWITCH")]
    theme_lock: Option<bool>,
    /// Storage isolation
    #[arg(long, value_parser = ["isolated"], value_name = "MODE")]
    cookie_mode: Option<String>,
    /// SIP status that declines a call; 603 also stops the person's other devices from ringing
    #[arg(long, value_name = "STATUS",
          value_parser = PossibleValuesParser::new(["480", "486", "603"]).try_map(|text| text.parse::<u16>()))]
    decline_status: Option<u16>,
    /// Where a redirection may lead a call
    #[arg(long, value_parser = ["never", "same-domain", "any-domain"], value_name = "WHERE")]
    redirects: Option<String>,
    /// What happens when the other side transfers a call
    #[arg(long, value_parser = ["refuse", "ask", "own-domain"], value_name = "POLICY")]
    referrals: Option<String>,
    /// Whether calls are answered by themselves, after a tone, where the caller asks for it (intercom)
    #[arg(long, value_parser = on_off(), value_name = "SWITCH")]
    auto_answer: Option<bool>,
    /// Whether a person may answer the text messages that the phone shows
    #[arg(long, value_parser = on_off(), value_name = "SWITCH")]
    message_replies: Option<bool>,
    /// SIP header field in which a caller ID is sent first
    #[arg(long, value_parser = ["p-asserted-identity", "p-preferred-identity", "remote-party-id", "from"], value_name = "FIELD")]
    caller_id_header: Option<String>,
    /// Whether a party on hold hears music
    #[arg(long, value_parser = on_off(), value_name = "SWITCH")]
    hold_music: Option<bool>,
    /// OGG or MP3 file (https, readable by CORS) that a party on hold hears in place of the phone's own melody
    #[arg(long, value_name = "URL")]
    hold_music_url: Option<String>,
}

impl ChangeSettings {
    pub async fn run(self, client: &ControlClient, printer: Printer) -> Result<(), CliError> {
        let mut body = ChangeBody::new(&self.given)?;
        body.set("features.authLink", self.auth_link);
        self.branding.add_to(&mut body);
        self.behaviour.add_to(&mut body);
        self.transport.add_to(&mut body)?;
        let mut body = body.finish()?;
        if self.operator {
            let data = client.patch(&record_path(&self.tenant), &body).await.map_err(request_failure)?;
            printer.print(&data, record)?;
        } else {
            body["tenantId"] = Value::from(self.tenant);
            let data = client.patch("/api/tenant/config", &body).await.map_err(request_failure)?;
            printer.print(&data, profile)?;
        }
        Ok(())
    }
}

impl BrandingOptions {
    fn add_to(self, body: &mut ChangeBody) {
        body.set("branding.displayName", self.name);
        body.set("branding.logoLight", self.logo_light);
        body.set("branding.logoDark", self.logo_dark);
        body.set("branding.themeColor", self.accent);
        body.set("branding.headerMode", self.header);
    }
}

fn named_clip(text: &str) -> Result<AudioClip, String> {
    let parts = text.split_once('=').filter(|(name, _)| !name.trim().is_empty());
    let (name, url) = parts.ok_or("it has the form NAME=URL, e.g. Greeting=https://cdn.example.com/greeting.mp3")?;
    Ok(AudioClip { name: name.trim().to_owned(), url: url.to_owned() })
}

impl BehaviourOptions {
    fn add_to(self, body: &mut ChangeBody) {
        body.set("origins.allowedOrigins", Some(self.origins).filter(|list| !list.is_empty()));
        body.set("app.popupMode", self.popup);
        body.set("app.installable", self.installable);
        body.set("app.audioClips", self.audio_clips);
        body.set("app.recording", self.recording);
        body.set("behavior.recording.autoRecord", self.auto_record);
        body.set("behavior.recording.stereo", self.record_stereo);
        body.set("behavior.recording.beep", self.record_beep);
        body.set("behavior.recording.announcement", self.record_announcement);
        let clips: Vec<_> = self.clips.iter().map(|clip| json!(clip)).collect();
        body.set("behavior.clips", Some(clips).filter(|list| !list.is_empty()));
        body.set("behavior.host.mode", self.sign_in);
        body.set("behavior.sessionRestore", self.session_restore);
        body.set("behavior.theme.start", self.theme);
        body.set("behavior.theme.lock", self.theme_lock);
        body.set("behavior.cookieMode", self.cookie_mode);
        body.set("behavior.calls.declineStatus", self.decline_status);
        body.set("behavior.calls.redirects", self.redirects);
        body.set("behavior.calls.referrals", self.referrals);
        body.set("behavior.calls.autoAnswer", self.auto_answer);
        body.set("behavior.calls.messageReplies", self.message_replies);
        body.set("behavior.calls.callerIdHeader", self.caller_id_header);
        body.set("behavior.holdMusic.enabled", self.hold_music);
        body.set("behavior.holdMusic.url", self.hold_music_url);
    }
}
