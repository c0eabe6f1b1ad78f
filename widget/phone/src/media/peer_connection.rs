//! One `RTCPeerConnection` with one audio transceiver.
//!
//! A negotiation that fails, is refused or is withdrawn leaves the connection as it was agreed before (RFC 3261
//! §14.1): it is rolled back, or where the browser has completed it already, the earlier descriptions are set
//! again.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bitcall_wire::agent_protocol::{MediaDirection, MediaError, MediaState};
use bitcall_wire::config::IceServer;
use js_sys::{Array, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    HtmlAudioElement, MediaStream, MediaStreamTrack, RtcConfiguration, RtcIceCandidateInit, RtcOfferOptions,
    RtcPeerConnection, RtcPeerConnectionState, RtcRtpTransceiver, RtcRtpTransceiverDirection, RtcSdpType,
    RtcSessionDescriptionInit, RtcSignalingState, RtcTrackEvent,
};

use super::connection_state::media_state;
use super::digit_queue::{DIGIT_MS, GAP_MS};
use super::ice_gathering::IceGathering;
use super::microphone::MediaFailure;
use super::sdp::{AgreedForm, ConnectionForm, RemoteDescription};
use super::speaker::ignore_rejection;
use super::{MediaShared, codecs, sdp};
use crate::browser::{EventListener, object};

pub struct PeerConnection {
    peer: RtcPeerConnection,
    media: Rc<MediaShared>,
    has_servers: bool,
    transceiver: RefCell<Option<RtcRtpTransceiver>>,
    /// Of the far end, from its last description.
    remote_fingerprints: RefCell<Vec<String>>,
    /// The provisional answer that was set as a final one, in a browser that knows no provisional ones (Firefox).
    instead_of_provisional: RefCell<Option<String>>,
    /// What was agreed before the far end's last offer, which it may withdraw although it is answered here.
    before_answer: RefCell<Option<Agreed>>,
    /// What the far end sends.
    stream: Rc<RefCell<Option<MediaStream>>>,
    element: Rc<RefCell<Option<HtmlAudioElement>>>,
    audible: Rc<Cell<bool>>,
    state_listeners: RefCell<Option<[EventListener; 2]>>,
    _track_listener: EventListener,
}

/// What both ends agreed on.
struct Agreed {
    local: String,
    remote: String,
    direction: Option<RtcRtpTransceiverDirection>,
}

impl PeerConnection {
    /// The far end is not audible until [`Self::set_audible`].
    pub fn new(media: &Rc<MediaShared>) -> Result<PeerConnection, JsValue> {
        let has_servers = !media.settings.borrow().ice_servers.is_empty();
        let peer = media.take_peer()?;
        let stream = Rc::new(RefCell::new(None));
        let element = Rc::new(RefCell::new(None));
        let audible = Rc::new(Cell::new(false));
        let tracks = EventListener::new(&peer, "track", {
            let (received, element, audible) = (Rc::clone(&stream), Rc::clone(&element), Rc::clone(&audible));
            let media = Rc::downgrade(media);
            move |event| {
                let track = event.unchecked_into::<RtcTrackEvent>().track();
                let (Ok(stream), Some(media)) = (MediaStream::new(), media.upgrade()) else {
                    return;
                };
                if track.kind() != "audio" {
                    return;
                }
                stream.add_track(&track);
                let playing = media.play(&stream, audible.get());
                if let Some(old) = element.replace(playing) {
                    media.speaker.remove(&old);
                }
                received.replace(Some(stream));
                media.update_conference();
            }
        });
        Ok(PeerConnection {
            peer,
            media: Rc::clone(media),
            has_servers,
            transceiver: RefCell::default(),
            remote_fingerprints: RefCell::default(),
            instead_of_provisional: RefCell::default(),
            before_answer: RefCell::default(),
            stream,
            element,
            audible,
            state_listeners: RefCell::default(),
            _track_listener: tracks,
        })
    }

    /// Calls `changed` whenever [`Self::state`] may have changed.
    pub fn on_state_change(&self, changed: impl Fn() + 'static) {
        let changed = Rc::new(changed);
        let listeners = ["connectionstatechange", "iceconnectionstatechange"].map(|name| {
            let changed = Rc::clone(&changed);
            EventListener::new(&self.peer, name, move |_| changed())
        });
        *self.state_listeners.borrow_mut() = Some(listeners);
    }

