//! What is made ready before a call is placed, so that the click only has to send it.
//!
//! An offer takes some thirty milliseconds to make: a connection, a description,
//! its candidates. None of it depends on who is called or on the microphone's
//! sound, so it is made as soon as somebody is about to call, and where no
//! ICE servers are involved also when the phone comes to rest. It is thrown
//! away when it may not be true any more (another network, no microphone) or
//! nobody has used it for [`FRESH_MS`]: it holds sockets, and with TURN
//! somebody else's memory. In its place stays a blank connection, which holds nothing.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use bitcall_wire::agent_protocol::MediaDirection;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;
use web_sys::RtcPeerConnection;

use super::peer_connection::{self, Connection};
use super::{Inner, sdp};
use crate::browser::{Signal, Timer, mark};
use crate::page;

/// An offer made ahead is used for this long.
const FRESH_MS: u32 = 30_000;
/// After the registration; the page is still being drawn before.
const WARM_AFTER_MS: i32 = 250;

/// Why something is made ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The phone is registered and has no calls.
    Idle,
    /// The person touches the dialer, or a number has come to stand in it.
    AboutToCall,
}

/// The rule, without a browser: when the offer that lies here was begun, if one does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Shelf(Option<u64>);

impl Shelf {
    /// Whether to make an offer now, in place of an old one. `servers`: STUN or TURN are configured, and would
    /// be asked for every idle phone in the building.
    fn wants(self, cause: Cause, servers: bool, now: u64) -> bool {
        !self.usable(now) && (cause == Cause::AboutToCall || !servers)
    }

    fn usable(self, now: u64) -> bool {
        self.0.is_some_and(|begun| now.saturating_sub(begun) < u64::from(FRESH_MS))
    }
}

/// An offer, or one that is about to be there.
pub struct Prepared {
    pub connection: Rc<Connection>,
    /// Told when the offer is made, or cannot be.
    done: Signal,
    made: Cell<bool>,
}

impl Prepared {
    /// The offer with all candidates known by now; `None` while it is being made.
    pub fn offer(&self) -> Option<String> {
        self.made.get().then(|| self.connection.pending_offer()).flatten()
    }

    /// The same, and waits for it.
    pub async fn finished(&self) -> Option<String> {
        self.done.wait().await;
        self.offer()
    }
}

/// See the module.
#[derive(Default)]
pub struct Ahead {
    shelf: Cell<Shelf>,
    offer: RefCell<Option<Rc<Prepared>>>,
    blank: RefCell<Option<RtcPeerConnection>>,
    /// Runs from the registration until the page has been drawn.
    warming: RefCell<Option<Timer>>,
    warm: Cell<bool>,
    /// Throws the offer away.
    ageing: RefCell<Option<Timer>>,
    /// The browser hides this machine's addresses until a microphone is open: no offer made before is of use.
    hidden: Cell<bool>,
}

impl Ahead {
    /// What lies here may not be true any more.
    pub fn discard(&self) {
        self.shelf.take();
        self.ageing.take();
        self.offer.take();
    }

    /// The phone goes away.
    pub fn clear(&self) {
        self.discard();
        self.warming.take();
        if let Some(blank) = self.blank.take() {
            blank.close();
        }
    }
}

impl Inner {
    /// Makes ready what `cause` asks for, unless it is there. A page's first connection takes ten
    /// times as long as any later one: it is tried out once, when the page has nothing else to do.
    pub(super) fn get_ready(self: &Rc<Self>, cause: Cause) {
        let ahead = &self.ahead;
        if cause == Cause::AboutToCall {
            ahead.warming.take();
            ahead.warm.set(true);
        }
        if ahead.warm.get() {
            return self.stock(cause);
        }
        if ahead.warming.borrow().is_some() {
            return;
        }
        let inner = Rc::downgrade(self);
        *ahead.warming.borrow_mut() = Some(Timer::after(WARM_AFTER_MS, move || {
            spawn_local(warm_up(inner));
        }));
    }

    /// The offer made ahead, where it is of use.
    pub(super) fn take_prepared(&self) -> Option<Rc<Prepared>> {
        let usable = self.ahead.shelf.take().usable(page::now());
        self.ahead.ageing.take();
        self.ahead.offer.take().filter(|_| usable)
    }

    /// The connection made ahead, or a new one.
    pub(super) fn take_peer(&self) -> Result<RtcPeerConnection, JsValue> {
        let blank = self.ahead.blank.take();
        blank.map_or_else(|| self.make_peer(), Ok)
    }

