//! Header field names. Known names have a number, so that the search for a header field in a parsed
//! message compares bytes instead of strings. Other names are stored as text.

/// A header field name: a known one, or any other as text.
///
/// Functions that take a name accept both: `message.value(Header::CallId)`, `message.value("X-Queue")`.
#[derive(Clone, Copy, Debug)]
pub enum HeaderName<'a> {
    /// A name in the table of [`Header`].
    Known(Header),
    /// Any other name, compared case-insensitively.
    Other(&'a str),
}

impl From<Header> for HeaderName<'_> {
    fn from(header: Header) -> Self {
        HeaderName::Known(header)
    }
}

impl<'a> From<&'a str> for HeaderName<'a> {
    fn from(text: &'a str) -> Self {
        match Header::from_name(text.as_bytes()) {
            Header::Other => HeaderName::Other(text),
            known => HeaderName::Known(known),
        }
    }
}

impl<'a> HeaderName<'a> {
    /// The name as written in a generated message.
    pub fn as_str(self) -> &'a str {
        match self {
            HeaderName::Known(header) => header.as_str(),
            HeaderName::Other(text) => text,
        }
    }
}

macro_rules! headers {
    ($($variant:ident $text:literal $compact:literal,)*) => {
        /// The known header fields, and [`Header::Other`] for all others.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Header {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
            /// Any other header field; its name is in its line.
            Other,
        }

        /// Every known header field, in the order of their numbers.
        const ALL: &[Header] = &[$(Header::$variant,)*];
        const NAMES: &[&str] = &[$($text,)*];
        /// The compact form (RFC 3261 §7.3.3), or a space if there is none.
        const COMPACT: &[u8] = &[$($compact,)*];
    };
}

headers! {
    Accept "Accept" b' ',
    AcceptContact "Accept-Contact" b'a',
    AcceptEncoding "Accept-Encoding" b' ',
    AcceptLanguage "Accept-Language" b' ',
    AlertInfo "Alert-Info" b' ',
    Allow "Allow" b' ',
    AllowEvents "Allow-Events" b'u',
    AuthenticationInfo "Authentication-Info" b' ',
    Authorization "Authorization" b' ',
    CallId "Call-ID" b'i',
    CallInfo "Call-Info" b' ',
    Contact "Contact" b'm',
    ContentDisposition "Content-Disposition" b' ',
    ContentEncoding "Content-Encoding" b'e',
    ContentLanguage "Content-Language" b' ',
    ContentLength "Content-Length" b'l',
    ContentType "Content-Type" b'c',
    CSeq "CSeq" b' ',
    Date "Date" b' ',
    Diversion "Diversion" b' ',
    ErrorInfo "Error-Info" b' ',
    Event "Event" b'o',
    Expires "Expires" b' ',
    FlowTimer "Flow-Timer" b' ',
    From "From" b'f',
    HistoryInfo "History-Info" b' ',
    Identity "Identity" b'y',
    InReplyTo "In-Reply-To" b' ',
    MaxForwards "Max-Forwards" b' ',
    MimeVersion "MIME-Version" b' ',
    MinExpires "Min-Expires" b' ',
    MinSe "Min-SE" b' ',
    Organization "Organization" b' ',
    PAssertedIdentity "P-Asserted-Identity" b' ',
    PPreferredIdentity "P-Preferred-Identity" b' ',
    Path "Path" b' ',
    Priority "Priority" b' ',
    Privacy "Privacy" b' ',
    ProxyAuthenticate "Proxy-Authenticate" b' ',
    ProxyAuthorization "Proxy-Authorization" b' ',
    ProxyRequire "Proxy-Require" b' ',
    RAck "RAck" b' ',
    RSeq "RSeq" b' ',
    Reason "Reason" b' ',
    RecordRoute "Record-Route" b' ',
    ReferTo "Refer-To" b'r',
    ReferredBy "Referred-By" b'b',
    RejectContact "Reject-Contact" b'j',
    RemotePartyId "Remote-Party-ID" b' ',
    Replaces "Replaces" b' ',
    ReplyTo "Reply-To" b' ',
    RequestDisposition "Request-Disposition" b'd',
    Require "Require" b' ',
    RetryAfter "Retry-After" b' ',
    Route "Route" b' ',
    Server "Server" b' ',
    ServiceRoute "Service-Route" b' ',
    SessionExpires "Session-Expires" b'x',
    SipEtag "SIP-ETag" b' ',
    SipIfMatch "SIP-If-Match" b' ',
    Subject "Subject" b's',
    SubscriptionState "Subscription-State" b' ',
    Supported "Supported" b'k',
    Timestamp "Timestamp" b' ',
    To "To" b't',
    Unsupported "Unsupported" b' ',
    UserAgent "User-Agent" b' ',
    Via "Via" b'v',
    Warning "Warning" b' ',
    WwwAuthenticate "WWW-Authenticate" b' ',
}

