//! An incoming INVITE with `Replaces`, which takes the place of one of our calls (RFC 3891 §3).

use super::{Call, CallPhase};
use crate::message::{Header, Params, Request};

/// The dialog that an INVITE replaces, from our side.
pub(in super::super) struct Replaced<'a> {
    call_id: &'a str,
    local_tag: &'a str,
    remote_tag: &'a str,
    early_only: bool,
}

impl<'a> Replaced<'a> {
    /// `Ok(None)` without `Replaces`; the status that refuses the INVITE if it cannot be read.
    pub(in super::super) fn of(request: &'a Request) -> Result<Option<Self>, u16> {
        let mut values = request.values(Header::Replaces);
        let Some(value) = values.next() else {
            return Ok(None);
        };
        let (call_id, params) = value.split_once(';').unwrap_or((value, ""));
        let params = Params::new(params);
        match (params.get("to-tag"), params.get("from-tag"), values.next()) {
            (Some(local_tag), Some(remote_tag), None) => {
                Ok(Some(Self { call_id: call_id.trim(), local_tag, remote_tag, early_only: params.has("early-only") }))
            }
            _ => Err(400),
        }
    }
}

impl Call {
    pub(in super::super) fn is_replaced_by(&self, replaced: &Replaced<'_>) -> bool {
        // The tag 0 stands for none, of a far end before RFC 3261 (RFC 3891 §6.1).
        let is_remote = |tag: &str| tag == replaced.remote_tag || (tag.is_empty() && replaced.remote_tag == "0");
        self.sip_call_id == replaced.call_id
            && self.local_tag == replaced.local_tag
            && self.legs.iter().any(|leg| is_remote(&leg.dialog.remote_tag))
    }

    /// Whether the call may be replaced; the status that refuses it otherwise.
    pub(in super::super) fn check_replacement(&self, replaced: &Replaced<'_>) -> Result<(), u16> {
        match self.phase {
            _ if self.end_reported => Err(603),
            CallPhase::Ending { .. } | CallPhase::Terminated => Err(603),
            CallPhase::Answered | CallPhase::Established if replaced.early_only => Err(486),
            CallPhase::Answered | CallPhase::Established | CallPhase::Calling { .. } => Ok(()),
            // Only who has placed a call may have its early dialog replaced.
            CallPhase::Ringing { .. } => Err(481),
        }
    }
}
