//! Audio: the microphone, one `RTCPeerConnection` per call, the loudspeaker and the tones.
//!
//! The agent sends a [`MediaRequest`] and this module replies. The screens mute, send digits and choose
//! devices, and receive [`MediaNotice`]s. Requests for one call are handled strictly one after another, so
//! that session descriptions stay in order; [`MediaRequest::Close`] is not queued.

mod call_digits;
mod call_media;
mod codecs;
mod conference;
mod connection_state;
pub(crate) mod decoding;
mod devices;
mod digit_queue;
mod early_media;
mod hold_music;
mod ice_gathering;
mod microphone;
mod mix;
mod mute_states;
mod outgoing_audio;
pub(crate) mod page_audio;
mod peer_connection;
mod prepared_answer;
mod prepared_offer;
mod sdp;
pub(crate) mod sound_file;
mod speaker;
mod stats;
mod voice_gate;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bitcall_wire::agent_protocol::{
    AgentSnapshot, CallId, CallSnapshot, CallState, MediaError, MediaReply, MediaRequest, RegistrationStatus, ToAgent,
};
use bitcall_wire::config::{self, Dtmf, IceServer};
use bitcall_wire::small_map::SmallMap;
use wasm_bindgen_futures::spawn_local;
use web_sys::{AudioBuffer, AudioContext, HtmlAudioElement, MediaStream};

use crate::browser::{BrowserTimer, EventListener, media_devices, sleep};
use crate::recordings::RecordingSources;
use crate::secondary;
use crate::tones::Tones;
use call_media::CallMedia;
use conference::Conference;
pub(crate) use conference::update_conference;
pub use devices::{Device, Devices};
use early_media::EarlyMediaWatch;
use hold_music::HoldMusic;
use microphone::Microphone;
use mute_states::MuteStates;
pub(crate) use outgoing_audio::{OutgoingAudio, start_hold_music};
use page_audio::PageAudio;
pub(crate) use peer_connection::error_name;
pub(crate) use prepared_answer::{PreparedAnswer, make as make_answer};
use prepared_offer::{OfferCache, PrepareReason};
use speaker::Speaker;
use voice_gate::VoiceGates;

/// How often [`MediaNotice::Levels`] is sent while a call is active.
const LEVELS_INTERVAL_MS: i32 = 100;

/// How long a hold of this page may stay unknown to the agent's snapshots. The agent replies within milliseconds;
/// the second part lets snapshots be handled that have waited while the page was frozen.
const HOLD_TIMEOUT_MS: [i32; 2] = [2_000, 500];

/// The media settings of a tenant's phone.
#[derive(Clone, Debug, Default)]
pub struct MediaSettings {
    pub ice_servers: Vec<IceServer>,
    pub dtmf: Dtmf,
    pub hold_music: config::HoldMusic,
    /// Device ids as the person chose them; `None` is the system's default.
    pub microphone: Option<String>,
    pub speaker: Option<String>,
}

/// Events for the screens.
#[derive(Clone, Debug, PartialEq)]
pub enum MediaNotice {
    /// The media of a call failed. The agent ends the call.
    Failed {
        call: CallId,
        error: MediaError,
        message: String,
    },
    Muted {
        call: CallId,
        muted: bool,
    },
    DigitSent {
        call: CallId,
        digit: char,
    },
    /// These digits are sent when the person presses a key.
    DigitsWait {
        call: CallId,
        rest: String,
    },
    /// [`Media::recording_sources`] may have changed.
    SoundChanged {
        call: CallId,
    },
    /// A clip has ended, whatever ended it.
    ClipEnded {
        call: CallId,
    },
    /// The microphone works again after a call had lost it.
    MicrophoneBack,
    /// Devices were added or removed, another one was chosen, or their names became known.
    Devices(Devices),
    /// Audio levels of the active call, 0.0 (silence) to 1.0, about ten times a second.
    Levels {
        call: CallId,
        microphone: f32,
        remote: f32,
    },
    /// The browser blocks playback until the person clicks or presses a key.
    SoundBlocked(bool),
}

/// Sends a message to the agent.
type AgentSender = Rc<dyn Fn(ToAgent)>;

/// Clones share the same media.
#[derive(Clone)]
pub struct Media(Rc<MediaShared>);

