//! The media of one call: its `RTCPeerConnection`, its share of the
//! microphone, its audio element.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use bitcall_wire::agent_protocol::{CallId, MediaDirection, MediaError, MediaReply, MediaRequest, MediaState, ToAgent};
use wasm_bindgen_futures::spawn_local;
use web_sys::MediaStreamTrack;

use super::microphone::Trouble;
use super::peer_connection::Connection;
use super::prepared_offer::Prepared;
use super::{Inner, Notice, level_meter};
use crate::browser::{Listener, mark, sleep};

/// A microphone that the system silences for longer is opened afresh.
const SILENCED_MS: i32 = 1_500;

enum Job {
    /// The offer is out already; now the microphone.
    Listen(Rc<Connection>),
    /// Make the first offer before it is asked for.
    Prepare(Option<Rc<Prepared>>),
    Ask(u32, MediaRequest),
}

pub struct Session {
    call: CallId,
    media: Weak<Inner>,
    connection: RefCell<Option<Rc<Connection>>>,
    /// This call's own copy of the microphone's track: cutting it leaves other calls alone.
    track: RefCell<Option<(MediaStreamTrack, [Listener; 2])>>,
    /// The first offer, made before it was asked for.
    prepared: RefCell<Option<Result<String, Trouble>>>,
    jobs: RefCell<VecDeque<Job>>,
    working: Cell<bool>,
    muted: Cell<bool>,
    held: Cell<bool>,
    closed: Cell<bool>,
    seen: Cell<bool>,
    measuring: Cell<bool>,
}

impl Session {
    pub fn new(call: &str, media: Weak<Inner>) -> Rc<Session> {
        Rc::new(Session {
            call: call.to_owned(),
            media,
            connection: RefCell::default(),
            track: RefCell::default(),
            prepared: RefCell::default(),
            jobs: RefCell::default(),
            working: Cell::new(false),
            muted: Cell::new(false),
            held: Cell::new(false),
            closed: Cell::new(false),
            seen: Cell::new(false),
            measuring: Cell::new(false),
        })
    }

    /// For a call that is being placed: the offer, where one was made ahead. Else it is begun now, and
    /// given when it is asked for.
    pub fn prepare(self: &Rc<Self>, ahead: Option<Rc<Prepared>>) -> Option<String> {
        let Some(ahead) = ahead else {
            self.enqueue(Job::Prepare(None));
            return None;
        };
        self.adopt_connection(&ahead.connection);
        let offer = ahead.offer();
        self.enqueue(match offer {
            Some(_) => Job::Listen(Rc::clone(&ahead.connection)),
            None => Job::Prepare(Some(ahead)),
        });
        offer
    }

    pub fn serve(self: &Rc<Self>, request: u32, ask: MediaRequest) {
        self.enqueue(Job::Ask(request, ask));
    }

    /// Stops everything at once; a job that is under way finds out by itself.
    pub fn close(&self) {
        self.closed.set(true);
        self.jobs.borrow_mut().clear();
        if let Some((track, _)) = self.track.borrow_mut().take() {
            track.stop();
        }
        *self.connection.borrow_mut() = None;
    }

    /// Told by every snapshot whether the call is in it; false when it was, and is no more.
    pub fn seen(&self, there: bool) -> bool {
        let before = self.seen.get();
        self.seen.set(before || there);
        there || !before
    }

    pub fn call(&self) -> &str {
        &self.call
    }

    /// Has the microphone, or had it until its track ended.
    pub fn listens(&self) -> bool {
        self.track.borrow().is_some()
    }

    pub fn set_muted(self: &Rc<Self>, muted: bool) {
        self.muted.set(muted);
        self.gate();
        if muted {
            // The bars fall with the cut, not with the next look at them.
            self.measure();
        }
    }

    /// While the call is on hold, neither side hears the other, whatever the far end sends.
    pub fn set_held(&self, held: bool) {
        if self.held.replace(held) != held {
            self.gate();
        }
    }

    /// False where RFC 4733 was not negotiated.
    pub fn send_digit(&self, digit: char) -> bool {
        self.connection().is_some_and(|connection| connection.send_digit(digit))
    }

    /// Goes on with another microphone.
    pub async fn replace_track(self: &Rc<Self>, microphone: &MediaStreamTrack) {
        if self.closed.get() || self.track.borrow().is_none() {
            return;
        }
        let track = self.adopt(microphone);
        if let Some(connection) = self.connection() {
            connection.set_track(&track).await;
        }
    }

    /// Reads the levels once and tells the screens.
    pub fn measure(self: &Rc<Self>) {
        let Some(connection) = self.connection() else {
            return;
        };
        if self.measuring.replace(true) {
            return;
        }
        let session = Rc::clone(self);
        spawn_local(async move {
            let levels = level_meter::measure(connection.peer()).await;
            session.measuring.set(false);
            if let Some(media) = session.media.upgrade()
                && !session.closed.get()
            {
                media.notify(Notice::Levels {
                    call: session.call.clone(),
                    // The browser's own level takes a third of a second to fall.
                    microphone: if session.silent() { 0.0 } else { levels.microphone },
                    remote: levels.remote,
                });
            }
        });
    }

