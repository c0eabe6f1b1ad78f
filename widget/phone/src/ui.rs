//! What the screens read, and the actions that they dispatch.
//!
//! Screens are functions of [`Ui`]: they read its signals and dispatch [`UserAction`]s. They depend neither
//! on the agent nor on the browser's media, so that each can also be rendered from sample state (see
//! `examples/gallery.rs`).

use std::rc::Rc;

use bitcall_wire::agent_protocol::{
    AgentSnapshot, CallId, CallSnapshot, CallState, HoldState, MediaError, OtherCalls, RegistrationFailureCode,
    RegistrationStatus, TextMessage,
};
use bitcall_wire::config::{AudioClip, RuntimeConfig, ThemeStart};
use sycamore::reactive::{Signal, create_signal};
use web_sys::File;

use crate::caller_ids::CallerIds;
use crate::clips::Clip;
use crate::recents::RecentCall;
use crate::recordings::{Playback, Recording, RecordingAction, StorageQuota};
use crate::secondary::Secondary;
use crate::selector::{Selector, selector};
use crate::signin::{FormDefaults, FormErrors, SignInCredentials};
use crate::time::LocalClock;

/// A handle to the state of the screens. It is `Copy`, so that every closure can capture it. Copies share
/// the state.
#[derive(Clone, Copy)]
pub struct Ui(&'static UiState);

impl std::ops::Deref for Ui {
    type Target = UiState;

    fn deref(&self) -> &UiState {
        self.0
    }
}

/// The state of the screens.
pub struct UiState {
    pub screen: Signal<Screen>,
    pub config: Signal<Option<Rc<RuntimeConfig>>>,
    /// There is something around the phone into which it can be put away.
    pub can_minimise: Signal<bool>,
    pub theme: Signal<ThemeStart>,
    pub zone: Signal<LocalClock>,
    /// Milliseconds since the Unix epoch; updated while a call is active.
    pub now: Signal<u64>,

    pub snapshot: Signal<AgentSnapshot>,
    /// This page's id in the agent's snapshots.
    pub page: Signal<String>,
    pub signed_in_as: Signal<Option<SignInCredentials>>,

    pub tab: Signal<Tab>,
    pub secondary: Signal<SecondaryPart>,
    /// The text of the number field.
    pub number: Signal<String>,
    /// Shown at the number field: why the number cannot be called.
    pub number_error: Signal<Option<String>>,
    pub last_number: Signal<Option<String>>,
    pub identity_open: Signal<bool>,
    /// Whether the keypad of the call screen is open.
    pub keypad_open: Signal<bool>,
    /// The displayed call is to be transferred: the number field asks to whom.
    pub transfer_open: Signal<bool>,
    /// Whether the clips of the call screen are open.
    pub clips_open: Signal<bool>,
    pub clips: Signal<Vec<Clip>>,
    pub caller_ids: Signal<CallerIds>,
    pub clip_playing: Signal<Option<PlayingClip>>,
    /// Why a clip was not added or not played.
    pub clip_error: Signal<Option<String>>,
    /// A file is being read.
    pub clip_busy: Signal<bool>,
    /// The latest first.
    pub recordings: Signal<Vec<Recording>>,
    pub recording_quota: Signal<Option<StorageQuota>>,
    /// Why a recording was not played or downloaded.
    pub recording_error: Signal<Option<String>>,
    /// The archive of all is being made.
    pub recording_busy: Signal<bool>,
    pub playback: Signal<Option<Playback>>,
    /// The person wants every call recorded.
    pub auto_record: Signal<bool>,
    /// The last text that somebody has sent outside of a call.
    /// Texts that nobody has dismissed, the oldest first.
    pub messages: Signal<Vec<TextMessage>>,
    /// The last text that was sent: to whom, and why it was not taken.
    pub message_answer: Signal<Option<(String, Option<String>)>>,
    /// Shown under the timer of a call: what went wrong with it.
    pub call_notice: Signal<Option<String>>,
    /// Digits sent into the displayed call.
    pub digits: Signal<String>,
    pub ended: Signal<Option<RecentCall>>,
    pub recents: Signal<Vec<RecentCall>>,
    pub search: Signal<String>,

    pub muted: Signal<Vec<CallId>>,
    pub levels: Signal<MeterBars>,
    pub microphone_error: Signal<Option<MediaError>>,
    pub sound_blocked: Signal<bool>,
    pub devices: Signal<DeviceOptions>,
    /// Announced once by screen readers (`aria-live`).
    pub announcement: Signal<String>,

    pub form: SignInForm,
    on_action: Signal<Rc<dyn Fn(UserAction)>>,
}

/// The fields of the sign-in form.
#[derive(Clone, Copy)]
pub struct SignInForm {
    pub username: Signal<String>,
    pub domain: Signal<String>,
    pub password: Signal<String>,
    pub password_shown: Signal<bool>,
    pub remember: Signal<bool>,
    pub defaults: Signal<FormDefaults>,
    pub errors: Signal<FormErrors>,
    /// The error of the server or the network.
    pub error: Signal<Option<String>>,
    pub busy: Signal<bool>,
}

/// What the frame shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Screen {
    /// Waiting for the configuration.
    Loading,
    /// The server gave no configuration, for this reason.
    Refused(String),
    /// Opened without a host page.
    NotEmbedded,
    Form,
    /// The host page gave complete credentials: one button.
    Connect(SignInCredentials),
    Phone,
}

