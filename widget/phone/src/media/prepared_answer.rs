//! An answer that is made while the call rings, so that the click only has to send it.
//!
//! The far end must not learn where the person is before the person answers, so the connection gets the offer without its
//! candidates: it finds its own addresses, and looks for no path (RFC 8838 §4.1 allows an offer without any). The
//! candidates follow when the call is answered. Until then no microphone is attached, and nothing is played.
//!
//! Where the person would be asked for the microphone first, or the browser hides addresses until it is open, nothing is
//! prepared, and the answer is made after the click.

use std::cell::RefCell;
use std::rc::Rc;

use bitcall_wire::agent_protocol::{AgentSnapshot, CallId, CallState, MediaDirection};
use wasm_bindgen_futures::spawn_local;

use super::MediaShared;
use super::peer_connection::PeerConnection;
use super::sdp::{self, RemoteDescription};
use crate::browser::mark;

/// Whoever drops it, ends it.
pub struct PreparedAnswer {
    pub call: CallId,
    offer: String,
    /// Once the answer is made.
    begin: RefCell<Option<Begin>>,
}

/// Lets the connection look for its path. With the answer, unless the browser has given the connection up.
type Begin = Box<dyn FnOnce() -> Option<(Rc<PeerConnection>, String)>>;

impl PreparedAnswer {
    pub fn of(call: &str, offer: &str) -> Rc<PreparedAnswer> {
        Rc::new(PreparedAnswer { call: call.to_owned(), offer: offer.to_owned(), begin: RefCell::default() })
    }
}

impl MediaShared {
    /// The connection, and the answer that it has made to this offer for a call that sends and receives.
    pub(super) fn take_prepared_answer(&self, call: &str, offer: &str) -> Option<(Rc<PeerConnection>, String)> {
        let prepared =
            self.prepared_answer.take().filter(|prepared| prepared.call == call && prepared.offer == offer)?;
        let begin = prepared.begin.take()?;
        begin()
    }

    /// As long as the call rings.
    pub(super) fn keep_prepared_answer(&self, snapshot: &AgentSnapshot) {
        let mut prepared = self.prepared_answer.borrow_mut();
        let rings = |id: &CallId| snapshot.calls.iter().any(|call| call.id == *id && call.state == CallState::Incoming);
        if prepared.as_ref().is_some_and(|prepared| !rings(&prepared.call)) {
            *prepared = None;
        }
    }
}

pub fn make(media: Rc<MediaShared>, prepared: &Rc<PreparedAnswer>) {
    let offer = prepared.offer.clone();
    let prepared = Rc::downgrade(prepared);
    spawn_local(async move {
        if media.offer_cache.hides_addresses() || !media.microphone.opens_without_prompt().await {
            return;
        }
        // Meanwhile the call may have ended, as below.
        if prepared.strong_count() == 0 {
            return;
        }
        let Ok(connection) = PeerConnection::new(&media) else { return };
        let known = sdp::without_candidates(&offer);
        let Some(known) = RemoteDescription::parse(&known, 0) else { return };
        let Ok(answer) = connection.answer(&known, MediaDirection::SendRecv, None).await else { return };
        if media.offer_cache.learns_of_hidden_addresses(true, &answer) {
            return;
        }
        let Some(prepared) = prepared.upgrade() else { return };
        *prepared.begin.borrow_mut() = Some(Box::new(move || {
            let answer = connection.begin(&RemoteDescription::parse(&offer, 0)?)?;
            Some((Rc::new(connection), answer))
        }));
        mark("bitcall:prepared-answer");
    });
}
