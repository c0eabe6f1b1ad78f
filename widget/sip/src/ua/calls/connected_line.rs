//! The connected line: whom the call is connected with, which the server tells again after a transfer or a pick-up
//! (RFC 3325 §9.1, RFC 5876 §4.5).

use super::super::context::UaContext;
use super::super::interface::{Event, RemoteParty};
use super::Call;
use crate::message::{Header, Headers, NameAddr};
use crate::uri::Uri;

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

/// The identity that the server asserts: the first that reads of `P-Asserted-Identity` and `Remote-Party-ID`.
pub(super) fn asserted_party(message: &Headers) -> Option<RemoteParty> {
    [Header::PAssertedIdentity, Header::RemotePartyId]
        .into_iter()
        .flat_map(|header| message.addresses(header).flatten())
        .find_map(|address| remote_party(&address))
}

fn remote_party(address: &NameAddr<'_>) -> Option<RemoteParty> {
    let uri = address.uri_text;
    let number = match uri.get(..4).filter(|scheme| scheme.eq_ignore_ascii_case("tel:")) {
        Some(_) => uri.get(4..)?.split(';').next()?.to_owned(),
        None => Uri::parse(uri).ok()?.user_name().into_owned(),
    };
    let name = address.display_name();
    let name = name.trim();
    (!number.is_empty()).then(|| RemoteParty {
        number,
        display_name: (!name.is_empty()).then(|| name.to_owned()),
        uri: uri.to_owned(),
    })
}
