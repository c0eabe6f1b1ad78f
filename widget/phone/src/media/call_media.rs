//! The media of one call: its peer connections, what they send, its audio elements.
//!
//! A call has one connection. When the far end's offer comes from another endpoint, the answer is made by a second
//! one beside it: the first keeps the sound until the second is connected, so that an offer that is refused,
//! fails or is withdrawn changes nothing (RFC 3261 §14.1).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use bitcall_wire::agent_protocol::{
    CallId, MediaDirection, MediaError, MediaReply, MediaRequest, MediaState, OfferKind, ToAgent,
};
use wasm_bindgen_futures::spawn_local;
use web_sys::{MediaStream, MediaStreamTrack};

use super::call_digits::CallDigits;
use super::microphone::MediaFailure;
use super::outgoing_audio::OutgoingAudio;
use super::peer_connection::{PeerConnection, other_error};
use super::prepared_offer::PreparedOffer;
use super::sdp::{RejectedSections, RemoteDescription};
use super::{MediaNotice, MediaShared, stats};
use crate::browser::mark;
use crate::recordings::{RecordedSound, RecordingSources};
use crate::tones::ring_back::Received;

enum MediaTask {
    /// The offer was sent already: attach the microphone.
    AttachMicrophone,
    /// Create the first offer before the agent requests it, or wait for the prepared one.
    PrepareOffer(Option<Rc<PreparedOffer>>),
    Request(u32, MediaRequest),
}

pub struct CallMedia {
    call: CallId,
    media: Weak<MediaShared>,
    /// The connection that has the sound.
    connection: RefCell<Option<Rc<PeerConnection>>>,
    /// Has answered an offer of another endpoint, and takes over when it is connected.
    successor: RefCell<Option<Rc<PeerConnection>>>,
    /// The last state that the agent knows.
    reported: Cell<Option<MediaState>>,
    /// The sections besides audio in the last description, which belong to the dialog and not to a connection.
    rejected: RefCell<RejectedSections>,
    /// The far end's last offer is answered here, and nothing else happened since: it may still withdraw it.
    withdrawable: RefCell<Option<Withdrawable>>,
    outgoing: Rc<OutgoingAudio>,
    digits: Rc<CallDigits>,
    /// The first offer, created before it was requested.
    prepared: RefCell<Option<Result<String, MediaFailure>>>,
    tasks: RefCell<VecDeque<MediaTask>>,
    is_running: Cell<bool>,
    /// The call has the voice.
    voice: Cell<bool>,
    /// Not muted as a party of a conference.
    heard: Cell<bool>,
    closed: Cell<bool>,
    was_in_snapshot: Cell<bool>,
    measuring: Cell<bool>,
}

/// How an answered offer is undone.
struct Withdrawable {
    rejected: RejectedSections,
    by_successor: bool,
}

impl CallMedia {
    /// Neither muted nor with the voice.
    pub fn new(call: &str, media: Weak<MediaShared>) -> Rc<CallMedia> {
        Rc::new(CallMedia {
            call: call.to_owned(),
            outgoing: OutgoingAudio::new(call, Weak::clone(&media)),
            digits: CallDigits::new(call, Weak::clone(&media)),
            media,
            connection: RefCell::default(),
            successor: RefCell::default(),
            reported: Cell::new(None),
            rejected: RefCell::default(),
            withdrawable: RefCell::default(),
            prepared: RefCell::default(),
            tasks: RefCell::default(),
            is_running: Cell::new(false),
            voice: Cell::new(false),
            heard: Cell::new(true),
            closed: Cell::new(false),
            was_in_snapshot: Cell::new(false),
            measuring: Cell::new(false),
        })
    }

    /// For an outgoing call: returns the prepared offer where there is one. Otherwise starts to create it,
    /// so that it is ready when the agent requests it.
    pub fn start_outgoing(self: &Rc<Self>, prepared: Option<Rc<PreparedOffer>>) -> Option<String> {
        let Some(prepared) = prepared else {
            self.enqueue(MediaTask::PrepareOffer(None));
            return None;
        };
        self.set_connection(&prepared.connection);
        let offer = prepared.offer();
        self.enqueue(match offer {
            Some(_) => MediaTask::AttachMicrophone,
            None => MediaTask::PrepareOffer(Some(prepared)),
        });
        offer
    }

