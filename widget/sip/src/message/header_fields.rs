//! Typed accessors for the header fields that user agents and proxies read.
//!
//! A required header field is a `Result`. An optional one is an `Option`, or a `Result<Option>` if a
//! malformed value must not count as absent. Lists are iterators.

use super::headers::HeaderLine;
use super::{Contact, Header, Headers, MessageError, MessageErrorKind, Method, NameAddr, Params, Via, grammar};
use grammar::trim;

/// `CSeq`: a number and the method it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// The sequence number.
    pub number: u32,
    /// The method.
    pub method: Method<'a>,
}

/// `RAck` (RFC 3262 §7.2): the provisional response that a PRACK acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RAck<'a> {
    /// The response's `RSeq`.
    pub rseq: u32,
    /// The response's `CSeq`.
    pub cseq: CSeq<'a>,
}

/// Who refreshes a session (RFC 4028 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresher {
    /// The sender of the request.
    Uac,
    /// The sender of the response.
    Uas,
}

/// `Session-Expires` (RFC 4028 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionExpires {
    /// Seconds until the session expires unless it is refreshed.
    pub interval: u32,
    /// Who refreshes, if present.
    pub refresher: Option<Refresher>,
}

/// One `Reason` (RFC 3326): why a request was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason<'a> {
    /// `SIP`, `Q.850`, …
    pub protocol: &'a str,
    /// `cause` and `text`.
    pub params: Params<'a>,
}

impl Reason<'_> {
    /// The cause: a SIP status or a Q.850 number.
    pub fn cause(&self) -> Option<u16> {
        self.params.text("cause")?.parse().ok()
    }
}

impl<'a> CSeq<'a> {
    /// Parses `4711 INVITE`.
    pub fn parse(text: &'a str) -> Option<CSeq<'a>> {
        let (number, method) = grammar::split_off(text, grammar::find_space(text));
        let method = trim(method);
        if !grammar::all_token(method) {
            return None;
        }
        // RFC 3261 §8.1.1.5 requires numbers below 2^31; all numbers below 2^32 are accepted.
        Some(CSeq { number: grammar::number(number)?, method: Method::from_name(method) })
    }
}

impl Headers {
    fn required<'a, T>(&'a self, header: Header, parse: impl FnOnce(&'a str) -> Option<T>) -> Result<T, MessageError> {
        let line = self.line(header).ok_or(MessageError::in_header(MessageErrorKind::Missing, header, 0))?;
        self.read(line, parse)
    }

    fn optional<'a, T>(
        &'a self,
        header: Header,
        parse: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<Option<T>, MessageError> {
        self.line(header).map(|line| self.read(line, parse)).transpose()
    }

    fn read<'a, T>(&'a self, line: &HeaderLine, parse: impl FnOnce(&'a str) -> Option<T>) -> Result<T, MessageError> {
        parse(self.line_value(line)).ok_or(MessageError::in_header(MessageErrorKind::Value, line.header, line.start))
    }

    fn list<'a, T>(
        &'a self,
        header: Header,
        parse: impl Fn(&'a str) -> Option<T> + Copy,
    ) -> impl Iterator<Item = Result<T, MessageError>> {
        self.lines.iter().filter(move |line| line.header == header).flat_map(move |line| {
            grammar::items(self.line_value(line)).map(move |item| {
                parse(item).ok_or(MessageError::in_header(MessageErrorKind::Value, header, line.start))
            })
        })
    }

    /// The topmost Via.
    pub fn via(&self) -> Result<Via<'_>, MessageError> {
        self.required(Header::Via, Via::first)
    }

