//! One `RTCPeerConnection` with one audio transceiver.

use std::cell::RefCell;
use std::rc::Rc;

use bitcall_wire::agent_protocol::{MediaDirection, MediaError, MediaState};
use bitcall_wire::config::IceServer;
use js_sys::{Array, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    HtmlAudioElement, MediaStream, MediaStreamTrack, RtcConfiguration, RtcIceConnectionState, RtcOfferOptions,
    RtcPeerConnection, RtcRtpSender, RtcRtpTransceiver, RtcRtpTransceiverDirection, RtcSdpType,
    RtcSessionDescriptionInit, RtcSignalingState, RtcTrackEvent,
};

use super::ice_gathering::IceGathering;
use super::microphone::MediaFailure;
use super::{Inner, sdp};
use crate::browser::{EventListener, object};

/// The codecs to offer, in order of preference. Others (RED, comfort noise, those for video) only make the
/// INVITE larger than a UDP packet.
const CODECS: [&str; 5] = ["audio/opus", "audio/g722", "audio/pcmu", "audio/pcma", "audio/telephone-event"];
/// Duration of a DTMF digit. Common gateways detect 160 ms with a pause of 70 ms.
const DTMF_TONE_MS: u32 = 160;
const DTMF_GAP_MS: u32 = 70;

pub struct PeerConnection {
    peer: RtcPeerConnection,
    media: Rc<Inner>,
    has_servers: bool,
    transceiver: RefCell<Option<RtcRtpTransceiver>>,
    /// Fingerprint from the last remote description.
    remote_fingerprint: RefCell<Option<String>>,
    element: Rc<RefCell<Option<HtmlAudioElement>>>,
    state_listener: RefCell<Option<EventListener>>,
    _track_listener: EventListener,
}

impl PeerConnection {
    pub fn new(media: &Rc<Inner>) -> Result<PeerConnection, JsValue> {
        let has_servers = !media.settings.borrow().ice_servers.is_empty();
        let peer = media.take_peer()?;
        let element = Rc::new(RefCell::new(None));
        let tracks = EventListener::new(&peer, "track", {
            let element = Rc::clone(&element);
            let media = Rc::downgrade(media);
            move |event| {
                let (Ok(stream), Some(media)) = (MediaStream::new(), media.upgrade()) else {
                    return;
                };
                stream.add_track(&event.unchecked_into::<RtcTrackEvent>().track());
                let playing = media.play(&stream);
                if let Some(old) = element.replace(playing) {
                    media.speaker.remove(&old);
                }
            }
        });
        Ok(PeerConnection {
            peer,
            media: Rc::clone(media),
            has_servers,
            transceiver: RefCell::default(),
            remote_fingerprint: RefCell::default(),
            element,
            state_listener: RefCell::default(),
            _track_listener: tracks,
        })
    }

    /// Reports ICE connection states from now on.
    pub fn on_state_change(&self, on_state: impl Fn(MediaState) + 'static) {
        let peer = self.peer.clone();
        let state_listener =
            EventListener::new(&self.peer, "iceconnectionstatechange", move |_| match peer.ice_connection_state() {
                RtcIceConnectionState::Connected | RtcIceConnectionState::Completed => on_state(MediaState::Connected),
                RtcIceConnectionState::Disconnected => on_state(MediaState::Disconnected),
                RtcIceConnectionState::Failed => on_state(MediaState::Failed),
                _ => {}
            });
        *self.state_listener.borrow_mut() = Some(state_listener);
    }

    pub fn peer(&self) -> &RtcPeerConnection {
        &self.peer
    }

    /// Creates an offer with its candidates. The offer is pending when this returns.
    pub async fn offer(
        &self,
        direction: MediaDirection,
        restart_ice: bool,
        track: Option<&MediaStreamTrack>,
    ) -> Result<String, JsValue> {
        if self.peer.signaling_state() == RtcSignalingState::HaveLocalOffer {
            self.set_local(RtcSdpType::Rollback, "").await?;
        }
        let transceiver = self.transceiver();
        let fresh = transceiver.is_none();
        let transceiver = match transceiver {
            Some(transceiver) => transceiver,
            None => self.add_transceiver(track),
        };
        transceiver.set_direction(rtc_direction(direction));
        let options = RtcOfferOptions::new();
        options.set_ice_restart(restart_ice);
        let offer = self.peer.create_offer_with_rtc_offer_options(&options);
        let description = JsFuture::from(offer).await?;
        self.set_local_and_gather(&description, fresh || restart_ice).await
    }

    /// The unanswered local offer with the candidates found so far.
    pub fn pending_offer(&self) -> Option<String> {
        let pending = self.peer.signaling_state() == RtcSignalingState::HaveLocalOffer;
        self.peer.local_description().filter(|_| pending).map(|description| description.sdp())
    }

    /// Creates the answer to the remote offer that was set before.
    pub async fn answer(&self, direction: MediaDirection) -> Result<String, JsValue> {
        if let Some(transceiver) = self.transceiver() {
            transceiver.set_direction(rtc_direction(direction));
            prefer_codecs(&transceiver);
        }
        let description = JsFuture::from(self.peer.create_answer()).await?;
        // New remote ICE credentials mean an ICE restart. Then local candidates are gathered again as well.
        let gathers = ufrag(&sdp_of(&description)) != self.local_ufrag();
        self.set_local_and_gather(&description, gathers).await
    }