    pub fn handle_request(self: &Rc<Self>, request_id: u32, request: MediaRequest) {
        self.enqueue(MediaTask::Request(request_id, request));
    }

    /// Stops everything at once. A running task notices that the call is closed.
    pub fn close(&self) {
        self.closed.set(true);
        self.tasks.borrow_mut().clear();
        self.outgoing.close();
        self.successor.take();
        self.connection.take();
    }

    /// Called for each snapshot. Returns false when an earlier snapshot had the call and this one has not.
    pub fn update_presence(&self, there: bool) -> bool {
        let before = self.was_in_snapshot.get();
        self.was_in_snapshot.set(before || there);
        there || !before
    }

    pub fn call(&self) -> &str {
        &self.call
    }

    /// Has a microphone track, even if the track has ended.
    pub fn has_microphone(&self) -> bool {
        self.outgoing.has_microphone()
    }

    pub fn set_muted(self: &Rc<Self>, muted: bool) {
        self.outgoing.set_muted(muted);
        if muted {
            // Updates the level meter at once, not at the next interval.
            self.measure();
        }
    }

    /// Without the voice, nothing of the microphone is sent and nothing is played, whatever the far end sends.
    pub fn set_voice(&self, voice: bool) {
        self.voice.set(voice);
        self.outgoing.set_voice(voice);
        self.apply_audible();
    }

    /// Whether the far end is heard in a conference.
    pub fn set_heard(&self, heard: bool) {
        self.heard.set(heard);
        self.apply_audible();
    }

    fn apply_audible(&self) {
        for connection in [self.connection(), self.successor()].into_iter().flatten() {
            connection.set_audible(self.is_audible());
        }
    }

    fn is_audible(&self) -> bool {
        self.voice.get() && self.heard.get()
    }

    /// What the far end sends.
    pub fn remote_stream(&self) -> Option<MediaStream> {
        self.connection()?.remote_stream()
    }

    pub fn recording_sources(&self) -> RecordingSources {
        RecordingSources {
            sent: self.outgoing.own_sound(),
            received: self.received_sound().into_iter().collect(),
            has_voice: self.voice.get(),
        }
    }

    /// What arrives, where the person may hear it.
    fn received_sound(&self) -> Option<RecordedSound> {
        let connection = self.connection().filter(|_| self.heard.get())?;
        connection.received_track().map(RecordedSound::Track)
    }

    /// The same, where the call has the voice.
    pub fn audible_sound(&self) -> Option<RecordedSound> {
        self.received_sound().filter(|_| self.voice.get())
    }

    pub fn set_hold_music(&self, due: bool) {
        self.outgoing.set_hold_music(due);
    }

    pub fn outgoing(&self) -> &Rc<OutgoingAudio> {
        &self.outgoing
    }

    pub fn digits(&self) -> &Rc<CallDigits> {
        &self.digits
    }

    /// False where RFC 4733 was not negotiated.
    pub fn send_digit(&self, digit: char) -> bool {
        self.connection().is_some_and(|connection| connection.send_digit(digit))
    }

    pub fn replace_microphone(&self, microphone: &MediaStreamTrack) {
        if self.has_microphone() {
            self.outgoing.set_microphone(microphone);
        }
    }

    /// `None` without a connection.
    pub async fn received(&self) -> Option<Received> {
        Some(stats::received(self.connection()?.peer()).await)
    }

    /// Measures the audio levels once and notifies the screens.
    pub fn measure(self: &Rc<Self>) {
        let Some(connection) = self.connection() else {
            return;
        };
        if self.measuring.replace(true) {
            return;
        }
        let this = Rc::clone(self);
        spawn_local(async move {
            let levels = stats::audio_levels(connection.peer()).await;
            this.measuring.set(false);
            if let Some(media) = this.media.upgrade()
                && !this.closed.get()
            {
                media.notify(MediaNotice::Levels {
                    call: this.call.clone(),
                    // The level that the browser reports takes about 300 ms to fall.
                    microphone: if this.outgoing.is_silenced() { 0.0 } else { levels.microphone },
                    remote: levels.remote,
                });
            }
        });
    }

    fn connection(&self) -> Option<Rc<PeerConnection>> {
        self.connection.borrow().clone()
    }