    pub fn state(&self) -> Option<MediaState> {
        media_state(self.peer.connection_state(), self.peer.ice_connection_state())
    }

    /// What the far end sends, once its description is there.
    pub fn remote_stream(&self) -> Option<MediaStream> {
        self.stream.borrow().clone()
    }

    /// What arrives.
    pub fn received_track(&self) -> Option<MediaStreamTrack> {
        Some(self.transceiver()?.receiver().track())
    }

    pub fn peer(&self) -> &RtcPeerConnection {
        &self.peer
    }

    /// At once, also where a task still holds it.
    pub fn close(&self) {
        close(&self.peer);
    }

    /// Creates an offer with its candidates. The offer is pending when this returns. `codec` is the one in use.
    pub async fn offer(
        &self,
        direction: MediaDirection,
        restart_ice: bool,
        track: Option<&MediaStreamTrack>,
        codec: Option<&str>,
    ) -> Result<String, JsValue> {
        self.settle_provisional_answer().await?;
        if self.peer.signaling_state() == RtcSignalingState::HaveLocalOffer {
            self.set_local(RtcSdpType::Rollback, "").await?;
        }
        let agreed = self.agreed();
        let transceiver = self.transceiver().unwrap_or_else(|| self.add_transceiver(track));
        codecs::prefer(&transceiver, codec);
        transceiver.set_direction(rtc_direction(direction));
        let options = RtcOfferOptions::new();
        options.set_ice_restart(restart_ice);
        let made = async {
            let description = JsFuture::from(self.peer.create_offer_with_rtc_offer_options(&options)).await?;
            self.set_local_and_gather(&description, agreed.is_none() || restart_ice).await
        };
        let made = made.await;
        if made.is_err()
            && let Some(direction) = agreed.as_ref().and_then(|agreed| agreed.direction)
        {
            transceiver.set_direction(direction);
        }
        made
    }

    /// The unanswered local offer with the candidates found so far.
    pub fn pending_offer(&self) -> Option<String> {
        let pending = self.peer.signaling_state() == RtcSignalingState::HaveLocalOffer;
        self.peer.local_description().filter(|_| pending).map(|description| description.sdp())
    }

    /// Sets the remote offer and creates the answer. Without one the connection is as it was before.
    pub async fn answer(
        &self,
        offer: &RemoteDescription<'_>,
        direction: MediaDirection,
        track: Option<&MediaStreamTrack>,
    ) -> Result<String, MediaFailure> {
        self.settle_provisional_answer().await.map_err(|error| unusable(&error))?;
        let agreed = self.agreed();
        let answered = self.answer_offer(offer, direction, track).await;
        match &answered {
            Ok(_) => *self.before_answer.borrow_mut() = agreed,
            Err(_) => {
                // The far end gets the first error; there is nothing to do about a second one.
                let _ = self.restore(agreed).await;
            }
        }
        answered
    }

    async fn answer_offer(
        &self,
        offer: &RemoteDescription<'_>,
        direction: MediaDirection,
        track: Option<&MediaStreamTrack>,
    ) -> Result<String, MediaFailure> {
        self.set_remote(RtcSdpType::Offer, &offer.for_connection(&self.form(true))).await?;
        *self.remote_fingerprints.borrow_mut() = offer.fingerprints();
        if let Some(track) = track {
            self.send(track);
        }
        if let Some(transceiver) = self.transceiver() {
            transceiver.set_direction(rtc_direction(direction));
            codecs::keep_order_of_offer(&transceiver);
        }
        let made = async {
            let description = JsFuture::from(self.peer.create_answer()).await?;
            // New remote ICE credentials mean an ICE restart. Then local candidates are gathered again as well.
            let gathers = ufrag(&sdp_of(&description)) != self.local_ufrag();
            self.set_local_and_gather(&description, gathers).await
        };
        made.await.map_err(|error| other_error("The answer could not be made", &error))
    }

