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
use crate::ui::{SecondaryPart, is_engaged};
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

/// Which calls of the page are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallsToReport {
    /// When they have changed, or when the last report is older than [`REPORT_INTERVAL`].
    Present,
    /// All are over.
    None,
}

impl App {
    pub(super) fn watch_calls(self: &Rc<Self>) {
        let ui = self.ui;
        let app = Rc::downgrade(self);
        create_effect(move || {
            ui.snapshot.track();
            ui.secondary.track();
            if let Some(app) = app.upgrade() {
                app.report_calls(CallsToReport::Present);
            }
        });
        let app = Rc::downgrade(self);
        let leaving = web_sys::window().map(|window| {
            EventListener::new(&window, "pagehide", move |_| {
                if let Some(app) = app.upgrade() {
                    app.report_calls(CallsToReport::None);
                }
            })
        });
        self.view.listeners.borrow_mut().extend(leaving);
    }

    /// The part of the module that is loaded later does it.
    pub(super) fn report_calls(&self, calls: CallsToReport) {
        if let SecondaryPart::Loaded(part) = self.ui.secondary.get_untracked() {
            (part.report_calls)(self, calls);
        }
    }
}

pub fn report(app: &App, calls: CallsToReport) {
    let last = &app.calls.last_report;
    let now = page::unix_now_ms();
    let calls = match calls {
        CallsToReport::Present => {
            app.ui.page.with_untracked(|page| app.ui.snapshot.with_untracked(|all| calls_of_page(all, page, now)))
        }
        CallsToReport::None => Vec::new(),
    };
    let is_news = !is_same(&last.calls.borrow(), &calls);
    let silent = Duration::from_millis(now.saturating_sub(last.sent_at_ms.get()));
    if !is_news && (calls.is_empty() || silent < REPORT_INTERVAL) {
        return;
    }
    let Some((key, page_session)) = app.with_tenant(|tenant| (tenant.key.clone(), tenant.page_session.clone())) else {
        return;
    };
    let signed_in = app.ui.snapshot.with_untracked(|snapshot| match &snapshot.registration {
        RegistrationStatus::Registered { session, .. } => session.clone(),
        _ => None,
    });
    if signed_in.is_some() {
        last.session.replace(signed_in);
    }
    let session = last.session.borrow().clone().unwrap_or(page_session);
    last.sent_at_ms.set(now);
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
