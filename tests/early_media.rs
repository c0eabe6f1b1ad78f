//! Early media (RFC 3960).

use crate::rig::sipp::Sipp;
use crate::rig::test_bed::TestBed;
use crate::rig::tone_sender::ToneSender;

/// Five seconds and more of packets: the phone's own ring-back repeats every five.
const RING_PERIOD_SAMPLES: u64 = 300;

#[tokio::test]
async fn early_media_replaces_ring_back_until_the_answer() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    let (early, answer) =
        (ToneSender::start(&test_bed.kamailio, 900).await, ToneSender::start(&test_bed.kamailio, 1_300).await);
    let ports = [("early", &*early.port.to_string()), ("final", &*answer.port.to_string()), ("tag", "far")];
    let far = Sipp::called_with(&test_bed.kamailio, "answer-after-early-media", &ports).await;

    // Silence from the other side: the phone makes the ring-back (RFC 3960 section 3.2).
    phone.dial(&far.number).await;
    phone.frame.until("__rig.tones.sounding").await;
    assert_eq!(phone.frame.heard().await.unwrap().iter().map(|h| h.received).sum::<u64>(), 0);

    far.goes_on().await;
    let heard = phone.frame.hears(900).await;
    phone.frame.until("__rig.tones.sounding === 0").await;
    let begun = phone.frame.eval("__rig.tones.begun").await;
    let enough = heard.received + RING_PERIOD_SAMPLES;
    phone.frame.until(&format!("__rig.hear().then(([c]) => c.received > {enough})")).await;
    assert_eq!(phone.frame.eval("__rig.tones.begun").await, begun, "no ring-back over what the far end sends");
    assert_eq!(phone.events("callAnswered").await.len(), 0, "nobody has answered yet");

    far.goes_on().await;
    phone.event("callAnswered", 1).await;
    phone.frame.hears(1_300).await;
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
    let ended = phone.event("callEnded", 1).await;
    assert!(ended["duration"].as_u64().unwrap() < 30, "counted from the answer: {ended}");
    assert_eq!(test_bed.browser.errors(), Vec::<String>::new());
}

/// The call was forked, and one relay stands before all devices: it decides whether the answer has keys of its own.
#[tokio::test]
async fn the_device_that_answers_is_heard_where_a_relay_stands_before_it_and_the_one_with_early_media() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    let (early, answer) =
        (ToneSender::start(&test_bed.kamailio, 900).await, ToneSender::start(&test_bed.kamailio, 1_300).await);
    let ports = [("early", &*early.port.to_string()), ("final", &*answer.port.to_string()), ("tag", "other")];
    let far = Sipp::called_with(&test_bed.kamailio, "answer-after-early-media", &ports).await;
    phone.dial(&far.number).await;
    far.goes_on().await;
    phone.frame.hears(900).await;
    far.goes_on().await;
    phone.event("callAnswered", 1).await;
    phone.frame.hears(1_300).await;
    phone.frame.click("button", "Hang up").await;
    far.succeeds().await;
    phone.event("callEnded", 1).await;
    assert_eq!(test_bed.browser.errors(), Vec::<String>::new());
}

/// A description without a packet, and one with packets of silence.
#[tokio::test]
async fn ring_back_sounds_when_early_media_was_described_and_no_sound_comes() {
    let test_bed = TestBed::open().await;
    let phone = test_bed.open_phone().await;
    let answer = ToneSender::start(&test_bed.kamailio, 1_300).await;
    let nothing = test_bed.kamailio.ports().take_media();
    let silence = ToneSender::start(&test_bed.kamailio, 0).await;
    for (calls, early, packets) in [(1, nothing, 0), (2, silence.port, 50)] {
        let ports = [("early", &*early.to_string()), ("final", &*answer.port.to_string())];
        let far = Sipp::called_with(&test_bed.kamailio, "ring-after-description", &ports).await;
        let begun = phone.frame.eval("__rig.tones.begun").await;

        phone.dial(&far.number).await;
        let early = format!("c.state === 'connected' && c.sent > 50 && c.received >= {packets}");
        phone.frame.until(&format!("__rig.hear().then((all) => all.some((c) => {early}))")).await;
        assert_eq!(phone.frame.eval("__rig.tones.begun").await, begun, "the far end has not said that it rings");

        far.goes_on().await;
        phone.frame.until("__rig.tones.sounding").await;

        far.goes_on().await;
        phone.frame.hears(1_300).await;
        phone.frame.until("__rig.tones.sounding === 0").await;
        phone.frame.click("button", "Hang up").await;
        far.succeeds().await;
        phone.event("callEnded", calls).await;
    }
}
