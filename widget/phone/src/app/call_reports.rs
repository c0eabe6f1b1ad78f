//! Tells the server which calls this page is in, for the tenant's view of them.
//!
//! By beacons: they need nobody to wait for an answer, and outlive the page, whose
//! last one says that its calls are over. Each tells everything, so one that gets
//! lost does no harm.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bitcall_wire::agent_protocol::{AgentSnapshot, HoldState};
use bitcall_wire::call_reports::{CallReport, REPORT_INTERVAL, ReportedCall, ReportedCallState};
use sycamore::reactive::create_effect;

use super::App;
use crate::browser::{Listener, random_id};
use crate::page;
use crate::ui::engaged;
use crate::value;

/// Characters of a number that the server takes.
const MAX_NUMBER: usize = 128;

/// What the server was told last.
pub struct Told {
    client: String,
    sequence: Cell<u32>,
    calls: RefCell<Vec<ReportedCall>>,
    /// Milliseconds since the Unix epoch.
    at: Cell<u64>,
}

impl Default for Told {
    fn default() -> Self {
        Self { client: random_id(), sequence: Cell::new(0), calls: RefCell::default(), at: Cell::new(0) }
    }
}

impl App {
    pub(super) fn watch_calls(self: &Rc<Self>) {
        let ui = self.ui;
        let app = Rc::downgrade(self);
        create_effect(move || {
            ui.snapshot.track();
            if let Some(app) = app.upgrade() {
                app.tell_calls();
            }
        });
        let app = Rc::downgrade(self);
        let leaving = web_sys::window().map(|window| {
            Listener::new(&window, "pagehide", move |_| {
                if let Some(app) = app.upgrade() {
                    app.send_calls(Vec::new());
                }
            })
        });
        self.listeners.borrow_mut().extend(leaving);
    }

    /// Where there is news, or nothing was said for a while.
    pub(super) fn tell_calls(&self) {
        let now = page::now();
        let calls = self.ui.page.with_untracked(|page| self.ui.snapshot.with_untracked(|all| of_page(all, page, now)));
        let is_news = !same(&self.told.calls.borrow(), &calls);
        let silent = Duration::from_millis(now.saturating_sub(self.told.at.get()));
        if is_news || (!calls.is_empty() && silent >= REPORT_INTERVAL) {
            self.send_calls(calls);
        }
    }

    pub(super) fn send_calls(&self, calls: Vec<ReportedCall>) {
        let told = &self.told;
        let both_none = calls.is_empty() && told.calls.borrow().is_empty();
        let Some(key) = self.with_tenant(|tenant| tenant.host.key.clone()).filter(|key| !both_none && !key.is_empty())
        else {
            return;
        };
        told.at.set(page::now());
        told.sequence.set(told.sequence.get() + 1);
        let report = CallReport { key: &key, client_id: &told.client, sequence: told.sequence.get(), calls: &calls };
        let text = value::write(&report).and_then(|report| js_sys::JSON::stringify(&report).ok()?.as_string());
        if let (Some(window), Some(text)) = (web_sys::window(), text) {
            // What the browser does not take is made good by the next one.
            let _ = window.navigator().send_beacon_with_opt_str("/api/webphone/live-calls", Some(&text));
        }
        told.calls.replace(calls);
    }
}

/// An incoming call is the page's once it is answered there.
fn of_page(snapshot: &AgentSnapshot, page: &str, now: u64) -> Vec<ReportedCall> {
    let mine = snapshot.calls.iter().filter(|call| engaged(call) && call.page.as_deref() == Some(page));
    mine.map(|call| ReportedCall {
        call_id: call.id.clone(),
        number: Some(call.number.chars().take(MAX_NUMBER).collect()).filter(|number: &String| !number.is_empty()),
        direction: call.direction,
        state: match call.hold {
            HoldState::Held | HoldState::Holding => ReportedCallState::Held,
            _ if call.answered_at.is_some() => ReportedCallState::Active,
            _ => ReportedCallState::Ringing,
        },
        seconds: u32::try_from(now.saturating_sub(call.started_at) / 1000).unwrap_or_default(),
    })
    .collect()
}

/// But for the seconds.
fn same(one: &[ReportedCall], other: &[ReportedCall]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|(one, other)| one.call_id == other.call_id && one.state == other.state)
}
