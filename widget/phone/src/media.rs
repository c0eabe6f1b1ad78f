//! Everything that is heard: the microphone, one `RTCPeerConnection` per call,
//! the loudspeaker and the tones.
//!
//! The agent asks ([`MediaRequest`]) and this module answers; the screens only
//! mute, press digits, choose devices, and are told by [`Notice`]s. Requests
//! about one call are served strictly one after another, so that descriptions
//! cannot overtake each other; [`MediaAsk::Close`] does not queue.

mod call_media;
mod devices;
mod ice_gathering;
mod level_meter;
mod microphone;
mod mute_states;
mod peer_connection;
mod prepared_offer;
mod sdp;
pub(crate) mod speaker;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use bitcall_wire::agent_protocol::{
    AgentSnapshot, CallId, CallState, HoldState, MediaError, MediaReply, MediaRequest, RegistrationStatus, ToAgent,
};
use bitcall_wire::config::{Dtmf, IceServer};
use wasm_bindgen_futures::spawn_local;
use web_sys::{HtmlAudioElement, MediaStream};

use crate::browser::{Listener, Timer, media_devices};
use crate::tones::Tones;
use call_media::Session;
pub use devices::{Device, Devices};
use microphone::Microphone;
use mute_states::Mutes;
use prepared_offer::{Ahead, Cause};
use speaker::Speaker;

/// How often [`Notice::Levels`] comes while a call talks.
const LEVELS_EVERY_MS: i32 = 100;

/// What the media of a tenant's phone needs to know.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    pub ice_servers: Vec<IceServer>,
    pub dtmf: Dtmf,
    /// Device ids as the person chose them; `None` is the system's default.
    pub microphone: Option<String>,
    pub speaker: Option<String>,
}

/// What the screens are told.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// A call could not get its media. The call itself ends by the agent.
    Fault {
        call: CallId,
        fault: MediaError,
        message: String,
    },
    Muted {
        call: CallId,
        muted: bool,
    },
    /// A microphone that a call had lost is there again.
    MicrophoneBack,
    /// Devices came or went, another one was chosen, or their names became known.
    Devices(Devices),
    /// 0.0 (silence) to 1.0 of the call that talks, some ten times a second.
    Levels {
        call: CallId,
        microphone: f32,
        remote: f32,
    },
    /// The browser refuses to play sound until the person clicks or presses a key.
    SoundBlocked(bool),
}

/// Where messages to the agent go.
type Send = Rc<dyn Fn(ToAgent)>;

/// Clones are the same media.
#[derive(Clone)]
pub struct Media(Rc<Inner>);

struct Inner {
    settings: RefCell<Settings>,
    sessions: RefCell<HashMap<CallId, Rc<Session>>>,
    mutes: RefCell<Mutes>,
    microphone: Microphone,
    speaker: Speaker,
    tones: Tones,
    send: RefCell<Option<Send>>,
    on_notice: Box<dyn Fn(Notice)>,
    levels: RefCell<Option<(CallId, Timer)>>,
    ahead: Ahead,
    device_changes: RefCell<Option<Listener>>,
    sound_blocked: Cell<bool>,
    /// Calls are up that have lost their microphone.
    lost: Cell<bool>,
}

/// For the screens.
impl Media {
    /// `on_notice` is never called before this function has returned.
    pub fn new(settings: Settings, on_notice: impl Fn(Notice) + 'static) -> Media {
        let media = Media(Rc::new(Inner {
            microphone: Microphone::new(settings.microphone.clone()),
            speaker: Speaker::new(settings.speaker.clone()),
            settings: RefCell::new(settings),
            sessions: RefCell::default(),
            mutes: RefCell::default(),
            tones: Tones::silent(),
            send: RefCell::default(),
            on_notice: Box::new(on_notice),
            levels: RefCell::default(),
            ahead: Ahead::default(),
            device_changes: RefCell::default(),
            sound_blocked: Cell::new(false),
            lost: Cell::new(false),
        }));
        if let Some(devices) = media_devices() {
            let weak = Rc::downgrade(&media.0);
            *media.0.device_changes.borrow_mut() = Some(Listener::new(&devices, "devicechange", move |_| {
                if let Some(inner) = weak.upgrade() {
                    // Also when the chosen id is still there: "default" keeps its
                    // name while the device behind it changes.
                    inner.reopen_microphone();
                    Media(inner).refresh_devices();
                }
            }));
        }
        media
    }

    /// Cuts or opens the microphone of one call, at once.
    pub fn set_muted(&self, call: &str, muted: bool) {
        self.0.mutes.borrow_mut().press(call, muted);
        self.0.mute(call, muted);
        self.0.send(ToAgent::Mute { call: call.to_owned(), muted });
    }

