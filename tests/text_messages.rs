//! Texts of other people, and the answers to them.

use serde_json::json;

use crate::rig::office::Office;

fn replies(allowed: bool) -> serde_json::Value {
    json!({ "behavior": { "calls": { "messageReplies": allowed } } })
}

#[tokio::test]
async fn a_text_is_answered_within_its_call_or_outside_of_any_where_the_tenant_allows_it() {
    let office = Office::open_with(replies(true)).await;
    let Office { phone, b2bua, .. } = &office;
    let frame = &phone.frame;
    let anna = b2bua.far_end("201", "Anna", 900);

    // Two outside of a call: the second one waits until the first one is dismissed.
    anna.says("Please call me back");
    frame.sees("Anna: Please call me back").await;
    anna.says("It is urgent");
    frame.find("button", "Dismiss (1 more)").await;
    frame.click("button", "Reply").await;
    frame.fill("textbox", "Reply", "In 5 minutes – ok?").await;
    frame.keys(&['\u{e007}']).await;
    frame.sees("Sent to Anna.").await;
    // The server has challenged the first try.
    b2bua.receives(1, &["MESSAGE sip:201@", "Authorization: ", "text/plain", "In 5 minutes – ok?"]).await;
    frame.click("button", "Dismiss (1 more)").await;
    frame.sees("Anna: It is urgent").await;
    frame.click("button", "Dismiss").await;
    frame.gone("button", "Dismiss").await;

    // Within a call, where sound and call go on.
    phone.dial("201").await;
    frame.hears(900).await;
    anna.says("You are number 3");
    frame.sees("Anna: You are number 3").await;
    frame.click("button", "Reply").await;
    frame.fill("textbox", "Reply", "Thank you").await;
    frame.click("button", "Send").await;
    frame.sees("Sent to Anna.").await;
    let sent = b2bua.receives(1, &["MESSAGE sip:", "Thank you"]).await;
    let invite = b2bua.receives(1, &["INVITE sip:201@"]).await;
    let call_id = |message: &str| message.lines().find(|line| line.starts_with("Call-ID:")).map(str::to_owned);
    assert_eq!(call_id(&sent), call_id(&invite), "{sent}");
    frame.click("button", "Dismiss").await;
    frame.hears(900).await;
    frame.click("button", "Hang up").await;
    phone.event("callEnded", 1).await;

    // To somebody who is not reached: what was typed stays.
    let stranger = b2bua.far_end("202", "Bert", 700);
    stranger.says("Hello");
    frame.sees("Bert: Hello").await;
    b2bua.forgets("202");
    frame.click("button", "Reply").await;
    frame.fill("textbox", "Reply", "Who are you?").await;
    frame.click("button", "Send").await;
    frame.sees("Not sent. Number not found.").await;
    assert_eq!(frame.property("textbox", "Reply", "value").await, "Who are you?");
    frame.click("button", "Dismiss").await;
    assert_eq!(office.browser.errors(), Vec::<String>::new());
}

#[tokio::test]
async fn a_text_is_only_shown_where_the_tenant_does_not_allow_answers() {
    let office = Office::open_with(replies(false)).await;
    let anna = office.b2bua.far_end("201", "Anna", 900);
    anna.says("Please call me back");
    let frame = &office.phone.frame;
    frame.sees("Anna: Please call me back").await;
    assert!(!frame.text().await.contains("Reply"));
    frame.click("button", "Dismiss").await;
    frame.gone("button", "Dismiss").await;
}
