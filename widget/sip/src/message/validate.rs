//! The checks before a message is processed (RFC 3261 §8.2, §16.3, §18.3).

use crate::uri::{Scheme, Uri};

use super::{Contact, Header, Headers, MessageError, MessageErrorKind, NameAddr, Request, Response};

/// Header fields that may occur once, one bit each. For all others a second line adds an element to a list.
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

// Every header's number must be a valid bit of the mask.
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
    /// Checks that the required header fields are present, single and well-formed, and that `CSeq` has
    /// this request's method. The request is answered with the error's [`MessageError::status`].
    pub fn validate(&self) -> Result<(), MessageError> {
        self.validate_common()?;
        if !self.uri()?.headers.is_empty() {
            // A Request-URI may not have header fields (RFC 3261 §19.1.1).
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
    /// The Request-URI if its scheme is `sip` or `sips`; otherwise an error with status 416.
    pub fn sip_uri(&self) -> Result<Uri<'_>, MessageError> {
        let uri = self.uri()?;
        match uri.scheme {
            Scheme::Sip | Scheme::Sips => Ok(uri),
            Scheme::Other(_) => Err(MessageError::new(MessageErrorKind::Scheme, 0)),
        }
    }

    /// The option tags in `Require` (for a user agent) or `Proxy-Require` (for a proxy) that are not
    /// `supported`: the value of `Unsupported` in the 420 response (RFC 3261 §8.2.2.3). `None` if all are.
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
    /// Checks everything a user agent or proxy relies on. A response with an error is dropped.
    pub fn validate(&self) -> Result<(), MessageError> {
        self.validate_common()?;
        self.retry_after()?;
        Ok(())
    }
}

impl Headers {
    fn validate_common(&self) -> Result<(), MessageError> {
        let mut present = 0u128;
        for line in &self.lines {
            let bit = 1 << line.header as u8;
            if present & bit & SINGLE_VALUED != 0 {
                return Err(MessageError::in_header(MessageErrorKind::Repeated, line.header, line.start));
            }
            present |= bit;
        }
        let mut hops = 0;
        for via in self.vias() {
            via?;
            hops += 1;
        }
        if hops == 0 {
            // Returns the error: missing or malformed.
            self.via()?;
        }
        self.call_id()?;
        self.cseq()?;
        let check_address = |header, address: NameAddr<'_>| {
            if address.well_formed() {
                return Ok(());
            }
            let offset = self.line(header).map_or(0, |line| line.start);
            Err(MessageError::in_header(MessageErrorKind::Value, header, offset))
        };
        check_address(Header::From, self.from()?)?;
        check_address(Header::To, self.to()?)?;
        for contact in self.contacts() {
            if let Contact::Address(address) = contact? {
                check_address(Header::Contact, address)?;
            }
        }
        for header in [Header::Route, Header::RecordRoute, Header::Path, Header::ServiceRoute] {
            for address in self.addresses(header) {
                check_address(header, address?)?;
            }
        }
        Ok(())
    }
}
