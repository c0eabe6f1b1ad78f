//! A transfer of the call by REFER (RFC 3515), as the transferor (RFC 5589 §6, §7).
//!
//! Each state ends by a message or at a time: the REFER has the time-out of its transaction, the other states
//! that of [`CallTimer::Transfer`].

use serde::{Deserialize, Serialize};

use super::super::context::{ClientRequest, RequestRole, UaContext};
use super::super::interface::{Event, Millis, TransferFailure, TransferProgress};
use super::{Call, CallPhase, CallTimer, TRANSACTION_TIMEOUT_MS};
use crate::header_values;
use crate::message::{Header, Request, Response};
use crate::uri::{Uri, escape_header_value};

/// Without a first NOTIFY for this time, none will come (RFC 6665 §4.1.2.4, timer N).
const FIRST_NOTIFY_TIMEOUT_MS: u64 = TRANSACTION_TIMEOUT_MS;
/// A REFER that the far end cannot take at the moment is sent this often.
const MAX_REFERS: u8 = 4;
/// Longest delay that a `Retry-After` may ask for, in seconds.
const MAX_RETRY_AFTER_SECONDS: u32 = 10;

/// A transfer that has no result yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Transfer {
    /// The REFER waits for its final response.
    Requested(Reference),
    /// The far end was busy with another request: the REFER is sent again at a time.
    Postponed(Reference),
    /// The far end tries to reach the target, and reports by NOTIFY.
    Accepted(Reference),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reference {
    /// Value of `Refer-To`.
    refer_to: String,
    /// `CSeq` number of the first REFER: a NOTIFY for a lower one is about an earlier transfer.
    first_cseq: u32,
    refers: u8,
}

impl Transfer {
    fn reference(&self) -> &Reference {
        match self {
            Transfer::Requested(reference) | Transfer::Postponed(reference) | Transfer::Accepted(reference) => {
                reference
            }
        }
    }

    fn into_reference(self) -> Reference {
        match self {
            Transfer::Requested(reference) | Transfer::Postponed(reference) | Transfer::Accepted(reference) => {
                reference
            }
        }
    }
}

impl Call {
    /// `refer_to` is the value of `Refer-To`; None: the target cannot be called.
    pub(in super::super) fn transfer(&mut self, context: &mut UaContext, refer_to: Option<String>, now: Millis) {
        if self.transfer.is_some() {
            return context.emit_dropped("transfer of a call that is being transferred");
        }
        if self.phase != CallPhase::Established || self.detached || context.transport.is_none() {
            return self.report_transfer(context, TransferProgress::Failed(TransferFailure::NotConnected));
        }
        let Some(refer_to) = refer_to else {
            return self.report_transfer(context, TransferProgress::Failed(TransferFailure::BadTarget));
        };
        self.refer(context, Reference { refer_to, first_cseq: 0, refers: 0 }, now);
    }

    fn refer(&mut self, context: &mut UaContext, mut reference: Reference, now: Millis) {
        let Some(template) = self.template(context, "REFER") else {
            return;
        };
        let mut referred_by = String::from("<");
        referred_by.push_str(&context.address_of_record());
        referred_by.push('>');
        let template = template
            .with("Contact", &context.contact())
            .with("Refer-To", &reference.refer_to)
            .with("Referred-By", &referred_by);
        if reference.refers == 0 {
            reference.first_cseq = template.cseq;
        }
        reference.refers += 1;
        self.transfer = Some(Transfer::Requested(reference));
        context.request(template, self.owner(RequestRole::Refer), now);
    }

    pub(super) fn on_refer_response(
        &mut self,
        context: &mut UaContext,
        client: &ClientRequest,
        response: &Response,
        now: Millis,
    ) {
        if response.is_provisional() {
            return;
        }
        let reference = match self.transfer.take() {
            Some(Transfer::Requested(reference)) => reference,
            // A NOTIFY has come first, and says more (RFC 6665 §4.1.2.4).
            other => {
                self.transfer = other;
                return;
            }
        };
        let status = response.status();
        if response.is_success() {
            return self.accepted_transfer(context, reference, now);
        }
        if self.retry(context, client, response, now) {
            self.transfer = Some(Transfer::Requested(reference));
            return;
        }
        if let Some(delay_ms) = self.refer_retry_delay_ms(context, response).filter(|_| reference.refers < MAX_REFERS) {
            self.transfer = Some(Transfer::Postponed(reference));
            self.timers.set(CallTimer::Transfer, now.plus(delay_ms));
            return;
        }
        self.report_transfer(context, TransferProgress::Failed(TransferFailure::Refused { status }));
        if status == 481 && self.phase == CallPhase::Established && !self.detached {
            self.on_dialog_lost(context, 481, now);
        }
    }

    /// The far end has another request open: a re-INVITE (491), or what it says by `Retry-After`.
    fn refer_retry_delay_ms(&self, context: &mut UaContext, response: &Response) -> Option<u64> {
        match response.status() {
            491 => Some(self.glare_delay_ms(context)),
            500 | 503 => {
                let seconds = response.retry_after().ok().flatten()?;
                (seconds <= MAX_RETRY_AFTER_SECONDS).then(|| u64::from(seconds) * 1_000 + 100)
            }
            _ => None,
        }
    }

    fn accepted_transfer(&mut self, context: &mut UaContext, reference: Reference, now: Millis) {
        self.transfer = Some(Transfer::Accepted(reference));
        self.timers.set(CallTimer::Transfer, now.plus(FIRST_NOTIFY_TIMEOUT_MS));
        self.report_transfer(context, TransferProgress::Accepted);
    }

