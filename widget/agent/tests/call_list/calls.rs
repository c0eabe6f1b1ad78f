use bitcall_sip::ua::{self, Command, EndedBy, InviteOptions};
use bitcall_wire::agent_protocol::{
    AgentEvent, CallHeader, CallOptions, CallState, MediaError, MediaReply, MediaRequest, MediaState, OfferKind,
    OtherCalls, ToAgent,
};

use crate::test_call_list::TestCallList;

/// Brings a call into a state.
type Arrange<'a> = &'a dyn Fn(&mut TestCallList);

#[test]
fn a_call_requests_an_offer_and_sends_it_in_the_invite() {
    let mut phone = TestCallList::registered();
    phone.call(1, "c1", "+49 (30) 1234");
    assert!(matches!(
        phone.media_requests(1).as_slice(),
        [(call, MediaRequest::Offer { kind: OfferKind::Current, .. })] if call == "c1"
    ));
    assert_eq!(phone.event_names(1), ["started"]);
    let shown = phone.call_snapshot(1, "c1");
    assert_eq!(shown.state, CallState::Dialing);
    assert_eq!(shown.number, "+49 (30) 1234");

    phone.reply_description(1, "c1", "offer");
    assert_eq!(
        phone.commands(),
        [Command::Invite {
            call: "c1".into(),
            target: "+49301234".into(),
            options: InviteOptions::default(),
            sdp: Some("offer".into())
        }]
    );
}

#[test]
fn an_offer_sent_with_the_call_is_used_without_a_media_request() {
    let mut phone = TestCallList::registered();
    let offer = Some("offer".to_owned());
    phone.send(1, ToAgent::Call { call: "c1".into(), number: "102".into(), options: CallOptions::default(), offer });
    assert_eq!(
        phone.commands(),
        [Command::Invite {
            call: "c1".into(),
            target: "102".into(),
            options: InviteOptions::default(),
            sdp: Some("offer".into())
        }]
    );
    assert!(phone.media_requests(1).is_empty());
    assert_eq!(phone.event_names(1), ["started"]);
    assert_eq!(phone.call_snapshot(1, "c1").state, CallState::Dialing);
}

#[test]
fn the_caller_id_and_the_header_fields_of_the_host_page_are_sent_with_the_call() {
    let header = |name: &str| CallHeader { name: name.into(), value: "42".into() };
    let call = |caller_id: &str, name: &str| {
        let mut phone = TestCallList::registered();
        let options =
            CallOptions { caller_id: Some(caller_id.into()), headers: vec![header(name)], ..CallOptions::default() };
        let offer = Some("offer".to_owned());
        phone.send(1, ToAgent::Call { call: "c1".into(), number: "102".into(), options, offer });
        phone
    };
    let sent = |mut phone: TestCallList| {
        phone.commands().into_iter().find_map(|command| match command {
            Command::Invite { options, .. } => Some(options),
            _ => None,
        })
    };
    let headers = vec![("X-Ticket".to_owned(), "42".to_owned())];
    let numbered = InviteOptions { caller_id: Some("555".into()), is_private: false, headers: headers.clone() };
    assert_eq!(sent(call("555", "X-Ticket")), Some(numbered));
    let private = InviteOptions { caller_id: None, is_private: true, headers };
    assert_eq!(sent(call("Anonymous", "X-Ticket")), Some(private));
    let mut refused = call("555", "Via");
    assert_eq!(refused.event_names(1), ["refused: BAD_HEADERS"]);
    assert!(refused.commands().is_empty());
}

#[test]
fn an_incoming_call_has_the_header_fields_of_its_caller() {
    let mut phone = TestCallList::registered();
    phone.event(ua::Event::Incoming {
        call: "c1".into(),
        from: ua::RemoteParty::default(),
        offer: Some("offer".into()),
        replaces: None,
        diverted_from: None,
        auto_answer_ms: None,
        headers: vec![("X-Queue".into(), "Sales\u{202e}".into())],
    });
    let shown = phone.call_snapshot(1, "c1");
    assert_eq!(shown.headers, [CallHeader { name: "X-Queue".into(), value: "Sales".into() }]);
}

