//! Watches a call that is not answered yet for early media (RFC 3960), because the ring-back tone is owed while
//! none flows. Packets are counted by `getStats`.

use std::rc::Rc;

use bitcall_wire::agent_protocol::{AgentSnapshot, CallSnapshot};
use wasm_bindgen_futures::spawn_local;

use super::MediaShared;
use crate::browser::{BrowserTimer, window};
use crate::tones::ring_back::{self, EarlyMedia};

/// The ring-back stops at most so long after the first packet, and the time that `getStats` takes.
const SAMPLE_INTERVAL_MS: i32 = 250;

pub struct EarlyMediaWatch {
    call: CallSnapshot,
    early_media: EarlyMedia,
    _timer: BrowserTimer,
}

impl MediaShared {
    /// Starts, continues or ends the watch.
    pub(super) fn watch_early_media(self: &Rc<Self>, snapshot: &AgentSnapshot, page: &str) {
        let call = ring_back::watched_call(snapshot, page);
        {
            let mut watch = self.early_media.borrow_mut();
            match (call, &mut *watch) {
                (Some(call), Some(running)) if running.call.id == call.id => running.call = call.clone(),
                (Some(call), _) => {
                    let inner = Rc::downgrade(self);
                    let timer = BrowserTimer::every(SAMPLE_INTERVAL_MS, move || {
                        if let Some(inner) = inner.upgrade() {
                            inner.sample_early_media();
                        }
                    });
                    *watch =
                        Some(EarlyMediaWatch { call: call.clone(), early_media: EarlyMedia::default(), _timer: timer });
                }
                (None, _) => *watch = None,
            }
        }
        self.update_ring_back();
    }

    fn sample_early_media(self: &Rc<Self>) {
        let call = self.early_media.borrow().as_ref().map(|watch| watch.call.id.clone());
        let Some(call_media) = call.as_deref().and_then(|call| self.call_media(call)) else {
            return;
        };
        let inner = Rc::clone(self);
        spawn_local(async move {
            let received = call_media.received().await.unwrap_or_default();
            if let Some(watch) = &mut *inner.early_media.borrow_mut()
                && watch.call.id == call_media.call()
            {
                watch.early_media.sample(received, now_ms());
            }
            inner.update_ring_back();
        });
    }

    fn update_ring_back(&self) {
        let watch = self.early_media.borrow();
        let due = watch.as_ref().is_some_and(|watch| ring_back::is_due(&watch.call, &watch.early_media, now_ms()));
        self.tones.set_ring_back(due);
    }
}

/// Milliseconds of the page's monotonic clock.
fn now_ms() -> f64 {
    window().and_then(|window| window.performance()).map_or(0.0, |performance| performance.now())
}