    fn successor(&self) -> Option<Rc<PeerConnection>> {
        self.successor.borrow().clone()
    }

    /// The connection that the last description belongs to.
    fn newest(&self) -> Option<Rc<PeerConnection>> {
        self.successor().or_else(|| self.connection())
    }

    fn enqueue(self: &Rc<Self>, task: MediaTask) {
        if self.closed.get() {
            return;
        }
        self.tasks.borrow_mut().push_back(task);
        if self.is_running.replace(true) {
            return;
        }
        let this = Rc::clone(self);
        spawn_local(async move {
            loop {
                let Some(task) = this.tasks.borrow_mut().pop_front() else {
                    break;
                };
                this.run_task(task).await;
            }
            this.is_running.set(false);
        });
    }

    async fn run_task(self: &Rc<Self>, task: MediaTask) {
        match task {
            MediaTask::AttachMicrophone => {
                if let Some(media) = self.media.upgrade() {
                    // Runs in the background and reports its own failure.
                    let _ = self.attach_microphone(&media, true).await;
                }
            }
            MediaTask::PrepareOffer(prepared) => {
                let offer = self.first_offer(prepared).await;
                *self.prepared.borrow_mut() = Some(offer);
            }
            MediaTask::Request(request_id, request) => {
                let (reply, notify) = self.handle(request).await;
                if let Some(media) = self.media.upgrade()
                    && !self.closed.get()
                {
                    media.reply(&self.call, request_id, reply, notify);
                }
            }
        }
    }

    /// The reply, and whether the screens are told of a failure. A call that goes on has none, and an answer that does not
    /// fit its connection makes the agent ask for another one.
    async fn handle(self: &Rc<Self>, request: MediaRequest) -> (MediaReply, bool) {
        let prepared = self.prepared.borrow_mut().take();
        let is_first_answer = matches!(request, MediaRequest::Answer { .. }) && self.connection.borrow().is_none();
        let done = match request {
            MediaRequest::Offer { direction: MediaDirection::SendRecv, kind: OfferKind::Current, .. }
                if prepared.is_some() =>
            {
                prepared.transpose()
            }
            MediaRequest::Offer { direction, kind, codec } => {
                self.offer(direction, kind, codec.as_deref()).await.map(Some)
            }
            MediaRequest::Answer { offer, direction, is_new_endpoint } => {
                self.answer(&offer, direction, is_new_endpoint).await.map(Some)
            }
            MediaRequest::Accept { answer, provisional } => self.accept(&answer, provisional).await.map(|()| None),
            MediaRequest::RollBack => self.roll_back().await.map(|()| None),
            // Handled by `Media::close`, without queueing.
            MediaRequest::Close => Ok(None),
        };
        match done {
            Ok(Some(sdp)) => {
                mark("bitcall:offer");
                (MediaReply::Description { sdp }, false)
            }
            Ok(None) => (MediaReply::Done, false),
            Err(error) => {
                let notify = is_first_answer || error.kind != MediaError::Unusable;
                (MediaReply::Failed { error: error.kind, message: error.message }, notify)
            }
        }
    }

    async fn first_offer(self: &Rc<Self>, prepared: Option<Rc<PreparedOffer>>) -> Result<String, MediaFailure> {
        if let Some(prepared) = prepared {
            if let Some(offer) = prepared.wait_for_offer().await {
                let media = self.media.upgrade().ok_or_else(call_over_error)?;
                self.attach_microphone(&media, true).await?;
                return Ok(offer);
            }
            // Its addresses are hidden, or it could not be made.
            self.discard_connection();
        }
        self.offer(MediaDirection::SendRecv, OfferKind::Current, None).await
    }

    async fn offer(
        self: &Rc<Self>,
        direction: MediaDirection,
        kind: OfferKind,
        codec: Option<&str>,
    ) -> Result<String, MediaFailure> {
        let media = self.media.upgrade().ok_or_else(call_over_error)?;
        self.withdrawable.take();
        let ready = self.microphone_ready(&media).await?;
        if kind == OfferKind::NewConnection {
            self.successor.take();
            self.connection.take();
        }
        let connection = match self.newest() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        let track = self.outgoing.track();
        let restarts = kind == OfferKind::RestartIce;
        let sdp = connection.offer(direction, restarts, track.as_ref(), codec).await;
        let sdp = sdp.map_err(|error| other_error("The offer could not be made", &error))?;
        if media.offer_cache.learns_of_hidden_addresses(ready, &sdp) {
            self.discard_connection();
            return Box::pin(self.offer(direction, kind, codec)).await;
        }
        self.attach_microphone(&media, ready).await?;
        Ok(self.rejected.borrow().offer(&sdp))
    }