#[test]
fn a_refused_call_closes_the_media_of_its_offer() {
    let mut phone = TestCallList::registered();
    let offer = Some("offer".to_owned());
    phone.send(1, ToAgent::Call { call: "c1".into(), number: " ".into(), options: CallOptions::default(), offer });
    assert!(phone.commands().is_empty());
    assert!(matches!(phone.media_requests(1).as_slice(), [(call, MediaRequest::Close)] if call == "c1"));
}

#[test]
fn ringing_early_media_and_answer_change_the_call_state() {
    let mut phone = TestCallList::registered();
    phone.call(1, "c1", "102");
    phone.reply_description(1, "c1", "offer");
    let progress = |status, sdp: Option<&str>| ua::Event::Progress {
        call: "c1".into(),
        status,
        sdp: sdp.map(str::to_owned),
        early_dialog: None,
    };
    phone.event(progress(180, None));
    assert_eq!(phone.call_snapshot(1, "c1").state, CallState::Ringing);
    phone.event(progress(183, Some("early")));
    assert_eq!(phone.call_snapshot(1, "c1").state, CallState::EarlyMedia);
    assert!(
        phone
            .media_requests(1)
            .iter()
            .any(|(_, request)| *request == MediaRequest::Accept { answer: "early".into(), provisional: true })
    );
    // A 180 after early media does not change the state back.
    phone.event(progress(180, None));
    assert_eq!(phone.call_snapshot(1, "c1").state, CallState::EarlyMedia);
    phone.clear_output();
    phone.event(ua::Event::Answered { call: "c1".into(), sdp: Some("final".into()), early_dialog: None });
    assert_eq!(phone.event_names(1), ["answered"]);
    assert_eq!(phone.call_snapshot(1, "c1").state, CallState::Active);
    assert!(matches!(phone.media_requests(1).as_slice(), [(_, MediaRequest::Accept { provisional: false, .. })]));
}

