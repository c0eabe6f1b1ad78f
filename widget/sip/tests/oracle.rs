//! Differential test: sipx-sip, an independent parser, must read the same values in a message as ours.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/generate.rs"]
#[allow(dead_code, reason = "only the bytes of a generated message are used here")]
mod generate;
mod support;

use bitcall_sip::message::{Contact, Headers, Message};
use generate::{corpus, mutate, mutation, request};
use proptest::prelude::*;
use sipx_sip::headers::{CSeq, CallId, Contact as TheirContact, From, To, Via};
use support::torture;

/// The values that both parsers must agree on.
#[derive(Debug, PartialEq, Eq)]
struct ParsedValues {
    branches: Vec<Option<String>>,
    from_tag: Option<String>,
    to_tag: Option<String>,
    call_id: String,
    cseq: u32,
    contacts: usize,
    body: Vec<u8>,
}

/// The text as our parser represents it: `?` for each byte that is not UTF-8.
fn text(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    text
}

fn ours(bytes: &[u8]) -> Option<ParsedValues> {
    let message = Message::parse(bytes).ok()?;
    message.validate().ok()?;
    let headers: &Headers = message.headers();
    let contacts = headers.contacts().filter(|contact| !matches!(contact, Ok(Contact::Star))).count();
    Some(ParsedValues {
        branches: headers.vias().map(|via| via.unwrap().branch().map(str::to_owned)).collect(),
        from_tag: headers.from().unwrap().tag().map(str::to_owned),
        to_tag: headers.to().unwrap().tag().map(str::to_owned),
        call_id: headers.call_id().unwrap().to_owned(),
        cseq: headers.cseq().unwrap().number,
        contacts,
        body: headers.body().to_vec(),
    })
}

fn theirs(bytes: &[u8]) -> Option<ParsedValues> {
    let message = sipx_sip::parse_datagram(bytes.to_vec().into(), &sipx_sip::Limits::datagram()).ok()?;
    // sipx-sip requires Max-Forwards, which RFC 2543 clients do not send.
    let tolerated =
        |finding: &sipx_sip::Finding| matches!(finding, sipx_sip::Finding::MissingRequiredHeader("Max-Forwards"));
    if !sipx_sip::validate(&message).iter().all(tolerated) {
        return None;
    }
    let headers = message.headers();
    let vias: Result<Vec<Via>, _> = headers.typed_all::<Via>().collect();
    let contacts: Result<Vec<TheirContact>, _> = headers.typed_all::<TheirContact>().collect();
    Some(ParsedValues {
        branches: vias.ok()?.iter().map(|via| via.branch().map(text)).collect(),
        from_tag: headers.typed::<From>()?.ok()?.0.tag().map(text),
        to_tag: headers.typed::<To>()?.ok()?.0.tag().map(text),
        call_id: text(&headers.typed::<CallId>()?.ok()?.0),
        cseq: headers.typed::<CSeq>()?.ok()?.sequence,
        contacts: contacts.ok()?.len(),
        body: message.body().to_vec(),
    })
}

#[test]
fn both_parsers_read_the_torture_messages_the_same() {
    for (name, bytes) in torture() {
        assert_eq!(ours(&bytes), theirs(&bytes), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// sipx-sip rejects some requests that the grammar allows, e.g. a repeated URI parameter.
    #[test]
    fn both_parsers_read_generated_requests_the_same(written in request()) {
        let bytes = written.bytes();
        prop_assert!(ours(&bytes).is_some());
        if let Some(theirs) = theirs(&bytes) {
            prop_assert_eq!(ours(&bytes), Some(theirs));
        }
    }

    /// If both accept a mutated message, they read the same values. They may differ in what they reject.
    #[test]
    fn both_parsers_read_mutated_messages_the_same(
        index in any::<prop::sample::Index>(), mutations in prop::collection::vec(mutation(), 1..4),
    ) {
        let corpus = corpus();
        let mut bytes = index.get(&corpus).clone();
        mutate(&mut bytes, &mutations);
        if let (Some(ours), Some(theirs)) = (ours(&bytes), theirs(&bytes)) {
            prop_assert_eq!(ours, theirs);
        }
    }
}