    fn connection(&self) -> Option<Rc<Connection>> {
        self.connection.borrow().clone()
    }

    fn track(&self) -> Option<MediaStreamTrack> {
        let track = self.track.borrow();
        track.as_ref().map(|(track, _)| Clone::clone(track))
    }

    fn enqueue(self: &Rc<Self>, job: Job) {
        if self.closed.get() {
            return;
        }
        self.jobs.borrow_mut().push_back(job);
        if self.working.replace(true) {
            return;
        }
        let session = Rc::clone(self);
        spawn_local(async move {
            loop {
                let Some(job) = session.jobs.borrow_mut().pop_front() else {
                    break;
                };
                session.work(job).await;
            }
            session.working.set(false);
        });
    }

    async fn work(self: &Rc<Self>, job: Job) {
        match job {
            Job::Listen(connection) => {
                if let Some(media) = self.media.upgrade() {
                    // In the background, which says itself what fails.
                    let _ = self.attach_microphone(&media, &connection, true).await;
                }
            }
            Job::Prepare(ahead) => {
                let offer = self.first_offer(ahead).await;
                *self.prepared.borrow_mut() = Some(offer);
            }
            Job::Ask(request, ask) => {
                let reply = self.perform(ask).await;
                if let Some(media) = self.media.upgrade()
                    && !self.closed.get()
                {
                    media.reply(&self.call, request, reply);
                }
            }
        }
    }

    async fn perform(self: &Rc<Self>, ask: MediaRequest) -> MediaReply {
        let prepared = self.prepared.borrow_mut().take();
        let done = match ask {
            MediaRequest::Offer { flow, restart_ice } => match prepared {
                Some(offer) if flow == MediaDirection::SendRecv && !restart_ice => offer,
                _ => self.offer(flow, restart_ice).await,
            }
            .map(Some),
            MediaRequest::Answer { offer, flow } => self.answer(&offer, flow).await.map(Some),
            MediaRequest::Accept { answer, provisional } => match self.connection() {
                Some(connection) => connection.accept(&answer, provisional).await.map(|()| None),
                None => Err(gone()),
            },
            MediaRequest::RollBack => match self.connection() {
                Some(connection) => connection.roll_back().await.map(|()| None),
                None => Ok(None),
            },
            // Served by `Media::close`, ahead of the queue.
            MediaRequest::Close => Ok(None),
        };
        match done {
            Ok(Some(sdp)) => {
                mark("bitcall:offer");
                MediaReply::Description { sdp }
            }
            Ok(None) => MediaReply::Done,
            Err(trouble) => MediaReply::Failed { fault: trouble.fault, message: trouble.words },
        }
    }

    async fn first_offer(self: &Rc<Self>, ahead: Option<Rc<Prepared>>) -> Result<String, Trouble> {
        if let Some(ahead) = ahead
            && let Some(offer) = ahead.finished().await
        {
            let media = self.media.upgrade().ok_or_else(gone)?;
            self.attach_microphone(&media, &ahead.connection, true).await?;
            return Ok(offer);
        }
        self.offer(MediaDirection::SendRecv, false).await
    }

    async fn offer(self: &Rc<Self>, flow: MediaDirection, restart_ice: bool) -> Result<String, Trouble> {
        let media = self.media.upgrade().ok_or_else(gone)?;
        let ready = self.microphone_ready(&media).await?;
        let connection = match self.connection() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        let track = self.track();
        let sdp = connection.offer(flow, restart_ice, track.as_ref()).await;
        let sdp = sdp.map_err(|error| failed("The offer could not be made", &error))?;
        self.attach_microphone(&media, &connection, ready).await?;
        Ok(sdp)
    }

    async fn answer(self: &Rc<Self>, offer: &str, flow: MediaDirection) -> Result<String, Trouble> {
        let media = self.media.upgrade().ok_or_else(gone)?;
        let ready = self.microphone_ready(&media).await?;
        let connection = match self.connection() {
            Some(connection) if connection.talks_to(offer) => connection,
            // Another endpoint from now on: its keys need a connection of their own.
            _ => self.connect()?,
        };
        connection.take_offer(offer).await?;
        let track = self.track();
        if let Some(track) = track {
            connection.set_track(&track).await;
        }
        let sdp = connection.answer(flow).await;
        let sdp = sdp.map_err(|error| failed("The answer could not be made", &error))?;
        self.attach_microphone(&media, &connection, ready).await?;
        Ok(sdp)
    }

