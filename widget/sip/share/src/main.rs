//! A program of only SIP messages, transactions and digest, to measure their size as WASM.
//!
//! `widget/sip/share/measure.sh` builds it with the phone's profile and prints its size. It uses them as
//! a user agent does; inputs and results go through `black_box`, so that the compiler removes nothing.

use bitcall_sip::digest::{AuthorizationInput, DigestSecret, choose};
use bitcall_sip::message::{Contact, Header, Headers, Message, Method, Request, quote};
use bitcall_sip::transaction::{ClientTransaction, ServerKey, ServerTransaction};
use bitcall_sip::ua::Millis;
use bitcall_sip::uri::{Uri, escape_user};
use std::hint::black_box;

fn main() {
    let input: Vec<u8> = black_box(Vec::new());
    let name: String = black_box(String::new());
    match Message::parse(&input) {
        Ok(Message::Request(request)) => answer(&request, &name),
        Ok(Message::Response(response)) => {
            read(&response);
            let mut transaction = ClientTransaction::new(name.clone(), true, Millis(0));
            use_value(transaction.on_response(response.status(), Millis(1)));
            use_value(transaction.on_tick(Millis(2)));
            use_value((response.reason_phrase(), response.validate()));
            authorize(&response, &name);
        }
        Err(error) => {
            use_value(error.response().map(|response| response.to_bytes()));
        }
    }
}

fn answer(request: &Request, name: &str) {
    read(request);
    if let Err(error) = request.validate().and(request.sip_uri()) {
        use_value(request.error_response(&error));
    }
    let key = ServerKey { branch: name.into(), sent_by: name.into(), method: request.method().as_str().into() };
    let mut transaction = ServerTransaction::new(key);
    let mut response = request.response(180, name, Some(name));
    response.append(Header::Contact, name);
    response.append(name, name);
    response.set_body(name, request.body());
    transaction.on_sent(180, &response.to_bytes(), Millis(1));
    use_value(transaction.on_retransmission());
    transaction.on_ack();
    transaction.on_tick(Millis(2));
    use_value((request.unsupported(Header::Require, &[name]), transaction.is_terminated()));
}

/// A request of our own, with credentials for every challenge.
fn authorize(response: &Headers, name: &str) {
    let secret = DigestSecret::from_ha1(name).unwrap_or(DigestSecret::Password(name));
    let mut request = Request::new(Method::from_name(name), &escape_user(name));
    request.push_via(name);
    request.set(Header::From, &quote(name));
    for (from, to) in
        [(Header::WwwAuthenticate, Header::Authorization), (Header::ProxyAuthenticate, Header::ProxyAuthorization)]
    {
        for challenge in choose(response.values(from), secret) {
            let attempt = AuthorizationInput {
                username: name,
                secret,
                method: name,
                uri: name,
                body: b"",
                cnonce: name,
                count: 1,
            };
            request.append(to, &challenge.answer(&attempt).unwrap_or_default());
        }
    }
    use_value(request.to_bytes());
}

fn read(headers: &Headers) {
    use_value((headers.via(), headers.call_id(), headers.cseq(), headers.max_forwards(), headers.contact()));
    use_value((headers.expires(), headers.min_expires(), headers.retry_after(), headers.content_type()));
    use_value((headers.session_expires(), headers.min_se(), headers.rseq(), headers.rack()));
    for address in [headers.from(), headers.to()].into_iter().flatten() {
        use_value((address.display_name(), address.tag()));
    }
    for contact in headers.contacts().flatten() {
        if let Contact::Address(address) = contact {
            use_value((address.expires(), address.q()));
            if let (Ok(one), Ok(two)) = (address.uri(), Uri::parse(black_box(""))) {
                use_value((one.is_equivalent(&two), one.user_name(), one.to_string()));
            }
        }
    }
    for route in headers.record_routes().chain(headers.service_routes()).flatten() {
        use_value(route.uri().is_ok_and(|uri| uri.is_loose_router()));
    }
    for reason in headers.reasons() {
        use_value((reason.cause(), reason.params.text("text")));
    }
    use_value(headers.lists(Header::Supported, black_box("100rel")));
}

/// Makes the compiler believe that the value is used.
fn use_value<T>(value: T) {
    let _ = black_box(value);
}