#[test]
fn hanging_up_ends_the_call_at_once_in_every_state() {
    let dialing = |phone: &mut TestCallList| phone.call(1, "c1", "102");
    let invited = |phone: &mut TestCallList| {
        phone.call(1, "c1", "102");
        phone.reply_description(1, "c1", "offer");
    };
    let ringing_here = |phone: &mut TestCallList| phone.incoming("c1", "102");
    let answering = |phone: &mut TestCallList| {
        phone.incoming("c1", "102");
        phone.answer(1, "c1", OtherCalls::Hold);
    };
    let active = |phone: &mut TestCallList| {
        phone.call(1, "c1", "102");
        phone.establish("c1");
    };
    let cases: [(Arrange<'_>, &str, usize); 5] = [
        (&dialing, "ended: Cancelled", 0),
        (&invited, "ended: Cancelled", 1),
        (&ringing_here, "ended: Declined", 1),
        (&answering, "ended: Declined", 1),
        (&active, "ended: Hung up", 1),
    ];
    for (arrange, text, commands) in cases {
        let mut phone = TestCallList::registered();
        arrange(&mut phone);
        phone.clear_output();
        phone.send(1, ToAgent::HangUp { call: "c1".into() });
        assert_eq!(phone.event_names(1), [text]);
        assert_eq!(phone.commands().len(), commands, "{text}");
        let snapshots = phone.snapshots(1);
        assert!(matches!(snapshots[0].calls[0].state, CallState::Ended { .. }));
        assert!(snapshots[1].calls.is_empty());
        // The user agent's `Ended` causes no second event.
        phone.event(ua::Event::Ended {
            call: "c1".into(),
            cause: ua::EndCause { by: EndedBy::Local, text: "x".into(), sip_code: None },
        });
        assert!(phone.event_names(1).is_empty());
    }
}

#[test]
fn a_media_reply_after_the_call_ended_is_ignored() {
    let mut phone = TestCallList::registered();
    phone.call(1, "c1", "102");
    let request_id = phone.request_id(1, "c1");
    phone.send(1, ToAgent::HangUp { call: "c1".into() });
    phone.clear_output();
    let sdp = "late".to_owned();
    phone.reply_to(1, "c1", request_id, MediaReply::Description { sdp });
    assert!(phone.commands().is_empty());
}

#[test]
fn a_blocked_microphone_ends_an_outgoing_call_with_its_reason() {
    let mut phone = TestCallList::registered();
    phone.call(1, "c1", "102");
    phone.event_names(1);
    phone.reply(1, "c1", MediaReply::Failed { error: MediaError::MicrophoneBlocked, message: "blocked".into() });
    assert_eq!(phone.event_names(1), ["refused: MICROPHONE_BLOCKED", "ended: Microphone blocked"]);
    assert!(phone.commands().is_empty());
}

#[test]
fn a_missing_microphone_leaves_an_incoming_call_ringing() {
    let mut phone = TestCallList::registered();
    phone.incoming("c1", "102");
    phone.answer(1, "c1", OtherCalls::Hold);
    phone.event_names(1);
    phone.reply(1, "c1", MediaReply::Failed { error: MediaError::MicrophoneMissing, message: "none".into() });
    assert_eq!(phone.event_names(1), ["refused: MICROPHONE_MISSING"]);
    assert_eq!(phone.call_snapshot(1, "c1").state, CallState::Incoming);
    phone.answer(1, "c1", OtherCalls::Hold);
    phone.reply_description(1, "c1", "answer");
    assert!(matches!(phone.commands().as_slice(), [Command::Answer { .. }]));
}

#[test]
fn invalid_numbers_unknown_calls_and_unregistered_calls_are_refused() {
    let mut phone = TestCallList::registered();
    phone.call(1, "c1", "  ");
    phone.call(1, "c2", "12$");
    assert_eq!(phone.event_names(1), ["refused: BAD_NUMBER", "refused: BAD_NUMBER"]);
    phone.send(1, ToAgent::HangUp { call: "c9".into() });
    assert_eq!(phone.event_names(1), ["refused: UNKNOWN_CALL"]);
    assert!(phone.commands().is_empty());
    // The media that the page had prepared is closed.
    assert_eq!(
        phone.media_requests(1),
        [("c1".to_owned(), MediaRequest::Close), ("c2".to_owned(), MediaRequest::Close)]
    );

    let mut phone = TestCallList::new();
    phone.attach(1, "a");
    phone.call(1, "c1", "102");
    assert_eq!(phone.event_names(1), ["refused: NOT_REGISTERED"]);
}

#[test]
fn a_call_beyond_max_sessions_is_refused() {
    let mut phone = TestCallList::in_call();
    phone.call(1, "c2", "103");
    phone.clear_output();
    phone.call(1, "c3", "104");
    assert_eq!(phone.event_names(1), ["refused: MAX_SESSIONS"]);
    assert_eq!(phone.media_requests(1), [("c3".to_owned(), MediaRequest::Close)]);
}

#[test]
fn a_new_call_puts_the_active_call_on_hold() {
    let mut phone = TestCallList::in_call();
    phone.call(1, "c2", "103");
    let requests = phone.media_requests(1);
    assert!(requests.iter().any(|(call, request)| call == "c1"
        && matches!(
            request,
            MediaRequest::Offer { direction: bitcall_wire::agent_protocol::MediaDirection::SendOnly, .. }
        )));
    assert!(requests.iter().any(|(call, _)| call == "c2"));
    assert_eq!(phone.snapshot(1).active.as_deref(), Some("c2"));
}

#[test]
fn end_and_answer_ends_the_other_call_with_one_event() {
    let mut phone = TestCallList::in_call();
    phone.incoming("c2", "103");
    phone.clear_output();
    phone.answer(1, "c2", OtherCalls::End);
    assert!(!phone.call_snapshot(1, "c1").voice && phone.call_snapshot(1, "c2").voice);
    assert!(phone.event_names(1).is_empty());
    phone.reply_description(1, "c2", "answer");
    phone.confirmed("c2");
    phone.event_names(1);
    phone.commands();
    // The first call ends only when the new one has its media.
    phone.send(1, ToAgent::MediaChanged { call: "c2".into(), state: MediaState::IceConnected });
    assert!(phone.event_names(1).is_empty());
    phone.send(1, ToAgent::MediaChanged { call: "c2".into(), state: MediaState::Connected });
    assert_eq!(phone.event_names(1), ["ended: Hung up"]);
    assert_eq!(phone.commands(), [Command::HangUp { call: "c1".into() }]);
}

#[test]
fn an_invite_without_an_offer_is_answered_with_our_offer() {
    let mut phone = TestCallList::registered();
    phone.event(ua::Event::Incoming {
        call: "c1".into(),
        from: ua::RemoteParty::default(),
        offer: None,
        replaces: None,
        diverted_from: None,
        auto_answer_ms: None,
        headers: Vec::new(),
    });
    phone.answer(1, "c1", OtherCalls::Hold);
    assert!(matches!(phone.media_requests(1).as_slice(), [(_, MediaRequest::Offer { .. })]));
    phone.reply_description(1, "c1", "our offer");
    phone.clear_output();
    phone.event(ua::Event::Confirmed { call: "c1".into(), sdp: Some("their answer".into()) });
    assert!(matches!(phone.media_requests(1).as_slice(), [(_, MediaRequest::Accept { provisional: false, .. })]));
    assert_eq!(phone.call_snapshot(1, "c1").state, CallState::Active);
}

#[test]
fn the_call_ended_event_has_cause_and_duration_in_whole_seconds() {
    let mut phone = TestCallList::in_call();
    phone.advance_time(61_900, &[1]);
    phone.clear_output();
    phone.event(ua::Event::Ended {
        call: "c1".into(),
        cause: ua::EndCause { by: EndedBy::Remote, text: "Remote hung up".into(), sip_code: None },
    });
    let events = phone.events(1);
    let [AgentEvent::CallEnded { cause, duration, .. }] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!((cause.text.as_str(), *duration), ("Remote hung up", 61));
    assert!(phone.media_requests(1).iter().any(|(_, request)| *request == MediaRequest::Close));
}

#[test]
fn an_unusable_final_answer_causes_a_reinvite_with_a_new_connection() {
    let mut phone = TestCallList::registered();
    phone.call(1, "c1", "102");
    phone.reply_description(1, "c1", "offer");
    phone.event(ua::Event::Answered { call: "c1".into(), sdp: Some("of another branch".into()), early_dialog: None });
    let unusable = || MediaReply::Failed { error: MediaError::Unusable, message: "x".into() };
    let request_id = phone.request_id(1, "c1");
    phone.clear_output();
    phone.reply_to(1, "c1", request_id, unusable());
    let requests: Vec<_> = phone.media_requests(1).into_iter().map(|(_, request)| request).collect();
    assert!(matches!(requests.as_slice(), [MediaRequest::Offer { kind: OfferKind::NewConnection, .. }]));
    phone.reply_description(1, "c1", "fresh offer");
    assert!(matches!(phone.commands().as_slice(), [Command::Reinvite { .. }]));
}

#[test]
fn each_digit_is_sent_in_its_own_info_and_invalid_ones_are_refused() {
    let mut phone = TestCallList::in_call();
    phone.send(1, ToAgent::Digits { call: "c1".into(), digits: "4x#".into() });
    let bodies: Vec<_> = phone
        .commands()
        .into_iter()
        .map(|command| match command {
            Command::Info { body, .. } => body,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(bodies, ["Signal=4\r\nDuration=160\r\n", "Signal=#\r\nDuration=160\r\n"]);
    assert_eq!(phone.event_names(1), ["refused: BAD_DIGIT"]);
}

#[test]
fn digits_for_a_call_on_hold_are_refused() {
    let mut phone = TestCallList::in_call();
    phone.hold(1, "c1", true);
    phone.clear_output();
    phone.send(1, ToAgent::Digits { call: "c1".into(), digits: "4".into() });
    assert!(phone.commands().is_empty());
    assert_eq!(phone.event_names(1), ["refused: ON_HOLD"]);
}

#[test]
fn a_call_beyond_the_limit_is_missed_in_every_page() {
    let mut phone = TestCallList::in_call();
    phone.attach(2, "b");
    phone.clear_output();
    let from = ua::RemoteParty { number: "103".into(), ..ua::RemoteParty::default() };
    phone.event(ua::Event::Missed { call: "m1".into(), from, diverted_from: None });
    for port in [1, 2] {
        assert_eq!(phone.event_names(port), ["missed 103: All lines busy"]);
    }
    assert!(phone.snapshots(1).is_empty(), "it is no call of the list");
}
