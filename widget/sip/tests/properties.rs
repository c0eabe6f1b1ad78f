//! Property tests of the message layer, with generated messages, mutated messages and random bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/generate.rs"]
mod generate;
#[path = "support/invariants.rs"]
mod invariants;
mod support;

use bitcall_sip::message::{Header, Message, Method, Request, quote};
use bitcall_sip::uri::{Uri, escape_user, unescape};
use generate::{corpus, mutate, mutation, request};
use proptest::prelude::*;

#[test]
fn all_invariants_hold_for_the_corpus_and_its_prefixes() {
    for message in corpus() {
        invariants::check_invariants(&message);
        for end in 0..message.len().min(700) {
            invariants::check_invariants(&message[..end]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn generated_requests_are_parsed_to_their_values(written in request()) {
        let bytes = written.bytes();
        let Ok(Message::Request(request)) = Message::parse(&bytes) else { panic!("{:?}", Message::parse(&bytes)) };
        prop_assert_eq!(request.validate(), Ok(()));
        prop_assert_eq!(request.to_bytes(), bytes.clone());
        prop_assert_eq!(request.uri_text(), written.uri.as_str());
        prop_assert_eq!(request.vias().flatten().count(), written.branches);
        prop_assert_eq!(request.from().unwrap().tag(), Some(written.from_tag.as_str()));
        prop_assert_eq!(request.to().unwrap().tag(), written.to_tag.as_deref());
        prop_assert_eq!(request.call_id().unwrap(), written.call_id.as_str());
        prop_assert_eq!(request.cseq().unwrap().number, written.cseq);
        prop_assert_eq!(request.contacts().flatten().count(), written.contacts);
        prop_assert_eq!(request.body(), &written.body[..]);
        invariants::check_invariants(&bytes);
    }

    #[test]
    fn all_invariants_hold_for_mutated_messages(
        index in any::<prop::sample::Index>(), mutations in prop::collection::vec(mutation(), 1..6),
    ) {
        let corpus = corpus();
        let mut bytes = index.get(&corpus).clone();
        mutate(&mut bytes, &mutations);
        invariants::check_invariants(&bytes);
    }

    #[test]
    fn all_invariants_hold_for_random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300), head in "(|INVITE sip:a@b SIP/2.0\r\n|SIP/2.0 200 OK\r\n)", end in "(|\r\n\r\n)") {
        invariants::check_invariants(&[head.as_bytes(), &bytes, end.as_bytes()].concat());
    }

    #[test]
    fn values_put_into_a_message_stay_in_their_field(uri in "\\PC{0,20}|[ -~\r\n\t]{0,20}", name in "[ -~\r\n]{0,10}", value in "[ -~\r\n\\x00é]{0,30}", display in "\\PC{0,12}") {
        let mut request = Request::new(Method::Options, &uri);
        request.append(format!("X-{name}").as_str(), &value);
        request.set(Header::Subject, &value);
        request.append(Header::From, &format!("{} <sip:a@b>;tag=1", quote(&display)));
        let written = request.to_bytes();
        prop_assert_eq!(written.windows(2).filter(|pair| pair == b"\r\n").count(), 6);
        prop_assert!(!String::from_utf8(written).unwrap().replace("\r\n", "").contains(['\r', '\n', '\0']));
        prop_assert_eq!(request.from().unwrap().display_name(), display.as_str());
    }

    #[test]
    fn unescaping_reverses_escaping(user in "\\PC{0,12}") {
        let escaped = escape_user(&user);
        prop_assert_eq!(unescape(&escaped), user.as_str());
        if !user.is_empty() {
            let text = format!("sip:{escaped}@example.com");
            let uri = Uri::parse(&text).unwrap();
            prop_assert_eq!(uri.user_name(), user.as_str());
            prop_assert_eq!(uri.to_string(), text.as_str());
        }
    }
}