pub(crate) struct MediaShared {
    settings: RefCell<MediaSettings>,
    media_by_call: RefCell<SmallMap<CallId, Rc<CallMedia>>>,
    mutes: RefCell<MuteStates>,
    gates: RefCell<VoiceGates>,
    conference: RefCell<Conference>,
    early_media: RefCell<Option<EarlyMediaWatch>>,
    microphone: Microphone,
    speaker: Speaker,
    audio: Rc<PageAudio>,
    hold_music: Rc<HoldMusic>,
    tones: Tones,
    send: RefCell<Option<AgentSender>>,
    on_notice: Box<dyn Fn(MediaNotice)>,
    levels: RefCell<Option<(CallId, BrowserTimer)>>,
    offer_cache: OfferCache,
    /// To the call that rings; of several, to the last one.
    prepared_answer: RefCell<Option<Rc<PreparedAnswer>>>,
    device_changes: RefCell<Option<EventListener>>,
    sound_blocked: Cell<bool>,
    /// The running calls have lost their microphone.
    microphone_lost: Cell<bool>,
}

/// For the screens.
impl Media {
    /// `on_notice` is never called before this function has returned.
    pub fn new(settings: MediaSettings, on_notice: impl Fn(MediaNotice) + 'static) -> Media {
        let audio = Rc::new(PageAudio::new(settings.speaker.clone()));
        let media = Media(Rc::new(MediaShared {
            microphone: Microphone::new(&audio, settings.microphone.clone()),
            speaker: Speaker::new(settings.speaker.clone()),
            tones: Tones::silent(&audio),
            audio,
            hold_music: HoldMusic::new(settings.hold_music.clone()),
            settings: RefCell::new(settings),
            media_by_call: RefCell::default(),
            mutes: RefCell::default(),
            gates: RefCell::default(),
            conference: RefCell::default(),
            early_media: RefCell::default(),
            send: RefCell::default(),
            on_notice: Box::new(on_notice),
            levels: RefCell::default(),
            offer_cache: OfferCache::default(),
            prepared_answer: RefCell::default(),
            device_changes: RefCell::default(),
            sound_blocked: Cell::new(false),
            microphone_lost: Cell::new(false),
        }));
        if let Some(devices) = media_devices() {
            let weak = Rc::downgrade(&media.0);
            *media.0.device_changes.borrow_mut() = Some(EventListener::new(&devices, "devicechange", move |_| {
                if let Some(inner) = weak.upgrade() {
                    // Also when the chosen id is still listed: "default" keeps its id while the device
                    // behind it changes.
                    inner.reopen_microphone();
                    Media(inner).refresh_devices();
                }
            }));
        }
        media
    }

    /// Mutes or unmutes the microphone at once, in one call or in the conference that it belongs to.
    pub fn set_muted(&self, call: &str, muted: bool) {
        for call in self.0.together(call) {
            self.0.mutes.borrow_mut().set_local(&call, muted);
            self.0.mute(&call, muted);
            self.0.send(ToAgent::Mute { call, muted });
        }
    }

    /// Plays a clip into the call, or to all parties of its conference, and to the person. False where the call cannot
    /// be heard now.
    pub async fn play_clip(&self, call: &str, clip: &AudioBuffer) -> bool {
        let Some(context) = self.0.audio.running_context().await else {
            return false;
        };
        let mut plays = false;
        for call in self.0.together(call) {
            if let Some(call_media) = self.0.call_media(&call) {
                // The person hears it once.
                plays |= call_media.outgoing().play_clip(&context, clip, !plays);
            }
        }
        plays
    }

    /// As a clip; not while one is playing.
    pub fn play_beep(&self, context: &AudioContext, call: &str, beep: &AudioBuffer) {
        if let Some(call_media) = self.0.call_media(call) {
            call_media.outgoing().play_beep(context, beep);
        }
    }

    /// What there is to record of a call.
    pub fn recording_sources(&self, call: &str) -> Option<RecordingSources> {
        let mut sources = self.0.call_media(call)?.recording_sources();
        let others = self.0.together(call).into_iter().skip(1).filter_map(|other| self.0.call_media(&other));
        sources.received.extend(others.filter_map(|other| other.audible_sound()));
        Some(sources)
    }

    /// The context in which everything is mixed. `None` where the browser gives none; it may wait for a gesture.
    pub async fn running_context(&self) -> Option<AudioContext> {
        self.0.audio.running_context().await
    }

    pub fn stop_clip(&self, call: &str) {
        for call in self.0.together(call) {
            if let Some(call_media) = self.0.call_media(&call) {
                call_media.outgoing().stop_clip();
            }
        }
    }