/// The part of the module that is not needed at first ([`crate::secondary`]).
#[derive(Clone, Copy)]
pub enum SecondaryPart {
    NotLoaded,
    Loading,
    Loaded(Secondary),
    Failed(LoadFailure),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum LoadFailure {
    /// The server has no such file: it serves another build than the one of this page.
    Replaced,
    Unreachable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tab {
    Keypad,
    Recents,
    Settings,
}

/// Bars of the level meter, 0 to [`MeterBars::MAX_BARS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MeterBars {
    pub microphone: u8,
    pub remote: u8,
}

/// The devices in the settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceOptions {
    pub microphones: Vec<DeviceOption>,
    /// Empty where the browser cannot choose a speaker.
    pub speakers: Vec<DeviceOption>,
    /// The chosen ids; empty for the system's default.
    pub microphone: String,
    pub speaker: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceOption {
    pub id: String,
    pub name: String,
}

/// An action of the person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserAction {
    /// A key of the dialer.
    Type(char),
    Backspace,
    /// Calls the number in the field; when it is empty, restores the last number. Transfers the displayed call to it
    /// while [`UiState::transfer_open`].
    Call,
    CallNumber(String),
    /// Puts the number into the field, to be corrected.
    EditNumber(String),
    Answer(CallId, OtherCalls),
    Decline(CallId),
    /// Ends the call, and those that are in conference with it.
    HangUp(CallId),
    Mute(CallId, bool),
    Hold(CallId, bool),
    /// Goes on with a call of another page in this one.
    TakeOver(CallId),
    /// Holds the active call and resumes this one.
    SwapTo(CallId),
    /// Keys of a telephone to send into the call, as typed or pasted.
    Digits(CallId, String),
    ToggleKeypad,
    /// In the call screen.
    ToggleClips,
    ToggleTransfer,
    /// Calls the number in the field, to which the displayed call may be transferred then.
    AskFirst,
    /// Connects the far end of the first call with that of the second.
    TransferTo(CallId, CallId),
    /// Back to the first call; the second one, which was to ask first, ends.
    BackTo(CallId, CallId),
    /// The far end wants to connect us with somebody else.
    AnswerReferral(CallId, bool),
    Clip(ClipAction),
    CallerId(CallerIdAction),
    Conference(ConferenceAction),
    Recording(RecordingAction),
    DismissEnded,
    Message(MessageAction),
    Show(Tab),
    LoadSecondaryPart,
    Minimise,
    Escape,
    RetryConnection,
    RetryMicrophone,
    UnblockSound,
    SetTheme(ThemeStart),
    ChooseMicrophone(String),
    ChooseSpeaker(String),
    /// The pointer or the focus is on the sign-in button.
    PrepareSignIn,
    SubmitSignIn,
    Connect,
    OtherAccount,
    /// Back to the phone, which is still registered.
    CloseSignIn,
    SignOut,
}

