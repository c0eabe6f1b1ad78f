//! Two parsers, one reading: sipx-sip, which nobody here wrote, must find in a message what ours finds.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/generate.rs"]
#[allow(dead_code, reason = "only the bytes of a generated message are of use here")]
mod generate;
mod support;

use bitcall_sip::message::{Contact, Headers, Message};
use generate::{corpus, mutate, mutation, request};
use proptest::prelude::*;
use sipx_sip::headers::{CSeq, CallId, Contact as TheirContact, From, To, Via};
use support::torture;

/// What both must find, or that the message is refused.
#[derive(Debug, PartialEq, Eq)]
struct Reading {
    branches: Vec<Option<String>>,
    from_tag: Option<String>,
    to_tag: Option<String>,
    call_id: String,
    cseq: u32,
    contacts: usize,
    body: Vec<u8>,
}

/// As our parser shows text that is not UTF-8: a question mark for each stray byte.
fn text(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    text
}

fn ours(bytes: &[u8]) -> Option<Reading> {
    let message = Message::parse(bytes).ok()?;
    message.validate().ok()?;
    let headers: &Headers = message.headers();
    let contacts = headers.contacts().filter(|contact| !matches!(contact, Ok(Contact::Star))).count();
    Some(Reading {
        branches: headers.vias().map(|via| via.unwrap().branch().map(str::to_owned)).collect(),
        from_tag: headers.from().unwrap().tag().map(str::to_owned),
        to_tag: headers.to().unwrap().tag().map(str::to_owned),
        call_id: headers.call_id().unwrap().to_owned(),
        cseq: headers.cseq().unwrap().number,
        contacts,
        body: headers.body().to_vec(),
    })
}

fn theirs(bytes: &[u8]) -> Option<Reading> {
    let message = sipx_sip::parse_datagram(bytes.to_vec().into(), &sipx_sip::Limits::datagram()).ok()?;
    // They ask for Max-Forwards, which RFC 2543's clients do not send.
    let tolerated =
        |finding: &sipx_sip::Finding| matches!(finding, sipx_sip::Finding::MissingRequiredHeader("Max-Forwards"));
    if !sipx_sip::validate(&message).iter().all(tolerated) {
        return None;
    }
    let headers = message.headers();
    let vias: Result<Vec<Via>, _> = headers.typed_all::<Via>().collect();
    let contacts: Result<Vec<TheirContact>, _> = headers.typed_all::<TheirContact>().collect();
    Some(Reading {
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
fn both_read_the_torture_messages_alike() {
    for (name, bytes) in torture() {
        assert_eq!(ours(&bytes), theirs(&bytes), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// They refuse some requests that the grammar allows (a URI parameter twice, for one).
    #[test]
    fn generated_requests_that_both_accept_they_read_alike(written in request()) {
        let bytes = written.bytes();
        prop_assert!(ours(&bytes).is_some());
        if let Some(theirs) = theirs(&bytes) {
            prop_assert_eq!(ours(&bytes), Some(theirs));
        }
    }

    /// Where both accept a mutated message, they find the same in it. (What to refuse is a matter of
    /// strictness on which they may differ.)
    #[test]
    fn what_both_accept_they_read_alike(
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
