//! The connected line: whom the call is connected with, which the server tells again after a transfer or a pick-up
//! (RFC 3325 §9.1, RFC 5876 §4.5).

use super::super::context::UaContext;
use super::super::interface::Event;
use super::Call;
use super::identity::asserted_party;
use crate::message::Headers;

impl Call {
    /// A message of the far end in the call: reports the identity in it if it is a new one.
    pub(super) fn note_identity(&mut self, context: &mut UaContext, message: &Headers) {
        let Some(party) = asserted_party(message) else {
            return;
        };
        if !self.end_reported && self.asserted.as_ref() != Some(&party) {
            self.asserted = Some(party.clone());
            context.emit(Event::IdentityChanged { call: self.id.clone(), party });
        }
    }
}
