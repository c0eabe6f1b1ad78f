//! Texts for status codes: reason phrases of our responses, and texts to show to the user.

/// The reason phrase of a response that we send.
pub(super) fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        183 => "Session Progress",
        200 => "OK",
        400 => "Bad Request",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        415 => "Unsupported Media Type",
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

/// The text to show when an outgoing call failed with this status.
pub(super) fn failure_text(status: u16) -> &'static str {
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
        503 => "Service unavailable",
        504 => "The far end does not respond",
        603 => "Declined",
        607 | 608 => "Rejected as unwanted",
        500..=599 => "Server error",
        _ => "Call failed",
    }
}
