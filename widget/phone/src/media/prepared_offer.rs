//! An offer that is created before a call is placed, so that the click only has to send it.
//!
//! Creating an offer takes about 30 ms (connection, description, candidates). It depends neither on the
//! callee nor on the microphone's audio. Therefore it is created as soon as a call is likely and, where no
//! ICE servers are configured, also when the phone is idle. It is discarded when it may be outdated (other
//! network, no microphone) or older than [`OFFER_TTL_MS`], because it holds sockets and, with TURN, an
//! allocation on the server. A spare peer connection then takes its place; that holds no resources outside
//! the browser.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use bitcall_wire::agent_protocol::MediaDirection;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;
use web_sys::RtcPeerConnection;

use super::peer_connection::{self, PeerConnection};
use super::{MediaShared, sdp};
use crate::browser::{BrowserTimer, Completion, mark};
use crate::page;

/// How long a prepared offer may be used.
const OFFER_TTL_MS: u32 = 30_000;
/// The first connection is created this long after the registration. Before that the page is still being
/// rendered.
const WARM_UP_DELAY_MS: i32 = 250;

/// Why an offer is prepared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrepareReason {
    /// The phone is registered and has no calls.
    Idle,
    /// The person touches the dialer, or its number field has been filled.
    AboutToCall,
}

/// When the stored offer was started, in milliseconds since the Unix epoch. `None` without one. Needs no
/// browser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct OfferAge(Option<u64>);

impl OfferAge {
    /// Whether to create an offer now and replace an old one. `servers`: ICE servers are configured. They
    /// are not used for idle phones, because every open phone would ask them.
    fn should_prepare(self, cause: PrepareReason, servers: bool, now: u64) -> bool {
        !self.is_fresh(now) && (cause == PrepareReason::AboutToCall || !servers)
    }

    fn is_fresh(self, now: u64) -> bool {
        self.0.is_some_and(|begun| now.saturating_sub(begun) < u64::from(OFFER_TTL_MS))
    }
}

/// An offer, finished or still being created.
pub struct PreparedOffer {
    pub connection: Rc<PeerConnection>,
    /// Completed when the offer is created or has failed.
    completion: Completion,
    is_made: Cell<bool>,
}

impl PreparedOffer {
    /// The offer with the candidates found so far. `None` while it is being created.
    pub fn offer(&self) -> Option<String> {
        self.is_made.get().then(|| self.connection.pending_offer()).flatten()
    }

    /// Waits until the offer is created.
    pub async fn wait_for_offer(&self) -> Option<String> {
        self.completion.wait().await;
        self.offer()
    }
}

/// Holds the prepared offer or the spare peer connection.
#[derive(Default)]
pub struct OfferCache {
    age: Cell<OfferAge>,
    offer: RefCell<Option<Rc<PreparedOffer>>>,
    spare_peer: RefCell<Option<RtcPeerConnection>>,
    /// Runs from the registration until the page is rendered.
    warm_up_timer: RefCell<Option<BrowserTimer>>,
    is_warm: Cell<bool>,
    /// Discards the offer after [`OFFER_TTL_MS`].
    expiry_timer: RefCell<Option<BrowserTimer>>,
    /// The browser replaces host addresses by mDNS names until a microphone is open: then a prepared offer
    /// is unusable.
    addresses_hidden: Cell<bool>,
}

impl OfferCache {
    /// Discards the offer, which may be outdated. Its connection is closed also while the offer is being created: an open
    /// one keeps the page out of the back/forward cache.
    pub fn discard(&self) {
        self.age.take();
        self.expiry_timer.take();
        if let Some(offer) = self.offer.take() {
            offer.connection.close();
        }
    }

    /// Descriptions have to wait for the microphone.
    pub fn hides_addresses(&self) -> bool {
        self.addresses_hidden.get()
    }

    /// True if the description, which did not wait for the microphone, is unusable and has to be made anew.
    pub fn learns_of_hidden_addresses(&self, has_not_waited: bool, sdp: &str) -> bool {
        has_not_waited && !self.addresses_hidden.get() && {
            self.addresses_hidden.set(sdp::hides_addresses(sdp));
            self.addresses_hidden.get()
        }
    }

    /// Discards everything. The phone is being closed.
    pub fn clear(&self) {
        self.discard();
        self.warm_up_timer.take();
        if let Some(spare_peer) = self.spare_peer.take() {
            spare_peer.close();
        }
    }
}

impl MediaShared {
    /// Prepares what `cause` calls for, unless it exists. The first connection of a page takes ten times as
    /// long as any later one, so one is created and closed while the page is idle.
    pub(super) fn prepare_for_call(self: &Rc<Self>, cause: PrepareReason) {
        let cache = &self.offer_cache;
        if cause == PrepareReason::AboutToCall {
            cache.warm_up_timer.take();
            cache.is_warm.set(true);
        }
        if cache.is_warm.get() {
            return self.prepare_offer(cause);
        }
        if cache.warm_up_timer.borrow().is_some() {
            return;
        }
        let inner = Rc::downgrade(self);
        *cache.warm_up_timer.borrow_mut() = Some(BrowserTimer::after(WARM_UP_DELAY_MS, move || {
            spawn_local(warm_up(inner));
        }));
    }