    /// Sets the remote offer.
    pub async fn set_remote_offer(&self, offer: &str) -> Result<(), MediaFailure> {
        self.set_remote(RtcSdpType::Offer, offer).await
    }

    /// Sets the remote answer to the pending offer.
    pub async fn accept(&self, answer: &str, provisional: bool) -> Result<(), MediaFailure> {
        let kind = if provisional { RtcSdpType::Pranswer } else { RtcSdpType::Answer };
        self.set_remote(kind, answer).await
    }

    /// Returns to the last agreed session descriptions.
    pub async fn roll_back(&self) -> Result<(), MediaFailure> {
        match self.peer.signaling_state() {
            RtcSignalingState::HaveLocalOffer | RtcSignalingState::HaveRemotePranswer => {
                self.set_local(RtcSdpType::Rollback, "").await.map_err(|error| unusable(&error))?;
            }
            _ => return Ok(()),
        }
        self.reapply_agreed_descriptions().await.map_err(|error| unusable(&error))
    }

    /// Sets the agreed descriptions again locally, without asking the far end. Chromium stops playback as
    /// soon as an offer says that we do not receive, and a rollback alone does not resume it.
    async fn reapply_agreed_descriptions(&self) -> Result<(), JsValue> {
        let (Some(transceiver), Some(local), Some(remote)) =
            (self.transceiver(), self.peer.current_local_description(), self.peer.current_remote_description())
        else {
            return Ok(());
        };
        if let Some(direction) = transceiver.current_direction() {
            transceiver.set_direction(direction);
        }
        let offer = JsFuture::from(self.peer.create_offer()).await?;
        JsFuture::from(self.peer.set_local_description(offer.unchecked_ref::<RtcSessionDescriptionInit>())).await?;
        let answer = RtcSessionDescriptionInit::new(RtcSdpType::Answer);
        answer.set_sdp(&sdp::as_answer(&remote.sdp(), &local.sdp()));
        JsFuture::from(self.peer.set_remote_description(&answer)).await?;
        Ok(())
    }

    /// False when `offer` comes from another endpoint, with another DTLS fingerprint, than the one this
    /// connection has.
    pub fn has_same_fingerprint(&self, offer: &str) -> bool {
        let known = self.remote_fingerprint.borrow();
        known.is_none() || *known == sdp::fingerprint(offer)
    }

    pub async fn set_track(&self, track: &MediaStreamTrack) {
        if let Some(transceiver) = self.transceiver() {
            // Fails only on a closed connection.
            let _ = JsFuture::from(transceiver.sender().replace_track(Some(track))).await;
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
        sender.insert_dtmf_with_duration_and_inter_tone_gap(&digits, DTMF_TONE_MS, DTMF_GAP_MS);
        true
    }

    /// Mutes or unmutes the playback of the far end.
    pub fn set_output_muted(&self, silent: bool) {
        if let Some(element) = &*self.element.borrow() {
            element.set_muted(silent);
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
        prefer_codecs(&transceiver);
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
        let description = RtcSessionDescriptionInit::new(kind);
        description.set_sdp(sdp);
        JsFuture::from(self.peer.set_remote_description(&description)).await.map_err(|error| unusable(&error))?;
        *self.remote_fingerprint.borrow_mut() = sdp::fingerprint(sdp);
        Ok(())
    }

    fn local_ufrag(&self) -> Option<String> {
        self.peer.local_description().and_then(|description| ufrag(&description.sdp()))
    }
}

impl Drop for PeerConnection {
    fn drop(&mut self) {
        self.peer.close();
        if let Some(element) = self.element.borrow_mut().take() {
            self.media.speaker.remove(&element);
        }
    }
}

/// Creates and discards a local description, so that the browser has loaded what the first call needs.
pub async fn warm_up(peer: &RtcPeerConnection) {
    prefer_codecs(&peer.add_transceiver_with_str("audio"));
    if let Ok(description) = JsFuture::from(peer.create_offer()).await {
        let description = description.unchecked_ref::<RtcSessionDescriptionInit>();
        let _ = JsFuture::from(peer.set_local_description(description)).await;
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

fn prefer_codecs(transceiver: &RtcRtpTransceiver) {
    let Some(capabilities) = RtcRtpSender::get_capabilities("audio") else {
        return;
    };
    let Ok(known) = Reflect::get(&capabilities, &"codecs".into()) else {
        return;
    };
    let known: Array = known.unchecked_into();
    let preferred = Array::new();
    for name in CODECS {
        for codec in known.iter() {
            let mime = Reflect::get(&codec, &"mimeType".into()).ok().and_then(|mime| mime.as_string());
            if mime.is_some_and(|mime| mime.eq_ignore_ascii_case(name)) {
                preferred.push(&codec);
            }
        }
    }
    if preferred.length() > 0 {
        // By reflection: older browsers do not have it, and it throws on a list that the browser does not
        // accept.
        if let Ok(set) = Reflect::get(transceiver, &"setCodecPreferences".into())
            && let Ok(set) = set.dyn_into::<js_sys::Function>()
        {
            let _ = set.call1(transceiver, &preferred);
        }
    }
}

fn sdp_of(description: &JsValue) -> String {
    Reflect::get(description, &"sdp".into()).ok().and_then(|sdp| sdp.as_string()).unwrap_or_default()
}

fn ufrag(sdp: &str) -> Option<String> {
    sdp.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).map(|value| value.trim().to_owned())
}
