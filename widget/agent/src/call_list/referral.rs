//! The far end of a call connects the person with somebody else: by REFER (RFC 3515), which asks us to call them, or
//! by an INVITE with Replaces (RFC 3891), which takes the place of the call.

use bitcall_sip::ua::{Command, Millis, RemoteParty};
use bitcall_wire::agent_protocol::{AgentEvent, MediaRequest};
use bitcall_wire::text::readable;

use super::transfer::HANDED_OVER_TIMEOUT_MS;
use super::user_agent_events::with_readable_name;
use super::{CallList, MEDIA_TIMEOUT_MS};
use crate::call::{Call, CallPhase, MakingAnswer, Negotiation, Owner, Referral, Referrer, ReplacedBy};
use crate::pages::PortId;
use crate::sdp;

impl CallList {
    // REFER.

    pub(super) fn referred(&mut self, dialog: &str, target: RemoteParty, is_allowed: bool, now: Millis) {
        let Some(index) = self.find_dialog(dialog) else {
            return self.command(Command::RefuseReferral { call: dialog.to_owned() });
        };
        if let Some(call) = self.calls.get_mut(index) {
            call.referral = Some(Referral::Undecided { target: with_readable_name(target) });
        }
        if is_allowed {
            self.follow_referral(index, now);
        }
    }

    /// The person has decided.
    pub(super) fn answer_referral(&mut self, port: PortId, call: &str, follow: bool, now: Millis) {
        let Some(index) = self.find(call) else {
            return self.refuse_unknown_call(port, call);
        };
        let Some(known) = self.calls.get_mut(index) else {
            return;
        };
        // A second click, or too late.
        if !matches!(known.referral, Some(Referral::Undecided { .. })) {
            return;
        }
        if follow {
            return self.follow_referral(index, now);
        }
        known.referral = None;
        let call = known.dialog.clone();
        self.command(Command::RefuseReferral { call });
    }

    /// Places the call that the far end asks for, in the page that has the present one. It is not limited by the number
    /// of calls, because it takes the place of the present one. A conversation with somebody else goes on.
    fn follow_referral(&mut self, index: usize, now: Millis) {
        self.referred_calls += 1;
        let number = self.referred_calls;
        let Some(referrer) = self.calls.get_mut(index) else {
            return;
        };
        let Some(Referral::Undecided { target }) = referrer.referral.take() else {
            return;
        };
        let id = format!("{}.{number}", referrer.id);
        let Some(page) = referrer.owner.page().map(str::to_owned) else {
            return;
        };
        referrer.referral = Some(Referral::Followed);
        referrer.want_held(true);
        self.conference.leave(&referrer.id);
        let mut call = Call::outgoing(id, &target.number, target.number.clone(), None, page.clone(), now);
        call.display_name = target.display_name;
        call.referrer = Some(Referrer { call: referrer.id.clone(), dialog: referrer.dialog.clone() });
        call.owner = referrer.owner.clone();
        let is_talking = self.calls.iter().any(Call::wants_to_talk);
        self.calls.push(call);
        let index = self.calls.len() - 1;
        if !is_talking {
            self.focus_on(index);
        }
        self.reconcile(now);
        self.request_initial_offer(index, now);
        if let Some(call) = self.calls.get(index) {
            let event = AgentEvent::CallStarted { call: call.snapshot() };
            self.notify_page(&page, event);
        }
    }

    pub(super) fn referral_expired(&mut self, dialog: &str) {
        if let Some(call) = self.find_dialog(dialog).and_then(|index| self.calls.get_mut(index)) {
            call.referral = None;
        }
    }

    /// A call that was placed for a referral was answered, or has ended before that. The referrer ends its call when it
    /// knows; the person has it back if there is no other.
    pub(super) fn referral_decided(&mut self, index: usize, now: Millis) {
        let is_talking = self.calls.iter().any(Call::wants_to_talk);
        let Some(call) = self.calls.get_mut(index) else {
            return;
        };
        let was_answered = call.answered_at.is_some();
        let Some(referrer) = call.referrer.take().and_then(|referrer| self.find(&referrer.call)) else {
            return;
        };
        let Some(call) = self.calls.get_mut(referrer) else {
            return;
        };
        if was_answered {
            call.handed_over = Some(now.plus(HANDED_OVER_TIMEOUT_MS));
        } else {
            call.referral = None;
            if !is_talking {
                call.want_held(false);
                self.focus_on(referrer);
            }
        }
    }