    async fn answer(
        self: &Rc<Self>,
        text: &str,
        direction: MediaDirection,
        is_new_endpoint: bool,
    ) -> Result<String, MediaFailure> {
        let media = self.media.upgrade().ok_or_else(call_over_error)?;
        self.withdrawable.take();
        let offer = RemoteDescription::parse(text, 0).ok_or_else(no_audio_error)?;
        let is_first = self.connection.borrow().is_none();
        if is_first
            && direction == MediaDirection::SendRecv
            && let Some((connection, sdp)) = media.take_prepared_answer(&self.call, text)
        {
            self.set_connection(&connection);
            self.rejected.replace(offer.rejected_sections());
            self.attach_microphone(&media, true).await?;
            return Ok(offer.answer(&sdp));
        }
        let ready = self.microphone_ready(&media).await?;
        let connection = self.connection_for(&offer, is_new_endpoint)?;
        let answered = connection.answer(&offer, direction, self.outgoing.track().as_ref()).await;
        let by_successor = self.is_successor(&connection);
        if answered.is_err() && by_successor {
            self.discard_successor();
        } else if answered.is_err() && is_first {
            self.connection.take();
        }
        let sdp = answered?;
        if is_first && media.offer_cache.learns_of_hidden_addresses(ready, &sdp) {
            self.discard_connection();
            return Box::pin(self.answer(text, direction, is_new_endpoint)).await;
        }
        let rejected = self.rejected.replace(offer.rejected_sections());
        *self.withdrawable.borrow_mut() = Some(Withdrawable { rejected, by_successor });
        self.attach_microphone(&media, ready).await?;
        Ok(offer.answer(&sdp))
    }

    async fn accept(&self, answer: &str, provisional: bool) -> Result<(), MediaFailure> {
        let connection = self.newest().ok_or_else(call_over_error)?;
        let audio_index = self.rejected.borrow().audio_index();
        let answer = RemoteDescription::parse(answer, audio_index).ok_or_else(no_audio_error)?;
        connection.accept(&answer, provisional).await
    }

    async fn roll_back(self: &Rc<Self>) -> Result<(), MediaFailure> {
        let withdrawn = self.withdrawable.take();
        let (answered, by_successor) = (withdrawn.is_some(), withdrawn.as_ref().is_some_and(|it| it.by_successor));
        if let Some(withdrawn) = withdrawn {
            *self.rejected.borrow_mut() = withdrawn.rejected;
        }
        if by_successor {
            self.discard_successor();
            return Ok(());
        }
        match self.newest() {
            Some(connection) => connection.roll_back(answered).await,
            None => Ok(()),
        }
    }

    /// The connection to answer with: one that this endpoint has already, or a new one.
    fn connection_for(
        self: &Rc<Self>,
        offer: &RemoteDescription<'_>,
        is_new_endpoint: bool,
    ) -> Result<Rc<PeerConnection>, MediaFailure> {
        let same = |connection: &Rc<PeerConnection>| !is_new_endpoint && connection.is_same_endpoint(offer);
        if let Some(successor) = self.successor().filter(same) {
            return Ok(successor);
        }
        self.discard_successor();
        match self.connection() {
            Some(connection) if same(&connection) => Ok(connection),
            Some(_) => {
                let successor = self.new_connection()?;
                *self.successor.borrow_mut() = Some(Rc::clone(&successor));
                Ok(successor)
            }
            None => self.connect(),
        }
    }

    fn discard_connection(&self) {
        if let Some(connection) = self.connection.take() {
            connection.close();
        }
    }

    fn is_successor(&self, connection: &Rc<PeerConnection>) -> bool {
        self.successor.borrow().as_ref().is_some_and(|successor| Rc::ptr_eq(successor, connection))
    }

    fn discard_successor(&self) {
        if self.successor.take().is_some() {
            self.reported.set(None);
            self.report_state();
        }
    }

