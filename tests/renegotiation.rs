//! What far ends and gateways ask for within a call: other media, other forms, refused and withdrawn offers.

use crate::rig::sipp::Sipp;
use crate::rig::tap::Tap;
use crate::rig::test_bed::{TestBed, TestPhone};
use crate::rig::wait::until;

const VIDEO: &str = "m=video [media_port+2] RTP/AVP 96\na=rtpmap:96 VP8/90000\na=sendrecv";
const DIRECTIONS: [&str; 4] = ["a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"];

/// A phone that is connected through a [`Tap`].
async fn tapped() -> (TestBed, Tap, TestPhone) {
    let test_bed = TestBed::open().await;
    let tap = Tap::start(&test_bed.kamailio.ws()).await;
    test_bed.bitcall.patch(serde_json::json!({ "wss": tap.url() })).await;
    let phone = test_bed.open_phone().await;
    (test_bed, tap, phone)
}

/// The phone gets every re-INVITE with what `edit` makes of its description.
fn edit_offers(tap: &Tap, edit: impl Fn(&str) -> String + Send + 'static) {
    tap.edit(move |message| vec![if is_invite(message) { with_body(message, &edit) } else { message.to_owned() }]);
}

fn is_invite(message: &str) -> bool {
    message.starts_with("INVITE ")
}

fn with_body(message: &str, edit: impl Fn(&str) -> String) -> String {
    let (head, body) = message.split_once("\r\n\r\n").unwrap();
    let body = edit(body);
    let lines = head.lines().map(|line| match line.split_once(':') {
        Some((name, _)) if name.eq_ignore_ascii_case("content-length") => format!("Content-Length: {}", body.len()),
        _ => line.to_owned(),
    });
    let head: Vec<String> = lines.collect();
    format!("{}\r\n\r\n{body}", head.join("\r\n"))
}

/// The lines that `keep` says yes to.
fn without(sdp: &str, keep: impl Fn(&str) -> bool) -> String {
    sdp.lines().filter(|line| keep(line)).flat_map(|line| [line, "\r\n"]).collect()
}

/// The phone's responses to re-INVITEs and INVITEs, and its own offers, that begin with `start`.
fn sent(tap: &Tap, start: &str) -> Vec<String> {
    let frames = tap.frames().into_iter().map(|frame| frame.text);
    frames.filter(|text| text.starts_with(start) && text.contains(" INVITE\r\n")).collect()
}

/// The far end sends a re-INVITE. Returns the phone's final response, which the far end has acknowledged: before that
/// it would not understand to be told to go on.
async fn reinvites(far: &Sipp, tap: &Tap) -> String {
    let finals = |tap: &Tap| -> Vec<String> {
        let all = ["SIP/2.0 2", "SIP/2.0 4"].map(|start| sent(tap, start));
        all.into_iter().flatten().collect()
    };
    let acks = || far.sent(&["ACK sip:"]).len();
    let (before, acks_before) = (finals(tap), acks());
    far.goes_on().await;
    let response = until("the phone's response", async || {
        finals(tap).into_iter().find(|response| !before.contains(response)).ok_or_else(String::new)
    })
    .await;
    until("its ACK", async || if acks() > acks_before { Ok(()) } else { Err(far.messages()) }).await;
    response
}

/// The far end echoes, so the own tone has travelled both ways. The second time, so that what was still under way at
/// the exchange does not count.
async fn has_sound_both_ways(phone: &TestPhone) {
    let first = phone.frame.hears(TestBed::TONE).await;
    phone.frame.until(&format!("__rig.hear().then(([c]) => c.received > {})", first.received + 50)).await;
    phone.frame.hears(TestBed::TONE).await;
}

async fn in_call(test_bed: &TestBed, phone: &TestPhone, more: &str) -> Sipp {
    let far = Sipp::called_with(&test_bed.kamailio, "answer-and-reinvites", &[("more", more)]).await;
    phone.dial(&far.number).await;
    phone.frame.hears(TestBed::TONE).await;
    far
}

async fn hangs_up(phone: &TestPhone, far: Sipp) {
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
}

/// Formats of the audio section, in their order.
fn formats(message: &str) -> Vec<String> {
    let audio = message.lines().find_map(|line| line.strip_prefix("m=audio ")).unwrap_or_else(|| panic!("{message}"));
    audio.split(' ').skip(2).map(str::to_owned).collect()
}