    fn make_peer(&self) -> Result<RtcPeerConnection, JsValue> {
        RtcPeerConnection::new_with_configuration(&peer_connection::configuration(&self.settings.borrow().ice_servers))
    }

    fn lay_out_blank(&self) {
        if self.ahead.blank.borrow().is_none() && self.ahead.offer.borrow().is_none() {
            *self.ahead.blank.borrow_mut() = self.make_peer().ok();
        }
    }

    fn stock(self: &Rc<Self>, cause: Cause) {
        let ahead = &self.ahead;
        self.lay_out_blank();
        let servers = !self.settings.borrow().ice_servers.is_empty();
        let now = page::now();
        if ahead.hidden.get() || !ahead.shelf.get().wants(cause, servers, now) {
            return;
        }
        ahead.discard();
        ahead.shelf.set(Shelf(Some(now)));
        let inner = Rc::downgrade(self);
        *ahead.ageing.borrow_mut() = Some(Timer::after(FRESH_MS.cast_signed(), move || {
            if let Some(inner) = inner.upgrade() {
                inner.ahead.discard();
                inner.lay_out_blank();
            }
        }));
        spawn_local(make_offer(Rc::clone(self), ahead.shelf.get()));
    }
}

async fn make_offer(inner: Rc<Inner>, shelf: Shelf) {
    let ready = inner.microphone.ready().await;
    // The call may have been placed meanwhile, or the network have changed.
    if inner.ahead.shelf.get() != shelf {
        return;
    }
    let connection = if ready { Connection::new(&inner).ok() } else { None };
    let Some(connection) = connection else {
        // Without the microphone's permission the person is asked first.
        return inner.ahead.discard();
    };
    let prepared =
        Rc::new(Prepared { connection: Rc::new(connection), done: Signal::untold(), made: Cell::new(false) });
    *inner.ahead.offer.borrow_mut() = Some(Rc::clone(&prepared));
    let offer = prepared.connection.offer(MediaDirection::SendRecv, false, None).await.ok();
    let hidden = offer.as_deref().is_some_and(sdp::hides_addresses);
    prepared.made.set(offer.is_some() && !hidden);
    prepared.done.tell();
    mark("bitcall:prepared");
    if hidden {
        inner.ahead.hidden.set(true);
    }
    if !prepared.made.get() && inner.ahead.shelf.get() == shelf {
        inner.ahead.discard();
    }
}

/// Tries a first connection out.
async fn warm_up(inner: Weak<Inner>) {
    let Some(inner) = inner.upgrade() else { return };
    inner.ahead.warming.take();
    inner.ahead.warm.set(true);
    if !inner.sessions.borrow().is_empty() {
        return;
    }
    if let Ok(peer) = inner.make_peer() {
        peer_connection::warm(&peer).await;
    }
    if inner.sessions.borrow().is_empty() {
        inner.stock(Cause::Idle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;
    const EMPTY: Shelf = Shelf(None);
    const JUST_MADE: Shelf = Shelf(Some(NOW));

    #[test]
    fn a_phone_at_rest_makes_an_offer_only_where_no_server_is_asked_for_it() {
        assert!(EMPTY.wants(Cause::Idle, false, NOW));
        assert!(!EMPTY.wants(Cause::Idle, true, NOW));
    }

    #[test]
    fn who_is_about_to_call_gets_one_with_servers_too() {
        assert!(EMPTY.wants(Cause::AboutToCall, true, NOW));
        assert!(EMPTY.wants(Cause::AboutToCall, false, NOW));
    }

    #[test]
    fn a_fresh_offer_is_used_and_not_made_again() {
        let last = NOW + u64::from(FRESH_MS) - 1;
        assert!(JUST_MADE.usable(last));
        assert!(!JUST_MADE.wants(Cause::AboutToCall, false, last));
    }

    #[test]
    fn an_old_offer_is_never_sent_and_made_again_for_the_next_call() {
        let old = NOW + u64::from(FRESH_MS);
        assert!(!JUST_MADE.usable(old));
        assert!(JUST_MADE.wants(Cause::AboutToCall, true, old));
    }

    #[test]
    fn without_an_offer_nothing_is_usable() {
        assert!(!EMPTY.usable(NOW));
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_make_an_offer_old() {
        assert!(JUST_MADE.usable(NOW - 60_000));
    }
}