    /// True when the description need not wait for the microphone, because permission was granted before and
    /// the microphone can be opened while the call is set up. Otherwise the permission prompt comes first.
    /// Until then browsers replace host addresses by `.local` names, which SIP servers cannot resolve; Firefox
    /// until the microphone is open.
    async fn microphone_ready(&self, media: &Rc<MediaShared>) -> Result<bool, MediaFailure> {
        if self.has_microphone() {
            return Ok(true);
        }
        let ready = !media.offer_cache.hides_addresses() && media.microphone.opens_without_prompt().await;
        if !ready {
            media.microphone.open().await?;
        }
        Ok(ready)
    }

    /// Attaches the microphone; in the background when `later`. What is sent may have changed while the description
    /// was made, so the senders are updated in any case.
    async fn attach_microphone(self: &Rc<Self>, media: &Rc<MediaShared>, later: bool) -> Result<(), MediaFailure> {
        if self.has_microphone() {
            self.outgoing.update_senders();
            return Ok(());
        }
        if !later || media.microphone.is_open() {
            return self.open_microphone(media).await;
        }
        let (this, media) = (Rc::clone(self), Rc::clone(media));
        spawn_local(async move {
            if let Err(error) = this.open_microphone(&media).await
                && !this.closed.get()
            {
                let call = this.call.clone();
                media.notify(MediaNotice::Failed { call: call.clone(), error: error.kind, message: error.message });
                media.send(ToAgent::HangUp { call });
            }
        });
        Ok(())
    }

    async fn open_microphone(self: &Rc<Self>, media: &Rc<MediaShared>) -> Result<(), MediaFailure> {
        let microphone = media.microphone.open().await?;
        media.tones.update();
        if self.closed.get() {
            media.release_microphone_if_idle();
            return Err(call_over_error());
        }
        if !self.has_microphone() {
            self.outgoing.set_microphone(&microphone);
        }
        Ok(())
    }

    fn connect(self: &Rc<Self>) -> Result<Rc<PeerConnection>, MediaFailure> {
        let connection = self.new_connection()?;
        *self.connection.borrow_mut() = Some(Rc::clone(&connection));
        Ok(connection)
    }

    fn new_connection(self: &Rc<Self>) -> Result<Rc<PeerConnection>, MediaFailure> {
        let media = self.media.upgrade().ok_or_else(call_over_error)?;
        let connection =
            PeerConnection::new(&media).map_err(|error| other_error("No connection could be made", &error))?;
        let connection = Rc::new(connection);
        self.adopt(&connection);
        Ok(connection)
    }

    fn set_connection(self: &Rc<Self>, connection: &Rc<PeerConnection>) {
        self.adopt(connection);
        *self.connection.borrow_mut() = Some(Rc::clone(connection));
    }

    fn adopt(self: &Rc<Self>, connection: &Rc<PeerConnection>) {
        let weak = Rc::downgrade(self);
        connection.on_state_change(move || {
            if let Some(this) = weak.upgrade() {
                this.state_changed();
            }
        });
        connection.set_audible(self.is_audible());
        self.outgoing.add_connection(connection);
        self.reported.set(None);
    }

    fn state_changed(&self) {
        if self.successor().is_some_and(|successor| successor.state() == Some(MediaState::Connected)) {
            self.withdrawable.take();
            self.connection.replace(self.successor.take());
            if let Some(media) = self.media.upgrade() {
                media.update_conference();
            }
        }
        // The far end's track is there at the latest when the connection is up.
        self.outgoing.notify_sound_changed();
        self.report_state();
    }

    /// Reports the state of the connection that the last description belongs to.
    fn report_state(&self) {
        let state = self.newest().and_then(|connection| connection.state());
        if self.reported.replace(state) != state
            && let Some(state) = state
            && let Some(media) = self.media.upgrade()
            && !self.closed.get()
        {
            media.send(ToAgent::MediaChanged { call: self.call.clone(), state });
        }
    }
}

fn call_over_error() -> MediaFailure {
    MediaFailure { kind: MediaError::Other, message: "The call is over.".to_owned() }
}

fn no_audio_error() -> MediaFailure {
    MediaFailure {
        kind: MediaError::Unusable,
        message: "The far end's description has no audio over DTLS-SRTP.".to_owned(),
    }
}
