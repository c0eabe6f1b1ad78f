//! What the far end tells during a call.

use bitcall_sip::ua;
use bitcall_wire::agent_protocol::ToAgent;

use crate::test_call_list::TestCallList;

fn identity(phone: &mut TestCallList, number: &str, name: Option<&str>) {
    phone.event(ua::Event::IdentityChanged {
        call: "c1".into(),
        party: ua::RemoteParty { number: number.into(), display_name: name.map(String::from), uri: String::new() },
    });
}

#[test]
fn a_new_identity_changes_the_call_on_screen_and_is_told_once() {
    let mut phone = TestCallList::in_call();
    identity(&mut phone, "203", Some("Bob\u{202e} B."));
    assert_eq!(phone.event_names(1), ["updated: 203"]);
    let shown = phone.call_snapshot(1, "c1");
    assert_eq!((shown.number.as_str(), shown.display_name.as_deref()), ("203", Some("Bob B.")));
    identity(&mut phone, "203", Some("Bob B."));
    identity(&mut phone, "203", None);
    assert!(phone.event_names(1).is_empty());
    assert_eq!(phone.call_snapshot(1, "c1").display_name.as_deref(), Some("Bob B."));
    // The end of the call has it for the list of calls.
    phone.event(ua::Event::Ended {
        call: "c1".into(),
        cause: ua::EndCause { by: ua::EndedBy::Remote, text: String::new(), sip_code: None },
    });
    let ended = phone.events(1);
    assert!(
        matches!(&ended[..], [bitcall_wire::agent_protocol::AgentEvent::CallEnded { call, .. }] if call.number == "203")
    );
}

#[test]
fn a_text_is_told_as_one_readable_line_of_bounded_length() {
    let mut phone = TestCallList::in_call();
    let mut told = |text: &str| {
        phone.event(ua::Event::Message { call: "c1".into(), text: text.into() });
        phone.event_names(1)
    };
    assert_eq!(
        told("  You are\r\nnumber\t3 \u{202e}\u{200b}\u{1b}[2J"),
        ["message of 102 in c1: You are number 3 [2J"]
    );
    assert!(told(" \r\n\u{feff}").is_empty());
    let long = told(&"ä".repeat(100_000));
    assert_eq!(long[0].chars().count(), "message of 102 in c1: ".len() + 501);
    assert!(long[0].ends_with('…'));
}

#[test]
fn a_text_outside_of_a_call_is_shown_in_every_page_as_one_readable_line() {
    let mut phone = TestCallList::registered();
    phone.attach(2, "b");
    phone.clear_output();
    let from = ua::RemoteParty { number: "103".into(), ..ua::RemoteParty::default() };
    phone.event(ua::Event::NewMessage { from: from.clone(), text: " Call\r\nme\u{202e} back ".into() });
    phone.event(ua::Event::NewMessage { from, text: "\u{200b}\n".into() });
    for port in [1, 2] {
        assert_eq!(phone.event_names(port), ["message of 103: Call me back"]);
    }
}

#[test]
fn a_text_is_answered_in_its_call_as_long_as_that_is_up_and_the_outcome_is_told_in_words() {
    let mut phone = TestCallList::in_call();
    let mut sent = |call: Option<&str>| {
        let (call, number, text) = (call.map(str::to_owned), "102".into(), "Thank you".into());
        phone.send(1, ToAgent::SendMessage { call, number, text });
        match phone.commands().pop() {
            Some(ua::Command::SendMessage(message)) => (message.call, message.target, message.text),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(sent(Some("c1")), (Some("c1".into()), "102".into(), "Thank you".into()));
    assert_eq!(sent(Some("gone")), (None, "102".into(), "Thank you".into()));
    assert_eq!(sent(None), (None, "102".into(), "Thank you".into()));
    for (status, told) in [(200, "102 answered: None"), (404, "102 answered: Some(\"Number not found\")")] {
        phone.event(ua::Event::MessageAnswered { target: "102".into(), status });
        assert_eq!(phone.event_names(1), [told]);
    }
}