    /// Sends one of `0–9 * # A–D` into the call and lets the person hear its tone.
    pub fn digit(&self, call: &str, digit: char) {
        self.0.tones.key(digit);
        let by_media = self.0.settings.borrow().dtmf == Dtmf::Rfc4733
            && self.0.session(call).is_some_and(|session| session.send_digit(digit));
        if !by_media {
            self.0.send(ToAgent::Digits { call: call.to_owned(), digits: digit.to_string() });
        }
    }

    /// The sound of a key of the dialer; sends nothing.
    pub fn key_tone(&self, digit: char) {
        self.0.tones.key(digit);
    }

    /// Lists the devices; the answer comes as [`Notice::Devices`]. Names are
    /// known only after the person has once allowed the microphone.
    pub fn refresh_devices(&self) {
        let inner = Rc::clone(&self.0);
        spawn_local(async move {
            let microphone = inner.microphone.chosen();
            let speaker = inner.speaker.chosen();
            let devices = devices::list(microphone, speaker).await;
            inner.microphone.set_present(devices.any_microphone);
            if !devices.any_microphone {
                inner.ahead.discard();
            }
            inner.notify(Notice::Devices(devices));
        });
    }

    /// Takes effect in running calls. `None`: the system's default.
    pub fn choose_microphone(&self, id: Option<String>) {
        self.0.microphone.choose(id);
        self.0.reopen_microphone();
        self.refresh_devices();
    }

    /// Takes effect in running calls. `None`: the system's default.
    pub fn choose_speaker(&self, id: Option<String>) {
        self.0.tones.use_speaker(id.as_deref());
        self.0.speaker.choose(id);
        self.refresh_devices();
    }

    /// A call is likely to be placed soon.
    pub fn get_ready(&self) {
        self.0.get_ready(Cause::AboutToCall);
    }

    /// Unlocks sound. The link does it on every click and key by itself.
    pub fn unlock(&self) {
        self.0.tones.unlock();
        self.0.speaker.play_all();
        self.0.set_sound_blocked(false);
    }
}

/// For the link.
impl Media {
    /// Where replies and what happens to the media go.
    pub(crate) fn connect(&self, send: impl Fn(ToAgent) + 'static) {
        *self.0.send.borrow_mut() = Some(Rc::new(send));
    }

    /// A call is placed: opens the microphone and gives the offer that was made ahead. Without
    /// one, it is begun before the agent has asked for it.
    pub(crate) fn prepare(&self, call: &str) -> Option<String> {
        let ahead = self.0.take_prepared();
        self.0.session_or_new(call).prepare(ahead)
    }

    /// What was made ahead holds the addresses of a network that may be gone.
    pub(crate) fn network_changed(&self) {
        self.0.ahead.discard();
    }

    /// A call is about to be answered.
    pub(crate) fn open_microphone(&self) {
        let inner = Rc::clone(&self.0);
        spawn_local(async move {
            // A fault is reported by the request that needs the microphone.
            let _ = inner.microphone.open().await;
        });
    }

    /// Serves one request and sends the reply.
    pub(crate) fn serve(&self, call: &str, request: u32, ask: MediaRequest) {
        self.0.session_or_new(call).serve(request, ask);
    }

    pub(crate) fn close(&self, call: &str) {
        let session = self.0.sessions.borrow_mut().remove(call);
        if let Some(session) = session {
            session.close();
        }
        self.0.rest_if_idle();
    }

    pub(crate) fn close_all(&self) {
        for (_, session) in self.0.sessions.take() {
            session.close();
        }
        self.0.ahead.clear();
        self.0.tones.silence();
        self.0.rest_if_idle();
    }

    /// Cuts the microphone before the far end has agreed to anything.
    pub(crate) fn cut(&self, call: &str) {
        if let Some(session) = self.0.session(call) {
            session.set_held(true);
        }
    }

    /// Follows the agent's state: tones, held calls, level meters, calls that are gone.
    pub(crate) fn follow(&self, snapshot: &AgentSnapshot, page: &str) {
        self.0.tones.follow(snapshot, page);
        let mutes = self.0.mutes.borrow_mut().follow(snapshot);
        for (call, muted) in mutes {
            self.0.mute(&call, muted);
        }
        let idle = matches!(snapshot.registration, RegistrationStatus::Registered { .. }) && snapshot.calls.is_empty();
        if idle {
            self.0.get_ready(Cause::Idle);
        }
        for call in &snapshot.calls {
            let ended = matches!(call.state, CallState::Ended { .. });
            let elsewhere = call.page.as_deref().is_some_and(|owner| owner != page);
            if ended || elsewhere {
                self.close(&call.id);
            } else if let Some(session) = self.0.session(&call.id) {
                session.set_held(call.hold != HoldState::None);
            }
        }
        // An agent that knows nothing of a call any more (it was started anew) cannot end it.
        let known = |call: &CallId| snapshot.calls.iter().any(|other| other.id == *call);
        let lost: Vec<CallId> = {
            let sessions = self.0.sessions.borrow();
            let lost = sessions.iter().filter(|(call, session)| !session.seen(known(call)));
            lost.map(|(call, _)| call.clone()).collect()
        };
        for call in lost {
            self.close(&call);
        }
        let talking = snapshot
            .active
            .as_ref()
            .filter(|id| snapshot.calls.iter().any(|call| &&call.id == id && call.state == CallState::Active));
        self.0.meter(talking);
    }
}