    /// Looks for a path to the far end of an offer that was answered without its candidates. The answer with all of our
    /// own that were found meanwhile; `None` where the browser has given the connection up.
    pub fn begin(&self, offer: &RemoteDescription<'_>) -> Option<String> {
        if self.peer.connection_state() != RtcPeerConnectionState::New {
            return None;
        }
        for candidate in offer.candidates() {
            let init = RtcIceCandidateInit::new(candidate);
            init.set_sdp_m_line_index(Some(0));
            // What the browser cannot use, it refuses, as in a description.
            ignore_rejection(self.peer.add_ice_candidate_with_opt_rtc_ice_candidate_init(Some(&init)));
        }
        self.peer.local_description().map(|description| description.sdp())
    }

    /// Sets the remote answer to the pending offer.
    pub async fn accept(&self, answer: &RemoteDescription<'_>, provisional: bool) -> Result<(), MediaFailure> {
        if !self.is_same_endpoint(answer) {
            return Err(MediaFailure {
                kind: MediaError::Unusable,
                message: "The answer comes from another endpoint, which needs a new connection.".to_owned(),
            });
        }
        let sdp = answer.for_connection(&self.form(false));
        if self.peer.signaling_state() == RtcSignalingState::Stable {
            return self.accept_again(sdp).await.map_err(|error| unusable(&error));
        }
        if !provisional || self.set_remote_description(RtcSdpType::Pranswer, &sdp).await.is_err() {
            self.set_remote(RtcSdpType::Answer, &sdp).await?;
            *self.instead_of_provisional.borrow_mut() = provisional.then_some(sdp);
        }
        *self.remote_fingerprints.borrow_mut() = answer.fingerprints();
        Ok(())
    }

    /// An answer after one that was final already. It repeats that one (RFC 6337 §3.1.1), unless that one was provisional.
    async fn accept_again(&self, sdp: String) -> Result<(), JsValue> {
        let is_news = self.instead_of_provisional.borrow().as_ref().is_some_and(|before| *before != sdp);
        if let (true, Some(agreed)) = (is_news, self.agreed()) {
            self.reapply(&Agreed { remote: sdp.clone(), ..agreed }).await?;
            *self.instead_of_provisional.borrow_mut() = Some(sdp);
        }
        Ok(())
    }

    /// Returns to the descriptions that were agreed before the last offer of either side. `answered`: that was one
    /// of the far end, which is answered here already.
    pub async fn roll_back(&self, answered: bool) -> Result<(), MediaFailure> {
        let before_answer = self.before_answer.take().filter(|_| answered);
        let agreed = match self.peer.signaling_state() {
            RtcSignalingState::Stable => before_answer,
            _ => self.agreed(),
        };
        self.restore(agreed).await.map_err(|error| unusable(&error))
    }

    async fn restore(&self, agreed: Option<Agreed>) -> Result<(), JsValue> {
        match self.peer.signaling_state() {
            RtcSignalingState::HaveLocalOffer | RtcSignalingState::HaveRemotePranswer => {
                self.set_local(RtcSdpType::Rollback, "").await?;
            }
            RtcSignalingState::HaveRemoteOffer => self.set_remote_description(RtcSdpType::Rollback, "").await?,
            _ => {}
        }
        match agreed {
            Some(agreed) => self.reapply(&agreed).await,
            None => Ok(()),
        }
    }

    /// Sets the agreed descriptions again locally, without asking the far end. Chromium stops playback as
    /// soon as an offer says that we do not receive, and a rollback alone does not resume it.
    async fn reapply(&self, agreed: &Agreed) -> Result<(), JsValue> {
        if let (Some(transceiver), Some(direction)) = (self.transceiver(), agreed.direction) {
            transceiver.set_direction(direction);
        }
        let offer = JsFuture::from(self.peer.create_offer()).await?;
        JsFuture::from(self.peer.set_local_description(offer.unchecked_ref::<RtcSessionDescriptionInit>())).await?;
        self.set_remote_description(RtcSdpType::Answer, &sdp::as_answer(&agreed.remote, &agreed.local)).await
    }

    /// A provisional answer that is followed by another offer was final (RFC 3262 §5).
    async fn settle_provisional_answer(&self) -> Result<(), JsValue> {
        match self.peer.remote_description() {
            Some(remote) if self.peer.signaling_state() == RtcSignalingState::HaveRemotePranswer => {
                self.set_remote_description(RtcSdpType::Answer, &remote.sdp()).await
            }
            _ => Ok(()),
        }
    }

