//! Conferences: three parties that hear each other and the person, and never themselves.

use std::time::Duration;

use serde_json::json;

use crate::rig::b2bua::FarEnd;
use crate::rig::office::Office;

/// A silence that nobody notices.
const UNNOTICED: Duration = Duration::from_millis(40);

struct Party {
    far_end: FarEnd,
    hz: u32,
}

impl Party {
    /// Hears the person, or not, and these others; and no other tone of the test, least of all its own.
    async fn hears(&self, person: bool, others: &[&Party], silent: &[&Party]) {
        let mut tones: Vec<u32> = others.iter().map(|other| other.hz).collect();
        tones.extend(person.then_some(Office::TONE));
        self.far_end.hears_notes(&tones).await;
        let unheard = silent.iter().map(|other| other.hz).chain((!person).then_some(Office::TONE));
        for hz in unheard.chain([self.hz]) {
            self.far_end.hears_no_more(hz).await;
        }
    }
}

/// A phone with up to six calls. Without music a party on hold hears silence.
async fn open() -> Office {
    Office::open_on_plan("enterprise", json!({ "behavior": { "holdMusic": { "enabled": false } } })).await
}

#[tokio::test]
async fn three_parties_hear_each_other_and_the_person_and_are_muted_held_split_and_dropped() {
    let office = open().await;
    let Office { phone, b2bua, .. } = &office;
    let frame = &phone.frame;
    let party = |number: &str, name: &str, hz: u32| Party { far_end: b2bua.far_end(number, name, hz), hz };
    let (anna, bert, carl) = (party("201", "Anna", 900), party("202", "Bert", 1_300), party("203", "Carl", 1_700));
    for (number, party) in [("201", &anna), ("202", &bert), ("203", &carl)] {
        phone.host_page.eval(&format!("BitcallWebphone.call('{number}')")).await;
        party.hears(true, &[], &[]).await;
        frame.hears_only(party.hz).await;
    }

    // The one who talks notices nothing of the merge but the others.
    carl.far_end.listens();
    frame.click("button", "Merge with Anna").await;
    frame.hears_each(&[carl.hz, anna.hz]).await;
    frame.click("button", "Merge with Bert").await;
    frame.hears_each(&[carl.hz, anna.hz, bert.hz]).await;
    anna.hears(true, &[&bert, &carl], &[]).await;
    bert.hears(true, &[&anna, &carl], &[]).await;
    carl.hears(true, &[&anna, &bert], &[]).await;
    let silence = carl.far_end.longest_silence();
    assert!(silence <= UNNOTICED, "a gap of {silence:?} around the merge");
    frame.gone("button", "Keypad").await;

    frame.click("button", "Mute").await;
    anna.hears(false, &[&bert, &carl], &[]).await;
    bert.hears(false, &[&anna, &carl], &[]).await;
    frame.click("button", "Mute").await;
    anna.hears(true, &[&bert, &carl], &[]).await;

    // A party that is muted hears the others, and is heard by nobody.
    frame.click("button", "Mute Anna").await;
    bert.hears(true, &[&carl], &[&anna]).await;
    frame.hears_each(&[carl.hz, bert.hz]).await;
    anna.hears(true, &[&bert, &carl], &[]).await;
    frame.click("button", "Mute Anna").await;
    bert.hears(true, &[&anna, &carl], &[]).await;
    frame.hears_each(&[carl.hz, anna.hz, bert.hz]).await;

    frame.click("button", "Hold").await;
    frame.plays_nothing().await;
    for party in [&anna, &bert, &carl] {
        party.hears(false, &[], &[&anna, &bert, &carl]).await;
    }
    frame.click("button", "Hold").await;
    frame.hears_each(&[carl.hz, anna.hz, bert.hz]).await;
    anna.hears(true, &[&bert, &carl], &[]).await;

    // One taken aside, and the others back as one.
    frame.click("button", "Talk to Anna alone").await;
    frame.hears_only(anna.hz).await;
    anna.hears(true, &[], &[&bert, &carl]).await;
    bert.hears(false, &[], &[&anna, &carl]).await;
    frame.click("button", "Switch to Carl, Bert").await;
    frame.hears_each(&[carl.hz, bert.hz]).await;
    bert.hears(true, &[&carl], &[&anna]).await;
    anna.hears(false, &[], &[&bert, &carl]).await;
    frame.click("button", "Merge with Anna").await;
    frame.hears_each(&[carl.hz, anna.hz, bert.hz]).await;
    anna.hears(true, &[&bert, &carl], &[]).await;

    frame.click("button", "Hold Bert").await;
    frame.hears_each(&[carl.hz, anna.hz]).await;
    bert.hears(false, &[], &[&anna, &carl]).await;
    anna.hears(true, &[&carl], &[&bert]).await;
    frame.click("button", "Merge with Bert").await;
    frame.hears_each(&[carl.hz, anna.hz, bert.hz]).await;
    bert.hears(true, &[&anna, &carl], &[]).await;

    // A party that ends leaves the others talking, also the last but one.
    anna.far_end.hangs_up();
    phone.event("callEnded", 1).await;
    frame.hears_each(&[carl.hz, bert.hz]).await;
    bert.hears(true, &[&carl], &[&anna]).await;
    frame.click("button", "Drop Bert").await;
    phone.event("callEnded", 2).await;
    frame.find("button", "Keypad").await;
    frame.hears(carl.hz).await;
    carl.hears(true, &[], &[&anna, &bert]).await;
    frame.click("button", "Hang up").await;
    office.is_quiet_again(3).await;
}