    /// No response to the REFER.
    pub(super) fn on_refer_timeout(&mut self, context: &mut UaContext) {
        if matches!(self.transfer, Some(Transfer::Requested(_))) {
            self.finish_transfer(context, TransferProgress::Failed(TransferFailure::NoResponse));
        }
    }

    pub(super) fn on_transfer_timer(&mut self, context: &mut UaContext, now: Millis) {
        match self.transfer.take() {
            Some(Transfer::Postponed(reference)) => self.refer(context, reference, now),
            Some(Transfer::Accepted(_)) => {
                self.report_transfer(context, TransferProgress::Failed(TransferFailure::NoResult));
            }
            other => self.transfer = other,
        }
    }

    /// The connection is lost. A far end that has agreed may report after it is restored.
    pub(super) fn on_transfer_detached(&mut self, context: &mut UaContext) {
        if matches!(self.transfer, Some(Transfer::Requested(_) | Transfer::Postponed(_))) {
            self.finish_transfer(context, TransferProgress::Failed(TransferFailure::NotConnected));
        }
    }

    /// A NOTIFY in the call; it is already answered with 200. One of another event is ignored.
    pub(in super::super) fn on_notify(&mut self, context: &mut UaContext, request: &Request, now: Millis) {
        if !self.is_report(request) {
            return;
        }
        let Some(transfer) = self.transfer.take() else {
            return;
        };
        let was_accepted = matches!(transfer, Transfer::Accepted(_));
        self.transfer = Some(Transfer::Accepted(transfer.into_reference()));
        // A NOTIFY may come before the response to the REFER.
        if !was_accepted {
            self.report_transfer(context, TransferProgress::Accepted);
        }
        let (state, params) = request
            .value(Header::SubscriptionState)
            .map_or(("active", ""), |value| value.split_once(';').unwrap_or((value, "")));
        let status = fragment_status(request.body());
        match status {
            Some(200..=299) => self.finish_transfer(context, TransferProgress::Succeeded),
            Some(status @ 300..) => {
                self.finish_transfer(context, TransferProgress::Failed(TransferFailure::Unreachable { status }));
            }
            _ if state.trim().eq_ignore_ascii_case("terminated") => {
                self.finish_transfer(context, TransferProgress::Failed(TransferFailure::NoResult));
            }
            _ => {
                let limit_ms = context.config.timers.ring_timeout_ms;
                let expires = crate::message::Params::new(params).get("expires").and_then(|text| text.parse().ok());
                let timeout_ms = expires.map_or(limit_ms, |seconds: u64| seconds.saturating_mul(1_000));
                self.timers.set(CallTimer::Transfer, now.plus(timeout_ms.min(limit_ms).max(FIRST_NOTIFY_TIMEOUT_MS)));
                if let Some(status) = status {
                    self.report_transfer(context, TransferProgress::Proceeding { status });
                }
            }
        }
    }

    /// Whether a NOTIFY is about our REFER. Its `id` is the `CSeq` number of the REFER; many far ends leave it out
    /// (RFC 3515 §2.4.6).
    fn is_report(&self, request: &Request) -> bool {
        let Some(transfer) = &self.transfer else {
            return false;
        };
        let event = request.value(Header::Event).unwrap_or("refer");
        let (package, params) = event.split_once(';').unwrap_or((event, ""));
        let id: Option<u32> = crate::message::Params::new(params).get("id").and_then(|id| id.parse().ok());
        package.trim().eq_ignore_ascii_case("refer") && id.is_none_or(|id| id >= transfer.reference().first_cseq)
    }

    fn finish_transfer(&mut self, context: &mut UaContext, result: TransferProgress) {
        self.transfer = None;
        self.timers.clear(CallTimer::Transfer);
        self.report_transfer(context, result);
    }

    fn report_transfer(&self, context: &mut UaContext, progress: TransferProgress) {
        if !self.end_reported {
            context.emit(Event::Transfer { call: self.id.clone(), progress });
        }
    }

    /// `Refer-To` for the far end of this call, in whose place the transferee is put (RFC 5589 §7). None without a
    /// confirmed dialog.
    pub(in super::super) fn refer_to(&self) -> Option<String> {
        let dialog = &self.legs.get(self.confirmed_leg?)?.dialog;
        let in_dialog = dialog.ack(0);
        let address = header_values::uri(&in_dialog.to);
        // The address of one device is used where it can be reached from everywhere (RFC 5589 §7.3).
        let is_callable = Uri::parse(address).is_ok_and(|uri| !uri.host.ends_with(".invalid"));
        let is_gruu = Uri::parse(&in_dialog.uri).is_ok_and(|uri| uri.params.has("gr"));
        let target = if is_gruu || !is_callable { &in_dialog.uri } else { address };
        let mut value = String::from("<");
        value.push_str(&header_values::request_uri(target)?);
        value.push_str("?Replaces=");
        value.push_str(&escape_header_value(&dialog.replaces()));
        value.push('>');
        Some(value)
    }
}

/// The status of a message fragment (RFC 3420): `SIP/2.0 180 Ringing`.
fn fragment_status(body: &[u8]) -> Option<u16> {
    let line = String::from_utf8_lossy(body.get(..body.len().min(64))?);
    let (version, rest) = line.trim_start().split_once(' ')?;
    let status: u16 = rest.trim_start().get(..3)?.parse().ok()?;
    (version.eq_ignore_ascii_case("SIP/2.0") && (100..=699).contains(&status)).then_some(status)
}
