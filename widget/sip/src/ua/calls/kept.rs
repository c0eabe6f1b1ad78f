//! An established call that outlives its user agent: what the next one must know of it.

use serde::{Deserialize, Serialize};

use super::super::context::UaContext;
use super::super::interface::{CallId, Millis};
use super::session_timer::SessionTimer;
use super::{Call, CallPhase, CallTimer, EarlySession, Leg};
use crate::dialog::Dialog;

/// A confirmed dialog and its session timer, by which another user agent of the same account goes on with the call. It
/// has no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DialogRecord {
    outgoing: bool,
    dialog: Dialog,
    session_timer: SessionTimer,
}

impl Call {
    /// None unless the call is established.
    pub(in super::super) fn record(&self) -> Option<DialogRecord> {
        let leg = self.legs.get(self.confirmed_leg?)?;
        (self.phase == CallPhase::Established && !self.end_reported).then(|| DialogRecord {
            outgoing: self.outgoing,
            dialog: leg.dialog.clone(),
            session_timer: self.session_timer.clone(),
        })
    }

    /// The call of an earlier user agent. It is as after a lost connection: a re-INVITE follows the registration.
    pub(in super::super) fn restored(context: &UaContext, id: CallId, record: DialogRecord, now: Millis) -> Self {
        let DialogRecord { outgoing, dialog, session_timer } = record;
        let (call_id, local_tag) = (dialog.call_id.clone(), dialog.local_tag.clone());
        let mut call = Self::new(id, call_id, local_tag, CallPhase::Established);
        call.outgoing = outgoing;
        call.session_timer = session_timer;
        call.invite_status = 200;
        call.legs.push(Leg { dialog, early_sdp: None, early_session: EarlySession::Answered, rseq: None, ack: None });
        call.confirmed_leg = Some(0);
        call.detached = true;
        call.timers.set(CallTimer::RecoveryTimeout, now.plus(context.config.timers.recovery_timeout_ms));
        call.start_session_timers(now);
        call
    }
}
