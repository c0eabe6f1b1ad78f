//! The checks a server makes before it believes a message (RFC 3261 §8.2, §16.3, §18.3).

use super::{Contact, Fault, Header, Headers, Method, NameAddr, Request, Response, What};

/// Header fields that may occur once; of the others a second line is another element of a list.
const ONCE: [Header; 17] = [
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
];

impl Request {
    /// Looks at everything that is relied on: that what must be there is there, once, and well-formed,
    /// and that `CSeq` names this request's method. The first fault's [`Fault::status`] is the answer.
    pub fn check(&self) -> Result<(), Fault> {
        self.check_common()?;
        self.uri()?;
        self.max_forwards()?;
        if self.cseq()?.method != self.method() {
            let offset = self.line(Header::CSeq).map_or(0, |line| line.start);
            return Err(Fault::in_header(What::MethodMismatch, Header::CSeq, offset));
        }
        if self.method() == Method::Invite && self.contact()?.is_none() {
            return Err(Fault::in_header(What::Missing, Header::Contact, 0));
        }
        Ok(())
    }
}

impl Response {
    /// Looks at everything that is relied on; a response with a fault is dropped.
    pub fn check(&self) -> Result<(), Fault> {
        self.check_common()?;
        self.retry_after()?;
        Ok(())
    }
}

impl Headers {
    fn check_common(&self) -> Result<(), Fault> {
        for (index, line) in self.lines.iter().enumerate() {
            if ONCE.contains(&line.header) && self.lines.iter().take(index).any(|earlier| earlier.header == line.header)
            {
                return Err(Fault::in_header(What::Repeated, line.header, line.start));
            }
        }
        self.via()?;
        for via in self.vias() {
            via?;
        }
        self.call_id()?;
        self.cseq()?;
        let whole = |header, address: NameAddr<'_>| {
            if address.well_formed() {
                return Ok(());
            }
            let offset = self.line(header).map_or(0, |line| line.start);
            Err(Fault::in_header(What::Value, header, offset))
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