    /// Sends keys of a telephone, with pauses, into the call ([`bitcall_wire::number::sent_digits`]).
    ///
    /// # Errors
    /// Why nothing is sent, as a sentence.
    pub fn press_digits(&self, call: &CallSnapshot, digits: &str) -> Result<(), &'static str> {
        let call_media = self.0.call_media(&call.id).ok_or("Digits are not sent: the call is in another window.")?;
        call_media.digits().follow(call);
        call_media.digits().press(digits)
    }

    /// Sends them when the call is answered.
    pub fn send_after_answer(&self, call: &str, digits: &str) {
        if let Some(call_media) = self.0.call_media(call) {
            call_media.digits().add_after_answer(digits);
        }
    }

    /// Plays the tone of a dialer key without sending it.
    pub fn key_tone(&self, digit: char) {
        self.0.tones.play_key(digit);
    }

    /// Lists the devices; the result is sent as [`MediaNotice::Devices`]. The names are known only after
    /// microphone permission was granted once.
    pub fn refresh_devices(&self) {
        let inner = Rc::clone(&self.0);
        spawn_local(async move {
            let microphone = inner.microphone.chosen_device();
            let speaker = inner.speaker.chosen_device();
            let devices = devices::list(microphone, speaker).await;
            inner.microphone.set_present(devices.any_microphone);
            if !devices.any_microphone {
                inner.offer_cache.discard();
            }
            inner.notify(MediaNotice::Devices(devices));
        });
    }

    /// Takes effect in running calls. `None`: the system's default.
    pub fn choose_microphone(&self, id: Option<String>) {
        self.0.microphone.choose_device(id);
        self.0.reopen_microphone();
        self.refresh_devices();
    }

    /// Takes effect in running calls. `None`: the system's default.
    pub fn choose_speaker(&self, id: Option<String>) {
        self.0.audio.use_speaker(id.as_deref());
        self.0.speaker.choose_device(id);
        self.refresh_devices();
    }

    /// A call is likely to be placed soon: prepares an offer.
    pub fn prepare_for_call(&self) {
        self.0.prepare_for_call(PrepareReason::AboutToCall);
    }

    /// Unlocks audio playback, inside a user gesture. The agent client calls it on every click and key
    /// press.
    pub fn unlock(&self) {
        self.0.audio.unlock();
        self.0.tones.update();
        self.0.speaker.play_all();
        self.0.set_sound_blocked(false);
    }
}

/// For the agent client.
impl Media {
    /// Sets where replies and media events are sent.
    pub(crate) fn connect(&self, send: impl Fn(ToAgent) + 'static) {
        *self.0.send.borrow_mut() = Some(Rc::new(send));
    }

    /// A call is placed: opens the microphone and returns the prepared offer. Without one, starts to create
    /// the offer before the agent requests it.
    pub(crate) fn start_outgoing(&self, call: &str) -> Option<String> {
        let prepared = self.0.take_prepared();
        self.0.call_media_or_new(call).start_outgoing(prepared)
    }

    /// A call rings: makes its answer already.
    pub(crate) fn prepare_answer(&self, call: &str, offer: &str) {
        let prepared = PreparedAnswer::of(call, offer);
        self.0.prepared_answer.replace(Some(Rc::clone(&prepared)));
        let media = Rc::clone(&self.0);
        secondary::when_loaded(move |part| (part.make_answer)(media, &prepared));
    }

    /// What is prepared contains addresses of a network that may be gone.
    pub(crate) fn network_changed(&self) {
        self.0.offer_cache.discard();
        self.0.prepared_answer.take();
    }

    /// A call is being answered.
    pub(crate) fn open_microphone(&self) {
        let inner = Rc::clone(&self.0);
        spawn_local(async move {
            // A failure is reported by the request that needs the microphone.
            let _ = inner.microphone.open().await;
        });
    }

    /// Handles one request and sends the reply.
    pub(crate) fn serve(&self, call: &str, request_id: u32, request: MediaRequest) {
        self.0.call_media_or_new(call).handle_request(request_id, request);
    }

    pub(crate) fn close(&self, call: &str) {
        let call_media = self.0.media_by_call.borrow_mut().remove(call);
        if let Some(call_media) = call_media {
            call_media.close();
        }
        self.0.release_microphone_if_idle();
    }

    pub(crate) fn close_all(&self) {
        for (_, call_media) in self.0.media_by_call.take() {
            call_media.close();
        }
        self.0.offer_cache.clear();
        self.0.prepared_answer.take();
        self.0.gates.take();
        self.0.conference.take();
        self.0.early_media.take();
        self.0.tones.stop();
        self.0.release_microphone_if_idle();
    }

    /// The person holds the call, or the conference that it belongs to: closes microphone and loudspeaker before the
    /// agent knows of it.
    pub(crate) fn silence_microphone(&self, call: &str) {
        for call in self.0.together(call) {
            self.0.cut(call);
        }
        self.0.update_conference();
    }