    /// Every Via, topmost first.
    pub fn vias(&self) -> impl Iterator<Item = Result<Via<'_>, MessageError>> {
        self.list(Header::Via, Via::parse)
    }

    /// From.
    pub fn from(&self) -> Result<NameAddr<'_>, MessageError> {
        self.required(Header::From, NameAddr::parse)
    }

    /// To.
    pub fn to(&self) -> Result<NameAddr<'_>, MessageError> {
        self.required(Header::To, NameAddr::parse)
    }

    /// Call-ID.
    pub fn call_id(&self) -> Result<&str, MessageError> {
        self.required(Header::CallId, |text| (!text.is_empty() && !text.contains([' ', '\t'])).then_some(text))
    }

    /// `CSeq`.
    pub fn cseq(&self) -> Result<CSeq<'_>, MessageError> {
        self.required(Header::CSeq, CSeq::parse)
    }

    /// Max-Forwards, 0 to 255; larger numbers become 255.
    pub fn max_forwards(&self) -> Result<Option<u8>, MessageError> {
        self.optional(Header::MaxForwards, |text| {
            grammar::delta_seconds(text).map(|hops| u8::try_from(hops).unwrap_or(u8::MAX))
        })
    }

    /// The elements of all Contact lines.
    pub fn contacts(&self) -> impl Iterator<Item = Result<Contact<'_>, MessageError>> {
        self.list(Header::Contact, |text| match text {
            "*" => Some(Contact::Star),
            _ => NameAddr::parse(text).map(Contact::Address),
        })
    }

    /// The first Contact that is an address.
    pub fn contact(&self) -> Result<Option<NameAddr<'_>>, MessageError> {
        self.optional(Header::Contact, |text| match text {
            "*" => Some(None),
            _ => NameAddr::first(text).map(Some),
        })
        .map(Option::flatten)
    }

    /// The addresses of a header field that is a list of addresses (`P-Asserted-Identity`, `Diversion`, …).
    pub fn addresses(&self, header: Header) -> impl Iterator<Item = Result<NameAddr<'_>, MessageError>> {
        self.list(header, NameAddr::parse)
    }

    /// Route, topmost first.
    pub fn routes(&self) -> impl Iterator<Item = Result<NameAddr<'_>, MessageError>> {
        self.addresses(Header::Route)
    }

    /// Record-Route, topmost first.
    pub fn record_routes(&self) -> impl Iterator<Item = Result<NameAddr<'_>, MessageError>> {
        self.addresses(Header::RecordRoute)
    }

    /// Path (RFC 3327), topmost first.
    pub fn paths(&self) -> impl Iterator<Item = Result<NameAddr<'_>, MessageError>> {
        self.addresses(Header::Path)
    }

    /// Service-Route (RFC 3608), topmost first.
    pub fn service_routes(&self) -> impl Iterator<Item = Result<NameAddr<'_>, MessageError>> {
        self.addresses(Header::ServiceRoute)
    }

    /// Expires in seconds; a malformed value counts as 3600, a too large one as `u32::MAX`
    /// (RFC 3261 §10.3 step 7, RFC 4475 §3.1.2.4).
    pub fn expires(&self) -> Option<u32> {
        self.value(Header::Expires).map(|text| grammar::delta_seconds(text).unwrap_or(3600))
    }

    /// Min-Expires in seconds (of a 423).
    pub fn min_expires(&self) -> Result<Option<u32>, MessageError> {
        self.optional(Header::MinExpires, grammar::delta_seconds)
    }

    /// Retry-After in seconds; comment and parameters are ignored.
    pub fn retry_after(&self) -> Result<Option<u32>, MessageError> {
        self.optional(Header::RetryAfter, |text| {
            let digits = text.split([' ', '\t', ';', '(']).next().unwrap_or_default();
            grammar::number(digits)
        })
    }

    /// Content-Type without its parameters, as written: `application/sdp`.
    pub fn content_type(&self) -> Option<&str> {
        self.value(Header::ContentType).map(|text| trim(text.split(';').next().unwrap_or_default()))
    }

    /// Content-Length, if present.
    pub fn content_length(&self) -> Result<Option<u32>, MessageError> {
        self.optional(Header::ContentLength, grammar::number)
    }

    /// Session-Expires.
    pub fn session_expires(&self) -> Result<Option<SessionExpires>, MessageError> {
        self.optional(Header::SessionExpires, |text| {
            let (interval, params) = text.split_once(';').unwrap_or((text, ""));
            let refresher = match Params::new(params).get("refresher") {
                Some(who) if who.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
                Some(who) if who.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
                Some(_) => return None,
                None => None,
            };
            Some(SessionExpires { interval: grammar::number(trim(interval))?, refresher })
        })
    }

    /// Min-SE in seconds (RFC 4028 §5).
    pub fn min_se(&self) -> Result<Option<u32>, MessageError> {
        self.optional(Header::MinSe, |text| grammar::number(trim(text.split(';').next().unwrap_or_default())))
    }

    /// `RSeq` of a reliable provisional response (RFC 3262 §7.1).
    pub fn rseq(&self) -> Result<Option<u32>, MessageError> {
        self.optional(Header::RSeq, grammar::number)
    }

    /// `RAck` of a PRACK.
    pub fn rack(&self) -> Result<Option<RAck<'_>>, MessageError> {
        self.optional(Header::RAck, |text| {
            let (rseq, cseq) = text.split_once([' ', '\t'])?;
            Some(RAck { rseq: grammar::number(rseq)?, cseq: CSeq::parse(trim(cseq))? })
        })
    }

    /// Every Reason.
    pub fn reasons(&self) -> impl Iterator<Item = Reason<'_>> {
        self.items(Header::Reason).map(|item| {
            let (protocol, params) = item.split_once(';').unwrap_or((item, ""));
            Reason { protocol: trim(protocol), params: Params::new(params) }
        })
    }
}