    // INVITE with Replaces.

    /// Somebody else takes the place of the far end of a call. The page answers at once; the person is not asked.
    pub(super) fn incoming_replacement(
        &mut self,
        dialog: String,
        replaced: &str,
        from: RemoteParty,
        offer: Option<String>,
        now: Millis,
    ) {
        let index = self.find_dialog(replaced).filter(|index| {
            self.calls.get(*index).is_some_and(|call| !call.is_being_replaced() && call.owner != Owner::Nobody)
        });
        let Some(index) = index else {
            return self.command(Command::Reject { call: dialog, status: 481 });
        };
        let Some(call) = self.calls.get_mut(index) else {
            return;
        };
        let present = std::mem::take(&mut call.negotiation);
        let was_offering = matches!(present, Negotiation::MakingOffer(_));
        call.remote_held = offer.as_deref().is_some_and(sdp::is_hold);
        if offer.is_none() {
            // We make the offer: of a new connection, for another far end.
            call.connection.replace();
        }
        call.replaced_by =
            Some(ReplacedBy { dialog, from, until: now.plus(MEDIA_TIMEOUT_MS), present, present_ended: None });
        call.negotiation = Negotiation::MakingAnswer(MakingAnswer { request: None, offer: offer.into(), held: false });
        if was_offering {
            self.request_media(index, MediaRequest::RollBack);
        }
        self.request_answer(index);
    }

    /// The far end has agreed to our last offer in a dialog that somebody else is about to replace. The page is busy
    /// with the new one; whether the far end is on hold counts until then.
    pub(super) fn note_agreed_hold(&mut self, dialog: &str) {
        if let Some(call) = self.find_dialog(dialog).and_then(|index| self.calls.get_mut(index))
            && let Some(ReplacedBy { present: Negotiation::OfferSent(sent), .. }) = &call.replaced_by
        {
            call.hold_agreed = sent.content.held;
        }
    }

    /// The page has answered: the call goes on in the new dialog, with the new far end. Returns the replaced dialog,
    /// if it has not ended yet.
    pub(super) fn move_to_replacement(&mut self, index: usize) -> Option<String> {
        let call = self.calls.get_mut(index)?;
        let replaced_by = call.replaced_by.take()?;
        let old = std::mem::replace(&mut call.dialog, replaced_by.dialog.clone());
        call.detached = false;
        call.number = replaced_by.from.number;
        call.display_name = replaced_by.from.display_name.as_deref().map(readable);
        self.forget_old_dialog(index);
        self.notify_call_pages(&replaced_by.dialog, |call| AgentEvent::CallUpdated { call: call.snapshot() });
        replaced_by.present_ended.is_none().then_some(old)
    }

    /// The call goes on in another dialog: a transfer or referral in the old one has no result any more.
    pub(super) fn forget_old_dialog(&mut self, index: usize) {
        self.fail_transfer(index, "NO_RESULT", "The other side did not report a result");
        if let Some(call) = self.calls.get_mut(index) {
            call.referral = None;
        }
    }

    /// The new dialog does not come about: the present one goes on, if it still exists.
    pub(super) fn drop_replacement(&mut self, index: usize, now: Millis) {
        let Some(call) = self.calls.get_mut(index) else {
            return;
        };
        let Some(mut replaced_by) = call.replaced_by.take() else {
            return;
        };
        if let Some(cause) = replaced_by.present_ended {
            return self.end(index, cause, now);
        }
        if matches!(call.phase, CallPhase::Dialing(_)) {
            call.negotiation = replaced_by.present;
            return;
        }
        let is_asked = matches!(replaced_by.present, Negotiation::MakingAnswer(_));
        if is_asked {
            // The far end's offer in the present dialog still waits for its answer.
            call.negotiation = replaced_by.present;
        } else {
            call.negotiation = Negotiation::Idle;
            replaced_by.present.interrupt(&mut call.wishes);
        }
        self.request_media(index, MediaRequest::RollBack);
        if is_asked {
            self.request_answer(index);
        }
    }

    pub(super) fn find_replaced_by(&self, dialog: &str) -> Option<usize> {
        self.calls.iter().position(|call| {
            !call.is_ended() && call.replaced_by.as_ref().is_some_and(|replaced_by| replaced_by.dialog == dialog)
        })
    }
}