/// What the person does with audio clips, which go by their id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClipAction {
    /// Another tab may have changed the list.
    Load,
    Add(File),
    Rename(String, String),
    MoveUp(String),
    Delete(String),
    Play(CallId, String),
    Stop,
}

/// What the person does with the oldest text message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageAction {
    Dismiss,
    /// As typed.
    Reply(String),
}

/// What the person does with caller IDs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallerIdAction {
    /// Another tab may have changed them.
    Load,
    /// As typed.
    Add(String),
    Delete(String),
    /// See [`CallerIds::chosen`].
    Choose(String),
}

/// What the person does with the conference, or to make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConferenceAction {
    /// The first call talks with the second one, or with its conference.
    Merge(CallId, CallId),
    /// The party waits on hold; or the person talks with it alone.
    Split(CallId, bool),
    /// Nobody hears the party.
    Mute(CallId, bool),
    Drop(CallId),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlayingClip {
    pub call: CallId,
    pub id: String,
    pub milliseconds: u32,
    /// When it began, in milliseconds since the Unix epoch.
    pub since: u64,
}

/// The status in the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhoneStatus {
    pub tone: StatusKind,
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusKind {
    Good,
    Busy,
    Waiting,
    Bad,
    Off,
}

impl MeterBars {
    pub const MAX_BARS: u8 = 5;

    /// From audio levels of 0.0 to 1.0.
    pub fn new(microphone: f32, remote: f32) -> Self {
        // Quiet rooms reach this level: it shows no bar.
        const SILENCE_LEVEL: f32 = 0.02;
        let bars = |level: f32| {
            if level < SILENCE_LEVEL {
                return 0;
            }
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to 5")]
            let bars = (level.min(1.0).sqrt() * f32::from(Self::MAX_BARS)).ceil() as u8;
            bars.min(Self::MAX_BARS)
        };
        Self { microphone: bars(microphone), remote: bars(remote) }
    }
}

/// One piece of code for each type of value, of which there are fewer than signals.
#[inline(never)]
fn signal<T: 'static>(value: T) -> Signal<T> {
    create_signal(value)
}

impl Ui {
    /// Call it inside a reactive root. The state lives as long as the page.
    pub fn new() -> Self {
        let no_handler: Rc<dyn Fn(UserAction)> = Rc::new(|_| {});
        Self(Box::leak(Box::new(UiState {
            screen: signal(Screen::Loading),
            config: signal(None),
            can_minimise: signal(false),
            theme: signal(ThemeStart::System),
            zone: signal(LocalClock::default()),
            now: signal(0),
            snapshot: signal(AgentSnapshot::default()),
            page: signal(String::new()),
            signed_in_as: signal(None),
            tab: signal(Tab::Keypad),
            secondary: signal(SecondaryPart::NotLoaded),
            number: signal(String::new()),
            number_error: signal(None),
            last_number: signal(None),
            identity_open: signal(false),
            keypad_open: signal(false),
            transfer_open: signal(false),
            clips_open: signal(false),
            clips: signal(Vec::new()),
            caller_ids: signal(CallerIds::default()),
            clip_playing: signal(None),
            clip_error: signal(None),
            clip_busy: signal(false),
            recordings: signal(Vec::new()),
            recording_quota: signal(None),
            recording_error: signal(None),
            recording_busy: signal(false),
            playback: signal(None),
            auto_record: signal(false),
            messages: signal(Vec::new()),
            message_answer: signal(None),
            call_notice: signal(None),
            digits: signal(String::new()),
            ended: signal(None),
            recents: signal(Vec::new()),
            search: signal(String::new()),
            muted: signal(Vec::new()),
            levels: signal(MeterBars::default()),
            microphone_error: signal(None),
            sound_blocked: signal(false),
            devices: signal(DeviceOptions::default()),
            announcement: signal(String::new()),
            form: SignInForm {
                username: signal(String::new()),
                domain: signal(String::new()),
                password: signal(String::new()),
                password_shown: signal(false),
                remember: signal(false),
                defaults: signal(FormDefaults::default()),
                errors: signal(FormErrors::default()),
                error: signal(None),
                busy: signal(false),
            },
            on_action: signal(no_handler),
        })))
    }