    /// Applies the agent's state: who has the voice, hold music, tones, level meters, ended calls.
    pub(crate) fn apply_snapshot(&self, snapshot: &AgentSnapshot, page: &str) {
        let gates = self.0.gates.borrow_mut().apply_snapshot(snapshot, page);
        for call in gates.lost {
            self.0.apply_gate(&call);
            self.0.send(ToAgent::Silenced { call, revision: snapshot.revision });
        }
        let mutes = self.0.mutes.borrow_mut().apply_snapshot(snapshot);
        for (call, muted) in mutes {
            self.0.mute(&call, muted);
        }
        let idle = matches!(snapshot.registration, RegistrationStatus::Registered { .. }) && snapshot.calls.is_empty();
        if idle {
            self.0.prepare_for_call(PrepareReason::Idle);
        }
        for call in &snapshot.calls {
            let ended = matches!(call.state, CallState::Ended { .. });
            let elsewhere = call.page.as_deref().is_some_and(|owner| owner != page);
            if ended || elsewhere {
                self.close(&call.id);
            }
        }
        self.0.keep_prepared_answer(snapshot);
        for call in &snapshot.calls {
            if let Some(call_media) = self.0.call_media(&call.id) {
                call_media.digits().follow(call);
            }
        }
        self.0.hold_music.apply_snapshot(snapshot, page);
        for call_media in self.0.media_by_call.borrow().values() {
            call_media.set_hold_music(self.0.hold_music.is_due(call_media.call()));
        }
        for call in gates.opened {
            self.0.apply_gate(&call);
        }
        self.0.apply_parties(snapshot, page);
        self.0.watch_early_media(snapshot, page);
        self.0.tones.apply_snapshot(snapshot, page);
        // An agent that was restarted no longer knows its calls and cannot close them.
        let known = |call: &CallId| snapshot.calls.iter().any(|other| other.id == *call);
        let lost: Vec<CallId> = {
            let media_by_call = self.0.media_by_call.borrow();
            let lost = media_by_call.iter().filter(|(call, call_media)| !call_media.update_presence(known(call)));
            lost.map(|(call, _)| call.clone()).collect()
        };
        for call in lost {
            self.close(&call);
        }
        let talking = snapshot
            .active
            .as_ref()
            .filter(|id| snapshot.calls.iter().any(|call| &&call.id == id && call.state == CallState::Active));
        self.0.meter_levels(talking);
    }
}

impl MediaShared {
    fn call_media(&self, call: &str) -> Option<Rc<CallMedia>> {
        self.media_by_call.borrow().get(call).cloned()
    }

    fn call_media_or_new(self: &Rc<Self>, call: &str) -> Rc<CallMedia> {
        if let Some(call_media) = self.call_media(call) {
            return call_media;
        }
        let call_media = CallMedia::new(call, Rc::downgrade(self));
        call_media.set_muted(self.mutes.borrow().is_muted(call));
        call_media.set_voice(self.gates.borrow().is_open(call));
        call_media.set_hold_music(self.hold_music.is_due(call));
        self.media_by_call.borrow_mut().insert(call.to_owned(), Rc::clone(&call_media));
        call_media
    }

    fn mute(&self, call: &str, muted: bool) {
        if let Some(call_media) = self.call_media(call) {
            call_media.set_muted(muted);
        }
        self.notify(MediaNotice::Muted { call: call.to_owned(), muted });
    }

    /// Sends one of `0–9 * # A–D` into the call and plays its tone to the person.
    fn send_digit(&self, call: &str, digit: char) {
        self.tones.play_key(digit);
        let by_media = self.settings.borrow().dtmf == Dtmf::Rfc4733
            && self.call_media(call).is_some_and(|call_media| call_media.send_digit(digit));
        if !by_media {
            self.send(ToAgent::Digits { call: call.to_owned(), digits: digit.to_string() });
        }
        self.notify(MediaNotice::DigitSent { call: call.to_owned(), digit });
    }

    fn together(&self, call: &str) -> Vec<CallId> {
        self.conference.borrow().together(call)
    }

    /// Closes the call's microphone and loudspeaker until a snapshot has its hold.
    fn cut(self: &Rc<Self>, call: CallId) {
        let Some(cut) = self.gates.borrow_mut().cut(&call) else {
            return;
        };
        self.apply_gate(&call);
        let inner = Rc::clone(self);
        spawn_local(async move {
            for timeout in HOLD_TIMEOUT_MS {
                sleep(timeout).await;
            }
            let is_open = inner.gates.borrow_mut().lift_cut(&call, cut);
            if is_open {
                inner.apply_gate(&call);
                inner.update_conference();
            }
        });
    }

