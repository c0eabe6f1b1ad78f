//! What must hold for messages of any shape: generated ones, mutated ones, and plain noise.
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
fn everything_holds_for_the_corpus_and_each_of_its_beginnings() {
    for message in corpus() {
        invariants::hold(&message);
        for end in 0..message.len().min(700) {
            invariants::hold(&message[..end]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_written_is_read(written in request()) {
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
        invariants::hold(&bytes);
    }

    #[test]
    fn everything_holds_for_mutated_messages(
        index in any::<prop::sample::Index>(), mutations in prop::collection::vec(mutation(), 1..6),
    ) {
        let corpus = corpus();
        let mut bytes = index.get(&corpus).clone();
        mutate(&mut bytes, &mutations);
        invariants::hold(&bytes);
    }

    #[test]
    fn everything_holds_for_noise(bytes in prop::collection::vec(any::<u8>(), 0..300), head in "(|INVITE sip:a@b SIP/2.0\r\n|SIP/2.0 200 OK\r\n)", end in "(|\r\n\r\n)") {
        invariants::hold(&[head.as_bytes(), &bytes, end.as_bytes()].concat());
    }

    #[test]
    fn nothing_put_into_a_message_gets_out_of_its_place(uri in "\\PC{0,20}|[ -~\r\n\t]{0,20}", name in "[ -~\r\n]{0,10}", value in "[ -~\r\n\\x00é]{0,30}", display in "\\PC{0,12}") {
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
    fn escaping_is_undone_by_unescaping(user in "\\PC{0,12}") {
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
