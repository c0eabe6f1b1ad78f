//! The far end refers us to somebody else (REFER, RFC 3515), as the transferee (RFC 5589 §6, §7).
//!
//! A REFER is answered with 202 and a first NOTIFY at once, because a person may have to decide. Then the driver
//! follows or refuses it, or the time for that runs out. The status of the call that is placed for it is reported
//! by NOTIFY until it is final, also after the BYE of the referrer (RFC 5057 §4.2).

use serde::{Deserialize, Serialize};

use super::super::context::{ClientRequest, RequestRole, UaContext};
use super::super::interface::{CallId, EndedBy, Event, Millis, ReferralPolicy, RemoteParty};
use super::super::status_text::reason_phrase;
use super::identity::{addressed_party, telephone_number};
use super::redirection::{bare_number, in_own_domain};
use super::{Call, CallPhase, CallTimer};
use crate::header_values;
use crate::message::{Header, NameAddr, Request, Response};
use crate::request_template::{RequestTemplate, number};
use crate::transaction::ServerKey;
use crate::uri::{Scheme, Uri, unescape};

/// Time for the driver, and so for the person, to follow or refuse a referral.
const DECISION_TIMEOUT_MS: u64 = 60_000;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Referral {
    /// The `CSeq` number of the REFER. It is the `id` in NOTIFYs, unless the REFER is the dialog's first.
    id: Option<u32>,
    /// Request-URI of the call.
    target: String,
    /// Value of `Referred-By` (RFC 3892).
    referred_by: Option<String>,
    /// Value of `Replaces` (RFC 3891).
    replaces: Option<String>,
    state: ReferralState,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum ReferralState {
    /// The driver has not decided. [`CallTimer::Referral`] runs.
    Undecided,
    Followed {
        /// The call that is placed.
        call: CallId,
        /// The status that the far end was told.
        told: u16,
    },
}

/// What a `Refer-To` asks for.
struct ReferTo {
    target: String,
    replaces: Option<String>,
    /// It leads into our domain.
    is_own: bool,
}

impl Call {
    pub(in super::super) fn on_refer(
        &mut self,
        context: &mut UaContext,
        key: &ServerKey,
        request: &Request,
        now: Millis,
    ) {
        let (refer_to, party) = match self.read_refer(context, request) {
            Ok(read) => read,
            Err(status) => return context.refuse(key, request, status, now),
        };
        let mut response = context.response(request, 202, &self.local_tag);
        response.append(Header::Contact, &context.contact());
        context.answer(key, &response, now);
        let cseq = header_values::cseq(request).map_or(0, |(number, _)| number);
        self.referral = Some(Referral {
            id: std::mem::replace(&mut self.was_referred, true).then_some(cseq),
            target: refer_to.target,
            referred_by: request.value(Header::ReferredBy).map(str::to_owned),
            replaces: refer_to.replaces,
            state: ReferralState::Undecided,
        });
        self.timers.set(CallTimer::Referral, now.plus(DECISION_TIMEOUT_MS));
        self.notify(context, 100, now);
        context.emit(Event::Referred {
            call: self.id.clone(),
            target: party,
            is_allowed: refer_to.is_own && context.config.referrals == ReferralPolicy::OwnDomain,
        });
    }

    /// What a REFER asks for, and whom to call; the status that refuses it.
    fn read_refer(&self, context: &UaContext, request: &Request) -> Result<(ReferTo, RemoteParty), u16> {
        match self.phase {
            CallPhase::Ending { .. } | CallPhase::Terminated => return Err(481),
            _ if context.config.referrals == ReferralPolicy::Refuse => return Err(603),
            CallPhase::Established if self.referral.is_none() => {}
            _ => return Err(491),
        }
        let mut values = request.values(Header::ReferTo);
        match (values.next().and_then(NameAddr::parse), values.next()) {
            (Some(address), None) => Ok((read_refer_to(context, address.uri_text)?, addressed_party(&address))),
            _ => Err(400),
        }
    }

    /// The INVITE that follows the referral, as the call `call`. None: there is none to follow.
    pub(in super::super) fn follow_referral(
        &mut self,
        context: &mut UaContext,
        call: &CallId,
    ) -> Option<RequestTemplate> {
        let referral = self.referral.as_mut().filter(|referral| referral.state == ReferralState::Undecided)?;
        referral.state = ReferralState::Followed { call: call.clone(), told: 100 };
        self.timers.clear(CallTimer::Referral);
        let mut template = Call::invite_template(context, &referral.target);
        if let Some(referred_by) = &referral.referred_by {
            template = template.with("Referred-By", referred_by);
        }
        if let Some(replaces) = &referral.replaces {
            template = template.with("Replaces", replaces);
        }
        Some(template)
    }

    pub(in super::super) fn refuse_referral(&mut self, context: &mut UaContext, now: Millis) {
        if self.referral.as_ref().is_some_and(|referral| referral.state == ReferralState::Undecided) {
            self.finish_referral(context, 603, now);
        }
    }

    /// The driver did not decide in time.
    pub(super) fn on_referral_timeout(&mut self, context: &mut UaContext, now: Millis) {
        self.refuse_referral(context, now);
        if !self.end_reported {
            context.emit(Event::ReferralExpired { call: self.id.clone() });
        }
    }

    /// The call that was placed for the referral.
    pub(in super::super) fn referred_call(&self) -> Option<&CallId> {
        match &self.referral.as_ref()?.state {
            ReferralState::Followed { call, .. } => Some(call),
            ReferralState::Undecided => None,
        }
    }

    /// The call that was placed for the referral has this status now.
    pub(in super::super) fn report_referred_call(&mut self, context: &mut UaContext, status: u16, now: Millis) {
        let Some(Referral { state: ReferralState::Followed { told, .. }, .. }) = &mut self.referral else {
            return;
        };
        // Without a connection it is reported on the next one.
        if context.transport.is_none() || std::mem::replace(told, status) == status {
            return;
        }
        if status < 200 {
            self.notify(context, status, now);
        } else {
            self.finish_referral(context, status, now);
        }
    }

    fn finish_referral(&mut self, context: &mut UaContext, status: u16, now: Millis) {
        self.notify(context, status, now);
        self.referral = None;
        self.timers.clear(CallTimer::Referral);
    }

    /// Reports a status to the referrer (RFC 3515 §2.4.5).
    fn notify(&mut self, context: &mut UaContext, status: u16, now: Millis) {
        let Some(id) = self.referral.as_ref().map(|referral| referral.id) else {
            return;
        };
        let mut event = String::from("refer");
        if let Some(id) = id {
            event.push_str(";id=");
            event.push_str(&number(id.into()));
        }
        let state = if status < 200 {
            let mut state = String::from("active;expires=");
            state.push_str(&number(context.config.timers.ring_timeout_ms / 1_000));
            state
        } else {
            String::from("terminated;reason=noresource")
        };
        let mut fragment = String::from("SIP/2.0 ");
        fragment.push_str(&number(status.into()));
        fragment.push(' ');
        fragment.push_str(reason_phrase(status));
        fragment.push_str("\r\n");
        let owner = self.owner(RequestRole::Notify);
        if let Some(template) = self.template(context, "NOTIFY") {
            let template = template
                .with("Contact", &context.contact())
                .with("Event", &event)
                .with("Subscription-State", &state)
                .with_body("message/sipfrag;version=2.0", &fragment);
            context.request(template, owner, now);
        }
    }

    pub(super) fn on_notify_response(
        &mut self,
        context: &mut UaContext,
        client: &ClientRequest,
        response: &Response,
        now: Millis,
    ) {
        if response.is_provisional() || self.retry(context, client, response, now) {
            return;
        }
        if response.status() == 481 {
            // The referrer wants to know no more.
            self.referral = None;
            self.timers.clear(CallTimer::Referral);
        }
    }

    /// The call ends: one that was not answered failed with this status.
    pub(super) fn note_failed_invite(&mut self, by: EndedBy, sip_code: Option<u16>) {
        if self.invite_status < 200 {
            let unnamed = if by == EndedBy::Local { 487 } else { 503 };
            self.invite_status = sip_code.filter(|status| *status >= 300).unwrap_or(unnamed);
        }
    }

    /// The last status of our INVITE.
    pub(in super::super) fn invite_status(&self) -> u16 {
        self.invite_status
    }
}

/// Reads a `Refer-To`, or gives the status that refuses it.
fn read_refer_to(context: &UaContext, text: &str) -> Result<ReferTo, u16> {
    if let Some(number) = bare_number(text) {
        let target = in_own_domain(context, number).ok_or(400_u16)?;
        return Ok(ReferTo { target, replaces: None, is_own: true });
    }
    let uri = Uri::parse(text).map_err(|_| 400_u16)?;
    let number = telephone_number(&uri);
    let target = match uri.scheme {
        Scheme::Sip | Scheme::Sips if uri.params.get("method").is_none_or(|method| method == "INVITE") => {
            // A Request-URI has no method (RFC 3261 §19.1.1).
            let text = text.replace(";method=INVITE", "");
            header_values::request_uri(&text).ok_or(400_u16)?
        }
        Scheme::Sip | Scheme::Sips => return Err(603),
        Scheme::Other(_) => in_own_domain(context, number.as_deref().ok_or(416_u16)?).ok_or(416_u16)?,
    };
    let replaces = uri
        .headers
        .split('&')
        .filter_map(|header| header.split_once('='))
        .find(|(name, _)| name.eq_ignore_ascii_case("Replaces"))
        .map(|(_, value)| unescape(value).into_owned());
    let is_ours = uri.host.eq_ignore_ascii_case(&context.config.domain);
    match number {
        // A number is called where the user's own numbers are: the host is often only a gateway's address. A
        // dialog is replaced where it is.
        Some(number) if !is_ours && replaces.is_none() => {
            let target = in_own_domain(context, &number).ok_or(400_u16)?;
            Ok(ReferTo { target, replaces, is_own: true })
        }
        _ => Ok(ReferTo { target, replaces, is_own: is_ours }),
    }
}