#[tokio::test]
async fn video_in_an_offer_is_rejected_and_the_call_has_sound() {
    let (test_bed, tap, phone) = tapped().await;
    let far = Sipp::calls_with(&test_bed.kamailio, "agent1", "call", &[("more", VIDEO)]);
    phone.frame.click("button", "Answer").await;
    has_sound_both_ways(&phone).await;
    let answer = &sent(&tap, "SIP/2.0 200")[0];
    let sections: Vec<&str> = answer.lines().filter(|line| line.starts_with("m=")).collect();
    assert!(
        matches!(sections.as_slice(), [audio, video] if audio.starts_with("m=audio ") && video.starts_with("m=video 0 ")),
        "{answer}"
    );
    hangs_up(&phone, far).await;
}

#[tokio::test]
async fn video_may_be_added_and_removed_within_a_call() {
    let (test_bed, tap, phone) = tapped().await;
    let far = in_call(&test_bed, &phone, VIDEO).await;
    let answer = reinvites(&far, &tap).await;
    assert!(answer.starts_with("SIP/2.0 200") && answer.contains("m=video 0 "), "{answer}");
    has_sound_both_ways(&phone).await;

    // Our own offers repeat the section (RFC 3264 section 8).
    phone.frame.click("button", "Hold").await;
    phone.frame.pressed("Hold", true).await;
    let offer = sent(&tap, "INVITE ").pop().unwrap();
    assert!(offer.contains("m=video 0 ") && offer.contains("a=sendonly"), "{offer}");
    phone.frame.click("button", "Hold").await;
    phone.frame.pressed("Hold", false).await;
    has_sound_both_ways(&phone).await;

    edit_offers(&tap, |sdp| {
        let line = |line: &str| match line.strip_prefix("m=video ").and_then(|rest| rest.split_once(' ')) {
            Some((_, rest)) => format!("m=video 0 {rest}\r\n"),
            None => format!("{line}\r\n"),
        };
        sdp.lines().map(line).collect()
    });
    let answer = reinvites(&far, &tap).await;
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    has_sound_both_ways(&phone).await;
    hangs_up(&phone, far).await;
}

#[tokio::test]
async fn a_reinvite_that_is_refused_or_cancelled_leaves_the_sound_as_it_was() {
    let (test_bed, tap, phone) = tapped().await;
    let far = in_call(&test_bed, &phone, "").await;

    // T.38 (fax) in place of the audio.
    edit_offers(&tap, |sdp| {
        let session = sdp.split("m=").next().unwrap();
        format!("{session}m=image 4000 udptl t38\r\na=T38FaxVersion:0\r\n")
    });
    let refused = reinvites(&far, &tap).await;
    assert!(refused.starts_with("SIP/2.0 488"), "{refused}");
    has_sound_both_ways(&phone).await;

    // Plain RTP.
    edit_offers(&tap, |sdp| {
        let plain = sdp.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP");
        without(&plain, |line| {
            !["a=fingerprint", "a=setup", "a=ice", "a=candidate"].iter().any(|a| line.starts_with(a))
        })
    });
    let refused = reinvites(&far, &tap).await;
    assert!(refused.starts_with("SIP/2.0 488"), "{refused}");
    has_sound_both_ways(&phone).await;

    // Another endpoint, which gives up at once.
    tap.edit(|message| {
        if !is_invite(message) {
            return vec![message.to_owned()];
        }
        let other = with_body(message, |sdp| {
            let line = |line: &str| match line.split_once(':') {
                Some(("a=fingerprint", value)) => {
                    let (hash, digits) = value.split_once(' ').unwrap();
                    let digits: String = digits.chars().map(|d| if d == ':' { d } else { '5' }).collect();
                    format!("a=fingerprint:{hash} {digits}\r\n")
                }
                Some(("a=ice-ufrag", _)) => "a=ice-ufrag:elsewhere\r\n".to_owned(),
                Some(("a=ice-pwd", _)) => "a=ice-pwd:anotherpasswordofanother\r\n".to_owned(),
                _ => format!("{line}\r\n"),
            };
            sdp.lines().map(line).collect()
        });
        let (head, _) = message.split_once("\r\n\r\n").unwrap();
        let mut cancel = head.replacen("INVITE ", "CANCEL ", 1).replace(" INVITE\r\n", " CANCEL\r\n");
        cancel = without(&cancel, |line| {
            ["CANCEL ", "Via:", "From:", "To:", "Call-ID:", "CSeq:"].iter().any(|start| line.starts_with(start))
        });
        vec![other, format!("{cancel}Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n")]
    });
    let cancelled = reinvites(&far, &tap).await;
    assert!(cancelled.starts_with("SIP/2.0 487"), "{cancelled}");
    has_sound_both_ways(&phone).await;

    // The same endpoint, with new ICE credentials, refused by nobody: the call can still be renegotiated.
    tap.edit(|message| vec![message.to_owned()]);
    let agreed = reinvites(&far, &tap).await;
    assert!(agreed.starts_with("SIP/2.0 200"), "{agreed}");
    has_sound_both_ways(&phone).await;
    assert!(!phone.frame.text().await.contains("cannot"), "no error is shown");
    hangs_up(&phone, far).await;
}

