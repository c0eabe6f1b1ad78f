//! The checks a server makes before it believes a message (RFC 3261 §8.2, §16.3, §18.3).

use crate::uri::{Scheme, Uri};

use super::{Contact, Header, Headers, MessageError, MessageErrorKind, NameAddr, Request, Response};

/// Header fields that may occur once, one bit each; of the others a second line is another element of a list.
const SINGLE_VALUED: u128 = bits(&[
    Header::CallId,
    Header::CSeq,
    Header::ContentDisposition,
    Header::ContentLength,
    Header::ContentType,
    Header::Date,
    Header::Event,
    Header::Expires,
    Header::From,
    Header::MaxForwards,
    Header::MinExpires,
    Header::RAck,
    Header::RSeq,
    Header::ReferTo,
    Header::RetryAfter,
    Header::SessionExpires,
    Header::To,
]);

// Every header's number is a bit of the mask.
const _: () = assert!((Header::Other as u8 as u32) < u128::BITS);

const fn bits(headers: &[Header]) -> u128 {
    let mut all = 0;
    let mut index = 0;
    while index < headers.len() {
        all |= 1 << headers[index] as u8;
        index += 1;
    }
    all
}

impl Request {
    /// Looks at everything that is relied on: that what must be there is there, once, and well-formed,
    /// and that `CSeq` names this request's method. The first error's [`MessageError::status`] is the answer.
    pub fn validate(&self) -> Result<(), MessageError> {
        self.validate_common()?;
        if !self.uri()?.headers.is_empty() {
            // RFC 3261 §19.1.1: a Request-URI carries no header fields.
            return Err(MessageError::new(MessageErrorKind::RequestUri, 0));
        }
        self.max_forwards()?;
        if self.cseq()?.method != self.method() {
            let offset = self.line(Header::CSeq).map_or(0, |line| line.start);
            return Err(MessageError::in_header(MessageErrorKind::MethodMismatch, Header::CSeq, offset));
        }
        Ok(())
    }
}

impl Request {
    /// The Request-URI where it is `sip` or `sips`; another scheme's error is answered with 416.
    pub fn sip_uri(&self) -> Result<Uri<'_>, MessageError> {
        let uri = self.uri()?;
        match uri.scheme {
            Scheme::Sip | Scheme::Sips => Ok(uri),
            Scheme::Other(_) => Err(MessageError::new(MessageErrorKind::Scheme, 0)),
        }
    }

    /// What `Require` (of a user agent) or `Proxy-Require` (of a proxy) asks for beyond what is
    /// `supported`: the `Unsupported` of the 420 that answers (RFC 3261 §8.2.2.3); `None` where all is well.
    pub fn unsupported(&self, header: Header, supported: &[&str]) -> Option<String> {
        let mut missing = String::new();
        for option in self.items(header) {
            if !supported.iter().any(|known| known.eq_ignore_ascii_case(option)) {
                if !missing.is_empty() {
                    missing.push_str(", ");
                }
                missing.push_str(option);
            }
        }
        (!missing.is_empty()).then_some(missing)
    }
}

impl Response {
    /// Looks at everything that is relied on; a response with an error is dropped.
    pub fn validate(&self) -> Result<(), MessageError> {
        self.validate_common()?;
        self.retry_after()?;
        Ok(())
    }
}

impl Headers {
    fn validate_common(&self) -> Result<(), MessageError> {
        let mut seen = 0u128;
        for line in &self.lines {
            let bit = 1 << line.header as u8;
            if seen & bit & SINGLE_VALUED != 0 {
                return Err(MessageError::in_header(MessageErrorKind::Repeated, line.header, line.start));
            }
            seen |= bit;
        }
        let mut hops = 0;
        for via in self.vias() {
            via?;
            hops += 1;
        }
        if hops == 0 {
            // Says whether it is missing or empty.
            self.via()?;
        }
        self.call_id()?;
        self.cseq()?;
        let whole = |header, address: NameAddr<'_>| {
            if address.well_formed() {
                return Ok(());
            }
            let offset = self.line(header).map_or(0, |line| line.start);
            Err(MessageError::in_header(MessageErrorKind::Value, header, offset))
        };
        whole(Header::From, self.from()?)?;
        whole(Header::To, self.to()?)?;
        for contact in self.contacts() {
            if let Contact::Address(address) = contact? {
                whole(Header::Contact, address)?;
            }
        }
        for header in [Header::Route, Header::RecordRoute, Header::Path, Header::ServiceRoute] {
            for address in self.addresses(header) {
                whole(header, address?)?;
            }
        }
        Ok(())
    }
}