    pub fn dispatch(self, action: UserAction) {
        let handler = self.on_action.get_clone_untracked();
        handler(action);
    }

    /// Sets the handler of all actions.
    pub fn on_action(self, handler: impl Fn(UserAction) + 'static) {
        self.on_action.set_silent(Rc::new(handler));
    }

    /// Follows one call. Keeps its last state after it is gone.
    pub fn call(self, id: &str) -> Selector<Option<CallSnapshot>> {
        let id = id.to_owned();
        let mut last: Option<CallSnapshot> = None;
        selector(move || {
            let found = self.snapshot.with(|snapshot| find_call(snapshot, &id).cloned());
            if found.is_some() {
                last.clone_from(&found);
            }
            found.or_else(|| last.clone())
        })
    }

    /// The call that is displayed large.
    pub fn focused(self) -> Selector<Option<CallId>> {
        selector(move || self.snapshot.with(|snapshot| focused_call(snapshot).map(|call| call.id.clone())))
    }

    /// The incoming call.
    pub fn incoming(self) -> Selector<Option<CallId>> {
        selector(move || self.snapshot.with(|snapshot| incoming_call(snapshot).map(|call| call.id.clone())))
    }

    pub fn may_play_clips(self) -> bool {
        self.config.with_untracked(|config| config.as_ref().is_some_and(|config| config.capabilities.audio_clips))
    }

    /// Those of the tenant. Their id is the address of their file.
    pub fn shared_clips(self) -> Vec<Clip> {
        let clip = |clip: &AudioClip| Clip { id: clip.url.clone(), name: clip.name.clone(), milliseconds: 0 };
        self.config.with_untracked(|config| config.iter().flat_map(|config| &config.behavior.clips).map(clip).collect())
    }

    pub fn may_record(self) -> bool {
        self.config.with_untracked(|config| config.as_ref().is_some_and(|config| config.capabilities.recording))
    }

    /// The tenant wants every call recorded.
    pub fn always_records(self) -> bool {
        self.config.with_untracked(|config| config.as_ref().is_some_and(|config| config.behavior.recording.auto_record))
    }

    pub fn status(self) -> Selector<PhoneStatus> {
        selector(move || self.snapshot.with(phone_status))
    }
}

impl Default for Ui {
    fn default() -> Self {
        Self::new()
    }
}

pub fn find_call<'a>(snapshot: &'a AgentSnapshot, id: &str) -> Option<&'a CallSnapshot> {
    snapshot.calls.iter().find(|call| call.id == id)
}

/// Active or being set up: neither ended nor waiting to be answered.
pub fn is_engaged(call: &CallSnapshot) -> bool {
    !matches!(call.state, CallState::Ended { .. } | CallState::Incoming)
}

pub fn focused_call(snapshot: &AgentSnapshot) -> Option<&CallSnapshot> {
    let mut up = snapshot.calls.iter().filter(|call| is_engaged(call));
    let active = snapshot.active.as_deref();
    up.clone().find(|call| Some(call.id.as_str()) == active).or_else(|| up.next_back())
}