    /// Takes the prepared offer if it is still fresh.
    pub(super) fn take_prepared(&self) -> Option<Rc<PreparedOffer>> {
        let is_fresh = self.offer_cache.age.take().is_fresh(page::unix_now_ms());
        self.offer_cache.expiry_timer.take();
        self.offer_cache.offer.take().filter(|_| is_fresh)
    }

    /// Takes the spare peer connection or creates a new one.
    pub(super) fn take_peer(&self) -> Result<RtcPeerConnection, JsValue> {
        let spare_peer = self.offer_cache.spare_peer.take();
        spare_peer.map_or_else(|| self.new_peer(), Ok)
    }

    fn new_peer(&self) -> Result<RtcPeerConnection, JsValue> {
        RtcPeerConnection::new_with_configuration(&peer_connection::configuration(&self.settings.borrow().ice_servers))
    }

    fn ensure_spare_peer(&self) {
        if self.offer_cache.spare_peer.borrow().is_none() && self.offer_cache.offer.borrow().is_none() {
            *self.offer_cache.spare_peer.borrow_mut() = self.new_peer().ok();
        }
    }

    fn prepare_offer(self: &Rc<Self>, cause: PrepareReason) {
        let cache = &self.offer_cache;
        self.ensure_spare_peer();
        let servers = !self.settings.borrow().ice_servers.is_empty();
        let now = page::unix_now_ms();
        if cache.addresses_hidden.get() || !cache.age.get().should_prepare(cause, servers, now) {
            return;
        }
        cache.discard();
        cache.age.set(OfferAge(Some(now)));
        let inner = Rc::downgrade(self);
        *cache.expiry_timer.borrow_mut() = Some(BrowserTimer::after(OFFER_TTL_MS.cast_signed(), move || {
            if let Some(inner) = inner.upgrade() {
                inner.offer_cache.discard();
                inner.ensure_spare_peer();
            }
        }));
        spawn_local(make_offer(Rc::clone(self), cache.age.get()));
    }
}

async fn make_offer(inner: Rc<MediaShared>, age: OfferAge) {
    let ready = inner.microphone.opens_without_prompt().await;
    // Meanwhile the call may have been placed, or the network changed.
    if inner.offer_cache.age.get() != age {
        return;
    }
    let connection = if ready { PeerConnection::new(&inner).ok() } else { None };
    let Some(connection) = connection else {
        // Without microphone permission the person is asked first.
        return inner.offer_cache.discard();
    };
    let prepared = Rc::new(PreparedOffer {
        connection: Rc::new(connection),
        completion: Completion::pending(),
        is_made: Cell::new(false),
    });
    *inner.offer_cache.offer.borrow_mut() = Some(Rc::clone(&prepared));
    let offer = prepared.connection.offer(MediaDirection::SendRecv, false, None, None).await.ok();
    let hidden = offer.as_deref().is_some_and(|sdp| inner.offer_cache.learns_of_hidden_addresses(true, sdp));
    prepared.is_made.set(offer.is_some() && !hidden);
    prepared.completion.complete();
    mark("bitcall:prepared");
    if !prepared.is_made.get() && inner.offer_cache.age.get() == age {
        inner.offer_cache.discard();
    }
}

/// Creates and closes a first connection.
async fn warm_up(inner: Weak<MediaShared>) {
    let Some(inner) = inner.upgrade() else { return };
    inner.offer_cache.warm_up_timer.take();
    inner.offer_cache.is_warm.set(true);
    if !inner.media_by_call.borrow().is_empty() {
        return;
    }
    if let Ok(peer) = inner.new_peer() {
        peer_connection::warm_up(&peer).await;
    }
    if inner.media_by_call.borrow().is_empty() {
        inner.prepare_offer(PrepareReason::Idle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;
    const NONE: OfferAge = OfferAge(None);
    const JUST_STARTED: OfferAge = OfferAge(Some(NOW));

    #[test]
    fn an_idle_phone_prepares_an_offer_only_without_ice_servers() {
        assert!(NONE.should_prepare(PrepareReason::Idle, false, NOW));
        assert!(!NONE.should_prepare(PrepareReason::Idle, true, NOW));
    }

    #[test]
    fn an_offer_is_prepared_with_ice_servers_when_a_call_is_likely() {
        assert!(NONE.should_prepare(PrepareReason::AboutToCall, true, NOW));
        assert!(NONE.should_prepare(PrepareReason::AboutToCall, false, NOW));
    }

    #[test]
    fn a_fresh_offer_is_used_and_not_prepared_again() {
        let last = NOW + u64::from(OFFER_TTL_MS) - 1;
        assert!(JUST_STARTED.is_fresh(last));
        assert!(!JUST_STARTED.should_prepare(PrepareReason::AboutToCall, false, last));
    }

    #[test]
    fn an_expired_offer_is_not_used_and_prepared_again() {
        let old = NOW + u64::from(OFFER_TTL_MS);
        assert!(!JUST_STARTED.is_fresh(old));
        assert!(JUST_STARTED.should_prepare(PrepareReason::AboutToCall, true, old));
    }

    #[test]
    fn without_an_offer_nothing_is_usable() {
        assert!(!NONE.is_fresh(NOW));
    }

    #[test]
    fn a_clock_set_back_does_not_expire_an_offer() {
        assert!(JUST_STARTED.is_fresh(NOW - 60_000));
    }
}