    /// True when the description need not wait for the microphone: it was
    /// allowed before, and opens while the call is on its way. Else the question comes first, also because browsers hide
    /// the addresses of this machine behind `.local` names until it is
    /// answered, and SIP servers cannot resolve those.
    async fn microphone_ready(&self, media: &Rc<Inner>) -> Result<bool, Trouble> {
        if self.track.borrow().is_some() {
            return Ok(true);
        }
        let ready = media.microphone.ready().await;
        if !ready {
            media.microphone.open().await?;
        }
        Ok(ready)
    }

    /// Connects the microphone; in the background when `later`.
    async fn attach_microphone(
        self: &Rc<Self>,
        media: &Rc<Inner>,
        connection: &Rc<Connection>,
        later: bool,
    ) -> Result<(), Trouble> {
        if self.track.borrow().is_some() {
            return Ok(());
        }
        if !later || media.microphone.is_open() {
            return self.listen(media, connection).await;
        }
        let (session, media, connection) = (Rc::clone(self), Rc::clone(media), Rc::clone(connection));
        spawn_local(async move {
            if let Err(trouble) = session.listen(&media, &connection).await
                && !session.closed.get()
            {
                let call = session.call.clone();
                media.notify(Notice::Fault { call: call.clone(), fault: trouble.fault, message: trouble.words });
                media.send(ToAgent::HangUp { call });
            }
        });
        Ok(())
    }

    async fn listen(self: &Rc<Self>, media: &Rc<Inner>, connection: &Rc<Connection>) -> Result<(), Trouble> {
        let microphone = media.microphone.open().await?;
        if self.closed.get() {
            media.rest_if_idle();
            return Err(gone());
        }
        let track = self.adopt(&microphone);
        connection.set_track(&track).await;
        Ok(())
    }

    fn connect(self: &Rc<Self>) -> Result<Rc<Connection>, Trouble> {
        let media = self.media.upgrade().ok_or_else(gone)?;
        let connection = Connection::new(&media).map_err(|error| failed("No connection could be made", &error))?;
        let connection = Rc::new(connection);
        self.adopt_connection(&connection);
        Ok(connection)
    }

    fn adopt_connection(self: &Rc<Self>, connection: &Rc<Connection>) {
        let weak = Rc::downgrade(self);
        connection.watch(move |state| {
            if let Some(session) = weak.upgrade() {
                session.tell(state);
            }
        });
        *self.connection.borrow_mut() = Some(Rc::clone(connection));
        self.gate();
    }

    fn adopt(self: &Rc<Self>, microphone: &MediaStreamTrack) -> MediaStreamTrack {
        let track = own_copy(microphone);
        let weak = self.media.clone();
        let ended = Listener::new(&track, "ended", move |_| {
            if let Some(media) = weak.upgrade() {
                media.reopen_microphone();
            }
        });
        let weak = Rc::downgrade(self);
        let silenced = Listener::new(&track, "mute", move |_| {
            if let Some(session) = weak.upgrade() {
                session.wait_for_sound();
            }
        });
        if let Some((old, _)) = self.track.replace(Some((Clone::clone(&track), [ended, silenced]))) {
            old.stop();
        }
        self.gate();
        track
    }

    /// The system gives no sound any more (a headset switched itself off, another
    /// program took the device). Opens the microphone afresh when it stays so:
    /// opening another one may itself silence the old track for a moment.
    fn wait_for_sound(self: &Rc<Self>) {
        let session = Rc::clone(self);
        spawn_local(async move {
            let before = session.track();
            sleep(SILENCED_MS).await;
            let track = session.track();
            if track == before
                && track.is_some_and(|track| track.muted())
                && let Some(media) = session.media.upgrade()
            {
                media.reopen_microphone();
            }
        });
    }

    /// The far end must not hear the person.
    fn silent(&self) -> bool {
        self.muted.get() || self.held.get()
    }

    /// Lets sound through, or not.
    fn gate(&self) {
        if let Some((track, _)) = &*self.track.borrow() {
            track.set_enabled(!self.silent());
        }
        if let Some(connection) = self.connection() {
            connection.set_silent(self.held.get());
        }
    }

    fn tell(&self, state: MediaState) {
        if let Some(media) = self.media.upgrade()
            && !self.closed.get()
        {
            media.send(ToAgent::MediaChanged { call: self.call.clone(), state });
        }
    }
}

/// `MediaStreamTrack.clone()`, which web-sys gives the name of Rust's `clone`
/// but which makes a second track.
fn own_copy(microphone: &MediaStreamTrack) -> MediaStreamTrack {
    MediaStreamTrack::clone(microphone)
}

fn gone() -> Trouble {
    Trouble { fault: MediaError::Other, words: "The call is over.".to_owned() }
}

fn failed(what: &str, error: &wasm_bindgen::JsValue) -> Trouble {
    Trouble { fault: MediaError::Other, words: format!("{what}: {}", super::peer_connection::message(error)) }
}