#[tokio::test]
async fn a_gateways_reinvite_is_understood_in_its_own_form() {
    let (test_bed, tap, phone) = tapped().await;
    let far = in_call(&test_bed, &phone, "").await;
    let bare = |sdp: &str| {
        let left_out = ["a=mid", "a=group", "a=msid", "a=ssrc", "a=rtcp-mux", "a=extmap", "a=rtcp:"];
        without(sdp, |line| !left_out.iter().any(|start| line.starts_with(start)))
    };
    edit_offers(&tap, bare);
    let answer = reinvites(&far, &tap).await;
    assert!(answer.starts_with("SIP/2.0 200"), "{answer}");
    assert!(!answer.contains("a=mid:") && !answer.contains("a=group:"), "not in the offer: {answer}");
    has_sound_both_ways(&phone).await;

    // The direction of the whole session.
    edit_offers(&tap, move |sdp| {
        let undirected = without(&bare(sdp), |line| !DIRECTIONS.contains(&line));
        undirected.replacen("t=0 0\r\n", "t=0 0\r\na=sendonly\r\n", 1)
    });
    let answer = reinvites(&far, &tap).await;
    assert!(answer.contains("a=recvonly"), "{answer}");

    edit_offers(&tap, bare);
    reinvites(&far, &tap).await;
    has_sound_both_ways(&phone).await;

    // Hold as in RFC 2543.
    edit_offers(&tap, |sdp| {
        without(sdp, |line| !line.starts_with("c=")).replacen("t=0 0\r\n", "c=IN IP4 0.0.0.0\r\nt=0 0\r\n", 1)
    });
    let answer = reinvites(&far, &tap).await;
    assert!(answer.contains("a=recvonly"), "{answer}");
    tap.edit(|message| vec![message.to_owned()]);
    reinvites(&far, &tap).await;
    has_sound_both_ways(&phone).await;
    hangs_up(&phone, far).await;
}

#[tokio::test]
async fn an_answer_keeps_the_codec_order_of_the_offer_and_later_offers_begin_with_the_codec_in_use() {
    let (test_bed, tap, mut phone) = tapped().await;
    edit_offers(&tap, |sdp| sdp.replace("SAVPF 0 8 101", "SAVPF 8 0 101"));
    let far = Sipp::calls(&test_bed.kamailio, "agent1", "call");
    phone.frame.click("button", "Answer").await;
    until("the answer", async || sent(&tap, "SIP/2.0 200").pop().ok_or_else(String::new)).await;
    let answer = sent(&tap, "SIP/2.0 200").pop().unwrap();
    assert_eq!(formats(&answer), ["8", "0", "101"]);
    hangs_up(&phone, far).await;

    // A call that we place: the far end chooses PCMU from an offer that begins with opus.
    let far = Sipp::called(&test_bed.kamailio, "answer").await;
    phone.dial(&far.number).await;
    phone.frame.hears(TestBed::TONE).await;
    phone.frame.click("button", "Hold").await;
    phone.frame.pressed("Hold", true).await;
    let hold = sent(&tap, "INVITE ").pop().unwrap();
    assert!(hold.contains("a=sendonly"), "{hold}");
    assert_eq!(formats(&hold)[0], "0", "{hold}");

    // A page that is loaded again makes another connection, for the same call.
    let offers = sent(&tap, "INVITE ").len();
    phone.reload().await;
    let picked_up = until("the offer of the new page", async || {
        sent(&tap, "INVITE ").into_iter().nth(offers).ok_or_else(String::new)
    })
    .await;
    assert_eq!(formats(&picked_up)[0], "0", "{picked_up}");
    phone.frame.pressed("Hold", true).await;
    hangs_up(&phone, far).await;
}
