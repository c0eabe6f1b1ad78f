//! Reports to the server which calls this page is in, for the tenant's list of live calls.
//!
//! Reports are sent as beacons, because they need no answer and are delivered even while the page is
//! unloaded. The last one says that the page's calls are over. Each report contains all calls of the page,
//! so that a lost one does no harm.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use bitcall_wire::agent_protocol::{AgentSnapshot, HoldState, RegistrationStatus};
use bitcall_wire::call_reports::{CallReport, REPORT_INTERVAL, ReportedCall, ReportedCallState};
use sycamore::reactive::create_effect;

use super::App;
use crate::browser::{EventListener, random_id};
use crate::page;
use crate::ui::is_engaged;
use crate::value;

/// The server accepts numbers up to this many characters.
const MAX_NUMBER_CHARS: usize = 128;

/// The last report that was sent.
pub(super) struct LastReport {
    client_id: String,
    sequence: Cell<u32>,
    calls: RefCell<Vec<ReportedCall>>,
    /// The session of the sign-in. It stays for the report that a sign-out has ended the calls.
    session: RefCell<Option<String>>,
    /// Milliseconds since the Unix epoch.
    sent_at_ms: Cell<u64>,
}

impl Default for LastReport {
    fn default() -> Self {
        Self {
            client_id: random_id(),
            sequence: Cell::new(0),
            calls: RefCell::default(),
            session: RefCell::default(),
            sent_at_ms: Cell::new(0),
        }
    }
}

impl App {
    pub(super) fn watch_calls(self: &Rc<Self>) {
        let ui = self.ui;
        let app = Rc::downgrade(self);
        create_effect(move || {
            ui.snapshot.track();
            if let Some(app) = app.upgrade() {
                app.report_calls();
            }
        });
        let app = Rc::downgrade(self);
        let leaving = web_sys::window().map(|window| {
            EventListener::new(&window, "pagehide", move |_| {
                if let Some(app) = app.upgrade() {
                    app.send_call_report(Vec::new());
                }
            })
        });
        self.view.listeners.borrow_mut().extend(leaving);
    }

    /// Sends a report when the calls have changed, or when the last report is older than
    /// [`REPORT_INTERVAL`].
    pub(super) fn report_calls(&self) {
        let now = page::unix_now_ms();
        let calls =
            self.ui.page.with_untracked(|page| self.ui.snapshot.with_untracked(|all| calls_of_page(all, page, now)));
        let is_news = !is_same(&self.calls.last_report.calls.borrow(), &calls);
        let silent = Duration::from_millis(now.saturating_sub(self.calls.last_report.sent_at_ms.get()));
        if is_news || (!calls.is_empty() && silent >= REPORT_INTERVAL) {
            self.send_call_report(calls);
        }
    }

    pub(super) fn send_call_report(&self, calls: Vec<ReportedCall>) {
        let last = &self.calls.last_report;
        let nothing_to_end = calls.is_empty() && last.calls.borrow().is_empty();
        if nothing_to_end {
            return;
        }
        let Some((key, page_session)) = self.with_tenant(|tenant| (tenant.key.clone(), tenant.page_session.clone()))
        else {
            return;
        };
        let signed_in = self.ui.snapshot.with_untracked(|snapshot| match &snapshot.registration {
            RegistrationStatus::Registered { session, .. } => session.clone(),
            _ => None,
        });
        if signed_in.is_some() {
            last.session.replace(signed_in);
        }
        let session = last.session.borrow().clone().unwrap_or(page_session);
        last.sent_at_ms.set(page::unix_now_ms());
        last.sequence.set(last.sequence.get() + 1);
        let report = CallReport {
            key: &key,
            session: &session,
            client_id: &last.client_id,
            sequence: last.sequence.get(),
            calls: &calls,
        };
        let text = value::to_js(&report).and_then(|report| js_sys::JSON::stringify(&report).ok()?.as_string());
        if let (Some(window), Some(text)) = (web_sys::window(), text) {
            // A beacon that the browser refuses is made up for by the next report.
            let _ = window.navigator().send_beacon_with_opt_str("/api/webphone/live-calls", Some(&text));
        }
        last.calls.replace(calls);
    }
}

/// An incoming call belongs to a page once it is answered there.
fn calls_of_page(snapshot: &AgentSnapshot, page: &str, now: u64) -> Vec<ReportedCall> {
    let mine = snapshot.calls.iter().filter(|call| is_engaged(call) && call.page.as_deref() == Some(page));
    mine.map(|call| ReportedCall {
        call_id: call.id.clone(),
        number: Some(call.number.chars().take(MAX_NUMBER_CHARS).collect()).filter(|number: &String| !number.is_empty()),
        direction: call.direction,
        state: match call.hold {
            HoldState::Held | HoldState::HeldHere | HoldState::Holding => ReportedCallState::Held,
            _ if call.answered_at.is_some() => ReportedCallState::Active,
            _ => ReportedCallState::Ringing,
        },
        seconds: u32::try_from(now.saturating_sub(call.started_at) / 1000).unwrap_or_default(),
    })
    .collect()
}

/// Whether both lists are equal, ignoring the duration.
fn is_same(one: &[ReportedCall], other: &[ReportedCall]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|(one, other)| one.call_id == other.call_id && one.state == other.state)
}