    fn agreed(&self) -> Option<Agreed> {
        let local = self.peer.current_local_description()?.sdp();
        let remote = self.peer.current_remote_description()?.sdp();
        Some(Agreed { local, remote, direction: self.transceiver().and_then(|own| own.current_direction()) })
    }

    /// The form that the far end's next description needs: an offer keeps the DTLS roles open, an answer has the
    /// present one.
    fn form(&self, offer: bool) -> ConnectionForm {
        let of = |agreed: Agreed| {
            let role = if offer { "a=setup:actpass" } else { sdp::remote_role(&agreed.remote, &agreed.local) };
            AgreedForm::of(&agreed.remote, role)
        };
        let own = self.transceiver();
        let direction = own.as_ref().filter(|_| !offer).map(RtcRtpTransceiver::direction);
        ConnectionForm {
            mid: own.and_then(|own| own.mid()),
            agreed: self.agreed().map(of),
            offered: direction.map(|direction| {
                use RtcRtpTransceiverDirection as Direction;
                let both = direction == Direction::Sendrecv;
                (both || direction == Direction::Sendonly, both || direction == Direction::Recvonly)
            }),
        }
    }

    /// False when the description comes from another endpoint than the last one did: another DTLS fingerprint
    /// needs another connection.
    pub fn is_same_endpoint(&self, description: &RemoteDescription<'_>) -> bool {
        let known = self.remote_fingerprints.borrow();
        known.is_empty() || description.fingerprints().iter().any(|fingerprint| known.contains(fingerprint))
    }

    /// Sends `track` in place of the present one. The last call counts.
    pub fn send(&self, track: &MediaStreamTrack) {
        if let Some(transceiver) = self.transceiver() {
            // Fails only on a closed connection.
            ignore_rejection(transceiver.sender().replace_track(Some(track)));
        }
    }

    /// Appends to the digits that are not sent yet. False where RFC 4733 was not negotiated.
    pub fn send_digit(&self, digit: char) -> bool {
        let Some(sender) = self.transceiver().and_then(|transceiver| transceiver.sender().dtmf()) else {
            return false;
        };
        if Reflect::get(&sender, &"canInsertDTMF".into()) != Ok(JsValue::TRUE) {
            return false;
        }
        let mut digits = sender.tone_buffer();
        digits.push(digit);
        sender.insert_dtmf_with_duration_and_inter_tone_gap(&digits, DIGIT_MS, GAP_MS);
        true
    }

    /// Whether the far end is played.
    pub fn set_audible(&self, audible: bool) {
        if self.audible.replace(audible) == audible {
            return;
        }
        if let Some(element) = &*self.element.borrow() {
            element.set_muted(!audible);
            if audible {
                // A browser that blocks autoplay allows it to a muted element only.
                self.media.check_playback(element);
            }
        }
    }

    fn transceiver(&self) -> Option<RtcRtpTransceiver> {
        if let Some(transceiver) = &*self.transceiver.borrow() {
            return Some(transceiver.clone());
        }
        // Created by the browser for the remote offer.
        let transceiver = self.peer.get_transceivers().get(0).dyn_into::<RtcRtpTransceiver>().ok()?;
        *self.transceiver.borrow_mut() = Some(transceiver.clone());
        Some(transceiver)
    }

    fn add_transceiver(&self, track: Option<&MediaStreamTrack>) -> RtcRtpTransceiver {
        let transceiver = match track {
            Some(track) => self.peer.add_transceiver_with_media_stream_track(track),
            None => self.peer.add_transceiver_with_str("audio"),
        };
        *self.transceiver.borrow_mut() = Some(transceiver.clone());
        transceiver
    }

    async fn set_local_and_gather(&self, description: &JsValue, gathers: bool) -> Result<String, JsValue> {
        let gathering = gathers.then(|| IceGathering::start(&self.peer, self.has_servers));
        JsFuture::from(self.peer.set_local_description(description.unchecked_ref::<RtcSessionDescriptionInit>()))
            .await?;
        if let Some(gathering) = gathering {
            gathering.ready().await;
        }
        self.peer
            .local_description()
            .map(|description| description.sdp())
            .ok_or_else(|| JsValue::from_str("the connection was closed"))
    }