pub fn incoming_call(snapshot: &AgentSnapshot) -> Option<&CallSnapshot> {
    snapshot.calls.iter().find(|call| call.state == CallState::Incoming)
}

/// A call, and the one that was placed to ask first; one of them is `id`.
pub fn consultation(snapshot: &AgentSnapshot, id: &str) -> Option<(CallId, CallId)> {
    let live = || snapshot.calls.iter().filter(|call| is_engaged(call));
    let asked = live().find(|call| call.consults_for.as_deref().is_some_and(|first| call.id == id || first == id))?;
    let first = asked.consults_for.as_deref()?;
    live().find(|call| call.id == first).map(|call| (call.id.clone(), asked.id.clone()))
}

/// The call, and those that are in conference with it.
pub fn together(snapshot: &AgentSnapshot, id: &str) -> Vec<CallId> {
    if is_party(snapshot, id) {
        snapshot.conference.iter().map(|party| party.call.clone()).collect()
    } else {
        vec![id.to_owned()]
    }
}

pub fn is_party(snapshot: &AgentSnapshot, id: &str) -> bool {
    snapshot.conference.iter().any(|party| party.call == id)
}

/// The calls besides this one and those in conference with it; of a conference the first party.
pub fn other_calls(snapshot: &AgentSnapshot, id: &str) -> Vec<CallId> {
    let is_shown = is_party(snapshot, id);
    let first = snapshot.conference.first().map(|party| &party.call);
    let others = snapshot.calls.iter().filter(|call| {
        is_engaged(call) && call.id != id && (!is_party(snapshot, &call.id) || (!is_shown && first == Some(&call.id)))
    });
    others.map(|call| call.id.clone()).collect()
}

/// Whether both calls can talk together: they are up, in this page, and there is no other conference.
pub fn can_merge(snapshot: &AgentSnapshot, page: &str, call: &str, into: &str) -> bool {
    let can = |id: &str| {
        find_call(snapshot, id).is_some_and(|call| {
            call.state == CallState::Active && call.transfer.is_none() && call.page.as_deref() == Some(page)
        })
    };
    let joins = snapshot.conference.is_empty() || is_party(snapshot, call) || is_party(snapshot, into);
    joins && can(call) && can(into)
}

/// Whether one more call may be placed; a `limit` of 0 is none.
pub fn has_free_line(snapshot: &AgentSnapshot, limit: u32) -> bool {
    limit == 0 || usize::try_from(limit).is_ok_and(|limit| snapshot.calls.len() < limit)
}

pub fn phone_status(snapshot: &AgentSnapshot) -> PhoneStatus {
    let (tone, text) = match &snapshot.registration {
        RegistrationStatus::SignedOut => (StatusKind::Off, "Signed out".to_owned()),
        RegistrationStatus::Connecting => (StatusKind::Waiting, "Connecting…".to_owned()),
        RegistrationStatus::Registered { .. } => match focused_call(snapshot).map(|call| call.hold) {
            None => (StatusKind::Good, "Ready".to_owned()),
            Some(HoldState::None | HoldState::Resuming) => (StatusKind::Busy, "On call".to_owned()),
            Some(HoldState::Holding | HoldState::Held | HoldState::HeldHere) => {
                (StatusKind::Busy, "On hold".to_owned())
            }
        },
        RegistrationStatus::Reconnecting { reason, .. } if reason.code == RegistrationFailureCode::Offline => {
            (StatusKind::Bad, "No network".to_owned())
        }
        RegistrationStatus::Reconnecting { .. } => (StatusKind::Waiting, "Reconnecting…".to_owned()),
        RegistrationStatus::Failed { reason } => (StatusKind::Bad, format!("Offline: {}", as_clause(&reason.text))),
    };
    PhoneStatus { tone, text }
}

