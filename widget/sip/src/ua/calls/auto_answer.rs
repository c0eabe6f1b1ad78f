//! Whether a caller, e.g. an intercom or a server that calls the person first, asks the phone to answer by itself.
//!
//! No RFC has what servers send for it: `Call-Info: <sip:x>;answer-after=0` and
//! `Alert-Info: <http://x>;info=alert-autoanswer;answer-after=0`, both also without a URI.

use crate::message::{Header, Headers};

/// The time from the INVITE to the answer; None if the person answers.
pub(super) fn auto_answer_ms(request: &Headers) -> Option<u64> {
    let seconds = |header| parameter(request, header, "answer-after").map(|text| text.parse::<u64>().ok());
    let asks = || parameter(request, Header::AlertInfo, "info")?.eq_ignore_ascii_case("alert-autoanswer").then_some(0);
    match seconds(Header::CallInfo).or_else(|| seconds(Header::AlertInfo)) {
        // One that cannot be read does not open a microphone.
        Some(seconds) => seconds,
        None => asks(),
    }
    .map(|seconds| seconds.saturating_mul(1_000))
}

/// The first parameter with this name, outside of the URIs in angle brackets.
fn parameter<'a>(request: &'a Headers, header: Header, name: &str) -> Option<&'a str> {
    let outside = request.values(header).flat_map(|value| value.split('<').map(|part| part.rsplit('>').next()));
    let parameters = outside.flatten().flat_map(|part| part.split([';', ',']));
    parameters
        .filter_map(|parameter| parameter.split_once('='))
        .find(|(given, _)| given.trim().eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim().trim_matches('"'))
}
