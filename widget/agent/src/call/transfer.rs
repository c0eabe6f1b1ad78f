//! The transfer of a call to somebody else, as the transferor (RFC 5589).
//!
//! The call is held first, so that the far end hears that something happens and no re-INVITE crosses the REFER.
//! Then the user agent has the time-outs: it always reports a result, or the end of the call.

use bitcall_sip::ua::{Millis, TransferTarget};
use bitcall_wire::agent_protocol::{CallId, TransferSnapshot, TransferState};

/// Each state consumes itself.
#[derive(Debug)]
pub enum Transfer {
    /// The REFER follows when the hold is settled, at the latest at a time.
    Holding(Holding),
    /// The user agent was told, and the far end has not agreed yet.
    Requested(TransferRequest),
    /// The far end calls the target.
    Accepted(Accepted),
}

#[derive(Debug)]
pub struct Holding {
    pub request: TransferRequest,
    pub until: Millis,
}

#[derive(Debug)]
pub struct Accepted {
    pub request: TransferRequest,
    pub rings: bool,
}

#[derive(Debug)]
pub struct TransferRequest {
    /// As typed, or the number of the other call.
    pub target: String,
    pub to: Destination,
    /// The call was on hold before.
    pub was_held: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A call target ([`bitcall_wire::number::call_target`]).
    Address(String),
    /// The far end of this call.
    Call(CallId),
}

impl Transfer {
    pub fn request(&self) -> &TransferRequest {
        match self {
            Transfer::Holding(holding) => &holding.request,
            Transfer::Requested(request) => request,
            Transfer::Accepted(accepted) => &accepted.request,
        }
    }

    pub fn into_request(self) -> TransferRequest {
        match self {
            Transfer::Holding(holding) => holding.request,
            Transfer::Requested(request) => request,
            Transfer::Accepted(accepted) => accepted.request,
        }
    }

    /// The far end has agreed, or reports how its call goes.
    pub fn into_accepted(self, rings: bool) -> Transfer {
        let rings = rings || matches!(&self, Transfer::Accepted(accepted) if accepted.rings);
        Transfer::Accepted(Accepted { request: self.into_request(), rings })
    }

    pub fn is_accepted(&self) -> bool {
        matches!(self, Transfer::Accepted(_))
    }

    pub fn snapshot(&self) -> TransferSnapshot {
        TransferSnapshot {
            target: self.request().target.clone(),
            state: match self {
                Transfer::Holding(_) | Transfer::Requested(_) => TransferState::Requested,
                Transfer::Accepted(Accepted { rings: false, .. }) => TransferState::Accepted,
                Transfer::Accepted(Accepted { rings: true, .. }) => TransferState::Ringing,
            },
        }
    }
}

impl Destination {
    /// What the user agent gets. `dialog` is the id of the other call there.
    pub fn target(&self, dialog: impl Fn(&str) -> Option<CallId>) -> TransferTarget {
        match self {
            Destination::Address(target) => TransferTarget::Address(target.clone()),
            Destination::Call(call) => TransferTarget::Call(dialog(call).unwrap_or_else(|| call.clone())),
        }
    }
}