/// A sentence as part of another one: "Wrong password." becomes "wrong password".
pub fn as_clause(text: &str) -> String {
    let text = text.trim().trim_end_matches('.');
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        // An acronym keeps its capitals.
        (Some(first), Some(second)) if !second.is_ascii_uppercase() => {
            std::iter::once(first.to_ascii_lowercase()).chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcall_wire::agent_protocol::{Party, RegistrationFailure};

    use crate::test_call::call;

    #[test]
    fn a_ringing_call_does_not_replace_the_active_call() {
        let mut snapshot = AgentSnapshot {
            calls: vec![
                call("held", CallState::Active),
                call("talks", CallState::Active),
                call("rings", CallState::Incoming),
            ],
            active: Some("held".to_owned()),
            ..AgentSnapshot::default()
        };
        assert_eq!(focused_call(&snapshot).map(|call| call.id.as_str()), Some("held"));
        assert_eq!(incoming_call(&snapshot).map(|call| call.id.as_str()), Some("rings"));
        snapshot.active = Some("rings".to_owned());
        assert_eq!(focused_call(&snapshot).map(|call| call.id.as_str()), Some("talks"));
        snapshot.calls.retain(|call| call.id == "rings");
        assert_eq!(focused_call(&snapshot), None);
    }

    #[test]
    fn a_conference_is_one_among_the_other_calls_and_takes_one_more_from_either_side() {
        let here = |id: &str| CallSnapshot { page: Some("here".to_owned()), ..call(id, CallState::Active) };
        let party = |id: &str| Party { call: id.to_owned(), muted: false };
        let mut snapshot = AgentSnapshot {
            calls: vec![here("a"), here("b"), here("c"), here("d")],
            conference: vec![party("b"), party("a")],
            ..AgentSnapshot::default()
        };
        assert_eq!(other_calls(&snapshot, "c"), ["b", "d"]);
        assert_eq!(other_calls(&snapshot, "a"), ["c", "d"]);
        assert_eq!(
            (together(&snapshot, "a"), together(&snapshot, "c")),
            (vec!["b".into(), "a".into()], vec!["c".into()])
        );
        assert!(can_merge(&snapshot, "here", "b", "c") && can_merge(&snapshot, "here", "c", "a"));
        assert!(!can_merge(&snapshot, "here", "c", "d"), "it took a second conference");
        assert!(!can_merge(&snapshot, "there", "b", "c"));
        snapshot.conference.clear();
        assert!(can_merge(&snapshot, "here", "c", "d"));
    }

    #[test]
    fn the_header_shows_why_the_phone_is_offline() {
        let snapshot = AgentSnapshot {
            registration: RegistrationStatus::Failed {
                reason: RegistrationFailure {
                    code: RegistrationFailureCode::WrongPassword,
                    sip_code: Some(403),
                    text: "Wrong password.".to_owned(),
                },
            },
            ..AgentSnapshot::default()
        };
        assert_eq!(phone_status(&snapshot).text, "Offline: wrong password");
        assert_eq!(as_clause("SIP server refused."), "SIP server refused");
    }

    #[test]
    fn the_header_says_that_the_only_call_is_held() {
        let registration = RegistrationStatus::Registered {
            username: "101".to_owned(),
            domain: "sip.test".to_owned(),
            server: String::new(),
            session: None,
        };
        let text_of = |hold| {
            let calls = vec![CallSnapshot { hold, ..call("1", CallState::Active) }];
            phone_status(&AgentSnapshot { registration: registration.clone(), calls, ..AgentSnapshot::default() }).text
        };
        assert_eq!(text_of(HoldState::None), "On call");
        assert_eq!(text_of(HoldState::Held), "On hold");
    }

    #[test]
    fn silence_shows_no_level_bar_and_full_level_shows_all() {
        assert_eq!(MeterBars::new(0.0, 0.01), MeterBars { microphone: 0, remote: 0 });
        assert_eq!(MeterBars::new(0.03, 7.0), MeterBars { microphone: 1, remote: MeterBars::MAX_BARS });
    }
}
