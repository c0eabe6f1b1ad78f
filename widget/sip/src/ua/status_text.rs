//! Texts for status codes and `Reason` header fields: reason phrases of our responses, and texts to show
//! to the user.

use crate::message::{Headers, Reason, Response};

/// The reason phrase of a response that we send.
pub(super) fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        183 => "Session Progress",
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        422 => "Session Interval Too Small",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        491 => "Request Pending",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        600 => "Busy Everywhere",
        603 => "Decline",
        606 => "Not Acceptable",
        300..=399 => "Redirect",
        401..=499 => "Request Failure",
        502..=599 => "Server Failure",
        _ => "Refused",
    }
}

/// The text to show when an outgoing call failed with this response. Gateways say in `Reason` (RFC 3326,
/// RFC 6432) what the status only says roughly: a person's decline arrives as 403 with `Q.850;cause=21`.
/// `was_proceeding`: a provisional response had come, so the server had answered.
pub(super) fn failure_text(response: &Response, was_proceeding: bool) -> &'static str {
    let status = response.status();
    let is_rough = matches!(status, 403 | 408 | 480 | 487 | 500..=599 | 603);
    match response.reasons().filter(|_| is_rough).find_map(|reason| reason_text(&reason)) {
        Some(text) => text,
        None if status == 408 && was_proceeding => "No answer",
        None => status_text(status),
    }
}

fn reason_text(reason: &Reason<'_>) -> Option<&'static str> {
    let cause = reason.cause()?;
    if reason.protocol.eq_ignore_ascii_case("SIP") {
        // The status of a fork, e.g. behind a 500 that stands for all of them (RFC 3326 §2).
        return matches!(cause, 400..=486 | 488..=699).then(|| status_text(cause));
    }
    if !reason.protocol.eq_ignore_ascii_case("Q.850") {
        return None;
    }
    // ITU-T Q.850 §2.2.7. 16 and 31 are the normal end of a call.
    Some(match cause {
        1..=3 | 5 => "Number not found",
        17 => "Busy",
        18 | 19 => "No answer",
        20 | 27 => "Not available",
        21 => "Declined",
        22 => "Number no longer in use",
        28 => "Number incomplete",
        29 | 50 | 55 | 57 | 87 => "Not allowed",
        25 | 34 | 38 | 41 | 42 | 44 | 46 | 47 | 58 | 63 => "Service unavailable",
        65 | 70 | 79 | 88 => "No common audio format",
        102 => "The far end does not respond",
        _ => return None,
    })
}

/// The text to show when the far end has ended an established call by this BYE.
pub(super) fn bye_text(bye: &Headers) -> &'static str {
    let is_reason = |reason: &Reason<'_>| reason.protocol.eq_ignore_ascii_case("Q.850");
    bye.reasons().filter(is_reason).find_map(|reason| reason_text(&reason)).unwrap_or("Remote hung up")
}

/// The text to show when an incoming call was cancelled: also that another device took it, by the status of
/// the one that did (RFC 3326 §2) or by Q.850 cause 26, "non-selected user clearing".
pub(super) fn cancel_text(cancel: &Headers) -> &'static str {
    let elsewhere = |reason: Reason<'_>| match (reason.protocol.to_ascii_uppercase().as_str(), reason.cause()) {
        ("SIP", Some(200..=299)) | ("Q.850", Some(26)) => Some("Answered elsewhere"),
        ("SIP", Some(600..=699)) => Some("Declined elsewhere"),
        (_, None) => {
            let text = reason.params.text("text")?;
            text.to_ascii_lowercase().contains("elsewhere").then_some("Answered elsewhere")
        }
        _ => None,
    };
    cancel.reasons().find_map(elsewhere).unwrap_or("Caller hung up")
}

pub(super) fn status_text(status: u16) -> &'static str {
    match status {
        300..=399 => "Moved",
        401 | 407 => "Wrong username or password",
        402 => "Payment required",
        403 => "Not allowed",
        404 | 604 => "Number not found",
        408 => "No answer from the server",
        410 => "Number no longer in use",
        480 => "Not available",
        482 | 483 => "Call loops",
        484 => "Number incomplete",
        485 => "Number ambiguous",
        486 | 600 => "Busy",
        487 => "Canceled",
        415 | 488 | 606 => "No common audio format",
        428 | 436..=438 => "Caller ID not accepted",
        433 => "Anonymous calls are not accepted",
        503 => "Service unavailable",
        504 => "The far end does not respond",
        603 => "Declined",
        607 | 608 => "Rejected as unwanted",
        500..=599 => "Server error",
        _ => "Call failed",
    }
}