    async fn set_local(&self, kind: RtcSdpType, sdp: &str) -> Result<(), JsValue> {
        let description = RtcSessionDescriptionInit::new(kind);
        description.set_sdp(sdp);
        JsFuture::from(self.peer.set_local_description(&description)).await?;
        Ok(())
    }

    async fn set_remote(&self, kind: RtcSdpType, sdp: &str) -> Result<(), MediaFailure> {
        self.set_remote_description(kind, sdp).await.map_err(|error| unusable(&error))
    }

    async fn set_remote_description(&self, kind: RtcSdpType, sdp: &str) -> Result<(), JsValue> {
        let description = RtcSessionDescriptionInit::new(kind);
        description.set_sdp(sdp);
        JsFuture::from(self.peer.set_remote_description(&description)).await?;
        Ok(())
    }

    fn local_ufrag(&self) -> Option<String> {
        self.peer.local_description().and_then(|description| ufrag(&description.sdp()))
    }
}

impl Drop for PeerConnection {
    fn drop(&mut self) {
        self.close();
        if let Some(element) = self.element.borrow_mut().take() {
            self.media.speaker.remove(&element);
        }
    }
}

/// Creates and discards a local description, so that the browser has loaded what the first call needs.
pub async fn warm_up(peer: &RtcPeerConnection) {
    codecs::prefer(&peer.add_transceiver_with_str("audio"), None);
    if let Ok(description) = JsFuture::from(peer.create_offer()).await {
        let description = description.unchecked_ref::<RtcSessionDescriptionInit>();
        let _ = JsFuture::from(peer.set_local_description(description)).await;
    }
    close(peer);
}

/// Chromium goes on to count the track of a closed connection as live, which keeps the page out of the back/forward cache.
fn close(peer: &RtcPeerConnection) {
    for transceiver in peer.get_transceivers().iter() {
        transceiver.unchecked_into::<RtcRtpTransceiver>().receiver().track().stop();
    }
    peer.close();
}

/// The `message` of a JavaScript error.
pub fn error_message(error: &JsValue) -> String {
    Reflect::get(error, &"message".into())
        .ok()
        .and_then(|message| message.as_string())
        .or_else(|| error.as_string())
        .unwrap_or_default()
}

/// The `name` of a JavaScript error, e.g. `NotAllowedError`.
pub fn error_name(error: &JsValue) -> String {
    Reflect::get(error, &"name".into()).ok().and_then(|name| name.as_string()).unwrap_or_default()
}

fn unusable(error: &JsValue) -> MediaFailure {
    MediaFailure {
        kind: MediaError::Unusable,
        message: format!("The far end's description cannot be used: {}", error_message(error)),
    }
}

pub fn other_error(what: &str, error: &JsValue) -> MediaFailure {
    MediaFailure { kind: MediaError::Other, message: format!("{what}: {}", error_message(error)) }
}

fn rtc_direction(direction: MediaDirection) -> RtcRtpTransceiverDirection {
    match direction {
        MediaDirection::SendRecv => RtcRtpTransceiverDirection::Sendrecv,
        MediaDirection::SendOnly => RtcRtpTransceiverDirection::Sendonly,
        MediaDirection::RecvOnly => RtcRtpTransceiverDirection::Recvonly,
        MediaDirection::Inactive => RtcRtpTransceiverDirection::Inactive,
    }
}

pub fn configuration(servers: &[IceServer]) -> RtcConfiguration {
    let list = Array::new();
    for server in servers {
        let urls: Array = server.urls.iter().map(|url| JsValue::from_str(url)).collect();
        let mut fields = vec![("urls", urls.into())];
        if let Some(username) = &server.username {
            fields.push(("username", username.into()));
        }
        if let Some(credential) = &server.credential {
            fields.push(("credential", credential.into()));
        }
        list.push(&object(&fields));
    }
    // Not `max-bundle`: with it Chromium rejects every description without a BUNDLE group, as gateways to
    // plain RTP send it.
    let configuration = object(&[("iceServers", list.into())]);
    configuration.unchecked_into()
}

fn sdp_of(description: &JsValue) -> String {
    Reflect::get(description, &"sdp".into()).ok().and_then(|sdp| sdp.as_string()).unwrap_or_default()
}

fn ufrag(sdp: &str) -> Option<String> {
    sdp.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).map(|value| value.trim().to_owned())
}