impl Inner {
    fn session(&self, call: &str) -> Option<Rc<Session>> {
        self.sessions.borrow().get(call).cloned()
    }

    fn session_or_new(self: &Rc<Self>, call: &str) -> Rc<Session> {
        if let Some(session) = self.session(call) {
            return session;
        }
        let session = Session::new(call, Rc::downgrade(self));
        session.set_muted(self.mutes.borrow().muted(call));
        self.sessions.borrow_mut().insert(call.to_owned(), Rc::clone(&session));
        session
    }

    fn mute(&self, call: &str, muted: bool) {
        if let Some(session) = self.session(call) {
            session.set_muted(muted);
        }
        self.notify(Notice::Muted { call: call.to_owned(), muted });
    }

    fn send(&self, message: ToAgent) {
        // Cloned, so that nothing is borrowed while the message finds its way.
        let send = self.send.borrow().clone();
        if let Some(send) = send {
            send(message);
        }
    }

    fn reply(&self, call: &str, request: u32, reply: MediaReply) {
        if let MediaReply::Failed { fault, message } = &reply {
            self.notify(Notice::Fault { call: call.to_owned(), fault: *fault, message: message.clone() });
        }
        self.send(ToAgent::MediaReply { call: call.to_owned(), request, reply });
    }

    fn notify(&self, notice: Notice) {
        (self.on_notice)(notice);
    }

    /// Plays a far end, and finds out whether the browser lets it.
    fn play(self: &Rc<Self>, stream: &MediaStream) -> Option<HtmlAudioElement> {
        let element = self.speaker.add(stream)?;
        let inner = Rc::clone(self);
        let player = element.clone();
        spawn_local(async move {
            if !speaker::refused(&player).await || inner.sessions.borrow().is_empty() {
                return;
            }
            // Browsers that refuse without a gesture allow it while the page listens
            // to the microphone, which this call is about to open, or has open.
            let _ = inner.microphone.open().await;
            inner.rest_if_idle();
            if speaker::refused(&player).await && !inner.sessions.borrow().is_empty() {
                inner.set_sound_blocked(true);
            }
        });
        Some(element)
    }

    fn set_sound_blocked(&self, blocked: bool) {
        if self.sound_blocked.replace(blocked) != blocked {
            self.notify(Notice::SoundBlocked(blocked));
        }
    }

    /// Gives the microphone back when no call needs it: its indicator must not lie.
    fn rest_if_idle(&self) {
        if self.sessions.borrow().is_empty() {
            self.microphone.release();
        }
    }

    /// Calls that had the microphone, also when its track has ended since.
    fn listening(&self) -> Vec<Rc<Session>> {
        self.sessions.borrow().values().filter(|session| session.listens()).cloned().collect()
    }

    /// Opens the microphone afresh and hands it to every call that had one.
    /// What fails is tried again when the next device comes.
    fn reopen_microphone(self: &Rc<Self>) {
        if self.listening().is_empty() {
            return;
        }
        let inner = Rc::clone(self);
        spawn_local(async move {
            let opened = inner.microphone.reopen().await;
            let sessions = inner.listening();
            let Some(first) = sessions.first() else {
                // The last call ended meanwhile.
                return inner.rest_if_idle();
            };
            match opened {
                Ok(track) => {
                    for session in &sessions {
                        session.replace_track(&track).await;
                    }
                    if inner.lost.replace(false) {
                        inner.notify(Notice::MicrophoneBack);
                    }
                }
                // The old one still does its work.
                Err(_) if inner.microphone.sounds() => {}
                Err(trouble) => {
                    inner.lost.set(true);
                    let call = first.call().to_owned();
                    inner.notify(Notice::Fault { call, fault: trouble.fault, message: trouble.words });
                }
            }
        });
    }

    fn meter(self: &Rc<Self>, talking: Option<&CallId>) {
        let metered = self.levels.borrow().as_ref().map(|(call, _)| call.clone());
        if metered.as_ref() == talking {
            return;
        }
        *self.levels.borrow_mut() = None;
        let Some(call) = talking.filter(|call| self.session(call).is_some()) else {
            return;
        };
        let weak = Rc::downgrade(self);
        let timer = Timer::every(LEVELS_EVERY_MS, {
            let call = call.clone();
            move || {
                if let Some(inner) = weak.upgrade()
                    && let Some(session) = inner.session(&call)
                {
                    session.measure();
                }
            }
        });
        *self.levels.borrow_mut() = Some((call.clone(), timer));
    }
}