#[tokio::test]
async fn a_conference_goes_on_after_a_reload_waits_during_another_call_and_ends_as_one() {
    let mut office = open().await;
    let party = |number: &str, name: &str, hz: u32| Party { far_end: office.b2bua.far_end(number, name, hz), hz };
    let (anna, bert, carl) = (party("201", "Anna", 900), party("202", "Bert", 1_300), party("203", "Carl", 1_700));
    for (number, party) in [("201", &anna), ("202", &bert)] {
        office.phone.host_page.eval(&format!("BitcallWebphone.call('{number}')")).await;
        party.hears(true, &[], &[]).await;
    }
    office.phone.frame.click("button", "Merge with Anna").await;
    anna.hears(true, &[&bert], &[]).await;

    // Without a gesture: the browser lets a page mix that has a microphone.
    office.phone.reload().await;
    office.phone.frame.hears_each(&[anna.hz, bert.hz]).await;
    anna.hears(true, &[&bert], &[]).await;
    bert.hears(true, &[&anna], &[]).await;

    // The connection to the server is lost, and then the way of one party's media.
    let offers = office.b2bua.received(&["INVITE sip:", "m=audio"]).len();
    office.b2bua.cut_connections();
    office.b2bua.receives(offers + 2, &["INVITE sip:", "m=audio"]).await;
    anna.hears(true, &[&bert], &[]).await;
    bert.hears(true, &[&anna], &[]).await;
    anna.far_end.loses_path();
    anna.far_end.hears_no_more(Office::TONE).await;
    anna.hears(true, &[&bert], &[]).await;
    bert.hears(true, &[&anna], &[]).await;

    let frame = &office.phone.frame;
    frame.hears_each(&[anna.hz, bert.hz]).await;
    carl.far_end.calls();
    frame.click("button", "Hold & Answer").await;
    frame.hears_only(carl.hz).await;
    carl.hears(true, &[], &[&anna, &bert]).await;
    anna.hears(false, &[], &[&bert, &carl]).await;
    bert.hears(false, &[], &[&anna, &carl]).await;
    frame.click("button", "Switch to Bert, Anna").await;
    frame.hears_each(&[anna.hz, bert.hz]).await;
    anna.hears(true, &[&bert], &[&carl]).await;
    carl.hears(false, &[], &[&anna, &bert]).await;

    // The host page's `hangup()` is that of the conversation on the screen.
    office.phone.host_page.eval("BitcallWebphone.hangup()").await;
    office.phone.event("callEnded", 2).await;
    frame.pressed("Hold", true).await;
    frame.click("button", "Hang up").await;
    office.is_quiet_again(3).await;
}