    /// Opens or closes the microphone and the loudspeaker of a call.
    fn apply_gate(&self, call: &str) {
        if let Some(call_media) = self.call_media(call) {
            call_media.set_voice(self.gates.borrow().is_open(call));
        }
    }

    fn send(&self, message: ToAgent) {
        // Cloned, so that nothing is borrowed while the message is delivered.
        let send = self.send.borrow().clone();
        if let Some(send) = send {
            send(message);
        }
    }

    /// `notify`: the screens are told of a failure.
    fn reply(&self, call: &str, request_id: u32, reply: MediaReply, notify: bool) {
        if let MediaReply::Failed { error, message } = &reply
            && notify
        {
            self.notify(MediaNotice::Failed { call: call.to_owned(), error: *error, message: message.clone() });
        }
        self.send(ToAgent::MediaReply { call: call.to_owned(), request_id, reply });
    }

    fn notify(&self, notice: MediaNotice) {
        (self.on_notice)(notice);
    }

    /// Plays a remote stream, muted unless `audible`.
    fn play(self: &Rc<Self>, stream: &MediaStream, audible: bool) -> Option<HtmlAudioElement> {
        let element = self.speaker.add(stream, audible)?;
        self.check_playback(&element);
        Some(element)
    }

    /// Plays the element, and checks whether the browser blocks playback.
    fn check_playback(self: &Rc<Self>, element: &HtmlAudioElement) {
        let inner = Rc::clone(self);
        let player = element.clone();
        spawn_local(async move {
            if !speaker::is_autoplay_blocked(&player).await || inner.media_by_call.borrow().is_empty() {
                return;
            }
            // Browsers that block autoplay allow it while the page captures the microphone, which this call
            // is about to open or has opened.
            let _ = inner.microphone.open().await;
            inner.release_microphone_if_idle();
            if speaker::is_autoplay_blocked(&player).await && !inner.media_by_call.borrow().is_empty() {
                inner.set_sound_blocked(true);
            }
        });
    }

    fn set_sound_blocked(&self, blocked: bool) {
        if self.sound_blocked.replace(blocked) != blocked {
            self.notify(MediaNotice::SoundBlocked(blocked));
        }
    }

    /// Releases the microphone when no call needs it, so that the browser's recording indicator goes out.
    fn release_microphone_if_idle(&self) {
        if self.media_by_call.borrow().is_empty() {
            self.microphone.release();
        }
    }

    /// Calls that have a microphone track, even if the track has ended.
    fn calls_with_microphone(&self) -> Vec<Rc<CallMedia>> {
        self.media_by_call.borrow().values().filter(|call_media| call_media.has_microphone()).cloned().collect()
    }

    /// Reopens the microphone and gives its track to every call that had one. A failure is retried at the
    /// next device change.
    fn reopen_microphone(self: &Rc<Self>) {
        if self.calls_with_microphone().is_empty() {
            return;
        }
        let inner = Rc::clone(self);
        spawn_local(async move {
            let opened = inner.microphone.reopen().await;
            let media_by_call = inner.calls_with_microphone();
            let Some(first) = media_by_call.first() else {
                // Meanwhile the last call has ended.
                return inner.release_microphone_if_idle();
            };
            match opened {
                Ok(track) => {
                    for call_media in &media_by_call {
                        call_media.replace_microphone(&track);
                    }
                    if inner.microphone_lost.replace(false) {
                        inner.notify(MediaNotice::MicrophoneBack);
                    }
                }
                // The old track still works.
                Err(_) if inner.microphone.has_sound() => {}
                Err(error) => {
                    inner.microphone_lost.set(true);
                    let call = first.call().to_owned();
                    inner.notify(MediaNotice::Failed { call, error: error.kind, message: error.message });
                }
            }
        });
    }

    fn meter_levels(self: &Rc<Self>, talking: Option<&CallId>) {
        let metered = self.levels.borrow().as_ref().map(|(call, _)| call.clone());
        if metered.as_ref() == talking {
            return;
        }
        *self.levels.borrow_mut() = None;
        let Some(call) = talking.filter(|call| self.call_media(call).is_some()) else {
            return;
        };
        let weak = Rc::downgrade(self);
        let timer = BrowserTimer::every(LEVELS_INTERVAL_MS, {
            let call = call.clone();
            move || {
                if let Some(inner) = weak.upgrade()
                    && let Some(call_media) = inner.call_media(&call)
                {
                    call_media.measure();
                }
            }
        });
        *self.levels.borrow_mut() = Some((call.clone(), timer));
    }
}