impl Header {
    /// The full name as RFC 3261 and its extensions write it; empty for [`Header::Other`].
    pub fn as_str(self) -> &'static str {
        NAMES.get(self as usize).copied().unwrap_or_default()
    }

    /// The header field of this name, in full or compact form, case-insensitive.
    pub fn from_name(name: &[u8]) -> Header {
        if let [letter] = name {
            return COMPACT
                .iter()
                .position(|compact| *compact == letter.to_ascii_lowercase() && *letter != b' ')
                .and_then(|index| ALL.get(index).copied())
                .unwrap_or(Header::Other);
        }
        let (Some(first), Some(last)) = (name.first(), name.last()) else {
            return Header::Other;
        };
        let mut slot = slot_of(*first, *last, name.len());
        loop {
            let index = usize::from(SLOTS.get(slot).copied().unwrap_or(EMPTY));
            match NAMES.get(index) {
                None => return Header::Other,
                Some(text) if text.as_bytes() == name || text.as_bytes().eq_ignore_ascii_case(name) => {
                    return ALL.get(index).copied().unwrap_or(Header::Other);
                }
                Some(_) => slot = (slot + 1) % SLOT_COUNT,
            }
        }
    }
}

const SLOT_COUNT: usize = 256;
const EMPTY: u8 = u8::MAX;
/// Hash table with open addressing, filled at compile time: a slot holds a header's number or [`EMPTY`].
static SLOTS: [u8; SLOT_COUNT] = fill_slots();

const fn slot_of(first: u8, last: u8, len: usize) -> usize {
    // Upper and lower case letters differ in bit 5 only; setting it makes the hash case-insensitive.
    let first = (first | 0x20) as usize;
    let last = (last | 0x20) as usize;
    (first.wrapping_mul(7) ^ last.wrapping_mul(31) ^ len.wrapping_mul(77)) % SLOT_COUNT
}

const fn fill_slots() -> [u8; SLOT_COUNT] {
    let mut slots = [EMPTY; SLOT_COUNT];
    let mut index = 0;
    while index < NAMES.len() {
        let name = NAMES[index].as_bytes();
        let mut slot = slot_of(name[0], name[name.len() - 1], name.len());
        while slots[slot] != EMPTY {
            slot = (slot + 1) % SLOT_COUNT;
        }
        #[expect(clippy::cast_possible_truncation, reason = "there are fewer than 255 headers")]
        {
            slots[slot] = index as u8;
        }
        index += 1;
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case_and_by_its_compact_form() {
        for (index, header) in ALL.iter().enumerate() {
            let name = NAMES[index];
            assert_eq!(Header::from_name(name.as_bytes()), *header);
            assert_eq!(Header::from_name(name.to_uppercase().as_bytes()), *header);
            assert_eq!(Header::from_name(name.to_lowercase().as_bytes()), *header);
            if COMPACT[index] != b' ' {
                assert_eq!(Header::from_name(&[COMPACT[index]]), *header);
                assert_eq!(Header::from_name(&[COMPACT[index].to_ascii_uppercase()]), *header);
            }
        }
    }

    #[test]
    fn unknown_names_are_other() {
        for name in ["", " ", "Z", "X-Queue", "Vib", "Call-IE", "Content-Lengthy"] {
            assert_eq!(Header::from_name(name.as_bytes()), Header::Other, "{name}");
        }
    }
}
